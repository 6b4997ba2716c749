package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// public is a public IPv4 address in front of a private one. Without an
// allocation AWS gave it, and takes it back for good.
type public struct {
	Private     string `json:"private"`
	Address     string `json:"address"`
	Allocation  string `json:"allocation,omitempty"`
	Association string `json:"association,omitempty"`
}

func (p public) String() string { return label(p.Address, p.Allocation) }

func publicOf(n ec2types.NetworkInterface) []public {
	var all []public
	add := func(private *string, a *ec2types.NetworkInterfaceAssociation) {
		if a != nil && a.PublicIp != nil {
			all = append(all, public{
				Private: aws.ToString(private), Address: *a.PublicIp, Allocation: aws.ToString(a.AllocationId), Association: aws.ToString(a.AssociationId),
			})
		}
	}
	for _, p := range n.PrivateIpAddresses {
		add(p.PrivateIpAddress, p.Association)
	}
	if len(all) == 0 {
		add(n.PrivateIpAddress, n.Association)
	}
	return all
}

func ipv6Of(n ec2types.NetworkInterface) []string {
	var all []string
	for _, a := range n.Ipv6Addresses {
		all = append(all, aws.ToString(a.Ipv6Address))
	}
	for _, p := range n.Ipv6Prefixes {
		all = append(all, aws.ToString(p.Ipv6Prefix))
	}
	slices.Sort(all)
	return all
}

// split tells IPv6 addresses from prefixes.
func split(list []string) (addresses, prefixes []string) {
	for _, s := range list {
		if strings.Contains(s, "/") {
			prefixes = append(prefixes, s)
		} else {
			addresses = append(addresses, s)
		}
	}
	return addresses, prefixes
}

// at is the public address in front of a private one.
func (w wire) at(private string) (public, bool) {
	i := slices.IndexFunc(w.Public, func(p public) bool { return p.Private == private })
	if i < 0 {
		return public{}, false
	}
	return w.Public[i], true
}

// automatic is the address that AWS gave; empty for none.
func (w wire) automatic() string {
	i := slices.IndexFunc(w.Public, func(p public) bool { return p.Allocation == "" })
	if i < 0 {
		return ""
	}
	return w.Public[i].Address
}

// readAutomatic fills in whether AWS gives the interface a public address
// whenever it has no Elastic IP. Where one is there, that is the answer.
func (w *wired) readAutomatic(ctx context.Context, n *wire) error {
	if n.Automatic = n.automatic() != ""; n.Automatic {
		return nil
	}
	out, err := w.ec2.DescribeNetworkInterfaceAttribute(ctx, &ec2.DescribeNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(n.ID), Attribute: ec2types.NetworkInterfaceAttributeAssociatePublicIpAddress,
	})
	if err != nil {
		return fmt.Errorf("whether AWS gives %s a public address: %w", n.name(), err)
	}
	n.Automatic = aws.ToBool(out.AssociatePublicIpAddress)
	return nil
}

// What a change or a difference says of an address that is not there.
const (
	none      = "none"
	automatic = "given by AWS"

	automaticWord = "automatic public address"
)

func elasticWord(p public) string { return "Elastic IP of " + p.Private }

// addressDrifts are the three-way differences of an interface's addresses.
// Uses are where its Elastic IPs are in use now, by allocation.
func addressDrifts(before, now wire, uses map[string]string) []incident.Drift {
	var all []incident.Drift
	for _, p := range before.Public {
		if p.Allocation == "" {
			continue
		}
		d := incident.Drift{Resource: before.name(), What: elasticWord(p), Before: p.String(), Set: none, Now: none}
		if here, ok := now.at(p.Private); ok && here.Allocation != "" {
			d.Now = here.String()
		}
		if use := uses[p.Allocation]; use != "" && d.Now != d.Before {
			d.Now += fmt.Sprintf(" (%s is in use by %s)", p.Allocation, use)
		}
		all = append(all, d)
	}
	if before.Automatic {
		d := incident.Drift{Resource: before.name(), What: automaticWord, Before: automatic, Set: none, Now: none}
		if now.Automatic {
			d.Now = automatic
		}
		all = append(all, d)
	}
	if len(before.IPv6) > 0 {
		all = append(all, incident.Drift{
			Resource: before.name(), What: "IPv6 addresses", Before: strings.Join(before.IPv6, ", "), Set: none,
			Now: orNone(intersection(now.IPv6, before.IPv6)),
		})
	}
	return all
}

func intersection(list, with []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !slices.Contains(with, s) })
}

func without(list, those []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(those, s) })
}

func orNone(list []string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

// takeAddresses takes the interface's public addresses off. That AWS gives it
// an address ends first: an Elastic IP that goes would bring a new one ("Amazon
// EC2 instance IP addressing").
func (w *wired) takeAddresses(ctx context.Context, before, now wire) error {
	if before.Automatic && len(now.Public) > 0 {
		if err := w.setAutomatic(ctx, before.ID, false); err != nil {
			return err
		}
	}
	for _, p := range now.Public {
		if p.Allocation == "" || !slices.ContainsFunc(before.Public, func(b public) bool { return b.Allocation == p.Allocation }) {
			continue
		}
		_, err := w.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: aws.String(p.Association)})
		if err != nil && !hasCode(err, "InvalidAssociationID.NotFound") { // a lost answer: it was done
			return fmt.Errorf("take %s off %s: %w", p, before.name(), err)
		}
	}
	return w.takeIPv6(ctx, before, now)
}

func (w *wired) setAutomatic(ctx context.Context, id string, on bool) error {
	_, err := w.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(id), AssociatePublicIpAddress: aws.Bool(on),
	})
	if err != nil {
		return fmt.Errorf("set whether AWS gives %s a public address: %w", id, err)
	}
	return nil
}

func (w *wired) takeIPv6(ctx context.Context, before, now wire) error {
	here := intersection(now.IPv6, before.IPv6)
	if len(here) == 0 {
		return nil
	}
	addresses, prefixes := split(here)
	_, err := w.ec2.UnassignIpv6Addresses(ctx, &ec2.UnassignIpv6AddressesInput{
		NetworkInterfaceId: aws.String(before.ID), Ipv6Addresses: addresses, Ipv6Prefixes: prefixes,
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("take %s off %s: %w", strings.Join(here, ", "), before.name(), err)
	// After a lost answer AWS refuses to take off what is gone.
	if again, findErr := w.find(ctx, "network-interface-id", before.ID); findErr != nil {
		return errors.Join(err, findErr)
	} else if len(again) == 1 && len(intersection(ipv6Of(again[0]), here)) == 0 {
		return nil
	}
	return err
}

// uses tells where the Elastic IPs of the interfaces are in use elsewhere, and
// which exist no more.
func (w *wired) uses(ctx context.Context, interfaces []wire) (uses map[string]string, gone map[string]bool, err error) {
	uses, gone = make(map[string]string), make(map[string]bool)
	for _, n := range interfaces {
		for _, p := range n.Public {
			if p.Allocation != "" {
				gone[p.Allocation] = true
			}
		}
	}
	if len(gone) == 0 {
		return uses, gone, nil
	}
	var ids []string
	for id := range gone {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out, err := w.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []ec2types.Filter{{Name: aws.String("allocation-id"), Values: ids}}})
	if err != nil {
		return nil, nil, fmt.Errorf("addresses (Elastic IPs) %s: %w", strings.Join(ids, ", "), err)
	}
	for _, a := range out.Addresses {
		delete(gone, aws.ToString(a.AllocationId))
		if a.AssociationId != nil {
			uses[aws.ToString(a.AllocationId)] = strings.TrimSpace(aws.ToString(a.NetworkInterfaceId) + " " + aws.ToString(a.PrivateIpAddress))
		}
	}
	return uses, gone, nil
}

// giveAddress puts an Elastic IP back in front of the same private address.
func (w *wired) giveAddress(ctx context.Context, n wire, p public, force bool) error {
	_, err := w.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{
		AllocationId: aws.String(p.Allocation), NetworkInterfaceId: aws.String(n.ID), PrivateIpAddress: aws.String(p.Private),
		AllowReassociation: aws.Bool(force),
	})
	if err != nil {
		return fmt.Errorf("give %s back to %s: %w", p, n.name(), err)
	}
	return nil
}

// giveIPv6 assigns exactly the addresses that were there before.
func (w *wired) giveIPv6(ctx context.Context, before, now wire) error {
	missing := without(before.IPv6, now.IPv6)
	if len(missing) == 0 {
		return nil
	}
	addresses, prefixes := split(missing)
	_, err := w.ec2.AssignIpv6Addresses(ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: aws.String(before.ID), Ipv6Addresses: addresses, Ipv6Prefixes: prefixes})
	if err != nil {
		return incident.WithHint(fmt.Errorf("give %s back to %s: %w", strings.Join(missing, ", "), before.name(), err),
			"another interface may have the address now: take it off there, then release again")
	}
	return nil
}

// takenIPv6 tells which of the interface's IPv6 addresses another interface has
// now; taken is nil for none.
func (w *wired) takenIPv6(ctx context.Context, before, now wire) (taken, err error) {
	missing, _ := split(without(before.IPv6, now.IPv6))
	if len(missing) == 0 {
		return nil, nil
	}
	found, err := w.find(ctx, "ipv6-addresses.ipv6-address", missing...)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, n := range found {
		for _, a := range n.Ipv6Addresses {
			if slices.Contains(missing, aws.ToString(a.Ipv6Address)) && aws.ToString(n.NetworkInterfaceId) != before.ID {
				words = append(words, fmt.Sprintf("%s is in use by %s", aws.ToString(a.Ipv6Address), aws.ToString(n.NetworkInterfaceId)))
			}
		}
	}
	if len(words) == 0 {
		return nil, nil
	}
	return incident.WithHint(fmt.Errorf("%s: its IPv6 addresses can't be restored: %s", before.name(), strings.Join(words, "; ")),
		"take the address off the other interface, then release again; with force it is left out"), nil
}
