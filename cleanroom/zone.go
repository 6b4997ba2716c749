package cleanroom

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/cleanroom/proof"
	"github.com/cordon-ir/cordon/internal/incident"
)

// supply is something that a room needs, and the Availability Zones that have it.
type supply struct {
	what  string // after "has no"
	zones []string
}

// zone says in which Availability Zone the room is made, and why in that one. All of it lies in one, since a
// volume attaches only in its own; but neither is every type of instance offered in each, nor can every service
// have endpoints in each (API_DescribeInstanceTypeOfferings, API_ServiceDetail). Left to EC2, a
// stack may fail for it when most of it is made.
func (p *planner) zone(ctx context.Context, params map[string]string) (zone, why string, err error) {
	needs, err := p.endpointZones(ctx, params)
	if err != nil {
		return "", "", err
	}
	zones, err := p.typeZones(ctx)
	if err != nil {
		return "", "", err
	}
	needs = append([]supply{{"instances of type " + p.in.InstanceType, zones}}, needs...)
	return chooseZone(p.req.Target.Region, p.in.Zone, needs)
}

// typeZones are those that offer the type of instance.
func (p *planner) typeZones(ctx context.Context) (zones []string, err error) {
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(p.ec2, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone,
		Filters:      []types.Filter{{Name: aws.String("instance-type"), Values: []string{p.in.InstanceType}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("zones that offer %s: %w", p.in.InstanceType, err)
		}
		for _, o := range page.InstanceTypeOfferings {
			zones = append(zones, aws.ToString(o.Location))
		}
	}
	return zones, nil
}

// endpointZones are, for each service that the room has an interface endpoint of, those that can have one.
func (p *planner) endpointZones(ctx context.Context, params map[string]string) ([]supply, error) {
	region := p.req.Target.Region
	var needs []supply
	in := &ec2.DescribeVpcEndpointServicesInput{Filters: []types.Filter{{Name: aws.String("service-type"), Values: []string{string(types.ServiceTypeInterface)}}}}
	for _, e := range declared(proof.Launch{Region: region, Parameters: params}).Endpoints {
		if e.Service == "s3" {
			continue // a gateway endpoint lies in no zone
		}
		needs = append(needs, supply{what: "endpoints of " + e.Service})
		in.ServiceNames = append(in.ServiceNames, serviceName(region, e.Service))
	}
	for {
		page, err := p.ec2.DescribeVpcEndpointServices(ctx, in)
		if errorCode(err) == "InvalidServiceName" { // which is what AWS calls one that the Region has no endpoints of
			return nil, &incident.RefusedError{Reason: fmt.Sprintf("the room needs endpoints that %s does not have: %v", region, err)}
		}
		if err != nil {
			return nil, fmt.Errorf("zones of the endpoints: %w", err)
		}
		for _, d := range page.ServiceDetails {
			if i := slices.Index(in.ServiceNames, aws.ToString(d.ServiceName)); i >= 0 {
				needs[i].zones = append(needs[i].zones, d.AvailabilityZones...)
			}
		}
		if in.NextToken = page.NextToken; aws.ToString(in.NextToken) == "" {
			return needs, nil
		}
	}
}

// chooseZone is the zone that was asked for, or else the first that has everything, and why it. A refusal names
// what is missing where, and the zones that would do.
func chooseZone(region, asked string, needs []supply) (zone, why string, err error) {
	var all, zones []string
	for _, n := range needs {
		if len(n.zones) == 0 {
			return "", "", &incident.RefusedError{Reason: fmt.Sprintf("no Availability Zone of %s has %s", region, n.what)}
		}
		all, zones = append(all, n.what), append(zones, n.zones...)
	}
	slices.Sort(zones)
	var fit, unfit []string
	for _, z := range slices.Compact(zones) {
		if missing := lacks(z, needs); missing != "" {
			unfit = append(unfit, z+" has no "+missing)
		} else {
			fit = append(fit, z)
		}
	}
	// A Local Zone (us-west-2-lax-1a) may lack more than is looked at here: it must be asked for.
	ordinary := slices.DeleteFunc(slices.Clone(fit), func(z string) bool { return len(z) != len(region)+1 })
	switch {
	case len(ordinary) == 0 && !slices.Contains(fit, asked):
		return "", "", &incident.RefusedError{Reason: fmt.Sprintf("no Availability Zone of %s has all that the room needs: %s", region, strings.Join(unfit, "; "))}
	case asked == "":
		zone, why = ordinary[0], "the first that has "+strings.Join(all, ", ")
	case slices.Contains(fit, asked):
		zone, why = asked, "as asked for; it has "+strings.Join(all, ", ")
	default:
		return "", "", &incident.RefusedError{Reason: fmt.Sprintf("input zone: %s has no %s; what the room needs is in %s", asked, lacks(asked, needs), strings.Join(ordinary, ", "))}
	}
	return zone, strings.Join(append([]string{"Availability Zone " + zone + ", " + why}, unfit...), "; "), nil
}

// lacks says what of it a zone does not have; empty: it has everything.
func lacks(zone string, needs []supply) string {
	var missing []string
	for _, n := range needs {
		if !slices.Contains(n.zones, zone) {
			missing = append(missing, n.what)
		}
	}
	return strings.Join(missing, ", no ")
}
