package cli

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// onDisk makes an account in a directory and a case in it, for processes of their own.
func onDisk(t *testing.T) (*world, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "account")
	account, err := rehearsal.Create(dir, "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{g: &globals{yes: true}, home: rehearsalHome(dir)}
	w.simulate(account)
	if w.config, err = config.Load(filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	o := &world{t: t, account: account, w: w}
	o.cordon(dir, "case", "open", "INC-1")
	return o, dir
}

func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("cordon", append([]string{"--rehearsal", dir, "--yes", "--output", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "CORDON_HOME=", "CORDON_CONFIG=", "CORDON_REHEARSAL=")
	return cmd
}

// cordon runs a command to its end; it must succeed.
func (o *world) cordon(dir string, args ...string) {
	o.t.Helper()
	if out, err := command(dir, args...).CombinedOutput(); err != nil {
		o.t.Fatalf("cordon %s: %v\n%s", strings.Join(args, " "), err, lastLines(string(out)))
	}
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// signalEntry names the signal that a process gets, and the number of the entry, counted from its
// first, that brings it: "9 17".
const signalEntry = "CORDON_TEST_SIGNAL_AT_ENTRY"

// signalledEntry is what the entries that this process writes do to it; nil: nothing.
// It gets the signal by its own hand, with that entry and every later one: whoever watched it from outside would come too late by chance, on a busy machine by the whole run.
func signalledEntry() func() {
	var number syscall.Signal
	var first int64
	if _, err := fmt.Sscan(os.Getenv(signalEntry), &number, &first); err != nil {
		return nil
	}
	var written atomic.Int64
	return func() {
		if written.Add(1) < first {
			return
		}
		_ = syscall.Kill(os.Getpid(), number)
		if number == syscall.SIGKILL {
			select {}
		}
	}
}

// signalledAt runs a command that gets a signal once its nth entry is on disk.
// It returns its exit code; -1: the signal ended it.
func (o *world) signalledAt(number syscall.Signal, n int, cmd *exec.Cmd) int {
	o.t.Helper()
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %d", signalEntry, number, n))
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code == exitDone || code == exitInterrupted || code == -1 {
		return code
	}
	o.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, lastLines(string(out)))
	return 0
}

// killedAt runs a command that dies by SIGKILL once its nth entry is on disk.
// It reports whether it came that far.
func (o *world) killedAt(n int, dir string, args ...string) bool {
	o.t.Helper()
	return o.signalledAt(syscall.SIGKILL, n, command(dir, args...)) == -1
}

func TestARunWhoseTerminalHangsUpEndsInOrder(t *testing.T) {
	// These tests may run under nohup themselves: a signal that is caught here is not ignored in a child.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	whole, dir := onDisk(t)
	run := func(o *world) []string {
		return []string{"run", "full-response", "--case", "INC-1", "--set", "export=false", "--instance", o.account.Alert().Instance}
	}
	nohup := command(dir, run(whole)...)
	nohup.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, nohup.Args...)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	nohup.Path = sh
	if code := whole.signalledAt(syscall.SIGHUP, 17, nohup); code != exitDone {
		t.Errorf("where hang-ups are ignored it exited with %d", code)
	}

	o, dir := onDisk(t)
	if code := o.signalledAt(syscall.SIGHUP, 17, command(dir, run(o)...)); code != exitInterrupted {
		t.Errorf("it exited with %d, want %d", code, exitInterrupted)
	}
	o.cordon(dir, "resume", "--case", "INC-1")
	if got, want := o.shape(), whole.shape(); !reflect.DeepEqual(got, want) {
		t.Error(want.difference(got))
	}
	o.cordon(dir, "journal", "verify", "--case", "INC-1")
}

func TestARunKilledTenTimesEndsAsIfUndisturbed(t *testing.T) {
	whole, dir := onDisk(t)
	whole.cordon(dir, "run", "full-response", "--case", "INC-1", "--instance", whole.account.Alert().Instance)
	want := whole.shape()

	o, dir := onDisk(t)
	kills := 0
	args := []string{"run", "full-response", "--case", "INC-1", "--instance", o.account.Alert().Instance}
	for kills < 10 && o.killedAt(6+kills, dir, args...) {
		kills++
		args = []string{"resume", "--case", "INC-1"}
	}
	if kills < 10 {
		t.Errorf("it was over after %d kills", kills)
	}
	o.cordon(dir, "resume", "--case", "INC-1")
	if got := o.shape(); !reflect.DeepEqual(got, want) {
		t.Error(want.difference(got))
	}
	o.cordon(dir, "journal", "verify", "--case", "INC-1")
}

func TestEachOfTenKillsIsResumedToTheSameEnd(t *testing.T) {
	whole, dir := onDisk(t)
	args := []string{"run", "full-response", "--case", "INC-1", "--set", "export=false", "--instance", whole.account.Alert().Instance}
	whole.cordon(dir, args...)
	want := whole.shape()
	at := []int{3, 11, 23, 34, 47, 58, 70, 80, 88, 96}
	for i := 0; i < len(at); i += everyKill {
		n := at[i]
		o, dir := onDisk(t)
		if !o.killedAt(n, dir, args...) {
			t.Errorf("it was over before entry %d", n)
		}
		o.cordon(dir, "resume", "--case", "INC-1")
		if got := o.shape(); !reflect.DeepEqual(got, want) {
			t.Errorf("killed at entry %d:\n%s", n, want.difference(got))
		}
		o.cordon(dir, "journal", "verify", "--case", "INC-1")
	}
}
