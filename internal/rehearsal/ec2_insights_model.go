package rehearsal

import (
	"net/netip"
	"slices"
	"strings"
)

// analyse tells what keeps TCP from getting from a path's source to its
// destination; nothing where it gets there. Like AWS's it looks at IPv4 and at the
// configuration, not at packets: connections that are tracked don't matter.
func (s *ec2State) analyse(p *insightsPath) []stop {
	from, to := s.interfaceOf(p.Source), s.interfaceOf(p.Destination)
	remote, _ := netip.ParseAddr(p.DestinationIP)
	gateway := s.Gateways[p.Destination]
	switch {
	case s.Gateways[p.Source] != nil && to != nil:
		return s.fromInternet(s.Gateways[p.Source], to, p.Port)
	case from != nil && gateway != nil:
		return s.toInternet(from, gateway, remote, p.Port)
	case from != nil && to != nil:
		return s.betweenInterfaces(from, to, p.Port)
	case from != nil && p.Destination != "":
		return s.toGateway(from, p.Destination, p.Port)
	}
	return []stop{{Code: "NO_PATH", Component: p.Source, Egress: true}}
}

// interfaceOf is the interface with this ID, or an instance's first one; nil for none.
func (s *ec2State) interfaceOf(id string) *networkInterface {
	if n := s.Interfaces[id]; n != nil {
		return n
	}
	for _, n := range s.Interfaces {
		if n.Attachment != nil && n.Attachment.Instance == id && n.Attachment.Index == 0 {
			return n
		}
	}
	return nil
}

func (s *ec2State) fromInternet(g *internetGateway, n *networkInterface, port *int32) []stop {
	var stops []stop
	if n.VPC != g.VPC || !s.hasPublicAddress(n) {
		stops = append(stops, stop{Code: "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS", Component: g.ID})
	}
	stops = append(stops, s.atSubnet(n.Subnet, netip.Addr{})...)
	return append(stops, s.atGroups(n, false, netip.Addr{}, port)...)
}

func (s *ec2State) toInternet(n *networkInterface, g *internetGateway, remote netip.Addr, port *int32) []stop {
	stops := append(s.atGroups(n, true, remote, port), s.atSubnet(n.Subnet, remote)...)
	table := s.tableOf(n.Subnet)
	switch target := table.route(remote); {
	case target == g.ID:
		if !s.hasPublicAddress(n) {
			stops = append(stops, stop{Code: "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", Component: g.ID, Egress: true})
		}
	case s.NATs[target] != nil && s.NATs[target].VPC == g.VPC:
		nat := s.NATs[target]
		if nat.Subnet != n.Subnet {
			stops = append(stops, s.atSubnet(nat.Subnet, netip.MustParseAddr(n.IPs[0]))...)
		}
		if onward := s.tableOf(nat.Subnet); onward.route(remote) != g.ID {
			stops = append(stops, stop{Code: "NO_ROUTE_TO_DESTINATION", Component: onward.ID, Egress: true})
		}
	default:
		stops = append(stops, stop{Code: "NO_ROUTE_TO_DESTINATION", Component: table.ID, Egress: true})
	}
	return stops
}

// toGateway: as far as a gateway that is not simulated.
func (s *ec2State) toGateway(n *networkInterface, gateway string, port *int32) []stop {
	stops := append(s.atGroups(n, true, netip.Addr{}, port), s.atSubnet(n.Subnet, netip.Addr{})...)
	table := s.tableOf(n.Subnet)
	if !slices.ContainsFunc(table.Routes, func(r route) bool { return r.Target == gateway }) {
		stops = append(stops, stop{Code: "NO_ROUTE_TO_DESTINATION", Component: table.ID, Egress: true})
	}
	return stops
}

func (s *ec2State) betweenInterfaces(from, to *networkInterface, port *int32) []stop {
	if from.VPC != to.VPC {
		return []stop{{Code: "DISCONNECTED_VPCS", Component: from.VPC, Egress: true}}
	}
	a, b := netip.MustParseAddr(from.IPs[0]), netip.MustParseAddr(to.IPs[0])
	stops := s.atGroups(from, true, b, port)
	if from.Subnet != to.Subnet {
		stops = slices.Concat(stops, s.atSubnet(from.Subnet, b), s.atSubnet(to.Subnet, a))
	}
	return append(stops, s.atGroups(to, false, a, port)...)
}

func (s *ec2State) hasPublicAddress(n *networkInterface) bool {
	for _, a := range s.Addresses {
		if a.Interface == n.ID {
			return true
		}
	}
	return n.PublicIP != ""
}

// tableOf is the route table of a subnet: its own, or the VPC's main one.
func (s *ec2State) tableOf(subnet string) *routeTable {
	var main *routeTable
	for _, t := range s.RouteTables {
		if slices.ContainsFunc(t.Associations, func(a routeAssociation) bool { return a.Subnet == subnet }) {
			return t
		}
		if t.VPC == s.Subnets[subnet].VPC && t.main() {
			main = t
		}
	}
	return main
}

// route is the target of the most specific route to an address; without one,
// of the route that takes everything.
func (t *routeTable) route(to netip.Addr) (target string) {
	best := -1
	for _, r := range t.Routes {
		p, err := netip.ParsePrefix(r.To)
		if err != nil || !p.Addr().Is4() || p.Bits() <= best {
			continue
		}
		if to.IsValid() && p.Contains(to) || !to.IsValid() && p.Bits() == 0 {
			target, best = r.Target, p.Bits()
		}
	}
	return target
}

// atGroups: the groups let TCP pass to or from an address, or from any where
// it is the zero one.
func (s *ec2State) atGroups(n *networkInterface, egress bool, remote netip.Addr, port *int32) []stop {
	var stops []stop
	for _, id := range n.Groups {
		g, rules := s.Groups[id], 0
		for _, r := range g.Rules {
			if r.Egress != egress {
				continue
			}
			rules++
			if r.lets(s, remote, port) {
				return nil
			}
		}
		code := "ENI_SG_RULES_MISMATCH"
		if rules == 0 {
			code = "SG_HAS_NO_RULES"
		}
		stops = append(stops, stop{Code: code, Component: id, Egress: egress})
	}
	return stops
}

// lets reports whether the rule lets TCP of an address pass. An address that is
// not given is one of the Internet's: a rule for private ones or for a group is not for it.
func (r groupRule) lets(s *ec2State, remote netip.Addr, port *int32) bool {
	if r.Protocol != "-1" && protocolName(r.Protocol) != "tcp" {
		return false
	}
	if port != nil && r.From >= 0 && (*port < r.From || *port > r.To) {
		return false
	}
	if r.Group != "" {
		return remote.IsValid() && slices.ContainsFunc(inOrder(s.Interfaces), func(n *networkInterface) bool {
			return slices.Contains(n.Groups, r.Group) && slices.Contains(n.IPs, remote.String())
		})
	}
	return r.PrefixList != "" && !remote.IsValid() || covers(r.CIDR, remote)
}

// covers reports whether a block has an address, or any of the Internet's where
// it is the zero one.
func covers(cidr string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return false
	}
	if a.IsValid() {
		return p.Contains(a)
	}
	return !p.Addr().IsPrivate()
}

// atSubnet: the subnet's ACL lets TCP of an address pass both ways, there and back.
func (s *ec2State) atSubnet(subnet string, remote netip.Addr) []stop {
	var stops []stop
	for _, a := range s.ACLs {
		if !slices.ContainsFunc(a.Associations, func(x aclAssociation) bool { return x.Subnet == subnet }) {
			continue
		}
		for _, egress := range []bool{false, true} {
			if !a.passes(egress, remote) {
				stops = append(stops, stop{Code: "SUBNET_ACL_RESTRICTION", Component: a.ID, Egress: egress})
			}
		}
	}
	return stops
}

// passes: the first entry for the address decides. A denial of some ports leaves others.
func (a *networkACL) passes(egress bool, remote netip.Addr) bool {
	for _, e := range a.Entries { // in the order of their numbers
		if e.Egress != egress || e.Protocol != "-1" && e.Protocol != "6" {
			continue
		}
		everything := strings.HasSuffix(e.CIDR, "/0")
		switch {
		case e.Allow && covers(e.CIDR, remote):
			return true
		case !e.Allow && e.Ports == nil && (everything || remote.IsValid() && covers(e.CIDR, remote)):
			return false
		}
	}
	return false
}
