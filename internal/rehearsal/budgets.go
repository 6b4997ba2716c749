package rehearsal

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/cordon-ir/cordon/internal/quota"
)

// budgets are the account's token buckets, where they are kept: as AWS's pages
// on request throttling describe them, with a second's tokens added once a second.
type budgets struct {
	Enforced bool               `json:"enforced"`
	Buckets  map[string]*tokens `json:"buckets,omitempty"` // by Region and name
}

// tokens are what a bucket holds.
type tokens struct {
	Bucket  quota.Bucket  `json:"bucket"`
	Region  string        `json:"region"`
	Left    float64       `json:"left"`
	At      time.Time     `json:"at"`    // the second in which it was filled last
	Calls   map[int64]int `json:"calls"` // by the second of their arrival, since 1970
	Refused int           `json:"refused"`
}

// BudgetUse is what was drawn on one of AWS's token buckets.
type BudgetUse struct {
	quota.Bucket
	Region  string `json:"region"`
	Calls   int    `json:"calls"`   // those let through
	Refused int    `json:"refused"` // those throttled, at any time
}

// EnforceBudgets makes the account count calls and refuse, from now on, what
// exceeds the buckets that AWS documents (package quota). Calls of APIs whose
// limits are not published are counted and let through. From now on calls side
// by side overlap in simulated time, and its clock goes on in steps of half a call.
func (a *Account) EnforceBudgets() error {
	a.clock.Coarsen(latency / 2)
	return a.with(func(w *world) bool {
		w.Budgets = budgets{Enforced: true, Buckets: make(map[string]*tokens)}
		return true
	})
}

// Budgets lists what was drawn from EnforceBudgets to the end of the second of
// the time given, the most used first.
func (a *Account) Budgets(until time.Time) []BudgetUse {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []BudgetUse
	for _, name := range slices.Sorted(maps.Keys(a.world.Budgets.Buckets)) {
		f := a.world.Budgets.Buckets[name]
		use := BudgetUse{Bucket: f.Bucket, Region: f.Region, Refused: f.Refused}
		for second, calls := range f.Calls {
			if second <= until.Unix() {
				use.Calls += calls
			}
		}
		list = append(list, use)
	}
	slices.SortStableFunc(list, func(a, b BudgetUse) int { return cmp.Compare(b.Calls, a.Calls) })
	return list
}

// draw takes the call's tokens. A refused call takes none.
func (b *budgets) draw(region string, c quota.Call, now time.Time) bool {
	var drawn []*tokens
	for _, bucket := range quota.Of(c) {
		f := b.fill(region, bucket)
		f.refill(now)
		if bucket.Published && f.Left < 1 {
			f.Refused++
			return false
		}
		drawn = append(drawn, f)
	}
	for _, f := range drawn {
		f.Left--
		f.Calls[now.Unix()]++
	}
	return true
}

func (b *budgets) fill(region string, bucket quota.Bucket) *tokens {
	key := region + " " + bucket.Name
	f := b.Buckets[key]
	if f == nil {
		f = &tokens{Bucket: bucket, Region: region, Left: float64(bucket.Burst), Calls: make(map[int64]int)}
		b.Buckets[key] = f
	}
	return f
}

// refill adds each second's tokens when the second begins.
func (f *tokens) refill(now time.Time) {
	second := now.Truncate(time.Second)
	if !f.At.IsZero() && second.After(f.At) {
		f.Left = min(float64(f.Bucket.Burst), f.Left+second.Sub(f.At).Seconds()*f.Bucket.PerSecond)
	}
	if second.After(f.At) {
		f.At = second
	}
}
