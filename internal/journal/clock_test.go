package journal

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// setClock can be set; what time really passes is said by pass. Stopped is how long the process is
// stopped when it has looked at the clock next.
type setClock struct {
	*testClock
	shown   time.Time
	elapsed time.Duration
	stopped time.Duration
}

func (c *setClock) Elapsed() time.Duration { return c.elapsed }

func (c *setClock) Now() time.Time {
	now := c.shown
	c.pass(c.stopped)
	c.stopped = 0
	return now
}

func (c *setClock) pass(d time.Duration) {
	c.elapsed += d
	c.shown = c.shown.Add(d)
}

func (c *setClock) set(by time.Duration) { c.shown = c.shown.Add(by) }

func TestTheJournalSaysThatTheClockWasSet(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*setClock)
		want []float64 // by_s of the entries
	}{
		"nothing":           {func(c *setClock) { c.pass(time.Hour) }, nil},
		"set back":          {func(c *setClock) { c.set(-time.Hour) }, []float64{-3600}},
		"set forward":       {func(c *setClock) { c.pass(time.Minute); c.set(90 * time.Second) }, []float64{90}},
		"a leap second":     {func(c *setClock) { c.set(-time.Second) }, nil},
		"a stopped process": {func(c *setClock) { c.stopped = time.Hour }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			j, key := newCase(t, "INC-1")
			dir := closed(t, j)
			clock := &setClock{testClock: newClock(), shown: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
			j = must(Open(t.Context(), dir, key, clock))
			fill(t, j, 1)
			c.do(clock)
			at := clock.shown
			fill(t, j, 2)
			if got := j.Len(); got != uint64(4+len(c.want)) {
				t.Errorf("%d entries", got)
			}
			var by []float64
			for e, err := range j.Entries(0) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Type != incident.EntryClockSet {
					continue
				}
				var d incident.ClockSet
				if err := json.Unmarshal(e.Data, &d); err != nil {
					t.Fatal(err)
				}
				if by = append(by, d.By); !e.Time.Equal(at) || e.Run != "" || e.Actor == "" {
					t.Errorf("got %+v, by the new setting it was %s", e, at)
				}
			}
			if !slices.Equal(by, c.want) {
				t.Errorf("set by %v s, want %v", by, c.want)
			}
			closed(t, j)
			if _, err := key.Verify(t.Context(), dir); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStepsOfTheClockThatAddUpAreSaidOnce(t *testing.T) {
	j, key := newCase(t, "INC-1")
	dir := closed(t, j)
	clock := &setClock{testClock: newClock(), shown: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	j = must(Open(t.Context(), dir, key, clock))
	t.Cleanup(func() { j.Close() })
	for range 4 {
		clock.set(1500 * time.Millisecond)
		fill(t, j, 1)
	}
	if got := j.Len(); got != 1+4+2 {
		t.Errorf("%d entries, want the case, four notes, and two of the clock, each for 3 s", got)
	}
}
