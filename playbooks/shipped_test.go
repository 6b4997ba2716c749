package playbooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestShippedPlaybooksAreAccepted(t *testing.T) {
	if want := []string{"capture", "contain", "exfiltration", "full-response"}; !slices.Equal(Shipped(), want) {
		t.Fatalf("shipped: %v", Shipped())
	}
	for _, name := range Shipped() {
		pb, err := Load(name, testSpecs)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		if pb.Name != name || pb.Summary == "" {
			t.Errorf("%s: named %s, summary %q", name, pb.Name, pb.Summary)
		}
		for _, s := range pb.Steps {
			if s.Title == "" {
				t.Errorf("%s: step %s has no title", name, s.ID)
			}
		}
	}
}

// The disks' point in time is before what the agent writes there, and after the cut no agent answers.
func TestLiveResponseComesAfterTheSnapshotsAndBeforeTheCut(t *testing.T) {
	pb, err := Load("full-response", testSpecs)
	if err != nil {
		t.Fatal(err)
	}
	if !stepsBefore(pb, "capture.live")["capture.snapshots"] || !stepsBefore(pb, "isolate.network")["capture.live"] {
		t.Error("live response is not between them")
	}
}

// TestNothingSlowStandsBeforeTheCut: what copies data never delays containment.
func TestNothingSlowStandsBeforeTheCut(t *testing.T) {
	for _, name := range []string{"contain", "full-response", "exfiltration"} {
		pb, err := Load(name, testSpecs)
		if err != nil {
			t.Fatal(err)
		}
		before := stepsBefore(pb, "isolate.network")
		for _, slow := range []string{"capture.copy-snapshots", "capture.image", "capture.export", "cleanroom.launch"} {
			if before[slow] {
				t.Errorf("%s: %s ends before the network is cut", name, slow)
			}
		}
		for _, first := range []string{"isolate.protect", "isolate.autoscaling"} {
			if !before[first] {
				t.Errorf("%s: the network may be cut before %s", name, first)
			}
		}
		if before["capture.snapshots"] != (name == "full-response") {
			t.Errorf("%s: snapshots before the cut: %v", name, before["capture.snapshots"])
		}
	}
}

// stepsBefore are the actions of the steps that end before action's begins.
func stepsBefore(pb incident.Playbook, action string) map[string]bool {
	byID := make(map[string]incident.Step)
	for _, s := range pb.Steps {
		byID[s.ID] = s
	}
	out := make(map[string]bool)
	var visit func(incident.Step)
	visit = func(s incident.Step) {
		for _, id := range s.Needs {
			out[byID[id].Action] = true
			visit(byID[id])
		}
	}
	for _, s := range pb.Steps {
		if s.Action == action {
			visit(s)
		}
	}
	return out
}

func TestAPlaybookIsFoundByNameOrByPath(t *testing.T) {
	shipped, err := Source("contain")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(path, shipped, 0o600); err != nil {
		t.Fatal(err)
	}
	pb, err := Load(path, testSpecs)
	if err != nil || pb.Source != string(shipped) {
		t.Errorf("by path: %v", err)
	}
	_, err = Load("mine", testSpecs)
	var hint *incident.HintError
	if !errors.Is(err, ErrUnknown) || !errors.As(err, &hint) || !strings.Contains(hint.Hint, "full-response") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := Load("./mine", testSpecs); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path where nothing is: %v", err)
	}
	if err := os.WriteFile(path, []byte("name: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, testSpecs); err == nil || !strings.HasPrefix(err.Error(), path+":1:") {
		t.Errorf("a problem names the path: %v", err)
	}
}

func TestTheDocumentsExampleIsAccepted(t *testing.T) {
	doc, err := os.ReadFile("../docs/playbook-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatal("no example in the document")
	}
	if _, err := Parse("example.yaml", []byte(example), testSpecs); err != nil {
		t.Error(err)
	}
	if err := validate(t, testSchema(t), example); err != nil {
		t.Error(err)
	}
}

func testSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	src, err := Schema(testSpecs)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("playbook.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("playbook.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks YAML as an editor does: as the JSON it stands for.
func validate(t *testing.T, s *jsonschema.Schema, src string) error {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(src), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestTheSchemaAcceptsTheShippedPlaybooks(t *testing.T) {
	s := testSchema(t)
	for _, name := range Shipped() {
		src, err := Source(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, string(src)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemaRefusesWhatASchemaCan(t *testing.T) {
	s := testSchema(t)
	step := head + "steps:\n- id: a\n  action: "
	for name, src := range map[string]string{
		"unknown field":         head + "steps: [{id: a, action: isolate.protect}]\nnotes: x\n",
		"no steps":              head,
		"unknown action":        step + "isolate.nothing\n",
		"unknown step field":    step + "isolate.protect\n  retry: 1\n",
		"step id":               head + "steps: [{id: a-b, action: isolate.protect}]\n",
		"reserved step id":      head + "steps: [{id: in, action: isolate.protect}]\n",
		"missing input":         step + "capture.export\n",
		"missing input in with": step + "capture.export\n  with: {}\n",
		"unknown input":         step + "isolate.network\n  with: {hard: true}\n",
		"ill-typed input":       step + "capture.snapshots\n  with: {lock_days: many}\n",
		"word not in the enum":  step + "isolate.autoscaling\n  with: {strategy: kill}\n",
		"bare condition":        step + "isolate.protect\n  when: a == b\n",
		"timeout":               step + "isolate.protect\n  timeout: five minutes\n",
		"input without default": head + "inputs: {a: {type: string}}\nsteps: [{id: a, action: isolate.protect}]\n",
		"default's type":        head + "inputs: {a: {type: integer, default: x}}\nsteps: [{id: a, action: isolate.protect}]\n",
	} {
		if validate(t, s, src) == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := Parse(name, []byte(src), testSpecs); err == nil {
			t.Errorf("%s: Parse accepts it", name)
		}
	}
}
