package rehearsal

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// propertyErrors are what is wrong with a resource's properties, all of it, in AWS's words.
type propertyErrors []string

func (e propertyErrors) Error() string {
	return "Properties validation failed with message: " + strings.Join(e, ", ")
}

// fillProperties puts a resource's properties into a struct whose fields have their names. As CloudFormation
// does, it takes "443" for a number and "true" for a bool, and refuses a property that the
// type does not have.
func fillProperties(from map[string]any, into any) error {
	var problems propertyErrors
	fill("#", from, reflect.ValueOf(into).Elem(), &problems)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func fill(path string, from any, into reflect.Value, problems *propertyErrors) {
	wrong := func() {
		*problems = append(*problems, fmt.Sprintf("%s: expected type: %s, found: %T", path, into.Kind(), from))
	}
	switch into.Kind() {
	case reflect.Interface:
		into.Set(reflect.ValueOf(from))
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		fill(path, from, into.Elem(), problems)
	case reflect.Slice:
		list, ok := from.([]any)
		if !ok {
			list = []any{from} // CloudFormation makes a list of a single value
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, item := range list {
			fill(fmt.Sprintf("%s/%d", path, i), item, into.Index(i), problems)
		}
	case reflect.Struct:
		m, ok := from.(map[string]any)
		if !ok {
			wrong()
			return
		}
		for _, key := range sortedKeys(m) {
			field := into.FieldByName(key)
			if !field.IsValid() || !field.CanSet() {
				*problems = append(*problems, fmt.Sprintf("%s: extraneous key [%s] is not permitted", path, key))
				continue
			}
			fill(path+"/"+key, m[key], field, problems)
		}
	default:
		if !fillScalar(from, into) {
			wrong()
		}
	}
}

func fillScalar(from any, into reflect.Value) bool {
	switch from.(type) {
	case string, bool, json.Number:
	default:
		return false
	}
	text := fmt.Sprint(from)
	switch into.Kind() {
	case reflect.String:
		into.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return false
		}
		into.SetBool(b)
	case reflect.Int32, reflect.Int64, reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || into.OverflowInt(n) {
			return false
		}
		into.SetInt(n)
	default:
		return false
	}
	return true
}
