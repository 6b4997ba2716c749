package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func invalidTarget(format string, args ...any) error {
	return &types.InvalidTargetException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// portOf: without a port a target means the group's own, which is why a port
// override must be named again to deregister.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html
func (g *targetGroup) portOf(d types.TargetDescription) int32 { return valueOr(d.Port, g.Port) }

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html
func elbRegisterTargets(c *call, in *elb.RegisterTargetsInput) (*elb.RegisterTargetsOutput, error) {
	g, err := c.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	zones := make([]string, len(in.Targets))
	for i, d := range in.Targets {
		if zones[i], err = g.check(c.world, d); err != nil {
			return nil, err
		}
	}
	for i, d := range in.Targets {
		g.register(*d.Id, g.portOf(d), zones[i], c.Now)
	}
	return &elb.RegisterTargetsOutput{}, nil
}

// check refuses what can't be a target and gives the zone of what can.
func (g *targetGroup) check(w *world, d types.TargetDescription) (zone string, err error) {
	id := aws.ToString(d.Id)
	if port := g.portOf(d); port < 1 || port > 65535 {
		return "", apiError("ValidationError", fmt.Sprintf("Port '%d' is not valid", port))
	}
	if g.Type == string(types.TargetTypeEnumIp) {
		addr, err := netip.ParseAddr(id)
		if err != nil || !addr.IsPrivate() {
			return "", apiError("ValidationError", fmt.Sprintf("The IP address '%s' is not a valid IPv4 address", id))
		}
		if owner := w.instanceAt(id); owner != "" {
			return w.zoneOf(owner), nil
		}
		if aws.ToString(d.AvailabilityZone) != "all" {
			return "", invalidTarget("The IP address '%s' is not within the VPC; specify the Availability Zone 'all'", id)
		}
		return "all", nil
	}
	switch {
	case !w.running(id):
		return "", invalidTarget("The following targets are not in a running state and cannot be registered: '%s'", id)
	case w.vpcOf(id) != g.VPC:
		return "", invalidTarget("The following targets are not in the target group VPC '%s': '%s'", g.VPC, id)
	}
	return w.zoneOf(id), nil
}

// What is not registered is deregistered successfully: a forgotten port leaves
// the target in service without an error.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
func elbDeregisterTargets(c *call, in *elb.DeregisterTargetsInput) (*elb.DeregisterTargetsOutput, error) {
	g, err := c.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	for _, d := range in.Targets {
		g.deregister(aws.ToString(d.Id), g.portOf(d), c.Now)
	}
	return &elb.DeregisterTargetsOutput{}, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html
func elbDescribeTargetHealth(c *call, in *elb.DescribeTargetHealthInput) (*elb.DescribeTargetHealthOutput, error) {
	g, err := c.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	shown := g.Targets
	if len(in.Targets) > 0 {
		shown = nil
		for _, d := range in.Targets {
			t := g.find(aws.ToString(d.Id), g.portOf(d))
			if t == nil {
				t = &target{ID: aws.ToString(d.Id), Port: g.portOf(d)} // described all the same, as not registered
			}
			shown = append(shown, t)
		}
	}
	out := &elb.DescribeTargetHealthOutput{TargetHealthDescriptions: []types.TargetHealthDescription{}}
	for _, t := range shown {
		d := types.TargetHealthDescription{
			Target: &types.TargetDescription{Id: &t.ID, Port: &t.Port}, HealthCheckPort: aws.String(strconv.Itoa(int(t.Port))),
			TargetHealth: g.health(c.world, t),
		}
		if g.Type == string(types.TargetTypeEnumIp) {
			d.Target.AvailabilityZone = nilIfEmpty(t.Zone)
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	return out, nil
}

// health is a target's state with the reason that AWS gives.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
func (g *targetGroup) health(w *world, t *target) *types.TargetHealth {
	say := func(state types.TargetHealthStateEnum, reason types.TargetHealthReasonEnum, text string) *types.TargetHealth {
		return &types.TargetHealth{State: state, Reason: reason, Description: aws.String(text)}
	}
	instance := g.instanceOf(w, t)
	switch {
	case t.Health == "":
		return say(types.TargetHealthStateEnumUnused, types.TargetHealthReasonEnumNotRegistered, "Target is not registered to the target group")
	case t.Health == targetDraining:
		return say(types.TargetHealthStateEnumDraining, types.TargetHealthReasonEnumDeregistrationInProgress, "Target deregistration is in progress")
	case !w.ELB.inUse(g.ARN):
		return say(types.TargetHealthStateEnumUnused, types.TargetHealthReasonEnumNotInUse, "Target group is not configured to receive traffic from the load balancer")
	case instance != "" && !w.running(instance):
		return say(types.TargetHealthStateEnumUnused, types.TargetHealthReasonEnumInvalidState, "Target is in the stopped state")
	case t.Health == targetInitial:
		return say(types.TargetHealthStateEnumInitial, types.TargetHealthReasonEnumInitialHealthChecking, "Initial health checks in progress")
	case t.Health == targetUnhealthy:
		return say(types.TargetHealthStateEnumUnhealthy, types.TargetHealthReasonEnumTimeout, "Request timed out")
	default:
		return &types.TargetHealth{State: types.TargetHealthStateEnumHealthy}
	}
}

const delayAttribute = "deregistration_delay.timeout_seconds"

func (g *targetGroup) attributes() []types.TargetGroupAttribute {
	return []types.TargetGroupAttribute{
		{Key: aws.String(delayAttribute), Value: aws.String(strconv.Itoa(int(g.Delay / time.Second)))},
		{Key: aws.String("stickiness.enabled"), Value: aws.String("false")},
		{Key: aws.String("load_balancing.algorithm.type"), Value: aws.String("round_robin")},
	}
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroupAttributes.html
func elbDescribeTargetGroupAttributes(c *call, in *elb.DescribeTargetGroupAttributesInput) (*elb.DescribeTargetGroupAttributesOutput, error) {
	g, err := c.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	return &elb.DescribeTargetGroupAttributesOutput{Attributes: g.attributes()}, nil
}

// Only the deregistration delay can be changed here.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyTargetGroupAttributes.html
func elbModifyTargetGroupAttributes(c *call, in *elb.ModifyTargetGroupAttributesInput) (*elb.ModifyTargetGroupAttributesOutput, error) {
	g, err := c.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	delay := g.Delay
	for _, a := range in.Attributes {
		n, err := strconv.Atoi(aws.ToString(a.Value))
		if aws.ToString(a.Key) != delayAttribute || err != nil || n < 0 || n > 3600 {
			return nil, apiError("ValidationError", fmt.Sprintf("Target group attribute %s=%s is not valid", aws.ToString(a.Key), aws.ToString(a.Value)))
		}
		delay = time.Duration(n) * time.Second
	}
	g.Delay = delay
	return &elb.ModifyTargetGroupAttributesOutput{Attributes: g.attributes()}, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroups.html
func elbDescribeTargetGroups(c *call, in *elb.DescribeTargetGroupsInput) (*elb.DescribeTargetGroupsOutput, error) {
	out := &elb.DescribeTargetGroupsOutput{TargetGroups: []types.TargetGroup{}}
	for _, arn := range in.TargetGroupArns {
		if _, err := c.targetGroup(&arn); err != nil {
			return nil, err
		}
	}
	for _, name := range in.Names {
		if c.region != c.Region || !slices.ContainsFunc(c.ELB.TargetGroups, func(g *targetGroup) bool { return g.Name == name }) {
			return nil, &types.TargetGroupNotFoundException{Message: aws.String("One or more target groups not found")}
		}
	}
	if c.region != c.Region {
		return out, nil
	}
	for _, g := range c.ELB.TargetGroups {
		balancers := c.ELB.balancersOf(g.ARN)
		switch {
		case len(in.TargetGroupArns) > 0 && !slices.Contains(in.TargetGroupArns, g.ARN),
			len(in.Names) > 0 && !slices.Contains(in.Names, g.Name),
			in.LoadBalancerArn != nil && !slices.Contains(balancers, *in.LoadBalancerArn):
			continue
		}
		out.TargetGroups = append(out.TargetGroups, g.aws(balancers))
	}
	return out, nil
}

func (g *targetGroup) aws(balancers []string) types.TargetGroup {
	return types.TargetGroup{
		TargetGroupName: &g.Name, TargetGroupArn: &g.ARN, VpcId: &g.VPC, TargetType: types.TargetTypeEnum(g.Type),
		Protocol: types.ProtocolEnum(g.Protocol), Port: &g.Port, ProtocolVersion: aws.String("HTTP1"),
		HealthCheckEnabled: aws.Bool(true), HealthCheckPath: &g.Path, HealthCheckPort: aws.String("traffic-port"),
		HealthCheckProtocol: types.ProtocolEnum(g.Protocol), Matcher: &types.Matcher{HttpCode: aws.String("200")},
		HealthCheckIntervalSeconds: inSeconds(g.Checks.Interval), HealthCheckTimeoutSeconds: inSeconds(g.Checks.Timeout),
		HealthyThresholdCount: &g.Checks.Healthy, UnhealthyThresholdCount: &g.Checks.Unhealthy,
		LoadBalancerArns: balancers, IpAddressType: types.TargetGroupIpAddressTypeEnumIpv4,
	}
}
