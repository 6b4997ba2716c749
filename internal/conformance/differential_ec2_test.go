package conformance

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func ec2Scenarios() []scenario {
	return []scenario{
		{"networks", networks},
		{"network ACLs", networkACLs},
		{"routes", routes},
		{"transit gateways", transitGateways},
		{"peerings", peerings},
		{"VPN and egress-only gateways", otherGateways},
		{"security groups", securityGroups},
		{"security group rules", securityGroupRules},
		{"instances", instances},
		{"what an instance stands on", instanceInUse},
		{"instance attributes", instanceAttributes},
		{"interfaces", interfaces},
		{"addresses", addresses},
		{"instance profiles of instances", profileAssociations},
		{"tags", tags},
		{"another Region", anotherRegion},
	}
}

// absent are IDs that fit their kind and belong to nothing.
const (
	absentInstance = "i-0aaaaaaaaaaaaaaaa"
	absentGroup    = "sg-0aaaaaaaaaaaaaaaa"
	absentVPC      = "vpc-0aaaaaaaaaaaaaaaa"
	absentSubnet   = "subnet-0aaaaaaaaaaaaaaaa"
	absentVolume   = "vol-0aaaaaaaaaaaaaaaa"
	absentSnapshot = "snap-0aaaaaaaaaaaaaaaa"
	absentImage    = "ami-0aaaaaaaaaaaaaaaa"
	absentENI      = "eni-0aaaaaaaaaaaaaaaa"
	absentACL      = "acl-0aaaaaaaaaaaaaaaa"
)

// network is a VPC with a subnet in the first zone.
func network(l *lane) (vpc, subnet string) {
	vpc = l.call("vpc", must(l, l.ec2.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.99.0.0/16")}).Vpc.VpcId)
	subnet = l.call("subnet", must(l, l.ec2.CreateSubnet, &ec2.CreateSubnetInput{
		VpcId: &vpc, CidrBlock: aws.String("10.99.1.0/24"), AvailabilityZone: aws.String(region + "a"),
	}).Subnet.SubnetId)
	return vpc, subnet
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func networks(l *lane) {
	vpc, subnet := network(l)
	do(l, l.ec2.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.99.0.0/8")})
	do(l, l.ec2.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("not a block")})
	do(l, l.ec2.CreateSubnet, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.99.1.128/25")})
	do(l, l.ec2.CreateSubnet, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.98.0.0/24")})
	do(l, l.ec2.CreateSubnet, &ec2.CreateSubnetInput{VpcId: aws.String(absentVPC), CidrBlock: aws.String("10.99.2.0/24")})
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{VpcIds: []string{vpc}})
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{VpcIds: []string{absentVPC}})
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-?"}})
	do(l, l.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	do(l, l.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: []string{absentSubnet}})
	do(l, l.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: filter("vpc-id", vpc)})
	do(l, l.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: filter("vpc", vpc)})
	do(l, l.ec2.DescribeVpcAttribute, &ec2.DescribeVpcAttributeInput{VpcId: &vpc, Attribute: types.VpcAttributeNameEnableDnsHostnames})
	do(l, l.ec2.ModifyVpcAttribute, &ec2.ModifyVpcAttributeInput{VpcId: &vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	do(l, l.ec2.DescribeVpcAttribute, &ec2.DescribeVpcAttributeInput{VpcId: &vpc, Attribute: types.VpcAttributeNameEnableDnsHostnames})
	do(l, l.ec2.ModifySubnetAttribute, &ec2.ModifySubnetAttributeInput{SubnetId: &subnet, MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	do(l, l.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	do(l, l.ec2.DeleteVpc, &ec2.DeleteVpcInput{VpcId: &vpc})
	do(l, l.ec2.DeleteSubnet, &ec2.DeleteSubnetInput{SubnetId: &subnet})
	do(l, l.ec2.DeleteSubnet, &ec2.DeleteSubnetInput{SubnetId: &subnet})
	do(l, l.ec2.DeleteVpc, &ec2.DeleteVpcInput{VpcId: &vpc})
	do(l, l.ec2.DeleteVpc, &ec2.DeleteVpcInput{VpcId: &vpc})
}

func aclEntry(acl string, number int32, egress bool, cidr string) *ec2.CreateNetworkAclEntryInput {
	return &ec2.CreateNetworkAclEntryInput{
		NetworkAclId: &acl, RuleNumber: &number, Egress: &egress, CidrBlock: &cidr, Protocol: aws.String("-1"), RuleAction: types.RuleActionDeny,
	}
}

func networkACLs(l *lane) {
	vpc, subnet := network(l)
	acl := l.call("acl", must(l, l.ec2.CreateNetworkAcl, &ec2.CreateNetworkAclInput{VpcId: &vpc}).NetworkAcl.NetworkAclId)
	do(l, l.ec2.CreateNetworkAcl, &ec2.CreateNetworkAclInput{VpcId: aws.String(absentVPC)})
	do(l, l.ec2.CreateNetworkAclEntry, aclEntry(acl, 10, false, "10.99.9.9/32"))
	do(l, l.ec2.CreateNetworkAclEntry, aclEntry(acl, 10, false, "10.99.9.9/32"))
	do(l, l.ec2.CreateNetworkAclEntry, aclEntry(absentACL, 10, false, "10.99.9.9/32"))
	do(l, l.ec2.CreateNetworkAclEntry, aclEntry(acl, 10, true, "10.99.9.9/32"))
	do(l, l.ec2.DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{acl}})
	do(l, l.ec2.DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{absentACL}})
	replace := &ec2.ReplaceNetworkAclEntryInput{
		NetworkAclId: &acl, RuleNumber: aws.Int32(10), Egress: aws.Bool(false), CidrBlock: aws.String("10.99.8.8/32"), Protocol: aws.String("-1"), RuleAction: types.RuleActionAllow,
	}
	do(l, l.ec2.ReplaceNetworkAclEntry, replace)
	replace.RuleNumber = aws.Int32(11)
	do(l, l.ec2.ReplaceNetworkAclEntry, replace)
	acls := do(l, l.ec2.DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{Filters: filter("association.subnet-id", subnet)})
	var association string
	for _, a := range acls.NetworkAcls {
		for _, s := range a.Associations {
			if aws.ToString(s.SubnetId) == subnet {
				association = *s.NetworkAclAssociationId
			}
		}
	}
	do(l, l.ec2.ReplaceNetworkAclAssociation, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: &association, NetworkAclId: &acl})
	do(l, l.ec2.ReplaceNetworkAclAssociation, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: aws.String("aclassoc-0aaaaaaaaaaaaaaaa"), NetworkAclId: &acl})
	do(l, l.ec2.DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{acl}})
	do(l, l.ec2.DeleteNetworkAcl, &ec2.DeleteNetworkAclInput{NetworkAclId: &acl})
	remove := &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &acl, RuleNumber: aws.Int32(10), Egress: aws.Bool(false)}
	do(l, l.ec2.DeleteNetworkAclEntry, remove)
	do(l, l.ec2.DeleteNetworkAclEntry, remove)
	do(l, l.ec2.CreateNetworkAclEntry, aclEntry(acl, 0, false, "10.99.9.9/32"))
	do(l, l.ec2.DeleteNetworkAcl, &ec2.DeleteNetworkAclInput{NetworkAclId: aws.String(absentACL)})
}

func routes(l *lane) {
	vpc, subnet := network(l)
	table := l.call("table", must(l, l.ec2.CreateRouteTable, &ec2.CreateRouteTableInput{VpcId: &vpc}).RouteTable.RouteTableId)
	gateway := l.call("gateway", must(l, l.ec2.CreateInternetGateway, &ec2.CreateInternetGatewayInput{}).InternetGateway.InternetGatewayId)
	route := &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: &gateway}
	do(l, l.ec2.AttachInternetGateway, &ec2.AttachInternetGatewayInput{VpcId: &vpc, InternetGatewayId: &gateway})
	do(l, l.ec2.AttachInternetGateway, &ec2.AttachInternetGatewayInput{VpcId: &vpc, InternetGatewayId: &gateway})
	do(l, l.ec2.DescribeInternetGateways, &ec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{gateway}})
	do(l, l.ec2.CreateRoute, route)
	do(l, l.ec2.CreateRoute, route)
	a := do(l, l.ec2.AssociateRouteTable, &ec2.AssociateRouteTableInput{RouteTableId: &table, SubnetId: &subnet})
	do(l, l.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	do(l, l.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{"rtb-0aaaaaaaaaaaaaaaa"}})
	do(l, l.ec2.DeleteRouteTable, &ec2.DeleteRouteTableInput{RouteTableId: &table})
	do(l, l.ec2.DisassociateRouteTable, &ec2.DisassociateRouteTableInput{AssociationId: a.AssociationId})
	do(l, l.ec2.DisassociateRouteTable, &ec2.DisassociateRouteTableInput{AssociationId: a.AssociationId})
	do(l, l.ec2.DeleteRoute, &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	do(l, l.ec2.DeleteRoute, &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	do(l, l.ec2.DeleteRouteTable, &ec2.DeleteRouteTableInput{RouteTableId: &table})
	do(l, l.ec2.DeleteInternetGateway, &ec2.DeleteInternetGatewayInput{InternetGatewayId: &gateway})
	do(l, l.ec2.DetachInternetGateway, &ec2.DetachInternetGatewayInput{VpcId: &vpc, InternetGatewayId: &gateway})
	do(l, l.ec2.DeleteInternetGateway, &ec2.DeleteInternetGatewayInput{InternetGatewayId: &gateway})
	do(l, l.ec2.DeleteInternetGateway, &ec2.DeleteInternetGatewayInput{InternetGatewayId: &gateway})
}

func newGroup(l *lane, vpc, name string) string {
	return l.call(name, must(l, l.ec2.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{
		VpcId: &vpc, GroupName: &name, Description: aws.String("differential"),
	}).GroupId)
}

func securityGroups(l *lane) {
	vpc, _ := network(l)
	group := newGroup(l, vpc, "first")
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: filter("vpc-id", vpc)})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: filter("group-name", "fir*")})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{absentGroup}})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"first"}})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: filter("no-such-filter", "x")})
	second := newGroup(l, vpc, "second")
	do(l, l.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &second, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}},
	}})
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &group})
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &second})
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &second})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{second}})
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: aws.String("sg-?")})
	newGroup(l, vpc, "third")
	for _, in := range []*ec2.CreateSecurityGroupInput{
		{VpcId: &vpc, GroupName: aws.String("third"), Description: aws.String("the name again")},
		{VpcId: &vpc, GroupName: aws.String("sg-third"), Description: aws.String("a name like an ID")},
		{VpcId: &vpc, GroupName: aws.String("default"), Description: aws.String("the default group's name")},
		{VpcId: aws.String(absentVPC), GroupName: aws.String("lost"), Description: aws.String("no VPC")},
	} {
		do(l, l.ec2.CreateSecurityGroup, in)
	}
}

func permission(protocol string, from, to int32, cidr string) []types.IpPermission {
	return []types.IpPermission{{IpProtocol: &protocol, FromPort: &from, ToPort: &to, IpRanges: []types.IpRange{{CidrIp: &cidr}}}}
}

func securityGroupRules(l *lane) {
	vpc, _ := network(l)
	group := newGroup(l, vpc, "ruled")
	for _, p := range [][]types.IpPermission{
		permission("tcp", 443, 443, "10.0.0.0/8"),
		permission("tcp", 443, 443, "10.0.0.0/8"),
		permission("udp", 53, 53, "10.0.0.2/8"),
		permission("tcp", 80, 80, "10.0.0.0/33"),
		permission("-1", -1, -1, "192.0.2.0/24"),
		permission("icmp", -1, -1, "192.0.2.0/24"),
		{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(2), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("2001:db8::/32"), Description: aws.String("six")}}}},
		{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(2), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(absentGroup)}}}},
	} {
		do(l, l.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: p})
	}
	everything := []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
	do(l, l.ec2.AuthorizeSecurityGroupEgress, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &group, IpPermissions: everything})
	do(l, l.ec2.RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, IpPermissions: everything})
	do(l, l.ec2.RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, IpPermissions: everything})
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	rules := do(l, l.ec2.DescribeSecurityGroupRules, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", group)})
	do(l, l.ec2.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission("tcp", 443, 443, "10.0.0.0/8")})
	do(l, l.ec2.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission("tcp", 443, 443, "10.0.0.0/8")})
	do(l, l.ec2.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, SecurityGroupRuleIds: []string{"sgr-0aaaaaaaaaaaaaaaa"}})
	for _, r := range rules.SecurityGroupRules {
		if aws.ToString(r.IpProtocol) == "icmp" {
			do(l, l.ec2.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, SecurityGroupRuleIds: []string{*r.SecurityGroupRuleId}})
		}
	}
	do(l, l.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	do(l, l.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(absentGroup), IpPermissions: permission("tcp", 1, 1, "10.0.0.0/8")})
	do(l, l.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group})
	do(l, l.ec2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission("tcp", 90, 80, "10.0.0.0/8")})
}

// machine is a running instance with one group, in a network of its own.
type machine struct{ vpc, subnet, group, id, eni, root, device string }

func newMachine(l *lane) machine {
	m := machine{}
	m.vpc, m.subnet = network(l)
	m.group = newGroup(l, m.vpc, "machine")
	i := must(l, l.ec2.RunInstances, &ec2.RunInstancesInput{
		ImageId: aws.String(l.image()), InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: &m.subnet, SecurityGroupIds: []string{m.group},
	}).Instances[0]
	m.id = l.call("instance", i.InstanceId)
	l.pass(10 * time.Minute)
	shown := must(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}}).Reservations[0].Instances[0]
	m.eni = l.call("interface", shown.NetworkInterfaces[0].NetworkInterfaceId)
	// The only volume. In moto its device is not the RootDeviceName.
	m.device, m.root = *shown.BlockDeviceMappings[0].DeviceName, l.call("root", shown.BlockDeviceMappings[0].Ebs.VolumeId)
	return m
}

func instances(l *lane) {
	m := newMachine(l)
	run := func(change func(*ec2.RunInstancesInput)) {
		in := &ec2.RunInstancesInput{ImageId: aws.String(l.image()), InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &m.subnet}
		change(in)
		do(l, l.ec2.RunInstances, in)
	}
	run(func(in *ec2.RunInstancesInput) { in.ImageId = aws.String(absentImage) })
	run(func(in *ec2.RunInstancesInput) { in.InstanceType = "z9.colossal" })
	run(func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String(absentSubnet) })
	run(func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{absentGroup} })
	run(func(in *ec2.RunInstancesInput) { in.KeyName = aws.String("no-such-key") })
	run(func(in *ec2.RunInstancesInput) { in.MinCount = aws.Int32(2) })
	ids := []string{m.id}
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{absentInstance}})
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{"i-?"}})
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{Filters: filter("no-such-filter", "x")})
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{Filters: filter("network-interface.network-interface-id", m.eni)})
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{Filters: filter("instance.group-id", m.group)})
	do(l, l.ec2.DescribeInstanceStatus, &ec2.DescribeInstanceStatusInput{InstanceIds: ids})
	do(l, l.ec2.DescribeInstanceStatus, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{absentInstance}})
	do(l, l.ec2.RebootInstances, &ec2.RebootInstancesInput{InstanceIds: ids})
	do(l, l.ec2.RebootInstances, &ec2.RebootInstancesInput{InstanceIds: []string{absentInstance}})
	do(l, l.ec2.StartInstances, &ec2.StartInstancesInput{InstanceIds: ids})
	do(l, l.ec2.StopInstances, &ec2.StopInstancesInput{InstanceIds: ids})
	l.pass(10 * time.Minute)
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: ids})
	do(l, l.ec2.DescribeInstanceStatus, &ec2.DescribeInstanceStatusInput{InstanceIds: ids})
	do(l, l.ec2.StartInstances, &ec2.StartInstancesInput{InstanceIds: ids})
	l.pass(10 * time.Minute)
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: ids})
	do(l, l.ec2.GetConsoleOutput, &ec2.GetConsoleOutputInput{InstanceId: aws.String(absentInstance)})
	do(l, l.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{absentInstance}})
	do(l, l.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids, DryRun: aws.Bool(true)})
	do(l, l.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids})
	l.pass(10 * time.Minute)
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: ids})
	do(l, l.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids})
	do(l, l.ec2.StartInstances, &ec2.StartInstancesInput{InstanceIds: ids})
	do(l, l.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: []string{m.root}})
	do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{m.eni}})
}

// what an instance stands on can't be deleted, and a stopped one can't be rebooted.
func instanceInUse(l *lane) {
	m := newMachine(l)
	must(l, l.ec2.StopInstances, &ec2.StopInstancesInput{InstanceIds: []string{m.id}})
	l.pass(10 * time.Minute)
	do(l, l.ec2.RebootInstances, &ec2.RebootInstancesInput{InstanceIds: []string{m.id}})
	do(l, l.ec2.DeleteSubnet, &ec2.DeleteSubnetInput{SubnetId: &m.subnet})
	do(l, l.ec2.DeleteVpc, &ec2.DeleteVpcInput{VpcId: &m.vpc})
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &m.group})
}

func instanceAttributes(l *lane) {
	m := newMachine(l)
	show := func(a types.InstanceAttributeName) {
		do(l, l.ec2.DescribeInstanceAttribute, &ec2.DescribeInstanceAttributeInput{InstanceId: &m.id, Attribute: a})
	}
	modify := func(in *ec2.ModifyInstanceAttributeInput) {
		if in.InstanceId == nil {
			in.InstanceId = &m.id
		}
		do(l, l.ec2.ModifyInstanceAttribute, in)
	}
	yes := &types.AttributeBooleanValue{Value: aws.Bool(true)}
	show(types.InstanceAttributeNameDisableApiTermination)
	modify(&ec2.ModifyInstanceAttributeInput{DisableApiTermination: yes})
	show(types.InstanceAttributeNameDisableApiTermination)
	do(l, l.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{m.id}})
	modify(&ec2.ModifyInstanceAttributeInput{DisableApiStop: yes})
	show(types.InstanceAttributeNameDisableApiStop)
	do(l, l.ec2.StopInstances, &ec2.StopInstancesInput{InstanceIds: []string{m.id}})
	show(types.InstanceAttributeNameInstanceInitiatedShutdownBehavior)
	modify(&ec2.ModifyInstanceAttributeInput{InstanceInitiatedShutdownBehavior: &types.AttributeValue{Value: aws.String("terminate")}})
	show(types.InstanceAttributeNameInstanceInitiatedShutdownBehavior)
	modify(&ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(absentInstance), DisableApiTermination: yes})
	show(types.InstanceAttributeNameUserData)
	show(types.InstanceAttributeNameGroupSet)
	show(types.InstanceAttributeNameBlockDeviceMapping)
	modify(&ec2.ModifyInstanceAttributeInput{BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{
		{DeviceName: &m.device, Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(false)}},
	}})
	show(types.InstanceAttributeNameBlockDeviceMapping)
	other := newGroup(l, m.vpc, "other")
	modify(&ec2.ModifyInstanceAttributeInput{Groups: []string{other}})
	do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{m.eni}})
	show("noSuchAttribute")
	do(l, l.ec2.ModifyInstanceMetadataOptions, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: &m.id, HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2)})
	do(l, l.ec2.ModifyInstanceMetadataOptions, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: aws.String(absentInstance), HttpTokens: types.HttpTokensStateRequired})
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}})
	modify(&ec2.ModifyInstanceAttributeInput{InstanceInitiatedShutdownBehavior: &types.AttributeValue{Value: aws.String("explode")}})
	modify(&ec2.ModifyInstanceAttributeInput{Groups: []string{absentGroup}})
}

func interfaces(l *lane) {
	m := newMachine(l)
	other := newGroup(l, m.vpc, "other")
	show := func(id string) {
		do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}})
	}
	show(m.eni)
	show(absentENI)
	show("eni-?")
	do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{Filters: filter("attachment.instance-id", m.id)})
	do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{Filters: filter("group-id", m.group)})
	change := func(id string, groups ...string) {
		do(l, l.ec2.ModifyNetworkInterfaceAttribute, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, Groups: groups})
	}
	change(m.eni, other, m.group)
	show(m.eni)
	do(l, l.ec2.DescribeNetworkInterfaceAttribute, &ec2.DescribeNetworkInterfaceAttributeInput{NetworkInterfaceId: &m.eni, Attribute: types.NetworkInterfaceAttributeGroupSet})
	change(m.eni, other)
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}})
	change(absentENI, other)
	do(l, l.ec2.ModifyNetworkInterfaceAttribute, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &m.eni, SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
	show(m.eni)
	eni := l.call("second", must(l, l.ec2.CreateNetworkInterface, &ec2.CreateNetworkInterfaceInput{
		SubnetId: &m.subnet, Groups: []string{m.group}, Description: aws.String("spare"),
	}).NetworkInterface.NetworkInterfaceId)
	do(l, l.ec2.CreateNetworkInterface, &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(absentSubnet)})
	do(l, l.ec2.CreateNetworkInterface, &ec2.CreateNetworkInterfaceInput{SubnetId: &m.subnet, Groups: []string{absentGroup}})
	l.pass(time.Minute)
	show(eni)
	do(l, l.ec2.DeleteNetworkInterface, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &eni})
	do(l, l.ec2.DeleteNetworkInterface, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &eni})
	change(m.eni, absentGroup)
	change(m.eni, "not-a-group")
	do(l, l.ec2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &other})
	do(l, l.ec2.DeleteNetworkInterface, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &m.eni})
}

func addresses(l *lane) {
	m := newMachine(l)
	gateway := must(l, l.ec2.CreateInternetGateway, &ec2.CreateInternetGatewayInput{}).InternetGateway.InternetGatewayId
	must(l, l.ec2.AttachInternetGateway, &ec2.AttachInternetGatewayInput{VpcId: &m.vpc, InternetGatewayId: gateway})
	address := l.call("address", must(l, l.ec2.AllocateAddress, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc}).AllocationId)
	absent := aws.String("eipalloc-0aaaaaaaaaaaaaaaa")
	do(l, l.ec2.AssociateAddress, &ec2.AssociateAddressInput{AllocationId: absent, NetworkInterfaceId: &m.eni})
	do(l, l.ec2.AssociateAddress, &ec2.AssociateAddressInput{AllocationId: &address, NetworkInterfaceId: aws.String(absentENI)})
	a := must(l, l.ec2.AssociateAddress, &ec2.AssociateAddressInput{AllocationId: &address, NetworkInterfaceId: &m.eni})
	l.call("association", a.AssociationId)
	do(l, l.ec2.DescribeAddresses, &ec2.DescribeAddressesInput{AllocationIds: []string{address}})
	do(l, l.ec2.DescribeAddresses, &ec2.DescribeAddressesInput{AllocationIds: []string{*absent}})
	do(l, l.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{m.eni}})
	second := l.call("second address", must(l, l.ec2.AllocateAddress, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc}).AllocationId)
	do(l, l.ec2.AssociateAddress, &ec2.AssociateAddressInput{AllocationId: &second, NetworkInterfaceId: &m.eni, AllowReassociation: aws.Bool(false)})
	do(l, l.ec2.ReleaseAddress, &ec2.ReleaseAddressInput{AllocationId: &address})
	do(l, l.ec2.DisassociateAddress, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId})
	do(l, l.ec2.DisassociateAddress, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId})
	do(l, l.ec2.DescribeAddresses, &ec2.DescribeAddressesInput{AllocationIds: []string{address}})
	do(l, l.ec2.ReleaseAddress, &ec2.ReleaseAddressInput{AllocationId: &address})
	do(l, l.ec2.ReleaseAddress, &ec2.ReleaseAddressInput{AllocationId: &address})
}

func tags(l *lane) {
	vpc, _ := network(l)
	tag := func(id, key, value string) {
		do(l, l.ec2.CreateTags, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: &key, Value: &value}}})
	}
	show := func() {
		l.pass(time.Minute) // until the index has it
		do(l, l.ec2.DescribeTags, &ec2.DescribeTagsInput{Filters: filter("resource-id", vpc)})
	}
	tag(vpc, "owner-of", "shop")
	tag(vpc, "owner-of", "bakery")
	tag(vpc, "queue", "")
	tag(absentVPC, "owner-of", "nobody")
	tag("nonsense", "owner-of", "nobody")
	show()
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{Filters: filter("tag:owner-of", "bak*")})
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{Filters: filter("tag:owner-of", "shop")})
	do(l, l.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{Filters: filter("tag-key", "queue")})
	remove := func(t types.Tag) {
		do(l, l.ec2.DeleteTags, &ec2.DeleteTagsInput{Resources: []string{vpc}, Tags: []types.Tag{t}})
		show()
	}
	remove(types.Tag{Key: aws.String("owner-of"), Value: aws.String("another value")})
	remove(types.Tag{Key: aws.String("owner-of")})
	remove(types.Tag{Key: aws.String("no-such-key")})
	tag(vpc, "aws:own", "x")
}

func anotherRegion(l *lane) {
	m := newMachine(l)
	do(l, l.elsewhere.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}})
	do(l, l.elsewhere.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{m.group}})
	do(l, l.elsewhere.DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: []string{m.root}})
	do(l, l.elsewhere.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{m.id}})
	do(l, l.elsewhere.CreateSnapshot, &ec2.CreateSnapshotInput{VolumeId: &m.root})
	do(l, l.elsewhere.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{VpcId: &m.vpc, GroupName: aws.String("lost"), Description: aws.String("lost")})
	do(l, l.elsewhere.ModifyNetworkInterfaceAttribute, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &m.eni, Groups: []string{m.group}})
}

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func profileAssociations(l *lane) {
	m := newMachine(l)
	for _, name := range []string{"diff-first", "diff-second"} {
		newProfile(l, name)
	}
	l.pass(time.Minute)
	profile := func(name string) *types.IamInstanceProfileSpecification {
		return &types.IamInstanceProfileSpecification{Name: &name}
	}
	show := func() {
		do(l, l.ec2.DescribeIamInstanceProfileAssociations, &ec2.DescribeIamInstanceProfileAssociationsInput{Filters: filter("instance-id", m.id)})
	}
	do(l, l.ec2.AssociateIamInstanceProfile, &ec2.AssociateIamInstanceProfileInput{InstanceId: aws.String(absentInstance), IamInstanceProfile: profile("diff-first")})
	do(l, l.ec2.AssociateIamInstanceProfile, &ec2.AssociateIamInstanceProfileInput{InstanceId: &m.id, IamInstanceProfile: profile("diff-absent")})
	a := must(l, l.ec2.AssociateIamInstanceProfile, &ec2.AssociateIamInstanceProfileInput{InstanceId: &m.id, IamInstanceProfile: profile("diff-first")})
	l.pass(time.Minute)
	show()
	do(l, l.ec2.AssociateIamInstanceProfile, &ec2.AssociateIamInstanceProfileInput{InstanceId: &m.id, IamInstanceProfile: profile("diff-second")})
	b := must(l, l.ec2.ReplaceIamInstanceProfileAssociation, &ec2.ReplaceIamInstanceProfileAssociationInput{
		AssociationId: a.IamInstanceProfileAssociation.AssociationId, IamInstanceProfile: profile("diff-second"),
	})
	l.pass(time.Minute)
	show()
	do(l, l.ec2.ReplaceIamInstanceProfileAssociation, &ec2.ReplaceIamInstanceProfileAssociationInput{
		AssociationId: aws.String("iip-assoc-0aaaaaaaaaaaaaaaa"), IamInstanceProfile: profile("diff-second"),
	})
	remove := &ec2.DisassociateIamInstanceProfileInput{AssociationId: b.IamInstanceProfileAssociation.AssociationId}
	do(l, l.ec2.DisassociateIamInstanceProfile, remove)
	l.pass(time.Minute)
	show()
	do(l, l.ec2.DisassociateIamInstanceProfile, remove)
	do(l, l.ec2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{m.id}})
}
