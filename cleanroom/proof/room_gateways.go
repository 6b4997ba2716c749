package proof

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (r *roomReader) attachedHere() []types.Filter {
	return []types.Filter{{Name: aws.String("attachment.vpc-id"), Values: []string{r.room.VPC}}}
}

func (r *roomReader) internetGateways(ctx context.Context) error {
	pages := ec2.NewDescribeInternetGatewaysPaginator(r.ec2, &ec2.DescribeInternetGatewaysInput{Filters: r.attachedHere()})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.InternetGateways {
			r.gateway(g.InternetGatewayId, "an Internet gateway")
		}
	}
	return nil
}

// egressOnly asks for all there are: they can't be filtered by VPC (API_DescribeEgressOnlyInternetGateways).
func (r *roomReader) egressOnly(ctx context.Context) error {
	pages := ec2.NewDescribeEgressOnlyInternetGatewaysPaginator(r.ec2, &ec2.DescribeEgressOnlyInternetGatewaysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.EgressOnlyInternetGateways {
			for _, a := range g.Attachments {
				if aws.ToString(a.VpcId) == r.room.VPC {
					r.gateway(g.EgressOnlyInternetGatewayId, "an egress-only Internet gateway")
				}
			}
		}
	}
	return nil
}

func (r *roomReader) natGateways(ctx context.Context) error {
	pages := ec2.NewDescribeNatGatewaysPaginator(r.ec2, &ec2.DescribeNatGatewaysInput{Filter: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.NatGateways {
			if g.State != types.NatGatewayStateDeleted && g.State != types.NatGatewayStateFailed {
				r.gateway(g.NatGatewayId, "a NAT gateway")
			}
		}
	}
	return nil
}

// peerings have no filter by either side's VPC; one that is over still shows for a while.
func (r *roomReader) peerings(ctx context.Context) error {
	for _, side := range []string{"requester-vpc-info.vpc-id", "accepter-vpc-info.vpc-id"} {
		pages := ec2.NewDescribeVpcPeeringConnectionsPaginator(r.ec2, &ec2.DescribeVpcPeeringConnectionsInput{
			Filters: []types.Filter{{Name: aws.String(side), Values: []string{r.room.VPC}}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, c := range page.VpcPeeringConnections {
				if c.Status != nil {
					switch c.Status.Code {
					case types.VpcPeeringConnectionStateReasonCodeDeleted, types.VpcPeeringConnectionStateReasonCodeRejected,
						types.VpcPeeringConnectionStateReasonCodeExpired, types.VpcPeeringConnectionStateReasonCodeFailed:
						continue
					}
				}
				r.gateway(c.VpcPeeringConnectionId, "a peering with another network")
			}
		}
	}
	return nil
}

func (r *roomReader) transits(ctx context.Context) error {
	pages := ec2.NewDescribeTransitGatewayVpcAttachmentsPaginator(r.ec2, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.TransitGatewayVpcAttachments {
			switch a.State {
			case types.TransitGatewayAttachmentStateDeleted, types.TransitGatewayAttachmentStateRejected, types.TransitGatewayAttachmentStateFailed:
			default:
				r.gateway(a.TransitGatewayAttachmentId, "an attachment to transit gateway "+aws.ToString(a.TransitGatewayId))
			}
		}
	}
	return nil
}

func (r *roomReader) vpnGateways(ctx context.Context) error {
	out, err := r.ec2.DescribeVpnGateways(ctx, &ec2.DescribeVpnGatewaysInput{Filters: r.attachedHere()})
	if err != nil {
		return err
	}
	for _, g := range out.VpnGateways {
		for _, a := range g.VpcAttachments {
			if aws.ToString(a.VpcId) == r.room.VPC && a.State != types.AttachmentStatusDetached {
				r.gateway(g.VpnGatewayId, "a virtual private gateway")
			}
		}
	}
	return nil
}
