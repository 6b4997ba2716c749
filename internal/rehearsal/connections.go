package rehearsal

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53profiles"
	profiletypes "github.com/aws/aws-sdk-go-v2/service/route53profiles/types"
	"github.com/aws/aws-sdk-go-v2/service/vpclattice"
	latticetypes "github.com/aws/aws-sdk-go-v2/service/vpclattice/types"
)

// connections are what joins a VPC to something else besides gateways that routes lead to. What is at
// their other end is taken to be there, shared by another account.
type connections struct {
	Carriers  map[string]*types.CarrierGateway                             `json:"carriers,omitempty"`
	Outposts  map[string]*types.LocalGatewayRouteTableVpcAssociation       `json:"outposts,omitempty"`
	Connect   map[string]*types.Ec2InstanceConnectEndpoint                 `json:"connect,omitempty"`
	Lattice   map[string]*latticetypes.ServiceNetworkVpcAssociationSummary `json:"lattice,omitempty"`
	NameRules map[string]*profiletypes.ProfileAssociation                  `json:"name_rules,omitempty"`
}

func (ops operations) connections() {
	ec2On(ops, ec2CreateCarrierGateway)
	ec2On(ops, ec2DescribeCarrierGateways)
	ec2On(ops, ec2CreateLocalGatewayRouteTableVpcAssociation)
	ec2On(ops, ec2DescribeLocalGatewayRouteTableVpcAssociations)
	ec2On(ops, ec2CreateInstanceConnectEndpoint)
	ec2On(ops, ec2DescribeInstanceConnectEndpoints)
	on(ops, latticeCreateVpcAssociation)
	on(ops, latticeListVpcAssociations)
	on(ops, profilesAssociate)
	on(ops, profilesListAssociations)
}

// connections of the Region that the call can see.
func (c *call) connected() *connections {
	if c.region != c.Region {
		return &connections{}
	}
	return &c.Connections
}

// ec2CreateCarrierGateway: API_CreateCarrierGateway.
func ec2CreateCarrierGateway(c *call, in *ec2.CreateCarrierGatewayInput) (*ec2.CreateCarrierGatewayOutput, error) {
	v, err := get(kindVPC, c.ec2().VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	g := &types.CarrierGateway{CarrierGatewayId: aws.String(c.id("cagw")), VpcId: &v.ID, OwnerId: &c.Account, State: types.CarrierGatewayStateAvailable}
	put(&c.Connections.Carriers, *g.CarrierGatewayId, g)
	return &ec2.CreateCarrierGatewayOutput{CarrierGateway: g}, nil
}

// ec2DescribeCarrierGateways: API_DescribeCarrierGateways.
func ec2DescribeCarrierGateways(c *call, in *ec2.DescribeCarrierGatewaysInput) (*ec2.DescribeCarrierGatewaysOutput, error) {
	q := listing{query{in.CarrierGatewayIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindCarrier, c.connected().Carriers, q, func(g *types.CarrierGateway, name string) ([]string, bool) {
		switch name {
		case "carrier-gateway-id":
			return one(aws.ToString(g.CarrierGatewayId)), true
		case "vpc-id":
			return one(aws.ToString(g.VpcId)), true
		case "state":
			return one(string(g.State)), true
		case "owner-id":
			return one(aws.ToString(g.OwnerId)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeCarrierGatewaysOutput{CarrierGateways: each(found, valueOf), NextToken: next}, nil
}

// ec2CreateLocalGatewayRouteTableVpcAssociation: API_CreateLocalGatewayRouteTableVpcAssociation.
func ec2CreateLocalGatewayRouteTableVpcAssociation(c *call, in *ec2.CreateLocalGatewayRouteTableVpcAssociationInput) (*ec2.CreateLocalGatewayRouteTableVpcAssociationOutput, error) {
	v, err := get(kindVPC, c.ec2().VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	a := &types.LocalGatewayRouteTableVpcAssociation{
		LocalGatewayRouteTableVpcAssociationId: aws.String(c.id("lgw-vpc-assoc")), LocalGatewayRouteTableId: in.LocalGatewayRouteTableId, VpcId: &v.ID,
		OwnerId: &c.Account, State: aws.String("associated"),
	}
	put(&c.Connections.Outposts, *a.LocalGatewayRouteTableVpcAssociationId, a)
	return &ec2.CreateLocalGatewayRouteTableVpcAssociationOutput{LocalGatewayRouteTableVpcAssociation: a}, nil
}

// ec2DescribeLocalGatewayRouteTableVpcAssociations: API_DescribeLocalGatewayRouteTableVpcAssociations.
func ec2DescribeLocalGatewayRouteTableVpcAssociations(c *call, in *ec2.DescribeLocalGatewayRouteTableVpcAssociationsInput) (*ec2.DescribeLocalGatewayRouteTableVpcAssociationsOutput, error) {
	q := listing{query{in.LocalGatewayRouteTableVpcAssociationIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindOutpost, c.connected().Outposts, q, func(a *types.LocalGatewayRouteTableVpcAssociation, name string) ([]string, bool) {
		switch name {
		case "local-gateway-route-table-id":
			return one(aws.ToString(a.LocalGatewayRouteTableId)), true
		case "vpc-id":
			return one(aws.ToString(a.VpcId)), true
		case "state":
			return one(aws.ToString(a.State)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeLocalGatewayRouteTableVpcAssociationsOutput{LocalGatewayRouteTableVpcAssociations: each(found, valueOf), NextToken: next}, nil
}

// ec2CreateInstanceConnectEndpoint: API_CreateInstanceConnectEndpoint. It has an interface in its subnet
// ("Create an EC2 Instance Connect Endpoint").
func ec2CreateInstanceConnectEndpoint(c *call, in *ec2.CreateInstanceConnectEndpointInput) (*ec2.CreateInstanceConnectEndpointOutput, error) {
	sub, err := get(kindSubnet, c.ec2().Subnets, in.SubnetId)
	if err != nil {
		return nil, err
	}
	groups, err := c.groupsFor(sub.VPC, in.SecurityGroupIds)
	if err != nil {
		return nil, err
	}
	id := c.id("eice")
	n := c.makeServiceInterface(sub.ID, groups, "ec2_instance_connect_endpoint", "EC2 Instance Connect Endpoint "+id)
	e := &types.Ec2InstanceConnectEndpoint{
		InstanceConnectEndpointId: &id, SubnetId: &sub.ID, VpcId: &sub.VPC, OwnerId: &c.Account, SecurityGroupIds: groups, NetworkInterfaceIds: []string{n.ID},
		State: types.Ec2InstanceConnectEndpointStateCreateComplete, CreatedAt: aws.Time(c.Now), PreserveClientIp: aws.Bool(aws.ToBool(in.PreserveClientIp)),
	}
	put(&c.Connections.Connect, id, e)
	return &ec2.CreateInstanceConnectEndpointOutput{InstanceConnectEndpoint: e, ClientToken: in.ClientToken}, nil
}

// ec2DescribeInstanceConnectEndpoints: API_DescribeInstanceConnectEndpoints.
func ec2DescribeInstanceConnectEndpoints(c *call, in *ec2.DescribeInstanceConnectEndpointsInput) (*ec2.DescribeInstanceConnectEndpointsOutput, error) {
	q := listing{query{in.InstanceConnectEndpointIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindConnect, c.connected().Connect, q, func(e *types.Ec2InstanceConnectEndpoint, name string) ([]string, bool) {
		switch name {
		case "instance-connect-endpoint-id":
			return one(aws.ToString(e.InstanceConnectEndpointId)), true
		case "vpc-id":
			return one(aws.ToString(e.VpcId)), true
		case "subnet-id":
			return one(aws.ToString(e.SubnetId)), true
		case "state":
			return one(string(e.State)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstanceConnectEndpointsOutput{InstanceConnectEndpoints: each(found, valueOf), NextToken: next}, nil
}

func valueOf[T any](v *T) T { return *v }

// latticeCreateVpcAssociation joins a VPC to a service network.
// https://docs.aws.amazon.com/vpc-lattice/latest/APIReference/API_CreateServiceNetworkVpcAssociation.html
func latticeCreateVpcAssociation(c *call, in *vpclattice.CreateServiceNetworkVpcAssociationInput) (*vpclattice.CreateServiceNetworkVpcAssociationOutput, error) {
	v := c.ec2().VPCs[aws.ToString(in.VpcIdentifier)]
	if v == nil {
		return nil, &latticetypes.ResourceNotFoundException{Message: aws.String("VPC " + aws.ToString(in.VpcIdentifier) + " not found"), ResourceId: in.VpcIdentifier, ResourceType: aws.String("VPC")}
	}
	id := c.id("snva")
	a := &latticetypes.ServiceNetworkVpcAssociationSummary{
		Id: &id, Arn: aws.String(fmt.Sprintf("arn:aws:vpc-lattice:%s:%s:servicenetworkvpcassociation/%s", c.region, c.Account, id)), CreatedAt: aws.Time(c.Now), CreatedBy: &c.Account,
		ServiceNetworkId: in.ServiceNetworkIdentifier, Status: latticetypes.ServiceNetworkVpcAssociationStatusActive, VpcId: &v.ID,
	}
	put(&c.Connections.Lattice, id, a)
	return &vpclattice.CreateServiceNetworkVpcAssociationOutput{Id: a.Id, Arn: a.Arn, CreatedBy: a.CreatedBy, Status: a.Status}, nil
}

// latticeListVpcAssociations wants the VPC or the service network.
// https://docs.aws.amazon.com/vpc-lattice/latest/APIReference/API_ListServiceNetworkVpcAssociations.html
func latticeListVpcAssociations(c *call, in *vpclattice.ListServiceNetworkVpcAssociationsInput) (*vpclattice.ListServiceNetworkVpcAssociationsOutput, error) {
	vpc, network := aws.ToString(in.VpcIdentifier), aws.ToString(in.ServiceNetworkIdentifier)
	if vpc == "" && network == "" {
		return nil, &latticetypes.ValidationException{Message: aws.String("Either VpcIdentifier or ServiceNetworkIdentifier must be provided")}
	}
	out := &vpclattice.ListServiceNetworkVpcAssociationsOutput{Items: []latticetypes.ServiceNetworkVpcAssociationSummary{}}
	for _, a := range inOrder(c.connected().Lattice) {
		if (vpc == "" || *a.VpcId == vpc) && (network == "" || aws.ToString(a.ServiceNetworkId) == network) {
			out.Items = append(out.Items, *a)
		}
	}
	return out, nil
}

// profilesAssociate: a VPC has one Route 53 Profile at most.
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_route53profiles_AssociateProfile.html
func profilesAssociate(c *call, in *route53profiles.AssociateProfileInput) (*route53profiles.AssociateProfileOutput, error) {
	v := c.ec2().VPCs[aws.ToString(in.ResourceId)]
	if v == nil {
		return nil, &profiletypes.ResourceNotFoundException{Message: aws.String("VPC " + aws.ToString(in.ResourceId) + " does not exist"), ResourceType: aws.String("VPC")}
	}
	for _, a := range c.Connections.NameRules {
		if *a.ResourceId == v.ID {
			return nil, &profiletypes.ResourceExistsException{Message: aws.String("VPC " + v.ID + " has a Profile already"), ResourceType: aws.String("ProfileAssociation")}
		}
	}
	a := &profiletypes.ProfileAssociation{
		Id: aws.String(c.id("rpassoc")), Name: in.Name, ProfileId: in.ProfileId, ResourceId: &v.ID, OwnerId: &c.Account, Status: profiletypes.ProfileStatusComplete,
		CreationTime: aws.Time(c.Now), ModificationTime: aws.Time(c.Now),
	}
	put(&c.Connections.NameRules, *a.Id, a)
	return &route53profiles.AssociateProfileOutput{ProfileAssociation: a}, nil
}

// profilesListAssociations: https://docs.aws.amazon.com/Route53/latest/APIReference/API_route53profiles_ListProfileAssociations.html
func profilesListAssociations(c *call, in *route53profiles.ListProfileAssociationsInput) (*route53profiles.ListProfileAssociationsOutput, error) {
	out := &route53profiles.ListProfileAssociationsOutput{}
	for _, a := range inOrder(c.connected().NameRules) {
		if (in.ResourceId == nil || *a.ResourceId == *in.ResourceId) && (in.ProfileId == nil || aws.ToString(a.ProfileId) == *in.ProfileId) {
			out.ProfileAssociations = append(out.ProfileAssociations, *a)
		}
	}
	return out, nil
}
