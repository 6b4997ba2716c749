package rehearsal

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// reverseShells: a build server that an intruder holds over every path its network
// has, and neighbours who use the same gateways, subnets and endpoint for their own work. No two
// subnets share an ACL, as the far end of a path is where one instance can be told from the others.
func reverseShells(w *world) error {
	start := w.Now
	w.Now = start.Add(-40 * 24 * time.Hour)
	shellRoleAndBucket(w)
	n := shellNetwork(w.call("ec2"))
	shellGateways(w.call("ec2"), n)
	m := shellMachines(w, n)
	lb, group := shellBalancer(w, n, m)
	w.tick(start.Add(-25 * time.Minute))
	w.Suspect = m.suspect.ID
	shellFlows(w, m, lb, group)
	neighbourFlows(w, m, lb, group)
	w.tick(start)
	recordFlows(w, n.vpc, "/build/flow-logs", 40*24*time.Hour)
	w.Alert = shellAlert(w)
	return nil
}

const shellRole = "build"

func shellRoleAndBucket(w *world) {
	c, role := w.call("iam"), aws.String(shellRole)
	must(iamCreateRole(c, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: trustOf("ec2.amazonaws.com")}))
	must(iamAttachRolePolicy(c, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String(awsManagedPolicyStart + "AmazonSSMManagedInstanceCore")}))
	must(iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: role}))
	must(iamAddRoleToInstanceProfile(c, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: role, RoleName: role}))
	must(s3CreateBucket(w.call("s3"), &s3.CreateBucketInput{
		Bucket: aws.String(w.evidenceBucket()), ObjectLockEnabledForBucket: aws.Bool(true),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(w.Region)},
	}))
}

// shellNet are the subnets and groups that the rest refers to, by name.
type shellNet struct {
	vpc             string
	subnets, groups map[string]string
}

// shellNetwork: one zone, so that every gateway is in reach.
func shellNetwork(c *call) shellNet {
	n := shellNet{subnets: make(map[string]string), groups: make(map[string]string)}
	n.vpc = *must(ec2CreateVpc(c, &ec2.CreateVpcInput{CidrBlock: aws.String("10.30.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})).Vpc.VpcId
	v := c.EC2.VPCs[n.vpc]
	v.DNSHostnames = true
	c.tag(n.vpc, map[string]string{"Name": "build"})
	for _, s := range []struct {
		name  string
		third byte
	}{{"public", 0}, {"admin", 1}, {"private", 10}, {"nat", 20}, {"transit", 21}, {"endpoints", 22}, {"data", 30}, {"balancer", 40}} {
		six := netip.MustParsePrefix(v.IPv6CIDR).Addr().As16()
		six[7] = s.third
		id := *must(ec2CreateSubnet(c, &ec2.CreateSubnetInput{
			VpcId: &n.vpc, CidrBlock: aws.String(fmt.Sprintf("10.30.%d.0/24", s.third)), AvailabilityZone: aws.String(c.Region + "a"),
			Ipv6CidrBlock: aws.String(netip.PrefixFrom(netip.AddrFrom16(six), 64).String()),
		})).Subnet.SubnetId
		c.tag(id, map[string]string{"Name": s.name})
		c.ownACL(v, id)
		n.subnets[s.name] = id
	}
	for _, g := range []string{"ci-web", "ci-admin", "build", "data", "endpoints", "balancer"} {
		n.groups[g] = c.makeGroup(v, g, "build network: "+g).ID
		c.tag(n.groups[g], map[string]string{"Name": g})
	}
	allow := func(group string, port int32, r groupRule) {
		r.ID, r.Protocol, r.From, r.To = c.id("sgr"), "tcp", port, port
		g := c.EC2.Groups[n.groups[group]]
		g.Rules = append(g.Rules, r)
	}
	allow("ci-web", 443, groupRule{CIDR: "0.0.0.0/0"})
	allow("ci-web", 443, groupRule{CIDR6: "::/0"})
	allow("ci-web", 8443, groupRule{Group: n.groups["balancer"]})
	allow("ci-admin", 22, groupRule{CIDR: "10.30.0.0/16"})
	allow("build", 22, groupRule{Group: n.groups["build"]})
	allow("data", 5432, groupRule{Group: n.groups["build"]})
	allow("endpoints", 443, groupRule{CIDR: "10.30.0.0/16"})
	allow("balancer", 443, groupRule{CIDR: "0.0.0.0/0"})
	return n
}

// ownACL gives a subnet a network ACL of its own that lets everything pass.
func (c *call) ownACL(v *vpc, subnet string) {
	own := c.makeACL(v)
	for _, egress := range []bool{false, true} {
		own.put(aclEntry{Number: 100, Egress: egress, Protocol: "-1", Allow: true, CIDR: "0.0.0.0/0"})
		own.put(aclEntry{Number: 101, Egress: egress, Protocol: "-1", Allow: true, CIDR6: "::/0"})
	}
	for _, as := range c.aclOf(subnet).Associations {
		if as.Subnet == subnet {
			must(ec2ReplaceNetworkAclAssociation(c, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: &as.ID, NetworkAclId: &own.ID}))
			return
		}
	}
}

// shellGateways: public subnets to the Internet, the private one through NAT and the
// egress-only gateway, and to the head office through a transit gateway.
func shellGateways(c *call, n shellNet) {
	internet := must(ec2CreateInternetGateway(c, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must(ec2AttachInternetGateway(c, &ec2.AttachInternetGatewayInput{InternetGatewayId: internet, VpcId: &n.vpc}))
	four, six := aws.String("0.0.0.0/0"), aws.String("::/0")
	n.routes(c, "public", []string{"public", "admin", "nat", "balancer"},
		&ec2.CreateRouteInput{DestinationCidrBlock: four, GatewayId: internet}, &ec2.CreateRouteInput{DestinationIpv6CidrBlock: six, GatewayId: internet})
	address := must(ec2AllocateAddress(c, &ec2.AllocateAddressInput{})).AllocationId
	nat := must(ec2CreateNatGateway(c, &ec2.CreateNatGatewayInput{SubnetId: aws.String(n.subnets["nat"]), AllocationId: address})).NatGateway.NatGatewayId
	egress := must(ec2CreateEgressOnlyInternetGateway(c, &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: &n.vpc})).EgressOnlyInternetGateway.EgressOnlyInternetGatewayId
	transit := must(ec2CreateTransitGateway(c, &ec2.CreateTransitGatewayInput{Description: aws.String("to the head office")})).TransitGateway.TransitGatewayId
	must(ec2CreateTransitGatewayVpcAttachment(c, &ec2.CreateTransitGatewayVpcAttachmentInput{
		TransitGatewayId: transit, VpcId: &n.vpc, SubnetIds: []string{n.subnets["transit"]},
	}))
	n.routes(c, "private", []string{"private"},
		&ec2.CreateRouteInput{DestinationCidrBlock: four, NatGatewayId: nat},
		&ec2.CreateRouteInput{DestinationIpv6CidrBlock: six, EgressOnlyInternetGatewayId: egress},
		&ec2.CreateRouteInput{DestinationCidrBlock: aws.String("10.50.0.0/16"), TransitGatewayId: transit})
	must(ec2CreateVpcEndpoint(c, &ec2.CreateVpcEndpointInput{
		VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws." + c.Region + ".ssmmessages"), VpcEndpointType: ec2types.VpcEndpointTypeInterface,
		SubnetIds: []string{n.subnets["endpoints"]}, SecurityGroupIds: []string{n.groups["endpoints"]}, PrivateDnsEnabled: aws.Bool(true),
	}))
}

func (n shellNet) routes(c *call, name string, subnets []string, routes ...*ec2.CreateRouteInput) {
	table := must(ec2CreateRouteTable(c, &ec2.CreateRouteTableInput{VpcId: &n.vpc})).RouteTable.RouteTableId
	c.tag(*table, map[string]string{"Name": name})
	for _, r := range routes {
		r.RouteTableId = table
		must(ec2CreateRoute(c, r))
	}
	for _, s := range subnets {
		must(ec2AssociateRouteTable(c, &ec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: aws.String(n.subnets[s])}))
	}
}

func shellAlert(w *world) Alert {
	return Alert{
		Rehearsal: true, Scenario: w.Scenario, Account: w.Account, Region: w.Region, Instance: w.Suspect, Bucket: w.evidenceBucket(),
		Time: w.Now.Add(-6 * time.Minute), Title: "Backdoor:Runtime/C&CActivity.B!DNS", Severity: "critical",
		Text: fmt.Sprintf("GuardDuty: on instance %s (build-1, %s) a process has resolved a command-and-control name and started interactive shells. "+
			"Sessions are open from several of its interfaces, over the Internet, to the head office and to its neighbours build-2 and data-1. "+
			"Whoever is there listens: they will notice what is done. Releases are being built on build-2 and build-3 tonight: these must go on.", w.Suspect, w.Region),
	}
}
