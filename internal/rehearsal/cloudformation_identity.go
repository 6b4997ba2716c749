package rehearsal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// cfnIdentityType: roles, and the logs of a network, each by its page in the CloudFormation Template Reference.
func cfnIdentityType(name string) (cfnType, bool) {
	switch name {
	case "AWS::IAM::Role":
		return cfnType{create: creating(cfnCreateRole), attributes: cfnRoleAttributes, remove: cfnRemoveRole}, true
	case "AWS::IAM::RolePolicy":
		return cfnType{create: creating(cfnPutRolePolicy), remove: cfnDeleteRolePolicy}, true
	case "AWS::IAM::InstanceProfile":
		return cfnType{create: creating(cfnCreateProfile), attributes: cfnProfileAttributes, remove: cfnRemoveProfile}, true
	case "AWS::Logs::LogGroup":
		return cfnType{create: creating(cfnCreateLogGroup), attributes: cfnLogGroupAttributes, remove: cfnRemoveLogGroup}, true
	case "AWS::EC2::FlowLog":
		return cfnType{create: creating(cfnCreateFlowLog), attributes: cfnIDAs("Id"), remove: cfnRemoveFlowLog}, true
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

type cfnRolePolicy struct {
	RoleName, PolicyName *string
	PolicyDocument       any
}

// cfnRolePolicyID is the physical ID, "policy|role".
const cfnRolePolicyID = "%s|%s"

func cfnPutRolePolicy(x *cfnWork, p *cfnRolePolicy) error {
	text, err := policyText(p.PolicyDocument)
	if err != nil {
		return err
	}
	_, err = callAs(x, "iam:PutRolePolicy", iamPutRolePolicy, &iam.PutRolePolicyInput{RoleName: p.RoleName, PolicyName: p.PolicyName, PolicyDocument: text})
	if err == nil {
		x.resource.Physical = fmt.Sprintf(cfnRolePolicyID, *p.PolicyName, *p.RoleName)
	}
	return err
}

func cfnDeleteRolePolicy(x *cfnWork) error {
	policy, role, _ := strings.Cut(x.resource.Physical, "|")
	_, err := callAs(x, "iam:DeleteRolePolicy", iamDeleteRolePolicy, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &policy})
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

type cfnLogGroup struct {
	LogGroupName, KmsKeyId *string
	RetentionInDays        *int32
	Tags                   []cfnTag
}

func cfnCreateLogGroup(x *cfnWork, p *cfnLogGroup) error {
	name := valueOr(p.LogGroupName, x.physicalName())
	in := &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name, KmsKeyId: p.KmsKeyId, Tags: x.ownLabels(p.Tags)}
	if _, err := callAs(x, "logs:CreateLogGroup", logsCreateLogGroup, in); err != nil {
		return err
	}
	x.resource.Physical = name
	if p.RetentionInDays == nil {
		return nil
	}
	_, err := callAs(x, "logs:PutRetentionPolicy", logsPutRetentionPolicy, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: &name, RetentionInDays: p.RetentionInDays})
	return err
}

func cfnRemoveLogGroup(x *cfnWork) error {
	_, err := callAs(x, "logs:DeleteLogGroup", logsDeleteLogGroup, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &x.resource.Physical})
	return err
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
	out, err := callAs(x, "ec2:CreateFlowLogs", ec2CreateFlowLogs, &ec2.CreateFlowLogsInput{
		ResourceIds: []string{aws.ToString(p.ResourceId)}, ResourceType: ec2types.FlowLogsResourceType(aws.ToString(p.ResourceType)),
		TrafficType: ec2types.TrafficType(aws.ToString(p.TrafficType)), LogDestinationType: ec2types.LogDestinationType(aws.ToString(p.LogDestinationType)),
		LogDestination: p.LogDestination, LogGroupName: p.LogGroupName, DeliverLogsPermissionArn: p.DeliverLogsPermissionArn,
		LogFormat: p.LogFormat, MaxAggregationInterval: p.MaxAggregationInterval,
	})
	if err != nil {
		return err
	}
	x.resource.Physical = out.FlowLogIds[0]
	x.label(p.Tags)
	return nil
}

func cfnRemoveFlowLog(x *cfnWork) error {
	_, err := callAs(x, "ec2:DeleteFlowLogs", ec2DeleteFlowLogs, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{x.resource.Physical}})
	return err
}
