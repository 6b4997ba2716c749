package rehearsal

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Quotas of a role: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	inlinePolicyLimit     = 10_240 // characters of all inline policies, white space not counted
	attachedPolicyLimit   = 10
	rolesPerProfileLimit  = 1
	awsManagedPolicyStart = "arn:aws:iam::aws:policy/"
)

// statement is one of a policy; the fields that only one kind of policy may
// have decide which kind it is.
type statement struct {
	Sid          json.RawMessage
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Action       oneOrMany
	NotAction    oneOrMany
	Resource     oneOrMany
	NotResource  oneOrMany
	Condition    map[string]map[string]oneOrMany
}

// oneOrMany is a JSON string, or a list of them.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(o))
	}
	var one any // a condition's value can be a boolean or a number too
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	if s, ok := one.(string); ok {
		*o = oneOrMany{s}
	} else {
		*o = oneOrMany{string(b)}
	}
	return nil
}

// parsePolicy reads a document by the grammar of IAM policies.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func parsePolicy(document string) ([]statement, error) {
	var p struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := decodeStrictly(document, &p); err != nil {
		return nil, malformedPolicy("Syntax errors in policy.")
	}
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, malformedPolicy("The policy is not in the valid JSON format.")
	}
	var many []statement
	if raw := strings.TrimSpace(string(p.Statement)); strings.HasPrefix(raw, "{") {
		raw = "[" + raw + "]"
		p.Statement = json.RawMessage(raw)
	}
	if err := decodeStrictly(string(p.Statement), &many); err != nil || len(many) == 0 {
		return nil, malformedPolicy("Syntax errors in policy.")
	}
	for _, s := range many {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, malformedPolicy("Syntax errors in policy.")
		}
		if len(s.Action)+len(s.NotAction) == 0 {
			return nil, malformedPolicy("Policy statement must contain actions.")
		}
	}
	return many, nil
}

func decodeStrictly(s string, v any) error {
	d := json.NewDecoder(strings.NewReader(s))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return &json.SyntaxError{}
	}
	return nil
}

func checkRolePolicy(document string) error {
	statements, err := parsePolicy(document)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if s.Principal != nil || s.NotPrincipal != nil {
			return malformedPolicy("Policy document should not specify a principal.")
		}
		if len(s.Resource)+len(s.NotResource) == 0 {
			return malformedPolicy("Policy statement must contain resources.")
		}
	}
	return nil
}

func checkTrustPolicy(document string) error {
	statements, err := parsePolicy(document)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if s.Principal == nil && s.NotPrincipal == nil {
			return malformedPolicy("Missing required field Principal")
		}
		if len(s.Resource)+len(s.NotResource) > 0 {
			return malformedPolicy("Has prohibited field Resource")
		}
	}
	return nil
}

func malformedPolicy(message string) error {
	return &types.MalformedPolicyDocumentException{Message: &message}
}

func policySize(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// putInline sets an inline policy of its owner, "role NAME" or "user NAME". The quota
// is over all inline policies together, so a policy that fits alone can be refused.
func putInline(inline *map[string]string, owner string, limit int, policy, document *string) error {
	name, text := aws.ToString(policy), aws.ToString(document)
	if err := checkIAMName("policyName", name, 128); err != nil {
		return err
	}
	if err := checkRolePolicy(text); err != nil {
		return err
	}
	if inlineSize(*inline, name, text) > limit {
		return iamLimit("Maximum policy size of %d bytes exceeded for %s", limit, owner)
	}
	put(inline, name, text)
	return nil
}

// inlineSize is that of all inline policies once this one is put.
func inlineSize(inline map[string]string, name, document string) int {
	size := policySize(document)
	for other, d := range inline {
		if other != name {
			size += policySize(d)
		}
	}
	return size
}

// inlinePolicy is the document of an inline policy of its owner, a role or a user.
func inlinePolicy(inline map[string]string, owner string, name *string) (string, error) {
	document, ok := inline[aws.ToString(name)]
	if !ok {
		return "", noSuchEntity("The %s policy with name %s cannot be found.", owner, aws.ToString(name))
	}
	return document, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
func iamPutRolePolicy(c *call, in *iam.PutRolePolicyInput) (*iam.PutRolePolicyOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if err := putInline(&r.Inline, "role "+r.Name, inlinePolicyLimit, in.PolicyName, in.PolicyDocument); err != nil {
		return nil, err
	}
	return &iam.PutRolePolicyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePolicy.html
func iamDeleteRolePolicy(c *call, in *iam.DeleteRolePolicyInput) (*iam.DeleteRolePolicyOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if _, err := inlinePolicy(r.Inline, "role", in.PolicyName); err != nil {
		return nil, err
	}
	delete(r.Inline, *in.PolicyName)
	return &iam.DeleteRolePolicyOutput{}, nil
}

// The document comes back URL-encoded.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html
func iamGetRolePolicy(c *call, in *iam.GetRolePolicyInput) (*iam.GetRolePolicyOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	document, err := inlinePolicy(r.Inline, "role", in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iam.GetRolePolicyOutput{RoleName: &r.Name, PolicyName: in.PolicyName, PolicyDocument: aws.String(encodeDocument(document))}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRolePolicies.html
func iamListRolePolicies(c *call, in *iam.ListRolePoliciesInput) (*iam.ListRolePoliciesOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.ListRolePoliciesOutput{PolicyNames: sortedKeys(r.Inline)}, nil
}

// Every AWS managed policy is taken to exist.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html
func iamAttachRolePolicy(c *call, in *iam.AttachRolePolicyInput) (*iam.AttachRolePolicyOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	arn := aws.ToString(in.PolicyArn)
	if !strings.HasPrefix(arn, awsManagedPolicyStart) && c.IAM.Policies[arn] == nil {
		return nil, noSuchEntity("Policy %s does not exist or is not attachable.", arn)
	}
	if slices.Contains(r.Attached, arn) {
		return &iam.AttachRolePolicyOutput{}, nil
	}
	if len(r.Attached) >= attachedPolicyLimit {
		return nil, iamLimit("Cannot exceed quota for PoliciesPerRole: %d", attachedPolicyLimit)
	}
	r.Attached = append(r.Attached, arn)
	return &iam.AttachRolePolicyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DetachRolePolicy.html
func iamDetachRolePolicy(c *call, in *iam.DetachRolePolicyInput) (*iam.DetachRolePolicyOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	at := slices.Index(r.Attached, aws.ToString(in.PolicyArn))
	if at < 0 {
		return nil, noSuchEntity("Policy %s was not found.", aws.ToString(in.PolicyArn))
	}
	r.Attached = slices.Delete(r.Attached, at, at+1)
	return &iam.DetachRolePolicyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAttachedRolePolicies.html
func iamListAttachedRolePolicies(c *call, in *iam.ListAttachedRolePoliciesInput) (*iam.ListAttachedRolePoliciesOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	out := &iam.ListAttachedRolePoliciesOutput{}
	for _, arn := range r.Attached {
		out.AttachedPolicies = append(out.AttachedPolicies, types.AttachedPolicy{
			PolicyArn: aws.String(arn), PolicyName: aws.String(arn[strings.LastIndexByte(arn, '/')+1:]),
		})
	}
	return out, nil
}
