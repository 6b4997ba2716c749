package reach

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// The verdicts of one path; an empty reason is not looked at.
func TestWhatCanPass(t *testing.T) {
	everything := rule("-1", 0, 0, "0.0.0.0/0")
	tests := map[string]struct {
		kind    Kind
		in, out []ec2types.IpPermission
		build   func(l *lab)
		wantIn  Verdict
		wantOut Verdict
	}{
		"a rule for everyone": {
			InternetGateway, []ec2types.IpPermission{rule("tcp", 443, 443, "0.0.0.0/0")}, []ec2types.IpPermission{everything}, nil,
			Verdict{true, "sg-web lets tcp 443 through for 0.0.0.0/0"}, Verdict{true, "sg-web lets everything through for 0.0.0.0/0"},
		},
		"no rule": {InternetGateway, nil, nil, nil, Verdict{false, "no rule of sg-web lets it"}, Verdict{false, "no rule of sg-web lets it"}},
		"a rule for the VPC is none for the Internet": {
			InternetGateway, []ec2types.IpPermission{rule("tcp", 22, 22, "10.0.0.0/16")}, nil, nil, Verdict{false, ""}, Verdict{false, ""},
		},
		"a rule for a peer is none for the Internet": {
			InternetGateway, []ec2types.IpPermission{rule("tcp", 22, 22, "10.1.0.0/24")}, nil, nil, Verdict{false, ""}, Verdict{false, ""},
		},
		"a rule for a peer": {
			Peering, []ec2types.IpPermission{rule("tcp", 22, 25, "10.1.0.0/24")}, nil, nil, Verdict{true, "sg-web lets tcp 22-25 through for 10.1.0.0/24"}, Verdict{false, ""},
		},
		"a group across a peering": {
			Peering, []ec2types.IpPermission{rule("tcp", 22, 22, "sg-theirs")}, nil, nil, Verdict{true, "sg-web lets tcp 22 through for sg-theirs"}, Verdict{false, ""},
		},
		"a group that is there": {
			OtherSubnet, []ec2types.IpPermission{rule("udp", 0, 65535, "sg-db")}, nil, func(l *lab) { l.other("eni-db", "subnet-b", "10.0.1.9", "interface", "sg-db") },
			Verdict{true, "sg-web lets udp through for sg-db"}, Verdict{false, ""},
		},
		"a group that is elsewhere": {
			OtherSubnet, []ec2types.IpPermission{rule("tcp", 22, 22, "sg-db")}, nil, func(l *lab) { l.other("eni-db", "subnet-own", "10.0.0.9", "interface", "sg-db") },
			Verdict{false, ""}, Verdict{false, ""},
		},
		"a prefix list may hold any address": {
			InternetGateway, nil, []ec2types.IpPermission{rule("tcp", 443, 443, "pl-1")}, nil, Verdict{false, ""}, Verdict{true, "sg-web lets tcp 443 through for pl-1"},
		},
		"a group that can't be seen": {
			InternetGateway, nil, nil, func(l *lab) { l.vpc.Groups = nil }, Verdict{true, "sg-web lets through what its rules say: they can't be seen"}, Verdict{true, ""},
		},
		"the far end's ACL": {
			OtherSubnet, []ec2types.IpPermission{everything}, []ec2types.IpPermission{everything},
			func(l *lab) { l.entry("acl-b", 5, true, "deny", "10.0.0.10/32") },
			Verdict{false, "acl-b rule 5 denies 10.0.0.10/32"}, Verdict{true, ""},
		},
		"the own ACL": {
			InternetGateway, []ec2types.IpPermission{everything}, []ec2types.IpPermission{everything},
			func(l *lab) { l.entry("acl-own", 5, true, "deny", "0.0.0.0/0") },
			Verdict{true, ""}, Verdict{false, "acl-own rule 5 denies 0.0.0.0/0"},
		},
		"a denial of something else": {
			InternetGateway, []ec2types.IpPermission{everything}, []ec2types.IpPermission{everything},
			func(l *lab) { l.entry("acl-own", 5, true, "deny", "198.18.0.0/15") },
			Verdict{true, ""}, Verdict{true, ""},
		},
		"a denial too late": {
			OtherSubnet, []ec2types.IpPermission{everything}, []ec2types.IpPermission{everything},
			func(l *lab) { l.entry("acl-b", 200, false, "deny", "10.0.0.10/32") },
			Verdict{true, ""}, Verdict{true, ""},
		},
		"ACLs mean nothing inside a subnet": {
			SameSubnet, []ec2types.IpPermission{everything}, []ec2types.IpPermission{everything},
			func(l *lab) {
				l.entry("acl-own", 5, true, "deny", "0.0.0.0/0")
				l.entry("acl-own", 5, false, "deny", "0.0.0.0/0")
			},
			Verdict{true, ""}, Verdict{true, ""},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
			l.routes("subnet-own", "0.0.0.0/0 igw-1", "10.1.0.0/16 pcx-1")
			public(&l.nics[0], 0, "198.51.100.1", true)
			l.vpc.Groups = []ec2types.SecurityGroup{group("sg-web", test.in, test.out)}
			if test.build != nil {
				test.build(l)
			}
			p := choice(t, l.decide(Wish{}), test.kind).Path
			for _, v := range []struct {
				name      string
				got, want Verdict
			}{{"in", p.In, test.wantIn}, {"out", p.Out, test.wantOut}} {
				if v.got.Open != v.want.Open || v.want.Reason != "" && v.got.Reason != v.want.Reason {
					t.Errorf("%s: %+v, want %+v", v.name, v.got, v.want)
				}
			}
		})
	}
}

func TestGatewaysThatOnlyLetOut(t *testing.T) {
	l := newLab(t)
	l.vpc.Groups[0].IpPermissions = []ec2types.IpPermission{rule("-1", 0, 0, "0.0.0.0/0", "::/0")}
	l.nics = nil
	l.nic("eni-0", 0, "10.0.0.10", "2001:db8::a")
	l.endpoint("vpce-s3", "com.amazonaws.eu-central-1.s3", ec2types.VpcEndpointTypeGateway)
	l.other("eni-kms", "subnet-own", "10.0.0.6", ec2types.NetworkInterfaceTypeVpcEndpoint)
	l.endpoint("vpce-kms", "com.amazonaws.eu-central-1.kms", ec2types.VpcEndpointTypeInterface, "eni-kms")
	l.routes("subnet-own", "0.0.0.0/0 nat-1", "::/0 eigw-1", "pl-6ea54007 vpce-s3")
	for _, p := range l.network().Paths() {
		switch p.Kind {
		case NAT, EgressOnly, Endpoint, GatewayEndpoint:
			if p.In.Open || !p.Out.Open {
				t.Errorf("%s: in %+v, out %+v", p, p.In, p.Out)
			}
		}
	}
}

// "Amazon EC2 security group connection tracking", EC2 User Guide.
func TestWhichFlowsAreTracked(t *testing.T) {
	all := "0.0.0.0/0"
	tests := map[string]struct {
		in, out []ec2types.IpPermission
		nat     bool
		tracked bool
	}{
		"every port of TCP both ways, for everyone": {[]ec2types.IpPermission{rule("tcp", 0, 65535, all)}, []ec2types.IpPermission{rule("tcp", 0, 65535, all)}, false, false},
		"one port in, every port out":               {[]ec2types.IpPermission{rule("tcp", 443, 443, all)}, []ec2types.IpPermission{rule("tcp", 0, 65535, all)}, false, true}, // what goes out is not answered by every port in
		"one port in, one port out":                 {[]ec2types.IpPermission{rule("tcp", 443, 443, all)}, []ec2types.IpPermission{rule("tcp", 443, 443, all)}, false, true},
		"not for everyone":                          {[]ec2types.IpPermission{rule("tcp", 0, 65535, "0.0.0.0/1")}, []ec2types.IpPermission{rule("tcp", 0, 65535, all)}, false, true},
		"another protocol back":                     {[]ec2types.IpPermission{rule("udp", 0, 65535, all)}, []ec2types.IpPermission{rule("tcp", 0, 65535, all)}, false, true},
		"ICMP is among everything":                  {[]ec2types.IpPermission{rule("-1", 0, 0, all)}, []ec2types.IpPermission{rule("-1", 0, 0, all)}, false, true},
		"TCP and UDP":                               {[]ec2types.IpPermission{rule("tcp", 0, 65535, all), rule("udp", 0, 65535, all)}, []ec2types.IpPermission{rule("tcp", 0, 65535, all), rule("udp", 0, 65535, all)}, false, false},
		"through a NAT gateway":                     {[]ec2types.IpPermission{rule("tcp", 0, 65535, all)}, []ec2types.IpPermission{rule("tcp", 0, 65535, all)}, true, true},
		"no rule says nothing of what is open":      {nil, nil, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			public(&l.nics[0], 0, "198.51.100.1", true)
			l.routes("subnet-own", "0.0.0.0/0 igw-1")
			kind := InternetGateway
			if test.nat {
				kind = NAT
				l.routes("subnet-own", "0.0.0.0/0 nat-1")
			}
			l.vpc.Groups = []ec2types.SecurityGroup{group("sg-web", test.in, test.out)}
			c := choice(t, l.decide(Wish{}), kind)
			if c.Path.Tracked != test.tracked {
				t.Errorf("tracked %v, want %v", c.Path.Tracked, test.tracked)
			}
			if !test.tracked && (!c.Cut || len(c.Measures) != 1) {
				t.Errorf("untracked, and the choice is %+v: groups alone cut it", c)
			}
		})
	}
}

func TestFlowsThroughABalancerThatKeepsClientsAreTracked(t *testing.T) {
	tcp := []ec2types.IpPermission{rule("tcp", 0, 65535, "0.0.0.0/0")}
	for description, tracked := range map[string]bool{"ELB net/front/50dc6c495c0c9188": true, "ELB app/web/50dc6c495c0c9188": false} {
		l := newLab(t)
		l.vpc.Groups = []ec2types.SecurityGroup{group("sg-web", tcp, tcp)}
		l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
		l.other("eni-lb", "subnet-b", "10.0.1.5", "interface").Description = aws.String(description)
		p := choice(t, l.decide(Wish{}), OtherSubnet).Path
		if p.Tracked != tracked || !strings.HasPrefix(p.Note, "load balancers: ") {
			t.Errorf("%s: tracked %v, note %q", description, p.Tracked, p.Note)
		}
	}
}

func TestADenialStandsBeforeWhatLetsTheInstanceThrough(t *testing.T) {
	me, them, six := netip.MustParsePrefix("10.0.0.10/32"), netip.MustParsePrefix("10.0.0.11/32"), netip.MustParsePrefix("2001:db8::a/128")
	tests := map[string]struct {
		build    func(l *lab)
		prefixes []netip.Prefix
		want     map[netip.Prefix]int32
		err      string
	}{
		"the lowest free numbers":            {func(l *lab) { l.entry("acl-own", 1, false, "deny", "192.0.2.0/24") }, []netip.Prefix{me, them, six}, map[netip.Prefix]int32{me: 2, them: 3, six: 4}, ""},
		"the same twice":                     {nil, []netip.Prefix{me, me}, map[netip.Prefix]int32{me: 1}, ""},
		"denied already":                     {func(l *lab) { l.entry("acl-own", 7, false, "deny", "10.0.0.8/29") }, []netip.Prefix{me}, map[netip.Prefix]int32{}, ""},
		"denied in the other direction only": {func(l *lab) { l.entry("acl-own", 7, true, "deny", "10.0.0.8/29") }, []netip.Prefix{me}, map[netip.Prefix]int32{me: 1}, ""},
		"denied in part":                     {func(l *lab) { l.entry("acl-own", 7, false, "deny", "10.0.0.8/32") }, []netip.Prefix{netip.MustParsePrefix("10.0.0.8/29")}, map[netip.Prefix]int32{netip.MustParsePrefix("10.0.0.8/29"): 1}, ""},
		"an allowance of others is no bound": {func(l *lab) { l.entry("acl-own", 1, false, "allow", "192.0.2.0/24") }, []netip.Prefix{me}, map[netip.Prefix]int32{me: 2}, ""},
		"an allowance of a part is one":      {func(l *lab) { l.entry("acl-own", 1, false, "allow", "10.0.0.10/32") }, []netip.Prefix{netip.MustParsePrefix("10.0.0.8/29")}, nil, "no number is free below rule 1"},
		"nothing lets it through":            {func(l *lab) { l.vpc.acl("acl-own").Entries = nil }, []netip.Prefix{me}, map[netip.Prefix]int32{}, ""},
		"families are counted apart": {func(l *lab) {
			for i := range int32(18) {
				l.entry("acl-own", 300+i, false, "deny", "192.0.2.0/24")
			}
		}, []netip.Prefix{six}, map[netip.Prefix]int32{six: 1}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if test.build != nil {
				test.build(l)
			}
			got, err := Numbers(*l.vpc.acl("acl-own"), false, test.prefixes, 0)
			if test.err != "" {
				if _, ok := errors.AsType[*NoRoomError](err); !ok || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || len(got) != len(test.want) {
				t.Fatalf("got %v, %v, want %v", got, err, test.want)
			}
			for p, n := range test.want {
				if got[p] != n {
					t.Errorf("%s: rule %d, want %d", p, got[p], n)
				}
			}
		})
	}
}
