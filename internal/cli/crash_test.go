package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/playbooks"
)

// errCrash is what everything fails with once the process is dead.
var errCrash = errors.New("the process is dead")

// reaper kills the process, in effect, at one of its moments: before or after
// an append to the journal or a call that changes something. From then on no
// entry is written and no call is made.
type reaper struct {
	mu     sync.Mutex
	after  int      // moments to live; negative: for ever
	seen   []string // the moments it lived through
	moment string   // of death

	trouble *trouble // nil: none
}

// pass is one moment.
func (r *reaper) pass(moment string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.moment != "" {
		return errCrash
	}
	if len(r.seen) == r.after {
		r.moment = moment
		return errCrash
	}
	r.seen = append(r.seen, moment)
	return nil
}

func (r *reaper) dead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moment != ""
}

// mortalJournal dies before or after an append.
type mortalJournal struct {
	*journal.Journal
	reaper *reaper
}

func (m mortalJournal) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	if err := m.reaper.pass(fmt.Sprintf("before the entry %s of step %q", d.Type, d.Step)); err != nil {
		return incident.Entry{}, err
	}
	e, err := m.Journal.Append(ctx, d)
	if err == nil {
		m.reaper.trouble.journaled(d)
		err = m.reaper.pass(fmt.Sprintf("after the entry %s of step %q", d.Type, d.Step))
	}
	return e, err
}

// attach lets calls die before they reach the account, or after. Dead, reads
// fail too.
func (r *reaper) attach(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Reaper",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				name := awsmiddleware.GetOperationName(ctx)
				if reads(name) {
					if r.dead() {
						return middleware.FinalizeOutput{}, middleware.Metadata{}, errCrash
					}
					return next.HandleFinalize(ctx, in)
				}
				if err := r.trouble.call(incident.StepFrom(ctx).Step); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, err
				}
				name = fmt.Sprintf("call %s of step %q", name, incident.StepFrom(ctx).Step)
				if err := r.pass("before the " + name); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, err
				}
				out, meta, err := next.HandleFinalize(ctx, in)
				if crash := r.pass("after the " + name); crash != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, crash
				}
				return out, meta, err
			}), "Retry", middleware.After)
	})
	return cfg
}

func reads(operation string) bool {
	for _, p := range []string{"Describe", "Get", "List", "Head", "Lookup"} {
		if strings.HasPrefix(operation, p) {
			return true
		}
	}
	return false
}

// world is a simulated account in memory and a case about its suspect.
type world struct {
	t       *testing.T
	account *rehearsal.Account
	w       *workspace
}

func newWorld(t *testing.T) *world {
	t.Helper()
	account, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	w := &workspace{
		g:    &globals{in: strings.NewReader(""), out: io.Discard, err: io.Discard, output: "text", quiet: true, yes: true},
		home: t.TempDir(),
	}
	w.config.Evidence = config.Evidence{Bucket: alert.Bucket, Region: alert.Region, Mode: "governance", Days: 30}
	w.simulate(account)
	j, err := w.openNewCase(t.Context(), incident.Case{ID: "INC-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, account: account, w: w}
}

// live is one process's life: it starts the playbook, or resumes, and dies
// where the reaper says.
func (o *world) live(r *reaper, playbook string, set ...string) error {
	o.t.Helper()
	ctx := o.t.Context()
	held, err := o.w.hold(ctx, "INC-1")
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() {
		if err := held.Close(); err != nil {
			o.t.Fatal(err)
		}
	}()
	rec, err := fold(held)
	if err != nil {
		o.t.Fatal(err)
	}
	j := mortalJournal{held, r}
	process := *o.w
	base := o.w.base
	process.base = func(ctx context.Context, region string) (aws.Config, error) {
		cfg, err := base(ctx, region)
		return r.attach(cfg), err
	}
	e, err := process.engine(j, held.Case())
	if err != nil {
		o.t.Fatal(err)
	}
	runner := &incident.Runner{
		Journal: j, Registry: e.registry, Clock: process.clock, Reads: e.access.Reads,
		Anchor: func(ctx context.Context) error {
			if r.dead() {
				return errCrash
			}
			return process.anchor(ctx, held, e.access, "r1")
		},
	}
	defer r.trouble.meet(runner)()
	return o.work(ctx, &process, runner, rec, e, playbook, set)
}

// work does what the commands run, resume and release do.
func (o *world) work(ctx context.Context, w *workspace, runner *incident.Runner, rec *record, e *engine, playbook string, set []string) error {
	if run := rec.unfinished(); run != nil {
		pb := incident.Playbook{}
		if run.Kind == incident.KindRun {
			var err error
			if pb, err = playbooks.Parse(run.Plan.Playbook, []byte(run.Source), e.registry.Specs()); err != nil {
				return err
			}
		}
		runner.Approved = &incident.Approval{Approved: true, Digest: run.Plan.Digest, How: incident.HowYes}
		return finished(runner.Resume(ctx, rec.state, run.ID, pb))
	}
	if playbook != "release" && len(rec.state.Runs) > 0 {
		return nil // it died after the run's end
	}
	var pb incident.Playbook
	var plan incident.Plan
	var err error
	planner := incident.Planner{Registry: e.registry, Clock: w.clock}
	if playbook == "release" {
		plan, err = planner.Release(ctx, rec.state, nil, false)
	} else {
		if pb, err = playbooks.Load(playbook, e.registry.Specs()); err != nil {
			return err
		}
		alert := o.account.Alert()
		target := incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance}
		var inputs map[string]any
		if inputs, err = (&planOptions{set: set}).inputs(w, pb); err != nil {
			return err
		}
		plan, err = planner.Plan(ctx, rec.state.Case, pb, []incident.Target{target}, inputs)
	}
	if err != nil || len(plan.Steps) == 0 {
		return err
	}
	runner.Approved = &incident.Approval{Approved: true, Digest: plan.Digest, How: incident.HowYes}
	return finished(runner.Start(ctx, rec.state, pb, plan, rec.newRunID()))
}

func finished(o incident.Outcome, err error) error {
	if err == nil && o != incident.OutcomeSucceeded {
		err = fmt.Errorf("outcome %s", o)
	}
	return err
}

// verify proves the journal.
func (o *world) verify() {
	o.t.Helper()
	if _, err := journal.Verify(o.t.Context(), o.w.mustCaseDir("INC-1")); err != nil {
		o.t.Error(err)
	}
}

// diedAndResumed dies at moment n and lives on until it is done. It reports
// where it died; empty where it was over before.
func diedAndResumed(t *testing.T, n int, want shape, before []string, playbook string, set ...string) string {
	o := newWorld(t)
	for _, p := range before {
		if err := o.live(&reaper{after: -1}, p); err != nil {
			t.Fatal(err)
		}
	}
	r := &reaper{after: n}
	err := o.live(r, playbook, set...)
	if r.moment == "" {
		if err != nil {
			t.Fatalf("undisturbed: %v", err)
		}
		return ""
	}
	for range 3 {
		if err = o.live(&reaper{after: -1}, playbook, set...); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("died %s: %v", r.moment, err)
	}
	if got := o.shape(); !reflect.DeepEqual(got, want) {
		t.Errorf("died %s:\n%s", r.moment, want.difference(got))
	}
	o.verify()
	return r.moment
}

// crashEverywhere dies once at every moment that a playbook has, in some of its steps
// or, with none named, in all of them.
func crashEverywhere(t *testing.T, before []string, playbook string, steps []string, set ...string) {
	crashAt(t, 1, before, playbook, steps, set...)
}

// crashAt dies at one of so many of these moments.
func crashAt(t *testing.T, every int, before []string, playbook string, steps []string, set ...string) {
	o := newWorld(t)
	whole := &reaper{after: -1}
	for _, p := range before {
		if err := o.live(&reaper{after: -1}, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.live(whole, playbook, set...); err != nil {
		t.Fatal(err)
	}
	want := o.shape()
	o.verify()
	var at []int
	for n, m := range whole.seen {
		if len(steps) == 0 || slices.ContainsFunc(steps, func(step string) bool { return strings.Contains(m, fmt.Sprintf("%q", step)) }) {
			at = append(at, n)
		}
	}
	every *= everyMoment
	t.Logf("%s has %d moments, it dies at %d of them", playbook, len(whole.seen), (len(at)+every-1)/every)
	for i := 0; i < len(at); i += every {
		t.Run(fmt.Sprint(at[i]), func(t *testing.T) {
			t.Parallel()
			diedAndResumed(t, at[i], want, before, playbook, set...)
		})
	}
}

// The analyses after the cut die in isolate's own tests: there are many calls of the same kind.
const withoutAnalyses = "reachability_analyzer=false"

func TestContainSurvivesDeathAtEveryMoment(t *testing.T) {
	crashEverywhere(t, nil, "contain", nil, withoutAnalyses)
}

func TestReleaseSurvivesDeathAtEveryMoment(t *testing.T) {
	crashEverywhere(t, []string{"contain"}, "release", nil)
}

// What full-response has in common with contain dies there.
func TestFullResponseSurvivesDeathAtEveryMomentOfItsOwn(t *testing.T) {
	crashEverywhere(t, nil, "full-response", []string{"metadata", "snapshots", "image", "cleanroom", ""}, "export=false", "live_response=false", withoutAnalyses)
}

// Live response dies by itself, and at the commands that are all of a kind not at each one.
func TestLiveResponseSurvivesDeathAtEveryFifthMoment(t *testing.T) {
	crashAt(t, 5, nil, "testdata/live.yaml", []string{"live"})
}

func TestMemorySurvivesDeathAtEveryMoment(t *testing.T) {
	crashEverywhere(t, nil, "testdata/memory.yaml", []string{"memory"})
}

// An export reads and hashes whole volumes, so it dies by itself, not with all
// of full-response, and only where it is at work.
func TestExportSurvivesDeathAtEveryMoment(t *testing.T) {
	crashEverywhere(t, nil, "testdata/export.yaml", []string{"export"})
}
