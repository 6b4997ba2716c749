package rehearsal

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ec2DescribeSecurityGroups: API_DescribeSecurityGroups.
func ec2DescribeSecurityGroups(c *call, in *ec2.DescribeSecurityGroupsInput) (*ec2.DescribeSecurityGroupsOutput, error) {
	q := listing{query{in.GroupIds, in.Filters}, in.MaxResults, in.NextToken}
	if len(in.GroupNames) > 0 {
		q.filters = append(q.filters, types.Filter{Name: aws.String("group-name"), Values: in.GroupNames})
	}
	found, next, err := describe(c, kindGroup, c.ec2().Groups, q, c.groupField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupsOutput{NextToken: next}
	for _, g := range found {
		out.SecurityGroups = append(out.SecurityGroups, types.SecurityGroup{
			GroupId: &g.ID, GroupName: &g.Name, Description: &g.Description, VpcId: &g.VPC, OwnerId: &c.Account,
			SecurityGroupArn: aws.String(c.arn("security-group", g.ID)), Tags: c.tagList(g.ID),
			IpPermissions: c.permissions(g.Rules, false), IpPermissionsEgress: c.permissions(g.Rules, true),
		})
	}
	return out, nil
}

func (c *call) groupField(g *securityGroup, name string) ([]string, bool) {
	switch name {
	case "group-id":
		return one(g.ID), true
	case "group-name":
		return one(g.Name), true
	case "vpc-id":
		return one(g.VPC), true
	case "description":
		return one(g.Description), true
	case "owner-id":
		return one(c.Account), true
	}
	inner, egress := strings.CutPrefix(name, "egress.")
	inner, ok := strings.CutPrefix(inner, "ip-permission.")
	if !ok {
		return nil, false
	}
	var values []string
	for _, r := range g.Rules {
		if r.Egress == egress {
			values = append(values, r.field(inner)...)
		}
	}
	switch inner {
	case "cidr", "ipv6-cidr", "group-id", "prefix-list-id", "protocol", "from-port", "to-port":
		return values, true
	}
	return nil, false
}

func (r groupRule) field(name string) []string {
	switch name {
	case "cidr":
		return one(r.CIDR)
	case "ipv6-cidr":
		return one(r.CIDR6)
	case "group-id":
		return one(r.Group)
	case "prefix-list-id":
		return one(r.PrefixList)
	case "protocol":
		return one(r.Protocol)
	case "from-port":
		return []string{fmt.Sprint(r.From)}
	case "to-port":
		return []string{fmt.Sprint(r.To)}
	}
	return nil
}

// ruleOfGroup is a rule with the group it is in.
type ruleOfGroup struct {
	groupRule
	group *securityGroup
}

// ec2DescribeSecurityGroupRules: API_DescribeSecurityGroupRules.
func ec2DescribeSecurityGroupRules(c *call, in *ec2.DescribeSecurityGroupRulesInput) (*ec2.DescribeSecurityGroupRulesOutput, error) {
	all := make(map[string]*ruleOfGroup)
	for _, g := range c.ec2().Groups {
		for _, r := range g.Rules {
			all[r.ID] = &ruleOfGroup{r, g}
		}
	}
	q := listing{query{in.SecurityGroupRuleIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindRule, all, q, func(r *ruleOfGroup, name string) ([]string, bool) {
		switch name {
		case "security-group-rule-id":
			return one(r.ID), true
		case "group-id":
			if r.group == nil {
				return nil, true
			}
			return one(r.group.ID), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupRulesOutput{NextToken: next}
	for _, r := range found {
		out.SecurityGroupRules = append(out.SecurityGroupRules, c.showRule(r.group, r.groupRule))
	}
	return out, nil
}

// showRule: API_SecurityGroupRule.
func (c *call) showRule(g *securityGroup, r groupRule) types.SecurityGroupRule {
	out := types.SecurityGroupRule{
		SecurityGroupRuleId: aws.String(r.ID), SecurityGroupRuleArn: aws.String(c.arn("security-group-rule", r.ID)), GroupId: &g.ID, GroupOwnerId: &c.Account, IsEgress: aws.Bool(r.Egress), IpProtocol: aws.String(r.Protocol),
		FromPort: aws.Int32(r.From), ToPort: aws.Int32(r.To), CidrIpv4: nilIfEmpty(r.CIDR), CidrIpv6: nilIfEmpty(r.CIDR6),
		PrefixListId: nilIfEmpty(r.PrefixList), Description: nilIfEmpty(r.Description), Tags: c.tagList(r.ID),
	}
	if r.Group != "" {
		out.ReferencedGroupInfo = &types.ReferencedSecurityGroup{GroupId: aws.String(r.Group), UserId: &c.Account}
	}
	return out
}

func showRevoked(g *securityGroup, r groupRule) types.RevokedSecurityGroupRule {
	return types.RevokedSecurityGroupRule{
		SecurityGroupRuleId: aws.String(r.ID), GroupId: &g.ID, IsEgress: aws.Bool(r.Egress), IpProtocol: aws.String(r.Protocol),
		FromPort: aws.Int32(r.From), ToPort: aws.Int32(r.To), CidrIpv4: nilIfEmpty(r.CIDR), CidrIpv6: nilIfEmpty(r.CIDR6),
		PrefixListId: nilIfEmpty(r.PrefixList), ReferencedGroupId: nilIfEmpty(r.Group), Description: nilIfEmpty(r.Description),
	}
}
