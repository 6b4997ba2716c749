package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ec2ModifyNetworkInterfaceAttribute: API_ModifyNetworkInterfaceAttribute, one attribute
// a call. The groups given replace all there were; they must be of the interface's VPC. An
// automatic public address that is taken away is gone for good; it is for the
// primary interface only, whatever the attribute says of others.
func ec2ModifyNetworkInterfaceAttribute(c *call, in *ec2.ModifyNetworkInterfaceAttributeInput) (*ec2.ModifyNetworkInterfaceAttributeOutput, error) {
	n, err := get(kindInterface, c.ec2().Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	if err := n.changeable(); err != nil {
		return nil, err
	}
	if err := oneAttribute(in); err != nil {
		return nil, err
	}
	switch {
	case len(in.Groups) > 0:
		groups, err := c.groupsFor(n.VPC, in.Groups)
		if err != nil {
			return nil, err
		}
		n.Groups = groups
	case in.Attachment != nil:
		a := in.Attachment
		if n.Attachment == nil || n.Attachment.ID != aws.ToString(a.AttachmentId) {
			return nil, apiError("InvalidAttachmentID.NotFound", fmt.Sprintf("The attachment ID '%s' does not exist", aws.ToString(a.AttachmentId)))
		}
		n.Attachment.DeleteOnTermination = valueOr(a.DeleteOnTermination, n.Attachment.DeleteOnTermination)
	case in.SourceDestCheck != nil:
		n.SourceDest = aws.ToBool(in.SourceDestCheck.Value)
	case in.Description != nil:
		n.Description = aws.ToString(in.Description.Value)
	case in.ConnectionTrackingSpecification != nil:
		t := in.ConnectionTrackingSpecification
		if err := checkTracking(t); err != nil {
			return nil, err
		}
		n.TCPTimeout, n.UDPStream, n.UDPTimeout = valueOr(t.TcpEstablishedTimeout, n.TCPTimeout), valueOr(t.UdpStreamTimeout, n.UDPStream), valueOr(t.UdpTimeout, n.UDPTimeout)
	case in.AssociatePublicIpAddress != nil:
		n.AutoPublic = *in.AssociatePublicIpAddress
		if n.AutoPublic {
			c.givePublicIP(n)
		} else {
			n.PublicIP = ""
		}
	default:
		return nil, apiError("UnsupportedOperation", "The simulated account has no such attribute of a network interface.")
	}
	return &ec2.ModifyNetworkInterfaceAttributeOutput{}, nil
}

// ec2AttachNetworkInterface: API_AttachNetworkInterface. The interface is in the
// instance's zone and on no other; each has an index of its own.
func ec2AttachNetworkInterface(c *call, in *ec2.AttachNetworkInterfaceInput) (*ec2.AttachNetworkInterfaceOutput, error) {
	s := c.ec2()
	n, err := get(kindInterface, s.Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	i, err := get(kindInstance, s.Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	index := aws.ToInt32(in.DeviceIndex)
	switch {
	case n.Attachment != nil:
		return nil, apiError("InvalidNetworkInterface.InUse", fmt.Sprintf("Interface: [%s] in use.", n.ID))
	case n.AZ != i.AZ:
		return nil, apiError("InvalidParameterCombination", fmt.Sprintf("You may not attach a network interface to an instance if they are not in the same availability zone: %s, %s", n.AZ, i.AZ))
	case slices.ContainsFunc(s.interfacesOf(i.ID), func(o *networkInterface) bool { return o.Attachment.Index == index }):
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Instance '%s' already has an interface attached at device index '%d'.", i.ID, index))
	}
	n.Attachment = &interfaceAttachment{ID: c.id("eni-attach"), Instance: i.ID, Index: index, At: c.Now}
	return &ec2.AttachNetworkInterfaceOutput{AttachmentId: &n.Attachment.ID}, nil
}

// changeable refuses what only the service may do that made the interface.
func (n *networkInterface) changeable() error {
	if n.Requester == "" {
		return nil
	}
	return apiError("OperationNotPermitted", "You are not allowed to manage '"+n.ID+"', which is managed by "+n.Requester+".")
}

// oneAttribute: the page says that a call can change one only. It names no error: this
// is the one that API_ModifyVpcAttribute's rule is answered with.
func oneAttribute(in *ec2.ModifyNetworkInterfaceAttributeInput) error {
	var given []string
	for _, a := range []struct {
		name string
		set  bool
	}{
		{"groups", len(in.Groups) > 0}, {"attachment", in.Attachment != nil}, {"sourceDestCheck", in.SourceDestCheck != nil},
		{"description", in.Description != nil}, {"connectionTrackingSpecification", in.ConnectionTrackingSpecification != nil},
		{"associatePublicIpAddress", in.AssociatePublicIpAddress != nil}, {"enaSrdSpecification", in.EnaSrdSpecification != nil},
		{"enablePrimaryIpv6", in.EnablePrimaryIpv6 != nil}, {"associatedSubnetIds", len(in.AssociatedSubnetIds) > 0},
	} {
		if a.set {
			given = append(given, a.name)
		}
	}
	switch len(given) {
	case 0:
		return apiError("InvalidParameterCombination", "No attributes specified.")
	case 1:
		return nil
	}
	return apiError("InvalidParameterCombination", "Fields for multiple attribute types specified: "+strings.Join(given, ", "))
}

// checkTracking: the bounds of API_ConnectionTrackingSpecificationRequest, seconds.
func checkTracking(t *types.ConnectionTrackingSpecificationRequest) error {
	if t == nil {
		return nil
	}
	for _, p := range []struct {
		name     string
		v        *int32
		min, max int32
	}{{"TcpEstablishedTimeout", t.TcpEstablishedTimeout, 60, 432000}, {"UdpStreamTimeout", t.UdpStreamTimeout, 60, 180}, {"UdpTimeout", t.UdpTimeout, 30, 60}} {
		if p.v != nil && (*p.v < p.min || *p.v > p.max) {
			return apiError("InvalidParameterValue", fmt.Sprintf("Value (%d) for parameter %s is invalid. Expecting a value between %d and %d.", *p.v, p.name, p.min, p.max))
		}
	}
	return nil
}

// ec2AssignIpv6Addresses: API_AssignIpv6Addresses. Addresses given are assigned
// as they are, so that what was taken off can be put back; or a number of new ones.
func ec2AssignIpv6Addresses(c *call, in *ec2.AssignIpv6AddressesInput) (*ec2.AssignIpv6AddressesOutput, error) {
	s := c.ec2()
	n, err := get(kindInterface, s.Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	if err := n.changeable(); err != nil {
		return nil, err
	}
	if (in.Ipv6AddressCount == nil) == (len(in.Ipv6Addresses) == 0) {
		return nil, apiError("InvalidParameterCombination", "You must specify either Ipv6Addresses or Ipv6AddressCount")
	}
	sub := s.Subnets[n.Subnet]
	if sub.IPv6CIDR == "" {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("The subnet '%s' has no IPv6 CIDR block.", sub.ID))
	}
	taken, prefix := s.takenIPs(sub), netip.MustParsePrefix(sub.IPv6CIDR)
	for _, ip := range in.Ipv6Addresses {
		if a, err := netip.ParseAddr(ip); err != nil || !prefix.Contains(a) {
			return nil, apiError("InvalidParameterValue", "Address "+ip+" does not fall within the subnet's address range")
		}
		if taken[ip] && !slices.Contains(n.IPv6, ip) {
			return nil, apiError("InvalidIPAddress.InUse", "Address "+ip+" is in use.")
		}
	}
	out := &ec2.AssignIpv6AddressesOutput{NetworkInterfaceId: &n.ID}
	for _, ip := range in.Ipv6Addresses {
		if !slices.Contains(n.IPv6, ip) {
			n.IPv6 = append(n.IPv6, ip)
		}
		out.AssignedIpv6Addresses = append(out.AssignedIpv6Addresses, ip)
	}
	for range aws.ToInt32(in.Ipv6AddressCount) {
		ip := c.nextIPv6(sub)
		n.IPv6 = append(n.IPv6, ip)
		out.AssignedIpv6Addresses = append(out.AssignedIpv6Addresses, ip)
	}
	return out, nil
}

// ec2UnassignIpv6Addresses: API_UnassignIpv6Addresses.
func ec2UnassignIpv6Addresses(c *call, in *ec2.UnassignIpv6AddressesInput) (*ec2.UnassignIpv6AddressesOutput, error) {
	n, err := get(kindInterface, c.ec2().Interfaces, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	if err := n.changeable(); err != nil {
		return nil, err
	}
	if len(in.Ipv6Addresses) == 0 {
		return nil, apiError("MissingParameter", "The request must contain the parameter Ipv6Addresses")
	}
	for _, ip := range in.Ipv6Addresses {
		if !slices.Contains(n.IPv6, ip) {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Some of %v are not assigned to interface %s", in.Ipv6Addresses, n.ID))
		}
	}
	n.IPv6 = slices.DeleteFunc(n.IPv6, func(ip string) bool { return slices.Contains(in.Ipv6Addresses, ip) })
	return &ec2.UnassignIpv6AddressesOutput{NetworkInterfaceId: &n.ID, UnassignedIpv6Addresses: in.Ipv6Addresses}, nil
}
