package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type vpc struct {
	ID           string   `json:"id"`
	Owner        string   `json:"owner,omitempty"` // another account that shares its subnets with this one
	CIDR         string   `json:"cidr"`
	More         []string `json:"more_cidrs,omitempty"` // blocks that were added
	IPv6CIDR     string   `json:"ipv6_cidr,omitempty"`
	Default      bool     `json:"default,omitempty"`
	DNSSupport   bool     `json:"dns_support"`   // the resolver at VPC+2 answers
	DNSHostnames bool     `json:"dns_hostnames"` // instances get public names
}

type subnet struct {
	ID         string `json:"id"`
	VPC        string `json:"vpc"`
	CIDR       string `json:"cidr"`
	IPv6CIDR   string `json:"ipv6_cidr,omitempty"`
	AZ         string `json:"az"`
	PublicIPs  bool   `json:"public_ips,omitempty"` // MapPublicIpOnLaunch
	AssignIPv6 bool   `json:"assign_ipv6,omitempty"`
}

func (ops operations) ec2Network() {
	ec2On(ops, ec2CreateVpc)
	ec2On(ops, ec2AssociateVpcCidrBlock)
	ec2On(ops, ec2DescribeVpcs)
	ec2On(ops, ec2DeleteVpc)
	ec2On(ops, ec2DescribeVpcAttribute)
	ec2On(ops, ec2ModifyVpcAttribute)
	ec2On(ops, ec2CreateSubnet)
	ec2On(ops, ec2DescribeSubnets)
	ec2On(ops, ec2DeleteSubnet)
	ec2On(ops, ec2ModifySubnetAttribute)
	ops.ec2Routes()
	ops.ec2Endpoints()
	ops.ec2Transit()
	ops.ec2Peerings()
	ops.ec2Gateways()
	ops.ec2Reach()
}

// ec2CreateVpc: API_CreateVpc. A VPC comes with a main route table, a default
// network ACL and a default security group.
func ec2CreateVpc(c *call, in *ec2.CreateVpcInput) (*ec2.CreateVpcOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	cidr, err := netip.ParsePrefix(aws.ToString(in.CidrBlock))
	if err != nil || !cidr.Addr().Is4() {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", aws.ToString(in.CidrBlock)))
	}
	if cidr.Bits() < 16 || cidr.Bits() > 28 {
		return nil, apiError("InvalidVpc.Range", fmt.Sprintf("The CIDR '%s' is invalid.", aws.ToString(in.CidrBlock)))
	}
	tags, err := tagsFor(types.ResourceTypeVpc, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &vpc{ID: c.id("vpc"), CIDR: cidr.Masked().String(), DNSSupport: true}
	if aws.ToBool(in.AmazonProvidedIpv6CidrBlock) {
		// Documentation addresses (RFC 3849), so that nothing here names a real host.
		v.IPv6CIDR = fmt.Sprintf("2001:db8:%x::/56", c.random().IntN(1<<8)<<8)
	}
	c.EC2.VPCs[v.ID] = v
	c.tag(v.ID, tags)
	main := &routeTable{ID: c.id("rtb"), VPC: v.ID, Associations: []routeAssociation{{ID: c.id("rtbassoc"), Main: true}}}
	main.addLocal(v)
	c.EC2.RouteTables[main.ID] = main
	c.makeDefaultACL(v)
	group := c.makeGroup(v, "default", "default VPC security group")
	group.Rules = append(group.Rules, groupRule{ID: c.id("sgr"), Protocol: "-1", From: -1, To: -1, Group: group.ID})
	shown := c.showVPC(v)
	return &ec2.CreateVpcOutput{Vpc: &shown}, nil
}

// showVPC: API_Vpc.
func (c *call) showVPC(v *vpc) types.Vpc {
	out := types.Vpc{
		VpcId: &v.ID, CidrBlock: &v.CIDR, IsDefault: &v.Default, State: types.VpcStateAvailable, OwnerId: aws.String(c.ownerOf(v.ID)), Tags: c.tagList(v.ID),
		InstanceTenancy: types.TenancyDefault, DhcpOptionsId: aws.String("default"),
		CidrBlockAssociationSet: []types.VpcCidrBlockAssociation{{
			AssociationId: aws.String("vpc-cidr-assoc-" + strings.TrimPrefix(v.ID, "vpc-")), CidrBlock: &v.CIDR,
			CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated},
		}},
	}
	for _, block := range v.More {
		out.CidrBlockAssociationSet = append(out.CidrBlockAssociationSet, *associated(v, block))
	}
	if v.IPv6CIDR != "" {
		out.Ipv6CidrBlockAssociationSet = []types.VpcIpv6CidrBlockAssociation{{
			AssociationId: aws.String("vpc-cidr-assoc-6" + strings.TrimPrefix(v.ID, "vpc-0")), Ipv6CidrBlock: &v.IPv6CIDR,
			Ipv6CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated}, Ipv6Pool: aws.String("Amazon"),
		}}
	}
	return out
}

func associated(v *vpc, block string) *types.VpcCidrBlockAssociation {
	return &types.VpcCidrBlockAssociation{
		AssociationId: aws.String("vpc-cidr-assoc-" + strings.TrimPrefix(v.ID, "vpc-") + strings.NewReplacer(".", "", "/", "").Replace(block)), CidrBlock: &block,
		CidrBlockState: &types.VpcCidrBlockState{State: types.VpcCidrBlockStateCodeAssociated},
	}
}

// ec2AssociateVpcCidrBlock: API_AssociateVpcCidrBlock, for IPv4 only.
func ec2AssociateVpcCidrBlock(c *call, in *ec2.AssociateVpcCidrBlockInput) (*ec2.AssociateVpcCidrBlockOutput, error) {
	v, err := get(kindVPC, c.ec2().VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if p, err := netip.ParsePrefix(aws.ToString(in.CidrBlock)); err != nil || !p.Addr().Is4() {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter cidrBlock is invalid. The simulated account adds blocks of IPv4 that are named.", aws.ToString(in.CidrBlock)))
	}
	v.More = append(v.More, *in.CidrBlock)
	return &ec2.AssociateVpcCidrBlockOutput{VpcId: &v.ID, CidrBlockAssociation: associated(v, *in.CidrBlock)}, nil
}

// ec2DescribeVpcs: API_DescribeVpcs.
func ec2DescribeVpcs(c *call, in *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	q := listing{query{in.VpcIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindVPC, c.ec2().VPCs, q, func(v *vpc, name string) ([]string, bool) {
		switch name {
		case "vpc-id":
			return one(v.ID), true
		case "cidr", "cidr-block-association.cidr-block":
			return one(v.CIDR), true
		case "ipv6-cidr-block-association.ipv6-cidr-block":
			return one(v.IPv6CIDR), true
		case "is-default", "isDefault":
			return yes(v.Default), true
		case "state":
			return []string{"available"}, true
		case "owner-id":
			return one(c.ownerOf(v.ID)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeVpcsOutput{Vpcs: each(found, c.showVPC), NextToken: next}, nil
}

// ec2DeleteVpc: API_DeleteVpc. What was made by hand must be gone; what came with the VPC goes with it.
func ec2DeleteVpc(c *call, in *ec2.DeleteVpcInput) (*ec2.DeleteVpcOutput, error) {
	s := c.ec2()
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(v.ID, "DeleteVpc"); err != nil {
		return nil, err
	}
	used := slices.ContainsFunc(inOrder(s.Subnets), func(o *subnet) bool { return o.VPC == v.ID }) ||
		slices.ContainsFunc(inOrder(s.VPNs), func(o *vpnGateway) bool { return o.VPC == v.ID }) ||
		slices.ContainsFunc(inOrder(s.EgressOnly), func(o *egressGateway) bool { return o.VPC == v.ID }) ||
		slices.ContainsFunc(inOrder(s.Gateways), func(o *internetGateway) bool { return o.VPC == v.ID }) ||
		slices.ContainsFunc(inOrder(s.Endpoints), func(o *vpcEndpoint) bool { return o.VPC == v.ID }) ||
		slices.ContainsFunc(inOrder(s.Groups), func(o *securityGroup) bool { return o.VPC == v.ID && o.Name != "default" }) ||
		slices.ContainsFunc(inOrder(s.RouteTables), func(o *routeTable) bool { return o.VPC == v.ID && !o.main() }) ||
		slices.ContainsFunc(inOrder(s.ACLs), func(o *networkACL) bool { return o.VPC == v.ID && !o.Default })
	if used {
		return nil, dependency(kindVPC, v.ID)
	}
	deleteWhere(s, s.Groups, func(o *securityGroup) bool { return o.VPC == v.ID })
	deleteWhere(s, s.RouteTables, func(o *routeTable) bool { return o.VPC == v.ID })
	deleteWhere(s, s.ACLs, func(o *networkACL) bool { return o.VPC == v.ID })
	deleteWhere(s, s.VPCs, func(o *vpc) bool { return o == v })
	return &ec2.DeleteVpcOutput{}, nil
}

// ownerOf is the account that a VPC belongs to, and its subnets, ACLs and route tables with it.
func (w *world) ownerOf(vpc string) string {
	if v := w.EC2.VPCs[vpc]; v != nil && v.Owner != "" {
		return v.Owner
	}
	return w.Account
}

// owned refuses what only the owner of a shared VPC may do: participants see its ACLs and route
// tables and can't change them ("Responsibilities and permissions for owners and participants",
// VPC User Guide). The pages name no error; the text is what AWS was seen to answer
// (github.com/ekristen/aws-nuke, issue 497).
func (c *call) owned(vpc, operation string) error {
	if c.ownerOf(vpc) == c.Account {
		return nil
	}
	return apiError("UnauthorizedOperation", "You are not authorized to perform "+operation+" operation. A subnet in this vpc is shared but the provided object is not owned by you")
}

func dependency(k resourceKind, id string) error {
	return apiError("DependencyViolation", fmt.Sprintf("The %s '%s' has dependencies and cannot be deleted.", strings.TrimSuffix(k.name, " ID"), id))
}

// deleteWhere deletes resources and their tags.
func deleteWhere[T any](s *ec2State, all map[string]*T, gone func(*T) bool) {
	for id, v := range all {
		if gone(v) {
			delete(all, id)
			delete(s.Tags, id)
		}
	}
}

// ec2DescribeVpcAttribute: API_DescribeVpcAttribute.
func ec2DescribeVpcAttribute(c *call, in *ec2.DescribeVpcAttributeInput) (*ec2.DescribeVpcAttributeOutput, error) {
	v, err := get(kindVPC, c.ec2().VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcAttributeOutput{VpcId: &v.ID}
	switch in.Attribute {
	case types.VpcAttributeNameEnableDnsSupport:
		out.EnableDnsSupport = &types.AttributeBooleanValue{Value: &v.DNSSupport}
	case types.VpcAttributeNameEnableDnsHostnames:
		out.EnableDnsHostnames = &types.AttributeBooleanValue{Value: &v.DNSHostnames}
	default:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter attribute is invalid.", in.Attribute))
	}
	return out, nil
}

// ec2ModifyVpcAttribute: API_ModifyVpcAttribute, one attribute a call.
func ec2ModifyVpcAttribute(c *call, in *ec2.ModifyVpcAttributeInput) (*ec2.ModifyVpcAttributeOutput, error) {
	v, err := get(kindVPC, c.ec2().VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(v.ID, "ModifyVpcAttribute"); err != nil {
		return nil, err
	}
	if in.EnableDnsSupport != nil && in.EnableDnsHostnames != nil {
		return nil, apiError("InvalidParameterCombination", "Fields for multiple attribute types specified: enableDnsSupport, enableDnsHostnames")
	}
	if in.EnableDnsSupport != nil {
		v.DNSSupport = aws.ToBool(in.EnableDnsSupport.Value)
	}
	if in.EnableDnsHostnames != nil {
		v.DNSHostnames = aws.ToBool(in.EnableDnsHostnames.Value)
	}
	return &ec2.ModifyVpcAttributeOutput{}, nil
}

// ec2CreateSubnet: API_CreateSubnet. It gets the VPC's default ACL.
func ec2CreateSubnet(c *call, in *ec2.CreateSubnetInput) (*ec2.CreateSubnetOutput, error) {
	s := c.ec2()
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(v.ID, "CreateSubnet"); err != nil {
		return nil, err
	}
	cidr, err := netip.ParsePrefix(aws.ToString(in.CidrBlock))
	whole := netip.MustParsePrefix(v.CIDR)
	if err != nil || cidr.Bits() < whole.Bits() || cidr.Bits() > 28 || !whole.Contains(cidr.Addr()) {
		return nil, apiError("InvalidSubnet.Range", fmt.Sprintf("The CIDR '%s' is invalid.", aws.ToString(in.CidrBlock)))
	}
	for _, o := range s.Subnets {
		if o.VPC == v.ID && netip.MustParsePrefix(o.CIDR).Overlaps(cidr) {
			return nil, apiError("InvalidSubnet.Conflict", fmt.Sprintf("The CIDR '%s' conflicts with another subnet", cidr))
		}
	}
	az := valueOr(in.AvailabilityZone, c.Region+"a")
	if !slices.Contains(c.zones(), az) {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: %s.", az, strings.Join(c.zones(), ", ")))
	}
	tags, err := tagsFor(types.ResourceTypeSubnet, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	if six := aws.ToString(in.Ipv6CidrBlock); six != "" {
		if p, err := netip.ParsePrefix(six); err != nil || v.IPv6CIDR == "" || !netip.MustParsePrefix(v.IPv6CIDR).Contains(p.Addr()) {
			return nil, apiError("InvalidSubnet.Range", fmt.Sprintf("The IPv6 CIDR '%s' is invalid.", six))
		}
	}
	sub := &subnet{ID: c.id("subnet"), VPC: v.ID, CIDR: cidr.Masked().String(), IPv6CIDR: aws.ToString(in.Ipv6CidrBlock), AZ: az}
	s.Subnets[sub.ID] = sub
	for _, a := range s.ACLs {
		if a.VPC == v.ID && a.Default {
			a.Associations = append(a.Associations, aclAssociation{ID: c.id("aclassoc"), Subnet: sub.ID})
		}
	}
	c.tag(sub.ID, tags)
	shown := c.showSubnet(sub)
	return &ec2.CreateSubnetOutput{Subnet: &shown}, nil
}

// showSubnet: API_Subnet.
func (c *call) showSubnet(sub *subnet) types.Subnet {
	free := 1<<(32-netip.MustParsePrefix(sub.CIDR).Bits()) - 5 - len(c.EC2.takenIPs(sub))
	out := types.Subnet{
		SubnetId: &sub.ID, SubnetArn: aws.String(c.arn("subnet", sub.ID)), VpcId: &sub.VPC, CidrBlock: &sub.CIDR,
		AvailabilityZone: &sub.AZ, AvailabilityZoneId: aws.String(zoneID(sub.AZ)), Ipv6Native: aws.Bool(false),
		PrivateDnsNameOptionsOnLaunch: &types.PrivateDnsNameOptionsOnLaunch{
			HostnameType: types.HostnameTypeIpName, EnableResourceNameDnsARecord: aws.Bool(false), EnableResourceNameDnsAAAARecord: aws.Bool(false),
		},
		AvailableIpAddressCount: aws.Int32(int32(free)), MapPublicIpOnLaunch: &sub.PublicIPs, AssignIpv6AddressOnCreation: &sub.AssignIPv6,
		DefaultForAz: aws.Bool(false), State: types.SubnetStateAvailable, OwnerId: aws.String(c.ownerOf(sub.VPC)), Tags: c.tagList(sub.ID),
	}
	if sub.IPv6CIDR != "" {
		out.Ipv6CidrBlockAssociationSet = []types.SubnetIpv6CidrBlockAssociation{{
			AssociationId: aws.String("subnet-cidr-assoc-" + strings.TrimPrefix(sub.ID, "subnet-")), Ipv6CidrBlock: &sub.IPv6CIDR,
			Ipv6CidrBlockState: &types.SubnetCidrBlockState{State: types.SubnetCidrBlockStateCodeAssociated},
		}}
	}
	return out
}

// ec2DescribeSubnets: API_DescribeSubnets.
func ec2DescribeSubnets(c *call, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
	q := listing{query{in.SubnetIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindSubnet, c.ec2().Subnets, q, func(sub *subnet, name string) ([]string, bool) {
		switch name {
		case "subnet-id":
			return one(sub.ID), true
		case "vpc-id":
			return one(sub.VPC), true
		case "availability-zone", "availabilityZone":
			return one(sub.AZ), true
		case "cidr-block", "cidr", "cidrBlock":
			return one(sub.CIDR), true
		case "map-public-ip-on-launch":
			return yes(sub.PublicIPs), true
		case "default-for-az", "defaultForAz":
			return yes(false), true
		case "state":
			return []string{"available"}, true
		case "owner-id":
			return one(c.ownerOf(sub.VPC)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeSubnetsOutput{Subnets: each(found, c.showSubnet), NextToken: next}, nil
}

// ec2DeleteSubnet: API_DeleteSubnet. No interface may be left in it.
func ec2DeleteSubnet(c *call, in *ec2.DeleteSubnetInput) (*ec2.DeleteSubnetOutput, error) {
	s := c.ec2()
	sub, err := get(kindSubnet, s.Subnets, in.SubnetId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(sub.VPC, "DeleteSubnet"); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(inOrder(s.Interfaces), func(n *networkInterface) bool { return n.Subnet == sub.ID }) {
		return nil, dependency(kindSubnet, sub.ID)
	}
	for _, t := range s.RouteTables {
		t.Associations = slices.DeleteFunc(t.Associations, func(a routeAssociation) bool { return a.Subnet == sub.ID })
	}
	for _, a := range s.ACLs {
		a.Associations = slices.DeleteFunc(a.Associations, func(a aclAssociation) bool { return a.Subnet == sub.ID })
	}
	deleteWhere(s, s.Subnets, func(o *subnet) bool { return o == sub })
	return &ec2.DeleteSubnetOutput{}, nil
}

// ec2ModifySubnetAttribute: API_ModifySubnetAttribute.
func ec2ModifySubnetAttribute(c *call, in *ec2.ModifySubnetAttributeInput) (*ec2.ModifySubnetAttributeOutput, error) {
	sub, err := get(kindSubnet, c.ec2().Subnets, in.SubnetId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(sub.VPC, "ModifySubnetAttribute"); err != nil {
		return nil, err
	}
	if in.AssignIpv6AddressOnCreation != nil {
		if sub.IPv6CIDR == "" {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("The subnet '%s' has no IPv6 CIDR block.", sub.ID))
		}
		sub.AssignIPv6 = aws.ToBool(in.AssignIpv6AddressOnCreation.Value)
	}
	if in.MapPublicIpOnLaunch != nil {
		sub.PublicIPs = aws.ToBool(in.MapPublicIpOnLaunch.Value)
	}
	return &ec2.ModifySubnetAttributeOutput{}, nil
}
