package rehearsal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/cordon-ir/cordon/internal/clock"
)

// quiet is how much real time without a call or a wake-up lets the simulated
// clock jump to the next sleeper's wake-up.
const quiet = time.Millisecond

// Account is a simulated AWS account. Several processes may open the same
// directory at once: every call locks it, sees the newest state and leaves its
// own there before it returns, so that a killed process loses nothing.
type Account struct {
	dir   string // empty: in memory only
	lock  *lockedfile.Mutex
	clock *clock.Simulated
	blobs blobs
	ops   operations

	mu     sync.Mutex
	world  *world
	loaded fs.FileInfo // of the state file that world was read from or written to
}

const stateFile = "account.json"

// ErrNotAnAccount: the directory holds no simulated account.
var ErrNotAnAccount = errors.New("not a simulated account")

// newAccount makes an account in dir, which must not exist or be empty; an empty dir
// keeps it in memory. The build function (a scenario) fills its world.
func newAccount(dir string, start time.Time, seed int64, build func(*world) error) (*Account, error) {
	w := newWorld(start, seed)
	if dir == "" {
		a := &Account{blobs: newMemoryBlobs(), ops: newOperations(), world: w}
		w.blobs = a.blobs
		a.clock = clock.NewSimulated(&memoryTime{now: start}, quiet)
		return a, build(w)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o700); err != nil {
		return nil, err
	}
	if err := writeTime(dir, start); err != nil {
		return nil, err
	}
	a := open(dir)
	w.blobs = a.blobs
	if err := build(w); err != nil {
		return nil, err
	}
	a.world = w
	return a, a.save()
}

// Open opens an account that Create made. It fails with ErrNotAnAccount.
func Open(dir string) (*Account, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotAnAccount)
	}
	a := open(dir)
	return a, a.load()
}

func open(dir string) *Account {
	return &Account{
		dir: dir, lock: lockedfile.MutexAt(filepath.Join(dir, "lock")),
		clock: clock.NewSimulated(&fileTime{path: filepath.Join(dir, timeFile)}, quiet),
		blobs: dirBlobs(filepath.Join(dir, "blobs")), ops: newOperations(),
	}
}

// Dir is where the account lives; empty in memory.
func (a *Account) Dir() string { return a.dir }

// Clock is the account's time. Whoever works in the account waits on it.
func (a *Account) Clock() *clock.Simulated { return a.clock }

// with runs f on the newest world, alone, and keeps it where f says that it changed.
func (a *Account) with(f func(*world) (changed bool)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir == "" {
		f(a.world)
		return nil
	}
	unlock, err := a.lock.Lock()
	if err != nil {
		return fmt.Errorf("simulated account %s: %w", a.dir, err)
	}
	defer unlock()
	if err := a.load(); err != nil {
		return err
	}
	if !f(a.world) {
		return nil
	}
	return a.save()
}

// load reads the state where another process has written it since.
func (a *Account) load() error {
	path := filepath.Join(a.dir, stateFile)
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("simulated account: %w", err)
	}
	if a.loaded != nil && os.SameFile(a.loaded, info) && a.loaded.ModTime().Equal(info.ModTime()) && a.loaded.Size() == info.Size() {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("simulated account: %w", err)
	}
	w := &world{}
	if err := json.Unmarshal(b, w); err != nil {
		return fmt.Errorf("simulated account %s: %w", path, err)
	}
	w.link(a.blobs)
	a.world, a.loaded = w, info
	return nil
}

// save replaces the state file whole, so that a reader sees the old or the new one.
func (a *Account) save() error {
	b, err := json.Marshal(a.world)
	if err != nil {
		return fmt.Errorf("simulated account: %w", err)
	}
	path := filepath.Join(a.dir, stateFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("simulated account: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("simulated account: %w", err)
	}
	a.loaded, err = os.Stat(path)
	return err
}
