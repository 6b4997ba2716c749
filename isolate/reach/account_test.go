package reach_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/isolate/reach"
)

func account(t *testing.T, scenario string) *rehearsal.Account {
	t.Helper()
	a, err := rehearsal.Create("", scenario, 1)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func read(t *testing.T, a *rehearsal.Account) *reach.Network {
	t.Helper()
	n, err := readErr(t, a)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func readErr(t *testing.T, a *rehearsal.Account) (*reach.Network, error) {
	t.Helper()
	alert := a.Alert()
	client := ec2.NewFromConfig(a.Config(alert.Region))
	inst, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{alert.Instance}})
	if err != nil {
		t.Fatal(err)
	}
	nics, err := client.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{alert.Instance}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	vpc, err := reach.ReadVPC(t.Context(), client, aws.ToString(inst.Reservations[0].Instances[0].VpcId))
	if err != nil {
		return nil, err
	}
	return reach.New(inst.Reservations[0].Instances[0], nics.NetworkInterfaces, vpc)
}

// The suspect of web-tier has an interface in a public subnet and one in a private
// subnet, and all four subnets share the default ACL.
func TestThePathsOfTheWebTierAreFoundAndCut(t *testing.T) {
	n := read(t, account(t, "web-tier"))
	d, err := n.Decide(reach.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range d.Choices {
		got = append(got, fmt.Sprintf("eth%d %s %v cut=%v", c.Path.Device, c.Path.Kind, c.Measures, c.Cut))
	}
	want := []string{
		"eth0 internet-gateway [groups addresses] cut=true",
		"eth0 other-subnet [groups edge-acl] cut=true",
		"eth0 same-subnet [groups timeouts] cut=false",
		"eth1 nat-gateway [groups edge-acl] cut=true",
		"eth1 other-subnet [groups edge-acl] cut=true",
		"eth1 same-subnet [groups timeouts] cut=false",
		"eth0 service [] cut=false", "eth0 service [] cut=false", "eth0 service [] cut=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("choices:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(d.Denies[reach.EdgeACL]) != 2 || len(d.Addresses) != 1 || d.Addresses[0].Automatic || len(d.Irreversible) > 0 {
		t.Errorf("denies %v, addresses %v, irreversible %v: want the two private addresses, and the Elastic IP", d.Denies, d.Addresses, d.Irreversible)
	}
}

// transit attaches the suspect's network to a transit gateway, which takes what AWS's own
// list for S3 names.
func transit(t *testing.T, a *rehearsal.Account, n *reach.Network) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := ec2.NewFromConfig(a.Config(a.Alert().Region))
	nics, err := client.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{n.Paths()[0].Interface}})
	must(err)
	eni := nics.NetworkInterfaces[0]
	private, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("tag:Name"), Values: []string{"private-a", "private-b"}}}})
	must(err)
	gateway, err := client.CreateTransitGateway(t.Context(), &ec2.CreateTransitGatewayInput{})
	must(err)
	_, err = client.CreateTransitGatewayVpcAttachment(t.Context(), &ec2.CreateTransitGatewayVpcAttachmentInput{
		TransitGatewayId: gateway.TransitGateway.TransitGatewayId, VpcId: eni.VpcId, SubnetIds: []string{*private.Subnets[0].SubnetId, *private.Subnets[1].SubnetId},
	})
	must(err)
	tables, err := client.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*eni.SubnetId}}}})
	must(err)
	lists, err := client.DescribeManagedPrefixLists(t.Context(), &ec2.DescribeManagedPrefixListsInput{})
	must(err)
	_, err = client.CreateRoute(t.Context(), &ec2.CreateRouteInput{
		RouteTableId: tables.RouteTables[0].RouteTableId, TransitGatewayId: gateway.TransitGateway.TransitGatewayId, DestinationPrefixListId: lists.PrefixLists[0].PrefixListId,
	})
	must(err)
}

func through(n *reach.Network, k reach.Kind) []reach.Path {
	return slices.DeleteFunc(n.Paths(), func(p reach.Path) bool { return p.Kind != k })
}

// What may not be read is said, and no path is left out for it.
func TestATransitGatewayIsFoundWithAndWithoutPermission(t *testing.T) {
	a := account(t, "web-tier")
	transit(t, a, read(t, a))
	seen := through(read(t, a), reach.TransitGateway)
	if len(seen) != 1 || len(seen[0].Edges) != 2 || !strings.HasPrefix(seen[0].To, "pl-") {
		t.Fatalf("paths %+v, want one with both private subnets at its far end", seen)
	}
	a.Deny("ec2:DescribeTransitGatewayVpcAttachments", "ec2:GetManagedPrefixListEntries")
	n := read(t, a)
	if blind := through(n, reach.TransitGateway); len(blind) != 1 || !slices.Equal(blind[0].Edges, seen[0].Edges) {
		t.Errorf("paths %+v, want %+v", blind, seen)
	}
	d, err := n.Decide(reach.Wish{})
	if err != nil || len(d.Notes) != 2 {
		t.Errorf("notes %q, error %v: want one of the attachments and one of the prefix list", d.Notes, err)
	}
	a.Deny("ec2:DescribeRouteTables")
	if _, err := readErr(t, a); err == nil || !strings.Contains(err.Error(), "route tables") {
		t.Errorf("without the route tables: %v", err)
	}
}

// The scenario has a connection of the intruder's on every sort of path: each path is found,
// and auto cuts each but the one to the neighbour in the same subnet.
func TestEveryReverseShellHasAPathAndAutoCutsAllButOne(t *testing.T) {
	a := account(t, "reverse-shells")
	d, err := read(t, a).Decide(reach.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	flows, err := a.Flows()
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, f := range flows {
		if f.Of != "suspect" {
			continue
		}
		i := slices.IndexFunc(d.Choices, func(c reach.Choice) bool { return carries(c.Path, f) })
		if i < 0 {
			t.Errorf("%s: no path %s through %s of %s", f.Name, f.Path, f.Via, f.Interface)
			continue
		}
		if !d.Choices[i].Cut {
			open = append(open, f.Name)
		}
	}
	if !slices.Equal(open, []string{"pivot-same-subnet"}) {
		t.Errorf("open: %v, want the neighbour in the same subnet only", open)
	}
	if len(d.Irreversible) != 1 {
		t.Errorf("irreversible: %v, want the automatic address", d.Irreversible)
	}
}

// carries reports whether a connection of the account is on the path.
func carries(p reach.Path, f rehearsal.FlowOverview) bool {
	local, err := netip.ParseAddrPort(f.Local)
	if err != nil || p.Interface != f.Interface || !slices.Contains(p.Local, local.Addr()) {
		return false
	}
	switch reach.Kind(f.Path) {
	case reach.SameSubnet:
		return p.Kind == reach.SameSubnet
	case reach.OtherSubnet, "load-balancer":
		return p.Kind == reach.OtherSubnet && slices.ContainsFunc(p.Edges, func(e reach.Edge) bool { return e.Subnet == f.Via })
	}
	return p.Kind == reach.Kind(f.Path) && p.Via == f.Via
}
