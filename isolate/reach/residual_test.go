package reach

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// wire is a lab with a path of every sort: an Elastic IP, a neighbour behind an ACL,
// a peering, and the subnet itself.
func wire(t *testing.T) *lab {
	l := newLab(t)
	l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
	l.routes("subnet-own", "0.0.0.0/0 igw-1", "10.1.0.0/16 pcx-1")
	public(&l.nics[0], 0, "198.51.100.1", true)
	return l
}

// apply does to the lab what the decision says, as isolate.network does to AWS.
func (l *lab) apply(d Decision) {
	l.vpc.Groups = append(l.vpc.Groups, group("sg-isolation", nil, nil))
	for i := range l.nics {
		l.nics[i].Groups = []ec2types.GroupIdentifier{{GroupId: aws.String("sg-isolation")}}
	}
	for _, m := range []Measure{EdgeACL, RemoteACL, SubnetACL} {
		for _, x := range d.Denies[m] {
			for _, egress := range []bool{false, true} {
				numbers, err := Numbers(*l.vpc.acl(x.ACL), egress, []netip.Prefix{x.Prefix}, 0)
				if err != nil {
					l.t.Fatal(err)
				}
				for p, n := range numbers {
					l.entry(x.ACL, n, egress, "deny", p.String())
				}
			}
		}
	}
	for _, a := range d.Addresses {
		l.takeOff(a)
	}
	for i := range l.nics {
		if slices.Contains(d.Timeouts, *l.nics[i].NetworkInterfaceId) {
			l.nics[i].ConnectionTrackingConfiguration = &ec2types.ConnectionTrackingConfiguration{TcpEstablishedTimeout: aws.Int32(ShortestIdle)}
		}
	}
}

func (l *lab) takeOff(a Address) {
	for i := range l.nics {
		n := &l.nics[i]
		if *n.NetworkInterfaceId != a.Interface {
			continue
		}
		for j := range n.PrivateIpAddresses {
			if as := n.PrivateIpAddresses[j].Association; as != nil && *as.PublicIp == a.Public.String() {
				n.PrivateIpAddresses[j].Association = nil
			}
		}
		n.Ipv6Addresses = slices.DeleteFunc(n.Ipv6Addresses, func(x ec2types.NetworkInterfaceIpv6Address) bool {
			return netip.MustParseAddr(*x.Ipv6Address) == a.IPv6.Addr() && a.IPv6.IsSingleIP()
		})
		n.Ipv6Prefixes = slices.DeleteFunc(n.Ipv6Prefixes, func(x ec2types.Ipv6PrefixSpecification) bool { return *x.Ipv6Prefix == a.IPv6.String() })
	}
}

func cutOf(cuts []incident.Cut, of string) incident.Cut {
	i := slices.IndexFunc(cuts, func(c incident.Cut) bool { return strings.Contains(c.Path, of) })
	if i < 0 {
		return incident.Cut{Path: "none of " + of}
	}
	return cuts[i]
}

func exposures(all []incident.Exposure, of string) string {
	var reasons []string
	for _, e := range all {
		if strings.Contains(e.Path, of) {
			reasons = append(reasons, strings.TrimSpace(e.Direction+" "+e.Reason))
		}
	}
	return strings.Join(reasons, "\n")
}

func TestWhatWasExpectedIsObserved(t *testing.T) {
	l := wire(t)
	before := l.network()
	d := l.decide(Wish{})
	expected, cuts := before.Expected(d)
	l.apply(d)
	left, seen := l.network().Observed(d)
	if len(cuts) != len(d.Choices) || len(seen) != len(d.Choices) {
		t.Fatalf("%d and %d cuts of %d paths", len(cuts), len(seen), len(d.Choices))
	}
	for i := range seen {
		if seen[i].Cut != cuts[i].Cut {
			t.Errorf("expected %+v, observed %+v", cuts[i], seen[i])
		}
	}
	for of, want := range map[string]string{"internet-gateway": "its addresses are gone", "another subnet": "acl-b rule 1 denies 10.0.0.10/32, both ways"} {
		if c := cutOf(seen, of); !c.Cut || c.Observed != want {
			t.Errorf("%s: %+v, want it cut, %s", of, c, want)
		}
	}
	for _, all := range [][]incident.Exposure{expected, left} {
		var idle []int64
		for _, e := range all {
			idle = append(idle, e.IdleSeconds)
		}
		if !slices.Equal(idle, []int64{60, 60, 0, 0, 0}) {
			t.Errorf("idle limits %v in %+v: peering and subnet 60 s, services none", idle, all)
		}
		if r := exposures(all, "DNS"); !strings.Contains(r, "data can leave in DNS queries") {
			t.Errorf("DNS: %q", r)
		}
		if r := exposures(all, "pcx-1"); !strings.Contains(r, "one that is in use has no limit") {
			t.Errorf("peering: %q", r)
		}
	}
}

// What AWS does not show is not called cut.
func TestNothingIsCalledCutThatIsNotSeen(t *testing.T) {
	tests := map[string]struct {
		undo   func(l *lab)
		of     string
		reason string // of the cut
		left   string // among the exposures
	}{
		"an entry is missing in one direction": {
			func(l *lab) {
				a := l.vpc.acl("acl-b")
				a.Entries = slices.DeleteFunc(a.Entries, func(e ec2types.NetworkAclEntry) bool { return *e.RuleNumber == 1 && *e.Egress })
			}, "another subnet", "not observed: packets to the instance pass the ACLs", "live on until nothing passes for",
		},
		"somebody allows it before": {
			func(l *lab) {
				a := l.vpc.acl("acl-b")
				for i := range a.Entries {
					if *a.Entries[i].RuleNumber == 1 {
						a.Entries[i].RuleNumber = aws.Int32(2)
					}
				}
				l.entry("acl-b", 1, false, "allow", "10.0.0.0/8")
			}, "another subnet", "not observed: packets from the instance pass the ACLs", "live on until nothing passes for",
		},
		"the address is there": {
			func(l *lab) { public(&l.nics[0], 0, "198.51.100.1", true) }, "internet-gateway", "198.51.100.1 is still associated", "live on until nothing passes for",
		},
		"a new address came": {
			func(l *lab) { public(&l.nics[0], 0, "198.51.100.99", false) }, "198.51.100.99", "", "was not there when the cut was planned",
		},
		"a group came back": {
			func(l *lab) { l.nics[0].Groups = []ec2types.GroupIdentifier{{GroupId: aws.String("sg-web")}} }, "pcx-1", "another VPC", "out new connections pass: sg-web lets everything",
		},
		"the interface is gone": {
			func(l *lab) { l.nics = nil; l.nic("eni-9", 0, "10.0.0.77") }, "internet-gateway", "AWS shows the path otherwise", "AWS shows the path otherwise",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := wire(t)
			d := l.decide(Wish{})
			l.apply(d)
			test.undo(l)
			left, seen := l.network().Observed(d)
			if c := cutOf(seen, test.of); c.Cut || !strings.Contains(c.Reason, test.reason) {
				t.Errorf("%+v, want it open: %s", c, test.reason)
			}
			if got := exposures(left, test.of); !strings.Contains(got, test.left) {
				t.Errorf("exposures %q, want %q", got, test.left)
			}
		})
	}
}

func TestDenialsOfTheAttackerAreLookedFor(t *testing.T) {
	l := wire(t)
	d := l.decide(Wish{Remotes: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")}})
	l.apply(d)
	_, seen := l.network().Observed(d)
	if c := cutOf(seen, "pcx-1"); strings.Contains(c.Reason, "not observed") {
		t.Errorf("with the entries: %+v", c)
	}
	l.vpc.acl("acl-own").Entries = l.vpc.acl("acl-own").Entries[:4]
	_, seen = l.network().Observed(d)
	if c := cutOf(seen, "pcx-1"); c.Cut || !strings.Contains(c.Reason, "not observed: ") || !strings.Contains(c.Reason, "10.1.2.3/32") {
		t.Errorf("without the entries: %+v", c)
	}
}

func TestAnAllowedPathIsNoFailure(t *testing.T) {
	l := wire(t)
	d := l.decide(Wish{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.1.7/32")}})
	l.apply(d)
	l.vpc.Groups = append(l.vpc.Groups, group("sg-live", []ec2types.IpPermission{rule("tcp", 22, 22, "10.0.1.7/32")}, nil))
	l.nics[0].Groups = []ec2types.GroupIdentifier{{GroupId: aws.String("sg-live")}}
	left, _ := l.network().Observed(d)
	got := exposures(left, "another subnet")
	if !strings.Contains(got, "in the allow-list keeps it open: sg-live lets tcp 22 through for 10.0.1.7/32") || strings.Contains(got, "new connections pass") {
		t.Errorf("exposures %q", got)
	}
}

func TestWhatNoMeasureReachesIsSaid(t *testing.T) {
	l := wire(t)
	l.nics[0].InterfaceType = ec2types.NetworkInterfaceTypeTrunk
	l.nics[0].SourceDestCheck = aws.Bool(false)
	l.routes("subnet-b", "0.0.0.0/0 eni-0")
	d := l.decide(Wish{})
	left, _ := l.network().Expected(d)
	for _, want := range []string{"branch interfaces of eni-0 (eth0)", "packets that eni-0 (eth0) forwards"} {
		if !slices.ContainsFunc(left, func(e incident.Exposure) bool { return e.Path == want && e.Interface == "eni-0" }) {
			t.Errorf("no exposure %q in %+v", want, left)
		}
	}
	notes := strings.Join(d.Notes, "\n")
	if !strings.Contains(notes, "source/destination check is off") || !strings.Contains(notes, "rtb-subnet-b sends 0.0.0.0/0 through eni-0 (eth0)") {
		t.Errorf("notes:\n%s", notes)
	}
}
