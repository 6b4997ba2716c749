package incident_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
)

var (
	errKilled = errors.New("the process is dead")
	targetA   = incident.Target{Account: "111122223333", Region: "eu-west-1", Instance: "i-a"}
	targetB   = incident.Target{Account: "111122223333", Region: "eu-west-1", Instance: "i-b"}
	testCase  = incident.Case{ID: "case-1", Rehearsal: true}
)

// memoryTime is a simulated time kept in memory.
type memoryTime struct {
	mu  sync.Mutex
	now time.Time
}

func (m *memoryTime) Load() time.Time { return m.Advance(time.Time{}) }

func (m *memoryTime) Advance(t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.After(m.now) {
		m.now = t
	}
	return m.now
}

// life is the process under test: it dies at a chosen moment, and nothing is
// written or done afterwards. A moment is before or after a commit or an effect.
type life struct {
	mu      sync.Mutex
	moments int
	dies    int // at which moment; 0: never
	dead    bool
}

func (l *life) moment() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moments++
	l.dead = l.dead || l.moments == l.dies
	if l.dead {
		return errKilled
	}
	return nil
}

// journal is an appender in memory. Each entry takes a second.
type journal struct {
	mu      sync.Mutex
	time    *memoryTime
	life    *life
	entries []incident.Entry
	refuse  func(incident.Draft) error
	seen    func(incident.Entry)
}

func (j *journal) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	if err := ctx.Err(); err != nil {
		return incident.Entry{}, err
	}
	if err := j.life.moment(); err != nil {
		return incident.Entry{}, err
	}
	e, err := j.commit(d)
	if err != nil {
		return e, err
	}
	return e, j.life.moment()
}

func (j *journal) commit(d incident.Draft) (incident.Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		if err := j.refuse(d); err != nil {
			return incident.Entry{}, err
		}
	}
	data, err := json.Marshal(d.Data)
	if err != nil {
		return incident.Entry{}, err
	}
	e := incident.Entry{
		Seq: uint64(len(j.entries)), Time: j.time.Advance(j.time.Load().Add(time.Second)), Type: d.Type, Case: testCase.ID,
		Run: d.Run, Step: d.Step, Target: d.Target, Actor: d.Actor, Data: data,
	}
	j.entries = append(j.entries, e)
	if j.seen != nil {
		j.seen(e)
	}
	return e, nil
}

func (j *journal) all() []incident.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) has(kind incident.EntryType, run, step, target string) bool {
	return slices.ContainsFunc(j.all(), func(e incident.Entry) bool {
		return e.Type == kind && e.Run == run && e.Step == step && e.Target == target
	})
}

// fold is what the journal says.
func (j *journal) fold(t tester) *incident.State {
	t.Helper()
	s := incident.NewState()
	for _, e := range j.all() {
		if err := s.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// world is the account the fakes work on: switches by name, all off at first,
// and how often each effect was made, by token.
type world struct {
	mu       sync.Mutex
	life     *life
	journal  *journal
	switches map[string]string
	effects  map[string]int
	failures map[string][]string // by target and step: where the next tries fail
	faults   []string            // broken rules
	applied  []string            // step@instance, in the order of the effects
	undone   []string
	busy     int
	peak     int
}

func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// fails tells whether this phase of the step's next try is to fail.
func (w *world) fails(phase string, req incident.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := req.Step + "@" + req.Target.Instance
	if f := w.failures[k]; len(f) > 0 && f[0] == phase {
		w.failures[k] = f[1:]
		return fmt.Errorf("%s of %s: AWS said no", phase, k)
	}
	return nil
}

func (w *world) get(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v, ok := w.switches[name]; ok {
		return v
	}
	return "off"
}

func (w *world) set(name, v string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.switches[name] = v
}

// fake is an action that turns the switch of its step on. Hooks change one
// thing about it.
type fake struct {
	spec   incident.Spec
	world  *world
	plan   func(incident.Request, *incident.Proposal) error
	apply  func(context.Context, incident.Request) (incident.Result, error)
	revert func(incident.Request) error
}

var _ incident.Reverter = (*fake)(nil)

func (f *fake) Spec() incident.Spec { return f.spec }

func (f *fake) name(req incident.Request) string {
	if s, ok := req.Inputs["switch"].(string); ok {
		return s + "@" + req.Target.Instance
	}
	return req.Step + "@" + req.Target.Instance
}

func (f *fake) setting(req incident.Request) string {
	if s, ok := req.Inputs["value"].(string); ok {
		return s
	}
	return "on"
}

func (f *fake) Plan(_ context.Context, req incident.Request) (incident.Proposal, error) {
	if err := f.world.fails("plan", req); err != nil && req.Run != "" {
		return incident.Proposal{}, err
	}
	now := f.world.get(f.name(req))
	before, _ := json.Marshal(now)
	p := incident.Proposal{Before: before, Impact: f.spec.Impact}
	if set := f.setting(req); now != set {
		p.Changes = []incident.Change{{Resource: f.name(req), What: "switch", Before: now, After: set}}
	}
	if f.plan != nil {
		return p, f.plan(req, &p)
	}
	return p, nil
}

func (f *fake) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	w := f.world
	w.mu.Lock()
	w.busy++
	w.peak = max(w.peak, w.busy)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.busy--
		w.mu.Unlock()
	}()
	if !w.journal.has(incident.EntryStepIntent, req.Run, req.Step, req.Target.String()) {
		w.fault("%s applied without an intent", f.name(req))
	}
	if err := w.fails("apply", req); err != nil {
		return incident.Result{}, err
	}
	if err := w.life.moment(); err != nil {
		return incident.Result{}, err
	}
	w.mu.Lock()
	if w.effects[req.Token] == 0 {
		w.effects[req.Token]++
		w.applied = append(w.applied, req.Step+"@"+req.Target.Instance)
	}
	w.switches[f.name(req)] = f.setting(req)
	w.mu.Unlock()
	if err := w.life.moment(); err != nil {
		return incident.Result{}, err
	}
	if f.apply != nil {
		return f.apply(ctx, req)
	}
	return incident.Result{Outputs: map[string]any{"was": string(p.Before), "count": 3}}, nil
}

func (f *fake) Verify(_ context.Context, req incident.Request, _ incident.Proposal, _ incident.Result) (incident.Verification, error) {
	if err := f.world.fails("verify", req); err != nil {
		return incident.Verification{}, err
	}
	if now := f.world.get(f.name(req)); now != f.setting(req) {
		return incident.Verification{}, &incident.NotVerifiedError{Resource: f.name(req), Want: f.setting(req), Got: now}
	}
	return incident.Verification{
		Observed: []string{f.name(req) + " is on"}, Residual: []incident.Exposure{{Path: "dns", Reason: "not filtered"}},
	}, nil
}

func (f *fake) PlanRevert(_ context.Context, req incident.Request) (incident.Proposal, error) {
	before, now := f.before(req), f.world.get(f.name(req))
	p := incident.Proposal{Impact: f.spec.Impact}
	if now != before && now != f.setting(req) && !req.Undo.Force {
		return p, &incident.DriftError{Differences: []incident.Drift{
			{Resource: f.name(req), What: "switch", Before: before, Set: f.setting(req), Now: now},
		}}
	}
	if now != before {
		p.Changes = []incident.Change{{Resource: f.name(req), What: "switch", Before: now, After: before}}
	}
	return p, nil
}

func (f *fake) before(req incident.Request) string {
	var before string
	if err := json.Unmarshal(req.Undo.Proposal.Before, &before); err != nil {
		f.world.fault("%s is undone without a state before: %v", f.name(req), err)
	}
	return before
}

func (f *fake) Revert(_ context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	if f.revert != nil {
		if err := f.revert(req); err != nil {
			return incident.Result{}, err
		}
	}
	if err := f.world.life.moment(); err != nil {
		return incident.Result{}, err
	}
	f.world.set(f.name(req), f.before(req))
	f.world.mu.Lock()
	f.world.undone = append(f.world.undone, req.Step+"@"+req.Target.Instance)
	f.world.mu.Unlock()
	return incident.Result{}, f.world.life.moment()
}

// plain hides that a fake can be undone.
type plain struct{ incident.Action }

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	rapid.TB
	Cleanup(func())
	Context() context.Context
}

// bench is a journal, a world, its actions and a runner that approves everything by --yes.
type bench struct {
	t        tester
	time     *memoryTime
	life     *life
	journal  *journal
	world    *world
	registry incident.Registry
	planner  incident.Planner
	runner   *incident.Runner
}

func spec(name string, impact incident.Impact) incident.Spec {
	return incident.Spec{
		Name: name, Summary: "turns a switch on", Impact: impact, Timeout: time.Minute,
		Inputs: []incident.Field{
			{Name: "switch", Type: incident.String}, {Name: "value", Type: incident.String}, {Name: "number", Type: incident.Integer},
		},
		Outputs: []incident.Field{{Name: "was", Type: incident.String}, {Name: "count", Type: incident.Integer}},
	}
}

// newBench has the actions fake.read-only to fake.irreversible, fake.plain, which
// can't be undone, and fake.leave and fake.cut, which provide the capabilities; cut
// requires that the instance has left its group.
func newBench(t tester) *bench {
	b := &bench{t: t, time: &memoryTime{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, life: &life{}}
	b.journal = &journal{time: b.time, life: b.life}
	b.world = &world{
		life: b.life, journal: b.journal, switches: make(map[string]string), effects: make(map[string]int), failures: make(map[string][]string),
	}
	var actions []incident.Action
	for i := incident.ReadOnly; i <= incident.Irreversible; i++ {
		actions = append(actions, &fake{spec: spec("fake."+i.String(), i), world: b.world})
	}
	leave, cut := spec("fake.leave", incident.Disruptive), spec("fake.cut", incident.Disruptive)
	leave.Provides = []incident.Capability{incident.LeftGroup}
	cut.Provides, cut.MayRequire = []incident.Capability{incident.NetworkCut}, []incident.Capability{incident.LeftGroup}
	actions = append(actions,
		plain{&fake{spec: spec("fake.plain", incident.Additive), world: b.world}},
		&fake{spec: leave, world: b.world},
		&fake{spec: cut, world: b.world, plan: func(_ incident.Request, p *incident.Proposal) error {
			p.Requires = []incident.Capability{incident.LeftGroup}
			return nil
		}})
	registry, err := incident.NewRegistry(actions...)
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewSimulated(b.time, time.Millisecond)
	b.registry = registry
	b.planner = incident.Planner{Registry: registry, Clock: c}
	b.runner = &incident.Runner{Journal: b.journal, Registry: registry, Clock: c, Actor: "analyst@desk", Ask: yes}
	if _, err := b.journal.Append(t.Context(), incident.Draft{Type: incident.EntryCaseOpened, Data: testCase}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range b.world.faults {
			t.Error(f)
		}
	})
	return b
}

func yes(context.Context, incident.Question) (incident.Approval, error) {
	return incident.Approval{Approved: true, By: "lead@desk", How: "terminal"}, nil
}

func (b *bench) fake(name string) *fake {
	if p, ok := b.registry[name].(plain); ok {
		return p.Action.(*fake)
	}
	return b.registry[name].(*fake)
}

func (b *bench) plan(pb incident.Playbook, targets ...incident.Target) incident.Plan {
	b.t.Helper()
	if len(targets) == 0 {
		targets = []incident.Target{targetA}
	}
	plan, err := b.planner.Plan(b.t.Context(), testCase, pb, targets, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

// run plans and starts, and returns the run as the journal has it.
func (b *bench) run(pb incident.Playbook, targets ...incident.Target) *incident.RunState {
	b.t.Helper()
	return b.start(pb, b.plan(pb, targets...), "run-1")
}

func (b *bench) start(pb incident.Playbook, plan incident.Plan, id string) *incident.RunState {
	b.t.Helper()
	outcome, err := b.runner.Start(b.t.Context(), b.journal.fold(b.t), pb, plan, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.ended(id, outcome)
}

func (b *bench) resume(pb incident.Playbook, id string) *incident.RunState {
	b.t.Helper()
	outcome, err := b.runner.Resume(b.t.Context(), b.journal.fold(b.t), id, pb)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.ended(id, outcome)
}

func (b *bench) ended(id string, outcome incident.Outcome) *incident.RunState {
	b.t.Helper()
	r := b.journal.fold(b.t).Run(id)
	if r.Outcome != outcome {
		b.t.Fatalf("the runner says %s, the journal %s", outcome, r.Outcome)
	}
	return r
}

// states lists the run's steps of target A as "id state".
func states(r *incident.RunState) []string {
	var out []string
	for _, s := range r.Plan.Steps {
		if s.Target == targetA {
			out = append(out, s.ID+" "+r.Steps[s.Key()].State.String())
		}
	}
	return out
}

func status(r *incident.RunState, id string) *incident.StepStatus {
	return r.Steps[incident.StepKey{Target: targetA, ID: id}]
}

func playbook(steps ...incident.Step) incident.Playbook {
	return incident.Playbook{Name: "test", Digest: "sha256:test", Source: "name: test", Steps: steps}
}

// step is a step of the fake action with this suffix.
func step(id, action string, needs ...string) incident.Step {
	return incident.Step{ID: id, Action: "fake." + action, Needs: needs, OnFailure: incident.Stop, Approval: incident.ApprovalAuto, Line: 7}
}

// expr is an expression that reads the steps refs.
func expr(source string, eval func(incident.Scope) (any, error), refs ...string) incident.Expr {
	return incident.Expr{Source: source, Refs: refs, Eval: eval}
}

func literal(v any) incident.Expr {
	return expr(fmt.Sprint(v), func(incident.Scope) (any, error) { return v, nil })
}

func wantEqual[T any](t *testing.T, what string, got, want []T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}
