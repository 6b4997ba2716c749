package proof

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
)

// Room is what a stack has made: where to look.
type Room struct {
	Account, Region string
	VPC             string
	Instances       []string
}

// ReadRoom makes the model of what AWS shows of a room, whatever the template meant. A part that
// can't be read (no permission, an answer that makes no sense) is in Model.Unknown; the only error is
// ctx's.
func ReadRoom(ctx context.Context, cfg aws.Config, room Room) (*Model, error) {
	r := &roomReader{
		ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), resolver: route53resolver.NewFromConfig(cfg), cfg: cfg, room: room,
		m:      &Model{Account: room.Account, Region: room.Region, VPC: room.VPC, PrefixLists: make(map[string]string)},
		filter: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{room.VPC}}},
	}
	for _, part := range []struct {
		what string
		read func(context.Context) error
	}{
		{"VPC", r.vpc}, {"subnets", r.subnets}, {"route tables", r.routes}, {"Internet gateways", r.internetGateways}, {"egress-only Internet gateways", r.egressOnly},
		{"NAT gateways", r.natGateways}, {"peerings", r.peerings}, {"transit gateway attachments", r.transits}, {"virtual private gateways", r.vpnGateways},
		{"carrier gateways", r.carriers}, {"associations with local gateways", r.outposts}, {"instance connect endpoints", r.connectEndpoints},
		{"associations with VPC Lattice", r.lattice}, {"Route 53 Profiles", r.profiles},
		{"network ACLs", r.acls}, {"instances", r.instances}, {"network interfaces", r.interfaces}, {"security groups", r.groups}, {"prefix lists", r.prefixLists},
		{"endpoints", r.endpoints}, {"DNS firewall", r.firewall}, {"resolver rules", r.forwards}, {"instance profiles and roles", r.roles},
	} {
		err := part.read(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			r.m.Unknown = append(r.m.Unknown, Unknown{room.VPC, fmt.Sprintf("its %s can't be read: %v", part.what, err)})
		}
	}
	return r.m, nil
}

// roomReader fills a model, one kind of resource after the other.
type roomReader struct {
	ec2      *ec2.Client
	iam      *iam.Client
	resolver *route53resolver.Client
	cfg      aws.Config
	room     Room
	m        *Model
	filter   []types.Filter // what is in the room's VPC
}

func (r *roomReader) gateway(id *string, kind string) {
	r.m.Gateways = append(r.m.Gateways, Gateway{aws.ToString(id), kind})
}

func (r *roomReader) vpc(ctx context.Context) error {
	out, err := r.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{r.room.VPC}})
	if err != nil {
		return err
	}
	if len(out.Vpcs) != 1 {
		return fmt.Errorf("AWS shows %d of this ID", len(out.Vpcs))
	}
	r.m.CIDRs = blocks(out.Vpcs[0])
	dns, err := r.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &r.room.VPC, Attribute: types.VpcAttributeNameEnableDnsSupport})
	if err != nil {
		return err
	}
	r.m.DNS.Off = dns.EnableDnsSupport != nil && dns.EnableDnsSupport.Value != nil && !*dns.EnableDnsSupport.Value
	return nil
}

// blocks of a network, its own first; one that was taken away still shows for a while.
func blocks(v types.Vpc) []string {
	all := []string{aws.ToString(v.CidrBlock)}
	add := func(block *string, state *types.VpcCidrBlockState) {
		gone := state != nil && (state.State == types.VpcCidrBlockStateCodeDisassociated || state.State == types.VpcCidrBlockStateCodeFailed)
		if b := aws.ToString(block); !gone && !slices.Contains(all, b) {
			all = append(all, b)
		}
	}
	for _, a := range v.CidrBlockAssociationSet {
		add(a.CidrBlock, a.CidrBlockState)
	}
	for _, a := range v.Ipv6CidrBlockAssociationSet {
		add(a.Ipv6CidrBlock, a.Ipv6CidrBlockState)
	}
	return all
}

func (r *roomReader) subnets(ctx context.Context) error {
	pages := ec2.NewDescribeSubnetsPaginator(r.ec2, &ec2.DescribeSubnetsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, s := range page.Subnets {
			r.m.Subnets = append(r.m.Subnets, Subnet{ID: aws.ToString(s.SubnetId), PublicIP: aws.ToBool(s.MapPublicIpOnLaunch) || aws.ToBool(s.MapCustomerOwnedIpOnLaunch), IPv6: aws.ToBool(s.AssignIpv6AddressOnCreation)})
		}
	}
	return nil
}

func (r *roomReader) routes(ctx context.Context) error {
	pages := ec2.NewDescribeRouteTablesPaginator(r.ec2, &ec2.DescribeRouteTablesInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, t := range page.RouteTables {
			for _, route := range t.Routes {
				r.m.Routes = append(r.m.Routes, Route{Table: aws.ToString(t.RouteTableId), To: destination(route), Via: via(route)})
			}
		}
	}
	return nil
}

func destination(r types.Route) string {
	return firstOf("a destination that this version does not know", r.DestinationCidrBlock, r.DestinationIpv6CidrBlock, r.DestinationPrefixListId)
}

// via names where a route leads; empty: to the network itself.
func via(r types.Route) string {
	if aws.ToString(r.GatewayId) == "local" {
		return ""
	}
	return firstOf("a target that this version does not know", r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.EgressOnlyInternetGatewayId,
		r.CarrierGatewayId, r.LocalGatewayId, r.CoreNetworkArn, r.NetworkInterfaceId, r.InstanceId)
}

func firstOf(otherwise string, all ...*string) string {
	for _, s := range all {
		if aws.ToString(s) != "" {
			return *s
		}
	}
	return otherwise
}

func (r *roomReader) acls(ctx context.Context) error {
	pages := ec2.NewDescribeNetworkAclsPaginator(r.ec2, &ec2.DescribeNetworkAclsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.NetworkAcls {
			acl := ACL{ID: aws.ToString(a.NetworkAclId)}
			for _, e := range a.Entries {
				out := ACLEntry{
					Number: int(aws.ToInt32(e.RuleNumber)), Allow: e.RuleAction != types.RuleActionDeny, Out: aws.ToBool(e.Egress), Peer: firstOf("", e.CidrBlock, e.Ipv6CidrBlock),
				}
				from, to := "", ""
				if e.PortRange != nil {
					from, to = strconv.Itoa(int(aws.ToInt32(e.PortRange.From))), strconv.Itoa(int(aws.ToInt32(e.PortRange.To)))
				}
				out.Ports = ports(protocol(aws.ToString(e.Protocol)), from, to)
				acl.Entries = append(acl.Entries, out)
			}
			for _, s := range a.Associations {
				acl.Subnets = append(acl.Subnets, aws.ToString(s.SubnetId))
			}
			r.m.ACLs = append(r.m.ACLs, acl)
		}
	}
	return nil
}

// instances are those in the network, and the room's own wherever they are.
func (r *roomReader) instances(ctx context.Context) error {
	for _, in := range []*ec2.DescribeInstancesInput{{Filters: r.filter}, {InstanceIds: r.room.Instances}} {
		if len(in.Filters)+len(in.InstanceIds) == 0 {
			continue // would list the whole account
		}
		pages := ec2.NewDescribeInstancesPaginator(r.ec2, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, reservation := range page.Reservations {
				for _, i := range reservation.Instances {
					r.instance(i)
				}
			}
		}
	}
	return nil
}

func (r *roomReader) instance(i types.Instance) {
	id := aws.ToString(i.InstanceId)
	if slices.ContainsFunc(r.m.Instances, func(known Instance) bool { return known.ID == id }) ||
		i.State != nil && i.State.Name == types.InstanceStateNameTerminated {
		return
	}
	out := Instance{ID: id, Ours: slices.Contains(r.room.Instances, id)}
	if i.IamInstanceProfile != nil {
		out.Profile = aws.ToString(i.IamInstanceProfile.Arn)
	}
	r.m.Instances = append(r.m.Instances, out)
	for _, n := range i.NetworkInterfaces { // those in the network come again, with all that is known of them
		if vpc := aws.ToString(n.VpcId); vpc != r.room.VPC {
			r.m.Interfaces = append(r.m.Interfaces, Interface{ID: aws.ToString(n.NetworkInterfaceId), Instance: id, Foreign: orNone(vpc)})
		}
	}
}

func (r *roomReader) interfaces(ctx context.Context) error {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(r.ec2, &ec2.DescribeNetworkInterfacesInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, n := range page.NetworkInterfaces {
			r.m.Interfaces = append(r.m.Interfaces, networkInterface(n, r.room.Account))
		}
	}
	return nil
}

// networkInterface: whom a subnet is shared with has interfaces of their own in it, and the network's owner sees
// them, but not the instances (VPC User Guide, "Share your VPC subnets with other accounts").
func networkInterface(n types.NetworkInterface, account string) Interface {
	out := Interface{ID: aws.ToString(n.NetworkInterfaceId), Endpoint: n.InterfaceType == types.NetworkInterfaceTypeVpcEndpoint, About: aws.ToString(n.Description)}
	if n.Attachment != nil && aws.ToString(n.Attachment.InstanceId) != "" {
		out.Instance, out.Index = *n.Attachment.InstanceId, strconv.Itoa(int(aws.ToInt32(n.Attachment.DeviceIndex)))
	}
	if owner := aws.ToString(n.OwnerId); owner != account {
		out.Owner = owner
	}
	for _, g := range n.Groups {
		out.Groups = append(out.Groups, aws.ToString(g.GroupId))
	}
	public := func(a *types.NetworkInterfaceAssociation) {
		if a == nil {
			return
		}
		if ip := firstOf("that AWS does not name", a.PublicIp, a.CarrierIp, a.CustomerOwnedIp); !slices.Contains(out.Public, ip) {
			out.Public = append(out.Public, ip)
		}
	}
	public(n.Association)
	for _, a := range n.PrivateIpAddresses {
		public(a.Association)
	}
	for _, a := range n.Ipv6Addresses {
		out.IPv6 = append(out.IPv6, aws.ToString(a.Ipv6Address))
	}
	for _, p := range n.Ipv6Prefixes {
		out.IPv6 = append(out.IPv6, aws.ToString(p.Ipv6Prefix))
	}
	return out
}

func (r *roomReader) groups(ctx context.Context) error {
	pages := ec2.NewDescribeSecurityGroupsPaginator(r.ec2, &ec2.DescribeSecurityGroupsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.SecurityGroups {
			r.m.Groups = append(r.m.Groups, Group{ID: aws.ToString(g.GroupId), In: rules(g.IpPermissions), Out: rules(g.IpPermissionsEgress)})
		}
	}
	return nil
}

func rules(permissions []types.IpPermission) (all []Rule) {
	for _, p := range permissions {
		number := func(n *int32) string {
			if n == nil {
				return ""
			}
			return strconv.Itoa(int(*n))
		}
		add := func(peer *string) {
			all = append(all, Rule{Ports: ports(aws.ToString(p.IpProtocol), number(p.FromPort), number(p.ToPort)), Peer: aws.ToString(peer)})
		}
		for _, b := range p.IpRanges {
			add(b.CidrIp)
		}
		for _, b := range p.Ipv6Ranges {
			add(b.CidrIpv6)
		}
		for _, g := range p.UserIdGroupPairs {
			add(g.GroupId)
		}
		for _, l := range p.PrefixListIds {
			add(l.PrefixListId)
		}
	}
	return all
}

// prefixLists names those that rules mention.
func (r *roomReader) prefixLists(ctx context.Context) error {
	var ids []string
	for _, g := range r.m.Groups {
		for _, rule := range append(slices.Clone(g.In), g.Out...) {
			if len(rule.Peer) > 3 && rule.Peer[:3] == "pl-" && !slices.Contains(ids, rule.Peer) {
				ids = append(ids, rule.Peer)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	pages := ec2.NewDescribeManagedPrefixListsPaginator(r.ec2, &ec2.DescribeManagedPrefixListsInput{PrefixListIds: ids})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, l := range page.PrefixLists {
			if aws.ToString(l.OwnerId) == "AWS" { // anybody can call a list of their own like one of AWS's
				r.m.PrefixLists[aws.ToString(l.PrefixListId)] = aws.ToString(l.PrefixListName)
			}
		}
	}
	return nil
}

func (r *roomReader) endpoints(ctx context.Context) error {
	pages := ec2.NewDescribeVpcEndpointsPaginator(r.ec2, &ec2.DescribeVpcEndpointsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, e := range page.VpcEndpoints {
			if e.State == types.StateDeleted {
				continue
			}
			out := Endpoint{
				ID: aws.ToString(e.VpcEndpointId), Type: string(e.VpcEndpointType), Policy: aws.ToString(e.PolicyDocument), Interfaces: e.NetworkInterfaceIds,
				// Those of VPC Lattice have no service (API_VpcEndpoint).
				Service: firstOf("what this version does not know", e.ServiceName, e.ResourceConfigurationArn, e.ServiceNetworkArn),
			}
			for _, g := range e.Groups {
				out.Groups = append(out.Groups, aws.ToString(g.GroupId))
			}
			r.m.Endpoints = append(r.m.Endpoints, out)
		}
	}
	return nil
}
