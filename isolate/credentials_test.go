package isolate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/playbooks"
)

// siblings launches instances with the suspect's instance profile.
func (s *site) siblings(n int) []incident.Target {
	s.t.Helper()
	suspect := s.instance()
	out := must[*ec2.RunInstancesOutput](s.t)(s.ec2().RunInstances(s.ctx, &ec2.RunInstancesInput{
		ImageId: suspect.ImageId, InstanceType: ec2types.InstanceTypeT3Small, MinCount: aws.Int32(int32(n)), MaxCount: aws.Int32(int32(n)),
		IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: aws.String(role)}, SubnetId: suspect.SubnetId,
	}))
	if err := s.acct.Clock().Sleep(s.ctx, lag); err != nil { // until they run
		s.t.Fatalf("%v", err)
	}
	var targets []incident.Target
	for _, i := range out.Instances {
		targets = append(targets, incident.Target{Account: s.target.Account, Region: s.target.Region, Instance: *i.InstanceId})
	}
	return targets
}

// crew are a planner and a journal for runs on the site.
type crew struct {
	*site
	registry incident.Registry
	planner  incident.Planner
	journal  *notebook
	runs     int
}

func (s *site) crew() *crew {
	s.t.Helper()
	var all []incident.Action
	for _, a := range s.acts {
		all = append(all, a)
	}
	registry := must[incident.Registry](s.t)(incident.NewRegistry(all...))
	c := &crew{
		site: s, registry: registry, planner: incident.Planner{Registry: registry, Clock: s.acct.Clock()},
		journal: &notebook{clock: s.acct.Clock(), state: incident.NewState()},
	}
	must[incident.Entry](s.t)(c.journal.Append(s.ctx, incident.Draft{Type: incident.EntryCaseOpened, Data: incident.Case{ID: s.caseID, Rehearsal: true}}))
	return c
}

const revokeOnly = `name: revoke
title: Revoke
inputs:
  scope: {type: string, enum: [instance, role], default: instance}
steps:
  - id: credentials
    action: isolate.credentials
    with:
      scope: ${{ inputs.scope }}
`

func (c *crew) plan(source string, targets []incident.Target, inputs map[string]any) (incident.Playbook, incident.Plan, error) {
	c.t.Helper()
	pb := must[incident.Playbook](c.t)(playbooks.Parse("test.yaml", []byte(source), c.registry.Specs()))
	plan, err := c.planner.Plan(c.ctx, incident.Case{ID: c.caseID, Rehearsal: true}, pb, targets, inputs)
	return pb, plan, err
}

// isolate runs the playbook on the targets.
func (c *crew) isolate(source string, targets []incident.Target, inputs map[string]any) {
	c.t.Helper()
	pb, plan, err := c.plan(source, targets, inputs)
	if err != nil {
		c.t.Fatalf("%v", err)
	}
	c.run(pb, plan)
}

func (c *crew) release(targets ...incident.Target) {
	c.t.Helper()
	c.run(incident.Playbook{}, must[incident.Plan](c.t)(c.planner.Release(c.ctx, c.journal.state, targets, false)))
}

func (c *crew) run(pb incident.Playbook, plan incident.Plan) {
	c.t.Helper()
	c.runs++
	c.execute(c.journal, c.registry, pb, plan, fmt.Sprintf("r%d", c.runs))
}

// denied are the instances whose sessions the role's policy of the case denies.
func (c *crew) denied() []string {
	c.t.Helper()
	document := must[*string](c.t)(c.session().role(role).policy(c.ctx, policyName(c.caseID, policyInstances)))
	return must[revocation](c.t)(parseRevocation(document)).Instances
}

func instances(targets []incident.Target) []string {
	var ids []string
	for _, t := range targets {
		ids = append(ids, t.Instance)
	}
	slices.Sort(ids)
	return ids
}

func TestAFleetOfOneRoleHasOneDenyAndGetsItsProfilesBack(t *testing.T) {
	for _, n := range []int{60, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newSite(t, 1).crew()
			fleet, policies := c.siblings(n), policiesOf(c.site)
			c.isolate(revokeOnly, fleet, nil)
			if got := c.denied(); !slices.Equal(got, instances(fleet)) {
				t.Fatalf("%d of %d instances are denied", len(got), n)
			}
			half := fleet[n/2:]
			c.release(fleet[:n/2]...)
			if got := c.denied(); !slices.Equal(got, instances(half)) {
				t.Fatalf("%d instances are denied after half of them were released", len(got))
			}
			c.release()
			if got := policiesOf(c.site); got != policies {
				t.Errorf("the role has policies %s, it had %s", got, policies)
			}
			for _, a := range must[[]ec2types.IamInstanceProfileAssociation](t)(c.session().associations(c.ctx)) {
				if profileName(profileARN(a)) != role {
					t.Errorf("%s has profile %s", *a.InstanceId, profileARN(a))
				}
				fleet = slices.DeleteFunc(fleet, func(t incident.Target) bool { return t.Instance == *a.InstanceId })
			}
			if len(fleet) > 0 {
				t.Errorf("%d instances have no profile", len(fleet))
			}
		})
	}
}

func TestTheLastStepReleasedTakesTheDenyOfTheRoleAway(t *testing.T) {
	c := newSite(t, 1).crew()
	fleet, policies := c.siblings(3), policiesOf(c.site)
	deny := func() revocation {
		t.Helper()
		document := must[*string](t)(c.session().role(role).policy(c.ctx, policyName(c.caseID, policySessions)))
		return must[revocation](t)(parseRevocation(document))
	}
	byRole := map[string]any{"scope": scopeRole}
	c.isolate(revokeOnly, fleet[:2], byRole)
	first := deny().Before
	c.isolate(revokeOnly, fleet[2:], byRole)
	if !deny().Before.After(first) {
		t.Error("the second run did not move the time forward")
	}
	c.release(fleet[0], fleet[2])
	if deny().empty() {
		t.Error("the deny is gone, and one step is still in effect")
	}
	c.release()
	if got := policiesOf(c.site); got != policies {
		t.Errorf("the role has policies %s, it had %s", got, policies)
	}
}

// fill leaves this much room in the role's inline policies.
func (s *site) fill(room int) {
	s.t.Helper()
	others, _, err := s.session().role(role).others(s.ctx, "filler")
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	document := func(n int) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("x", n) + `","Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`
	}
	text := document(roleLimit - others - room - counted(document(0)))
	must[*iam.PutRolePolicyOutput](s.t)(s.iam().PutRolePolicy(s.ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(role), PolicyName: aws.String("filler"), PolicyDocument: &text,
	}))
}

func TestAFleetTooLargeForItsRoleIsRefusedBeforeAnythingChanges(t *testing.T) {
	c := newSite(t, 1).crew()
	fleet := c.siblings(60)
	c.fill(smallest(59))
	c.crashAt(0, false)
	_, _, err := c.plan(revokeOnly, fleet, nil)
	c.refused(err, "60 instances of role "+role, "10240 are allowed")
	if h, _ := errors.AsType[*incident.HintError](err); !strings.Contains(h.Hint, "credentials_scope=role") {
		t.Errorf("hint %q", h.Hint)
	}
	if calls := c.changed(); len(calls) > 0 {
		t.Errorf("refused, and changed all the same: %v", calls)
	}
	c.isolate(revokeOnly, fleet[:30], nil)
	_, _, err = c.plan(revokeOnly, fleet[30:], nil)
	c.refused(err, "60 instances of role "+role) // those of the first run count
	c.isolate(revokeOnly, fleet[30:], map[string]any{"scope": scopeRole})
	c.release()
}

func TestWithLittleRoomTheSessionIsDeniedAlone(t *testing.T) {
	s := newSite(t, 1)
	s.fill(smallest(1))
	st := s.do("isolate.credentials", nil)
	document := must[*string](t)(s.session().role(role).policy(s.ctx, policyName(s.caseID, policyInstances)))
	if strings.Contains(*document, "ec2:SourceInstanceARN") || !strings.Contains(*document, "*:"+s.target.Instance) {
		t.Errorf("%s", *document)
	}
	s.undoAll(st)
}

func TestAQuarantineProfileThatIsNoneIsRefused(t *testing.T) {
	s := newSite(t, 1)
	const account = "arn:aws:iam::111122223333:"
	must[*iam.CreateInstanceProfileOutput](t)(s.iam().CreateInstanceProfile(s.ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("twin")}))
	must[*iam.AddRoleToInstanceProfileOutput](t)(s.iam().AddRoleToInstanceProfile(s.ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("twin"), RoleName: aws.String(role)}))
	for given, word := range map[string]string{
		"nonsense":                            "no such instance profile",
		account + "instance-profile/x/nobody": "no such instance profile",
		account + "instance-profile/elsewhere/quarantine":       "no such instance profile",
		"arn:aws:iam::999988887777:instance-profile/quarantine": "of this account",
		account + "role/quarantine":                             "no instance profile",
		role:                                                    "has it already",
		"twin":                                                  "it holds role " + role,
	} {
		_, err := s.plan("isolate.credentials", map[string]any{"quarantine_profile": given})
		s.refused(err, word)
	}
}

func TestThePlanSaysWhatTheQuarantineProfileMayDo(t *testing.T) {
	s := newSite(t, 1)
	for _, given := range []string{"quarantine", "arn:aws:iam::111122223333:instance-profile/quarantine"} {
		st, err := s.plan("isolate.credentials", map[string]any{"quarantine_profile": given})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(st.proposal.Notes, "\n"); !strings.Contains(notes, "has the policies AmazonSSMManagedInstanceCore") {
			t.Errorf("notes %q", notes)
		}
	}
}

func TestAQuarantineProfileIsPutInPlaceInOneCall(t *testing.T) {
	s := newSite(t, 1)
	s.crashAt(0, false)
	st := s.do("isolate.credentials", map[string]any{"quarantine_profile": "quarantine"})
	if p := must[*ec2types.IamInstanceProfileAssociation](t)(s.session().association(s.ctx)); currentProfile(p) != "quarantine" {
		t.Errorf("the profile is %s", currentProfile(p))
	}
	s.undoAll(st)
	want := []string{"ec2:ReplaceIamInstanceProfileAssociation", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "ec2:ReplaceIamInstanceProfileAssociation"}
	if got := s.changed(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}

func TestThePlanSaysWhoElseTheRoleHits(t *testing.T) {
	s := newSite(t, 1)
	st, err := s.plan("isolate.credentials", map[string]any{"scope": scopeRole})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(st.proposal.Notes, "\n")
	for _, want := range []string{"2 other instances in this Region use instance profile web-tier", "assumed by ec2.amazonaws.com", "which can take hours"} {
		if !strings.Contains(notes, want) {
			t.Errorf("nothing says %q in\n%s", want, notes)
		}
	}
}

func TestATrustPolicysPrincipalsAreListed(t *testing.T) {
	for document, want := range map[string][]string{
		`{"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","ssm.amazonaws.com"],"AWS":"arn:aws:iam::1:root"},"Action":"sts:AssumeRole"}}`: {"arn:aws:iam::1:root", "ec2.amazonaws.com", "ssm.amazonaws.com"},
		`{"Statement":[{"Effect":"Allow","Principal":"*"},{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::2:root"}}]}`:                                           {"*"},
		`{`: nil,
	} {
		if got := trustedBy(document); !slices.Equal(got, want) {
			t.Errorf("%s: %q", document, got)
		}
	}
}

func TestAPolicyThatSomeoneElseWroteIsNotRewritten(t *testing.T) {
	s := newSite(t, 1)
	foreign := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`
	must[*iam.PutRolePolicyOutput](t)(s.iam().PutRolePolicy(s.ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(role), PolicyName: aws.String(policyName(s.caseID, policyInstances)), PolicyDocument: &foreign,
	}))
	_, err := s.plan("isolate.credentials", nil)
	s.refused(err, "not what cordon put there")
}
