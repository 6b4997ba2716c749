package isolate

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/cordon-ir/cordon/isolate/serving"
)

// balancers are the two load balancer APIs of one account and Region.
type balancers struct{ serving.Balancers }

func newBalancers(cfg aws.Config) balancers { return balancers{serving.New(cfg)} }

// findings are the registrations of an instance.
type findings struct {
	registered       []registration
	groups, classics int            // looked through
	pools            []serving.Pool // where it is registered
	notes            []string
}

// find looks through every target group and classic load balancer.
func (b balancers) find(ctx context.Context, inst ec2types.Instance) (findings, error) {
	var f findings
	pages := elbv2.NewDescribeTargetGroupsPaginator(b.V2, &elbv2.DescribeTargetGroupsInput{})
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
	targets, err := b.Targets(ctx, aws.ToString(g.TargetGroupArn))
	if hasCode(err, "TargetGroupNotFound") {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	before := len(f.registered)
	for _, t := range targets {
		if serving.StandingOf(t.TargetHealth) != serving.Registered {
			continue
		}
		r := registrationOf(aws.ToString(g.TargetGroupArn), t)
		here, elsewhere := r.Target == aws.ToString(inst.InstanceId), false
		if g.TargetType == elbv2types.TargetTypeEnumIp {
			here, elsewhere = serving.Owns(inst, aws.ToString(g.VpcId), r.Target)
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
		f.pools = append(f.pools, serving.PoolOf("target group "+serving.TargetGroupName(aws.ToString(g.TargetGroupArn)), targets))
	}
	return nil
}

func registrationOf(group string, t elbv2types.TargetHealthDescription) registration {
	return registration{
		TargetGroup: group, Target: aws.ToString(t.Target.Id), Port: aws.ToInt32(t.Target.Port),
		Zone: aws.ToString(t.Target.AvailabilityZone), QUIC: aws.ToString(t.Target.QuicServerId),
	}
}

func (b balancers) findClassic(ctx context.Context, inst ec2types.Instance, f *findings) error {
	pages := elb.NewDescribeLoadBalancersPaginator(b.Classic, &elb.DescribeLoadBalancersInput{})
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
func (b balancers) state(ctx context.Context, r registration) (serving.Standing, error) {
	if r.Classic != "" {
		return b.stateClassic(ctx, r)
	}
	targets, err := b.Targets(ctx, r.TargetGroup)
	if hasCode(err, "TargetGroupNotFound") {
		return serving.Gone, nil
	}
	if err != nil {
		return serving.Absent, err
	}
	for _, t := range targets {
		if registrationOf(r.TargetGroup, t).same(r) {
			return serving.StandingOf(t.TargetHealth), nil
		}
	}
	return serving.Absent, nil
}

// stateClassic asks about all of the balancer's instances: asked about one that is not
// registered, AWS may refuse.
func (b balancers) stateClassic(ctx context.Context, r registration) (serving.Standing, error) {
	states, err := b.States(ctx, r.Classic)
	if hasCode(err, "LoadBalancerNotFound", "AccessPointNotFound") {
		return serving.Gone, nil
	}
	if err != nil {
		return serving.Absent, err
	}
	for _, i := range states {
		switch {
		case aws.ToString(i.InstanceId) != r.Target:
		case serving.DrainingClassic(i):
			return serving.Draining, nil
		default:
			return serving.Registered, nil
		}
	}
	return serving.Absent, nil
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
		_, err = b.Classic.DeregisterInstancesFromLoadBalancer(ctx, &elb.DeregisterInstancesFromLoadBalancerInput{
			LoadBalancerName: aws.String(r.Classic), Instances: []elbtypes.Instance{{InstanceId: aws.String(r.Target)}},
		})
	} else {
		_, err = b.V2.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: aws.String(r.TargetGroup), Targets: r.target()})
	}
	if err != nil {
		return fmt.Errorf("deregister %s: %w", r, err)
	}
	return nil
}

func (b balancers) register(ctx context.Context, r registration) error {
	var err error
	if r.Classic != "" {
		_, err = b.Classic.RegisterInstancesWithLoadBalancer(ctx, &elb.RegisterInstancesWithLoadBalancerInput{
			LoadBalancerName: aws.String(r.Classic), Instances: []elbtypes.Instance{{InstanceId: aws.String(r.Target)}},
		})
	} else {
		_, err = b.V2.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(r.TargetGroup), Targets: r.target()})
	}
	if err != nil {
		return fmt.Errorf("register %s: %w", r, err)
	}
	return nil
}
