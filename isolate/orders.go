package isolate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// barriersOf are the entries that a decision asks for, inbound and outbound.
func barriersOf(d reach.Decision) []barrier {
	var all []barrier
	for _, m := range []reach.Measure{reach.EdgeACL, reach.RemoteACL, reach.SubnetACL} {
		for _, deny := range d.Denies[m] {
			for _, egress := range []bool{false, true} {
				all = append(all, barrier{ACL: deny.ACL, Egress: egress, Prefix: deny.Prefix, Measure: m})
			}
		}
	}
	return all
}

// shared names the entries that other instances' steps may make as well.
func (o orders) shared() []string {
	var all []string
	for _, d := range o.Barriers {
		if d.joint() {
			all = append(all, d.key())
		}
	}
	return all
}

// going is the interface with those of its addresses only that go.
func (w wire) going(addresses []reach.Address) wire {
	goes := func(which func(reach.Address) bool) bool {
		return slices.ContainsFunc(addresses, func(a reach.Address) bool { return a.Interface == w.ID && which(a) })
	}
	w.Public = slices.DeleteFunc(slices.Clone(w.Public), func(p public) bool {
		return !goes(func(a reach.Address) bool { return a.Public.IsValid() && a.Public.String() == p.Address })
	})
	w.IPv6 = slices.DeleteFunc(slices.Clone(w.IPv6), func(text string) bool {
		p, err := parsePrefix(text)
		return err != nil || !goes(func(a reach.Address) bool { return a.IPv6 == p })
	})
	return w
}

// keep takes from the approved plan what an earlier step of it may have done
// since: an entry that instances share was not there before the plan's first one made it.
func (b *wiring) keep(req incident.Request) error {
	approved, err := planned[wiring](req)
	if err != nil || approved == nil {
		return err
	}
	for i := range b.Orders.Barriers {
		d := &b.Orders.Barriers[i]
		d.absent = slices.ContainsFunc(approved.Orders.Barriers, func(p barrier) bool { return p == *d && p.joint() })
	}
	return nil
}

// readStanding fills in which entries are there already.
func (w *wired) readStanding(ctx context.Context, barriers []barrier) error {
	found, err := w.acls(ctx, aclsOf(barriers)...)
	if err != nil {
		return err
	}
	for i := range barriers {
		d := &barriers[i]
		a, ok := found[d.ACL]
		d.Standing = ok && !d.absent && d.denied(a)
	}
	return nil
}

func (b wiring) vpcs() []string {
	var ids []string
	for _, n := range b.Interfaces {
		if !slices.Contains(ids, n.VPC) {
			ids = append(ids, n.VPC)
		}
	}
	return ids
}

func (b wiring) get(id string) (wire, bool) {
	i := slices.IndexFunc(b.Interfaces, func(n wire) bool { return n.ID == id })
	if i < 0 {
		return wire{}, false
	}
	return b.Interfaces[i], true
}

func (b wiring) has(id string) bool { return has(b.Interfaces, id) }

func has(interfaces []wire, id string) bool {
	return slices.ContainsFunc(interfaces, func(n wire) bool { return n.ID == id })
}

// changes are what Apply will make of the before-state, one for each attribute.
func (b wiring) changes(groups map[string]string) []incident.Change {
	all := []incident.Change{}
	add := func(d incident.Drift) {
		if d.Before != d.Set {
			all = append(all, incident.Change{Resource: d.Resource, What: d.What, Before: d.Before, After: d.Set})
		}
	}
	for _, n := range b.Interfaces {
		f := b.Orders.fence(n.VPC)
		if !n.only(groups[n.VPC]) {
			all = append(all, incident.Change{
				Resource: n.name(), What: "security groups", Before: n.words(), After: fmt.Sprintf("%s of %s: %s", f.name(), n.VPC, f.passes()),
			})
		}
		if slices.Contains(b.Orders.Timeouts, n.ID) {
			add(timersDrift(n, n))
		}
		for _, d := range addressDrifts(n, n, nil) {
			add(d)
		}
	}
	return append(all, b.denials()...)
}

// denials are the changes to ACLs: most come in pairs, inbound and outbound.
func (b wiring) denials() []incident.Change {
	var all []incident.Change
	for i := 0; i < len(b.Orders.Barriers); i++ {
		d, what := b.Orders.Barriers[i], ""
		if i+1 < len(b.Orders.Barriers) {
			if next := b.Orders.Barriers[i+1]; !d.Standing && !next.Standing && d.ACL == next.ACL && d.Prefix == next.Prefix {
				what = fmt.Sprintf("inbound and outbound entry for %s", d.Prefix)
				i++
			}
		}
		if !d.Standing {
			all = append(all, incident.Change{Resource: d.ACL, What: cmp.Or(what, d.what()), Before: none, After: "denied, in front of what lets it through"})
		}
	}
	return all
}

// vpcs are those in which something was cut.
func (c cut) vpcs() []string { return slices.Sorted(maps.Keys(c.Groups)) }

// lowered reports whether the interface's timeouts were to be lowered, and were.
func (c cut) lowered(o orders, id string) bool {
	asked := slices.Contains(o.Timeouts, id) || slices.Contains(c.Timeouts, id)
	return asked && !slices.ContainsFunc(c.Missed, func(m missed) bool { return m.Measure == reach.Timeouts && m.Resource == id })
}

// missed reports whether AWS had no room for the entry.
func (c cut) missed(d barrier) bool {
	return slices.ContainsFunc(c.Missed, func(m missed) bool { return m.Resource == d.ACL && m.Prefix == d.Prefix && m.Egress == d.Egress })
}

func (m missed) String() string {
	if m.Prefix.IsValid() {
		return fmt.Sprintf("%s: %s", m.Resource, barrier{Prefix: m.Prefix, Egress: m.Egress}.what())
	}
	return fmt.Sprintf("%s of %s", m.Measure, m.Resource)
}
