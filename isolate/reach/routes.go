package reach

import (
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// hop is a route of a subnet that leaves the VPC's own address space, or goes
// through an appliance.
type hop struct {
	to   string         // as the route table writes it
	dst  []netip.Prefix // none: the list's entries could not be read
	six  []bool         // the families it can be of
	via  string
	kind Kind
}

// routeTable is the one that holds for a subnet: its own, or the main one ("Subnet
// route tables", VPC User Guide).
func (v *VPC) routeTable(subnet string) *ec2types.RouteTable {
	var main *ec2types.RouteTable
	for i := range v.RouteTables {
		t := &v.RouteTables[i]
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return t
			}
			if aws.ToBool(a.Main) {
				main = t
			}
		}
	}
	return main
}

// hops are the routes of a subnet, but for the local ones. A blackhole, whose target
// is gone, drops what it matches: it is no path.
func (v *VPC) hops(subnet string) []hop {
	t := v.routeTable(subnet)
	if t == nil {
		return nil
	}
	var all []hop
	for _, r := range t.Routes {
		kind, via := v.target(r)
		if kind == "" || r.State == ec2types.RouteStateBlackhole {
			continue
		}
		h := hop{kind: kind, via: via}
		switch {
		case r.DestinationPrefixListId != nil:
			h.to = *r.DestinationPrefixListId
			h.dst = v.PrefixLists[h.to]
		case r.DestinationIpv6CidrBlock != nil:
			h.to = *r.DestinationIpv6CidrBlock
			h.dst = appendPrefix(nil, r.DestinationIpv6CidrBlock)
		default:
			h.to = aws.ToString(r.DestinationCidrBlock)
			h.dst = appendPrefix(nil, r.DestinationCidrBlock)
		}
		h.six = families(h)
		all = append(all, h)
	}
	return all
}

// local are the destinations that a subnet's routes keep in the VPC.
func (v *VPC) local(subnet string) []netip.Prefix {
	var all []netip.Prefix
	if t := v.routeTable(subnet); t != nil {
		for _, r := range t.Routes {
			if aws.ToString(r.GatewayId) == "local" {
				all = appendPrefix(appendPrefix(all, r.DestinationCidrBlock), r.DestinationIpv6CidrBlock)
			}
		}
	}
	return all
}

func families(h hop) []bool {
	switch {
	case len(h.dst) > 0:
		return []bool{h.dst[0].Addr().Is6()} // a list has one family
	case h.kind == EgressOnly:
		return []bool{true}
	}
	return []bool{false, true}
}

// target is what a route points to; no kind for the VPC itself.
func (v *VPC) target(r ec2types.Route) (Kind, string) {
	gateway := aws.ToString(r.GatewayId)
	switch {
	case gateway == "local":
		return "", ""
	case strings.HasPrefix(gateway, "igw-"):
		return InternetGateway, gateway
	case strings.HasPrefix(gateway, "vgw-"):
		return VPN, gateway
	case strings.HasPrefix(gateway, "vpce-"):
		return v.endpointKind(gateway, r), gateway
	case r.EgressOnlyInternetGatewayId != nil:
		return EgressOnly, *r.EgressOnlyInternetGatewayId
	case r.NatGatewayId != nil:
		return NAT, *r.NatGatewayId
	case r.TransitGatewayId != nil:
		return TransitGateway, *r.TransitGatewayId
	case r.VpcPeeringConnectionId != nil:
		return Peering, *r.VpcPeeringConnectionId
	case r.NetworkInterfaceId != nil:
		return Appliance, *r.NetworkInterfaceId
	}
	for _, id := range []*string{r.LocalGatewayId, r.CarrierGatewayId, r.CoreNetworkArn, r.OdbNetworkArn, r.InstanceId, r.IpAddress, r.GatewayId} {
		if id != nil {
			return Unknown, *id
		}
	}
	return Unknown, "a target that AWS does not name"
}

// endpointKind tells gateway endpoints, which only prefix lists lead to, from Gateway
// Load Balancer endpoints (a Network Firewall's too).
func (v *VPC) endpointKind(id string, r ec2types.Route) Kind {
	for _, e := range v.Endpoints {
		if aws.ToString(e.VpcEndpointId) != id {
			continue
		}
		switch e.VpcEndpointType {
		case ec2types.VpcEndpointTypeGateway:
			return GatewayEndpoint
		case ec2types.VpcEndpointTypeGatewayLoadBalancer:
			return Appliance
		}
		return Unknown
	}
	if r.DestinationPrefixListId != nil {
		return GatewayEndpoint
	}
	return Unknown
}
