package tui_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fromCommands are the files of testdata that hold what a command prints in a new rehearsal, with
// the case INC-2042.
func fromCommands(instance string) map[string][]string {
	plan := []string{"plan", "full-response", "--case", "INC-2042", "--instance", instance}
	return map[string][]string{
		"playbooks.json":   {"playbook", "list"},
		"plan.json":        plan,
		"plan-edited.json": append(slices.Clone(plan), "--set", "copy_kms_key=alias/evidence", "--skip", "live"),
	}
}

// The screens are tested with these files: they must not show what no command prints any more. Their
// texts may be older; what there is in them may not.
func TestTheFixturesAreWhatTheCommandsPrint(t *testing.T) {
	a := newAccount(t)
	a.must(t, "case", "open", "INC-2042", "--title", "beacon")
	for name, args := range fromCommands(a.instance) {
		var raw json.RawMessage
		if err := a.Read(t.Context(), &raw, args...); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if flag.Lookup("update").Value.String() == "true" {
			var b bytes.Buffer
			if err := json.Indent(&b, raw, "", "  "); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(b.Bytes(), '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		was, is := shape(t, old), shape(t, raw)
		if missing, gone := without(is, was), without(was, is); len(missing)+len(gone) > 0 {
			t.Errorf("%s is older than what the command prints (plan_test.go says how to make it anew): it has not\n%q\nand has\n%q", name, missing, gone)
		}
	}
}

// without are those of a that b has not.
func without(a, b map[string]bool) (some []string) {
	for _, p := range slices.Sorted(maps.Keys(a)) {
		if !b[p] {
			some = append(some, p)
		}
	}
	return some
}

// shape is every path in a document, with what is there: of lists, that of their members by name.
func shape(t *testing.T, document []byte) map[string]bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	paths := make(map[string]bool)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, child := range v {
				if _, record := child.(map[string]any); key != "before" || !record { // the action's own: no screen looks into it
					walk(path+"."+key, child)
				}
			}
		case []any:
			for _, child := range v {
				walk(path+"["+nameOf(child)+"]", child)
			}
		case string:
			paths[path+" string"] = true
		case float64:
			paths[path+" number"] = true
		case bool:
			paths[path+" bool"] = true
		case nil:
			paths[path+" null"] = true
		}
	}
	walk("", v)
	return paths
}

// nameOf is what tells a step or an input from its siblings.
func nameOf(v any) string {
	object, _ := v.(map[string]any)
	for _, key := range []string{"id", "name"} {
		if s, ok := object[key].(string); ok {
			return s
		}
	}
	return ""
}
