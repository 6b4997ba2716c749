package incident

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// InputError: what the responder gave does not fit, with every problem that
// was found. Nothing was changed.
type InputError struct{ Problems []error }

func (e *InputError) Error() string   { return errors.Join(e.Problems...).Error() }
func (e *InputError) Unwrap() []error { return e.Problems }

// StepError is a problem of one step of a playbook.
type StepError struct {
	Line int // in the playbook, from 1; 0 where it is not known
	Step string
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %s: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// CheckInputs checks values against fields, fills in defaults and returns
// values of the fields' own Go types: string, int64, bool, []string. A nil
// value counts as not given. Text is converted, because a command line has
// nothing else. The problems come all together.
func CheckInputs(fields []Field, values map[string]any) (map[string]any, []error) {
	var problems []error
	checked := make(map[string]any, len(fields))
	known := make(map[string]bool, len(fields))
	for _, f := range fields {
		known[f.Name] = true
		v := values[f.Name]
		if v == nil {
			v = f.Default
		}
		if v == nil {
			if f.Required {
				problems = append(problems, fmt.Errorf("input %s: missing (%s)", f.Name, f.Type))
			}
			continue
		}
		c, err := f.Check(v)
		if err != nil {
			problems = append(problems, fmt.Errorf("input %s: %w", f.Name, err))
			continue
		}
		checked[f.Name] = c
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !known[name] {
			problems = append(problems, fmt.Errorf("input %s: does not exist%s", name, thereAre(fields)))
		}
	}
	return checked, problems
}

func thereAre(fields []Field) string {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return "; there are none"
	}
	slices.Sort(names)
	return "; there are " + strings.Join(names, ", ")
}

// typed brings inputs that went through the journal, where every number is the
// same, back to their declared types. They were checked when they were new;
// where the action has changed since they stay as they are, for what was done
// must be undone all the same.
func (s Spec) typed(inputs map[string]any) map[string]any {
	checked, problems := CheckInputs(s.Inputs, inputs)
	if len(problems) > 0 {
		return inputs
	}
	return checked
}

// Check returns v as the field's own Go type, or says why it does not fit.
func (f Field) Check(v any) (any, error) {
	c, ok := f.convert(v)
	if !ok {
		return nil, fmt.Errorf("want %s, got %s %v", f.Type, typeName(v), v)
	}
	if len(f.Enum) == 0 {
		return c, nil
	}
	texts, _ := c.([]string)
	if s, one := c.(string); one {
		texts = []string{s}
	}
	for _, s := range texts {
		if !slices.Contains(f.Enum, s) {
			return nil, fmt.Errorf("%q is not one of %s", s, strings.Join(f.Enum, ", "))
		}
	}
	return c, nil
}

func (f Field) convert(v any) (any, bool) {
	switch f.Type {
	case String:
		s, ok := v.(string)
		return s, ok
	case Integer:
		return toInteger(v)
	case Boolean:
		return toBoolean(v)
	case Strings:
		return toStrings(v)
	case Object:
		return v, true
	default:
		return nil, false
	}
}

func toInteger(v any) (any, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64: // YAML and CEL have it
		return int64(n), n <= math.MaxInt64
	case float64: // JSON has nothing else
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	case string:
		i, err := strconv.ParseInt(n, 10, 64)
		return i, err == nil
	}
	return nil, false
}

func toBoolean(v any) (any, bool) {
	switch b := v.(type) {
	case bool:
		return b, true
	case string:
		return b == "true", b == "true" || b == "false"
	}
	return nil, false
}

// toStrings splits text at commas: --set instances=i-1,i-2.
func toStrings(v any) (any, bool) {
	switch l := v.(type) {
	case []string:
		return slices.Clone(l), true
	case []any:
		texts := make([]string, 0, len(l))
		for _, e := range l {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			texts = append(texts, s)
		}
		return texts, true
	case string:
		if l == "" {
			return []string{}, true
		}
		return strings.Split(l, ","), true
	}
	return nil, false
}

// typeName names a value's type in the playbook's words.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case int, int64, uint64, float64:
		return "number"
	case []string, []any:
		return "list"
	default:
		return "object"
	}
}
