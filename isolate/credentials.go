package isolate

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
)

// credentials takes the instance's profile away, or puts a quarantine profile
// in its place, and revokes the credentials that were handed out through it,
// which stay valid without the profile.
type credentials struct {
	configs configs
	ledger  ledger
}

const (
	scopeInstance = "instance" // deny the sessions of this instance
	scopeRole     = "role"     // deny every session of the role issued so far
)

// Spec of isolate.credentials.
func (a *credentials) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.credentials",
		Summary: "Remove or replace the instance profile, then deny everything to the credentials that were handed out through it",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{
			{
				Name: "scope", Type: incident.String, Default: scopeInstance, Enum: []string{scopeInstance, scopeRole},
				Description: "instance: deny the sessions of this instance only. role: deny every session of the role issued before this step, whoever uses it; others recover when they fetch new credentials",
			},
			{
				Name: "quarantine_profile", Type: incident.String, Default: "",
				Description: "name or ARN of an instance profile to put in place of the removed one; empty: the instance is left without",
			},
		},
		Outputs: []incident.Field{
			{Name: "role", Type: incident.String, Description: "the role whose sessions are denied; empty for none"},
			{Name: "policy", Type: incident.String, Description: "the inline policy that denies them"},
		},
		Permissions: []string{
			"ec2:AssociateIamInstanceProfile", "ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeInstances", "ec2:DisassociateIamInstanceProfile",
			"ec2:ReplaceIamInstanceProfileAssociation",
			"iam:DeleteRolePolicy", "iam:GetInstanceProfile", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole",
			"iam:ListRolePolicies", "iam:PassRole", "iam:PutRolePolicy",
		},
		Example:    "- id: credentials\n  action: isolate.credentials\n  with:\n    scope: instance\n    quarantine_profile: quarantine\n",
		Timeout:    10 * time.Minute,
		TakesTurns: true,
	}
}

type credentialsInputs struct {
	Scope      string `json:"scope"`
	Quarantine string `json:"quarantine_profile"`
}

func credentialsInputsOf(step string, inputs map[string]any) (credentialsInputs, error) {
	in := credentialsInputs{Scope: scopeInstance}
	err := incident.Request{Step: step, Inputs: inputs}.Decode(&in)
	return in, err
}

// grant is the before-state of isolate.credentials.
type grant struct {
	Profile    string `json:"instance_profile,omitempty"`   // ARN; empty: none
	Quarantine string `json:"quarantine_profile,omitempty"` // ARN, in its place; empty: none
	Role       string `json:"role,omitempty"`               // name; empty: the profile holds none
	Policy     string `json:"policy,omitempty"`             // name of the inline policy
	// Denied: the policy denied this instance already, for another step of the case.
	Denied bool `json:"denied,omitempty"`
	// Others is the size of the role's other inline policies, Listed how many
	// other instances the policy denied when this was planned.
	Others int `json:"others"`
	Listed int `json:"listed"`
}

// byTime: the policy names a time, and no instance.
func (g grant) byTime() bool {
	return g.Policy != "" && g.Policy[len(g.Policy)-len(policySessions):] == policySessions
}

// session is an instance and what gives it credentials now.
type session struct {
	ec2      *ec2.Client
	iam      *iam.Client
	account  string
	instance string
	inst     ec2types.Instance // zero where it was not read
	// seen is AWS's time at the last look at the associations; zero where the answer had none.
	seen time.Time
}

func (a *credentials) client(ctx context.Context, t incident.Target) (*session, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	return &session{ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), account: t.Account, instance: t.Instance}, nil
}

func (a *credentials) open(ctx context.Context, t incident.Target) (*session, error) {
	s, err := a.client(ctx, t)
	if err != nil {
		return nil, err
	}
	s.inst, err = describe(ctx, s.ec2, t)
	return s, err
}

func (s *session) name() string {
	if s.inst.InstanceId == nil {
		return s.instance
	}
	return instanceName(s.inst)
}

func (s *session) role(name string) principal {
	return principal{iam: s.iam, account: s.account, name: name}
}

// Plan shows the profile that is removed and the sessions that are denied. It
// refuses, before anything changes, where the role can't take the policy.
func (a *credentials) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	in, err := credentialsInputsOf(req.Step, req.Inputs)
	if err != nil {
		return p, err
	}
	approved, err := planned[grant](req)
	if err != nil {
		return p, err
	}
	s, err := a.open(ctx, req.Target)
	if err != nil {
		return p, err
	}
	current, err := s.association(ctx)
	if err != nil {
		return p, err
	}
	before := grant{}
	if current != nil {
		before.Profile = profileARN(*current)
	}
	if in.Quarantine != "" {
		if before.Quarantine, err = s.quarantine(ctx, &p, req.Target, in.Quarantine); err != nil {
			return p, err
		}
	}
	if approved != nil && approved.Profile != "" && (before.Profile == "" || before.Profile == before.Quarantine) {
		// Someone has removed it since. What it handed out is valid all the same.
		before.Profile = approved.Profile
	}
	if before.Profile == "" {
		before.Quarantine = ""
		p.Notes = append(p.Notes, "the instance has no instance profile: credentials that an earlier one handed out, or that are stored on it, are not revoked")
		p.Before, err = record(before)
		return p, err
	}
	if err := s.propose(ctx, req, in.Scope, &before, approved, &p); err != nil {
		return p, err
	}
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	p.Before, err = record(before)
	return p, err
}

// propose fills in the role, the policy and what they become, or refuses.
func (s *session) propose(ctx context.Context, req incident.Request, scope string, g, approved *grant, p *incident.Proposal) error {
	role, err := s.roleOf(ctx, g.Profile)
	if err != nil {
		return err
	}
	if err := s.differs(ctx, g, role); err != nil {
		return err
	}
	p.Changes = append(p.Changes, incident.Change{Resource: s.name(), What: "instance profile", Before: profileName(g.Profile), After: profileAfter(*g)})
	p.Residual = stillValid()
	if role == nil {
		p.Notes = append(p.Notes, "the instance profile holds no role: there are no credentials to revoke")
		return nil
	}
	if err := editable(*role); err != nil {
		return err
	}
	g.Role, g.Policy = aws.ToString(role.RoleName), policyName(req.Case.ID, policyInstances)
	if scope == scopeRole {
		g.Policy = policyName(req.Case.ID, policySessions)
	}
	p.Shared = []string{aws.ToString(role.Arn) + "/" + g.Policy}
	if err := s.room(ctx, g, approved); err != nil {
		return err
	}
	if !g.Denied {
		p.Changes = append(p.Changes, g.change())
	}
	if req.Planned != nil {
		return nil // who else is hit was said before it was approved
	}
	return s.noteOthers(ctx, p, *g, *role)
}

// change is what becomes of the role's sessions. It says the same whatever
// other steps of the case have put into the policy meanwhile.
func (g grant) change() incident.Change {
	c := incident.Change{Resource: "role " + g.Role, What: "inline policy " + g.Policy, Before: notDenied, After: deniedInstance}
	if g.byTime() {
		c.After = deniedBefore
	}
	return c
}

const (
	notDenied      = "denies no session of this instance"
	deniedInstance = "denies everything to sessions of this instance"
	deniedBefore   = "denies everything to every session of the role issued before this step"
)

func profileAfter(g grant) string {
	if g.Quarantine == "" {
		return "none"
	}
	return profileName(g.Quarantine)
}

// room reads the role's inline policies, and refuses where they would be too
// large together. Right before the step the others are not read again: many
// instances have one role, and AWS counts each read.
func (s *session) room(ctx context.Context, g, approved *grant) error {
	role := s.role(g.Role)
	var document *string
	var err error
	if approved != nil && approved.Role == g.Role && approved.Policy == g.Policy {
		g.Others = approved.Others
		document, err = role.policy(ctx, g.Policy)
	} else {
		g.Others, document, err = role.others(ctx, g.Policy)
	}
	if err != nil {
		return err
	}
	now, err := parseRevocation(document)
	if err != nil {
		return notOurs(role, g.Policy, err)
	}
	g.Denied, g.Listed = now.denies(s.instance), len(now.without(s.instance).Instances)
	return role.fits(*g, g.Listed+1)
}

// fits refuses where the deny of so many instances has no room.
func (p principal) fits(g grant, instances int) error {
	if g.byTime() {
		return p.tooLarge(g.Others, sizeOfTime, hintMove)
	}
	return p.tooLarge(g.Others, smallest(instances), "use scope role, which has one deny for all sessions of the role whatever their number; or "+hintMove)
}

const hintMove = "move one of its inline policies into a managed one, and plan again"

// PlanJoint refuses a plan whose instances of one role are more than its inline policies have room for.
func (a *credentials) PlanJoint(proposals []incident.Proposal) error {
	type denies struct {
		grant
		instances int
	}
	roles := make(map[string]denies)
	for _, p := range proposals {
		g, err := recall[grant](p.Before)
		if err != nil {
			return err
		}
		if len(p.Shared) == 0 || g.byTime() {
			continue
		}
		d := roles[p.Shared[0]]
		if d.instances == 0 {
			d.instances = g.Listed
		}
		if !g.Denied {
			d.instances++
		}
		d.grant = g
		roles[p.Shared[0]] = d
	}
	for _, d := range roles {
		if err := (principal{name: d.Role}).fits(d.grant, d.instances); err != nil {
			return incident.WithHint(fmt.Errorf("%d instances of role %s: %w", d.instances, d.Role, err),
				"use scope role (in the shipped playbooks --set credentials_scope=role), which has one deny for all sessions of the role; or take fewer instances at a time")
		}
	}
	return nil
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

// Apply removes or replaces the profile first: the other order leaves a window
// in which the instance metadata service hands out fresh credentials.
func (a *credentials) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[grant](p.Before)
	if err != nil || before.Profile == "" {
		return incident.Result{}, err
	}
	s, err := a.client(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	changed, err := s.exchange(ctx, req.Clock, before.Profile, before.Quarantine)
	if err != nil || before.Role == "" {
		return incident.Result{}, err
	}
	set := revoked{}
	if before.byTime() {
		set, err = moment(ctx, req, changed, func() (time.Time, error) {
			err := s.settle(ctx, req.Clock)
			return s.seen, err
		})
		if err != nil {
			return incident.Result{}, err
		}
	}
	err = a.ledger.extend(ctx, req, s.role(before.Role), before.Policy, roleLimit-before.Others, func(now revocation) revocation {
		if before.byTime() {
			return now.since(set.Before)
		}
		return now.with(s.instance)
	})
	if err != nil {
		return incident.Result{}, err
	}
	result := incident.Result{Outputs: map[string]any{"role": before.Role, "policy": before.Policy}}
	result.Applied, err = record(set)
	return result, err
}

// Verify reads the association and the policy back.
func (a *credentials) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	before, err := recall[grant](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	set, err := recall[revoked](r.Applied)
	if err != nil {
		return incident.Verification{}, err
	}
	s, err := a.client(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, "the credentials of "+s.name()+" to be revoked", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		current, err := s.association(ctx)
		if err != nil {
			return v, err
		}
		if now := currentProfile(current); before.Profile != "" && now != profileAfter(before) {
			return v, &incident.NotVerifiedError{Resource: s.name(), Want: "instance profile " + profileAfter(before), Got: now}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("%s has instance profile: %s", s.name(), currentProfile(current)))
		if before.Role == "" {
			return v, nil
		}
		role := s.role(before.Role)
		document, err := role.policy(ctx, before.Policy)
		if err != nil {
			return v, err
		}
		now, err := parseRevocation(document)
		if err != nil {
			return v, &incident.NotVerifiedError{Resource: role.String() + " inline policy " + before.Policy, Want: "the deny", Got: err.Error()}
		}
		if before.byTime() && (now.Before.IsZero() || now.Before.Before(set.Before)) || !before.byTime() && !now.denies(s.instance) {
			return v, &incident.NotVerifiedError{Resource: role.String() + " inline policy " + before.Policy, Want: before.change().After, Got: notDenied}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("inline policy %s of %s %s", before.Policy, role, now.says(s.instance)))
		v.Residual = stillValid()
		return v, nil
	})
}
