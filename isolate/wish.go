package isolate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// strategyAuto takes the narrowest measures that cut every path found.
const strategyAuto = "auto"

// The widest blocks that an input may name. An allow-list lets a responder in,
// who has an address; a deny for an attacker hits every neighbour in the subnet.
const (
	widestAllow4, widestAllow6       = 24, 48
	widestAttacker4, widestAttacker6 = 16, 32
)

// networkInputs are the inputs of isolate.network.
var networkInputs = []incident.Field{
	{
		Name: "strategy", Type: incident.Strings, Default: []string{strategyAuto},
		Enum: []string{
			strategyAuto, string(reach.Groups), string(reach.Timeouts), string(reach.Addresses), string(reach.EdgeACL),
			string(reach.RemoteACL), string(reach.SubnetACL),
		},
		Description: "the measures to take: auto takes the narrowest that cut every path; groups are always replaced; subnet-acl hits neighbours and is only taken by name",
	},
	{Name: "attackers", Type: incident.Strings, Description: "the attackers' addresses or CIDR blocks, denied on the instance's own subnet (remote-acl)"},
	{Name: "allow", Type: incident.Strings, Description: "who may still connect to the instance, for live response: CIDR:port, or CIDR:port/udp"},
	{Name: "allow_ssm", Type: incident.Boolean, Default: false, Description: "let the instance reach the VPC's own Systems Manager endpoints"},
}

// wish is what the inputs ask for.
type wish struct {
	Measures  []reach.Measure // as named; empty: auto
	Auto      bool
	Attackers []netip.Prefix
	Allow     []rule
	SSM       bool
}

// rule is one thing that the isolation group lets pass.
type rule struct {
	Egress   bool         `json:"egress,omitempty"`
	Prefix   netip.Prefix `json:"prefix"`
	Protocol string       `json:"protocol"` // tcp or udp
	Port     uint16       `json:"port"`
}

func (r rule) String() string {
	way := "from"
	if r.Egress {
		way = "to"
	}
	return fmt.Sprintf("%s %s port %d/%s", way, r.Prefix, r.Port, r.Protocol)
}

func (r rule) compare(o rule) int { return cmp.Compare(r.String(), o.String()) }

// readWish reads the inputs; its problems come all together.
func readWish(req incident.Request) (wish, error) {
	var in struct {
		Strategy  []string `json:"strategy"`
		Attackers []string `json:"attackers"`
		Allow     []string `json:"allow"`
		SSM       bool     `json:"allow_ssm"`
	}
	if err := req.Decode(&in); err != nil {
		return wish{}, err
	}
	w := wish{SSM: in.SSM}
	problems := w.measures(in.Strategy)
	for _, text := range in.Attackers {
		p, err := parseAttacker(text)
		problems = append(problems, err)
		w.Attackers = append(w.Attackers, p)
	}
	for _, text := range in.Allow {
		r, err := parseAllow(text)
		problems = append(problems, err)
		w.Allow = append(w.Allow, r)
	}
	if !w.Auto && (len(w.Attackers) > 0) != slices.Contains(w.Measures, reach.RemoteACL) {
		problems = append(problems, errors.New("strategy remote-acl and attackers go together: one is given without the other"))
	}
	slices.SortFunc(w.Allow, rule.compare)
	w.Allow = slices.Compact(w.Allow)
	slices.SortFunc(w.Attackers, netip.Prefix.Compare)
	w.Attackers = slices.Compact(w.Attackers)
	if problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil }); len(problems) > 0 {
		return wish{}, &incident.InputError{Problems: problems}
	}
	return w, nil
}

// measures reads the strategy. Groups are replaced always, so they need not be named.
func (w *wish) measures(strategy []string) []error {
	for _, s := range strategy {
		if s == strategyAuto {
			w.Auto = true
			continue
		}
		if m := reach.Measure(s); !slices.Contains(w.Measures, m) {
			w.Measures = append(w.Measures, m)
		}
	}
	named := slices.DeleteFunc(slices.Clone(w.Measures), func(m reach.Measure) bool { return m == reach.SubnetACL })
	switch {
	case len(strategy) == 0:
		return []error{errors.New("input strategy: empty: auto, or the measures by name")}
	case w.Auto && len(named) > 0:
		return []error{fmt.Errorf("input strategy: auto chooses among the measures itself; with it goes %s only", reach.SubnetACL)}
	}
	return nil
}

// parseAttacker reads an address or a CIDR block.
func parseAttacker(text string) (netip.Prefix, error) {
	p, err := parsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("input attackers: %q: %w", text, err)
	}
	if wide(p, widestAttacker4, widestAttacker6) {
		return p, incident.WithHint(fmt.Errorf("input attackers: %s is too wide: /%d for IPv4 and /%d for IPv6 at most", p, widestAttacker4, widestAttacker6),
			"the deny hits the whole subnet: name the attackers' addresses; strategy subnet-acl denies everything")
	}
	return p, nil
}

// parseAllow reads CIDR:port, CIDR:port/tcp or CIDR:port/udp. The port comes
// after the last colon: IPv6 has colons too.
func parseAllow(text string) (rule, error) {
	fail := func(format string, args ...any) (rule, error) {
		return rule{}, fmt.Errorf("input allow: %q: %w", text, fmt.Errorf(format, args...))
	}
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return fail("want CIDR:port or CIDR:port/udp")
	}
	port, protocol, named := strings.Cut(text[i+1:], "/")
	if !named {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" {
		return fail("the protocol is tcp or udp, not %q", protocol)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fail("the port is a number from 1 to 65535, not %q", port)
	}
	prefix, err := netip.ParsePrefix(text[:i])
	if err != nil || prefix != prefix.Masked() {
		return fail("%q is no CIDR block; one address is written as 192.0.2.7/32", text[:i])
	}
	if prefix.Addr().Is4In6() {
		return fail("an IPv4 address is written as such")
	}
	if wide(prefix, widestAllow4, widestAllow6) {
		return rule{}, incident.WithHint(fmt.Errorf("input allow: %q: %s is too wide: /%d for IPv4 and /%d for IPv6 at most", text, prefix, widestAllow4, widestAllow6),
			"name the address you come from; an isolation that a whole network can pass is none")
	}
	return rule{Prefix: prefix, Protocol: protocol, Port: uint16(n)}, nil
}

// parsePrefix reads a CIDR block, or an address as the block of it alone.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, addressErr := netip.ParseAddr(text)
		if addressErr != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New("neither an address nor a CIDR block")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return p, errors.New("an IPv4 address is written as such")
	case p != p.Masked():
		return p, fmt.Errorf("bits are set behind the prefix; the block is %s", p.Masked())
	}
	return p, nil
}

func wide(p netip.Prefix, bits4, bits6 int) bool {
	if p.Addr().Is4() {
		return p.Bits() < bits4
	}
	return p.Bits() < bits6
}

// digest names an allow-list: the same rules give the same group. Empty for none.
func digest(rules []rule) string {
	if len(rules) == 0 {
		return ""
	}
	h := sha256.New()
	for _, r := range rules {
		fmt.Fprintln(h, r)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
