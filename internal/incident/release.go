package incident

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Release plans the undoing of everything that playbooks' runs did to the
// targets (to all of the case's where none is given), from the journal's
// before-states. Steps come in the reverse of their original order, the newest
// run first, so that the oldest before-state is what is left in the end. A
// plan without steps: there is nothing to undo. Where something else has
// changed since what a step set, all differences are returned together in a
// *DriftError, unless force is set.
func (p Planner) Release(ctx context.Context, s *State, targets []Target, force bool) (Plan, error) {
	plan := Plan{Case: s.Case.ID, Kind: KindRelease, Playbook: string(KindRelease), Targets: slices.Clone(targets)}
	var previous []string // the release steps of the target's newer run
	for _, group := range p.undoable(s, targets) {
		first := group[0].Step.Target
		if !slices.Contains(plan.Targets, first) {
			plan.Targets = append(plan.Targets, first)
		}
		if n := len(plan.Steps); n > 0 && plan.Steps[n-1].Target != first {
			previous = nil
		}
		steps := p.undo(plan, group, previous, force)
		previous = nil
		for _, step := range steps {
			previous = append(previous, step.ID)
		}
		plan.Steps = append(plan.Steps, steps...)
	}
	if err := p.proposeUndo(ctx, s, plan.Steps); err != nil {
		return Plan{}, err
	}
	plan.Digest = plan.digest()
	return plan, nil
}

// undoable are the live steps whose actions can be undone, in groups of one
// target and one run: target by target, the newest run first, within a run
// the last step first.
func (p Planner) undoable(s *State, targets []Target) [][]LiveStep {
	var groups [][]LiveStep
	live := s.Live(targets...)
	if len(targets) == 0 {
		for _, l := range live {
			if !slices.Contains(targets, l.Step.Target) {
				targets = append(targets, l.Step.Target)
			}
		}
	}
	for _, t := range targets {
		var run *RunState
		for _, l := range live {
			if _, ok := p.Registry[l.Step.Action].(Reverter); !ok || l.Step.Target != t {
				continue
			}
			if l.Run != run {
				run, groups = l.Run, append(groups, nil)
			}
			last := len(groups) - 1
			groups[last] = append(groups[last], l)
		}
	}
	return groups
}

// undo makes the release steps of one run's steps on one target. Each needs
// the steps that once needed it, and all those of the newer run.
func (p Planner) undo(plan Plan, group []LiveStep, newer []string, force bool) []StepPlan {
	run := group[0].Run
	g := graphOn(group[0].Step.Target, run.Plan.Steps)
	steps := make([]StepPlan, 0, len(group))
	ids := make(map[string]string, len(group)) // of the original to that of the release
	for _, l := range group {
		spec := p.Registry[l.Step.Action].Spec()
		id := l.Step.ID
		if _, taken := plan.Step(StepKey{l.Step.Target, id}); taken {
			id += "." + run.ID
		}
		step := StepPlan{
			ID: id, Target: l.Step.Target, Title: l.Step.Title, Action: l.Step.Action,
			Needs: slices.Clone(newer), Inputs: spec.typed(l.Status.Intent.Inputs), Impact: spec.Impact,
			Asks: ApprovalAuto.asks(spec.Impact), Timeout: spec.Timeout, OnFailure: Stop, Undo: l.undo(force),
		}
		for _, later := range group {
			if done, ok := ids[later.Step.ID]; ok && g.ancestors(later.Step.ID)[l.Step.ID] {
				step.Needs = append(step.Needs, done)
			}
		}
		ids[l.Step.ID] = id
		steps = append(steps, step)
	}
	return steps
}

func (l LiveStep) undo(force bool) *Undo {
	u := &Undo{
		Run: l.Run.ID, Step: l.Step.ID, State: l.Status.State, Inputs: l.Status.Intent.Inputs,
		Token: l.Status.Intent.Token, Proposal: l.Status.Intent.Proposal,
		Result: l.Status.Result, Records: l.Status.Records[EntryStepRecord], Force: force,
	}
	if u.State == Running {
		u.State = Unknown // whoever plans a release holds the case: nobody is at it
	}
	return u
}

// proposeUndo asks the actions what undoing would change. A step that comes
// after the undoing of another step of the same action has no proposal yet:
// what that one set would look like a change by someone else.
func (p Planner) proposeUndo(ctx context.Context, s *State, steps []StepPlan) error {
	shared, undone := sharersOf(steps), make(map[runStep]bool, len(steps))
	for _, step := range steps {
		undone[step.undone()] = true
	}
	var known []*StepPlan
	for i, step := range steps {
		before := graphOn(step.Target, steps).ancestors(step.ID)
		if !slices.ContainsFunc(steps, func(s StepPlan) bool {
			return s.Target == step.Target && s.Action == step.Action && before[s.ID]
		}) {
			known = append(known, &steps[i])
		}
	}
	drifts := make([]*DriftError, len(known))
	err := each(len(known), func(i int) error {
		step := known[i]
		action := p.Registry[step.Action]
		req := p.request(s.Case, *step)
		step.Undo.Held = s.held(step.shared(), func(h runStep) bool { return undone[h] })
		req.Sharing = shared.targets(step.Target, step.shared(), func(StepKey) bool { return true })
		proposal, err := planned(p.stepContext(ctx, *step), action, req)
		if errors.As(err, &drifts[i]) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("planning to undo step %s of run %s on %s: %w", step.Undo.Step, step.Undo.Run, step.Target, err)
		}
		step.Proposal, step.Impact = &proposal, proposal.Impact
		step.Asks = ApprovalAuto.asks(proposal.Impact)
		return nil
	})
	var all DriftError
	for _, d := range drifts {
		if d != nil {
			all.Differences = append(all.Differences, d.Differences...)
		}
	}
	if len(all.Differences) > 0 {
		err = errors.Join(err, hintForce(&all))
	}
	return err
}

func hintForce(err error) error {
	return WithHint(err, "look at the differences; release with --force restores the state before all the same")
}
