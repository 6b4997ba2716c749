package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// vpcEndpoint is a way to an AWS service that needs no Internet: through the
// route tables (Gateway), or through interfaces in the subnets (Interface).
type vpcEndpoint struct {
	ID          string                `json:"id"`
	VPC         string                `json:"vpc"`
	Service     string                `json:"service,omitempty"`
	Other       string                `json:"other,omitempty"` // ARN of what VPC Lattice shares, where that is its other end
	Type        types.VpcEndpointType `json:"type"`
	RouteTables []string              `json:"route_tables,omitempty"`
	Subnets     []string              `json:"subnets,omitempty"`
	Groups      []string              `json:"groups,omitempty"`
	Interfaces  []string              `json:"interfaces,omitempty"`
	PrivateDNS  bool                  `json:"private_dns,omitempty"`
	Policy      string                `json:"policy"`
	Created     time.Time             `json:"created"`
}

// openPolicy is an endpoint's policy where none is given: everything passes.
const openPolicy = `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`

func (ops operations) ec2Endpoints() {
	ec2On(ops, ec2CreateVpcEndpoint)
	ec2On(ops, ec2DescribeVpcEndpoints)
	ec2On(ops, ec2ModifyVpcEndpoint)
	ec2On(ops, ec2DeleteVpcEndpoints)
}

// ec2CreateVpcEndpoint: API_CreateVpcEndpoint.
func ec2CreateVpcEndpoint(c *call, in *ec2.CreateVpcEndpointInput) (*ec2.CreateVpcEndpointOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateVpcEndpoint", in.ClientToken, in, func() (string, error) {
		e, err := c.planEndpoint(in)
		if err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeVpcEndpoint, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		e.ID, e.Created = c.id("vpce"), c.Now
		for _, sub := range e.Subnets {
			n := c.makeServiceInterface(sub, e.Groups, types.NetworkInterfaceTypeVpcEndpoint, "VPC Endpoint Interface "+e.ID)
			e.Interfaces = append(e.Interfaces, n.ID)
		}
		for _, id := range e.RouteTables {
			t := s.RouteTables[id]
			t.Routes = append(t.Routes, route{To: prefixList(e.Service), Target: e.ID})
		}
		s.Endpoints[e.ID] = e
		c.tag(e.ID, tags)
		return e.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showEndpoint(s.Endpoints[made])
	return &ec2.CreateVpcEndpointOutput{VpcEndpoint: &shown, ClientToken: in.ClientToken}, nil
}

// prefixList stands for the addresses of a service that has a gateway endpoint.
func prefixList(service string) string {
	if strings.HasSuffix(service, ".dynamodb") {
		return "pl-66a5400f"
	}
	return "pl-6ea54007"
}

func (c *call) planEndpoint(in *ec2.CreateVpcEndpointInput) (*vpcEndpoint, error) {
	s := c.ec2()
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	e := &vpcEndpoint{
		VPC: v.ID, Service: aws.ToString(in.ServiceName), Type: in.VpcEndpointType, RouteTables: in.RouteTableIds, Subnets: in.SubnetIds,
		PrivateDNS: aws.ToBool(in.PrivateDnsEnabled), Policy: valueOr(in.PolicyDocument, openPolicy),
	}
	switch e.Type { // API_CreateVpcEndpoint: each type has its own other end
	case types.VpcEndpointTypeResource:
		e.Other, e.Policy = aws.ToString(in.ResourceConfigurationArn), ""
	case types.VpcEndpointTypeServiceNetwork:
		e.Other, e.Policy = aws.ToString(in.ServiceNetworkArn), ""
	}
	name, kinds := c.endpointService(e.Service)
	if kinds == nil && e.Other == "" {
		return nil, noService(e.Service)
	}
	for _, id := range e.RouteTables {
		if _, err := get(kindRouteTable, s.RouteTables, &id); err != nil {
			return nil, err
		}
	}
	for _, id := range e.Subnets {
		sub, err := get(kindSubnet, s.Subnets, &id)
		if err != nil {
			return nil, err
		}
		if e.Other == "" && !slices.Contains(c.offered(name), sub.AZ) {
			return nil, apiError("InvalidParameter", fmt.Sprintf("The VPC endpoint service %s does not support the availability zone of the subnet: %s.", e.Service, id))
		}
	}
	switch e.Type {
	case "", types.VpcEndpointTypeGateway:
		e.Type = types.VpcEndpointTypeGateway
		if !slices.Contains(kinds, types.ServiceTypeGateway) {
			return nil, apiError("InvalidParameter", fmt.Sprintf("Endpoint type (Gateway) does not match available service types ([Interface]) of %s.", e.Service))
		}
	default:
		if e.PrivateDNS && !(v.DNSSupport && v.DNSHostnames) {
			return nil, apiError("InvalidParameter", "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for "+v.ID)
		}
		if e.Groups, err = c.groupsFor(v.ID, in.SecurityGroupIds); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// showEndpoint: API_VpcEndpoint.
func (c *call) showEndpoint(e *vpcEndpoint) types.VpcEndpoint {
	out := types.VpcEndpoint{
		VpcEndpointId: &e.ID, VpcId: &e.VPC, ServiceName: &e.Service, VpcEndpointType: e.Type, State: types.StateAvailable, RouteTableIds: e.RouteTables,
		SubnetIds: e.Subnets, NetworkInterfaceIds: e.Interfaces, PrivateDnsEnabled: &e.PrivateDNS, PolicyDocument: &e.Policy,
		CreationTimestamp: &e.Created, OwnerId: &c.Account, RequesterManaged: aws.Bool(false), Tags: c.tagList(e.ID),
	}
	switch e.Type {
	case types.VpcEndpointTypeResource:
		out.ServiceName, out.ResourceConfigurationArn = nil, &e.Other
	case types.VpcEndpointTypeServiceNetwork:
		out.ServiceName, out.ServiceNetworkArn = nil, &e.Other
	}
	for _, g := range c.groupNames(e.Groups) {
		out.Groups = append(out.Groups, types.SecurityGroupIdentifier{GroupId: g.GroupId, GroupName: g.GroupName})
	}
	return out
}

// ec2DescribeVpcEndpoints: API_DescribeVpcEndpoints.
func ec2DescribeVpcEndpoints(c *call, in *ec2.DescribeVpcEndpointsInput) (*ec2.DescribeVpcEndpointsOutput, error) {
	q := listing{query{in.VpcEndpointIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindEndpoint, c.ec2().Endpoints, q, func(e *vpcEndpoint, name string) ([]string, bool) {
		switch name {
		case "vpc-endpoint-id":
			return one(e.ID), true
		case "vpc-id":
			return one(e.VPC), true
		case "service-name":
			return one(e.Service), true
		case "vpc-endpoint-type":
			return one(string(e.Type)), true
		case "vpc-endpoint-state":
			return []string{string(types.StateAvailable)}, true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeVpcEndpointsOutput{VpcEndpoints: each(found, c.showEndpoint), NextToken: next}, nil
}

// ec2ModifyVpcEndpoint: API_ModifyVpcEndpoint, of which the simulated account knows
// the policy only. A reset puts back the one that lets everything pass.
func ec2ModifyVpcEndpoint(c *call, in *ec2.ModifyVpcEndpointInput) (*ec2.ModifyVpcEndpointOutput, error) {
	e, err := get(kindEndpoint, c.ec2().Endpoints, in.VpcEndpointId)
	if err != nil {
		return nil, err
	}
	switch {
	case aws.ToBool(in.ResetPolicy):
		e.Policy = openPolicy
	case in.PolicyDocument != nil:
		e.Policy = *in.PolicyDocument
	default:
		return nil, apiError("UnsupportedOperation", "The simulated account can change an endpoint's policy only.")
	}
	return &ec2.ModifyVpcEndpointOutput{Return: aws.Bool(true)}, nil
}

// ec2DeleteVpcEndpoints: API_DeleteVpcEndpoints. What can't be deleted is
// listed in the answer; the request itself succeeds.
func ec2DeleteVpcEndpoints(c *call, in *ec2.DeleteVpcEndpointsInput) (*ec2.DeleteVpcEndpointsOutput, error) {
	s, out := c.ec2(), &ec2.DeleteVpcEndpointsOutput{}
	for _, id := range in.VpcEndpointIds {
		e := s.Endpoints[id]
		if e == nil {
			out.Unsuccessful = append(out.Unsuccessful, types.UnsuccessfulItem{
				ResourceId: aws.String(id), Error: &types.UnsuccessfulItemError{Code: aws.String(kindEndpoint.notFound), Message: aws.String(kindEndpoint.missing(id).Error())},
			})
			continue
		}
		for _, n := range e.Interfaces {
			s.dropInterface(s.Interfaces[n])
		}
		for _, t := range s.RouteTables {
			kept := t.Routes[:0]
			for _, r := range t.Routes {
				if r.Target != e.ID {
					kept = append(kept, r)
				}
			}
			t.Routes = kept
		}
		deleteWhere(s, s.Endpoints, func(o *vpcEndpoint) bool { return o == e })
	}
	return out, nil
}
