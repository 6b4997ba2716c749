package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// testClock moves one millisecond with every look at it, and never waits.
type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *testClock { return &testClock{t: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

func (c *testClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func (c *testClock) WithTimeout(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// newCase opens a case in a new directory and returns its key too. What is
// open at the test's end is closed.
func newCase(t testing.TB, id string) (*Journal, Key) {
	t.Helper()
	key := must(LoadKey(t.TempDir()))
	return createIn(t, t.TempDir(), id, key), key
}

func createIn(t testing.TB, parent, id string, key Key) *Journal {
	t.Helper()
	j, err := Create(t.Context(), filepath.Join(parent, id), incident.Case{ID: id, Title: "web shell on <prod>"}, key, newClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	j.lastWords = 5 * time.Minute // however slow the machine is
	if _, benchmark := t.(*testing.B); !benchmark {
		j.db.NoSync = true // these tests don't cut the power
	}
	return j
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fill appends n notes.
func fill(t testing.TB, j *Journal, n int) {
	t.Helper()
	for i := range n {
		if _, err := j.Append(context.Background(), aNote(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func aNote(i int) incident.Draft {
	return incident.Draft{Type: incident.EntryNote, Run: "r1", Data: incident.Note{Text: fmt.Sprintf("note %d: <b>\u2028 & ünï", i)}}
}

func closed(t testing.TB, j *Journal) string {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return j.Dir()
}

func TestANewCaseCarriesItselfAndItsKey(t *testing.T) {
	j, key := newCase(t, "INC-1")
	c := j.Case()
	if c.ID != "INC-1" || c.PublicKey != key.PublicKey("INC-1") || c.Opened.IsZero() {
		t.Errorf("case is %+v", c)
	}
	if j.Len() != 1 {
		t.Errorf("a new journal has %d entries, want its first", j.Len())
	}
	info := must(os.Stat(j.Dir()))
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v", info.Mode())
	}
	report, err := key.Verify(t.Context(), closed(t, j))
	if err != nil || report.Signed != 1 || !report.KeyKnown {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

func TestACaseIsNotCreatedTwice(t *testing.T) {
	j, key := newCase(t, "INC-1")
	_, err := Create(t.Context(), j.Dir(), incident.Case{ID: "INC-1"}, key, newClock())
	if !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	key := must(LoadKey(t.TempDir()))
	for _, test := range []struct {
		dir string
		id  string
		key Key
	}{
		{"INC-1", "INC-2", key},
		{"INC 1", "INC 1", key},
		{"..", "..", key},
		{"INC-1", "INC-1", Key{}},
	} {
		if _, err := Create(t.Context(), filepath.Join(parent, test.dir), incident.Case{ID: test.id}, test.key, newClock()); err == nil {
			t.Errorf("case %q in directory %q was created", test.id, test.dir)
		}
	}
	if names := must(os.ReadDir(parent)); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestOpenNeedsACaseAndItsKey(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	dir := closed(t, j)
	if _, err := Open(t.Context(), dir, must(LoadKey(t.TempDir())), newClock()); !errors.Is(err, ErrKey) {
		t.Errorf("with another key: %v, want ErrKey", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), Key{}, newClock()); !errors.Is(err, ErrNoCase) {
		t.Errorf("without a journal: %v, want ErrNoCase", err)
	}
}

func TestEntriesComeBackAsTheyWereAppended(t *testing.T) {
	j, key := newCase(t, "INC-1")
	var appended []incident.Entry
	for i := range 5 {
		appended = append(appended, must(j.Append(t.Context(), aNote(i))))
	}
	dir, head := closed(t, j), j.Head()

	j = must(Open(t.Context(), dir, key, newClock()))
	t.Cleanup(func() { j.Close() })
	if j.Len() != 6 || j.Head() != head {
		t.Fatalf("reopened at %d entries and head %s, closed at 6 and %s", j.Len(), j.Head(), head)
	}
	i := 0
	for e, err := range j.Entries(1) {
		if err != nil {
			t.Fatal(err)
		}
		want := string(must(json.Marshal(appended[i])))
		if got := string(must(json.Marshal(e))); got != want {
			t.Errorf("entry %d is\n%s, Append returned\n%s", i+1, got, want)
		}
		i++
	}
	if i != 5 {
		t.Errorf("got %d entries, want 5", i)
	}
}

func TestWhatJSONWouldChangeIsRefusedAndTheJournalGoesOn(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	for _, data := range []any{
		map[string]uint64{"size": 1 << 53},
		map[string]int64{"offset": math.MinInt64},
		map[string]uint64{"max": math.MaxUint64},
		[]any{"x", json.RawMessage(`9007199254740993`)},
		json.RawMessage(`{"a":1,"a":2}`),
		json.RawMessage("\"\xff\""),
		math.NaN(),
	} {
		if _, err := j.Append(t.Context(), incident.Draft{Type: "test", Data: data}); err == nil {
			t.Errorf("%v was appended", data)
		}
	}
	for _, data := range []any{
		map[string]any{"size": 1<<53 - 1, "offset": -(1<<53 - 1), "quote": `\"9007199254740993`, "f": 1e300},
		nil, "text", 1.5,
	} {
		if _, err := j.Append(t.Context(), incident.Draft{Type: "test", Data: data}); err != nil {
			t.Errorf("%v was refused: %v", data, err)
		}
	}
	if _, err := Verify(t.Context(), closed(t, j)); err != nil {
		t.Error(err)
	}
}

// Fields named like the entry's own, in data and in text, don't mislead the
// code that finds the hash in an entry's text.
func TestDataMayLookLikeAnEntry(t *testing.T) {
	j, key := newCase(t, "INC-1")
	inner := incident.Entry{Seq: 7, Prev: "00", Hash: "11", Data: json.RawMessage(`{"hash":"","prev":""}`)}
	for _, d := range []incident.Draft{
		{Type: "test", Data: inner},
		{Type: `","hash":"`, Run: `"hash":"x",`, Step: `\"hash\":\"`, Target: `"prev":"`, Actor: `"hash":"`},
	} {
		if _, err := j.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := key.Verify(t.Context(), closed(t, j)); err != nil {
		t.Error(err)
	}
}

// workClock notes how long the journal is when work begins and ends.
type workClock struct {
	*testClock
	j    *Journal
	lens []uint64
}

func (c *workClock) Begin()                       { c.lens = append(c.lens, c.j.Len()) }
func (c *workClock) End(time.Time, time.Duration) { c.Begin() }

func TestARehearsalsClockIsToldOfACommit(t *testing.T) {
	j, key := newCase(t, "INC-1")
	dir := closed(t, j)
	c := &workClock{testClock: newClock()}
	c.j = must(Open(t.Context(), dir, key, c))
	t.Cleanup(func() { c.j.Close() })
	fill(t, c.j, 1)
	if !slices.Equal(c.lens, []uint64{1, 2}) {
		t.Errorf("from work's beginning to its end the journal has %v entries", c.lens)
	}
	if _, err := c.j.Append(t.Context(), incident.Draft{Type: incident.EntryNote, Data: make(chan int)}); err == nil || len(c.lens)%2 != 0 {
		t.Errorf("a refused entry: %v, work %v", err, c.lens)
	}
}

func TestAfterAFailedCommitNothingIsAppended(t *testing.T) {
	j, key := newCase(t, "INC-1")
	fill(t, j, 3)
	j.db.MaxSize = int(must(os.Stat(filepath.Join(j.Dir(), File))).Size()) // the disk is full
	big := incident.Draft{Type: "test", Data: make([]byte, 1<<20)}
	if _, err := j.Append(t.Context(), big); !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	j.db.MaxSize = 0 // there is room again, but what the run did meanwhile is not known
	if _, err := j.Append(t.Context(), aNote(9)); !errors.Is(err, ErrFailed) {
		t.Errorf("a later append: %v, want ErrFailed", err)
	}
	if _, err := j.Checkpoint(t.Context()); !errors.Is(err, ErrFailed) {
		t.Errorf("a checkpoint: %v, want ErrFailed", err)
	}
	dir := closed(t, j)
	j = must(Open(t.Context(), dir, key, newClock()))
	t.Cleanup(func() { j.Close() })
	fill(t, j, 1)
	if report, err := key.Verify(t.Context(), closed(t, j)); err != nil || report.Entries != 5 {
		t.Errorf("after reopening: %+v, %v", report, err)
	}
}

func TestNothingIsAppendedOnceClosed(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	closed(t, j)
	if _, err := j.Append(t.Context(), aNote(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestFollowYieldsEachEntryOnceInOrder(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	const writers, each = 4, 40
	var group sync.WaitGroup
	for range writers {
		group.Go(func() { fill(t, j, each) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	next := uint64(0)
	for e, err := range j.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != next {
			t.Fatalf("entry %d came where %d was due", e.Seq, next)
		}
		if next++; next == 1+writers*each {
			cancel()
		}
	}
	group.Wait()
	cancel()
}

func TestFollowEndsWhenTheJournalIsClosed(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	for e, err := range j.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == 0 {
			closed(t, j)
		}
	}
}

// The next holder must not sign a journal whose tail is gone: its checkpoint
// would hide that.
func TestOpenRefusesWhatContradictsTheCheckpoint(t *testing.T) {
	j, key := newCase(t, "INC-1")
	fill(t, j, 5)
	dir := closed(t, j)
	change(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(entriesBucket).Delete(itob(5)) })
	var wrong *VerifyError
	if _, err := Open(t.Context(), dir, key, newClock()); !errors.As(err, &wrong) || wrong.Seq != 5 {
		t.Errorf("got %v, want an error about entry 5", err)
	}
}

// change edits a journal's file behind its back.
func change(t testing.TB, dir string, edit func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, File), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(edit), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestEveryEntryCanBeProven(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	fill(t, j, 20)
	size, public, dir := j.Len(), j.Case().PublicKey, closed(t, j)
	for seq := range size {
		p, err := Prove(t.Context(), dir, seq)
		if err != nil {
			t.Fatal(err)
		}
		var read Proof // as it comes out of an indented JSON document
		if err := json.Unmarshal(must(json.MarshalIndent(p, "", "  ")), &read); err != nil {
			t.Fatal(err)
		}
		if err := read.Verify(public); err != nil {
			t.Errorf("entry %d: %v", seq, err)
		}
	}
	if _, err := Prove(t.Context(), dir, size); !errors.Is(err, ErrNoEntry) {
		t.Errorf("an entry that is not there: %v", err)
	}
}

func TestAProofOfSomethingElseFails(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	other, _ := newCase(t, "INC-1")
	fill(t, j, 6)
	public, otherPublic := j.Case().PublicKey, other.Case().PublicKey
	dir, otherDir := closed(t, j), closed(t, other)
	prove := func(dir string, seq uint64) Proof { return must(Prove(t.Context(), dir, seq)) }
	good := prove(dir, 3)
	forged := must(decode(good.Entry))
	forged.Data = json.RawMessage(`{"text":"nothing happened"}`)
	changed := map[string]func(p *Proof){
		"another entry":      func(p *Proof) { p.Entry = prove(dir, 2).Entry },
		"a forged entry":     func(p *Proof) { p.Entry = must(seal(forged)) },
		"a hash too few":     func(p *Proof) { p.Hashes = p.Hashes[1:] },
		"another hash":       func(p *Proof) { p.Hashes = append([]tlog.Hash{{}}, p.Hashes[1:]...) },
		"another checkpoint": func(p *Proof) { p.Checkpoint = prove(otherDir, 0).Checkpoint },
		"no entry":           func(p *Proof) { p.Entry = nil },
	}
	for name, change := range changed {
		p := good
		change(&p)
		if p.Verify(public) == nil {
			t.Errorf("with %s the proof verifies", name)
		}
	}
	if err := good.Verify(public); err != nil {
		t.Error(err)
	}
	if good.Verify(otherPublic) == nil {
		t.Error("the proof verifies with another key")
	}
}

func TestTheKeyIsMadeOnce(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new")
	keys := make([]Key, 8)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() { keys[i] = must(LoadKey(home)) })
	}
	group.Wait()
	for _, k := range keys {
		if k.PublicKey("X") != keys[0].PublicKey("X") {
			t.Fatal("two processes got different keys")
		}
	}
	if names := must(os.ReadDir(home)); len(names) != 1 {
		t.Errorf("the home holds %v, want the key", names)
	}
	path := filepath.Join(home, KeyFile)
	if mode := must(os.Stat(path)).Mode().Perm(); mode != 0o600 {
		t.Errorf("the key's mode is %v", mode)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(home); err == nil {
		t.Error("a key that others can read was used")
	}
}
