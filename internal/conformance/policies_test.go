package conformance

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate"
)

// explainedInPolicies are parliament's findings that stay.
var explainedInPolicies []explained

// call is a call that a rehearsal journaled before it was sent.
type call struct {
	Rehearsal string
	Action    string // of the step; empty outside of steps
	Service   string
	Operation string
	Account   string
	Region    string
	Params    map[string]any
}

// calls are those of every rehearsal, reads included, as the built binary journaled them.
func calls() ([]call, error) {
	rehearsed, err := rehearsals()
	if err != nil {
		return nil, err
	}
	var all []call
	for _, r := range rehearsed {
		some, err := callsOf(r.name, r.export)
		if err != nil {
			return nil, fmt.Errorf("rehearsal %q: %w", r.name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func callsOf(rehearsal string, export []byte) ([]call, error) {
	var all []call
	steps := make(map[string]string) // step to action
	var where []string               // the step of each call
	lines := bufio.NewScanner(bytes.NewReader(export))
	lines.Buffer(nil, len(export)+1)
	for lines.Scan() {
		var e struct {
			Type, Step string
			Data       json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		switch e.Type {
		case "step.intent":
			var d struct{ Action string }
			if err := json.Unmarshal(e.Data, &d); err != nil {
				return nil, err
			}
			steps[e.Step] = d.Action
		case "call.intent":
			c := call{Rehearsal: rehearsal}
			if err := json.Unmarshal(e.Data, &c); err != nil {
				return nil, err
			}
			all = append(all, c)
			where = append(where, e.Step)
		}
	}
	// A step's plan reads before its intent is journaled.
	for i := range all {
		all[i].Action = steps[where[i]]
	}
	return all, lines.Err()
}

// policies are documents by where they are from.
type policies map[string]string

// add finds the policies in a request's parameters or in a template.
func (p policies) add(where string, v any, resolve func(any) any) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			at := where + " " + key
			text, isText := child.(string)
			switch {
			case strings.HasSuffix(key, "PolicyDocument") && isText:
				p[at] = text
			case strings.HasSuffix(key, "PolicyDocument"):
				p[at] = encode(asIdentityPolicy(key, resolve(child)))
			default:
				p.add(at, child, resolve)
			}
		}
	case []any:
		for i, child := range v {
			p.add(fmt.Sprintf("%s %d", where, i), child, resolve)
		}
	}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON before
	}
	return string(b)
}

// asIdentityPolicy gives a role's trust policy the resource that parliament
// asks for: such a policy has none, it stands on the role ("IAM JSON policy
// elements: Resource").
func asIdentityPolicy(key string, document any) any {
	doc, ok := document.(map[string]any)
	if key != "AssumeRolePolicyDocument" || !ok {
		return document
	}
	statements, _ := doc["Statement"].([]any)
	for _, s := range statements {
		if s, ok := s.(map[string]any); ok && s["Principal"] != nil && s["Resource"] == nil {
			s["Resource"] = "arn:aws:iam::111122223333:role/itself"
		}
	}
	return doc
}

// stack is a template as a run sends it, with its parameters.
type stack struct {
	call       call
	name       string // as the linters name it
	values     map[string]string
	Parameters map[string]struct{ Default any }
	Resources  map[string]struct {
		Type       string
		Properties map[string]any
	}
}

func newStack(t *testing.T, c call) *stack {
	t.Helper()
	s := &stack{call: c, values: make(map[string]string)}
	digest, _ := c.Params["TemplateBody"].(map[string]any) // a long text is journaled as its digest
	for name, body := range roomTemplates(t) {
		if sum := sha256.Sum256(body); digest["sha256"] == hex.EncodeToString(sum[:]) {
			s.name = name
			if err := json.Unmarshal(body, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.name == "" {
		t.Fatalf("%s: the template is none that was linted: %v", c.Rehearsal, c.Params["TemplateBody"])
	}
	list, _ := c.Params["Parameters"].([]any)
	for _, p := range list {
		if p, ok := p.(map[string]any); ok {
			s.values[fmt.Sprint(p["ParameterKey"])] = fmt.Sprint(p["ParameterValue"])
		}
	}
	return s
}

// sampleKey is the ARN of a key of nobody's.
const sampleKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// pseudo are the parameters that CloudFormation sets.
func (s *stack) pseudo(name string) (string, bool) {
	v, ok := map[string]string{
		"AWS::Partition": "aws", "AWS::Region": s.call.Region, "AWS::AccountId": s.call.Account,
		"AWS::URLSuffix": "amazonaws.com", "AWS::StackName": fmt.Sprint(s.call.Params["StackName"]),
	}[name]
	return v, ok
}

func (s *stack) ref(name string) string {
	if v, ok := s.pseudo(name); ok {
		return v
	}
	if v, ok := s.values[name]; ok {
		return v
	}
	if strings.HasSuffix(name, "Key") { // what depends on a key is checked as if there were one
		return sampleKey
	}
	if p, ok := s.Parameters[name]; ok && p.Default != nil {
		return fmt.Sprint(p.Default)
	}
	return name // a resource's own name: as good as the one it will get
}

// attribute is Fn::GetAtt; only ARNs matter in a policy.
func (s *stack) attribute(resource, attribute string) string {
	switch s.Resources[resource].Type + "." + attribute {
	case "AWS::Logs::LogGroup.Arn": // with :* ("AWS::Logs::LogGroup, Return values")
		return fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s:*", s.call.Region, s.call.Account, resource)
	case "AWS::IAM::Role.Arn":
		return fmt.Sprintf("arn:aws:iam::%s:role/%s", s.call.Account, resource)
	}
	return resource + "." + attribute // no ARN: parliament says so where one is needed
}

var placeholder = regexp.MustCompile(`\$\{([\w:.]+)\}`)

func (s *stack) resolve(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["Ref"].(string); ok {
			return s.ref(name)
		}
		if text, ok := v["Fn::Sub"].(string); ok {
			return placeholder.ReplaceAllStringFunc(text, func(m string) string {
				name := strings.Trim(m, "${}")
				if resource, attribute, ok := strings.Cut(name, "."); ok {
					return s.attribute(resource, attribute)
				}
				return s.ref(name)
			})
		}
		if path, ok := v["Fn::GetAtt"].([]any); ok && len(path) == 2 {
			return s.attribute(fmt.Sprint(path[0]), fmt.Sprint(path[1]))
		}
		out := make(map[string]any, len(v))
		for key, child := range v {
			out[key] = s.resolve(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = s.resolve(child)
		}
		return out
	}
	return v
}

// audit is parliament's word on policies and on the names of actions.
func audit(t *testing.T, p policies, actions []string) (found []finding, unknown []string) {
	t.Helper()
	ask, err := json.Marshal(map[string]any{"policies": p, "actions": actions})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool("python"), "-W", "ignore", "testdata/lint_policies.py")
	cmd.Stdin = bytes.NewReader(ask)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("parliament: %v: %s", err, stderr.String())
	}
	var answer struct {
		Findings []struct{ Policy, Issue, Detail string }
		Unknown  []string
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	for _, f := range answer.Findings {
		found = append(found, finding{Subject: f.Policy, Rule: f.Issue, Detail: f.Detail})
	}
	return found, answer.Unknown
}

// fenced is a block of JSON in a document.
var fenced = regexp.MustCompile("(?s)```json\n(.*?)```")

// documented are the policies that the docs show.
func documented(t *testing.T) policies {
	t.Helper()
	p := make(policies)
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(docs, "../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range fenced.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(block[1], `"Statement"`) {
				p[fmt.Sprintf("%s, block %d", filepath.Base(path), i+1)] = block[1]
			}
		}
	}
	return p
}

func TestEveryPolicyWeSendPassesParliament(t *testing.T) {
	all, err := calls()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(map[string]bool) // by template
	checked := documented(t)
	for _, c := range all {
		// The name has no IDs, so that a row of the table can name it.
		where := c.Rehearsal + ": " + c.Operation
		if c.Params["TemplateBody"] != nil {
			s := newStack(t, c)
			for name, r := range s.Resources {
				checked.add(where+" "+name, r.Properties, s.resolve)
			}
			sent[s.name] = true
			continue
		}
		checked.add(where, c.Params, func(v any) any { return v })
	}
	if !sent[roomTemplate(1)] {
		t.Errorf("no rehearsal opens a clean room, so its policies are not checked: %v", sent)
	}
	wantPolicies(t, checked)
	found, _ := audit(t, checked, nil)
	for _, p := range unexplained(found, explainedInPolicies) {
		t.Error(p)
	}
	t.Logf("%d policies", len(checked))
}

// wantPolicies guards against a search that finds nothing.
func wantPolicies(t *testing.T, checked policies) {
	t.Helper()
	for _, want := range []string{
		"contain: PutRolePolicy PolicyDocument",
		"contain, every session of the role: PutRolePolicy PolicyDocument",
		"full-response: CreateStack S3Endpoint PolicyDocument",
		"full-response: CreateStack ExaminerRole AssumeRolePolicyDocument",
		"full-response: CreateStack ExaminerRole Policies 0 PolicyDocument",
		"full-response: CreateStack FlowLogRole Policies 0 PolicyDocument",
		"full-response: CreateStack ReadEvidence PolicyDocument",
		"full-response: CreateStack SsmMessagesEndpoint PolicyDocument",
	} {
		if checked[want] == "" {
			t.Errorf("no policy %q among %q", want, slices.Sorted(maps.Keys(checked)))
		}
	}
	byTime := "aws:TokenIssueTime"
	if strings.Contains(checked["contain: PutRolePolicy PolicyDocument"], byTime) ||
		!strings.Contains(checked["contain, every session of the role: PutRolePolicy PolicyDocument"], byTime) {
		t.Error("the two scopes of isolate.credentials don't give two policies")
	}
}

func TestParliamentFindsWhatIsBroken(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	tests := []struct {
		name, policy, rule string
	}{
		{"not JSON", `{"Version":`, "MALFORMED_JSON"},
		{"no effect", statement(`{"Action":"s3:GetObject","Resource":"*"}`), "MALFORMED"},
		{"no resource", statement(`{"Effect":"Allow","Action":"s3:GetObject"}`), "MALFORMED"},
		{"an action misspelt", statement(`{"Effect":"Allow","Action":"s3:GetObjekt","Resource":"*"}`), "UNKNOWN_ACTION"},
		{"no such service", statement(`{"Effect":"Allow","Action":"s4:GetObject","Resource":"*"}`), "UNKNOWN_PREFIX"},
		{"an action on a resource of another kind", statement(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket"}`), "RESOURCE_MISMATCH"},
		{"a resource that is no ARN", statement(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"bucket/*"}`), "INVALID_ARN"},
		{"no such condition operator", statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateBefore":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}}}`), "UNKNOWN_OPERATOR"},
		{"a date that is none", statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"soon"}}}`), "MISMATCHED_TYPE"},
		{"two statements with one Sid", statement(`{"Sid":"A","Effect":"Deny","Action":"*","Resource":"*"},{"Sid":"A","Effect":"Deny","Action":"*","Resource":"*"}`), "DUPLICATE_SID"},
	}
	broken := make(policies)
	for _, tt := range tests {
		broken[tt.name] = tt.policy
	}
	found, _ := audit(t, broken, nil)
	for _, tt := range tests {
		if !slices.ContainsFunc(found, func(f finding) bool { return f.Subject == tt.name && f.Rule == tt.rule }) {
			t.Errorf("%s: no %s among %v", tt.name, tt.rule, found)
		}
	}
}

// specs are those of every action, by name.
func specs() map[string]incident.Spec {
	all := make(map[string]incident.Spec)
	for _, a := range slices.Concat(isolate.Actions(nil), capture.Actions(nil, nil), cleanroom.Actions(nil, cleanroom.Evidence{})) {
		all[a.Spec().Name] = a.Spec()
	}
	return all
}

func TestEveryPermissionThatAnActionNamesExists(t *testing.T) {
	var names []string
	for _, spec := range specs() {
		names = append(names, spec.Permissions...)
	}
	if _, unknown := audit(t, nil, names); len(unknown) > 0 {
		t.Errorf("no such permissions: %q", unknown)
	}
	if _, unknown := audit(t, nil, []string{"ec2:DescribeInstance", "s4:GetObject", "ec2:DescribeInstances"}); len(unknown) != 2 {
		t.Errorf("parliament refused %q, want the two that don't exist", unknown)
	}
}

// authorizedAs are the operations that IAM knows by another name ("Service
// Authorization Reference", Amazon S3 and AWS STS).
var authorizedAs = map[string]string{
	"s3:CompleteMultipartUpload":    "s3:PutObject",
	"s3:CreateMultipartUpload":      "s3:PutObject",
	"s3:GetBucketEncryption":        "s3:GetEncryptionConfiguration",
	"s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
	"s3:GetPublicAccessBlock":       "s3:GetBucketPublicAccessBlock",
	"s3:HeadBucket":                 "s3:ListBucket",
	"s3:HeadObject":                 "s3:GetObject",
	"s3:ListMultipartUploads":       "s3:ListBucketMultipartUploads",
	"s3:ListObjectVersions":         "s3:ListBucketVersions",
	"s3:ListObjectsV2":              "s3:ListBucket",
	"s3:ListParts":                  "s3:ListMultipartUploadParts",
	"s3:UploadPart":                 "s3:PutObject",
	"sts:GetCallerIdentity":         "", // needs none
}

func TestAStepCallsOnlyWhatItsActionDeclares(t *testing.T) {
	all, err := calls()
	if err != nil {
		t.Fatal(err)
	}
	declared := specs()
	missing := make(map[string]bool)
	ran := make(map[string]bool)
	for _, c := range all {
		if c.Action == "" {
			continue
		}
		ran[c.Action] = true
		permission := c.Service + ":" + c.Operation
		if other, ok := authorizedAs[permission]; ok {
			permission = other
		}
		if permission != "" && !slices.Contains(declared[c.Action].Permissions, permission) {
			missing[c.Action+" calls "+permission] = true
		}
	}
	for _, m := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s, which its Spec does not declare", m)
	}
	for name := range declared {
		if !ran[name] {
			t.Errorf("no rehearsal runs %s", name)
		}
	}
}
