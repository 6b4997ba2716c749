package incident_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func never(incident.Scope) (any, error) { return false, nil }

func notYet(incident.Scope) (any, error) { return nil, errors.New("it has no value yet") }

func TestEverythingWrongWithTheInputIsReportedTogether(t *testing.T) {
	b := newBench(t)
	pb := playbook(
		incident.Step{ID: "a", Action: "fake.nothing"},
		incident.Step{ID: "b", Action: "fake.additive", With: map[string]incident.Expr{"number": literal("many"), "colour": literal("red")}},
	)
	pb.Inputs = []incident.Field{{Name: "mode", Type: incident.String, Enum: []string{"fast", "slow"}}, {Name: "bucket", Type: incident.String, Required: true}}
	for name, tc := range map[string]struct {
		targets []incident.Target
		inputs  map[string]any
		want    []string
	}{
		"inputs and targets": {
			[]incident.Target{targetA, targetA, {Account: "1"}}, map[string]any{"mode": "odd", "speed": "9"},
			[]string{`"odd" is not one of fast, slow`, "input bucket: missing", "input speed: does not exist", "named twice", "want account/region/instance"},
		},
		"no target": {nil, map[string]any{"bucket": "b"}, []string{"no target"}},
		"steps": {
			[]incident.Target{targetA}, map[string]any{"bucket": "b"},
			[]string{"step a: action fake.nothing does not exist", "step b: input number: want integer", "step b: input colour: does not exist"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.planner.Plan(t.Context(), testCase, pb, tc.targets, tc.inputs)
			var input *incident.InputError
			if !errors.As(err, &input) {
				t.Fatalf("got %v, want an InputError", err)
			}
			if len(input.Problems) != len(tc.want) {
				t.Errorf("got %d problems, want %d:\n%v", len(input.Problems), len(tc.want), err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in:\n%v", w, err)
				}
			}
		})
	}
}

func TestAGraphThatCantBeWalkedIsAnInputError(t *testing.T) {
	b := newBench(t)
	for name, pb := range map[string]incident.Playbook{
		"cycle":   playbook(step("a", "additive", "b"), step("b", "additive", "a")),
		"unknown": playbook(step("a", "additive", "z")),
		"twice":   playbook(step("a", "additive"), step("a", "additive")),
	} {
		_, err := b.planner.Plan(t.Context(), testCase, pb, []incident.Target{targetA}, nil)
		var input *incident.InputError
		if !errors.As(err, &input) {
			t.Errorf("%s: got %v, want an InputError", name, err)
		}
	}
}

func TestAPlanShowsWhatIsKnownAndKeepsTheRestAsExpressions(t *testing.T) {
	b := newBench(t)
	unset := step("unset", "disruptive", "first")
	unset.With = map[string]incident.Expr{"value": expr("${{ steps.first.outputs.was }}", never, "first"), "number": literal("12")}
	off := step("off", "disruptive", "first")
	when := expr("${{ inputs.never }}", never)
	off.When = &when
	later := step("later", "disruptive")
	condition := expr("${{ steps.first.state == 'failed' }}", notYet, "first")
	later.When = &condition
	hopeless := step("hopeless", "irreversible", "first")
	whatever := expr("${{ inputs.never && steps.first.state == 'failed' }}", never, "first") // false, whatever the step does
	hopeless.When = &whatever
	asked := step("asked", "read-only")
	asked.Approval = incident.ApprovalRequired
	quiet := step("quiet", "irreversible")
	quiet.Approval = incident.ApprovalNone

	plan := b.plan(playbook(unset, off, later, asked, quiet, step("first", "additive"), hopeless))
	var got []string
	for _, s := range plan.Steps {
		line := s.ID
		if s.Asks {
			line += " asks"
		}
		if s.Skip != "" {
			line += " skipped: " + s.Skip
		}
		if s.Proposal != nil {
			line += " known"
		}
		got = append(got, line)
	}
	wantEqual(t, "steps", got, []string{
		"later asks known", "asked asks known", "quiet known", "first known",
		"hopeless skipped: its condition is false: ${{ inputs.never && steps.first.state == 'failed' }}", "unset asks",
		"off skipped: its condition is false: ${{ inputs.never }}",
	})
	s := stepOfA(t, plan, "unset")
	if s.Deferred["value"] != "${{ steps.first.outputs.was }}" || s.Inputs["number"] != int64(12) {
		t.Errorf("inputs %v, deferred %v", s.Inputs, s.Deferred)
	}
	if l := stepOfA(t, plan, "later"); l.When != condition.Source {
		t.Errorf("condition %q", l.When)
	}
	if len(b.world.effects) > 0 {
		t.Error("planning changed something")
	}
}

func TestAReadThatFailsIsNoObstacleWhereTheConditionIsStillOpen(t *testing.T) {
	b := newBench(t)
	b.fake("fake.disruptive").plan = func(incident.Request, *incident.Proposal) error { return errors.New("no agent") }
	s := step("memory", "disruptive", "first")
	condition := expr("${{ steps.first.outputs.agent }}", notYet, "first")
	s.When = &condition
	pb := playbook(step("first", "additive"), s)
	if s := stepOfA(t, b.plan(pb), "memory"); s.Proposal != nil || !s.Asks {
		t.Errorf("proposal %v, asks %v", s.Proposal, s.Asks)
	}
}

// Each cause is told once, with the steps and targets it stands in the way of.
func TestAllThatCantBeReadIsReportedTogether(t *testing.T) {
	b := newBench(t)
	denied := errors.New("access denied")
	b.fake("fake.disruptive").plan = func(incident.Request, *incident.Proposal) error { return denied }
	_, err := b.planner.Plan(t.Context(), testCase, playbook(step("a", "disruptive"), step("b", "additive"), step("c", "disruptive")),
		[]incident.Target{targetA, targetB}, nil)
	want := fmt.Sprintf("planning a, c on %s, %s: access denied", targetA, targetB)
	if !errors.Is(err, denied) || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAProposalWorseThanItsSpecIsRefused(t *testing.T) {
	b := newBench(t)
	b.fake("fake.additive").plan = func(_ incident.Request, p *incident.Proposal) error {
		p.Impact = incident.Irreversible
		return nil
	}
	_, err := b.planner.Plan(t.Context(), testCase, playbook(step("a", "additive")), []incident.Target{targetA}, nil)
	if err == nil || !strings.Contains(err.Error(), "declares at most additive") {
		t.Errorf("got %v", err)
	}
}

func TestTheOrderOfWorkIsGuardedWhilePlanning(t *testing.T) {
	when := expr("${{ false }}", never)
	skipped := step("leave", "leave")
	skipped.When = &when
	for name, tc := range map[string]struct {
		steps   []incident.Step
		refused bool
	}{
		"provider before":             {[]incident.Step{step("leave", "leave"), step("x", "additive", "leave"), step("cut", "cut", "x")}, false},
		"no provider":                 {[]incident.Step{step("cut", "cut")}, true},
		"provider beside":             {[]incident.Step{step("leave", "leave"), step("cut", "cut")}, true},
		"provider after":              {[]incident.Step{step("cut", "cut"), step("leave", "leave", "cut")}, true},
		"provider before and skipped": {[]incident.Step{skipped, step("cut", "cut", "leave")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.planner.Plan(t.Context(), testCase, playbook(tc.steps...), []incident.Target{targetA}, nil)
			var refused *incident.RefusedError
			if errors.As(err, &refused) != tc.refused {
				t.Fatalf("got %v", err)
			}
			if tc.refused && !strings.Contains(err.Error(), "Auto Scaling") {
				t.Errorf("no reason in words: %v", err)
			}
		})
	}
}

func TestThePlaybookAloneShowsSomeWrongOrders(t *testing.T) {
	b := newBench(t)
	for name, tc := range map[string]struct {
		steps []incident.Step
		want  int
	}{
		"provider before":                 {[]incident.Step{step("leave", "leave"), step("x", "additive", "leave"), step("cut", "cut", "x")}, 0},
		"the target decides":              {[]incident.Step{step("cut", "cut")}, 0},
		"provider beside":                 {[]incident.Step{step("leave", "leave"), step("cut", "cut")}, 1},
		"provider after, twice":           {[]incident.Step{step("cut", "cut"), step("cut2", "cut"), step("leave", "leave", "cut")}, 2},
		"one of two providers is enough":  {[]incident.Step{step("l1", "leave"), step("l2", "leave"), step("cut", "cut", "l2")}, 0},
		"a cycle is not endless":          {[]incident.Step{step("leave", "leave", "cut"), step("cut", "cut", "leave")}, 0},
		"an unknown action is not judged": {[]incident.Step{step("x", "nothing")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			errs := incident.CheckOrder(playbook(tc.steps...), b.registry.Spec)
			if len(errs) != tc.want {
				t.Fatalf("got %v", errs)
			}
			for _, err := range errs {
				var at *incident.StepError
				if !errors.As(err, &at) || at.Line != 7 {
					t.Errorf("no line in %#v", err)
				}
			}
		})
	}
}

func TestTheDigestCoversWhatIsApprovedAndNothingElse(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("a", "disruptive"))
	first := b.plan(pb)
	f := b.fake("fake.disruptive")
	f.plan = func(_ incident.Request, p *incident.Proposal) error {
		p.Before, p.Notes = []byte(`{"etag":"other"}`), []string{"a note"}
		return nil
	}
	if again := b.plan(pb); again.Digest != first.Digest {
		t.Error("another state before gave another digest")
	}
	f.plan = func(_ incident.Request, p *incident.Proposal) error {
		p.Changes[0].After = "burning"
		return nil
	}
	if other := b.plan(pb); other.Digest == first.Digest {
		t.Error("other changes gave the same digest")
	}
	if other := b.plan(pb, targetB); other.Digest == first.Digest {
		t.Error("another target gave the same digest")
	}
	altered := first
	altered.Steps = append([]incident.StepPlan(nil), first.Steps...)
	altered.Steps[0].Impact = incident.ReadOnly
	var refused *incident.RefusedError
	if _, err := b.runner.Start(context.Background(), b.journal.fold(t), pb, altered, "run-1"); !errors.As(err, &refused) {
		t.Errorf("a plan altered after planning was started: %v", err)
	}
}

func TestAnInputThatNoChangeDependsOnHoldsNoPlanUp(t *testing.T) {
	b := newBench(t)
	inputs := b.fake("fake.disruptive").spec.Inputs
	inputs[slices.IndexFunc(inputs, func(f incident.Field) bool { return f.Name == "value" })].Late = true
	late := step("late", "disruptive", "first")
	late.With = map[string]incident.Expr{"value": expr("${{ steps.first.outputs.was }}", func(s incident.Scope) (any, error) {
		return s.Steps["first"].Outputs["was"], nil
	}, "first")}
	s := stepOfA(t, b.plan(playbook(step("first", "additive"), late)), "late")
	if s.Proposal == nil || len(s.Proposal.Changes) != 1 || s.Deferred["value"] == "" {
		t.Errorf("planned %+v, deferred %v", s.Proposal, s.Deferred)
	}
	b.fake("fake.disruptive").plan = func(incident.Request, *incident.Proposal) error { return errors.New("no reading yet") }
	if s := stepOfA(t, b.plan(playbook(step("first", "additive"), late)), "late"); s.Proposal != nil {
		t.Errorf("planned %+v, though it could not be read", s.Proposal)
	}
	b.fake("fake.disruptive").plan = func(incident.Request, *incident.Proposal) error {
		return &incident.RefusedError{Reason: "12 is too many"}
	}
	plan, err := b.planner.Plan(t.Context(), testCase, playbook(step("first", "additive"), late), []incident.Target{targetA}, nil)
	if err == nil || !strings.Contains(err.Error(), "12 is too many") {
		t.Errorf("what is known is refused, and yet the plan is %+v, %v", plan, err)
	}
}

// stepOfA is the step of the first target.
func stepOfA(t *testing.T, p incident.Plan, id string) incident.StepPlan {
	t.Helper()
	for _, s := range p.Steps {
		if s.ID == id && s.Target == targetA {
			return s
		}
	}
	t.Fatalf("the plan has no step %s", id)
	return incident.StepPlan{}
}
