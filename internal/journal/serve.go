package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Handler does what only the run can do. A nil field refuses the request. Its
// functions are called concurrently.
type Handler struct {
	// Approve answers the step that waits: an incident.StepKey's text, or a step's ID
	// where that is unambiguous. The first answer wins; a later one is an error.
	Approve func(ctx context.Context, step string, a incident.Approval) error
	// Interrupt asks the run to end. It returns at once.
	Interrupt func() error
	// Pause, Continue, Skip and Retry return once the order is journaled: incident.Runner's methods.
	Pause    func(incident.RunPaused) error
	Continue func(incident.RunContinued) error
	Skip     func(step string, s incident.Skipping) error
	Retry    func(step string, r incident.Retrying) error
}

// lastWords is how long, in real time, a client may take to read what is left
// for it when the holder ends: long for one on a busy machine. A stopped terminal must
// not keep a run from ending.
const lastWords = 5 * time.Second

// maxProgress is how many reports of progress wait for a slow follower before
// new ones are dropped.
const maxProgress = 64

// Serve serves the live case on a socket in its directory, until ctx ends or
// the journal is closed. Then followers get the entries there are, and Serve
// returns once all connections are done. Call it once at a time.
func (j *Journal) Serve(ctx context.Context, h Handler) error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	j.serving.Add(1)
	j.mu.Unlock()
	defer j.serving.Done()

	l, err := listen(j.dir)
	if err != nil {
		return fmt.Errorf("serving case %s: %w", j.c.ID, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-ctx.Done():
		case <-j.closed:
			cancel()
		}
		l.Close()
	})
	err = j.accept(ctx, l, h)
	cancel()
	closer.Wait()
	if removeErr := os.Remove(filepath.Join(j.dir, SocketFile)); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// accept handles connections until the listener is closed, and waits for them.
func (j *Journal) accept(ctx context.Context, l *net.UnixListener, h Handler) error {
	cut, cutAll := context.WithCancel(context.Background())
	defer cutAll()
	var connections sync.WaitGroup
	var failure error
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				failure = fmt.Errorf("serving case %s: %w", j.c.ID, err)
			}
			break
		}
		connections.Go(func() { j.converse(ctx, cut, conn, h) })
	}
	late, cancel := context.WithTimeout(context.Background(), j.lastWords)
	defer cancel()
	context.AfterFunc(late, cutAll)
	connections.Wait()
	return failure
}

// converse answers one request. Whatever goes wrong with a client's connection
// is the client's matter: the run goes on. When ctx ends no more is read, when
// cut ends no more is written.
func (j *Journal) converse(ctx, cut context.Context, conn *net.UnixConn, h Handler) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.CloseRead() })()
	defer context.AfterFunc(cut, func() { conn.Close() })()

	w := newWire(conn)
	line, err := readLine(w.in, maxRequest)
	if err != nil {
		return
	}
	r, err := parseRequest(line)
	if err == nil {
		err = j.answer(ctx, w, r, h)
	}
	m := message{Done: true}
	if err != nil {
		m = failure(err)
	}
	_ = w.send(m) // the client may be gone
}

func (j *Journal) answer(ctx context.Context, w *wire, r request, h Handler) error {
	switch r.Op {
	case opHello:
		return nil
	case opRead:
		page, err := j.page(r.From)
		return errors.Join(w.sendEntries(page), err)
	case opFollow:
		return j.follow(w, r.From)
	case opNote:
		_, err := j.Append(ctx, incident.Draft{Type: incident.EntryNote, Actor: r.Actor, Data: incident.Note{Text: r.Text}})
		return err
	case opApprove:
		if h.Approve == nil {
			return errors.New("nothing waits for an approval here")
		}
		return h.Approve(ctx, r.Step, *r.Approval)
	case opInterrupt:
		if h.Interrupt == nil {
			return errors.New("there is nothing to interrupt here")
		}
		return h.Interrupt()
	case opPause, opContinue, opSkip, opRetry:
		return h.steer(r)
	}
	panic("journal: operation without an answer: " + string(r.Op)) // parseRequest lets none through
}

// steer gives the run an order.
func (h Handler) steer(r request) error {
	switch {
	case r.Op == opPause && h.Pause != nil:
		return h.Pause(incident.RunPaused{By: r.Actor, Reason: r.Text})
	case r.Op == opContinue && h.Continue != nil:
		return h.Continue(incident.RunContinued{By: r.Actor})
	case r.Op == opSkip && h.Skip != nil:
		return h.Skip(r.Step, incident.Skipping{By: r.Actor, Reason: r.Text})
	case r.Op == opRetry && h.Retry != nil:
		return h.Retry(r.Step, incident.Retrying{By: r.Actor, Reason: r.Text})
	}
	return fmt.Errorf("there is no run to %s here", r.Op)
}

// follow sends entries and progress until the client is gone or Serve ends;
// then what is left of the entries.
func (j *Journal) follow(w *wire, from uint64) error {
	progress := j.watchers.add()
	defer j.watchers.remove(progress)
	over := make(chan struct{})
	go func() { // ends when the connection's reading side is closed, by either side
		defer close(over)
		_, _ = w.in.ReadByte()
	}()
	defer func() {
		_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // long ago: whatever reads stops
		<-over
	}()
	for {
		changed := j.changes() // before reading: what comes in between wakes us
		var err error
		if from, err = j.sendFrom(w, from); err != nil {
			return err
		}
		select {
		case <-changed:
		case p := <-progress:
			if err := w.send(message{Progress: &p}); err != nil {
				return err
			}
		case <-over:
			_, err := j.sendFrom(w, from)
			return err
		}
	}
}

// sendFrom sends the entries there are from a number on and returns the next number.
func (j *Journal) sendFrom(w *wire, from uint64) (uint64, error) {
	for {
		page, err := j.page(from)
		if err != nil || len(page) == 0 {
			return from, err
		}
		if err := w.sendEntries(page); err != nil {
			return from, err
		}
		from += uint64(len(page))
	}
}

// Publish shows progress to the followers on the socket, and calls that AWS does not answer to those who come while it does not.
// It is never stored, and dropped for a follower who is slow.
func (j *Journal) Publish(p incident.Progress) { j.watchers.publish(p) }

// watchers are the followers who get progress.
type watchers struct {
	mu        sync.Mutex
	chans     map[chan incident.Progress]struct{}
	unreached []incident.Progress // of calls that AWS does not answer now
}

func (w *watchers) add() chan incident.Progress {
	c := make(chan incident.Progress, maxProgress)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = make(map[chan incident.Progress]struct{})
	}
	w.chans[c] = struct{}{}
	for _, p := range w.unreached {
		offer(c, p)
	}
	return c
}

func (w *watchers) remove(c chan incident.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.chans, c)
}

func (w *watchers) publish(p incident.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := p.Unreached; u != nil {
		w.unreached = slices.DeleteFunc(w.unreached, func(q incident.Progress) bool {
			return q.Run == p.Run && q.Step == p.Step && q.Target == p.Target && q.What == p.What
		})
		if !u.Over {
			w.unreached = append(w.unreached, p)
		}
	}
	for c := range w.chans {
		offer(c, p)
	}
}

func offer(c chan<- incident.Progress, p incident.Progress) {
	select {
	case c <- p:
	default:
	}
}
