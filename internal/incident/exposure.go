package incident

import (
	"slices"
	"time"
)

// TargetExposure is how a target stands since the last run that worked on its network.
type TargetExposure struct {
	Target   string `json:"target"`
	Run      string `json:"run"`
	Playbook string `json:"playbook"`
	// Contained is when the cut was verified; zero where it was not.
	Contained      time.Time `json:"contained,omitzero"`
	ContainedAfter *float64  `json:"contained_after_s"` // since the run's start
	// ReleasedBy is the release that undid the cut: of what is no longer cut nothing more is said.
	ReleasedBy       string     `json:"released_by,omitempty"`
	ResidualExposure []Exposure `json:"residual_exposure"`
	Cuts             []Cut      `json:"cuts"`
}

// Exposures are those of all targets that a run has cut something of, the newest run's first.
func (s *State) Exposures() []TargetExposure {
	all := []TargetExposure{}
	known := make(map[string]bool)
	for _, run := range slices.Backward(s.Runs) {
		if run.Kind != KindRun {
			continue
		}
		for _, t := range run.Plan.Targets {
			sum := run.targetSummary(t)
			released := run.releasedBy(t)
			if known[sum.Target] || released == "" && len(sum.Cuts)+len(sum.ResidualExposure) == 0 {
				continue
			}
			known[sum.Target] = true
			x := TargetExposure{
				Target: sum.Target, Run: run.ID, Playbook: run.Plan.Playbook, ContainedAfter: sum.ContainedAfter,
				ReleasedBy: released, ResidualExposure: sum.ResidualExposure, Cuts: append([]Cut{}, sum.Cuts...),
			}
			if released != "" {
				x.ResidualExposure, x.Cuts = []Exposure{}, []Cut{}
			}
			if after := sum.ContainedAfter; after != nil {
				x.Contained = run.Started.Add(time.Duration(*after * float64(time.Second)))
			}
			all = append(all, x)
		}
	}
	return all
}

// releasedBy is the release that has undone the cut of the target's network.
func (r *RunState) releasedBy(t Target) string {
	for _, step := range r.on(t) {
		if slices.Contains(step.Provides, NetworkCut) {
			return r.Steps[step.Key()].RevertedBy
		}
	}
	return ""
}
