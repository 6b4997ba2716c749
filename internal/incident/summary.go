package incident

import (
	"slices"
	"time"
)

// Summary is the last object of run --output json. Evidence, CleanRooms and
// Journal are not the core's to know: the command line fills them in.
type Summary struct {
	Type           string        `json:"type"` // summary
	Case           string        `json:"case"`
	Run            string        `json:"run"`
	Kind           RunKind       `json:"kind"`
	Playbook       string        `json:"playbook"`
	PlaybookDigest string        `json:"playbook_digest,omitempty"`
	Digest         string        `json:"digest"` // the plan's
	Rehearsal      bool          `json:"rehearsal"`
	Outcome        Outcome       `json:"outcome"`
	Error          string        `json:"error,omitempty"`
	Steps          []StepSummary `json:"steps"`
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
		Outcome: r.Outcome, Error: r.Error, ContainedAfter: r.containedAfter(),
		Steps: []StepSummary{}, ResidualExposure: []Exposure{}, Cuts: []Cut{},
	}
	for _, step := range r.Plan.Steps {
		status := r.Steps[step.Key()]
		sum := StepSummary{
			ID: step.ID, Action: step.Action, Target: step.Target.String(), State: status.State,
			Started: status.Started, Ended: status.Ended, Error: status.Error, Hint: status.Hint,
		}
		if status.Outcome != nil {
			sum.Reason = status.Outcome.Reason
		}
		s.Steps = append(s.Steps, sum)
		if status.State != Succeeded {
			continue
		}
		for _, x := range status.Outcome.Verification.Residual {
			if !slices.Contains(s.ResidualExposure, x) {
				s.ResidualExposure = append(s.ResidualExposure, x)
			}
		}
		s.Cuts = append(s.Cuts, status.Outcome.Verification.Cuts...)
	}
	return s
}

func (r *RunState) containedAfter() *float64 {
	cut := make(map[Target]time.Time)
	for _, step := range r.Plan.Steps {
		if !slices.Contains(step.Provides, NetworkCut) {
			continue
		}
		status, first := r.Steps[step.Key()], cut[step.Target]
		done := status.Outcome != nil && status.Outcome.State == Succeeded
		switch {
		case done && (first.IsZero() || status.Ended.Before(first)):
			cut[step.Target] = status.Ended
		case !done:
			cut[step.Target] = first // known, and perhaps not cut
		}
	}
	var last time.Time
	for _, t := range cut {
		if t.IsZero() {
			return nil
		}
		if t.After(last) {
			last = t
		}
	}
	if last.IsZero() {
		return nil
	}
	s := last.Sub(r.Started).Seconds()
	return &s
}
