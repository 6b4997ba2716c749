package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Journal is a case held by this process. Its methods may be called
// concurrently.
type Journal struct {
	dir   string
	db    *bbolt.DB
	lock  *os.File
	key   Key
	clock incident.Clock
	self  string
	c     incident.Case

	closed    chan struct{}
	serving   sync.WaitGroup // calls of Serve
	lastWords time.Duration  // the constant, but in tests

	mu      sync.Mutex
	size    uint64        // entries on disk
	head    string        // hash of the last of them
	signed  uint64        // entries that the checkpoint file covers
	failed  error         // of the commit that made the journal refuse more
	changed chan struct{} // closed, and made anew, by every entry
	closing bool

	clockRead reading // what readClock compares with

	watchers watchers
}

var _ incident.Appender = (*Journal)(nil)

// Open takes hold of the case in dir. It fails at once with ErrHeld while
// another process holds it, with ErrNoCase where there is no journal, with
// ErrKey where the case belongs to another key, with *CorruptError where the
// file is damaged, and with *VerifyError where it contradicts its own
// checkpoint: such a journal is evidence and nothing is added to it. It checks
// the first and the last entry and the tree, not every entry; Verify does that.
func Open(ctx context.Context, dir string, key Key, clock incident.Clock) (*Journal, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, File)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoCase)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		dir: dir, lock: lock, key: key, clock: clock, self: Self(), lastWords: lastWords,
		closed: make(chan struct{}), changed: make(chan struct{}),
	}
	if j.db, err = openDB(path, readWrite, readerPatience); err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			err = &HeldError{Dir: dir}
		}
		return nil, errors.Join(err, release(lock))
	}
	if err := guarded(path, func() error { return j.db.View(j.load) }); err != nil {
		return nil, errors.Join(err, j.db.Close(), release(lock))
	}
	j.readClock()
	return j, nil
}

// load reads where the journal stands, and checks what can be checked without
// reading every entry.
func (j *Journal) load(tx *bbolt.Tx) error {
	entries := tx.Bucket(entriesBucket)
	first, err := checkForm(entries.Get(itob(0)))
	if err != nil {
		return &VerifyError{Seq: 0, Reason: "is the case's first", Err: err}
	}
	if j.c, err = caseOf(first); err != nil {
		return err
	}
	if ours := j.key.PublicKey(j.c.ID); j.c.PublicKey != ours {
		err := fmt.Errorf("case %s: %w: %s, not %s", j.c.ID, ErrKey, j.c.PublicKey, ours)
		return incident.WithHint(err, "use the home whose "+KeyFile+" opened the case")
	}
	k, v := entries.Cursor().Last()
	last, err := checkForm(v)
	if err != nil || string(k) != string(itob(last.Seq)) {
		return &VerifyError{Seq: last.Seq, Reason: "is the journal's last", Err: err}
	}
	if err := checkDirectory(j.dir, j.c); err != nil {
		return err
	}
	j.size, j.head = last.Seq+1, last.Hash
	return j.checkSigned(tx)
}

// checkSigned compares the tree with the checkpoint file, so that no later
// checkpoint covers up that entries are missing.
func (j *Journal) checkSigned(tx *bbolt.Tx) error {
	c, err := readCheckpoint(j.dir)
	if err != nil {
		return &VerifyError{Seq: j.size - 1, Reason: "is the last, and there is no signed checkpoint beside the journal", Err: err}
	}
	h, err := openCheckpoint(j.c.PublicKey, j.c.ID, c)
	if err != nil {
		return &VerifyError{Seq: j.size - 1, Reason: "is the last, and the journal's checkpoint does not verify", Err: err}
	}
	j.signed = h.size
	return h.check(j.size, storedHashes(tx))
}

// caseOf reads a journal's first entry.
func caseOf(first incident.Entry) (incident.Case, error) {
	var c incident.Case
	if first.Type != incident.EntryCaseOpened {
		return c, &VerifyError{Seq: 0, Reason: fmt.Sprintf("is %s, not %s", first.Type, incident.EntryCaseOpened)}
	}
	if err := json.Unmarshal(first.Data, &c); err != nil {
		return c, &VerifyError{Seq: 0, Reason: "holds no case", Err: err}
	}
	if c.ID != first.Case {
		return c, &VerifyError{Seq: 0, Reason: fmt.Sprintf("is of case %s and opens case %s", first.Case, c.ID)}
	}
	return c, nil
}

// checkDirectory catches the journal of one case put in the place of another's.
func checkDirectory(dir string, c incident.Case) error {
	if base := filepath.Base(dir); base != c.ID {
		return &VerifyError{Seq: 0, Reason: fmt.Sprintf("opens case %s, the directory is that of case %s", c.ID, base)}
	}
	return nil
}

// Self is the actor of what this process does: user@host.
func Self() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

// Append records what d says. It returns after the commit is on disk, in the
// order of the entries' numbers. Where the machine's clock was set since the entry before, an entry that
// says so comes first. It does not look at whether ctx has ended:
// what has happened is recorded all the same. Where a commit fails, this and every
// further Append returns ErrFailed and nothing may be done until the journal
// is opened again; the entry whose commit failed may then be there. A draft
// that can't be written as canonical JSON is refused and leaves the journal in order.
func (j *Journal) Append(_ context.Context, d incident.Draft) (incident.Entry, error) {
	data, err := marshalData(d.Data)
	if err != nil {
		return incident.Entry{}, fmt.Errorf("journal entry %s: %w", d.Type, err)
	}
	if d.Actor == "" {
		d.Actor = j.self
	}
	defer j.working()()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return incident.Entry{}, err
	}
	now, set := j.readClock()
	if set != 0 {
		if err := j.sayClockSet(now, set); err != nil {
			return incident.Entry{}, err
		}
	}
	return j.commit(incident.Entry{
		Time: now, Type: d.Type, Run: d.Run, Step: d.Step, Target: d.Target, Actor: d.Actor, Data: data,
	})
}

// commit numbers and chains an entry, and puts it on disk. Held: mu.
func (j *Journal) commit(e incident.Entry) (incident.Entry, error) {
	e.Seq, e.Case, e.Prev = j.size, j.c.ID, j.head
	raw, err := seal(e)
	if err != nil {
		return incident.Entry{}, fmt.Errorf("journal entry %s: %w", e.Type, err)
	}
	entry, err := decode(raw)
	if err != nil {
		return incident.Entry{}, fmt.Errorf("journal entry %s: %w", e.Type, err)
	}
	err = guarded(j.db.Path(), func() error {
		return j.db.Update(func(tx *bbolt.Tx) error { return put(tx, record{entry.Seq, raw}) })
	})
	if err != nil {
		j.failed = err
		return incident.Entry{}, j.usable()
	}
	j.size, j.head = entry.Seq+1, entry.Hash
	close(j.changed)
	j.changed = make(chan struct{})
	return entry, nil
}

// worker is a clock that has to be told of work: a rehearsal's, which jumps while nothing goes on.
type worker interface {
	Begin()
	End(start time.Time, d time.Duration)
}

// working keeps a rehearsal's clock from jumping while the disk takes an entry, however
// slow it is; on that clock it takes no time.
func (j *Journal) working() (done func()) {
	w, ok := j.clock.(worker)
	if !ok {
		return func() {}
	}
	w.Begin()
	return func() { w.End(time.Time{}, 0) }
}

// usable says why nothing more can be appended. Held: mu.
func (j *Journal) usable() error {
	if j.failed != nil {
		return fmt.Errorf("%s: %w: %w", j.db.Path(), ErrFailed, j.failed)
	}
	if j.closing {
		return ErrClosed
	}
	return nil
}

// Case is what the first entry says.
func (j *Journal) Case() incident.Case { return j.c }

// Dir is the case's directory.
func (j *Journal) Dir() string { return j.dir }

// Len is the number of entries.
func (j *Journal) Len() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Head is the hash of the last entry.
func (j *Journal) Head() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.head
}

// Entries yields the entries from a number on, in order, up to the last one
// there is when it gets there. The caller may append meanwhile.
func (j *Journal) Entries(from uint64) iter.Seq2[incident.Entry, error] {
	return entries(from, j.page)
}

func (j *Journal) page(from uint64) ([]record, error) {
	page, err := readPage(j.db, from)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = ErrClosed
	}
	return page, err
}

// entries decodes what read returns, page by page, until a page is empty.
func entries(from uint64, read func(from uint64) ([]record, error)) iter.Seq2[incident.Entry, error] {
	return func(yield func(incident.Entry, error) bool) {
		for {
			page, err := read(from)
			for _, r := range page {
				e, err := decode(r.raw)
				if err != nil {
					err = &VerifyError{Seq: r.seq, Reason: "can't be read", Err: err}
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
			if err != nil {
				yield(incident.Entry{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			from += uint64(len(page))
		}
	}
}

// Follow yields the entries from a number on, then waits for new ones, until
// ctx ends or the journal is closed. Each entry comes once, in order. Whoever
// needs the last ones ends the following before closing the journal.
func (j *Journal) Follow(ctx context.Context, from uint64) iter.Seq2[incident.Entry, error] {
	return func(yield func(incident.Entry, error) bool) {
		for {
			changed := j.changes() // before reading: what comes in between wakes us
			for e, err := range j.Entries(from) {
				if ctx.Err() != nil || errors.Is(err, ErrClosed) {
					return
				}
				if !yield(e, err) || err != nil {
					return
				}
				from = e.Seq + 1
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-j.closed:
				return
			}
		}
	}
}

func (j *Journal) changes() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed
}

// Checkpoint signs the journal as it is now and keeps the note in the case's
// directory. It appends no entry: the caller anchors it, and records that.
func (j *Journal) Checkpoint(_ context.Context) (incident.Checkpoint, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return incident.Checkpoint{}, err
	}
	return j.checkpoint()
}

// checkpoint does the work of Checkpoint. Held: mu.
func (j *Journal) checkpoint() (incident.Checkpoint, error) {
	h := head{size: j.size}
	err := guarded(j.db.Path(), func() error {
		return j.db.View(func(tx *bbolt.Tx) (err error) {
			h.root, err = tlog.TreeHash(int64(j.size), storedHashes(tx))
			return err
		})
	})
	if err != nil {
		return incident.Checkpoint{}, fmt.Errorf("checkpoint of case %s: %w", j.c.ID, err)
	}
	c, err := sign(j.key, j.c.ID, h)
	if err != nil {
		return incident.Checkpoint{}, fmt.Errorf("checkpoint of case %s: %w", j.c.ID, err)
	}
	if err := writeCheckpoint(j.dir, c); err != nil {
		return incident.Checkpoint{}, fmt.Errorf("checkpoint of case %s: %w", j.c.ID, err)
	}
	j.signed = j.size
	return c, nil
}

// Close ends Serve, signs a checkpoint where entries came since the last one,
// and lets go of the case. A second call does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil
	}
	j.closing = true
	var err error
	if j.failed == nil && j.signed < j.size {
		_, err = j.checkpoint()
	}
	j.mu.Unlock()
	close(j.closed)
	j.serving.Wait()
	return errors.Join(err, j.db.Close(), release(j.lock))
}
