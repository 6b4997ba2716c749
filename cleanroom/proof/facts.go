package proof

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fact is one thing that the proof rests on, as it was read.
type Fact struct {
	Resource string `json:"resource"`
	What     string `json:"what"`
	Value    string `json:"value"`
}

// Drift is a fact that is not what it was.
type Drift struct {
	Resource string `json:"resource"`
	What     string `json:"what"`
	Before   string `json:"before"` // empty: it was not there
	Now      string `json:"now"`    // empty: it is not there any more
}

func (d Drift) String() string {
	or := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	return fmt.Sprintf("%s %s: before %s, now %s", d.Resource, d.What, or(d.Before), or(d.Now))
}

// Facts are what a model holds, one line each, in an order that depends on
// nothing else: two readings of an unchanged room are equal.
func (m *Model) Facts() []Fact {
	all := make(map[[2]string][]string)
	add := func(resource, what string, values ...string) {
		all[[2]string{resource, what}] = append(all[[2]string{resource, what}], values...)
	}
	add(m.VPC, "address blocks", m.CIDRs...)
	m.networkFacts(add)
	for _, i := range m.Interfaces {
		add(i.ID, "interface", fmt.Sprintf("of %s, index %s", orNone(i.Instance), orNone(i.Index)))
		add(i.ID, "groups", i.Groups...)
		add(i.ID, "public addresses", append(slices.Clone(i.Public), i.IPv6...)...)
		if i.Owner != "" {
			add(i.ID, "owner", i.Owner)
		}
	}
	for _, i := range m.Instances {
		add(i.ID, "instance profile", orNone(i.Profile))
	}
	for _, e := range m.Endpoints {
		add(e.ID, "endpoint", e.Type+" to "+e.Service)
		add(e.ID, "groups", e.Groups...)
		add(e.ID, "policy", compact(e.Policy))
	}
	for _, r := range m.Roles {
		add(r.Name, "trust policy", compact(r.Trust))
		add(r.Name, "permissions boundary", orNone(r.Boundary))
		add(r.Name, "attached policies", r.Attached...)
		for name, document := range r.Inline {
			add(r.Name, "policy "+name, compact(document))
		}
	}
	var facts []Fact
	for key, values := range all {
		slices.Sort(values)
		facts = append(facts, Fact{Resource: key[0], What: key[1], Value: orNone(strings.Join(slices.Compact(values), "; "))})
	}
	slices.SortFunc(facts, func(a, b Fact) int { return strings.Compare(a.Resource+"\x00"+a.What, b.Resource+"\x00"+b.What) })
	return facts
}

func (m *Model) networkFacts(add func(resource, what string, values ...string)) {
	for _, s := range m.Subnets {
		add(s.ID, "subnet", fmt.Sprintf("public addresses %t, IPv6 %t", s.PublicIP, s.IPv6))
	}
	for _, r := range m.Routes {
		add(r.Table, "routes", r.To+" to "+orLocal(r.Via))
	}
	for _, g := range m.Gateways {
		add(g.ID, "gateway", g.Kind)
	}
	for _, g := range m.Groups {
		add(g.ID, "ingress")
		add(g.ID, "egress")
		for _, r := range g.In {
			add(g.ID, "ingress", r.Ports+" from "+r.Peer)
		}
		for _, r := range g.Out {
			add(g.ID, "egress", r.Ports+" to "+r.Peer)
		}
	}
	for _, a := range m.ACLs {
		add(a.ID, "ACL of", a.Subnets...)
		add(a.ID, "ACL entries")
		for _, e := range a.Entries {
			add(a.ID, "ACL entries", fmt.Sprintf("%05d %s", e.Number, e))
		}
	}
	for n, r := range m.DNS.Rules {
		add(m.VPC, fmt.Sprintf("DNS firewall rule %d", n+1), r.Action+" "+strings.Join(r.Domains, ", "))
	}
	add(m.VPC, "DNS", fmt.Sprintf("resolver %t, firewall fails open %t", !m.DNS.Off, m.DNS.FailOpen))
	add(m.VPC, "DNS forwarding", m.DNS.Forwards...)
}

// Compare lists what is not as it was.
func Compare(before, now []Fact) []Drift {
	drift := []Drift{}
	index := func(facts []Fact) map[[2]string]string {
		m := make(map[[2]string]string)
		for _, f := range facts {
			m[[2]string{f.Resource, f.What}] = f.Value
		}
		return m
	}
	then, here := index(before), index(now)
	for _, f := range before {
		if value := here[[2]string{f.Resource, f.What}]; value != f.Value {
			drift = append(drift, Drift{f.Resource, f.What, f.Value, value})
		}
	}
	for _, f := range now {
		if _, ok := then[[2]string{f.Resource, f.What}]; !ok {
			drift = append(drift, Drift{f.Resource, f.What, "", f.Value})
		}
	}
	return drift
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func orLocal(s string) string {
	if s == "" {
		return "the network itself"
	}
	return s
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
