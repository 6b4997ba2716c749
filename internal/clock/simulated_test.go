package clock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cordon-ir/cordon/internal/clock"
)

// memory is a clock.Store of one process.
type memory struct {
	mu  sync.Mutex
	now time.Time
}

func (m *memory) Load() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *memory) Advance(t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.After(m.now) {
		m.now = t
	}
	return m.now
}

var start = time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)

func TestSleepersWakeInOrderAndTheClockJumpsToEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
		woke := make(chan time.Duration, 3)
		for _, d := range []time.Duration{time.Hour, time.Minute, 10 * time.Minute} {
			go func() {
				if err := c.Sleep(t.Context(), d); err != nil {
					t.Error(err)
				}
				woke <- c.Now().Sub(start)
			}()
		}
		for _, want := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
			if got := <-woke; got != want {
				t.Errorf("woke at %s, want %s", got, want)
			}
		}
	})
}

func TestTheClockStandsStillWhileWorkGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
		c.Begin()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Sleep(t.Context(), time.Minute)
		}()
		time.Sleep(time.Second) // of the bubble: a thousand quiet periods
		if got := c.Now(); !got.Equal(start) {
			t.Errorf("the clock moved to %s while a call was being answered", got)
		}
		c.End(start, 40*time.Millisecond)
		<-done
		if got := c.Now().Sub(start); got != time.Minute {
			t.Errorf("slept until %s, want 1m", got)
		}
	})
}

func TestCallsSideBySideOverlap(t *testing.T) {
	c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
	c.Begin()
	c.Begin()
	c.End(start, 40*time.Millisecond)
	c.End(start, 40*time.Millisecond)
	if got := c.Now().Sub(start); got != 40*time.Millisecond {
		t.Errorf("two calls at once took %s, want 40ms", got)
	}
}

func TestATimeoutFiresWhenTheTimeHasPassedButNeverDrivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
		ctx, cancel := c.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.Sleep(time.Second) // of the bubble
		if ctx.Err() != nil || !c.Now().Equal(start) {
			t.Fatalf("a pending timeout made the clock jump to %s", c.Now())
		}
		if err := c.Sleep(t.Context(), 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		if got := context.Cause(ctx); !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("cause %v, want a deadline", got)
		}
	})
}

func TestACancelledSleeperReturnsAndIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Sleep(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := c.Sleep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := c.Now().Sub(start); got != time.Hour {
			t.Errorf("woke at %s, want 1h", got)
		}
	})
}

func TestASleepLongerThanItsTimeoutIsAlwaysATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewSimulated(&memory{now: start}, time.Millisecond)
		for range 30 { // the clock jumps past both at once
			ctx, cancel := c.WithTimeout(t.Context(), time.Minute)
			if err := c.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want a deadline", err)
			}
			cancel()
		}
	})
}
