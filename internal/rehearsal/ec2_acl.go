package rehearsal

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// networkACL filters at the edge of its subnets, without state.
type networkACL struct {
	ID           string           `json:"id"`
	VPC          string           `json:"vpc"`
	Default      bool             `json:"default,omitempty"`
	Entries      []aclEntry       `json:"entries"` // by direction and number, the last ones AWS's own denials
	Associations []aclAssociation `json:"associations"`
}

type aclAssociation struct {
	ID     string `json:"id"`
	Subnet string `json:"subnet"`
}

type aclEntry struct {
	Number   int32               `json:"number"`
	Egress   bool                `json:"egress,omitempty"`
	Protocol string              `json:"protocol"` // a number, -1: all
	Allow    bool                `json:"allow,omitempty"`
	CIDR     string              `json:"cidr,omitempty"`
	CIDR6    string              `json:"cidr6,omitempty"`
	Ports    *types.PortRange    `json:"ports,omitempty"`
	ICMP     *types.IcmpTypeCode `json:"icmp,omitempty"`
}

// entriesPerACL is the default quota in each direction for each family, AWS's own last
// entry counted ("Amazon VPC quotas").
const entriesPerACL = 20

func (ops operations) ec2ACLs() {
	ec2On(ops, ec2DescribeNetworkAcls)
	ec2On(ops, ec2CreateNetworkAcl)
	ec2On(ops, ec2DeleteNetworkAcl)
	ec2On(ops, ec2ReplaceNetworkAclAssociation)
	ec2On(ops, ec2CreateNetworkAclEntry)
	ec2On(ops, ec2ReplaceNetworkAclEntry)
	ec2On(ops, ec2DeleteNetworkAclEntry)
}

// makeDefaultACL lets everything through; a new one made by hand denies everything
// ("Network ACL basics", VPC User Guide).
func (c *call) makeDefaultACL(v *vpc) {
	a := c.makeACL(v)
	a.Default = true
	for _, egress := range []bool{false, true} {
		a.put(aclEntry{Number: 100, Egress: egress, Protocol: "-1", Allow: true, CIDR: "0.0.0.0/0"})
		if v.IPv6CIDR != "" {
			a.put(aclEntry{Number: 101, Egress: egress, Protocol: "-1", Allow: true, CIDR6: "::/0"})
		}
	}
}

// makeACL has AWS's own last entries only, which can't be changed.
func (c *call) makeACL(v *vpc) *networkACL {
	a := &networkACL{ID: c.id("acl"), VPC: v.ID}
	for _, egress := range []bool{false, true} {
		a.put(aclEntry{Number: 32767, Egress: egress, Protocol: "-1", CIDR: "0.0.0.0/0"})
		if v.IPv6CIDR != "" {
			a.put(aclEntry{Number: 32768, Egress: egress, Protocol: "-1", CIDR6: "::/0"})
		}
	}
	c.EC2.ACLs[a.ID] = a
	return a
}

func (a *networkACL) index(egress bool, number int32) int {
	return slices.IndexFunc(a.Entries, func(e aclEntry) bool { return e.Egress == egress && e.Number == number })
}

// put adds or replaces an entry and keeps the order in which they are evaluated.
func (a *networkACL) put(e aclEntry) {
	if n := a.index(e.Egress, e.Number); n >= 0 {
		a.Entries[n] = e
		return
	}
	a.Entries = append(a.Entries, e)
	slices.SortFunc(a.Entries, func(x, y aclEntry) int {
		if x.Egress != y.Egress {
			if x.Egress {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Number, y.Number)
	})
}

// ec2DescribeNetworkAcls: API_DescribeNetworkAcls.
func ec2DescribeNetworkAcls(c *call, in *ec2.DescribeNetworkAclsInput) (*ec2.DescribeNetworkAclsOutput, error) {
	q := listing{query{in.NetworkAclIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindACL, c.ec2().ACLs, q, c.aclField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeNetworkAclsOutput{NetworkAcls: each(found, c.showACL), NextToken: next}, nil
}

// showACL: API_NetworkAcl.
func (c *call) showACL(a *networkACL) types.NetworkAcl {
	out := types.NetworkAcl{NetworkAclId: &a.ID, VpcId: &a.VPC, IsDefault: &a.Default, OwnerId: aws.String(c.ownerOf(a.VPC)), Tags: c.tagList(a.ID)}
	for n := range a.Associations {
		out.Associations = append(out.Associations, types.NetworkAclAssociation{
			NetworkAclAssociationId: &a.Associations[n].ID, NetworkAclId: &a.ID, SubnetId: &a.Associations[n].Subnet,
		})
	}
	for _, e := range a.Entries {
		action := types.RuleActionDeny
		if e.Allow {
			action = types.RuleActionAllow
		}
		out.Entries = append(out.Entries, types.NetworkAclEntry{
			RuleNumber: aws.Int32(e.Number), Egress: aws.Bool(e.Egress), Protocol: aws.String(e.Protocol), RuleAction: action,
			CidrBlock: nilIfEmpty(e.CIDR), Ipv6CidrBlock: nilIfEmpty(e.CIDR6), PortRange: e.Ports, IcmpTypeCode: e.ICMP,
		})
	}
	return out
}

func (c *call) aclField(a *networkACL, name string) (values []string, ok bool) {
	switch name {
	case "owner-id":
		return one(c.ownerOf(a.VPC)), true
	case "network-acl-id":
		return one(a.ID), true
	case "vpc-id":
		return one(a.VPC), true
	case "default":
		return yes(a.Default), true
	case "association.subnet-id":
		for _, as := range a.Associations {
			values = append(values, as.Subnet)
		}
		return values, true
	case "association.association-id":
		for _, as := range a.Associations {
			values = append(values, as.ID)
		}
		return values, true
	case "entry.cidr":
		for _, e := range a.Entries {
			values = append(values, one(e.CIDR)...)
		}
		return values, true
	}
	return nil, false
}

// ec2CreateNetworkAcl: API_CreateNetworkAcl.
func ec2CreateNetworkAcl(c *call, in *ec2.CreateNetworkAclInput) (*ec2.CreateNetworkAclOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateNetworkAcl", in.ClientToken, in, func() (string, error) {
		v, err := get(kindVPC, s.VPCs, in.VpcId)
		if err != nil {
			return "", err
		}
		if err := c.owned(v.ID, "CreateNetworkAcl"); err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeNetworkAcl, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		a := c.makeACL(v)
		c.tag(a.ID, tags)
		return a.ID, nil
	})
	if err != nil {
		return nil, err
	}
	shown := c.showACL(s.ACLs[made])
	return &ec2.CreateNetworkAclOutput{NetworkAcl: &shown, ClientToken: in.ClientToken}, nil
}

// ec2DeleteNetworkAcl: API_DeleteNetworkAcl. Neither the default one nor one with subnets.
func ec2DeleteNetworkAcl(c *call, in *ec2.DeleteNetworkAclInput) (*ec2.DeleteNetworkAclOutput, error) {
	s := c.ec2()
	a, err := get(kindACL, s.ACLs, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(a.VPC, "DeleteNetworkAcl"); err != nil {
		return nil, err
	}
	if a.Default {
		return nil, apiError("InvalidParameterValue", "Cannot delete default network ACL "+a.ID)
	}
	if len(a.Associations) > 0 {
		return nil, dependency(kindACL, a.ID)
	}
	deleteWhere(s, s.ACLs, func(o *networkACL) bool { return o == a })
	return &ec2.DeleteNetworkAclOutput{}, nil
}

// ec2ReplaceNetworkAclAssociation: API_ReplaceNetworkAclAssociation. The new
// association has a new ID.
func ec2ReplaceNetworkAclAssociation(c *call, in *ec2.ReplaceNetworkAclAssociationInput) (*ec2.ReplaceNetworkAclAssociationOutput, error) {
	s := c.ec2()
	a, err := get(kindACL, s.ACLs, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(a.VPC, "ReplaceNetworkAclAssociation"); err != nil {
		return nil, err
	}
	for _, old := range inOrder(s.ACLs) {
		n := slices.IndexFunc(old.Associations, func(as aclAssociation) bool { return as.ID == aws.ToString(in.AssociationId) })
		if n < 0 {
			continue
		}
		if old.VPC != a.VPC {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("networkAcl %s and subnet %s belong to different networks.", a.ID, old.Associations[n].Subnet))
		}
		as := aclAssociation{ID: c.id("aclassoc"), Subnet: old.Associations[n].Subnet}
		old.Associations = slices.Delete(old.Associations, n, n+1)
		a.Associations = append(a.Associations, as)
		return &ec2.ReplaceNetworkAclAssociationOutput{NewAssociationId: &as.ID}, nil
	}
	return nil, apiError("InvalidAssociationID.NotFound", fmt.Sprintf("The association ID '%s' does not exist", aws.ToString(in.AssociationId)))
}

// checkEntry reads an entry; the CIDR block is stored in canonical form.
func checkEntry(e aclEntry) (aclEntry, error) {
	if e.Number < 1 || e.Number > 32766 {
		return e, apiError("InvalidParameterValue", fmt.Sprintf("Value (%d) for parameter ruleNumber is invalid. It must be between 1 and 32766.", e.Number))
	}
	text := e.CIDR + e.CIDR6
	p, err := netip.ParsePrefix(text)
	if err != nil || (e.CIDR != "") == (e.CIDR6 != "") || p.Addr().Is4() != (e.CIDR != "") {
		return e, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", text))
	}
	if e.CIDR != "" {
		e.CIDR = p.Masked().String()
	} else {
		e.CIDR6 = p.Masked().String()
	}
	switch protocolName(e.Protocol) {
	case "tcp":
		e.Protocol = "6"
	case "udp":
		e.Protocol = "17"
	case "icmp":
		e.Protocol = "1"
	case "icmpv6":
		e.Protocol = "58"
	case "-1":
		e.Protocol = "-1"
	}
	if (e.Protocol == "6" || e.Protocol == "17") && e.Ports == nil {
		return e, apiError("MissingParameter", "The request must contain the parameter portRange for TCP and UDP")
	}
	return e, nil
}

// ec2CreateNetworkAclEntry: API_CreateNetworkAclEntry. A number is unique in its direction.
func ec2CreateNetworkAclEntry(c *call, in *ec2.CreateNetworkAclEntryInput) (*ec2.CreateNetworkAclEntryOutput, error) {
	a, err := get(kindACL, c.ec2().ACLs, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(a.VPC, "CreateNetworkAclEntry"); err != nil {
		return nil, err
	}
	e, err := checkEntry(aclEntry{
		Number: aws.ToInt32(in.RuleNumber), Egress: aws.ToBool(in.Egress), Protocol: aws.ToString(in.Protocol), Allow: in.RuleAction == types.RuleActionAllow,
		CIDR: aws.ToString(in.CidrBlock), CIDR6: aws.ToString(in.Ipv6CidrBlock), Ports: in.PortRange, ICMP: in.IcmpTypeCode,
	})
	if err != nil {
		return nil, err
	}
	if a.index(e.Egress, e.Number) >= 0 {
		return nil, apiError("NetworkAclEntryAlreadyExists", fmt.Sprintf("The network acl entry identified by %d already exists.", e.Number))
	}
	count := 0
	for _, o := range a.Entries {
		if o.Egress == e.Egress && (o.CIDR6 == "") == (e.CIDR6 == "") {
			count++
		}
	}
	if count >= entriesPerACL {
		return nil, apiError("NetworkAclEntryLimitExceeded", fmt.Sprintf("The maximum number of network acl entries has been reached: %d.", entriesPerACL))
	}
	a.put(e)
	return &ec2.CreateNetworkAclEntryOutput{}, nil
}

// ec2ReplaceNetworkAclEntry: API_ReplaceNetworkAclEntry.
func ec2ReplaceNetworkAclEntry(c *call, in *ec2.ReplaceNetworkAclEntryInput) (*ec2.ReplaceNetworkAclEntryOutput, error) {
	a, err := get(kindACL, c.ec2().ACLs, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(a.VPC, "ReplaceNetworkAclEntry"); err != nil {
		return nil, err
	}
	e, err := checkEntry(aclEntry{
		Number: aws.ToInt32(in.RuleNumber), Egress: aws.ToBool(in.Egress), Protocol: aws.ToString(in.Protocol), Allow: in.RuleAction == types.RuleActionAllow,
		CIDR: aws.ToString(in.CidrBlock), CIDR6: aws.ToString(in.Ipv6CidrBlock), Ports: in.PortRange, ICMP: in.IcmpTypeCode,
	})
	if err != nil {
		return nil, err
	}
	if a.index(e.Egress, e.Number) < 0 {
		return nil, noEntry(e.Egress, e.Number)
	}
	a.put(e)
	return &ec2.ReplaceNetworkAclEntryOutput{}, nil
}

func noEntry(egress bool, number int32) error {
	direction := "ingress"
	if egress {
		direction = "egress"
	}
	return apiError("InvalidNetworkAclEntry.NotFound", fmt.Sprintf("The specified %s network acl entry %d does not exist.", direction, number))
}

// ec2DeleteNetworkAclEntry: API_DeleteNetworkAclEntry.
func ec2DeleteNetworkAclEntry(c *call, in *ec2.DeleteNetworkAclEntryInput) (*ec2.DeleteNetworkAclEntryOutput, error) {
	a, err := get(kindACL, c.ec2().ACLs, in.NetworkAclId)
	if err != nil {
		return nil, err
	}
	if err := c.owned(a.VPC, "DeleteNetworkAclEntry"); err != nil {
		return nil, err
	}
	number, egress := aws.ToInt32(in.RuleNumber), aws.ToBool(in.Egress)
	n := a.index(egress, number)
	if n < 0 || number > 32766 {
		return nil, noEntry(egress, number)
	}
	a.Entries = slices.Delete(a.Entries, n, n+1)
	return &ec2.DeleteNetworkAclEntryOutput{}, nil
}
