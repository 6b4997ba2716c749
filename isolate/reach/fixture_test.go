package reach

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// lab is a network that a test builds: one instance with interfaces in subnet-own,
// whose ACL is acl-own, and whatever else is in its VPC.
type lab struct {
	t    testing.TB
	vpc  *VPC
	nics []ec2types.NetworkInterface
}

const account = "111122223333"

// newLab has an instance with the address 10.0.0.10 in subnet-own, whose groups let
// everything out and TCP 443 in from anywhere.
func newLab(t testing.TB) *lab {
	l := &lab{t: t, vpc: &VPC{ID: "vpc-1", PrefixLists: make(map[string][]netip.Prefix)}}
	l.vpc.Groups = []ec2types.SecurityGroup{group("sg-web", []ec2types.IpPermission{rule("tcp", 443, 443, "0.0.0.0/0")}, []ec2types.IpPermission{rule("-1", 0, 0, "0.0.0.0/0", "::/0")})}
	l.subnet("subnet-own", "10.0.0.0/24", "acl-own")
	l.routes("subnet-own")
	l.nic("eni-0", 0, "10.0.0.10")
	return l
}

func group(id string, in, out []ec2types.IpPermission) ec2types.SecurityGroup {
	return ec2types.SecurityGroup{GroupId: aws.String(id), VpcId: aws.String("vpc-1"), IpPermissions: in, IpPermissionsEgress: out}
}

// rule is for CIDR blocks, or for groups and prefix lists by their IDs.
func rule(protocol string, from, to int32, sources ...string) ec2types.IpPermission {
	r := ec2types.IpPermission{IpProtocol: aws.String(protocol), FromPort: aws.Int32(from), ToPort: aws.Int32(to)}
	for _, s := range sources {
		switch {
		case strings.HasPrefix(s, "sg-"):
			r.UserIdGroupPairs = append(r.UserIdGroupPairs, ec2types.UserIdGroupPair{GroupId: aws.String(s)})
		case strings.HasPrefix(s, "pl-"):
			r.PrefixListIds = append(r.PrefixListIds, ec2types.PrefixListId{PrefixListId: aws.String(s)})
		case strings.Contains(s, ":"):
			r.Ipv6Ranges = append(r.Ipv6Ranges, ec2types.Ipv6Range{CidrIpv6: aws.String(s)})
		default:
			r.IpRanges = append(r.IpRanges, ec2types.IpRange{CidrIp: aws.String(s)})
		}
	}
	return r
}

// subnet adds a subnet. A new ACL lets everything through.
func (l *lab) subnet(id, cidr, acl string) {
	l.vpc.Subnets = append(l.vpc.Subnets, ec2types.Subnet{SubnetId: aws.String(id), CidrBlock: aws.String(cidr), OwnerId: aws.String(account)})
	a := l.vpc.acl(acl)
	if a == nil {
		l.vpc.ACLs = append(l.vpc.ACLs, ec2types.NetworkAcl{NetworkAclId: aws.String(acl), OwnerId: aws.String(account)})
		a = l.vpc.acl(acl)
		for _, egress := range []bool{false, true} {
			for number, entry := range map[int32]struct {
				cidr   string
				action ec2types.RuleAction
			}{100: {"0.0.0.0/0", "allow"}, 101: {"::/0", "allow"}, 32767: {"0.0.0.0/0", "deny"}, 32768: {"::/0", "deny"}} {
				l.entry(acl, number, egress, string(entry.action), entry.cidr)
			}
		}
	}
	a.Associations = append(a.Associations, ec2types.NetworkAclAssociation{NetworkAclId: aws.String(acl), SubnetId: aws.String(id)})
}

func (l *lab) entry(acl string, number int32, egress bool, action, cidr string) {
	e := ec2types.NetworkAclEntry{RuleNumber: aws.Int32(number), Egress: aws.Bool(egress), RuleAction: ec2types.RuleAction(action), Protocol: aws.String("-1")}
	if strings.Contains(cidr, ":") {
		e.Ipv6CidrBlock = aws.String(cidr)
	} else {
		e.CidrBlock = aws.String(cidr)
	}
	a := l.vpc.acl(acl)
	a.Entries = append(a.Entries, e)
}

// routes gives a subnet a table: each route is "destination target".
func (l *lab) routes(subnet string, routes ...string) {
	t := ec2types.RouteTable{RouteTableId: aws.String("rtb-" + subnet), VpcId: aws.String("vpc-1")}
	t.Associations = []ec2types.RouteTableAssociation{{SubnetId: aws.String(subnet)}}
	t.Routes = []ec2types.Route{{DestinationCidrBlock: aws.String("10.0.0.0/16"), GatewayId: aws.String("local")}, {DestinationIpv6CidrBlock: aws.String("2001:db8::/56"), GatewayId: aws.String("local")}}
	for _, text := range routes {
		t.Routes = append(t.Routes, route(text))
	}
	for i := range l.vpc.RouteTables {
		if *l.vpc.RouteTables[i].RouteTableId == *t.RouteTableId {
			l.vpc.RouteTables[i] = t
			return
		}
	}
	l.vpc.RouteTables = append(l.vpc.RouteTables, t)
}

func route(text string) ec2types.Route {
	to, target, _ := strings.Cut(text, " ")
	target, blackhole := strings.CutSuffix(target, " blackhole")
	r := ec2types.Route{State: ec2types.RouteStateActive}
	if blackhole {
		r.State = ec2types.RouteStateBlackhole
	}
	switch {
	case strings.HasPrefix(to, "pl-"):
		r.DestinationPrefixListId = aws.String(to)
	case strings.Contains(to, ":"):
		r.DestinationIpv6CidrBlock = aws.String(to)
	default:
		r.DestinationCidrBlock = aws.String(to)
	}
	kind, _, _ := strings.Cut(target, "-")
	switch kind {
	case "nat":
		r.NatGatewayId = aws.String(target)
	case "tgw":
		r.TransitGatewayId = aws.String(target)
	case "pcx":
		r.VpcPeeringConnectionId = aws.String(target)
	case "eigw":
		r.EgressOnlyInternetGatewayId = aws.String(target)
	case "eni":
		r.NetworkInterfaceId = aws.String(target)
	case "lgw":
		r.LocalGatewayId = aws.String(target)
	case "arn:aws:networkmanager::111122223333:core":
		r.CoreNetworkArn = aws.String(target)
	default:
		r.GatewayId = aws.String(target)
	}
	return r
}

// nic adds an interface of the instance in subnet-own: IPv4 and IPv6 addresses, the first being the primary one.
func (l *lab) nic(id string, device int32, addresses ...string) *ec2types.NetworkInterface {
	n := ec2types.NetworkInterface{
		NetworkInterfaceId: aws.String(id), VpcId: aws.String("vpc-1"), SubnetId: aws.String("subnet-own"), OwnerId: aws.String(account),
		Attachment: &ec2types.NetworkInterfaceAttachment{DeviceIndex: aws.Int32(device), InstanceId: aws.String("i-1")},
		Groups:     []ec2types.GroupIdentifier{{GroupId: aws.String("sg-web")}},
	}
	for _, a := range addresses {
		if strings.Contains(a, ":") {
			n.Ipv6Addresses = append(n.Ipv6Addresses, ec2types.NetworkInterfaceIpv6Address{Ipv6Address: aws.String(a)})
			continue
		}
		n.PrivateIpAddresses = append(n.PrivateIpAddresses, ec2types.NetworkInterfacePrivateIpAddress{PrivateIpAddress: aws.String(a)})
	}
	l.nics = append(l.nics, n)
	return &l.nics[len(l.nics)-1]
}

// public puts an address in front of the interface's nth private one.
func public(n *ec2types.NetworkInterface, at int, address string, elastic bool) {
	as := &ec2types.NetworkInterfaceAssociation{PublicIp: aws.String(address), IpOwnerId: aws.String("amazon")}
	if elastic {
		as.AllocationId, as.IpOwnerId = aws.String("eipalloc-"+address), aws.String(account)
	}
	n.PrivateIpAddresses[at].Association = as
}

// other adds somebody else's interface.
func (l *lab) other(id, subnet, address string, kind ec2types.NetworkInterfaceType, groups ...string) *ec2types.NetworkInterface {
	n := ec2types.NetworkInterface{
		NetworkInterfaceId: aws.String(id), VpcId: aws.String("vpc-1"), SubnetId: aws.String(subnet), OwnerId: aws.String(account), InterfaceType: kind,
		PrivateIpAddresses: []ec2types.NetworkInterfacePrivateIpAddress{{PrivateIpAddress: aws.String(address)}},
	}
	for _, g := range groups {
		n.Groups = append(n.Groups, ec2types.GroupIdentifier{GroupId: aws.String(g)})
	}
	l.vpc.Interfaces = append(l.vpc.Interfaces, n)
	return &l.vpc.Interfaces[len(l.vpc.Interfaces)-1]
}

func (l *lab) six(subnet, cidr string) {
	l.vpc.subnet(subnet).Ipv6CidrBlockAssociationSet = []ec2types.SubnetIpv6CidrBlockAssociation{{Ipv6CidrBlock: aws.String(cidr)}}
}

func (l *lab) nat(id, subnet string) {
	g := ec2types.NatGateway{NatGatewayId: aws.String(id)}
	if subnet != "" {
		g.SubnetId = aws.String(subnet)
	}
	l.vpc.NATs = append(l.vpc.NATs, g)
}

func (l *lab) attachment(transit string, subnets ...string) {
	l.vpc.Attachments = append(l.vpc.Attachments, ec2types.TransitGatewayVpcAttachment{TransitGatewayId: aws.String(transit), SubnetIds: subnets, State: "available"})
}

func (l *lab) endpoint(id, service string, kind ec2types.VpcEndpointType, interfaces ...string) {
	e := ec2types.VpcEndpoint{VpcEndpointId: aws.String(id), ServiceName: aws.String(service), VpcEndpointType: kind, NetworkInterfaceIds: interfaces}
	for _, i := range interfaces {
		e.SubnetIds = append(e.SubnetIds, *l.vpc.netInterface(i).SubnetId)
	}
	l.vpc.Endpoints = append(l.vpc.Endpoints, e)
}

func (l *lab) network() *Network {
	l.t.Helper()
	n, err := New(ec2types.Instance{InstanceId: aws.String("i-1")}, l.nics, l.vpc)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *lab) decide(w Wish) Decision {
	l.t.Helper()
	d, err := l.network().Decide(w)
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

// choice is the only one of a kind.
func choice(t *testing.T, d Decision, kind Kind) Choice {
	t.Helper()
	var found []Choice
	for _, c := range d.Choices {
		if c.Path.Kind == kind {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d paths of kind %s in %v, want one", len(found), kind, d.Choices)
	}
	return found[0]
}

// words are the choices in short: kind, measures, and whether the path is cut.
func words(d Decision) string {
	var all []string
	for _, c := range d.Choices {
		if c.Path.Kind == Service {
			continue
		}
		state := "open"
		if c.Cut {
			state = "cut"
		}
		if c.Allowed {
			state = "allowed"
		}
		six := ""
		if c.Path.six() {
			six = "6"
		}
		all = append(all, fmt.Sprintf("%s%s %v %s", c.Path.Kind, six, c.Measures, state))
	}
	return strings.Join(all, "\n")
}

func denials(d Decision, m Measure) string {
	var all []string
	for _, x := range d.Denies[m] {
		all = append(all, x.ACL+" "+x.Prefix.String())
	}
	return strings.Join(all, ", ")
}
