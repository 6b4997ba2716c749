package isolate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// isolationName is the isolation group's name, which is unique in its VPC.
	isolationName = "cordon-isolation"
	// isolationTag marks an isolation group; its value is the VPC's ID. A group
	// that only has the name is not ours.
	isolationTag = "cordon:isolation"
)

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

// isolationGroup finds a VPC's isolation group; nil where there is none, or
// where it was made so recently that AWS does not show its tag yet.
func isolationGroup(ctx context.Context, client *ec2.Client, vpc string) (*ec2types.SecurityGroup, error) {
	all, err := groupsBy(ctx, client, "tag:"+isolationTag, vpc)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g ec2types.SecurityGroup) bool { return aws.ToString(g.VpcId) == vpc })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// refuseIngress: a rule that lets something in was added by someone, for
// other instances that are isolated as well, so it is not ours to take away.
func refuseIngress(g *ec2types.SecurityGroup) error {
	if len(g.IpPermissions) == 0 {
		return nil
	}
	return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("isolation group %s has %d inbound rules: it does not isolate",
		aws.ToString(g.GroupId), len(g.IpPermissions))},
		"remove its inbound rules, or its tag "+isolationTag+" so that a new group is made")
}

// ensureIsolation returns the ID of the VPC's isolation group, made where it is
// missing, and without a rule. Several runs may do this at once: the name is
// unique in the VPC, so one of them makes the group and the others wait until
// they see it.
func ensureIsolation(ctx context.Context, client *ec2.Client, clock incident.Clock, vpc string) (string, error) {
	var g *ec2types.SecurityGroup
	asked, taken := false, false
	err := incident.Poll(ctx, clock, pause, lag, fmt.Sprintf("security group %s of %s", isolationName, vpc), func(ctx context.Context) (bool, error) {
		var err error
		if g, err = isolationGroup(ctx, client, vpc); err != nil || g != nil || asked {
			return g != nil, err
		}
		asked = true
		err = createIsolation(ctx, client, vpc)
		if taken = hasCode(err, "InvalidGroup.Duplicate"); taken {
			return false, nil
		}
		return false, err
	})
	if err != nil && taken {
		err = incident.WithHint(err, fmt.Sprintf("a group of that name exists; if it is without tag %s=%s, rename or delete it, or tag it if it is meant for isolation", isolationTag, vpc))
	}
	if err != nil {
		return "", err
	}
	if err := refuseIngress(g); err != nil {
		return "", err
	}
	return aws.ToString(g.GroupId), revokeEgress(ctx, client, clock, aws.ToString(g.GroupId))
}

func createIsolation(ctx context.Context, client *ec2.Client, vpc string) error {
	_, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(isolationName), VpcId: aws.String(vpc),
		Description: aws.String("Isolated by cordon: nothing in, nothing out"),
		TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeSecurityGroup,
			Tags:         []ec2types.Tag{{Key: aws.String(isolationTag), Value: aws.String(vpc)}},
		}},
	})
	if err != nil {
		return fmt.Errorf("create security group %s in %s: %w", isolationName, vpc, err)
	}
	return nil
}

// revokeEgress takes every outbound rule away: a new group lets everything
// out, over IPv4 and, where the VPC has it, IPv6.
func revokeEgress(ctx context.Context, client *ec2.Client, clock incident.Clock, id string) error {
	return incident.Poll(ctx, clock, pause, lag, "security group "+id+" to have no outbound rule", func(ctx context.Context) (bool, error) {
		found, err := groupsBy(ctx, client, "group-id", id)
		if err != nil || len(found) == 0 {
			return false, err
		}
		rules := found[0].IpPermissionsEgress
		if len(rules) == 0 {
			return true, nil
		}
		_, err = client.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: aws.String(id), IpPermissions: rules})
		if hasCode(err, "InvalidPermission.NotFound") {
			return false, nil // another run took it away
		}
		return false, err
	})
}
