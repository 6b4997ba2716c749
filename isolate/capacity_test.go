package isolate

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func (s *site) leavingNotes(strategy string) string {
	s.t.Helper()
	st, err := s.plan("isolate.autoscaling", map[string]any{"strategy": strategy})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return strings.Join(st.proposal.Notes, "\n")
}

func (s *site) says(text string, words ...string) {
	s.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("nothing says %q in\n%s", w, text)
		}
	}
}

func TestThePlanSaysWhoServesWithoutTheInstance(t *testing.T) {
	s := newSite(t, 1)
	s.says(s.leavingNotes(strategyReplace), "target group web is left with 2 healthy targets (of 2)",
		"classic load balancer web-internal is left with 2 healthy targets (of 2)", "not checked: service quotas, EC2's capacity")
	for _, m := range s.members() {
		if *m.InstanceId == s.target.Instance {
			continue
		}
		must[*ec2.StopInstancesOutput](t)(s.ec2().StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: []string{*m.InstanceId}}))
		break
	}
	if err := s.acct.Clock().Sleep(s.ctx, 40*time.Second); err != nil { // until the checks have failed
		t.Fatal(err)
	}
	s.says(s.leavingNotes(strategyShrink), "target group web is left with only one healthy target")
	st, err := s.plan("isolate.loadbalancers", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.says(strings.Join(st.proposal.Notes, "\n"), "target group web is left with only one healthy target", "target group web-admin has no other target")
}

func (s *site) members() []astypes.Instance {
	s.t.Helper()
	out := must[*autoscaling.DescribeAutoScalingGroupsOutput](s.t)(s.autoscaling().DescribeAutoScalingGroups(s.ctx, &autoscaling.DescribeAutoScalingGroupsInput{}))
	return out.AutoScalingGroups[0].Instances
}

func TestThePlanSaysWhatKeepsAReplacementFromLaunching(t *testing.T) {
	tests := []struct {
		name   string
		meddle func(s *site)
		says   string
	}{
		{"launch suspended", func(s *site) {
			must[*autoscaling.SuspendProcessesOutput](s.t)(s.autoscaling().SuspendProcesses(s.ctx, &autoscaling.SuspendProcessesInput{
				AutoScalingGroupName: aws.String("web"), ScalingProcesses: []string{"Launch"},
			}))
		}, "Launch process of group web is suspended"},
		{"no image", func(s *site) {
			must[*ec2.DeregisterImageOutput](s.t)(s.ec2().DeregisterImage(s.ctx, &ec2.DeregisterImageInput{ImageId: s.instance().ImageId}))
		}, "of the launch template is deregistered"},
		{"at max-size", func(s *site) { s.resize(&autoscaling.UpdateAutoScalingGroupInput{MaxSize: aws.Int32(3)}) }, "no room for both the replacement and this instance"},
		{"no permission", func(s *site) {
			if err := s.acct.Deny("ec2:DescribeImages"); err != nil {
				s.t.Fatalf("%v", err)
			}
		}, "(UnauthorizedOperation)"},
		{"throttled", func(s *site) {
			fault := rehearsal.Fault{Operation: "autoscaling:DescribeInstanceRefreshes", Kind: "error", Code: "InternalFailure", Count: 10}
			if err := s.acct.Inject(fault); err != nil {
				s.t.Fatalf("%v", err)
			}
		}, "instance refreshes (InternalFailure)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, 1)
			tt.meddle(s)
			s.says(s.leavingNotes(strategyReplace), tt.says)
		})
	}
}

// What the simulated account does not have.
func TestWhatAGroupLaunchesFromIsChecked(t *testing.T) {
	cfg := canned(func(in any) any {
		switch in := in.(type) {
		case *autoscaling.DescribeInstanceRefreshesInput:
			return &autoscaling.DescribeInstanceRefreshesOutput{InstanceRefreshes: []astypes.InstanceRefresh{{Status: astypes.InstanceRefreshStatusInProgress}}}
		case *ec2.DescribeSubnetsInput:
			return &ec2.DescribeSubnetsOutput{Subnets: []ec2types.Subnet{
				{SubnetId: aws.String("subnet-a"), AvailabilityZone: aws.String("a"), AvailableIpAddressCount: aws.Int32(0)},
				{SubnetId: aws.String("subnet-b"), AvailabilityZone: aws.String("b"), AvailableIpAddressCount: aws.Int32(9)},
			}}
		case *ec2.DescribeLaunchTemplateVersionsInput:
			if in.Versions[0] != "$Default" {
				t.Errorf("version %v", in.Versions)
			}
			return &ec2.DescribeLaunchTemplateVersionsOutput{LaunchTemplateVersions: []ec2types.LaunchTemplateVersion{{LaunchTemplateData: &ec2types.ResponseLaunchTemplateData{
				ImageId: aws.String("ami-1"), KeyName: aws.String("lost"), InstanceType: ec2types.InstanceTypeM1Small,
				NetworkInterfaces: []ec2types.LaunchTemplateInstanceNetworkInterfaceSpecification{{Groups: []string{"sg-gone"}}},
			}}}}
		case *ec2.DescribeImagesInput:
			return &ec2.DescribeImagesOutput{Images: []ec2types.Image{{State: ec2types.ImageStateDisabled}}}
		case *ec2.DescribeInstanceTypeOfferingsInput:
			return &ec2.DescribeInstanceTypeOfferingsOutput{}
		case *ec2.DescribeSecurityGroupsInput:
			return &ec2.DescribeSecurityGroupsOutput{}
		case *ec2.DescribeKeyPairsInput:
			return &ec2.DescribeKeyPairsOutput{}
		}
		return nil
	})
	s := &site{t: t}
	a := &autoscalingGroup{}
	g := astypes.AutoScalingGroup{
		AutoScalingGroupName: aws.String("web"), VPCZoneIdentifier: aws.String("subnet-a,subnet-b"), WarmPoolConfiguration: &astypes.WarmPoolConfiguration{},
		LaunchTemplate: &astypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), LaunchTemplateName: aws.String("web")},
	}
	notes := a.survey(context.Background(), cfg, time.Unix(0, 0), g, strategyReplace).Without(ec2types.Instance{})
	s.says(strings.Join(notes, "\n"), "warm pool", "instance refresh of group web is InProgress", "subnet subnet-a in a has no free address",
		"image ami-1 of the launch template is disabled", "m1.small is not offered in b", "security group sg-gone", "key pair lost")
}

func TestMembersThatTogetherLeaveTooFewAreRefused(t *testing.T) {
	c := newSite(t, 1).crew()
	var all []incident.Target
	for _, m := range c.members() {
		all = append(all, incident.Target{Account: c.target.Account, Region: c.target.Region, Instance: *m.InstanceId})
	}
	const shrink = `name: shrink
title: Shrink
steps:
  - {id: autoscaling, action: isolate.autoscaling, with: {strategy: shrink}}
`
	_, _, err := c.plan(shrink, all, nil)
	c.refused(err, "taking 3 instances out lowers the desired capacity", "to 0, below its min-size 2")
	c.resize(&autoscaling.UpdateAutoScalingGroupInput{MinSize: aws.Int32(0)})
	c.isolate(shrink, all, nil)
	c.resize(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), MaxSize: aws.Int32(2)})
	_, err = c.planner.Release(c.ctx, c.journal.state, nil, false)
	c.refused(err, "taking 3 instances back raises the desired capacity", "to 3, above its max-size 2")
	c.resize(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), MaxSize: aws.Int32(3)})
	c.release()
	if got := c.desired(); got != 3 {
		t.Errorf("desired capacity %d", got)
	}
}

func TestDrainingIsAwaitedUpToTheLimitGiven(t *testing.T) {
	for _, seconds := range []int{0, -1, 3601} {
		s := newSite(t, 1)
		_, err := s.plan("isolate.loadbalancers", map[string]any{"wait_at_most": seconds})
		if err == nil || !strings.Contains(err.Error(), "want 1 to 3600") {
			t.Errorf("%d s: %v", seconds, err)
		}
	}
	s := newSite(t, 1)
	s.do("isolate.autoscaling", nil)
	begun := s.acct.Clock().Now()
	st := s.do("isolate.loadbalancers", map[string]any{"wait_at_most": 10})
	if took := s.acct.Clock().Now().Sub(begun); took > 25*time.Second {
		t.Errorf("it took %s", took)
	}
	v, err := s.acts[st.name].Verify(s.ctx, s.request(st), st.proposal, st.result)
	if err != nil || len(v.Residual) == 0 {
		t.Errorf("what still drains is not named: %v, %v", v.Residual, err)
	}
}
