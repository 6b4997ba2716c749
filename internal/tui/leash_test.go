package tui_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// A run has a session of its own and outlives whoever started it. So that none outlives its test,
// however that ends, each command takes part in two locks, which the
// kernel gives back when a process dies: it ends when nobody holds the leash
// any more, and shares the lock of the leash's other end as long as it lives.
const leashFile = "CORDON_TEST_LEASH"

func otherEnd(leash string) string { return leash + "-end" }

// newLeash holds a leash until the test's end, and waits then for all that are on it.
func newLeash(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "leash")
	leash, err := locked(path, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end, err := os.OpenFile(otherEnd(path), os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = syscall.Flock(int(leash.Fd()), syscall.LOCK_UN)
		}
		if err == nil {
			err = flock(end, syscall.LOCK_EX)
		}
		if err != nil {
			t.Error(err)
		}
		leash.Close()
		end.Close()
	})
	return path
}

// onLeash lets this process end when nobody holds the leash any more.
func onLeash(path string) error {
	end, err := locked(otherEnd(path), syscall.LOCK_SH)
	if err != nil {
		return err
	}
	go func() {
		if _, err := locked(path, syscall.LOCK_SH); err == nil {
			os.Exit(1)
		}
		runtime.KeepAlive(end) // open until the process ends
	}()
	return nil
}

// locked opens a file and waits for its lock.
func locked(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return f, flock(f, how)
}

// flock waits for a lock; a signal does not end the waiting.
func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
