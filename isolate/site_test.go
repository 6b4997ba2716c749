package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// tester is what a test and a property test have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// site is a simulated account, and what its actions called.
type site struct {
	t      tester
	ctx    context.Context
	acct   *rehearsal.Account
	cfg    aws.Config
	target incident.Target
	all    []incident.Action
	acts   map[string]incident.Reverter // those of them that can be undone
	caseID string

	mu    sync.Mutex
	calls []string // IAM actions, in order
	crash crash
}

// crash kills the process, so to speak, at its Nth changing call.
type crash struct {
	at    int  // from 1; 0: never
	after bool // the call is made, its answer is lost
	seen  int
}

var errKilled = errors.New("killed")

func newSite(t tester, seed int64) *site {
	t.Helper()
	return newSiteOf(t, "web-tier", seed)
}

func newSiteOf(t tester, scenario string, seed int64) *site {
	t.Helper()
	a, err := rehearsal.Create("", scenario, seed)
	if err != nil {
		t.Fatalf("%v", err)
	}
	alert := a.Alert()
	s := &site{
		t: t, ctx: context.Background(), acct: a, caseID: "INC-42", cfg: a.Config(alert.Region),
		target: incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance},
		acts:   make(map[string]incident.Reverter),
	}
	// The SDK waits in real time before it tries again.
	s.cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	watched := s.cfg.Copy()
	watched.APIOptions = append(watched.APIOptions, s.watch)
	for _, action := range Actions(func(context.Context, incident.Target) (aws.Config, error) { return watched, nil }) {
		s.all = append(s.all, action)
		if reverter, ok := action.(incident.Reverter); ok {
			s.acts[action.Spec().Name] = reverter
		}
	}
	return s
}

// watch counts every call and crashes where it is told to.
func (s *site) watch(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Watch",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			op := awsmiddleware.GetOperationName(ctx)
			killed, after, dead := s.note(service(awsmiddleware.GetServiceID(ctx))+":"+op, changes(op))
			if dead || killed && !after {
				return middleware.InitializeOutput{}, middleware.Metadata{}, errKilled
			}
			out, meta, err := next.HandleInitialize(ctx, in)
			if killed {
				return middleware.InitializeOutput{}, meta, errKilled
			}
			return out, meta, err
		}), middleware.After)
}

func (s *site) note(call string, changing bool) (killed, after, dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crash.at > 0 && s.crash.seen >= s.crash.at {
		return false, false, true
	}
	s.calls = append(s.calls, call)
	if !changing {
		return false, false, false
	}
	s.crash.seen++
	return s.crash.seen == s.crash.at, s.crash.after, false
}

func service(id string) string {
	if strings.HasPrefix(id, "Elastic Load Balancing") {
		return "elasticloadbalancing"
	}
	if id == "CloudWatch Logs" {
		return "logs"
	}
	return strings.ToLower(strings.ReplaceAll(id, " ", ""))
}

func changes(operation string) bool {
	for _, p := range []string{"Describe", "Get", "List", "Filter"} {
		if strings.HasPrefix(operation, p) {
			return false
		}
	}
	return true
}

// crashAt arms the crash; from now on, calls are counted anew.
func (s *site) crashAt(n int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash, s.calls = crash{at: n, after: after}, nil
}

// changed lists the changing calls since crashAt.
func (s *site) changed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.calls), func(c string) bool {
		_, op, _ := strings.Cut(c, ":")
		return !changes(op)
	})
}

// step is a step of a run on the site: one action and how far it came.
type step struct {
	name     string
	inputs   map[string]any
	proposal incident.Proposal
	result   incident.Result
	verified incident.Verification
	state    incident.StepState
	recorded []json.RawMessage
	held     bool     // another step holds what this one shares, while it is undone
	names    []string // of what it holds
}

func (s *site) request(st *step) incident.Request {
	inputs := make(map[string]any)
	for _, f := range s.acts[st.name].Spec().Inputs {
		inputs[f.Name] = f.Default
	}
	maps.Copy(inputs, st.inputs)
	if st.name == "isolate.access-key" && inputs["access_key_id"] == nil {
		inputs["access_key_id"] = s.stolenKey()
	}
	return incident.Request{
		Case: incident.Case{ID: s.caseID}, Run: "r1", Step: st.name, Target: s.target, Inputs: inputs,
		Clock: s.acct.Clock(), Progress: func(incident.Progress) {},
		Turn: func(_ context.Context, _ string, do func() error) error { return do() },
		Record: func(_ context.Context, kind incident.EntryType, data any) error {
			b, err := json.Marshal(data)
			s.mu.Lock()
			defer s.mu.Unlock()
			st.recorded = append(st.recorded, b)
			return err
		},
		Recorded: func(incident.EntryType) []json.RawMessage { return st.recorded },
	}
}

func (s *site) plan(name string, inputs map[string]any) (*step, error) {
	st := &step{name: name, inputs: inputs}
	p, err := s.acts[name].Plan(s.ctx, s.request(st))
	st.proposal = journaled(s.t, p)
	return st, err
}

// journaled is what a value is after it went through the journal.
func journaled[T any](t tester, v T) T {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// start reads the before-state once more and applies, as the engine does.
func (s *site) start(st *step) error {
	req := s.request(st)
	approved := st.proposal
	req.Planned = &approved
	p, err := s.acts[st.name].Plan(s.ctx, req)
	if err != nil {
		return err
	}
	st.proposal = journaled(s.t, p)
	return s.try(st, false)
}

// try applies and verifies from the journaled proposal.
func (s *site) try(st *step, resumed bool) error {
	req := s.request(st)
	req.Resumed = resumed
	st.state = incident.Unknown
	r, err := s.acts[st.name].Apply(s.ctx, req, st.proposal)
	if !errors.Is(err, errKilled) { // of a step that fails the engine journals what it left
		st.result = journaled(s.t, r)
	}
	if err != nil {
		return err
	}
	v, err := s.acts[st.name].Verify(s.ctx, req, st.proposal, st.result)
	if err != nil {
		return err
	}
	st.verified = journaled(s.t, v)
	st.state = incident.Succeeded
	return nil
}

// do plans and runs one step, which has to go well.
func (s *site) do(name string, inputs map[string]any) *step {
	s.t.Helper()
	st, err := s.plan(name, inputs)
	if err != nil {
		s.t.Fatalf("plan %s: %v", name, err)
	}
	if err := s.start(st); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return st
}

func (s *site) undoing(st *step, force bool) incident.Request {
	req := s.request(st)
	req.Run = "r2"
	req.Undo = &incident.Undo{Run: "r1", Step: st.name, State: st.state, Inputs: req.Inputs, Proposal: st.proposal, Result: st.result, Records: st.recorded, Force: force, Held: st.held, HeldNames: st.names}
	return req
}

func (s *site) planUndo(st *step, force bool) (incident.Proposal, error) {
	return s.acts[st.name].PlanRevert(s.ctx, s.undoing(st, force))
}

func (s *site) undo(st *step, force bool) error {
	req := s.undoing(st, force)
	p, err := s.acts[st.name].PlanRevert(s.ctx, req)
	if err != nil {
		return err
	}
	_, err = s.acts[st.name].Revert(s.ctx, req, journaled(s.t, p))
	return err
}

// undoAll undoes the steps, the last one first; each has to go well.
func (s *site) undoAll(steps ...*step) {
	s.t.Helper()
	for _, st := range slices.Backward(steps) {
		if err := s.undo(st, false); err != nil {
			s.t.Fatalf("undo %s: %v", st.name, err)
		}
	}
}

func (s *site) ec2() *ec2.Client                 { return ec2.NewFromConfig(s.cfg) }
func (s *site) iam() *iam.Client                 { return iam.NewFromConfig(s.cfg) }
func (s *site) autoscaling() *autoscaling.Client { return autoscaling.NewFromConfig(s.cfg) }
func (s *site) balancers() balancers             { return newBalancers(s.cfg) }

// must gives the output of a call that has to go well.
func must[T any](t tester) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%v", err)
		}
		return v
	}
}

// state is all that isolation can touch of the instance, as AWS describes it,
// one line an attribute.
func (s *site) state() string {
	s.t.Helper()
	lines := slices.Concat(s.stateOfInstance(), s.stateOfNetwork(), s.stateOfBalancers(), s.stateOfRole(), s.stateOfUser())
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (s *site) instance() ec2types.Instance {
	s.t.Helper()
	return must[ec2types.Instance](s.t)(describe(s.ctx, s.ec2(), s.target))
}

func (s *site) stateOfInstance() []string {
	g := must[*guarded](s.t)(s.acts["isolate.protect"].(*protect).read(s.ctx, s.target))
	var lines []string
	for _, o := range g.guards {
		lines = append(lines, fmt.Sprintf("%s %s = %s", o.ID, o.Kind, o.Value))
	}
	m, err := membership(s.ctx, s.autoscaling(), s.target.Instance)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	place := "in no group"
	if m != nil {
		place = fmt.Sprintf("%s in %s, protected %v", *m.LifecycleState, *m.AutoScalingGroupName, *m.ProtectedFromScaleIn)
	}
	return append(lines, "auto scaling: "+place)
}

func (s *site) stateOfNetwork() []string {
	w := must[*wired](s.t)(s.acts["isolate.network"].(*network).open(s.ctx, s.target))
	var lines []string
	for _, i := range w.interfaces {
		n := w.wire(i)
		if err := w.readAutomatic(s.ctx, &n); err != nil {
			s.t.Fatalf("%v", err)
		}
		lines = append(lines, fmt.Sprintf("%s groups %v, timeouts %s, automatic address %v, IPv6 %v", n.ID, n.ids(), n.Timers, n.Automatic, n.IPv6))
		for _, p := range n.Public {
			if p.Allocation != "" {
				lines = append(lines, fmt.Sprintf("%s: %s in front of %s", n.ID, p, p.Private))
			}
		}
	}
	return append(lines, s.stateOfACLs()...)
}

func (s *site) stateOfACLs() []string {
	var lines []string
	out := must[*ec2.DescribeNetworkAclsOutput](s.t)(s.ec2().DescribeNetworkAcls(s.ctx, &ec2.DescribeNetworkAclsInput{}))
	for _, a := range out.NetworkAcls {
		for _, e := range a.Entries {
			lines = append(lines, fmt.Sprintf("%s egress %v: %s", *a.NetworkAclId, *e.Egress, entryWords(e)))
		}
	}
	return lines
}

func (s *site) stateOfBalancers() []string {
	f := must[findings](s.t)(s.balancers().find(s.ctx, s.instance()))
	var lines []string
	for _, r := range f.registered {
		lines = append(lines, fmt.Sprintf("registered: %+v", r))
	}
	return lines
}

func (s *site) session() *session {
	return &session{ec2: s.ec2(), iam: s.iam(), instance: s.target.Instance}
}

// role is the scenario's: its name is that of its profile.
const role = "web-tier"

func (s *site) stateOfRole() []string {
	c := s.session()
	lines := []string{"profile: none"}
	if a := must[*ec2types.IamInstanceProfileAssociation](s.t)(c.association(s.ctx)); a != nil {
		lines[0] = "profile: " + profileARN(*a)
	}
	list := must[*iam.ListRolePoliciesOutput](s.t)(s.iam().ListRolePolicies(s.ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(role)}))
	for _, name := range list.PolicyNames {
		doc := must[*string](s.t)(c.role(role).policy(s.ctx, name))
		lines = append(lines, "policy "+name+": "+*doc)
	}
	return lines
}

// user is the scenario's, whose access key the intruder has.
const user = "shop-deploy"

func (s *site) keyring() *keyring { return &keyring{iam: s.iam(), user: user} }

// stolenKey is the ID of that key.
func (s *site) stolenKey() string {
	s.t.Helper()
	return *must[[]iamtypes.AccessKeyMetadata](s.t)(s.keyring().keys(s.ctx))[0].AccessKeyId
}

func (s *site) stateOfUser() []string {
	var lines []string
	for _, k := range must[[]iamtypes.AccessKeyMetadata](s.t)(s.keyring().keys(s.ctx)) {
		lines = append(lines, fmt.Sprintf("access key %s: %s", *k.AccessKeyId, k.Status))
	}
	p := s.keyring().principal()
	for _, name := range must[[]string](s.t)(p.names(s.ctx)) {
		lines = append(lines, "policy "+name+" of the user: "+*must[*string](s.t)(p.policy(s.ctx, name)))
	}
	return lines
}

// same fails the test where two states differ, and shows the lines that do.
func (s *site) same(want, got, when string) {
	s.t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var diff []string
	for _, l := range w {
		if !slices.Contains(g, l) {
			diff = append(diff, "- "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			diff = append(diff, "+ "+l)
		}
	}
	s.t.Fatalf("%s, the state differs:\n%s", when, strings.Join(diff, "\n"))
}

var _ tester = (*testing.T)(nil)
