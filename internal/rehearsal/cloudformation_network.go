package rehearsal

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// cfnNetworkType: the types of the VPC, each by its page in the CloudFormation Template Reference.
func cfnNetworkType(name string) (cfnType, bool) {
	switch name {
	case "AWS::EC2::VPC":
		return cfnType{create: creating(cfnCreateVPC), attributes: cfnVPCAttributes, remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteVpc", ec2DeleteVpc, &ec2.DeleteVpcInput{VpcId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::Subnet":
		return cfnType{create: creating(cfnCreateSubnet), attributes: cfnSubnetAttributes, remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteSubnet", ec2DeleteSubnet, &ec2.DeleteSubnetInput{SubnetId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::RouteTable":
		return cfnType{create: creating(cfnCreateRouteTable), attributes: cfnIDAs("RouteTableId"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteRouteTable", ec2DeleteRouteTable, &ec2.DeleteRouteTableInput{RouteTableId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::SubnetRouteTableAssociation":
		return cfnType{create: creating(cfnAssociateRouteTable), attributes: cfnIDAs("Id"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DisassociateRouteTable", ec2DisassociateRouteTable, &ec2.DisassociateRouteTableInput{AssociationId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::SecurityGroup":
		return cfnType{create: creating(cfnCreateGroup), attributes: cfnGroupAttributes, remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteSecurityGroup", ec2DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress":
		return cfnType{create: creating(cfnCreateRule), attributes: cfnIDAs("Id"), remove: cfnRemoveRule}, true
	case "AWS::EC2::VPCEndpoint":
		return cfnType{create: creating(cfnCreateEndpoint), attributes: cfnIDAs("Id"), remove: cfnRemoveEndpoint}, true
	case "AWS::EC2::NetworkAcl":
		return cfnType{create: creating(cfnCreateACL), attributes: cfnIDAs("Id"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteNetworkAcl", ec2DeleteNetworkAcl, &ec2.DeleteNetworkAclInput{NetworkAclId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::NetworkAclEntry":
		return cfnType{create: creating(cfnCreateACLEntry), remove: cfnRemoveACLEntry}, true
	case "AWS::EC2::SubnetNetworkAclAssociation":
		return cfnType{create: creating(cfnAssociateACL), attributes: cfnIDAs("AssociationId"), remove: cfnDisassociateACL}, true
	default:
		return cfnType{}, false
	}
}

// cfnIDAs is for types whose only attribute is their ID.
func cfnIDAs(attribute string) func(*cfnWork) map[string]any {
	return func(x *cfnWork) map[string]any { return map[string]any{attribute: x.resource.Physical} }
}

type cfnVPC struct {
	CidrBlock                            *string
	EnableDnsSupport, EnableDnsHostnames *bool
	InstanceTenancy                      types.Tenancy
	Tags                                 []cfnTag
}

func cfnCreateVPC(x *cfnWork, p *cfnVPC) error {
	out, err := callAs(x, "ec2:CreateVpc", ec2CreateVpc, &ec2.CreateVpcInput{CidrBlock: p.CidrBlock, InstanceTenancy: p.InstanceTenancy})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.Vpc.VpcId
	x.label(p.Tags)
	for _, in := range []*ec2.ModifyVpcAttributeInput{
		{EnableDnsSupport: booleanValue(p.EnableDnsSupport)}, {EnableDnsHostnames: booleanValue(p.EnableDnsHostnames)},
	} {
		if in.EnableDnsSupport == nil && in.EnableDnsHostnames == nil {
			continue
		}
		in.VpcId = out.Vpc.VpcId // one attribute at a time (API_ModifyVpcAttribute)
		if _, err := callAs(x, "ec2:ModifyVpcAttribute", ec2ModifyVpcAttribute, in); err != nil {
			return err
		}
	}
	return nil
}

func booleanValue(b *bool) *types.AttributeBooleanValue {
	if b == nil {
		return nil
	}
	return &types.AttributeBooleanValue{Value: b}
}

func cfnVPCAttributes(x *cfnWork) map[string]any {
	id := x.resource.Physical
	all := map[string]any{"VpcId": id}
	if v, ok := x.EC2.VPCs[id]; ok {
		all["CidrBlock"] = v.CIDR
	}
	for _, g := range x.EC2.Groups {
		if g.VPC == id && g.Name == "default" {
			all["DefaultSecurityGroup"] = g.ID
		}
	}
	for _, a := range x.EC2.ACLs {
		if a.VPC == id && a.Default {
			all["DefaultNetworkAcl"] = a.ID
		}
	}
	return all
}

type cfnSubnet struct {
	VpcId, CidrBlock, AvailabilityZone *string
	MapPublicIpOnLaunch                *bool
	Tags                               []cfnTag
}

func cfnCreateSubnet(x *cfnWork, p *cfnSubnet) error {
	out, err := callAs(x, "ec2:CreateSubnet", ec2CreateSubnet, &ec2.CreateSubnetInput{VpcId: p.VpcId, CidrBlock: p.CidrBlock, AvailabilityZone: p.AvailabilityZone})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.Subnet.SubnetId
	x.label(p.Tags)
	if p.MapPublicIpOnLaunch == nil {
		return nil
	}
	_, err = callAs(x, "ec2:ModifySubnetAttribute", ec2ModifySubnetAttribute, &ec2.ModifySubnetAttributeInput{
		SubnetId: out.Subnet.SubnetId, MapPublicIpOnLaunch: booleanValue(p.MapPublicIpOnLaunch),
	})
	return err
}

func cfnSubnetAttributes(x *cfnWork) map[string]any {
	s, ok := x.EC2.Subnets[x.resource.Physical]
	if !ok {
		return nil
	}
	return map[string]any{"SubnetId": s.ID, "VpcId": s.VPC, "CidrBlock": s.CIDR, "AvailabilityZone": s.AZ}
}

type cfnRouteTable struct {
	VpcId *string
	Tags  []cfnTag
}

func cfnCreateRouteTable(x *cfnWork, p *cfnRouteTable) error {
	out, err := callAs(x, "ec2:CreateRouteTable", ec2CreateRouteTable, &ec2.CreateRouteTableInput{VpcId: p.VpcId})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.RouteTable.RouteTableId
	x.label(p.Tags)
	return nil
}

type cfnRouteTableAssociation struct{ RouteTableId, SubnetId *string }

func cfnAssociateRouteTable(x *cfnWork, p *cfnRouteTableAssociation) error {
	out, err := callAs(x, "ec2:AssociateRouteTable", ec2AssociateRouteTable, &ec2.AssociateRouteTableInput{RouteTableId: p.RouteTableId, SubnetId: p.SubnetId})
	if err == nil {
		x.resource.Physical = *out.AssociationId
	}
	return err
}

// cfnRule is a rule of a security group, inside it or as a resource of its own.
type cfnRule struct {
	GroupId, IpProtocol                                 *string
	FromPort, ToPort                                    *int32
	CidrIp, CidrIpv6                                    *string
	SourceSecurityGroupId, SourcePrefixListId           *string
	DestinationSecurityGroupId                          *string
	DestinationPrefixListId, SourceSecurityGroupOwnerId *string
	Description                                         *string
}

func (r *cfnRule) permission() types.IpPermission {
	p := types.IpPermission{IpProtocol: r.IpProtocol, FromPort: r.FromPort, ToPort: r.ToPort}
	if r.CidrIp != nil {
		p.IpRanges = []types.IpRange{{CidrIp: r.CidrIp, Description: r.Description}}
	}
	if r.CidrIpv6 != nil {
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: r.CidrIpv6, Description: r.Description}}
	}
	for _, id := range []*string{r.SourceSecurityGroupId, r.DestinationSecurityGroupId} {
		if id != nil {
			p.UserIdGroupPairs = append(p.UserIdGroupPairs, types.UserIdGroupPair{GroupId: id, Description: r.Description})
		}
	}
	for _, id := range []*string{r.SourcePrefixListId, r.DestinationPrefixListId} {
		if id != nil {
			p.PrefixListIds = append(p.PrefixListIds, types.PrefixListId{PrefixListId: id, Description: r.Description})
		}
	}
	return p
}

func permissionsOf(rules []cfnRule) (all []types.IpPermission) {
	for _, r := range rules {
		all = append(all, r.permission())
	}
	return all
}

type cfnGroup struct {
	GroupDescription, GroupName, VpcId        *string
	SecurityGroupIngress, SecurityGroupEgress []cfnRule
	Tags                                      []cfnTag
}

// cfnCreateGroup: without an egress rule in the template the group keeps the one that lets everything
// out; with one it loses it (template reference, AWS::EC2::SecurityGroup).
func cfnCreateGroup(x *cfnWork, p *cfnGroup) error {
	name := p.GroupName
	if name == nil {
		name = aws.String(x.physicalName())
	}
	out, err := callAs(x, "ec2:CreateSecurityGroup", ec2CreateSecurityGroup, &ec2.CreateSecurityGroupInput{GroupName: name, Description: p.GroupDescription, VpcId: p.VpcId})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.GroupId
	x.label(p.Tags)
	if len(p.SecurityGroupIngress) > 0 {
		_, err := callAs(x, "ec2:AuthorizeSecurityGroupIngress", ec2AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: out.GroupId, IpPermissions: permissionsOf(p.SecurityGroupIngress),
		})
		if err != nil {
			return err
		}
	}
	if len(p.SecurityGroupEgress) == 0 {
		return nil
	}
	if err := x.revokeDefaultEgress(*out.GroupId); err != nil {
		return err
	}
	_, err = callAs(x, "ec2:AuthorizeSecurityGroupEgress", ec2AuthorizeSecurityGroupEgress, &ec2.AuthorizeSecurityGroupEgressInput{
		GroupId: out.GroupId, IpPermissions: permissionsOf(p.SecurityGroupEgress),
	})
	return err
}

// revokeDefaultEgress takes away the rules that EC2 gave the new group.
func (x *cfnWork) revokeDefaultEgress(group string) error {
	var ids []string
	for _, r := range x.EC2.Groups[group].Rules {
		if r.Egress && r.Protocol == "-1" && (r.CIDR == "0.0.0.0/0" || r.CIDR6 == "::/0") {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := callAs(x, "ec2:RevokeSecurityGroupEgress", ec2RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, SecurityGroupRuleIds: ids})
	return err
}

func cfnGroupAttributes(x *cfnWork) map[string]any {
	g, ok := x.EC2.Groups[x.resource.Physical]
	if !ok {
		return nil
	}
	return map[string]any{"GroupId": g.ID, "Id": g.ID, "VpcId": g.VPC}
}

// cfnCreateRule is for a rule of its own. An egress rule takes the place of the one that lets everything out, where
// this stack made the group.
func cfnCreateRule(x *cfnWork, p *cfnRule) error {
	if x.resource.Type == "AWS::EC2::SecurityGroupIngress" {
		out, err := callAs(x, "ec2:AuthorizeSecurityGroupIngress", ec2AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: p.GroupId, IpPermissions: []types.IpPermission{p.permission()},
		})
		if err != nil {
			return err
		}
		x.resource.Physical = *out.SecurityGroupRules[0].SecurityGroupRuleId
		return nil
	}
	out, err := callAs(x, "ec2:AuthorizeSecurityGroupEgress", ec2AuthorizeSecurityGroupEgress, &ec2.AuthorizeSecurityGroupEgressInput{
		GroupId: p.GroupId, IpPermissions: []types.IpPermission{p.permission()},
	})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.SecurityGroupRules[0].SecurityGroupRuleId
	made := slices.ContainsFunc(x.stack.Resources, func(r *stackResource) bool { return r.Physical == *p.GroupId })
	if !made {
		return nil
	}
	return x.revokeDefaultEgress(*p.GroupId)
}

func cfnRemoveRule(x *cfnWork) error {
	g := x.EC2.groupOfRule(x.resource.Physical)
	if g == nil {
		return nil
	}
	ids := []string{x.resource.Physical}
	if x.resource.Type == "AWS::EC2::SecurityGroupIngress" {
		_, err := callAs(x, "ec2:RevokeSecurityGroupIngress", ec2RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, SecurityGroupRuleIds: ids})
		return err
	}
	_, err := callAs(x, "ec2:RevokeSecurityGroupEgress", ec2RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: &g.ID, SecurityGroupRuleIds: ids})
	return err
}

type cfnEndpoint struct {
	VpcId, ServiceName                         *string
	VpcEndpointType                            types.VpcEndpointType
	SubnetIds, SecurityGroupIds, RouteTableIds []string
	PrivateDnsEnabled                          *bool
	PolicyDocument                             any
	Tags                                       []cfnTag
}

func cfnCreateEndpoint(x *cfnWork, p *cfnEndpoint) error {
	policy, err := policyText(p.PolicyDocument)
	if err != nil {
		return err
	}
	out, err := callAs(x, "ec2:CreateVpcEndpoint", ec2CreateVpcEndpoint, &ec2.CreateVpcEndpointInput{
		VpcId: p.VpcId, ServiceName: p.ServiceName, VpcEndpointType: p.VpcEndpointType, SubnetIds: p.SubnetIds, SecurityGroupIds: p.SecurityGroupIds,
		RouteTableIds: p.RouteTableIds, PrivateDnsEnabled: p.PrivateDnsEnabled, PolicyDocument: policy,
	})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.VpcEndpoint.VpcEndpointId
	x.label(p.Tags)
	return nil
}

// policyText is a policy written into the template, as the services take it; nil without one.
func policyText(document any) (*string, error) {
	if document == nil {
		return nil, nil
	}
	b, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("policy document: %w", err)
	}
	return aws.String(string(b)), nil
}

func cfnRemoveEndpoint(x *cfnWork) error {
	out, err := callAs(x, "ec2:DeleteVpcEndpoints", ec2DeleteVpcEndpoints, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{x.resource.Physical}})
	if err == nil && len(out.Unsuccessful) > 0 { // the request itself succeeds
		e := out.Unsuccessful[0].Error
		return apiError(aws.ToString(e.Code), aws.ToString(e.Message))
	}
	return err
}
