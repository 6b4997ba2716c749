package incident

import "slices"

// PermissionState tells whether the caller has a permission.
type PermissionState string

const (
	PermissionAllowed PermissionState = "allowed"
	PermissionDenied  PermissionState = "denied"
	PermissionUnknown PermissionState = "unknown" // AWS was not asked, or could not say
)

// Permission is what is known, before a run, of whether the caller may do
// an IAM action that steps of a plan need. It is no part of the plan: neither its digest
// nor an approval covers it.
type Permission struct {
	Action  string `json:"action"` // service:Operation
	Account string `json:"account"`
	Region  string `json:"region"`
	// Steps of the targets there, or of those whose inputs name that place.
	Steps  []string        `json:"steps"`
	State  PermissionState `json:"state"`
	Reason string          `json:"reason,omitempty"` // why it is denied, or not known
}

// Of reports whether the step needs the permission where it is asked for.
func (p Permission) Of(s StepPlan) bool {
	return s.Skip == "" && slices.Contains(p.Steps, s.ID) && slices.Contains(s.Places(), Target{Account: p.Account, Region: p.Region})
}

// Places are the accounts and Regions in which the step acts: its target's, and the one
// that its inputs account and region name. A place is a Target without an instance.
func (s StepPlan) Places() []Target {
	home := Target{Account: s.Target.Account, Region: s.Target.Region}
	away := home
	if account, _ := s.Inputs["account"].(string); account != "" {
		away.Account = account
	}
	if region, _ := s.Inputs["region"].(string); region != "" {
		away.Region = region
	}
	if away == home {
		return []Target{home}
	}
	return []Target{home, away}
}
