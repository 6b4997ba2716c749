package incident_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestValuesBecomeTheTypesOfTheirFields(t *testing.T) {
	for _, tc := range []struct {
		kind incident.FieldType
		in   any
		want any // nil: refused
	}{
		{incident.String, "x", "x"},
		{incident.String, 7, nil},
		{incident.Integer, "42", int64(42)},
		{incident.Integer, float64(42), int64(42)},
		{incident.Integer, 42, int64(42)},
		{incident.Integer, uint64(1) << 63, nil},
		{incident.Integer, 4.5, nil},
		{incident.Integer, "4.5", nil},
		{incident.Integer, true, nil},
		{incident.Boolean, "true", true},
		{incident.Boolean, false, false},
		{incident.Boolean, "yes", nil},
		{incident.Strings, "a,b", []string{"a", "b"}},
		{incident.Strings, "", []string{}},
		{incident.Strings, []any{"a", "b"}, []string{"a", "b"}},
		{incident.Strings, []any{"a", 1}, nil},
		{incident.Object, map[string]any{"a": 1}, map[string]any{"a": 1}},
	} {
		got, err := incident.Field{Name: "f", Type: tc.kind}.Check(tc.in)
		if (err != nil) != (tc.want == nil) || err == nil && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s %#v: got %#v, %v", tc.kind, tc.in, got, err)
		}
	}
}

func TestAMissingValueIsItsDefault(t *testing.T) {
	fields := []incident.Field{{Name: "a", Type: incident.Integer, Default: 3}, {Name: "b", Type: incident.String}}
	got, problems := incident.CheckInputs(fields, map[string]any{"a": nil})
	if len(problems) > 0 || !reflect.DeepEqual(got, map[string]any{"a": int64(3)}) {
		t.Errorf("got %v, %v", got, problems)
	}
}

func TestEveryMemberOfAListMustBeInTheEnum(t *testing.T) {
	f := incident.Field{Name: "f", Type: incident.Strings, Enum: []string{"a", "b"}}
	if _, err := f.Check([]string{"a", "c"}); err == nil || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("got %v", err)
	}
}

func TestIllFormedSpecsAreRefusedTogether(t *testing.T) {
	wrong := incident.Spec{
		Name: "Isolate", Impact: 9, Permissions: []string{"DescribeInstances"},
		Inputs: []incident.Field{
			{Name: "A-b", Type: incident.String}, {Name: "o", Type: incident.Object}, {Name: "n", Type: incident.Integer, Enum: []string{"1"}},
			{Name: "d", Type: incident.Integer, Default: "x", Required: true}, {Name: "d", Type: incident.String},
		},
	}
	good := incident.Spec{Name: "isolate.network", Summary: "s", Timeout: time.Second, Permissions: []string{"ec2:DescribeInstances"}}
	_, err := incident.NewRegistry(&fake{spec: wrong}, &fake{spec: good}, &fake{spec: good})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"must look like", "no summary", "no timeout", "impact 9", "want service:Operation", `"A-b"`, `type "object"`,
		"only strings can have an enum", "required, and yet", "default: want integer", `"d": declared twice`, `"isolate.network": registered twice`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	r, err := incident.NewRegistry(&fake{spec: good}, &fake{spec: spec("capture.x", incident.Additive)})
	if err != nil || r.Specs()[0].Name != "capture.x" {
		t.Errorf("got %v, %v", r, err)
	}
}
