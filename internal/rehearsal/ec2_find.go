package rehearsal

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// resourceKind is how EC2 speaks of a kind of resource (API Reference, "Error codes").
type resourceKind struct {
	prefix    string
	name      string // as in "The instance ID '…' does not exist"
	tagged    types.ResourceType
	notFound  string
	malformed string
}

var (
	kindInstance    = resourceKind{"i", "instance ID", types.ResourceTypeInstance, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}
	kindInterface   = resourceKind{"eni", "networkInterface ID", types.ResourceTypeNetworkInterface, "InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed"}
	kindGroup       = resourceKind{"sg", "security group", types.ResourceTypeSecurityGroup, "InvalidGroup.NotFound", "InvalidGroupId.Malformed"}
	kindRule        = resourceKind{"sgr", "security group rule ID", types.ResourceTypeSecurityGroupRule, "InvalidSecurityGroupRuleId.NotFound", "InvalidSecurityGroupRuleId.Malformed"}
	kindVPC         = resourceKind{"vpc", "vpc ID", types.ResourceTypeVpc, "InvalidVpcID.NotFound", "InvalidVpcId.Malformed"}
	kindSubnet      = resourceKind{"subnet", "subnet ID", types.ResourceTypeSubnet, "InvalidSubnetID.NotFound", "InvalidSubnetId.Malformed"}
	kindRouteTable  = resourceKind{"rtb", "routeTable ID", types.ResourceTypeRouteTable, "InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed"}
	kindGateway     = resourceKind{"igw", "internetGateway ID", types.ResourceTypeInternetGateway, "InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed"}
	kindNAT         = resourceKind{"nat", "NAT gateway", types.ResourceTypeNatgateway, "NatGatewayNotFound", "NatGatewayMalformed"}
	kindEndpoint    = resourceKind{"vpce", "Vpc Endpoint Id", types.ResourceTypeVpcEndpoint, "InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed"}
	kindTransit     = resourceKind{"tgw", "transitGateway ID", types.ResourceTypeTransitGateway, "InvalidTransitGatewayID.NotFound", "InvalidTransitGatewayID.Malformed"}
	kindAttachment  = resourceKind{"tgw-attach", "transitGatewayAttachment ID", types.ResourceTypeTransitGatewayAttachment, "InvalidTransitGatewayAttachmentID.NotFound", "InvalidTransitGatewayAttachmentID.Malformed"}
	kindPeering     = resourceKind{"pcx", "vpcPeeringConnection ID", types.ResourceTypeVpcPeeringConnection, "InvalidVpcPeeringConnectionID.NotFound", "InvalidVpcPeeringConnectionId.Malformed"}
	kindVPN         = resourceKind{"vgw", "vpnGateway ID", types.ResourceTypeVpnGateway, "InvalidVpnGatewayID.NotFound", "InvalidVpnGatewayID.Malformed"}
	kindEgressOnly  = resourceKind{"eigw", "egressOnlyInternetGateway ID", types.ResourceTypeEgressOnlyInternetGateway, "InvalidGatewayID.NotFound", "InvalidEgressOnlyInternetGatewayId.Malformed"}
	kindCarrier     = resourceKind{"cagw", "carrierGateway ID", types.ResourceTypeCarrierGateway, "InvalidCarrierGatewayID.NotFound", "InvalidCarrierGatewayID.Malformed"}
	kindOutpost     = resourceKind{"lgw-vpc-assoc", "association ID", types.ResourceTypeLocalGatewayRouteTableVpcAssociation, "InvalidLocalGatewayRouteTableVpcAssociationID.NotFound", "InvalidLocalGatewayRouteTableVpcAssociationID.Malformed"}
	kindConnect     = resourceKind{"eice", "instance connect endpoint ID", types.ResourceTypeInstanceConnectEndpoint, "InvalidInstanceConnectEndpointId.NotFound", "InvalidInstanceConnectEndpointId.Malformed"}
	kindACL         = resourceKind{"acl", "networkAcl ID", types.ResourceTypeNetworkAcl, "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed"}
	kindAddress     = resourceKind{"eipalloc", "allocation ID", types.ResourceTypeElasticIp, "InvalidAllocationID.NotFound", "InvalidAllocationID.Malformed"}
	kindVolume      = resourceKind{"vol", "volume", types.ResourceTypeVolume, "InvalidVolume.NotFound", "InvalidVolumeID.Malformed"}
	kindSnapshot    = resourceKind{"snap", "snapshot", types.ResourceTypeSnapshot, "InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"}
	kindImage       = resourceKind{"ami", "image id", types.ResourceTypeImage, "InvalidAMIID.NotFound", "InvalidAMIID.Malformed"}
	kindAssociation = resourceKind{"iip-assoc", "association ID", "", "InvalidAssociationID.NotFound", "InvalidAssociationID.Malformed"}
	kindFlowLog     = resourceKind{"fl", "flow log ID", types.ResourceTypeVpcFlowLog, "InvalidFlowLogId.NotFound", "InvalidFlowLogId.Malformed"}
	kindInsights    = resourceKind{"nip", "network insights path ID", types.ResourceTypeNetworkInsightsPath, "InvalidNetworkInsightsPathId.NotFound", "InvalidNetworkInsightsPathId.Malformed"}
	kindAnalysis    = resourceKind{"nia", "network insights analysis ID", types.ResourceTypeNetworkInsightsAnalysis, "InvalidNetworkInsightsAnalysisId.NotFound", "InvalidNetworkInsightsAnalysisId.Malformed"}
	kindKey         = resourceKind{"key", "key pair ID", types.ResourceTypeKeyPair, "InvalidKeyPair.NotFound", "InvalidKeyPair.Malformed"}
)

func (k resourceKind) missing(ids ...string) error {
	if len(ids) == 1 {
		return apiError(k.notFound, fmt.Sprintf("The %s '%s' does not exist", k.name, ids[0]))
	}
	return apiError(k.notFound, fmt.Sprintf("The %ss '%s' do not exist", k.name, strings.Join(ids, ", ")))
}

var idSuffix = regexp.MustCompile(`^[0-9a-f]{8}([0-9a-f]{9})?$`)

// check refuses what is not an ID at all.
func (k resourceKind) check(id string) error {
	suffix, ok := strings.CutPrefix(id, k.prefix+"-")
	if !ok || !idSuffix.MatchString(suffix) {
		return apiError(k.malformed, fmt.Sprintf("Invalid id: %q (expecting \"%s-...\")", id, k.prefix))
	}
	return nil
}

// get is one resource by the ID in a request.
func get[T any](k resourceKind, all map[string]*T, id *string) (*T, error) {
	if id == nil || *id == "" {
		return nil, apiError("MissingParameter", "The request must contain the parameter "+k.name)
	}
	if err := k.check(*id); err != nil {
		return nil, err
	}
	v, ok := all[*id]
	if !ok {
		return nil, k.missing(*id)
	}
	return v, nil
}

// query is what the Describe operations have in common.
type query struct {
	ids     []string
	filters []types.Filter
}

// fields gives the values that a resource has for a filter's name; ok is false
// where EC2 has no such filter. Names that start with tag need no case.
type fields[T any] func(v *T, name string) (values []string, ok bool)

// find gives the IDs of what the query asks for, in order. An ID that does not
// exist is an error, a filter that matches nothing is not.
func find[T any](c *call, k resourceKind, all map[string]*T, q query, field fields[T]) ([]string, error) {
	if err := checkFilters(q.filters, field); err != nil {
		return nil, err
	}
	ids := slices.Compact(slices.Sorted(slices.Values(q.ids)))
	var missing []string
	for _, id := range ids {
		if err := k.check(id); err != nil {
			return nil, err
		}
		if _, ok := all[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, k.missing(missing...)
	}
	if len(q.ids) == 0 {
		ids = slices.Sorted(maps.Keys(all))
	}
	return slices.DeleteFunc(ids, func(id string) bool {
		return !matches(q.filters, func(name string) []string {
			if strings.HasPrefix(name, "tag") {
				return c.indexedTag(id, name)
			}
			values, _ := field(all[id], name)
			return values
		})
	}), nil
}

// listing is a query whose answer comes in pages.
type listing struct {
	query
	limit *int32
	token *string
}

// describe gives one page of what the query asks for, in the order of the IDs, and
// the token of the next page.
func describe[T any](c *call, k resourceKind, all map[string]*T, q listing, field fields[T]) (found []*T, next *string, err error) {
	ids, err := find(c, k, all, q.query, field)
	if err != nil {
		return nil, nil, err
	}
	ids, next, err = page(ids, q.query, q.limit, q.token)
	return each(ids, func(id string) *T { return all[id] }), next, err
}

// each shows every one of the resources; nil where there is none.
func each[T, S any](all []T, show func(T) S) []S {
	var shown []S
	for _, v := range all {
		shown = append(shown, show(v))
	}
	return shown
}

// checkFilters refuses a filter that EC2 does not have: a misspelt one must not
// look as if it had matched nothing.
func checkFilters[T any](filters []types.Filter, field fields[T]) error {
	for _, f := range filters {
		name := aws.ToString(f.Name)
		if strings.HasPrefix(name, "tag:") || name == "tag-key" {
			continue
		}
		if _, ok := field(new(T), name); !ok {
			return apiError("InvalidParameterValue", fmt.Sprintf("The filter '%s' is invalid", name))
		}
		if len(f.Values) == 0 {
			return apiError("InvalidParameterValue", fmt.Sprintf("The filter '%s' must have a value", name))
		}
	}
	return nil
}

// matches joins filters by and, the values of one by or ("List and filter using the
// CLI and API", EC2 User Guide).
func matches(filters []types.Filter, values func(name string) []string) bool {
	for _, f := range filters {
		have := values(aws.ToString(f.Name))
		if !slices.ContainsFunc(have, func(v string) bool {
			return slices.ContainsFunc(f.Values, func(p string) bool { return wildcard(p, v) })
		}) {
			return false
		}
	}
	return true
}

// wildcard matches a filter's value: * is any text, ? one character, \ takes
// the next one literally. Case counts.
func wildcard(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for i := range len(s) + 1 {
				if wildcard(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
		default:
			if pattern[0] == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if s == "" || s[0] != pattern[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// page cuts the IDs (in order) to one page. The token names the last ID given
// out, so that what is created or deleted between two pages shifts nothing. A limit and IDs exclude each other.
func page(ids []string, q query, limit *int32, token *string) (cut []string, next *string, err error) {
	if limit != nil && len(q.ids) > 0 {
		return nil, nil, apiError("InvalidParameterCombination", "The parameter MaxResults cannot be used with a list of resource IDs")
	}
	if limit != nil && (*limit < 5 || *limit > 1000) {
		return nil, nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%d) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", *limit))
	}
	if token != nil && *token != "" {
		after, err := base64.RawURLEncoding.DecodeString(*token)
		if err != nil {
			return nil, nil, apiError("InvalidPaginationToken", "The pagination token is not valid.")
		}
		i, found := slices.BinarySearch(ids, string(after))
		if found {
			i++
		}
		ids = ids[i:]
	}
	size := 1000
	if limit != nil {
		size = int(*limit)
	}
	if len(ids) <= size {
		return ids, nil, nil
	}
	last := base64.RawURLEncoding.EncodeToString([]byte(ids[size-1]))
	return ids[:size], &last, nil
}

// yes is a filter's spelling of a boolean.
func yes(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

// one is a filter's single value; none where it is empty.
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
