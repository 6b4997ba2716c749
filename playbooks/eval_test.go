package playbooks

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// exprOf parses a playbook in which one value, of an action's input of the given type, is src.
func exprOf(t *testing.T, kind incident.FieldType, src string) incident.Expr {
	t.Helper()
	specs := append([]incident.Spec{{Name: "test.take", Inputs: []incident.Field{{Name: "value", Type: kind}}}}, testSpecs...)
	text := head + `inputs:
  days: {type: integer, required: true}
  zones: {type: strings, default: []}
  wait: {type: boolean, default: true}
  note: {type: string, default: ""}
steps:
- id: snap
  action: capture.snapshots
- id: room
  action: cleanroom.launch
  with: {snapshots: []}
- id: use
  action: test.take
  needs: [snap, room]
  with:
    value: ` + src + "\n"
	pb, err := Parse("p.yaml", []byte(text), specs)
	if err != nil {
		t.Fatal(err)
	}
	return pb.Steps[2].With["value"]
}

func scopeFor() incident.Scope {
	return incident.Scope{
		Case:   incident.Case{ID: "IR-1", Severity: "high", Rehearsal: true},
		Target: incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: "i-1"},
		// As a journal gives them back: numbers are float64, lists []any.
		Inputs: map[string]any{"days": float64(7), "zones": []any{"a", "b"}, "wait": false, "note": "x"},
		Steps: map[string]incident.StepScope{
			"snap": {State: "succeeded", Outputs: map[string]any{"snapshots": []string{"snap-1", "snap-2"}}},
			"room": {State: "skipped"},
		},
	}
}

func TestExpressionsGiveTypedValues(t *testing.T) {
	tests := []struct {
		kind incident.FieldType
		src  string
		want any
	}{
		{incident.String, "plain", "plain"},
		{incident.String, `""`, ""},
		{incident.String, "${{ case.id }}", "IR-1"},
		{incident.String, `"  ${{ case.id }} "`, "IR-1"},
		{incident.String, "${{ case.id }} in ${{ target.region }}", "IR-1 in eu-central-1"},
		{incident.String, "keep ${{ inputs.days }} days, wait ${{ inputs.wait }}", "keep 7 days, wait false"},
		{incident.String, `${{ "}}" + '}}' + r'\' + "${{" }}`, `}}}}\${{`},
		{incident.String, `'${{ {"a": {"b": "c"}}["a"]["b"] }}'`, "c"},
		{incident.String, `${{ .target.instance }}`, "i-1"},
		{incident.String, `'${{ case.id.startsWith("IR") ? "yes" : "no" }}'`, "yes"},
		{incident.Integer, "30", int64(30)},
		{incident.Integer, "${{ inputs.days * 2 }}", int64(14)},
		{incident.Integer, "${{ size(steps.snap.outputs.snapshots) }}", int64(2)},
		{incident.Boolean, "true", true},
		{incident.Boolean, "${{ inputs.wait || case.rehearsal }}", true},
		{incident.Strings, "[]", []string{}},
		{incident.Strings, "${{ inputs.zones }}", []string{"a", "b"}},
		{incident.Strings, "${{ steps.snap.outputs.snapshots.filter(s, s != 'snap-1') }}", []string{"snap-2"}},
		{incident.Strings, "${{ [] }}", []string{}},
		{incident.Strings, `["one", "${{ case.id }}/two"]`, []string{"one", "IR-1/two"}},
		// The branch that isn't taken may read what isn't there.
		{incident.String, `'${{ steps.room.state == "succeeded" ? steps.room.outputs.stack : "none" }}'`, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.src, func(t *testing.T) {
			got, err := exprOf(t, tt.kind, tt.src).Eval(scopeFor())
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, tt.want)
			}
		})
	}
}

func TestAReferenceWithoutAValueFails(t *testing.T) {
	tests := []struct {
		src, want string
		change    func(*incident.Scope)
	}{
		{"${{ steps.room.outputs.stack }}", "steps.room.outputs.stack has no value: step room is skipped", func(*incident.Scope) {}},
		{"in ${{ steps.room.outputs.stack }}", "steps.room.outputs.stack has no value", func(*incident.Scope) {}},
		{"${{ steps.room.state }}", "steps.room.state has no value", func(s *incident.Scope) { s.Steps = nil }},
		{"${{ string(inputs.days) }}", "inputs.days has no value", func(s *incident.Scope) { s.Inputs = nil }},
		{"${{ string(inputs.days) }}", "inputs.days is not a whole number", func(s *incident.Scope) { s.Inputs["days"] = 1.5 }},
		{"${{ string(10 / (inputs.days - 7)) }}", "division by zero", func(*incident.Scope) {}},
	}
	for _, tt := range tests {
		sc := scopeFor()
		tt.change(&sc)
		if v, err := exprOf(t, incident.String, tt.src).Eval(sc); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %q", tt.src, v, err, tt.want)
		}
	}
}

func TestRefsAreTheStepsThatAreRead(t *testing.T) {
	src := `["${{ steps.snap.state }}", "a ${{ steps.room.outputs.stack }} ${{ steps.snap.outputs.snapshots[0] }}"]`
	got := exprOf(t, incident.Strings, src).Refs
	if fmt.Sprint(got) != "[room snap]" {
		t.Errorf("got %v", got)
	}
}

func TestAnExpensiveExpressionIsCutOff(t *testing.T) {
	ten := "[1,2,3,4,5,6,7,8,9,10]"
	src := fmt.Sprintf("${{ %s.all(a, %[1]s.all(b, %[1]s.all(c, %[1]s.all(d, %[1]s.all(e, %[1]s.all(f, a+b+c+d+e+f+inputs.days > 0)))))) }}", ten)
	_, err := exprOf(t, incident.Boolean, `"`+src+`"`).Eval(scopeFor())
	if err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("got %v", err)
	}
}
