package isolate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
)

// credentials takes the instance's profile away and revokes the credentials
// that were handed out through it, which stay valid without the profile.
type credentials struct{ configs configs }

const (
	scopeInstance = "instance" // deny the sessions of this instance
	scopeRole     = "role"     // and every session of the role issued so far
)

// Spec of isolate.credentials.
func (a *credentials) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.credentials",
		Summary: "Remove the instance profile, then deny everything to the credentials that were handed out through it",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{{
			Name: "scope", Type: incident.String, Default: scopeInstance, Enum: []string{scopeInstance, scopeRole},
			Description: "instance: deny the sessions of this instance only. role: deny as well every session of the role issued before this step, whoever uses it; others recover when they fetch new credentials",
		}},
		Outputs: []incident.Field{
			{Name: "role", Type: incident.String, Description: "the role whose sessions are denied; empty for none"},
			{Name: "policy", Type: incident.String, Description: "the inline policy that denies them"},
		},
		Permissions: []string{
			"ec2:AssociateIamInstanceProfile", "ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeInstances", "ec2:DisassociateIamInstanceProfile",
			"iam:DeleteRolePolicy", "iam:GetInstanceProfile", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:PassRole", "iam:PutRolePolicy",
		},
		Example: "- id: credentials\n  action: isolate.credentials\n  with:\n    scope: instance\n",
		Timeout: 10 * time.Minute,
	}
}

// grant is the before-state of isolate.credentials, and the document that
// Apply puts: it is the same on every try.
type grant struct {
	Profile  string  `json:"instance_profile,omitempty"` // ARN; empty: none
	Role     string  `json:"role,omitempty"`             // name; empty: the profile holds none
	RoleID   string  `json:"role_id,omitempty"`
	Policy   string  `json:"policy,omitempty"`   // name of the inline policy
	Document string  `json:"document,omitempty"` // that Apply puts under that name
	Previous *string `json:"previous,omitempty"` // that the role had under that name
}

// session is an instance and what gives it credentials now.
type session struct {
	ec2  *ec2.Client
	iam  *iam.Client
	inst ec2types.Instance
}

func (a *credentials) open(ctx context.Context, t incident.Target) (*session, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	s := &session{ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg)}
	s.inst, err = describe(ctx, s.ec2, t)
	return s, err
}

// Plan shows the profile that is removed and the policy that is put. It
// refuses, before anything changes, where the role can't take the policy.
func (a *credentials) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	s, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	scope, err := scopeOf(req.Step, req.Inputs)
	if err != nil {
		return incident.Proposal{}, err
	}
	approved, err := planned[grant](req)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}}
	current, err := s.association(ctx)
	if err != nil {
		return p, err
	}
	before := grant{}
	switch {
	case current != nil:
		before.Profile = profileARN(*current)
	case approved != nil && approved.Profile != "":
		// Someone has removed it since. What it handed out is valid all the same.
		before.Profile = approved.Profile
	}
	if before.Profile == "" {
		p.Notes = append(p.Notes, "the instance has no instance profile: credentials that an earlier one handed out, or that are stored on it, are not revoked")
		p.Before, err = record(before)
		return p, err
	}
	if err := s.deny(ctx, req, scope, &before); err != nil {
		return p, err
	}
	describeDenial(&p, s.inst, before, scope)
	if err := s.noteOthers(ctx, &p, before); err != nil {
		return p, err
	}
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	p.Before, err = record(before)
	return p, err
}

func scopeOf(step string, inputs map[string]any) (string, error) {
	in := struct {
		Scope string `json:"scope"`
	}{scopeInstance}
	err := incident.Request{Step: step, Inputs: inputs}.Decode(&in)
	return in.Scope, err
}

// deny fills in the role and the policy, or refuses.
func (s *session) deny(ctx context.Context, req incident.Request, scope string, g *grant) error {
	role, err := s.role(ctx, g.Profile)
	if err != nil || role == nil {
		return err
	}
	if err := editable(*role); err != nil {
		return err
	}
	profile, err := arn.Parse(g.Profile)
	if err != nil {
		return fmt.Errorf("instance profile %s: %w", g.Profile, err)
	}
	g.Role, g.RoleID = aws.ToString(role.RoleName), aws.ToString(role.RoleId)
	g.Policy = policyName(req.Case.ID, req.Target.Instance)
	d := denial{
		Instance: arn.ARN{Partition: profile.Partition, Service: "ec2", Region: req.Target.Region, AccountID: req.Target.Account, Resource: "instance/" + req.Target.Instance}.String(),
		Session:  g.RoleID + ":" + req.Target.Instance,
	}
	if scope == scopeRole {
		// What this instance is given after this moment, until its profile is
		// gone, the other two statements deny.
		d.IssuedBefore = req.Clock.Now()
	}
	if g.Document, err = d.document(); err != nil {
		return err
	}
	return s.fits(ctx, g)
}

// stillValid is what the deny does not reach.
func stillValid() []incident.Exposure {
	return []incident.Exposure{
		{
			Path:   "sessions of other roles",
			Reason: "a role assumed with these credentials has credentials of its own, which stay valid until they expire: look in CloudTrail for AssumeRole",
		},
		{
			Path:   "calls in the first seconds",
			Reason: "IAM and the instance metadata service are eventually consistent: a call can still pass for some seconds",
		},
	}
}

func describeDenial(p *incident.Proposal, inst ec2types.Instance, g grant, scope string) {
	p.Changes = append(p.Changes, incident.Change{Resource: instanceName(inst), What: "instance profile", Before: profileName(g.Profile), After: "none"})
	p.Residual = stillValid()
	if g.Role == "" {
		p.Notes = append(p.Notes, "the instance profile holds no role: there are no credentials to revoke")
		return
	}
	after := "denies everything to sessions of " + aws.ToString(inst.InstanceId)
	if scope == scopeRole {
		after += " and to every session of the role issued before this step"
	}
	if same(g.Previous, &g.Document) {
		return // an earlier run of this case put it
	}
	p.Changes = append(p.Changes, incident.Change{Resource: "role " + g.Role, What: "inline policy " + g.Policy, Before: policyWords(g.Previous, g), After: after})
}

// noteOthers says who else uses the profile.
func (s *session) noteOthers(ctx context.Context, p *incident.Proposal, g grant) error {
	others, err := s.others(ctx, g.Profile)
	if err != nil {
		return err
	}
	p.Notes = append(p.Notes, fmt.Sprintf("%d other instances in this Region use instance profile %s; the role may have further users", others, profileName(g.Profile)))
	return nil
}

// Apply removes the profile first: the other order leaves a window in which
// the instance metadata service hands out fresh credentials.
func (a *credentials) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[grant](p.Before)
	if err != nil || before.Profile == "" {
		return incident.Result{}, err
	}
	s, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	if err := s.disassociate(ctx, req.Clock, before.Profile); err != nil {
		return incident.Result{}, err
	}
	if before.Role == "" {
		return incident.Result{}, nil
	}
	if err := s.putPolicy(ctx, before, before.Document); err != nil {
		return incident.Result{}, err
	}
	return incident.Result{Outputs: map[string]any{"role": before.Role, "policy": before.Policy}}, nil
}

// Verify reads the association and the policy back.
func (a *credentials) Verify(ctx context.Context, req incident.Request, p incident.Proposal, _ incident.Result) (incident.Verification, error) {
	before, err := recall[grant](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	s, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, "the credentials of "+instanceName(s.inst)+" to be revoked", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		current, err := s.association(ctx)
		if err != nil {
			return v, err
		}
		if current != nil {
			return v, &incident.NotVerifiedError{Resource: instanceName(s.inst), Want: "no instance profile", Got: profileName(profileARN(*current))}
		}
		v.Observed = append(v.Observed, instanceName(s.inst)+" has no instance profile")
		if before.Role == "" {
			return v, nil
		}
		now, err := s.policy(ctx, before.Role, before.Policy)
		if err != nil {
			return v, err
		}
		if now == nil || *now != before.Document {
			return v, &incident.NotVerifiedError{Resource: "role " + before.Role + " inline policy " + before.Policy, Want: "the deny", Got: policyWords(now, before)}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("role %s has inline policy %s as put", before.Role, before.Policy))
		v.Residual = stillValid()
		return v, nil
	})
}

// PlanRevert shows the policy that is taken off and the profile that comes back.
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
		now, err := s.policy(ctx, before.Role, before.Policy)
		if err != nil {
			return p, nil, before, err
		}
		attributes = append(attributes, incident.Drift{
			Resource: "role " + before.Role, What: "inline policy " + before.Policy,
			Before: policyWords(before.Previous, before), Set: policyWords(&before.Document, before), Now: policyWords(now, before),
		})
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
		d := incident.Drift{Resource: instanceName(s.inst), What: "instance profile", Before: profileName(before.Profile), Set: "none", Now: "none"}
		if current != nil {
			d.Now = profileName(profileARN(*current))
		}
		attributes = append(attributes, d)
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
	if before.Role != "" {
		if err := s.restorePolicy(ctx, req.Clock, before); err != nil {
			return incident.Result{}, err
		}
	}
	if before.Profile != "" {
		return incident.Result{}, s.associate(ctx, req.Clock, before.Profile)
	}
	return incident.Result{}, nil
}
