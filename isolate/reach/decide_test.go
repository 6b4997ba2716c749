package reach

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const same = "\nsame-subnet [groups timeouts] open"

// Each world has one path besides that to the same subnet, and those to the
// subnets it names.
func TestAutoTakesTheNarrowestMeasureThatCutsThePath(t *testing.T) {
	tests := map[string]struct {
		build  func(l *lab)
		want   string // the choices, but for services
		denies string
		reason string // of the first path
	}{
		"NAT gateway in another subnet": {
			func(l *lab) {
				l.subnet("subnet-nat", "10.0.1.0/24", "acl-nat")
				l.nat("nat-1", "subnet-nat")
				l.routes("subnet-own", "0.0.0.0/0 nat-1")
			},
			"nat-gateway [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-nat 10.0.0.10/32", "",
		},
		"NAT gateway in the same subnet": {
			func(l *lab) { l.nat("nat-1", "subnet-own"); l.routes("subnet-own", "0.0.0.0/0 nat-1") },
			"nat-gateway [groups timeouts] open" + same, "", "NAT gateway nat-1 is in the instance's own subnet",
		},
		"regional NAT gateway": {
			func(l *lab) { l.nat("nat-1", ""); l.routes("subnet-own", "0.0.0.0/0 nat-1") },
			"nat-gateway [groups timeouts] open" + same, "", "NAT gateway nat-1 has no subnet of its own",
		},
		"NAT gateway that can't be seen": {
			func(l *lab) { l.routes("subnet-own", "0.0.0.0/0 nat-1") },
			"nat-gateway [groups timeouts] open" + same, "", "AWS does not show the subnet of NAT gateway nat-1",
		},
		"transit gateway attached to two subnets": {
			func(l *lab) {
				l.subnet("subnet-a", "10.0.1.0/28", "acl-a")
				l.subnet("subnet-b", "10.0.2.0/28", "acl-b")
				l.attachment("tgw-1", "subnet-a", "subnet-b")
				l.routes("subnet-own", "10.0.0.0/8 tgw-1", "172.16.0.0/12 tgw-1")
			},
			"transit-gateway [groups edge-acl] cut\nother-subnet [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-a 10.0.0.10/32, acl-b 10.0.0.10/32", "",
		},
		"transit gateway attached to the instance's own subnet": {
			func(l *lab) { l.attachment("tgw-1", "subnet-own"); l.routes("subnet-own", "10.0.0.0/8 tgw-1") },
			"transit-gateway [groups timeouts] open" + same, "", "the attachment of tgw-1 is in the instance's own subnet",
		},
		"transit gateway whose attachment can't be read": {
			func(l *lab) {
				l.subnet("subnet-a", "10.0.1.0/28", "acl-a")
				l.other("eni-tgw", "subnet-a", "10.0.1.5", ec2types.NetworkInterfaceTypeTransitGateway)
				l.routes("subnet-own", "10.0.0.0/8 tgw-1")
			},
			"transit-gateway [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-a 10.0.0.10/32", "",
		},
		"peering": {
			func(l *lab) { l.routes("subnet-own", "10.1.0.0/16 pcx-1") },
			"peering [groups timeouts] open" + same, "", "another VPC",
		},
		"VPN": {
			func(l *lab) { l.routes("subnet-own", "192.168.0.0/16 vgw-1") },
			"vpn-gateway [groups timeouts] open" + same, "", "a virtual private gateway has no subnet",
		},
		"gateway endpoint": {
			func(l *lab) {
				l.endpoint("vpce-s3", "com.amazonaws.eu-central-1.s3", ec2types.VpcEndpointTypeGateway)
				l.routes("subnet-own", "pl-6ea54007 vpce-s3")
			},
			"gateway-endpoint [groups timeouts] open" + same, "", "a gateway endpoint has no subnet",
		},
		"core network": {
			func(l *lab) {
				l.routes("subnet-own", "10.0.0.0/8 arn:aws:networkmanager::111122223333:core-network/core-network-1")
			},
			"unknown [groups timeouts] open" + same, "", "it is not known what arn:aws:networkmanager",
		},
		"local gateway": {
			func(l *lab) { l.routes("subnet-own", "192.168.0.0/16 lgw-1") },
			"unknown [groups timeouts] open" + same, "", "it is not known what lgw-1 leads to",
		},
		"blackhole": {
			func(l *lab) { l.routes("subnet-own", "0.0.0.0/0 nat-1 blackhole") },
			strings.TrimPrefix(same, "\n"), "", "traffic inside a subnet meets no ACL",
		},
		"prefix list that can't be read": {
			func(l *lab) { l.routes("subnet-own", "pl-mine tgw-1") },
			"transit-gateway [groups timeouts] open" + same, "", "the attachment of tgw-1 has no subnet of its own",
		},
		"appliance by its interface": {
			func(l *lab) {
				l.subnet("subnet-fw", "10.0.1.0/24", "acl-fw")
				l.other("eni-fw", "subnet-fw", "10.0.1.5", "interface")
				l.routes("subnet-own", "0.0.0.0/0 eni-fw")
			},
			"appliance [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-fw 10.0.0.10/32", "",
		},
		"appliance in the same subnet": {
			func(l *lab) {
				l.other("eni-fw", "subnet-own", "10.0.0.5", "interface")
				l.routes("subnet-own", "0.0.0.0/0 eni-fw")
			},
			"appliance [groups timeouts] open" + same, "", "appliance eni-fw is in the instance's own subnet",
		},
		"Gateway Load Balancer endpoint": {
			func(l *lab) {
				l.subnet("subnet-fw", "10.0.1.0/24", "acl-fw")
				l.other("eni-fw", "subnet-fw", "10.0.1.5", ec2types.NetworkInterfaceTypeGatewayLoadBalancerEndpoint)
				l.endpoint("vpce-fw", "com.amazonaws.vpce.eu-central-1.vpce-svc-1", ec2types.VpcEndpointTypeGatewayLoadBalancer, "eni-fw")
				l.routes("subnet-own", "0.0.0.0/0 vpce-fw")
			},
			"appliance [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-fw 10.0.0.10/32", "",
		},
		"interface endpoint here and elsewhere": {
			func(l *lab) {
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				l.other("eni-here", "subnet-own", "10.0.0.5", ec2types.NetworkInterfaceTypeVpcEndpoint)
				l.other("eni-there", "subnet-b", "10.0.1.5", ec2types.NetworkInterfaceTypeVpcEndpoint)
				l.endpoint("vpce-1", "com.amazonaws.eu-central-1.ssm", ec2types.VpcEndpointTypeInterface, "eni-here", "eni-there")
			},
			"endpoint [groups timeouts] open\nendpoint [groups edge-acl] cut\nother-subnet [groups edge-acl] cut" + same, "acl-b 10.0.0.10/32", "endpoint vpce-1 is in the instance's own subnet",
		},
		"many subnets behind one ACL": {
			func(l *lab) {
				for i := range 30 {
					l.subnet(fmt.Sprintf("subnet-%02d", i), fmt.Sprintf("10.0.%d.0/24", i+1), "acl-shared")
				}
			},
			"other-subnet [groups edge-acl] cut" + same, "acl-shared 10.0.0.10/32", "",
		},
		"another subnet behind the instance's own ACL": {
			func(l *lab) { l.subnet("subnet-b", "10.0.1.0/24", "acl-own") },
			"other-subnet [groups edge-acl] cut" + same, "acl-own 10.0.0.10/32", "",
		},
		"secondary addresses and a delegated prefix": {
			func(l *lab) {
				l.nics = nil
				l.nic("eni-0", 0, "10.0.0.10", "10.0.0.11", "10.0.0.33").Ipv4Prefixes = []ec2types.Ipv4PrefixSpecification{{Ipv4Prefix: aws.String("10.0.0.32/28")}}
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
			},
			"other-subnet [groups edge-acl] cut" + same, "acl-b 10.0.0.10/32, acl-b 10.0.0.11/32, acl-b 10.0.0.32/28", "",
		},
		"shared VPC": {
			func(l *lab) {
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				for i := range l.vpc.Subnets {
					l.vpc.Subnets[i].OwnerId = aws.String("999999999999")
				}
				l.vpc.acl("acl-b").OwnerId = aws.String("999999999999")
			},
			"other-subnet [groups timeouts] open\nother-subnet [groups timeouts] open" + same, "", "edge-acl: acl-b belongs to account 999999999999: only that one can change it",
		},
		"ACL without an entry left": {
			func(l *lab) {
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				for i := range int32(18) {
					l.entry("acl-b", 200+i, true, "deny", fmt.Sprintf("192.0.2.%d/32", i))
				}
			},
			"other-subnet [groups timeouts] open" + same, "", "edge-acl: acl-b outbound: 20 entries of 20 are taken, none is left for 10.0.0.10/32",
		},
		"ACL without a number left": {
			func(l *lab) {
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				l.entry("acl-b", 1, false, "allow", "10.0.0.0/8")
			},
			"other-subnet [groups timeouts] open" + same, "", "edge-acl: acl-b inbound: no number is free below rule 1, which lets 10.0.0.10/32 through",
		},
		"full ACL that denies the instance already": {
			func(l *lab) {
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				for _, egress := range []bool{false, true} {
					for i := range int32(18) {
						l.entry("acl-b", 1+i, egress, "deny", fmt.Sprintf("10.0.0.%d/32", i))
					}
				}
			},
			"other-subnet [groups edge-acl] cut" + same, "acl-b 10.0.0.10/32", "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			test.build(l)
			d := l.decide(Wish{})
			if got := words(d); got != test.want {
				t.Errorf("choices:\n%s\nwant:\n%s", got, test.want)
			}
			if got := denials(d, EdgeACL); got != test.denies {
				t.Errorf("denies %s, want %s", got, test.denies)
			}
			if got := d.Choices[0].Reason; test.reason == "" && got != "" || !strings.Contains(got, test.reason) {
				t.Errorf("reason %q, want %q", got, test.reason)
			}
		})
	}
}

func TestPublicAddressesAreTakenOff(t *testing.T) {
	type world struct {
		build        func(l *lab)
		wish         Wish
		want         string
		take         string
		irreversible string
		reason       string
	}
	gateway := func(l *lab, routes ...string) *ec2types.NetworkInterface {
		l.routes("subnet-own", append([]string{"0.0.0.0/0 igw-1"}, routes...)...)
		l.nics = nil
		return l.nic("eni-0", 0, "10.0.0.10", "10.0.0.11", "2001:db8::a", "2001:db8::b")
	}
	tests := map[string]world{
		"one path for each public address; the automatic one is gone for good": {
			build: func(l *lab) {
				n := gateway(l)
				public(n, 0, "198.51.100.1", false)
				public(n, 1, "198.51.100.2", true)
			},
			want: "internet-gateway [groups addresses] cut\ninternet-gateway [groups addresses] cut" + same,
			take: "198.51.100.1 automatic, 198.51.100.2", irreversible: "198.51.100.1 of eni-0 (eth0)", reason: addressGone,
		},
		"no public address, no path": {
			build: func(l *lab) { gateway(l) }, want: strings.TrimPrefix(same, "\n"), reason: "traffic inside a subnet",
		},
		"a public address without a route to the gateway": {
			build: func(l *lab) {
				public(gateway(l), 0, "198.51.100.1", true)
				l.routes("subnet-own")
				l.routes("subnet-else", "0.0.0.0/0 igw-1")
			},
			want: "internet-gateway [groups addresses] cut" + same, take: "198.51.100.1", reason: addressGone,
		},
		"IPv6 addresses end every path of theirs": {
			build: func(l *lab) {
				gateway(l, "::/0 igw-1")
				l.six("subnet-own", "2001:db8::/64")
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				l.six("subnet-b", "2001:db8:0:1::/64")
			},
			want: "internet-gateway6 [groups addresses] cut\nother-subnet [groups edge-acl] cut\nother-subnet6 [groups addresses] cut" + same + "\nsame-subnet6 [groups addresses] cut",
			take: "2001:db8::a/128, 2001:db8::b/128", reason: addressGone,
		},
		"egress-only gateway": {
			build: func(l *lab) { gateway(l, "::/0 eigw-1") },
			want:  "egress-only-gateway6 [groups addresses] cut" + same, take: "2001:db8::a/128, 2001:db8::b/128", reason: addressGone,
		},
		"a delegated IPv6 prefix goes too": {
			build: func(l *lab) {
				gateway(l, "::/0 eigw-1").Ipv6Prefixes = []ec2types.Ipv6PrefixSpecification{{Ipv6Prefix: aws.String("2001:db8:0:0:f::/80")}}
			},
			want: "egress-only-gateway6 [groups addresses] cut" + same, take: "2001:db8::a/128, 2001:db8::b/128, 2001:db8:0:0:f::/80", reason: addressGone,
		},
		"a primary IPv6 address stays": {
			build: func(l *lab) {
				gateway(l, "::/0 igw-1").Ipv6Addresses[0].IsPrimaryIpv6 = aws.Bool(true)
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				l.six("subnet-b", "2001:db8:0:1::/64")
			},
			want: "internet-gateway6 [groups timeouts] open\ninternet-gateway6 [groups addresses] cut\nother-subnet [groups edge-acl] cut\nother-subnet6 [groups edge-acl] cut" + same,
			take: "2001:db8::b/128", reason: "2001:db8::a is the primary IPv6 address of eni-0, which can't be unassigned",
		},
		"IPv6 that leads nowhere outside stays, and its edge is closed": {
			build: func(l *lab) {
				gateway(l)
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
				l.six("subnet-b", "2001:db8:0:1::/64")
			},
			want: "other-subnet [groups edge-acl] cut\nother-subnet6 [groups edge-acl] cut" + same,
		},
		"an allowed responder keeps the address": {
			build: func(l *lab) {
				n := gateway(l)
				public(n, 0, "198.51.100.1", true)
			},
			wish: Wish{Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
			want: "internet-gateway [groups timeouts] allowed" + same, reason: "the allow-list keeps 203.0.113.0/24 open",
		},
		"an allowed subnet does not keep the address": {
			build: func(l *lab) {
				public(gateway(l), 0, "198.51.100.1", true)
				l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
			},
			wish: Wish{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/25")}},
			want: "internet-gateway [groups addresses] cut\nother-subnet [groups timeouts] allowed" + same, take: "198.51.100.1", reason: addressGone,
		},
		"addresses not asked for": {
			build: func(l *lab) { public(gateway(l), 0, "198.51.100.1", true) }, wish: Wish{Measures: []Measure{Timeouts}},
			want: "internet-gateway [groups timeouts] open" + same, reason: "addresses is not asked for",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			test.build(l)
			d := l.decide(test.wish)
			if got := words(d); got != test.want {
				t.Errorf("choices:\n%s\nwant:\n%s", got, test.want)
			}
			var take []string
			for _, a := range d.Addresses {
				switch {
				case a.IPv6.IsValid():
					take = append(take, a.IPv6.String())
				case a.Automatic:
					take = append(take, a.Public.String()+" automatic")
				default:
					take = append(take, a.Public.String())
				}
			}
			if got := strings.Join(take, ", "); got != test.take {
				t.Errorf("takes %s, want %s", got, test.take)
			}
			if got := strings.Join(d.Irreversible, ", "); test.irreversible == "" && got != "" || !strings.Contains(got, test.irreversible) {
				t.Errorf("irreversible %q, want %q", got, test.irreversible)
			}
			if got := d.Choices[0].Reason; !strings.Contains(got, test.reason) {
				t.Errorf("reason %q, want %q", got, test.reason)
			}
		})
	}
}

// Whatever is allowed behind an ACL keeps the whole ACL free of denials.
func TestAnAllowedPathKeepsItsACL(t *testing.T) {
	l := newLab(t)
	l.subnet("subnet-nat", "10.0.1.0/24", "acl-shared")
	l.subnet("subnet-ops", "10.0.2.0/24", "acl-shared")
	l.subnet("subnet-db", "10.0.3.0/24", "acl-db")
	l.nat("nat-1", "subnet-nat")
	l.routes("subnet-own", "0.0.0.0/0 nat-1")
	d := l.decide(Wish{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.2.7/32")}})
	want := "nat-gateway [groups timeouts] open\nother-subnet [groups timeouts] allowed\nother-subnet [groups edge-acl] cut" + same
	if got := words(d); got != want {
		t.Errorf("choices:\n%s\nwant:\n%s", got, want)
	}
	if got := denials(d, EdgeACL); got != "acl-db 10.0.0.10/32" {
		t.Errorf("denies %s", got)
	}
	if r := choice(t, d, NAT).Reason; !strings.Contains(r, "acl-shared also carries what the allow-list keeps") {
		t.Errorf("reason %q", r)
	}
}

func TestSystemsManagerIsKeptOpenByItsEndpoints(t *testing.T) {
	l := newLab(t)
	l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
	l.other("eni-ssm", "subnet-b", "10.0.1.5", ec2types.NetworkInterfaceTypeVpcEndpoint)
	l.other("eni-kms", "subnet-b", "10.0.1.6", ec2types.NetworkInterfaceTypeVpcEndpoint)
	l.endpoint("vpce-ssm", "com.amazonaws.eu-central-1.ssmmessages", ec2types.VpcEndpointTypeInterface, "eni-ssm")
	l.endpoint("vpce-kms", "com.amazonaws.eu-central-1.kms", ec2types.VpcEndpointTypeInterface, "eni-kms")
	d := l.decide(Wish{SSM: true})
	want := "endpoint [groups timeouts] open\nendpoint [groups timeouts] allowed\nother-subnet [groups timeouts] open" + same
	if got := words(d); got != want {
		t.Errorf("choices:\n%s\nwant:\n%s", got, want)
	}
}

func TestTheAttackersAddressesAreDeniedWhereThePathStaysOpen(t *testing.T) {
	l := newLab(t)
	l.routes("subnet-own", "0.0.0.0/0 igw-1", "10.1.0.0/16 pcx-1")
	public(&l.nics[0], 0, "198.51.100.1", true)
	d := l.decide(Wish{Remotes: []netip.Prefix{netip.MustParsePrefix("203.0.113.66/32"), netip.MustParsePrefix("10.1.2.3/32")}})
	want := "internet-gateway [groups addresses remote-acl] cut\npeering [groups remote-acl timeouts] open" + same
	if got := words(d); got != want {
		t.Errorf("choices:\n%s\nwant:\n%s", got, want)
	}
	if got := denials(d, RemoteACL); got != "acl-own 10.1.2.3/32, acl-own 203.0.113.66/32" {
		t.Errorf("denies %s", got)
	}
	if r := choice(t, d, Peering).Reason; !strings.Contains(r, "connections with 10.1.2.3/32 end, those with others do not") {
		t.Errorf("reason %q", r)
	}
}

func TestTheSubnetIsClosedByNameOnlyAndItsNeighboursAreNamed(t *testing.T) {
	l := newLab(t)
	l.subnet("subnet-b", "10.0.1.0/24", "acl-own")
	l.subnet("subnet-c", "10.0.2.0/24", "acl-c")
	l.other("eni-neighbour", "subnet-own", "10.0.0.20", "interface").Attachment = &ec2types.NetworkInterfaceAttachment{InstanceId: aws.String("i-2")}
	l.other("eni-behind", "subnet-b", "10.0.1.20", "interface").Description = aws.String("ELB app/web/1")
	l.other("eni-far", "subnet-c", "10.0.2.20", "interface")
	l.routes("subnet-own", "10.1.0.0/16 pcx-1")
	d := l.decide(Wish{Measures: []Measure{SubnetACL}})
	want := "peering [groups subnet-acl] cut\nother-subnet [groups subnet-acl] cut\nother-subnet [groups subnet-acl] cut\nsame-subnet [groups] open"
	if got := words(d); got != want {
		t.Errorf("choices:\n%s\nwant:\n%s", got, want)
	}
	if got := denials(d, SubnetACL); got != "acl-own 0.0.0.0/0" {
		t.Errorf("denies %s", got)
	}
	if got := strings.Join(d.Neighbours, ", "); got != "eni-behind in subnet-b (ELB app/web/1), eni-neighbour in subnet-own of i-2" {
		t.Errorf("neighbours %s", got)
	}
	if auto := l.decide(Wish{}); len(auto.Denies[SubnetACL]) > 0 || len(auto.Neighbours) > 0 {
		t.Errorf("auto closes the subnet: %v", auto.Denies)
	}
}

func TestAWishThatMakesNoSenseIsRefused(t *testing.T) {
	p := netip.MustParsePrefix
	full := func(l *lab) {
		l.subnet("subnet-b", "10.0.1.0/24", "acl-b")
		l.entry("acl-b", 1, false, "allow", "0.0.0.0/0")
	}
	tests := map[string]struct {
		build func(l *lab)
		wish  Wish
		want  []string
	}{
		"remote that is the whole world":      {nil, Wish{Remotes: []netip.Prefix{p("0.0.0.0/0")}}, []string{"0.0.0.0/0", "subnet-acl denies everything"}},
		"remote that is allowed":              {nil, Wish{Remotes: []netip.Prefix{p("192.0.2.7/32")}, Allow: []netip.Prefix{p("192.0.2.0/24")}}, []string{"192.0.2.7/32", "the allow-list has 192.0.2.0/24"}},
		"remote-acl without addresses":        {nil, Wish{Measures: []Measure{RemoteACL}}, []string{"remote-acl: no remote address is given"}},
		"subnet-acl with an allow-list":       {nil, Wish{Measures: []Measure{SubnetACL}, SSM: true}, []string{"subnet-acl denies everything, the allow-list's addresses too", "no interface endpoint"}},
		"edge-acl where the only ACL is full": {full, Wish{Measures: []Measure{EdgeACL}}, []string{"edge-acl can't be had", "acl-b inbound: no number is free below rule 1"}},
		"subnet-acl of another account": {
			func(l *lab) { l.vpc.acl("acl-own").OwnerId = aws.String("999999999999"); full(l) },
			Wish{Measures: []Measure{SubnetACL}}, []string{"subnet-acl can't be had", "acl-own belongs to account 999999999999"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if test.build != nil {
				test.build(l)
			}
			_, err := l.network().Decide(test.wish)
			if _, ok := errors.AsType[*incident.RefusedError](err); !ok {
				t.Fatalf("got %v, want a refusal", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestStrategiesAreReadByName(t *testing.T) {
	for _, names := range [][]string{nil, {"auto"}} {
		if m, err := ParseMeasures(names); err != nil || len(m) > 0 {
			t.Errorf("%v: %v, %v", names, m, err)
		}
	}
	if m, err := ParseMeasures([]string{"edge-acl", "timeouts"}); err != nil || len(m) != 2 {
		t.Errorf("got %v, %v", m, err)
	}
	_, err := ParseMeasures([]string{"auto", "nacl", "everything"})
	for _, want := range []string{"auto stands alone", `"nacl" is unknown`, `"everything" is unknown`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
}
