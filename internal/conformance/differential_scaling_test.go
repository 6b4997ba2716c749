package conformance

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// The Auto Scaling group and the load balancers are the web tier's: neither the
// simulated account nor the product makes any. They are named the same in both accounts.
const (
	webGroup   = "web"
	webClassic = "web-internal"
)

func scalingScenarios() []scenario {
	return []scenario{
		{"target groups", targetGroups},
		{"classic load balancers", classicBalancers},
		{"Auto Scaling group", scalingGroup},
		{"Auto Scaling protection and processes", scalingProtection},
		{"Auto Scaling standby", standby},
		{"Auto Scaling detach and attach", detachAttach},
		{"what Auto Scaling refuses", scalingRefusals},
	}
}

const absentTargetGroup = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/absent/0123456789abcdef"

func targetGroups(l *lane) {
	group := func(name string) *string {
		return must(l, l.elb.DescribeTargetGroups, &elasticloadbalancingv2.DescribeTargetGroupsInput{Names: []string{name}}).TargetGroups[0].TargetGroupArn
	}
	web, admin := group("web"), group("web-admin")
	l.call("target group web", web)
	l.call("target group web-admin", admin)
	health := func(group *string) {
		l.pass(10 * time.Minute)
		do(l, l.elb.DescribeTargetHealth, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: group})
	}
	health(web)
	health(admin)
	health(aws.String(absentTargetGroup))
	do(l, l.elb.DescribeTargetGroups, &elasticloadbalancingv2.DescribeTargetGroupsInput{Names: []string{"absent"}})
	do(l, l.elb.DescribeTargetGroups, &elasticloadbalancingv2.DescribeTargetGroupsInput{TargetGroupArns: []string{absentTargetGroup}})
	suspect := l.suspect()
	targets := func(id string, port *int32) []elbtypes.TargetDescription {
		return []elbtypes.TargetDescription{{Id: &id, Port: port}}
	}
	out := func(group *string, t []elbtypes.TargetDescription) {
		do(l, l.elb.DeregisterTargets, &elasticloadbalancingv2.DeregisterTargetsInput{TargetGroupArn: group, Targets: t})
	}
	in := func(group *string, t []elbtypes.TargetDescription) {
		do(l, l.elb.RegisterTargets, &elasticloadbalancingv2.RegisterTargetsInput{TargetGroupArn: group, Targets: t})
	}
	out(admin, targets(suspect, nil)) // it is registered under port 8080
	health(admin)
	out(admin, targets(suspect, aws.Int32(8080)))
	do(l, l.elb.DescribeTargetHealth, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: admin})
	health(admin)
	out(admin, targets(suspect, aws.Int32(8080)))
	out(admin, targets(absentInstance, nil))
	in(aws.String(absentTargetGroup), targets(suspect, nil))
	in(admin, targets(suspect, aws.Int32(8080)))
	do(l, l.elb.DescribeTargetHealth, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: admin})
	health(admin)
	attributes := func(key, value string) {
		do(l, l.elb.ModifyTargetGroupAttributes, &elasticloadbalancingv2.ModifyTargetGroupAttributesInput{
			TargetGroupArn: admin, Attributes: []elbtypes.TargetGroupAttribute{{Key: &key, Value: &value}},
		})
	}
	attributes("deregistration_delay.timeout_seconds", "60")
	attributes("deregistration_delay.timeout_seconds", "3601")
	attributes("no_such_attribute", "1")
	do(l, l.elb.DescribeTargetGroupAttributes, &elasticloadbalancingv2.DescribeTargetGroupAttributesInput{TargetGroupArn: admin})
	in(admin, targets(absentInstance, nil))
	do(l, l.elb.DeregisterTargets, &elasticloadbalancingv2.DeregisterTargetsInput{TargetGroupArn: admin, Targets: targets(absentInstance, aws.Int32(9000))})
	balancer := must(l, l.elb.DescribeLoadBalancers, &elasticloadbalancingv2.DescribeLoadBalancersInput{Names: []string{"web"}}).LoadBalancers[0].LoadBalancerArn
	l.call("balancer", balancer)
	do(l, l.elb.DescribeLoadBalancers, &elasticloadbalancingv2.DescribeLoadBalancersInput{Names: []string{"absent"}})
	listener := must(l, l.elb.DescribeListeners, &elasticloadbalancingv2.DescribeListenersInput{LoadBalancerArn: balancer}).Listeners[0].ListenerArn
	l.call("listener", listener)
	do(l, l.elb.DescribeRules, &elasticloadbalancingv2.DescribeRulesInput{ListenerArn: listener})
	do(l, l.elb.DescribeTags, &elasticloadbalancingv2.DescribeTagsInput{ResourceArns: []string{absentTargetGroup}})
}

func classicBalancers(l *lane) {
	do(l, l.classic.DescribeLoadBalancers, &elasticloadbalancing.DescribeLoadBalancersInput{LoadBalancerNames: []string{webClassic}})
	do(l, l.classic.DescribeLoadBalancers, &elasticloadbalancing.DescribeLoadBalancersInput{LoadBalancerNames: []string{"absent"}})
	do(l, l.classic.DescribeLoadBalancerAttributes, &elasticloadbalancing.DescribeLoadBalancerAttributesInput{LoadBalancerName: aws.String(webClassic)})
	do(l, l.classic.DescribeLoadBalancerAttributes, &elasticloadbalancing.DescribeLoadBalancerAttributesInput{LoadBalancerName: aws.String("absent")})
	health := func() {
		l.pass(10 * time.Minute)
		do(l, l.classic.DescribeInstanceHealth, &elasticloadbalancing.DescribeInstanceHealthInput{LoadBalancerName: aws.String(webClassic)})
	}
	health()
	do(l, l.classic.DescribeInstanceHealth, &elasticloadbalancing.DescribeInstanceHealthInput{LoadBalancerName: aws.String("absent")})
	out := func(name, id string) {
		do(l, l.classic.DeregisterInstancesFromLoadBalancer, &elasticloadbalancing.DeregisterInstancesFromLoadBalancerInput{
			LoadBalancerName: &name, Instances: []classictypes.Instance{{InstanceId: &id}},
		})
	}
	in := func(name, id string) {
		do(l, l.classic.RegisterInstancesWithLoadBalancer, &elasticloadbalancing.RegisterInstancesWithLoadBalancerInput{
			LoadBalancerName: &name, Instances: []classictypes.Instance{{InstanceId: &id}},
		})
	}
	suspect := l.suspect()
	out(webClassic, suspect)
	out(webClassic, suspect)
	out(webClassic, absentInstance)
	out("absent", suspect)
	health()
	in("absent", suspect)
	in(webClassic, suspect)
	health()
	in(webClassic, suspect) // again
	health()
	in(webClassic, absentInstance)
	out(webClassic, absentInstance)
	do(l, l.classic.DescribeTags, &elasticloadbalancing.DescribeTagsInput{LoadBalancerNames: []string{"absent"}})
}

// group shows the group and where its instances are in their lives.
func (l *lane) group() {
	l.pass(15 * time.Minute)
	do(l, l.scaling.DescribeAutoScalingGroups, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{webGroup}})
	do(l, l.scaling.DescribeAutoScalingInstances, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{l.suspect()}})
}

func scalingGroup(l *lane) {
	l.group()
	do(l, l.scaling.DescribeAutoScalingGroups, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"absent"}})
	do(l, l.scaling.DescribeAutoScalingInstances, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{absentInstance}})
	do(l, l.scaling.DescribeScalingActivities, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String("absent")})
	do(l, l.scaling.DescribeTags, &autoscaling.DescribeTagsInput{})
	update := func(name string, least, most int32) {
		do(l, l.scaling.UpdateAutoScalingGroup, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &name, MinSize: &least, MaxSize: &most})
	}
	update(webGroup, 1, 4)
	l.group()
	update("absent", 1, 4)
	update(webGroup, 2, 4)
}

func scalingProtection(l *lane) {
	protect := func(group, id string, on bool) {
		do(l, l.scaling.SetInstanceProtection, &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: &group, InstanceIds: []string{id}, ProtectedFromScaleIn: &on})
	}
	suspect := l.suspect()
	protect(webGroup, suspect, true)
	l.group()
	protect(webGroup, suspect, false)
	protect(webGroup, absentInstance, true)
	protect("absent", suspect, true)
	suspend := func(group string, processes ...string) {
		do(l, l.scaling.SuspendProcesses, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &group, ScalingProcesses: processes})
	}
	suspend(webGroup, "ReplaceUnhealthy", "AZRebalance")
	suspend("absent", "ReplaceUnhealthy")
	l.group()
	do(l, l.scaling.ResumeProcesses, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: aws.String(webGroup), ScalingProcesses: []string{"ReplaceUnhealthy"}})
	do(l, l.scaling.ResumeProcesses, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: aws.String(webGroup)})
	l.group()
	do(l, l.scaling.SetInstanceHealth, &autoscaling.SetInstanceHealthInput{InstanceId: aws.String(absentInstance), HealthStatus: aws.String("Unhealthy")})
	do(l, l.scaling.SetInstanceHealth, &autoscaling.SetInstanceHealthInput{InstanceId: &suspect, HealthStatus: aws.String("Poorly")})
	do(l, l.scaling.TerminateInstanceInAutoScalingGroup, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: aws.String(absentInstance), ShouldDecrementDesiredCapacity: aws.Bool(false),
	})
}

func standby(l *lane) {
	suspect := l.suspect()
	enter := func(group string, ids ...string) {
		do(l, l.scaling.EnterStandby, &autoscaling.EnterStandbyInput{AutoScalingGroupName: &group, InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(true)})
	}
	leave := func(group string, ids ...string) {
		do(l, l.scaling.ExitStandby, &autoscaling.ExitStandbyInput{AutoScalingGroupName: &group, InstanceIds: ids})
	}
	enter("absent", suspect)
	leave("absent", suspect)
	enter(webGroup, suspect)
	l.group()
	leave(webGroup, suspect)
	l.group()
}

func detachAttach(l *lane) {
	suspect := l.suspect()
	detach := func(group, id string) {
		do(l, l.scaling.DetachInstances, &autoscaling.DetachInstancesInput{AutoScalingGroupName: &group, InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: aws.Bool(true)})
	}
	attach := func(group, id string) {
		do(l, l.scaling.AttachInstances, &autoscaling.AttachInstancesInput{AutoScalingGroupName: &group, InstanceIds: []string{id}})
	}
	detach("absent", suspect)
	attach("absent", suspect)
	detach(webGroup, suspect)
	l.group()
	attach(webGroup, suspect)
	l.group()
}

// What moto takes without a word changes its group: these come last.
func scalingRefusals(l *lane) {
	group, suspect, one := aws.String(webGroup), l.suspect(), aws.Bool(true)
	resize := func(least, most int32) {
		do(l, l.scaling.UpdateAutoScalingGroup, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String(webGroup), MinSize: &least, MaxSize: &most})
	}
	do(l, l.scaling.SuspendProcesses, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: group, ScalingProcesses: []string{"NoSuchProcess"}})
	do(l, l.scaling.EnterStandby, &autoscaling.EnterStandbyInput{AutoScalingGroupName: group, InstanceIds: []string{absentInstance}, ShouldDecrementDesiredCapacity: one})
	do(l, l.scaling.ExitStandby, &autoscaling.ExitStandbyInput{AutoScalingGroupName: group, InstanceIds: []string{absentInstance}})
	do(l, l.scaling.DetachInstances, &autoscaling.DetachInstancesInput{AutoScalingGroupName: group, InstanceIds: []string{absentInstance}, ShouldDecrementDesiredCapacity: one})
	do(l, l.scaling.AttachInstances, &autoscaling.AttachInstancesInput{AutoScalingGroupName: group, InstanceIds: []string{absentInstance}})
	resize(3, 3)
	do(l, l.scaling.DetachInstances, &autoscaling.DetachInstancesInput{AutoScalingGroupName: group, InstanceIds: []string{suspect}, ShouldDecrementDesiredCapacity: one})
	resize(5, 4)
}
