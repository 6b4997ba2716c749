package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// roles reads what the instances in the network may do: their profiles' roles, with all of their policies.
func (r *roomReader) roles(ctx context.Context) error {
	for i := range r.m.Instances {
		instance := &r.m.Instances[i]
		if instance.Profile == "" {
			continue
		}
		name := instance.Profile[strings.LastIndex(instance.Profile, "/")+1:]
		out, err := r.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		if err != nil {
			return fmt.Errorf("instance profile %s: %w", name, err)
		}
		for _, role := range out.InstanceProfile.Roles { // one at most (IAM quotas)
			instance.Role = aws.ToString(role.Arn)
			if slices.ContainsFunc(r.m.Roles, func(known Role) bool { return known.ARN == instance.Role }) {
				continue
			}
			if err := r.role(ctx, role.RoleName); err != nil {
				return fmt.Errorf("role %s: %w", aws.ToString(role.RoleName), err)
			}
		}
	}
	return nil
}

func (r *roomReader) role(ctx context.Context, name *string) error {
	got, err := r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	if err != nil {
		return err
	}
	role := Role{ARN: aws.ToString(got.Role.Arn), Name: aws.ToString(name), Trust: aws.ToString(got.Role.AssumeRolePolicyDocument), Inline: make(map[string]string)}
	if b := got.Role.PermissionsBoundary; b != nil && b.PermissionsBoundaryType == types.PermissionsBoundaryAttachmentTypePolicy {
		role.Boundary = aws.ToString(b.PermissionsBoundaryArn)
	}
	inline := iam.NewListRolePoliciesPaginator(r.iam, &iam.ListRolePoliciesInput{RoleName: name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, policy := range page.PolicyNames {
			out, err := r.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: &policy})
			if err != nil {
				return err
			}
			role.Inline[policy] = aws.ToString(out.PolicyDocument)
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(r.iam, &iam.ListAttachedRolePoliciesInput{RoleName: name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, policy := range page.AttachedPolicies {
			role.Attached = append(role.Attached, aws.ToString(policy.PolicyArn))
		}
	}
	r.m.Roles = append(r.m.Roles, role)
	return nil
}
