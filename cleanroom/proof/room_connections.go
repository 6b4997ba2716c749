package proof

import (
	"context"
	"errors"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53profiles"
	profiletypes "github.com/aws/aws-sdk-go-v2/service/route53profiles/types"
	"github.com/aws/aws-sdk-go-v2/service/vpclattice"
)

// What has no interface in the network must be asked for, service by service. All else that connects (an attachment to
// a transit gateway or to Cloud WAN, a client VPN, an endpoint of the resolver, of a route server or
// of a Gateway Load Balancer) has one, and one that is no instance's and no endpoint's is a way out by itself.

// carriers: API_DescribeCarrierGateways.
func (r *roomReader) carriers(ctx context.Context) error {
	pages := ec2.NewDescribeCarrierGatewaysPaginator(r.ec2, &ec2.DescribeCarrierGatewaysInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.CarrierGateways {
			if g.State != types.CarrierGatewayStateDeleted {
				r.gateway(g.CarrierGatewayId, "a carrier gateway")
			}
		}
	}
	return nil
}

// outposts: API_DescribeLocalGatewayRouteTableVpcAssociations.
func (r *roomReader) outposts(ctx context.Context) error {
	pages := ec2.NewDescribeLocalGatewayRouteTableVpcAssociationsPaginator(r.ec2, &ec2.DescribeLocalGatewayRouteTableVpcAssociationsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.LocalGatewayRouteTableVpcAssociations {
			if aws.ToString(a.State) != "disassociated" {
				r.gateway(a.LocalGatewayRouteTableVpcAssociationId, "an association with the local gateway of an Outpost")
			}
		}
	}
	return nil
}

// connectEndpoints lead in: API_DescribeInstanceConnectEndpoints. A failed one stays listed and carries nothing.
func (r *roomReader) connectEndpoints(ctx context.Context) error {
	pages := ec2.NewDescribeInstanceConnectEndpointsPaginator(r.ec2, &ec2.DescribeInstanceConnectEndpointsInput{Filters: r.filter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, e := range page.InstanceConnectEndpoints {
			if e.State != types.Ec2InstanceConnectEndpointStateDeleteComplete && e.State != types.Ec2InstanceConnectEndpointStateCreateFailed {
				r.gateway(e.InstanceConnectEndpointId, "an EC2 Instance Connect endpoint, by which somebody comes in")
			}
		}
	}
	return nil
}

// lattice: a VPC that is associated with a service network reaches its services by link-local addresses, without an
// interface or an endpoint of its own (VPC Lattice User Guide, "VPC associations").
func (r *roomReader) lattice(ctx context.Context) error {
	pages := vpclattice.NewListServiceNetworkVpcAssociationsPaginator(vpclattice.NewFromConfig(r.cfg), &vpclattice.ListServiceNetworkVpcAssociationsInput{VpcIdentifier: &r.room.VPC})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unlessAbsent(err)
		}
		for _, a := range page.Items {
			r.gateway(a.Id, "an association with the VPC Lattice service network "+firstOf("that AWS does not name", a.ServiceNetworkName, a.ServiceNetworkId))
		}
	}
	return nil
}

// profiles: a Profile brings resolver rules, private zones and DNS firewall rules that no list of the VPC's own
// shows (Route 53 Developer Guide, "What are Amazon Route 53 Profiles?").
func (r *roomReader) profiles(ctx context.Context) error {
	pages := route53profiles.NewListProfileAssociationsPaginator(route53profiles.NewFromConfig(r.cfg), &route53profiles.ListProfileAssociationsInput{ResourceId: &r.room.VPC})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unlessAbsent(err)
		}
		for _, a := range page.ProfileAssociations {
			if a.Status != profiletypes.ProfileStatusDeleted {
				r.gateway(a.Id, "the Route 53 Profile "+aws.ToString(a.ProfileId)+", which changes what names are answered")
			}
		}
	}
	return nil
}

// unlessAbsent: a service that a Region does not have has no name there, and no associations either. Whoever looks
// reaches AWS by the same resolver for all that is read besides.
func unlessAbsent(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil
	}
	return err
}
