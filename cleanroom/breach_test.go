package cleanroom_test

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// breach opens a room that is launched.
type breach struct {
	*bench
	vpc string
}

func (b *breach) must(_ any, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *breach) here() []types.Filter {
	return []types.Filter{{Name: aws.String("vpc-id"), Values: []string{b.vpc}}}
}

func (b *breach) internetGateway() *string {
	out, err := b.ec2().CreateInternetGateway(b.t.Context(), &ec2.CreateInternetGatewayInput{})
	b.must(out, err)
	b.must(b.ec2().AttachInternetGateway(b.t.Context(), &ec2.AttachInternetGatewayInput{InternetGatewayId: out.InternetGateway.InternetGatewayId, VpcId: &b.vpc}))
	return out.InternetGateway.InternetGatewayId
}

func (b *breach) route(gateway *string) {
	tables, err := b.ec2().DescribeRouteTables(b.t.Context(), &ec2.DescribeRouteTablesInput{Filters: b.here()})
	b.must(tables, err)
	b.must(b.ec2().CreateRoute(b.t.Context(), &ec2.CreateRouteInput{
		RouteTableId: tables.RouteTables[0].RouteTableId, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: gateway,
	}))
}

func (b *breach) publicAddress() {
	b.internetGateway()
	address, err := b.ec2().AllocateAddress(b.t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	b.must(address, err)
	b.must(b.ec2().AssociateAddress(b.t.Context(), &ec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: aws.String(b.room().Instance)}))
}

func (b *breach) nat() {
	b.internetGateway()
	address, err := b.ec2().AllocateAddress(b.t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	b.must(address, err)
	b.must(b.ec2().CreateNatGateway(b.t.Context(), &ec2.CreateNatGatewayInput{SubnetId: b.subnet(), AllocationId: address.AllocationId}))
}

func (b *breach) subnet() *string {
	out, err := b.ec2().DescribeSubnets(b.t.Context(), &ec2.DescribeSubnetsInput{Filters: b.here()})
	b.must(out, err)
	return out.Subnets[0].SubnetId
}

func (b *breach) egress(p types.IpPermission) {
	p.IpProtocol, p.FromPort, p.ToPort = aws.String("tcp"), aws.Int32(443), aws.Int32(443)
	b.must(b.ec2().AuthorizeSecurityGroupEgress(b.t.Context(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: aws.String(b.group(b.room().Instance)), IpPermissions: []types.IpPermission{p}}))
}

func (b *breach) defaultGroup() string {
	out, err := b.ec2().DescribeSecurityGroups(b.t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: append(b.here(), types.Filter{Name: aws.String("group-name"), Values: []string{"default"}}),
	})
	b.must(out, err)
	return aws.ToString(out.SecurityGroups[0].GroupId)
}

func (b *breach) endpoint(service string) *string {
	out, err := b.ec2().DescribeVpcEndpoints(b.t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: b.here()})
	b.must(out, err)
	for _, e := range out.VpcEndpoints {
		if strings.HasSuffix(aws.ToString(e.ServiceName), "."+service) {
			return e.VpcEndpointId
		}
	}
	b.t.Fatalf("no endpoint to %s", service)
	return nil
}

func (b *breach) peer() {
	other, err := b.ec2().CreateVpc(b.t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.99.0.0/16")})
	b.must(other, err)
	b.must(b.ec2().CreateVpcPeeringConnection(b.t.Context(), &ec2.CreateVpcPeeringConnectionInput{VpcId: other.Vpc.VpcId, PeerVpcId: &b.vpc}))
}

func (b *breach) transit() {
	gateway, err := b.ec2().CreateTransitGateway(b.t.Context(), &ec2.CreateTransitGatewayInput{})
	b.must(gateway, err)
	b.must(b.ec2().CreateTransitGatewayVpcAttachment(b.t.Context(), &ec2.CreateTransitGatewayVpcAttachmentInput{
		TransitGatewayId: gateway.TransitGateway.TransitGatewayId, VpcId: &b.vpc, SubnetIds: []string{*b.subnet()},
	}))
}

func (b *breach) vpn() {
	gateway, err := b.ec2().CreateVpnGateway(b.t.Context(), &ec2.CreateVpnGatewayInput{Type: types.GatewayTypeIpsec1})
	b.must(gateway, err)
	b.must(b.ec2().AttachVpnGateway(b.t.Context(), &ec2.AttachVpnGatewayInput{VpnGatewayId: gateway.VpnGateway.VpnGatewayId, VpcId: &b.vpc}))
}

func (b *breach) secondInterface() {
	own, err := b.ec2().DescribeNetworkInterfaces(b.t.Context(), &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{b.room().Instance}}},
	})
	b.must(own, err)
	second, err := b.ec2().CreateNetworkInterface(b.t.Context(), &ec2.CreateNetworkInterfaceInput{
		SubnetId: own.NetworkInterfaces[0].SubnetId, Groups: []string{b.group(b.room().Instance)},
	})
	b.must(second, err)
	b.must(b.ec2().AttachNetworkInterface(b.t.Context(), &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: second.NetworkInterface.NetworkInterfaceId, InstanceId: aws.String(b.room().Instance), DeviceIndex: aws.Int32(1),
	}))
}

func (b *breach) image() *string {
	out, err := b.ec2().DescribeInstances(b.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{b.room().Instance}})
	b.must(out, err)
	return out.Reservations[0].Instances[0].ImageId
}

func (b *breach) role() *string {
	out, err := b.ec2().DescribeInstances(b.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{b.room().Instance}})
	b.must(out, err)
	arn := aws.ToString(out.Reservations[0].Instances[0].IamInstanceProfile.Arn)
	profile, err := iam.NewFromConfig(b.cfg()).GetInstanceProfile(b.t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(arn[strings.LastIndex(arn, "/")+1:])})
	b.must(profile, err)
	return profile.InstanceProfile.Roles[0].RoleName
}

// acl is one that is on a subnet of the room.
func (b *breach) acl() *string {
	out, err := b.ec2().DescribeNetworkAcls(b.t.Context(), &ec2.DescribeNetworkAclsInput{
		Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*b.subnet()}}},
	})
	b.must(out, err)
	return out.NetworkAcls[0].NetworkAclId
}

func (b *breach) firewall() resolvertypes.FirewallRuleGroupAssociation {
	out, err := route53resolver.NewFromConfig(b.cfg()).ListFirewallRuleGroupAssociations(b.t.Context(), &route53resolver.ListFirewallRuleGroupAssociationsInput{VpcId: &b.vpc})
	b.must(out, err)
	return out.FirewallRuleGroupAssociations[0]
}

func (b *breach) moreNames() {
	client := route53resolver.NewFromConfig(b.cfg())
	rules, err := client.ListFirewallRules(b.t.Context(), &route53resolver.ListFirewallRulesInput{FirewallRuleGroupId: b.firewall().FirewallRuleGroupId})
	b.must(rules, err)
	b.must(client.UpdateFirewallDomains(b.t.Context(), &route53resolver.UpdateFirewallDomainsInput{
		FirewallDomainListId: rules.FirewallRules[0].FirewallDomainListId, Operation: resolvertypes.FirewallDomainUpdateOperationAdd, Domains: []string{"*.example.org"},
	}))
}
