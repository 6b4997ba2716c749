package access

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Permitted asks IAM's policy simulator which of these IAM actions the caller may do at a place
// (its Instance: the one to be worked on; empty: any). It gives one Permission for each, without Steps; what could not be asked
// is unknown, with the reason. It fails only where ctx has ended.
//
// The simulator knows the policies of the caller's role or user, its permissions boundary and the
// organization's SCPs. It knows nothing of resource control policies, session policies, VPC endpoint
// policies and, of a role, resource-based policies (IAM User Guide, "Testing IAM policies with the
// IAM policy simulator"; IAM API Reference, SimulatePrincipalPolicy). Only the call itself tells for sure.
func (a *Access) Permitted(ctx context.Context, at incident.Target, actions []string, bucket string) ([]incident.Permission, error) {
	q := &question{at: at, bucket: bucket, found: make(map[string]answer, len(actions))}
	err := a.ask(ctx, q, actions)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	all := make([]incident.Permission, 0, len(actions))
	for _, action := range actions {
		p := incident.Permission{Action: action, Account: at.Account, Region: at.Region, State: incident.PermissionUnknown}
		switch found, ok := q.found[action]; {
		case ok:
			p.State, p.Reason = found.state, found.reason
		case err != nil:
			p.Reason = notAsked(err)
		default:
			p.Reason = "the simulator gave no answer"
		}
		all = append(all, p)
	}
	return all, nil
}

// question is what is asked of the simulator of one account and Region.
type question struct {
	at        incident.Target
	bucket    string
	client    *iam.Client
	principal arn.ARN
	found     map[string]answer
}

type answer struct {
	state  incident.PermissionState
	reason string
}

func (a *Access) ask(ctx context.Context, q *question, actions []string) error {
	cfg, err := a.Config(ctx, q.at)
	if err != nil {
		return err
	}
	_, caller, err := identity(ctx, cfg)
	if err != nil {
		return err
	}
	q.client = iam.NewFromConfig(cfg)
	if q.principal, err = principal(ctx, q.client, caller); err != nil {
		return err
	}
	// IAM is a global service: its requests are made in one Region of the partition, which is what policies see.
	var global, regional []string
	for _, action := range actions {
		if strings.HasPrefix(action, "iam:") {
			global = append(global, action)
		} else {
			regional = append(regional, action)
		}
	}
	if err := q.askIn(ctx, q.at.Region, regional); err != nil {
		return err
	}
	return q.askIn(ctx, globalRegion(q.principal.Partition), global)
}

// principal is the user or role whose policies decide, by the ARN of the caller. That of a
// role's session leaves out the role's path, which its ARN has (IAM User Guide, "IAM identifiers").
func principal(ctx context.Context, client *iam.Client, caller string) (arn.ARN, error) {
	parsed, err := arn.Parse(caller)
	if err != nil {
		return parsed, err
	}
	kind, rest, _ := strings.Cut(parsed.Resource, "/")
	switch {
	case parsed.Service == "iam" && kind == "user":
		return parsed, nil
	case parsed.Service == "sts" && kind == "assumed-role":
		name, _, _ := strings.Cut(rest, "/")
		out, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
		if err != nil {
			return parsed, err
		}
		return arn.Parse(aws.ToString(out.Role.Arn))
	}
	return parsed, errors.New("the simulator takes users and roles only, and the caller is " + caller)
}

func globalRegion(partition string) string {
	switch partition {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return "us-east-1"
}

// askIn asks of all resources first, and then, of what no policy allows on all of
// them, of those that the service's actions are about: a policy may be limited to them.
func (q *question) askIn(ctx context.Context, region string, actions []string) error {
	if len(actions) == 0 {
		return nil
	}
	if err := q.simulate(ctx, region, actions, nil); err != nil {
		return err
	}
	again := make(map[string][]string)
	for _, action := range actions {
		service, _, _ := strings.Cut(action, ":")
		if q.found[action].reason == nowhereAllowed && len(q.resources(service)) > 0 {
			again[service] = append(again[service], action)
			delete(q.found, action)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(again)) {
		if err := q.simulate(ctx, region, again[service], q.resources(service)); err != nil {
			return err
		}
	}
	return nil
}

func (q *question) simulate(ctx context.Context, region string, actions, on []string) error {
	pages := iam.NewSimulatePrincipalPolicyPaginator(q.client, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: aws.String(q.principal.String()), ActionNames: actions, ResourceArns: on, MaxItems: aws.Int32(1000),
		// What every request of ours has, and SCPs often ask for.
		ContextEntries: []types.ContextEntry{
			{ContextKeyName: aws.String("aws:RequestedRegion"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{region}},
			{ContextKeyName: aws.String("aws:SecureTransport"), ContextKeyType: types.ContextKeyTypeEnumBoolean, ContextKeyValues: []string{"true"}},
		},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, r := range out.EvaluationResults {
			q.found[aws.ToString(r.EvalActionName)] = judge(r, on)
		}
	}
	return nil
}

// nowhereAllowed is where asking about certain resources can still find a policy.
const nowhereAllowed = "no policy of the caller allows it"

// judge reads a decision. A denial that may rest on a condition is not known: of the request that will be
// made only some of what conditions look at is known here, and a negated condition on what is missing holds.
func judge(r types.EvaluationResult, on []string) answer {
	decision, missing := r.EvalDecision, r.MissingContextValues
	for _, one := range r.ResourceSpecificResults {
		missing = append(missing, one.MissingContextValues...)
		if one.EvalResourceDecision == types.PolicyEvaluationDecisionTypeAllowed {
			decision = one.EvalResourceDecision // on a resource of its kind
		}
	}
	missing = slices.Compact(slices.Sorted(slices.Values(missing)))
	denied := func(reason string) answer { return answer{incident.PermissionDenied, reason} }
	switch {
	case decision == types.PolicyEvaluationDecisionTypeAllowed:
		return answer{state: incident.PermissionAllowed}
	case r.OrganizationsDecisionDetail != nil && !r.OrganizationsDecisionDetail.AllowedByOrganizations:
		return denied("the organization's service control policies do not allow it")
	case len(missing) > 0:
		return answer{incident.PermissionUnknown, "it hangs on the request's " + strings.Join(missing, ", ")}
	case decision == types.PolicyEvaluationDecisionTypeExplicitDeny:
		return denied("denied by " + policies(r.MatchedStatements))
	case r.PermissionsBoundaryDecisionDetail != nil && !r.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary:
		return denied("the caller's permissions boundary does not allow it")
	case len(on) > 0:
		return denied(nowhereAllowed + ", on * or " + strings.Join(on, ", "))
	}
	return denied(nowhereAllowed)
}

// policies are those of the statements, as the simulator names them.
func policies(statements []types.Statement) string {
	var names []string
	for _, s := range statements {
		names = append(names, aws.ToString(s.SourcePolicyId))
	}
	if len(names) == 0 {
		return "a policy"
	}
	return "policy " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
}

// resources are those of a service that its actions are about, as far as they are known before: an
// ARN with * stands for one that policies allow by a pattern as wide. Snapshots and images
// have no account in theirs (Service Authorization Reference, "Amazon EC2").
func (q *question) resources(service string) []string {
	prefix := "arn:" + q.principal.Partition + ":"
	here := prefix + service + ":" + q.at.Region + ":" + q.at.Account + ":"
	instance := q.at.Instance
	if instance == "" {
		instance = "*"
	}
	switch service {
	case "ec2":
		on := []string{here + "instance/" + instance, prefix + "ec2:" + q.at.Region + "::snapshot/*", prefix + "ec2:" + q.at.Region + "::image/*"}
		for _, kind := range []string{"network-interface", "security-group", "network-acl", "volume", "vpc", "subnet", "vpc-flow-log"} {
			on = append(on, here+kind+"/*")
		}
		return on
	case "ebs":
		return []string{prefix + "ec2:" + q.at.Region + "::snapshot/*"}
	case "iam":
		global := prefix + "iam::" + q.at.Account + ":"
		return []string{global + "role/*", global + "user/*", global + "instance-profile/*", global + "policy/*"}
	case "s3":
		if q.bucket == "" {
			return nil
		}
		return []string{prefix + "s3:::" + q.bucket, prefix + "s3:::" + q.bucket + "/*"}
	case "ssm":
		return []string{prefix + "ec2:" + q.at.Region + ":" + q.at.Account + ":instance/" + instance, prefix + "ssm:" + q.at.Region + "::document/*"}
	case "autoscaling":
		return []string{here + "autoScalingGroup:*:autoScalingGroupName/*"}
	case "elasticloadbalancing":
		return []string{here + "loadbalancer/*", here + "targetgroup/*"}
	case "cloudformation":
		return []string{here + "stack/*"}
	case "kms":
		return []string{here + "key/*"}
	case "logs":
		return []string{here + "log-group:*"}
	}
	return nil
}

// notAsked is why the simulator could not be asked.
func notAsked(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "AccessDenied", "AccessDeniedException":
			return "not allowed to ask (" + permission(err, api) + ")"
		}
		return "not asked: " + api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return "not asked: " + err.Error()
}
