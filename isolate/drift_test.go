package isolate

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
)

// isolated runs everything and returns the state from before and the steps by action.
func isolated(t *testing.T, s *site) (before string, steps map[string]*step) {
	t.Helper()
	before, steps = s.state(), make(map[string]*step)
	for _, st := range s.run(chains()[len(chains())-1].steps) {
		steps[st.name] = st
	}
	return before, steps
}

// releaseOrder is the reverse of the playbooks' order.
var releaseOrder = []string{"isolate.network", "isolate.credentials", "isolate.loadbalancers", "isolate.autoscaling", "isolate.protect"}

func TestWhatSomeoneElseChangedIsNotOverwrittenUnlessForced(t *testing.T) {
	tests := []struct {
		name   string
		action string
		meddle func(s *site)
		now    string // what the difference shows
	}{
		{"security groups", "isolate.network", func(s *site) {
			id := s.makeGroup("forensics")
			n := s.instance().NetworkInterfaces[0].NetworkInterfaceId
			must[*ec2.ModifyNetworkInterfaceAttributeOutput](s.t)(s.ec2().ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
				NetworkInterfaceId: n, Groups: []string{id},
			}))
		}, "forensics"},
		{"the policy", "isolate.credentials", func(s *site) {
			must[*iam.PutRolePolicyOutput](s.t)(s.iam().PutRolePolicy(s.ctx, &iam.PutRolePolicyInput{
				RoleName: aws.String(role), PolicyName: aws.String(policyName(s.caseID, policyInstances)),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`),
			}))
		}, "another document"},
		{"the instance profile", "isolate.credentials", func(s *site) {
			must[*iam.CreateInstanceProfileOutput](s.t)(s.iam().CreateInstanceProfile(s.ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("forensics")}))
			p := must[*iam.GetInstanceProfileOutput](s.t)(s.iam().GetInstanceProfile(s.ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String("forensics")}))
			if err := s.session().associate(s.ctx, s.acct.Clock(), *p.InstanceProfile.Arn); err != nil {
				s.t.Fatalf("%v", err)
			}
		}, "forensics"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, 1)
			before, steps := isolated(t, s)
			tt.meddle(s)
			changed := s.state()
			err := s.undo(steps[tt.action], false)
			drift, ok := errors.AsType[*incident.DriftError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if len(drift.Differences) != 1 || !strings.Contains(drift.Differences[0].Now, tt.now) {
				t.Errorf("differences %+v", drift.Differences)
			}
			s.same(changed, s.state(), "after the refused release")
			for _, action := range releaseOrder {
				if err := s.undo(steps[action], true); err != nil {
					t.Fatalf("undo %s: %v", action, err)
				}
			}
			s.same(before, s.state(), "after the forced release")
		})
	}
}

func TestAnInstanceInStandbyThatWasDetachedIsDrift(t *testing.T) {
	s := newSite(t, 1)
	before := s.state()
	st := s.do("isolate.autoscaling", map[string]any{"strategy": strategyStandby})
	must[*autoscaling.DetachInstancesOutput](t)(s.autoscaling().DetachInstances(s.ctx, &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.target.Instance}, ShouldDecrementDesiredCapacity: aws.Bool(false),
	}))
	if _, ok := errors.AsType[*incident.DriftError](s.undo(st, false)); !ok {
		t.Fatal("no drift")
	}
	if err := s.undo(st, true); err != nil {
		t.Fatal(err)
	}
	s.same(before, s.state(), "after the forced release")
}

func TestASecurityGroupThatIsGoneIsReplacedByHand(t *testing.T) {
	s := newSite(t, 1)
	doomed := s.makeGroup("doomed")
	n := *s.instance().NetworkInterfaces[0].NetworkInterfaceId
	set := func(groups ...string) {
		t.Helper()
		must[*ec2.ModifyNetworkInterfaceAttributeOutput](t)(s.ec2().ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: &n, Groups: groups,
		}))
	}
	set(doomed)
	s.do("isolate.autoscaling", nil)
	st := s.do("isolate.network", nil)
	must[*ec2.DeleteSecurityGroupOutput](t)(s.ec2().DeleteSecurityGroup(s.ctx, &ec2.DeleteSecurityGroupInput{GroupId: &doomed}))
	for _, force := range []bool{false, true} {
		s.hinted(s.undo(st, force), n, doomed, "no longer exists")
	}
	fresh := s.makeGroup("fresh")
	set(fresh)
	if err := s.undo(st, true); err != nil {
		t.Fatal(err)
	}
	if state := s.state(); !strings.Contains(state, n+" groups ["+fresh+"]") {
		t.Errorf("the group given by hand was not kept:\n%s", state)
	}
}
