package rehearsal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// shop is the web-tier account with the clients that the tests use.
type shop struct {
	*Account
	t       *testing.T
	ctx     context.Context
	scaling *autoscaling.Client
	ec2     *ec2.Client
	suspect string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	return shopIn(t, a)
}

func shopIn(t *testing.T, a *Account) *shop {
	cfg := a.Config("eu-central-1")
	return &shop{Account: a, t: t, ctx: context.Background(), scaling: autoscaling.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), suspect: a.Alert().Instance}
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// refused checks that AWS refused with this code, and why.
func (s *shop) refused(err error, code, why string) {
	s.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), why) {
		s.t.Errorf("got %v, want %s: …%s…", err, code, why)
	}
}

func (s *shop) wait(d time.Duration) {
	s.t.Helper()
	s.must(s.Clock().Sleep(s.ctx, d))
}

func (s *shop) group() types.AutoScalingGroup {
	s.t.Helper()
	out, err := s.scaling.DescribeAutoScalingGroups(s.ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"web"}})
	s.must(err)
	return out.AutoScalingGroups[0]
}

// lifecycle is the suspect's state in its group; empty outside of it.
func (s *shop) lifecycle() string {
	s.t.Helper()
	out, err := s.scaling.DescribeAutoScalingInstances(s.ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{s.suspect}})
	s.must(err)
	if len(out.AutoScalingInstances) == 0 {
		return ""
	}
	return *out.AutoScalingInstances[0].LifecycleState
}

func (s *shop) state(id string) ec2types.InstanceStateName {
	s.t.Helper()
	out, err := s.ec2.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	s.must(err)
	return out.Reservations[0].Instances[0].State.Name
}

func (s *shop) detach(decrement bool) error {
	_, err := s.scaling.DetachInstances(s.ctx, &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}, ShouldDecrementDesiredCapacity: &decrement,
	})
	return err
}

func (s *shop) attach() error {
	_, err := s.scaling.AttachInstances(s.ctx, &autoscaling.AttachInstancesInput{AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}})
	return err
}

// cut puts every interface of the suspect into a group without any rule.
func (s *shop) cut() {
	s.t.Helper()
	instances, err := s.ec2.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{s.suspect}})
	s.must(err)
	i := instances.Reservations[0].Instances[0]
	group, err := s.ec2.CreateSecurityGroup(s.ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("closed"), Description: aws.String("closed"), VpcId: i.VpcId})
	s.must(err)
	for _, n := range i.NetworkInterfaces {
		_, err := s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: n.NetworkInterfaceId, Groups: []string{*group.GroupId}})
		s.must(err)
	}
}

func TestCuttingTheNetworkOfAnInServiceInstanceGetsItTerminatedAndReplaced(t *testing.T) {
	s := newShop(t)
	s.cut()
	s.wait(5 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameTerminated {
		t.Errorf("the suspect is %s", state)
	}
	group := s.group()
	if len(group.Instances) != 3 || slices.ContainsFunc(group.Instances, func(i types.Instance) bool {
		return *i.InstanceId == s.suspect || i.LifecycleState != types.LifecycleStateInService
	}) {
		t.Errorf("the group has %v", group.Instances)
	}
	if o := s.Overview(); !o.Whole() {
		t.Errorf("the service is not whole again:\n%s", o)
	}
	history, err := s.scaling.DescribeScalingActivities(s.ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String("web")})
	s.must(err)
	if !slices.ContainsFunc(history.Activities, func(a types.Activity) bool {
		return strings.Contains(*a.Description, "Terminating EC2 instance: "+s.suspect) && strings.Contains(*a.Cause, "ELB system health check failure")
	}) {
		t.Error("the group's history does not say why")
	}
}

// Aws-facts: termination protection does not stop Auto Scaling.
func TestTerminationProtectionDoesNotStopAutoScaling(t *testing.T) {
	s := newShop(t)
	_, err := s.ec2.ModifyInstanceAttribute(s.ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: &s.suspect, DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
	})
	s.must(err)
	_, err = s.scaling.SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}, ProtectedFromScaleIn: aws.Bool(true),
	})
	s.must(err)
	s.cut()
	s.wait(5 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameTerminated {
		t.Errorf("the suspect is %s", state)
	}
}

func TestStoppingAnInServiceInstanceGetsItTerminated(t *testing.T) {
	s := newShop(t)
	_, err := s.ec2.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: []string{s.suspect}})
	s.must(err)
	s.wait(5 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameTerminated {
		t.Errorf("the suspect is %s", state)
	}
}

func TestADetachedInstanceSurvivesTheCutAndIsReplaced(t *testing.T) {
	s := newShop(t)
	_, err := s.scaling.SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}, ProtectedFromScaleIn: aws.Bool(true),
	})
	s.must(err)
	s.must(s.detach(false))
	if got := s.lifecycle(); got != "Detaching" {
		t.Errorf("right after the call the suspect is %q: draining takes its time", got)
	}
	s.wait(time.Minute)
	if got := s.lifecycle(); got != "" {
		t.Errorf("the suspect is still %s", got)
	}
	s.cut()
	s.wait(30 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameRunning {
		t.Errorf("the suspect is %s", state)
	}
	if group := s.group(); *group.DesiredCapacity != 3 || len(group.Instances) != 3 || !s.Overview().Whole() {
		t.Errorf("no replacement: %d of %d", len(group.Instances), *group.DesiredCapacity)
	}
	tags, err := s.ec2.DescribeTags(s.ctx, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{
		{Name: aws.String("resource-id"), Values: []string{s.suspect}}, {Name: aws.String("key"), Values: []string{groupNameTag}},
	}})
	s.must(err)
	if len(tags.Tags) != 0 {
		t.Error("the suspect still carries the group's tag")
	}
}

func TestDetachingWithTheDecrementAtTheMinimumIsRefused(t *testing.T) {
	s := newShop(t)
	_, err := s.scaling.UpdateAutoScalingGroup(s.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(3)})
	s.must(err)
	s.refused(s.detach(true), "ValidationError", "min-size=3")
	if got := s.lifecycle(); got != "InService" {
		t.Errorf("refused, and the suspect is %s", got)
	}
}

func TestAttachingAtTheMaximumIsRefused(t *testing.T) {
	s := newShop(t)
	s.must(s.detach(false))
	s.wait(2 * time.Minute)
	_, err := s.scaling.UpdateAutoScalingGroup(s.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), MaxSize: aws.Int32(3)})
	s.must(err)
	s.refused(s.attach(), "ValidationError", "max-size=3")
	if group := s.group(); *group.DesiredCapacity != 3 {
		t.Errorf("refused, and the desired capacity is %d", *group.DesiredCapacity)
	}
}

func TestAnAttachedInstanceRaisesTheCapacityAndLosesItsProtection(t *testing.T) {
	s := newShop(t)
	_, err := s.scaling.SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}, ProtectedFromScaleIn: aws.Bool(true),
	})
	s.must(err)
	s.must(s.detach(false))
	s.refused(s.attach(), "ValidationError", "already part of")
	s.wait(2 * time.Minute)
	s.must(s.attach())
	s.wait(2 * time.Minute)
	group := s.group()
	at := slices.IndexFunc(group.Instances, func(i types.Instance) bool { return *i.InstanceId == s.suspect })
	if *group.DesiredCapacity != 4 || at < 0 || *group.Instances[at].ProtectedFromScaleIn || !s.Overview().Whole() {
		t.Errorf("desired %d, suspect at %d\n%s", *group.DesiredCapacity, at, s.Overview())
	}
}

func TestAnInstanceAttachedWithItsNetworkStillCutIsTerminated(t *testing.T) {
	s := newShop(t)
	s.must(s.detach(false))
	s.wait(2 * time.Minute)
	s.cut()
	s.must(s.attach())
	s.wait(55 * time.Second)
	if got := s.lifecycle(); got != "InService" {
		t.Errorf("within the grace period the suspect is %q", got)
	}
	s.wait(10 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameTerminated {
		t.Errorf("the suspect is %s", state)
	}
}

func (s *shop) standby(decrement bool) error {
	_, err := s.scaling.EnterStandby(s.ctx, &autoscaling.EnterStandbyInput{
		AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}, ShouldDecrementDesiredCapacity: &decrement,
	})
	return err
}

func TestOnStandbyTheNetworkCanBeCutAndServiceResumedLater(t *testing.T) {
	s := newShop(t)
	s.must(s.standby(true))
	s.refused(s.standby(true), "ValidationError", "not in InService")
	s.wait(time.Minute)
	if got := s.lifecycle(); got != "Standby" {
		t.Fatalf("the suspect is %s", got)
	}
	if group := s.group(); *group.DesiredCapacity != 2 {
		t.Errorf("desired capacity %d", *group.DesiredCapacity)
	}
	s.cut()
	s.wait(30 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameRunning {
		t.Errorf("the suspect is %s", state)
	}
	_, err := s.scaling.ExitStandby(s.ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.suspect}})
	s.must(err)
	if group := s.group(); *group.DesiredCapacity != 3 {
		t.Errorf("desired capacity %d", *group.DesiredCapacity)
	}
}

func TestDetachingFromStandbyCostsTheGroupAnotherInstance(t *testing.T) {
	s := newShop(t)
	_, err := s.scaling.UpdateAutoScalingGroup(s.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(1)})
	s.must(err)
	s.must(s.standby(true))
	s.wait(time.Minute)
	s.must(s.detach(true))
	s.wait(5 * time.Minute)
	if group := s.group(); *group.DesiredCapacity != 1 || len(group.Instances) != 1 {
		t.Errorf("desired %d, there are %d", *group.DesiredCapacity, len(group.Instances))
	}
}

func TestAMarkSetWhileReplacementIsSuspendedKillsWhenItResumes(t *testing.T) {
	s := newShop(t)
	web, process := aws.String("web"), []string{"ReplaceUnhealthy"}
	_, err := s.scaling.SuspendProcesses(s.ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: web, ScalingProcesses: process})
	s.must(err)
	s.cut()
	s.wait(10 * time.Minute)
	if got := s.lifecycle(); got != "InService" {
		t.Fatalf("the suspect is %q", got)
	}
	_, err = s.scaling.ResumeProcesses(s.ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: web, ScalingProcesses: process})
	s.must(err)
	s.wait(2 * time.Minute)
	if state := s.state(s.suspect); state != ec2types.InstanceStateNameTerminated {
		t.Errorf("the suspect is %s", state)
	}
}

func TestScaleInSparesTheProtected(t *testing.T) {
	s := newShop(t)
	members := s.group().Instances
	for out := range members {
		s := newShop(t)
		var kept []string
		for i, m := range members {
			if i != out {
				kept = append(kept, *m.InstanceId)
			}
		}
		_, err := s.scaling.SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: aws.String("web"), InstanceIds: kept, ProtectedFromScaleIn: aws.Bool(true)})
		s.must(err)
		_, err = s.scaling.UpdateAutoScalingGroup(s.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), DesiredCapacity: aws.Int32(2)})
		s.must(err)
		s.wait(5 * time.Minute)
		var left []string
		for _, m := range s.group().Instances {
			left = append(left, *m.InstanceId)
		}
		if !slices.Equal(left, kept) {
			t.Errorf("protected %v, left %v", kept, left)
		}
	}
}

func TestUnknownGroupsAndInstancesAreRefusedWhereAWSRefuses(t *testing.T) {
	s := newShop(t)
	_, err := s.scaling.DetachInstances(s.ctx, &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: aws.String("other"), InstanceIds: []string{s.suspect}, ShouldDecrementDesiredCapacity: aws.Bool(true),
	})
	s.refused(err, "ValidationError", "not found")
	s.suspect = "i-00000000000000000"
	s.refused(s.detach(true), "ValidationError", "is not part of")
	s.refused(s.attach(), "ValidationError", "Invalid Instance ID")
	if got := s.lifecycle(); got != "" {
		t.Errorf("an unknown instance is %s", got)
	}
}
