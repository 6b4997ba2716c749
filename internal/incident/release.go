package incident

import (
	"context"
	"errors"
	"slices"
)

// Release plans the undoing of everything that playbooks' runs did to the
// targets (to all of the case's where none is given), from the journal's
// before-states. Steps come in the reverse of their original order, the newest
// run first, so that the oldest before-state is what is left in the end. A
// plan without steps: there is nothing to undo. Where something else has
// changed since what a step set, the target is left out, as is one that can't be read; where that leaves
// none, all differences are returned together in a *DriftError, with a plan that names those left out
// and can't be started. Force undoes the changed too.
func (p Planner) Release(ctx context.Context, s *State, targets []Target, force bool) (Plan, error) {
	plan := Plan{Case: s.Case.ID, Kind: KindRelease, Playbook: string(KindRelease), Targets: slices.Clone(targets)}
	named := make(map[Target]bool, len(targets))
	for _, t := range targets {
		named[t] = true
	}
	for _, live := range p.undoable(s, targets) {
		t := live[0].Step.Target
		if !named[t] {
			plan.Targets = append(plan.Targets, t)
		}
		plan.Steps = append(plan.Steps, p.undo(live, force)...)
	}
	lost := p.proposeUndo(ctx, s, plan.Steps)
	if ctx.Err() != nil {
		return Plan{}, context.Cause(ctx)
	}
	if err := lost.drop(&plan); err != nil {
		return plan, err
	}
	if err := p.jointly(plan); err != nil {
		return Plan{}, err
	}
	plan.Digest = plan.digest()
	return plan, nil
}

// undoable are the live steps whose actions can be undone, target by target,
// the newest run first, within a run the last step first.
func (p Planner) undoable(s *State, targets []Target) [][]LiveStep {
	at := make(map[Target]int)
	var on [][]LiveStep
	place := func(t Target) int {
		i, ok := at[t]
		if !ok {
			i = len(on)
			at[t], on = i, append(on, nil)
		}
		return i
	}
	for _, t := range targets {
		place(t)
	}
	for _, l := range s.Live(targets...) {
		if _, ok := p.Registry[l.Step.Action].(Reverter); ok {
			i := place(l.Step.Target)
			on[i] = append(on[i], l)
		}
	}
	return slices.DeleteFunc(on, func(live []LiveStep) bool { return len(live) == 0 })
}

// undo makes the release steps of a target's live steps. Each needs the steps
// of its run that once needed it, and all those of the newer run.
func (p Planner) undo(live []LiveStep, force bool) []StepPlan {
	steps := make([]StepPlan, 0, len(live))
	taken := make(map[string]bool, len(live))
	var newer []string // the release steps of the target's newer run
	for i := 0; i < len(live); {
		run := live[i].Run
		g := planGraph(run.on(live[i].Step.Target))
		ids := make(map[string]string) // of the original to that of the release
		for ; i < len(live) && live[i].Run == run; i++ {
			l := live[i]
			spec := p.Registry[l.Step.Action].Spec()
			id := l.Step.ID
			if taken[id] {
				id += "." + run.ID
			}
			step := StepPlan{
				ID: id, Target: l.Step.Target, Title: l.Step.Title, Action: l.Step.Action,
				Needs: slices.Clone(newer), Inputs: spec.typed(l.Status.Intent.Inputs), Impact: spec.Impact,
				Asks: ApprovalAuto.asks(spec.Impact), Timeout: spec.Timeout, OnFailure: Stop, Undo: l.undo(force),
			}
			for later, done := range ids {
				if g.ancestors(later)[l.Step.ID] {
					step.Needs = append(step.Needs, done)
				}
			}
			slices.Sort(step.Needs)
			ids[l.Step.ID], taken[id] = id, true
			steps = append(steps, step)
		}
		newer = nil
		for _, id := range ids {
			newer = append(newer, id)
		}
		slices.Sort(newer)
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
func (p Planner) proposeUndo(ctx context.Context, s *State, steps []StepPlan) *losses {
	shared, undone := sharersOf(steps), make(map[runStep]bool, len(steps))
	for _, step := range steps {
		undone[step.undone()] = true
	}
	known := firstOfTheirAction(steps)
	failures := each(len(known), parallel(len(perTarget(steps))), func(i int) error {
		step := known[i]
		req := p.request(s.Case, *step)
		step.Undo.hold(s.held(step.shared(), func(h runStep) bool { return undone[h] }))
		req.Sharing = shared.targets(step.Target, step.shared(), func(StepKey) bool { return true })
		proposal, err := planned(p.stepContext(ctx, *step), p.Registry[step.Action], req)
		if drift := new(DriftError); errors.As(err, &drift) {
			return hintForce(err)
		}
		if err != nil {
			return err
		}
		step.Proposal, step.Impact = &proposal, proposal.Impact
		step.Asks = ApprovalAuto.asks(proposal.Impact)
		return nil
	})
	lost := newLosses("planning to undo")
	for i, err := range failures {
		if err != nil {
			lost.add(known[i].Target, known[i].ID, err, false)
		}
	}
	return lost
}

// firstOfTheirAction are the steps that come after no other step of the same action and target.
func firstOfTheirAction(steps []StepPlan) []*StepPlan {
	var first []*StepPlan
	for _, part := range perTarget(steps) {
		g := planGraph(part)
		for i, step := range part {
			before := g.ancestors(step.ID)
			if !slices.ContainsFunc(part, func(s StepPlan) bool { return s.Action == step.Action && before[s.ID] }) {
				first = append(first, &part[i])
			}
		}
	}
	return first
}

func hintForce(err error) error {
	return WithHint(err, "look at the differences; release with --force restores the state before all the same")
}
