package cleanroom_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const zoneA, zoneB, zoneC = "eu-central-1a", "eu-central-1b", "eu-central-1c"

// offer says where types and services are to be had.
func (b *bench) offer(what string, zones ...string) {
	b.t.Helper()
	if err := b.account.Offer(what, zones...); err != nil {
		b.t.Fatal(err)
	}
}

func TestARoomIsMadeInAZoneThatHasAllOfIt(t *testing.T) {
	for name, test := range map[string]struct {
		offers map[string][]string
		asked  string
		zone   string
		note   string
	}{
		"nothing is missing":             {nil, "", zoneA, "Availability Zone eu-central-1a, the first that has instances of type t3.large, endpoints of ssm"},
		"the type is in one zone only":   {map[string][]string{"t3.large": {zoneC}}, "", zoneC, "eu-central-1a has no instances of type t3.large"},
		"a service is not in every zone": {map[string][]string{"ebs": {zoneB, zoneC}}, "", zoneB, "eu-central-1a has no endpoints of ebs"},
		"neither is":                     {map[string][]string{"t3.large": {zoneA, zoneC}, "logs": {zoneB, zoneC}}, "", zoneC, "eu-central-1b has no instances of type t3.large"},
		"the zone was asked for":         {nil, zoneC, zoneC, "eu-central-1c, as asked for"},
		"of what it does not need":       {map[string][]string{"sts": nil, "kms": nil, "m5.large": nil}, "", zoneA, "the first"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for what, zones := range test.offers {
				b.offer(what, zones...)
			}
			b.inputs = map[string]any{"zone": test.asked}
			if params, notes := b.parameters(b.request(false)); params["Zone"] != test.zone || !strings.Contains(notes, test.note) {
				t.Errorf("zone %q: %s", params["Zone"], notes)
			}
			b.open(false)
			for _, v := range b.copies() {
				if *v.AvailabilityZone != test.zone {
					t.Errorf("%s is in %s", *v.VolumeId, *v.AvailabilityZone)
				}
			}
			subnets, err := b.ec2().DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{b.status().VPC}}}})
			if err != nil || len(subnets.Subnets) != 2 || *subnets.Subnets[0].AvailabilityZone != test.zone || *subnets.Subnets[1].AvailabilityZone != test.zone {
				t.Errorf("subnets %+v, %v", subnets, err)
			}
		})
	}
}

func TestARoomThatNoZoneCanHoldIsRefusedAndNothingIsMade(t *testing.T) {
	for name, test := range map[string]struct {
		offers map[string][]string
		inputs map[string]any
		reason string
	}{
		"the type is not in that zone": {map[string][]string{"t3.large": {zoneB, zoneC}}, map[string]any{"zone": zoneA},
			"input zone: eu-central-1a has no instances of type t3.large; what the room needs is in eu-central-1b, eu-central-1c"},
		"an endpoint is not in that zone": {map[string][]string{"ssmmessages": {zoneB}}, map[string]any{"zone": zoneA},
			"eu-central-1a has no endpoints of ssmmessages; what the room needs is in eu-central-1b"},
		"the zone is another Region's":         {nil, map[string]any{"zone": "us-east-1a"}, "what the room needs is in eu-central-1a, eu-central-1b, eu-central-1c"},
		"the type is in none":                  {map[string][]string{"t3.large": nil}, nil, "no Availability Zone of eu-central-1 has instances of type t3.large"},
		"the type is none, with an own image":  {nil, map[string]any{"instance_type": "z9.huge", "image": "ami-0123456789abcdef0"}, "has instances of type z9.huge"},
		"the type and an endpoint never meet":  {map[string][]string{"t3.large": {zoneA}, "ebs": {zoneB}}, nil, "eu-central-1a has no endpoints of ebs; eu-central-1b has no instances of type t3.large"},
		"the Region's services are not enough": {map[string][]string{"logs": nil}, nil, "no Availability Zone of eu-central-1 has endpoints of logs"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for what, zones := range test.offers {
				b.offer(what, zones...)
			}
			b.inputs = test.inputs
			early := b.request(false)
			delete(early.Inputs, "snapshots") // the run would know them
			for _, req := range []incident.Request{b.request(false), early} {
				_, err := b.action.Plan(t.Context(), req)
				var refused *incident.RefusedError
				if !errors.As(err, &refused) || !strings.Contains(refused.Reason, test.reason) {
					t.Errorf("got %v, want %s", err, test.reason)
				}
			}
			if s := b.stacks(); len(s) != 0 || len(b.entries) != 0 {
				t.Errorf("stacks %q, %d entries", s, len(b.entries))
			}
		})
	}
}

func TestWhereATypeIsOfferedIsNotGuessed(t *testing.T) {
	for _, operation := range []string{"ec2:DescribeInstanceTypeOfferings", "ec2:DescribeVpcEndpointServices"} {
		t.Run(operation, func(t *testing.T) {
			b := newBench(t)
			if err := b.account.Deny(operation); err != nil {
				t.Fatal(err)
			}
			if _, err := b.action.Plan(t.Context(), b.request(false)); err == nil || !strings.Contains(err.Error(), "zones") {
				t.Errorf("planned: %v", err)
			}
			early := b.request(false)
			delete(early.Inputs, "snapshots")
			if p, err := b.action.Plan(t.Context(), early); err != nil || !strings.Contains(strings.Join(p.Notes, "; "), "not everything that the room needs could be read") {
				t.Errorf("before the snapshots are known it keeps the instance from being contained: %v, %q", err, p.Notes)
			}
		})
	}
}
