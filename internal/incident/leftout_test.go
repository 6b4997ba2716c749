package incident_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// onlyOn fails on this target.
func onlyOn(bad incident.Target, err error) func(incident.Request, *incident.Proposal) error {
	return func(req incident.Request, _ *incident.Proposal) error {
		if req.Target == bad {
			return err
		}
		return nil
	}
}

func TestATargetThatCantBePlannedIsLeftOutAndTheOthersAreDone(t *testing.T) {
	gone := incident.WithHint(errors.New("the instance is terminated"), "nothing is left to isolate")
	onTarget := step("a", "additive")
	onTarget.With = map[string]incident.Expr{"value": expr("${{ target.instance }}", func(s incident.Scope) (any, error) {
		if s.Target == targetB {
			return nil, errors.New("no such tag")
		}
		return s.Target.Instance, nil
	})}
	for name, tc := range map[string]struct {
		steps  []incident.Step
		plan   func(incident.Request, *incident.Proposal) error
		steps0 string
		reason string
		hint   string
	}{
		"can't be read": {
			[]incident.Step{step("a", "disruptive"), step("b", "additive"), step("c", "disruptive")}, onlyOn(targetB, gone),
			"[a c]", "the instance is terminated", "nothing is left to isolate",
		},
		"an input can't be worked out": {[]incident.Step{onTarget}, nil, "[a]", "no such tag", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if tc.plan != nil {
				b.fake("fake.disruptive").plan = tc.plan
			}
			pb := playbook(tc.steps...)
			plan := b.plan(pb, targetB, targetA)
			wantEqual(t, "targets", plan.Targets, []incident.Target{targetA})
			if len(plan.LeftOut) != 1 {
				t.Fatalf("left out %v", plan.LeftOut)
			}
			left := plan.LeftOut[0]
			if left.Target != targetB || fmt.Sprint(left.Steps) != tc.steps0 || !strings.Contains(left.Reason, tc.reason) || left.Hint != tc.hint {
				t.Errorf("left out %+v", left)
			}
			if alone := b.plan(pb, targetA); alone.Digest == plan.Digest {
				t.Error("the digest says nothing of the target that is left out")
			}

			r := b.start(pb, plan, "run-1")
			if len(b.world.applied) != len(tc.steps) {
				t.Errorf("applied %v", b.world.applied)
			}
			if r.Outcome != incident.OutcomeFailed || !strings.Contains(r.Error, targetB.String()+": left out") {
				t.Errorf("ended %s: %s", r.Outcome, r.Error)
			}
			var got []string
			for _, s := range r.Summary().Targets {
				got = append(got, fmt.Sprint(s.Target, " ", s.Outcome))
			}
			wantEqual(t, "targets' outcomes", got, []string{targetA.String() + " succeeded", targetB.String() + " left-out"})
			var refused *incident.RefusedError
			if _, err := b.runner.Resume(t.Context(), b.journal.fold(t), "run-1", pb); !r.Finished() || !errors.As(err, &refused) {
				t.Errorf("a resume has nothing to do here: %v", err)
			}
		})
	}
}

func TestTheOrderOfWorkLeavesOutOnlyTheTargetItEndangers(t *testing.T) {
	b := newBench(t)
	b.fake("fake.cut").plan = func(req incident.Request, p *incident.Proposal) error {
		if req.Target == targetA {
			p.Requires = []incident.Capability{incident.LeftGroup}
		}
		return nil
	}
	plan := b.plan(playbook(step("cut", "cut")), targetA, targetB)
	if len(plan.LeftOut) != 1 || plan.LeftOut[0].Target != targetA || !strings.Contains(plan.LeftOut[0].Reason, "Auto Scaling") {
		t.Errorf("left out %v", plan.LeftOut)
	}
}

func TestAnErrorOfManyTargetsIsToldOnce(t *testing.T) {
	b := newBench(t)
	b.fake("fake.disruptive").plan = func(incident.Request, *incident.Proposal) error { return errors.New("credentials have expired") }
	wrong := step("b", "additive")
	wrong.With = map[string]incident.Expr{"number": literal("twelve")}
	for name, tc := range map[string]struct {
		step incident.Step
		want string
	}{
		"reading": {step("a", "disruptive"), "i-web-0, 111122223333/eu-west-1/i-web-1, 111122223333/eu-west-1/i-web-2 and 997 more: credentials"},
		"inputs":  {wrong, "step b: input number: want integer, got string twelve"},
	} {
		var ids []string
		for i := range 1000 {
			ids = append(ids, fmt.Sprint("i-web-", i))
		}
		_, err := b.planner.Plan(t.Context(), testCase, playbook(tc.step), instances(ids...), nil)
		if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDriftOnOneTargetLeavesOnlyItIsolated(t *testing.T) {
	b := newBench(t)
	b.run(playbook(step("a", "disruptive"), step("b", "additive")), targetA, targetB)
	b.world.set("a@i-a", "changed")
	plan := b.planRelease()
	if len(plan.LeftOut) != 1 || plan.LeftOut[0].Target != targetA || !strings.Contains(plan.LeftOut[0].Hint, "--force") {
		t.Fatalf("left out %+v", plan.LeftOut)
	}
	if d := plan.LeftOut[0].Drift; len(d) != 1 || d[0].Now != "changed" {
		t.Errorf("the differences are %+v", d)
	}
	r := b.start(incident.Playbook{}, plan, "release-1")
	if r.Outcome != incident.OutcomeFailed || b.world.get("a@i-b") != "off" || b.world.get("b@i-b") != "off" {
		t.Errorf("ended %s, world %v", r.Outcome, b.world.switches)
	}
	if b.world.get("a@i-a") != "changed" || b.world.get("b@i-a") != "on" {
		t.Errorf("the target that was left out was touched: %v", b.world.switches)
	}
}

func TestEachTargetHasAnOutcomeOfItsOwn(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	b.world.failures["cut@i-a"] = []string{"apply"}
	pb := playbook(step("leave", "leave"), step("cut", "cut", "leave"))
	sum := b.run(pb, targetA, targetB).Summary()
	a, other := sum.Targets[0], sum.Targets[1]
	if a.Outcome != incident.OutcomeFailed || a.ContainedAfter != nil || !strings.HasPrefix(a.Error, "step cut: ") {
		t.Errorf("got %+v", a)
	}
	if other.Outcome != incident.OutcomeSucceeded || other.ContainedAfter == nil || len(other.ResidualExposure) != 1 || other.Error != "" {
		t.Errorf("got %+v", other)
	}
	if sum.ContainedAfter != nil || len(sum.ResidualExposure) != 1 {
		t.Errorf("contained after %v, residual %v", sum.ContainedAfter, sum.ResidualExposure)
	}
}
