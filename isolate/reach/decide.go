package reach

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Wish is what the responder asked for.
type Wish struct {
	// Measures to take; none: auto, the narrowest set that cuts every path. Groups
	// are always taken.
	Measures []Measure
	// Remotes are the attacker's addresses, for RemoteACL.
	Remotes []netip.Prefix
	// Allow are the remote addresses that shall still reach the instance, or be reached.
	Allow []netip.Prefix
	// SSM keeps the interface endpoints of Systems Manager open.
	SSM bool
	// Quota is the number of entries that an ACL takes in each direction for each family,
	// AWS's own last one counted; 0: the default.
	Quota int
}

// Auto is the strategy's name in which the measures are not named.
const Auto = "auto"

// ParseMeasures reads a strategy: "auto", nothing, or names of measures.
func ParseMeasures(names []string) ([]Measure, error) {
	var all []Measure
	var problems []error
	for _, name := range names {
		switch m := Measure(name); m {
		case Auto:
			if len(names) > 1 {
				problems = append(problems, errors.New("strategy auto stands alone"))
			}
		case Groups, Timeouts, Addresses, EdgeACL, RemoteACL, SubnetACL:
			all = append(all, m)
		default:
			problems = append(problems, fmt.Errorf("strategy %q is unknown: auto, or any of %s, %s, %s, %s, %s, %s", name, Groups, Timeouts, Addresses, EdgeACL, RemoteACL, SubnetACL))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, &incident.RefusedError{Reason: err.Error()}
	}
	return all, nil
}

func (w Wish) auto() bool { return len(w.Measures) == 0 }

// wants: auto takes all but SubnetACL, and RemoteACL where it knows addresses.
func (w Wish) wants(m Measure) bool {
	if w.auto() {
		return m != SubnetACL && (m != RemoteACL || len(w.Remotes) > 0)
	}
	return m == Groups || slices.Contains(w.Measures, m)
}

// decision is a Decision being made.
type decision struct {
	*Network
	wish    Wish
	choices []Choice
	denies  map[Measure][]Deny
	// kept: an ACL with an own address that an allowed path needs there, and that path.
	kept map[Deny]string
	take []Address
	// failed are the reasons why a measure could not be had, and worked the measures
	// that could be had somewhere.
	failed map[Measure][]string
	worked map[Measure]bool
	notes  []string
}

// Decide chooses the measures for every path. The same network and wish give the
// same decision. It is *incident.RefusedError where the wish makes no sense, or
// a measure that was named can't be had anywhere.
func (n *Network) Decide(w Wish) (Decision, error) {
	if err := n.check(w); err != nil {
		return Decision{}, err
	}
	d := &decision{
		Network: n, wish: w, denies: make(map[Measure][]Deny), kept: make(map[Deny]string), failed: make(map[Measure][]string), worked: make(map[Measure]bool),
	}
	d.open()
	d.addresses()
	d.edgeACLs()
	d.subnetACLs()
	d.remoteACLs()
	d.explain()
	out := Decision{Choices: d.choices, Denies: d.denies, Addresses: d.take, Timeouts: d.timeouts(), Neighbours: d.neighbours()}
	for _, a := range d.take {
		if a.Automatic {
			out.Irreversible = append(out.Irreversible, fmt.Sprintf("public address %s of %s: AWS gave it at launch and takes it for good; a release brings a new one", a.Public, d.nic(a.Interface).name()))
		}
	}
	out.Notes = d.sayings()
	return out, d.refuse()
}

// check looks for what is wrong with the wish itself, all of it.
func (n *Network) check(w Wish) error {
	var problems []error
	for _, r := range w.Remotes {
		if r.Addr().Is4() && r.Bits() < 8 || r.Addr().Is6() && r.Bits() < 16 {
			problems = append(problems, fmt.Errorf("remote address %s: that is not an attacker's, it is a good part of the world; %s denies everything", r, SubnetACL))
		}
		for _, a := range w.Allow {
			if a.Overlaps(r) {
				problems = append(problems, fmt.Errorf("remote address %s: the allow-list has %s", r, a))
			}
		}
	}
	if slices.Contains(w.Measures, RemoteACL) && len(w.Remotes) == 0 {
		problems = append(problems, fmt.Errorf("%s: no remote address is given", RemoteACL))
	}
	if w.SSM && !slices.ContainsFunc(n.ways, func(x way) bool { return x.ssm() }) {
		problems = append(problems, errors.New("the allow-list asks for Systems Manager, and the instance's VPC has no interface endpoint for it: it would be reached over the Internet, which is cut"))
	}
	if slices.Contains(w.Measures, SubnetACL) && (w.SSM || len(w.Allow) > 0) {
		problems = append(problems, fmt.Errorf("%s denies everything, the allow-list's addresses too", SubnetACL))
	}
	if err := errors.Join(problems...); err != nil {
		return &incident.RefusedError{Reason: err.Error()}
	}
	return nil
}

// ssm reports whether this is an endpoint that the SSM Agent needs ("Improve the
// security of EC2 instances by using VPC endpoints for Systems Manager").
func (w *way) ssm() bool {
	return w.Kind == Endpoint && slices.ContainsFunc([]string{".ssm", ".ssmmessages", ".ec2messages"}, func(s string) bool { return strings.HasSuffix(w.Note, s) })
}

// allowed reports whether the path carries what the allow-list keeps, and what.
func (d *decision) allowed(w *way) string {
	if d.wish.SSM && w.ssm() {
		return w.Note
	}
	for _, a := range d.wish.Allow {
		if w.Kind != Service && w.carries(a.Masked()) {
			return a.String()
		}
	}
	return ""
}

// open starts the choices: groups on every path they bear on, and what the
// allow-list keeps.
func (d *decision) open() {
	for i := range d.ways {
		w := &d.ways[i]
		c := Choice{Path: w.Path, Measures: []Measure{Groups}}
		switch allowed := d.allowed(w); {
		case w.Kind == Service:
			c.Measures, c.Reason = nil, w.bare
		case allowed != "":
			c.Allowed, c.Reason = true, "the allow-list keeps "+allowed+" open: only groups and timeouts tell it from the rest of the path"
			for _, e := range w.Edges {
				for _, p := range w.prefixes() {
					d.kept[Deny{ACL: e.ACL, Prefix: p}] = w.String()
				}
			}
		case !w.Tracked:
			c.Cut, c.Reason = true, "the groups let every flow of it pass untracked: such a flow ends when they change"
		}
		d.choices = append(d.choices, c)
	}
}

// pending reports whether a measure still has something to cut on the path.
func (d *decision) pending(i int) bool {
	return !d.choices[i].Cut && !d.choices[i].Allowed && d.ways[i].Kind != Service
}

// cut records that a measure cuts the path.
func (d *decision) cut(i int, m Measure, reason string) {
	c := &d.choices[i]
	c.Measures, c.Cut, c.Reason = append(c.Measures, m), true, reason
	d.worked[m] = true
}

// miss records why a measure can't be had for the path.
func (d *decision) miss(i int, m Measure, reason string) {
	c := &d.choices[i]
	c.Reason = joinReasons(c.Reason, fmt.Sprintf("%s: %s", m, reason))
	d.failed[m] = append(d.failed[m], reason)
}

func joinReasons(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// addressGone: AWS documents that the address no longer leads to the instance, and
// not what becomes of a connection that is open (aws-facts.md: unproven, observe).
const addressGone = "the address is taken off; AWS does not document that open connections end with it"

// addresses takes off what the Internet reaches the instance by: the public IPv4
// address of the path, and for IPv6 the addresses themselves, which ends every other path of theirs too.
func (d *decision) addresses() {
	if !d.wish.wants(Addresses) {
		return
	}
	for i := range d.ways {
		w := &d.ways[i]
		if w.Kind != InternetGateway || w.six() || !d.pending(i) {
			continue
		}
		for _, a := range w.nic.public() {
			if a.Public == w.Public {
				d.take = append(d.take, a)
			}
		}
		d.cut(i, Addresses, addressGone)
	}
	for i := range d.interfaces {
		d.sixth(&d.interfaces[i])
	}
}

// sixth takes the IPv6 addresses off an interface that reaches the Internet by them.
func (d *decision) sixth(f *nic) {
	var mine []int
	outside, kept := false, ""
	for i := range d.ways {
		w := &d.ways[i]
		if w.nic != f || w.Kind == Service || !w.six() {
			continue
		}
		mine = append(mine, i)
		outside = outside || d.pending(i) && (w.Kind == InternetGateway || w.Kind == EgressOnly)
		if d.choices[i].Allowed {
			kept = w.String()
		}
	}
	if !outside {
		return
	}
	for _, i := range mine {
		w, primary := &d.ways[i], slices.Contains(d.ways[i].Local, f.primary6)
		switch {
		case !d.pending(i):
		case kept != "":
			d.missOutside(i, "the allow-list needs the IPv6 addresses for "+kept)
		case primary:
			d.missOutside(i, fmt.Sprintf("%s is the primary IPv6 address of %s, which can't be unassigned", f.primary6, f.id))
		case w.Kind == InternetGateway || w.Kind == EgressOnly:
			d.cut(i, Addresses, addressGone)
		default:
			d.cut(i, Addresses, "the IPv6 addresses are taken off, with every path of theirs; AWS does not document that open connections end with them")
		}
	}
	if kept == "" {
		d.takeSix(f)
	}
}

// missOutside: where the address is the only measure, say why it is not had.
func (d *decision) missOutside(i int, reason string) {
	if len(d.ways[i].Edges) == 0 {
		d.miss(i, Addresses, reason)
	}
}

func (d *decision) takeSix(f *nic) {
	for _, a := range f.v6 {
		if a != f.primary6 {
			d.take = append(d.take, Address{Interface: f.id, IPv6: netip.PrefixFrom(a, a.BitLen())})
		}
	}
	for _, p := range f.nets6 {
		d.take = append(d.take, Address{Interface: f.id, IPv6: p})
	}
}

// explain says of each path that stays why no measure that ends open connections
// bears on it.
func (d *decision) explain() {
	for i := range d.ways {
		w, c := &d.ways[i], &d.choices[i]
		if !d.pending(i) {
			continue
		}
		outside := w.Kind == InternetGateway || w.Kind == EgressOnly
		switch {
		case outside && !d.wish.wants(Addresses):
			c.Reason = joinReasons(string(Addresses)+" is not asked for", c.Reason)
		case len(w.Edges) > 0 && !d.wish.wants(EdgeACL):
			c.Reason = joinReasons(string(EdgeACL)+" is not asked for", c.Reason)
		case len(w.Edges) == 0 && !outside:
			c.Reason = joinReasons(w.bare, c.Reason)
		}
	}
}

// timeouts are lowered on every interface that keeps tracked connections.
func (d *decision) timeouts() []string {
	if !d.wish.wants(Timeouts) {
		return nil
	}
	var all []string
	for i := range d.ways {
		w, c := &d.ways[i], &d.choices[i]
		if c.Cut || w.Kind == Service || !w.Tracked {
			continue
		}
		c.Measures = append(c.Measures, Timeouts)
		if !slices.Contains(all, w.Interface) {
			all = append(all, w.Interface)
		}
	}
	return all
}

// refuse: a measure that was asked for by name and can't be had at all. In auto
// the next best is taken, and each path says so.
func (d *decision) refuse() error {
	var problems []error
	for _, m := range []Measure{Addresses, EdgeACL, RemoteACL, SubnetACL} {
		if slices.Contains(d.wish.Measures, m) && !d.worked[m] && len(d.failed[m]) > 0 {
			reasons := slices.Clone(d.failed[m])
			slices.Sort(reasons)
			problems = append(problems, fmt.Errorf("%s can't be had: %s", m, strings.Join(slices.Compact(reasons), "; ")))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return &incident.RefusedError{Reason: err.Error()}
	}
	return nil
}

// sayings are what the responder should know beside the paths.
func (d *decision) sayings() []string {
	notes := d.notes
	for _, m := range []Measure{Addresses, EdgeACL, RemoteACL, SubnetACL} {
		if slices.Contains(d.wish.Measures, m) && !d.worked[m] && len(d.failed[m]) == 0 {
			notes = append(notes, fmt.Sprintf("%s: no path is left that it could cut", m))
		}
	}
	for _, a := range d.wish.Allow {
		if !slices.ContainsFunc(d.ways, func(w way) bool { return w.Kind != Service && w.carries(a.Masked()) }) {
			notes = append(notes, fmt.Sprintf("allow-list: no path of the instance leads to %s", a))
		}
	}
	for _, f := range d.interfaces {
		if f.SourceDestCheck != nil && !*f.SourceDestCheck {
			notes = append(notes, f.name()+": its source/destination check is off, so it can forward packets of other addresses, which no entry denies")
		}
		for _, t := range f.vpc.RouteTables {
			for _, r := range t.Routes {
				if aws.ToString(r.NetworkInterfaceId) == f.id {
					notes = append(notes, fmt.Sprintf("%s sends %s through %s: what its subnets reach that way is cut off with the instance",
						aws.ToString(t.RouteTableId), cmp.Or(aws.ToString(r.DestinationCidrBlock), aws.ToString(r.DestinationIpv6CidrBlock), aws.ToString(r.DestinationPrefixListId)), f.name()))
				}
			}
		}
		if f.InterfaceType == ec2types.NetworkInterfaceTypeTrunk {
			notes = append(notes, f.name()+": containers' branch interfaces on it have security groups of their own, which stay")
		}
		notes = append(notes, f.vpc.Unseen...)
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}
