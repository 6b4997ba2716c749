package incident

import (
	"context"
	"fmt"
	"time"
)

// Clock is the only way to read the time or wait. The wall clock is one, the
// simulated account's is another.
type Clock interface {
	Now() time.Time
	// Sleep returns early with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
	// WithTimeout is context.WithTimeout on this clock.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Poll calls done every interval until it reports true, fails, or limit has
// passed on clock. The last error text says what was being waited for.
func Poll(ctx context.Context, clock Clock, interval, limit time.Duration, what string, done func(context.Context) (bool, error)) error {
	deadline := clock.Now().Add(limit)
	for {
		ok, err := done(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if !clock.Now().Before(deadline) {
			return fmt.Errorf("waiting for %s: not there after %s", what, limit)
		}
		if err := clock.Sleep(ctx, interval); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}
