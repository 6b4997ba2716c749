package rehearsal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// cfnTemplate is a template as its author wrote it; what stands in it as any can
// hold intrinsic functions in their long form.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
type cfnTemplate struct {
	AWSTemplateFormatVersion string
	Description              string
	Metadata                 any
	Parameters               map[string]cfnParameter
	Rules                    any
	Mappings                 map[string]map[string]map[string]any
	Conditions               map[string]any
	Resources                map[string]cfnDeclaration
	Outputs                  map[string]cfnOutput
}

type cfnParameter struct {
	Type                  string
	Default               any
	Description           string
	AllowedValues         []any
	AllowedPattern        string
	ConstraintDescription string
	NoEcho                any
	MinLength, MaxLength  any
	MinValue, MaxValue    any
}

type cfnDeclaration struct {
	Type                string
	Properties          map[string]any
	DependsOn           any
	Condition           string
	DeletionPolicy      string
	UpdateReplacePolicy string
	Metadata            any
	CreationPolicy      any
	UpdatePolicy        any
}

type cfnOutput struct {
	Description string
	Value       any
	Condition   string
	Export      any
}

// cfnInvalid is how CloudFormation refuses a request for what stands in it.
func cfnInvalid(format string, args ...any) error {
	return apiError("ValidationError", fmt.Sprintf(format, args...))
}

// parseTemplate reads JSON, or YAML with the short forms (!Ref), and checks what
// CloudFormation checks before it makes anything.
func parseTemplate(body string) (*cfnTemplate, error) {
	b := []byte(body)
	if !json.Valid(b) || !strings.HasPrefix(strings.TrimSpace(body), "{") {
		var err error
		if b, err = templateInJSON(b); err != nil {
			return nil, cfnInvalid("Template format error: %v", err)
		}
	}
	t := new(cfnTemplate)
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return nil, cfnInvalid("Template format error: %v", err)
	}
	return t, t.check()
}

// templateInJSON turns YAML with the short forms into JSON with the long ones.
func templateInJSON(body []byte) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(body, &node); err != nil {
		return nil, err
	}
	if len(node.Content) == 0 {
		return nil, errors.New("the template is empty")
	}
	plain, err := longForm(node.Content[0])
	if err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// longForm makes plain values of YAML; the tag of a short form becomes the function's name.
func longForm(n *yaml.Node) (any, error) {
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			value, err := longForm(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = value
		}
		v = m
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			value, err := longForm(item)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		v = list
	case yaml.ScalarNode:
		// 2010-09-09 and 0644 stay the text that they are.
		v = n.Value
		if n.Tag == "!!bool" || n.Tag == "!!int" {
			if err := n.Decode(&v); err != nil {
				return nil, err
			}
		}
		if n.Tag == "!!null" {
			return nil, nil
		}
	default:
		return nil, fmt.Errorf("line %d: aliases and anchors are not supported", n.Line)
	}
	name, short := strings.CutPrefix(n.Tag, "!")
	switch {
	case !short || strings.HasPrefix(name, "!"):
		return v, nil
	case name == "Ref" || name == "Condition":
		return map[string]any{name: v}, nil
	case name == "GetAtt":
		if s, ok := v.(string); ok {
			logical, attribute, _ := strings.Cut(s, ".")
			v = []any{logical, attribute}
		}
	}
	return map[string]any{"Fn::" + name: v}, nil
}

// check finds what does not fit together in the template, all at once.
func (t *cfnTemplate) check() error {
	if len(t.Resources) == 0 {
		return cfnInvalid("Template format error: At least one Resources member must be defined.")
	}
	var unresolved, unknown []string
	for _, name := range sortedKeys(t.Resources) {
		r := t.Resources[name]
		if !strings.HasPrefix(r.Type, "AWS::") {
			unknown = append(unknown, r.Type)
		}
		unresolved = append(unresolved, t.unresolved(r.Properties)...)
		for _, d := range dependsOn(r) {
			if _, ok := t.Resources[d]; !ok {
				unresolved = append(unresolved, d)
			}
		}
		if _, ok := t.Conditions[r.Condition]; !ok && r.Condition != "" {
			return cfnInvalid("Template format error: Unresolved condition dependency %s in the Resources block of the template", r.Condition)
		}
	}
	for _, name := range sortedKeys(t.Outputs) {
		if missing := t.unresolved(t.Outputs[name].Value); len(missing) > 0 {
			return cfnInvalid("Template format error: Unresolved resource dependencies [%s] in the Outputs block of the template", strings.Join(missing, ", "))
		}
	}
	if len(unknown) > 0 {
		return cfnInvalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	if len(unresolved) > 0 {
		slices.Sort(unresolved)
		return cfnInvalid("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", strings.Join(slices.Compact(unresolved), ", "))
	}
	_, err := t.order()
	return err
}

func (t *cfnTemplate) unresolved(v any) (missing []string) {
	for _, name := range references(v) {
		_, parameter := t.Parameters[name]
		_, resource := t.Resources[name]
		if !parameter && !resource && !strings.HasPrefix(name, "AWS::") {
			missing = append(missing, name)
		}
	}
	return missing
}

// order lists the resources so that each comes after what it needs.
func (t *cfnTemplate) order() ([]string, error) {
	var sorted []string
	state := make(map[string]int) // 1: being looked at, 2: in sorted
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		switch state[name] {
		case 1:
			return cfnInvalid("Circular dependency between resources: [%s]", strings.Join(path, ", "))
		case 2:
			return nil
		}
		state[name] = 1
		r := t.Resources[name]
		needs := append(references(r.Properties), dependsOn(r)...)
		slices.Sort(needs)
		for _, need := range slices.Compact(needs) {
			if _, ok := t.Resources[need]; !ok {
				continue
			}
			if err := visit(need, append(path, name)); err != nil {
				return err
			}
		}
		state[name] = 2
		sorted = append(sorted, name)
		return nil
	}
	for _, name := range sortedKeys(t.Resources) {
		if err := visit(name, nil); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

func dependsOn(r cfnDeclaration) (names []string) {
	switch d := r.DependsOn.(type) {
	case string:
		names = append(names, d)
	case []any:
		for _, name := range d {
			names = append(names, fmt.Sprint(name))
		}
	}
	return names
}

// subVariable is ${Name} or ${Name.Attribute}, or ${!Literal} which stays.
var subVariable = regexp.MustCompile(`\$\{(!?)([^}]+)\}`)

// references lists the names that Ref, Fn::GetAtt and Fn::Sub name in a value.
func references(v any) (names []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			names = append(names, references(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			names = append(names, referencesOf(key, v[key])...)
		}
	}
	return names
}

func referencesOf(function string, argument any) []string {
	switch function {
	case "Ref":
		if name, ok := argument.(string); ok {
			return []string{name}
		}
	case "Fn::GetAtt":
		switch a := argument.(type) {
		case string:
			logical, _, _ := strings.Cut(a, ".")
			return []string{logical}
		case []any:
			if len(a) > 0 {
				return []string{fmt.Sprint(a[0])}
			}
		}
	case "Fn::Sub":
		text, own := subArguments(argument)
		names := references(own)
		for _, m := range subVariable.FindAllStringSubmatch(text, -1) {
			name, _, _ := strings.Cut(strings.TrimSpace(m[2]), ".")
			if _, ok := own.(map[string]any)[name]; m[1] == "" && !ok {
				names = append(names, name)
			}
		}
		return names
	}
	return references(argument)
}

// subArguments are the text of Fn::Sub and its own variables.
func subArguments(argument any) (text string, own any) {
	own = map[string]any(nil)
	switch a := argument.(type) {
	case string:
		text = a
	case []any:
		if len(a) == 2 {
			text, _ = a[0].(string)
			if m, ok := a[1].(map[string]any); ok {
				own = m
			}
		}
	}
	return text, own
}
