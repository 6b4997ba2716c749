package serving

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

var self = ec2types.Instance{InstanceId: aws.String("i-1"), VpcId: aws.String("vpc-1"), NetworkInterfaces: []ec2types.InstanceNetworkInterface{{
	VpcId:              aws.String("vpc-1"),
	PrivateIpAddresses: []ec2types.InstancePrivateIpAddress{{PrivateIpAddress: aws.String("10.0.0.5")}},
	Ipv6Addresses:      []ec2types.InstanceIpv6Address{{Ipv6Address: aws.String("2001:db8::5")}},
}}}

func target(id string, port int32, state elbv2types.TargetHealthStateEnum, reason elbv2types.TargetHealthReasonEnum) elbv2types.TargetHealthDescription {
	return elbv2types.TargetHealthDescription{
		Target: &elbv2types.TargetDescription{Id: &id, Port: &port}, TargetHealth: &elbv2types.TargetHealth{State: state, Reason: reason},
	}
}

func TestWhoIsLeftWithoutTheInstance(t *testing.T) {
	const healthy, sick, drains, unused = elbv2types.TargetHealthStateEnumHealthy, elbv2types.TargetHealthStateEnumUnhealthy,
		elbv2types.TargetHealthStateEnumDraining, elbv2types.TargetHealthStateEnumUnused
	for name, c := range map[string]struct {
		targets         []elbv2types.TargetHealthDescription
		healthy, others int
		says            string
	}{
		"alone, on two ports": {
			[]elbv2types.TargetHealthDescription{target("i-1", 80, healthy, ""), target("i-1", 81, healthy, "")}, 0, 0,
			"pool has no other target: what it serves fails until a new one is healthy",
		},
		"by its addresses, however they are written": {
			[]elbv2types.TargetHealthDescription{target("10.0.0.5", 80, healthy, ""), target("2001:DB8:0::5", 80, healthy, ""), target("10.0.0.6", 80, healthy, "")}, 1, 1,
			"pool is left with only one healthy target (of 1)",
		},
		"others that are sick": {
			[]elbv2types.TargetHealthDescription{target("i-1", 80, healthy, ""), target("i-2", 80, sick, ""), target("i-3", 80, sick, "")}, 0, 2,
			"pool has no other healthy target (of 2): what it serves fails until one is healthy",
		},
		"who drains serves nobody": {
			[]elbv2types.TargetHealthDescription{target("i-2", 80, drains, ""), target("i-3", 80, healthy, ""), target("i-4", 80, healthy, ""),
				target("i-5", 80, unused, elbv2types.TargetHealthReasonEnumNotRegistered)}, 2, 2,
			"pool is left with 2 healthy targets (of 2)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := PoolOf("pool", c.targets)
			if up, others := p.Left(self); up != c.healthy || others != c.others {
				t.Errorf("%d of %d left, want %d of %d", up, others, c.healthy, c.others)
			}
			if got := p.Without(self); got != c.says {
				t.Errorf("says %q, want %q", got, c.says)
			}
		})
	}
}

func TestAClassicPoolLeavesOutWhoDrains(t *testing.T) {
	state := func(id, state, says string) elbtypes.InstanceState {
		return elbtypes.InstanceState{InstanceId: &id, State: &state, Description: &says}
	}
	p := ClassicPool("classic", []elbtypes.InstanceState{
		state("i-1", "InService", "N/A"), state("i-2", "InService", "Instance deregistration currently in progress."),
		state("i-3", "OutOfService", "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."), state("i-4", "InService", "N/A"),
	})
	if up, others := p.Left(self); up != 1 || others != 2 {
		t.Errorf("%d of %d left, want 1 of 2", up, others)
	}
}
