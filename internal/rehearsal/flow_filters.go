package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// track is what an interface's connection tracking knows of a flow. An untracked
// one is judged anew with every packet.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
type track struct {
	Egress  bool      `json:"egress"`  // opened from this side
	Tracked bool      `json:"tracked"` // false: the rules alone let it pass
	Last    time.Time `json:"last"`    // packet
	Answers int       `json:"answers"` // so far
}

// Idle timeouts of tracked connections where nobody has set others. Nitro v6 instances
// have 350 s for TCP; the simulated account has none of them.
const (
	idleTCP       = 432000 * time.Second
	idleUDP       = 30 * time.Second
	idleUDPStream = 180 * time.Second
	idleICMP      = 30 * time.Second // not documented: as for UDP
)

// groups: the security groups of an interface. What is tracked passes, whatever its
// rules say by now, until it has been idle for too long.
func (j *journey) groups(n *networkInterface, egress bool) bool {
	if len(n.Groups) == 0 {
		return true // a gateway's own interface
	}
	t, known := j.f.Tracks[n.ID]
	if known && t.Tracked && j.at.Sub(t.Last) >= n.idle(j.f, t) {
		known = false
	}
	switch {
	case known && t.Tracked:
	case !j.allowed(n, egress):
		return j.stop("no rule of %s lets %s %s", strings.Join(n.Groups, ", "), j.describe(egress), direction(egress, "out", "in"))
	case !known:
		t = track{Egress: egress, Tracked: j.tracked(n, egress)}
	case t.Egress == egress:
		t.Tracked = j.tracked(n, egress)
	}
	if t.Last = j.at; t.Egress != egress {
		t.Answers++
	}
	put(&j.f.Tracks, n.ID, t)
	return true
}

func direction(egress bool, out, in string) string {
	if egress {
		return out
	}
	return in
}

func (j *journey) describe(egress bool) string {
	return fmt.Sprintf("%s %s", j.f.Protocol, direction(egress, "to "+j.dst.String(), "from "+j.src.Addr().String()))
}

// idle is how long a tracked flow may be silent. A UDP flow with more than one answer is a stream.
func (n *networkInterface) idle(f *flow, t track) time.Duration {
	set := func(seconds int32, or time.Duration) time.Duration {
		if seconds == 0 {
			return or
		}
		return time.Duration(seconds) * time.Second
	}
	switch {
	case f.Protocol == "tcp":
		return set(n.TCPTimeout, idleTCP)
	case f.Protocol == "udp" && t.Answers > 1:
		return set(n.UDPStream, idleUDPStream)
	case f.Protocol == "udp":
		return set(n.UDPTimeout, idleUDP)
	default:
		return idleICMP
	}
}

// allowed: a rule of any of the groups lets the packet pass.
func (j *journey) allowed(n *networkInterface, egress bool) bool {
	return j.anyRule(n, func(r groupRule) bool { return r.Egress == egress && j.fits(r) && j.isPeer(r) })
}

func (j *journey) anyRule(n *networkInterface, fits func(groupRule) bool) bool {
	return slices.ContainsFunc(n.Groups, func(id string) bool {
		g := j.w.EC2.Groups[id]
		return g != nil && slices.ContainsFunc(g.Rules, fits)
	})
}

// tracked: a flow is untracked only where its rule is open to everyone and everything may
// go the other way, of the address family in question; and never on the paths that track by themselves.
func (j *journey) tracked(n *networkInterface, egress bool) bool {
	if j.f.Protocol != "tcp" && j.f.Protocol != "udp" || j.f.alwaysTracked() {
		return true
	}
	everyone := func(r groupRule) bool {
		return j.dst.Addr().Is4() && r.CIDR == "0.0.0.0/0" || !j.dst.Addr().Is4() && r.CIDR6 == "::/0"
	}
	open := j.anyRule(n, func(r groupRule) bool { return r.Egress == egress && everyone(r) && j.fits(r) })
	back := j.anyRule(n, func(r groupRule) bool {
		return r.Egress != egress && everyone(r) && (r.Protocol == "-1" || r.Protocol == j.f.Protocol && r.From == 0 && r.To == 65535)
	})
	return !open || !back
}

// alwaysTracked: "Automatically tracked connections" on the page. Its list has named transit gateways
// at one time and not at another: they are taken to be tracked, which is the worse case for who isolates.
func (f *flow) alwaysTracked() bool {
	switch f.Path {
	case pathNAT, pathEgressOnly, pathTransit, pathEndpoint:
		return true
	}
	return false
}

// fits: the rule's protocol and ports. ICMP's types take the place of the ports.
func (j *journey) fits(r groupRule) bool {
	switch r.Protocol {
	case "-1":
		return true
	case "icmp", "icmpv6":
		return protocolNumber(r.Protocol) == j.protocol() && (r.From == -1 || r.From == j.icmpType())
	default:
		return r.Protocol == j.f.Protocol && r.From <= int32(j.dst.Port()) && int32(j.dst.Port()) <= r.To
	}
}

// isPeer: the rule's other side is the packet's source or destination. A group stands
// for the interfaces that are in it, by their private addresses; through a transit gateway
// only where it was told to support that, and here it never is (API_TransitGatewayOptions).
func (j *journey) isPeer(r groupRule) bool {
	peer, addr := j.to, j.dst.Addr()
	if !r.Egress {
		peer, addr = j.from, j.src.Addr()
	}
	if r.Group != "" {
		n := j.w.EC2.Interfaces[peer.Interface]
		return n != nil && slices.Contains(n.Groups, r.Group) && j.f.Path != pathTransit
	}
	p, err := netip.ParsePrefix(r.CIDR + r.CIDR6)
	return err == nil && p.Contains(addr)
}

// protocol is the packet's protocol number (IANA).
func (j *journey) protocol() int32 {
	if j.f.Protocol == "icmp" && !j.dst.Addr().Is4() {
		return 58
	}
	return protocolNumber(j.f.Protocol)
}

func protocolNumber(name string) int32 {
	switch name {
	case "icmp":
		return 1
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmpv6":
		return 58
	}
	panic("rehearsal: no number for protocol " + name)
}

// icmpType: the opener asks for an echo, the responder gives it.
func (j *journey) icmpType() int32 {
	request, reply := int32(8), int32(0)
	if !j.dst.Addr().Is4() {
		request, reply = 128, 129
	}
	if j.from == j.f.Opener {
		return request
	}
	return reply
}

// acl: the network ACL of a subnet, on the packet's way in or out of it.
func (j *journey) acl(subnet string, egress bool) bool {
	a := j.w.aclOf(subnet)
	p := aclPacket{addr: j.src.Addr(), port: j.dst.Port(), protocol: j.protocol(), icmp: j.icmpType()}
	if egress {
		p.addr = j.dst.Addr()
	}
	allow, number := a.judge(egress, p)
	if allow {
		return true
	}
	return j.stop("network ACL %s of %s denies %s, entry %d %s", a.ID, subnet, j.describe(egress), number, direction(egress, "outbound", "inbound"))
}

func (w *world) aclOf(subnet string) *networkACL {
	for _, a := range w.EC2.ACLs {
		if slices.ContainsFunc(a.Associations, func(as aclAssociation) bool { return as.Subnet == subnet }) {
			return a
		}
	}
	panic("rehearsal: subnet " + subnet + " has no ACL")
}

// aclPacket is what an ACL looks at: the source of what comes in, the
// destination of what goes out; ports are the destination's both ways.
type aclPacket struct {
	addr     netip.Addr
	port     uint16
	protocol int32
	icmp     int32
}

// judge takes the entry with the lowest number that matches ("Network ACL rules", VPC User Guide).
// The entries are kept in that order. What no entry matches is denied.
func (a *networkACL) judge(egress bool, p aclPacket) (allow bool, number int32) {
	for _, e := range a.Entries {
		if e.Egress == egress && e.matches(p) {
			return e.Allow, e.Number
		}
	}
	return false, 32767
}

func (e aclEntry) matches(p aclPacket) bool {
	prefix, err := netip.ParsePrefix(e.CIDR + e.CIDR6)
	if err != nil || !prefix.Contains(p.addr) {
		return false
	}
	switch {
	case e.Protocol == "-1":
		return true
	case e.Protocol != fmt.Sprint(p.protocol):
		return false
	case e.Ports != nil && (p.protocol == 6 || p.protocol == 17):
		return *e.Ports.From <= int32(p.port) && int32(p.port) <= *e.Ports.To
	case e.ICMP != nil && (p.protocol == 1 || p.protocol == 58):
		return e.ICMP.Type == nil || *e.ICMP.Type == -1 || *e.ICMP.Type == p.icmp
	}
	return true
}
