package isolate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/isolate/reach"
)

const cutNetwork = "isolate.network"

// shells is the account whose suspect is held over every kind of path.
func shells(t tester) *site { return newSiteOf(t, "reverse-shells", 1) }

func by(strategy ...string) map[string]any { return map[string]any{"strategy": strategy} }

func (s *site) network() string { return strings.Join(s.stateOfNetwork(), "\n") }

// flowsAfter are the connections once they have missed their beacons, or not.
func (s *site) flowsAfter(d time.Duration) []rehearsal.FlowOverview {
	s.t.Helper()
	if err := s.acct.Clock().Sleep(s.ctx, d); err != nil {
		s.t.Fatalf("%v", err)
	}
	return must[[]rehearsal.FlowOverview](s.t)(s.acct.Flows())
}

func TestWhichShellsSurviveWhichMeasure(t *testing.T) {
	for _, tt := range []struct {
		strategy string
		survives func(f rehearsal.FlowOverview) bool
	}{
		// Only the flow that the groups did not track ends with them.
		{"groups", func(f rehearsal.FlowOverview) bool { return f.Name != "shell-untracked" }},
		{reach.Auto, func(f rehearsal.FlowOverview) bool { return f.Path == "same-subnet" }},
	} {
		t.Run(tt.strategy, func(t *testing.T) {
			s := shells(t)
			before := s.network()
			st := s.do(cutNetwork, by(tt.strategy))
			for _, f := range s.flowsAfter(10 * time.Minute) {
				switch up := f.State == "up"; {
				case f.Of == "neighbour" && (!up || f.Cuts > 0):
					t.Errorf("%s is a neighbour's and was cut: %s", f.Name, f.Reason)
				case f.Of == "suspect" && up != tt.survives(f):
					t.Errorf("%s over %s is %s (%s)", f.Name, f.Path, f.State, f.Reason)
				case f.Of == "suspect":
					s.saidOf(f, st.proposal.Cuts, "plan")
					s.saidOf(f, st.verified.Cuts, "outcome")
				}
			}
			s.undoAll(st)
			s.same(before, s.network(), "after the release")
		})
	}
}

// saidOf: where a connection is still up, no path that carries it is called cut.
func (s *site) saidOf(f rehearsal.FlowOverview, cuts []incident.Cut, where string) {
	s.t.Helper()
	found := false
	for _, c := range cuts {
		if !strings.HasPrefix(c.Path, f.Interface+" ") || !strings.Contains(c.Path, f.Via) || strings.HasPrefix(f.Local, "[") != strings.Contains(c.Path, "over IPv6") {
			continue
		}
		found = true
		if c.Cut && f.State == "up" {
			s.t.Errorf("%s: the %s calls %s cut, and it is up", f.Name, where, c.Path)
		}
	}
	if !found {
		s.t.Errorf("%s over %s %s: no path of the %s carries it", f.Name, f.Path, f.Via, where)
	}
}

func TestEveryMeasureSurvivesDeathAtAnyChange(t *testing.T) {
	want := ""
	for n := 1; ; n += 7 {
		s := shells(t)
		before := s.network()
		st := must[*step](t)(s.plan(cutNetwork, by(reach.Auto)))
		s.crashAt(n, n%2 == 0)
		err := s.start(st)
		done := err == nil
		if !done && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		s.crashAt(0, false)
		if !done {
			if err := s.try(st, true); err != nil {
				t.Fatalf("killed at change %d and resumed: %v", n, err)
			}
		}
		if want == "" {
			want = s.network()
		}
		s.same(want, s.network(), fmt.Sprintf("killed at change %d and resumed", n))
		s.crashAt(n, n%2 == 1)
		if err := s.undo(st, false); errors.Is(err, errKilled) {
			s.crashAt(0, false)
			err = s.undo(st, false)
			if err != nil {
				t.Fatalf("release killed at change %d and resumed: %v", n, err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		s.crashAt(0, false)
		s.same(before, s.network(), fmt.Sprintf("released after a death at change %d", n))
		if done {
			return
		}
	}
}

func TestAHalfCutNetworkIsReleased(t *testing.T) {
	for _, n := range []int{1, 3, 6, 9, 14, 22} {
		s := shells(t)
		before := s.network()
		st := must[*step](t)(s.plan(cutNetwork, by(reach.Auto)))
		s.crashAt(n, n%2 == 0)
		if err := s.start(st); !errors.Is(err, errKilled) {
			t.Fatalf("killed at change %d: %v", n, err)
		}
		s.crashAt(0, false)
		s.undoAll(st)
		s.same(before, s.network(), fmt.Sprintf("killed at change %d and released", n))
	}
}

func TestIsolatedTwiceIsIsolatedOnce(t *testing.T) {
	s := shells(t)
	before := s.network()
	first := s.do(cutNetwork, by(reach.Auto))
	isolated := s.network()
	second := s.do(cutNetwork, by(reach.Auto))
	if len(second.proposal.Changes) > 0 {
		t.Errorf("the second time changes %+v", second.proposal.Changes)
	}
	s.same(isolated, s.network(), "isolated again")
	s.undoAll(second)
	s.same(isolated, s.network(), "after the release of the second, which set nothing")
	s.undoAll(first)
	s.same(before, s.network(), "after the release of both")
}

// acl is that of the first edge entry the step made.
func (s *site) acl(st *step) entry {
	s.t.Helper()
	return must[cut](s.t)(recall[cut](st.result.Applied)).Entries[0]
}

func (s *site) deny(acl string, number int32, egress bool, cidr string) {
	s.t.Helper()
	must[*ec2.CreateNetworkAclEntryOutput](s.t)(s.ec2().CreateNetworkAclEntry(s.ctx, &ec2.CreateNetworkAclEntryInput{
		NetworkAclId: &acl, RuleNumber: &number, Egress: &egress, Protocol: aws.String("-1"), RuleAction: ec2types.RuleActionDeny, CidrBlock: &cidr,
	}))
}

func TestAnACLThatFilledUpSinceThePlanLeavesTheNextBest(t *testing.T) {
	s := shells(t)
	st := must[*step](t)(s.plan(cutNetwork, by(reach.Auto)))
	before := s.network()
	b := must[wiring](t)(recall[wiring](st.proposal.Before))
	full := b.Orders.Barriers[0].ACL
	var made []int32
	for n := int32(200); n < 220; n++ { // until AWS says that it is full
		_, err := s.ec2().CreateNetworkAclEntry(s.ctx, &ec2.CreateNetworkAclEntryInput{
			NetworkAclId: &full, RuleNumber: &n, Egress: aws.Bool(false), Protocol: aws.String("-1"), RuleAction: ec2types.RuleActionDeny,
			CidrBlock: aws.String(fmt.Sprintf("192.0.2.%d/32", n)),
		})
		if err == nil {
			made = append(made, n)
		}
	}
	if err := s.try(st, false); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(st.verified.Residual, func(x incident.Exposure) bool { return strings.Contains(x.Path, full) }) {
		t.Errorf("nothing says that %s is full: %+v", full, st.verified.Residual)
	}
	open := slices.IndexFunc(st.verified.Cuts, func(c incident.Cut) bool { return slices.Contains(c.Measures, "edge-acl") && !c.Cut })
	if open < 0 {
		t.Error("every path is called cut")
	}
	s.undoAll(st)
	for _, n := range made {
		must[*ec2.DeleteNetworkAclEntryOutput](t)(s.ec2().DeleteNetworkAclEntry(s.ctx, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &full, RuleNumber: &n, Egress: aws.Bool(false)}))
	}
	s.same(before, s.network(), "after the release")
}

func TestAnInterfaceAttachedAfterThePlanIsCutAndRestored(t *testing.T) {
	s := shells(t)
	before := s.network()
	st := must[*step](t)(s.plan(cutNetwork, by(reach.Auto)))
	b := must[wiring](t)(recall[wiring](st.proposal.Before))
	late := b.Interfaces[len(b.Interfaces)-1].ID
	b.Interfaces = b.Interfaces[:len(b.Interfaces)-1] // as if it had not been there
	st.proposal.Before = must[[]byte](t)(record(b))
	s.crashAt(4, true)
	if err := s.try(st, false); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	s.crashAt(0, false)
	if err := s.try(st, true); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(st.verified.Observed, func(o string) bool { return strings.Contains(o, late) }) {
		t.Errorf("%s was not cut: %v", late, st.verified.Observed)
	}
	s.undoAll(st)
	s.same(before, s.network(), "after the release")
}

func TestWhatSomeoneElseChangedOfTheNetworkIsDrift(t *testing.T) {
	tests := []struct {
		name   string
		meddle func(s *site, st *step)
		shows  string
		keeps  bool // a forced release leaves what someone else did
	}{
		{"an entry gets another number", func(s *site, st *step) {
			e := s.acl(st)
			must[*ec2.DeleteNetworkAclEntryOutput](s.t)(s.ec2().DeleteNetworkAclEntry(s.ctx, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &e.ACL, RuleNumber: &e.Number, Egress: &e.Egress}))
			s.deny(e.ACL, 77, e.Egress, e.Prefix.String())
		}, "denied by entry 77", false},
		{"an entry says something else", func(s *site, st *step) {
			e := s.acl(st)
			must[*ec2.ReplaceNetworkAclEntryOutput](s.t)(s.ec2().ReplaceNetworkAclEntry(s.ctx, &ec2.ReplaceNetworkAclEntryInput{
				NetworkAclId: &e.ACL, RuleNumber: &e.Number, Egress: &e.Egress, Protocol: aws.String("-1"), RuleAction: ec2types.RuleActionDeny, CidrBlock: aws.String("192.0.2.1/32"),
			}))
		}, "192.0.2.1/32", true},
		{"the timeouts", func(s *site, st *step) {
			b := must[wiring](s.t)(recall[wiring](st.proposal.Before))
			must[*ec2.ModifyNetworkInterfaceAttributeOutput](s.t)(s.ec2().ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
				NetworkInterfaceId: &b.Orders.Timeouts[0], ConnectionTrackingSpecification: &ec2types.ConnectionTrackingSpecificationRequest{TcpEstablishedTimeout: aws.Int32(120)},
			}))
		}, "TCP 120 s", false},
		{"the Elastic IP is used elsewhere", func(s *site, st *step) {
			id, eip := s.elastic(st)
			other := must[*ec2.DescribeNetworkInterfacesOutput](s.t)(s.ec2().DescribeNetworkInterfaces(s.ctx, &ec2.DescribeNetworkInterfacesInput{}))
			for _, n := range other.NetworkInterfaces {
				if n.Attachment != nil && n.Attachment.InstanceId != nil && *n.Attachment.InstanceId != s.target.Instance && *n.NetworkInterfaceId != id {
					must[*ec2.AssociateAddressOutput](s.t)(s.ec2().AssociateAddress(s.ctx, &ec2.AssociateAddressInput{AllocationId: &eip.Allocation, NetworkInterfaceId: n.NetworkInterfaceId}))
					return
				}
			}
			s.t.Fatalf("no other interface")
		}, "is in use by eni-", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := shells(t)
			before := s.network()
			st := s.do(cutNetwork, by(reach.Auto))
			tt.meddle(s, st)
			changed := s.network()
			drift, ok := errors.AsType[*incident.DriftError](s.undo(st, false))
			if !ok || len(drift.Differences) != 1 || !strings.Contains(drift.Differences[0].Now, tt.shows) {
				t.Fatalf("got %v", drift)
			}
			s.same(changed, s.network(), "after the refused release")
			if err := s.undo(st, true); err != nil {
				t.Fatal(err)
			}
			if !tt.keeps {
				s.same(before, s.network(), "after the forced release")
			}
		})
	}
}

// elastic is an Elastic IP that the step took off, and its interface.
func (s *site) elastic(st *step) (string, public) {
	s.t.Helper()
	b := must[wiring](s.t)(recall[wiring](st.proposal.Before))
	for _, n := range b.Interfaces {
		for _, p := range n.Public {
			if p.Allocation != "" {
				return n.ID, p
			}
		}
	}
	s.t.Fatalf("no Elastic IP went")
	return "", public{}
}

func TestAnElasticIPThatWasReleasedIsLeftOutByForce(t *testing.T) {
	s := shells(t)
	st := s.do(cutNetwork, by(reach.Auto))
	id, eip := s.elastic(st)
	must[*ec2.ReleaseAddressOutput](t)(s.ec2().ReleaseAddress(s.ctx, &ec2.ReleaseAddressInput{AllocationId: &eip.Allocation}))
	s.hinted(s.undo(st, false), id, eip.Allocation, "was released")
	p, err := s.planUndo(st, true)
	if err != nil || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, eip.Allocation) }) {
		t.Fatalf("notes %q, %v", p.Notes, err)
	}
	if err := s.undo(st, true); err != nil {
		t.Fatal(err)
	}
}

func TestAnIPv6AddressThatAnotherInterfaceHasIsNamed(t *testing.T) {
	s := shells(t)
	st := s.do(cutNetwork, by(reach.Auto))
	b := must[wiring](t)(recall[wiring](st.proposal.Before))
	i := slices.IndexFunc(b.Interfaces, func(n wire) bool { return len(n.IPv6) > 0 })
	taken := b.Interfaces[i].IPv6[0]
	subnet := must[*ec2.DescribeNetworkInterfacesOutput](t)(s.ec2().DescribeNetworkInterfaces(s.ctx, &ec2.DescribeNetworkInterfacesInput{
		NetworkInterfaceIds: []string{b.Interfaces[i].ID},
	})).NetworkInterfaces[0].SubnetId
	made := must[*ec2.CreateNetworkInterfaceOutput](t)(s.ec2().CreateNetworkInterface(s.ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: subnet}))
	other := *made.NetworkInterface.NetworkInterfaceId
	must[*ec2.AssignIpv6AddressesOutput](t)(s.ec2().AssignIpv6Addresses(s.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: &other, Ipv6Addresses: []string{taken}}))
	s.hinted(s.undo(st, false), b.Interfaces[i].ID, taken, other)
}

// TestInstancesShareADenyOfTheAttacker: the last one to be released takes it away.
func TestInstancesShareADenyOfTheAttacker(t *testing.T) {
	s := shells(t)
	before, first := s.network(), s.target
	neighbour := must[*ec2.DescribeInstancesOutput](t)(s.ec2().DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("private-ip-address"), Values: []string{"10.30.10.11"}}},
	}))
	second := first
	second.Instance = *neighbour.Reservations[0].Instances[0].InstanceId
	inputs := map[string]any{"strategy": []string{"remote-acl"}, "attackers": []string{"203.0.113.66"}}
	steps := make(map[string]*step)
	for _, s.target = range []incident.Target{first, second} { // both are planned before one is done
		steps[s.target.Instance] = must[*step](t)(s.plan(cutNetwork, inputs))
	}
	for _, s.target = range []incident.Target{first, second} {
		if st := steps[s.target.Instance]; len(st.proposal.Shared) == 0 {
			t.Fatal("nothing is shared")
		} else if err := s.start(st); err != nil {
			t.Fatal(err)
		}
	}
	s.target = first
	steps[first.Instance].names = steps[second.Instance].proposal.Shared
	s.undoAll(steps[first.Instance])
	if !strings.Contains(s.network(), "deny 203.0.113.66/32") {
		t.Error("the first release took the entry away from the second instance")
	}
	s.target = second
	s.undoAll(steps[second.Instance])
	s.target = first
	s.same(before, s.network(), "after both releases")
}

func TestWrongInputsAreReportedTogether(t *testing.T) {
	s := shells(t)
	for _, tt := range []struct {
		inputs map[string]any
		want   []string
	}{
		{map[string]any{
			"strategy": []string{"auto", "groups"}, "attackers": []string{"203.0.113.1/24", "evil"},
			"allow": []string{"10.0.0.0/8:22", "192.0.2.7:22", "192.0.2.7/32", "192.0.2.7/32:0", "192.0.2.7/32:22/icmp", "sg-0123:22", "2001:db8::/32:22", "192.0.2.7/32:+22"},
		}, []string{
			"stands alone", "203.0.113.0/24", `"evil"`, "10.0.0.0/8 is too wide", `"192.0.2.7" is no CIDR block`, `"192.0.2.7/32": `,
			`not "0"`, `not "icmp"`, `"sg-0123" is no CIDR`, "2001:db8::/32 is too wide", `not "+22"`,
		}},
		{map[string]any{"strategy": []string{"groups"}, "attackers": []string{"203.0.113.1"}}, []string{"no remote-acl"}},
		{map[string]any{"strategy": []string{"remote-acl"}}, []string{"remote-acl"}},
		{map[string]any{"strategy": []string{"magic"}}, []string{`"magic" is unknown`}},
	} {
		_, err := s.plan(cutNetwork, tt.inputs)
		if err == nil {
			t.Fatalf("%v is accepted", tt.inputs)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("nothing says %q in\n%v", want, err)
			}
		}
	}
}

func FuzzAllowList(f *testing.F) {
	for _, text := range []string{"192.0.2.7/32:22", "2001:db8:42::/64:5555/udp", "::/0:1", "10.0.0.0/24:65536", ":", "/:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseAllow(text)
		if err != nil {
			return
		}
		again, err := parseAllow(fmt.Sprintf("%s:%d/%s", r.Prefix, r.Port, r.Protocol))
		if err != nil || again != r {
			t.Errorf("%q is %v, and written again %v, %v", text, r, again, err)
		}
		if wide(r.Prefix) || r.Port == 0 {
			t.Errorf("%q lets in %v", text, r)
		}
	})
}

// endpoints gives the suspect's network those of Systems Manager.
func (s *site) endpoints(services ...string) {
	s.t.Helper()
	n := s.instance().NetworkInterfaces[0]
	for _, service := range services {
		must[*ec2.CreateVpcEndpointOutput](s.t)(s.ec2().CreateVpcEndpoint(s.ctx, &ec2.CreateVpcEndpointInput{
			VpcId: n.VpcId, ServiceName: aws.String("com.amazonaws." + s.target.Region + "." + service), VpcEndpointType: ec2types.VpcEndpointTypeInterface,
			SubnetIds: []string{*n.SubnetId}, SecurityGroupIds: []string{*n.Groups[0].GroupId},
		}))
	}
}

func TestTheAllowListIsAGroupOfItsOwn(t *testing.T) {
	s := newSite(t, 1)
	s.endpoints("ssm")
	s.do("isolate.autoscaling", nil)
	inputs := map[string]any{"allow": []string{"198.51.100.7/32:22", "2001:db8:42::/64:22/tcp"}, "allow_ssm": true}
	_, err := s.plan(cutNetwork, inputs)
	s.refused(err, "ssmmessages")
	s.endpoints("ssmmessages")
	if err := s.acct.Clock().Sleep(s.ctx, vpcAge+time.Second); err != nil { // the network was read a moment ago
		t.Fatal(err)
	}
	before := s.network()
	st := s.do(cutNetwork, inputs)
	set := must[cut](t)(recall[cut](st.result.Applied))
	g := must[[]ec2types.SecurityGroup](t)(groupsBy(s.ctx, s.ec2(), "group-id", set.Groups[s.vpc()]))[0]
	if in, out := len(flat(g.IpPermissions, false)), len(flat(g.IpPermissionsEgress, true)); in != 2 || out != 2 || *g.GroupName == isolationName {
		t.Errorf("group %s has %d inbound and %d outbound rules, want 2 and 2", *g.GroupName, in, out)
	}
	plain := s.do(cutNetwork, nil)
	if other := must[cut](t)(recall[cut](plain.result.Applied)).Groups[s.vpc()]; other == *g.GroupId {
		t.Error("without an allow-list the same group is taken")
	}
	s.undoAll(st, plain)
	s.same(before, s.network(), "after the release")
}
