package clock

import (
	"context"
	"runtime/metrics"
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
	grain    time.Duration
	sleepers map[*sleeper]struct{}
	watcher  *sleeper // who wants to wake first
	timers   map[*timer]struct{}
	busy     int    // Begin without End
	activity uint64 // grows with everything that happens
}

type sleeper struct {
	until time.Time
	woken chan struct{}
	first chan struct{} // told that nobody wants to wake earlier
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
	s := &sleeper{until: c.Now().Add(d), woken: make(chan struct{}), first: make(chan struct{}, 1)}
	c.mu.Lock()
	c.sleepers[s] = struct{}{}
	c.activity++
	c.elect()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sleepers, s)
		c.activity++
		c.elect()
	}()
	for {
		select {
		case <-s.woken:
			return context.Cause(ctx) // its timeout may lie within the same jump
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.first:
			c.watch(ctx, s)
		}
	}
}

// Coarsen lets sleepers wake at multiples of grain only, late by less than
// that. Each jump takes a quiet period of real time: those who want to wake almost at
// once then share one.
func (c *Simulated) Coarsen(grain time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grain = grain
}

// coarse is the first multiple of the grain that is not before t. Held: mu.
func (c *Simulated) coarse(t time.Time) time.Time {
	if whole := t.Truncate(c.grain); c.grain > 0 && whole.Before(t) {
		return whole.Add(c.grain)
	}
	return t
}

// elect finds who wants to wake first: that sleeper watches for the quiet.
// Held: mu.
func (c *Simulated) elect() {
	if _, asleep := c.sleepers[c.watcher]; !asleep {
		c.watcher = nil
	}
	before := c.watcher
	for s := range c.sleepers {
		if c.watcher == nil || s.until.Before(c.watcher.until) {
			c.watcher = s
		}
	}
	if c.watcher != nil && c.watcher != before {
		select {
		case c.watcher.first <- struct{}{}:
		default: // it has been told, and has not looked yet
		}
	}
}

// patience is for how many quiet periods the clock stands still although
// somebody in this process computes: that may be someone who is about to act,
// whom a busy machine keeps from its processor for some periods, or something that has
// nothing to do with the clock. The more wait on it, the likelier the first. Held: mu.
func (c *Simulated) patience() int { return 20 + len(c.sleepers)/8 }

// looks is how often a quiet period is looked at: who finds everyone idle at two looks need not wait for its end.
const looks = 4

// watch lets the time jump to s once everyone is asleep. It returns when s is
// to wake, or another sleeper wants to wake earlier.
func (c *Simulated) watch(ctx context.Context, s *sleeper) {
	tick := time.NewTicker(max(c.quiet/looks, time.Microsecond))
	defer tick.Stop()
	c.mu.Lock()
	seen, still := c.activity, 0
	c.mu.Unlock()
	for {
		select {
		case <-s.woken:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		if c.watcher != s {
			c.mu.Unlock()
			return
		}
		if still++; seen != c.activity || c.busy > 0 {
			still = 0
		}
		if still > c.patience()*looks || still > 1 && idle() {
			c.advance(c.coarse(s.until))
		}
		seen = c.activity
		c.mu.Unlock()
	}
}

// idle tells whether no goroutine but the caller's runs or could.
func idle() bool {
	samples := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}, {Name: "/sched/goroutines/running:goroutines"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() == 0 && samples[1].Value.Uint64() <= 1
}

// advance moves the time and wakes whoever it is time for: timeouts first, so that no
// sleeper wakes to a context that is about to end. Held: mu.
func (c *Simulated) advance(to time.Time) {
	now := c.store.Advance(to)
	for t := range c.timers {
		if !t.at.After(now) {
			delete(c.timers, t)
			t.cancel(context.DeadlineExceeded)
		}
	}
	for s := range c.sleepers {
		if !s.until.After(now) {
			delete(c.sleepers, s)
			close(s.woken)
			c.activity++
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
