package isolate

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
)

// refused checks that an error refuses, says all of these, and comes with a next step.
func (s *site) refused(err error, words ...string) {
	s.t.Helper()
	if _, ok := errors.AsType[*incident.RefusedError](err); !ok {
		s.t.Fatalf("not refused: %v", err)
	}
	s.hinted(err, words...)
}

func (s *site) hinted(err error, words ...string) {
	s.t.Helper()
	if h, ok := errors.AsType[*incident.HintError](err); !ok || h.Hint == "" {
		s.t.Errorf("no next step in %v", err)
	}
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			s.t.Errorf("%v does not say %q", err, w)
		}
	}
}

func TestNoActionPlansForAnInstanceThatIsNotThere(t *testing.T) {
	for _, id := range []string{"i-0123456789abcdef0", "i-nonsense"} {
		s := newSite(t, 1)
		s.target.Instance = id
		for name := range s.acts {
			if name == "isolate.access-key" {
				continue // it works on the account
			}
			if _, err := s.plan(name, nil); !errors.Is(err, errGone) {
				t.Errorf("%s: %v", name, err)
			} else {
				s.hinted(err, id)
			}
		}
	}
}

func (s *site) terminate() {
	s.t.Helper()
	must[*ec2.TerminateInstancesOutput](s.t)(s.ec2().TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{s.target.Instance}}))
}

func TestNoActionPlansForATerminatedInstance(t *testing.T) {
	s := newSite(t, 1)
	s.terminate()
	for name := range s.acts {
		if name == "isolate.access-key" {
			continue // it works on the account
		}
		if _, err := s.plan(name, nil); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", name, err)
		} else {
			s.hinted(err)
		}
	}
}

func TestTheDenyComesOffThoughTheInstanceIsGone(t *testing.T) {
	s := newSite(t, 1)
	before := policiesOf(s)
	left := s.do("isolate.autoscaling", nil)
	st := s.do("isolate.credentials", nil)
	s.terminate()
	s.undoAll(left, st)
	if got := policiesOf(s); got != before {
		t.Errorf("policies are %s, they were %s", got, before)
	}
}

func policiesOf(s *site) string {
	s.t.Helper()
	out := must[*iam.ListRolePoliciesOutput](s.t)(s.iam().ListRolePolicies(s.ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(role)}))
	return strings.Join(out.PolicyNames, ",")
}

func (s *site) resize(size *autoscaling.UpdateAutoScalingGroupInput) {
	s.t.Helper()
	m, err := membership(s.ctx, s.autoscaling(), s.target.Instance)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	if size.AutoScalingGroupName == nil {
		size.AutoScalingGroupName = m.AutoScalingGroupName
	}
	must[*autoscaling.UpdateAutoScalingGroupOutput](s.t)(s.autoscaling().UpdateAutoScalingGroup(s.ctx, size))
}

func TestAGroupIsNotShrunkBelowItsMinSize(t *testing.T) {
	for _, strategy := range []string{strategyShrink, strategyStandby} {
		s := newSite(t, 1)
		s.resize(&autoscaling.UpdateAutoScalingGroupInput{MinSize: aws.Int32(3)})
		_, err := s.plan("isolate.autoscaling", map[string]any{"strategy": strategy})
		s.refused(err, "to 2, below its min-size 3", "desired 3", "max-size 4")
	}
}

func TestAReleaseIsRefusedAtMaxSize(t *testing.T) {
	s := newSite(t, 1)
	group := "web"
	st := s.do("isolate.autoscaling", nil)
	p, err := s.planUndo(st, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Notes) == 0 || !strings.Contains(strings.Join(p.Notes, "\n"), "the replacement stays: desired capacity was 3 before isolation and becomes 4") {
		t.Errorf("the plan does not say what becomes of the capacity: %q", p.Notes)
	}
	s.resize(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &group, MaxSize: aws.Int32(3)})
	s.crashAt(0, false)
	_, err = s.planUndo(st, false)
	s.refused(err, "to 4, above its max-size 3", "desired 3")
	s.refused(s.undo(st, true), "max-size 3") // force does not make room
	if calls := s.changed(); len(calls) > 0 {
		t.Errorf("refused, and changed all the same: %v", calls)
	}
}

func TestARoleWithoutRoomIsRefusedBeforeAnythingChanges(t *testing.T) {
	s := newSite(t, 1)
	filler := `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("x", 9800) + `","Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`
	must[*iam.PutRolePolicyOutput](t)(s.iam().PutRolePolicy(s.ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(role), PolicyName: aws.String("filler"), PolicyDocument: &filler,
	}))
	_, err := s.plan("isolate.credentials", nil)
	s.refused(err, role, "10240")
}

func TestCuttingTheNetworkRequiresLeavingTheGroup(t *testing.T) {
	s := newSite(t, 1)
	requires := func() []incident.Capability {
		st, err := s.plan("isolate.network", nil)
		if err != nil {
			t.Fatal(err)
		}
		return st.proposal.Requires
	}
	if got := requires(); len(got) != 1 || got[0] != incident.LeftGroup {
		t.Errorf("in service, it requires %v", got)
	}
	s.do("isolate.autoscaling", map[string]any{"strategy": strategyReplace})
	if got := requires(); len(got) != 0 {
		t.Errorf("detached, it requires %v", got)
	}
}

func TestRegistrationsThatDetachingTookAwayComeBack(t *testing.T) {
	s := newSite(t, 1)
	st, err := s.plan("isolate.loadbalancers", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := must[registrations](t)(recall[registrations](st.proposal.Before))
	override := false
	for _, r := range want.Registrations {
		override = override || r.Port == 8080
	}
	if len(want.Registrations) != 3 || !override {
		t.Fatalf("the scenario has %+v", want)
	}
	changes := st.proposal.Changes
	s.do("isolate.autoscaling", map[string]any{"strategy": strategyShrink})
	if err := s.start(st); err != nil {
		t.Fatal(err)
	}
	got := must[registrations](t)(recall[registrations](st.proposal.Before))
	if len(got.Registrations) != len(want.Registrations) {
		t.Errorf("the before-state lost %d registrations", len(want.Registrations)-len(got.Registrations))
	}
	if len(st.proposal.Changes) != len(changes) {
		t.Errorf("what was approved differs from what was done: %v, %v", changes, st.proposal.Changes)
	}
}

func TestARegistrationMadeMeanwhileIsNotVerified(t *testing.T) {
	s := newSite(t, 1)
	s.do("isolate.autoscaling", nil)
	st := s.do("isolate.loadbalancers", nil)
	before := must[registrations](t)(recall[registrations](st.proposal.Before))
	if err := s.balancers().register(s.ctx, before.Registrations[0]); err != nil {
		t.Fatal(err)
	}
	_, err := s.acts[st.name].Verify(s.ctx, s.request(st), st.proposal, st.result)
	if _, ok := errors.AsType[*incident.NotVerifiedError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestConnectionsThatDrainLongAreResidualExposure(t *testing.T) {
	s := newSite(t, 1)
	s.do("isolate.autoscaling", map[string]any{"strategy": strategyReplace})
	st := s.do("isolate.loadbalancers", map[string]any{"wait": false})
	v, err := s.acts[st.name].Verify(s.ctx, s.request(st), st.proposal, st.result)
	if err != nil || len(v.Residual) == 0 {
		t.Errorf("residual %v, error %v", v.Residual, err)
	}
	st = &step{name: st.name, proposal: st.proposal, inputs: map[string]any{"wait": true}}
	if err := s.try(st, true); err != nil {
		t.Fatal(err)
	}
	v, err = s.acts[st.name].Verify(s.ctx, s.request(st), st.proposal, st.result)
	if err != nil || len(v.Residual) != 0 {
		t.Errorf("drained, and still residual %v, error %v", v.Residual, err)
	}
}

// vpc is the suspect's.
func (s *site) vpc() string { return *s.instance().VpcId }

func (s *site) makeGroup(name string, tags ...ec2types.Tag) string {
	s.t.Helper()
	in := &ec2.CreateSecurityGroupInput{GroupName: aws.String(name), Description: aws.String("test"), VpcId: aws.String(s.vpc())}
	if len(tags) > 0 {
		in.TagSpecifications = []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeSecurityGroup, Tags: tags}}
	}
	return *must[*ec2.CreateSecurityGroupOutput](s.t)(s.ec2().CreateSecurityGroup(s.ctx, in)).GroupId
}

func (s *site) letIn(group string) {
	s.t.Helper()
	must[*ec2.AuthorizeSecurityGroupIngressOutput](s.t)(s.ec2().AuthorizeSecurityGroupIngress(s.ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &group, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}},
		}},
	}))
}

func TestAGroupThatOnlyHasTheNameIsNotTheIsolationGroup(t *testing.T) {
	s := newSite(t, 1)
	s.makeGroup(isolationName)
	_, err := fence{VPC: s.vpc()}.ensure(s.ctx, s.ec2(), s.acct.Clock())
	s.hinted(err, isolationName)
}

func TestAnIsolationGroupThatLetsInIsRefused(t *testing.T) {
	s := newSite(t, 1)
	s.do("isolate.autoscaling", nil)
	st := s.do("isolate.network", nil)
	set := must[cut](t)(recall[cut](st.result.Applied))
	s.letIn(set.Groups[s.vpc()])
	_, err := s.acts[st.name].Verify(s.ctx, s.request(st), st.proposal, st.result)
	if _, ok := errors.AsType[*incident.NotVerifiedError](err); !ok {
		t.Errorf("verified with a rule in the group: %v", err)
	}
	_, err = s.plan("isolate.network", nil)
	s.refused(err, "inbound")
}

func TestAnIsolationGroupThatLetsOutIsEmptied(t *testing.T) {
	s := newSite(t, 1)
	id := s.makeGroup("another-name", ec2types.Tag{Key: aws.String(isolationTag), Value: aws.String(s.vpc())})
	if err := s.acct.Clock().Sleep(s.ctx, lag); err != nil { // until AWS shows the tag
		t.Fatal(err)
	}
	got, err := fence{VPC: s.vpc()}.ensure(s.ctx, s.ec2(), s.acct.Clock())
	if err != nil || got != id {
		t.Fatalf("group %s, error %v; want %s", got, err, id)
	}
	if _, _, err := (fence{VPC: s.vpc()}).verify(s.ctx, s.ec2(), id); err != nil {
		t.Error(err)
	}
}

func TestRunsAtTheSameTimeShareOneIsolationGroup(t *testing.T) {
	s := newSite(t, 1)
	ids := make([]string, 4)
	var wg sync.WaitGroup
	vpc := s.vpc()
	for i := range ids {
		wg.Go(func() {
			id, err := fence{VPC: vpc}.ensure(s.ctx, s.ec2(), s.acct.Clock())
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("groups %v", ids)
		}
	}
}
