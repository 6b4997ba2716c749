package isolate

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// balancers are the two load balancer APIs of one account and Region.
type balancers struct {
	classic *elb.Client
	v2      *elbv2.Client
}

func newBalancers(cfg aws.Config) balancers {
	return balancers{classic: elb.NewFromConfig(cfg), v2: elbv2.NewFromConfig(cfg)}
}

// standing is what AWS shows of a registration.
type standing int

const (
	absent standing = iota // not registered, nothing left to drain
	draining
	registered
	gone // there is no such target group or load balancer
)

// findings are the registrations of an instance.
type findings struct {
	registered       []registration
	groups, classics int    // looked through
	pools            []pool // where it is registered
	notes            []string
}

// owns reports whether an address is one of the instance's interfaces', in
// this VPC or in another one: private addresses repeat from VPC to VPC, and an
// instance can have interfaces in several.
func owns(i ec2types.Instance, vpc, address string) (here, elsewhere bool) {
	for _, n := range i.NetworkInterfaces {
		match := false
		for _, a := range n.PrivateIpAddresses {
			match = match || canonical(aws.ToString(a.PrivateIpAddress)) == canonical(address)
		}
		for _, a := range n.Ipv6Addresses {
			match = match || canonical(aws.ToString(a.Ipv6Address)) == canonical(address)
		}
		if match && aws.ToString(n.VpcId) == vpc {
			here = true
		} else if match {
			elsewhere = true
		}
	}
	return here, elsewhere
}

// canonical gives an address one spelling: IPv6 has several.
func canonical(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	return s
}

// find looks through every target group and classic load balancer.
func (b balancers) find(ctx context.Context, inst ec2types.Instance) (findings, error) {
	var f findings
	pages := elbv2.NewDescribeTargetGroupsPaginator(b.v2, &elbv2.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return f, fmt.Errorf("target groups: %w", err)
		}
		for _, g := range page.TargetGroups {
			if err := b.findIn(ctx, g, inst, &f); err != nil {
				return f, err
			}
		}
	}
	return f, b.findClassic(ctx, inst, &f)
}

// findIn looks through one target group, for the instance's ID or addresses.
func (b balancers) findIn(ctx context.Context, g elbv2types.TargetGroup, inst ec2types.Instance, f *findings) error {
	if g.TargetType != elbv2types.TargetTypeEnumInstance && g.TargetType != elbv2types.TargetTypeEnumIp {
		return nil // a function or another load balancer
	}
	f.groups++
	targets, err := b.targets(ctx, aws.ToString(g.TargetGroupArn))
	if hasCode(err, "TargetGroupNotFound") {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	before := len(f.registered)
	for _, t := range targets {
		if standingOf(t.TargetHealth) != registered {
			continue
		}
		r := registrationOf(aws.ToString(g.TargetGroupArn), t)
		here, elsewhere := r.Target == aws.ToString(inst.InstanceId), false
		if g.TargetType == elbv2types.TargetTypeEnumIp {
			here, elsewhere = owns(inst, aws.ToString(g.VpcId), r.Target)
		}
		if here {
			f.registered = append(f.registered, r)
		} else if elsewhere {
			// Taking it out could hit a stranger's host.
			f.notes = append(f.notes, fmt.Sprintf("%s is registered, in %s: left alone, for there the address may be another host's; look whether that VPC reaches this instance",
				r, aws.ToString(g.VpcId)))
		}
	}
	if len(f.registered) > before {
		f.pools = append(f.pools, poolOf("target group "+targetGroupName(aws.ToString(g.TargetGroupArn)), targets))
	}
	return nil
}

func registrationOf(group string, t elbv2types.TargetHealthDescription) registration {
	return registration{
		TargetGroup: group, Target: aws.ToString(t.Target.Id), Port: aws.ToInt32(t.Target.Port),
		Zone: aws.ToString(t.Target.AvailabilityZone), QUIC: aws.ToString(t.Target.QuicServerId),
	}
}

func (b balancers) targets(ctx context.Context, group string) ([]elbv2types.TargetHealthDescription, error) {
	out, err := b.v2.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: aws.String(group)})
	if err != nil {
		return nil, fmt.Errorf("targets of %s: %w", targetGroupName(group), err)
	}
	return out.TargetHealthDescriptions, nil
}

// standingOf reads a target's health: unused is registered too, unless its
// reason says otherwise ("TargetHealth").
func standingOf(h *elbv2types.TargetHealth) standing {
	switch {
	case h == nil || h.Reason == elbv2types.TargetHealthReasonEnumNotRegistered:
		return absent
	case h.State == elbv2types.TargetHealthStateEnumDraining || h.State == elbv2types.TargetHealthStateEnumUnhealthyDraining:
		return draining
	default:
		return registered
	}
}

func (b balancers) findClassic(ctx context.Context, inst ec2types.Instance, f *findings) error {
	pages := elb.NewDescribeLoadBalancersPaginator(b.classic, &elb.DescribeLoadBalancersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("classic load balancers: %w", err)
		}
		f.classics += len(page.LoadBalancerDescriptions)
		for _, l := range page.LoadBalancerDescriptions {
			for _, i := range l.Instances {
				if aws.ToString(i.InstanceId) == aws.ToString(inst.InstanceId) {
					f.registered = append(f.registered, registration{Classic: aws.ToString(l.LoadBalancerName), Target: aws.ToString(i.InstanceId)})
				}
			}
		}
	}
	return nil
}

// state is how one registration stands now.
func (b balancers) state(ctx context.Context, r registration) (standing, error) {
	if r.Classic != "" {
		return b.stateClassic(ctx, r)
	}
	targets, err := b.targets(ctx, r.TargetGroup)
	if hasCode(err, "TargetGroupNotFound") {
		return gone, nil
	}
	if err != nil {
		return absent, err
	}
	for _, t := range targets {
		if registrationOf(r.TargetGroup, t).same(r) {
			return standingOf(t.TargetHealth), nil
		}
	}
	return absent, nil
}

// drainingClassic is how DescribeInstanceHealth describes an instance, still
// shown as InService, whose connections drain ("Configure connection draining
// for your Classic Load Balancer").
const drainingClassic = "deregistration currently in progress"

// stateClassic asks about all of the balancer's instances: asked about one that is not
// registered, AWS may refuse.
func (b balancers) stateClassic(ctx context.Context, r registration) (standing, error) {
	states, err := b.instanceStates(ctx, r.Classic)
	if hasCode(err, "LoadBalancerNotFound", "AccessPointNotFound") {
		return gone, nil
	}
	if err != nil {
		return absent, err
	}
	for _, i := range states {
		switch {
		case aws.ToString(i.InstanceId) != r.Target:
		case strings.Contains(aws.ToString(i.Description), drainingClassic):
			return draining, nil
		default:
			return registered, nil
		}
	}
	return absent, nil
}

func (b balancers) instanceStates(ctx context.Context, name string) ([]elbtypes.InstanceState, error) {
	out, err := b.classic.DescribeInstanceHealth(ctx, &elb.DescribeInstanceHealthInput{LoadBalancerName: aws.String(name)})
	if err != nil {
		return nil, fmt.Errorf("classic load balancer %s: %w", name, err)
	}
	return out.InstanceStates, nil
}

// target carries the port always: one that was registered with another port
// than the group's is not found without it.
func (r registration) target() []elbv2types.TargetDescription {
	t := elbv2types.TargetDescription{Id: aws.String(r.Target), Port: aws.Int32(r.Port)}
	if r.Zone != "" {
		t.AvailabilityZone = aws.String(r.Zone)
	}
	if r.QUIC != "" {
		t.QuicServerId = aws.String(r.QUIC)
	}
	return []elbv2types.TargetDescription{t}
}

func (b balancers) deregister(ctx context.Context, r registration) error {
	var err error
	if r.Classic != "" {
		_, err = b.classic.DeregisterInstancesFromLoadBalancer(ctx, &elb.DeregisterInstancesFromLoadBalancerInput{
			LoadBalancerName: aws.String(r.Classic), Instances: []elbtypes.Instance{{InstanceId: aws.String(r.Target)}},
		})
	} else {
		_, err = b.v2.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: aws.String(r.TargetGroup), Targets: r.target()})
	}
	if err != nil {
		return fmt.Errorf("deregister %s: %w", r, err)
	}
	return nil
}

func (b balancers) register(ctx context.Context, r registration) error {
	var err error
	if r.Classic != "" {
		_, err = b.classic.RegisterInstancesWithLoadBalancer(ctx, &elb.RegisterInstancesWithLoadBalancerInput{
			LoadBalancerName: aws.String(r.Classic), Instances: []elbtypes.Instance{{InstanceId: aws.String(r.Target)}},
		})
	} else {
		_, err = b.v2.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(r.TargetGroup), Targets: r.target()})
	}
	if err != nil {
		return fmt.Errorf("register %s: %w", r, err)
	}
	return nil
}
