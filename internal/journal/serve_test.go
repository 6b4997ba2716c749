package journal

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// serve serves j until the returned function is called, which waits for it.
func serve(t testing.TB, j *Journal, h Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Serve(ctx, h) }()
	for {
		select {
		case err := <-done:
			t.Fatalf("Serve: %v", err)
		default:
		}
		if c, err := Attach(t.Context(), j.Dir()); err == nil {
			must(0, c.Close())
			break
		} else if !errors.Is(err, ErrNotLive) {
			t.Fatal(err)
		}
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func attach(t testing.TB, dir string) *Client {
	t.Helper()
	c, err := Attach(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestALiveCaseIsReadVerifiedAndExportedThroughItsHolder(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	fill(t, j, pageEntries+10)
	serve(t, j, Handler{})
	n := uint64(0)
	for e, err := range Read(t.Context(), j.Dir()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != n {
			t.Fatalf("entry %d came where %d was due", e.Seq, n)
		}
		n++
	}
	if n != j.Len() {
		t.Errorf("read %d entries of %d", n, j.Len())
	}
	report, err := Verify(t.Context(), j.Dir())
	if err != nil || report.Entries != n || report.Signed != 1 {
		t.Errorf("verify: %+v, %v", report, err)
	}
	var export strings.Builder
	if err := Export(t.Context(), j.Dir(), &export); err != nil {
		t.Fatal(err)
	}
	if report, err := VerifyExport(strings.NewReader(export.String())); err != nil || report.Entries != n {
		t.Errorf("export: %+v, %v", report, err)
	}
}

func TestAClientSeesEveryEntryOnceInOrder(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	stop := serve(t, j, Handler{})
	const writers, each = 3, 50
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range each {
				must(j.Append(context.Background(), aNote(i)))
				j.Publish(incident.Progress{Step: "export", Done: int64(i)})
			}
		})
	}
	for range 2 {
		c := attach(t, j.Dir())
		group.Go(func() {
			next := uint64(0)
			for event, err := range c.Follow(context.Background(), 0) {
				if err != nil {
					t.Error(err)
				}
				if event.Entry == nil {
					continue
				}
				if event.Entry.Seq != next {
					t.Errorf("entry %d came where %d was due", event.Entry.Seq, next)
				}
				if next++; next == 1+writers*each {
					return
				}
			}
			t.Errorf("ended after %d entries", next)
		})
	}
	group.Wait()
	stop()
}

// Entries that were committed before the holder ended reach its followers.
func TestFollowersGetTheLastEntryAndAnOrderlyEnd(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	serve(t, j, Handler{})
	c := attach(t, j.Dir())
	following := make(chan struct{})
	end := make(chan struct{})
	var last incident.Entry
	var failed error
	go func() {
		defer close(end)
		for event, err := range c.Follow(context.Background(), 0) {
			if err != nil {
				failed = err
				return
			}
			if event.Entry != nil {
				if last = *event.Entry; last.Seq == 0 {
					close(following)
				}
			}
		}
	}()
	<-following
	fill(t, j, pageEntries*2)
	closed(t, j) // ends Serve too
	<-end
	if failed != nil || last.Seq != pageEntries*2 {
		t.Errorf("ended at entry %d with %v", last.Seq, failed)
	}
	if _, err := os.Stat(filepath.Join(j.Dir(), SocketFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestProgressReachesFollowersAndIsNotStored(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	serve(t, j, Handler{})
	c := attach(t, j.Dir())
	for event, err := range c.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Progress != nil {
			if event.Progress.Done != 7 {
				t.Errorf("got %+v", event.Progress)
			}
			break
		}
		j.Publish(incident.Progress{Step: "export", Done: 7, Total: 9, Unit: "bytes"}) // its follower is there
	}
	if j.Len() != 1 {
		t.Errorf("progress was stored: %d entries", j.Len())
	}
}

// Two hundred times more progress than fits, to a follower who reads nothing:
// Publish and Append go on, and no entry is lost.
func TestASlowFollowerLosesProgressButNoEntry(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	serve(t, j, Handler{})
	c := attach(t, j.Dir())
	next := uint64(0)
	for event, err := range c.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Entry == nil {
			continue
		}
		if event.Entry.Seq != next {
			t.Fatalf("entry %d came where %d was due", event.Entry.Seq, next)
		}
		if next == 0 { // meanwhile nobody reads
			for i := range 200 * maxProgress {
				j.Publish(incident.Progress{Step: strings.Repeat("x", 500), Done: int64(i)})
			}
			fill(t, j, 100)
		}
		if next++; next == 101 {
			return
		}
	}
	t.Errorf("ended after %d entries", next)
}

// A stopped terminal must not keep the run from ending.
func TestAClientThatReadsNothingDoesNotHoldUpTheEnd(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	j.lastWords = 10 * time.Millisecond
	for range 20 {
		must(j.Append(t.Context(), incident.Draft{Type: "test", Data: make([]byte, 100<<10)}))
	}
	stop := serve(t, j, Handler{})
	conn := must(dial(t.Context(), j.Dir()))
	defer conn.Close()
	must(conn.Write([]byte(`{"op":"follow"}` + "\n")))
	idle := must(dial(t.Context(), j.Dir()))
	defer idle.Close()
	stop()
}

func TestNotesApprovalsAndInterruptsReachTheHolder(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	type approval struct {
		step string
		incident.Approval
	}
	var got []approval
	interrupted := 0
	serve(t, j, Handler{
		Approve: func(_ context.Context, step string, a incident.Approval) error {
			if len(got) > 0 {
				return incident.WithHint(errors.New("already answered"), "cordon journal show")
			}
			got = append(got, approval{step, a})
			return nil
		},
		Interrupt: func() error { interrupted++; return nil },
	})
	c := attach(t, j.Dir())
	if err := c.Note(t.Context(), "saw it beacon"); err != nil {
		t.Fatal(err)
	}
	for e := range j.Entries(1) {
		if e.Type != incident.EntryNote || !strings.Contains(string(e.Data), "saw it beacon") || e.Actor != Self() {
			t.Errorf("the note is %+v", e)
		}
	}
	if err := c.Approve(t.Context(), "cut", incident.Approval{Approved: true, Digest: "sha256:1"}); err != nil {
		t.Fatal(err)
	}
	err := c.Approve(t.Context(), "cut", incident.Approval{})
	var hint *incident.HintError
	if !errors.As(err, &hint) || err.Error() != "already answered" || hint.Hint != "cordon journal show" {
		t.Errorf("the second answer: %v", err)
	}
	want := approval{"cut", incident.Approval{Approved: true, Digest: "sha256:1", By: Self(), How: "socket"}}
	if len(got) != 1 || got[0] != want {
		t.Errorf("the handler got %+v", got)
	}
	if err := c.Interrupt(t.Context()); err != nil || interrupted != 1 {
		t.Errorf("interrupt: %v, handled %d times", err, interrupted)
	}
	if err := c.Note(t.Context(), ""); err == nil {
		t.Error("an empty note was taken")
	}
}

func TestWithoutAHandlerRequestsAreRefused(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	serve(t, j, Handler{})
	c := attach(t, j.Dir())
	if c.Approve(t.Context(), "cut", incident.Approval{}) == nil || c.Interrupt(t.Context()) == nil ||
		c.Pause(t.Context(), "") == nil || c.Continue(t.Context()) == nil || c.Skip(t.Context(), "cut", "") == nil || c.Retry(t.Context(), "cut", "") == nil {
		t.Error("a request that nobody handles was taken")
	}
}

func TestOrdersReachTheHolderWithWhoGaveThem(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	var got []any
	serve(t, j, Handler{
		Pause:    func(p incident.RunPaused) error { got = append(got, p); return nil },
		Continue: func(c incident.RunContinued) error { got = append(got, c); return nil },
		Skip: func(step string, s incident.Skipping) error {
			got = append(got, step, s)
			return errors.New("the step is running")
		},
		Retry: func(step string, r incident.Retrying) error { got = append(got, step, r); return nil },
	})
	c := attach(t, j.Dir())
	if err := errors.Join(c.Pause(t.Context(), "the owner calls"), c.Continue(t.Context())); err != nil {
		t.Error(err)
	}
	if err := c.Skip(t.Context(), "cut", "not yet"); err == nil || err.Error() != "the step is running" {
		t.Errorf("skip: %v", err)
	}
	if err := c.Retry(t.Context(), "export", "there is room again"); err != nil {
		t.Error(err)
	}
	if c.Skip(t.Context(), "", "") == nil || c.Retry(t.Context(), "", "") == nil {
		t.Error("an order about no step was taken")
	}
	want := []any{
		incident.RunPaused{By: Self(), Reason: "the owner calls"}, incident.RunContinued{By: Self()},
		"cut", incident.Skipping{By: Self(), Reason: "not yet"},
		"export", incident.Retrying{By: Self(), Reason: "there is room again"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("the handler got %+v", got)
	}
}

func TestASecondHolderIsToldAtOnceWhoHoldsTheCase(t *testing.T) {
	j, key := newCase(t, "INC-1")
	_, err := Open(t.Context(), j.Dir(), key, newClock())
	var held *HeldError
	if !errors.As(err, &held) || !errors.Is(err, ErrHeld) || held.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
	for _, err := range Read(t.Context(), j.Dir()) {
		if !errors.Is(err, ErrHeld) {
			t.Errorf("a reader where nobody serves: %v, want ErrHeld", err)
		}
	}
}

func TestAStaleSocketDoesNotBlock(t *testing.T) {
	j, key := newCase(t, "INC-1")
	dir := closed(t, j)
	l := must(net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, SocketFile), Net: "unix"}))
	l.SetUnlinkOnClose(false)
	must(0, l.Close()) // as a killed holder leaves it

	if _, err := Attach(t.Context(), dir); !errors.Is(err, ErrNotLive) {
		t.Errorf("attach: %v, want ErrNotLive", err)
	}
	if _, err := Verify(t.Context(), dir); err != nil {
		t.Errorf("verify: %v", err)
	}
	j = must(Open(t.Context(), dir, key, newClock()))
	t.Cleanup(func() { j.Close() })
	serve(t, j, Handler{})
	attach(t, dir)
	if mode := must(os.Stat(filepath.Join(dir, SocketFile))).Mode(); mode.Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", mode)
	}
}

func TestNobodyIsLiveWhereNobodyServes(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	if _, err := Attach(t.Context(), j.Dir()); !errors.Is(err, ErrNotLive) {
		t.Errorf("held, not served: %v, want ErrNotLive", err)
	}
	if _, err := Attach(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNotLive) {
		t.Errorf("no case: %v, want ErrNotLive", err)
	}
}

func TestACaseDeepInTheFileSystemIsServed(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 20))
	j := createIn(t, deep, "INC-1", must(LoadKey(t.TempDir())))
	stop := serve(t, j, Handler{})
	if err := attach(t, j.Dir()).Note(t.Context(), "hello"); err != nil {
		t.Error(err)
	}
	stop()
	if _, err := os.Stat(filepath.Join(j.Dir(), SocketFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// crashEnv makes the test binary a holder who appends and reports each
// acknowledged entry's number until it is killed.
const crashEnv = "CORDON_TEST_JOURNAL_HOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		appendForever(dir)
	}
	os.Exit(m.Run())
}

func appendForever(dir string) {
	ctx := context.Background()
	j := must(Open(ctx, dir, must(LoadKey(filepath.Dir(dir))), newClock()))
	go func() { must(0, j.Serve(ctx, Handler{})) }()
	for i := 0; ; i++ {
		e := must(j.Append(ctx, aNote(i)))
		must(os.Stdout.WriteString(strconv.FormatUint(e.Seq, 10) + "\n"))
	}
}

func TestAKilledHolderLosesNothingItAcknowledged(t *testing.T) {
	parent := t.TempDir()
	key := must(LoadKey(parent))
	dir := closed(t, createIn(t, parent, "INC-1", key))
	for kill := range 8 {
		holder := exec.Command(os.Args[0])
		holder.Env = append(os.Environ(), crashEnv+"="+dir)
		holder.Stderr = os.Stderr
		out := bufio.NewScanner(must(holder.StdoutPipe()))
		must(0, holder.Start())
		var acknowledged string
		for range 1 + kill*7 {
			out.Scan()
			acknowledged = out.Text()
		}
		_, err := Open(t.Context(), dir, key, newClock())
		var held *HeldError
		if !errors.As(err, &held) || held.PID != holder.Process.Pid {
			t.Errorf("while pid %d holds the case: %v", holder.Process.Pid, err)
		}
		must(0, holder.Process.Kill()) // SIGKILL
		for out.Scan() {
			acknowledged = out.Text()
		}
		_ = holder.Wait() // it was killed

		if _, err := Attach(t.Context(), dir); !errors.Is(err, ErrNotLive) {
			t.Errorf("attach: %v, want ErrNotLive", err)
		}
		report, err := key.Verify(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		last := must(strconv.ParseUint(acknowledged, 10, 64))
		if report.Entries < last+1 || report.Entries > last+2 {
			t.Errorf("entry %d was acknowledged, the journal has %d", last, report.Entries)
		}
		j := must(Open(t.Context(), dir, key, newClock()))
		fill(t, j, 1)
		closed(t, j)
	}
	if report, err := key.Verify(t.Context(), dir); err != nil || report.Signed != report.Entries {
		t.Errorf("in the end: %+v, %v", report, err)
	}
}

func TestAFollowerOfAKilledHolderIsTold(t *testing.T) {
	j, _ := newCase(t, "INC-1")
	l := must(listen(j.Dir()))
	defer l.Close()
	var holder sync.WaitGroup
	holder.Go(func() { // answers one hello, then dies in mid-answer
		for range 2 {
			conn := must(l.Accept())
			line := must(readLine(bufio.NewReader(conn), maxRequest))
			if r := must(parseRequest(line)); r.Op == opHello {
				must(0, newWire(conn).send(message{Done: true}))
			} else {
				must(conn.Write([]byte(`{"entry":{"seq":0`)))
			}
			must(0, conn.Close())
		}
	})
	c := attach(t, j.Dir())
	for _, err := range c.Follow(t.Context(), 0) {
		if !errors.Is(err, ErrHolderGone) {
			t.Errorf("got %v, want ErrHolderGone", err)
		}
	}
	holder.Wait()
}

func FuzzTheSocketTakesOnlyWhatItUnderstands(f *testing.F) {
	for _, line := range []string{
		`{"op":"hello"}`, `{"op":"follow","from":3}`, `{"op":"note","actor":"a@b","text":"x"}`,
		`{"op":"approve","step":"s@1/r/i","approval":{"approved":true,"digest":"d","by":"b","how":"socket"}}`,
		`{"op":"interrupt","from":1}`, `{"op":"read"}{}`, `null`, `{"op":"note","text":""}`, `{"op":"approve"}`,
		`{"op":"retry","actor":"a@b","step":"s","text":"why"}`, `{"op":"retry"}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			return
		}
		switch r.Op {
		case opPause, opContinue, opSkip, opRetry:
			if r.Approval != nil || r.From != 0 || (r.Step != "") != (r.Op == opSkip || r.Op == opRetry) || r.Text != "" && r.Op == opContinue {
				t.Errorf("%q was taken with a field that does not belong to it, or without its step", line)
			}
		case opHello, opRead, opFollow, opInterrupt:
			if r.Text != "" || r.Approval != nil || r.Actor != "" || r.Step != "" {
				t.Errorf("%q was taken with a field that does not belong to it", line)
			}
		case opNote:
			if r.Text == "" {
				t.Errorf("%q was taken without text", line)
			}
		case opApprove:
			if r.Approval == nil {
				t.Errorf("%q was taken without an approval", line)
			}
		default:
			t.Errorf("%q was taken", line)
		}
	})
}
