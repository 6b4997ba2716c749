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

// judge says what can pass on a path, and whether its flows are tracked.
func (f *nic) judge(w *way, all []way) {
	w.others = nil
	for _, o := range all {
		if o.Kind != w.Kind || o.Via != w.Via {
			w.others = append(w.others, o.dst...)
		}
	}
	if w.Kind != SameSubnet && w.Kind != OtherSubnet && w.Kind != Endpoint {
		w.others = append(w.others, f.local...)
	}
	w.In, w.Out = f.stateless(w)
	if w.outward != "" {
		w.In = Verdict{Reason: w.outward}
	}
	if w.unrouted && w.Out.Open {
		w.Out = Verdict{Reason: "no route of the subnet leads there"}
	}
	for _, d := range []struct {
		verdict *Verdict
		egress  bool
	}{{&w.In, false}, {&w.Out, true}} {
		if d.verdict.Open {
			*d.verdict = f.groups(w, d.egress)
		}
	}
	w.Tracked = f.tracked(w)
}

// stateless is what the ACLs let pass: those of the far end, with the instance as
// the remote side, and that of its own subnet. What they stop is stopped for
// connections that are open already too.
func (f *nic) stateless(w *way) (in, out Verdict) {
	in, out = Verdict{Open: true}, Verdict{Open: true}
	if w.Kind == SameSubnet {
		return in, out
	}
	in, out = f.atEdges(w, true), f.atEdges(w, false)
	if in.Open && !w.unfiltered {
		in = f.vpc.passes(f.acl, false, w.remotes())
	}
	if out.Open {
		out = f.vpc.passes(f.acl, true, w.remotes())
	}
	return in, out
}

// atEdges: a packet passes where one of the far end's subnets lets it.
func (f *nic) atEdges(w *way, egress bool) Verdict {
	last := Verdict{Open: true}
	for _, e := range w.Edges {
		if last = f.vpc.passes(e.ACL, egress, w.prefixes()); last.Open {
			return last
		}
	}
	return last
}

// remotes are the path's remote addresses: any, where they are not known.
func (w *way) remotes() []netip.Prefix {
	switch {
	case len(w.dst) > 0:
		return w.dst
	case w.six():
		return []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
}

// passes reports whether an ACL lets any packet of a direction through for these
// remote addresses. It says no only where that is certain: denials of single ports
// and addresses that only together cover everything count as open.
func (v *VPC) passes(id string, egress bool, remotes []netip.Prefix) Verdict {
	a := v.acl(id)
	if a == nil {
		return Verdict{Open: true, Reason: "the subnet's ACL can't be seen"}
	}
	stop := Verdict{Reason: id + " has no entry that allows it"}
	for _, r := range remotes {
		var denied []entry
		for _, e := range entries(a, egress) {
			if e.cidr.Addr().Is6() != r.Addr().Is6() || !e.cidr.Overlaps(r) {
				continue
			}
			if part := narrower(e.cidr, r); e.allow && !covered(part, denied) {
				return Verdict{Open: true, Reason: fmt.Sprintf("%s rule %d allows it", id, e.number)}
			}
			if !e.allow && e.all {
				denied = append(denied, e)
			}
		}
		for _, d := range denied {
			if d.number < 32767 && covers(d.cidr, r) {
				stop = Verdict{Reason: fmt.Sprintf("%s rule %d denies %s", id, d.number, d.cidr)}
			}
		}
	}
	return stop
}

func narrower(a, b netip.Prefix) netip.Prefix {
	if a.Bits() > b.Bits() {
		return a
	}
	return b
}

// covers reports whether all of b is in a.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

func covered(p netip.Prefix, by []entry) bool {
	return slices.ContainsFunc(by, func(e entry) bool { return covers(e.cidr, p) })
}

// entry is an ACL entry of one direction.
type entry struct {
	number int32
	allow  bool
	all    bool // every protocol
	cidr   netip.Prefix
}

// entries are those of one direction in the order of evaluation, AWS's own last ones
// among them.
func entries(a *ec2types.NetworkAcl, egress bool) []entry {
	var all []entry
	for _, e := range a.Entries {
		text := cmp.Or(aws.ToString(e.CidrBlock), aws.ToString(e.Ipv6CidrBlock))
		p, err := netip.ParsePrefix(text)
		if err != nil || aws.ToBool(e.Egress) != egress {
			continue
		}
		all = append(all, entry{
			number: aws.ToInt32(e.RuleNumber), allow: e.RuleAction == ec2types.RuleActionAllow, all: aws.ToString(e.Protocol) == "-1", cidr: p.Masked(),
		})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	return all
}

// permission is what one group's rule lets through on a path.
type permission struct {
	group, words string
	protocol     string
	all, any     bool // every port; 0.0.0.0/0 or ::/0
}

// groups is what the interface's security groups let through.
func (f *nic) groups(w *way, egress bool) Verdict {
	if all := f.permissions(w, egress); len(all) > 0 {
		return Verdict{Open: true, Reason: all[0].group + " lets " + all[0].words}
	}
	var ids []string
	for _, g := range f.Groups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	if len(ids) == 0 {
		return Verdict{Open: true, Reason: "AWS shows no security group"}
	}
	return Verdict{Reason: "no rule of " + strings.Join(ids, ", ") + " lets it"}
}

// permissions are the rules that bear on a path.
func (f *nic) permissions(w *way, egress bool) []permission {
	var all []permission
	for _, id := range f.Groups {
		g := f.vpc.group(aws.ToString(id.GroupId))
		if g == nil {
			all = append(all, permission{group: aws.ToString(id.GroupId), words: "through what its rules say: they can't be seen", protocol: "-1"})
			continue
		}
		rules := g.IpPermissions
		if egress {
			rules = g.IpPermissionsEgress
		}
		for _, r := range rules {
			all = append(all, f.bearing(w, label(aws.ToString(g.GroupId), aws.ToString(g.GroupName)), r)...)
		}
	}
	return all
}

func (f *nic) bearing(w *way, group string, r ec2types.IpPermission) []permission {
	p := permission{group: group, protocol: aws.ToString(r.IpProtocol)}
	p.all = p.protocol == "-1" || aws.ToInt32(r.FromPort) == 0 && aws.ToInt32(r.ToPort) == 65535
	var all []permission
	add := func(from string, any bool) {
		q := p
		q.any, q.words = any, ports(r)+" through for "+from
		all = append(all, q)
	}
	for _, c := range r.IpRanges {
		f.span(w, aws.ToString(c.CidrIp), add)
	}
	for _, c := range r.Ipv6Ranges {
		f.span(w, aws.ToString(c.CidrIpv6), add)
	}
	for _, l := range r.PrefixListIds { // its entries are not read: it may hold any address
		add(aws.ToString(l.PrefixListId), false)
	}
	for _, g := range r.UserIdGroupPairs {
		if id := aws.ToString(g.GroupId); w.mayBe(id) {
			add(id, false)
		}
	}
	return all
}

func (f *nic) span(w *way, text string, add func(string, bool)) {
	c, err := netip.ParsePrefix(text)
	if err != nil {
		return
	}
	if w.carries(c.Masked()) {
		add(text, c.Bits() == 0)
	}
}

// carries reports whether packets for these remote addresses take this path. Of two
// routes the more specific one does; one that holds only a part leaves the rest to the other.
func (w *way) carries(remote netip.Prefix) bool {
	return slices.ContainsFunc(w.remotes(), func(r netip.Prefix) bool {
		return r.Overlaps(remote) && !slices.ContainsFunc(w.others, func(o netip.Prefix) bool { return o.Bits() > r.Bits() && covers(o, remote) })
	})
}

// mayBe reports whether a member of this security group can be at the far end. A
// rule that names a group matches its members' private addresses, also those behind
// a peering or a transit gateway ("Security group referencing"); an address of the
// Internet is never one of them.
func (w *way) mayBe(group string) bool {
	switch w.Kind {
	case InternetGateway, EgressOnly, NAT, GatewayEndpoint:
		return false
	case SameSubnet, OtherSubnet, Endpoint:
		return slices.ContainsFunc(w.far, func(n *ec2types.NetworkInterface) bool {
			return slices.ContainsFunc(n.Groups, func(g ec2types.GroupIdentifier) bool { return aws.ToString(g.GroupId) == group })
		})
	}
	return true
}

func ports(r ec2types.IpPermission) string {
	protocol, from, to := aws.ToString(r.IpProtocol), aws.ToInt32(r.FromPort), aws.ToInt32(r.ToPort)
	switch {
	case protocol == "-1":
		return "everything"
	case protocol != "tcp" && protocol != "udp" || from == 0 && to == 65535:
		return protocol
	case from == to:
		return fmt.Sprintf("%s %d", protocol, from)
	}
	return fmt.Sprintf("%s %d-%d", protocol, from, to)
}

// tracked: a flow is untracked only where a TCP or UDP rule is for every address and
// the other direction lets every port of that protocol through to every address;
// ICMP is tracked, and so is all that passes these gateways ("Amazon EC2 security
// group connection tracking"). The path's flows are untracked only if each one of
// them is. Groups without a rule tell nothing of the flows that are open.
func (f *nic) tracked(w *way) bool {
	switch w.Kind {
	case NAT, TransitGateway, EgressOnly, Endpoint, Appliance, Unknown:
		return true
	}
	if slices.ContainsFunc([]string{"net/", "gwy/", globalAccelerator}, func(s string) bool { return strings.Contains(w.Note, s) }) {
		return true
	}
	in, out := f.permissions(w, false), f.permissions(w, true)
	if len(in)+len(out) == 0 {
		return true
	}
	return slices.ContainsFunc(in, func(p permission) bool { return !p.answered(out) }) ||
		slices.ContainsFunc(out, func(p permission) bool { return !p.answered(in) })
}

// answered reports whether what the rule lets through is untracked, given those of the other direction.
func (p permission) answered(other []permission) bool {
	return p.any && (p.protocol == "tcp" || p.protocol == "udp") && slices.ContainsFunc(other, func(o permission) bool {
		return o.any && o.all && (o.protocol == p.protocol || o.protocol == "-1")
	})
}

func label(id, name string) string {
	if name == "" {
		return id
	}
	return id + " (" + name + ")"
}
