package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// ShortestIdle is the least TcpEstablishedTimeout, in seconds, and ShortestUDP and
	// ShortestUDPStream the least of UDP (API_ConnectionTrackingSpecificationRequest).
	ShortestIdle      = 60
	ShortestUDP       = 30
	ShortestUDPStream = 60
	// longestIdle is AWS's default; on Nitro v6 it is 350.
	longestIdle = 432000
)

// Expected is what becomes of each path by the decision, and what can pass all the
// same: for the plan.
func (n *Network) Expected(d Decision) ([]incident.Exposure, []incident.Cut) {
	var left []incident.Exposure
	var cuts []incident.Cut
	for _, c := range d.Choices {
		cuts = append(cuts, c.cut())
		if c.Cut {
			continue
		}
		left = append(left, n.leftover(c, slices.Contains(d.Timeouts, c.Path.Interface)))
	}
	return append(left, n.standing()...), cuts
}

// Observed is what became of each path of a decision, from what AWS shows after the
// cut: n has been read back. Nothing is called cut that is not seen to be.
func (n *Network) Observed(d Decision) ([]incident.Exposure, []incident.Cut) {
	var left []incident.Exposure
	var cuts []incident.Cut
	for _, c := range d.Choices {
		if c.Path.Kind != Service {
			c = n.observe(c, d.Denies[RemoteACL])
		}
		cuts = append(cuts, c.cut())
		if !c.Cut {
			left = append(left, n.leftover(c, false))
		}
	}
	for _, w := range n.ways {
		if w.Kind != Service {
			left = append(left, w.passing(d)...)
		}
	}
	return append(left, n.standing()...), cuts
}

func (c Choice) cut() incident.Cut {
	out := incident.Cut{
		Path: c.Path.String(), Interface: c.Path.Interface, Kind: string(c.Path.Kind),
		Measures: []string{}, Cut: c.Cut, Reason: c.Reason, Observed: c.Seen,
	}
	for _, m := range c.Measures {
		out.Measures = append(out.Measures, string(m))
	}
	return out
}

// same reports whether it is this path, before or after the cut. What is left of an
// interface's addresses does not make it another one, except where each address is
// a path of its own.
func (p Path) same(o Path) bool {
	if p.Kind == InternetGateway && p.six() && !slices.Equal(p.Local, o.Local) {
		return false
	}
	return p.Interface == o.Interface && p.Kind == o.Kind && p.Via == o.Via && p.Public == o.Public && p.six() == o.six() &&
		(len(p.Edges) == 0) == (len(o.Edges) == 0)
}

// observe sets Cut by what is seen: the addresses of the path are gone, an ACL stops
// both directions, or (where its flows were untracked) the groups do.
func (n *Network) observe(c Choice, remotes []Deny) Choice {
	missing := ""
	if slices.Contains(c.Measures, RemoteACL) {
		if open := n.undenied(c.Path, remotes); len(open) > 0 {
			missing = "not observed: " + strings.Join(open, ", ")
		}
	}
	i := slices.IndexFunc(n.ways, func(w way) bool { return w.same(c.Path) })
	seen, stays := "", ""
	switch {
	case n.gone(c.Path):
		seen = "its addresses are gone"
	case i < 0:
		stays = "AWS shows the path otherwise than before the cut"
	default:
		w := &n.ways[i]
		in, out := w.nic.stateless(w)
		switch {
		case !in.Open && !out.Open:
			seen = "in, " + in.Reason + "; out, " + out.Reason
			if in.Reason == out.Reason {
				seen = in.Reason + ", both ways"
			}
		case !c.Path.Tracked && !w.In.Open && !w.Out.Open:
			seen = "in, " + w.In.Reason + "; out, " + w.Out.Reason
		case c.Cut:
			stays = "not observed: " + still(in, out, w)
		}
	}
	switch {
	case c.Allowed:
	case seen != "":
		if !c.Cut {
			c.Reason = "" // it was why the path would not be cut
		}
		c.Cut, c.Seen = true, seen
	case stays != "":
		c.Cut, c.Reason = false, joinReasons(stays, c.Reason)
	}
	c.Reason = joinReasons(missing, c.Reason)
	return c
}

// undenied are those denials of remote addresses on the interface's own subnet that are not there.
func (n *Network) undenied(p Path, remotes []Deny) []string {
	f := n.nic(p.Interface)
	if f == nil {
		return nil
	}
	var all []string
	for _, r := range remotes {
		if r.ACL != f.acl || r.Prefix.Addr().Is6() != p.six() {
			continue
		}
		for _, egress := range []bool{false, true} {
			if v := f.vpc.passes(r.ACL, egress, []netip.Prefix{r.Prefix}); v.Open {
				all = append(all, v.Reason+" for "+r.Prefix.String())
			}
		}
	}
	return all
}

func still(in, out Verdict, w *way) string {
	var all []string
	if in.Open {
		all = append(all, "packets to the instance pass the ACLs")
	}
	if out.Open {
		all = append(all, "packets from the instance pass the ACLs")
	}
	if w.Public.IsValid() {
		all = append(all, w.Public.String()+" is still associated")
	}
	return strings.Join(all, ", ")
}

// gone reports whether none of the path's addresses leads to the interface any more.
func (n *Network) gone(p Path) bool {
	f := n.nic(p.Interface)
	if f == nil {
		return false // not shown: it may be anything
	}
	if p.Public.IsValid() {
		return !slices.ContainsFunc(f.public(), func(a Address) bool { return a.Public == p.Public })
	}
	addresses, nets := f.own(p.six())
	return !slices.ContainsFunc(p.prefixes(), func(q netip.Prefix) bool {
		return slices.Contains(nets, q) || slices.ContainsFunc(addresses, q.Contains)
	})
}

// idle is how long a connection lives on without a packet, at most, in seconds.
func (f *nic) idle() int64 {
	if c := f.ConnectionTrackingConfiguration; c != nil && c.TcpEstablishedTimeout != nil {
		return int64(*c.TcpEstablishedTimeout)
	}
	return longestIdle
}

// leftover is what stays open on a path that is not cut.
func (n *Network) leftover(c Choice, lowered bool) incident.Exposure {
	e := incident.Exposure{Path: c.Path.String(), Interface: c.Path.Interface, Reason: c.Reason}
	if c.Path.Kind == Service {
		e.Reason += ": data can leave in DNS queries"
		if !strings.HasPrefix(c.Path.Via, "VPC resolver") {
			e.Reason = c.Reason
		}
		return e
	}
	f := n.nic(c.Path.Interface)
	if f == nil || !c.Path.Tracked {
		return e
	}
	e.IdleSeconds = f.idle()
	if lowered {
		e.IdleSeconds = min(e.IdleSeconds, ShortestIdle)
	}
	limit := fmt.Sprintf("%d s", e.IdleSeconds)
	if e.IdleSeconds == longestIdle {
		limit = "432000 s (350 s on Nitro v6)"
	}
	e.Reason = joinReasons("connections open at the cut live on until nothing passes for "+limit+"; one that is in use has no limit", c.Reason)
	return e
}

// passing are the new connections that a path lets through after the cut.
func (w *way) passing(d Decision) []incident.Exposure {
	var all []incident.Exposure
	i := slices.IndexFunc(d.Choices, func(c Choice) bool { return w.same(c.Path) })
	if i < 0 {
		all = append(all, incident.Exposure{Path: w.String(), Interface: w.Interface, Reason: "the path was not there when the cut was planned: nothing but groups bears on it"})
	}
	allowed := i >= 0 && d.Choices[i].Allowed
	for _, v := range []struct {
		direction string
		Verdict
	}{{"in", w.In}, {"out", w.Out}} {
		if !v.Open {
			continue
		}
		reason := "new connections pass: " + v.Reason
		if allowed {
			reason = "the allow-list keeps it open: " + v.Reason
		}
		all = append(all, incident.Exposure{Path: w.String(), Interface: w.Interface, Direction: v.direction, Reason: reason})
	}
	return all
}

// standing is what no measure reaches.
func (n *Network) standing() []incident.Exposure {
	var all []incident.Exposure
	for _, f := range n.interfaces {
		if f.InterfaceType == ec2types.NetworkInterfaceTypeTrunk {
			all = append(all, incident.Exposure{
				Path: "branch interfaces of " + f.name(), Interface: f.id,
				Reason: "containers' interfaces on a trunk have security groups of their own, which are not replaced",
			})
		}
		if f.InterfaceType == ec2types.NetworkInterfaceTypeEfa || f.InterfaceType == ec2types.NetworkInterfaceTypeEfaOnly {
			all = append(all, incident.Exposure{
				Path: "EFA traffic of " + f.name(), Interface: f.id,
				Reason: "it bypasses the operating system; whether what is open at the cut ends with the groups is not documented by AWS",
			})
		}
		if f.SourceDestCheck != nil && !*f.SourceDestCheck {
			all = append(all, incident.Exposure{
				Path: "packets that " + f.name() + " forwards", Interface: f.id,
				Reason: "its source/destination check is off: connections of other addresses through it, open at the cut, meet no denial of its own",
			})
		}
	}
	return all
}
