package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Launch is what a template is launched with.
type Launch struct {
	Account, Region, Partition, Stack string
	Parameters                        map[string]string
	PrefixLists                       map[string]string // names of those that parameters mention, by ID
}

// template is one of CloudFormation's, as far as it is read here.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
type template struct {
	Transform  any
	Hooks      any
	Parameters map[string]struct{ Default any }
	Mappings   map[string]map[string]map[string]any
	Conditions map[string]any
	Resources  map[string]declaration
	launch     Launch
	asked      []string // conditions being worked out
}

type declaration struct {
	Type       string
	Condition  string
	Properties map[string]any
}

// ReadTemplate makes the model of what launching the template would make. It fails where the
// text is no template; what it can't work out, or does not know, is in Model.Unknown.
func ReadTemplate(text string, l Launch) (*Model, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	t := template{launch: l}
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	r := &templateReader{template: &t, m: &Model{Account: l.Account, Region: l.Region, PrefixLists: l.PrefixLists}, read: make(map[string]map[string]any)}
	for name, value := range map[string]any{"Transform": t.Transform, "Hooks": t.Hooks} {
		if value != nil {
			r.unknown(name, "it can make anything of the template")
		}
	}
	for _, name := range sorted(t.Resources) {
		r.resolve(name, t.Resources[name])
	}
	for _, name := range sorted(r.read) {
		r.resource(name, t.Resources[name].Type, r.read[name])
	}
	r.m.CIDRs = append(r.m.CIDRs, r.more...)
	return r.m, nil
}

// templateReader fills a model, resource by resource.
type templateReader struct {
	*template
	m    *Model
	read map[string]map[string]any // properties, resolved
	more []string                  // address blocks that the network gets besides its own
}

func (r *templateReader) unknown(resource, reason string) {
	r.m.Unknown = append(r.m.Unknown, Unknown{resource, reason})
}

// resolve works out a resource's properties. One whose condition does not hold is not there.
func (r *templateReader) resolve(name string, d declaration) {
	if d.Condition != "" {
		holds, err := r.condition(d.Condition)
		if err != nil {
			r.unknown(name, err.Error())
			return
		}
		if !holds {
			return
		}
	}
	value, err := r.value(map[string]any(d.Properties))
	if err != nil {
		r.unknown(name, err.Error())
		return
	}
	r.read[name], _ = value.(map[string]any)
}

type noValue struct{}

// value works out the intrinsic functions in v. A resource is named by its logical name,
// an attribute that is not its ID as NAME.ATTRIBUTE.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
func (t *template) value(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, item := range v {
			value, err := t.value(item)
			if err != nil {
				return nil, err
			}
			if value != (noValue{}) {
				list = append(list, value)
			}
		}
		return list, nil
	case map[string]any:
		for name, argument := range v {
			if len(v) == 1 && (name == "Ref" || strings.HasPrefix(name, "Fn::")) {
				return t.function(name, argument)
			}
			if strings.HasPrefix(name, "Fn::") {
				return nil, fmt.Errorf("%s beside other keys", name)
			}
		}
		m := make(map[string]any)
		for name, item := range v {
			value, err := t.value(item)
			if err != nil {
				return nil, err
			}
			if value != (noValue{}) {
				m[name] = value
			}
		}
		return m, nil
	}
	return v, nil
}

func (t *template) function(name string, argument any) (any, error) {
	switch name {
	case "Ref":
		return t.ref(fmt.Sprint(argument))
	case "Fn::If":
		return t.branch(argument)
	case "Fn::Sub":
		return t.sub(argument)
	case "Fn::GetAtt":
		if text, ok := argument.(string); ok {
			logical, attribute, _ := strings.Cut(text, ".")
			return t.attribute(logical, attribute)
		}
		if list, ok := argument.([]any); ok && len(list) == 2 {
			return t.attribute(fmt.Sprint(list[0]), fmt.Sprint(list[1]))
		}
		return nil, fmt.Errorf("Fn::GetAtt of %v", argument)
	}
	value, err := t.value(argument)
	if err != nil {
		return nil, err
	}
	if name == "Fn::Base64" {
		return base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(value))), nil
	}
	return t.listFunction(name, value)
}

func (t *template) listFunction(name string, value any) (any, error) {
	args, _ := value.([]any)
	switch {
	case name == "Fn::GetAZs":
		return []any{t.launch.Region + "a", t.launch.Region + "b", t.launch.Region + "c"}, nil
	case name == "Fn::Join" && len(args) == 2:
		if list, ok := args[1].([]any); ok {
			return strings.Join(texts(list), fmt.Sprint(args[0])), nil
		}
	case name == "Fn::Split" && len(args) == 2:
		list := []any{}
		for _, s := range strings.Split(fmt.Sprint(args[1]), fmt.Sprint(args[0])) {
			list = append(list, s)
		}
		return list, nil
	case name == "Fn::Select" && len(args) == 2:
		list, _ := args[1].([]any)
		if i, err := strconv.Atoi(fmt.Sprint(args[0])); err == nil && 0 <= i && i < len(list) {
			return list[i], nil
		}
	case name == "Fn::FindInMap" && len(args) == 3:
		if found, ok := t.Mappings[fmt.Sprint(args[0])][fmt.Sprint(args[1])][fmt.Sprint(args[2])]; ok {
			return found, nil
		}
	case name == "Fn::Equals" && len(args) == 2:
		return fmt.Sprint(args[0]) == fmt.Sprint(args[1]), nil
	case name == "Fn::Not" && len(args) == 1:
		return args[0] != true, nil
	case name == "Fn::And":
		return !slices.Contains(args, any(false)), nil
	case name == "Fn::Or":
		return slices.Contains(args, any(true)), nil
	}
	return nil, fmt.Errorf("%s can't be worked out before the launch", name)
}

func (t *template) ref(name string) (any, error) {
	switch name {
	case "AWS::Region":
		return t.launch.Region, nil
	case "AWS::AccountId":
		return t.launch.Account, nil
	case "AWS::Partition":
		return t.launch.Partition, nil
	case "AWS::StackName":
		return t.launch.Stack, nil
	case "AWS::StackId": // which ends in an ID that only the launch tells
		l := t.launch
		return fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/%s/00000000-0000-0000-0000-000000000000", l.Partition, l.Region, l.Account, l.Stack), nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil // a value that no rule of the proof looks at
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if p, ok := t.Parameters[name]; ok {
		if given, ok := t.launch.Parameters[name]; ok {
			return given, nil
		}
		if p.Default != nil {
			return fmt.Sprint(p.Default), nil
		}
		return nil, fmt.Errorf("the parameter %s has no value", name)
	}
	if _, ok := t.Resources[name]; ok {
		return name, nil
	}
	return nil, fmt.Errorf("%s is not in the template", name)
}

// attribute: those that are a resource's ID are its logical name, as for Ref.
func (t *template) attribute(logical, attribute string) (any, error) {
	if _, ok := t.Resources[logical]; !ok {
		return nil, fmt.Errorf("%s is not in the template", logical)
	}
	switch attribute {
	case "Id", "GroupId", "VpcId", "SubnetId", "RouteTableId":
		if attribute == "VpcId" && t.Resources[logical].Type != "AWS::EC2::VPC" {
			break
		}
		return logical, nil
	case "Arn":
		return t.arn(logical), nil
	}
	return logical + "." + attribute, nil
}

// arn makes up what a resource's ARN will be, as far as policies can be compared by it:
// with CloudFormation's names, which begin with the stack's and the resource's own.
func (t *template) arn(logical string) string {
	l, d := t.launch, t.Resources[logical]
	name := func(property string) string {
		if given, err := t.value(d.Properties[property]); err == nil && given != nil {
			return fmt.Sprint(given)
		}
		return l.Stack + "-" + logical
	}
	switch d.Type {
	case "AWS::IAM::Role":
		return fmt.Sprintf("arn:%s:iam::%s:role/%s", l.Partition, l.Account, name("RoleName"))
	case "AWS::Logs::LogGroup":
		return fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s:*", l.Partition, l.Region, l.Account, name("LogGroupName"))
	}
	return logical + ".Arn"
}

// condition: Condition names one, and stands in others where Ref stands elsewhere.
func (t *template) condition(name string) (bool, error) {
	c, ok := t.Conditions[name]
	if !ok {
		return false, fmt.Errorf("the condition %s is not in the template", name)
	}
	if slices.Contains(t.asked, name) {
		return false, fmt.Errorf("the condition %s depends on itself", name)
	}
	t.asked = append(t.asked, name)
	defer func() { t.asked = t.asked[:len(t.asked)-1] }()
	v, err := t.value(t.withoutConditions(c))
	if err != nil {
		return false, fmt.Errorf("condition %s: %w", name, err)
	}
	holds, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("condition %s is neither true nor false", name)
	}
	return holds, nil
}

// withoutConditions replaces the conditions that a condition names by what they are.
func (t *template) withoutConditions(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = t.withoutConditions(item)
		}
		return list
	case map[string]any:
		if name, ok := v["Condition"].(string); ok && len(v) == 1 {
			if holds, err := t.condition(name); err == nil {
				return holds
			}
			return v
		}
		m := make(map[string]any)
		for key, item := range v {
			m[key] = t.withoutConditions(item)
		}
		return m
	}
	return v
}

func (t *template) branch(argument any) (any, error) {
	args, _ := argument.([]any)
	if len(args) != 3 {
		return nil, errors.New("Fn::If wants three arguments")
	}
	holds, err := t.condition(fmt.Sprint(args[0]))
	if err != nil {
		return nil, err
	}
	if holds {
		return t.value(args[1])
	}
	return t.value(args[2])
}

// subVariable is ${Name} or ${Name.Attribute}, or ${!Literal} which stays.
var subVariable = regexp.MustCompile(`\$\{(!?)([^}]+)\}`)

func (t *template) sub(argument any) (any, error) {
	text, ok := argument.(string)
	var own map[string]any
	if list, is := argument.([]any); is && len(list) == 2 {
		text, ok = list[0].(string)
		own, _ = list[1].(map[string]any)
	}
	if !ok {
		return nil, fmt.Errorf("Fn::Sub of %v", argument)
	}
	var failed error
	replaced := subVariable.ReplaceAllStringFunc(text, func(found string) string {
		m := subVariable.FindStringSubmatch(found)
		name := strings.TrimSpace(m[2])
		if m[1] == "!" {
			return "${" + m[2] + "}"
		}
		value, err := any(nil), error(nil)
		if v, ok := own[name]; ok {
			value, err = t.value(v)
		} else if logical, attribute, ok := strings.Cut(name, "."); ok {
			value, err = t.attribute(logical, attribute)
		} else {
			value, err = t.ref(name)
		}
		failed = errors.Join(failed, err)
		return fmt.Sprint(value)
	})
	return replaced, failed
}

func texts(list []any) []string {
	all := make([]string, len(list))
	for i, item := range list {
		all[i] = fmt.Sprint(item)
	}
	return all
}
