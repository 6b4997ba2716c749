package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// edgeACLs denies the instance's own addresses at the far end. Such an entry hits
// nobody else, wherever the ACL is used: an inbound entry matches a packet's source, an outbound one its
// destination ("Network ACL rules"), and both are the instance. That holds too where
// the ACL is also the instance's own subnet's: there the instance is the other
// side of each packet, and the entry matches nothing.
func (d *decision) edgeACLs() {
	if !d.wish.wants(EdgeACL) {
		return
	}
	for i := range d.ways {
		w := &d.ways[i]
		if len(w.Edges) == 0 || !d.pending(i) {
			continue
		}
		want, err := d.edgeDenies(w)
		if err == nil {
			err = d.reserve(EdgeACL, want)
		}
		if err != nil {
			d.miss(i, EdgeACL, err.Error())
			continue
		}
		d.cut(i, EdgeACL, "")
	}
}

// edgeDenies are the entries that close every edge of the path: one that stays open
// leaves the path open.
func (d *decision) edgeDenies(w *way) ([]Deny, error) {
	var want []Deny
	for _, e := range w.Edges {
		if err := w.nic.changeable(e.ACL, e.Subnet); err != nil {
			return nil, err
		}
		for _, p := range w.prefixes() {
			deny := Deny{ACL: e.ACL, Prefix: p}
			if path := d.kept[deny]; path != "" {
				return nil, fmt.Errorf("%s also carries what the allow-list keeps: %s", e.ACL, path)
			}
			want = append(want, deny)
		}
	}
	return want, nil
}

// changeable: the owner of a shared VPC alone changes its ACLs ("Share your VPC
// subnets with other accounts").
func (f *nic) changeable(acl, subnet string) error {
	a := f.vpc.acl(acl)
	switch {
	case a == nil:
		return fmt.Errorf("the ACL of %s can't be seen", subnet)
	case f.foreign(a.OwnerId):
		return fmt.Errorf("%s belongs to account %s: only that one can change it", acl, aws.ToString(a.OwnerId))
	}
	return nil
}

// reserve adds the entries to the decision if the ACLs have room for all of them,
// with those reserved before.
func (d *decision) reserve(m Measure, want []Deny) error {
	all := slices.Concat(d.denies[EdgeACL], d.denies[RemoteACL], d.denies[SubnetACL], want)
	for _, deny := range want {
		a := d.acl(deny.ACL)
		var prefixes []netip.Prefix
		for _, o := range all {
			if o.ACL == deny.ACL && !slices.Contains(prefixes, o.Prefix) {
				prefixes = append(prefixes, o.Prefix)
			}
		}
		for _, egress := range []bool{false, true} {
			if _, err := Numbers(*a, egress, prefixes, d.wish.Quota); err != nil {
				return err
			}
		}
	}
	for _, deny := range want {
		if !slices.Contains(d.denies[m], deny) {
			d.denies[m] = append(d.denies[m], deny)
		}
	}
	slices.SortFunc(d.denies[m], func(a, b Deny) int {
		if a.ACL != b.ACL {
			return strings.Compare(a.ACL, b.ACL)
		}
		return comparePrefixes(a.Prefix, b.Prefix)
	})
	return nil
}

func (d *decision) acl(id string) *ec2types.NetworkAcl {
	for _, v := range d.vpcs {
		if a := v.acl(id); a != nil {
			return a
		}
	}
	return nil
}

// crosses reports whether the path crosses the edge of the instance's own subnet.
func (w *way) crosses() bool { return w.Kind != SameSubnet && w.Kind != Service }

// subnetACLs closes the own subnet, for everybody in it.
func (d *decision) subnetACLs() {
	if !d.wish.wants(SubnetACL) {
		return
	}
	for i := range d.interfaces {
		f := &d.interfaces[i]
		err := f.changeable(f.acl, f.subnet)
		if err == nil {
			var want []Deny
			for _, six := range []bool{false, true} {
				if f.has(six) || d.others(f, six) {
					want = append(want, Deny{ACL: f.acl, Prefix: (&way{Path: Path{Local: unspecified(six)}}).remotes()[0]})
				}
			}
			err = d.reserve(SubnetACL, want)
		}
		for j := range d.ways {
			w := &d.ways[j]
			switch {
			case w.nic != f || !w.crosses():
			case err != nil:
				d.miss(j, SubnetACL, err.Error())
			case w.unfiltered:
				d.miss(j, SubnetACL, "what comes from a transit gateway attached to the instance's own subnet meets no ACL")
			case d.choices[j].Cut:
				d.choices[j].Measures = append(d.choices[j].Measures, SubnetACL)
				d.worked[SubnetACL] = true
			default:
				d.cut(j, SubnetACL, "")
			}
		}
	}
}

func unspecified(six bool) []netip.Addr {
	if six {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return []netip.Addr{netip.IPv4Unspecified()}
}

// others reports whether the subnet has this family at all.
func (d *decision) others(f *nic, six bool) bool {
	s := f.vpc.subnet(f.subnet)
	return s != nil && len(blocks(s, six)) > 0
}

// remoteACLs denies the attacker's addresses on the instance's own subnet. That ends
// what the instance, and whoever shares the ACL, has open with them, and leaves the path to everyone else.
func (d *decision) remoteACLs() {
	if !d.wish.wants(RemoteACL) {
		return
	}
	for i := range d.ways {
		w := &d.ways[i]
		// An address that is gone ends nothing that AWS documents; a denial does.
		gone := slices.Contains(d.choices[i].Measures, Addresses)
		if !w.crosses() || !d.pending(i) && !gone {
			continue
		}
		var want []Deny
		var words []string
		for _, r := range d.wish.Remotes {
			if w.carries(r.Masked()) {
				want, words = append(want, Deny{ACL: w.nic.acl, Prefix: r.Masked()}), append(words, r.Masked().String())
			}
		}
		if len(want) == 0 {
			continue
		}
		err := w.nic.changeable(w.nic.acl, w.nic.subnet)
		if err == nil {
			err = d.reserve(RemoteACL, want)
		}
		if err != nil {
			d.miss(i, RemoteACL, err.Error())
			continue
		}
		c, rest := &d.choices[i], ", those with others do not"
		if gone {
			rest = " at once"
		}
		c.Measures = append(c.Measures, RemoteACL)
		c.Reason = joinReasons(c.Reason, fmt.Sprintf("connections with %s end%s", strings.Join(words, ", "), rest))
		d.worked[RemoteACL] = true
	}
}

// neighbours are the interfaces that SubnetACL hits beside the instance's own: all
// in the subnets of the ACL.
func (d *decision) neighbours() []string {
	var all []string
	for _, deny := range d.denies[SubnetACL] {
		for _, v := range d.vpcs {
			for _, n := range v.Interfaces {
				id := aws.ToString(n.NetworkInterfaceId)
				if d.nic(id) != nil || v.aclOf(aws.ToString(n.SubnetId)) != deny.ACL {
					continue
				}
				words := fmt.Sprintf("%s in %s", id, aws.ToString(n.SubnetId))
				if n.Attachment != nil && n.Attachment.InstanceId != nil {
					words += " of " + *n.Attachment.InstanceId
				} else if n.Description != nil && *n.Description != "" {
					words += " (" + *n.Description + ")"
				}
				all = append(all, words)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
