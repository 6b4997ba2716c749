package conformance

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// explainedBySecurity are the findings of the security linters that stay, each of one
// resource of the clean room's template.
var explainedBySecurity = slices.Concat(
	[]explained{
		{"QueryLogGroup", "CKV_AWS_158", ownLogKey},
		{"FlowLogGroup", "CKV_AWS_158", ownLogKey},
		{"SessionLogGroup", "CKV_AWS_158", ownLogKey},
		{"FlowLogRole", "WildcardResourceRule logs:DescribeLogGroups", noResource},
		{"LogsEndpoint", "WildcardResourceRule logs:DescribeLogGroups", noResource},
		{"ExaminerRole", "WildcardResourceRule logs:DescribeLogGroups", noResource},
	},
	channels("SsmMessagesEndpoint"), channels("ExaminerRole"),
)

const (
	ownLogKey  = "CloudWatch Logs encrypts every group; a key of the customer's would have to let the service use it, which one made for evidence does not"
	noResource = "the action takes no resource (Service Authorization Reference)"
)

// channels are the actions of a session, which take no resource.
func channels(resource string) (rows []explained) {
	for _, action := range []string{"CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"} {
		rows = append(rows, explained{resource, "WildcardResourceRule ssmmessages:" + action, noResource})
	}
	return rows
}

// linted runs a linter that writes JSON and ends with another code where it found something.
func linted(t *testing.T, into any, program string, args ...string) {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s: %v: %.500s%.500s", filepath.Base(program), err, out, stderr.String())
	}
}

// checkov has a virtual environment of its own: its dependencies are not those of the others.
func checkov(t *testing.T, path string) (found []finding) {
	t.Helper()
	var report struct {
		Results struct {
			Failed []struct {
				ID       string `json:"check_id"`
				Name     string `json:"check_name"`
				Resource string
			} `json:"failed_checks"`
		}
		Summary struct {
			Passed  int
			Parsing int `json:"parsing_errors"`
		}
	}
	linted(t, &report, tool("../checkov/bin/checkov"), "--framework", "cloudformation", "--file", path, "--compact", "--skip-download", "--output", "json")
	if report.Summary.Passed == 0 || report.Summary.Parsing > 0 {
		t.Fatalf("checkov has looked at nothing: %+v", report.Summary)
	}
	for _, f := range report.Results.Failed {
		found = append(found, finding{Subject: f.Resource[strings.LastIndex(f.Resource, ".")+1:], Rule: f.ID, Detail: f.Name})
	}
	return found
}

func cfripper(t *testing.T, path string) (found []finding) {
	t.Helper()
	var report struct {
		Exceptions []any
		Failures   []struct {
			Rule, Reason string
			Resources    []string `json:"resource_ids"`
		}
	}
	linted(t, &report, tool("cfripper"), "--format", "json", path)
	if len(report.Exceptions) > 0 {
		t.Fatalf("cfripper: %v", report.Exceptions)
	}
	for _, f := range report.Failures {
		if _, action, ok := strings.Cut(f.Reason, `for "`); ok {
			f.Rule += " " + strings.TrimSuffix(action, `"`)
		}
		for _, r := range f.Resources {
			found = append(found, finding{Subject: r, Rule: f.Rule, Detail: f.Reason})
		}
	}
	return found
}

// whole is the template of a room that has all there can be: the linters leave out what depends on
// a condition that does not hold.
func whole(t *testing.T) string {
	t.Helper()
	var room map[string]any
	if err := json.Unmarshal(roomTemplates(t)[roomTemplate(1)], &room); err != nil {
		t.Fatal(err)
	}
	parameters, _ := room["Parameters"].(map[string]any)
	for name, value := range map[string]string{
		"EvidenceBucket": "evidence", "EvidenceKey": sampleKey, "VolumeKey": sampleKey, "Zone": "eu-central-1a", "S3PrefixList": "pl-6ea54007", "CaseId": "INC-1",
		"Toolkit": strings.Repeat("0", 64),
	} {
		p, ok := parameters[name].(map[string]any)
		if !ok {
			t.Fatalf("the template has no parameter %s", name)
		}
		p["Default"] = value
	}
	path := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(path, []byte(encode(room)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheRoomsTemplatePassesSecurityLinters(t *testing.T) {
	path := whole(t)
	for _, p := range unexplained(append(checkov(t, path), cfripper(t, path)...), explainedBySecurity) {
		t.Error(p)
	}
}

// Each of the linters sees a room that is not closed: were they run wrongly, they would find nothing.
func TestSecurityLintersFindWhatIsOpen(t *testing.T) {
	const open = `{"Resources":{
		"G":{"Type":"AWS::EC2::SecurityGroup","Properties":{"GroupDescription":"x","SecurityGroupIngress":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"CidrIp":"0.0.0.0/0","Description":"x"}]}},
		"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]},
			"Policies":[{"PolicyName":"p","PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}}]}},
		"I":{"Type":"AWS::EC2::Instance","Properties":{"ImageId":"ami-12345678","EbsOptimized":true,"NetworkInterfaces":[{"DeviceIndex":"0","AssociatePublicIpAddress":true}]}}}}`
	path := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(path, []byte(open), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		found []finding
		want  []finding
	}{
		"checkov":  {checkov(t, path), []finding{{Subject: "G", Rule: "CKV_AWS_24"}, {Subject: "R", Rule: "CKV_AWS_111"}, {Subject: "I", Rule: "CKV_AWS_88"}}},
		"cfripper": {cfripper(t, path), []finding{{Subject: "G", Rule: "EC2SecurityGroupOpenToWorldRule"}, {Subject: "R", Rule: "FullWildcardPrincipalRule"}}},
	} {
		for _, w := range test.want {
			if !slices.ContainsFunc(test.found, func(f finding) bool { return f.Subject == w.Subject && f.Rule == w.Rule }) {
				t.Errorf("%s: no %s of %s among %v", name, w.Rule, w.Subject, test.found)
			}
		}
	}
}

// shellcheck is its word on a script, its remarks on style included.
func shellcheck(t *testing.T, script string) (found []finding) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	var remarks []struct {
		Line, Code int
		Message    string
	}
	linted(t, &remarks, tool("shellcheck"), "--severity", "style", "--format", "json", path)
	for _, r := range remarks {
		found = append(found, finding{Subject: "examiner.sh", Rule: "SC" + encode(r.Code), Detail: "line " + encode(r.Line) + ": " + r.Message})
	}
	return found
}

// The script as it is sent: what the template puts before it, and no comments.
func TestTheExaminersScriptPassesShellcheck(t *testing.T) {
	var room struct {
		Resources struct {
			Examiner struct {
				Properties struct {
					UserData struct {
						Base64 struct {
							Join []any `json:"Fn::Join"`
						} `json:"Fn::Base64"`
					}
				}
			}
		}
	}
	if err := json.Unmarshal(roomTemplates(t)[roomTemplate(1)], &room); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	parts, _ := room.Resources.Examiner.Properties.UserData.Base64.Join[1].([]any)
	for _, p := range parts {
		text, ok := p.(string)
		if !ok { // Fn::Sub: parameters, in single quotes
			text = placeholder.ReplaceAllString(p.(map[string]any)["Fn::Sub"].(string), "x")
		}
		script.WriteString(text)
	}
	if !strings.HasPrefix(script.String(), "#!/bin/bash\nBUCKET='") || !strings.Contains(script.String(), "blockdev --setro") {
		t.Fatalf("this is not the script: %.200s", script.String())
	}
	for _, p := range unexplained(shellcheck(t, script.String()), nil) {
		t.Error(p)
	}
	if found := shellcheck(t, "#!/bin/bash\nrm -rf $1\n"); len(found) == 0 {
		t.Error("shellcheck found nothing in a script that is wrong")
	}
}
