package clock

import (
	"context"
	"sync"
	"time"
)

// Store keeps a simulated time where several processes see it.
type Store interface {
	Load() time.Time
	// Advance moves the time to t, never back, and returns the time then.
	Advance(t time.Time) time.Time
}

// Simulated is a clock on which waiting takes no time. It stands still while
// work is going on; when everyone who could act is asleep it jumps to the
// moment at which the first of them wants to wake. "Everyone is asleep" is
// observed, not declared: no Begin, End, Sleep or wake-up for the quiet period.
type Simulated struct {
	store Store
	quiet time.Duration // of real time

	mu       sync.Mutex
	sleepers map[*sleeper]struct{}
	timers   map[*timer]struct{}
	busy     int    // Begin without End
	activity uint64 // grows with everything that happens
}

type sleeper struct {
	until time.Time
	woken chan struct{}
}

type timer struct {
	at     time.Time
	cancel context.CancelCauseFunc
}

// NewSimulated returns a clock on store. Quiet is how much real time without activity counts as
// everyone being asleep.
func NewSimulated(store Store, quiet time.Duration) *Simulated {
	return &Simulated{
		store: store, quiet: quiet,
		sleepers: make(map[*sleeper]struct{}), timers: make(map[*timer]struct{}),
	}
}

// Now is the simulated time.
func (c *Simulated) Now() time.Time { return c.store.Load() }

// Begin says that work has started that may take real time; the clock does not
// jump until End is called with what the work takes on this clock.
func (c *Simulated) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	c.activity++
}

// End ends what Begin began at start; the work took d of simulated time. Work
// side by side overlaps.
func (c *Simulated) End(start time.Time, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.activity++
	c.advance(start.Add(d))
}

// Sleep waits for d of simulated time.
func (c *Simulated) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	s := &sleeper{until: c.Now().Add(d), woken: make(chan struct{})}
	c.mu.Lock()
	c.sleepers[s] = struct{}{}
	c.activity++
	seen := c.activity
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sleepers, s)
		c.activity++
	}()
	tick := time.NewTicker(c.quiet)
	defer tick.Stop()
	for {
		select {
		case <-s.woken:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			c.mu.Lock()
			if seen == c.activity && c.busy == 0 && c.first(s) {
				c.advance(s.until)
			}
			seen = c.activity
			c.mu.Unlock()
		}
	}
}

// first reports whether no sleeper wants to wake before s.
func (c *Simulated) first(s *sleeper) bool {
	for o := range c.sleepers {
		if o.until.Before(s.until) {
			return false
		}
	}
	return true
}

// advance moves the time and wakes whoever it is time for. Held: mu.
func (c *Simulated) advance(to time.Time) {
	now := c.store.Advance(to)
	for s := range c.sleepers {
		if !s.until.After(now) {
			delete(c.sleepers, s)
			close(s.woken)
			c.activity++
		}
	}
	for t := range c.timers {
		if !t.at.After(now) {
			delete(c.timers, t)
			t.cancel(context.DeadlineExceeded)
		}
	}
}

// WithTimeout cancels the context once the simulated time has passed d from
// now. A pending timeout never makes the clock jump.
func (c *Simulated) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &timer{at: c.Now().Add(d), cancel: cancel}
	c.mu.Lock()
	c.timers[t] = struct{}{}
	c.mu.Unlock()
	return ctx, func() {
		c.mu.Lock()
		delete(c.timers, t)
		c.mu.Unlock()
		cancel(context.Canceled)
	}
}
