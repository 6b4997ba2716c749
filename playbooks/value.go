package playbooks

import (
	"fmt"
	"math"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/cordon-ir/cordon/internal/incident"
)

// typeWords is how a field's type is called in problems.
var typeWords = map[incident.FieldType]string{
	incident.String: "text", incident.Integer: "a whole number", incident.Boolean: "true or false",
	incident.Strings: "a list of texts", incident.Object: "an object",
}

// toCEL gives a value that CEL takes as of type t. A value out of a journal has been
// through JSON: its numbers are float64, its lists []any.
func toCEL(v any, t incident.FieldType) (any, error) {
	switch t {
	case incident.Integer:
		switch n := v.(type) {
		case int:
			return int64(n), nil
		case int64:
			return n, nil
		case float64:
			if n == math.Trunc(n) && math.Abs(n) <= 1<<53 {
				return int64(n), nil
			}
		}
	case incident.String:
		if s, ok := v.(string); ok {
			return s, nil
		}
	case incident.Boolean:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case incident.Strings:
		switch l := v.(type) {
		case []string:
			return l, nil
		case []any:
			return texts(l)
		}
	case incident.Object:
		if m, ok := v.(map[string]any); ok {
			return m, nil
		}
	}
	return nil, fmt.Errorf("is not %s", typeWords[t])
}

func texts(l []any) ([]string, error) {
	out := make([]string, len(l))
	for i, v := range l {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("is not %s", typeWords[incident.Strings])
		}
		out[i] = s
	}
	return out, nil
}

// fromCEL gives the Go value of type t: string, int64, bool or []string.
func fromCEL(v ref.Val, t incident.FieldType) (any, error) {
	switch t {
	case incident.String:
		if s, ok := v.(types.String); ok {
			return string(s), nil
		}
	case incident.Integer:
		if n, ok := v.(types.Int); ok {
			return int64(n), nil
		}
	case incident.Boolean:
		if b, ok := v.(types.Bool); ok {
			return bool(b), nil
		}
	case incident.Strings:
		if l, ok := v.(traits.Lister); ok {
			return stringsFromCEL(l)
		}
	}
	return nil, fmt.Errorf("it gives %s, not %s", v.Type().TypeName(), typeWords[t])
}

func stringsFromCEL(l traits.Lister) ([]string, error) {
	out := []string{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		s, ok := it.Next().(types.String)
		if !ok {
			return nil, fmt.Errorf("it gives a list with something else than texts")
		}
		out = append(out, string(s))
	}
	return out, nil
}
