package cleanroom

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed template.json
var template []byte

// examiner is what an examination instance runs when it first boots, and what its
// examiners use.
//
//go:embed examiner.sh
var examiner string

// maxInstances: a template's text has 51,200 bytes at most ("CloudFormation quotas"), and
// each instance has the script in it.
const maxInstances = 3

// Template is the CloudFormation template of a room with some examination
// instances, 1 to 3: template.json, with the script in its place and the instance
// as often as asked for (Examiner, Examiner2, …). Outputs name the first; Instances lists all.
func Template(instances int) (string, error) {
	if instances < 1 || instances > maxInstances {
		return "", fmt.Errorf("%d examination instances: a room has 1 to %d", instances, maxInstances)
	}
	script, err := plainJSON(bare(examiner))
	if err != nil {
		return "", err
	}
	whole := strings.Replace(string(template), `"SCRIPT"`, script, 1)
	var t struct {
		Format      string                     `json:"AWSTemplateFormatVersion"`
		Description string                     `json:"Description"`
		Parameters  map[string]json.RawMessage `json:"Parameters"`
		Conditions  map[string]json.RawMessage `json:"Conditions"`
		Resources   map[string]json.RawMessage `json:"Resources"`
		Outputs     map[string]json.RawMessage `json:"Outputs"`
	}
	if err := json.Unmarshal([]byte(whole), &t); err != nil {
		return "", fmt.Errorf("the clean room's template: %w", err)
	}
	refs := []any{map[string]string{"Ref": "Examiner"}}
	for n := 2; n <= instances; n++ {
		name := fmt.Sprintf("Examiner%d", n)
		t.Resources[name] = t.Resources["Examiner"]
		refs = append(refs, map[string]string{"Ref": name})
	}
	t.Outputs[outInstances], err = json.Marshal(map[string]any{
		"Description": "The examination instances", "Value": map[string]any{"Fn::Join": []any{",", refs}},
	})
	if err != nil {
		return "", err
	}
	return plainJSON(t)
}

// plainJSON leaves < > & as they are: a shell script is full of them, and escaped each has six bytes.
func plainJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// bare is a script without its comments, which nobody reads in a template.
func bare(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
