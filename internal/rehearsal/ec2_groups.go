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

// securityGroup belongs to one VPC.
type securityGroup struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	VPC         string      `json:"vpc"`
	Rules       []groupRule `json:"rules"`
}

// groupRule is one rule with one peer: exactly one of CIDR, CIDR6, PrefixList and
// Group is set. The permissions of DescribeSecurityGroups are put together from these.
type groupRule struct {
	ID          string `json:"id"`
	Egress      bool   `json:"egress,omitempty"`
	Protocol    string `json:"protocol"` // tcp, udp, icmp, icmpv6, -1 or a number
	From        int32  `json:"from"`     // -1: all
	To          int32  `json:"to"`
	CIDR        string `json:"cidr,omitempty"`
	CIDR6       string `json:"cidr6,omitempty"`
	PrefixList  string `json:"prefix_list,omitempty"`
	Group       string `json:"group,omitempty"`
	Description string `json:"description,omitempty"`
}

// Quotas of a new account ("Amazon VPC quotas").
const (
	groupsPerInterface = 5
	rulesPerGroup      = 60 // in each direction
)

func (ops operations) ec2Groups() {
	ec2On(ops, ec2CreateSecurityGroup)
	ec2On(ops, ec2DescribeSecurityGroups)
	ec2On(ops, ec2DescribeSecurityGroupRules)
	ec2On(ops, ec2DeleteSecurityGroup)
	ec2On(ops, ec2AuthorizeSecurityGroupIngress)
	ec2On(ops, ec2AuthorizeSecurityGroupEgress)
	ec2On(ops, ec2RevokeSecurityGroupIngress)
	ec2On(ops, ec2RevokeSecurityGroupEgress)
}

// same compares what makes a rule a rule: the description and the ID do not.
func (r groupRule) same(o groupRule) bool {
	r.ID, r.Description, o.ID, o.Description = "", "", "", ""
	return r == o
}

func (r groupRule) peer() string { return r.CIDR + r.CIDR6 + r.PrefixList + r.Group }

func (s *ec2State) groupOfRule(id string) *securityGroup {
	for _, g := range s.Groups {
		if slices.ContainsFunc(g.Rules, func(r groupRule) bool { return r.ID == id }) {
			return g
		}
	}
	return nil
}

// groupsFor checks the groups of an interface in a VPC; none given means the
// VPC's default group.
func (c *call) groupsFor(vpc string, ids []string) ([]string, error) {
	s := c.ec2()
	if len(ids) == 0 {
		for _, g := range inOrder(s.Groups) {
			if g.VPC == vpc && g.Name == "default" {
				return []string{g.ID}, nil
			}
		}
		return nil, apiError("VPCResourceNotSpecified", "The specified VPC has no default security group.")
	}
	var checked []string
	for _, id := range ids {
		g, err := get(kindGroup, s.Groups, &id)
		if err != nil {
			return nil, err
		}
		if g.VPC != vpc {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("You have specified two resources that belong to different networks: security group %s is in %s, not in %s.", id, g.VPC, vpc))
		}
		if !slices.Contains(checked, id) {
			checked = append(checked, id)
		}
	}
	if len(checked) > groupsPerInterface {
		return nil, apiError("SecurityGroupsPerInterfaceLimitExceeded", fmt.Sprintf("The maximum number of security groups per interface (%d) has been reached.", groupsPerInterface))
	}
	return checked, nil
}

// ec2CreateSecurityGroup: API_CreateSecurityGroup. The name is unique in its VPC. A new
// group lets everything out, over IPv6 too where the VPC has it.
func ec2CreateSecurityGroup(c *call, in *ec2.CreateSecurityGroupInput) (*ec2.CreateSecurityGroupOutput, error) {
	s := c.ec2()
	name := aws.ToString(in.GroupName)
	v, err := get(kindVPC, s.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if name == "" || len(name) > 255 || strings.HasPrefix(name, "sg-") || name == "default" {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid value '%s' for groupName. It must have 1 to 255 characters and may not begin with sg-.", name))
	}
	if d := aws.ToString(in.Description); d == "" || len(d) > 255 {
		return nil, apiError("InvalidParameterValue", "Invalid value for GroupDescription. It must have 1 to 255 characters.")
	}
	for _, g := range s.Groups {
		if g.VPC == v.ID && g.Name == name {
			return nil, apiError("InvalidGroup.Duplicate", fmt.Sprintf("The security group '%s' already exists for VPC '%s'", name, v.ID))
		}
	}
	tags, err := tagsFor(types.ResourceTypeSecurityGroup, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	g := c.makeGroup(v, name, *in.Description)
	c.tag(g.ID, tags)
	return &ec2.CreateSecurityGroupOutput{GroupId: &g.ID, SecurityGroupArn: aws.String(c.arn("security-group", g.ID)), Tags: c.tagList(g.ID)}, nil
}

func (c *call) makeGroup(v *vpc, name, description string) *securityGroup {
	g := &securityGroup{ID: c.id("sg"), Name: name, Description: description, VPC: v.ID}
	g.Rules = append(g.Rules, groupRule{ID: c.id("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"})
	if v.IPv6CIDR != "" {
		g.Rules = append(g.Rules, groupRule{ID: c.id("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"})
	}
	c.EC2.Groups[g.ID] = g
	return g
}

// ec2DeleteSecurityGroup: API_DeleteSecurityGroup. Refused while an interface, or a
// rule of another group, uses it.
func ec2DeleteSecurityGroup(c *call, in *ec2.DeleteSecurityGroupInput) (*ec2.DeleteSecurityGroupOutput, error) {
	s := c.ec2()
	g, err := get(kindGroup, s.Groups, in.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Name == "default" {
		return nil, apiError("CannotDelete", fmt.Sprintf("the specified group: \"%s\" name: \"default\" cannot be deleted by a user", g.ID))
	}
	used := false
	for _, n := range s.Interfaces {
		used = used || slices.Contains(n.Groups, g.ID)
	}
	for _, other := range s.Groups {
		used = used || other != g && slices.ContainsFunc(other.Rules, func(r groupRule) bool { return r.Group == g.ID })
	}
	if used {
		return nil, apiError("DependencyViolation", fmt.Sprintf("resource %s has a dependent object", g.ID))
	}
	for _, r := range g.Rules {
		delete(s.Tags, r.ID)
	}
	delete(s.Groups, g.ID)
	delete(s.Tags, g.ID)
	return &ec2.DeleteSecurityGroupOutput{GroupId: &g.ID, Return: aws.Bool(true)}, nil
}

// permissions puts rules together by protocol and ports, in the order they were made.
func (c *call) permissions(rules []groupRule, egress bool) []types.IpPermission {
	list := []types.IpPermission{}
	for _, r := range rules {
		if r.Egress != egress {
			continue
		}
		n := slices.IndexFunc(list, func(p types.IpPermission) bool {
			return *p.IpProtocol == r.Protocol && (p.FromPort == nil || *p.FromPort == r.From && *p.ToPort == r.To)
		})
		if n < 0 {
			p := types.IpPermission{IpProtocol: aws.String(r.Protocol)}
			if r.Protocol != "-1" {
				p.FromPort, p.ToPort = aws.Int32(r.From), aws.Int32(r.To)
			}
			n, list = len(list), append(list, p)
		}
		p := &list[n]
		switch {
		case r.CIDR != "":
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String(r.CIDR), Description: nilIfEmpty(r.Description)})
		case r.CIDR6 != "":
			p.Ipv6Ranges = append(p.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(r.CIDR6), Description: nilIfEmpty(r.Description)})
		case r.PrefixList != "":
			p.PrefixListIds = append(p.PrefixListIds, types.PrefixListId{PrefixListId: aws.String(r.PrefixList), Description: nilIfEmpty(r.Description)})
		default:
			p.UserIdGroupPairs = append(p.UserIdGroupPairs, types.UserIdGroupPair{GroupId: aws.String(r.Group), UserId: &c.Account, Description: nilIfEmpty(r.Description)})
		}
	}
	return list
}

// rulesOf is the way back: every peer of every permission as a rule of its own,
// CIDR blocks in canonical form as AWS stores them.
func (c *call) rulesOf(permissions []types.IpPermission, egress bool) ([]groupRule, error) {
	var rules []groupRule
	for _, p := range permissions {
		base := groupRule{Egress: egress, Protocol: protocolName(aws.ToString(p.IpProtocol)), From: -1, To: -1}
		switch base.Protocol {
		case "":
			return nil, apiError("InvalidParameterValue", "Invalid value '' for IP protocol. Unknown protocol.")
		case "tcp", "udp", "icmp", "icmpv6":
			if p.FromPort == nil || p.ToPort == nil {
				if base.Protocol == "tcp" || base.Protocol == "udp" {
					return nil, apiError("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
				}
				break
			}
			base.From, base.To = *p.FromPort, *p.ToPort
			if base.Protocol[0] != 'i' && (base.From < 0 || base.To > 65535 || base.From > base.To) {
				return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid TCP/UDP port range (%d:%d)", base.From, base.To))
			}
		}
		before := len(rules)
		for _, r := range p.IpRanges {
			rules = append(rules, base.with(func(n *groupRule) { n.CIDR, n.Description = aws.ToString(r.CidrIp), aws.ToString(r.Description) }))
		}
		for _, r := range p.Ipv6Ranges {
			rules = append(rules, base.with(func(n *groupRule) { n.CIDR6, n.Description = aws.ToString(r.CidrIpv6), aws.ToString(r.Description) }))
		}
		for _, r := range p.PrefixListIds {
			rules = append(rules, base.with(func(n *groupRule) {
				n.PrefixList, n.Description = aws.ToString(r.PrefixListId), aws.ToString(r.Description)
			}))
		}
		for _, r := range p.UserIdGroupPairs {
			rules = append(rules, base.with(func(n *groupRule) { n.Group, n.Description = aws.ToString(r.GroupId), aws.ToString(r.Description) }))
		}
		if len(rules) == before {
			return nil, apiError("MissingParameter", "Source group or CIDR must be specified in each permission.")
		}
	}
	for n := range rules {
		if err := c.checkPeer(&rules[n]); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func (r groupRule) with(set func(*groupRule)) groupRule {
	set(&r)
	return r
}

func (c *call) checkPeer(r *groupRule) error {
	if r.Group != "" {
		_, err := get(kindGroup, c.ec2().Groups, &r.Group)
		return err
	}
	for _, cidr := range []*string{&r.CIDR, &r.CIDR6} {
		if *cidr == "" {
			continue
		}
		p, err := netip.ParsePrefix(*cidr)
		if err != nil || p.Addr().Is4() != (cidr == &r.CIDR) {
			return apiError("InvalidParameterValue", fmt.Sprintf("CIDR block %s is malformed", *cidr))
		}
		*cidr = p.Masked().String()
	}
	return nil
}

// protocolName is how AWS stores a protocol: some by name, others by number.
func protocolName(p string) string {
	switch p = strings.ToLower(p); p {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "58":
		return "icmpv6"
	case "all":
		return "-1"
	}
	return p
}

// plainPermissions lets the old way of naming one rule, beside IpPermissions, count as one more permission.
func plainPermissions(list []types.IpPermission, protocol, cidr *string, from, to *int32) []types.IpPermission {
	if protocol == nil && cidr == nil {
		return list
	}
	return append(slices.Clone(list), types.IpPermission{
		IpProtocol: protocol, FromPort: from, ToPort: to, IpRanges: []types.IpRange{{CidrIp: cidr}},
	})
}

// authorize adds all rules or none.
func (c *call) authorize(group *string, permissions []types.IpPermission, egress bool, specs []types.TagSpecification) ([]types.SecurityGroupRule, error) {
	g, err := get(kindGroup, c.ec2().Groups, group)
	if err != nil {
		return nil, err
	}
	rules, err := c.rulesOf(permissions, egress)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, apiError("MissingParameter", "The request must contain the parameter ipPermissions")
	}
	tags, err := tagsFor(types.ResourceTypeSecurityGroupRule, specs)
	if err != nil {
		return nil, err
	}
	count := 0
	for _, r := range g.Rules {
		if r.Egress == egress {
			count++
		}
	}
	for n, r := range rules {
		if slices.ContainsFunc(g.Rules, r.same) || slices.ContainsFunc(rules[:n], r.same) {
			return nil, apiError("InvalidPermission.Duplicate", fmt.Sprintf("the specified rule \"peer: %s, %s, from port: %d, to port: %d, ALLOW\" already exists", r.peer(), strings.ToUpper(r.Protocol), r.From, r.To))
		}
	}
	if count+len(rules) > rulesPerGroup {
		return nil, apiError("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	var shown []types.SecurityGroupRule
	for _, r := range rules {
		r.ID = c.id("sgr")
		g.Rules = append(g.Rules, r)
		c.tag(r.ID, tags)
		shown = append(shown, c.showRule(g, r))
	}
	return shown, nil
}

// ec2AuthorizeSecurityGroupIngress: API_AuthorizeSecurityGroupIngress.
func ec2AuthorizeSecurityGroupIngress(c *call, in *ec2.AuthorizeSecurityGroupIngressInput) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	rules, err := c.authorize(in.GroupId, plainPermissions(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort), false, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return &ec2.AuthorizeSecurityGroupIngressOutput{Return: aws.Bool(true), SecurityGroupRules: rules}, nil
}

// ec2AuthorizeSecurityGroupEgress: API_AuthorizeSecurityGroupEgress.
func ec2AuthorizeSecurityGroupEgress(c *call, in *ec2.AuthorizeSecurityGroupEgressInput) (*ec2.AuthorizeSecurityGroupEgressOutput, error) {
	rules, err := c.authorize(in.GroupId, plainPermissions(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort), true, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return &ec2.AuthorizeSecurityGroupEgressOutput{Return: aws.Bool(true), SecurityGroupRules: rules}, nil
}

// revoke removes rules, by ID or by what they say. In a VPC that is not the
// default one, one rule that does not exist refuses the whole request
// (API_RevokeSecurityGroupIngress); in the default one it is only reported.
func (c *call) revoke(group *string, ids []string, permissions []types.IpPermission, egress bool) (gone []types.RevokedSecurityGroupRule, unknown []types.IpPermission, err error) {
	s := c.ec2()
	g, err := get(kindGroup, s.Groups, group)
	if err != nil {
		return nil, nil, err
	}
	rules, err := c.rulesOf(permissions, egress)
	if err != nil {
		return nil, nil, err
	}
	var drop []string
	for _, id := range ids {
		if !slices.ContainsFunc(g.Rules, func(r groupRule) bool { return r.ID == id && r.Egress == egress }) {
			return nil, nil, apiError("InvalidSecurityGroupRuleId.NotFound", fmt.Sprintf("The security group rule ID '%s' does not exist", id))
		}
		drop = append(drop, id)
	}
	var missing []groupRule
	for _, r := range rules {
		if n := slices.IndexFunc(g.Rules, r.same); n >= 0 {
			drop = append(drop, g.Rules[n].ID)
		} else {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 && !s.VPCs[g.VPC].Default {
		return nil, nil, apiError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
	}
	for _, r := range g.Rules {
		if slices.Contains(drop, r.ID) {
			gone = append(gone, showRevoked(g, r))
			delete(s.Tags, r.ID)
		}
	}
	g.Rules = slices.DeleteFunc(g.Rules, func(r groupRule) bool { return slices.Contains(drop, r.ID) })
	return gone, c.permissions(missing, egress), nil
}

// ec2RevokeSecurityGroupIngress: API_RevokeSecurityGroupIngress.
func ec2RevokeSecurityGroupIngress(c *call, in *ec2.RevokeSecurityGroupIngressInput) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	gone, unknown, err := c.revoke(in.GroupId, in.SecurityGroupRuleIds, plainPermissions(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort), false)
	if err != nil {
		return nil, err
	}
	return &ec2.RevokeSecurityGroupIngressOutput{Return: aws.Bool(true), RevokedSecurityGroupRules: gone, UnknownIpPermissions: unknown}, nil
}

// ec2RevokeSecurityGroupEgress: API_RevokeSecurityGroupEgress.
func ec2RevokeSecurityGroupEgress(c *call, in *ec2.RevokeSecurityGroupEgressInput) (*ec2.RevokeSecurityGroupEgressOutput, error) {
	gone, unknown, err := c.revoke(in.GroupId, in.SecurityGroupRuleIds, plainPermissions(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort), true)
	if err != nil {
		return nil, err
	}
	return &ec2.RevokeSecurityGroupEgressOutput{Return: aws.Bool(true), RevokedSecurityGroupRules: gone, UnknownIpPermissions: unknown}, nil
}
