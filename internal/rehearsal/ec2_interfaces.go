package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// networkInterface is an elastic network interface.
type networkInterface struct {
	ID          string   `json:"id"`
	VPC         string   `json:"vpc"`
	Subnet      string   `json:"subnet"`
	AZ          string   `json:"az"`
	MAC         string   `json:"mac"`
	Description string   `json:"description"`
	IPs         []string `json:"ips"` // private IPv4; the first is the primary one
	IPv6        []string `json:"ipv6,omitempty"`
	Groups      []string `json:"groups"`
	SourceDest  bool     `json:"source_dest"` // SourceDestCheck
	// Connection tracking timeouts, seconds; zero: AWS's default.
	TCPTimeout int32 `json:"tcp_timeout,omitempty"`
	UDPStream  int32 `json:"udp_stream,omitempty"`
	UDPTimeout int32 `json:"udp_timeout,omitempty"`
	// Type is interface, or what AWS runs on it: nat_gateway, vpc_endpoint, network_load_balancer.
	Type types.NetworkInterfaceType `json:"type"`
	// Requester is the service that manages it; empty: the account itself.
	Requester string `json:"requester,omitempty"`
	// PublicIP is an automatic public address. AutoPublic says that the
	// interface gets one whenever it has no Elastic IP.
	PublicIP   string               `json:"public_ip,omitempty"`
	AutoPublic bool                 `json:"auto_public,omitempty"`
	Attachment *interfaceAttachment `json:"attachment,omitempty"`
}

type interfaceAttachment struct {
	ID                  string    `json:"id"`
	Instance            string    `json:"instance"`
	Index               int32     `json:"index"`
	DeleteOnTermination bool      `json:"delete_on_termination"`
	At                  time.Time `json:"at"`
}

func (ops operations) ec2Interfaces() {
	ec2On(ops, ec2DescribeNetworkInterfaces)
	ec2On(ops, ec2DescribeNetworkInterfaceAttribute)
	ec2On(ops, ec2ModifyNetworkInterfaceAttribute)
	ec2On(ops, ec2CreateNetworkInterface)
	ec2On(ops, ec2AttachNetworkInterface)
	ec2On(ops, ec2DeleteNetworkInterface)
	ec2On(ops, ec2AssignIpv6Addresses)
	ec2On(ops, ec2UnassignIpv6Addresses)
}

// makeInterface makes what planInterfaces, or a caller as careful, has checked.
func (c *call) makeInterface(l launchInterface) *networkInterface {
	sub := c.EC2.Subnets[l.Subnet]
	r := c.random()
	n := &networkInterface{
		ID: c.id("eni"), VPC: sub.VPC, Subnet: sub.ID, AZ: sub.AZ, Description: l.Description, Groups: slices.Clone(l.Groups),
		MAC:        fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256)),
		SourceDest: true, TCPTimeout: l.TCPTimeout, Type: types.NetworkInterfaceTypeInterface,
	}
	ip := l.PrivateIP
	if ip == "" {
		ip = c.nextIP(sub)
	}
	n.IPs = []string{ip}
	c.EC2.Interfaces[n.ID] = n
	count := l.IPv6
	if count == 0 && sub.AssignIPv6 {
		count = 1
	}
	for range count {
		n.IPv6 = append(n.IPv6, c.nextIPv6(sub))
	}
	return n
}

// dropInterface deletes an interface; Elastic IPs on it stay allocated.
func (s *ec2State) dropInterface(n *networkInterface) {
	for _, a := range s.Addresses {
		if a.Interface == n.ID {
			a.release()
		}
	}
	delete(s.Interfaces, n.ID)
	delete(s.Tags, n.ID)
}

// takenIPs are the subnet's addresses in use.
func (s *ec2State) takenIPs(sub *subnet) map[string]bool {
	taken := make(map[string]bool)
	for _, n := range s.Interfaces {
		if n.Subnet == sub.ID {
			for _, ip := range append(slices.Clone(n.IPs), n.IPv6...) {
				taken[ip] = true
			}
		}
	}
	return taken
}

// nextIP gives the lowest free address; the first four and the last of a subnet
// are AWS's own (VPC User Guide, "Subnet CIDR blocks"). The first ten are left alone, for people to read.
func (c *call) nextIP(sub *subnet) string {
	prefix := netip.MustParsePrefix(sub.CIDR)
	taken := c.EC2.takenIPs(sub)
	ip := prefix.Addr()
	for range 10 {
		ip = ip.Next()
	}
	for ; prefix.Contains(ip.Next()); ip = ip.Next() {
		if !taken[ip.String()] {
			return ip.String()
		}
	}
	panic("rehearsal: subnet " + sub.ID + " is full")
}

func (c *call) nextIPv6(sub *subnet) string {
	taken := c.EC2.takenIPs(sub)
	ip := netip.MustParsePrefix(sub.IPv6CIDR).Addr()
	for range 16 {
		ip = ip.Next()
	}
	for taken[ip.String()] {
		ip = ip.Next()
	}
	return ip.String()
}

// freeIP checks an address that a request asks for; none is fine.
func (c *call) freeIP(sub *subnet, ip string) error {
	if ip == "" {
		return nil
	}
	a, err := netip.ParseAddr(ip)
	if err != nil || !netip.MustParsePrefix(sub.CIDR).Contains(a) {
		return apiError("InvalidParameterValue", "Address "+ip+" does not fall within the subnet's address range")
	}
	if c.EC2.takenIPs(sub)[ip] {
		return apiError("InvalidIPAddress.InUse", "Address "+ip+" is in use.")
	}
	return nil
}

// associationFor is what is public about a private address: an Elastic IP, or
// on the primary address the automatic one.
func (c *call) associationFor(n *networkInterface, ip string) *types.NetworkInterfaceAssociation {
	for _, a := range c.EC2.Addresses {
		if a.Interface == n.ID && a.PrivateIP == ip {
			return &types.NetworkInterfaceAssociation{
				AllocationId: &a.ID, AssociationId: &a.Association, IpOwnerId: &c.Account, PublicIp: &a.IP, PublicDnsName: c.publicName(a.IP),
			}
		}
	}
	if n.PublicIP != "" && ip == n.IPs[0] {
		return &types.NetworkInterfaceAssociation{IpOwnerId: aws.String("amazon"), PublicIp: &n.PublicIP, PublicDnsName: c.publicName(n.PublicIP)}
	}
	return nil
}

func (c *call) privateName(ip string) *string {
	return aws.String(fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(ip, ".", "-"), c.Region))
}

func (c *call) publicName(ip string) *string {
	return aws.String(fmt.Sprintf("ec2-%s.%s.compute.amazonaws.com", strings.ReplaceAll(ip, ".", "-"), c.Region))
}

// groupNames are groups as descriptions list them.
func (c *call) groupNames(ids []string) []types.GroupIdentifier {
	var list []types.GroupIdentifier
	for _, id := range ids {
		list = append(list, types.GroupIdentifier{GroupId: aws.String(id), GroupName: aws.String(c.EC2.Groups[id].Name)})
	}
	return list
}

func (n *networkInterface) status() types.NetworkInterfaceStatus {
	if n.Attachment != nil || n.Requester != "" {
		return types.NetworkInterfaceStatusInUse
	}
	return types.NetworkInterfaceStatusAvailable
}

// tracking shows what was set and leaves out what was not, as the example of the
// AWS CLI's create-network-interface does for two of three timeouts; nothing set: nothing shown.
// No page says how to go back to not set: whoever restores sets AWS's default.
func (n *networkInterface) tracking() *types.ConnectionTrackingConfiguration {
	if n.TCPTimeout == 0 && n.UDPStream == 0 && n.UDPTimeout == 0 {
		return nil
	}
	set := func(v int32) *int32 {
		if v == 0 {
			return nil
		}
		return &v
	}
	return &types.ConnectionTrackingConfiguration{TcpEstablishedTimeout: set(n.TCPTimeout), UdpStreamTimeout: set(n.UDPStream), UdpTimeout: set(n.UDPTimeout)}
}

// showInterface: API_NetworkInterface.
func (c *call) showInterface(n *networkInterface) types.NetworkInterface {
	out := types.NetworkInterface{
		NetworkInterfaceId: &n.ID, VpcId: &n.VPC, SubnetId: &n.Subnet, AvailabilityZone: &n.AZ, MacAddress: &n.MAC, Description: &n.Description,
		PrivateIpAddress: &n.IPs[0], PrivateDnsName: c.privateName(n.IPs[0]), Association: c.associationFor(n, n.IPs[0]),
		Groups: c.groupNames(n.Groups), SourceDestCheck: &n.SourceDest, InterfaceType: n.Type, OwnerId: &c.Account,
		Status: n.status(), ConnectionTrackingConfiguration: n.tracking(), TagSet: c.tagList(n.ID),
		RequesterManaged: aws.Bool(n.Requester != ""), RequesterId: nilIfEmpty(n.Requester),
	}
	for k, ip := range n.IPs {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, types.NetworkInterfacePrivateIpAddress{
			PrivateIpAddress: &n.IPs[k], PrivateDnsName: c.privateName(ip), Primary: aws.Bool(k == 0), Association: c.associationFor(n, ip),
		})
	}
	for k := range n.IPv6 {
		out.Ipv6Addresses = append(out.Ipv6Addresses, types.NetworkInterfaceIpv6Address{Ipv6Address: &n.IPv6[k], IsPrimaryIpv6: aws.Bool(false)})
	}
	if len(n.IPv6) > 0 {
		out.Ipv6Address = &n.IPv6[0]
	}
	if a := n.Attachment; a != nil {
		out.Attachment = &types.NetworkInterfaceAttachment{
			AttachmentId: &a.ID, InstanceId: &a.Instance, InstanceOwnerId: &c.Account, DeviceIndex: &a.Index, NetworkCardIndex: aws.Int32(0),
			AttachTime: &a.At, DeleteOnTermination: &a.DeleteOnTermination, Status: types.AttachmentStatusAttached,
		}
	}
	return out
}

// showInstanceInterface is the same interface as an instance shows it: API_InstanceNetworkInterface.
func (c *call) showInstanceInterface(n *networkInterface) types.InstanceNetworkInterface {
	full := c.showInterface(n)
	public := func(a *types.NetworkInterfaceAssociation) *types.InstanceNetworkInterfaceAssociation {
		if a == nil {
			return nil
		}
		return &types.InstanceNetworkInterfaceAssociation{IpOwnerId: a.IpOwnerId, PublicIp: a.PublicIp, PublicDnsName: a.PublicDnsName}
	}
	out := types.InstanceNetworkInterface{
		NetworkInterfaceId: full.NetworkInterfaceId, VpcId: full.VpcId, SubnetId: full.SubnetId, MacAddress: full.MacAddress, Description: full.Description,
		PrivateIpAddress: full.PrivateIpAddress, PrivateDnsName: full.PrivateDnsName, Association: public(full.Association), Groups: full.Groups,
		SourceDestCheck: full.SourceDestCheck, InterfaceType: aws.String(string(full.InterfaceType)), OwnerId: full.OwnerId, Status: full.Status,
	}
	if t := full.ConnectionTrackingConfiguration; t != nil {
		out.ConnectionTrackingConfiguration = &types.ConnectionTrackingSpecificationResponse{
			TcpEstablishedTimeout: t.TcpEstablishedTimeout, UdpStreamTimeout: t.UdpStreamTimeout, UdpTimeout: t.UdpTimeout,
		}
	}
	for _, p := range full.PrivateIpAddresses {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, types.InstancePrivateIpAddress{
			PrivateIpAddress: p.PrivateIpAddress, PrivateDnsName: p.PrivateDnsName, Primary: p.Primary, Association: public(p.Association),
		})
	}
	for _, p := range full.Ipv6Addresses {
		out.Ipv6Addresses = append(out.Ipv6Addresses, types.InstanceIpv6Address{Ipv6Address: p.Ipv6Address, IsPrimaryIpv6: p.IsPrimaryIpv6})
	}
	if a := full.Attachment; a != nil {
		out.Attachment = &types.InstanceNetworkInterfaceAttachment{
			AttachmentId: a.AttachmentId, DeviceIndex: a.DeviceIndex, NetworkCardIndex: a.NetworkCardIndex, AttachTime: a.AttachTime,
			DeleteOnTermination: a.DeleteOnTermination, Status: a.Status,
		}
	}
	return out
}

// ec2DescribeNetworkInterfaces: API_DescribeNetworkInterfaces.
func ec2DescribeNetworkInterfaces(c *call, in *ec2.DescribeNetworkInterfacesInput) (*ec2.DescribeNetworkInterfacesOutput, error) {
	q := listing{query{in.NetworkInterfaceIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindInterface, c.ec2().Interfaces, q, c.interfaceField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeNetworkInterfacesOutput{NetworkInterfaces: each(found, c.showInterface), NextToken: next}, nil
}

func (c *call) interfaceField(n *networkInterface, name string) ([]string, bool) {
	switch name {
	case "network-interface-id":
		return one(n.ID), true
	case "vpc-id":
		return one(n.VPC), true
	case "subnet-id":
		return one(n.Subnet), true
	case "availability-zone":
		return one(n.AZ), true
	case "description":
		return one(n.Description), true
	case "group-id":
		return n.Groups, true
	case "group-name":
		var names []string
		for _, g := range n.Groups {
			names = append(names, c.EC2.Groups[g].Name)
		}
		return names, true
	case "interface-type":
		return one(string(n.Type)), true
	case "requester-managed":
		return yes(n.Requester != ""), true
	case "requester-id":
		return one(n.Requester), true
	case "status":
		return one(string(n.status())), true
	case "mac-address":
		return one(n.MAC), true
	case "owner-id":
		return one(c.Account), true
	case "source-dest-check":
		return yes(n.SourceDest), true
	case "private-ip-address", "addresses.private-ip-address":
		return n.IPs, true
	case "ipv6-addresses.ipv6-address":
		return n.IPv6, true
	}
	return c.attachmentField(n, name)
}

func (c *call) attachmentField(n *networkInterface, name string) ([]string, bool) {
	a := n.Attachment
	if a == nil {
		a = &interfaceAttachment{}
	}
	switch name {
	case "attachment.instance-id":
		return one(a.Instance), true
	case "attachment.attachment-id":
		return one(a.ID), true
	case "attachment.device-index":
		if n.Attachment == nil {
			return nil, true
		}
		return []string{fmt.Sprint(a.Index)}, true
	case "association.public-ip", "addresses.association.public-ip":
		var ips []string
		for _, ip := range n.IPs {
			if p := c.associationFor(n, ip); p != nil {
				ips = append(ips, *p.PublicIp)
			}
		}
		return ips, true
	}
	return nil, false
}

// ec2DescribeNetworkInterfaceAttribute: API_DescribeNetworkInterfaceAttribute.
func ec2DescribeNetworkInterfaceAttribute(c *call, in *ec2.DescribeNetworkInterfaceAttributeInput) (*ec2.DescribeNetworkInterfaceAttributeOutput, error) {
	n, err := get(kindInterface, c.ec2().Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	full, out := c.showInterface(n), &ec2.DescribeNetworkInterfaceAttributeOutput{NetworkInterfaceId: &n.ID}
	switch in.Attribute {
	case types.NetworkInterfaceAttributeDescription:
		out.Description = &types.AttributeValue{Value: full.Description}
	case types.NetworkInterfaceAttributeGroupSet:
		out.Groups = full.Groups
	case types.NetworkInterfaceAttributeSourceDestCheck:
		out.SourceDestCheck = &types.AttributeBooleanValue{Value: full.SourceDestCheck}
	case types.NetworkInterfaceAttributeAttachment:
		out.Attachment = full.Attachment
	case types.NetworkInterfaceAttributeAssociatePublicIpAddress:
		out.AssociatePublicIpAddress = &n.AutoPublic
	default:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter attribute is invalid.", in.Attribute))
	}
	return out, nil
}

// ec2CreateNetworkInterface: API_CreateNetworkInterface.
func ec2CreateNetworkInterface(c *call, in *ec2.CreateNetworkInterfaceInput) (*ec2.CreateNetworkInterfaceOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateNetworkInterface", in.ClientToken, in, func() (string, error) {
		sub, err := get(kindSubnet, s.Subnets, in.SubnetId)
		if err != nil {
			return "", err
		}
		groups, err := c.groupsFor(sub.VPC, in.Groups)
		if err != nil {
			return "", err
		}
		if err := c.freeIP(sub, aws.ToString(in.PrivateIpAddress)); err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeNetworkInterface, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		n := c.makeInterface(launchInterface{
			Subnet: sub.ID, Groups: groups, Description: aws.ToString(in.Description), PrivateIP: aws.ToString(in.PrivateIpAddress), IPv6: aws.ToInt32(in.Ipv6AddressCount),
		})
		c.tag(n.ID, tags)
		return n.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showInterface(s.Interfaces[made])
	return &ec2.CreateNetworkInterfaceOutput{NetworkInterface: &shown, ClientToken: in.ClientToken}, nil
}

// ec2DeleteNetworkInterface: API_DeleteNetworkInterface. It must be detached.
func ec2DeleteNetworkInterface(c *call, in *ec2.DeleteNetworkInterfaceInput) (*ec2.DeleteNetworkInterfaceOutput, error) {
	s := c.ec2()
	n, err := get(kindInterface, s.Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	if n.status() != types.NetworkInterfaceStatusAvailable {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Network interface '%s' is currently in use.", n.ID))
	}
	s.dropInterface(n)
	return &ec2.DeleteNetworkInterfaceOutput{}, nil
}
