package isolate

import (
	"context"
	"errors"

	"github.com/cordon-ir/cordon/internal/incident"
)

// PlanRevert shows the deny that is taken off and the profile that comes back.
func (a *credentials) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, _, err := a.planRevert(ctx, req)
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

func (a *credentials) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *session, grant, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[grant](req.Undo.Proposal.Before)
	if err != nil || before.Profile == "" {
		return p, nil, before, err
	}
	s, err := a.open(ctx, req.Target)
	ended := errors.Is(err, errGone)
	if err != nil && !ended {
		return p, nil, before, err
	}
	var attributes []incident.Drift
	if before.Role != "" {
		d, err := s.role(before.Role).drift(ctx, before.Policy, before.change(), before.Denied, s.instance)
		if err != nil {
			return p, nil, before, err
		}
		attributes = append(attributes, d)
		if req.Undo.Held && before.byTime() {
			p.Notes = append(p.Notes, "other steps of the case hold inline policy "+before.Policy+" too: the last one to be released takes it away")
		}
	}
	if ended {
		// The deny comes off all the same: the role outlives the instance.
		p.Notes = append(p.Notes, err.Error()+"; its instance profile is not restored")
		before.Profile = ""
	} else {
		current, err := s.association(ctx)
		if err != nil {
			return p, nil, before, err
		}
		attributes = append(attributes, incident.Drift{
			Resource: s.name(), What: "instance profile", Before: profileName(before.Profile), Set: profileAfter(before), Now: currentProfile(current),
		})
		p.Notes = append(p.Notes, "the instance profile comes back under a new association ID")
	}
	p.Changes, err = settle(attributes, req.Undo.Force)
	return p, s, before, err
}

// Revert takes the deny off first: a session that starts before would be
// denied. Then the profile comes back.
func (a *credentials) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	_, s, before, err := a.planRevert(ctx, req)
	if err != nil || s == nil {
		return incident.Result{}, err
	}
	if before.Role != "" && !before.Denied {
		err := a.ledger.restore(ctx, req, s.role(before.Role), before.Policy, func(now revocation) revocation {
			if !before.byTime() {
				return now.without(s.instance)
			}
			if req.Undo.Held {
				return now // for the others, until the last of them
			}
			return revocation{}
		})
		if err != nil {
			return incident.Result{}, err
		}
	}
	if before.Profile != "" {
		return incident.Result{}, s.associate(ctx, req.Clock, before.Profile)
	}
	return incident.Result{}, nil
}
