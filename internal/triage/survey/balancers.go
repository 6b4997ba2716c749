package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// balancers are the load balancers of the account and Region.
type balancers struct {
	groups  []elbv2types.TargetGroup
	v2      map[string]elbv2types.LoadBalancer // by ARN
	classic []elbtypes.LoadBalancerDescription
}

// pool is one target group, or classic load balancer, with its targets.
type pool struct {
	serving.Pool
	targets []elbv2types.TargetHealthDescription
	states  []elbtypes.InstanceState
}

// balancing finds the instance in every target group and classic load balancer.
// AWS has no way from a target to its groups.
func (r *Reader) balancing(ctx context.Context, inst ec2types.Instance, out *triage.Report) error {
	all, err := r.balancers.get("", func() (*balancers, error) { return r.readBalancers(ctx) })
	if err != nil {
		return err
	}
	for _, g := range all.groups {
		if g.TargetType != elbv2types.TargetTypeEnumInstance && g.TargetType != elbv2types.TargetTypeEnumIp || !slices.Contains(vpcsOf(inst), aws.ToString(g.VpcId)) {
			continue
		}
		if err := r.inGroup(ctx, all, g, inst, out); err != nil {
			return err
		}
	}
	for _, l := range all.classic {
		if slices.ContainsFunc(l.Instances, func(i elbtypes.Instance) bool { return aws.ToString(i.InstanceId) == out.ID }) {
			if err := r.inClassic(ctx, l, inst, out); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reader) inGroup(ctx context.Context, all *balancers, g elbv2types.TargetGroup, inst ec2types.Instance, out *triage.Report) error {
	arn := aws.ToString(g.TargetGroupArn)
	p, err := r.pools.get(arn, func() (pool, error) {
		targets, err := r.elb.Targets(ctx, arn)
		return pool{Pool: serving.PoolOf(arn, targets), targets: targets}, err
	})
	if hasCode(err, "TargetGroupNotFound") {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	for _, t := range p.targets {
		id := aws.ToString(t.Target.Id)
		here := id == out.ID
		if g.TargetType == elbv2types.TargetTypeEnumIp {
			here, _ = serving.Owns(inst, aws.ToString(g.VpcId), id)
		}
		if !here || serving.StandingOf(t.TargetHealth) != serving.Registered {
			continue
		}
		b := triage.Balancer{Kind: "target-group", Name: serving.TargetGroupName(arn), State: string(t.TargetHealth.State)}
		b.Healthy, b.Others = p.Left(inst)
		for _, l := range g.LoadBalancerArns {
			balancer := all.v2[l]
			b.Balances = append(b.Balances, aws.ToString(balancer.LoadBalancerName))
			b.Public = b.Public || balancer.Scheme == elbv2types.LoadBalancerSchemeEnumInternetFacing
		}
		out.Balancers = append(out.Balancers, b)
		return nil
	}
	return nil
}

func (r *Reader) inClassic(ctx context.Context, l elbtypes.LoadBalancerDescription, inst ec2types.Instance, out *triage.Report) error {
	name := aws.ToString(l.LoadBalancerName)
	p, err := r.pools.get("classic "+name, func() (pool, error) {
		states, err := r.elb.States(ctx, name)
		return pool{Pool: serving.ClassicPool(name, states), states: states}, err
	})
	if err != nil {
		return err
	}
	b := triage.Balancer{Kind: "classic", Name: name, Public: aws.ToString(l.Scheme) == "internet-facing"}
	b.Healthy, b.Others = p.Left(inst)
	for _, s := range p.states {
		if aws.ToString(s.InstanceId) == out.ID {
			b.State = aws.ToString(s.State)
		}
	}
	out.Balancers = append(out.Balancers, b)
	return nil
}

func (r *Reader) readBalancers(ctx context.Context) (*balancers, error) {
	all := &balancers{v2: make(map[string]elbv2types.LoadBalancer)}
	groups := elbv2.NewDescribeTargetGroupsPaginator(r.elb.V2, &elbv2.DescribeTargetGroupsInput{})
	for groups.HasMorePages() {
		page, err := groups.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("target groups: %w", err)
		}
		all.groups = append(all.groups, page.TargetGroups...)
	}
	slices.SortFunc(all.groups, func(a, b elbv2types.TargetGroup) int {
		return strings.Compare(aws.ToString(a.TargetGroupName), aws.ToString(b.TargetGroupName))
	})
	v2 := elbv2.NewDescribeLoadBalancersPaginator(r.elb.V2, &elbv2.DescribeLoadBalancersInput{})
	for v2.HasMorePages() {
		page, err := v2.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("load balancers: %w", err)
		}
		for _, l := range page.LoadBalancers {
			all.v2[aws.ToString(l.LoadBalancerArn)] = l
		}
	}
	classic := elb.NewDescribeLoadBalancersPaginator(r.elb.Classic, &elb.DescribeLoadBalancersInput{})
	for classic.HasMorePages() {
		page, err := classic.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("classic load balancers: %w", err)
		}
		all.classic = append(all.classic, page.LoadBalancerDescriptions...)
	}
	return all, nil
}
