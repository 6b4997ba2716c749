package tui

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// testdata/playbooks.json, plan.json and plan-edited.json are what commands print in a new rehearsal of
// web-tier (fromCommands). When a playbook, an action or a command changes what they print:
//
//	go test ./internal/tui -run TestTheFixturesAreWhatTheCommandsPrint -update
//	go test ./internal/tui -update

const suspect = "i-0b722053402f900e4"

// printed reads what a command printed.
func printed[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// planDesk shows the screen of a plan that has been asked for.
func planDesk(t testing.TB) (*desk, *Plan) {
	t.Helper()
	var p *Plan
	d := newDesk(t, func(env *Env) []Screen {
		list := printed[[]playbook](t, "playbooks.json")
		at := slices.IndexFunc(list, func(b playbook) bool { return b.Name == "full-response" })
		p = NewPlan(env, "INC-2042", []string{suspect}, list[at])
		return []Screen{NewHome(env), p}
	})
	p.Init(t.Context())
	return d, p
}

// answer is the newest planning's.
func (p *Plan) answer(plan shownPlan, err error) { p.Update(plannedMsg{p.number, plan, err}) }

func choose(p *Plan, id string) {
	p.plan.at = slices.IndexFunc(p.plan.rows, func(r planRow) bool { return r.step != nil && r.step.ID == id })
}

func playbooksDesk(t testing.TB, s Start, m playbooksMsg) (*desk, *Playbooks) {
	t.Helper()
	var p *Playbooks
	d := newDesk(t, func(env *Env) []Screen {
		p = NewPlaybooks(env, s)
		return []Screen{NewHome(env), p}
	})
	p.ctx = t.Context()
	m.list = printed[[]playbook](t, "playbooks.json")
	p.Update(m)
	return d, p
}

func TestAPlaybookIsChosen(t *testing.T) {
	d, _ := playbooksDesk(t, Start{Targets: []string{suspect}}, playbooksMsg{})
	d.golden(t, "playbooks")
	d.press("down", "down")
	d.golden(t, "playbooks-other")
	cases := []caseSummary{{Case: incident.Case{ID: "INC-7"}, Closed: true}}
	d, p := playbooksDesk(t, Start{CaseID: "INC-7"}, playbooksMsg{cases: cases})
	d.golden(t, "playbooks-asks")
	p.Update(tea.PasteMsg{Content: "i-0aaaaaaaaaaaaaaaa\ni-0bbbbbbbbbbbbbbbb, i-0cccccccccccccccc"})
	if got := p.targets(); len(got) != 3 || got[1] != "i-0bbbbbbbbbbbbbbbb" {
		t.Errorf("three IDs were pasted, %q were read", got)
	}
	d.press("esc")
	d.settle(d.press("enter"))
	if !strings.Contains(d.at(80, 24), "INC-7 is closed") || p.opening || len(d.stack) != 2 {
		t.Errorf("in a closed case:\n%s", d.at(80, 24))
	}
}

func TestAPlaybookOfOnesOwnIsReadFromAFile(t *testing.T) {
	d, p := playbooksDesk(t, Start{Targets: []string{suspect}}, playbooksMsg{})
	shipped := len(p.list)
	d.press("o")
	p.Update(tea.PasteMsg{Content: "/etc/ir/quiet.yaml"})
	d.golden(t, "playbooks-file")
	d.press("esc")
	bad := &CommandError{Code: 2, Message: "/etc/ir/quiet.yaml:7:5: steps: unknown action isolate.netwrok", Hint: "cordon playbook schema"}
	p.Update(playbookFileMsg{playbook{path: "/etc/ir/quiet.yaml"}, bad})
	d.golden(t, "playbooks-bad-file")
	if len(p.list) != shipped {
		t.Error("a bad playbook can be chosen")
	}
	own := p.list[0]
	own.Name, own.path = "quiet", "/etc/ir/quiet.yaml"
	for range 2 { // read anew it is the same
		p.Update(playbookFileMsg{own, nil})
	}
	d.golden(t, "playbooks-own")
	p.Update(playbooksMsg{list: printed[[]playbook](t, "playbooks.json")})
	if got := p.list[p.chosen]; len(p.list) != shipped+1 || got.ref() != "/etc/ir/quiet.yaml" || !strings.Contains(p.Command(), "/etc/ir/quiet.yaml") {
		t.Errorf("after the playbooks were read again %s is chosen of %d", got.ref(), len(p.list))
	}
}

func TestTheProposedCaseIsNoneThatExists(t *testing.T) {
	_, p := playbooksDesk(t, Start{}, playbooksMsg{cases: []caseSummary{{Case: incident.Case{ID: "INC-20260314-1"}}, {Case: incident.Case{ID: "INC-20260314-3"}}}})
	if got := p.caseID(); got != "INC-20260314-2" {
		t.Errorf("proposed %s", got)
	}
}

func TestAPlanIsRead(t *testing.T) {
	d, p := planDesk(t)
	d.golden(t, "plan-none")
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	choose(p, "network")
	d.golden(t, "plan")
	d.settle(d.press("enter"))
	d.golden(t, "plan-whole")
	d.settle(d.press("esc"))
	d.settle(d.press("a"))
	d.golden(t, "plan-approve")
	d.press("esc", "tab", "down", "down", "down")
	d.golden(t, "plan-inputs")
}

func TestWhatIsNotPermittedIsShownWithItsReason(t *testing.T) {
	d, p := planDesk(t)
	plan := printed[shownPlan](t, "plan.json")
	for i, x := range plan.Permissions {
		switch x.Action {
		case "ec2:CreateSnapshots":
			plan.Permissions[i].State, plan.Permissions[i].Reason = incident.PermissionDenied, "denied by policy no-snapshots"
		case "ec2:RunInstances":
			plan.Permissions[i].State, plan.Permissions[i].Reason = incident.PermissionUnknown, "it hangs on the request's aws:SourceIp"
		}
	}
	p.answer(plan, nil)
	choose(p, "snapshots")
	d.golden(t, "plan-missing")
	p.plan.at = slices.IndexFunc(p.plan.rows, func(r planRow) bool { return r.permissions != nil })
	d.golden(t, "plan-permissions")
	d.settle(d.press("a"))
	if got := d.at(120, 40); d.asks == nil || !strings.Contains(got, "1 permission missing") || !strings.Contains(got, "1 permission not known") {
		t.Errorf("the question does not say what is missing:\n%s", got)
	}
}

func TestABadInputIsShownWithItsHint(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	d.press("tab")
	p.input = slices.IndexFunc(p.playbook.Inputs, func(f incident.Field) bool { return f.Name == "lock_days" })
	d.press("enter", "x", "enter")
	if got := p.args(); !slices.Contains(got, "lock_days=30x") {
		t.Fatalf("planned with %q", got)
	}
	p.answer(shownPlan{}, &CommandError{Code: 2, Message: "input lock_days: want integer, got string 30x", Hint: "'cordon playbook show NAME' shows a playbook's inputs"})
	d.golden(t, "plan-bad-input")
	d.settle(d.press("a"))
	if d.asks != nil {
		t.Error("a plan that can't be made can be approved")
	}
	d.press("d")
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	if d.settle(d.press("a")); d.asks == nil {
		t.Error("back at the default, the plan can't be approved")
	}
}

func TestAPlanThatChangedMeanwhileIsShownAgain(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	p.start = &starting{stop: func() {}}
	d.golden(t, "plan-starting")
	before := p.number
	p.Update(endedMsg{err: &CommandError{Code: 5, Message: "not approved: the plan is now sha256:aa, not sha256:bb"}})
	if p.start != nil || p.number != before+1 {
		t.Fatal("it is not planned again")
	}
	d.settle(d.press("a"))
	if d.asks != nil {
		t.Error("the old plan can be approved while the new one is made")
	}
	p.answer(printed[shownPlan](t, "plan-edited.json"), nil)
	var changed []string
	for _, r := range p.plan.rows {
		if r.changed {
			changed = append(changed, r.step.ID)
		}
	}
	if want := []string{"live", "copy"}; !slices.Equal(changed, want) {
		t.Errorf("marked as changed: %q, want %q", changed, want)
	}
	d.golden(t, "plan-changed")
}

func TestARunThatCouldNotBeginSaysWhy(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	p.start = &starting{stop: func() {}}
	p.Update(endedMsg{err: &CommandError{Code: 7, Message: "case INC-2042 is held by process 4711", Hint: "'cordon attach --case INC-2042' shows it"}})
	if got := d.at(80, 24); p.start != nil || !strings.Contains(got, "held by process 4711") || !strings.Contains(got, "hint: 'cordon attach") {
		t.Errorf("the screen shows\n%s", got)
	}
}

func TestARunThatFailedAtOnceIsShown(t *testing.T) {
	_, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	for _, code := range []int{1, 3, 5} {
		p.start = &starting{stop: func() {}}
		cmd := p.Update(endedMsg{err: &CommandError{Code: code, Message: "step network failed"}, began: true})
		if p.notice != "" || p.err != nil || cmd == nil {
			t.Fatalf("exit code %d of a run that began is taken for one that did not", code)
		}
		if m, ok := cmd().(restartMsg); !ok {
			t.Errorf("exit code %d leads to %T", code, m)
		}
	}
}

func TestOnlyTheNewRunLeadsToItsScreen(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	entries := fixture(t) // run r1, and release r2
	var starts []incident.Entry
	for _, e := range entries {
		if e.Type == incident.EntryRunStarted {
			starts = append(starts, e)
		}
	}
	p.start = &starting{feed: &follower{wake: make(chan struct{}, 1)}, ctx: t.Context(), child: &Child{}, from: starts[1].Seq, stop: func() {}}
	p.feedAndSettle(d, starts[:1])
	if d.top().screen != Screen(p) {
		t.Fatal("a run of before led to its screen")
	}
	p.feedAndSettle(d, starts[1:])
	run, ok := d.top().screen.(*Run)
	if !ok || run.caseID != "INC-2042" || run.child == nil || len(d.stack) != 2 {
		t.Errorf("on the stack: %d screens, on top %T", len(d.stack), d.top().screen)
	}
}

// feedAndSettle hands over entries, and carries out what comes of it but waiting for more.
func (p *Plan) feedAndSettle(d *desk, entries []incident.Entry) {
	page := d.top()
	p.start.feed.signal() // so that asking for more returns
	if cmd := page.address(p.Update(feedMsg{entries: entries})); cmd != nil {
		if msg, ok := cmd().(addressed); ok {
			if _, more := msg.msg.(feedMsg); !more {
				d.deliver(msg)
			}
		}
	}
}

func TestWhatAnOlderPlanningAnswersIsDropped(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	choose(p, "live")
	d.press("s")
	if got := p.args(); !slices.Equal(got[len(got)-2:], []string{"--skip", "live"}) {
		t.Fatalf("planned with %q", got)
	}
	p.Update(plannedMsg{p.number - 1, shownPlan{}, errors.New("of the planning before")})
	if !p.planning || p.err != nil {
		t.Error("an older answer is shown")
	}
	d.press("s")
	if got := p.args(); slices.Contains(got, "--skip") {
		t.Errorf("taken in again, it is planned with %q", got)
	}
}

func TestTheRunApprovesExactlyThePlanThatIsShown(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	d.press("tab", "right")
	p.answer(printed[shownPlan](t, "plan-edited.json"), nil)
	want := []string{"run", "full-response", "--case", "INC-2042", "--instance", suspect, "--set", "autoscaling_strategy=shrink",
		"--digest", printed[shownPlan](t, "plan-edited.json").Digest, "--wait-for-approval"}
	if got := p.runArgs(); !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q", got, want)
	}
}

func TestAnInstanceThatIsNotThere(t *testing.T) {
	d, p := planDesk(t)
	p.answer(shownPlan{}, &CommandError{
		Code: 1, Message: "planning protect, autoscaling on 111122223333/eu-central-1/i-0b722053402f900e4: the instance is gone: AWS knows no such instance here",
		Hint: "check the ID, the account and the Region",
	})
	d.golden(t, "plan-failed")
	d.settle(d.press("enter"))
	if len(d.stack) != 2 || p.editing {
		t.Error("there is something to read, or to edit")
	}
}

func TestTheStepsThatWereLeftOutAreNamed(t *testing.T) {
	d, p := planDesk(t)
	p.answer(printed[shownPlan](t, "plan.json"), nil)
	choose(p, "live")
	d.press("s")
	p.answer(printed[shownPlan](t, "plan-edited.json"), nil)
	d.golden(t, "plan-without")
}

func TestFromTargetToTarget(t *testing.T) {
	d, p := planDesk(t)
	plan := printed[shownPlan](t, "plan.json")
	plan.Plan = manyTargets(plan.Plan, 3)
	p.answer(plan, nil)
	choose(p, "network")
	for _, move := range []struct {
		key, step string
		target    int
	}{{"]", "metadata", 1}, {"down", "protect", 1}, {"]", "metadata", 2}, {"]", "metadata", 2}, {"[", "metadata", 1}, {"[", "metadata", 0}, {"[", "metadata", 0}, {"end", "", 0}, {"home", "metadata", 0}} {
		d.press(move.key)
		step := p.plan.chosen()
		if move.step == "" {
			if step != nil {
				t.Errorf("%s leads to %s", move.key, step.Key())
			}
			continue
		}
		if step == nil || step.ID != move.step || step.Target != plan.Targets[move.target] {
			t.Fatalf("%s leads to %v, want %s of target %d", move.key, step, move.step, move.target)
		}
	}
}

func TestTheWholePlanIsOfOneTarget(t *testing.T) {
	d, p := planDesk(t)
	plan := printed[shownPlan](t, "plan.json")
	plan.Plan = manyTargets(plan.Plan, 3)
	p.answer(plan, nil)
	d.press("]", "]")
	d.settle(d.press("enter"))
	d.at(80, 24)
	text := d.top().screen.(*wholePlan).text
	if !strings.Contains(text, "network on i-00000000000000002") || strings.Contains(text, "network on i-00000000000000001") {
		t.Errorf("the plan of the third target is\n%s", text)
	}
}

// Issue 7: under 16 ms.
func BenchmarkFrameOfAPlanOf1000Targets(b *testing.B) {
	d, p := planDesk(b)
	plan := printed[shownPlan](b, "plan.json")
	plan.Plan = manyTargets(plan.Plan, 1000)
	p.answer(plan, nil)
	choose(p, "network")
	for b.Loop() {
		d.at(200, 60)
	}
}

func TestAPlanOfManyTargets(t *testing.T) {
	plan := printed[shownPlan](t, "plan.json")
	plan.Plan = manyTargets(plan.Plan, 300)
	plan.LeftOut = []incident.LeftOut{{
		Target: incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: "i-0ffffffffffffffff"},
		Steps:  []string{"protect", "network"}, Reason: "reading the instance: UnauthorizedOperation: not permitted to call ec2:DescribeInstanceAttribute",
		Hint: "give the role ec2:DescribeInstanceAttribute",
	}}
	d, p := planDesk(t)
	p.answer(plan, nil)
	choose(p, "network")
	d.golden(t, "plan-fleet")
	d.press("home")
	d.golden(t, "plan-left-out")
	d.settle(d.press("a"))
	if got := d.at(80, 24); d.asks == nil || d.asks.Name != "300 targets" {
		t.Errorf("what has to be typed for 300 targets:\n%s", got)
	}
}

// manyTargets is the plan of one target for n.
func manyTargets(plan incident.Plan, n int) incident.Plan {
	steps := plan.Steps
	plan.Targets, plan.Steps = nil, nil
	for i := range n {
		target := incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: fmt.Sprintf("i-%017x", i)}
		plan.Targets = append(plan.Targets, target)
		for _, s := range steps {
			s.Target = target
			plan.Steps = append(plan.Steps, s)
		}
	}
	return plan
}
