package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// siege is the scenario reverse-shells and a client in it.
type siege struct {
	*lab
	suspect types.Instance
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	a, err := Create("", "reverse-shells", 3)
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{lab: &lab{T: t, account: a, ec2: client(a, "eu-central-1"), ctx: context.Background(), instance: a.Alert().Instance}}
	s.suspect = s.describe()
	s.vpc = *s.suspect.VpcId
	return s
}

func (s *siege) flows() map[string]FlowOverview {
	s.Helper()
	all := make(map[string]FlowOverview)
	for _, f := range ok(s.account.Flows())(s) {
		all[f.Name] = f
	}
	return all
}

// wantCut: these flows are cut, for a reason with these words, and no other was ever.
func (s *siege) wantCut(reason string, names ...string) {
	s.Helper()
	flows := s.flows()
	for _, name := range slices.Sorted(maps.Keys(flows)) {
		f := flows[name]
		switch want := slices.Contains(names, name); {
		case want && (f.State != "cut" || !strings.Contains(f.Reason, reason)):
			s.Errorf("%s is %s (%s), want it cut: %s", name, f.State, f.Reason, reason)
		case !want && (f.State != "up" || f.Cuts > 0 || f.Missed > 0):
			s.Errorf("%s (%s) is %s, cut %d times: %s", name, f.Of, f.State, f.Cuts, f.Reason)
		}
	}
}

// nic is one of the suspect's interfaces by its device index.
func (s *siege) nic(index int32) types.InstanceNetworkInterface {
	for _, n := range s.suspect.NetworkInterfaces {
		if *n.Attachment.DeviceIndex == index {
			return n
		}
	}
	s.Fatalf("no interface %d", index)
	return types.InstanceNetworkInterface{}
}

func (s *siege) setGroups(group string) {
	s.Helper()
	for _, n := range s.suspect.NetworkInterfaces {
		ok(s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: n.NetworkInterfaceId, Groups: []string{group}}))(s)
	}
}

func (s *siege) subnet(name string) string {
	s.Helper()
	var id string
	s.world(func(w *world) {
		for _, sub := range w.EC2.Subnets {
			if w.tags(sub.ID)["Name"] == name {
				id = sub.ID
			}
		}
	})
	return id
}

// deny puts an address at the head of a subnet's ACL.
func (s *siege) deny(subnet, cidr string, egress bool) {
	s.Helper()
	acl := ok(s.ec2.DescribeNetworkAcls(s.ctx, &ec2.DescribeNetworkAclsInput{Filters: filterBy("association.subnet-id", s.subnet(subnet))}))(s).NetworkAcls[0]
	in := &ec2.CreateNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: aws.Int32(1), Egress: &egress, Protocol: aws.String("-1"), RuleAction: types.RuleActionDeny}
	if strings.Contains(cidr, ":") {
		in.Ipv6CidrBlock = &cidr
	} else {
		in.CidrBlock = &cidr
	}
	ok(s.ec2.CreateNetworkAclEntry(s.ctx, in))(s)
}

func TestEveryPathIsHeldAtFirst(t *testing.T) {
	s := newSiege(t)
	s.pass(time.Hour)
	s.wantCut("")
	paths := map[string][]string{"suspect": nil, "neighbour": nil}
	for _, f := range s.flows() {
		paths[f.Of] = append(paths[f.Of], f.Path)
		if got, want := f.Tracked, f.Name != "shell-untracked" && f.Name != "web-visitor"; got != want {
			t.Errorf("%s is tracked: %t", f.Name, got)
		}
		if f.Last.Before(s.account.Clock().Now().Add(-20 * time.Second)) {
			t.Errorf("%s was answered last at %s", f.Name, f.Last)
		}
	}
	for who, have := range paths {
		for _, path := range []pathKind{pathInternet, pathEgressOnly, pathNAT, pathTransit, pathEndpoint, pathLoadBalancer, pathOtherSubnet, pathSameSubnet} {
			if !slices.Contains(have, string(path)) {
				t.Errorf("the %s has no flow over %s", who, path)
			}
		}
	}
}

func TestGroupsAloneLeaveTrackedFlowsUp(t *testing.T) {
	s := newSiege(t)
	s.setGroups(s.isolationGroup())
	for _, f := range s.flows() {
		if got := f.Blocked != ""; got != (f.Name == "shell-untracked") || f.State != "up" || f.Missed > 1 {
			t.Errorf("%s at once: %s, %d beacons missed, blocked by %q", f.Name, f.State, f.Missed, f.Blocked)
		}
	}
	s.pass(5 * time.Minute)
	s.wantCut("no rule of sg-", "shell-untracked")
	if f := s.flows()["shell-untracked"]; f.Refused < 3 || f.Refused > 5 {
		t.Errorf("%d tries to come back in 5 minutes", f.Refused)
	}
	if o := s.account.Overview(); !strings.Contains(o.String(), "flow shell-untracked") || !strings.Contains(o.String(), "cut since 22:00") {
		t.Errorf("overview:\n%s", o)
	}
}

func TestADenyAtTheFarEdgeCutsTheOneInstance(t *testing.T) {
	for _, test := range []struct {
		subnet string
		device int32
		cut    []string
	}{
		{"nat", 2, []string{"shell-nat"}},
		{"transit", 2, []string{"shell-transit"}},
		{"endpoints", 2, []string{"tunnel-endpoint"}},
		{"data", 2, []string{"pivot-other-subnet"}},
		{"balancer", 0, []string{"shell-balancer"}},
	} {
		for _, egress := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, egress %t", test.subnet, egress), func(t *testing.T) {
				s := newSiege(t)
				s.deny(test.subnet, *s.nic(test.device).PrivateIpAddress+"/32", egress)
				s.pass(2 * time.Minute)
				s.wantCut("network ACL acl-", test.cut...)
			})
		}
	}
}

func TestADenyOfTheInstanceOnItsOwnSubnetCutsNothing(t *testing.T) {
	s := newSiege(t)
	for _, egress := range []bool{false, true} {
		s.deny("private", *s.nic(2).PrivateIpAddress+"/32", egress)
	}
	s.pass(2 * time.Minute)
	s.wantCut("")
}

func TestADenyOfAnAttackerOnTheOwnSubnetSparesTheNeighbours(t *testing.T) {
	s := newSiege(t)
	for _, subnet := range []string{"public", "admin", "private"} {
		s.deny(subnet, shellServer+"/32", true)
	}
	s.pass(2 * time.Minute)
	s.wantCut("network ACL acl-", "shell-elastic-ip", "shell-public-ip", "shell-untracked", "shell-nat", "tunnel-udp")
}

func TestADenyOfAllOnASubnetHitsTheNeighboursAndNothingInside(t *testing.T) {
	s := newSiege(t)
	s.deny("private", "0.0.0.0/0", false)
	s.pass(2 * time.Minute)
	s.wantCut("network ACL acl-", "shell-nat", "shell-transit", "tunnel-endpoint", "pivot-other-subnet",
		"build-mirror", "build-office", "build-ssm", "build-resolver", "build-data")
}

func (s *siege) takeAddresses() (undo func()) {
	s.Helper()
	a := ok(s.ec2.DescribeAddresses(s.ctx, &ec2.DescribeAddressesInput{Filters: filterBy("network-interface-id", *s.nic(1).NetworkInterfaceId)}))(s).Addresses[0]
	ok(s.ec2.DisassociateAddress(s.ctx, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId}))(s)
	public := &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: s.nic(0).NetworkInterfaceId, AssociatePublicIpAddress: aws.Bool(false)}
	ok(s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, public))(s)
	for _, device := range []int32{0, 2} {
		ok(s.ec2.UnassignIpv6Addresses(s.ctx, &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: s.nic(device).NetworkInterfaceId, Ipv6Addresses: []string{*s.nic(device).Ipv6Addresses[0].Ipv6Address}}))(s)
	}
	return func() {
		s.Helper()
		ok(s.ec2.AssociateAddress(s.ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, NetworkInterfaceId: s.nic(1).NetworkInterfaceId}))(s)
		public.AssociatePublicIpAddress = aws.Bool(true)
		ok(s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, public))(s)
		for _, device := range []int32{0, 2} {
			ok(s.ec2.AssignIpv6Addresses(s.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: s.nic(device).NetworkInterfaceId, Ipv6Addresses: []string{*s.nic(device).Ipv6Addresses[0].Ipv6Address}}))(s)
		}
	}
}

func TestAnAddressTakenOffEndsItsFlows(t *testing.T) {
	s := newSiege(t)
	undo := s.takeAddresses()
	s.pass(2 * time.Minute)
	s.wantCut("address", "shell-elastic-ip", "shell-public-ip", "shell-untracked", "tunnel-udp", "shell-ipv6", "shell-egress-only")
	undo()
	s.pass(2 * time.Minute)
	for name, f := range s.flows() {
		// Who comes in knows the old automatic address, and that is gone for good.
		if want := map[bool]string{true: "cut", false: "up"}[name == "shell-untracked"]; f.State != want {
			t.Errorf("%s is %s after the addresses came back: %s", name, f.State, f.Reason)
		}
	}
}

func TestWhereNoSourceDecidesFlowsCanOutliveTheirAddress(t *testing.T) {
	s := newSiege(t)
	if err := s.account.SetBehaviour(Behaviour{FlowsOutliveAddresses: true}); err != nil {
		t.Fatal(err)
	}
	s.takeAddresses()
	s.pass(10 * time.Minute)
	s.wantCut("")
	s.world(func(w *world) {
		f := *w.Traffic[0]
		if reason := f.open(w, w.Now); !strings.Contains(reason, "no public address") {
			t.Errorf("a new connection without an address: %q", reason)
		}
	})
}

func TestAnIdleFlowEndsWithItsTimeout(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout int32
		cut     bool
	}{{"AWS's default", 0, false}, {"as long as the pause", 90, true}, {"longer than the pause", 91, false}, {"the shortest", 60, true}} {
		t.Run(test.name, func(t *testing.T) {
			s := newSiege(t)
			s.world(func(w *world) {
				n := w.EC2.Interfaces[*s.nic(2).NetworkInterfaceId]
				w.addFlow(flow{Name: "shell-idle", Every: 90 * time.Second, Opener: n.at(40900), Responder: outside(shellServer, 9001)})
			})
			s.setGroups(s.isolationGroup())
			if test.timeout > 0 {
				ok(s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
					NetworkInterfaceId:              s.nic(2).NetworkInterfaceId,
					ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{TcpEstablishedTimeout: &test.timeout},
				}))(t)
			}
			s.pass(20 * time.Minute)
			cut := []string{"shell-untracked"}
			if test.cut {
				cut = append(cut, "shell-idle")
			}
			s.wantCut("no rule of sg-", cut...) // what beacons never is idle
		})
	}
}

func TestALoadBalancerLetsGoOfADrainedTarget(t *testing.T) {
	s := newSiege(t)
	s.world(func(w *world) {
		w.ELB.TargetGroups[0].deregister(s.instance, 8443, w.Now)
	})
	s.pass(25 * time.Second)
	s.wantCut("")
	s.pass(time.Minute)
	s.wantCut("deregistered from target group ci", "shell-balancer")
}

func TestTheResolverAnswersWhateverGroupsAndACLsSay(t *testing.T) {
	s := newSiege(t)
	s.world(func(w *world) {
		n := w.EC2.Interfaces[*s.nic(2).NetworkInterfaceId]
		f := w.addFlow(flow{Name: "tunnel-dns", Protocol: "udp", Opener: n.at(41003), Responder: outside("10.30.0.2", 53)})
		if f.Path != pathService || f.Via != "resolver" {
			t.Errorf("path %s by %s", f.Path, f.Via)
		}
	})
	s.setGroups(s.isolationGroup())
	for _, egress := range []bool{false, true} {
		s.deny("private", "0.0.0.0/0", egress)
	}
	s.pass(10 * time.Minute)
	if f := s.flows()["tunnel-dns"]; f.State != "up" || f.Missed > 0 {
		t.Errorf("%s: %s", f.State, f.Reason)
	}
	ok(s.ec2.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: []string{s.instance}}))(t)
	s.pass(3 * time.Minute)
	if f := s.flows()["tunnel-dns"]; f.State != "cut" {
		t.Error("a stopped instance still asks the resolver")
	}
}

func TestAGatewayThatIsGoneEndsItsFlows(t *testing.T) {
	s := newSiege(t)
	a := ok(s.ec2.DescribeTransitGatewayVpcAttachments(s.ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{}))(t).TransitGatewayVpcAttachments[0]
	ok(s.ec2.DeleteTransitGatewayVpcAttachment(s.ctx, &ec2.DeleteTransitGatewayVpcAttachmentInput{TransitGatewayAttachmentId: a.TransitGatewayAttachmentId}))(t)
	s.pass(2 * time.Minute)
	s.wantCut("leads nowhere", "shell-transit", "build-office")
}

func TestAStoppedInstanceSaysNothing(t *testing.T) {
	s := newSiege(t)
	ok(s.ec2.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: []string{s.instance}}))(t)
	s.pass(3 * time.Minute)
	for _, f := range s.flows() {
		if want := map[string]string{"suspect": "cut", "neighbour": "up"}[f.Of]; f.State != want {
			t.Errorf("%s is %s: %s", f.Name, f.State, f.Reason)
		}
	}
}

func TestTheIntruderComesBackWhenTheNetworkIsOpenedAgain(t *testing.T) {
	s := newSiege(t)
	s.setGroups(s.isolationGroup())
	s.deny("nat", *s.nic(2).PrivateIpAddress+"/32", false)
	s.pass(5 * time.Minute)
	s.wantCut("", "shell-untracked", "shell-nat")
	for _, n := range s.suspect.NetworkInterfaces {
		ok(s.ec2.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: n.NetworkInterfaceId, Groups: []string{*n.Groups[0].GroupId}}))(t)
	}
	s.pass(time.Minute)
	if f := s.flows()["shell-untracked"]; f.State != "up" || f.Cuts != 1 || f.Reason != "" {
		t.Errorf("after the groups came back: %+v", f)
	}
	if f := s.flows()["shell-nat"]; f.State != "cut" {
		t.Error("back through a NAT gateway that denies the instance")
	}
}

func TestEveryProcessSeesTheSameFlows(t *testing.T) {
	dir := t.TempDir() + "/account"
	a, err := Create(dir, "reverse-shells", 3)
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{lab: &lab{T: t, account: a, ec2: client(a, "eu-central-1"), ctx: context.Background(), instance: a.Alert().Instance}}
	s.suspect = s.describe()
	s.deny("data", *s.nic(2).PrivateIpAddress+"/32", true)
	s.pass(7 * time.Minute)
	here := ok(a.Flows())(t)
	there := ok(ok(Open(dir))(t).Flows())(t)
	for n, f := range there {
		// A beacon can be sent between the two looks.
		if h := here[n]; h.State != f.State || !h.Since.Equal(f.Since) || h.Cuts != f.Cuts || f.Last.Sub(h.Last) > 20*time.Second {
			t.Errorf("here %+v, in another process %+v", h, f)
		}
	}
	if len(here) != len(there) || len(here) == 0 {
		t.Errorf("%d flows here, %d in another process", len(here), len(there))
	}
}
