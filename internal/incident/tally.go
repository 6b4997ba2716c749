package incident

import "fmt"

// tally is what steps come to: those of a run, or of one of its targets.
type tally struct {
	open     bool // something is not over, or may have happened
	tried    bool
	rejected bool
	problems []string
}

// add counts a step in; its problems are told under the name.
func (t *tally) add(name string, s *StepStatus) {
	t.tried = t.tried || s.Intent != nil
	switch s.State {
	case Pending, Waiting, Running, Unknown:
		t.open = true
	case Failed:
		t.problems = append(t.problems, fmt.Sprintf("%s: %s", name, s.Error))
	case Skipped:
		if s.Outcome.Skip == SkipRejected {
			t.rejected = true
			t.problems = append(t.problems, fmt.Sprintf("%s: %s", name, s.Outcome.Reason))
		}
	}
}

// outcome is how it ended, once nothing more is going to be done.
func (t *tally) outcome(interrupted bool) Outcome {
	switch {
	case t.open && interrupted:
		return OutcomeInterrupted
	case !t.open && len(t.problems) == 0:
		return OutcomeSucceeded
	case t.rejected && !t.tried:
		return OutcomeRefused
	default:
		return OutcomeFailed
	}
}

// Finished tells that a resume would find nothing to do: every step is done,
// or was not to be done. A run that left targets out may be finished without having succeeded.
func (r *RunState) Finished() bool {
	if r.Outcome == "" {
		return false
	}
	for _, s := range r.Steps {
		if !s.over() {
			return false
		}
	}
	return true
}

// stays tells of a skip that no resume gives another chance.
func (o *StepOutcome) stays() bool { return o.Skip == SkipCondition || o.Skip == SkipChosen }

// chosen tells that somebody left the step out.
func (s *StepStatus) chosen() bool { return s.State == Skipped && s.Outcome.Skip == SkipChosen }

// blocked tells that a failure stopped the target before the step.
func (s *StepStatus) blocked() bool { return s.State == Skipped && s.Outcome.Skip == SkipBlocked }

// over tells that the step needs nothing more.
func (s *StepStatus) over() bool {
	return s.State == Succeeded || s.State == Reverted || s.State == Skipped && s.Outcome.stays()
}
