package rehearsal

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

type balancers struct {
	*shop
	elb     *elb.Client
	classic *classic.Client
}

func newBalancers(t *testing.T) balancers {
	s := newShop(t)
	cfg := s.Config("eu-central-1")
	return balancers{s, elb.NewFromConfig(cfg), classic.NewFromConfig(cfg)}
}

// targetGroup is the ARN of a target group.
func (b balancers) targetGroup(name string) *string {
	b.t.Helper()
	out, err := b.elb.DescribeTargetGroups(b.ctx, &elb.DescribeTargetGroupsInput{Names: []string{name}})
	b.must(err)
	return out.TargetGroups[0].TargetGroupArn
}

// health is the suspect's in a target group under a port; empty where it is not registered.
func (b balancers) health(group string, port int32) types.TargetHealthStateEnum {
	b.t.Helper()
	out, err := b.elb.DescribeTargetHealth(b.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: b.targetGroup(group)})
	b.must(err)
	for _, d := range out.TargetHealthDescriptions {
		if *d.Target.Id == b.suspect && *d.Target.Port == port {
			return d.TargetHealth.State
		}
	}
	return ""
}

func (b balancers) deregister(group string, port *int32) {
	b.t.Helper()
	_, err := b.elb.DeregisterTargets(b.ctx, &elb.DeregisterTargetsInput{
		TargetGroupArn: b.targetGroup(group), Targets: []types.TargetDescription{{Id: &b.suspect, Port: port}},
	})
	b.must(err)
}

func TestAPortOverrideMustBeNamedToDeregister(t *testing.T) {
	b := newBalancers(t)
	b.deregister("web-admin", nil) // succeeds, and does nothing
	if got := b.health("web-admin", 8080); got != types.TargetHealthStateEnumHealthy {
		t.Errorf("without the port: %s", got)
	}
	b.deregister("web-admin", aws.Int32(8080))
	if got := b.health("web-admin", 8080); got != types.TargetHealthStateEnumDraining {
		t.Errorf("with the port: %s", got)
	}
}

func TestADeregisteredTargetDrainsForTheDelayAndIsGone(t *testing.T) {
	b := newBalancers(t)
	_, err := b.elb.ModifyTargetGroupAttributes(b.ctx, &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: b.targetGroup("web-admin"), Attributes: []types.TargetGroupAttribute{{Key: aws.String(delayAttribute), Value: aws.String("120")}},
	})
	b.must(err)
	b.deregister("web-admin", aws.Int32(8080))
	b.wait(100 * time.Second)
	if got := b.health("web-admin", 8080); got != types.TargetHealthStateEnumDraining {
		t.Errorf("after 100 s: %q", got)
	}
	b.wait(30 * time.Second)
	if got := b.health("web-admin", 8080); got != "" {
		t.Errorf("after 130 s: %q", got)
	}
	asked, err := b.elb.DescribeTargetHealth(b.ctx, &elb.DescribeTargetHealthInput{
		TargetGroupArn: b.targetGroup("web-admin"), Targets: []types.TargetDescription{{Id: &b.suspect, Port: aws.Int32(8080)}},
	})
	b.must(err)
	if h := asked.TargetHealthDescriptions[0].TargetHealth; h.State != types.TargetHealthStateEnumUnused || h.Reason != types.TargetHealthReasonEnumNotRegistered {
		t.Errorf("asked for by name it is %s, %s", h.State, h.Reason)
	}
}

func TestARegisteredTargetIsHealthyOnlyAfterItsChecks(t *testing.T) {
	b := newBalancers(t)
	register := func() {
		_, err := b.elb.RegisterTargets(b.ctx, &elb.RegisterTargetsInput{
			TargetGroupArn: b.targetGroup("web-admin"), Targets: []types.TargetDescription{{Id: &b.suspect, Port: aws.Int32(8443)}},
		})
		b.must(err)
	}
	register()
	register() // twice is once
	if got := b.health("web-admin", 8443); got != types.TargetHealthStateEnumInitial {
		t.Errorf("at once: %s", got)
	}
	b.wait(time.Minute)
	if got := b.health("web-admin", 8443); got != types.TargetHealthStateEnumHealthy {
		t.Errorf("after a minute: %s", got)
	}
	if got := b.health("web-admin", 8080); got != types.TargetHealthStateEnumHealthy {
		t.Errorf("the other port: %s", got)
	}
}

func TestDetachingLeavesARegistrationTheGroupDoesNotKnow(t *testing.T) {
	b := newBalancers(t)
	b.must(b.detach(false))
	if got := b.health("web", 80); got != types.TargetHealthStateEnumDraining {
		t.Errorf("the group's own: %s", got)
	}
	b.wait(time.Minute)
	if got := b.health("web", 80); got != "" {
		t.Errorf("the group's own, drained: %s", got)
	}
	if got := b.health("web-admin", 8080); got != types.TargetHealthStateEnumHealthy {
		t.Errorf("the one made by hand: %s", got)
	}
}

func TestWhatIsNotRunningOrUnknownCannotBeRegistered(t *testing.T) {
	b := newBalancers(t)
	_, err := b.elb.RegisterTargets(b.ctx, &elb.RegisterTargetsInput{
		TargetGroupArn: b.targetGroup("web"), Targets: []types.TargetDescription{{Id: aws.String("i-00000000000000000")}},
	})
	b.refused(err, "InvalidTarget", "not in a running state")
	_, err = b.elb.DescribeTargetHealth(b.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String("arn:aws:none")})
	b.refused(err, "TargetGroupNotFound", "not found")
}

func TestADrainingInstanceOfAClassicBalancerShowsAsInService(t *testing.T) {
	b := newBalancers(t)
	name, suspect := aws.String("web-internal"), []classictypes.Instance{{InstanceId: &b.suspect}}
	health := func() classictypes.InstanceState {
		out, err := b.classic.DescribeInstanceHealth(b.ctx, &classic.DescribeInstanceHealthInput{LoadBalancerName: name, Instances: suspect})
		b.must(err)
		return out.InstanceStates[0]
	}
	if got := health(); *got.State != "InService" || *got.Description != "N/A" {
		t.Fatalf("before: %s, %s", *got.State, *got.Description)
	}
	out, err := b.classic.DeregisterInstancesFromLoadBalancer(b.ctx, &classic.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: name, Instances: suspect})
	b.must(err)
	if len(out.Instances) != 2 {
		t.Errorf("%d remain of 3", len(out.Instances))
	}
	if got := health(); *got.State != "InService" || *got.Description != "Instance deregistration currently in progress." {
		t.Errorf("draining: %s, %s", *got.State, *got.Description)
	}
	b.wait(time.Minute)
	if got := health(); *got.State != "OutOfService" {
		t.Errorf("drained: %s, %s", *got.State, *got.Description)
	}
	_, err = b.classic.DescribeInstanceHealth(b.ctx, &classic.DescribeInstanceHealthInput{LoadBalancerName: aws.String("none")})
	b.refused(err, "LoadBalancerNotFound", "none")
}

func TestAnAddressIsATargetToo(t *testing.T) {
	b := newBalancers(t)
	var arn, address string
	b.must(b.with(func(w *world) bool {
		web := *w.ELB.TargetGroups[0]
		web.Name, web.ARN, web.Type, web.Targets = "metrics", w.elbARN("targetgroup/metrics"), "ip", nil
		w.ELB.TargetGroups = append(w.ELB.TargetGroups, &web)
		w.ELB.LoadBalancers[0].Listeners[0].Rules[0].Group = web.ARN
		arn, address = web.ARN, w.EC2.interfacesOf(b.suspect)[1].IPs[0]
		return true
	}))
	register := func(id string) error {
		_, err := b.elb.RegisterTargets(b.ctx, &elb.RegisterTargetsInput{TargetGroupArn: &arn, Targets: []types.TargetDescription{{Id: &id}}})
		return err
	}
	b.must(register(address))
	b.refused(register("10.99.0.1"), "InvalidTarget", "not within the VPC")
	b.refused(register(b.suspect), "ValidationError", "not a valid")
	state := func() types.TargetHealthStateEnum {
		out, err := b.elb.DescribeTargetHealth(b.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &arn})
		b.must(err)
		return out.TargetHealthDescriptions[0].TargetHealth.State
	}
	b.wait(time.Minute)
	if got := state(); got != types.TargetHealthStateEnumHealthy {
		t.Errorf("reachable, and %s", got)
	}
	b.must(b.detach(false))
	b.wait(time.Minute)
	b.cut()
	b.wait(time.Minute)
	if got := state(); got != types.TargetHealthStateEnumUnhealthy {
		t.Errorf("cut off, and %s", got)
	}
}

func TestAnotherRegionHasNoneOfIt(t *testing.T) {
	b := newBalancers(t)
	arn := b.targetGroup("web")
	far := elb.NewFromConfig(b.Config("eu-west-1"))
	found, err := far.DescribeLoadBalancers(b.ctx, &elb.DescribeLoadBalancersInput{})
	b.must(err)
	groups, err := far.DescribeTargetGroups(b.ctx, &elb.DescribeTargetGroupsInput{})
	b.must(err)
	if len(found.LoadBalancers)+len(groups.TargetGroups) > 0 {
		t.Errorf("%d load balancers and %d target groups", len(found.LoadBalancers), len(groups.TargetGroups))
	}
	_, err = far.DescribeTargetHealth(b.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: arn})
	b.refused(err, "TargetGroupNotFound", "not found")
}
