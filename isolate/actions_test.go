package isolate

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestEverySpecIsComplete(t *testing.T) {
	for _, a := range Actions(nil) {
		s := a.Spec()
		t.Run(s.Name, func(t *testing.T) {
			if !strings.HasPrefix(s.Name, "isolate.") || s.Summary == "" || s.Timeout <= 0 {
				t.Errorf("name, summary or timeout missing: %+v", s)
			}
			if _, ok := a.(incident.Reverter); !ok && s.Name != "isolate.observe" { // it changes nothing of the target's
				t.Error("can't be undone")
			}
			if !slices.IsSorted(s.Permissions) || len(slices.Compact(slices.Clone(s.Permissions))) != len(s.Permissions) {
				t.Errorf("permissions out of order or doubled: %v", s.Permissions)
			}
			var steps []struct {
				Action string
				With   map[string]any
			}
			if err := yaml.Unmarshal([]byte(s.Example), &steps); err != nil || len(steps) != 1 || steps[0].Action != s.Name {
				t.Fatalf("example %q: %v", s.Example, err)
			}
			for name := range steps[0].With {
				if !slices.ContainsFunc(s.Inputs, func(f incident.Field) bool { return f.Name == name }) {
					t.Errorf("the example has an input %s that the spec has not", name)
				}
			}
			for _, f := range s.Inputs {
				if f.Description == "" || f.Default == nil && !f.Required {
					t.Errorf("input %s: no description or default", f.Name)
				}
			}
		})
	}
}
