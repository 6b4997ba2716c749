package rehearsal

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// cfnIdentityType: roles, and the logs of a network, each by its page in the CloudFormation Template Reference.
func cfnIdentityType(name string) (cfnType, bool) {
	switch name {
	case "AWS::IAM::Role":
		return cfnType{create: creating(cfnCreateRole), attributes: cfnRoleAttributes, remove: cfnRemoveRole}, true
	case "AWS::IAM::InstanceProfile":
		return cfnType{create: creating(cfnCreateProfile), attributes: cfnProfileAttributes, remove: cfnRemoveProfile}, true
	case "AWS::Logs::LogGroup":
		return cfnType{create: creating(cfnCreateLogGroup), attributes: cfnLogGroupAttributes, remove: func(*cfnWork) error { return nil }}, true
	case "AWS::EC2::FlowLog":
		return cfnType{create: creating(cfnCreateFlowLog), attributes: cfnIDAs("Id"), remove: func(*cfnWork) error { return nil }}, true
	default:
		return cfnType{}, false
	}
}

type cfnPolicy struct {
	PolicyName     *string
	PolicyDocument any
}

type cfnRole struct {
	AssumeRolePolicyDocument    any
	RoleName, Path, Description *string
	MaxSessionDuration          *int32
	PermissionsBoundary         *string
	ManagedPolicyArns           []string
	Policies                    []cfnPolicy
	Tags                        []cfnTag
}

func cfnCreateRole(x *cfnWork, p *cfnRole) error {
	name := valueOr(p.RoleName, x.physicalName())
	trust, err := policyText(p.AssumeRolePolicyDocument)
	if err != nil {
		return err
	}
	in := &iam.CreateRoleInput{
		RoleName: &name, Path: p.Path, Description: p.Description, AssumeRolePolicyDocument: trust,
		MaxSessionDuration: p.MaxSessionDuration, PermissionsBoundary: p.PermissionsBoundary,
	}
	own := x.ownLabels(p.Tags)
	for _, key := range sortedKeys(own) {
		in.Tags = append(in.Tags, iamtypes.Tag{Key: aws.String(key), Value: aws.String(own[key])})
	}
	if _, err := callAs(x, "iam:CreateRole", iamCreateRole, in); err != nil {
		return err
	}
	x.resource.Physical = name
	for _, arn := range p.ManagedPolicyArns {
		if _, err := callAs(x, "iam:AttachRolePolicy", iamAttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String(arn)}); err != nil {
			return err
		}
	}
	for _, policy := range p.Policies {
		text, err := policyText(policy.PolicyDocument)
		if err != nil {
			return err
		}
		if _, err := callAs(x, "iam:PutRolePolicy", iamPutRolePolicy, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: policy.PolicyName, PolicyDocument: text}); err != nil {
			return err
		}
	}
	return nil
}

func cfnRoleAttributes(x *cfnWork) map[string]any {
	out, err := iamGetRole(x.call, &iam.GetRoleInput{RoleName: &x.resource.Physical})
	if err != nil {
		return nil
	}
	return map[string]any{"Arn": aws.ToString(out.Role.Arn), "RoleId": aws.ToString(out.Role.RoleId)}
}

// cfnRemoveRole takes away what the template gave the role; what somebody else has given it since
// makes the deletion fail, as in AWS.
func cfnRemoveRole(x *cfnWork) error {
	p := new(cfnRole)
	again := creating(func(_ *cfnWork, read *cfnRole) error { *p = *read; return nil })
	if err := again(x); err != nil {
		return err
	}
	name := &x.resource.Physical
	var missing *iamtypes.NoSuchEntityException
	for _, policy := range p.Policies {
		_, err := callAs(x, "iam:DeleteRolePolicy", iamDeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: policy.PolicyName})
		if err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	for _, arn := range p.ManagedPolicyArns {
		_, err := callAs(x, "iam:DetachRolePolicy", iamDetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String(arn)})
		if err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	_, err := callAs(x, "iam:DeleteRole", iamDeleteRole, &iam.DeleteRoleInput{RoleName: name})
	return err
}

type cfnProfile struct {
	InstanceProfileName, Path *string
	Roles                     []string
}

func cfnCreateProfile(x *cfnWork, p *cfnProfile) error {
	name := valueOr(p.InstanceProfileName, x.physicalName())
	if _, err := callAs(x, "iam:CreateInstanceProfile", iamCreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Path: p.Path}); err != nil {
		return err
	}
	x.resource.Physical = name
	for _, role := range p.Roles {
		_, err := callAs(x, "iam:AddRoleToInstanceProfile", iamAddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: aws.String(role)})
		if err != nil {
			return err
		}
	}
	return nil
}

func cfnProfileAttributes(x *cfnWork) map[string]any {
	out, err := iamGetInstanceProfile(x.call, &iam.GetInstanceProfileInput{InstanceProfileName: &x.resource.Physical})
	if err != nil {
		return nil
	}
	return map[string]any{"Arn": aws.ToString(out.InstanceProfile.Arn)}
}

func cfnRemoveProfile(x *cfnWork) error {
	name := &x.resource.Physical
	out, err := iamGetInstanceProfile(x.call, &iam.GetInstanceProfileInput{InstanceProfileName: name})
	if err != nil {
		return err
	}
	for _, role := range out.InstanceProfile.Roles {
		_, err := callAs(x, "iam:RemoveRoleFromInstanceProfile", iamRemoveRoleFromInstanceProfile, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: role.RoleName})
		if err != nil {
			return err
		}
	}
	_, err = callAs(x, "iam:DeleteInstanceProfile", iamDeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	return err
}

// A log group and a flow log live in their stack alone: nothing in the account writes or reads logs.

type cfnLogGroup struct {
	LogGroupName, KmsKeyId *string
	RetentionInDays        *int32
	Tags                   []cfnTag
}

func cfnCreateLogGroup(x *cfnWork, p *cfnLogGroup) error {
	if err := x.permit("logs:CreateLogGroup"); err != nil {
		return err
	}
	x.resource.Physical = valueOr(p.LogGroupName, x.physicalName())
	return nil
}

func cfnLogGroupAttributes(x *cfnWork) map[string]any {
	return map[string]any{"Arn": fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s:*", x.region, x.Account, x.resource.Physical)}
}

type cfnFlowLog struct {
	ResourceId, ResourceType, TrafficType            *string
	LogDestinationType, LogDestination, LogGroupName *string
	DeliverLogsPermissionArn, LogFormat              *string
	MaxAggregationInterval                           *int32
	Tags                                             []cfnTag
}

func cfnCreateFlowLog(x *cfnWork, p *cfnFlowLog) error {
	if err := x.permit("ec2:CreateFlowLogs"); err != nil {
		return err
	}
	if k, exists := x.EC2.kindOf(aws.ToString(p.ResourceId)); !exists {
		return k.missing(aws.ToString(p.ResourceId))
	}
	x.resource.Physical = x.id("fl")
	return nil
}
