package rehearsal

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"pgregory.net/rapid"
)

var (
	allIn     = groupRule{Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}
	allOut    = groupRule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}
	allInSix  = groupRule{Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"}
	allOutSix = groupRule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"}
)

func in(protocol string, from, to int32, cidr string) groupRule {
	return groupRule{Protocol: protocol, From: from, To: to, CIDR: cidr}
}

// The rules and examples of the page "Security group connection tracking", EC2 User Guide.
func TestAFlowIsTrackedAsThePageSays(t *testing.T) {
	out443 := groupRule{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: "0.0.0.0/0"}
	for _, test := range []struct {
		name     string
		rules    []groupRule
		protocol string
		port     uint16 // of who is asked
		inbound  bool
		six      bool
		device   int // 0: Internet gateway, 2: NAT and egress-only gateway
		tracked  bool
	}{
		{"SSH from one address", []groupRule{in("tcp", 22, 22, "203.0.113.0/24"), allOut}, "tcp", 22, true, false, 0, true},
		{"HTTP from everywhere", []groupRule{in("tcp", 80, 80, "0.0.0.0/0"), allOut}, "tcp", 80, true, false, 0, false},
		{"HTTP from everywhere, nothing may go out", []groupRule{in("tcp", 80, 80, "0.0.0.0/0")}, "tcp", 80, true, false, 0, true},
		{"HTTP from everywhere, one port may go out", []groupRule{in("tcp", 80, 80, "0.0.0.0/0"), out443}, "tcp", 80, true, false, 0, true},
		{"HTTP from everywhere, out over IPv6 only", []groupRule{in("tcp", 80, 80, "0.0.0.0/0"), allOutSix}, "tcp", 80, true, false, 0, true},
		{"out to everywhere, one port may come in", []groupRule{in("tcp", 80, 80, "0.0.0.0/0"), allOut}, "tcp", 443, false, false, 0, true},
		{"out to everywhere, all may come in", []groupRule{allIn, allOut}, "tcp", 443, false, false, 0, false},
		{"out to one port everywhere, all TCP may come in", []groupRule{in("tcp", 0, 65535, "0.0.0.0/0"), out443}, "tcp", 443, false, false, 0, false},
		{"out to everywhere, all TCP but port 0 may come in", []groupRule{in("tcp", 1, 65535, "0.0.0.0/0"), allOut}, "tcp", 443, false, false, 0, true},
		{"out to everywhere, all UDP may come in", []groupRule{in("udp", 0, 65535, "0.0.0.0/0"), allOut}, "tcp", 443, false, false, 0, true},
		{"UDP, all open", []groupRule{allIn, allOut}, "udp", 53, false, false, 0, false},
		{"ICMP, all open", []groupRule{allIn, allOut}, "icmp", 0, false, false, 0, true},
		{"IPv6, all IPv6 open", []groupRule{allInSix, allOutSix}, "tcp", 443, false, true, 0, false},
		{"IPv6, all IPv4 open and only out over IPv6", []groupRule{allIn, allOut, allOutSix}, "tcp", 443, false, true, 0, true},
		{"all open, through a NAT gateway", []groupRule{allIn, allOut}, "tcp", 443, false, false, 2, true},
		{"all open, through an egress-only gateway", []groupRule{allInSix, allOutSix}, "tcp", 443, false, true, 2, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSiege(t)
			s.world(func(w *world) {
				n := w.EC2.interfacesOf(s.instance)[test.device]
				w.EC2.Groups[n.Groups[0]].Rules = test.rules
				here, there := n.at(test.port), outside(shellServer, test.port)
				if test.six {
					here, there = n.atSix(test.port), outside(shellServerSix, test.port)
				}
				f := flow{Name: "judged", Protocol: test.protocol, Opener: here, Responder: there}
				if test.inbound {
					f.Opener, f.Responder = there, here
				}
				if reason := f.open(w, w.Now); reason != "" {
					t.Fatal(reason)
				}
				if got := f.Tracks[n.ID].Tracked; got != test.tracked {
					t.Errorf("tracked: %t", got)
				}
			})
		})
	}
}

func TestAnUntrackedFlowGoesOnWhileARuleLetsIt(t *testing.T) {
	s := newSiege(t)
	group := *s.nic(0).Groups[0].GroupId
	narrow := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []types.IpRange{{CidrIp: aws.String(shellServer + "/32")}}}}
	wide := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
	ok(s.ec2.AuthorizeSecurityGroupIngress(s.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: narrow}))(t)
	ok(s.ec2.RevokeSecurityGroupIngress(s.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: wide}))(t)
	s.pass(2 * time.Minute)
	s.wantCut("no rule of sg-", "web-visitor")
	if !s.flows()["shell-untracked"].Tracked {
		t.Error("not tracked, though its rule is for one address now")
	}
	ok(s.ec2.RevokeSecurityGroupIngress(s.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: narrow}))(t)
	s.pass(2 * time.Minute)
	s.wantCut("no rule of sg-", "web-visitor")
}

// The four cases of the page "Network ACLs for transit gateways" (VPC Transit Gateways), for an
// attachment in a subnet of its own and in the instance's: which entry is asked about which packet.
func TestACLsAtATransitGateway(t *testing.T) {
	const office = "10.50.0.0/16"
	for _, test := range []struct {
		name         string
		sameSubnet   bool
		acl          string // subnet
		local        bool   // the instance is denied; else the office
		egress, cuts bool
	}{
		{"to the gateway, instance's subnet, outbound by destination", false, "private", false, true, true},
		{"from the gateway, instance's subnet, inbound by source", false, "private", false, false, true},
		{"to the gateway, attachment's subnet, inbound by source", false, "transit", true, false, true},
		{"from the gateway, attachment's subnet, outbound by destination", false, "transit", true, true, true},
		{"to the gateway, attachment's subnet, outbound is not asked", false, "transit", false, true, false},
		{"from the gateway, attachment's subnet, inbound is not asked", false, "transit", false, false, false},
		{"same subnet, to the gateway, outbound by destination", true, "private", false, true, true},
		{"same subnet, to the gateway, inbound by source", true, "private", true, false, true},
		{"same subnet, from the gateway, inbound is not asked", true, "private", false, false, false},
		{"same subnet, from the gateway, outbound is not asked", true, "private", true, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSiege(t)
			if test.sameSubnet {
				s.world(func(w *world) {
					for _, a := range w.EC2.Attachments {
						gateway := w.EC2.Interfaces[a.Interfaces[0]]
						gateway.Subnet, a.Subnets = s.subnetOf(w, 2), []string{s.subnetOf(w, 2)}
					}
				})
			}
			denied := office
			if test.local {
				denied = *s.nic(2).PrivateIpAddress + "/32"
			}
			s.deny(test.acl, denied, test.egress)
			s.pass(2 * time.Minute)
			if f := s.flows()["shell-transit"]; (f.State == "cut") != test.cuts {
				t.Errorf("%s %s", f.State, f.Reason)
			}
		})
	}
}

// A VPC behind the same transit gateway is judged at both ends, and a rule for a group of its
// interfaces does not hold across the gateway.
func TestAGroupDoesNotReachAcrossATransitGateway(t *testing.T) {
	for _, byGroup := range []bool{false, true} {
		s := newSiege(t)
		s.world(func(w *world) {
			peer, n := s.others(w), w.EC2.interfacesOf(s.instance)[2]
			c, table := w.call("ec2"), w.routeTableOf(peer.Subnet)
			for id := range w.EC2.Transits {
				must(ec2CreateTransitGatewayVpcAttachment(c, &ec2.CreateTransitGatewayVpcAttachmentInput{TransitGatewayId: &id, VpcId: &peer.VPC, SubnetIds: []string{peer.Subnet}}))
				for _, t := range []*routeTable{table, w.routeTableOf(n.Subnet)} {
					for k := range t.Routes {
						if t.Routes[k].Target[:3] == "pcx" {
							t.Routes[k].Target = id
						}
					}
				}
			}
			rule := in("tcp", 22, 22, "10.60.0.0/16")
			if byGroup {
				rule.CIDR, rule.Group = "", peer.Groups[0]
			}
			g := w.EC2.Groups[n.Groups[0]]
			g.Rules = append(g.Rules, rule)
			f := flow{Name: "across", Protocol: "tcp", Opener: peer.at(41004), Responder: n.at(22)}
			if reason := f.open(w, w.Now); (reason != "") != byGroup || f.Path != pathTransit {
				t.Errorf("by group %t, over %s: %q", byGroup, f.Path, reason)
			}
		})
	}
}

func (s *siege) subnetOf(w *world, device int) string {
	return w.EC2.interfacesOf(s.instance)[device].Subnet
}

// others gives the private subnet a peering with another VPC of the account, and a VPN gateway.
func (s *siege) others(w *world) (peer *networkInterface) {
	c := w.call("ec2")
	vpc := must(ec2CreateVpc(c, &ec2.CreateVpcInput{CidrBlock: aws.String("10.60.0.0/16")})).Vpc.VpcId
	sub := must(ec2CreateSubnet(c, &ec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.60.1.0/24")})).Subnet.SubnetId
	pcx := must(ec2CreateVpcPeeringConnection(c, &ec2.CreateVpcPeeringConnectionInput{VpcId: &s.vpc, PeerVpcId: vpc})).VpcPeeringConnection.VpcPeeringConnectionId
	must(ec2AcceptVpcPeeringConnection(c, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: pcx}))
	vgw := must(ec2CreateVpnGateway(c, &ec2.CreateVpnGatewayInput{Type: types.GatewayTypeIpsec1})).VpnGateway.VpnGatewayId
	must(ec2AttachVpnGateway(c, &ec2.AttachVpnGatewayInput{VpnGatewayId: vgw, VpcId: &s.vpc}))
	own, theirs := &w.routeTableOf(s.subnetOf(w, 2)).ID, &w.routeTableOf(*sub).ID
	must(ec2CreateRoute(c, &ec2.CreateRouteInput{RouteTableId: own, DestinationCidrBlock: aws.String("10.60.0.0/16"), VpcPeeringConnectionId: pcx}))
	must(ec2CreateRoute(c, &ec2.CreateRouteInput{RouteTableId: theirs, DestinationCidrBlock: aws.String("10.30.0.0/16"), VpcPeeringConnectionId: pcx}))
	must(ec2CreateRoute(c, &ec2.CreateRouteInput{RouteTableId: own, DestinationCidrBlock: aws.String("192.168.0.0/16"), GatewayId: vgw}))
	group := c.makeGroup(w.EC2.VPCs[*vpc], "peer", "the peer's")
	group.Rules = append(group.Rules, in("tcp", 22, 22, "10.30.0.0/16"))
	return c.makeServiceInterface(*sub, []string{group.ID}, types.NetworkInterfaceTypeInterface, "peer")
}

func TestPeeringAndVPN(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *siege, peer *networkInterface)
		reason string
		cut    []string
	}{
		{"groups alone", func(s *siege, _ *networkInterface) { s.setGroups(s.isolationGroup()) }, "no rule", []string{"shell-untracked"}},
		{"the peer's network denied on the own subnet", func(s *siege, _ *networkInterface) { s.deny("private", "10.60.0.0/16", true) }, "network ACL", []string{"shell-peering"}},
		{"the VPN's network denied on the own subnet", func(s *siege, _ *networkInterface) { s.deny("private", "192.168.0.0/16", false) }, "network ACL", []string{"shell-vpn"}},
		{"the instance denied on the peer's subnet", func(s *siege, peer *networkInterface) {
			s.world(func(w *world) {
				w.aclOf(peer.Subnet).put(aclEntry{Number: 1, Protocol: "-1", CIDR: *s.nic(2).PrivateIpAddress + "/32"})
			})
		}, "network ACL", []string{"shell-peering"}},
		{"peering deleted", func(s *siege, _ *networkInterface) {
			s.world(func(w *world) {
				for id := range w.EC2.Peerings {
					must(ec2DeleteVpcPeeringConnection(w.call("ec2"), &ec2.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: &id}))
				}
			})
		}, "leads nowhere", []string{"shell-peering"}},
		{"VPN gateway detached", func(s *siege, _ *networkInterface) {
			s.world(func(w *world) {
				for id := range w.EC2.VPNs {
					must(ec2DetachVpnGateway(w.call("ec2"), &ec2.DetachVpnGatewayInput{VpnGatewayId: &id, VpcId: &s.vpc}))
				}
			})
		}, "is gone", []string{"shell-vpn"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSiege(t)
			var peer *networkInterface
			s.world(func(w *world) {
				peer = s.others(w)
				n := w.EC2.interfacesOf(s.instance)[2]
				g := w.EC2.Groups[n.Groups[0]]
				g.Rules = append(g.Rules, in("tcp", 22, 22, "192.168.0.0/16"))
				w.addFlow(flow{Name: "shell-peering", Opener: n.at(41001), Responder: peer.at(22)})
				w.addFlow(flow{Name: "shell-vpn", Opener: outside("192.168.7.7", 41002), Responder: n.at(22)})
			})
			flows := s.flows()
			if a, b := flows["shell-peering"].Path, flows["shell-vpn"].Path; a != string(pathPeering) || b != string(pathVPN) {
				t.Errorf("paths %s and %s", a, b)
			}
			test.change(s, peer)
			s.pass(2 * time.Minute)
			s.wantCut(test.reason, test.cut...)
		})
	}
}

func TestAnACLTakesTheLowestNumberThatMatches(t *testing.T) {
	prefixes := []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.0.2.0/24"}
	rapid.Check(t, func(t *rapid.T) {
		acl := &networkACL{}
		entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) aclEntry {
			e := aclEntry{
				Number: rapid.Int32Range(1, 12).Draw(t, "number"), Egress: rapid.Bool().Draw(t, "egress"), Allow: rapid.Bool().Draw(t, "allow"),
				CIDR: rapid.SampledFrom(prefixes).Draw(t, "cidr"), Protocol: rapid.SampledFrom([]string{"-1", "6", "17"}).Draw(t, "protocol"),
			}
			if e.Protocol != "-1" {
				from := rapid.Int32Range(0, 100).Draw(t, "from")
				e.Ports = &types.PortRange{From: &from, To: aws.Int32(from + rapid.Int32Range(0, 50).Draw(t, "ports"))}
			}
			return e
		}), 0, 15).Draw(t, "entries")
		kept := make(map[string]aclEntry)
		for _, e := range entries {
			acl.put(e)
			kept[fmt.Sprint(e.Egress, e.Number)] = e
		}
		p := aclPacket{
			addr: netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "198.51.100.1"}).Draw(t, "address")),
			port: rapid.Uint16Range(0, 150).Draw(t, "port"), protocol: rapid.SampledFrom([]int32{6, 17}).Draw(t, "packet protocol"),
		}
		egress := rapid.Bool().Draw(t, "direction")
		var matching []aclEntry
		for _, e := range kept {
			if e.Egress != egress || !netip.MustParsePrefix(e.CIDR).Contains(p.addr) {
				continue
			}
			if e.Protocol == "-1" || e.Protocol == fmt.Sprint(p.protocol) && int32(p.port) >= *e.Ports.From && int32(p.port) <= *e.Ports.To {
				matching = append(matching, e)
			}
		}
		want := false
		if len(matching) > 0 {
			want = slices.MinFunc(matching, func(a, b aclEntry) int { return cmp.Compare(a.Number, b.Number) }).Allow
		}
		if got, number := acl.judge(egress, p); got != want {
			t.Fatalf("passes: %t by entry %d, want %t", got, number, want)
		}
	})
}
