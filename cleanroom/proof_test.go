package cleanroom_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53profiles"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
	"github.com/aws/aws-sdk-go-v2/service/vpclattice"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/cleanroom/proof"
	"github.com/cordon-ir/cordon/internal/incident"
)

// mutation opens a room by one change, once in its template and once in the account where it
// is launched already, and says what the proof must name. One that only one of the two can express
// has no other.
type mutation struct {
	kind    string // of the way that must be found
	before  func(resources)
	after   func(*breach)
	account string // part of the reason after, where it is another than before
	reason  string // part of the reason
}

// mutations are those of issue 6, and others.
var mutations = map[string]mutation{
	"an Internet gateway route": {kind: "route", reason: "0.0.0.0/0", before: func(r resources) {
		r["X"] = made("AWS::EC2::Route", `{"RouteTableId": {"Ref": "RouteTable"}, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-0123456789abcdef0"}`)
	}, after: func(b *breach) { b.route(b.internetGateway()) }},
	"an Internet gateway": {kind: "gateway", reason: "an Internet gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::InternetGateway", `{}`)
	}, after: func(b *breach) { b.internetGateway() }},
	"a public address": {kind: "address", reason: "public address", before: func(r resources) {
		r.the("AWS::EC2::Instance")["NetworkInterfaces"].([]any)[0].(map[string]any)["AssociatePublicIpAddress"] = true
	}, after: (*breach).publicAddress},
	"a subnet with public addresses": {kind: "address", reason: "gets a public address", before: func(r resources) {
		r.the("AWS::EC2::Subnet")["MapPublicIpOnLaunch"] = true
	}, after: func(b *breach) {
		b.must(b.ec2().ModifySubnetAttribute(b.t.Context(), &ec2.ModifySubnetAttributeInput{SubnetId: b.subnet(), MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}}))
	}},
	"a 0.0.0.0/0 egress rule": {kind: "egress", reason: "tcp 443 to 0.0.0.0/0", before: func(r resources) {
		g := r["RoomGroup"].(map[string]any)["Properties"].(map[string]any)
		g["SecurityGroupEgress"] = append(g["SecurityGroupEgress"].([]any), map[string]any{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"})
	}, after: func(b *breach) {
		b.egress(types.IpPermission{IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}})
	}},
	"a ::/0 egress rule": {kind: "egress", reason: "::/0", before: func(r resources) {
		r["X"] = made("AWS::EC2::SecurityGroupEgress", `{"GroupId": {"Fn::GetAtt": ["RoomGroup", "GroupId"]}, "IpProtocol": "-1", "CidrIpv6": "::/0"}`)
	}, after: func(b *breach) {
		b.egress(types.IpPermission{Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}})
	}},
	"no egress rules, which are all": {kind: "egress", reason: "everything to 0.0.0.0/0", before: func(r resources) {
		delete(r["EndpointGroup"].(map[string]any)["Properties"].(map[string]any), "SecurityGroupEgress")
	}},
	"another prefix list": {kind: "egress", reason: "pl-66a5400f", before: func(r resources) {
		r["X"] = made("AWS::EC2::SecurityGroupEgress", `{"GroupId": {"Fn::GetAtt": ["RoomGroup", "GroupId"]}, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "DestinationPrefixListId": "pl-66a5400f"}`)
	}, after: func(b *breach) {
		b.egress(types.IpPermission{PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-66a5400f")}}})
	}},
	"ingress from everywhere": {kind: "ingress", reason: "0.0.0.0/0", before: func(r resources) {
		r["X"] = made("AWS::EC2::SecurityGroupIngress", `{"GroupId": {"Fn::GetAtt": ["RoomGroup", "GroupId"]}, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().AuthorizeSecurityGroupIngress(b.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(b.group(b.room().Instance)), IpPermissions: []types.IpPermission{
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
		}}))
	}},
	"another group on the instance": {kind: "egress", reason: "0.0.0.0/0", after: func(b *breach) {
		b.must(b.ec2().ModifyInstanceAttribute(b.t.Context(), &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(b.room().Instance), Groups: []string{b.defaultGroup()}}))
	}},
	"no groups on the instance": {kind: "group", reason: "rules are not known", before: func(r resources) {
		delete(r.the("AWS::EC2::Instance")["NetworkInterfaces"].([]any)[0].(map[string]any), "GroupSet")
	}},
	"an endpoint policy with *": {kind: "endpoint", reason: "allows * on *", before: func(r resources) {
		r["S3Endpoint"].(map[string]any)["Properties"].(map[string]any)["PolicyDocument"] = map[string]any{"Statement": []any{map[string]any{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}}
	}, after: func(b *breach) {
		b.must(b.ec2().ModifyVpcEndpoint(b.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: b.endpoint("s3"), ResetPolicy: aws.Bool(true)}))
	}},
	"an endpoint policy with another bucket": {kind: "endpoint", reason: "arn:aws:s3:::drop/*", before: func(r resources) {
		r["S3Endpoint"].(map[string]any)["Properties"].(map[string]any)["PolicyDocument"] = document(toDrop)
	}, after: func(b *breach) {
		b.must(b.ec2().ModifyVpcEndpoint(b.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: b.endpoint("s3"), PolicyDocument: aws.String(toDrop)}))
	}},
	"an endpoint for every account's credentials": {kind: "endpoint", reason: "principals that are not", before: func(r resources) {
		for _, s := range r["SsmMessagesEndpoint"].(map[string]any)["Properties"].(map[string]any)["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			delete(s.(map[string]any), "Condition")
		}
	}, after: func(b *breach) {
		b.must(b.ec2().ModifyVpcEndpoint(b.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: b.endpoint("ssmmessages"),
			PolicyDocument: aws.String(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"ssmmessages:OpenDataChannel","Resource":"*"}}`)}))
	}},
	"an endpoint without a policy": {kind: "endpoint", reason: "no policy", account: "allows * on *", before: func(r resources) {
		delete(r["LogsEndpoint"].(map[string]any)["Properties"].(map[string]any), "PolicyDocument")
	}, after: func(b *breach) {
		b.must(b.ec2().ModifyVpcEndpoint(b.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: b.endpoint("logs"), ResetPolicy: aws.Bool(true)}))
	}},
	"a policy that can't be read": {kind: "endpoint", reason: "can't be read", after: func(b *breach) {
		b.must(b.ec2().ModifyVpcEndpoint(b.t.Context(), &ec2.ModifyVpcEndpointInput{VpcEndpointId: b.endpoint("s3"), PolicyDocument: aws.String(`{'Statement': []}`)}))
	}},
	"another endpoint": {kind: "endpoint", reason: ".dynamodb", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCEndpoint", `{"VpcId": {"Ref": "Vpc"}, "VpcEndpointType": "Gateway", "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}.dynamodb"}}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateVpcEndpoint(b.t.Context(), &ec2.CreateVpcEndpointInput{VpcId: &b.vpc, VpcEndpointType: types.VpcEndpointTypeGateway, ServiceName: aws.String("com.amazonaws." + b.target.Region + ".dynamodb")}))
	}},
	"a peering": {kind: "gateway", reason: "a peering", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCPeeringConnection", `{"VpcId": {"Ref": "Vpc"}, "PeerVpcId": "vpc-0123456789abcdef0"}`)
	}, after: (*breach).peer},
	"a NAT gateway": {kind: "gateway", reason: "a NAT gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::NatGateway", `{"SubnetId": {"Ref": "Subnet"}, "ConnectivityType": "private"}`)
	}, after: (*breach).nat},
	"an egress-only Internet gateway": {kind: "gateway", reason: "egress-only", before: func(r resources) {
		r["X"] = made("AWS::EC2::EgressOnlyInternetGateway", `{"VpcId": {"Ref": "Vpc"}}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateEgressOnlyInternetGateway(b.t.Context(), &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: &b.vpc}))
	}},
	"a transit gateway attachment": {kind: "gateway", reason: "transit gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::TransitGatewayAttachment", `{"VpcId": {"Ref": "Vpc"}, "SubnetIds": [{"Ref": "Subnet"}], "TransitGatewayId": "tgw-0123456789abcdef0"}`)
	}, after: (*breach).transit},
	"a VPN gateway": {kind: "gateway", reason: "a virtual private gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPNGateway", `{"Type": "ipsec.1"}`)
	}, after: (*breach).vpn},
	"a carrier gateway": {kind: "gateway", reason: "a carrier gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::CarrierGateway", `{"VpcId": {"Ref": "Vpc"}}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateCarrierGateway(b.t.Context(), &ec2.CreateCarrierGatewayInput{VpcId: &b.vpc}))
	}},
	"an Outpost's local gateway": {kind: "gateway", reason: "local gateway", before: func(r resources) {
		r["X"] = made("AWS::EC2::LocalGatewayRouteTableVPCAssociation", `{"VpcId": {"Ref": "Vpc"}, "LocalGatewayRouteTableId": "lgw-rtb-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateLocalGatewayRouteTableVpcAssociation(b.t.Context(), &ec2.CreateLocalGatewayRouteTableVpcAssociationInput{VpcId: &b.vpc, LocalGatewayRouteTableId: aws.String("lgw-rtb-0123456789abcdef0")}))
	}},
	"an EC2 Instance Connect endpoint": {kind: "gateway", reason: "Instance Connect", before: func(r resources) {
		r["X"] = made("AWS::EC2::InstanceConnectEndpoint", `{"SubnetId": {"Ref": "Subnet"}}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateInstanceConnectEndpoint(b.t.Context(), &ec2.CreateInstanceConnectEndpointInput{SubnetId: b.subnet()}))
	}},
	"a VPC Lattice service network": {kind: "gateway", reason: "VPC Lattice service network", before: func(r resources) {
		r["X"] = made("AWS::VpcLattice::ServiceNetworkVpcAssociation", `{"VpcIdentifier": {"Ref": "Vpc"}, "ServiceNetworkIdentifier": "sn-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(vpclattice.NewFromConfig(b.cfg()).CreateServiceNetworkVpcAssociation(b.t.Context(), &vpclattice.CreateServiceNetworkVpcAssociationInput{
			VpcIdentifier: &b.vpc, ServiceNetworkIdentifier: aws.String("sn-0123456789abcdef0"),
		}))
	}},
	"a Route 53 Profile": {kind: "gateway", reason: "Route 53 Profile", before: func(r resources) {
		r["X"] = made("AWS::Route53Profiles::ProfileAssociation", `{"Name": "names", "ResourceId": {"Ref": "Vpc"}, "ProfileId": "rp-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(route53profiles.NewFromConfig(b.cfg()).AssociateProfile(b.t.Context(), &route53profiles.AssociateProfileInput{Name: aws.String("names"), ResourceId: &b.vpc, ProfileId: aws.String("rp-0123456789abcdef0")}))
	}},
	"an endpoint to a service network": {kind: "endpoint", reason: "servicenetwork/sn-0123456789abcdef0", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCEndpoint", `{"VpcId": {"Ref": "Vpc"}, "VpcEndpointType": "ServiceNetwork", "SubnetIds": [{"Ref": "EndpointSubnet"}], "ServiceNetworkArn": "`+lattice+`servicenetwork/sn-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateVpcEndpoint(b.t.Context(), &ec2.CreateVpcEndpointInput{
			VpcId: &b.vpc, VpcEndpointType: types.VpcEndpointTypeServiceNetwork, SubnetIds: []string{*b.subnet()}, ServiceNetworkArn: aws.String(lattice + "servicenetwork/sn-0123456789abcdef0"),
		}))
	}},
	"an endpoint to a resource elsewhere": {kind: "endpoint", reason: "resourceconfiguration/rcfg-0123456789abcdef0", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCEndpoint", `{"VpcId": {"Ref": "Vpc"}, "VpcEndpointType": "Resource", "SubnetIds": [{"Ref": "EndpointSubnet"}], "ResourceConfigurationArn": "`+lattice+`resourceconfiguration/rcfg-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateVpcEndpoint(b.t.Context(), &ec2.CreateVpcEndpointInput{
			VpcId: &b.vpc, VpcEndpointType: types.VpcEndpointTypeResource, SubnetIds: []string{*b.subnet()}, ResourceConfigurationArn: aws.String(lattice + "resourceconfiguration/rcfg-0123456789abcdef0"),
		}))
	}},
	"a Gateway Load Balancer endpoint": {kind: "endpoint", reason: "vpce-svc-0123456789abcdef0", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCEndpoint", `{"VpcId": {"Ref": "Vpc"}, "VpcEndpointType": "GatewayLoadBalancer", "SubnetIds": [{"Ref": "EndpointSubnet"}], "ServiceName": "com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0"}`)
	}},
	"another address block": {kind: "address", reason: "another address block", account: "another address block, 10.77.0.0/16", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCCidrBlock", `{"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.77.0.0/16"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().AssociateVpcCidrBlock(b.t.Context(), &ec2.AssociateVpcCidrBlockInput{VpcId: &b.vpc, CidrBlock: aws.String("10.77.0.0/16")}))
	}},
	"an IPv6 address block": {kind: "address", reason: "another address block", before: func(r resources) {
		r["X"] = made("AWS::EC2::VPCCidrBlock", `{"VpcId": {"Ref": "Vpc"}, "AmazonProvidedIpv6CidrBlock": true}`)
	}},
	"an attachment to Cloud WAN": {kind: "gateway", reason: "Cloud WAN", before: func(r resources) {
		r["X"] = made("AWS::NetworkManager::VpcAttachment", `{"CoreNetworkId": "core-network-0123456789abcdef0"}`)
	}},
	"a client VPN": {kind: "gateway", reason: "client VPN", before: func(r resources) {
		r["X"] = made("AWS::EC2::ClientVpnTargetNetworkAssociation", `{"ClientVpnEndpointId": "cvpn-endpoint-0123456789abcdef0", "SubnetId": {"Ref": "Subnet"}}`)
	}},
	"a Verified Access endpoint": {kind: "gateway", reason: "Verified Access", before: func(r resources) {
		r["X"] = made("AWS::EC2::VerifiedAccessEndpoint", `{"EndpointType": "network-interface"}`)
	}},
	"a route server": {kind: "gateway", reason: "route server", before: func(r resources) {
		r["X"] = made("AWS::EC2::RouteServerEndpoint", `{"RouteServerId": "rs-0123456789abcdef0", "SubnetId": {"Ref": "Subnet"}}`)
	}},
	"an outbound endpoint of the resolver": {kind: "gateway", reason: "endpoint of the resolver", before: func(r resources) {
		r["X"] = made("AWS::Route53Resolver::ResolverEndpoint", `{"Direction": "OUTBOUND"}`)
	}},
	"a shared subnet": {kind: "gateway", reason: "shared with other accounts", before: func(r resources) {
		r["X"] = made("AWS::RAM::ResourceShare", `{"Name": "room"}`)
	}},
	// As what connects a network by an interface shows: an attachment to Cloud WAN, a client VPN, a route server.
	"an interface of nobody in the room": {kind: "interface", reason: "neither an instance's nor an endpoint's", before: func(r resources) {
		r["X"] = made("AWS::EC2::NetworkInterface", `{"SubnetId": {"Ref": "Subnet"}, "GroupSet": [{"Fn::GetAtt": ["RoomGroup", "GroupId"]}]}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateNetworkInterface(b.t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: b.subnet(), Description: aws.String("ClientVPN Endpoint resource")}))
	}},
	"a route by a prefix list": {kind: "route", reason: "pl-0123456789abcdef0", before: func(r resources) {
		r["X"] = made("AWS::EC2::Route", `{"RouteTableId": {"Ref": "RouteTable"}, "DestinationPrefixListId": "pl-0123456789abcdef0", "CoreNetworkArn": "arn:aws:networkmanager::111122223333:core-network/core-network-0123456789abcdef0"}`)
	}},
	"a second interface": {kind: "interface", reason: "a second interface", before: func(r resources) {
		i := r.the("AWS::EC2::Instance")
		second := maps.Clone(i["NetworkInterfaces"].([]any)[0].(map[string]any))
		second["DeviceIndex"] = "1"
		i["NetworkInterfaces"] = append(i["NetworkInterfaces"].([]any), second)
	}, after: (*breach).secondInterface},
	"an interface in another network": {kind: "interface", reason: "in another network", before: func(r resources) {
		r.the("AWS::EC2::Instance")["NetworkInterfaces"].([]any)[0].(map[string]any)["SubnetId"] = "subnet-0123456789abcdef0"
	}},
	"a stranger's instance": {kind: "instance", reason: "has not made", after: func(b *breach) {
		b.must(b.ec2().RunInstances(b.t.Context(), &ec2.RunInstancesInput{ImageId: b.image(), InstanceType: types.InstanceTypeT3Micro, SubnetId: b.subnet(), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}))
	}},
	"a broader role": {kind: "role", reason: "sts:AssumeRole on *", before: func(r resources) {
		r["X"] = made("AWS::IAM::RolePolicy", `{"RoleName": {"Ref": "ExaminerRole"}, "PolicyName": "more", "PolicyDocument": {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}}}`)
	}, after: func(b *breach) {
		b.must(iam.NewFromConfig(b.cfg()).PutRolePolicy(b.t.Context(), &iam.PutRolePolicyInput{RoleName: b.role(), PolicyName: aws.String("more"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`)}))
	}},
	"a managed policy on the role": {kind: "role", reason: "AdministratorAccess", before: func(r resources) {
		r["ExaminerRole"].(map[string]any)["Properties"].(map[string]any)["ManagedPolicyArns"] = []any{"arn:aws:iam::aws:policy/AdministratorAccess"}
	}, after: func(b *breach) {
		b.must(iam.NewFromConfig(b.cfg()).AttachRolePolicy(b.t.Context(), &iam.AttachRolePolicyInput{RoleName: b.role(), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}))
	}},
	"a role that others can assume": {kind: "role", reason: "can be assumed", before: func(r resources) {
		r["ExaminerRole"].(map[string]any)["Properties"].(map[string]any)["AssumeRolePolicyDocument"] = document(trustingAnybody)
	}, after: func(b *breach) {
		b.must(iam.NewFromConfig(b.cfg()).UpdateAssumeRolePolicy(b.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: b.role(), PolicyDocument: aws.String(trustingAnybody)}))
	}},
	"a role of another's making": {kind: "role", reason: "is not known", before: func(r resources) {
		r["ExaminerProfile"].(map[string]any)["Properties"].(map[string]any)["Roles"] = []any{"Admin"}
	}},
	"a network ACL that lets DNS out": {kind: "acl", reason: "udp 53 to 0.0.0.0/0", before: func(r resources) {
		r["X"] = made("AWS::EC2::NetworkAclEntry", `{"NetworkAclId": {"Ref": "Acl"}, "RuleNumber": 90, "Egress": true, "Protocol": 17, "PortRange": {"From": 53, "To": 53}, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0"}`)
	}, after: func(b *breach) {
		b.must(b.ec2().CreateNetworkAclEntry(b.t.Context(), &ec2.CreateNetworkAclEntryInput{NetworkAclId: b.acl(), RuleNumber: aws.Int32(90), Egress: aws.Bool(true), Protocol: aws.String("17"),
			PortRange: &types.PortRange{From: aws.Int32(53), To: aws.Int32(53)}, RuleAction: types.RuleActionAllow, CidrBlock: aws.String("0.0.0.0/0")}))
	}},
	"a subnet without its network ACL": {kind: "acl", reason: "default one allows everything", before: func(r resources) {
		delete(r, "AclAssociation")
	}},
	"a DNS forwarding rule": {kind: "dns", reason: "forwards queries", before: func(r resources) {
		r["X"] = made("AWS::Route53Resolver::ResolverRuleAssociation", `{"VPCId": {"Ref": "Vpc"}, "ResolverRuleId": "rslvr-rr-0123456789abcdef0"}`)
	}, after: func(b *breach) {
		b.must(route53resolver.NewFromConfig(b.cfg()).AssociateResolverRule(b.t.Context(), &route53resolver.AssociateResolverRuleInput{ResolverRuleId: aws.String("rslvr-rr-0123456789abcdef0"), VPCId: &b.vpc}))
	}},
	"no DNS firewall": {kind: "dns", reason: "answers for every name", before: func(r resources) {
		delete(r, "NameRulesAssociation")
	}, after: func(b *breach) {
		b.must(route53resolver.NewFromConfig(b.cfg()).DisassociateFirewallRuleGroup(b.t.Context(), &route53resolver.DisassociateFirewallRuleGroupInput{FirewallRuleGroupAssociationId: b.firewall().Id}))
	}},
	"a DNS firewall that lets more names pass": {kind: "dns", reason: "names under *.example.org", before: func(r resources) {
		l := r["AllowedNames"].(map[string]any)["Properties"].(map[string]any)
		l["Domains"] = append(l["Domains"].([]any), "*.example.org")
	}, after: (*breach).moreNames},
	"a DNS firewall that fails open": {kind: "dns", reason: "does not answer", after: func(b *breach) {
		b.must(route53resolver.NewFromConfig(b.cfg()).UpdateFirewallConfig(b.t.Context(), &route53resolver.UpdateFirewallConfigInput{ResourceId: &b.vpc, FirewallFailOpen: resolvertypes.FirewallFailOpenStatusEnabled}))
	}},
	"a resource of a type that nobody knows": {kind: "unknown", reason: "Custom::Tunnel", before: func(r resources) {
		r["X"] = made("Custom::Tunnel", `{}`)
	}},
}

const (
	lattice         = "arn:aws:vpc-lattice:eu-west-1:444455556666:"
	toDrop          = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::drop/*"}]}`
	trustingAnybody = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
)

// resources of a template, to be changed.
type resources map[string]any

func made(kind, properties string) any {
	return map[string]any{"Type": kind, "Properties": document(properties)}
}

func document(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

// the is the properties of the first resource of a type.
func (r resources) the(kind string) map[string]any {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if m := r[name].(map[string]any); m["Type"] == kind {
			return m["Properties"].(map[string]any)
		}
	}
	panic("the template has no " + kind)
}

var launching = proof.Launch{
	Account: "111122223333", Region: "eu-west-1", Partition: "aws", Stack: "cordon-room", PrefixLists: map[string]string{"pl-1": "com.amazonaws.eu-west-1.s3"},
	Parameters: map[string]string{
		"CaseId": "INC-7", "EvidenceBucket": "evidence", "CasePrefix": "cases/INC-7/", "RoomPrefix": "rooms/INC-7/room/", "ToolkitPrefix": "toolkits/",
		"EvidenceKey": "arn:aws:kms:eu-west-1:111122223333:key/1", "S3PrefixList": "pl-1", "Zone": "eu-west-1a",
	},
}

// judged is the verdict on the template of a room, changed.
func judged(t *testing.T, change func(resources)) (proof.Verdict, error) {
	t.Helper()
	text, err := cleanroom.Template(2)
	if err != nil {
		t.Fatal(err)
	}
	whole := document(text).(map[string]any)
	change(whole["Resources"].(map[string]any))
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	_, verdict, err := cleanroom.JudgeTemplate(string(b), launching)
	return verdict, err
}

func TestTheTemplateIsProvenClosed(t *testing.T) {
	for _, without := range [][]string{nil, {"EvidenceKey"}, {"EvidenceKey", "EvidenceBucket"}} {
		l := launching
		l.Parameters = maps.Clone(l.Parameters)
		for _, p := range without {
			delete(l.Parameters, p)
		}
		text, err := cleanroom.Template(3)
		if err != nil {
			t.Fatal(err)
		}
		if _, v, err := cleanroom.JudgeTemplate(text, l); err != nil || len(v.Ways) == 0 {
			t.Errorf("without %q: %+v, %v", without, v.Ways, err)
		}
	}
}

func TestEveryWayOutIsFoundBeforeTheLaunch(t *testing.T) {
	for name, m := range mutations {
		if m.before == nil {
			continue
		}
		verdict, err := judged(t, m.before)
		var refused *incident.RefusedError
		if !found(verdict.Undeclared(), m.kind, m.reason) || !errors.As(err, &refused) || !strings.Contains(refused.Reason, m.reason) {
			t.Errorf("%s: %+v, %v", name, verdict.Undeclared(), err)
		}
	}
}

func found(ways []proof.Way, kind, reason string) bool {
	return slices.ContainsFunc(ways, func(w proof.Way) bool { return w.Kind == kind && strings.Contains(w.Reason, reason) })
}

func TestEveryWayOutIsFoundAfterTheLaunch(t *testing.T) {
	for name, m := range mutations {
		if m.after == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(false)
			r := b.status()
			if !r.Closed || len(r.Drift) > 0 {
				t.Fatalf("before: %+v, %+v", r.WaysOut, r.Drift)
			}
			m.after(&breach{b, r.VPC})
			if m.account != "" {
				m.reason = m.account
			}
			r = b.status()
			if r.Closed || !found(r.WaysOut, m.kind, m.reason) || len(r.Drift) == 0 {
				t.Errorf("%+v, drift %+v", r.WaysOut, r.Drift)
			}
			again, err := b.apply(true)
			if err != nil {
				t.Fatal(err)
			}
			var not *incident.NotVerifiedError
			if _, err := b.action.Verify(t.Context(), b.request(true), incident.Proposal{}, again); !errors.As(err, &not) || !strings.Contains(not.Got, m.reason) {
				t.Errorf("verified: %v", err)
			}
			if d := b.status().Drift; !slices.Equal(d, r.Drift) {
				t.Errorf("a resumed launch takes the opened room for the one to compare with: %+v", d)
			}
		})
	}
}

// What can't be read is not proven, and the rest is read all the same.
func TestWhatCanNotBeReadIsNotProven(t *testing.T) {
	b := newBench(t)
	b.open(false)
	for _, operation := range []string{"ec2:DescribeVpcPeeringConnections", "iam:GetRolePolicy", "route53resolver:ListFirewallRules"} {
		if err := b.account.Deny(operation); err != nil {
			t.Fatal(err)
		}
	}
	r := b.status()
	if r.Closed || len(r.WaysOut) < 3 || !found(r.WaysOut, "unknown", "peerings can't be read") || !found(r.WaysOut, "unknown", "roles can't be read") ||
		!found(r.WaysOut, "unknown", "DNS firewall can't be read") {
		t.Errorf("%+v", r.WaysOut)
	}
}
