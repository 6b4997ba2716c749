package rehearsal

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func filterBy(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func (l *lab) routeState(table *string, to string) types.RouteState {
	l.Helper()
	for _, r := range ok(l.ec2.DescribeRouteTables(l.ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{*table}}))(l).RouteTables[0].Routes {
		if aws.ToString(r.DestinationCidrBlock) == to {
			return r.State
		}
	}
	return ""
}

func TestATransitGatewayIsReachedThroughItsAttachment(t *testing.T) {
	l := newLab(t)
	gateway := ok(l.ec2.CreateTransitGateway(l.ctx, &ec2.CreateTransitGatewayInput{Description: aws.String("to the head office")}))(t).TransitGateway.TransitGatewayId
	table := ok(l.ec2.CreateRouteTable(l.ctx, &ec2.CreateRouteTableInput{VpcId: &l.vpc}))(t).RouteTable.RouteTableId
	route := &ec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("10.50.0.0/16"), TransitGatewayId: gateway}
	_, err := l.ec2.CreateRoute(l.ctx, route)
	refused(t, "InvalidTransitGatewayID.NotFound", err)
	attach := &ec2.CreateTransitGatewayVpcAttachmentInput{TransitGatewayId: gateway, VpcId: &l.vpc, SubnetIds: []string{l.subnet}}
	a := ok(l.ec2.CreateTransitGatewayVpcAttachment(l.ctx, attach))(t).TransitGatewayVpcAttachment
	_, err = l.ec2.CreateTransitGatewayVpcAttachment(l.ctx, attach)
	refused(t, "DuplicateTransitGatewayAttachment", err)
	ok(l.ec2.CreateRoute(l.ctx, route))(t)
	nics := ok(l.ec2.DescribeNetworkInterfaces(l.ctx, &ec2.DescribeNetworkInterfacesInput{Filters: filterBy("interface-type", "transit_gateway")}))(t).NetworkInterfaces
	if len(nics) != 1 || *nics[0].SubnetId != l.subnet || !*nics[0].RequesterManaged {
		t.Fatalf("interfaces of the attachment: %v", nics)
	}
	_, err = l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nics[0].NetworkInterfaceId, Groups: []string{l.group}})
	refused(t, "OperationNotPermitted", err)
	found := ok(l.ec2.DescribeTransitGatewayVpcAttachments(l.ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: filterBy("vpc-id", l.vpc)}))(t).TransitGatewayVpcAttachments
	if len(found) != 1 || !slices.Equal(found[0].SubnetIds, []string{l.subnet}) {
		t.Errorf("attachments %v", found)
	}
	_, err = l.ec2.DescribeTransitGatewayVpcAttachments(l.ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: filterBy("subnet-id", l.subnet)})
	refused(t, "InvalidParameterValue", err)
	_, err = l.ec2.DeleteTransitGateway(l.ctx, &ec2.DeleteTransitGatewayInput{TransitGatewayId: gateway})
	refused(t, "IncorrectState", err)
	ok(l.ec2.DeleteTransitGatewayVpcAttachment(l.ctx, &ec2.DeleteTransitGatewayVpcAttachmentInput{TransitGatewayAttachmentId: a.TransitGatewayAttachmentId}))(t)
	if s := l.routeState(table, "10.50.0.0/16"); s != types.RouteStateBlackhole {
		t.Errorf("the route without its attachment is %s", s)
	}
	all := ok(l.ec2.DescribeTransitGatewayAttachments(l.ctx, &ec2.DescribeTransitGatewayAttachmentsInput{Filters: filterBy("resource-id", l.vpc)}))(t).TransitGatewayAttachments
	if len(all) != 1 || all[0].State != types.TransitGatewayAttachmentStateDeleted {
		t.Errorf("a deleted attachment shows as %v", all)
	}
	l.pass(2 * time.Hour)
	_, err = l.ec2.DescribeTransitGatewayAttachments(l.ctx, &ec2.DescribeTransitGatewayAttachmentsInput{TransitGatewayAttachmentIds: []string{*a.TransitGatewayAttachmentId}})
	refused(t, "InvalidTransitGatewayAttachmentID.NotFound", err)
}

func TestAPeeringWaitsForItsAccepter(t *testing.T) {
	l := newLab(t)
	other := ok(l.ec2.CreateVpc(l.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.60.0.0/16")}))(t).Vpc.VpcId
	own := ok(l.ec2.CreateVpcPeeringConnection(l.ctx, &ec2.CreateVpcPeeringConnectionInput{VpcId: &l.vpc, PeerVpcId: other}))(t).VpcPeeringConnection.VpcPeeringConnectionId
	foreign := ok(l.ec2.CreateVpcPeeringConnection(l.ctx, &ec2.CreateVpcPeeringConnectionInput{
		VpcId: &l.vpc, PeerVpcId: aws.String("vpc-0123456789abcdef0"), PeerOwnerId: aws.String("444455556666"),
	}))(t).VpcPeeringConnection.VpcPeeringConnectionId
	_, err := l.ec2.CreateVpcPeeringConnection(l.ctx, &ec2.CreateVpcPeeringConnectionInput{VpcId: &l.vpc, PeerVpcId: aws.String("vpc-0123456789abcdef0")})
	refused(t, "InvalidVpcID.NotFound", err)
	table := ok(l.ec2.CreateRouteTable(l.ctx, &ec2.CreateRouteTableInput{VpcId: &l.vpc}))(t).RouteTable.RouteTableId
	ok(l.ec2.CreateRoute(l.ctx, &ec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("10.60.0.0/16"), VpcPeeringConnectionId: own}))(t)
	if s := l.routeState(table, "10.60.0.0/16"); s != types.RouteStateBlackhole {
		t.Errorf("the route to a peering nobody has accepted is %s", s)
	}
	ok(l.ec2.AcceptVpcPeeringConnection(l.ctx, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: own}))(t)
	if s := l.routeState(table, "10.60.0.0/16"); s != types.RouteStateActive {
		t.Errorf("the route to an accepted peering is %s", s)
	}
	_, err = l.ec2.AcceptVpcPeeringConnection(l.ctx, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: foreign})
	refused(t, "OperationNotPermitted", err)
	active := ok(l.ec2.DescribeVpcPeeringConnections(l.ctx, &ec2.DescribeVpcPeeringConnectionsInput{
		Filters: append(filterBy("requester-vpc-info.vpc-id", l.vpc), filterBy("status-code", "active")...),
	}))(t).VpcPeeringConnections
	if len(active) != 1 || *active[0].VpcPeeringConnectionId != *own || aws.ToString(active[0].AccepterVpcInfo.CidrBlock) != "10.60.0.0/16" {
		t.Errorf("active peerings %v", active)
	}
	ok(l.ec2.DeleteVpcPeeringConnection(l.ctx, &ec2.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: own}))(t)
	gone := ok(l.ec2.DescribeVpcPeeringConnections(l.ctx, &ec2.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{*own}}))(t).VpcPeeringConnections
	if gone[0].Status.Code != types.VpcPeeringConnectionStateReasonCodeDeleted {
		t.Errorf("a deleted peering shows as %s", gone[0].Status.Code)
	}
}

func TestAVPCHasOneVPNGateway(t *testing.T) {
	l := newLab(t)
	create := &ec2.CreateVpnGatewayInput{Type: types.GatewayTypeIpsec1}
	first := ok(l.ec2.CreateVpnGateway(l.ctx, create))(t).VpnGateway.VpnGatewayId
	second := ok(l.ec2.CreateVpnGateway(l.ctx, create))(t).VpnGateway.VpnGatewayId
	ok(l.ec2.AttachVpnGateway(l.ctx, &ec2.AttachVpnGatewayInput{VpnGatewayId: first, VpcId: &l.vpc}))(t)
	_, err := l.ec2.AttachVpnGateway(l.ctx, &ec2.AttachVpnGatewayInput{VpnGatewayId: second, VpcId: &l.vpc})
	refused(t, "InvalidParameterValue", err)
	found := ok(l.ec2.DescribeVpnGateways(l.ctx, &ec2.DescribeVpnGatewaysInput{Filters: filterBy("attachment.vpc-id", l.vpc)}))(t).VpnGateways
	if len(found) != 1 || *found[0].VpnGatewayId != *first {
		t.Errorf("VPN gateways of the VPC: %v", found)
	}
	ok(l.ec2.DetachVpnGateway(l.ctx, &ec2.DetachVpnGatewayInput{VpnGatewayId: first, VpcId: &l.vpc}))(t)
	_, err = l.ec2.DetachVpnGateway(l.ctx, &ec2.DetachVpnGatewayInput{VpnGatewayId: first, VpcId: &l.vpc})
	refused(t, "InvalidVpnGatewayAttachment.NotFound", err)
}

func TestEgressOnlyGatewaysAreFilteredByTagOnly(t *testing.T) {
	l := newLab(t)
	in := &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: &l.vpc, ClientToken: aws.String("once")}
	first := ok(l.ec2.CreateEgressOnlyInternetGateway(l.ctx, in))(t).EgressOnlyInternetGateway
	if again := ok(l.ec2.CreateEgressOnlyInternetGateway(l.ctx, in))(t).EgressOnlyInternetGateway; *again.EgressOnlyInternetGatewayId != *first.EgressOnlyInternetGatewayId {
		t.Error("the same token has made a second gateway")
	}
	_, err := l.ec2.DescribeEgressOnlyInternetGateways(l.ctx, &ec2.DescribeEgressOnlyInternetGatewaysInput{Filters: filterBy("attachment.vpc-id", l.vpc)})
	refused(t, "InvalidParameterValue", err)
	all := ok(l.ec2.DescribeEgressOnlyInternetGateways(l.ctx, &ec2.DescribeEgressOnlyInternetGatewaysInput{}))(t).EgressOnlyInternetGateways
	if len(all) != 1 || *all[0].Attachments[0].VpcId != l.vpc {
		t.Errorf("gateways %v", all)
	}
}

func TestOneAttributeOfAnInterfaceIsChangedAtATime(t *testing.T) {
	l := newLab(t)
	nic := l.describe().NetworkInterfaces[0].NetworkInterfaceId
	tracking := &types.ConnectionTrackingSpecificationRequest{TcpEstablishedTimeout: aws.Int32(60)}
	_, err := l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic, Groups: []string{l.group}, ConnectionTrackingSpecification: tracking})
	refused(t, "InvalidParameterCombination", err)
	_, err = l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic})
	refused(t, "InvalidParameterCombination", err)
	show := func() *types.ConnectionTrackingConfiguration {
		return ok(l.ec2.DescribeNetworkInterfaces(l.ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*nic}}))(t).NetworkInterfaces[0].ConnectionTrackingConfiguration
	}
	if c := show(); c != nil {
		t.Errorf("timeouts shown that nobody has set: %v", *c)
	}
	ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic, ConnectionTrackingSpecification: tracking}))(t)
	if c := show(); c == nil || aws.ToInt32(c.TcpEstablishedTimeout) != 60 || c.UdpTimeout != nil || c.UdpStreamTimeout != nil {
		t.Errorf("timeouts %v, want the one that was set", c)
	}
	for _, bad := range []types.ConnectionTrackingSpecificationRequest{
		{TcpEstablishedTimeout: aws.Int32(59)}, {TcpEstablishedTimeout: aws.Int32(432001)}, {UdpStreamTimeout: aws.Int32(181)}, {UdpTimeout: aws.Int32(29)},
	} {
		_, err := l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic, ConnectionTrackingSpecification: &bad})
		refused(t, "InvalidParameterValue", err)
	}
}

func TestOnlyThePrimaryInterfaceGetsAnAutomaticPublicAddress(t *testing.T) {
	l := newLab(t)
	for n, want := range []bool{true, false} {
		nic := l.describe().NetworkInterfaces[n].NetworkInterfaceId
		ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic, AssociatePublicIpAddress: aws.Bool(true)}))(t)
		if got := l.describe().NetworkInterfaces[n].Association != nil; got != want {
			t.Errorf("interface %d has an address: %t", n, got)
		}
	}
}

func TestIPv6AddressesGoAndComeBackAsTheyWere(t *testing.T) {
	l := newLab(t)
	l.world(func(w *world) {
		w.EC2.Subnets[l.subnet].IPv6CIDR = w.EC2.VPCs[l.vpc].IPv6CIDR[:len(w.EC2.VPCs[l.vpc].IPv6CIDR)-2] + "64"
	})
	nic := l.describe().NetworkInterfaces[0].NetworkInterfaceId
	_, err := l.ec2.AssignIpv6Addresses(l.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: nic, Ipv6AddressCount: aws.Int32(1), Ipv6Addresses: []string{"2001:db8::1"}})
	refused(t, "InvalidParameterCombination", err)
	had := ok(l.ec2.AssignIpv6Addresses(l.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: nic, Ipv6AddressCount: aws.Int32(2)}))(t).AssignedIpv6Addresses
	ok(l.ec2.UnassignIpv6Addresses(l.ctx, &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: nic, Ipv6Addresses: had}))(t)
	if left := l.describe().NetworkInterfaces[0].Ipv6Addresses; len(left) != 0 {
		t.Errorf("addresses left: %v", left)
	}
	_, err = l.ec2.UnassignIpv6Addresses(l.ctx, &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: nic, Ipv6Addresses: had})
	refused(t, "InvalidParameterValue", err)
	ok(l.ec2.AssignIpv6Addresses(l.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: nic, Ipv6Addresses: had}))(t)
	var back []string
	for _, a := range l.describe().NetworkInterfaces[0].Ipv6Addresses {
		back = append(back, *a.Ipv6Address)
	}
	if !slices.Equal(back, had) {
		t.Errorf("addresses %v, were %v", back, had)
	}
}

func TestTheACLsOfASharedVPCAreItsOwners(t *testing.T) {
	l := newLab(t)
	acl := ok(l.ec2.DescribeNetworkAcls(l.ctx, &ec2.DescribeNetworkAclsInput{Filters: filterBy("vpc-id", l.vpc)}))(t).NetworkAcls[0]
	if err := l.account.SetOwner(l.vpc, "444455556666"); err != nil {
		t.Fatal(err)
	}
	if err := l.account.SetOwner("vpc-0123456789abcdef0", "444455556666"); err == nil {
		t.Error("a VPC that is not there has an owner")
	}
	if shown := ok(l.ec2.DescribeNetworkAcls(l.ctx, &ec2.DescribeNetworkAclsInput{Filters: filterBy("vpc-id", l.vpc)}))(t).NetworkAcls[0]; *shown.OwnerId != "444455556666" {
		t.Errorf("owner %s", *shown.OwnerId)
	}
	entry := &ec2.CreateNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: aws.Int32(1), Egress: aws.Bool(true), CidrBlock: aws.String("192.0.2.1/32"), Protocol: aws.String("-1"), RuleAction: types.RuleActionDeny}
	_, err := l.ec2.CreateNetworkAclEntry(l.ctx, entry)
	refused(t, "UnauthorizedOperation", err)
	_, err = l.ec2.DeleteNetworkAclEntry(l.ctx, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: aws.Int32(100), Egress: aws.Bool(true)})
	refused(t, "UnauthorizedOperation", err)
	_, err = l.ec2.CreateNetworkAcl(l.ctx, &ec2.CreateNetworkAclInput{VpcId: &l.vpc})
	refused(t, "UnauthorizedOperation", err)
}
