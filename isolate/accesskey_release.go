package isolate

import (
	"context"

	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// PlanRevert shows the deny that is taken off, and the key that is active again.
func (a *accessKey) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, _, err := a.planRevert(ctx, req)
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

func (a *accessKey) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *keyring, keyState, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[keyState](req.Undo.Proposal.Before)
	if err != nil {
		return p, nil, before, err
	}
	k, err := a.open(ctx, req.Target, before.User)
	if err != nil {
		return p, nil, before, err
	}
	d, err := k.principal().drift(ctx, before.Policy, before.change(), false, "")
	if err != nil {
		return p, nil, before, err
	}
	status, err := k.status(ctx, before.Key)
	if err != nil {
		return p, nil, before, err
	}
	attributes := []incident.Drift{d}
	if req.Undo.Held {
		p.Notes = append(p.Notes, "other steps of the case hold inline policy "+before.Policy+" too: the last one to be released takes it away")
	}
	if status == keyDeleted {
		p.Notes = append(p.Notes, "access key "+before.Key+" was deleted since: it can't be had back, and is not restored")
	} else {
		attributes = append(attributes, incident.Drift{
			Resource: "access key " + before.Key, What: "status", Before: before.Status, Set: string(iamtypes.StatusTypeInactive), Now: status,
		})
	}
	p.Changes, err = settle(attributes, req.Undo.Force)
	return p, k, before, err
}

// Revert takes the deny off, then activates the key where it was active.
func (a *accessKey) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	_, k, before, err := a.planRevert(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	err = a.ledger.restore(ctx, req, k.principal(), before.Policy, func(now revocation) revocation {
		if req.Undo.Held {
			return now // for the others, until the last of them
		}
		return revocation{}
	})
	if err != nil {
		return incident.Result{}, err
	}
	_, err = k.set(ctx, req.Clock, before.Key, before.Status)
	return incident.Result{}, err
}
