package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// LeftOut is a target that was chosen and that the plan does not work on,
// because it could not be planned: one bad target never stops the others. It
// needs a run of its own once the reason is mended.
type LeftOut struct {
	Target Target   `json:"target"`
	Steps  []string `json:"steps"` // those that could not be planned
	Reason string   `json:"reason"`
	Hint   string   `json:"hint,omitempty"`
	// Drift is set where something else has changed what is to be undone: Reason tells the same.
	Drift []Drift `json:"drift,omitempty"`
}

// String says why the target was left out.
func (l LeftOut) String() string { return fmt.Sprintf("%s: left out: %s", l.Target, l.Reason) }

// losses are the targets that can't be planned, and why.
type losses struct {
	verb string // planning, planning to undo
	by   map[Target][]loss
}

// loss is one cause, told once for all the target's steps that it stands in the way of.
type loss struct {
	steps []string
	err   error
	whole bool // the error says itself which step of which target it is about
}

func newLosses(verb string) *losses {
	return &losses{verb: verb, by: make(map[Target][]loss)}
}

func (l *losses) add(t Target, step string, err error, whole bool) {
	for i, known := range l.by[t] {
		if known.err.Error() == err.Error() {
			l.by[t][i].steps = append(known.steps, step)
			return
		}
	}
	l.by[t] = append(l.by[t], loss{[]string{step}, err, whole})
}

// drop takes the lost targets out of the plan. It fails where nothing is left to do.
func (l *losses) drop(p *Plan) error {
	if len(l.by) == 0 {
		return nil
	}
	chosen := slices.Clone(p.Targets)
	lost := func(t Target) bool { return len(l.by[t]) > 0 }
	p.Targets = slices.DeleteFunc(p.Targets, lost)
	p.Steps = slices.DeleteFunc(p.Steps, func(s StepPlan) bool { return lost(s.Target) })
	for _, t := range slices.DeleteFunc(chosen, func(t Target) bool { return !lost(t) }) {
		p.LeftOut = append(p.LeftOut, l.leftOut(t))
	}
	if len(p.Steps) == 0 {
		return l.error(p.LeftOut)
	}
	return nil
}

func (l *losses) leftOut(t Target) LeftOut {
	out := LeftOut{Target: t}
	var reasons []string
	for _, cause := range l.by[t] {
		out.Steps = append(out.Steps, cause.steps...)
		reasons = append(reasons, cause.err.Error())
		if hint := new(HintError); out.Hint == "" && errors.As(cause.err, &hint) {
			out.Hint = hint.Hint
		}
		if drift := new(DriftError); errors.As(cause.err, &drift) {
			out.Drift = append(out.Drift, drift.Differences...)
		}
	}
	out.Steps, out.Reason = union(out.Steps), strings.Join(reasons, "\n")
	return out
}

// named is how many targets an error names that concerns many.
const named = 3

// error reports every cause of every target, once: what is wrong with the
// inputs is wrong for all of them, and credentials that have expired too.
func (l *losses) error(targets []LeftOut) error {
	var inputs, told []error
	var drift DriftError
	type cause struct {
		loss
		targets []string
	}
	var causes []*cause
	known := make(map[string]*cause)
	for _, t := range targets {
		for _, c := range l.by[t.Target] {
			text := fmt.Sprint(c.steps, c.err)
			if known[text] == nil {
				known[text] = &cause{loss: c}
				causes = append(causes, known[text])
			}
			known[text].targets = append(known[text].targets, t.Target.String())
		}
	}
	for _, c := range causes {
		var ofInputs *StepError
		var drifted *DriftError
		switch {
		case errors.As(c.err, &ofInputs):
			inputs = append(inputs, c.err)
		case errors.As(c.err, &drifted):
			drift.Differences = append(drift.Differences, drifted.Differences...)
		case c.whole:
			told = append(told, c.err)
		default:
			told = append(told, fmt.Errorf("%s %s on %s: %w", l.verb, strings.Join(c.steps, ", "), some(c.targets), c.err))
		}
	}
	if len(inputs) > 0 {
		told = slices.Insert(told, 0, error(&InputError{inputs}))
	}
	if len(drift.Differences) > 0 {
		told = append(told, hintForce(&drift))
	}
	return errors.Join(told...)
}

// some names the first few.
func some(names []string) string {
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}
