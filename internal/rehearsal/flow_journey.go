package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// journey is one packet on its way from one end of a flow to the other. Each step
// reports whether the packet passes; the first that stops it says why.
type journey struct {
	w        *world
	f        *flow
	at       time.Time
	from, to endpoint
	opening  bool           // the first packet of a connection
	src, dst netip.AddrPort // as the packet has them now: NAT changes them
	stopped  string
}

// carry takes a packet from one end to the other. It returns what stopped it.
func (w *world) carry(f *flow, from, to endpoint, at time.Time, opening bool) (stopped string) {
	j := &journey{
		w: w, f: f, at: at, from: from, to: to, opening: opening,
		src: netip.AddrPortFrom(from.Addr, from.Port), dst: netip.AddrPortFrom(to.Addr, to.Port),
	}
	if from.Interface == "" {
		j.enter()
	} else {
		j.depart()
	}
	return j.stopped
}

func (j *journey) stop(format string, args ...any) bool {
	j.stopped = fmt.Sprintf(format, args...)
	return false
}

// depart: from an interface of the account. Inside one subnet a packet meets groups only
// ("Control subnet traffic with network access control lists", VPC User Guide).
func (j *journey) depart() bool {
	n := j.w.EC2.Interfaces[j.from.Interface]
	if !j.present(n, j.from) {
		return false
	}
	if j.f.Path == pathService {
		return true // neither groups nor ACLs filter it (aws-facts.md)
	}
	if peer := j.w.EC2.Interfaces[j.to.Interface]; peer != nil && peer.Subnet == n.Subnet {
		return j.out(n, false) && j.arrive(false)
	}
	if !j.out(n, true) {
		return false
	}
	target := j.w.routeOf(n.Subnet, j.to.Addr)
	switch {
	case target == "":
		return j.stop("no route from %s to %s", n.Subnet, j.to.Addr)
	case !j.w.leads(n.VPC, target):
		return j.stop("the route from %s to %s leads nowhere: %s is gone", n.Subnet, j.to.Addr, target)
	case j.f.onGateway() && target != j.f.Via:
		return j.stop("routed to %s now, no longer to %s", target, j.f.Via)
	}
	return j.through(n, target)
}

// through what the route leads to.
func (j *journey) through(n *networkInterface, target string) bool {
	switch prefix, _, _ := strings.Cut(target, "-"); prefix {
	case "local":
		return j.arrive(true)
	case "igw":
		return j.mapped(n, j.from.Addr)
	case "nat":
		return j.translate(n, j.w.EC2.NATs[target])
	case "tgw":
		return j.throughTransit(n, target)
	case "pcx":
		return j.to.Interface == "" || j.arrive(true)
	case "eigw", "vgw":
		return true
	}
	return j.stop("routes to %s are not simulated", target)
}

// enter: from outside to an interface of the account, by the way the flow was opened on.
func (j *journey) enter() bool {
	n := j.w.EC2.Interfaces[j.to.Interface]
	if !j.present(n, j.to) || j.f.Path == pathService {
		return j.stopped == ""
	}
	if !j.w.leads(n.VPC, j.f.Via) {
		return j.stop("%s is gone", j.f.Via)
	}
	switch j.f.Path {
	case pathInternet:
		return j.mapped(n, j.to.Addr) && j.arrive(true)
	case pathEgressOnly, pathNAT:
		if j.opening {
			return j.stop("%s lets no connection in", j.f.Via)
		}
		if j.f.Path == pathNAT {
			return j.translateBack(n, j.w.EC2.NATs[j.f.Via])
		}
	case pathTransit:
		return j.fromTransit(n, j.f.Via)
	}
	return j.arrive(true)
}

// arrive at the interface the packet is for.
func (j *journey) arrive(edge bool) bool {
	n := j.w.EC2.Interfaces[j.to.Interface]
	if !j.present(n, j.to) {
		return false
	}
	passed := (!edge || j.acl(n.Subnet, false)) && j.groups(n, false)
	j.record(n, false, passed)
	return passed
}

// out of the interface the packet is from, and of its subnet.
func (j *journey) out(n *networkInterface, edge bool) bool {
	passed := j.groups(n, true) && (!edge || j.acl(n.Subnet, true))
	j.record(n, true, passed)
	return passed
}

// cross the edge of a gateway's subnet. Gateways have no groups.
func (j *journey) cross(gateway *networkInterface, egress bool) bool {
	passed := j.acl(gateway.Subnet, egress)
	j.record(gateway, egress, passed)
	return passed
}

// translate: into the NAT gateway's subnet as the instance, out of it as the gateway.
// https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
func (j *journey) translate(n *networkInterface, g *natGateway) bool {
	gateway := j.w.EC2.Interfaces[g.Interface]
	if gateway.Subnet != n.Subnet && !j.cross(gateway, false) {
		return false
	}
	private := netip.MustParseAddr(gateway.IPs[0])
	j.src = netip.AddrPortFrom(private, j.src.Port())
	if !j.cross(gateway, true) {
		return false
	}
	if target := j.w.routeOf(gateway.Subnet, j.to.Addr); !strings.HasPrefix(target, "igw-") || !j.w.leads(gateway.VPC, target) {
		return j.stop("no route from %s to the Internet", gateway.Subnet)
	}
	if !j.w.publicAddress(gateway, private).IsValid() {
		return j.stop("%s has no public address", g.ID)
	}
	return true
}

// translateBack: the answer comes to the gateway and leaves its subnet for the instance.
func (j *journey) translateBack(n *networkInterface, g *natGateway) bool {
	gateway, instance := j.w.EC2.Interfaces[g.Interface], j.dst
	j.dst = netip.AddrPortFrom(netip.MustParseAddr(gateway.IPs[0]), j.dst.Port())
	if !j.cross(gateway, false) {
		return false
	}
	j.dst = instance
	edge := gateway.Subnet != n.Subnet
	return (!edge || j.cross(gateway, true)) && j.arrive(edge)
}

// throughTransit: the ACL of the attachment's subnet judges what comes from the instances
// by its inbound entries, also where the instance is in that same subnet.
// https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html
func (j *journey) throughTransit(n *networkInterface, target string) bool {
	gateway := j.w.transitInterface(target, n)
	if gateway == nil {
		return j.stop("%s has no attachment in %s", target, n.AZ)
	}
	if !j.cross(gateway, false) {
		return false
	}
	peer := j.w.EC2.Interfaces[j.to.Interface]
	if peer == nil {
		return true
	}
	if !j.w.leads(peer.VPC, target) {
		return j.stop("%s is not attached to %s", target, peer.VPC)
	}
	return j.fromTransit(peer, target)
}

// fromTransit: what comes from the gateway is judged by the outbound entries of the
// attachment's subnet and the inbound ones of the instance's; by none where they are the same subnet.
func (j *journey) fromTransit(n *networkInterface, target string) bool {
	gateway := j.w.transitInterface(target, n)
	if gateway == nil {
		return j.stop("%s has no attachment in %s", target, n.AZ)
	}
	edge := gateway.Subnet != n.Subnet
	return (!edge || j.cross(gateway, true)) && j.arrive(edge)
}

// present: the interface is there and works, and has the address.
func (j *journey) present(n *networkInterface, e endpoint) bool {
	switch {
	case n == nil && e.Interface == "":
		return j.stop("nothing in the account has %s", e.Addr)
	case n == nil:
		return j.stop("interface %s is gone", e.Interface)
	case n.Attachment == nil && n.Requester == "":
		return j.stop("interface %s is attached to nothing", n.ID)
	case n.Attachment != nil && !j.w.running(n.Attachment.Instance):
		return j.stop("instance %s does not run", n.Attachment.Instance)
	}
	if slices.Contains(append(slices.Clone(n.IPs), n.IPv6...), e.Addr.String()) || j.outlives() {
		return true
	}
	return j.stop("%s has no address %s any more", n.ID, e.Addr)
}

// outlives: no source says that an established flow ends with its address.
func (j *journey) outlives() bool { return j.w.Behaviour.FlowsOutliveAddresses && !j.opening }

// mapped: an Internet gateway passes IPv4 for as long as the flow's public address is the interface's.
func (j *journey) mapped(n *networkInterface, private netip.Addr) bool {
	if !private.Is4() || j.outlives() {
		return true
	}
	switch now := j.w.publicAddress(n, private); {
	case !now.IsValid():
		return j.stop("%s has no public address any more", n.ID)
	case now != j.f.Public:
		return j.stop("%s has the public address %s, no longer %s", n.ID, now, j.f.Public)
	}
	return true
}

// publicAddress is the Elastic IP in front of a private address, or the automatic address.
func (w *world) publicAddress(n *networkInterface, private netip.Addr) netip.Addr {
	if a := w.call("ec2").associationFor(n, private.String()); a != nil {
		return netip.MustParseAddr(*a.PublicIp)
	}
	return netip.Addr{}
}

// transitInterface is where a transit gateway meets the zone of an interface: it
// reaches no other (VPC Transit Gateways, "How transit gateways work").
func (w *world) transitInterface(gateway string, n *networkInterface) *networkInterface {
	a := w.EC2.attachmentOf(gateway, n.VPC)
	if a == nil {
		return nil
	}
	for _, id := range a.Interfaces {
		if i := w.EC2.Interfaces[id]; i.AZ == n.AZ {
			return i
		}
	}
	return nil
}

// routeOf is the target of the most specific route from a subnet to an address; empty where there is
// none. Routes to prefix lists lead to gateway endpoints only and are left out.
func (w *world) routeOf(subnet string, to netip.Addr) (target string) {
	bits := -1
	for _, r := range w.routeTableOf(subnet).Routes {
		if p, err := netip.ParsePrefix(r.To); err == nil && p.Contains(to) && p.Bits() > bits {
			target, bits = r.Target, p.Bits()
		}
	}
	return target
}

// routeTableOf is the subnet's own table, or the VPC's main one.
func (w *world) routeTableOf(subnet string) *routeTable {
	vpc := w.EC2.Subnets[subnet].VPC
	var main *routeTable
	for _, t := range w.EC2.RouteTables {
		if slices.ContainsFunc(t.Associations, func(a routeAssociation) bool { return a.Subnet == subnet }) {
			return t
		}
		if t.VPC == vpc && t.main() {
			main = t
		}
	}
	return main
}

// onGateway: the path goes through something that a route names.
func (f *flow) onGateway() bool {
	switch f.Path {
	case pathEndpoint, pathLoadBalancer, pathOtherSubnet, pathSameSubnet:
		return false
	}
	return true
}

// findPath decides how the flow goes, as things are now. Who comes from outside knows one public
// address and no other.
func (f *flow) findPath(w *world) (reason string) {
	if f.Target != "" {
		f.Path = pathLoadBalancer
	}
	local, far := f.inside()
	n := w.EC2.Interfaces[local.Interface]
	if n == nil {
		return "interface " + local.Interface + " is gone"
	}
	if peer := w.EC2.Interfaces[far.Interface]; peer != nil && peer.VPC == n.VPC {
		f.Path, f.Via = neighbourPath(f, n, peer)
		return ""
	}
	if f.Via = w.serviceAt(n.VPC, far.Addr); f.Via != "" {
		f.Path = pathService
		return ""
	}
	if f.Via = w.routeOf(n.Subnet, far.Addr); f.Via == "" {
		return fmt.Sprintf("no route from %s to %s", n.Subnet, far.Addr)
	}
	prefix, _, _ := strings.Cut(f.Via, "-")
	f.Path = map[string]pathKind{
		"igw": pathInternet, "eigw": pathEgressOnly, "nat": pathNAT, "tgw": pathTransit, "pcx": pathPeering, "vgw": pathVPN,
	}[prefix]
	known := f.Opener.Interface == "" && f.Public.IsValid()
	if f.Path == pathInternet && local.Addr.Is4() && !known {
		f.Public = w.publicAddress(n, local.Addr)
	}
	return ""
}

// serviceAt is what AWS itself answers with at an address: the resolver is the second of the VPC's
// own too ("DNS attributes for your VPC", VPC User Guide; "Instance metadata" and "Time service", EC2 User Guide).
func (w *world) serviceAt(vpc string, a netip.Addr) string {
	switch a.String() {
	case "169.254.169.254":
		return "metadata"
	case "169.254.169.123":
		return "time"
	case "169.254.169.253", netip.MustParsePrefix(w.EC2.VPCs[vpc].CIDR).Addr().Next().Next().String():
		return "resolver"
	}
	return ""
}

// neighbourPath is a path inside the VPC.
func neighbourPath(f *flow, n, peer *networkInterface) (kind pathKind, via string) {
	switch {
	case f.Target != "":
		return pathLoadBalancer, peer.Subnet
	case peer.Type == types.NetworkInterfaceTypeVpcEndpoint:
		return pathEndpoint, strings.TrimPrefix(peer.Description, "VPC Endpoint Interface ")
	case peer.Subnet == n.Subnet:
		return pathSameSubnet, peer.Subnet
	default:
		return pathOtherSubnet, peer.Subnet
	}
}
