package clock

import (
	"context"
	"time"
)

// Wall is the machine's clock.
type Wall struct{}

// Now is the time in UTC.
func (Wall) Now() time.Time { return time.Now().UTC() }

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
