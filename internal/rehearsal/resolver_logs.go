package rehearsal

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

// resolverCreateLog: API_CreateResolverQueryLogConfig. Into CloudWatch Logs only.
func resolverCreateLog(c *call, in *route53resolver.CreateResolverQueryLogConfigInput) (*route53resolver.CreateResolverQueryLogConfigOutput, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(in.DestinationArn), c.logGroupARN("")), ":*")
	if c.Logs.Groups[name] == nil {
		return nil, badName("[RSLVR-01110] The log group '%s' does not exist.", aws.ToString(in.DestinationArn))
	}
	l := &types.ResolverQueryLogConfig{
		Id: aws.String(c.id("rqlc")), Name: in.Name, DestinationArn: in.DestinationArn, OwnerId: &c.Account, CreatorRequestId: in.CreatorRequestId,
		Status: types.ResolverQueryLogConfigStatusCreated, ShareStatus: types.ShareStatusNotShared,
	}
	l.Arn = c.resolverARN("resolver-query-log-config", *l.Id)
	put(&c.Resolver.Logs, *l.Id, l)
	return &route53resolver.CreateResolverQueryLogConfigOutput{ResolverQueryLogConfig: l}, nil
}

// queryLogFields are the fields to filter by of the associations (API_Filter): those that say
// which network is logged, and where to.
func queryLogFields(a *types.ResolverQueryLogConfigAssociation) map[string]string {
	return map[string]string{"Id": *a.Id, "ResourceId": *a.ResourceId, "ResolverQueryLogConfigId": *a.ResolverQueryLogConfigId, "Status": string(a.Status)}
}

// resolverListLogs: API_ListResolverQueryLogConfigs; filtered by Id, Name and DestinationArn.
func resolverListLogs(c *call, in *route53resolver.ListResolverQueryLogConfigsInput) (*route53resolver.ListResolverQueryLogConfigsOutput, error) {
	out := &route53resolver.ListResolverQueryLogConfigsOutput{}
	for _, l := range inOrder(c.Resolver.Logs) {
		ok, err := passes(in.Filters, map[string]string{"Id": *l.Id, "Name": aws.ToString(l.Name), "DestinationArn": *l.DestinationArn})
		if err != nil {
			return nil, err
		}
		if ok && c.region == c.Region {
			out.ResolverQueryLogConfigs = append(out.ResolverQueryLogConfigs, *l)
		}
	}
	out.TotalCount, out.TotalFilteredCount = int32(len(c.Resolver.Logs)), int32(len(out.ResolverQueryLogConfigs))
	return out, nil
}

func passes(filters []types.Filter, fields map[string]string) (bool, error) {
	for _, f := range filters {
		value, ok := fields[aws.ToString(f.Name)]
		if !ok {
			return false, badName("[RSLVR-00509] The simulated account can't filter by '%s'.", aws.ToString(f.Name))
		}
		if !slices.Contains(f.Values, value) {
			return false, nil
		}
	}
	return true, nil
}

// resolverDeleteLog: API_DeleteResolverQueryLogConfig. One that is associated with a VPC stays.
func resolverDeleteLog(c *call, in *route53resolver.DeleteResolverQueryLogConfigInput) (*route53resolver.DeleteResolverQueryLogConfigOutput, error) {
	l, err := named(c, "query log configuration", c.Resolver.Logs, in.ResolverQueryLogConfigId)
	if err != nil {
		return nil, err
	}
	for _, a := range c.Resolver.Logged {
		if *a.ResolverQueryLogConfigId == *l.Id {
			return nil, &types.InvalidRequestException{Message: aws.String("[RSLVR-01106] The configuration '" + *l.Id + "' is associated with a VPC.")}
		}
	}
	delete(c.Resolver.Logs, *l.Id)
	return &route53resolver.DeleteResolverQueryLogConfigOutput{ResolverQueryLogConfig: l}, nil
}

// resolverAssociateLog: API_AssociateResolverQueryLogConfig.
func resolverAssociateLog(c *call, in *route53resolver.AssociateResolverQueryLogConfigInput) (*route53resolver.AssociateResolverQueryLogConfigOutput, error) {
	l, err := named(c, "query log configuration", c.Resolver.Logs, in.ResolverQueryLogConfigId)
	if err != nil {
		return nil, err
	}
	v, err := named(c, "VPC", c.EC2.VPCs, in.ResourceId)
	if err != nil {
		return nil, err
	}
	for _, a := range c.Resolver.Logged {
		if *a.ResolverQueryLogConfigId == *l.Id && *a.ResourceId == v.ID {
			return nil, &types.ResourceExistsException{Message: aws.String("[RSLVR-01104] The configuration is associated with the VPC already.")}
		}
	}
	a := &types.ResolverQueryLogConfigAssociation{
		Id: aws.String(c.id("rqlca")), ResolverQueryLogConfigId: l.Id, ResourceId: &v.ID,
		Status: types.ResolverQueryLogConfigAssociationStatusActive, Error: types.ResolverQueryLogConfigAssociationErrorNone,
	}
	l.AssociationCount++
	put(&c.Resolver.Logged, *a.Id, a)
	return &route53resolver.AssociateResolverQueryLogConfigOutput{ResolverQueryLogConfigAssociation: a}, nil
}

// resolverListLogged: API_ListResolverQueryLogConfigAssociations.
func resolverListLogged(c *call, in *route53resolver.ListResolverQueryLogConfigAssociationsInput) (*route53resolver.ListResolverQueryLogConfigAssociationsOutput, error) {
	out := &route53resolver.ListResolverQueryLogConfigAssociationsOutput{}
	for _, a := range inOrder(c.Resolver.Logged) {
		ok, err := passes(in.Filters, queryLogFields(a))
		if err != nil {
			return nil, err
		}
		if ok && c.region == c.Region {
			out.ResolverQueryLogConfigAssociations = append(out.ResolverQueryLogConfigAssociations, *a)
		}
	}
	out.TotalCount, out.TotalFilteredCount = int32(len(c.Resolver.Logged)), int32(len(out.ResolverQueryLogConfigAssociations))
	return out, nil
}

// resolverDisassociateLog: API_DisassociateResolverQueryLogConfig.
func resolverDisassociateLog(c *call, in *route53resolver.DisassociateResolverQueryLogConfigInput) (*route53resolver.DisassociateResolverQueryLogConfigOutput, error) {
	for _, a := range inOrder(c.Resolver.Logged) {
		if *a.ResolverQueryLogConfigId == aws.ToString(in.ResolverQueryLogConfigId) && *a.ResourceId == aws.ToString(in.ResourceId) {
			delete(c.Resolver.Logged, *a.Id)
			c.Resolver.Logs[*a.ResolverQueryLogConfigId].AssociationCount--
			return &route53resolver.DisassociateResolverQueryLogConfigOutput{ResolverQueryLogConfigAssociation: a}, nil
		}
	}
	return nil, noSuchName("association of the query log configuration", aws.ToString(in.ResolverQueryLogConfigId))
}
