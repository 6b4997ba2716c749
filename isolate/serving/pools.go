package serving

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

// Balancers are the two load balancer APIs of one account and Region.
type Balancers struct {
	Classic *elb.Client
	V2      *elbv2.Client
}

// New reaches them through cfg.
func New(cfg aws.Config) Balancers {
	return Balancers{Classic: elb.NewFromConfig(cfg), V2: elbv2.NewFromConfig(cfg)}
}

// Standing is what AWS shows of a registration.
type Standing int

const (
	Absent Standing = iota // not registered, nothing left to drain
	Draining
	Registered
	Gone // there is no such target group or load balancer
)

// Owns reports whether an address is one of the instance's interfaces', in
// this VPC or in another one: private addresses repeat from VPC to VPC, and an
// instance can have interfaces in several.
func Owns(i ec2types.Instance, vpc, address string) (here, elsewhere bool) {
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

// Targets are those of a target group, by its ARN.
func (b Balancers) Targets(ctx context.Context, group string) ([]elbv2types.TargetHealthDescription, error) {
	out, err := b.V2.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: aws.String(group)})
	if err != nil {
		return nil, fmt.Errorf("targets of %s: %w", TargetGroupName(group), err)
	}
	return out.TargetHealthDescriptions, nil
}

// StandingOf reads a target's health: unused is registered too, unless its
// reason says otherwise ("TargetHealth").
func StandingOf(h *elbv2types.TargetHealth) Standing {
	switch {
	case h == nil || h.Reason == elbv2types.TargetHealthReasonEnumNotRegistered:
		return Absent
	case h.State == elbv2types.TargetHealthStateEnumDraining || h.State == elbv2types.TargetHealthStateEnumUnhealthyDraining:
		return Draining
	default:
		return Registered
	}
}

// drainingClassic is how DescribeInstanceHealth describes an instance, still
// shown as InService, whose connections drain ("Configure connection draining
// for your Classic Load Balancer").
const drainingClassic = "deregistration currently in progress"

// States are those of a classic load balancer's instances, by its name.
func (b Balancers) States(ctx context.Context, name string) ([]elbtypes.InstanceState, error) {
	out, err := b.Classic.DescribeInstanceHealth(ctx, &elb.DescribeInstanceHealthInput{LoadBalancerName: aws.String(name)})
	if err != nil {
		return nil, fmt.Errorf("classic load balancer %s: %w", name, err)
	}
	return out.InstanceStates, nil
}

// DrainingClassic reports whether the instance's connections drain.
func DrainingClassic(i elbtypes.InstanceState) bool {
	return strings.Contains(aws.ToString(i.Description), drainingClassic)
}

// Pool are the targets of one load balancer or target group: whether each is healthy.
type Pool struct {
	Where   string          // as a responder reads it
	healthy map[string]bool // by instance ID or address, and port
}

// PoolOf are the registered targets, by DescribeTargetHealth.
func PoolOf(where string, targets []elbv2types.TargetHealthDescription) Pool {
	p := Pool{where, make(map[string]bool)}
	for _, t := range targets {
		if StandingOf(t.TargetHealth) == Registered {
			p.healthy[aws.ToString(t.Target.Id)+"/"+fmt.Sprint(aws.ToInt32(t.Target.Port))] = t.TargetHealth.State == elbv2types.TargetHealthStateEnumHealthy
		}
	}
	return p
}

// ClassicPool are the instances that do not drain, by DescribeInstanceHealth.
func ClassicPool(where string, states []elbtypes.InstanceState) Pool {
	p := Pool{where, make(map[string]bool)}
	for _, i := range states {
		if !DrainingClassic(i) {
			p.healthy[aws.ToString(i.InstanceId)] = aws.ToString(i.State) == "InService"
		}
	}
	return p
}

// Left counts the targets without the instance.
func (p Pool) Left(inst ec2types.Instance) (healthy, others int) {
	for target, up := range p.healthy {
		id, _, _ := strings.Cut(target, "/")
		if here, elsewhere := Owns(inst, aws.ToString(inst.VpcId), id); here || elsewhere || id == aws.ToString(inst.InstanceId) {
			continue
		}
		others++
		if up {
			healthy++
		}
	}
	return healthy, others
}

// Without says how many targets serve without the instance.
func (p Pool) Without(inst ec2types.Instance) string {
	healthy, others := p.Left(inst)
	switch {
	case others == 0:
		return p.Where + " has no other target: what it serves fails until a new one is healthy"
	case healthy == 0:
		return fmt.Sprintf("%s has no other healthy target (of %d): what it serves fails until one is healthy", p.Where, others)
	case healthy == 1:
		return fmt.Sprintf("%s is left with only one healthy target (of %d)", p.Where, others)
	default:
		return fmt.Sprintf("%s is left with %d healthy targets (of %d)", p.Where, healthy, others)
	}
}

// TargetGroupName is the name inside arn:…:targetgroup/NAME/ID.
func TargetGroupName(arn string) string {
	if parts := strings.Split(arn, "/"); len(parts) == 3 {
		return parts[1]
	}
	return arn
}
