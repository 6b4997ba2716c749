package rehearsal

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// resolverRules: rules that send a network's queries elsewhere. API_X as in resolver.
func (ops operations) resolverRules() {
	on(ops, resolverAssociateRule)
	on(ops, resolverListRuleAssociations)
}

// resolverAssociateRule: API_AssociateResolverRule. The rule itself is taken to be there, shared by
// another account.
func resolverAssociateRule(c *call, in *route53resolver.AssociateResolverRuleInput) (*route53resolver.AssociateResolverRuleOutput, error) {
	v, err := named(c, "VPC", c.EC2.VPCs, in.VPCId)
	if err != nil {
		return nil, err
	}
	a := &types.ResolverRuleAssociation{
		Id: aws.String(c.id("rslvr-rrassoc")), Name: in.Name, ResolverRuleId: in.ResolverRuleId, Status: types.ResolverRuleAssociationStatusComplete, VPCId: &v.ID,
	}
	put(&c.Resolver.Forwarded, *a.Id, a)
	return &route53resolver.AssociateResolverRuleOutput{ResolverRuleAssociation: a}, nil
}

// resolverListRuleAssociations: API_ListResolverRuleAssociations. Every VPC has one of its own, which sends nothing
// elsewhere (Route 53 Developer Guide, "Forwarding outbound DNS queries to your network").
func resolverListRuleAssociations(c *call, in *route53resolver.ListResolverRuleAssociationsInput) (*route53resolver.ListResolverRuleAssociationsOutput, error) {
	out := &route53resolver.ListResolverRuleAssociationsOutput{}
	if c.region != c.Region {
		return out, nil
	}
	var all []types.ResolverRuleAssociation
	for _, id := range sortedKeys(c.EC2.VPCs) {
		all = append(all, types.ResolverRuleAssociation{
			Id: aws.String("rslvr-autodefined-assoc-" + id + "-internet-resolver"), Name: aws.String("System Rule Association"),
			ResolverRuleId: aws.String("rslvr-autodefined-rr-internet-resolver"), Status: types.ResolverRuleAssociationStatusComplete, VPCId: aws.String(id),
		})
	}
	for _, a := range inOrder(c.Resolver.Forwarded) {
		all = append(all, *a)
	}
	for _, f := range in.Filters {
		if aws.ToString(f.Name) != "VPCId" {
			return nil, badName("The simulated account filters resolver rule associations by VPCId only, not by '%s'.", aws.ToString(f.Name))
		}
		all = slices.DeleteFunc(all, func(a types.ResolverRuleAssociation) bool { return !slices.Contains(f.Values, *a.VPCId) })
	}
	out.ResolverRuleAssociations = all
	return out, nil
}
