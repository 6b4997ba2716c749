package proof

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Way is one way out of a room, or into it.
type Way struct {
	Kind     string `json:"kind"`     // route, gateway, address, …: what it is
	Resource string `json:"resource"` // ID in AWS, or logical name in the template
	Reason   string `json:"reason"`
	// Declared says why a room has this way; empty: it must not be there.
	Declared string `json:"declared,omitempty"`
}

// Verdict is what a judgement comes to.
type Verdict struct {
	// Closed is what was looked at and found closed.
	Closed []string `json:"closed"`
	// Ways are all that lead out, those that are declared first.
	Ways []Way `json:"ways"`
}

// Undeclared are the ways that must not be there.
func (v Verdict) Undeclared() []Way {
	return slices.DeleteFunc(slices.Clone(v.Ways), func(w Way) bool { return w.Declared != "" })
}

// Judge lists every way out of a room and tells the declared ones from the others.
func Judge(m *Model, d Declared) Verdict {
	j := &judge{m, d}
	v := Verdict{Closed: []string{}, Ways: []Way{}}
	for _, check := range []struct {
		closed string
		look   func() []Way
	}{
		{"nothing is there that this version does not know or can't read", j.unknown},
		{"no gateway, peering, VPN, transit gateway attachment, or association with another network", j.gateways},
		{"every route stays in the network or leads to an endpoint", j.routes},
		{"no public or IPv6 address, no subnet that gives one, no address block but the network's own", j.addresses},
		{"each instance is the room's own and has one interface; all others are endpoints'", j.interfaces},
		{"security groups let in and out only between the instances and the endpoints", j.groups},
		{"network ACLs allow only what the network itself and the endpoints need", j.acls},
		{"only declared endpoints, each with a policy that allows no more than is declared", j.endpoints},
		{"the instances' role may do no more than is declared", j.roles},
		{"names are looked up only as declared", j.names},
	} {
		ways := check.look()
		if !slices.ContainsFunc(ways, func(w Way) bool { return w.Declared == "" }) {
			v.Closed = append(v.Closed, check.closed)
		}
		v.Ways = append(v.Ways, ways...)
	}
	slices.SortStableFunc(v.Ways, func(a, b Way) int { return cmp.Compare(min(1, len(b.Declared)), min(1, len(a.Declared))) })
	return v
}

type judge struct {
	*Model
	declared Declared
}

func (j *judge) unknown() (ways []Way) {
	if j.VPC == "" {
		ways = append(ways, Way{Kind: "unknown", Resource: "the room", Reason: "it has no VPC of its own"})
	}
	for _, u := range j.Unknown {
		ways = append(ways, Way{Kind: "unknown", Resource: u.Resource, Reason: u.Reason})
	}
	return ways
}

func (j *judge) gateways() (ways []Way) {
	for _, g := range j.Gateways {
		ways = append(ways, Way{Kind: "gateway", Resource: g.ID, Reason: g.Kind})
	}
	return ways
}

func (j *judge) routes() (ways []Way) {
	for _, r := range j.Routes {
		if r.Via != "" && !slices.ContainsFunc(j.Endpoints, func(e Endpoint) bool { return e.ID == r.Via && e.Type == "Gateway" }) {
			ways = append(ways, Way{Kind: "route", Resource: r.Table, Reason: "a route for " + r.To + " to " + r.Via})
		}
	}
	return ways
}

func (j *judge) addresses() (ways []Way) {
	for _, block := range j.CIDRs[min(1, len(j.CIDRs)):] {
		ways = append(ways, Way{Kind: "address", Resource: j.VPC, Reason: "the network has another address block, " + block})
	}
	for _, s := range j.Subnets {
		if s.PublicIP {
			ways = append(ways, Way{Kind: "address", Resource: s.ID, Reason: "what is launched in this subnet gets a public address"})
		}
		if s.IPv6 {
			ways = append(ways, Way{Kind: "address", Resource: s.ID, Reason: "what is launched in this subnet gets an IPv6 address"})
		}
	}
	for _, i := range j.Interfaces {
		for _, a := range i.Public {
			ways = append(ways, Way{Kind: "address", Resource: i.ID, Reason: "it has the public address " + a})
		}
		for _, a := range i.IPv6 {
			ways = append(ways, Way{Kind: "address", Resource: i.ID, Reason: "it has the IPv6 address " + a})
		}
	}
	return ways
}

func (j *judge) interfaces() (ways []Way) {
	for _, i := range j.Instances {
		if !i.Ours {
			ways = append(ways, Way{Kind: "instance", Resource: i.ID, Reason: "an instance in the room's network that the room's stack has not made"})
		}
	}
	for _, i := range j.Interfaces {
		switch {
		case i.Foreign != "":
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: fmt.Sprintf("an interface of %s in another network, %s", i.Instance, i.Foreign)})
		case i.Owner != "":
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: "an interface of account " + i.Owner + ": its subnet is shared"})
		case i.Endpoint && !j.endpointHas(i.ID):
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: "an interface of an endpoint that is not known: " + cmp.Or(i.About, "AWS says nothing about it")})
		case i.Endpoint:
		case i.Instance == "":
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: "an interface that is neither an instance's nor an endpoint's: " + cmp.Or(i.About, "AWS says nothing about it")})
		case !slices.ContainsFunc(j.Instances, func(o Instance) bool { return o.ID == i.Instance }):
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: "an interface of " + i.Instance + ", which can't be seen"})
		case i.Index != "0":
			ways = append(ways, Way{Kind: "interface", Resource: i.ID, Reason: "a second interface of " + i.Instance})
		}
	}
	return ways
}

func (j *judge) endpointHas(id string) bool {
	return slices.ContainsFunc(j.Endpoints, func(e Endpoint) bool { return slices.Contains(e.Interfaces, id) })
}

// groups looks at those that are on an interface or endpoint: rules of any other hold for nothing.
func (j *judge) groups() (ways []Way) {
	used := make(map[string]bool)
	for _, i := range j.Interfaces {
		if len(i.Groups) == 0 && i.Foreign == "" {
			ways = append(ways, Way{Kind: "group", Resource: i.ID, Reason: "no security group of it is known"})
		}
		for _, g := range i.Groups {
			used[g] = true
		}
	}
	for _, e := range j.Endpoints {
		for _, g := range e.Groups {
			used[g] = true
		}
	}
	for _, g := range j.Groups {
		if !used[g.ID] {
			continue
		}
		delete(used, g.ID)
		for _, r := range g.In {
			if !j.inside(r.Peer) {
				ways = append(ways, Way{Kind: "ingress", Resource: g.ID, Reason: "it lets in " + r.Ports + " from " + r.Peer})
			}
		}
		for _, r := range g.Out {
			if !j.inside(r.Peer) {
				ways = append(ways, j.egress(g, r))
			}
		}
	}
	for g := range used {
		ways = append(ways, Way{Kind: "group", Resource: g, Reason: "a security group whose rules are not known"})
	}
	slices.SortStableFunc(ways, func(a, b Way) int { return cmp.Compare(a.Resource, b.Resource) })
	return ways
}

// egress: the addresses of a service that has a declared gateway endpoint are the
// endpoint's, for as long as no route leads there otherwise.
func (j *judge) egress(g Group, r Rule) Way {
	w := Way{Kind: "egress", Resource: g.ID, Reason: "it lets out " + r.Ports + " to " + r.Peer}
	name := j.PrefixLists[r.Peer]
	if name == "" {
		return w
	}
	w.Reason += " (" + name + ")"
	if e, ok := j.declared.endpoint(j.Region, name); ok && slices.ContainsFunc(j.Endpoints, func(e Endpoint) bool { return e.Service == name && e.Type == "Gateway" }) {
		w.Declared = "the addresses of the endpoint: " + e.Why
	}
	return w
}

// inside reports whether the peer of a rule is in the room: one of its groups, or a
// block of its network. What is sent to a loopback address goes nowhere.
func (j *judge) inside(peer string) bool {
	if slices.ContainsFunc(j.Groups, func(g Group) bool { return g.ID == peer }) {
		return true
	}
	block, err := netip.ParsePrefix(peer)
	if err != nil {
		return false
	}
	if block.Addr().IsLoopback() && block.IsSingleIP() {
		return true
	}
	return slices.ContainsFunc(j.CIDRs, func(c string) bool {
		own, err := netip.ParsePrefix(c)
		return err == nil && own.Bits() <= block.Bits() && own.Contains(block.Addr())
	})
}

// acls looks at those of subnets. What an entry before may deny is left aside: any
// that allows counts.
func (j *judge) acls() (ways []Way) {
	have := make(map[string]bool)
	for _, a := range j.ACLs {
		for _, s := range a.Subnets {
			have[s] = true
		}
		if len(a.Subnets) == 0 {
			continue
		}
		for _, e := range a.Entries {
			if e.Allow && !j.inside(e.Peer) {
				ways = append(ways, Way{Kind: "acl", Resource: a.ID, Reason: "it " + e.String(), Declared: j.declared.ACLs[e.String()]})
			}
		}
	}
	for _, s := range j.Subnets {
		if !have[s.ID] {
			ways = append(ways, Way{Kind: "acl", Resource: s.ID, Reason: "no network ACL of its own: the default one allows everything"})
		}
	}
	return ways
}

func (j *judge) endpoints() (ways []Way) {
	for _, e := range j.Endpoints {
		declared, ok := j.declared.endpoint(j.Region, e.Service)
		if !ok {
			ways = append(ways, Way{Kind: "endpoint", Resource: e.ID, Reason: "an endpoint to " + e.Service})
			continue
		}
		wide := j.wider(e, declared)
		for _, reason := range wide {
			ways = append(ways, Way{Kind: "endpoint", Resource: e.ID, Reason: reason})
		}
		if len(wide) == 0 {
			ways = append(ways, Way{Kind: "endpoint", Resource: e.ID, Reason: e.Service, Declared: declared.Why})
		}
	}
	return ways
}

// wider says what an endpoint's policy allows beyond what is declared.
func (j *judge) wider(e Endpoint, d DeclaredEndpoint) (reasons []string) {
	if e.Policy == "" {
		return []string{"no policy: everybody may do everything through it"}
	}
	p, err := parsePolicy(e.Policy)
	if err != nil {
		return []string{fmt.Sprintf("its policy can't be read, so that it is not proven to be narrow: %v", err)}
	}
	for _, s := range p.Statement {
		if s.Effect == "Deny" {
			continue
		}
		for _, more := range s.beyond(d.Allows) {
			reasons = append(reasons, "its policy allows "+more)
		}
		if s.elsewhere(j.Account) && s.anyone(j.Account, j.Roles) {
			reasons = append(reasons, "its policy allows what is not this account's to principals that are not, either: "+strings.Join(s.Action, ", "))
		}
	}
	return reasons
}

func (j *judge) roles() (ways []Way) {
	for _, i := range j.Instances {
		if _, ok := j.role(i.Role); i.Profile != "" && !ok {
			ways = append(ways, Way{Kind: "role", Resource: i.Profile, Reason: "the role of the instance profile of " + i.ID + " is not known"})
		}
	}
	for _, r := range j.Roles {
		for _, arn := range r.Attached {
			ways = append(ways, Way{Kind: "role", Resource: r.Name, Reason: "the managed policy " + arn + " is attached"})
		}
		for _, name := range sorted(r.Inline) {
			ways = append(ways, j.mayDo(r, name)...)
		}
		ways = append(ways, assumable(r)...)
	}
	return ways
}

func (j *judge) mayDo(r Role, name string) (ways []Way) {
	p, err := parsePolicy(r.Inline[name])
	if err != nil {
		return []Way{{Kind: "role", Resource: r.Name, Reason: fmt.Sprintf("its policy %s can't be read: %v", name, err)}}
	}
	for _, s := range p.Statement {
		for _, more := range s.beyond(j.declared.Role) {
			ways = append(ways, Way{Kind: "role", Resource: r.Name, Reason: "its policy " + name + " allows " + more})
		}
	}
	return ways
}

// assumable: nobody but EC2 may take on the role of an examination instance.
func assumable(r Role) (ways []Way) {
	p, err := parsePolicy(r.Trust)
	if err != nil {
		return []Way{{Kind: "role", Resource: r.Name, Reason: fmt.Sprintf("its trust policy can't be read: %v", err)}}
	}
	for _, s := range p.Statement {
		m, _ := s.Principal.(map[string]any)
		service, _ := m["Service"].(string)
		ec2 := service == "ec2.amazonaws.com" || strings.HasPrefix(service, "ec2.amazonaws.com.") // in China
		if s.Effect == "Allow" && (len(m) != 1 || !ec2 || s.NotPrincipal != nil) {
			ways = append(ways, Way{Kind: "role", Resource: r.Name, Reason: "it can be assumed by " + compactJSON(s.Principal)})
		}
	}
	return ways
}

// names: the resolver carries what is asked to whoever answers for the name. Neither
// groups nor ACLs filter it, only a DNS firewall does (aws-facts.md, "Network isolation").
func (j *judge) names() (ways []Way) {
	for _, f := range j.DNS.Forwards {
		ways = append(ways, Way{Kind: "dns", Resource: f, Reason: "a rule by which the resolver forwards queries"})
	}
	if j.DNS.Off {
		return ways
	}
	if j.DNS.FailOpen {
		ways = append(ways, Way{Kind: "dns", Resource: j.VPC, Reason: "the DNS firewall lets queries pass while it does not answer"})
	}
	var let []string
	for _, r := range j.DNS.Rules {
		all := slices.ContainsFunc(r.Domains, func(d string) bool { return d == "*" || d == "*." })
		if r.Action == "BLOCK" && all {
			for _, domain := range let {
				w := Way{Kind: "dns", Resource: j.VPC, Reason: "names under " + domain + " can be looked up"}
				if slices.ContainsFunc(j.declared.Domains, func(p string) bool { return covers(strings.TrimSuffix(p, "."), strings.TrimSuffix(domain, ".")) }) {
					w.Declared = "what the endpoints are called"
				}
				ways = append(ways, w)
			}
			return ways
		}
		if r.Action != "BLOCK" {
			let = append(let, r.Domains...)
		}
	}
	return append(ways, Way{Kind: "dns", Resource: j.VPC, Reason: "the resolver answers for every name: no DNS firewall blocks it", Declared: j.declared.DNS})
}
