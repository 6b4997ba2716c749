package reach_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/isolate/reach"
)

func read(t *testing.T, scenario string) *reach.Network {
	t.Helper()
	a, err := rehearsal.Create("", scenario, 1)
	if err != nil {
		t.Fatal(err)
	}
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
	n, err := reach.Read(t.Context(), client, inst.Reservations[0].Instances[0], nics.NetworkInterfaces)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The suspect of web-tier has an interface in a public subnet and one in a private
// subnet, and all four subnets share the default ACL.
func TestThePathsOfTheWebTierAreFoundAndCut(t *testing.T) {
	n := read(t, "web-tier")
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
