package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// membersOf finds the members that a request names, all of them in one of the
// states, or refuses.
func (g *scalingGroup) membersOf(ids []string, states ...string) ([]*member, error) {
	if len(ids) == 0 || len(ids) > 20 {
		return nil, invalid("Between 1 and 20 instance IDs must be given")
	}
	var list []*member
	for _, id := range ids {
		m := g.member(id)
		if m == nil {
			return nil, invalid("The instance %s is not part of Auto Scaling group %s.", id, g.Name)
		}
		if !slices.Contains(states, m.State) {
			return nil, invalid("The instance %s is not in %s.", id, strings.Join(states, " or "))
		}
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list, nil
}

// shrink checks that the group can do with n less, and gives the words AWS uses
// for it.
func (g *scalingGroup) shrink(n int, decrement bool, verb string) (desired int, effect string, err error) {
	if !decrement {
		return g.Desired, "", nil
	}
	if g.Desired-n < g.Min {
		return 0, "", invalid("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d instances, please update the AutoScalingGroup sizes appropriately.",
			g.Name, g.Min, g.Max, g.Desired, verb, n)
	}
	return g.Desired - n, fmt.Sprintf(", shrinking the capacity from %d to %d", g.Desired, g.Desired-n), nil
}

func (g *scalingGroup) grow(n int, verb string) error {
	if g.Desired+n > g.Max {
		return invalid("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d more instances, please update the AutoScalingGroup sizes appropriately.",
			g.Name, g.Min, g.Max, g.Desired, verb, n)
	}
	return nil
}

// Without the decrement Auto Scaling launches a replacement; with it the group
// may not go below its minimum. A member on standby is not counted in the desired
// capacity any more, so that detaching it with the decrement costs the group another one. Scale-in protection
// is gone afterwards.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DetachInstances.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html
func autoscalingDetachInstances(c *call, in *autoscaling.DetachInstancesInput) (*autoscaling.DetachInstancesOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	members, err := g.membersOf(in.InstanceIds, stateInService, stateStandby)
	if err != nil {
		return nil, err
	}
	desired, effect, err := g.shrink(len(members), aws.ToBool(in.ShouldDecrementDesiredCapacity), "detach")
	if err != nil {
		return nil, err
	}
	g.Desired = desired
	out := &autoscaling.DetachInstancesOutput{}
	for _, m := range members {
		m.Protected = false
		g.enter(c.world, m, stateDetaching, g.leave(c.world, m.ID))
		a := g.begin(c.world, m, "Detaching EC2 instance: "+m.ID,
			fmt.Sprintf("instance %s was detached in response to a user request%s.", m.ID, effect), "InProgress")
		out.Activities = append(out.Activities, a.aws(g))
	}
	return out, nil
}

// The instance must run, be in no group and lie in a zone of this one; the
// desired capacity grows, so a group at its maximum refuses. Health checks begin
// again: one whose network is still cut is terminated after the grace period.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachInstances.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html
func autoscalingAttachInstances(c *call, in *autoscaling.AttachInstancesInput) (*autoscaling.AttachInstancesOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	ids := slices.Compact(slices.Sorted(slices.Values(in.InstanceIds)))
	if len(ids) == 0 || len(ids) > 20 {
		return nil, invalid("Between 1 and 20 instance IDs must be given")
	}
	for _, id := range ids {
		if err := g.attachable(c.world, id); err != nil {
			return nil, err
		}
	}
	if err := g.grow(len(ids), "attach"); err != nil {
		return nil, err
	}
	for _, id := range ids {
		m := &member{ID: id, Healthy: true, Protected: g.Protect}
		g.Members = append(g.Members, m)
		c.tag(id, g.memberTags(nil)) // the group's tags overwrite the instance's
		g.enter(c.world, m, statePending, joinTime)
		g.begin(c.world, m, "Attaching an existing EC2 instance: "+id,
			fmt.Sprintf("an instance was attached in response to a user request, increasing the capacity from %d to %d.", g.Desired, g.Desired+1), "InProgress")
		g.Desired++
	}
	return &autoscaling.AttachInstancesOutput{}, nil
}

func (g *scalingGroup) attachable(w *world, id string) error {
	if w.instance(id) == nil {
		return invalid("Invalid Instance ID(s) [%s] specified", id)
	}
	if !w.running(id) {
		return invalid("Instance %s is not in correct state. Instance(s) must be in 'running' state", id)
	}
	if other := w.groupOf(id); other != nil {
		return invalid("Instance %s is already part of AutoScalingGroup:%s", id, other.Name)
	}
	for _, s := range g.Subnets {
		if w.EC2.Subnets[s].AZ == w.zoneOf(id) {
			return nil
		}
	}
	return invalid("The instance %s is in Availability Zone %s, which is not one of AutoScalingGroup %s", id, w.zoneOf(id), g.Name)
}

// On standby a member stays in the group, unchecked and out of the load
// balancers.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html
func autoscalingEnterStandby(c *call, in *autoscaling.EnterStandbyInput) (*autoscaling.EnterStandbyOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	members, err := g.membersOf(in.InstanceIds, stateInService)
	if err != nil {
		return nil, err
	}
	desired, effect, err := g.shrink(len(members), aws.ToBool(in.ShouldDecrementDesiredCapacity), "enter standby for")
	if err != nil {
		return nil, err
	}
	g.Desired = desired
	out := &autoscaling.EnterStandbyOutput{}
	for _, m := range members {
		g.enter(c.world, m, stateEnteringStandby, g.leave(c.world, m.ID))
		a := g.begin(c.world, m, "Moving EC2 instance to Standby: "+m.ID,
			fmt.Sprintf("instance %s was moved to standby in response to a user request%s.", m.ID, effect), "InProgress")
		out.Activities = append(out.Activities, a.aws(g))
	}
	return out, nil
}

// The desired capacity always grows.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ExitStandby.html
func autoscalingExitStandby(c *call, in *autoscaling.ExitStandbyInput) (*autoscaling.ExitStandbyOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	members, err := g.membersOf(in.InstanceIds, stateStandby)
	if err != nil {
		return nil, err
	}
	if err := g.grow(len(members), "exit standby for"); err != nil {
		return nil, err
	}
	out := &autoscaling.ExitStandbyOutput{}
	for _, m := range members {
		g.enter(c.world, m, statePending, joinTime)
		a := g.begin(c.world, m, "Moving EC2 instance out of Standby: "+m.ID,
			fmt.Sprintf("instance %s was moved out of standby in response to a user request, increasing the capacity from %d to %d.", m.ID, g.Desired, g.Desired+1), "PreInService")
		out.Activities = append(out.Activities, a.aws(g))
		g.Desired++
	}
	return out, nil
}

// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceProtection.html
func autoscalingSetInstanceProtection(c *call, in *autoscaling.SetInstanceProtectionInput) (*autoscaling.SetInstanceProtectionOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	members, err := g.membersOf(in.InstanceIds, stateInService, stateEnteringStandby, stateStandby)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		m.Protected = aws.ToBool(in.ProtectedFromScaleIn)
	}
	return &autoscaling.SetInstanceProtectionOutput{}, nil
}

// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html
func autoscalingSetInstanceHealth(c *call, in *autoscaling.SetInstanceHealthInput) (*autoscaling.SetInstanceHealthOutput, error) {
	id := aws.ToString(in.InstanceId)
	g := c.groupOf(id)
	if g == nil || c.region != c.Region {
		return nil, invalid("Instance Id not found - No managed instance found for instance ID %s", id)
	}
	health := aws.ToString(in.HealthStatus)
	if health != "Healthy" && health != "Unhealthy" {
		return nil, invalid("Invalid health status '%s'. Valid values are Healthy and Unhealthy", health)
	}
	m := g.member(id)
	if respects := valueOr(in.ShouldRespectGracePeriod, true); !respects || g.pastGrace(c.world, m) {
		m.Healthy = health == "Healthy"
	}
	return &autoscaling.SetInstanceHealthOutput{}, nil
}

// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html
func autoscalingUpdateAutoScalingGroup(c *call, in *autoscaling.UpdateAutoScalingGroupInput) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	least, most := int(valueOr(in.MinSize, int32(g.Min))), int(valueOr(in.MaxSize, int32(g.Max)))
	if least < 0 || least > most {
		return nil, invalid("Max bound, %d, must be greater than or equal to min bound, %d", most, least)
	}
	// New bounds pull a capacity that is not given with them.
	desired := min(max(g.Desired, least), most)
	if in.DesiredCapacity != nil {
		desired = int(*in.DesiredCapacity)
	}
	if desired < least || desired > most {
		return nil, invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, least, most)
	}
	if t := valueOr(in.HealthCheckType, g.HealthCheckType); t != "EC2" && t != "ELB" && t != "EC2,ELB" {
		return nil, invalid("Invalid health check type %s. Valid types are EC2 and ELB", t)
	}
	g.Min, g.Max, g.Desired = least, most, desired
	g.HealthCheckType = valueOr(in.HealthCheckType, g.HealthCheckType)
	g.Protect = valueOr(in.NewInstancesProtectedFromScaleIn, g.Protect)
	if in.HealthCheckGracePeriod != nil {
		g.Grace = seconds(*in.HealthCheckGracePeriod)
	}
	return &autoscaling.UpdateAutoScalingGroupOutput{}, nil
}

// Suspending is for the whole group.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SuspendProcesses.html
func autoscalingSuspendProcesses(c *call, in *autoscaling.SuspendProcessesInput) (*autoscaling.SuspendProcessesOutput, error) {
	g, names, err := c.processesOf(in.AutoScalingGroupName, in.ScalingProcesses)
	if err != nil {
		return nil, err
	}
	g.Suspended = slices.Compact(slices.Sorted(slices.Values(append(names, g.Suspended...))))
	return &autoscaling.SuspendProcessesOutput{}, nil
}

// What waited for a process happens when it resumes: a member marked unhealthy
// meanwhile is terminated.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ResumeProcesses.html
func autoscalingResumeProcesses(c *call, in *autoscaling.ResumeProcessesInput) (*autoscaling.ResumeProcessesOutput, error) {
	g, names, err := c.processesOf(in.AutoScalingGroupName, in.ScalingProcesses)
	if err != nil {
		return nil, err
	}
	g.Suspended = slices.DeleteFunc(g.Suspended, func(p string) bool { return slices.Contains(names, p) })
	return &autoscaling.ResumeProcessesOutput{}, nil
}

// processesOf: none named means all.
func (c *call) processesOf(group *string, names []string) (*scalingGroup, []string, error) {
	g, err := c.scalingGroup(group)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if !slices.Contains(processes, name) {
			return nil, nil, invalid("Invalid scaling process: %s. Valid processes are %s", name, strings.Join(processes, ", "))
		}
	}
	if len(names) == 0 {
		names = processes
	}
	return g, slices.Clone(names), nil
}

// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
func autoscalingTerminateInstance(c *call, in *autoscaling.TerminateInstanceInAutoScalingGroupInput) (*autoscaling.TerminateInstanceInAutoScalingGroupOutput, error) {
	id := aws.ToString(in.InstanceId)
	g := c.groupOf(id)
	if g == nil || c.region != c.Region {
		return nil, invalid("Instance Id not found - No managed instance found for instance ID: %s", id)
	}
	m := g.member(id)
	if m.State != stateInService && m.State != stateStandby && m.State != statePending {
		return nil, &types.ScalingActivityInProgressFault{Message: aws.String("Activity is already in progress for instance " + id)}
	}
	n := 1
	if m.State == stateStandby {
		n = 0 // not counted in the capacity
	}
	desired, effect, err := g.shrink(n, aws.ToBool(in.ShouldDecrementDesiredCapacity), "terminate")
	if err != nil {
		return nil, err
	}
	g.Desired = desired
	g.terminate(c.world, m, "instance "+id+" was taken out of service in response to a user request"+effect+".")
	return &autoscaling.TerminateInstanceInAutoScalingGroupOutput{Activity: new(g.lastActivity().aws(g))}, nil
}
