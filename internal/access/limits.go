package access

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/quota"
)

// limits keeps every API's rate, on the clock: waiting in a rehearsal takes no real time.
type limits struct {
	clock incident.Clock

	mu     sync.Mutex
	bucket map[bucketKey]*bucket
}

// bucket is a budget in use. AWS may allow less than it publishes, or others use
// the account too: the rate follows what AWS answers.
type bucket struct {
	*rate.Limiter
	most    rate.Limit
	lowered time.Time
}

type bucketKey struct{ account, region, name string }

func newLimits(clock incident.Clock) *limits {
	return &limits{clock: clock, bucket: make(map[bucketKey]*bucket)}
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

func (l *limits) take(ctx context.Context, limiter *bucket) error {
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

const (
	// leastRate of a bucket is left however much AWS throttles, so that the end of it is noticed.
	leastRate = 1.0 / 32
	// A call that passes gives so much of the bucket's rate back.
	rateStep = 1.0 / 200
	// Calls that were under way together are throttled together: that counts once.
	lowerEvery = time.Second
)

// answered adapts the rates to how AWS answered an attempt: halved where it was
// throttled, and step by step back to what AWS publishes while calls pass.
func (l *limits) answered(t turnOf, throttled bool) {
	now := l.clock.Now()
	for _, published := range quota.Of(t.call) {
		b := l.limiter(bucketKey{t.account, t.region, published.Name}, published)
		l.mu.Lock()
		switch {
		case !throttled && b.Limit() < b.most:
			b.SetLimitAt(now, min(b.most, b.Limit()+b.most*rateStep))
		case throttled && now.Sub(b.lowered) >= lowerEvery:
			b.lowered = now
			b.SetLimitAt(now, max(b.most*leastRate, b.Limit()/2))
		}
		l.mu.Unlock()
	}
}

func (l *limits) limiter(key bucketKey, b quota.Bucket) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket[key] == nil {
		most := rate.Limit(b.PerSecond)
		l.bucket[key] = &bucket{Limiter: rate.NewLimiter(most, burst(b)), most: most}
	}
	return l.bucket[key]
}

// burst is a second's tokens less than AWS's bucket holds: AWS adds them once a second,
// so that those of the last one may not be there yet.
func burst(b quota.Bucket) int { return max(1, b.Burst-int(math.Ceil(b.PerSecond))) }
