package incident

import (
	"errors"
	"fmt"
)

// A run under way is steered from outside by four orders, each journaled with
// who gave it before it counts: pause, continue, skip a step, and retry one (retry.go). They reach
// the run between its steps: what is at work is never touched (that is what
// cancelling the context does, and then no further change is made).

// errNotLive: there is no run to steer.
var errNotLive = errors.New("no run is under way")

// What a step meets instead of its next entry.
var (
	errPaused  = errors.New("the run is paused")
	errSkipped = errors.New("the step was skipped meanwhile")
)

// Pause keeps every step that has not begun from beginning, until Continue or
// the run's end. A paused run in which a step failed does not end before one
// of the two, or an interrupt: the step can be tried again. When Pause returns, no intent comes into the journal any more; steps that
// are at work go on to their outcome. A process that ends while its run is
// paused leaves no pause behind: whoever resumes a run wants it to go on.
func (r *Runner) Pause(p RunPaused) error {
	e := r.live.Load()
	if e == nil {
		return errNotLive
	}
	return e.hold(EntryRunPaused, p, true)
}

// Continue ends a pause.
func (r *Runner) Continue(c RunContinued) error {
	e := r.live.Load()
	if e == nil {
		return errNotLive
	}
	return e.hold(EntryRunContinued, c, false)
}

// Skip leaves out a step that has not begun, or waits for an approval: for this
// run and its resumes. Steps that need it run all the same. The step is an incident.StepKey's text, or a
// step's ID where one target of the run has it.
func (r *Runner) Skip(step string, s Skipping) error {
	e := r.live.Load()
	if e == nil {
		return errNotLive
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	if run == nil {
		return errNotLive
	}
	draft, err := run.Skip(step, s)
	if err != nil {
		return err
	}
	if k, _ := run.named(step); run.Steps[k].Outcome != nil {
		return WithHint(fmt.Errorf("step %s has %s already", k, run.Steps[k].State), "retry it, or once the run has ended skip it")
	}
	if err := e.appendLocked(draft); err != nil {
		return err
	}
	if stop := e.asking[draft.Step+"@"+draft.Target]; stop != nil {
		stop(errSkipped)
	}
	return nil
}

// hold journals the order and has the turns follow it.
func (e *execution) hold(kind EntryType, order any, on bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	switch {
	case run == nil || run.Outcome != "" || e.ctx.Err() != nil:
		return fmt.Errorf("run %s is ending", e.id)
	case on && run.Paused != nil:
		return fmt.Errorf("run %s is paused already, by %s", e.id, run.Paused.By)
	case !on && run.Paused == nil:
		return fmt.Errorf("run %s is not paused", e.id)
	}
	if err := e.appendLocked(Draft{Type: kind, Run: e.id, Data: order}); err != nil {
		return err
	}
	e.turns.hold(on)
	e.steer()
	return nil
}

// steer has the schedule look whether the run is to end.
func (e *execution) steer() {
	select {
	case e.steered <- struct{}{}:
	default: // it is going to look
	}
}

// Skip is the entry that leaves a step out of a run that is under way or to
// be resumed. A step that is at work, or whose outcome nobody knows, is refused;
// one that failed stays on record as that before it.
func (r *RunState) Skip(step string, s Skipping) (Draft, error) {
	k, err := r.named(step)
	if err != nil {
		return Draft{}, err
	}
	status := r.Steps[k]
	reason := "skipped by " + s.By
	if s.Reason != "" {
		reason += ": " + s.Reason
	}
	switch {
	case status.State == Pending || status.State == Waiting:
		if status.Error != "" { // it was to be tried again
			reason += "; it had failed: " + status.Error
		}
	case status.State == Skipped && !status.over():
	case status.State == Failed:
		reason += "; it had failed: " + status.Error
	case status.State == Unknown:
		return Draft{}, WithHint(fmt.Errorf("step %s may have changed something: nobody knows its outcome", k), "resume the run first, which finds it out")
	default:
		return Draft{}, fmt.Errorf("step %s is %s: it can't be left out any more", k, status.State)
	}
	return Draft{
		Type: EntryStepOutcome, Run: r.ID, Step: k.ID, Target: k.Target.String(), Actor: s.By,
		Data: StepOutcome{State: Skipped, Skip: SkipChosen, Reason: reason},
	}, nil
}

// named finds a step by its key's text, or its ID where that is unambiguous.
func (r *RunState) named(text string) (StepKey, error) {
	if i, ok := r.keys[text]; ok {
		return r.Plan.Steps[i].Key(), nil
	}
	var found []StepKey
	for _, s := range r.Plan.Steps {
		if s.ID == text {
			found = append(found, s.Key())
		}
	}
	switch len(found) {
	case 0:
		return StepKey{}, fmt.Errorf("run %s has no step %s", r.ID, text)
	case 1:
		return found[0], nil
	default:
		return StepKey{}, fmt.Errorf("%d targets have a step %s: name one of them, as %s", len(found), text, found[0])
	}
}
