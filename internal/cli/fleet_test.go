package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/quota"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// containment is what it took to contain a fleet.
type containment struct {
	tb       testing.TB
	run      *incident.RunState
	seconds  float64               // simulated, from the command's start until the last network cut was verified
	planning float64               // of these, until the run's start
	asked    int                   // reads of protection, until the run's start
	uses     []rehearsal.BudgetUse // until then: what is asked later took no part of the time
	changes  map[string]int        // of these, calls journaled as changes that isolate, by bucket
	peakHeap uint64
	entries  int
}

// containFleet runs the shipped playbook contain on a whole fleet, chosen by
// its tag, with AWS's documented budgets enforced.
func containFleet(tb testing.TB, n, groups int) *containment {
	tb.Helper()
	account, err := rehearsal.CreateFleet("", n, groups, 1)
	if err != nil {
		tb.Fatal(err)
	}
	if err := account.EnforceBudgets(); err != nil {
		tb.Fatal(err)
	}
	w := &workspace{
		g:    &globals{in: strings.NewReader(""), out: io.Discard, err: io.Discard, output: "text", quiet: true, yes: true},
		home: tb.TempDir(),
	}
	w.simulate(account)
	c := &containment{tb: tb, changes: make(map[string]int)}
	base := w.base
	w.base = func(ctx context.Context, region string) (aws.Config, error) {
		cfg, err := base(ctx, region)
		cfg.APIOptions = append(cfg.APIOptions, c.watchHeap)
		return cfg, err
	}
	j, err := w.openNewCase(tb.Context(), incident.Case{ID: "INC-1"})
	if err != nil {
		tb.Fatal(err)
	}
	start := account.Clock().Now()
	if err := errors.Join(w.containTagged(tb.Context(), j, "fleet"), j.Close()); err != nil {
		tb.Error(err)
	}
	r, err := w.read(tb.Context(), "INC-1")
	if err != nil {
		tb.Fatal(err)
	}
	c.run, c.entries = r.state.Runs[0], len(r.entries)
	c.planning = c.run.Started.Sub(start).Seconds()
	for _, t := range c.run.Summary().Targets {
		if t.ContainedAfter != nil {
			c.seconds = max(c.seconds, c.planning+*t.ContainedAfter)
		}
	}
	for _, u := range account.Budgets(c.run.Started.Add(-time.Second)) { // whose last second is the run's first one, too
		if u.Name == protectionBucket {
			c.asked = u.Calls
		}
	}
	contained := start.Add(time.Duration(c.seconds * float64(time.Second)))
	c.uses = account.Budgets(contained)
	for _, e := range r.entries {
		if e.Type == incident.EntryCallIntent && !e.Time.After(contained) && !strings.HasPrefix(e.Step, "observe") {
			c.changed(data[incident.CallIntent](e))
		}
	}
	return c
}

// containTagged does what the command run does, but for its socket and its display: a bubble
// of testing/synctest can't tell that who waits at a socket is asleep.
func (w *workspace) containTagged(ctx context.Context, j *journal.Journal, tag string) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	x, pb, plan, err := w.prepare(ctx, j, r, "contain", runOptions{planOptions: planOptions{
		caseID: "INC-1", selection: selection{filters: []string{"tag-key=" + tag}},
	}})
	if err != nil {
		return err
	}
	runner := &incident.Runner{
		Journal: w.appender(j), Registry: x.engine.registry, Clock: w.clock, Approved: x.approved, Reads: x.engine.access.Reads,
		Anchor: func(ctx context.Context) error { return w.anchor(ctx, j, x.engine.access, x.run) },
	}
	return finished(runner.Start(ctx, r.state, pb, plan, x.run))
}

// watchHeap looks at the heap now and then.
func (c *containment) watchHeap(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Heap",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if heapLooks.Add(1)%500 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				for peak := atomic.LoadUint64(&c.peakHeap); m.HeapAlloc > peak && !atomic.CompareAndSwapUint64(&c.peakHeap, peak, m.HeapAlloc); {
					peak = atomic.LoadUint64(&c.peakHeap)
				}
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
}

var heapLooks atomic.Int64

// changed counts a change on the bucket that it draws on.
func (c *containment) changed(call incident.CallIntent) {
	service := map[string]string{"ec2": "EC2", "autoscaling": "Auto Scaling", "iam": "IAM", "elasticloadbalancing": "Elastic Load Balancing v2"}[call.Service]
	for _, b := range quota.Of(quota.Call{Service: service, Operation: call.Operation}) {
		c.changes[b.Name]++
	}
}

// allowed is the time in seconds that calls take by the bucket's budget alone.
func allowed(b quota.Bucket, calls int) float64 {
	return max(0, float64(calls-b.Burst)/b.PerSecond)
}

// bound is the longest that any of the buckets takes for its calls, and which.
func (c *containment) bound(calls func(rehearsal.BudgetUse) int) (seconds float64, bucket string) {
	for _, u := range c.uses {
		if s := allowed(u.Bucket, calls(u)); s > seconds {
			seconds, bucket = s, u.Name
		}
	}
	return seconds, bucket
}

// protectionReads is what every plan asks of each target, alone: whether it can
// be terminated, and what a shutdown does. EC2 has no call that tells it of
// several instances (EC2 API Reference, "DescribeInstanceAttribute").
const (
	protectionReads  = 2
	protectionBucket = "EC2 DescribeInstanceAttribute"
)

// floor is the least time in seconds that the budgets leave for containing the
// fleet: every target's protection is read before anything is changed, since
// what is approved is a whole plan; then come the changes. All other
// reads are left out: they can be shared, and are, the more the less there is to spare.
func (c *containment) floor(which func(quota.Bucket) bool) (seconds float64, bucket string) {
	changing, bucket := c.bound(func(u rehearsal.BudgetUse) int {
		if !which(u.Bucket) {
			return 0
		}
		return c.changes[u.Name]
	})
	reading, _ := c.bound(func(u rehearsal.BudgetUse) int {
		if u.Name != protectionBucket {
			return 0
		}
		return protectionReads * len(c.run.Plan.Targets)
	})
	return reading + changing, bucket
}

func documented(b quota.Bucket) bool { return b.Published }

func anyBucket(quota.Bucket) bool { return true }

func (c *containment) report(out io.Writer) {
	made, madeBy := c.bound(func(u rehearsal.BudgetUse) int { return u.Calls })
	least, leastBy := c.floor(documented)
	kept, keptBy := c.floor(anyBucket)
	fmt.Fprintf(out, "%d targets: %.1f simulated seconds until the last was contained, %.1f of them planning\n", len(c.run.Plan.Targets), c.seconds, c.planning)
	fmt.Fprintf(out, "AWS's documented budgets alone: %.1f s for the plan's reads that can't be shared and the changes (%s): ratio %.2f\n", least, leastBy, c.seconds/least)
	fmt.Fprintf(out, "with those that cordon keeps where AWS documents none: %.1f s (%s): ratio %.2f\n", kept, keptBy, c.seconds/kept)
	fmt.Fprintf(out, "all calls that were made until then: %.1f s (%s): ratio %.2f\n", made, madeBy, c.seconds/made)
	fmt.Fprintf(out, "journal: %d entries; peak heap %d MiB\n", c.entries, c.peakHeap>>20)
	for _, u := range c.uses {
		source := ""
		if !u.Published {
			source = ", not documented"
		}
		fmt.Fprintf(out, "  %6d calls, %d of them changes, %d refused  %s (%d, then %g a second%s; %.1f s)\n",
			u.Calls, c.changes[u.Name], u.Refused, u.Name, u.Burst, u.PerSecond, source, allowed(u.Bucket, u.Calls))
	}
}

var fleetSize = flag.Int("fleet", 1000, "instances of BenchmarkContain1000")

// BenchmarkContain1000 is the measure of many at once: docs/testing.md.
func BenchmarkContain1000(b *testing.B) {
	for b.Loop() {
		c := containFleet(b, *fleetSize, 5)
		c.report(os.Stdout)
		least, _ := c.floor(documented)
		b.ReportMetric(c.seconds, "simulated-s")
		b.ReportMetric(least, "budgets-s")
		b.ReportMetric(c.seconds/least, "ratio")
	}
}

// In a bubble the simulated clock moves when everyone is asleep, never because a busy
// machine keeps somebody waiting.
func TestAFleetIsContainedInTheTimeThatAWSAllows(t *testing.T) {
	synctest.Test(t, aFleetIsContained)
}

func aFleetIsContained(t *testing.T) {
	c := containFleet(t, 40, 5)
	if c.run.Outcome != incident.OutcomeSucceeded || len(c.run.Plan.Targets) != 40 {
		t.Errorf("%d targets: %s: %s", len(c.run.Plan.Targets), c.run.Outcome, c.run.Error)
	}
	for _, u := range c.uses {
		if u.Refused > u.Calls/50 {
			t.Errorf("%d of %d calls were throttled: %s", u.Refused, u.Calls, u.Name)
		}
	}
	if least := protectionReads * len(c.run.Plan.Targets); c.asked < least {
		t.Errorf("planning asked %d times for what the budgets' time counts %d times", c.asked, least)
	}
	// A small fleet takes as long as the waiting for one instance (its connections
	// drain, IAM comes round) and the budgets' time with half as much again: reads that
	// wait for each other weigh more than in a large one (BenchmarkContain1000).
	alone := containFleet(t, 1, 1).seconds
	if least, by := c.floor(anyBucket); c.seconds > alone+1.5*least {
		t.Errorf("contained after %.1f s; the budgets alone take %.1f s (%s), one instance %.1f s", c.seconds, least, by, alone)
	}
	if t.Failed() || testing.Verbose() {
		c.report(os.Stderr)
	}
}
