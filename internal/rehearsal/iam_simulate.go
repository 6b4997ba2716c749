package rehearsal

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// callerRole is the name of the role that an assumed role's session is of.
func callerRole(caller string) string {
	_, session, _ := strings.Cut(caller, ":assumed-role/")
	name, _, _ := strings.Cut(session, "/")
	return name
}

var actionName = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9]+$`)

// deniedBy is how the simulator names the policy with which Deny takes permissions away.
const deniedBy = "rehearsal-deny"

// iamSimulatePrincipalPolicy tells of the caller's own role, whose permissions are what the
// account goes by itself (refuse); those of other principals bind nobody here.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
func iamSimulatePrincipalPolicy(c *call, in *iam.SimulatePrincipalPolicyInput) (*iam.SimulatePrincipalPolicyOutput, error) {
	source := aws.ToString(in.PolicySourceArn)
	r := c.IAM.Roles[source[strings.LastIndexByte(source, '/')+1:]]
	if r == nil || r.arn(c.world) != source {
		return nil, noSuchEntity("The entity %s cannot be found.", source)
	}
	if r.Name != callerRole(c.Caller) {
		return nil, fmt.Errorf("the simulated account knows what its caller %s may do, not what %s may: write it in internal/rehearsal", c.Caller, source)
	}
	if len(in.ActionNames) == 0 {
		return nil, apiError("ValidationError", "1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	out := &iam.SimulatePrincipalPolicyOutput{}
	for _, action := range in.ActionNames {
		if !actionName.MatchString(action) {
			return nil, &types.InvalidInputException{Message: aws.String("Invalid Action Name: " + action)}
		}
		out.EvaluationResults = append(out.EvaluationResults, c.simulate(action, resources))
	}
	return out, nil
}

// simulate gives the same decision for every resource: Deny knows none.
func (w *world) simulate(action string, resources []string) types.EvaluationResult {
	decision := types.PolicyEvaluationDecisionTypeAllowed
	by := types.Statement{SourcePolicyId: aws.String("AdministratorAccess"), SourcePolicyType: types.PolicySourceTypeAwsManaged}
	if w.denied(action) {
		decision = types.PolicyEvaluationDecisionTypeExplicitDeny
		by = types.Statement{SourcePolicyId: aws.String(deniedBy), SourcePolicyType: types.PolicySourceTypeRole}
	}
	result := types.EvaluationResult{
		EvalActionName: &action, EvalDecision: decision, EvalResourceName: aws.String("*"), MatchedStatements: []types.Statement{by},
	}
	if len(resources) == 1 && resources[0] == "*" {
		return result
	}
	for _, arn := range resources {
		result.ResourceSpecificResults = append(result.ResourceSpecificResults, types.ResourceSpecificResult{
			EvalResourceName: &arn, EvalResourceDecision: decision, MatchedStatements: []types.Statement{by},
		})
	}
	return result
}
