package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type routeTable struct {
	ID           string             `json:"id"`
	VPC          string             `json:"vpc"`
	Routes       []route            `json:"routes"`
	Associations []routeAssociation `json:"associations"`
}

// routeAssociation: the main table's has no subnet and holds for those that have no other.
type routeAssociation struct {
	ID     string `json:"id"`
	Subnet string `json:"subnet,omitempty"`
	Main   bool   `json:"main,omitempty"`
}

type route struct {
	To     string `json:"to"`     // CIDR block, IPv6 CIDR block or prefix list
	Target string `json:"target"` // local, or an ID
}

type internetGateway struct {
	ID  string `json:"id"`
	VPC string `json:"vpc,omitempty"`
}

type natGateway struct {
	ID        string    `json:"id"`
	VPC       string    `json:"vpc"`
	Subnet    string    `json:"subnet"`
	Interface string    `json:"interface"`
	Address   string    `json:"address"` // allocation ID
	Created   time.Time `json:"created"`
}

func (ops operations) ec2Routes() {
	ec2On(ops, ec2CreateRouteTable)
	ec2On(ops, ec2DescribeRouteTables)
	ec2On(ops, ec2DeleteRouteTable)
	ec2On(ops, ec2AssociateRouteTable)
	ec2On(ops, ec2DisassociateRouteTable)
	ec2On(ops, ec2CreateRoute)
	ec2On(ops, ec2DeleteRoute)
	ec2On(ops, ec2CreateInternetGateway)
	ec2On(ops, ec2AttachInternetGateway)
	ec2On(ops, ec2DetachInternetGateway)
	ec2On(ops, ec2DeleteInternetGateway)
	ec2On(ops, ec2DescribeInternetGateways)
	ec2On(ops, ec2CreateNatGateway)
	ec2On(ops, ec2DescribeNatGateways)
}

func (t *routeTable) main() bool {
	return slices.ContainsFunc(t.Associations, func(a routeAssociation) bool { return a.Main })
}

func (t *routeTable) addLocal(v *vpc) {
	t.Routes = append(t.Routes, route{To: v.CIDR, Target: "local"})
	if v.IPv6CIDR != "" {
		t.Routes = append(t.Routes, route{To: v.IPv6CIDR, Target: "local"})
	}
}

// hasGateway reports whether the VPC has an Internet gateway.
func (w *world) hasGateway(vpc string) bool {
	for _, g := range w.EC2.Gateways {
		if g.VPC == vpc {
			return true
		}
	}
	return false
}

// ec2CreateRouteTable: API_CreateRouteTable.
func ec2CreateRouteTable(c *call, in *ec2.CreateRouteTableInput) (*ec2.CreateRouteTableOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateRouteTable", in.ClientToken, in, func() (string, error) {
		v, err := get(kindVPC, s.VPCs, in.VpcId)
		if err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeRouteTable, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		t := &routeTable{ID: c.id("rtb"), VPC: v.ID}
		t.addLocal(v)
		s.RouteTables[t.ID] = t
		c.tag(t.ID, tags)
		return t.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showRouteTable(s.RouteTables[made])
	return &ec2.CreateRouteTableOutput{RouteTable: &shown, ClientToken: in.ClientToken}, nil
}

// showRouteTable: API_RouteTable.
func (c *call) showRouteTable(t *routeTable) types.RouteTable {
	out := types.RouteTable{RouteTableId: &t.ID, VpcId: &t.VPC, OwnerId: aws.String(c.ownerOf(t.VPC)), Tags: c.tagList(t.ID)}
	for n := range t.Associations {
		a := &t.Associations[n]
		out.Associations = append(out.Associations, types.RouteTableAssociation{
			RouteTableAssociationId: &a.ID, RouteTableId: &t.ID, SubnetId: nilIfEmpty(a.Subnet), Main: &a.Main,
			AssociationState: &types.RouteTableAssociationState{State: types.RouteTableAssociationStateCodeAssociated},
		})
	}
	for _, r := range t.Routes {
		shown := r.show()
		if !c.leads(t.VPC, r.Target) {
			shown.State = types.RouteStateBlackhole
		}
		out.Routes = append(out.Routes, shown)
	}
	return out
}

// leads reports whether a route's target is there and attached to the VPC: where
// it isn't, the route is a black hole (API_Route).
func (w *world) leads(vpc, target string) bool {
	s := &w.EC2
	switch prefix, _, _ := strings.Cut(target, "-"); prefix {
	case "igw":
		return s.Gateways[target] != nil && s.Gateways[target].VPC == vpc
	case "eigw":
		return s.EgressOnly[target] != nil && s.EgressOnly[target].VPC == vpc
	case "nat":
		return s.NATs[target] != nil
	case "tgw":
		return s.attachmentOf(target, vpc) != nil
	case "pcx":
		return s.Peerings[target] != nil && s.Peerings[target].State == types.VpcPeeringConnectionStateReasonCodeActive
	case "vgw":
		return s.VPNs[target] != nil && s.VPNs[target].VPC == vpc
	case "eni":
		return s.Interfaces[target] != nil && s.Interfaces[target].Attachment != nil
	default:
		return true
	}
}

// show puts the target in the field that its kind has.
func (r route) show() types.Route {
	out := types.Route{State: types.RouteStateActive, Origin: types.RouteOriginCreateRoute}
	target := aws.String(r.Target)
	switch prefix, _, _ := strings.Cut(r.Target, "-"); prefix {
	case "local":
		out.GatewayId, out.Origin = target, types.RouteOriginCreateRouteTable
	case "nat":
		out.NatGatewayId = target
	case "eni":
		out.NetworkInterfaceId = target
	case "tgw":
		out.TransitGatewayId = target
	case "pcx":
		out.VpcPeeringConnectionId = target
	case "eigw":
		out.EgressOnlyInternetGatewayId = target
	default:
		out.GatewayId = target
	}
	switch {
	case strings.HasPrefix(r.To, "pl-"):
		out.DestinationPrefixListId = aws.String(r.To)
	case strings.Contains(r.To, ":"):
		out.DestinationIpv6CidrBlock = aws.String(r.To)
	default:
		out.DestinationCidrBlock = aws.String(r.To)
	}
	return out
}

// ec2DescribeRouteTables: API_DescribeRouteTables.
func ec2DescribeRouteTables(c *call, in *ec2.DescribeRouteTablesInput) (*ec2.DescribeRouteTablesOutput, error) {
	q := listing{query{in.RouteTableIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindRouteTable, c.ec2().RouteTables, q, routeTableField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeRouteTablesOutput{RouteTables: each(found, c.showRouteTable), NextToken: next}, nil
}

func routeTableField(t *routeTable, name string) (values []string, ok bool) {
	for _, a := range t.Associations {
		switch name {
		case "association.subnet-id":
			values = append(values, one(a.Subnet)...)
		case "association.route-table-association-id":
			values = append(values, a.ID)
		case "association.main":
			values = append(values, yes(a.Main)...)
		}
	}
	for _, r := range t.Routes {
		shown := r.show()
		switch name {
		case "route.destination-cidr-block":
			values = append(values, one(aws.ToString(shown.DestinationCidrBlock))...)
		case "route.gateway-id":
			values = append(values, one(aws.ToString(shown.GatewayId))...)
		case "route.nat-gateway-id":
			values = append(values, one(aws.ToString(shown.NatGatewayId))...)
		case "route.transit-gateway-id":
			values = append(values, one(aws.ToString(shown.TransitGatewayId))...)
		}
	}
	switch name {
	case "route-table-id":
		return one(t.ID), true
	case "vpc-id":
		return one(t.VPC), true
	case "association.subnet-id", "association.route-table-association-id", "association.main", "route.destination-cidr-block",
		"route.gateway-id", "route.nat-gateway-id", "route.transit-gateway-id":
		return values, true
	}
	return nil, false
}

// ec2DeleteRouteTable: API_DeleteRouteTable. Neither the main one nor one with subnets.
func ec2DeleteRouteTable(c *call, in *ec2.DeleteRouteTableInput) (*ec2.DeleteRouteTableOutput, error) {
	s := c.ec2()
	t, err := get(kindRouteTable, s.RouteTables, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if len(t.Associations) > 0 {
		return nil, dependency(kindRouteTable, t.ID)
	}
	deleteWhere(s, s.RouteTables, func(o *routeTable) bool { return o == t })
	return &ec2.DeleteRouteTableOutput{}, nil
}

// ec2AssociateRouteTable: API_AssociateRouteTable. A subnet has one table of its own at most.
func ec2AssociateRouteTable(c *call, in *ec2.AssociateRouteTableInput) (*ec2.AssociateRouteTableOutput, error) {
	s := c.ec2()
	t, err := get(kindRouteTable, s.RouteTables, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	sub, err := get(kindSubnet, s.Subnets, in.SubnetId)
	if err != nil {
		return nil, err
	}
	if sub.VPC != t.VPC {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Route table %s and network %s belong to different networks", t.ID, sub.ID))
	}
	for _, o := range s.RouteTables {
		for _, a := range o.Associations {
			if a.Subnet == sub.ID {
				return nil, apiError("Resource.AlreadyAssociated", fmt.Sprintf("the specified association for route table %s conflicts with an existing association", t.ID))
			}
		}
	}
	a := routeAssociation{ID: c.id("rtbassoc"), Subnet: sub.ID}
	t.Associations = append(t.Associations, a)
	return &ec2.AssociateRouteTableOutput{
		AssociationId: &a.ID, AssociationState: &types.RouteTableAssociationState{State: types.RouteTableAssociationStateCodeAssociated},
	}, nil
}

// ec2DisassociateRouteTable: API_DisassociateRouteTable. The subnet falls back to the main table.
func ec2DisassociateRouteTable(c *call, in *ec2.DisassociateRouteTableInput) (*ec2.DisassociateRouteTableOutput, error) {
	for _, t := range c.ec2().RouteTables {
		n := slices.IndexFunc(t.Associations, func(a routeAssociation) bool { return a.ID == aws.ToString(in.AssociationId) })
		if n < 0 {
			continue
		}
		if t.Associations[n].Main {
			return nil, apiError("InvalidParameterValue", "cannot disassociate the main route table association "+t.Associations[n].ID)
		}
		t.Associations = slices.Delete(t.Associations, n, n+1)
		return &ec2.DisassociateRouteTableOutput{}, nil
	}
	return nil, apiError("InvalidAssociationID.NotFound", fmt.Sprintf("The association ID '%s' does not exist", aws.ToString(in.AssociationId)))
}

// ec2CreateRoute: API_CreateRoute. A transit gateway must be attached to the VPC.
func ec2CreateRoute(c *call, in *ec2.CreateRouteInput) (*ec2.CreateRouteOutput, error) {
	s := c.ec2()
	t, err := get(kindRouteTable, s.RouteTables, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(t.VPC, "CreateRoute"); err != nil {
		return nil, err
	}
	r := route{To: aws.ToString(in.DestinationCidrBlock) + aws.ToString(in.DestinationIpv6CidrBlock) + aws.ToString(in.DestinationPrefixListId)}
	if in.DestinationPrefixListId == nil {
		p, err := netip.ParsePrefix(r.To)
		if err != nil {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", r.To))
		}
		r.To = p.Masked().String()
	}
	for _, target := range []*string{in.GatewayId, in.NatGatewayId, in.NetworkInterfaceId, in.TransitGatewayId, in.VpcPeeringConnectionId, in.EgressOnlyInternetGatewayId, in.VpcEndpointId} {
		if target != nil {
			r.Target = *target
		}
	}
	if r.Target == "" {
		return nil, apiError("MissingParameter", "The request must contain exactly one of the targets of a route")
	}
	if k, exists := s.kindOf(r.Target); k.prefix != "" && !exists {
		return nil, k.missing(r.Target)
	}
	if in.TransitGatewayId != nil && s.attachmentOf(r.Target, t.VPC) == nil {
		return nil, kindTransit.missing(r.Target)
	}
	if slices.ContainsFunc(t.Routes, func(o route) bool { return o.To == r.To }) {
		return nil, apiError("RouteAlreadyExists", fmt.Sprintf("The route identified by %s already exists.", r.To))
	}
	t.Routes = append(t.Routes, r)
	return &ec2.CreateRouteOutput{Return: aws.Bool(true)}, nil
}

// ec2DeleteRoute: API_DeleteRoute.
func ec2DeleteRoute(c *call, in *ec2.DeleteRouteInput) (*ec2.DeleteRouteOutput, error) {
	t, err := get(kindRouteTable, c.ec2().RouteTables, in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(t.VPC, "DeleteRoute"); err != nil {
		return nil, err
	}
	to := aws.ToString(in.DestinationCidrBlock) + aws.ToString(in.DestinationIpv6CidrBlock) + aws.ToString(in.DestinationPrefixListId)
	n := slices.IndexFunc(t.Routes, func(r route) bool { return r.To == to && r.Target != "local" })
	if n < 0 {
		return nil, apiError("InvalidRoute.NotFound", fmt.Sprintf("no route with destination-cidr-block %s in route table %s", to, t.ID))
	}
	t.Routes = slices.Delete(t.Routes, n, n+1)
	return &ec2.DeleteRouteOutput{}, nil
}

// ec2CreateInternetGateway: API_CreateInternetGateway.
func ec2CreateInternetGateway(c *call, in *ec2.CreateInternetGatewayInput) (*ec2.CreateInternetGatewayOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	tags, err := tagsFor(types.ResourceTypeInternetGateway, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	g := &internetGateway{ID: c.id("igw")}
	c.EC2.Gateways[g.ID] = g
	c.tag(g.ID, tags)
	return &ec2.CreateInternetGatewayOutput{InternetGateway: &types.InternetGateway{InternetGatewayId: &g.ID, OwnerId: &c.Account, Tags: c.tagList(g.ID)}}, nil
}

// ec2AttachInternetGateway: API_AttachInternetGateway. One to a VPC.
func ec2AttachInternetGateway(c *call, in *ec2.AttachInternetGatewayInput) (*ec2.AttachInternetGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindGateway, s.Gateways, in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if g.VPC != "" || c.hasGateway(v.ID) {
		return nil, apiError("Resource.AlreadyAssociated", fmt.Sprintf("resource %s is already attached to network %s", g.ID, v.ID))
	}
	g.VPC = v.ID
	return &ec2.AttachInternetGatewayOutput{}, nil
}

// ec2DetachInternetGateway: API_DetachInternetGateway. Not while the VPC has public addresses.
func ec2DetachInternetGateway(c *call, in *ec2.DetachInternetGatewayInput) (*ec2.DetachInternetGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindGateway, s.Gateways, in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	if g.VPC == "" || g.VPC != aws.ToString(in.VpcId) {
		return nil, apiError("Gateway.NotAttached", fmt.Sprintf("resource %s is not attached to network %s", g.ID, aws.ToString(in.VpcId)))
	}
	for _, n := range s.Interfaces {
		if n.VPC == g.VPC && c.associationFor(n, n.IPs[0]) != nil {
			return nil, apiError("DependencyViolation", fmt.Sprintf("Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", g.VPC))
		}
	}
	g.VPC = ""
	return &ec2.DetachInternetGatewayOutput{}, nil
}

// ec2DeleteInternetGateway: API_DeleteInternetGateway.
func ec2DeleteInternetGateway(c *call, in *ec2.DeleteInternetGatewayInput) (*ec2.DeleteInternetGatewayOutput, error) {
	s := c.ec2()
	g, err := get(kindGateway, s.Gateways, in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	if g.VPC != "" {
		return nil, dependency(kindGateway, g.ID)
	}
	deleteWhere(s, s.Gateways, func(o *internetGateway) bool { return o == g })
	return &ec2.DeleteInternetGatewayOutput{}, nil
}

// ec2DescribeInternetGateways: API_DescribeInternetGateways.
func ec2DescribeInternetGateways(c *call, in *ec2.DescribeInternetGatewaysInput) (*ec2.DescribeInternetGatewaysOutput, error) {
	q := listing{query{in.InternetGatewayIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindGateway, c.ec2().Gateways, q, func(g *internetGateway, name string) ([]string, bool) {
		switch name {
		case "internet-gateway-id":
			return one(g.ID), true
		case "attachment.vpc-id":
			return one(g.VPC), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInternetGatewaysOutput{NextToken: next}
	for _, g := range found {
		shown := types.InternetGateway{InternetGatewayId: &g.ID, OwnerId: &c.Account, Tags: c.tagList(g.ID)}
		if g.VPC != "" {
			// An attached Internet gateway shows available, not attached.
			shown.Attachments = []types.InternetGatewayAttachment{{VpcId: &g.VPC, State: "available"}}
		}
		out.InternetGateways = append(out.InternetGateways, shown)
	}
	return out, nil
}

// ec2CreateNatGateway: API_CreateNatGateway, public ones. It takes the Elastic IP
// onto an interface of its own, and is there at once.
func ec2CreateNatGateway(c *call, in *ec2.CreateNatGatewayInput) (*ec2.CreateNatGatewayOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateNatGateway", in.ClientToken, in, func() (string, error) {
		sub, err := get(kindSubnet, s.Subnets, in.SubnetId)
		if err != nil {
			return "", err
		}
		a, err := get(kindAddress, s.Addresses, in.AllocationId)
		if err != nil {
			return "", err
		}
		if a.Association != "" {
			return "", apiError("Resource.AlreadyAssociated", fmt.Sprintf("resource %s is already associated with associate-id %s", a.ID, a.Association))
		}
		tags, err := tagsFor(types.ResourceTypeNatgateway, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		g := &natGateway{ID: c.id("nat"), VPC: sub.VPC, Subnet: sub.ID, Address: a.ID, Created: c.Now}
		n := c.makeServiceInterface(sub.ID, nil, types.NetworkInterfaceTypeNatGateway, "Interface for NAT Gateway "+g.ID)
		g.Interface = n.ID
		a.Association, a.Interface, a.PrivateIP = c.id("eipassoc"), n.ID, n.IPs[0]
		s.NATs[g.ID] = g
		c.tag(g.ID, tags)
		return g.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showNAT(s.NATs[made])
	return &ec2.CreateNatGatewayOutput{NatGateway: &shown, ClientToken: in.ClientToken}, nil
}

// makeServiceInterface makes an interface that an AWS service manages: nobody
// else may change it.
func (c *call) makeServiceInterface(subnet string, groups []string, kind types.NetworkInterfaceType, description string) *networkInterface {
	n := c.makeInterface(launchInterface{Subnet: subnet, Groups: groups, Description: description})
	n.Type, n.Requester, n.SourceDest = kind, "amazon-aws", kind != types.NetworkInterfaceTypeNatGateway
	return n
}

// showNAT: API_NatGateway.
func (c *call) showNAT(g *natGateway) types.NatGateway {
	a, n := c.EC2.Addresses[g.Address], c.EC2.Interfaces[g.Interface]
	return types.NatGateway{
		NatGatewayId: &g.ID, VpcId: &g.VPC, SubnetId: &g.Subnet, State: types.NatGatewayStateAvailable, ConnectivityType: types.ConnectivityTypePublic,
		CreateTime: &g.Created, Tags: c.tagList(g.ID),
		NatGatewayAddresses: []types.NatGatewayAddress{{
			AllocationId: &a.ID, AssociationId: &a.Association, PublicIp: &a.IP, NetworkInterfaceId: &n.ID, PrivateIp: &n.IPs[0],
			IsPrimary: aws.Bool(true), Status: types.NatGatewayAddressStatusSucceeded,
		}},
	}
}

// ec2DescribeNatGateways: API_DescribeNatGateways.
func ec2DescribeNatGateways(c *call, in *ec2.DescribeNatGatewaysInput) (*ec2.DescribeNatGatewaysOutput, error) {
	q := listing{query{in.NatGatewayIds, in.Filter}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindNAT, c.ec2().NATs, q, func(g *natGateway, name string) ([]string, bool) {
		switch name {
		case "nat-gateway-id":
			return one(g.ID), true
		case "vpc-id":
			return one(g.VPC), true
		case "subnet-id":
			return one(g.Subnet), true
		case "state":
			return []string{string(types.NatGatewayStateAvailable)}, true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeNatGatewaysOutput{NatGateways: each(found, c.showNAT), NextToken: next}, nil
}
