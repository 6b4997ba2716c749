package clock

import (
	"context"
	"time"
)

// Wall is the machine's clock.
type Wall struct{}

// Now is the time in UTC.
func (Wall) Now() time.Time { return time.Now().UTC() }

// started is a moment to count from.
var started = time.Now()

// Elapsed is the time since some moment in this process's life. It runs on evenly whatever the machine's
// clock is set to, and stands still while the machine sleeps (CLOCK_MONOTONIC, clock_gettime(2)).
func (Wall) Elapsed() time.Duration { return time.Since(started) }

// Sleep waits for d, or returns the context's error.
func (Wall) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WithTimeout is context.WithTimeout.
func (Wall) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
