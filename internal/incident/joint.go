package incident

import (
	"fmt"
	"maps"
	"slices"
)

// Joint is an Action whose steps draw on one thing: the room in a role's
// inline policies, an Auto Scaling group's maximum size. Each fits by itself;
// all those of a plan together may not.
type Joint interface {
	Action
	// PlanJoint is given the proposals of all of a plan's steps that use this
	// action, of a playbook's run those of Plan, of a release those of
	// PlanRevert. It refuses (*RefusedError) what would fail halfway, and nothing
	// is run. It MUST NOT call AWS.
	PlanJoint(proposals []Proposal) error
}

// jointly lets the actions look at the plan as a whole.
func (p Planner) jointly(plan Plan) error {
	proposals := make(map[string][]Proposal)
	for _, s := range plan.Steps {
		if s.Proposal != nil {
			proposals[s.Action] = append(proposals[s.Action], *s.Proposal)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(proposals)) {
		action, ok := p.Registry[name].(Joint)
		if !ok {
			continue
		}
		if err := action.PlanJoint(proposals[name]); err != nil {
			return fmt.Errorf("%s, %d steps: %w", name, len(proposals[name]), err)
		}
	}
	return nil
}
