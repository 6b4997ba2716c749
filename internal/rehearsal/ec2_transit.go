package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// transitGateway joins networks. What its route tables hold is not simulated: every
// attachment reaches every other.
type transitGateway struct {
	ID          string                    `json:"id"`
	Description string                    `json:"description,omitempty"`
	RouteTable  string                    `json:"route_table"` // the default one
	State       types.TransitGatewayState `json:"state"`
	Created     time.Time                 `json:"created"`
	Gone        time.Time                 `json:"gone,omitzero"` // deleted
}

// transitAttachment ties a VPC to a transit gateway through one interface in a
// subnet of each zone. Subnets of other zones do not reach the gateway.
type transitAttachment struct {
	ID         string                              `json:"id"`
	Gateway    string                              `json:"gateway"`
	VPC        string                              `json:"vpc"`
	Subnets    []string                            `json:"subnets"`
	Interfaces []string                            `json:"interfaces"`
	State      types.TransitGatewayAttachmentState `json:"state"`
	Created    time.Time                           `json:"created"`
	Gone       time.Time                           `json:"gone,omitzero"` // deleted
}

// shownDeleted is how long a deleted gateway, attachment or peering is still
// described, in the state deleted: who looks for a path must look at the state.
const shownDeleted = time.Hour

func (ops operations) ec2Transit() {
	ec2On(ops, ec2CreateTransitGateway)
	ec2On(ops, ec2DescribeTransitGateways)
	ec2On(ops, ec2DeleteTransitGateway)
	ec2On(ops, ec2CreateTransitGatewayVpcAttachment)
	ec2On(ops, ec2DescribeTransitGatewayVpcAttachments)
	ec2On(ops, ec2DescribeTransitGatewayAttachments)
	ec2On(ops, ec2DeleteTransitGatewayVpcAttachment)
}

// tickGateways forgets what was deleted long ago.
func (s *ec2State) tickGateways(now time.Time) bool {
	over := func(gone time.Time) bool { return !gone.IsZero() && now.Sub(gone) > shownDeleted }
	before := len(s.Transits) + len(s.Attachments) + len(s.Peerings)
	deleteWhere(s, s.Transits, func(g *transitGateway) bool { return over(g.Gone) })
	deleteWhere(s, s.Attachments, func(a *transitAttachment) bool { return over(a.Gone) })
	deleteWhere(s, s.Peerings, func(p *peering) bool { return over(p.Gone) })
	return before != len(s.Transits)+len(s.Attachments)+len(s.Peerings)
}

// attachmentOf is the attachment of a VPC to a transit gateway; nil where there is none.
func (s *ec2State) attachmentOf(gateway, vpc string) *transitAttachment {
	for _, a := range s.Attachments {
		if a.Gateway == gateway && a.VPC == vpc && a.Gone.IsZero() {
			return a
		}
	}
	return nil
}

// ec2CreateTransitGateway: API_CreateTransitGateway. It is there at once.
func ec2CreateTransitGateway(c *call, in *ec2.CreateTransitGatewayInput) (*ec2.CreateTransitGatewayOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	tags, err := tagsFor(types.ResourceTypeTransitGateway, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	g := &transitGateway{ID: c.id("tgw"), RouteTable: c.id("tgw-rtb"), Description: aws.ToString(in.Description), State: types.TransitGatewayStateAvailable, Created: c.Now}
	put(&c.EC2.Transits, g.ID, g)
	c.tag(g.ID, tags)
	shown := c.showTransit(g)
	return &ec2.CreateTransitGatewayOutput{TransitGateway: &shown}, nil
}

// showTransit: API_TransitGateway.
func (c *call) showTransit(g *transitGateway) types.TransitGateway {
	return types.TransitGateway{
		TransitGatewayId: &g.ID, TransitGatewayArn: aws.String(c.arn("transit-gateway", g.ID)), Description: &g.Description,
		State: g.State, OwnerId: &c.Account, CreationTime: &g.Created, Tags: c.tagList(g.ID),
		Options: &types.TransitGatewayOptions{
			AmazonSideAsn: aws.Int64(64512), DnsSupport: types.DnsSupportValueEnable, VpnEcmpSupport: types.VpnEcmpSupportValueEnable,
			AssociationDefaultRouteTableId: &g.RouteTable, PropagationDefaultRouteTableId: &g.RouteTable,
			AutoAcceptSharedAttachments:  types.AutoAcceptSharedAttachmentsValueDisable,
			DefaultRouteTableAssociation: types.DefaultRouteTableAssociationValueEnable,
			DefaultRouteTablePropagation: types.DefaultRouteTablePropagationValueEnable,
			MulticastSupport:             types.MulticastSupportValueDisable,
		},
	}
}

// ec2DescribeTransitGateways: API_DescribeTransitGateways.
func ec2DescribeTransitGateways(c *call, in *ec2.DescribeTransitGatewaysInput) (*ec2.DescribeTransitGatewaysOutput, error) {
	q := listing{query{in.TransitGatewayIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindTransit, c.ec2().Transits, q, func(g *transitGateway, name string) ([]string, bool) {
		switch name {
		case "transit-gateway-id":
			return one(g.ID), true
		case "state":
			return one(string(g.State)), true
		case "owner-id":
			return one(c.Account), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeTransitGatewaysOutput{TransitGateways: each(found, c.showTransit), NextToken: next}, nil
}

// ec2DeleteTransitGateway: API_DeleteTransitGateway. Not while something is attached.
func ec2DeleteTransitGateway(c *call, in *ec2.DeleteTransitGatewayInput) (*ec2.DeleteTransitGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindTransit, s.Transits, in.TransitGatewayId)
	if err != nil {
		return nil, err
	}
	for _, a := range inOrder(s.Attachments) {
		if a.Gateway == g.ID && a.Gone.IsZero() {
			return nil, apiError("IncorrectState", fmt.Sprintf("%s has non-deleted VPC Attachments: %s.", g.ID, a.ID))
		}
	}
	if g.Gone.IsZero() {
		g.State, g.Gone = types.TransitGatewayStateDeleted, c.Now
	}
	shown := c.showTransit(g)
	shown.State = types.TransitGatewayStateDeleting
	return &ec2.DeleteTransitGatewayOutput{TransitGateway: &shown}, nil
}

// ec2CreateTransitGatewayVpcAttachment: API_CreateTransitGatewayVpcAttachment. One
// subnet of a zone at most. It is there at once.
func ec2CreateTransitGatewayVpcAttachment(c *call, in *ec2.CreateTransitGatewayVpcAttachmentInput) (*ec2.CreateTransitGatewayVpcAttachmentOutput, error) {
	s := c.ec2()
	g, err := get(kindTransit, s.Transits, in.TransitGatewayId)
	if err != nil {
		return nil, err
	}
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := c.attachmentSubnets(v, in.SubnetIds); err != nil {
		return nil, err
	}
	if s.attachmentOf(g.ID, v.ID) != nil {
		return nil, apiError("DuplicateTransitGatewayAttachment", fmt.Sprintf("%s has non-deleted Transit Gateway Attachments with same VPC ID %s.", g.ID, v.ID))
	}
	tags, err := tagsFor(types.ResourceTypeTransitGatewayAttachment, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	a := &transitAttachment{
		ID: c.id("tgw-attach"), Gateway: g.ID, VPC: v.ID, Subnets: slices.Clone(in.SubnetIds),
		State: types.TransitGatewayAttachmentStateAvailable, Created: c.Now,
	}
	for _, sub := range a.Subnets {
		n := c.makeServiceInterface(sub, nil, types.NetworkInterfaceTypeTransitGateway, "Network Interface for Transit Gateway Attachment "+a.ID)
		a.Interfaces = append(a.Interfaces, n.ID)
	}
	put(&s.Attachments, a.ID, a)
	c.tag(a.ID, tags)
	shown := c.showTransitAttachment(a)
	return &ec2.CreateTransitGatewayVpcAttachmentOutput{TransitGatewayVpcAttachment: &shown}, nil
}

func (c *call) attachmentSubnets(v *vpc, ids []string) error {
	if len(ids) == 0 {
		return apiError("MissingParameter", "The request must contain the parameter SubnetIds")
	}
	zones := make(map[string]bool)
	for _, id := range ids {
		sub, err := get(kindSubnet, c.ec2().Subnets, &id)
		if err != nil {
			return err
		}
		if sub.VPC != v.ID {
			return apiError("InvalidSubnetID.NotFound", fmt.Sprintf("The subnet ID '%s' does not exist in %s", id, v.ID))
		}
		if zones[sub.AZ] {
			return apiError("DuplicateSubnetsInSameZone", "Duplicate Subnets for same AZ")
		}
		zones[sub.AZ] = true
	}
	return nil
}

// showTransitAttachment: API_TransitGatewayVpcAttachment.
func (c *call) showTransitAttachment(a *transitAttachment) types.TransitGatewayVpcAttachment {
	return types.TransitGatewayVpcAttachment{
		TransitGatewayAttachmentId: &a.ID, TransitGatewayId: &a.Gateway, VpcId: &a.VPC, VpcOwnerId: aws.String(c.ownerOf(a.VPC)), SubnetIds: a.Subnets,
		State: a.State, CreationTime: &a.Created, Tags: c.tagList(a.ID),
		Options: &types.TransitGatewayVpcAttachmentOptions{
			DnsSupport: types.DnsSupportValueEnable, Ipv6Support: types.Ipv6SupportValueDisable, ApplianceModeSupport: types.ApplianceModeSupportValueDisable,
			SecurityGroupReferencingSupport: types.SecurityGroupReferencingSupportValueEnable,
		},
	}
}

// ec2DescribeTransitGatewayVpcAttachments: API_DescribeTransitGatewayVpcAttachments.
// There is no filter by subnet.
func ec2DescribeTransitGatewayVpcAttachments(c *call, in *ec2.DescribeTransitGatewayVpcAttachmentsInput) (*ec2.DescribeTransitGatewayVpcAttachmentsOutput, error) {
	q := listing{query{in.TransitGatewayAttachmentIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindAttachment, c.ec2().Attachments, q, func(a *transitAttachment, name string) ([]string, bool) {
		if name == "vpc-id" {
			return one(a.VPC), true
		}
		return transitAttachmentField(a, name)
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeTransitGatewayVpcAttachmentsOutput{TransitGatewayVpcAttachments: each(found, c.showTransitAttachment), NextToken: next}, nil
}

// transitAttachmentField are the filters that both descriptions of attachments have.
func transitAttachmentField(a *transitAttachment, name string) ([]string, bool) {
	switch name {
	case "transit-gateway-attachment-id":
		return one(a.ID), true
	case "transit-gateway-id":
		return one(a.Gateway), true
	case "state":
		return one(string(a.State)), true
	}
	return nil, false
}

// ec2DescribeTransitGatewayAttachments: API_DescribeTransitGatewayAttachments. All
// attachments here are of VPCs.
func ec2DescribeTransitGatewayAttachments(c *call, in *ec2.DescribeTransitGatewayAttachmentsInput) (*ec2.DescribeTransitGatewayAttachmentsOutput, error) {
	q := listing{query{in.TransitGatewayAttachmentIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindAttachment, c.ec2().Attachments, q, func(a *transitAttachment, name string) ([]string, bool) {
		switch name {
		case "resource-id":
			return one(a.VPC), true
		case "resource-type":
			return one(string(types.TransitGatewayAttachmentResourceTypeVpc)), true
		case "resource-owner-id":
			return one(c.ownerOf(a.VPC)), true
		case "transit-gateway-owner-id":
			return one(c.Account), true
		}
		return transitAttachmentField(a, name)
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeTransitGatewayAttachmentsOutput{NextToken: next}
	for _, a := range found {
		var association *types.TransitGatewayAttachmentAssociation
		if a.Gone.IsZero() {
			association = &types.TransitGatewayAttachmentAssociation{TransitGatewayRouteTableId: &c.ec2().Transits[a.Gateway].RouteTable, State: types.TransitGatewayAssociationStateAssociated}
		}
		out.TransitGatewayAttachments = append(out.TransitGatewayAttachments, types.TransitGatewayAttachment{
			TransitGatewayAttachmentId: &a.ID, TransitGatewayId: &a.Gateway, TransitGatewayOwnerId: &c.Account, ResourceId: &a.VPC,
			ResourceOwnerId: aws.String(c.ownerOf(a.VPC)), ResourceType: types.TransitGatewayAttachmentResourceTypeVpc, State: a.State,
			CreationTime: &a.Created, Association: association, Tags: c.tagList(a.ID),
		})
	}
	return out, nil
}

// ec2DeleteTransitGatewayVpcAttachment: API_DeleteTransitGatewayVpcAttachment.
// Routes to the gateway stay and lead nowhere.
func ec2DeleteTransitGatewayVpcAttachment(c *call, in *ec2.DeleteTransitGatewayVpcAttachmentInput) (*ec2.DeleteTransitGatewayVpcAttachmentOutput, error) {
	s := c.ec2()
	a, err := get(kindAttachment, s.Attachments, in.TransitGatewayAttachmentId)
	if err != nil {
		return nil, err
	}
	if !a.Gone.IsZero() {
		return nil, apiError("IncorrectState", fmt.Sprintf("%s is in invalid state", a.ID))
	}
	for _, id := range a.Interfaces {
		s.dropInterface(s.Interfaces[id])
	}
	a.Interfaces, a.State, a.Gone = nil, types.TransitGatewayAttachmentStateDeleted, c.Now
	shown := c.showTransitAttachment(a)
	shown.State = types.TransitGatewayAttachmentStateDeleting
	return &ec2.DeleteTransitGatewayVpcAttachmentOutput{TransitGatewayVpcAttachment: &shown}, nil
}
