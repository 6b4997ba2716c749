package access

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/quota"
)

// TestARateIsNeverExceeded: however calls arrive, in no stretch of time are
// more let through than the bucket holds and refills.
func TestARateIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := &memory{now: start}
		l := newLimits(jumping{store})
		operation := rapid.SampledFrom([]string{"DescribeInstances", "CreateSnapshots", "TerminateInstances"}).Draw(t, "operation")
		call := quota.Call{Service: "EC2", Operation: operation}
		b := quota.Of(call)[0]
		var passed []time.Time
		for range rapid.IntRange(1, 400).Draw(t, "calls") {
			store.Advance(store.Load().Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Millisecond))
			if err := l.wait(context.Background(), turnOf{"1", "r", call}); err != nil {
				t.Fatal(err)
			}
			passed = append(passed, store.Load())
		}
		for i := range passed {
			for j := i; j < len(passed); j++ {
				most := float64(b.Burst) + b.PerSecond*passed[j].Sub(passed[i]).Seconds()
				if n := float64(j - i + 1); n > most+0.001 {
					t.Fatalf("%v calls in %s, allowed %.2f", n, passed[j].Sub(passed[i]), most)
				}
			}
		}
	})
}

var snapshots = quota.Call{Service: "EC2", Operation: "CreateSnapshots"}

// jumping is a clock on which sleeping moves the time, for one goroutine.
type jumping struct{ *memory }

func (j jumping) Now() time.Time { return j.Load() }

func (j jumping) Sleep(ctx context.Context, d time.Duration) error {
	j.Advance(j.Load().Add(d))
	return ctx.Err()
}

func (j jumping) WithTimeout(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// interrupted is a clock on which every sleep is broken off.
type interrupted struct{ jumping }

func (interrupted) Sleep(context.Context, time.Duration) error { return context.Canceled }

func TestSideBySideCallsShareABudget(t *testing.T) {
	clk := newClock()
	l := newLimits(clk)
	var mu sync.Mutex
	var passed []time.Time
	var all sync.WaitGroup
	const calls = 120
	for range calls {
		all.Go(func() {
			if err := l.wait(t.Context(), turnOf{"1", "r", snapshots}); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, clk.Now())
		})
	}
	all.Wait()
	slices.SortFunc(passed, time.Time.Compare)
	// 95 at once, the other 25 at 5 a second; the limiter counts in floating point.
	if got := passed[calls-1].Sub(start); got < 5*time.Second-time.Millisecond {
		t.Errorf("all passed after %s", got)
	}
}

func TestAccountsAndRegionsHaveTheirOwnBudgets(t *testing.T) {
	clk := newClock()
	l := newLimits(clk)
	for _, account := range []string{"1", "2"} {
		for _, region := range []string{"a", "b"} {
			for range burst(quota.Of(snapshots)[0]) {
				if err := l.wait(t.Context(), turnOf{account, region, snapshots}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if !clk.Now().Equal(start) {
		t.Errorf("waited until %s", clk.Now())
	}
}

func TestGivingUpTakesNothingFromTheBudget(t *testing.T) {
	store := &memory{now: start}
	l := newLimits(jumping{store})
	for range burst(quota.Of(snapshots)[0]) {
		_ = l.wait(t.Context(), turnOf{"1", "r", snapshots})
	}
	l.clock = interrupted{jumping{store}}
	for range 100 {
		if err := l.wait(t.Context(), turnOf{"1", "r", snapshots}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	l.clock = jumping{store}
	before := store.Load()
	if err := l.wait(t.Context(), turnOf{"1", "r", snapshots}); err != nil || store.Load().Sub(before) > 250*time.Millisecond {
		t.Errorf("waited %s, %v", store.Load().Sub(before), err)
	}
}

func TestTheRateFollowsWhatAWSThrottles(t *testing.T) {
	store := &memory{now: start}
	l := newLimits(jumping{store})
	turn := turnOf{account: "1", region: "r", call: quota.Call{Service: "EBS", Operation: "GetSnapshotBlock"}}
	published := quota.Of(turn.call)[0]
	b := l.limiter(bucketKey{"1", "r", published.Name}, published)
	answered := func(throttled bool) { l.answered(turn, throttled) }
	for range 40 { // that were under way together
		answered(true)
	}
	if b.Limit() != b.most/2 {
		t.Errorf("throttled at once: %v of %v", b.Limit(), b.most)
	}
	for range 20 {
		store.Advance(store.Load().Add(time.Minute))
		answered(true)
	}
	if least := b.Limit(); least <= 0 || least > b.most/20 {
		t.Errorf("throttled again and again: %v of %v", least, b.most)
	}
	for range 400 {
		answered(false)
	}
	if b.Limit() != b.most {
		t.Errorf("it passes again: %v of %v", b.Limit(), b.most)
	}
}
