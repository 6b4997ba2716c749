package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// way is a path with what the decision needs and a responder doesn't.
type way struct {
	Path
	nic *nic
	dst []netip.Prefix // remote addresses; none: any
	far []*ec2types.NetworkInterface
	// others are the destinations of the interface's other paths.
	others []netip.Prefix
	// outward: the far end opens no connection towards the instance, ever.
	outward string
	// unrouted: packets reach the instance, and no route leads back.
	unrouted bool
	// bare is why the path crosses no ACL with the instance as the remote side.
	bare string
	// unfiltered: of the instance's own subnet's ACL only the outbound entries are
	// evaluated, and on what comes in none.
	unfiltered bool
}

// kinds in the order of the paths: the widest reach first.
var kinds = map[Kind]int{
	InternetGateway: 0, EgressOnly: 1, NAT: 2, TransitGateway: 3, Peering: 4, VPN: 5, Endpoint: 6, GatewayEndpoint: 7,
	Appliance: 8, Unknown: 9, OtherSubnet: 10, SameSubnet: 11, Service: 12,
}

// find works out the paths of one interface.
func (f *nic) find() []way {
	var all []way
	for _, six := range []bool{false, true} {
		if !f.has(six) {
			continue
		}
		all = append(all, f.routed(six)...)
		all = append(all, f.endpoints(six)...)
		all = append(all, f.neighbours(six)...)
	}
	if !slices.ContainsFunc(all, func(w way) bool { return w.Kind == InternetGateway && !w.six() }) {
		all = append(all, f.unreturned()...)
	}
	for i := range all {
		f.judge(&all[i], all)
	}
	slices.SortStableFunc(all, func(a, b way) int {
		return cmp.Or(cmp.Compare(kinds[a.Kind], kinds[b.Kind]), cmp.Compare(a.Via, b.Via), a.Public.Compare(b.Public), cmp.Compare(a.To, b.To))
	})
	return all
}

func (f *nic) path(kind Kind, six bool) Path {
	p := Path{Interface: f.id, Device: f.device, Kind: kind}
	p.Local, p.Delegated = f.own(six)
	return p
}

// routed are the paths that the route table opens, one for each target.
func (f *nic) routed(six bool) []way {
	var all []way
	for _, h := range f.vpc.hops(f.subnet) {
		if !slices.Contains(h.six, six) {
			continue
		}
		i := slices.IndexFunc(all, func(w way) bool { return w.Kind == h.kind && w.Via == h.via })
		if i < 0 {
			w := way{Path: f.path(h.kind, six), nic: f}
			w.Via, w.To, w.dst = h.via, h.to, slices.Clone(h.dst)
			all = append(all, w)
			continue
		}
		all[i].To += ", " + h.to
		if len(all[i].dst) == 0 || len(h.dst) == 0 {
			all[i].dst = nil // anything
			continue
		}
		all[i].dst = append(all[i].dst, h.dst...)
	}
	var split []way
	for _, w := range all {
		f.lead(&w)
		if w.Kind == InternetGateway || w.Kind == EgressOnly {
			split = append(split, f.faces(w)...)
			continue
		}
		split = append(split, w)
	}
	return split
}

// lead finds the subnets at the far end of a routed path.
func (f *nic) lead(w *way) {
	switch w.Kind {
	case NAT:
		w.outward = "a NAT gateway opens no connection towards an instance"
		f.leadNAT(w)
	case TransitGateway:
		f.leadTransit(w)
	case Appliance:
		f.leadAppliance(w)
	case EgressOnly:
		w.outward = "an egress-only Internet gateway opens no connection towards an instance"
		w.bare = "an egress-only Internet gateway has no subnet"
	case GatewayEndpoint:
		w.outward = "a gateway endpoint opens no connection towards an instance"
		w.bare = "a gateway endpoint has no subnet"
	case InternetGateway:
		w.bare = "an Internet gateway has no subnet"
	case VPN:
		w.bare = "a virtual private gateway has no subnet"
	case Peering:
		w.bare = "the far end is another VPC, whose ACLs are not this one's"
	default:
		w.bare = "it is not known what " + w.Via + " leads to"
	}
}

// leadNAT: a zonal NAT gateway has a subnet, a regional one has none ("Regional NAT
// gateways", VPC User Guide).
func (f *nic) leadNAT(w *way) {
	for _, g := range f.vpc.NATs {
		if aws.ToString(g.NatGatewayId) == w.Via {
			f.edges(w, []string{aws.ToString(g.SubnetId)}, "NAT gateway "+w.Via)
			return
		}
	}
	w.bare = "AWS does not show the subnet of NAT gateway " + w.Via
}

// leadTransit: what comes back may enter by the attachment's subnet in any zone. In
// an attachment's own subnet AWS evaluates nothing on what comes from the transit
// gateway ("How network ACLs work with transit gateways").
func (f *nic) leadTransit(w *way) {
	var subnets []string
	for _, a := range f.vpc.Attachments {
		if aws.ToString(a.TransitGatewayId) == w.Via && attached(a.State) {
			subnets = append(subnets, a.SubnetIds...)
		}
	}
	if len(subnets) == 0 {
		for _, n := range f.vpc.Interfaces {
			if n.InterfaceType == ec2types.NetworkInterfaceTypeTransitGateway {
				subnets = append(subnets, aws.ToString(n.SubnetId))
			}
		}
	}
	w.unfiltered = slices.Contains(subnets, f.subnet)
	f.edges(w, subnets, "the attachment of "+w.Via)
}

// attached: in every other state something may pass.
func attached(s ec2types.TransitGatewayAttachmentState) bool {
	switch s {
	case ec2types.TransitGatewayAttachmentStateDeleted, ec2types.TransitGatewayAttachmentStateFailed, ec2types.TransitGatewayAttachmentStateRejected:
		return false
	}
	return true
}

// leadAppliance: a route to an interface, or to a Gateway Load Balancer endpoint.
func (f *nic) leadAppliance(w *way) {
	if n := f.vpc.netInterface(w.Via); n != nil {
		f.edges(w, []string{aws.ToString(n.SubnetId)}, "appliance "+w.Via)
		return
	}
	for _, e := range f.vpc.Endpoints {
		if aws.ToString(e.VpcEndpointId) == w.Via {
			f.edges(w, e.SubnetIds, "endpoint "+w.Via)
			return
		}
	}
	w.bare = "AWS does not show the subnet of " + w.Via
}

// edges are the far end's subnets. With one of them the instance's own there is no
// edge between the two, and denials in the others would leave the way open.
func (f *nic) edges(w *way, subnets []string, what string) {
	subnets = slices.DeleteFunc(slices.Clone(subnets), func(s string) bool { return s == "" })
	slices.Sort(subnets)
	switch {
	case len(subnets) == 0:
		w.bare = what + " has no subnet of its own"
	case slices.Contains(subnets, f.subnet):
		w.bare = what + " is in the instance's own subnet: no ACL lies between them"
	default:
		for _, s := range slices.Compact(subnets) {
			w.Edges = append(w.Edges, Edge{Subnet: s, ACL: f.vpc.aclOf(s)})
		}
	}
}

// faces splits a path to the Internet by what the Internet sees: each public IPv4
// address with the private one behind it, which is the only one that passes an
// Internet gateway; for IPv6 the primary address, which can't be taken off, and the rest.
func (f *nic) faces(w way) []way {
	if !w.six() {
		var all []way
		for _, a := range f.public() {
			one := w
			one.Local, one.Delegated, one.Public = []netip.Addr{a.Private}, nil, a.Public
			all = append(all, one)
		}
		return all
	}
	rest := slices.DeleteFunc(slices.Clone(w.Local), func(a netip.Addr) bool { return a == f.primary6 })
	if len(rest) == len(w.Local) {
		return []way{w}
	}
	primary := w
	primary.Local, primary.Delegated, w.Local = []netip.Addr{f.primary6}, nil, rest
	if len(rest)+len(w.Delegated) == 0 {
		return []way{primary}
	}
	return []way{primary, w}
}

// unreturned are public addresses of a subnet without a route to the Internet gateway:
// packets still arrive.
func (f *nic) unreturned() []way {
	gateway := ""
	for _, t := range f.vpc.RouteTables {
		for _, r := range t.Routes {
			if id := aws.ToString(r.GatewayId); strings.HasPrefix(id, "igw-") {
				gateway = id
			}
		}
	}
	if gateway == "" {
		return nil
	}
	w := way{Path: f.path(InternetGateway, false), nic: f, unrouted: true}
	w.Via = gateway
	f.lead(&w)
	return f.faces(w)
}

// endpoints are the interface endpoints of the VPC. Those of their interfaces that
// are in the instance's own subnet are a path of their own: no ACL lies between.
func (f *nic) endpoints(six bool) []way {
	var all []way
	for _, e := range f.vpc.Endpoints {
		if e.VpcEndpointType == ec2types.VpcEndpointTypeGateway || e.VpcEndpointType == ec2types.VpcEndpointTypeGatewayLoadBalancer {
			continue
		}
		here, there := f.endpoint(e, six), f.endpoint(e, six)
		for _, id := range e.NetworkInterfaceIds {
			n := f.vpc.netInterface(id)
			if n == nil {
				continue
			}
			w := &there
			if aws.ToString(n.SubnetId) == f.subnet {
				w = &here
			}
			if seen := newNIC(*n, f.vpc); seen.has(six) {
				addresses, _ := seen.own(six)
				w.dst = append(w.dst, Path{Local: addresses}.prefixes()...)
				w.far = append(w.far, n)
			}
		}
		for _, w := range []way{here, there} {
			if len(w.far) > 0 {
				all = append(all, f.endpointEdges(w))
			}
		}
	}
	return all
}

func (f *nic) endpoint(e ec2types.VpcEndpoint, six bool) way {
	w := way{Path: f.path(Endpoint, six), nic: f, outward: "an endpoint opens no connection towards an instance"}
	w.Via, w.Note = aws.ToString(e.VpcEndpointId), aws.ToString(e.ServiceName)
	return w
}

func (f *nic) endpointEdges(w way) way {
	var subnets, to []string
	for _, n := range w.far {
		subnets = append(subnets, aws.ToString(n.SubnetId))
	}
	for _, p := range w.dst {
		to = append(to, p.Addr().String())
	}
	slices.Sort(to)
	w.To = strings.Join(to, ", ")
	f.edges(&w, subnets, "endpoint "+w.Via)
	return w
}

// neighbours are the VPC's subnets: the instance's own, and the others by their ACL.
func (f *nic) neighbours(six bool) []way {
	byACL, shared := make(map[string][]*ec2types.Subnet), false
	for i := range f.vpc.Subnets {
		s := &f.vpc.Subnets[i]
		id := aws.ToString(s.SubnetId)
		if len(blocks(s, six)) == 0 {
			continue
		}
		acl := f.vpc.aclOf(id)
		if id == f.subnet {
			acl, shared = "", f.foreign(s.OwnerId)
		}
		byACL[acl] = append(byACL[acl], s)
	}
	var all []way
	for acl, subnets := range byACL {
		all = append(all, f.neighbour(acl, subnets, six))
	}
	if shared {
		w := way{Path: f.path(OtherSubnet, six), nic: f, bare: f.vpc.ID + " is shared by another account, and its other subnets can't be seen from this one"}
		w.Via = f.vpc.ID
		for _, p := range f.local {
			if p.Addr().Is6() == six {
				w.dst = append(w.dst, p)
			}
		}
		all = append(all, w)
	}
	return all
}

func (f *nic) neighbour(acl string, subnets []*ec2types.Subnet, six bool) way {
	w := way{Path: f.path(OtherSubnet, six), nic: f}
	w.Via = acl
	if len(subnets) == 1 {
		w.Via = aws.ToString(subnets[0].SubnetId)
	}
	var ids []string
	for _, s := range subnets {
		ids = append(ids, aws.ToString(s.SubnetId))
		w.dst = append(w.dst, blocks(s, six)...)
	}
	if slices.Contains(ids, f.subnet) {
		w.Kind, w.bare = SameSubnet, "traffic inside a subnet meets no ACL"
	} else {
		f.edges(&w, ids, "subnet "+w.Via)
	}
	slices.SortFunc(w.dst, comparePrefixes)
	var to []string
	for _, p := range w.dst {
		to = append(to, p.String())
	}
	w.To = strings.Join(to, ", ")
	for i := range f.vpc.Interfaces {
		if n := &f.vpc.Interfaces[i]; slices.Contains(ids, aws.ToString(n.SubnetId)) && aws.ToString(n.NetworkInterfaceId) != f.id {
			w.far = append(w.far, n)
		}
	}
	w.Note = balancers(w.far)
	return w
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// blocks are the CIDR blocks of a subnet, of one family.
func blocks(s *ec2types.Subnet, six bool) []netip.Prefix {
	if !six {
		return appendPrefix(nil, s.CidrBlock)
	}
	var all []netip.Prefix
	for _, b := range s.Ipv6CidrBlockAssociationSet {
		if b.Ipv6CidrBlockState == nil || b.Ipv6CidrBlockState.State == ec2types.SubnetCidrBlockStateCodeAssociated {
			all = appendPrefix(all, b.Ipv6CidrBlock)
		}
	}
	return all
}

const globalAccelerator = "Global Accelerator"

// balancers names the load balancers that have nodes among the interfaces. Elastic
// Load Balancing writes their names in the description: "ELB app/web/50dc6c495c0c9188".
func balancers(far []*ec2types.NetworkInterface) string {
	var all []string
	for _, n := range far {
		name, ok := strings.CutPrefix(aws.ToString(n.Description), "ELB ")
		if n.InterfaceType == ec2types.NetworkInterfaceTypeGlobalAcceleratorManaged {
			name, ok = globalAccelerator, true
		}
		if ok && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "load balancers: " + strings.Join(all, ", ")
}

// services are what AWS answers on the instance's own link. Neither security groups
// nor ACLs filter them ("Security groups" and "Network ACLs", VPC User Guide).
func (n *Network) services() []way {
	if len(n.interfaces) == 0 {
		return nil
	}
	var all []way
	for _, name := range []string{"VPC resolver (DNS)", "instance metadata service", "time service"} {
		w := way{nic: &n.interfaces[0], bare: "neither security groups nor ACLs filter it"}
		w.Path = Path{
			Interface: w.nic.id, Device: w.nic.device, Kind: Service, Via: name, Tracked: false,
			In: Verdict{Reason: fmt.Sprintf("the %s opens no connection", name)}, Out: Verdict{Open: true, Reason: w.bare},
		}
		all = append(all, w)
	}
	return all
}
