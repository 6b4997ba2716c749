package rehearsal

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// vpnGateway is a virtual private gateway. What is behind it (VPN connections,
// Direct Connect) is not simulated.
type vpnGateway struct {
	ID  string `json:"id"`
	VPC string `json:"vpc,omitempty"`
}

// egressGateway lets IPv6 out and no new connection in.
type egressGateway struct {
	ID  string `json:"id"`
	VPC string `json:"vpc"`
}

func (ops operations) ec2Gateways() {
	ec2On(ops, ec2CreateVpnGateway)
	ec2On(ops, ec2AttachVpnGateway)
	ec2On(ops, ec2DetachVpnGateway)
	ec2On(ops, ec2DescribeVpnGateways)
	ec2On(ops, ec2CreateEgressOnlyInternetGateway)
	ec2On(ops, ec2DescribeEgressOnlyInternetGateways)
	ec2On(ops, ec2DeleteEgressOnlyInternetGateway)
}

// ec2CreateVpnGateway: API_CreateVpnGateway.
func ec2CreateVpnGateway(c *call, in *ec2.CreateVpnGatewayInput) (*ec2.CreateVpnGatewayOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	if in.Type != types.GatewayTypeIpsec1 {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter type is invalid.", in.Type))
	}
	tags, err := tagsFor(types.ResourceTypeVpnGateway, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	g := &vpnGateway{ID: c.id("vgw")}
	put(&c.EC2.VPNs, g.ID, g)
	c.tag(g.ID, tags)
	shown := c.showVPN(g)
	return &ec2.CreateVpnGatewayOutput{VpnGateway: &shown}, nil
}

// showVPN: API_VpnGateway.
func (c *call) showVPN(g *vpnGateway) types.VpnGateway {
	out := types.VpnGateway{
		VpnGatewayId: &g.ID, State: types.VpnStateAvailable, Type: types.GatewayTypeIpsec1, AmazonSideAsn: aws.Int64(64512), Tags: c.tagList(g.ID),
		VpcAttachments: []types.VpcAttachment{},
	}
	if g.VPC != "" {
		out.VpcAttachments = append(out.VpcAttachments, types.VpcAttachment{VpcId: &g.VPC, State: types.AttachmentStatusAttached})
	}
	return out
}

// ec2AttachVpnGateway: API_AttachVpnGateway. One to a VPC.
func ec2AttachVpnGateway(c *call, in *ec2.AttachVpnGatewayInput) (*ec2.AttachVpnGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindVPN, s.VPNs, in.VpnGatewayId)
	if err != nil {
		return nil, err
	}
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	for _, o := range s.VPNs {
		if o.VPC == v.ID && o != g {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Network %s already has a virtual private gateway attached: %s", v.ID, o.ID))
		}
	}
	if g.VPC != "" && g.VPC != v.ID {
		return nil, apiError("VpnGatewayAttachmentLimitExceeded", "The maximum number of attachments has been reached.")
	}
	g.VPC = v.ID
	return &ec2.AttachVpnGatewayOutput{VpcAttachment: &types.VpcAttachment{VpcId: &v.ID, State: types.AttachmentStatusAttached}}, nil
}

// ec2DetachVpnGateway: API_DetachVpnGateway. Routes to it stay and lead nowhere.
func ec2DetachVpnGateway(c *call, in *ec2.DetachVpnGatewayInput) (*ec2.DetachVpnGatewayOutput, error) {
	g, err := get(kindVPN, c.ec2().VPNs, in.VpnGatewayId)
	if err != nil {
		return nil, err
	}
	if g.VPC == "" || g.VPC != aws.ToString(in.VpcId) {
		return nil, apiError("InvalidVpnGatewayAttachment.NotFound", fmt.Sprintf("The attachment with vpn gateway ID '%s' and vpc ID '%s' does not exist", g.ID, aws.ToString(in.VpcId)))
	}
	g.VPC = ""
	return &ec2.DetachVpnGatewayOutput{}, nil
}

// ec2DescribeVpnGateways: API_DescribeVpnGateways. It has no pages.
func ec2DescribeVpnGateways(c *call, in *ec2.DescribeVpnGatewaysInput) (*ec2.DescribeVpnGatewaysOutput, error) {
	s := c.ec2()
	ids, err := find(c, kindVPN, s.VPNs, query{in.VpnGatewayIds, in.Filters}, func(g *vpnGateway, name string) ([]string, bool) {
		switch name {
		case "vpn-gateway-id":
			return one(g.ID), true
		case "attachment.vpc-id":
			return one(g.VPC), true
		case "attachment.state":
			if g.VPC == "" {
				return nil, true
			}
			return one(string(types.AttachmentStatusAttached)), true
		case "state":
			return one(string(types.VpnStateAvailable)), true
		case "type":
			return one(string(types.GatewayTypeIpsec1)), true
		case "amazon-side-asn":
			return one("64512"), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpnGatewaysOutput{}
	for _, id := range ids {
		out.VpnGateways = append(out.VpnGateways, c.showVPN(s.VPNs[id]))
	}
	return out, nil
}

// ec2CreateEgressOnlyInternetGateway: API_CreateEgressOnlyInternetGateway.
func ec2CreateEgressOnlyInternetGateway(c *call, in *ec2.CreateEgressOnlyInternetGatewayInput) (*ec2.CreateEgressOnlyInternetGatewayOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateEgressOnlyInternetGateway", in.ClientToken, in, func() (string, error) {
		v, err := get(kindVPC, s.VPCs, in.VpcId)
		if err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeEgressOnlyInternetGateway, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		g := &egressGateway{ID: c.id("eigw"), VPC: v.ID}
		put(&s.EgressOnly, g.ID, g)
		c.tag(g.ID, tags)
		return g.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showEgressOnly(s.EgressOnly[made])
	return &ec2.CreateEgressOnlyInternetGatewayOutput{EgressOnlyInternetGateway: &shown, ClientToken: in.ClientToken}, nil
}

// showEgressOnly: API_EgressOnlyInternetGateway.
func (c *call) showEgressOnly(g *egressGateway) types.EgressOnlyInternetGateway {
	return types.EgressOnlyInternetGateway{
		EgressOnlyInternetGatewayId: &g.ID, Tags: c.tagList(g.ID),
		Attachments: []types.InternetGatewayAttachment{{VpcId: &g.VPC, State: types.AttachmentStatusAttached}},
	}
}

// ec2DescribeEgressOnlyInternetGateways: API_DescribeEgressOnlyInternetGateways. It
// filters by tags only.
func ec2DescribeEgressOnlyInternetGateways(c *call, in *ec2.DescribeEgressOnlyInternetGatewaysInput) (*ec2.DescribeEgressOnlyInternetGatewaysOutput, error) {
	q := listing{query{in.EgressOnlyInternetGatewayIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindEgressOnly, c.ec2().EgressOnly, q, func(*egressGateway, string) ([]string, bool) { return nil, false })
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeEgressOnlyInternetGatewaysOutput{EgressOnlyInternetGateways: each(found, c.showEgressOnly), NextToken: next}, nil
}

// ec2DeleteEgressOnlyInternetGateway: API_DeleteEgressOnlyInternetGateway.
func ec2DeleteEgressOnlyInternetGateway(c *call, in *ec2.DeleteEgressOnlyInternetGatewayInput) (*ec2.DeleteEgressOnlyInternetGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindEgressOnly, s.EgressOnly, in.EgressOnlyInternetGatewayId)
	if err != nil {
		return nil, err
	}
	deleteWhere(s, s.EgressOnly, func(o *egressGateway) bool { return o == g })
	return &ec2.DeleteEgressOnlyInternetGatewayOutput{ReturnCode: aws.Bool(true)}, nil
}
