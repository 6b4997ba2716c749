package isolate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"pgregory.net/rapid"
)

// world is a scenario's account and an instance in it that looks like anything.
type world struct {
	*site
	draw *rapid.T
	// subnets of one zone: an instance can't have interfaces in two.
	subnets []ec2types.Subnet
	groups  []string // security groups of the VPC
	grouped bool     // the instance is in the Auto Scaling group
	role    string   // of the instance; the scenarios name it like the profile
}

// drawWorld makes the instance by AWS's own calls: interfaces, groups and addresses of
// every sort, registrations under ports of their own, a place in a group of any
// size, a role with company, ACLs with and without room.
func drawWorld(t *rapid.T) *world {
	scenario := rapid.SampledFrom([]string{"web-tier", "reverse-shells"}).Draw(t, "scenario")
	w := &world{site: newSiteOf(t, scenario, rapid.Int64Range(1, 1000).Draw(t, "seed")), draw: t}
	first := w.instance()
	arn := *first.IamInstanceProfile.Arn
	w.role = arn[strings.LastIndexByte(arn, '/')+1:]
	out := must[*ec2.DescribeSubnetsOutput](t)(w.ec2().DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{}))
	for _, s := range out.Subnets {
		if *s.AvailabilityZone == *first.Placement.AvailabilityZone && *s.VpcId == *first.VpcId {
			w.subnets = append(w.subnets, s)
		}
	}
	w.drawGroups(*first.VpcId)
	if !rapid.Bool().Draw(t, "the scenario's own suspect") {
		w.launch(first)
		w.register()
	}
	w.drawAddresses()
	w.drawACLs()
	w.drawGroup()
	w.drawRest()
	// Long enough for an index that lags, an instance that starts and a target that is checked.
	w.wait(10 * time.Minute)
	return w
}

func (w *world) wait(d time.Duration) {
	w.t.Helper()
	if err := w.acct.Clock().Sleep(w.ctx, d); err != nil {
		w.t.Fatalf("%v", err)
	}
}

func (w *world) between(low, high int, what string) int {
	return rapid.IntRange(low, high).Draw(w.draw, what)
}

func (w *world) drawGroups(vpc string) {
	out := must[*ec2.DescribeSecurityGroupsOutput](w.t)(w.ec2().DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}},
	}))
	for _, g := range out.SecurityGroups {
		w.groups = append(w.groups, *g.GroupId)
	}
	for i := range w.between(0, 3, "more groups") {
		g := must[*ec2.CreateSecurityGroupOutput](w.t)(w.ec2().CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{
			GroupName: aws.String(fmt.Sprint("drawn-", i)), Description: aws.String("drawn"), VpcId: &vpc,
		}))
		w.groups = append(w.groups, *g.GroupId)
	}
	slices.Sort(w.groups)
}

// launch replaces the target by an instance with one to three interfaces.
func (w *world) launch(like ec2types.Instance) {
	in := &ec2.RunInstancesInput{
		ImageId: like.ImageId, InstanceType: like.InstanceType, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Arn: like.IamInstanceProfile.Arn},
	}
	interfaces := w.between(1, 3, "interfaces")
	for i := range interfaces {
		s := w.subnets[w.between(0, len(w.subnets)-1, "subnet")]
		n := ec2types.InstanceNetworkInterfaceSpecification{
			DeviceIndex: aws.Int32(int32(i)), SubnetId: s.SubnetId, Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(w.groups), 1, 5, rapid.ID).Draw(w.draw, "groups"),
		}
		if open := *like.SecurityGroups[0].GroupId; i == 0 && !slices.Contains(n.Groups, open) {
			n.Groups[0] = open // what the health checks come in by
		}
		if len(s.Ipv6CidrBlockAssociationSet) > 0 {
			n.Ipv6AddressCount = aws.Int32(int32(w.between(0, 2, "IPv6 addresses")))
		}
		if interfaces == 1 {
			n.AssociatePublicIpAddress = aws.Bool(rapid.Bool().Draw(w.draw, "automatic address"))
		}
		if rapid.Bool().Draw(w.draw, "timeouts of its own") {
			n.ConnectionTrackingSpecification = &ec2types.ConnectionTrackingSpecificationRequest{TcpEstablishedTimeout: aws.Int32(int32(w.between(60, 432000, "timeout")))}
		}
		in.NetworkInterfaces = append(in.NetworkInterfaces, n)
	}
	out := must[*ec2.RunInstancesOutput](w.t)(w.ec2().RunInstances(w.ctx, in))
	w.target.Instance = *out.Instances[0].InstanceId
	w.wait(2 * time.Minute) // until it runs
}

// register puts the instance behind target groups, under any ports.
func (w *world) register() {
	client := elb.NewFromConfig(w.cfg)
	out := must[*elb.DescribeTargetGroupsOutput](w.t)(client.DescribeTargetGroups(w.ctx, &elb.DescribeTargetGroupsInput{}))
	for _, g := range out.TargetGroups {
		for _, port := range rapid.SliceOfNDistinct(rapid.SampledFrom([]int32{0, 80, 8080, 9000}), 0, 3, rapid.ID).Draw(w.draw, "ports") {
			d := elbtypes.TargetDescription{Id: aws.String(w.target.Instance)}
			if port != 0 {
				d.Port = aws.Int32(port)
			}
			must[*elb.RegisterTargetsOutput](w.t)(client.RegisterTargets(w.ctx, &elb.RegisterTargetsInput{TargetGroupArn: g.TargetGroupArn, Targets: []elbtypes.TargetDescription{d}}))
		}
	}
}

// drawAddresses may put an Elastic IP on each interface, also where AWS gave an address.
func (w *world) drawAddresses() {
	for _, n := range w.instance().NetworkInterfaces {
		if !rapid.Bool().Draw(w.draw, "Elastic IP") {
			continue
		}
		if n.Association != nil && *n.Association.IpOwnerId != "amazon" {
			continue
		}
		a := must[*ec2.AllocateAddressOutput](w.t)(w.ec2().AllocateAddress(w.ctx, &ec2.AllocateAddressInput{}))
		must[*ec2.AssociateAddressOutput](w.t)(w.ec2().AssociateAddress(w.ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, NetworkInterfaceId: n.NetworkInterfaceId}))
	}
}

// drawACLs fills some ACLs, up to the last entry, with denials of others.
func (w *world) drawACLs() {
	out := must[*ec2.DescribeNetworkAclsOutput](w.t)(w.ec2().DescribeNetworkAcls(w.ctx, &ec2.DescribeNetworkAclsInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{*w.subnets[0].VpcId}}},
	}))
	for _, a := range out.NetworkAcls {
		if w.between(0, 3, "entries in this ACL") > 0 {
			continue
		}
		room := 20
		for _, e := range a.Entries {
			if !*e.Egress && e.CidrBlock != nil {
				room--
			}
		}
		start := int32(w.between(1, 60, "numbers from"))
		for i := range int32(w.between(0, room, "entries")) {
			for _, egress := range []bool{false, true} {
				must[*ec2.CreateNetworkAclEntryOutput](w.t)(w.ec2().CreateNetworkAclEntry(w.ctx, &ec2.CreateNetworkAclEntryInput{
					NetworkAclId: a.NetworkAclId, RuleNumber: aws.Int32(start + i), Egress: aws.Bool(egress), Protocol: aws.String("-1"),
					RuleAction: ec2types.RuleActionDeny, CidrBlock: aws.String(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String() + "/32"),
				}))
			}
		}
	}
}

// drawGroup puts the instance into the Auto Scaling group, where there is one, and
// gives that any size that holds its members.
func (w *world) drawGroup() {
	m, err := membership(w.ctx, w.autoscaling(), w.target.Instance)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	out := must[*autoscaling.DescribeAutoScalingGroupsOutput](w.t)(w.autoscaling().DescribeAutoScalingGroups(w.ctx, &autoscaling.DescribeAutoScalingGroupsInput{}))
	if w.grouped = m != nil; len(out.AutoScalingGroups) == 0 {
		return
	}
	g := out.AutoScalingGroups[0]
	desired := *g.DesiredCapacity
	if !w.grouped && rapid.Bool().Draw(w.draw, "in the group") {
		must[*autoscaling.UpdateAutoScalingGroupOutput](w.t)(w.autoscaling().UpdateAutoScalingGroup(w.ctx, &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: g.AutoScalingGroupName, MaxSize: aws.Int32(desired + 1),
		}))
		must[*autoscaling.AttachInstancesOutput](w.t)(w.autoscaling().AttachInstances(w.ctx, &autoscaling.AttachInstancesInput{
			AutoScalingGroupName: g.AutoScalingGroupName, InstanceIds: []string{w.target.Instance},
		}))
		w.grouped, desired = true, desired+1
		w.wait(5 * time.Minute) // until it is in service
	}
	// One above: the release of a replaced instance needs it.
	must[*autoscaling.UpdateAutoScalingGroupOutput](w.t)(w.autoscaling().UpdateAutoScalingGroup(w.ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: g.AutoScalingGroupName, MinSize: aws.Int32(int32(w.between(0, int(desired), "minimum"))), MaxSize: aws.Int32(desired + 1),
	}))
	if w.grouped {
		must[*autoscaling.SetInstanceProtectionOutput](w.t)(w.autoscaling().SetInstanceProtection(w.ctx, &autoscaling.SetInstanceProtectionInput{
			AutoScalingGroupName: g.AutoScalingGroupName, InstanceIds: []string{w.target.Instance}, ProtectedFromScaleIn: aws.Bool(rapid.Bool().Draw(w.draw, "scale-in protection")),
		}))
	}
}

// drawRest: what else a release could forget.
func (w *world) drawRest() {
	for _, attribute := range []*ec2.ModifyInstanceAttributeInput{
		{DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(rapid.Bool().Draw(w.draw, "termination protection"))}},
		{InstanceInitiatedShutdownBehavior: &ec2types.AttributeValue{Value: aws.String(rapid.SampledFrom([]string{"stop", "terminate"}).Draw(w.draw, "shutdown"))}},
	} {
		attribute.InstanceId = aws.String(w.target.Instance)
		must[*ec2.ModifyInstanceAttributeOutput](w.t)(w.ec2().ModifyInstanceAttribute(w.ctx, attribute))
	}
	if n := w.between(0, 6000, "characters of another policy"); n > 500 {
		sid := strings.Repeat("x", n)
		must[*iam.PutRolePolicyOutput](w.t)(w.iam().PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{
			RoleName: aws.String(w.role), PolicyName: aws.String("drawn"), PolicyDocument: aws.String(
				`{"Version":"2012-10-17","Statement":[{"Sid":"` + sid + `","Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`),
		}))
	}
}
