package playbooks

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/problem"
)

const head = "name: p\ntitle: A playbook\n" // two lines

func TestWhatIsWrongIsReportedWithItsLine(t *testing.T) {
	export := "steps:\n- id: s\n  action: capture.snapshots\n- id: e\n  action: capture.export\n  needs: [s]\n"
	tests := []struct {
		name, src string
		want      []string // beginnings, after the file's name
	}{
		{"empty", "", []string{"1:1: the playbook is empty"}},
		{"not a mapping", "- a\n", []string{"1:1: a playbook must be a mapping, not a list"}},
		{"two documents", head + "---\na: 1\n", []string{"1:1: expected single document"}},
		{"bad YAML", "name: [\n", []string{"2:1: "}},
		{"alias", "name: &a p\ntitle: *a\n", []string{"1:7: anchors (&a) are not allowed", "2:8: aliases (*a) are not allowed"}},
		{"tag", "name: !!str p\n", []string{"1:7: tags (!!str) are not allowed"}},
		{"nothing there", "summary: x\n", []string{"1:1: the playbook has no name", "1:1: the playbook has no title", "1:1: the playbook has no steps"}},
		{"unknown field", head + "stesp: []\n", []string{"1:1: the playbook has no steps", `3:1: a playbook has no field "stesp"; it may have inputs, name, steps, summary, title`}},
		{"duplicate field", head + "title: B\nsteps: [{id: a, action: isolate.protect}]\n", []string{`3:1: a playbook has "title" twice; the first is in line 2`}},
		{"name", "name: My Playbook\ntitle: t\nsteps: [{id: a, action: isolate.protect}]\n", []string{`1:7: name "My Playbook" must be`}},
		{"number for text", "name: p\ntitle: 12\nsteps: [{id: a, action: isolate.protect}]\n", []string{`2:8: title must be text, not "12": put it in quotes`}},
		{"no steps", head + "steps: []\n", []string{"3:8: a playbook needs at least one step"}},
		{"unknown action", head + "steps:\n- id: a\n  action: isolate.netwrk\n", []string{`5:11: there is no action "isolate.netwrk"; there are capture.copy-snapshots, `}},
		{"unknown step field", head + "steps:\n- id: a\n  action: isolate.protect\n  retries: 3\n", []string{`6:3: step a has no field "retries"`}},
		{"step without action", head + "steps:\n- id: a\n", []string{"4:3: step a has no action"}},
		{"step without id", head + "steps:\n- action: isolate.protect\n", []string{"4:3: a step has no id"}},
		{"step twice", head + "steps:\n- id: a\n  action: isolate.protect\n- id: a\n  action: isolate.protect\n", []string{"6:7: there are two steps a; the first is in line 4"}},
		{"step id with hyphen", head + "steps:\n- id: a-b\n  action: isolate.protect\n", []string{`4:7: step id "a-b" must be`}},
		{"step id that CEL keeps", head + "steps:\n- id: in\n  action: isolate.protect\n", []string{`4:7: step id "in" must be`}},
		{"needs unknown", head + "steps:\n- id: a\n  action: isolate.protect\n  needs: [b]\n", []string{`6:11: step a needs step "b", which is not there; there are a`}},
		{"needs twice", head + "steps:\n- id: a\n  action: isolate.protect\n- id: b\n  action: isolate.protect\n  needs: [a, a]\n", []string{`8:14: step b needs a twice`}},
		{"needs itself", head + "steps:\n- id: a\n  action: isolate.protect\n  needs: [a]\n", []string{`4:3: these steps wait for each other: a needs a`}},
		{
			"cycle", head + "steps:\n- {id: a, action: isolate.protect, needs: [c]}\n- {id: b, action: isolate.protect, needs: [a]}\n- {id: c, action: isolate.protect, needs: [b]}\n",
			[]string{`4:3: these steps wait for each other: a needs c needs b needs a`},
		},
		{"timeout", head + "steps:\n- id: a\n  action: isolate.protect\n  timeout: 5 minutes\n", []string{`6:12: timeout of step a is "5 minutes"; write a duration`}},
		{"negative timeout", head + "steps:\n- id: a\n  action: isolate.protect\n  timeout: -5m\n", []string{`6:12: timeout of step a`}},
		{"on_failure", head + "steps:\n- id: a\n  action: isolate.protect\n  on_failure: retry\n", []string{`6:15: on_failure of step a is "retry"; it may be stop, continue`}},
		{"approval", head + "steps:\n- id: a\n  action: isolate.protect\n  approval: never\n", []string{`6:13: approval of step a is "never"; it may be auto, required, none`}},

		{"missing input", head + export, []string{`6:3: step e has no input "snapshots", which capture.export requires`}},
		{"unknown input", head + "steps:\n- id: a\n  action: isolate.network\n  with: {mode: hard}\n", []string{`6:10: isolate.network has no input "mode"; it has allow, allow_ssm, attackers, strategy`}},
		{"boolean for a list", head + export + "  with:\n    snapshots: true\n", []string{`10:16: input snapshots of step e must be a list, not "true"`}},
		{"text for a number", head + "steps:\n- id: a\n  action: capture.snapshots\n  with:\n    lock_days: thirty\n", []string{`7:16: input lock_days of step a must be a whole number, not "thirty"`}},
		{"fraction for a number", head + "steps:\n- id: a\n  action: capture.snapshots\n  with:\n    lock_days: 1.5\n", []string{`7:16: input lock_days of step a must be a whole number`}},
		{"yes for true", head + "steps:\n- id: a\n  action: isolate.loadbalancers\n  with:\n    wait: yes\n", []string{`7:11: input wait of step a must be true or false, not "yes"`}},
		{"word not in the enum", head + "steps:\n- id: a\n  action: isolate.autoscaling\n  with:\n    strategy: kill\n", []string{`7:15: input strategy of step a is "kill"; it may be replace, shrink, standby`}},
		{"nothing for a value", head + "steps:\n- id: a\n  action: isolate.loadbalancers\n  with:\n    wait:\n", []string{`7:10: input wait of step a must be true or false, not nothing`}},

		{"expression of another type", head + export + "  with:\n    snapshots: ${{ target.region }}\n", []string{`10:16: input snapshots of step e must be a list of texts; ${{ target.region }} gives string`}},
		{"expression that isn't CEL", head + export + "  with:\n    snapshots: ${{ steps.s. }}\n", []string{`10:29: Syntax error`}},
		{"unquoted colon", head + export + "  with:\n    snapshots: ${{ true ? a : b }}\n", []string{`10:29: mapping values are not allowed in this context: put a value that holds ": " in quotes`}},
		{"text around an expression for a list", head + export + "  with:\n    snapshots: x${{ target.region }}\n", []string{`10:16: input snapshots of step e must be a list of texts: it can be one ${{ }}`}},
		{"unclosed", head + export + "  with:\n    snapshots: ${{ 'a }}\n", []string{"10:16: ${{ without }}"}},
		{"empty expression", head + export + "  with:\n    snapshots: ${{ }}\n", []string{"10:19: the expression is empty"}},
		{"unknown step in an expression", head + export + "  with:\n    snapshots: ${{ steps.t.outputs.snapshots }}\n", []string{`10:20: there is no step "t"; there are e, s`}},
		{"unknown output", head + export + "  with:\n    snapshots: ${{ steps.s.outputs.snaps }}\n", []string{`10:20: step s has no output "snaps"; it has snapshots`}},
		{"unknown field of a step", head + export + "  with:\n    snapshots: ${{ steps.s.output.snapshots }}\n", []string{`10:20: steps.s has no "output"; it has state and outputs`}},
		{"unknown playbook input", head + export + "  with:\n    snapshots: ${{ inputs.snaps }}\n", []string{`10:20: the playbook has no input "snaps"; it has none`}},
		{"unknown field of the target", head + export + "  with:\n    snapshots: ['${{ target.regoin }}']\n", []string{`10:22: target has no "regoin"; it has account, instance, region`}},
		{"unknown name", head + export + "  with:\n    snapshots: ${{ snapshots }}\n", []string{`10:20: undeclared reference to 'snapshots'`}},
		{"unknown function", head + export + "  with:\n    snapshots: ${{ all(steps.s.outputs.snapshots) }}\n", []string{`10:23: undeclared reference to 'all'`}},
		{"root as a value", head + export + "  with:\n    snapshots: ${{ steps }}\n", []string{`10:20: steps is not a value`}},
		{"step as a value", head + export + "  with:\n    snapshots: ${{ steps.s }}\n", []string{`10:20: steps.s is not a value: write steps.s.state or steps.s.outputs.NAME`}},
		{"step by index", head + export + "  with:\n    snapshots: ${{ steps['s'].outputs.snapshots }}\n", []string{`10:20: steps is not a value`}},
		{"shadowed root", head + export + "  with:\n    snapshots: ${{ ['a'].map(target, '') }}\n", []string{`10:29: "target" can't be the name of a variable`}},
		{
			"step read without being needed", head + "steps:\n- id: s\n  action: capture.snapshots\n- id: e\n  action: capture.export\n  with:\n    snapshots: ${{ steps.s.outputs.snapshots }}\n",
			[]string{`9:20: step e reads steps.s.outputs.snapshots, but doesn't wait for it: add s to its needs`},
		},
		{"step that reads itself", head + export + "  with: {snapshots: []}\n  when: ${{ steps.e.state == 'failed' }}\n", []string{`10:13: step e reads its own steps.e.state`}},
		{"state that no step has", head + export + "  with: {snapshots: []}\n  when: ${{ 'sucess' != steps.s.state }}\n", []string{`10:22: steps.s.state is never "sucess"; it may be pending`}},
		{"condition that isn't one", head + export + "  with: {snapshots: []}\n  when: ${{ steps.s.state }}\n", []string{`10:9: when of step e must be true or false; ${{ steps.s.state }} gives string`}},
		{"bare condition", head + export + "  with: {snapshots: []}\n  when: steps.s.state == 'failed'\n", []string{`10:9: when of step e must be one expression: write ${{ … }}`}},
		{"expression in a block", head + export + "  with: {snapshots: []}\n  when: |\n    ${{ steps.s.state == 'failed' ||\n        inputs.x }}\n", []string{`12:1: the playbook has no input "x"`}},

		{
			"network cut before the instance left its group", head + "steps:\n- id: cut\n  action: isolate.network\n- id: leave\n  action: isolate.autoscaling\n  needs: [cut]\n",
			[]string{"4:1: step cut must need step leave: the instance must leave its Auto Scaling group first"},
		},
		{
			"network cut beside leaving the group", head + "steps:\n- id: leave\n  action: isolate.autoscaling\n- id: cut\n  action: isolate.network\n",
			[]string{"6:1: step cut must need step leave"},
		},

		{"input without type", head + "inputs: {a: {default: 1}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{"3:13: input a has no type"}},
		{"input of an unknown type", head + "inputs: {a: {type: float}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{`3:20: type of input a is "float"; it may be string, integer, boolean, strings`}},
		{"input that may have no value", head + "inputs: {a: {type: string}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{"3:10: input a needs a default, or required: true"}},
		{"required with a default", head + "inputs: {a: {type: string, required: true, default: x}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{"3:53: input a is required: it can't have a default"}},
		{"default of another type", head + "inputs: {a: {default: x, type: integer}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{`3:23: default of input a must be a whole number, not "x"`}},
		{"default not in the enum", head + "inputs: {a: {type: string, enum: [b, c], default: d}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{`3:51: default of input a is "d"; it may be b, c`}},
		{"input name", head + "inputs: {A: {type: string, default: d}}\nsteps: [{id: a, action: isolate.protect}]\n", []string{`3:10: input name "A" must be`}},
		{
			"input wider than the action's enum", head + "inputs: {m: {type: string, enum: [replace, kill], default: replace}}\nsteps:\n- id: a\n  action: isolate.autoscaling\n  with: {strategy: '${{ inputs.m }}'}\n",
			[]string{`7:20: input strategy of step a may be replace, shrink, standby; inputs.m may also be "kill"`},
		},
		{
			"input that can be anything for an enum", head + "inputs: {m: {type: string, default: replace}}\nsteps:\n- id: a\n  action: isolate.autoscaling\n  with: {strategy: '${{ inputs.m }}'}\n",
			[]string{`7:20: input strategy of step a may be replace, shrink, standby; give inputs.m an enum of these`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(tt.src), testSpecs)
			var problems *problem.Error
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			ok := len(problems.List) == len(tt.want)
			for i := 0; ok && i < len(tt.want); i++ {
				ok = strings.HasPrefix(problems.List[i].String(), "p.yaml:"+tt.want[i])
			}
			if !ok {
				t.Errorf("got\n%v\nwant\n%s", err, strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestAllProblemsAreReportedTogetherInTheFilesOrder(t *testing.T) {
	src := head + `inputs:
  days: {type: number, default: 3}
steps:
- id: a
  action: isolate.nothing
  with:
    x: ${{ inputs.days }}
- id: b
  action: capture.snapshots
  needs: [zz]
  with:
    lock_days: ${{ steps.a.outputs.anything + inputs.days }}
    lock_mode: never
  when: ${{ nope }}
`
	_, err := Parse("p.yaml", []byte(src), testSpecs)
	var problems *problem.Error
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var lines []int
	for _, p := range problems.List {
		lines = append(lines, p.Line)
	}
	// Line 14 reads what lines 4 and 7 failed to declare: it isn't blamed.
	if want := []int{4, 7, 12, 15, 16}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestAParsedPlaybookHasEverythingTheFileSays(t *testing.T) {
	src := head + `summary: What it is for
inputs:
  zones:
    type: strings
    description: where
    default: [a, b]
  days: {type: integer, required: true}
steps:
- id: first
  action: isolate.protect
- id: second
  title: Second
  action: capture.snapshots
  needs: [first]
  timeout: 1h30m
  on_failure: continue
  approval: required
  with:
    lock_days: ${{ inputs.days }}
  when: ${{ steps.first.state == "succeeded" }}
`
	pb, err := Parse("p.yaml", []byte(src), testSpecs)
	if err != nil {
		t.Fatal(err)
	}
	if pb.Name != "p" || pb.Title != "A playbook" || pb.Summary != "What it is for" || pb.Source != src || !strings.HasPrefix(pb.Digest, "sha256:") {
		t.Errorf("got %+v", pb)
	}
	if len(pb.Inputs) != 2 || pb.Inputs[0].Name != "zones" || !slices.Equal(pb.Inputs[0].Default.([]string), []string{"a", "b"}) ||
		pb.Inputs[0].Description != "where" || !pb.Inputs[1].Required {
		t.Errorf("inputs %+v", pb.Inputs)
	}
	first, second := pb.Steps[0], pb.Steps[1]
	if first.OnFailure != incident.Stop || first.Approval != incident.ApprovalAuto || first.When != nil || first.Timeout != 0 || first.Line != 11 {
		t.Errorf("defaults of a step: %+v", first)
	}
	if second.Title != "Second" || second.Timeout != 90*time.Minute || second.OnFailure != incident.Continue ||
		second.Approval != incident.ApprovalRequired || !slices.Equal(second.Needs, []string{"first"}) {
		t.Errorf("got %+v", second)
	}
	if !slices.Equal(second.When.Refs, []string{"first"}) || second.With["lock_days"].Refs != nil {
		t.Errorf("refs of when %v, of lock_days %v", second.When.Refs, second.With["lock_days"].Refs)
	}
	if got := second.With["lock_days"].Source; got != "${{ inputs.days }}" {
		t.Errorf("source %q", got)
	}
}
