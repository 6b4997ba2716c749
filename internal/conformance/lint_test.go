package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/cleanroom"
)

// regions are the Regions that the templates are linted for: those whose
// resource types and properties differ most, old and new ones, and GovCloud,
// which the templates allow for by AWS::Partition. The China Regions are not
// among them: their endpoint services have other names
// ("cn.com.amazonaws.cn-north-1.ssm").
var regions = []string{
	"us-east-1", "us-east-2", "us-west-2", "ca-central-1", "sa-east-1",
	"eu-central-1", "eu-west-1", "eu-west-2", "eu-north-1", "eu-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "ap-south-1",
	"us-gov-west-1",
}

// finding is what a linter says of a template or a policy.
type finding struct {
	Subject string // the template's path, or where the policy is from
	Rule    string
	Detail  string
}

// explained is a finding that stays, with the reason.
type explained struct {
	Subject string
	Rule    string
	Reason  string
}

var explainedInTemplates = []explained{
	{"cleanroom/template.json", "I1022", "Fn::Sub would take the ${} of the script for its own variables"},
	{"cleanroom/template.json", "I4010", "informational: it wants the architecture told again as metadata; the descriptions in the template tell it"},
}

// unexplained are the findings without a row, and the rows without a finding.
func unexplained(found []finding, rows []explained) []string {
	var problems []string
	for _, f := range found {
		if !slices.ContainsFunc(rows, func(e explained) bool { return e.Subject == f.Subject && e.Rule == f.Rule }) {
			problems = append(problems, fmt.Sprintf("%s: %s: %s", f.Subject, f.Rule, f.Detail))
		}
	}
	for _, e := range rows {
		if !slices.ContainsFunc(found, func(f finding) bool { return e.Subject == f.Subject && e.Rule == f.Rule }) {
			problems = append(problems, fmt.Sprintf("%s: %s no longer occurs: remove its row (%s)", e.Subject, e.Rule, e.Reason))
		}
	}
	return problems
}

// resourceType is what only a CloudFormation template has, in JSON or YAML.
var resourceType = regexp.MustCompile(`\bType["']?\s*:\s*["']?AWS::\w+::`)

// shippedTemplates are the CloudFormation templates of the repository, found
// by what they hold and not by a list, by their paths in it.
func shippedTemplates(t *testing.T) map[string][]byte {
	t.Helper()
	const root = "../.."
	templates := make(map[string][]byte)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || p != root && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".json", ".yaml", ".yml", ".template"}, filepath.Ext(p)):
			return nil
		}
		body, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if resourceType.Match(body) {
			name, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			templates[filepath.ToSlash(name)] = body
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

// roomTemplate names the template of a clean room with n instances, as it is sent.
func roomTemplate(n int) string { return fmt.Sprintf("the template of a room with %d", n) }

// roomTemplates are what a clean room's stack is made from: template.json with the script in it.
func roomTemplates(t *testing.T) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, n := range []int{1, 3} {
		body, err := cleanroom.Template(n)
		if err != nil {
			t.Fatal(err)
		}
		all[roomTemplate(n)] = []byte(body)
	}
	return all
}

// cfnLint is what cfn-lint says of a template, its informational and
// experimental rules included.
func cfnLint(t *testing.T, name, path string) []finding {
	t.Helper()
	args := append([]string{"--template", path, "--format", "json", "--include-experimental", "--include-checks", "I", "--regions"}, regions...)
	var stderr strings.Builder
	cmd := exec.Command(tool("cfn-lint"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// cfn-lint ends with another code where it found something.
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var matches []struct {
		Message  string
		Rule     struct{ ID string }
		Location struct{ Path []any }
	}
	if err := json.Unmarshal(out, &matches); err != nil {
		t.Fatalf("cfn-lint %s: %v: %s%s", path, err, out, stderr.String())
	}
	found := make([]finding, len(matches))
	for i, m := range matches {
		found[i] = finding{Subject: name, Rule: m.Rule.ID, Detail: fmt.Sprint(m.Location.Path, " ", m.Message)}
	}
	return found
}

func TestShippedTemplatesPassCfnLint(t *testing.T) {
	templates := shippedTemplates(t)
	if _, ok := templates["cleanroom/template.json"]; !ok {
		t.Error("the clean room's template was not found: the search is broken")
	}
	var found []finding
	for name := range templates {
		found = append(found, cfnLint(t, name, filepath.Join("../..", name))...)
	}
	for _, body := range roomTemplates(t) {
		path := filepath.Join(t.TempDir(), "template.json")
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		found = append(found, cfnLint(t, "cleanroom/template.json", path)...)
	}
	for _, p := range unexplained(found, explainedInTemplates) {
		t.Error(p)
	}
}

func TestCfnLintFindsWhatIsBroken(t *testing.T) {
	tests := []struct {
		name, template, rule string
	}{
		{"a property misspelt", `{"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.0.0.0/24","EnableDnsSuport":true}}}}`, "E3002"},
		{"a reference to nothing", `{"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":{"Ref":"Range"}}}}}`, "E1020"},
		{"a parameter nobody uses: a warning", `{"Parameters":{"Case":{"Type":"String"}},"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.0.0.0/24"}}}}`, "W2001"},
		{"a type that a Region lacks", `{"Resources":{"Service":{"Type":"AWS::AppRunner::Service","Properties":{"SourceConfiguration":{}}}}}`, "E3006"},
		{"an effect misspelt", `{"Resources":{"Role":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Alow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}}}}}`, "E3530"},
		{"not a template", `"Resources"`, "E0000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "template.json")
			if err := os.WriteFile(path, []byte(tt.template), 0o600); err != nil {
				t.Fatal(err)
			}
			found := cfnLint(t, "broken", path)
			if !slices.ContainsFunc(found, func(f finding) bool { return f.Rule == tt.rule }) {
				t.Errorf("no %s among %v", tt.rule, found)
			}
		})
	}
}

func TestAFindingNeedsARowAndARowNeedsAFinding(t *testing.T) {
	found := []finding{{"a.json", "W1", "x"}, {"a.json", "W1", "y"}}
	tests := []struct {
		name string
		rows []explained
		want int
	}{
		{"no row", nil, 2},
		{"a row explains a rule in one file", []explained{{"a.json", "W1", "why"}}, 0},
		{"another file's row", []explained{{"b.json", "W1", "why"}}, 3},
		{"a row left over", []explained{{"a.json", "W1", "why"}, {"a.json", "W2", "why"}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := unexplained(found, tt.rows); len(got) != tt.want {
				t.Errorf("%d problems, want %d: %v", len(got), tt.want, got)
			}
		})
	}
}
