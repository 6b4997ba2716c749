package survey

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/triage"
)

// role is a role with the instances that hand out its credentials.
type role struct {
	name, arn string
	policies  []string // names of those attached
	instances []string // by any of its profiles
}

func (r *Reader) role(ctx context.Context, inst ec2types.Instance, out *triage.Report) error {
	if inst.IamInstanceProfile == nil {
		return nil
	}
	profile := aws.ToString(inst.IamInstanceProfile.Arn)
	found, err := r.roles.get(profile, func() (*role, error) { return r.readRole(ctx, profile) })
	if err != nil || found == nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(found.instances), func(id string) bool { return id == out.ID })
	out.Role = &triage.Role{Name: found.name, ARN: found.arn, Profile: profile, Policies: found.policies, Shared: others}
	return nil
}

// readRole is nil for a profile without a role. A role can have several profiles, and each gives its credentials.
func (r *Reader) readRole(ctx context.Context, profile string) (*role, error) {
	got, err := r.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(profile[strings.LastIndex(profile, "/")+1:])})
	if err != nil {
		return nil, err
	}
	if got.InstanceProfile == nil || len(got.InstanceProfile.Roles) == 0 {
		return nil, nil
	}
	out := &role{name: aws.ToString(got.InstanceProfile.Roles[0].RoleName), arn: aws.ToString(got.InstanceProfile.Roles[0].Arn)}
	attached := iam.NewListAttachedRolePoliciesPaginator(r.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &out.name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.AttachedPolicies {
			out.policies = append(out.policies, aws.ToString(p.PolicyName))
		}
	}
	var profiles []string
	holding := iam.NewListInstanceProfilesForRolePaginator(r.iam, &iam.ListInstanceProfilesForRoleInput{RoleName: &out.name})
	for holding.HasMorePages() {
		page, err := holding.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.InstanceProfiles {
			profiles = append(profiles, aws.ToString(p.Arn))
		}
	}
	out.instances, err = r.using(ctx, profiles)
	return out, err
}

// using are the instances that have one of the profiles, by ID.
func (r *Reader) using(ctx context.Context, profiles []string) ([]string, error) {
	if len(profiles) == 0 {
		return nil, nil
	}
	var ids []string
	pages := ec2.NewDescribeInstancesPaginator(r.ec2, &ec2.DescribeInstancesInput{Filters: filter("iam-instance-profile.arn", profiles...), MaxResults: aws.Int32(pageSize)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				if i.State == nil || i.State.Name != ec2types.InstanceStateNameTerminated {
					ids = append(ids, aws.ToString(i.InstanceId))
				}
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}
