package incident_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func (b *bench) planRelease(targets ...incident.Target) incident.Plan {
	b.t.Helper()
	plan, err := b.planner.Release(b.t.Context(), b.journal.fold(b.t), targets, false)
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

func TestAReleaseUndoesInReverseWhatCanBeUndone(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	pb := playbook(step("protect", "additive"), step("leave", "leave", "protect"), step("snap", "plain", "leave"), step("cut", "cut", "snap"))
	b.run(pb, targetA, targetB)

	plan := b.planRelease(targetA)
	var got []string
	for _, s := range plan.Steps {
		got = append(got, fmt.Sprintf("%s %s %t", s.ID, s.Needs, s.Asks))
	}
	wantEqual(t, "plan", got, []string{"cut [] true", "leave [cut] true", "protect [cut leave] false"})
	r := b.start(incident.Playbook{}, plan, "release-1")
	if r.Outcome != incident.OutcomeSucceeded {
		t.Fatalf("ended %s: %s", r.Outcome, r.Error)
	}
	wantEqual(t, "undone", b.world.undone, []string{"cut@i-a", "leave@i-a", "protect@i-a"})
	first := b.journal.fold(t).Run("run-1")
	wantEqual(t, "states", states(first), []string{"protect reverted", "leave reverted", "snap succeeded", "cut reverted"})
	if by := status(first, "cut").RevertedBy; by != "release-1" {
		t.Errorf("reverted by %q", by)
	}

	if again := b.planRelease(targetA); len(again.Steps) > 0 {
		t.Errorf("a second release has %v", again.Steps)
	}
	all := b.planRelease()
	if len(all.Steps) != 3 || len(all.Targets) != 1 || all.Targets[0] != targetB {
		t.Errorf("what is left: %v on %v", all.Steps, all.Targets)
	}
}

func TestOfTwoIsolationsTheNewerIsUndoneFirst(t *testing.T) {
	b := newBench(t)
	one, two := step("cut", "disruptive"), step("cut", "disruptive")
	one.With = map[string]incident.Expr{"switch": literal("eni"), "value": literal("narrow")}
	two.With = map[string]incident.Expr{"switch": literal("eni"), "value": literal("shut")}
	b.start(playbook(one), b.plan(playbook(one)), "run-1")
	b.start(playbook(two), b.plan(playbook(two)), "run-2")
	if v := b.world.get("eni@i-a"); v != "shut" {
		t.Fatalf("isolated to %s", v)
	}
	plan := b.planRelease()
	var got []string
	for _, s := range plan.Steps {
		got = append(got, fmt.Sprintf("%s %s %s known=%t asks=%t", s.ID, s.Needs, s.Undo.Run, s.Proposal != nil, s.Asks))
	}
	wantEqual(t, "plan", got, []string{"cut [] run-2 known=true asks=true", "cut.run-1 [cut] run-1 known=false asks=true"})
	b.start(incident.Playbook{}, plan, "release-1")
	if v := b.world.get("eni@i-a"); v != "off" {
		t.Errorf("restored to %s", v)
	}
	for _, id := range []string{"run-1", "run-2"} {
		wantEqual(t, id, states(b.journal.fold(t).Run(id)), []string{"cut reverted"})
	}
}

func TestDriftIsShownAllAtOnceAndUndoneOnlyByForce(t *testing.T) {
	b := newBench(t)
	b.run(playbook(step("a", "disruptive"), step("b", "additive"), step("c", "disruptive")))
	b.world.set("a@i-a", "changed")
	b.world.set("c@i-a", "changed")
	refused, err := b.planner.Release(t.Context(), b.journal.fold(t), nil, false)
	var drift *incident.DriftError
	var hint *incident.HintError
	if !errors.As(err, &drift) || len(drift.Differences) != 2 {
		t.Fatalf("got %v", err)
	}
	if len(refused.Steps) != 0 || len(refused.LeftOut) != 1 || len(refused.LeftOut[0].Drift) != 2 {
		t.Errorf("the plan does not say what was left out: %+v", refused)
	}
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint, "--force") {
		t.Errorf("no way on: %v", err)
	}
	plan, err := b.planner.Release(t.Context(), b.journal.fold(t), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	b.start(incident.Playbook{}, plan, "release-1")
	for _, s := range []string{"a@i-a", "b@i-a", "c@i-a"} {
		if v := b.world.get(s); v != "off" {
			t.Errorf("%s is %s", s, v)
		}
	}
}

func TestWhatFailedOrIsUnknownIsUndoneToo(t *testing.T) {
	b := newBench(t)
	b.world.failures["a@i-a"] = []string{"verify"}
	b.run(playbook(step("a", "disruptive"), step("b", "disruptive", "a")))
	plan := b.planRelease()
	if len(plan.Steps) != 1 || plan.Steps[0].Undo.State != incident.Failed {
		t.Fatalf("got %+v", plan.Steps)
	}
	b.start(incident.Playbook{}, plan, "release-1")
	if v := b.world.get("a@i-a"); v != "off" {
		t.Errorf("a is %s", v)
	}
}

func TestAReleaseThatFailsGoesOnWhereItWas(t *testing.T) {
	b := newBench(t)
	b.run(playbook(step("leave", "leave"), step("cut", "cut", "leave")))
	full := true
	b.fake("fake.leave").revert = func(incident.Request) error {
		if full {
			return incident.WithHint(errors.New("the group is at its max-size"), "raise it")
		}
		return nil
	}
	r := b.start(incident.Playbook{}, b.planRelease(), "release-1")
	wantEqual(t, "states", states(r), []string{"cut succeeded", "leave failed"})
	full = false
	if left := b.planRelease(); len(left.Steps) != 1 {
		t.Errorf("a new release would undo %v", left.Steps)
	}
	wantEqual(t, "states", states(b.resume(incident.Playbook{}, "release-1")), []string{"cut succeeded", "leave succeeded"})
	wantEqual(t, "states", states(b.journal.fold(t).Run("run-1")), []string{"leave reverted", "cut reverted"})
}

func TestAReleaseKilledAtAnyMomentIsFinishedByItsResume(t *testing.T) {
	pb := playbook(step("protect", "additive"), step("leave", "leave", "protect"), step("cut", "cut", "leave"))
	for moment := 1; ; moment++ {
		b := newBench(t)
		b.runner.MaxParallel = 1
		b.run(pb)
		plan := b.planRelease()
		b.life.dies = b.life.moments + moment
		_, err := b.runner.Start(t.Context(), b.journal.fold(t), incident.Playbook{}, plan, "release-1")
		if err == nil {
			if moment < 20 {
				t.Fatalf("only %d moments", moment)
			}
			return
		}
		b.life.dies, b.life.dead = 0, false
		switch r := b.journal.fold(t).Run("release-1"); {
		case r == nil:
			b.start(incident.Playbook{}, b.planRelease(), "release-1")
		case r.Outcome != incident.OutcomeSucceeded:
			b.resume(incident.Playbook{}, "release-1")
		}
		for _, s := range []string{"protect@i-a", "leave@i-a", "cut@i-a"} {
			if v := b.world.get(s); v != "off" {
				t.Errorf("moment %d: %s is %s", moment, s, v)
			}
		}
		if left := b.planRelease(); len(left.Steps) > 0 {
			t.Errorf("moment %d: left to undo: %v", moment, left.Steps)
		}
	}
}

func TestWhatAKilledRunWasAtIsUndoneAsUnknown(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("a", "additive"))
	b.life.dies = b.life.moments + 6 // after the effect of a
	if _, err := b.runner.Start(t.Context(), b.journal.fold(t), pb, b.plan(pb), "run-1"); err == nil {
		t.Fatal("survived")
	}
	b.life.dies, b.life.dead = 0, false
	plan := b.planRelease()
	if len(plan.Steps) != 1 || plan.Steps[0].Undo.State != incident.Unknown || plan.Steps[0].Undo.Token == "" {
		t.Fatalf("got %+v", plan.Steps)
	}
	b.start(incident.Playbook{}, plan, "release-1")
	if v := b.world.get("a@i-a"); v != "off" {
		t.Errorf("a is %s", v)
	}
}

func TestUndoingKnowsWhatAnEarlierTryHadSet(t *testing.T) {
	b := newBench(t)
	b.fake("fake.disruptive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		return incident.Result{Applied: []byte(`"half"`)}, errors.New("AWS said no")
	}
	s := step("a", "disruptive")
	s.With = map[string]incident.Expr{"number": literal(5)}
	pb := playbook(s)
	b.run(pb)
	b.world.failures["a@i-a"] = []string{"apply"} // fails before it leaves a result
	b.resume(pb, "run-1")
	plan := b.planRelease()
	if u := plan.Steps[0].Undo; string(u.Result.Applied) != `"half"` {
		t.Errorf("got %+v", u)
	}
	if n := plan.Steps[0].Inputs["number"]; n != int64(5) {
		t.Errorf("number is a %T", n)
	}
}

func TestDriftThatShowsOnlyDuringTheReleaseNamesTheWayOn(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("a", "disruptive"))
	b.run(pb)
	plan := b.planRelease()
	b.world.set("a@i-a", "changed")
	s := status(b.start(incident.Playbook{}, plan, "release-1"), "a")
	if s.State != incident.Failed || s.Intent != nil || !strings.Contains(s.Hint, "--force") {
		t.Errorf("got %+v", s)
	}
}
