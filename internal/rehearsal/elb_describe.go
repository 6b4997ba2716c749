package rehearsal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// loadBalancers are those of the call's Region.
func (c *call) loadBalancers() []*loadBalancer {
	if c.region != c.Region {
		return nil
	}
	return c.ELB.LoadBalancers
}

func (c *call) loadBalancer(arn *string) (*loadBalancer, error) {
	for _, b := range c.loadBalancers() {
		if b.ARN == aws.ToString(arn) {
			return b, nil
		}
	}
	return nil, &types.LoadBalancerNotFoundException{Message: aws.String(fmt.Sprintf("Load balancers '[%s]' not found", aws.ToString(arn)))}
}

func (b *loadBalancer) aws(c *call) types.LoadBalancer {
	out := types.LoadBalancer{
		LoadBalancerName: &b.Name, LoadBalancerArn: &b.ARN, VpcId: &b.VPC, CreatedTime: &b.Created,
		Scheme: types.LoadBalancerSchemeEnumInternetFacing, Type: types.LoadBalancerTypeEnumApplication,
		IpAddressType: types.IpAddressTypeIpv4, SecurityGroups: b.Groups,
		DNSName: aws.String(fmt.Sprintf("%s.%s.elb.amazonaws.com", b.Name, c.Region)),
		State:   &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive},
	}
	for _, zone := range sortedKeys(b.Subnets) {
		out.AvailabilityZones = append(out.AvailabilityZones, types.AvailabilityZone{ZoneName: aws.String(zone), SubnetId: aws.String(b.Subnets[zone])})
	}
	return out
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeLoadBalancers.html
func elbDescribeLoadBalancers(c *call, in *elb.DescribeLoadBalancersInput) (*elb.DescribeLoadBalancersOutput, error) {
	out := &elb.DescribeLoadBalancersOutput{LoadBalancers: []types.LoadBalancer{}}
	for _, b := range c.loadBalancers() {
		if len(in.LoadBalancerArns)+len(in.Names) == 0 || slices.Contains(in.LoadBalancerArns, b.ARN) || slices.Contains(in.Names, b.Name) {
			out.LoadBalancers = append(out.LoadBalancers, b.aws(c))
		}
	}
	if len(out.LoadBalancers) < len(in.LoadBalancerArns)+len(in.Names) {
		return nil, &types.LoadBalancerNotFoundException{Message: aws.String("One or more load balancers not found")}
	}
	return out, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeLoadBalancerAttributes.html
func elbDescribeLoadBalancerAttributes(c *call, in *elb.DescribeLoadBalancerAttributesInput) (*elb.DescribeLoadBalancerAttributesOutput, error) {
	if _, err := c.loadBalancer(in.LoadBalancerArn); err != nil {
		return nil, err
	}
	return &elb.DescribeLoadBalancerAttributesOutput{Attributes: []types.LoadBalancerAttribute{
		{Key: aws.String("deletion_protection.enabled"), Value: aws.String("false")},
		{Key: aws.String("idle_timeout.timeout_seconds"), Value: aws.String("60")},
	}}, nil
}

func forwardTo(group string) []types.Action {
	return []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}}
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeListeners.html
func elbDescribeListeners(c *call, in *elb.DescribeListenersInput) (*elb.DescribeListenersOutput, error) {
	if in.LoadBalancerArn == nil && len(in.ListenerArns) == 0 {
		return nil, apiError("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
	}
	balancers := c.loadBalancers()
	if in.LoadBalancerArn != nil {
		b, err := c.loadBalancer(in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		balancers = []*loadBalancer{b}
	}
	out := &elb.DescribeListenersOutput{Listeners: []types.Listener{}}
	for _, b := range balancers {
		for _, l := range b.Listeners {
			if len(in.ListenerArns) == 0 || slices.Contains(in.ListenerArns, l.ARN) {
				out.Listeners = append(out.Listeners, types.Listener{
					ListenerArn: &l.ARN, LoadBalancerArn: &b.ARN, Port: &l.Port, Protocol: types.ProtocolEnum(l.Protocol), DefaultActions: forwardTo(l.Group),
				})
			}
		}
	}
	if len(out.Listeners) < len(in.ListenerArns) {
		return nil, &types.ListenerNotFoundException{Message: aws.String("One or more listeners not found")}
	}
	return out, nil
}

// A target group can be in use by a rule alone, which DescribeListeners does
// not show.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeRules.html
func elbDescribeRules(c *call, in *elb.DescribeRulesInput) (*elb.DescribeRulesOutput, error) {
	out := &elb.DescribeRulesOutput{Rules: []types.Rule{}}
	found := false
	for _, b := range c.loadBalancers() {
		for _, l := range b.Listeners {
			if in.ListenerArn != nil && l.ARN != *in.ListenerArn {
				continue
			}
			found = true
			for _, r := range l.Rules {
				if len(in.RuleArns) == 0 || slices.Contains(in.RuleArns, r.ARN) {
					out.Rules = append(out.Rules, types.Rule{
						RuleArn: &r.ARN, Priority: aws.String(strconv.Itoa(r.Priority)), IsDefault: aws.Bool(false), Actions: forwardTo(r.Group),
						Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{r.Path}}},
					})
				}
			}
			if len(in.RuleArns) == 0 {
				out.Rules = append(out.Rules, types.Rule{
					RuleArn:  aws.String(strings.Replace(l.ARN, ":listener/", ":listener-rule/", 1) + "/0000000000000000"),
					Priority: aws.String("default"), IsDefault: aws.Bool(true), Actions: forwardTo(l.Group),
				})
			}
		}
	}
	if !found || len(out.Rules) < len(in.RuleArns) {
		return nil, &types.ListenerNotFoundException{Message: aws.String("One or more listeners or rules not found")}
	}
	return out, nil
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
func elbDescribeTags(c *call, in *elb.DescribeTagsInput) (*elb.DescribeTagsOutput, error) {
	out := &elb.DescribeTagsOutput{}
	for _, arn := range in.ResourceArns {
		tags, err := c.elbTags(arn)
		if err != nil {
			return nil, err
		}
		d := types.TagDescription{ResourceArn: &arn}
		for _, k := range sortedKeys(tags) {
			d.Tags = append(d.Tags, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
		}
		out.TagDescriptions = append(out.TagDescriptions, d)
	}
	return out, nil
}

// elbTags are those of a load balancer or a target group. Which of them an ARN means is in the
// ARN, and so in the error.
func (c *call) elbTags(arn string) (map[string]string, error) {
	if strings.Contains(arn, ":loadbalancer/") {
		b, err := c.loadBalancer(&arn)
		if err != nil {
			return nil, err
		}
		return b.Tags, nil
	}
	g, err := c.targetGroup(&arn)
	if err != nil {
		return nil, err
	}
	return g.Tags, nil
}
