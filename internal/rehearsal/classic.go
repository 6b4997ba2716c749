package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
)

// classicState is what the API of classic load balancers keeps.
type classicState struct {
	LoadBalancers []*classicBalancer `json:"load_balancers,omitempty"`
}

type classicBalancer struct {
	Name         string            `json:"name"`
	VPC          string            `json:"vpc"`
	Subnets      map[string]string `json:"subnets"` // by Availability Zone
	Groups       []string          `json:"groups,omitempty"`
	Port         int32             `json:"port"`
	InstancePort int32             `json:"instance_port"`
	Checks       checks            `json:"checks"`
	Draining     bool              `json:"draining"`
	Delay        time.Duration     `json:"delay"` // of draining
	Targets      []*target         `json:"targets,omitempty"`
	Created      time.Time         `json:"created"`
	Tags         map[string]string `json:"tags,omitempty"`
}

func (ops operations) classic() {
	on(ops, classicDescribeLoadBalancers)
	on(ops, classicDescribeLoadBalancerAttributes)
	on(ops, classicDescribeInstanceHealth)
	on(ops, classicDescribeTags)
	on(ops, classicRegisterInstances)
	on(ops, classicDeregisterInstances)
}

// tick runs the health checks and ends what has drained.
func (s *classicState) tick(w *world) bool {
	changed := false
	for _, b := range s.LoadBalancers {
		before := len(b.Targets)
		b.Targets = slices.DeleteFunc(b.Targets, func(t *target) bool { return t.over(w, t.ID) })
		changed = changed || len(b.Targets) != before
		for _, t := range b.Targets {
			changed = t.check(b.Checks, w.reachable(t.ID), w.Now) || changed
		}
	}
	return changed
}

func (b *classicBalancer) find(id string) *target {
	for _, t := range b.Targets {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// register adds an instance, or takes one back that is draining.
func (b *classicBalancer) register(id string, now time.Time) {
	t := b.find(id)
	if t == nil {
		t = &target{ID: id, Port: b.InstancePort}
		b.Targets = append(b.Targets, t)
	} else if t.Health != targetDraining {
		return
	}
	t.Health, t.Since, t.Turning, t.Gone = targetInitial, now, time.Time{}, time.Time{}
}

// deregister starts draining and says when it ends; now where there is nothing
// to drain.
func (b *classicBalancer) deregister(id string, now time.Time) time.Time {
	t := b.find(id)
	switch {
	case t == nil:
		return now
	case !b.Draining:
		b.Targets = slices.DeleteFunc(b.Targets, func(o *target) bool { return o == t })
		return now
	case t.Health != targetDraining:
		t.Health, t.Since, t.Gone = targetDraining, now, now.Add(b.Delay)
	}
	return t.Gone
}

// registered lists the instances that the API still calls registered: one that
// drains is not.
func (b *classicBalancer) registered() []types.Instance {
	list := []types.Instance{}
	for _, t := range b.Targets {
		if t.Health != targetDraining {
			list = append(list, types.Instance{InstanceId: &t.ID})
		}
	}
	return list
}

func (w *world) classicBalancer(name string) *classicBalancer {
	for _, b := range w.Classic.LoadBalancers {
		if b.Name == name {
			return b
		}
	}
	return nil
}

func (c *call) classicBalancer(name *string) (*classicBalancer, error) {
	if b := c.world.classicBalancer(aws.ToString(name)); b != nil && c.region == c.Region {
		return b, nil
	}
	return nil, &types.AccessPointNotFoundException{Message: aws.String(fmt.Sprintf("There is no ACTIVE Load Balancer named '%s'", aws.ToString(name)))}
}

// endpoints refuses instances that do not exist.
func (c *call) endpoints(list []types.Instance) ([]string, error) {
	ids := make([]string, 0, len(list))
	for _, i := range list {
		id := aws.ToString(i.InstanceId)
		if c.instance(id) == nil || c.terminated(id) {
			return nil, &types.InvalidEndPointException{Message: aws.String(fmt.Sprintf("Could not find EndPoint %s", id))}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_RegisterInstancesWithLoadBalancer.html
func classicRegisterInstances(c *call, in *classic.RegisterInstancesWithLoadBalancerInput) (*classic.RegisterInstancesWithLoadBalancerOutput, error) {
	b, err := c.classicBalancer(in.LoadBalancerName)
	if err != nil {
		return nil, err
	}
	ids, err := c.endpoints(in.Instances)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if c.vpcOf(id) != b.VPC {
			return nil, &types.InvalidEndPointException{Message: aws.String(fmt.Sprintf("EC2 instance %s is not in the same VPC as ELB.", id))}
		}
	}
	for _, id := range ids {
		b.register(id, c.Now)
	}
	return &classic.RegisterInstancesWithLoadBalancerOutput{Instances: b.registered()}, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DeregisterInstancesFromLoadBalancer.html
func classicDeregisterInstances(c *call, in *classic.DeregisterInstancesFromLoadBalancerInput) (*classic.DeregisterInstancesFromLoadBalancerOutput, error) {
	b, err := c.classicBalancer(in.LoadBalancerName)
	if err != nil {
		return nil, err
	}
	ids, err := c.endpoints(in.Instances)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		b.deregister(id, c.Now)
	}
	return &classic.DeregisterInstancesFromLoadBalancerOutput{Instances: b.registered()}, nil
}

// An instance that drains shows as InService still, told apart by its
// description only.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html
func classicDescribeInstanceHealth(c *call, in *classic.DescribeInstanceHealthInput) (*classic.DescribeInstanceHealthOutput, error) {
	b, err := c.classicBalancer(in.LoadBalancerName)
	if err != nil {
		return nil, err
	}
	ids, err := c.endpoints(in.Instances)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		for _, t := range b.Targets {
			ids = append(ids, t.ID)
		}
	}
	out := &classic.DescribeInstanceHealthOutput{InstanceStates: []types.InstanceState{}}
	for _, id := range ids {
		out.InstanceStates = append(out.InstanceStates, b.health(c.world, id))
	}
	return out, nil
}

// health: https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html
func (b *classicBalancer) health(w *world, id string) types.InstanceState {
	say := func(state, reason, text string) types.InstanceState {
		return types.InstanceState{InstanceId: &id, State: &state, ReasonCode: &reason, Description: &text}
	}
	t := b.find(id)
	switch {
	case t == nil:
		return say("OutOfService", "Instance", "Instance is not currently registered with the LoadBalancer.")
	case t.Health == targetDraining:
		return say("InService", "N/A", "Instance deregistration currently in progress.")
	case !w.running(id):
		return say("OutOfService", "Instance", "Instance is in stopped state.")
	case t.Health == targetInitial:
		return say("OutOfService", "ELB", "Instance registration is still in progress.")
	case t.Health == targetUnhealthy:
		return say("OutOfService", "Instance", "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.")
	default:
		return say("InService", "N/A", "N/A")
	}
}

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancers.html
func classicDescribeLoadBalancers(c *call, in *classic.DescribeLoadBalancersInput) (*classic.DescribeLoadBalancersOutput, error) {
	for _, name := range in.LoadBalancerNames {
		if _, err := c.classicBalancer(&name); err != nil {
			return nil, err
		}
	}
	out := &classic.DescribeLoadBalancersOutput{LoadBalancerDescriptions: []types.LoadBalancerDescription{}}
	if c.region != c.Region {
		return out, nil
	}
	for _, b := range c.Classic.LoadBalancers {
		if len(in.LoadBalancerNames) == 0 || slices.Contains(in.LoadBalancerNames, b.Name) {
			out.LoadBalancerDescriptions = append(out.LoadBalancerDescriptions, b.aws(c))
		}
	}
	return out, nil
}

func (b *classicBalancer) aws(c *call) types.LoadBalancerDescription {
	zones := sortedKeys(b.Subnets)
	var subnets []string
	for _, z := range zones {
		subnets = append(subnets, b.Subnets[z])
	}
	return types.LoadBalancerDescription{
		LoadBalancerName: &b.Name, VPCId: &b.VPC, AvailabilityZones: zones, Subnets: subnets, SecurityGroups: b.Groups,
		CreatedTime: &b.Created, Scheme: aws.String("internal"), Instances: b.registered(),
		DNSName: aws.String(fmt.Sprintf("internal-%s.%s.elb.amazonaws.com", b.Name, c.Region)),
		ListenerDescriptions: []types.ListenerDescription{{Listener: &types.Listener{
			Protocol: aws.String("HTTP"), LoadBalancerPort: b.Port, InstanceProtocol: aws.String("HTTP"), InstancePort: &b.InstancePort,
		}}},
		HealthCheck: &types.HealthCheck{
			Target: aws.String(fmt.Sprintf("HTTP:%d/", b.InstancePort)), Interval: inSeconds(b.Checks.Interval), Timeout: inSeconds(b.Checks.Timeout),
			HealthyThreshold: &b.Checks.Healthy, UnhealthyThreshold: &b.Checks.Unhealthy,
		},
	}
}

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancerAttributes.html
func classicDescribeLoadBalancerAttributes(c *call, in *classic.DescribeLoadBalancerAttributesInput) (*classic.DescribeLoadBalancerAttributesOutput, error) {
	b, err := c.classicBalancer(in.LoadBalancerName)
	if err != nil {
		return nil, err
	}
	return &classic.DescribeLoadBalancerAttributesOutput{LoadBalancerAttributes: &types.LoadBalancerAttributes{
		ConnectionDraining:     &types.ConnectionDraining{Enabled: b.Draining, Timeout: aws.Int32(int32(b.Delay / time.Second))},
		ConnectionSettings:     &types.ConnectionSettings{IdleTimeout: aws.Int32(60)},
		CrossZoneLoadBalancing: &types.CrossZoneLoadBalancing{Enabled: true},
		AccessLog:              &types.AccessLog{Enabled: false},
	}}, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeTags.html
func classicDescribeTags(c *call, in *classic.DescribeTagsInput) (*classic.DescribeTagsOutput, error) {
	out := &classic.DescribeTagsOutput{}
	for _, name := range in.LoadBalancerNames {
		b, err := c.classicBalancer(&name)
		if err != nil {
			return nil, err
		}
		d := types.TagDescription{LoadBalancerName: &b.Name}
		for _, k := range sortedKeys(b.Tags) {
			d.Tags = append(d.Tags, types.Tag{Key: aws.String(k), Value: aws.String(b.Tags[k])})
		}
		out.TagDescriptions = append(out.TagDescriptions, d)
	}
	return out, nil
}
