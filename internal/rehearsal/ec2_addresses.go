package rehearsal

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// address is an Elastic IP address. It stays the account's when nothing uses it.
type address struct {
	ID          string `json:"id"`
	IP          string `json:"ip"`
	Association string `json:"association,omitempty"`
	Interface   string `json:"interface,omitempty"`
	PrivateIP   string `json:"private_ip,omitempty"`
}

func (a *address) release() { a.Association, a.Interface, a.PrivateIP = "", "", "" }

func (ops operations) ec2Addresses() {
	ec2On(ops, ec2AllocateAddress)
	ec2On(ops, ec2AssociateAddress)
	ec2On(ops, ec2DisassociateAddress)
	ec2On(ops, ec2ReleaseAddress)
	ec2On(ops, ec2DescribeAddresses)
}

// publicIP hands out documentation addresses (RFC 5737), so that nothing here names a real host. The
// third such block, 203.0.113.0/24, is the intruders'.
func (w *world) publicIP() string {
	n := w.EC2.PublicIPs
	w.EC2.PublicIPs++
	block := [...]string{"198.51.100", "192.0.2"}[n/250%2]
	return fmt.Sprintf("%s.%d", block, 4+n%250)
}

// givePublicIP gives the interface an automatic address where it should have one
// and no Elastic IP stands in its way: on launch, on start, and when an Elastic
// IP is taken off ("Amazon EC2 instance IP addressing"). Only the primary interface
// gets one (API_ModifyNetworkInterfaceAttribute).
func (w *world) givePublicIP(n *networkInterface) {
	for _, a := range w.EC2.Addresses {
		if a.Interface == n.ID && a.PrivateIP == n.IPs[0] {
			return
		}
	}
	if n.AutoPublic && n.PublicIP == "" && n.Attachment != nil && n.Attachment.Index == 0 {
		n.PublicIP = w.publicIP()
	}
}

// ec2AllocateAddress: API_AllocateAddress.
func ec2AllocateAddress(c *call, in *ec2.AllocateAddressInput) (*ec2.AllocateAddressOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	tags, err := tagsFor(types.ResourceTypeElasticIp, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	a := &address{ID: c.id("eipalloc"), IP: c.publicIP()}
	c.EC2.Addresses[a.ID] = a
	c.tag(a.ID, tags)
	return &ec2.AllocateAddressOutput{AllocationId: &a.ID, PublicIp: &a.IP, Domain: types.DomainTypeVpc, PublicIpv4Pool: aws.String("amazon"), NetworkBorderGroup: &c.Region}, nil
}

// ec2AssociateAddress: API_AssociateAddress. An address that is elsewhere moves here
// unless AllowReassociation is false; an Elastic IP that was here is
// pushed out, an automatic address is given back for good.
func ec2AssociateAddress(c *call, in *ec2.AssociateAddressInput) (*ec2.AssociateAddressOutput, error) {
	s := c.ec2()
	a, err := get(kindAddress, s.Addresses, in.AllocationId)
	if err != nil {
		return nil, err
	}
	n, err := c.addressTarget(in)
	if err != nil {
		return nil, err
	}
	private := valueOr(in.PrivateIpAddress, n.IPs[0])
	if a.Interface == n.ID && a.PrivateIP == private {
		return &ec2.AssociateAddressOutput{AssociationId: &a.Association}, nil
	}
	if in.AllowReassociation != nil && !*in.AllowReassociation && a.Association != "" {
		return nil, apiError("Resource.AlreadyAssociated", fmt.Sprintf("resource %s is already associated with associate-id %s", a.ID, a.Association))
	}
	if !c.hasGateway(n.VPC) {
		return nil, apiError("Gateway.NotAttached", fmt.Sprintf("Network %s is not attached to any internet gateway", n.VPC))
	}
	if from := s.Interfaces[a.Interface]; from != nil {
		a.release()
		c.givePublicIP(from)
	}
	for _, other := range s.Addresses {
		if other.Interface == n.ID && other.PrivateIP == private {
			other.release()
		}
	}
	if private == n.IPs[0] {
		n.PublicIP = ""
	}
	a.Association, a.Interface, a.PrivateIP = c.id("eipassoc"), n.ID, private
	return &ec2.AssociateAddressOutput{AssociationId: &a.Association}, nil
}

// addressTarget is the interface that an address goes to.
func (c *call) addressTarget(in *ec2.AssociateAddressInput) (*networkInterface, error) {
	s := c.ec2()
	if (in.InstanceId == nil) == (in.NetworkInterfaceId == nil) {
		return nil, apiError("InvalidParameterCombination", "You must specify either an instance ID or a network interface ID")
	}
	id := in.NetworkInterfaceId
	if id == nil {
		i, err := get(kindInstance, s.Instances, in.InstanceId)
		if err != nil {
			return nil, err
		}
		nics := s.interfacesOf(i.ID)
		if len(nics) != 1 {
			return nil, apiError("InvalidInstanceID", fmt.Sprintf("There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", i.ID))
		}
		id = &nics[0].ID
	}
	n, err := get(kindInterface, s.Interfaces, id)
	if err != nil {
		return nil, err
	}
	if p := in.PrivateIpAddress; p != nil && !slices.Contains(n.IPs, *p) {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("The private IP address %s is not assigned to interface %s", *p, n.ID))
	}
	return n, nil
}

// ec2DisassociateAddress: API_DisassociateAddress. Where the interface was launched
// with an automatic public address, it gets a new one: the host is not off the Internet by this alone.
// The page calls the operation idempotent; an association that is gone is answered the strict way here.
func ec2DisassociateAddress(c *call, in *ec2.DisassociateAddressInput) (*ec2.DisassociateAddressOutput, error) {
	s := c.ec2()
	for _, a := range s.Addresses {
		if a.Association != "" && (a.Association == aws.ToString(in.AssociationId) || a.IP == aws.ToString(in.PublicIp)) {
			n := s.Interfaces[a.Interface]
			a.release()
			c.givePublicIP(n)
			return &ec2.DisassociateAddressOutput{}, nil
		}
	}
	return nil, apiError("InvalidAssociationID.NotFound", fmt.Sprintf("The association ID '%s' does not exist", aws.ToString(in.AssociationId)))
}

// ec2ReleaseAddress: API_ReleaseAddress.
func ec2ReleaseAddress(c *call, in *ec2.ReleaseAddressInput) (*ec2.ReleaseAddressOutput, error) {
	s := c.ec2()
	a, err := get(kindAddress, s.Addresses, in.AllocationId)
	if err != nil {
		return nil, err
	}
	if a.Association != "" {
		return nil, apiError("InvalidIPAddress.InUse", fmt.Sprintf("Address %s is in use.", a.IP))
	}
	deleteWhere(s, s.Addresses, func(o *address) bool { return o == a })
	return &ec2.ReleaseAddressOutput{}, nil
}

// ec2DescribeAddresses: API_DescribeAddresses. Automatic public addresses are not
// listed here.
func ec2DescribeAddresses(c *call, in *ec2.DescribeAddressesInput) (*ec2.DescribeAddressesOutput, error) {
	s, q := c.ec2(), query{in.AllocationIds, in.Filters}
	for _, ip := range in.PublicIps {
		id := ""
		for _, a := range s.Addresses {
			if a.IP == ip {
				id = a.ID
			}
		}
		if id == "" {
			return nil, apiError("InvalidAddress.NotFound", fmt.Sprintf("Address '%s' not found.", ip))
		}
		q.ids = append(q.ids, id)
	}
	ids, err := find(c, kindAddress, s.Addresses, q, c.addressField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeAddressesOutput{}
	for _, id := range ids {
		a := s.Addresses[id]
		shown := types.Address{
			AllocationId: &a.ID, PublicIp: &a.IP, Domain: types.DomainTypeVpc, AssociationId: nilIfEmpty(a.Association), NetworkInterfaceId: nilIfEmpty(a.Interface),
			PrivateIpAddress: nilIfEmpty(a.PrivateIP), PublicIpv4Pool: aws.String("amazon"), NetworkBorderGroup: &c.Region, Tags: c.tagList(a.ID),
		}
		if n := s.Interfaces[a.Interface]; n != nil {
			shown.NetworkInterfaceOwnerId = &c.Account
			if n.Attachment != nil {
				shown.InstanceId = &n.Attachment.Instance
			}
		}
		out.Addresses = append(out.Addresses, shown)
	}
	return out, nil
}

func (c *call) addressField(a *address, name string) ([]string, bool) {
	switch name {
	case "allocation-id":
		return one(a.ID), true
	case "association-id":
		return one(a.Association), true
	case "public-ip":
		return one(a.IP), true
	case "private-ip-address":
		return one(a.PrivateIP), true
	case "network-interface-id":
		return one(a.Interface), true
	case "instance-id":
		if n := c.EC2.Interfaces[a.Interface]; n != nil && n.Attachment != nil {
			return one(n.Attachment.Instance), true
		}
		return nil, true
	case "domain":
		return []string{"vpc"}, true
	}
	return nil, false
}
