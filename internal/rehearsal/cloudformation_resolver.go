package rehearsal

import (
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// cfnResolverType: what decides about names and logs them, and documents of Systems Manager, each by its page
// in the CloudFormation Template Reference.
func cfnResolverType(name string) (cfnType, bool) {
	switch name {
	case "AWS::Route53Resolver::FirewallDomainList":
		return cfnType{create: creating(cfnCreateNames), attributes: cfnIDAs("Id"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "route53resolver:DeleteFirewallDomainList", resolverDeleteList, &route53resolver.DeleteFirewallDomainListInput{FirewallDomainListId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::Route53Resolver::FirewallRuleGroup":
		return cfnType{create: creating(cfnCreateNameRules), attributes: cfnIDAs("Id"), remove: cfnRemoveNameRules}, true
	case "AWS::Route53Resolver::FirewallRuleGroupAssociation":
		return cfnType{create: creating(cfnAssociateNameRules), attributes: cfnIDAs("Id"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "route53resolver:DisassociateFirewallRuleGroup", resolverDisassociateGroup, &route53resolver.DisassociateFirewallRuleGroupInput{FirewallRuleGroupAssociationId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::Route53Resolver::ResolverQueryLoggingConfig":
		return cfnType{create: creating(cfnCreateQueryLog), attributes: cfnIDAs("Id"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "route53resolver:DeleteResolverQueryLogConfig", resolverDeleteLog, &route53resolver.DeleteResolverQueryLogConfigInput{ResolverQueryLogConfigId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::Route53Resolver::ResolverQueryLoggingConfigAssociation":
		return cfnType{create: creating(cfnAssociateQueryLog), attributes: cfnIDAs("Id"), remove: cfnDisassociateQueryLog}, true
	case "AWS::SSM::Document":
		return cfnType{create: creating(cfnCreateDocument), remove: func(x *cfnWork) error {
			_, err := callAs(x, "ssm:DeleteDocument", ssmDeleteDocument, &ssm.DeleteDocumentInput{Name: &x.resource.Physical})
			return err
		}}, true
	default:
		return cfnType{}, false
	}
}

type cfnNames struct {
	Name    *string
	Domains []string
	Tags    []cfnTag
}

func cfnCreateNames(x *cfnWork, p *cfnNames) error {
	name := valueOr(p.Name, x.physicalName())
	out, err := callAs(x, "route53resolver:CreateFirewallDomainList", resolverCreateList, &route53resolver.CreateFirewallDomainListInput{Name: &name})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.FirewallDomainList.Id
	_, err = callAs(x, "route53resolver:UpdateFirewallDomains", resolverUpdateDomains, &route53resolver.UpdateFirewallDomainsInput{
		FirewallDomainListId: out.FirewallDomainList.Id, Operation: types.FirewallDomainUpdateOperationAdd, Domains: p.Domains,
	})
	return err
}

type cfnNameRules struct {
	Name          *string
	FirewallRules []cfnNameRule
	Tags          []cfnTag
}

type cfnNameRule struct {
	FirewallDomainListId            *string
	Priority                        *int32
	Action                          types.Action
	BlockResponse                   types.BlockResponse
	FirewallDomainRedirectionAction types.FirewallDomainRedirectionAction
}

func cfnCreateNameRules(x *cfnWork, p *cfnNameRules) error {
	name := valueOr(p.Name, x.physicalName())
	out, err := callAs(x, "route53resolver:CreateFirewallRuleGroup", resolverCreateGroup, &route53resolver.CreateFirewallRuleGroupInput{Name: &name})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.FirewallRuleGroup.Id
	for _, r := range p.FirewallRules {
		_, err := callAs(x, "route53resolver:CreateFirewallRule", resolverCreateRule, &route53resolver.CreateFirewallRuleInput{
			FirewallRuleGroupId: out.FirewallRuleGroup.Id, FirewallDomainListId: r.FirewallDomainListId, Name: aws.String(name + "-rule"), Priority: r.Priority,
			Action: r.Action, BlockResponse: r.BlockResponse, FirewallDomainRedirectionAction: r.FirewallDomainRedirectionAction,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func cfnRemoveNameRules(x *cfnWork) error {
	g := &x.resource.Physical
	rules, err := callAs(x, "route53resolver:ListFirewallRules", resolverListRules, &route53resolver.ListFirewallRulesInput{FirewallRuleGroupId: g})
	if err != nil {
		return err
	}
	for _, r := range rules.FirewallRules {
		in := &route53resolver.DeleteFirewallRuleInput{FirewallRuleGroupId: g, FirewallDomainListId: r.FirewallDomainListId}
		if _, err := callAs(x, "route53resolver:DeleteFirewallRule", resolverDeleteRule, in); err != nil {
			return err
		}
	}
	_, err = callAs(x, "route53resolver:DeleteFirewallRuleGroup", resolverDeleteGroup, &route53resolver.DeleteFirewallRuleGroupInput{FirewallRuleGroupId: g})
	return err
}

type cfnNameRulesAssociation struct {
	FirewallRuleGroupId, VpcId, Name *string
	Priority                         *int32
	MutationProtection               types.MutationProtectionStatus
	Tags                             []cfnTag
}

func cfnAssociateNameRules(x *cfnWork, p *cfnNameRulesAssociation) error {
	name := valueOr(p.Name, x.physicalName())
	out, err := callAs(x, "route53resolver:AssociateFirewallRuleGroup", resolverAssociateGroup, &route53resolver.AssociateFirewallRuleGroupInput{
		FirewallRuleGroupId: p.FirewallRuleGroupId, VpcId: p.VpcId, Name: &name, Priority: p.Priority, MutationProtection: p.MutationProtection,
	})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.FirewallRuleGroupAssociation.Id
	return nil
}

type cfnQueryLog struct{ Name, DestinationArn *string }

func cfnCreateQueryLog(x *cfnWork, p *cfnQueryLog) error {
	name := valueOr(p.Name, x.physicalName())
	out, err := callAs(x, "route53resolver:CreateResolverQueryLogConfig", resolverCreateLog, &route53resolver.CreateResolverQueryLogConfigInput{Name: &name, DestinationArn: p.DestinationArn})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.ResolverQueryLogConfig.Id
	return nil
}

type cfnQueryLogAssociation struct{ ResolverQueryLogConfigId, ResourceId *string }

func cfnAssociateQueryLog(x *cfnWork, p *cfnQueryLogAssociation) error {
	out, err := callAs(x, "route53resolver:AssociateResolverQueryLogConfig", resolverAssociateLog, &route53resolver.AssociateResolverQueryLogConfigInput{
		ResolverQueryLogConfigId: p.ResolverQueryLogConfigId, ResourceId: p.ResourceId,
	})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.ResolverQueryLogConfigAssociation.Id
	return nil
}

func cfnDisassociateQueryLog(x *cfnWork) error {
	a := x.Resolver.Logged[x.resource.Physical]
	if a == nil {
		return nil
	}
	_, err := callAs(x, "route53resolver:DisassociateResolverQueryLogConfig", resolverDisassociateLog, &route53resolver.DisassociateResolverQueryLogConfigInput{
		ResolverQueryLogConfigId: a.ResolverQueryLogConfigId, ResourceId: a.ResourceId,
	})
	return err
}

type cfnDocument struct {
	Name, DocumentType, DocumentFormat, UpdateMethod, TargetType *string
	Content                                                      any
	Tags                                                         []cfnTag
}

func cfnCreateDocument(x *cfnWork, p *cfnDocument) error {
	name := valueOr(p.Name, x.physicalName())
	content, ok := p.Content.(string)
	if !ok {
		b, err := json.Marshal(p.Content)
		if err != nil {
			return err
		}
		content = string(b)
	}
	_, err := callAs(x, "ssm:CreateDocument", ssmCreateDocument, &ssm.CreateDocumentInput{
		Name: &name, Content: &content, DocumentType: ssmtypes.DocumentType(aws.ToString(p.DocumentType)), DocumentFormat: ssmtypes.DocumentFormat(strings.ToUpper(aws.ToString(p.DocumentFormat))),
	})
	if err != nil {
		return err
	}
	x.resource.Physical = name
	return nil
}
