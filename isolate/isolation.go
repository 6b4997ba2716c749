package isolate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// isolationName is the name of the isolation group without rules. It is unique in its VPC.
	isolationName = "cordon-isolation"
	// isolationTag marks an isolation group; its value is fence.tag. A group
	// that only has the name is not ours.
	isolationTag = "cordon:isolation"
)

// fence is an isolation group to be: of one VPC, letting only these rules pass.
// Instances that are isolated with the same allow-list share it.
type fence struct {
	VPC   string
	Rules []rule // sorted
}

func (f fence) name() string {
	if d := digest(f.Rules); d != "" {
		return isolationName + "-" + d
	}
	return isolationName
}

// tag is the value of the group's tag: the VPC's ID, and the allow-list's digest.
func (f fence) tag() string {
	if d := digest(f.Rules); d != "" {
		return f.VPC + "/" + d
	}
	return f.VPC
}

// passes says in words what the group lets through.
func (f fence) passes() string {
	if len(f.Rules) == 0 {
		return "nothing in, nothing out"
	}
	words := make([]string, len(f.Rules))
	for i, r := range f.Rules {
		words[i] = r.String()
	}
	return "nothing but " + strings.Join(words, ", ")
}

// groupsBy returns the security groups that a filter leaves, by ID.
func groupsBy(ctx context.Context, client *ec2.Client, filter string, values ...string) ([]ec2types.SecurityGroup, error) {
	var all []ec2types.SecurityGroup
	pages := ec2.NewDescribeSecurityGroupsPaginator(client, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{{Name: aws.String(filter), Values: values}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("security groups with %s %s: %w", filter, strings.Join(values, ", "), err)
		}
		all = append(all, page.SecurityGroups...)
	}
	slices.SortFunc(all, func(a, b ec2types.SecurityGroup) int {
		return cmp.Compare(aws.ToString(a.GroupId), aws.ToString(b.GroupId))
	})
	return all, nil
}

// find returns the isolation group; nil where there is none, or where it was
// made so recently that AWS does not show its tag yet.
func (f fence) find(ctx context.Context, client *ec2.Client) (*ec2types.SecurityGroup, error) {
	all, err := groupsBy(ctx, client, "tag:"+isolationTag, f.tag())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g ec2types.SecurityGroup) bool { return aws.ToString(g.VpcId) == f.VPC })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// flat is a permission for one peer, by what it says in words.
func flat(permissions []ec2types.IpPermission, egress bool) map[string]ec2types.IpPermission {
	all := make(map[string]ec2types.IpPermission)
	add := func(p ec2types.IpPermission, cidr, peer string, one ec2types.IpPermission) {
		one.IpProtocol, one.FromPort, one.ToPort = p.IpProtocol, p.FromPort, p.ToPort
		words := fmt.Sprintf("%s %s ports %d-%d", peer, aws.ToString(p.IpProtocol), aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort))
		if prefix, err := netip.ParsePrefix(cidr); err == nil && p.FromPort != nil && aws.ToInt32(p.FromPort) == aws.ToInt32(p.ToPort) {
			words = rule{Egress: egress, Prefix: prefix, Protocol: aws.ToString(p.IpProtocol), Port: uint16(*p.FromPort)}.String()
		}
		all[words] = one
	}
	for _, p := range permissions {
		for _, r := range p.IpRanges {
			add(p, aws.ToString(r.CidrIp), aws.ToString(r.CidrIp), ec2types.IpPermission{IpRanges: []ec2types.IpRange{r}})
		}
		for _, r := range p.Ipv6Ranges {
			add(p, aws.ToString(r.CidrIpv6), aws.ToString(r.CidrIpv6), ec2types.IpPermission{Ipv6Ranges: []ec2types.Ipv6Range{r}})
		}
		for _, l := range p.PrefixListIds {
			add(p, "", aws.ToString(l.PrefixListId), ec2types.IpPermission{PrefixListIds: []ec2types.PrefixListId{l}})
		}
		for _, g := range p.UserIdGroupPairs {
			add(p, "", aws.ToString(g.GroupId), ec2types.IpPermission{UserIdGroupPairs: []ec2types.UserIdGroupPair{g}})
		}
	}
	return all
}

// compare tells what the group lacks of one direction, and has too much.
func (f fence) compare(g *ec2types.SecurityGroup, egress bool) (lacks []rule, extra map[string]ec2types.IpPermission) {
	extra = flat(g.IpPermissions, false)
	if egress {
		extra = flat(g.IpPermissionsEgress, true)
	}
	for _, r := range f.Rules {
		if r.Egress != egress {
			continue
		}
		if _, ok := extra[r.String()]; !ok {
			lacks = append(lacks, r)
		}
		delete(extra, r.String())
	}
	return lacks, extra
}

// refuse: an inbound rule that is not of the allow-list was added by someone,
// for other instances that are isolated as well, so it is not ours to take away.
func (f fence) refuse(g *ec2types.SecurityGroup) error {
	_, extra := f.compare(g, false)
	if len(extra) == 0 {
		return nil
	}
	return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("isolation group %s has inbound rules of someone else's (%s): it does not isolate",
		aws.ToString(g.GroupId), strings.Join(slices.Sorted(maps.Keys(extra)), "; "))},
		"remove these rules, or its tag "+isolationTag+" so that a new group is made")
}

// ensure returns the ID of the isolation group, made where it is missing, and
// with its own rules only. Several runs may do this at once: the name is
// unique in the VPC, so one of them makes the group and the others wait until
// they see it.
func (f fence) ensure(ctx context.Context, client *ec2.Client, clock incident.Clock) (string, error) {
	var g *ec2types.SecurityGroup
	asked, taken := false, false
	err := incident.Poll(ctx, clock, pause, lag, fmt.Sprintf("security group %s of %s", f.name(), f.VPC), func(ctx context.Context) (bool, error) {
		var err error
		if g, err = f.find(ctx, client); err != nil || g != nil || asked {
			return g != nil, err
		}
		asked = true
		err = f.create(ctx, client)
		if taken = hasCode(err, "InvalidGroup.Duplicate"); taken {
			return false, nil
		}
		return false, err
	})
	if err != nil && taken {
		err = incident.WithHint(err, fmt.Sprintf("a group of that name exists; if it is without tag %s=%s, rename or delete it, or tag it if it is meant for isolation", isolationTag, f.tag()))
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(g.GroupId), f.settle(ctx, client, clock, g)
}

func (f fence) create(ctx context.Context, client *ec2.Client) error {
	_, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(f.name()), VpcId: aws.String(f.VPC),
		Description: aws.String("Isolated by cordon"),
		TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeSecurityGroup,
			Tags:         []ec2types.Tag{{Key: aws.String(isolationTag), Value: aws.String(f.tag())}},
		}},
	})
	if err != nil {
		return fmt.Errorf("create security group %s in %s: %w", f.name(), f.VPC, err)
	}
	return nil
}

// settle gives the group exactly its rules. A new group lets everything out,
// over IPv4 and, where the VPC has it, IPv6: that goes first, so that no rule of
// the allow-list is ever together with it. It looks until AWS shows the result.
func (f fence) settle(ctx context.Context, client *ec2.Client, clock incident.Clock, g *ec2types.SecurityGroup) error {
	id := aws.ToString(g.GroupId)
	return incident.Poll(ctx, clock, pause, lag, "security group "+id+" to have its own rules only", func(ctx context.Context) (bool, error) {
		if g == nil {
			found, err := groupsBy(ctx, client, "group-id", id)
			if err != nil || len(found) == 0 {
				return false, err
			}
			g = &found[0]
		}
		shown := g
		g = nil // looked at once: the next look reads it anew
		if err := f.refuse(shown); err != nil {
			return false, err
		}
		lacksIn, _ := f.compare(shown, false)
		lacksOut, extra := f.compare(shown, true)
		if len(extra)+len(lacksIn)+len(lacksOut) == 0 {
			return true, nil
		}
		if err := revokeEgress(ctx, client, id, extra); err != nil {
			return false, err
		}
		return false, authorize(ctx, client, id, lacksIn, lacksOut)
	})
}

// revokeEgress takes outbound rules away; another run may have done it already.
func revokeEgress(ctx context.Context, client *ec2.Client, id string, rules map[string]ec2types.IpPermission) error {
	if len(rules) == 0 {
		return nil
	}
	var permissions []ec2types.IpPermission
	for _, words := range slices.Sorted(maps.Keys(rules)) {
		permissions = append(permissions, rules[words])
	}
	_, err := client.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: aws.String(id), IpPermissions: permissions})
	if err != nil && !hasCode(err, "InvalidPermission.NotFound") {
		return fmt.Errorf("revoke the outbound rules of security group %s: %w", id, err)
	}
	return nil
}

// authorize adds rules; another run may have added them already.
func authorize(ctx context.Context, client *ec2.Client, id string, in, out []rule) error {
	if len(in) > 0 {
		_, err := client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(id), IpPermissions: permissionsOf(in)})
		if err != nil && !hasCode(err, "InvalidPermission.Duplicate") {
			return fmt.Errorf("add the allow-list to security group %s: %w", id, err)
		}
	}
	if len(out) > 0 {
		_, err := client.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: aws.String(id), IpPermissions: permissionsOf(out)})
		if err != nil && !hasCode(err, "InvalidPermission.Duplicate") {
			return fmt.Errorf("add the allow-list to security group %s: %w", id, err)
		}
	}
	return nil
}

func permissionsOf(rules []rule) []ec2types.IpPermission {
	var all []ec2types.IpPermission
	for _, r := range rules {
		p := ec2types.IpPermission{IpProtocol: aws.String(r.Protocol), FromPort: aws.Int32(int32(r.Port)), ToPort: aws.Int32(int32(r.Port))}
		if cidr := aws.String(r.Prefix.String()); r.Prefix.Addr().Is4() {
			p.IpRanges = []ec2types.IpRange{{CidrIp: cidr}}
		} else {
			p.Ipv6Ranges = []ec2types.Ipv6Range{{CidrIpv6: cidr}}
		}
		all = append(all, p)
	}
	return all
}

// verify proves that the group lets pass what it shall, and nothing else. It
// returns the group, and what was seen in words.
func (f fence) verify(ctx context.Context, client *ec2.Client, id string) (ec2types.SecurityGroup, string, error) {
	found, err := groupsBy(ctx, client, "group-id", id)
	if err != nil {
		return ec2types.SecurityGroup{}, "", err
	}
	missing := &incident.NotVerifiedError{Resource: "security group " + id, Want: f.passes(), Got: "no such group"}
	if len(found) == 0 {
		return ec2types.SecurityGroup{}, "", missing
	}
	lacksIn, extraIn := f.compare(&found[0], false)
	lacksOut, extraOut := f.compare(&found[0], true)
	if len(lacksIn)+len(lacksOut)+len(extraIn)+len(extraOut) > 0 {
		missing.Got = fmt.Sprintf("%d inbound, %d outbound rules, %d of the allow-list missing", len(flat(found[0].IpPermissions, false)),
			len(flat(found[0].IpPermissionsEgress, true)), len(lacksIn)+len(lacksOut))
		return found[0], "", missing
	}
	if len(f.Rules) == 0 {
		return found[0], "security group " + id + " has no rules", nil
	}
	return found[0], "security group " + id + " lets pass " + f.passes(), nil
}
