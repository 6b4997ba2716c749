package conformance

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	absentTransit = "tgw-0aaaaaaaaaaaaaaaa"
	absentPeering = "pcx-0aaaaaaaaaaaaaaaa"
	absentVPN     = "vgw-0aaaaaaaaaaaaaaaa"
)

func transitGateways(l *lane) {
	vpc, subnet := network(l)
	gateway := l.call("transit gateway", must(l, l.ec2.CreateTransitGateway, &ec2.CreateTransitGatewayInput{Description: aws.String("to the head office")}).TransitGateway.TransitGatewayId)
	l.pass(10 * time.Minute)
	do(l, l.ec2.DescribeTransitGateways, &ec2.DescribeTransitGatewaysInput{TransitGatewayIds: []string{gateway}})
	do(l, l.ec2.DescribeTransitGateways, &ec2.DescribeTransitGatewaysInput{TransitGatewayIds: []string{absentTransit}})
	attach := &ec2.CreateTransitGatewayVpcAttachmentInput{TransitGatewayId: &gateway, VpcId: &vpc, SubnetIds: []string{subnet}}
	attachment := l.call("attachment", must(l, l.ec2.CreateTransitGatewayVpcAttachment, attach).TransitGatewayVpcAttachment.TransitGatewayAttachmentId)
	l.pass(10 * time.Minute)
	do(l, l.ec2.CreateTransitGatewayVpcAttachment, &ec2.CreateTransitGatewayVpcAttachmentInput{TransitGatewayId: aws.String(absentTransit), VpcId: &vpc, SubnetIds: []string{subnet}})
	do(l, l.ec2.DescribeTransitGatewayVpcAttachments, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: filter("vpc-id", vpc)})
	do(l, l.ec2.DescribeTransitGatewayVpcAttachments, &ec2.DescribeTransitGatewayVpcAttachmentsInput{TransitGatewayAttachmentIds: []string{attachment}})
	do(l, l.ec2.DescribeTransitGatewayVpcAttachments, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: append(filter("transit-gateway-id", gateway), filter("state", "available")...)})
	do(l, l.ec2.DescribeTransitGatewayAttachments, &ec2.DescribeTransitGatewayAttachmentsInput{Filters: filter("resource-id", vpc)})
	table := l.call("table", must(l, l.ec2.CreateRouteTable, &ec2.CreateRouteTableInput{VpcId: &vpc}).RouteTable.RouteTableId)
	do(l, l.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("10.50.0.0/16"), TransitGatewayId: &gateway})
	do(l, l.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("10.51.0.0/16"), TransitGatewayId: aws.String(absentTransit)})
	do(l, l.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	do(l, l.ec2.DeleteTransitGateway, &ec2.DeleteTransitGatewayInput{TransitGatewayId: aws.String(absentTransit)})
	do(l, l.ec2.DeleteTransitGatewayVpcAttachment, &ec2.DeleteTransitGatewayVpcAttachmentInput{TransitGatewayAttachmentId: &attachment})
	l.pass(10 * time.Minute)
	do(l, l.ec2.DeleteTransitGateway, &ec2.DeleteTransitGatewayInput{TransitGatewayId: &gateway})
}

func peerings(l *lane) {
	vpc, _ := network(l)
	other := l.call("other", must(l, l.ec2.CreateVpc, &ec2.CreateVpcInput{CidrBlock: aws.String("10.98.0.0/16")}).Vpc.VpcId)
	do(l, l.ec2.CreateVpcPeeringConnection, &ec2.CreateVpcPeeringConnectionInput{VpcId: aws.String(absentVPC), PeerVpcId: &other})
	do(l, l.ec2.CreateVpcPeeringConnection, &ec2.CreateVpcPeeringConnectionInput{VpcId: &vpc, PeerVpcId: aws.String(absentVPC)})
	id := l.call("peering", must(l, l.ec2.CreateVpcPeeringConnection, &ec2.CreateVpcPeeringConnectionInput{VpcId: &vpc, PeerVpcId: &other}).VpcPeeringConnection.VpcPeeringConnectionId)
	show := func() {
		do(l, l.ec2.DescribeVpcPeeringConnections, &ec2.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{id}})
	}
	show()
	do(l, l.ec2.DescribeVpcPeeringConnections, &ec2.DescribeVpcPeeringConnectionsInput{Filters: filter("requester-vpc-info.vpc-id", vpc)})
	do(l, l.ec2.DescribeVpcPeeringConnections, &ec2.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{absentPeering}})
	do(l, l.ec2.AcceptVpcPeeringConnection, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: aws.String(absentPeering)})
	do(l, l.ec2.AcceptVpcPeeringConnection, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: &id})
	show()
	do(l, l.ec2.DescribeVpcPeeringConnections, &ec2.DescribeVpcPeeringConnectionsInput{Filters: filter("accepter-vpc-info.vpc-id", other)})
	table := l.call("table", must(l, l.ec2.CreateRouteTable, &ec2.CreateRouteTableInput{VpcId: &vpc}).RouteTable.RouteTableId)
	do(l, l.ec2.CreateRoute, &ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("10.98.0.0/16"), VpcPeeringConnectionId: &id})
	do(l, l.ec2.DescribeRouteTables, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	do(l, l.ec2.DeleteVpcPeeringConnection, &ec2.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: &id})
	show()
	do(l, l.ec2.DeleteVpcPeeringConnection, &ec2.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: aws.String(absentPeering)})
}

func otherGateways(l *lane) {
	vpc, _ := network(l)
	vpn := l.call("VPN gateway", must(l, l.ec2.CreateVpnGateway, &ec2.CreateVpnGatewayInput{Type: types.GatewayTypeIpsec1}).VpnGateway.VpnGatewayId)
	do(l, l.ec2.AttachVpnGateway, &ec2.AttachVpnGatewayInput{VpnGatewayId: aws.String(absentVPN), VpcId: &vpc})
	do(l, l.ec2.AttachVpnGateway, &ec2.AttachVpnGatewayInput{VpnGatewayId: &vpn, VpcId: &vpc})
	do(l, l.ec2.DescribeVpnGateways, &ec2.DescribeVpnGatewaysInput{VpnGatewayIds: []string{vpn}})
	do(l, l.ec2.DescribeVpnGateways, &ec2.DescribeVpnGatewaysInput{Filters: filter("attachment.vpc-id", vpc)})
	do(l, l.ec2.DetachVpnGateway, &ec2.DetachVpnGatewayInput{VpnGatewayId: &vpn, VpcId: &vpc})
	do(l, l.ec2.DetachVpnGateway, &ec2.DetachVpnGatewayInput{VpnGatewayId: aws.String(absentVPN), VpcId: &vpc})
	do(l, l.ec2.CreateEgressOnlyInternetGateway, &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: aws.String(absentVPC)})
	egress := l.call("egress-only gateway", must(l, l.ec2.CreateEgressOnlyInternetGateway, &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: &vpc}).EgressOnlyInternetGateway.EgressOnlyInternetGatewayId)
	do(l, l.ec2.DescribeEgressOnlyInternetGateways, &ec2.DescribeEgressOnlyInternetGatewaysInput{EgressOnlyInternetGatewayIds: []string{egress}})
	do(l, l.ec2.DeleteEgressOnlyInternetGateway, &ec2.DeleteEgressOnlyInternetGatewayInput{EgressOnlyInternetGatewayId: &egress})
	do(l, l.ec2.DescribeEgressOnlyInternetGateways, &ec2.DescribeEgressOnlyInternetGatewaysInput{EgressOnlyInternetGatewayIds: []string{egress}})
}
