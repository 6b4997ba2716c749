package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Client talks to the process that holds a live case. Its methods may be
// called concurrently.
type Client struct {
	dir    string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// Event is what a follower of a live case gets: one of the two.
type Event struct {
	Entry    *incident.Entry
	Progress *incident.Progress
}

// Attach finds the holder of the case in dir. It fails with ErrNotLive where
// nobody serves the case, whatever a killed holder may have left behind.
func Attach(ctx context.Context, dir string) (*Client, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := ask(ctx, dir, request{Op: opHello}); errors.Is(err, ErrHolderGone) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotLive) // it was just ending
	} else if err != nil {
		return nil, err
	}
	c := &Client{dir: dir}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends every Follow. It never touches the run.
func (c *Client) Close() error {
	c.cancel()
	return nil
}

// Note appends a note to the live case.
func (c *Client) Note(ctx context.Context, text string) error {
	return ask(ctx, c.dir, request{Op: opNote, Actor: Self(), Text: text})
}

// Approve answers the step that waits: an incident.StepKey's text, or a step's
// ID. By and How are filled in where they are empty. The first answer wins.
func (c *Client) Approve(ctx context.Context, step string, a incident.Approval) error {
	if a.By == "" {
		a.By = Self()
	}
	if a.How == "" {
		a.How = "socket"
	}
	return ask(ctx, c.dir, request{Op: opApprove, Step: step, Approval: &a})
}

// Interrupt asks the run to end in order.
func (c *Client) Interrupt(ctx context.Context) error {
	return ask(ctx, c.dir, request{Op: opInterrupt})
}

// Pause lets no further step of the run begin until Continue.
func (c *Client) Pause(ctx context.Context, reason string) error {
	return ask(ctx, c.dir, request{Op: opPause, Actor: Self(), Text: reason})
}

// Continue ends a pause.
func (c *Client) Continue(ctx context.Context) error {
	return ask(ctx, c.dir, request{Op: opContinue, Actor: Self()})
}

// Skip leaves out a step that has not begun, or waits for an approval: an
// incident.StepKey's text, or a step's ID where one target has it.
func (c *Client) Skip(ctx context.Context, step, reason string) error {
	return ask(ctx, c.dir, request{Op: opSkip, Actor: Self(), Step: step, Text: reason})
}

// Retry tries a step again that failed, which is named as for Skip.
func (c *Client) Retry(ctx context.Context, step, reason string) error {
	return ask(ctx, c.dir, request{Op: opRetry, Actor: Self(), Step: step, Text: reason})
}

// Follow yields the entries from a number on, then new ones, and progress, as
// they come. It ends without an error when ctx ends, the client is closed or
// the holder ends; with ErrNotLive when there is none, with ErrHolderGone when it was killed. Each entry
// comes once, in order.
func (c *Client) Follow(ctx context.Context, from uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		for m, err := range exchange(ctx, c.dir, request{Op: opFollow, From: from}) {
			if ctx.Err() != nil {
				return
			}
			event := Event{Progress: m.Progress}
			if err == nil && m.Entry != nil {
				event.Entry = new(incident.Entry)
				*event.Entry, err = decode(m.Entry)
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// ask sends a request whose answer is only whether it was done.
func ask(ctx context.Context, dir string, r request) error {
	for _, err := range exchange(ctx, dir, r) {
		return err
	}
	return nil
}

// readServed reads a page of entries through the holder.
func readServed(ctx context.Context, dir string, from uint64) ([]record, error) {
	var page []record
	for m, err := range exchange(ctx, dir, request{Op: opRead, From: from}) {
		if err != nil {
			return nil, err
		}
		page = append(page, record{from + uint64(len(page)), bytes.Clone(m.Entry)})
	}
	return page, nil
}

// exchange sends a request and yields the messages that answer it, without the
// final done. An error is the last it yields.
func exchange(ctx context.Context, dir string, r request) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		conn, err := dial(ctx, dir)
		if err != nil {
			yield(message{}, err)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		w := newWire(conn)
		if err := w.send(r); err != nil {
			yield(message{}, broken(ctx, dir, err))
			return
		}
		for {
			m, err := w.receive()
			switch {
			case err != nil:
				yield(message{}, broken(ctx, dir, err))
				return
			case m.Error != "":
				yield(message{}, m.err())
				return
			case m.Done:
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// broken says why a connection ended before the answer did.
func broken(ctx context.Context, dir string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w: %w", dir, ErrHolderGone, err)
}

// Live reports whether a process holds the case and serves it.
func Live(ctx context.Context, dir string) bool {
	c, err := Attach(ctx, dir)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// Holder is the ID of the process that holds a live case in dir; 0 where that can't be read.
func Holder(dir string) int { return holderOf(dir) }
