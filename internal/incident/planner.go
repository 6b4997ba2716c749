package incident

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// parallel is how many actions plan, or run, at once where nothing else is asked for. On
// many targets most of them wait for their turn at AWS (package access): there
// must be enough of them that no API's budget lies idle, and no more than keeps each wait short.
func parallel(targets int) int { return min(8*max(targets, 1), 128) }

// Planner makes plans. It only reads.
type Planner struct {
	Registry Registry
	Clock    Clock
	// Without are the IDs of steps to leave out, and with them the steps that can't do without their outputs.
	Without []string
}

// Plan binds the playbook to the case and its targets and lets every action
// whose inputs are known say what it would change. A target that can't be
// planned is left out, and the plan says why (Plan.LeftOut). Where that leaves none, errors: *InputError with
// everything that is wrong with the playbook's inputs, the targets or a step's
// inputs; *RefusedError where the order of work would endanger the target;
// otherwise what the actions could not read, all of it.
func (p Planner) Plan(ctx context.Context, c Case, pb Playbook, targets []Target, inputs map[string]any) (Plan, error) {
	values, problems := CheckInputs(pb.Inputs, inputs)
	problems = append(problems, targetProblems(targets)...)
	steps, errs := ordered(pb.Steps)
	problems = append(problems, errs...)
	for _, id := range p.Without {
		if _, ok := pb.step(id); !ok {
			problems = append(problems, fmt.Errorf("playbook %s has no step %s to leave out", pb.Name, id))
		}
	}
	if len(problems) > 0 {
		return Plan{}, &InputError{problems}
	}
	plan := Plan{
		Case: c.ID, Kind: KindRun, Playbook: pb.Name, PlaybookDigest: pb.Digest,
		Targets: slices.Clone(targets), Inputs: values, Without: union(p.Without),
	}
	unbound := newLosses("planning")
	for _, t := range targets {
		scope := Scope{Case: c, Target: t, Inputs: values, Steps: make(map[string]StepScope)}
		for _, s := range steps {
			step, errs := p.bind(s, scope)
			if step.Chosen { // nothing else is known of any step yet
				scope.Steps[s.ID] = StepScope{State: Skipped.String(), LeftOut: true}
			}
			for _, err := range errs {
				unbound.add(t, s.ID, &StepError{Line: s.Line, Step: s.ID, Err: err}, true)
			}
			plan.Steps = append(plan.Steps, step)
		}
	}
	if err := unbound.drop(&plan); err != nil {
		return Plan{}, err
	}
	unread := p.propose(ctx, c, pb, plan.Steps)
	if ctx.Err() != nil {
		return Plan{}, context.Cause(ctx)
	}
	checkPlanOrder(plan, unread)
	if err := unread.drop(&plan); err != nil {
		return Plan{}, err
	}
	if err := p.jointly(plan); err != nil {
		return Plan{}, err
	}
	plan.Digest = plan.digest()
	return plan, nil
}

func targetProblems(targets []Target) []error {
	if len(targets) == 0 {
		return []error{errors.New("no target: name at least one instance")}
	}
	var problems []error
	seen := make(map[Target]bool)
	for _, t := range targets {
		if t.Account == "" || t.Region == "" || t.Instance == "" {
			problems = append(problems, fmt.Errorf("target %s: want account/region/instance", t))
		}
		if seen[t] {
			problems = append(problems, fmt.Errorf("target %s: named twice", t))
		}
		seen[t] = true
	}
	return problems
}

// bind makes the step's plan as far as the playbook and its inputs tell.
func (p Planner) bind(s Step, scope Scope) (StepPlan, []error) {
	step := StepPlan{
		ID: s.ID, Target: scope.Target, Title: s.Title, Action: s.Action, Needs: slices.Clone(s.Needs),
		Timeout: s.Timeout, OnFailure: s.OnFailure,
	}
	spec, ok := p.Registry.Spec(s.Action)
	if !ok {
		return step, []error{fmt.Errorf("action %s does not exist", s.Action)}
	}
	step.Impact, step.Provides = spec.Impact, spec.Provides
	if step.Timeout == 0 {
		step.Timeout = spec.Timeout
	}
	if step.OnFailure == "" {
		step.OnFailure = Stop
	}
	step.Skip = s.starved(scope)
	if slices.Contains(p.Without, s.ID) {
		step.Skip = "left out of this plan"
	}
	step.Chosen = step.Skip != ""
	switch {
	case step.Chosen:
		return step, nil
	case s.When == nil:
	case !s.When.known(scope):
		// What is false whatever a step does (CEL: false && x is false, even where x
		// can't be known) is not shown as something that might be done.
		if holds, err := s.When.holds(scope); err == nil && !holds {
			step.Skip = conditionFalse(*s.When)
			return step, nil
		}
		step.When = s.When.Source
	default:
		holds, err := s.When.holds(scope)
		if err != nil {
			return step, []error{err}
		}
		if !holds {
			step.Skip, step.Chosen = conditionFalse(*s.When), len(s.When.Refs) > 0
			return step, nil
		}
	}
	inputs, deferred, errs := s.inputs(spec, scope, true)
	step.Inputs, step.Deferred = inputs, deferred
	step.Asks = s.Approval.asks(step.Impact)
	return step, errs
}

// known tells whether the state of every step that the expression reads is.
func (e Expr) known(scope Scope) bool {
	return !slices.ContainsFunc(e.Refs, func(id string) bool { _, ok := scope.Steps[id]; return !ok })
}

// starved says which step that was left out the step can't do without; empty for none.
func (s Step) starved(scope Scope) string {
	leftOut := func(step StepScope) bool { return step.LeftOut }
	if !slices.ContainsFunc(slices.Collect(maps.Values(scope.Steps)), leftOut) {
		return ""
	}
	if s.When != nil && s.When.known(scope) {
		if without := s.When.starved(scope); without != "" {
			return without
		}
		if holds, err := s.When.Eval(scope); err == nil && holds == false {
			return "" // it is skipped anyway
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		if without := s.With[name].starved(scope); without != "" {
			return without
		}
	}
	return ""
}

func (e Expr) starved(scope Scope) string {
	i := slices.IndexFunc(e.Refs, func(id string) bool { return scope.Steps[id].LeftOut })
	if i < 0 || !e.known(scope) {
		return ""
	}
	if _, err := e.Eval(scope); err != nil {
		return fmt.Sprintf("it takes what step %s leaves behind, which is left out", e.Refs[i])
	}
	return ""
}

func conditionFalse(when Expr) string { return "its condition is false: " + when.Source }

// holds evaluates a condition.
func (e Expr) holds(scope Scope) (bool, error) {
	v, err := e.Eval(scope)
	if err != nil {
		return false, fmt.Errorf("when: %w", err)
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("when: %s is a %s, not a boolean", e.Source, typeName(v))
	}
	return b, nil
}

// inputs evaluates the step's inputs and checks them. While planning, those
// that only the run can know are left out and returned as expressions.
func (s Step) inputs(spec Spec, scope Scope, planning bool) (inputs map[string]any, deferred map[string]string, errs []error) {
	fields, given := slices.Clone(spec.Inputs), make(map[string]any, len(s.With))
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		expr := s.With[name]
		if planning && !expr.known(scope) {
			if deferred == nil {
				deferred = make(map[string]string)
			}
			deferred[name] = expr.Source
			i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
			if i < 0 {
				errs = append(errs, fmt.Errorf("input %s: does not exist", name))
				continue
			}
			fields = slices.Delete(fields, i, i+1)
			continue
		}
		v, err := expr.Eval(scope)
		if err != nil {
			errs = append(errs, fmt.Errorf("input %s: %w", name, err))
			fields = slices.DeleteFunc(fields, func(f Field) bool { return f.Name == name })
			continue
		}
		given[name] = v
	}
	inputs, problems := CheckInputs(fields, given)
	return inputs, deferred, append(errs, problems...)
}

// asks tells whether a step of this impact waits for an approval.
func (r ApprovalRule) asks(i Impact) bool {
	switch r {
	case ApprovalRequired:
		return true
	case ApprovalNone:
		return false
	default:
		return i >= Disruptive
	}
}

// propose asks the actions what they would change, several at a time.
func (p Planner) propose(ctx context.Context, c Case, pb Playbook, steps []StepPlan) *losses {
	failures := each(len(steps), parallel(len(perTarget(steps))), func(i int) error {
		step := &steps[i]
		action := p.Registry[step.Action]
		if step.Skip != "" || action.Spec().waits(step.Deferred) {
			return nil
		}
		proposal, err := planned(p.stepContext(ctx, *step), action, p.request(c, *step))
		var refused *RefusedError
		if err != nil && (step.When != "" || len(step.Deferred) > 0 && !errors.As(err, &refused)) && ctx.Err() == nil {
			// The condition may be what keeps the step from a target it does
			// not fit. If it does run, it is planned again first; so is one
			// of which not everything is known yet, unless what is known is
			// already refused.
			return nil
		}
		if err != nil {
			return err
		}
		step.Proposal, step.Impact = &proposal, proposal.Impact
		step.Asks = pb.rule(step.ID).asks(step.Impact)
		return nil
	})
	lost := newLosses("planning")
	for i, err := range failures {
		if err != nil {
			lost.add(steps[i].Target, steps[i].ID, err, false)
		}
	}
	return lost
}

// waits reports whether a step can't be planned before the run: an input that
// its changes depend on is not known.
func (s Spec) waits(deferred map[string]string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(deferred)), func(name string) bool {
		return !slices.ContainsFunc(s.Inputs, func(f Field) bool { return f.Name == name && f.Late })
	})
}

// planned lets an action say what it would do, forward or, in a release, back.
// It holds Plan to the action's spec: an approval by declared impact is worth
// nothing if a proposal may be worse.
func planned(ctx context.Context, action Action, req Request) (Proposal, error) {
	spec := action.Spec()
	if req.Undo != nil {
		reverter, ok := action.(Reverter)
		if !ok {
			return Proposal{}, &RefusedError{Reason: fmt.Sprintf("action %s can't be undone", spec.Name)}
		}
		return reverter.PlanRevert(ctx, req)
	}
	proposal, err := action.Plan(ctx, req)
	if err != nil {
		return Proposal{}, err
	}
	if proposal.Impact > spec.Impact {
		return Proposal{}, fmt.Errorf("action %s proposes %s changes and declares at most %s", spec.Name, proposal.Impact, spec.Impact)
	}
	return proposal, nil
}

// rule is the approval rule of the step; the default where a release has no playbook.
func (pb Playbook) rule(id string) ApprovalRule {
	step, _ := pb.step(id)
	return step.Approval
}

func (pb Playbook) step(id string) (Step, bool) {
	for _, s := range pb.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return Step{}, false
}

func (p Planner) stepContext(ctx context.Context, step StepPlan) context.Context {
	return WithStep(ctx, StepRef{Step: step.ID, Target: step.Target.String()})
}

// request is what an action is planned with before there is a run.
func (p Planner) request(c Case, step StepPlan) Request {
	return Request{
		Turn: func(_ context.Context, _ string, do func() error) error { return do() }, // planning changes nothing
		Case: c, Step: step.ID, Target: step.Target, Inputs: step.Inputs, Undo: step.Undo, Clock: p.Clock,
		Progress: func(Progress) {},
		Record: func(context.Context, EntryType, any) error {
			return fmt.Errorf("step %s: nothing can be recorded while planning", step.ID)
		},
		Recorded: func(EntryType) []json.RawMessage { return nil },
	}
}

// each calls do for 0 to n-1, a few at a time, waits for all of them and
// returns their errors.
func each(n, places int, do func(i int) error) []error {
	errs := make([]error, n)
	slots := make(chan struct{}, places)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	return errs
}

// perTarget cuts steps, which come target by target, into those of each target.
func perTarget(steps []StepPlan) [][]StepPlan {
	var parts [][]StepPlan
	for i := 0; i < len(steps); {
		n := 1
		for i+n < len(steps) && steps[i+n].Target == steps[i].Target {
			n++
		}
		parts = append(parts, steps[i:i+n])
		i += n
	}
	return parts
}

// checkPlanOrder finds the targets that the order of work would endanger.
func checkPlanOrder(plan Plan, lost *losses) {
	for _, steps := range perTarget(plan.Steps) {
		unread := len(lost.by[steps[0].Target]) > 0 // the order of what is not known can't be judged
		for _, step := range steps {
			if step.Proposal == nil || unread {
				continue
			}
			if err := guardOrder(steps, step, *step.Proposal, func(s StepPlan) bool { return s.Skip == "" }); err != nil {
				lost.add(step.Target, step.ID, err, true)
			}
		}
	}
}

// approvable is what a digest covers of a step: what the responder reads and
// says yes to. Before-states are left out: they say the same once more, and
// details that no change depends on would make the digest worthless.
type approvable struct {
	ID       string            `json:"id"`
	Target   Target            `json:"target"`
	Action   string            `json:"action"`
	Needs    []string          `json:"needs,omitempty"`
	Inputs   map[string]any    `json:"inputs,omitempty"`
	Deferred map[string]string `json:"deferred,omitempty"`
	When     string            `json:"when,omitempty"`
	Skip     string            `json:"skip,omitempty"`
	Chosen   bool              `json:"chosen,omitempty"`
	Impact   Impact            `json:"impact"`
	Known    bool              `json:"known"` // whether changes are
	Changes  []Change          `json:"changes,omitempty"`
	Undoes   [2]string         `json:"undoes"` // run and step
	Force    bool              `json:"force"`
}

// digest is the SHA-256 of the plan's approvable part as JSON; encoding/json
// sorts maps, so equal plans have equal digests.
func (p Plan) digest() string {
	steps := make([]approvable, 0, len(p.Steps))
	for _, s := range p.Steps {
		a := approvable{
			ID: s.ID, Target: s.Target, Action: s.Action, Needs: s.Needs, Inputs: s.Inputs, Deferred: s.Deferred,
			When: s.When, Skip: s.Skip, Chosen: s.Chosen, Impact: s.Impact,
		}
		if s.Proposal != nil {
			a.Known, a.Changes = true, s.Proposal.Changes
		}
		if s.Undo != nil {
			a.Undoes, a.Force = [2]string{s.Undo.Run, s.Undo.Step}, s.Undo.Force
		}
		steps = append(steps, a)
	}
	b, err := json.Marshal(struct {
		Case           string         `json:"case"`
		Kind           RunKind        `json:"kind"`
		Playbook       string         `json:"playbook"`
		PlaybookDigest string         `json:"playbook_digest"`
		Targets        []Target       `json:"targets"`
		LeftOut        []LeftOut      `json:"left_out,omitempty"`
		Inputs         map[string]any `json:"inputs,omitempty"`
		Steps          []approvable   `json:"steps"`
	}{p.Case, p.Kind, p.Playbook, p.PlaybookDigest, p.Targets, p.LeftOut, p.Inputs, steps})
	if err != nil {
		panic(fmt.Sprintf("a plan of plain data does not marshal: %v", err)) // inputs are strings, numbers, booleans, lists
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
