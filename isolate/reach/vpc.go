package reach

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

// Permissions are the IAM actions that ReadVPC needs. Without the last two it
// reads on, and says what it could not see.
func Permissions() []string {
	return []string{
		"ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
		"ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints",
		"ec2:DescribeTransitGatewayVpcAttachments", "ec2:GetManagedPrefixListEntries",
	}
}

// VPC is what decides the paths of every instance in it. It is read once for as
// many instances as there are, and never changed: several may use it at once.
type VPC struct {
	ID          string
	Subnets     []ec2types.Subnet
	RouteTables []ec2types.RouteTable
	ACLs        []ec2types.NetworkAcl
	Groups      []ec2types.SecurityGroup
	Interfaces  []ec2types.NetworkInterface
	NATs        []ec2types.NatGateway
	Endpoints   []ec2types.VpcEndpoint
	Attachments []ec2types.TransitGatewayVpcAttachment
	// PrefixLists are the entries of the lists that routes name.
	PrefixLists map[string][]netip.Prefix
	// Unseen is what could not be read, in words. No path is left out for it.
	Unseen []string
}

// ReadVPC reads a VPC: seven calls at once, then, where the routes need it, one for
// the transit gateways and one for each prefix list, at once as well.
func ReadVPC(ctx context.Context, client *ec2.Client, id string) (*VPC, error) {
	v := &VPC{ID: id, PrefixLists: make(map[string][]netip.Prefix)}
	g, gctx := errgroup.WithContext(ctx)
	for _, read := range []func(context.Context, *ec2.Client) error{
		v.readSubnets, v.readRouteTables, v.readACLs, v.readGroups, v.readInterfaces, v.readNATs, v.readEndpoints,
	} {
		g.Go(func() error { return read(gctx, client) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("reading the network of %s: %w", id, err)
	}
	if err := v.readBehind(ctx, client); err != nil {
		return nil, fmt.Errorf("reading the network of %s: %w", id, err)
	}
	return v, nil
}

// With returns the VPC with these ACLs, groups and interfaces as they are now: what
// a read-back needs after a change, without reading the rest again.
func (v *VPC) With(acls []ec2types.NetworkAcl, groups []ec2types.SecurityGroup, interfaces []ec2types.NetworkInterface) *VPC {
	now := *v
	now.ACLs = replaced(v.ACLs, acls, func(a ec2types.NetworkAcl) string { return aws.ToString(a.NetworkAclId) })
	now.Groups = replaced(v.Groups, groups, func(g ec2types.SecurityGroup) string { return aws.ToString(g.GroupId) })
	now.Interfaces = replaced(v.Interfaces, interfaces, func(n ec2types.NetworkInterface) string { return aws.ToString(n.NetworkInterfaceId) })
	return &now
}

func replaced[T any](old, now []T, id func(T) string) []T {
	all := slices.Clone(now)
	for _, o := range old {
		if !slices.ContainsFunc(now, func(n T) bool { return id(n) == id(o) }) {
			all = append(all, o)
		}
	}
	return all
}

func filter(name string, values ...string) []ec2types.Filter {
	return []ec2types.Filter{{Name: aws.String(name), Values: values}}
}

func (v *VPC) readSubnets(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeSubnetsPaginator(client, &ec2.DescribeSubnetsInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("subnets: %w", err)
		}
		v.Subnets = append(v.Subnets, page.Subnets...)
	}
	return nil
}

func (v *VPC) readRouteTables(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeRouteTablesPaginator(client, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("route tables: %w", err)
		}
		v.RouteTables = append(v.RouteTables, page.RouteTables...)
	}
	return nil
}

func (v *VPC) readACLs(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeNetworkAclsPaginator(client, &ec2.DescribeNetworkAclsInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("network ACLs: %w", err)
		}
		v.ACLs = append(v.ACLs, page.NetworkAcls...)
	}
	return nil
}

func (v *VPC) readGroups(ctx context.Context, client *ec2.Client) (err error) {
	v.Groups, err = groupsBy(ctx, client, filter("vpc-id", v.ID))
	return err
}

func groupsBy(ctx context.Context, client *ec2.Client, by []ec2types.Filter) ([]ec2types.SecurityGroup, error) {
	var all []ec2types.SecurityGroup
	pages := ec2.NewDescribeSecurityGroupsPaginator(client, &ec2.DescribeSecurityGroupsInput{Filters: by})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("security groups: %w", err)
		}
		all = append(all, page.SecurityGroups...)
	}
	return all, nil
}

func (v *VPC) readInterfaces(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(client, &ec2.DescribeNetworkInterfacesInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("network interfaces: %w", err)
		}
		v.Interfaces = append(v.Interfaces, page.NetworkInterfaces...)
	}
	return nil
}

func (v *VPC) readNATs(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeNatGatewaysPaginator(client, &ec2.DescribeNatGatewaysInput{Filter: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("NAT gateways: %w", err)
		}
		v.NATs = append(v.NATs, page.NatGateways...)
	}
	return nil
}

func (v *VPC) readEndpoints(ctx context.Context, client *ec2.Client) error {
	pages := ec2.NewDescribeVpcEndpointsPaginator(client, &ec2.DescribeVpcEndpointsInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("VPC endpoints: %w", err)
		}
		v.Endpoints = append(v.Endpoints, page.VpcEndpoints...)
	}
	return nil
}

// readBehind reads what the routes and interfaces point to: transit gateway
// attachments, prefix lists, and groups that live in another VPC ("Share security
// groups", VPC User Guide).
func (v *VPC) readBehind(ctx context.Context, client *ec2.Client) error {
	transit, lists, foreign := false, []string{}, []string{}
	for _, t := range v.RouteTables {
		for _, r := range t.Routes {
			transit = transit || r.TransitGatewayId != nil
			if id := aws.ToString(r.DestinationPrefixListId); id != "" && !strings.HasPrefix(aws.ToString(r.GatewayId), "vpce-") && !slices.Contains(lists, id) {
				lists = append(lists, id)
			}
		}
	}
	for _, n := range v.Interfaces {
		for _, g := range n.Groups {
			if id := aws.ToString(g.GroupId); v.group(id) == nil && !slices.Contains(foreign, id) {
				foreign = append(foreign, id)
			}
		}
	}
	entries, unseen := make([][]netip.Prefix, len(lists)), make([]string, len(lists)+1)
	var groups []ec2types.SecurityGroup
	g, ctx := errgroup.WithContext(ctx)
	if transit {
		g.Go(func() (err error) { unseen[len(lists)], err = v.readAttachments(ctx, client); return err })
	}
	for i, id := range lists {
		g.Go(func() (err error) { entries[i], unseen[i], err = readList(ctx, client, id); return err })
	}
	g.Go(func() error {
		for chunk := range slices.Chunk(foreign, 200) { // a filter takes 200 values
			found, err := groupsBy(ctx, client, filter("group-id", chunk...))
			if err != nil {
				return err
			}
			groups = append(groups, found...)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for i, id := range lists {
		if unseen[i] == "" {
			v.PrefixLists[id] = entries[i]
		}
	}
	v.Groups = append(v.Groups, groups...)
	v.Unseen = slices.DeleteFunc(unseen, func(s string) bool { return s == "" })
	return nil
}

func (v *VPC) readAttachments(ctx context.Context, client *ec2.Client) (unseen string, err error) {
	pages := ec2.NewDescribeTransitGatewayVpcAttachmentsPaginator(client, &ec2.DescribeTransitGatewayVpcAttachmentsInput{Filters: filter("vpc-id", v.ID)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if denied(err) {
			return "the transit gateway attachments of " + v.ID + " can't be read: every subnet with a transit gateway's interface counts as one of theirs", nil
		}
		if err != nil {
			return "", fmt.Errorf("transit gateway attachments: %w", err)
		}
		v.Attachments = append(v.Attachments, page.TransitGatewayVpcAttachments...)
	}
	return "", nil
}

func readList(ctx context.Context, client *ec2.Client, id string) (entries []netip.Prefix, unseen string, err error) {
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(client, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: aws.String(id)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if denied(err) {
			return nil, "the entries of prefix list " + id + " can't be read: it may lead anywhere", nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("prefix list %s: %w", id, err)
		}
		for _, e := range page.Entries {
			if p, err := netip.ParsePrefix(aws.ToString(e.Cidr)); err == nil {
				entries = append(entries, p.Masked())
			}
		}
	}
	return entries, "", nil
}

// denied reports whether AWS does not let us see it, or it belongs to someone else.
func denied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains([]string{"UnauthorizedOperation", "AccessDenied", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.NotFound"}, api.ErrorCode())
}

func (v *VPC) subnet(id string) *ec2types.Subnet {
	for i := range v.Subnets {
		if aws.ToString(v.Subnets[i].SubnetId) == id {
			return &v.Subnets[i]
		}
	}
	return nil
}

func (v *VPC) group(id string) *ec2types.SecurityGroup {
	for i := range v.Groups {
		if aws.ToString(v.Groups[i].GroupId) == id {
			return &v.Groups[i]
		}
	}
	return nil
}

func (v *VPC) acl(id string) *ec2types.NetworkAcl {
	for i := range v.ACLs {
		if aws.ToString(v.ACLs[i].NetworkAclId) == id {
			return &v.ACLs[i]
		}
	}
	return nil
}

// aclOf is the ACL of a subnet: each has exactly one.
func (v *VPC) aclOf(subnet string) string {
	for _, a := range v.ACLs {
		for _, as := range a.Associations {
			if aws.ToString(as.SubnetId) == subnet {
				return aws.ToString(a.NetworkAclId)
			}
		}
	}
	return ""
}

func (v *VPC) netInterface(id string) *ec2types.NetworkInterface {
	for i := range v.Interfaces {
		if aws.ToString(v.Interfaces[i].NetworkInterfaceId) == id {
			return &v.Interfaces[i]
		}
	}
	return nil
}
