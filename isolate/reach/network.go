package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Network is an instance with everything that decides its paths.
type Network struct {
	instance   ec2types.Instance
	interfaces []nic
	vpcs       map[string]*VPC
	ways       []way
}

// nic is an interface of the instance.
type nic struct {
	ec2types.NetworkInterface
	id, subnet, acl string
	device          int32
	vpc             *VPC
	v4, v6          []netip.Addr // single addresses; those within a delegated prefix are left out
	nets4, nets6    []netip.Prefix
	primary6        netip.Addr     // can't be unassigned; zero for none
	local           []netip.Prefix // what the subnet's route table keeps in the VPC
}

// New works out the paths of an instance whose interfaces are these, as AWS shows
// them; each one's VPC must be among vpcs. The interfaces, not the VPC's list, say
// which groups and addresses the instance has.
func New(instance ec2types.Instance, interfaces []ec2types.NetworkInterface, vpcs ...*VPC) (*Network, error) {
	n := &Network{instance: instance, vpcs: make(map[string]*VPC)}
	for _, v := range vpcs {
		n.vpcs[v.ID] = v
	}
	for _, i := range interfaces {
		v := n.vpcs[aws.ToString(i.VpcId)]
		if v == nil {
			return nil, fmt.Errorf("network interface %s: its network %s was not read", aws.ToString(i.NetworkInterfaceId), aws.ToString(i.VpcId))
		}
		n.interfaces = append(n.interfaces, newNIC(i, v))
	}
	slices.SortStableFunc(n.interfaces, func(a, b nic) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.id, b.id))
	})
	for i := range n.interfaces {
		n.ways = append(n.ways, n.interfaces[i].find()...)
	}
	n.ways = append(n.ways, n.services()...)
	return n, nil
}

func newNIC(i ec2types.NetworkInterface, v *VPC) nic {
	f := nic{NetworkInterface: i, id: aws.ToString(i.NetworkInterfaceId), subnet: aws.ToString(i.SubnetId), vpc: v}
	f.acl, f.local = v.aclOf(f.subnet), v.local(f.subnet)
	if i.Attachment != nil {
		f.device = aws.ToInt32(i.Attachment.DeviceIndex)
	}
	for _, p := range i.Ipv4Prefixes {
		f.nets4 = appendPrefix(f.nets4, p.Ipv4Prefix)
	}
	for _, p := range i.Ipv6Prefixes {
		f.nets6 = appendPrefix(f.nets6, p.Ipv6Prefix)
	}
	for _, a := range i.PrivateIpAddresses {
		f.v4 = appendAddr(f.v4, a.PrivateIpAddress, f.nets4)
	}
	if len(f.v4) == 0 {
		f.v4 = appendAddr(f.v4, i.PrivateIpAddress, f.nets4)
	}
	for _, a := range i.Ipv6Addresses {
		f.v6 = appendAddr(f.v6, a.Ipv6Address, f.nets6)
		if aws.ToBool(a.IsPrimaryIpv6) {
			f.primary6, _ = netip.ParseAddr(aws.ToString(a.Ipv6Address))
		}
	}
	slices.SortFunc(f.v4, netip.Addr.Compare)
	slices.SortFunc(f.v6, netip.Addr.Compare)
	return f
}

func appendPrefix(all []netip.Prefix, text *string) []netip.Prefix {
	p, err := netip.ParsePrefix(aws.ToString(text))
	if err != nil {
		return all
	}
	return append(all, p.Masked())
}

func appendAddr(all []netip.Addr, text *string, within []netip.Prefix) []netip.Addr {
	a, err := netip.ParseAddr(aws.ToString(text))
	if err != nil || slices.Contains(all, a) || slices.ContainsFunc(within, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return all
	}
	return append(all, a)
}

// own are the interface's addresses of one family.
func (f *nic) own(six bool) ([]netip.Addr, []netip.Prefix) {
	if six {
		return f.v6, f.nets6
	}
	return f.v4, f.nets4
}

func (f *nic) has(six bool) bool {
	addresses, nets := f.own(six)
	return len(addresses)+len(nets) > 0
}

// public are the public IPv4 addresses, by the private one behind each.
func (f *nic) public() []Address {
	var all []Address
	add := func(private *string, as *ec2types.NetworkInterfaceAssociation) {
		if as == nil {
			return
		}
		p, perr := netip.ParseAddr(aws.ToString(private))
		q, qerr := netip.ParseAddr(aws.ToString(as.PublicIp))
		if perr == nil && qerr == nil {
			// "amazon" owns automatic addresses, and they have no allocation.
			all = append(all, Address{Interface: f.id, Private: p, Public: q, Automatic: as.AllocationId == nil})
		}
	}
	for _, a := range f.PrivateIpAddresses {
		add(a.PrivateIpAddress, a.Association)
	}
	if len(f.PrivateIpAddresses) == 0 {
		add(f.PrivateIpAddress, f.Association)
	}
	slices.SortFunc(all, func(a, b Address) int { return a.Private.Compare(b.Private) })
	return all
}

func (f *nic) name() string { return fmt.Sprintf("%s (eth%d)", f.id, f.device) }

// foreign reports whether what this account owns is someone else's to the instance:
// in a shared VPC subnets, routes and ACLs are the owner's.
func (f *nic) foreign(owner *string) bool {
	return owner != nil && f.OwnerId != nil && *owner != *f.OwnerId
}

func (n *Network) nic(id string) *nic {
	for i := range n.interfaces {
		if n.interfaces[i].id == id {
			return &n.interfaces[i]
		}
	}
	return nil
}

// Paths are all paths between the instance and the rest of the world, in one order:
// by interface, then by kind and what they pass.
func (n *Network) Paths() []Path {
	all := make([]Path, len(n.ways))
	for i, w := range n.ways {
		all[i] = w.Path
	}
	return all
}

// String is the path as a responder reads it.
func (p Path) String() string {
	name, family, to := fmt.Sprintf("%s (eth%d)", p.Interface, p.Device), "", ""
	if p.six() {
		family = " over IPv6"
	}
	if p.To != "" {
		to = " (" + p.To + ")"
	}
	switch p.Kind {
	case Service:
		return name + " to the " + p.Via
	case SameSubnet:
		return name + " with neighbours in the same subnet, " + p.Via + family + to
	case OtherSubnet:
		if len(p.Edges) > 1 {
			return name + " with other subnets, behind " + p.Via + family + to
		}
		return name + " with another subnet, " + p.Via + family + to
	}
	if p.Public.IsValid() {
		name += " as " + p.Public.String()
	}
	return name + family + " through " + string(p.Kind) + " " + p.Via + to
}

// six reports whether it is a path of IPv6.
func (p Path) six() bool {
	if len(p.Local) > 0 {
		return p.Local[0].Is6()
	}
	return len(p.Delegated) > 0 && p.Delegated[0].Addr().Is6()
}

// prefixes are the instance's own addresses on the path, as an ACL entry names them.
func (p Path) prefixes() []netip.Prefix {
	all := make([]netip.Prefix, 0, len(p.Local)+len(p.Delegated))
	for _, a := range p.Local {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return append(all, p.Delegated...)
}
