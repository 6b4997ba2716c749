package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// endpointServices are those of AWS that a VPC can have endpoints for, each with
// the kinds of endpoint ("AWS services that integrate with AWS PrivateLink", "Gateway endpoints").
var endpointServices = map[string][]types.ServiceType{
	"dynamodb":    {types.ServiceTypeGateway, types.ServiceTypeInterface},
	"ebs":         {types.ServiceTypeInterface},
	"ec2":         {types.ServiceTypeInterface},
	"ec2messages": {types.ServiceTypeInterface},
	"kms":         {types.ServiceTypeInterface},
	"logs":        {types.ServiceTypeInterface},
	"s3":          {types.ServiceTypeGateway, types.ServiceTypeInterface},
	"ssm":         {types.ServiceTypeInterface},
	"ssmmessages": {types.ServiceTypeInterface},
	"sts":         {types.ServiceTypeInterface},
}

func (ops operations) ec2Offers() {
	ec2On(ops, ec2DescribeInstanceTypeOfferings)
	ec2On(ops, ec2DescribeVpcEndpointServices)
}

// Offer says in which Availability Zones of the account's Region something is to be had: instances of a
// type, or interface endpoints of a service, named as in com.amazonaws.REGION.NAME by its NAME. What
// was never named is to be had in all; without a zone, in none.
func (a *Account) Offer(what string, zones ...string) error {
	var err error
	if werr := a.with(func(w *world) bool {
		_, isType := instanceTypes[what]
		_, isService := endpointServices[what]
		if !isType && !isService {
			err = fmt.Errorf("simulated account: %q is neither an instance type nor a service that it knows", what)
		}
		for _, zone := range zones {
			if !slices.Contains(w.zones(), zone) {
				err = fmt.Errorf("simulated account: %s has no zone %s", w.Region, zone)
			}
		}
		if err == nil {
			put(&w.EC2.Offered, what, slices.Sorted(slices.Values(zones)))
		}
		return err == nil
	}); werr != nil {
		return werr
	}
	return err
}

// offered are the zones in which a type of instance, or a service's interface endpoints, are to be had.
func (c *call) offered(what string) []string {
	if zones, ok := c.ec2().Offered[what]; ok {
		return zones
	}
	return zonesOf(c.region)
}

// ec2DescribeInstanceTypeOfferings: API_DescribeInstanceTypeOfferings.
func ec2DescribeInstanceTypeOfferings(c *call, in *ec2.DescribeInstanceTypeOfferingsInput) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	field := func(o *types.InstanceTypeOffering, name string) ([]string, bool) {
		switch name {
		case "instance-type":
			return one(string(o.InstanceType)), true
		case "location":
			return one(aws.ToString(o.Location)), true
		}
		return nil, false
	}
	if err := checkFilters(in.Filters, field); err != nil {
		return nil, err
	}
	all := make(map[string]types.InstanceTypeOffering)
	for name := range instanceTypes {
		locations, err := c.locations(name, in.LocationType)
		if err != nil {
			return nil, err
		}
		for _, location := range locations {
			o := types.InstanceTypeOffering{InstanceType: types.InstanceType(name), Location: &location, LocationType: in.LocationType}
			if o.LocationType == "" {
				o.LocationType = types.LocationTypeRegion
			}
			if matches(in.Filters, func(name string) []string { v, _ := field(&o, name); return v }) {
				all[name+" "+location] = o
			}
		}
	}
	keys, next, err := page(sortedKeys(all), query{}, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstanceTypeOfferingsOutput{
		InstanceTypeOfferings: append([]types.InstanceTypeOffering{}, each(keys, func(k string) types.InstanceTypeOffering { return all[k] })...), NextToken: next,
	}, nil
}

// locations are where a type of instance is offered, in the words that were asked for.
func (c *call) locations(name string, kind types.LocationType) ([]string, error) {
	zones := c.offered(name)
	switch kind {
	case types.LocationTypeAvailabilityZone:
		return zones, nil
	case types.LocationTypeAvailabilityZoneId:
		return each(zones, zoneID), nil
	case "", types.LocationTypeRegion:
		if len(zones) == 0 {
			return nil, nil
		}
		return []string{c.region}, nil
	}
	return nil, apiError("InvalidParameterValue", fmt.Sprintf("The simulated account offers nothing by %s.", kind))
}

// offers refuses an instance of a type that the zone does not have.
func (c *call) offers(name, zone string) error {
	zones := c.offered(name)
	if slices.Contains(zones, zone) {
		return nil
	}
	message := fmt.Sprintf("Your requested instance type (%s) is not supported in your requested Availability Zone (%s).", name, zone)
	if len(zones) > 0 {
		message += " Please retry your request by not specifying an Availability Zone or choosing " + strings.Join(zones, ", ") + "."
	}
	return apiError("Unsupported", message)
}

// serviceName is what endpoints call a service of AWS in the Region.
func (c *call) serviceName(name string) string { return "com.amazonaws." + c.region + "." + name }

// endpointService finds a service by what endpoints call it. It has no kinds of endpoint where there is none.
func (c *call) endpointService(service string) (name string, kinds []types.ServiceType) {
	name, ok := strings.CutPrefix(service, c.serviceName(""))
	if !ok {
		return "", nil
	}
	return name, endpointServices[name]
}

// noService: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func noService(service string) error {
	return apiError("InvalidServiceName", fmt.Sprintf("The Vpc Endpoint Service '%s' does not exist", service))
}

// ec2DescribeVpcEndpointServices: API_DescribeVpcEndpointServices. Each kind of a
// service's endpoints is a detail of its own.
func ec2DescribeVpcEndpointServices(c *call, in *ec2.DescribeVpcEndpointServicesInput) (*ec2.DescribeVpcEndpointServicesOutput, error) {
	if err := checkFilters(in.Filters, serviceField); err != nil {
		return nil, err
	}
	for _, service := range in.ServiceNames {
		if _, kinds := c.endpointService(service); kinds == nil {
			return nil, noService(service)
		}
	}
	all := make(map[string]types.ServiceDetail)
	for name, kinds := range endpointServices {
		for _, kind := range kinds {
			d := c.serviceDetail(name, kind)
			asked := len(in.ServiceNames) == 0 || slices.Contains(in.ServiceNames, *d.ServiceName)
			if asked && matches(in.Filters, func(name string) []string { v, _ := serviceField(&d, name); return v }) {
				all[name+" "+string(kind)] = d
			}
		}
	}
	keys, next, err := page(sortedKeys(all), query{}, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcEndpointServicesOutput{ServiceDetails: each(keys, func(k string) types.ServiceDetail { return all[k] }), NextToken: next}
	out.ServiceNames = slices.Compact(each(out.ServiceDetails, func(d types.ServiceDetail) string { return *d.ServiceName }))
	return out, nil
}

func serviceField(d *types.ServiceDetail, name string) ([]string, bool) {
	switch name {
	case "owner":
		return one(aws.ToString(d.Owner)), true
	case "service-name":
		return one(aws.ToString(d.ServiceName)), true
	case "service-region":
		return one(aws.ToString(d.ServiceRegion)), true
	case "service-type":
		return each(d.ServiceType, func(t types.ServiceTypeDetail) string { return string(t.ServiceType) }), true
	}
	return nil, false
}

// serviceDetail: API_ServiceDetail. A gateway endpoint lies in no zone, and its service is shown in all.
func (c *call) serviceDetail(name string, kind types.ServiceType) types.ServiceDetail {
	zones := zonesOf(c.region)
	if kind == types.ServiceTypeInterface {
		zones = c.offered(name)
	}
	return types.ServiceDetail{
		ServiceName: aws.String(c.serviceName(name)), ServiceType: []types.ServiceTypeDetail{{ServiceType: kind}},
		Owner: aws.String("amazon"), ServiceRegion: &c.region, AvailabilityZones: zones, AvailabilityZoneIds: each(zones, zoneID),
		VpcEndpointPolicySupported: aws.Bool(true), AcceptanceRequired: aws.Bool(false), ManagesVpcEndpoints: aws.Bool(false),
	}
}
