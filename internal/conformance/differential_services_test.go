package conformance

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func serviceScenarios() []scenario {
	return []scenario{
		{"roles", roles},
		{"role policies", rolePolicies},
		{"managed policies", managedPolicies},
		{"the account's own policies", ownPolicies},
		{"users and access keys", users},
		{"instance profiles", instanceProfiles},
		{"keys", keys},
		{"callers and parameters", callers},
		{"stacks", stacks},
	}
}

func newRole(l *lane, name string) {
	must(l, l.iam.CreateRole, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trustEC2)})
}

// newProfile is an instance profile with a role of its own, both by the same name.
func newProfile(l *lane, name string) {
	newRole(l, name)
	must(l, l.iam.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
	must(l, l.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
}

func roles(l *lane) {
	name := aws.String("diff-role")
	newRole(l, *name)
	do(l, l.iam.CreateRole, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustEC2)})
	do(l, l.iam.CreateRole, &iam.CreateRoleInput{RoleName: aws.String("diff-bad"), AssumeRolePolicyDocument: aws.String("{not JSON")})
	do(l, l.iam.CreateRole, &iam.CreateRoleInput{RoleName: aws.String("diff bad"), AssumeRolePolicyDocument: aws.String(trustEC2)})
	do(l, l.iam.GetRole, &iam.GetRoleInput{RoleName: name})
	do(l, l.iam.GetRole, &iam.GetRoleInput{RoleName: aws.String("diff-absent")})
	do(l, l.iam.ListRoleTags, &iam.ListRoleTagsInput{RoleName: name})
	do(l, l.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String(trustEC2)})
	do(l, l.iam.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("diff-absent"), PolicyDocument: aws.String(trustEC2)})
	do(l, l.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: name})
	do(l, l.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: name})
	do(l, l.iam.ListAccessKeys, &iam.ListAccessKeysInput{UserName: aws.String("diff-nobody")})
}

const denyAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`

func rolePolicies(l *lane) {
	role, absent, name := aws.String("diff-ruled"), aws.String("diff-absent"), aws.String("deny")
	newRole(l, *role)
	put := func(role *string, document string) {
		do(l, l.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: role, PolicyName: name, PolicyDocument: &document})
	}
	put(absent, denyAll)
	put(role, "{not JSON")
	put(role, `{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}`)
	put(role, denyAll)
	put(role, denyAll)
	do(l, l.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: role, PolicyName: name})
	do(l, l.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: role, PolicyName: absent})
	do(l, l.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: absent, PolicyName: name})
	do(l, l.iam.ListRolePolicies, &iam.ListRolePoliciesInput{RoleName: role})
	do(l, l.iam.ListRolePolicies, &iam.ListRolePoliciesInput{RoleName: absent})
	do(l, l.iam.DeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: name})
	do(l, l.iam.DeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: name})
	put(role, denyAll)
	do(l, l.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: role}) // it still has a policy
}

func users(l *lane) {
	name, absent, policy := aws.String("diff-user"), aws.String("diff-absent"), aws.String("deny")
	must(l, l.iam.CreateUser, &iam.CreateUserInput{UserName: name})
	do(l, l.iam.CreateUser, &iam.CreateUserInput{UserName: name})
	do(l, l.iam.GetUser, &iam.GetUserInput{UserName: name})
	do(l, l.iam.GetUser, &iam.GetUserInput{UserName: absent})
	put := func(user *string, document string) {
		do(l, l.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: user, PolicyName: policy, PolicyDocument: &document})
	}
	put(absent, denyAll)
	put(name, "{not JSON")
	put(name, denyAll)
	put(name, denyAll)
	do(l, l.iam.GetUserPolicy, &iam.GetUserPolicyInput{UserName: name, PolicyName: policy})
	do(l, l.iam.GetUserPolicy, &iam.GetUserPolicyInput{UserName: name, PolicyName: absent})
	do(l, l.iam.ListUserPolicies, &iam.ListUserPoliciesInput{UserName: name})
	key := l.call("access key", must(l, l.iam.CreateAccessKey, &iam.CreateAccessKeyInput{UserName: name}).AccessKey.AccessKeyId)
	do(l, l.iam.GetAccessKeyLastUsed, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &key})
	do(l, l.iam.UpdateAccessKey, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: &key, Status: iamtypes.StatusTypeInactive})
	do(l, l.iam.UpdateAccessKey, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: aws.String("AKIANOSUCHKEYATALL"), Status: iamtypes.StatusTypeInactive})
	do(l, l.iam.ListAccessKeys, &iam.ListAccessKeysInput{UserName: name})
	do(l, l.iam.DeleteUser, &iam.DeleteUserInput{UserName: name}) // it still has a key and a policy
	do(l, l.iam.DeleteAccessKey, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: &key})
	do(l, l.iam.DeleteAccessKey, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: &key})
	do(l, l.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: policy})
	do(l, l.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: policy})
	do(l, l.iam.DeleteUser, &iam.DeleteUserInput{UserName: name})
	do(l, l.iam.DeleteUser, &iam.DeleteUserInput{UserName: name})
}

func managedPolicies(l *lane) {
	role, absent := aws.String("diff-managed"), aws.String("diff-absent")
	newRole(l, *role)
	managed := aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")
	do(l, l.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String("arn:aws:iam::aws:policy/NoSuchPolicyAtAll")})
	do(l, l.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: absent, PolicyArn: managed})
	do(l, l.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: managed})
	do(l, l.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: managed})
	do(l, l.iam.ListAttachedRolePolicies, &iam.ListAttachedRolePoliciesInput{RoleName: role})
	do(l, l.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: managed})
	do(l, l.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: managed})
}

func ownPolicies(l *lane) {
	role := aws.String("diff-own")
	newRole(l, *role)
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	own := must(l, l.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: aws.String("diff-own"), PolicyDocument: &document}).Policy.Arn
	do(l, l.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: aws.String("diff-own"), PolicyDocument: &document})
	do(l, l.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: aws.String("diff-broken"), PolicyDocument: aws.String("{")})
	do(l, l.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: own})
	do(l, l.iam.ListAttachedRolePolicies, &iam.ListAttachedRolePoliciesInput{RoleName: role})
	do(l, l.iam.GetPolicy, &iam.GetPolicyInput{PolicyArn: own})
	do(l, l.iam.GetPolicyVersion, &iam.GetPolicyVersionInput{PolicyArn: own, VersionId: aws.String("v1")})
	do(l, l.iam.GetPolicyVersion, &iam.GetPolicyVersionInput{PolicyArn: own, VersionId: aws.String("v9")})
	do(l, l.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: own})
}

func instanceProfiles(l *lane) {
	name, absent := aws.String("diff-profile"), aws.String("diff-absent")
	newProfile(l, *name)
	do(l, l.iam.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: name})
	do(l, l.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	do(l, l.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: absent, RoleName: name})
	do(l, l.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: absent})
	do(l, l.iam.GetInstanceProfile, &iam.GetInstanceProfileInput{InstanceProfileName: name})
	do(l, l.iam.GetInstanceProfile, &iam.GetInstanceProfileInput{InstanceProfileName: absent})
	do(l, l.iam.ListInstanceProfilesForRole, &iam.ListInstanceProfilesForRoleInput{RoleName: name})
	do(l, l.iam.ListInstanceProfilesForRole, &iam.ListInstanceProfilesForRoleInput{RoleName: absent})
	do(l, l.iam.DeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	do(l, l.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: name})
	do(l, l.iam.RemoveRoleFromInstanceProfile, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	do(l, l.iam.RemoveRoleFromInstanceProfile, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	do(l, l.iam.DeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	do(l, l.iam.DeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
}

func keys(l *lane) {
	key := l.call("key", must(l, l.kms.CreateKey, &kms.CreateKeyInput{Description: aws.String("differential")}).KeyMetadata.KeyId)
	describe := func(id string) { do(l, l.kms.DescribeKey, &kms.DescribeKeyInput{KeyId: &id}) }
	alias := func(name, id string) {
		do(l, l.kms.CreateAlias, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &id})
	}
	describe(key)
	describe("11111111-2222-3333-4444-555555555555")
	describe("alias/diff-absent")
	alias("alias/diff", key)
	alias("alias/diff", key)
	alias("diff", key)
	alias("alias/diff-lost", "11111111-2222-3333-4444-555555555555")
	describe("alias/diff")
	do(l, l.kms.ListAliases, &kms.ListAliasesInput{KeyId: &key})
	do(l, l.kms.DisableKey, &kms.DisableKeyInput{KeyId: &key})
	describe(key)
	do(l, l.kms.EnableKey, &kms.EnableKeyInput{KeyId: &key})
	describe(key)
	alias("alias/aws/diff", key)
	do(l, l.kms.DisableKey, &kms.DisableKeyInput{KeyId: aws.String("11111111-2222-3333-4444-555555555555")})
}

func callers(l *lane) {
	do(l, l.sts.GetCallerIdentity, &sts.GetCallerIdentityInput{})
	newRole(l, "diff-assumed")
	do(l, l.sts.AssumeRole, &sts.AssumeRoleInput{RoleArn: aws.String("not an ARN at all, but long"), RoleSessionName: aws.String("session")})
	do(l, l.sts.AssumeRole, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/diff-assumed"), RoleSessionName: aws.String("s")})
	do(l, l.ssm.GetParameter, &ssm.GetParameterInput{Name: aws.String("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64")})
	do(l, l.ssm.GetParameter, &ssm.GetParameterInput{Name: aws.String("/diff/absent")})
	do(l, l.ssm.GetParameters, &ssm.GetParametersInput{Names: []string{"/diff/absent"}})
	do(l, l.ssm.DescribeInstanceInformation, &ssm.DescribeInstanceInformationInput{})
}

const smallTemplate = `
AWSTemplateFormatVersion: "2010-09-09"
Description: a network without anything in it
Parameters:
  Block: {Type: String, Default: 10.97.0.0/16}
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Block}
  Shelf:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Network, CidrBlock: 10.97.1.0/24}
Outputs:
  Where: {Value: !Ref Network}
`

func stacks(l *lane) {
	name, absent := aws.String("diff-stack"), aws.String("diff-absent")
	create := func(name, template string) *cloudformation.CreateStackOutput {
		return do(l, l.stacks.CreateStack, &cloudformation.CreateStackInput{StackName: &name, TemplateBody: &template})
	}
	do(l, l.stacks.ValidateTemplate, &cloudformation.ValidateTemplateInput{TemplateBody: aws.String(smallTemplate)})
	do(l, l.stacks.ValidateTemplate, &cloudformation.ValidateTemplateInput{TemplateBody: aws.String("Resources: [")})
	create("1-bad-name", smallTemplate)
	create("diff-empty", "Description: nothing\nResources: {}\n")
	create("diff-unknown", "Resources: {A: {Type: 'AWS::EC2::NoSuchThing'}}\n")
	create("diff-dangling", "Resources: {A: {Type: 'AWS::EC2::Subnet', Properties: {VpcId: !Ref Nowhere, CidrBlock: 10.0.0.0/24}}}\n")
	made := create(*name, smallTemplate)
	if made == nil {
		return
	}
	l.call("stack", made.StackId)
	create(*name, smallTemplate)
	l.pass(time.Hour)
	do(l, l.stacks.DescribeStacks, &cloudformation.DescribeStacksInput{StackName: name})
	do(l, l.stacks.DescribeStacks, &cloudformation.DescribeStacksInput{StackName: absent})
	do(l, l.stacks.DescribeStackEvents, &cloudformation.DescribeStackEventsInput{StackName: name})
	do(l, l.stacks.DescribeStackResources, &cloudformation.DescribeStackResourcesInput{StackName: name})
	do(l, l.stacks.DescribeStackResources, &cloudformation.DescribeStackResourcesInput{StackName: absent})
	do(l, l.stacks.ListStackResources, &cloudformation.ListStackResourcesInput{StackName: name})
	do(l, l.stacks.GetTemplate, &cloudformation.GetTemplateInput{StackName: name})
	do(l, l.stacks.GetTemplate, &cloudformation.GetTemplateInput{StackName: absent})
	do(l, l.stacks.UpdateTerminationProtection, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: aws.Bool(true)})
	do(l, l.stacks.UpdateTerminationProtection, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: aws.Bool(false)})
	do(l, l.stacks.DeleteStack, &cloudformation.DeleteStackInput{StackName: name})
	l.pass(time.Hour)
	do(l, l.stacks.DescribeStacks, &cloudformation.DescribeStacksInput{StackName: name})
	do(l, l.stacks.DescribeStacks, &cloudformation.DescribeStacksInput{StackName: made.StackId})
	do(l, l.stacks.DeleteStack, &cloudformation.DeleteStackInput{StackName: absent})
}
