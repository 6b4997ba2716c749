package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// firewall reads what the DNS firewall lets pass: the rules of the groups that are associated
// with the VPC, in the order in which they are asked (Route 53 Developer Guide, "DNS Firewall rule groups and rules").
func (r *roomReader) firewall(ctx context.Context) error {
	var groups []types.FirewallRuleGroupAssociation
	pages := route53resolver.NewListFirewallRuleGroupAssociationsPaginator(r.resolver, &route53resolver.ListFirewallRuleGroupAssociationsInput{VpcId: &r.room.VPC})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		groups = append(groups, page.FirewallRuleGroupAssociations...)
	}
	slices.SortStableFunc(groups, func(a, b types.FirewallRuleGroupAssociation) int {
		return int(aws.ToInt32(a.Priority) - aws.ToInt32(b.Priority))
	})
	for _, g := range groups {
		if g.Status == types.FirewallRuleGroupAssociationStatusDeleting {
			continue
		}
		if err := r.firewallRules(ctx, aws.ToString(g.FirewallRuleGroupId)); err != nil {
			return fmt.Errorf("rule group %s: %w", aws.ToString(g.FirewallRuleGroupId), err)
		}
	}
	config, err := r.resolver.GetFirewallConfig(ctx, &route53resolver.GetFirewallConfigInput{ResourceId: &r.room.VPC})
	if err != nil {
		return err
	}
	// Disabled is the default: a query that the firewall does not answer for is blocked (API_FirewallConfig).
	r.m.DNS.FailOpen = config.FirewallConfig != nil && config.FirewallConfig.FirewallFailOpen == types.FirewallFailOpenStatusEnabled
	return nil
}

func (r *roomReader) firewallRules(ctx context.Context, group string) error {
	var rules []types.FirewallRule
	pages := route53resolver.NewListFirewallRulesPaginator(r.resolver, &route53resolver.ListFirewallRulesInput{FirewallRuleGroupId: &group})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		rules = append(rules, page.FirewallRules...)
	}
	slices.SortStableFunc(rules, func(a, b types.FirewallRule) int { return int(aws.ToInt32(a.Priority) - aws.ToInt32(b.Priority)) })
	for _, rule := range rules {
		out := DNSRule{Group: group, Action: action(string(rule.Action), aws.ToString(rule.Qtype))}
		if rule.FirewallDomainListId == nil { // it goes by what a query looks like, not by names
			r.m.DNS.Rules = append(r.m.DNS.Rules, out)
			continue
		}
		domains := route53resolver.NewListFirewallDomainsPaginator(r.resolver, &route53resolver.ListFirewallDomainsInput{FirewallDomainListId: rule.FirewallDomainListId})
		for domains.HasMorePages() {
			page, err := domains.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("domain list %s: %w", aws.ToString(rule.FirewallDomainListId), err)
			}
			out.Domains = append(out.Domains, page.Domains...)
		}
		r.m.DNS.Rules = append(r.m.DNS.Rules, out)
	}
	return nil
}

// forwards finds resolver rules that send queries elsewhere. Every VPC has some of its own, which don't.
func (r *roomReader) forwards(ctx context.Context) error {
	pages := route53resolver.NewListResolverRuleAssociationsPaginator(r.resolver, &route53resolver.ListResolverRuleAssociationsInput{
		Filters: []types.Filter{{Name: aws.String("VPCId"), Values: []string{r.room.VPC}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.ResolverRuleAssociations {
			if id := aws.ToString(a.ResolverRuleId); !strings.HasPrefix(id, "rslvr-autodefined-") {
				r.m.DNS.Forwards = append(r.m.DNS.Forwards, id)
			}
		}
	}
	return nil
}

// action of a rule; one for a single type of query blocks no name.
func action(action, queryType string) string {
	if queryType != "" {
		return action + " of " + queryType
	}
	return action
}
