package incident

import (
	"slices"
	"strings"
	"time"
)

// Summary is the last object of run --output json. Evidence, CleanRooms and
// Journal are not the core's to know: the command line fills them in.
type Summary struct {
	Type           string          `json:"type"` // summary
	Case           string          `json:"case"`
	Run            string          `json:"run"`
	Kind           RunKind         `json:"kind"`
	Playbook       string          `json:"playbook"`
	PlaybookDigest string          `json:"playbook_digest,omitempty"`
	Digest         string          `json:"digest"` // the plan's
	Rehearsal      bool            `json:"rehearsal"`
	Outcome        Outcome         `json:"outcome"`
	Error          string          `json:"error,omitempty"`
	Steps          []StepSummary   `json:"steps"`
	Targets        []TargetSummary `json:"targets"`
	// ContainedAfter is the time in seconds from the run's start until the
	// network cut of its last target was verified. Null where a target's cut
	// was not, or the playbook cuts none.
	ContainedAfter   *float64   `json:"contained_after_s"`
	Evidence         any        `json:"evidence"`
	CleanRoom        any        `json:"clean_room"`
	Journal          any        `json:"journal"`
	ResidualExposure []Exposure `json:"residual_exposure"`
	// Cuts are what became of each path, as it was read back after the cut.
	Cuts []Cut `json:"cuts"`
}

// TargetSummary is what became of one target.
type TargetSummary struct {
	Target  string  `json:"target"`
	Outcome Outcome `json:"outcome"` // empty while it runs
	// ContainedAfter is in seconds from the run's start; null where the target's
	// network cut was not verified, or the playbook cuts none.
	ContainedAfter   *float64   `json:"contained_after_s"`
	Error            string     `json:"error,omitempty"`
	Hint             string     `json:"hint,omitempty"`
	ResidualExposure []Exposure `json:"residual_exposure"`
	Cuts             []Cut      `json:"cuts,omitempty"`
}

// StepSummary is a step as the summary shows it.
type StepSummary struct {
	ID      string    `json:"id"`
	Action  string    `json:"action"`
	Target  string    `json:"target"`
	State   StepState `json:"state"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Reason  string    `json:"reason,omitempty"` // of a skip
	Error   string    `json:"error,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

// Summary sums the run up.
func (r *RunState) Summary() Summary {
	s := Summary{
		Type: "summary", Case: r.Plan.Case, Run: r.ID, Kind: r.Kind, Playbook: r.Plan.Playbook,
		PlaybookDigest: r.Plan.PlaybookDigest, Digest: r.Plan.Digest, Rehearsal: r.Case.Rehearsal,
		Outcome: r.Outcome, Error: r.Error, Steps: []StepSummary{}, Targets: []TargetSummary{}, Cuts: []Cut{},
	}
	for _, step := range r.Plan.Steps {
		s.Steps = append(s.Steps, r.stepSummary(step))
	}
	for _, t := range r.Plan.Targets {
		s.Targets = append(s.Targets, r.targetSummary(t))
	}
	var all exposures
	for _, t := range s.Targets {
		all.add(t.ResidualExposure)
		s.Cuts = append(s.Cuts, t.Cuts...)
	}
	s.ResidualExposure = all.list()
	for _, left := range r.Plan.LeftOut {
		s.Targets = append(s.Targets, TargetSummary{
			Target: left.Target.String(), Outcome: OutcomeLeftOut, Error: left.Reason, Hint: left.Hint, ResidualExposure: []Exposure{},
		})
	}
	s.ContainedAfter = r.ContainedAfter()
	return s
}

func (r *RunState) stepSummary(step StepPlan) StepSummary {
	status := r.Steps[step.Key()]
	sum := StepSummary{
		ID: step.ID, Action: step.Action, Target: step.Target.String(), State: status.State,
		Started: status.Started, Ended: status.Ended, Error: status.Error, Hint: status.Hint,
	}
	if status.Outcome != nil {
		sum.Reason = status.Outcome.Reason
	}
	return sum
}

func (r *RunState) targetSummary(t Target) TargetSummary {
	sum := TargetSummary{Target: t.String()}
	var all tally
	var residual exposures
	for _, step := range r.on(t) {
		status := r.Steps[step.Key()]
		all.add("step "+step.ID, status)
		if sum.Hint == "" {
			sum.Hint = status.Hint
		}
		if status.State == Succeeded {
			residual.add(status.Outcome.Verification.Residual)
			sum.Cuts = append(sum.Cuts, status.Outcome.Verification.Cuts...)
		}
	}
	if !all.open || r.Outcome != "" {
		sum.Outcome = all.outcome(r.Outcome == OutcomeInterrupted)
	}
	sum.Error, sum.ResidualExposure = strings.Join(all.problems, "\n"), residual.list()
	if after, cut := r.cutAfter(t); cut {
		sum.ContainedAfter = new(after.Seconds())
	}
	return sum
}

// exposures are kept once each, in the order in which they were added.
type exposures struct {
	seen  map[Exposure]bool
	order []Exposure
}

func (x *exposures) add(list []Exposure) {
	for _, e := range list {
		if x.seen == nil {
			x.seen = make(map[Exposure]bool)
		}
		if !x.seen[e] {
			x.seen[e] = true
			x.order = append(x.order, e)
		}
	}
}

func (x *exposures) list() []Exposure { return append([]Exposure{}, x.order...) }

// cutAfter is how long after the run's start the target's network was cut and the cut verified, by
// the first step that did it; false where none did.
func (r *RunState) cutAfter(t Target) (first time.Duration, cut bool) {
	for _, step := range r.on(t) {
		if !slices.Contains(step.Provides, NetworkCut) {
			continue
		}
		status := r.Steps[step.Key()]
		if status.Outcome == nil || status.Outcome.State != Succeeded {
			continue
		}
		if !cut || status.EndedAfter < first {
			cut, first = true, status.EndedAfter
		}
	}
	return first, cut
}

// ContainedAfter is the time in seconds from the run's start until the network cut
// of its last target was verified, whatever the clock was set to meanwhile; nil where a target's was not, or the playbook cuts none.
func (r *RunState) ContainedAfter() *float64 {
	if len(r.Plan.LeftOut) > 0 {
		return nil
	}
	var last time.Duration
	contained := false
	for _, t := range r.Plan.Targets {
		after, cut := r.cutAfter(t)
		if !cut && slices.ContainsFunc(r.on(t), func(s StepPlan) bool { return slices.Contains(s.Provides, NetworkCut) }) {
			return nil
		}
		contained, last = contained || cut, max(last, after)
	}
	if !contained {
		return nil
	}
	return new(last.Seconds())
}
