package isolate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// canned is a configuration whose operations answer from a list: for what the
// simulated account's scenario does not have.
func canned(answer func(in any) any) aws.Config {
	return aws.Config{
		Region: "eu-central-1", Credentials: aws.AnonymousCredentials{},
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Canned",
				func(ctx context.Context, in middleware.InitializeInput, _ middleware.InitializeHandler) (out middleware.InitializeOutput, meta middleware.Metadata, err error) {
					if out.Result = answer(in.Parameters); out.Result == nil {
						panic("no answer for " + awsmiddleware.GetOperationName(ctx))
					}
					return out, meta, nil
				}), middleware.After)
		}},
	}
}

func health(id string, port int32, state elbv2types.TargetHealthStateEnum, reason elbv2types.TargetHealthReasonEnum) elbv2types.TargetHealthDescription {
	return elbv2types.TargetHealthDescription{
		Target:       &elbv2types.TargetDescription{Id: &id, Port: &port},
		TargetHealth: &elbv2types.TargetHealth{State: state, Reason: reason},
	}
}

func groupARN(name string) string {
	return "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/" + name + "/1"
}

func TestEveryTargetOfTheInstanceIsFound(t *testing.T) {
	const registered, drains, unused = elbv2types.TargetHealthStateEnumHealthy, elbv2types.TargetHealthStateEnumDraining, elbv2types.TargetHealthStateEnumUnused
	targets := map[string][]elbv2types.TargetHealthDescription{
		"instances": {health("i-1", 80, registered, ""), health("i-1", 8080, registered, ""), health("i-2", 80, registered, "")},
		"addresses": {health("10.0.0.5", 80, registered, ""), health("10.0.0.6", 80, registered, ""), health("10.0.0.9", 80, registered, "")},
		"ipv6":      {health("2001:DB8:0::5", 443, registered, "")},
		"idle":      {health("i-1", 80, unused, elbv2types.TargetHealthReasonEnumNotInUse)},
		"leaving":   {health("i-1", 80, drains, ""), health("i-1", 81, elbv2types.TargetHealthStateEnumUnhealthyDraining, ""), health("i-1", 82, unused, elbv2types.TargetHealthReasonEnumNotRegistered)},
		"elsewhere": {health("10.0.0.5", 80, registered, "")},
		"second":    {health("10.1.0.5", 80, registered, "")},
	}
	group := func(name, kind, vpc string) elbv2types.TargetGroup {
		return elbv2types.TargetGroup{TargetGroupArn: aws.String(groupARN(name)), TargetType: elbv2types.TargetTypeEnum(kind), VpcId: &vpc}
	}
	cfg := canned(func(in any) any {
		switch in := in.(type) {
		case *elbv2.DescribeTargetGroupsInput:
			if in.Marker == nil {
				return &elbv2.DescribeTargetGroupsOutput{NextMarker: aws.String("more"), TargetGroups: []elbv2types.TargetGroup{
					group("instances", "instance", "vpc-1"), group("addresses", "ip", "vpc-1"), group("idle", "instance", "vpc-1"), group("a-function", "lambda", ""),
				}}
			}
			return &elbv2.DescribeTargetGroupsOutput{TargetGroups: []elbv2types.TargetGroup{
				group("ipv6", "ip", "vpc-1"), group("leaving", "instance", "vpc-1"), group("elsewhere", "ip", "vpc-9"), group("second", "ip", "vpc-2"),
			}}
		case *elbv2.DescribeTargetHealthInput:
			return &elbv2.DescribeTargetHealthOutput{TargetHealthDescriptions: targets[serving.TargetGroupName(*in.TargetGroupArn)]}
		case *elb.DescribeLoadBalancersInput:
			return &elb.DescribeLoadBalancersOutput{}
		}
		return nil
	})
	private := func(ip string) ec2types.InstancePrivateIpAddress {
		return ec2types.InstancePrivateIpAddress{PrivateIpAddress: &ip}
	}
	inst := ec2types.Instance{InstanceId: aws.String("i-1"), VpcId: aws.String("vpc-1"), NetworkInterfaces: []ec2types.InstanceNetworkInterface{
		{VpcId: aws.String("vpc-1"), PrivateIpAddresses: []ec2types.InstancePrivateIpAddress{private("10.0.0.5"), private("10.0.0.6")},
			Ipv6Addresses: []ec2types.InstanceIpv6Address{{Ipv6Address: aws.String("2001:db8::5")}}},
		{VpcId: aws.String("vpc-2"), PrivateIpAddresses: []ec2types.InstancePrivateIpAddress{private("10.1.0.5")}},
	}}
	f, err := newBalancers(cfg).find(context.Background(), inst)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range f.registered {
		got = append(got, r.String())
	}
	slices.Sort(got)
	want := []string{
		"10.0.0.5 port 80 with target group addresses", "10.0.0.6 port 80 with target group addresses", "10.1.0.5 port 80 with target group second",
		"2001:DB8:0::5 port 443 with target group ipv6", "i-1 port 80 with target group idle",
		"i-1 port 80 with target group instances", "i-1 port 8080 with target group instances",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(f.notes) != 1 || !strings.Contains(f.notes[0], "target group elsewhere") {
		t.Errorf("notes %q: the same address in another VPC has to be named and left alone", f.notes)
	}
}

func TestAnAddressThatMovedToAnotherHostIsDrift(t *testing.T) {
	b := &balanced{inst: ec2types.Instance{InstanceId: aws.String("i-1"), NetworkInterfaces: []ec2types.InstanceNetworkInterface{
		{VpcId: aws.String("vpc-1"), PrivateIpAddresses: []ec2types.InstancePrivateIpAddress{{PrivateIpAddress: aws.String("10.0.0.5")}}},
	}}}
	for target, want := range map[string]bool{"i-1": true, "10.0.0.5": true, "10.0.0.6": false} {
		if got := b.ours(registration{Target: target}); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}

func TestWhatAnInstanceCanNotHaveIsNotAskedFor(t *testing.T) {
	inst := ec2types.Instance{
		InstanceId: aws.String("i-1"), State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning},
		InstanceLifecycle: ec2types.InstanceLifecycleTypeSpot, RootDeviceType: ec2types.DeviceTypeInstanceStore,
	}
	cfg := canned(func(in any) any {
		switch in.(type) {
		case *ec2.DescribeInstancesInput:
			return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{inst}}}}
		case *autoscaling.DescribeAutoScalingInstancesInput:
			return &autoscaling.DescribeAutoScalingInstancesOutput{}
		case *ec2.DescribeImagesInput:
			return &ec2.DescribeImagesOutput{Images: []ec2types.Image{{OwnerId: aws.String("137112412989")}}}
		}
		return nil // DescribeInstanceAttribute among them
	})
	a := &protect{func(context.Context, incident.Target) (aws.Config, error) { return cfg, nil }}
	p, err := a.Plan(context.Background(), incident.Request{Target: incident.Target{Instance: "i-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(p.Notes, "\n"); len(p.Changes) != 0 || !strings.Contains(notes, "Spot") || !strings.Contains(notes, "instance store") || !strings.Contains(notes, "belongs to account 137112412989") {
		t.Errorf("changes %v, notes %q", p.Changes, p.Notes)
	}
}
