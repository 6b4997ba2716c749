package rehearsal

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func offersAccount(t *testing.T) (*Account, *ec2.Client) {
	t.Helper()
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	return a, ec2.NewFromConfig(a.Config("eu-central-1"))
}

func TestATypeIsOfferedWhereTheAccountSays(t *testing.T) {
	a, client := offersAccount(t)
	if err := errors.Join(a.Offer("t3.large", "eu-central-1b"), a.Offer("m5.large")); err != nil {
		t.Fatal(err)
	}
	three := filterBy("instance-type", "t3.large", "m5.large", "t3.nano")
	for name, test := range map[string]struct {
		by      types.LocationType
		filters []types.Filter
		want    map[string][]string // locations by type
	}{
		"by zone":            {types.LocationTypeAvailabilityZone, three, map[string][]string{"t3.large": {"eu-central-1b"}, "t3.nano": {"eu-central-1a", "eu-central-1b", "eu-central-1c"}}},
		"by zone's ID":       {types.LocationTypeAvailabilityZoneId, append(slices.Clip(three), filterBy("location", "sim1-az2")...), map[string][]string{"t3.large": {"sim1-az2"}, "t3.nano": {"sim1-az2"}}},
		"in one zone":        {types.LocationTypeAvailabilityZone, append(slices.Clip(three), filterBy("location", "eu-central-1a")...), map[string][]string{"t3.nano": {"eu-central-1a"}}},
		"by Region":          {"", three, map[string][]string{"t3.large": {"eu-central-1"}, "t3.nano": {"eu-central-1"}}},
		"that is none":       {types.LocationTypeAvailabilityZone, filterBy("instance-type", "z9.huge"), nil},
		"in another's zones": {types.LocationTypeAvailabilityZone, append(slices.Clip(three), filterBy("location", "us-east-1a")...), nil},
	} {
		out, err := client.DescribeInstanceTypeOfferings(t.Context(), &ec2.DescribeInstanceTypeOfferingsInput{LocationType: test.by, Filters: test.filters})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string][]string)
		for _, o := range out.InstanceTypeOfferings {
			got[string(o.InstanceType)] = append(got[string(o.InstanceType)], *o.Location)
		}
		if !maps.EqualFunc(got, test.want, slices.Equal) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if _, err := client.DescribeInstanceTypeOfferings(t.Context(), &ec2.DescribeInstanceTypeOfferingsInput{Filters: filterBy("zone", "x")}); err == nil {
		t.Error("a filter that EC2 does not have is taken")
	}
	if a.Offer("z9.huge") == nil || a.Offer("t3.large", "us-east-1a") == nil {
		t.Error("what is not there is offered")
	}
}

func TestOfferingsComeInPages(t *testing.T) {
	_, client := offersAccount(t)
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(client, &ec2.DescribeInstanceTypeOfferingsInput{LocationType: types.LocationTypeAvailabilityZone, MaxResults: aws.Int32(10)})
	all, number := make(map[string]bool), 0
	for ; pages.HasMorePages(); number++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.InstanceTypeOfferings {
			all[string(o.InstanceType)+*o.Location] = true
		}
	}
	if len(all) != 3*len(instanceTypes) || number != (len(all)+9)/10 {
		t.Errorf("%d offers on %d pages", len(all), number)
	}
}

func TestAServiceHasEndpointsWhereTheAccountSays(t *testing.T) {
	a, client := offersAccount(t)
	if err := a.Offer("ebs", "eu-central-1a"); err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeVpcEndpointServices(t.Context(), &ec2.DescribeVpcEndpointServicesInput{
		ServiceNames: []string{"com.amazonaws.eu-central-1.ebs", "com.amazonaws.eu-central-1.s3"}, Filters: filterBy("service-type", "Interface"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]string)
	for _, d := range out.ServiceDetails {
		got[*d.ServiceName] = d.AvailabilityZones
	}
	if want := map[string][]string{"com.amazonaws.eu-central-1.ebs": {"eu-central-1a"}, "com.amazonaws.eu-central-1.s3": {"eu-central-1a", "eu-central-1b", "eu-central-1c"}}; !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
	gateways, err := client.DescribeVpcEndpointServices(t.Context(), &ec2.DescribeVpcEndpointServicesInput{Filters: filterBy("service-type", "Gateway")})
	if want := []string{"com.amazonaws.eu-central-1.dynamodb", "com.amazonaws.eu-central-1.s3"}; err != nil || !slices.Equal(gateways.ServiceNames, want) {
		t.Errorf("gateways %v, %v, want %v", gateways, err, want)
	}
	for _, name := range []string{"com.amazonaws.eu-central-1.nothing", "com.amazonaws.us-east-1.ebs", "ebs"} {
		_, err := client.DescribeVpcEndpointServices(t.Context(), &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{name}})
		refused(t, "InvalidServiceName", err)
	}
}

func TestNothingIsMadeInAZoneThatDoesNotHaveIt(t *testing.T) {
	a, client := offersAccount(t)
	subnets, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: filterBy("availability-zone", "eu-central-1a")})
	if err != nil || len(subnets.Subnets) == 0 {
		t.Fatal(err)
	}
	images, err := client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Filters: filterBy("architecture", "x86_64")})
	if err != nil || len(images.Images) == 0 {
		t.Fatal(err)
	}
	sub := subnets.Subnets[0]
	launch := func() error {
		_, err := client.RunInstances(t.Context(), &ec2.RunInstancesInput{
			ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeT3Large, SubnetId: sub.SubnetId, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		return err
	}
	endpoint := func() error {
		_, err := client.CreateVpcEndpoint(t.Context(), &ec2.CreateVpcEndpointInput{
			VpcId: sub.VpcId, SubnetIds: []string{*sub.SubnetId}, ServiceName: aws.String("com.amazonaws.eu-central-1.ebs"), VpcEndpointType: types.VpcEndpointTypeInterface,
		})
		return err
	}
	if err := errors.Join(launch(), endpoint()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Offer("t3.large", "eu-central-1b"), a.Offer("ebs", "eu-central-1b")); err != nil {
		t.Fatal(err)
	}
	refused(t, "Unsupported", launch())
	refused(t, "InvalidParameter", endpoint())
}
