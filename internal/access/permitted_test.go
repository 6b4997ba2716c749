package access

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestInARehearsalWhatIsDeniedIsMissing(t *testing.T) {
	account, a, l, target := rehearse(t)
	if err := account.Deny("ec2:CreateSnap*", "iam:PutRolePolicy"); err != nil {
		t.Fatal(err)
	}
	got, err := a.Permitted(t.Context(), target, []string{"ec2:CreateSnapshots", "ec2:DescribeInstances", "iam:GetRole", "iam:PutRolePolicy"}, "")
	if err != nil || len(got) != 4 {
		t.Fatal(got, err)
	}
	for i, want := range []incident.PermissionState{incident.PermissionDenied, incident.PermissionAllowed, incident.PermissionAllowed, incident.PermissionDenied} {
		if p := got[i]; p.State != want || p.Account != target.Account || p.Region != target.Region || (p.Reason == "") != (want == incident.PermissionAllowed) {
			t.Errorf("%+v, want %s", p, want)
		}
	}
	if len(l.entries()) > 0 {
		t.Error("asking was journaled as a change")
	}
}

func TestWhoMayNotAskKnowsNothing(t *testing.T) {
	for _, forbidden := range []string{"iam:SimulatePrincipalPolicy", "iam:GetRole"} {
		account, a, _, target := rehearse(t)
		if err := account.Deny(forbidden); err != nil {
			t.Fatal(err)
		}
		got, err := a.Permitted(t.Context(), target, []string{"ec2:CreateSnapshots"}, "")
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if p := got[0]; p.State != incident.PermissionUnknown || p.Reason != "not allowed to ask ("+forbidden+")" {
			t.Errorf("without %s: %+v", forbidden, p)
		}
	}
}

func TestAnotherAccountsTargetIsNotKnownEither(t *testing.T) {
	_, a, _, target := rehearse(t)
	target.Account = "444455556666"
	got, err := a.Permitted(t.Context(), target, []string{"ec2:CreateSnapshots"}, "")
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if p := got[0]; p.State != incident.PermissionUnknown || !strings.Contains(p.Reason, "the credentials are") {
		t.Errorf("%+v", p)
	}
}

func TestOnlyACancelledQuestionIsAnError(t *testing.T) {
	_, a, _, target := rehearse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := a.Permitted(ctx, target, []string{"ec2:CreateSnapshots"}, ""); err == nil {
		t.Errorf("%+v", got)
	}
}

func TestThePrincipalOfACaller(t *testing.T) {
	cfg := answering(func(any) any {
		return &iam.GetRoleOutput{Role: &types.Role{Arn: aws.String("arn:aws-cn:iam::111122223333:role/team/ir/responder")}}
	})
	for caller, want := range map[string]string{
		"arn:aws:iam::111122223333:user/team/ann":                         "arn:aws:iam::111122223333:user/team/ann",
		"arn:aws-cn:sts::111122223333:assumed-role/responder/ann@acme.io": "arn:aws-cn:iam::111122223333:role/team/ir/responder",
		"arn:aws:iam::111122223333:root":                                  "",
		"arn:aws:sts::111122223333:federated-user/ann":                    "",
		"ann": "",
	} {
		got, err := principal(t.Context(), iam.NewFromConfig(cfg), caller)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%s: %s, %v; want %q", caller, got, err, want)
		}
	}
}

func TestADecisionIsRead(t *testing.T) {
	const (
		allowed = types.PolicyEvaluationDecisionTypeAllowed
		no      = types.PolicyEvaluationDecisionTypeImplicitDeny
		never   = types.PolicyEvaluationDecisionTypeExplicitDeny
	)
	on := []string{"arn:a", "arn:b"}
	byPolicy := []types.Statement{{SourcePolicyId: aws.String("guard")}, {SourcePolicyId: aws.String("guard")}}
	for _, test := range []struct {
		name   string
		result types.EvaluationResult
		on     []string
		state  incident.PermissionState
		reason string
	}{
		{"allowed", types.EvaluationResult{EvalDecision: allowed}, nil, incident.PermissionAllowed, ""},
		{"allowed, whatever a condition might add", types.EvaluationResult{EvalDecision: allowed, MissingContextValues: []string{"aws:SourceIp"}}, nil, incident.PermissionAllowed, ""},
		{"by no policy", types.EvaluationResult{EvalDecision: no}, nil, incident.PermissionDenied, nowhereAllowed},
		{"by no policy on these", types.EvaluationResult{EvalDecision: no}, on, incident.PermissionDenied, nowhereAllowed + ", on * or arn:a, arn:b"},
		{"on one of these", types.EvaluationResult{EvalDecision: no, ResourceSpecificResults: []types.ResourceSpecificResult{
			{EvalResourceDecision: no}, {EvalResourceDecision: allowed},
		}}, on, incident.PermissionAllowed, ""},
		{"by a statement", types.EvaluationResult{EvalDecision: never, MatchedStatements: byPolicy}, nil, incident.PermissionDenied, "denied by policy guard"},
		{"by a statement not named", types.EvaluationResult{EvalDecision: never}, nil, incident.PermissionDenied, "denied by a policy"},
		{"by a condition on what is not known", types.EvaluationResult{EvalDecision: never, MatchedStatements: byPolicy, MissingContextValues: []string{"aws:SourceIp"}}, nil,
			incident.PermissionUnknown, "it hangs on the request's aws:SourceIp"},
		{"by conditions of these", types.EvaluationResult{EvalDecision: no, ResourceSpecificResults: []types.ResourceSpecificResult{
			{EvalResourceDecision: no, MissingContextValues: []string{"b:k", "a:k"}}, {EvalResourceDecision: no, MissingContextValues: []string{"a:k"}},
		}}, on, incident.PermissionUnknown, "it hangs on the request's a:k, b:k"},
		{"by the organization", types.EvaluationResult{EvalDecision: no, MissingContextValues: []string{"a:k"}, OrganizationsDecisionDetail: &types.OrganizationsDecisionDetail{}}, nil,
			incident.PermissionDenied, "the organization's service control policies do not allow it"},
		{"by the boundary", types.EvaluationResult{EvalDecision: no, PermissionsBoundaryDecisionDetail: &types.PermissionsBoundaryDecisionDetail{}}, nil,
			incident.PermissionDenied, "the caller's permissions boundary does not allow it"},
	} {
		if got := judge(test.result, test.on); got != (answer{test.state, test.reason}) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

// A policy that allows an action on some resources only does not allow it on all.
func TestWhatIsNotAllowedOnAllIsAskedOfWhatItIsAbout(t *testing.T) {
	var asked []*iam.SimulatePrincipalPolicyInput
	cfg := answering(func(in any) any {
		input := in.(*iam.SimulatePrincipalPolicyInput)
		asked = append(asked, input)
		out := &iam.SimulatePrincipalPolicyOutput{}
		for _, action := range input.ActionNames {
			r := types.EvaluationResult{EvalActionName: aws.String(action), EvalDecision: types.PolicyEvaluationDecisionTypeImplicitDeny}
			for _, arn := range input.ResourceArns {
				one := types.ResourceSpecificResult{EvalResourceName: aws.String(arn), EvalResourceDecision: types.PolicyEvaluationDecisionTypeImplicitDeny}
				if arn == "arn:aws:ec2:eu-west-1::snapshot/*" && action == "ec2:LockSnapshot" {
					one.EvalResourceDecision = types.PolicyEvaluationDecisionTypeAllowed
				}
				r.ResourceSpecificResults = append(r.ResourceSpecificResults, one)
			}
			out.EvaluationResults = append(out.EvaluationResults, r)
		}
		return out
	})
	q := &question{at: incident.Target{Account: "111122223333", Region: "eu-west-1", Instance: "i-1"}, client: iam.NewFromConfig(cfg), found: make(map[string]answer)}
	q.principal.Partition = "aws"
	if err := q.askIn(t.Context(), "eu-west-1", []string{"ec2:LockSnapshot", "ec2:RunInstances", "tiros:CreateQuery"}); err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]incident.PermissionState{
		"ec2:LockSnapshot": incident.PermissionAllowed, "ec2:RunInstances": incident.PermissionDenied, "tiros:CreateQuery": incident.PermissionDenied,
	} {
		if got := q.found[action]; got.state != want {
			t.Errorf("%s: %+v, want %s", action, got, want)
		}
	}
	if len(asked) != 2 || len(asked[0].ActionNames) != 3 || len(asked[0].ResourceArns) != 0 || len(asked[1].ActionNames) != 2 {
		t.Fatalf("asked %d times", len(asked))
	}
	if r := asked[1].ResourceArns; r[0] != "arn:aws:ec2:eu-west-1:111122223333:instance/i-1" {
		t.Errorf("asked of %q", r)
	}
	for _, in := range asked {
		if c := in.ContextEntries[0]; *c.ContextKeyName != "aws:RequestedRegion" || c.ContextKeyValues[0] != "eu-west-1" {
			t.Errorf("context %+v", c)
		}
	}
}

// answering is a configuration whose calls are answered by a function of their input.
func answering(by func(in any) any) aws.Config {
	return aws.Config{Region: "eu-west-1", Credentials: aws.AnonymousCredentials{}, APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("Answer",
			func(_ context.Context, in middleware.InitializeInput, _ middleware.InitializeHandler) (out middleware.InitializeOutput, meta middleware.Metadata, err error) {
				out.Result = by(in.Parameters)
				return out, meta, nil
			}), middleware.After)
	}}}
}
