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

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// The widest blocks that an allow-list may name: it lets a responder in, who has
// an address.
const widestAllow4, widestAllow6 = 24, 48

// networkInputs are the inputs of isolate.network.
var networkInputs = []incident.Field{
	{
		Name: "strategy", Type: incident.Strings, Default: []string{reach.Auto},
		Enum: []string{
			reach.Auto, string(reach.Groups), string(reach.Timeouts), string(reach.Addresses), string(reach.EdgeACL),
			string(reach.RemoteACL), string(reach.SubnetACL),
		},
		Description: "the measures to take: auto takes the narrowest that cut every path; groups are always replaced; subnet-acl hits neighbours and is only taken by name",
	},
	{Name: "attackers", Type: incident.Strings, Default: []string{}, Description: "the attackers' addresses or CIDR blocks, denied on the instance's own subnet (remote-acl)"},
	{Name: "allow", Type: incident.Strings, Default: []string{}, Description: "who may still connect to the instance, for live response: CIDR:port, or CIDR:port/udp"},
	{Name: "allow_ssm", Type: incident.Boolean, Default: false, Description: "let the instance reach the VPC's own Systems Manager endpoints"},
}

// wish is what the inputs ask for.
type wish struct {
	Measures  []reach.Measure // as named; none: auto
	Attackers []netip.Prefix
	Allow     []rule // sorted
	SSM       bool
	// endpoints are the rules that SSM takes, known once the network is read.
	endpoints []rule
}

func (w *wish) reach() reach.Wish {
	out := reach.Wish{Measures: w.Measures, Remotes: w.Attackers, SSM: w.SSM}
	for _, r := range w.Allow {
		out.Allow = append(out.Allow, r.Prefix)
	}
	return out
}

// rules are those of the isolation groups.
func (w *wish) rules() []rule {
	all := slices.Concat(w.Allow, w.endpoints)
	slices.SortFunc(all, rule.compare)
	return slices.Compact(all)
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
	var problems []error
	var err error
	if w.Measures, err = reach.ParseMeasures(in.Strategy); err != nil {
		problems = append(problems, err)
	}
	for _, text := range in.Attackers {
		p, err := parsePrefix(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("input attackers: %q: %w", text, err))
		}
		w.Attackers = append(w.Attackers, p)
	}
	for _, text := range in.Allow {
		r, err := parseAllow(text)
		if err != nil {
			problems = append(problems, err)
		}
		w.Allow = append(w.Allow, r)
	}
	if len(w.Measures) > 0 && len(w.Attackers) > 0 && !slices.Contains(w.Measures, reach.RemoteACL) {
		problems = append(problems, fmt.Errorf("input attackers: the strategy has no %s, which is what denies them", reach.RemoteACL))
	}
	slices.SortFunc(w.Allow, rule.compare)
	w.Allow = slices.Compact(w.Allow)
	slices.SortFunc(w.Attackers, netip.Prefix.Compare)
	w.Attackers = slices.Compact(w.Attackers)
	if len(problems) > 0 {
		return wish{}, &incident.InputError{Problems: problems}
	}
	return w, nil
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
	if wide(prefix) {
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

func wide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < widestAllow4
	}
	return p.Bits() < widestAllow6
}

// agentServices are the endpoints that the SSM Agent talks to ("Improve the
// security of EC2 instances by using VPC endpoints for Systems Manager").
var agentServices = []string{"ssm", "ssmmessages", "ec2messages"}

// allowSSM finds the addresses of the endpoints. Their own groups have to let the
// instance in as well: where they name a group of the instance's, they don't any more.
func (w *wish) allowSSM(vpcs []*reach.VPC) error {
	found := make(map[string]bool)
	for _, v := range vpcs {
		for _, e := range v.Endpoints {
			service := aws.ToString(e.ServiceName)
			service = service[strings.LastIndexByte(service, '.')+1:]
			if e.VpcEndpointType != ec2types.VpcEndpointTypeInterface || !slices.Contains(agentServices, service) {
				continue
			}
			for _, n := range v.Interfaces {
				a, err := netip.ParseAddr(aws.ToString(n.PrivateIpAddress))
				if err == nil && slices.Contains(e.NetworkInterfaceIds, aws.ToString(n.NetworkInterfaceId)) {
					w.endpoints = append(w.endpoints, rule{Egress: true, Prefix: netip.PrefixFrom(a, a.BitLen()), Protocol: "tcp", Port: 443})
					found[service] = true
				}
			}
		}
	}
	for _, s := range agentServices[:2] { // newer agents do without ec2messages
		if !found[s] {
			return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("allow_ssm: the instance's VPC has no interface endpoint for %s: Systems Manager would be reached over the Internet, which is cut", s)},
				"make the endpoints first, or leave allow_ssm out")
		}
	}
	return nil
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
