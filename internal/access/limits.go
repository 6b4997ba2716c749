package access

import (
	"context"
	"math"
	"sync"

	"golang.org/x/time/rate"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/quota"
)

// limits keeps every API's rate, on the clock: waiting in a rehearsal takes no real time.
type limits struct {
	clock incident.Clock

	mu     sync.Mutex
	bucket map[bucketKey]*rate.Limiter
}

type bucketKey struct{ account, region, name string }

func newLimits(clock incident.Clock) *limits {
	return &limits{clock: clock, bucket: make(map[bucketKey]*rate.Limiter)}
}

// turnOf is what a call waits for.
type turnOf struct {
	account, region string
	call            quota.Call
}

// wait returns when the call may be made, or, where ctx ends while it waits,
// with its error, having taken nothing from the budget it waits for. Buckets
// are passed one after the other: a token of the wider one is taken when the
// call is about to be made, not while it still waits for the narrower.
func (l *limits) wait(ctx context.Context, t turnOf) error {
	for _, b := range quota.Of(t.call) {
		if err := l.take(ctx, l.limiter(bucketKey{t.account, t.region, b.Name}, b)); err != nil {
			return err
		}
	}
	return nil
}

func (l *limits) take(ctx context.Context, limiter *rate.Limiter) error {
	now := l.clock.Now()
	r := limiter.ReserveN(now, 1)
	delay := r.DelayFrom(now)
	if delay <= 0 {
		return nil
	}
	if err := l.clock.Sleep(ctx, delay); err != nil {
		r.CancelAt(l.clock.Now())
		return err
	}
	return nil
}

func (l *limits) limiter(key bucketKey, b quota.Bucket) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket[key] == nil {
		l.bucket[key] = rate.NewLimiter(rate.Limit(b.PerSecond), burst(b))
	}
	return l.bucket[key]
}

// burst is a second's tokens less than AWS's bucket holds: AWS adds them once a second,
// so that those of the last one may not be there yet.
func burst(b quota.Bucket) int { return max(1, b.Burst-int(math.Ceil(b.PerSecond))) }
