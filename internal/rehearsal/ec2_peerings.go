package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// peering joins two VPCs. The accepter can be another account's: the simulated
// account knows nothing of that VPC but what is here.
type peering struct {
	ID        string                                    `json:"id"`
	Requester peeringSide                               `json:"requester"`
	Accepter  peeringSide                               `json:"accepter"`
	State     types.VpcPeeringConnectionStateReasonCode `json:"state"`
	Expires   time.Time                                 `json:"expires"` // where nobody accepts
	Gone      time.Time                                 `json:"gone,omitzero"`
}

type peeringSide struct {
	VPC   string `json:"vpc"`
	Owner string `json:"owner"`
	CIDR  string `json:"cidr,omitempty"` // of the accepter's VPC once it has accepted
}

// peeringLife is how long a request waits ("VPC peering connection lifecycle", VPC Peering Guide).
const peeringLife = 7 * 24 * time.Hour

func (ops operations) ec2Peerings() {
	ec2On(ops, ec2CreateVpcPeeringConnection)
	ec2On(ops, ec2AcceptVpcPeeringConnection)
	ec2On(ops, ec2DescribeVpcPeeringConnections)
	ec2On(ops, ec2DeleteVpcPeeringConnection)
}

// ec2CreateVpcPeeringConnection: API_CreateVpcPeeringConnection. It waits for the
// accepter, also where that is the same account.
func ec2CreateVpcPeeringConnection(c *call, in *ec2.CreateVpcPeeringConnectionInput) (*ec2.CreateVpcPeeringConnectionOutput, error) {
	s := c.ec2()
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if err := kindVPC.check(aws.ToString(in.PeerVpcId)); err != nil {
		return nil, err
	}
	p := &peering{
		Requester: peeringSide{VPC: v.ID, Owner: c.ownerOf(v.ID), CIDR: v.CIDR},
		Accepter:  peeringSide{VPC: *in.PeerVpcId, Owner: valueOr(in.PeerOwnerId, c.Account)},
		State:     types.VpcPeeringConnectionStateReasonCodePendingAcceptance, Expires: c.Now.Add(peeringLife),
	}
	if p.Accepter.Owner == c.Account && s.VPCs[p.Accepter.VPC] == nil {
		return nil, kindVPC.missing(p.Accepter.VPC)
	}
	tags, err := tagsFor(types.ResourceTypeVpcPeeringConnection, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	p.ID = c.id("pcx")
	put(&s.Peerings, p.ID, p)
	c.tag(p.ID, tags)
	shown := c.showPeering(p)
	shown.Status = &types.VpcPeeringConnectionStateReason{
		Code: types.VpcPeeringConnectionStateReasonCodeInitiatingRequest, Message: aws.String("Initiating Request to " + p.Accepter.Owner),
	}
	return &ec2.CreateVpcPeeringConnectionOutput{VpcPeeringConnection: &shown}, nil
}

// ec2AcceptVpcPeeringConnection: API_AcceptVpcPeeringConnection, by the accepter's owner only.
func ec2AcceptVpcPeeringConnection(c *call, in *ec2.AcceptVpcPeeringConnectionInput) (*ec2.AcceptVpcPeeringConnectionOutput, error) {
	s := c.ec2()
	p, err := get(kindPeering, s.Peerings, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	v := s.VPCs[p.Accepter.VPC]
	if v == nil || p.Accepter.Owner != c.Account {
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("User %s cannot accept peering %s", c.Account, p.ID))
	}
	if p.State != types.VpcPeeringConnectionStateReasonCodePendingAcceptance && p.State != types.VpcPeeringConnectionStateReasonCodeActive {
		return nil, apiError("InvalidStateTransition", fmt.Sprintf("Invalid state transition for %s, attempted to transition from %s to active", p.ID, p.State))
	}
	p.State, p.Accepter.CIDR = types.VpcPeeringConnectionStateReasonCodeActive, v.CIDR
	shown := c.showPeering(p)
	return &ec2.AcceptVpcPeeringConnectionOutput{VpcPeeringConnection: &shown}, nil
}

// showPeering: API_VpcPeeringConnection.
func (c *call) showPeering(p *peering) types.VpcPeeringConnection {
	side := func(s peeringSide) *types.VpcPeeringConnectionVpcInfo {
		info := &types.VpcPeeringConnectionVpcInfo{VpcId: aws.String(s.VPC), OwnerId: aws.String(s.Owner), Region: &c.Region, CidrBlock: nilIfEmpty(s.CIDR)}
		if s.CIDR != "" {
			info.CidrBlockSet = []types.CidrBlock{{CidrBlock: aws.String(s.CIDR)}}
		}
		return info
	}
	out := types.VpcPeeringConnection{
		VpcPeeringConnectionId: &p.ID, RequesterVpcInfo: side(p.Requester), AccepterVpcInfo: side(p.Accepter), Tags: c.tagList(p.ID),
		Status: &types.VpcPeeringConnectionStateReason{Code: p.State, Message: aws.String(p.message())},
	}
	if p.State == types.VpcPeeringConnectionStateReasonCodePendingAcceptance {
		out.ExpirationTime = &p.Expires
	}
	return out
}

func (p *peering) message() string {
	switch p.State {
	case types.VpcPeeringConnectionStateReasonCodeActive:
		return "Active"
	case types.VpcPeeringConnectionStateReasonCodeDeleted:
		return "Deleted by " + p.Requester.Owner
	default:
		return "Pending Acceptance by " + p.Accepter.Owner
	}
}

// ec2DescribeVpcPeeringConnections: API_DescribeVpcPeeringConnections. A VPC can be
// on either side: two filters, and two requests.
func ec2DescribeVpcPeeringConnections(c *call, in *ec2.DescribeVpcPeeringConnectionsInput) (*ec2.DescribeVpcPeeringConnectionsOutput, error) {
	q := listing{query{in.VpcPeeringConnectionIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindPeering, c.ec2().Peerings, q, peeringField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeVpcPeeringConnectionsOutput{VpcPeeringConnections: each(found, c.showPeering), NextToken: next}, nil
}

func peeringField(p *peering, name string) ([]string, bool) {
	switch name {
	case "vpc-peering-connection-id":
		return one(p.ID), true
	case "status-code":
		return one(string(p.State)), true
	case "status-message":
		return one(p.message()), true
	case "requester-vpc-info.vpc-id":
		return one(p.Requester.VPC), true
	case "requester-vpc-info.owner-id":
		return one(p.Requester.Owner), true
	case "requester-vpc-info.cidr-block":
		return one(p.Requester.CIDR), true
	case "accepter-vpc-info.vpc-id":
		return one(p.Accepter.VPC), true
	case "accepter-vpc-info.owner-id":
		return one(p.Accepter.Owner), true
	case "accepter-vpc-info.cidr-block":
		return one(p.Accepter.CIDR), true
	}
	return nil, false
}

// ec2DeleteVpcPeeringConnection: API_DeleteVpcPeeringConnection. Either side may;
// routes to it stay and lead nowhere.
func ec2DeleteVpcPeeringConnection(c *call, in *ec2.DeleteVpcPeeringConnectionInput) (*ec2.DeleteVpcPeeringConnectionOutput, error) {
	p, err := get(kindPeering, c.ec2().Peerings, in.VpcPeeringConnectionId)
	if err != nil {
		return nil, err
	}
	if !p.Gone.IsZero() {
		return nil, apiError("InvalidStateTransition", fmt.Sprintf("Invalid state transition for %s, attempted to transition from deleted to deleting", p.ID))
	}
	p.State, p.Gone = types.VpcPeeringConnectionStateReasonCodeDeleted, c.Now
	return &ec2.DeleteVpcPeeringConnectionOutput{Return: aws.Bool(true)}, nil
}
