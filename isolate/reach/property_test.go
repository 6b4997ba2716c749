package reach

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"pgregory.net/rapid"
)

// world builds a lab of anything: interfaces with addresses of every sort, routes to
// every sort of target, ACLs shared, full and another account's.
func world(r *rapid.T, t *testing.T) *lab {
	l := newLab(t)
	l.nics = nil
	if rapid.Bool().Draw(r, "subnet with IPv6") {
		l.six("subnet-own", "2001:db8::/64")
	}
	for i := range rapid.IntRange(1, 4).Draw(r, "other subnets") {
		id := fmt.Sprintf("subnet-%d", i)
		l.subnet(id, fmt.Sprintf("10.0.%d.0/24", i+1), rapid.SampledFrom([]string{"acl-own", "acl-a", "acl-b"}).Draw(r, "ACL"))
		if rapid.Bool().Draw(r, "with IPv6") {
			l.six(id, fmt.Sprintf("2001:db8:0:%d::/64", i+1))
		}
	}
	subnets := []string{"subnet-own", "subnet-0"}
	l.nat("nat-1", rapid.SampledFrom(append(subnets, "")).Draw(r, "NAT subnet"))
	l.attachment("tgw-1", rapid.SampledFrom(subnets).Draw(r, "attachment"))
	l.other("eni-fw", rapid.SampledFrom(subnets).Draw(r, "appliance"), "10.0.1.200", "interface")
	l.other("eni-ssm", rapid.SampledFrom(subnets).Draw(r, "endpoint"), "10.0.1.201", ec2types.NetworkInterfaceTypeVpcEndpoint)
	l.endpoint("vpce-ssm", "com.amazonaws.eu-central-1.ssm", ec2types.VpcEndpointTypeInterface, "eni-ssm")
	l.routes("subnet-own", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"0.0.0.0/0 igw-1", "0.0.0.0/0 nat-1", "::/0 igw-1", "::/0 eigw-1", "10.0.0.0/8 tgw-1", "172.16.0.0/12 pcx-1", "192.168.0.0/16 vgw-1",
		"198.18.0.0/15 eni-fw", "pl-1 tgw-1", "100.64.0.0/10 lgw-1", "203.0.113.0/24 nat-1 blackhole",
	}), 0, 6, rapid.ID).Draw(r, "routes")...)
	for i := range rapid.IntRange(1, 3).Draw(r, "interfaces") {
		anyNIC(r, l, i)
	}
	for _, a := range l.vpc.ACLs {
		for n := range int32(rapid.IntRange(0, 18).Draw(r, "entries")) {
			l.entry(*a.NetworkAclId, 1+n, n%2 == 0, "deny", fmt.Sprintf("192.0.2.%d/32", n))
		}
	}
	if rapid.IntRange(0, 4).Draw(r, "owner") == 0 {
		l.vpc.ACLs[0].OwnerId = aws.String("999999999999")
	}
	anyport := rule("tcp", 0, 65535, "0.0.0.0/0", "::/0")
	if rapid.Bool().Draw(r, "untracked") {
		l.vpc.Groups = []ec2types.SecurityGroup{group("sg-web", []ec2types.IpPermission{anyport}, []ec2types.IpPermission{anyport})}
	}
	return l
}

func anyNIC(r *rapid.T, l *lab, i int) {
	addresses := []string{fmt.Sprintf("10.0.0.%d", 10+i)}
	for j := range rapid.IntRange(0, 3).Draw(r, "secondary") {
		addresses = append(addresses, fmt.Sprintf("10.0.0.%d", 100+10*i+j))
	}
	for j := range rapid.IntRange(0, 2).Draw(r, "IPv6") {
		addresses = append(addresses, fmt.Sprintf("2001:db8::%d:%d", i+1, j+1))
	}
	n := l.nic(fmt.Sprintf("eni-%d", i), int32(i), addresses...)
	if len(n.Ipv6Addresses) > 0 && rapid.Bool().Draw(r, "primary IPv6") {
		n.Ipv6Addresses[0].IsPrimaryIpv6 = aws.Bool(true)
	}
	if rapid.Bool().Draw(r, "public") {
		public(n, 0, fmt.Sprintf("198.51.100.%d", 1+i), rapid.Bool().Draw(r, "elastic"))
	}
	if rapid.Bool().Draw(r, "delegated") {
		n.Ipv4Prefixes = []ec2types.Ipv4PrefixSpecification{{Ipv4Prefix: aws.String(fmt.Sprintf("10.0.0.%d/28", 160+16*i))}}
	}
}

func anyWish(r *rapid.T) Wish {
	prefixes := func(name string, all ...string) []netip.Prefix {
		var out []netip.Prefix
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 2, rapid.ID).Draw(r, name) {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	return Wish{
		Measures: rapid.SliceOfNDistinct(rapid.SampledFrom([]Measure{Groups, Timeouts, Addresses, EdgeACL, RemoteACL, SubnetACL}), 0, 6, rapid.ID).Draw(r, "measures"),
		Remotes:  prefixes("remotes", "203.0.113.66/32", "10.9.9.9/32", "2001:db8:ffff::1/128"),
		Allow:    prefixes("allow", "10.0.1.0/24", "198.51.100.0/24", "172.16.1.0/24"),
		SSM:      rapid.Bool().Draw(r, "SSM"),
	}
}

func TestADecisionHitsTheInstanceAndNobodyElse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := world(r, t)
		w := anyWish(r)
		n := l.network()
		d, err := n.Decide(w)
		again, errAgain := l.network().Decide(w)
		if !reflect.DeepEqual(d, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			r.Fatalf("the same network and wish: %+v, then %+v", d, again)
		}
		if err != nil {
			return
		}
		checkDenies(r, l, n, d, w)
		checkChoices(r, n, d, w)
	})
}

// checkDenies: nobody's address but the instance's own is denied, except where the
// wish says so; every entry has room; what is allowed meets none of them.
func checkDenies(r *rapid.T, l *lab, n *Network, d Decision, w Wish) {
	var own []netip.Prefix
	for _, f := range n.interfaces {
		own = append(own, Path{Local: append(slices.Clone(f.v4), f.v6...), Delegated: append(slices.Clone(f.nets4), f.nets6...)}.prefixes()...)
	}
	byACL := make(map[string][]netip.Prefix)
	for m, denies := range d.Denies {
		for _, x := range denies {
			byACL[x.ACL] = append(byACL[x.ACL], x.Prefix)
			switch {
			case l.vpc.acl(x.ACL).OwnerId != nil && *l.vpc.acl(x.ACL).OwnerId != account:
				r.Fatalf("%s: %s is another account's", m, x.ACL)
			case m == EdgeACL && !slices.ContainsFunc(own, func(p netip.Prefix) bool { return covers(p, x.Prefix) }):
				r.Fatalf("%s denies %s on %s: not only the instance's", m, x.Prefix, x.ACL)
			case m == RemoteACL && !slices.Contains(w.Remotes, x.Prefix):
				r.Fatalf("%s denies %s, which nobody asked for", m, x.Prefix)
			case m == SubnetACL && !slices.Contains(w.Measures, SubnetACL):
				r.Fatalf("%s was not named", m)
			}
		}
	}
	for acl, prefixes := range byACL {
		for _, egress := range []bool{false, true} {
			if _, err := Numbers(*l.vpc.acl(acl), egress, prefixes, 0); err != nil {
				r.Fatalf("no room for what was decided: %v", err)
			}
		}
	}
	for _, c := range d.Choices {
		if !c.Allowed {
			continue
		}
		for _, e := range c.Path.Edges {
			if slices.ContainsFunc(c.Path.prefixes(), func(p netip.Prefix) bool { return slices.Contains(d.Denies[EdgeACL], Deny{e.ACL, p}) }) {
				r.Fatalf("%s is allowed, and denied at %s", c.Path, e.ACL)
			}
		}
		if slices.ContainsFunc(d.Addresses, func(a Address) bool {
			return a.Interface == c.Path.Interface && (a.Public.IsValid() && a.Public == c.Path.Public || a.IPv6.IsValid() && c.Path.six())
		}) {
			r.Fatalf("%s is allowed, and its address goes", c.Path)
		}
	}
}

// checkChoices: every path once, Groups first, and cut only by what reaches it.
func checkChoices(r *rapid.T, n *Network, d Decision, w Wish) {
	var paths []Path
	for _, c := range d.Choices {
		paths = append(paths, c.Path)
		has := func(m Measure) bool { return slices.Contains(c.Measures, m) }
		switch {
		case c.Path.Kind == Service:
			if c.Cut || len(c.Measures) > 0 {
				r.Fatalf("%s: nothing reaches it, and it is %v", c.Path, c)
			}
			continue
		case len(c.Measures) == 0 || c.Measures[0] != Groups:
			r.Fatalf("%s: groups are not the first of %v", c.Path, c.Measures)
		case c.Cut && c.Allowed:
			r.Fatalf("%s is cut and allowed", c.Path)
		case !c.Cut && c.Reason == "":
			r.Fatalf("%s is not cut, and nothing says why", c.Path)
		}
		for _, m := range c.Measures {
			if !w.wants(m) {
				r.Fatalf("%s: %s was not asked for", c.Path, m)
			}
		}
		edged := len(c.Path.Edges) > 0
		for _, e := range c.Path.Edges {
			edged = edged && !slices.ContainsFunc(c.Path.prefixes(), func(p netip.Prefix) bool { return !slices.Contains(d.Denies[EdgeACL], Deny{e.ACL, p}) })
		}
		reached := !c.Path.Tracked || has(EdgeACL) && edged || has(Addresses) && goes(c.Path, d.Addresses) || has(SubnetACL) && c.Path.Kind != SameSubnet && len(d.Denies[SubnetACL]) > 0
		if c.Cut && !reached {
			r.Fatalf("%s is called cut by %v, which do not reach it", c.Path, c.Measures)
		}
	}
	if !reflect.DeepEqual(paths, n.Paths()) {
		r.Fatalf("choices of %v, paths %v", paths, n.Paths())
	}
}

// goes reports whether every address of the path is taken off.
func goes(p Path, taken []Address) bool {
	if p.Public.IsValid() {
		return slices.ContainsFunc(taken, func(a Address) bool { return a.Interface == p.Interface && a.Public == p.Public })
	}
	return !slices.ContainsFunc(p.prefixes(), func(q netip.Prefix) bool {
		return !slices.ContainsFunc(taken, func(a Address) bool { return a.Interface == p.Interface && a.IPv6 == q })
	})
}

// What is expected of a decision is what is seen once it is carried out, and a second
// decision then finds nothing left to do but what stays open.
func TestWhatIsDecidedIsWhatIsSeen(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := world(r, t)
		n := l.network()
		w := anyWish(r)
		d, err := n.Decide(w)
		if err != nil {
			return
		}
		_, expected := n.Expected(d)
		l.apply(d)
		now := l.network()
		left, seen := now.Observed(d)
		for i := range expected {
			if expected[i].Cut && !seen[i].Cut {
				r.Fatalf("expected %+v, seen %+v", expected[i], seen[i])
			}
		}
		for _, e := range left {
			if e.Direction != "" {
				r.Fatalf("new connections pass: %+v", e)
			}
		}
		again, err := now.Decide(w)
		if err != nil {
			return // a measure has nothing left to do, and the other ACLs are full
		}
		for m, denies := range again.Denies {
			for _, x := range denies {
				for _, egress := range []bool{false, true} {
					if numbers, err := Numbers(*l.vpc.acl(x.ACL), egress, []netip.Prefix{x.Prefix}, 0); slices.Contains(d.Denies[m], x) && (err != nil || len(numbers) > 0) {
						r.Fatalf("%s of %s is to be made again: %v, %v", m, x.Prefix, numbers, err)
					}
				}
			}
		}
	})
}
