package triage

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of reasons follow NIST SP 800-61r2, 3.2.6: what no longer works, what is
// known to whom. Reach is how far an intruder gets from here.
const (
	service     = "service"
	information = "information"
	reach       = "reach"
)

// Judge fills in the estimate and what a cut would break, from all the rest.
func (r *Report) Judge() {
	r.Impact, r.Breaks = Impact{}, nil
	r.judgeTags()
	r.judgeExposure()
	r.judgeRole()
	r.judgeService()
	for _, reason := range r.Impact.Reasons {
		r.Impact.Points += reason.Points
	}
	r.Impact.Level = level(r.Impact.Points)
	r.breaks()
}

func level(points int) string {
	switch {
	case points >= 10:
		return "critical"
	case points >= 6:
		return "high"
	case points >= 3:
		return "medium"
	default:
		return "low"
	}
}

func (r *Report) because(points int, kind, format string, args ...any) {
	r.Impact.Reasons = append(r.Impact.Reasons, Reason{points, kind, fmt.Sprintf(format, args...)})
}

// What the words of tags count for. An unknown word counts for nothing, and is said to.
var (
	environments    = map[string]int{"prod": 2, "production": 2, "prd": 2, "live": 2, "staging": 0, "stage": 0, "test": 0, "dev": 0, "development": 0}
	criticalities   = map[string]int{"critical": 3, "high": 2, "medium": 1, "moderate": 1, "low": 0}
	classifications = map[string]int{
		"restricted": 3, "secret": 3, "confidential": 2, "sensitive": 2, "pii": 2, "phi": 2, "pci": 2, "internal": 1, "public": 0,
	}
)

func (r *Report) judgeTags() {
	r.judgeWord(service, "environment", r.Environment, environments)
	r.judgeWord(service, "criticality", r.Criticality, criticalities)
	r.judgeWord(information, "classification", r.Classification, classifications)
	if r.Owner == "" {
		r.because(0, service, "no tag says who owns it: nobody to ask")
	}
}

func (r *Report) judgeWord(kind, what, word string, worth map[string]int) {
	points, known := worth[strings.ToLower(word)]
	switch {
	case word == "" && what == "environment": // most have no such tag
	case word == "":
		r.because(0, kind, "no tag says its %s", what)
	case !known:
		r.because(0, kind, "%s %s by tag: not a word that counts here", what, word)
	default:
		r.because(points, kind, "%s %s by tag", what, word)
	}
}

// administration are the ports of remote administration: SSH, Telnet, SMB, RDP, WinRM.
var administration = []int32{22, 23, 445, 3389, 5985, 5986}

// administers reports whether the rule lets in remote administration.
func (u Rule) administers() bool {
	return u.From < 0 && (u.Protocol == "all" || u.Protocol == "tcp") ||
		u.Protocol == "tcp" && slices.ContainsFunc(administration, func(p int32) bool { return u.From <= p && p <= u.To })
}

func (r *Report) judgeExposure() {
	var open, admin []string
	for _, u := range r.Rules {
		if !u.Internet {
			continue
		}
		if open = append(open, u.String()); u.administers() {
			admin = append(admin, u.String())
		}
	}
	facing := slices.IndexFunc(r.Balancers, func(b Balancer) bool { return b.Public })
	switch {
	case len(admin) > 0:
		r.because(2, reach, "the Internet reaches its remote administration: %s", some(admin))
	case len(open) > 0:
		r.because(1, reach, "the Internet reaches it: %s", some(open))
	case facing >= 0:
		r.because(1, reach, "the Internet reaches it through load balancer %s", strings.Join(r.Balancers[facing].Balances, ", "))
	}
	var networks []string
	for _, p := range r.Paths {
		if p.Out && slices.Contains([]string{"transit-gateway", "peering", "vpn-gateway"}, p.Kind) {
			networks = append(networks, p.Path)
		}
	}
	if len(networks) > 0 {
		r.because(1, reach, "it opens connections to other networks: %s", some(networks))
	}
}

// String is the rule as a responder reads it: tcp 22 from 0.0.0.0/0.
func (u Rule) String() string {
	ports := ""
	switch {
	case u.From < 0:
	case u.From == u.To:
		ports = fmt.Sprintf(" %d", u.From)
	default:
		ports = fmt.Sprintf(" %d-%d", u.From, u.To)
	}
	return u.Protocol + ports + " from " + u.Source
}

// mighty are AWS's managed policies that let their holder take over an account, or everything in it but IAM.
var mighty = []string{"AdministratorAccess", "PowerUserAccess", "IAMFullAccess"}

func (r *Report) judgeRole() {
	if r.Role == nil {
		return
	}
	if i := slices.IndexFunc(r.Role.Policies, func(p string) bool { return slices.Contains(mighty, p) }); i >= 0 {
		r.because(3, reach, "its role %s has %s", r.Role.Name, r.Role.Policies[i])
	}
	switch n := len(r.Role.Shared); {
	case n >= 10:
		r.because(2, reach, "it shares role %s with %d instances", r.Role.Name, n)
	case n > 0:
		r.because(1, reach, "it shares role %s with %d instance(s)", r.Role.Name, n)
	}
}

func (r *Report) judgeService() {
	if len(r.Balancers) > 0 {
		worst := slices.MinFunc(r.Balancers, func(a, b Balancer) int { return a.Healthy - b.Healthy })
		r.because(max(3-worst.Healthy, 1), service, "behind %s, with %d healthy target(s) left without it", worst.name(), worst.Healthy)
	}
	if s := r.Scaling; s != nil && len(s.Obstacles) > 0 {
		r.because(2, service, "no healthy replacement can launch: %s", s.Obstacles[0])
	}
	if len(r.Routes) > 0 {
		r.because(2, service, "%d route(s) lead through it", len(r.Routes))
	}
}

func (b Balancer) name() string {
	switch {
	case b.Kind == "classic":
		return "classic load balancer " + b.Name
	case len(b.Balances) > 0:
		return fmt.Sprintf("target group %s of load balancer %s", b.Name, strings.Join(b.Balances, ", "))
	default:
		return "target group " + b.Name
	}
}

func (r *Report) breaks() {
	say := func(format string, args ...any) { r.Breaks = append(r.Breaks, fmt.Sprintf(format, args...)) }
	for _, b := range r.Balancers {
		switch {
		case b.Others == 0:
			say("%s has no other target: what it serves fails until there is one", b.name())
		case b.Healthy == 0:
			say("%s has no other healthy target (of %d): what it serves fails until one is healthy", b.name(), b.Others)
		default:
			say("%s is left with %d healthy target(s) (of %d)", b.name(), b.Healthy, b.Others)
		}
	}
	if s := r.Scaling; s != nil {
		r.breaksGroup(s, say)
	}
	for _, route := range r.Routes {
		say("route table %s sends %s through it: %s lose that way", route.Table, route.Destination, some(route.Subnets))
	}
	for _, p := range r.Public {
		say("%s no longer answers", p)
	}
	if r.Role != nil && len(r.Role.Shared) > 0 {
		say("denying role %s as a whole (credentials_scope: role) hits %s too; denying this instance's sessions does not", r.Role.Name, some(r.Role.Shared))
	}
	for _, n := range r.Neighbours {
		if len(n.Instances) > 0 {
			say("cutting all of %s (network_strategy: subnet-acl) cuts %d other instance(s) too; the other measures do not", n.Subnet, len(n.Instances))
		}
	}
}

func (r *Report) breaksGroup(s *Scaling, say func(string, ...any)) {
	capacity := fmt.Sprintf("Auto Scaling group %s (desired %d, min %d, max %d)", s.Group, s.Desired, s.Min, s.Max)
	if len(s.Obstacles) > 0 {
		say("%s launches no replacement: %s", capacity, strings.Join(s.Obstacles, "; "))
	} else {
		say("%s launches a replacement; nothing is known that speaks against it", capacity)
	}
	if s.Desired <= s.Min {
		say("group %s can't do with one less (strategies shrink, standby): its minimum is %d", s.Group, s.Min)
	}
}

// some lists the first few.
func some(list []string) string {
	const shown = 3
	if len(list) == 0 {
		return "its subnets"
	}
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
}
