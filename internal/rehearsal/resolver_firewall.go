package rehearsal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// resolverState is what decides about, and logs, the names that a VPC asks its
// resolver for.
type resolverState struct {
	Lists        map[string]*nameList                                `json:"lists,omitempty"`
	Groups       map[string]*nameRules                               `json:"groups,omitempty"`
	Associations map[string]*types.FirewallRuleGroupAssociation      `json:"associations,omitempty"`
	FailOpen     map[string]bool                                     `json:"fail_open,omitempty"` // by VPC
	Logs         map[string]*types.ResolverQueryLogConfig            `json:"logs,omitempty"`
	Logged       map[string]*types.ResolverQueryLogConfigAssociation `json:"logged,omitempty"`
	Forwarded    map[string]*types.ResolverRuleAssociation           `json:"forwarded,omitempty"` // by resolver rules
}

type nameList struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Domains []string `json:"domains,omitempty"`
}

type nameRules struct {
	ID    string               `json:"id"`
	Name  string               `json:"name"`
	Rules []types.FirewallRule `json:"rules,omitempty"` // by priority
}

// resolver registers Route 53 Resolver's DNS Firewall and query logs. API_X in a handler's comment is the page
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_route53resolver_X.html.
func (ops operations) resolver() {
	on(ops, resolverCreateList)
	on(ops, resolverUpdateDomains)
	on(ops, resolverListDomains)
	on(ops, resolverDeleteList)
	on(ops, resolverCreateGroup)
	on(ops, resolverCreateRule)
	on(ops, resolverListRules)
	on(ops, resolverDeleteRule)
	on(ops, resolverDeleteGroup)
	on(ops, resolverAssociateGroup)
	on(ops, resolverListAssociations)
	on(ops, resolverDisassociateGroup)
	on(ops, resolverGetConfig)
	on(ops, resolverUpdateConfig)
	on(ops, resolverCreateLog)
	on(ops, resolverListLogs)
	on(ops, resolverDeleteLog)
	on(ops, resolverAssociateLog)
	on(ops, resolverListLogged)
	on(ops, resolverDisassociateLog)
	ops.resolverRules()
}

func noSuchName(kind, id string) error {
	return &types.ResourceNotFoundException{Message: aws.String(fmt.Sprintf("[RSLVR-00602] Cannot find the %s with ID '%s'.", kind, id))}
}

func badName(format string, args ...any) error {
	return &types.ValidationException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// named finds one of the Region's; the account's resources are all in one.
func named[T any](c *call, kind string, all map[string]*T, id *string) (*T, error) {
	if v := all[aws.ToString(id)]; v != nil && c.region == c.Region {
		return v, nil
	}
	return nil, noSuchName(kind, aws.ToString(id))
}

func (c *call) resolverARN(kind, id string) *string {
	return aws.String(fmt.Sprintf("arn:aws:route53resolver:%s:%s:%s/%s", c.region, c.Account, kind, id))
}

func (c *call) showList(l *nameList) *types.FirewallDomainList {
	return &types.FirewallDomainList{
		Id: &l.ID, Name: &l.Name, Arn: c.resolverARN("firewall-domain-list", l.ID), DomainCount: aws.Int32(int32(len(l.Domains))), Status: types.FirewallDomainListStatusComplete,
	}
}

// resolverCreateList: API_CreateFirewallDomainList. It is empty at first.
func resolverCreateList(c *call, in *route53resolver.CreateFirewallDomainListInput) (*route53resolver.CreateFirewallDomainListOutput, error) {
	l := &nameList{ID: c.id("rslvr-fdl"), Name: aws.ToString(in.Name)}
	put(&c.Resolver.Lists, l.ID, l)
	return &route53resolver.CreateFirewallDomainListOutput{FirewallDomainList: c.showList(l)}, nil
}

// domainName is a name, with an asterisk at its beginning at most, or the
// asterisk alone: every name (API_UpdateFirewallDomains).
var domainName = regexp.MustCompile(`^(\*|(\*\.?)?[-_a-zA-Z0-9!"#$%&'()+,/:;<=>?@\[\]^{|}~]+(\.[-_a-zA-Z0-9]+)*\.?)$`)

// resolverUpdateDomains: API_UpdateFirewallDomains.
func resolverUpdateDomains(c *call, in *route53resolver.UpdateFirewallDomainsInput) (*route53resolver.UpdateFirewallDomainsOutput, error) {
	l, err := named(c, "domain list", c.Resolver.Lists, in.FirewallDomainListId)
	if err != nil {
		return nil, err
	}
	for _, d := range in.Domains {
		if !domainName.MatchString(d) {
			return nil, badName("[RSLVR-02010] '%s' is not a domain.", d)
		}
	}
	if in.Operation != types.FirewallDomainUpdateOperationAdd {
		l.Domains = slices.DeleteFunc(l.Domains, func(d string) bool {
			return in.Operation == types.FirewallDomainUpdateOperationReplace || slices.Contains(in.Domains, d)
		})
	}
	if in.Operation != types.FirewallDomainUpdateOperationRemove {
		l.Domains = append(l.Domains, in.Domains...)
	}
	slices.Sort(l.Domains)
	l.Domains = slices.Compact(l.Domains)
	return &route53resolver.UpdateFirewallDomainsOutput{Id: &l.ID, Name: &l.Name, Status: types.FirewallDomainListStatusComplete}, nil
}

// resolverListDomains: API_ListFirewallDomains; AWS writes each name with the dot at its end.
func resolverListDomains(c *call, in *route53resolver.ListFirewallDomainsInput) (*route53resolver.ListFirewallDomainsOutput, error) {
	l, err := named(c, "domain list", c.Resolver.Lists, in.FirewallDomainListId)
	if err != nil {
		return nil, err
	}
	out := &route53resolver.ListFirewallDomainsOutput{}
	for _, d := range l.Domains {
		out.Domains = append(out.Domains, strings.TrimSuffix(d, ".")+".")
	}
	return out, nil
}

// resolverDeleteList: API_DeleteFirewallDomainList.
func resolverDeleteList(c *call, in *route53resolver.DeleteFirewallDomainListInput) (*route53resolver.DeleteFirewallDomainListOutput, error) {
	l, err := named(c, "domain list", c.Resolver.Lists, in.FirewallDomainListId)
	if err != nil {
		return nil, err
	}
	for _, g := range c.Resolver.Groups {
		if slices.ContainsFunc(g.Rules, func(r types.FirewallRule) bool { return *r.FirewallDomainListId == l.ID }) {
			return nil, &types.ConflictException{Message: aws.String("[RSLVR-02018] The domain list '" + l.ID + "' is used by a rule.")}
		}
	}
	delete(c.Resolver.Lists, l.ID)
	return &route53resolver.DeleteFirewallDomainListOutput{FirewallDomainList: c.showList(l)}, nil
}

func (c *call) showRules(g *nameRules) *types.FirewallRuleGroup {
	return &types.FirewallRuleGroup{
		Id: &g.ID, Name: &g.Name, Arn: c.resolverARN("firewall-rule-group", g.ID), OwnerId: &c.Account, RuleCount: aws.Int32(int32(len(g.Rules))),
		Status: types.FirewallRuleGroupStatusComplete, ShareStatus: types.ShareStatusNotShared,
	}
}

// resolverCreateGroup: API_CreateFirewallRuleGroup.
func resolverCreateGroup(c *call, in *route53resolver.CreateFirewallRuleGroupInput) (*route53resolver.CreateFirewallRuleGroupOutput, error) {
	g := &nameRules{ID: c.id("rslvr-frg"), Name: aws.ToString(in.Name)}
	put(&c.Resolver.Groups, g.ID, g)
	return &route53resolver.CreateFirewallRuleGroupOutput{FirewallRuleGroup: c.showRules(g)}, nil
}

// resolverCreateRule: API_CreateFirewallRule. A list has one rule in a group, and so has a priority.
func resolverCreateRule(c *call, in *route53resolver.CreateFirewallRuleInput) (*route53resolver.CreateFirewallRuleOutput, error) {
	g, err := named(c, "rule group", c.Resolver.Groups, in.FirewallRuleGroupId)
	if err != nil {
		return nil, err
	}
	l, err := named(c, "domain list", c.Resolver.Lists, in.FirewallDomainListId)
	if err != nil {
		return nil, err
	}
	if (in.Action == types.ActionBlock) == (in.BlockResponse == "") {
		return nil, badName("[RSLVR-02015] A block response is for the action BLOCK, which needs one.")
	}
	for _, r := range g.Rules {
		if *r.Priority == aws.ToInt32(in.Priority) || *r.FirewallDomainListId == l.ID {
			return nil, &types.ConflictException{Message: aws.String("[RSLVR-02017] The rule group has a rule of this priority, or for this domain list.")}
		}
	}
	r := types.FirewallRule{
		FirewallRuleGroupId: &g.ID, FirewallDomainListId: &l.ID, Name: in.Name, Priority: aws.Int32(aws.ToInt32(in.Priority)), Action: in.Action,
		BlockResponse: in.BlockResponse, FirewallDomainRedirectionAction: cmp.Or(in.FirewallDomainRedirectionAction, types.FirewallDomainRedirectionActionInspectRedirectionDomain),
	}
	g.Rules = append(g.Rules, r)
	slices.SortFunc(g.Rules, func(a, b types.FirewallRule) int { return cmp.Compare(*a.Priority, *b.Priority) })
	return &route53resolver.CreateFirewallRuleOutput{FirewallRule: &r}, nil
}

// resolverListRules: API_ListFirewallRules; by priority.
func resolverListRules(c *call, in *route53resolver.ListFirewallRulesInput) (*route53resolver.ListFirewallRulesOutput, error) {
	g, err := named(c, "rule group", c.Resolver.Groups, in.FirewallRuleGroupId)
	if err != nil {
		return nil, err
	}
	out := &route53resolver.ListFirewallRulesOutput{}
	for _, r := range g.Rules {
		if (in.Action == "" || in.Action == r.Action) && (in.Priority == nil || *in.Priority == *r.Priority) {
			out.FirewallRules = append(out.FirewallRules, r)
		}
	}
	return out, nil
}

// resolverDeleteRule: API_DeleteFirewallRule; a rule is named by its list.
func resolverDeleteRule(c *call, in *route53resolver.DeleteFirewallRuleInput) (*route53resolver.DeleteFirewallRuleOutput, error) {
	g, err := named(c, "rule group", c.Resolver.Groups, in.FirewallRuleGroupId)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(g.Rules, func(r types.FirewallRule) bool {
		return *r.FirewallDomainListId == aws.ToString(in.FirewallDomainListId)
	})
	if i < 0 {
		return nil, noSuchName("rule for the domain list", aws.ToString(in.FirewallDomainListId))
	}
	r := g.Rules[i]
	g.Rules = slices.Delete(g.Rules, i, i+1)
	return &route53resolver.DeleteFirewallRuleOutput{FirewallRule: &r}, nil
}

// resolverDeleteGroup: API_DeleteFirewallRuleGroup. A group with rules, or associated with a VPC, stays.
func resolverDeleteGroup(c *call, in *route53resolver.DeleteFirewallRuleGroupInput) (*route53resolver.DeleteFirewallRuleGroupOutput, error) {
	g, err := named(c, "rule group", c.Resolver.Groups, in.FirewallRuleGroupId)
	if err != nil {
		return nil, err
	}
	for _, a := range c.Resolver.Associations {
		if *a.FirewallRuleGroupId == g.ID {
			return nil, &types.ConflictException{Message: aws.String("[RSLVR-02013] The rule group '" + g.ID + "' is associated with a VPC.")}
		}
	}
	if len(g.Rules) > 0 {
		return nil, &types.ConflictException{Message: aws.String("[RSLVR-02014] The rule group '" + g.ID + "' has rules.")}
	}
	delete(c.Resolver.Groups, g.ID)
	return &route53resolver.DeleteFirewallRuleGroupOutput{FirewallRuleGroup: c.showRules(g)}, nil
}

// resolverAssociateGroup: API_AssociateFirewallRuleGroup. Priorities of 100 and less, and of 9,900 and more, are AWS's own.
func resolverAssociateGroup(c *call, in *route53resolver.AssociateFirewallRuleGroupInput) (*route53resolver.AssociateFirewallRuleGroupOutput, error) {
	g, err := named(c, "rule group", c.Resolver.Groups, in.FirewallRuleGroupId)
	if err != nil {
		return nil, err
	}
	v, err := named(c, "VPC", c.EC2.VPCs, in.VpcId)
	if err != nil {
		return nil, err
	}
	if p := aws.ToInt32(in.Priority); p <= 100 || p >= 9900 {
		return nil, badName("[RSLVR-02012] The priority %d is not between 100 and 9900.", p)
	}
	for _, a := range c.Resolver.Associations {
		if *a.VpcId == v.ID && (*a.Priority == *in.Priority || *a.FirewallRuleGroupId == g.ID) {
			return nil, &types.ConflictException{Message: aws.String("[RSLVR-02016] The VPC has an association of this priority, or with this rule group.")}
		}
	}
	a := &types.FirewallRuleGroupAssociation{
		Id: aws.String(c.id("rslvr-frgassoc")), FirewallRuleGroupId: &g.ID, VpcId: &v.ID, Name: in.Name, Priority: aws.Int32(*in.Priority),
		MutationProtection: cmp.Or(in.MutationProtection, types.MutationProtectionStatusDisabled), Status: types.FirewallRuleGroupAssociationStatusComplete,
	}
	a.Arn = c.resolverARN("firewall-rule-group-association", *a.Id)
	put(&c.Resolver.Associations, *a.Id, a)
	return &route53resolver.AssociateFirewallRuleGroupOutput{FirewallRuleGroupAssociation: a}, nil
}

// resolverListAssociations: API_ListFirewallRuleGroupAssociations.
func resolverListAssociations(c *call, in *route53resolver.ListFirewallRuleGroupAssociationsInput) (*route53resolver.ListFirewallRuleGroupAssociationsOutput, error) {
	out := &route53resolver.ListFirewallRuleGroupAssociationsOutput{}
	for _, a := range inOrder(c.Resolver.Associations) {
		if c.region == c.Region && (in.VpcId == nil || *in.VpcId == *a.VpcId) && (in.FirewallRuleGroupId == nil || *in.FirewallRuleGroupId == *a.FirewallRuleGroupId) {
			out.FirewallRuleGroupAssociations = append(out.FirewallRuleGroupAssociations, *a)
		}
	}
	return out, nil
}

// resolverDisassociateGroup: API_DisassociateFirewallRuleGroup.
func resolverDisassociateGroup(c *call, in *route53resolver.DisassociateFirewallRuleGroupInput) (*route53resolver.DisassociateFirewallRuleGroupOutput, error) {
	a, err := named(c, "rule group association", c.Resolver.Associations, in.FirewallRuleGroupAssociationId)
	if err != nil {
		return nil, err
	}
	if a.MutationProtection == types.MutationProtectionStatusEnabled {
		return nil, badName("[RSLVR-02019] The association '%s' is protected from changes.", *a.Id)
	}
	delete(c.Resolver.Associations, *a.Id)
	return &route53resolver.DisassociateFirewallRuleGroupOutput{FirewallRuleGroupAssociation: a}, nil
}

// resolverGetConfig: API_GetFirewallConfig. Where nothing was set, what can't be checked is blocked.
func resolverGetConfig(c *call, in *route53resolver.GetFirewallConfigInput) (*route53resolver.GetFirewallConfigOutput, error) {
	v, err := named(c, "VPC", c.EC2.VPCs, in.ResourceId)
	if err != nil {
		return nil, err
	}
	open := types.FirewallFailOpenStatusDisabled
	if c.Resolver.FailOpen[v.ID] {
		open = types.FirewallFailOpenStatusEnabled
	}
	return &route53resolver.GetFirewallConfigOutput{FirewallConfig: &types.FirewallConfig{ResourceId: &v.ID, OwnerId: &c.Account, FirewallFailOpen: open}}, nil
}

// resolverUpdateConfig: API_UpdateFirewallConfig.
func resolverUpdateConfig(c *call, in *route53resolver.UpdateFirewallConfigInput) (*route53resolver.UpdateFirewallConfigOutput, error) {
	v, err := named(c, "VPC", c.EC2.VPCs, in.ResourceId)
	if err != nil {
		return nil, err
	}
	put(&c.Resolver.FailOpen, v.ID, in.FirewallFailOpen == types.FirewallFailOpenStatusEnabled)
	return &route53resolver.UpdateFirewallConfigOutput{FirewallConfig: &types.FirewallConfig{ResourceId: &v.ID, OwnerId: &c.Account, FirewallFailOpen: in.FirewallFailOpen}}, nil
}
