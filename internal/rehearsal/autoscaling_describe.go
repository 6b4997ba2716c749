package rehearsal

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// A name that does not exist is left out, without an error.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html
func autoscalingDescribeAutoScalingGroups(c *call, in *autoscaling.DescribeAutoScalingGroupsInput) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	out := &autoscaling.DescribeAutoScalingGroupsOutput{AutoScalingGroups: []types.AutoScalingGroup{}}
	for _, g := range c.AutoScaling.Groups {
		if c.region != c.Region || len(in.AutoScalingGroupNames) > 0 && !slices.Contains(in.AutoScalingGroupNames, g.Name) {
			continue
		}
		ok, err := g.matches(in.Filters)
		if err != nil {
			return nil, err
		}
		if ok {
			out.AutoScalingGroups = append(out.AutoScalingGroups, g.aws(c.world))
		}
	}
	return out, nil
}

func (g *scalingGroup) matches(filters []types.Filter) (bool, error) {
	for _, f := range filters {
		name, ok := aws.ToString(f.Name), false
		key, byKey := strings.CutPrefix(name, "tag:")
		for _, t := range g.Tags {
			switch {
			case byKey:
				ok = ok || t.Key == key && slices.Contains(f.Values, t.Value)
			case name == "tag-key":
				ok = ok || slices.Contains(f.Values, t.Key)
			case name == "tag-value":
				ok = ok || slices.Contains(f.Values, t.Value)
			default:
				return false, invalid("Invalid filter: %s", name)
			}
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (g *scalingGroup) aws(w *world) types.AutoScalingGroup {
	out := types.AutoScalingGroup{
		AutoScalingGroupName: &g.Name, AutoScalingGroupARN: &g.ARN, CreatedTime: &g.Created,
		MinSize: aws.Int32(int32(g.Min)), MaxSize: aws.Int32(int32(g.Max)), DesiredCapacity: aws.Int32(int32(g.Desired)),
		CapacityRebalance: aws.Bool(false), DefaultCooldown: aws.Int32(300), HealthCheckType: &g.HealthCheckType, HealthCheckGracePeriod: aws.Int32(int32(g.Grace / time.Second)),
		VPCZoneIdentifier: aws.String(strings.Join(g.Subnets, ",")), LaunchTemplate: g.Template.aws(g.Template.Version),
		TargetGroupARNs: g.TargetGroups, LoadBalancerNames: g.Classic, NewInstancesProtectedFromScaleIn: &g.Protect,
		TerminationPolicies: []string{"Default"}, Tags: g.tags(), Instances: []types.Instance{},
		ServiceLinkedRoleARN: aws.String("arn:aws:iam::" + w.Account + ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"),
	}
	for _, id := range g.Subnets {
		out.AvailabilityZones = append(out.AvailabilityZones, w.EC2.Subnets[id].AZ)
	}
	for _, p := range g.Suspended {
		out.SuspendedProcesses = append(out.SuspendedProcesses, types.SuspendedProcess{ProcessName: &p, SuspensionReason: aws.String("User suspended")})
	}
	for _, m := range g.Members {
		out.Instances = append(out.Instances, m.aws(w, g))
	}
	return out
}

func (t launchTemplate) aws(version string) *types.LaunchTemplateSpecification {
	if version == "" {
		return nil
	}
	return &types.LaunchTemplateSpecification{LaunchTemplateId: &t.ID, LaunchTemplateName: &t.Name, Version: &version}
}

func (m *member) health() string {
	if m.Healthy {
		return "Healthy"
	}
	return "Unhealthy"
}

func (m *member) aws(w *world, g *scalingGroup) types.Instance {
	out := types.Instance{
		InstanceId: &m.ID, LifecycleState: types.LifecycleState(m.State), HealthStatus: aws.String(m.health()),
		ProtectedFromScaleIn: &m.Protected, LaunchTemplate: g.Template.aws(m.Template), AvailabilityZone: aws.String(w.zoneOf(m.ID)),
	}
	if i := w.instance(m.ID); i != nil {
		out.InstanceType, out.ImageId = &i.Type, &i.Image
	}
	return out
}

// An instance in no group is left out, without an error. The health is spelt in
// capitals here.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingInstances.html
func autoscalingDescribeAutoScalingInstances(c *call, in *autoscaling.DescribeAutoScalingInstancesInput) (*autoscaling.DescribeAutoScalingInstancesOutput, error) {
	if len(in.InstanceIds) > 50 {
		return nil, invalid("The maximum number of instance IDs is 50")
	}
	out := &autoscaling.DescribeAutoScalingInstancesOutput{AutoScalingInstances: []types.AutoScalingInstanceDetails{}}
	if c.region != c.Region {
		return out, nil
	}
	for _, g := range c.AutoScaling.Groups {
		for _, m := range g.Members {
			if len(in.InstanceIds) > 0 && !slices.Contains(in.InstanceIds, m.ID) {
				continue
			}
			i := m.aws(c.world, g)
			out.AutoScalingInstances = append(out.AutoScalingInstances, types.AutoScalingInstanceDetails{
				AutoScalingGroupName: &g.Name, InstanceId: &m.ID, LifecycleState: &m.State, HealthStatus: aws.String(strings.ToUpper(m.health())),
				AvailabilityZone: i.AvailabilityZone, InstanceType: i.InstanceType, ImageId: i.ImageId, LaunchTemplate: i.LaunchTemplate, ProtectedFromScaleIn: &m.Protected,
			})
		}
	}
	return out, nil
}

func (g *scalingGroup) tags() []types.TagDescription {
	var tags []types.TagDescription
	for _, t := range g.Tags {
		tags = append(tags, types.TagDescription{
			Key: &t.Key, Value: &t.Value, PropagateAtLaunch: &t.Propagate, ResourceId: &g.Name, ResourceType: aws.String("auto-scaling-group"),
		})
	}
	return tags
}

// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeTags.html
func autoscalingDescribeTags(c *call, in *autoscaling.DescribeTagsInput) (*autoscaling.DescribeTagsOutput, error) {
	out := &autoscaling.DescribeTagsOutput{Tags: []types.TagDescription{}}
	for _, g := range c.AutoScaling.Groups {
		for _, t := range g.tags() {
			ok := c.region == c.Region
			for _, f := range in.Filters {
				value, known := map[string]string{
					"auto-scaling-group": g.Name, "key": *t.Key, "value": *t.Value, "propagate-at-launch": strconv.FormatBool(*t.PropagateAtLaunch),
				}[aws.ToString(f.Name)]
				if !known {
					return nil, invalid("Filter type %s is not correct. Allowed Filter types are: auto-scaling-group key propagate-at-launch value", aws.ToString(f.Name))
				}
				ok = ok && slices.Contains(f.Values, value)
			}
			if ok {
				out.Tags = append(out.Tags, t)
			}
		}
	}
	return out, nil
}
