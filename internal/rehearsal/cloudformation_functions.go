package rehearsal

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// cfnScope is what a value in a template can refer to.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
type cfnScope struct {
	*call
	template *cfnTemplate
	stack    *stack
}

// noValue is what AWS::NoValue leaves: the property is not there.
type noValue struct{}

func (x *cfnScope) eval(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			value, err := x.eval(item)
			if err != nil {
				return nil, err
			}
			if value != (noValue{}) {
				list = append(list, value)
			}
		}
		return list, nil
	case map[string]any:
		for key, argument := range v {
			if len(v) == 1 && (key == "Ref" || key == "Condition" || strings.HasPrefix(key, "Fn::")) {
				return x.function(key, argument)
			}
		}
		m := make(map[string]any, len(v))
		for key, item := range v {
			value, err := x.eval(item)
			if err != nil {
				return nil, err
			}
			if value != (noValue{}) {
				m[key] = value
			}
		}
		return m, nil
	default:
		return v, nil
	}
}

func (x *cfnScope) function(name string, argument any) (any, error) {
	switch name {
	case "Ref":
		return x.ref(fmt.Sprint(argument))
	case "Condition":
		return x.condition(fmt.Sprint(argument))
	case "Fn::If":
		return x.branch(argument)
	case "Fn::Sub":
		return x.sub(argument)
	}
	evaluated, err := x.eval(argument)
	if err != nil {
		return nil, err
	}
	args, _ := evaluated.([]any)
	arg := func(i int) any {
		if i < len(args) {
			return args[i]
		}
		return nil
	}
	switch name {
	case "Fn::GetAtt":
		if s, ok := evaluated.(string); ok {
			logical, attribute, _ := strings.Cut(s, ".")
			return x.attribute(logical, attribute)
		}
		return x.attribute(fmt.Sprint(arg(0)), fmt.Sprint(arg(1)))
	case "Fn::Base64":
		return base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(evaluated))), nil
	case "Fn::Join":
		items, _ := arg(1).([]any)
		return strings.Join(texts(items), fmt.Sprint(arg(0))), nil
	case "Fn::Split":
		return anys(strings.Split(fmt.Sprint(arg(1)), fmt.Sprint(arg(0)))), nil
	case "Fn::Select":
		items, _ := arg(1).([]any)
		i, err := strconv.Atoi(fmt.Sprint(arg(0)))
		if err != nil || i < 0 || i >= len(items) {
			return nil, cfnInvalid("Template error: Fn::Select cannot select nonexistent value at index %v", arg(0))
		}
		return items[i], nil
	case "Fn::GetAZs":
		return anys(x.zones()), nil
	case "Fn::FindInMap":
		value, ok := x.template.Mappings[fmt.Sprint(arg(0))][fmt.Sprint(arg(1))][fmt.Sprint(arg(2))]
		if !ok {
			return nil, cfnInvalid("Template error: Unable to get mapping for %v::%v::%v", arg(0), arg(1), arg(2))
		}
		return value, nil
	case "Fn::Equals":
		return fmt.Sprint(arg(0)) == fmt.Sprint(arg(1)), nil
	case "Fn::Not":
		return arg(0) != true, nil
	case "Fn::And":
		return !containsAny(args, false), nil
	case "Fn::Or":
		return containsAny(args, true), nil
	default:
		return nil, cfnInvalid("Template error: the simulated account has no function %s", name)
	}
}

func containsAny(list []any, v any) bool {
	for _, item := range list {
		if item == v {
			return true
		}
	}
	return false
}

func texts(list []any) []string {
	all := make([]string, len(list))
	for i, item := range list {
		all[i] = fmt.Sprint(item)
	}
	return all
}

func anys(list []string) []any {
	all := make([]any, len(list))
	for i, item := range list {
		all[i] = item
	}
	return all
}

func (x *cfnScope) ref(name string) (any, error) {
	switch name {
	case "AWS::Region":
		return x.region, nil
	case "AWS::AccountId":
		return x.Account, nil
	case "AWS::Partition":
		return "aws", nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::StackName":
		return x.stack.Name, nil
	case "AWS::StackId":
		return x.stack.ID, nil
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if p, ok := x.template.Parameters[name]; ok {
		value := x.stack.parameter(name)
		if strings.HasPrefix(p.Type, "List<") || p.Type == "CommaDelimitedList" {
			return anys(strings.Split(value, ",")), nil
		}
		return value, nil
	}
	if r := x.stack.resource(name); r != nil && r.Physical != "" {
		return r.Physical, nil
	}
	return nil, cfnInvalid("Template error: %s refers to nothing", name)
}

func (x *cfnScope) attribute(logical, attribute string) (any, error) {
	r := x.stack.resource(logical)
	if r == nil {
		return nil, cfnInvalid("Template error: instance of Fn::GetAtt references undefined resource %s", logical)
	}
	value, ok := r.Attributes[attribute]
	if !ok {
		return nil, cfnInvalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt", logical, attribute)
	}
	return value, nil
}

func (x *cfnScope) condition(name string) (bool, error) {
	condition, ok := x.template.Conditions[name]
	if !ok {
		return false, cfnInvalid("Template error: unresolved condition dependency: %s", name)
	}
	v, err := x.eval(condition)
	return v == true, err
}

// branch evaluates only the side that holds: the other may refer to what is not there.
func (x *cfnScope) branch(argument any) (any, error) {
	args, _ := argument.([]any)
	if len(args) != 3 {
		return nil, cfnInvalid("Template error: Fn::If requires a list argument with three elements")
	}
	holds, err := x.condition(fmt.Sprint(args[0]))
	if err != nil {
		return nil, err
	}
	if holds {
		return x.eval(args[1])
	}
	return x.eval(args[2])
}

func (x *cfnScope) sub(argument any) (any, error) {
	text, own := subArguments(argument)
	var failed error
	replaced := subVariable.ReplaceAllStringFunc(text, func(found string) string {
		m := subVariable.FindStringSubmatch(found)
		if m[1] == "!" {
			return "${" + m[2] + "}"
		}
		name := strings.TrimSpace(m[2])
		var value any
		var err error
		if v, ok := own.(map[string]any)[name]; ok {
			value, err = x.eval(v)
		} else if logical, attribute, ok := strings.Cut(name, "."); ok {
			value, err = x.attribute(logical, attribute)
		} else {
			value, err = x.ref(name)
		}
		if err != nil && failed == nil {
			failed = err
		}
		return fmt.Sprint(value)
	})
	return replaced, failed
}
