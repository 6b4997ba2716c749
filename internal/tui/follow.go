package tui

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

const (
	// lookEvery is how often a case that nobody holds is looked at: whether it has
	// become live, or its file has changed.
	lookEvery = 300 * time.Millisecond
	// atOnce is how many entries one message hands over at most: folding them takes
	// a few milliseconds, so that keys are answered also while a long journal is read.
	atOnce = 2000
)

// feedMsg is what came of a case's journal since the last one.
type feedMsg struct {
	entries  []incident.Entry
	progress []incident.Progress
	live     bool  // a process holds the case and serves it
	gone     bool  // it was killed
	caughtUp bool  // there is nothing more to hand over now
	err      error // the journal can't be read on from here
	panicked any   // in the follower; nil: it did not
}

// follower hands over a case's journal as it grows: from the file while nobody
// holds the case, through the holder's socket otherwise.
type follower struct {
	dir   string
	clock incident.Clock
	wake  chan struct{} // holds a token while something waits to be handed over

	mu      sync.Mutex
	pending feedMsg
}

// follow starts following; it ends with ctx, and env.followers waits for that.
func follow(ctx context.Context, env *Env, dir string) *follower {
	f := &follower{dir: dir, clock: env.Clock, wake: make(chan struct{}, 1)}
	env.followers.Go(func() {
		defer func() {
			// Passed on to where Bubble Tea catches it and puts the terminal back.
			if p := recover(); p != nil {
				f.give(func(m *feedMsg) { m.panicked = p })
			}
		}()
		f.run(ctx)
	})
	return f
}

// next waits for something to hand over. One message at a time: it is asked for
// again when that has been folded, and what came meanwhile comes together.
func (f *follower) next(ctx context.Context) tea.Cmd {
	return func() tea.Msg {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		m := f.pending
		if m.panicked != nil {
			panic(m.panicked)
		}
		f.pending = feedMsg{live: m.live}
		if len(m.entries) > atOnce {
			f.pending.entries, m.entries = m.entries[atOnce:], m.entries[:atOnce]
			f.pending.gone, f.pending.caughtUp, f.pending.err = m.gone, m.caughtUp, m.err
			m.gone, m.caughtUp, m.err = false, false, nil
			f.signal()
		}
		return m
	}
}

// give changes what waits to be handed over.
func (f *follower) give(change func(*feedMsg)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.pending)
	f.signal()
}

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default: // there is one already
	}
}

func (f *follower) run(ctx context.Context) {
	var from uint64
	var seen time.Time // the file's age when it was read last
	for ctx.Err() == nil {
		if f.attached(ctx, &from) {
			seen = time.Time{}
			continue
		}
		if at := f.changed(); at != seen {
			if f.read(ctx, &from) {
				seen = at
			}
		}
		if f.clock.Sleep(ctx, lookEvery) != nil {
			return
		}
	}
}

// attached follows the holder until it ends; false where there is none.
func (f *follower) attached(ctx context.Context, from *uint64) bool {
	client, err := journal.Attach(ctx, f.dir)
	if err != nil {
		return false
	}
	defer client.Close()
	f.give(func(m *feedMsg) { m.live, m.gone, m.err = true, false, nil })
	gone := false
	for event, err := range client.Follow(ctx, *from) {
		switch {
		case errors.Is(err, journal.ErrHolderGone):
			gone = true
		case errors.Is(err, journal.ErrNotLive): // it has ended since it answered
		case err != nil:
			f.give(func(m *feedMsg) { m.err = err })
		case event.Entry != nil:
			*from = event.Entry.Seq + 1
			f.give(func(m *feedMsg) { m.entries = append(m.entries, *event.Entry) })
		default:
			f.give(func(m *feedMsg) { m.progress = append(m.progress, *event.Progress) })
		}
	}
	f.give(func(m *feedMsg) { m.live, m.gone = false, gone })
	return true
}

// changed is when the journal's file was last written.
func (f *follower) changed() time.Time {
	info, err := os.Stat(filepath.Join(f.dir, journal.File))
	if err != nil {
		return time.Unix(1, 0) // no file: reading it says what is wrong, once
	}
	return info.ModTime()
}

// read hands over what the file has beyond what was read before. It reports
// whether the file was read to its end, or can't be; false: try again.
func (f *follower) read(ctx context.Context, from *uint64) bool {
	for e, err := range journal.ReadFrom(ctx, f.dir, *from) {
		switch {
		case ctx.Err() != nil, errors.Is(err, journal.ErrHeld):
			return false // its holder is about to serve it, or is ending
		case err != nil:
			f.give(func(m *feedMsg) { m.err = err })
			return true
		}
		*from = e.Seq + 1
		f.give(func(m *feedMsg) { m.entries = append(m.entries, e) })
	}
	f.give(func(m *feedMsg) { m.caughtUp, m.err = true, nil })
	return true
}
