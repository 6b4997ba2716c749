package incident_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// questions collects what is asked and answers yes.
func questions(asked *[]incident.Question) func(context.Context, incident.Question) (incident.Approval, error) {
	var mu sync.Mutex
	return func(ctx context.Context, q incident.Question) (incident.Approval, error) { // steps ask side by side
		mu.Lock()
		defer mu.Unlock()
		*asked = append(*asked, q)
		return yes(ctx, q)
	}
}

func TestAnApprovalCoversWhatItShowedAndNoMore(t *testing.T) {
	extra := incident.Change{Resource: "eni-2", What: "groups", Before: "x", After: "y"}
	for name, tc := range map[string]struct {
		step   incident.Step
		later  func(*incident.Proposal) // between the plan and the step's start
		asked  int
		reason string
	}{
		"the same":          {step("a", "disruptive"), func(*incident.Proposal) {}, 0, ""},
		"fewer changes":     {step("a", "disruptive"), func(p *incident.Proposal) { p.Changes = nil }, 0, ""},
		"one more":          {step("a", "disruptive"), func(p *incident.Proposal) { p.Changes = append(p.Changes, extra) }, 1, "eni-2 groups: x → y"},
		"another value":     {step("a", "disruptive"), func(p *incident.Proposal) { p.Changes[0].Before = "z" }, 1, "z → on"},
		"worse":             {step("a", "irreversible"), func(p *incident.Proposal) { p.Impact = incident.Irreversible }, 1, "its impact is irreversible, it was disruptive"},
		"harmless now":      {step("a", "disruptive"), func(p *incident.Proposal) { p.Changes, p.Impact = append(p.Changes, extra), incident.Additive }, 0, ""},
		"a rule of silence": {silent("a"), func(p *incident.Proposal) { p.Changes = append(p.Changes, extra) }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var asked []incident.Question
			b.runner.Ask = questions(&asked)
			b.fake("fake.irreversible").plan = func(_ incident.Request, p *incident.Proposal) error {
				p.Impact = incident.Disruptive
				return nil
			}
			pb := playbook(tc.step)
			plan := b.plan(pb)
			b.runner.Approved = &incident.Approval{Approved: true, Digest: plan.Digest, By: "analyst@desk", How: "--digest"}
			b.fake(tc.step.Action).plan = func(req incident.Request, p *incident.Proposal) error {
				tc.later(p)
				return nil
			}
			r := b.start(pb, plan, "run-1")
			wantEqual(t, "states", states(r), []string{"a succeeded"})
			if len(asked) != tc.asked {
				t.Fatalf("asked %d times", len(asked))
			}
			if tc.asked > 0 && (!strings.Contains(asked[0].Why, tc.reason) || asked[0].Digest != plan.Digest) {
				t.Errorf("asked %+v", asked[0])
			}
			if tc.asked > 0 && (status(r, "a").Waiting.Why != asked[0].Why || status(r, "a").Approval.By != "lead@desk") {
				t.Errorf("journaled %+v, %+v", status(r, "a").Waiting, status(r, "a").Approval)
			}
		})
	}
}

func silent(id string) incident.Step {
	s := step(id, "disruptive")
	s.Approval = incident.ApprovalNone
	return s
}

func TestTheExpressionIsWhatIsApprovedWhereTheInputIsNotKnown(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = nil
	launch := step("launch", "disruptive", "snap")
	launch.With = map[string]incident.Expr{"value": expr("${{ steps.snap.outputs.was }}", func(s incident.Scope) (any, error) { return s.Steps["snap"].Outputs["was"], nil }, "snap")}
	pb := playbook(step("snap", "additive"), launch)
	plan := b.plan(pb)
	b.runner.Approved = &incident.Approval{Approved: true, Digest: plan.Digest, How: "--digest"}
	wantEqual(t, "states", states(b.start(pb, plan, "run-1")), []string{"snap succeeded", "launch succeeded"})
}

func TestChangesThatMoveWhileTheAnswerIsAwaitedAreAskedAgain(t *testing.T) {
	b := newBench(t)
	var whys []string
	b.runner.Ask = func(ctx context.Context, q incident.Question) (incident.Approval, error) {
		whys = append(whys, q.Why)
		if len(whys) == 1 {
			b.world.set("a@i-a", "dimmed")
		}
		return yes(ctx, q)
	}
	s := status(b.run(playbook(step("a", "disruptive"))), "a")
	wantEqual(t, "reasons", whys, []string{"", "not among the changes shown before: a@i-a switch: dimmed → on"})
	if string(s.Intent.Proposal.Before) != `"dimmed"` {
		t.Errorf("the state before is %s", s.Intent.Proposal.Before)
	}
}

func TestARejectedStepIsSkippedAndMayBeAskedAgain(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = func(context.Context, incident.Question) (incident.Approval, error) {
		return incident.Approval{By: "lead@desk", How: "socket", Reason: "business hours"}, nil
	}
	pb := playbook(step("a", "disruptive"), step("b", "additive", "a"))
	r := b.run(pb)
	wantEqual(t, "states", states(r), []string{"a skipped", "b skipped"})
	if r.Outcome != incident.OutcomeRefused || status(r, "a").Outcome.Reason != "not approved by lead@desk: business hours" {
		t.Errorf("%s, %+v", r.Outcome, status(r, "a").Outcome)
	}
	if len(b.world.applied) > 0 {
		t.Error("something was applied")
	}
	b.runner.Ask = yes
	wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"a succeeded", "b succeeded"})
}

func TestARunThatBeganAndWasThenRejectedHasFailed(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = func(context.Context, incident.Question) (incident.Approval, error) { return incident.Approval{}, nil }
	if r := b.run(playbook(step("a", "additive"), step("b", "disruptive", "a"))); r.Outcome != incident.OutcomeFailed {
		t.Errorf("ended %s", r.Outcome)
	}
}

func TestYesAnswersLaterQuestionsToo(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = nil
	pb := playbook(step("a", "disruptive"))
	plan := b.plan(pb)
	b.runner.Approved = &incident.Approval{Approved: true, Digest: plan.Digest, By: "analyst@desk", How: incident.HowYes}
	b.world.set("a@i-a", "dimmed")
	s := status(b.start(pb, plan, "run-1"), "a")
	if s.State != incident.Succeeded || s.Approval == nil || s.Approval.How != incident.HowYes || s.Waiting.Why == "" {
		t.Errorf("got %+v", s)
	}
}

func TestWithoutAnyoneToAnswerAStepThatAsksFails(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = nil
	s := status(b.run(playbook(step("a", "disruptive"))), "a")
	if s.State != incident.Failed || s.Intent != nil || !strings.Contains(s.Hint, "--yes") {
		t.Errorf("got %+v", s)
	}
}

func TestAnAnswerAboutAnotherPlanIsNone(t *testing.T) {
	b := newBench(t)
	b.runner.Ask = func(context.Context, incident.Question) (incident.Approval, error) {
		return incident.Approval{Approved: true, Digest: "sha256:other"}, nil
	}
	if s := status(b.run(playbook(step("a", "disruptive"))), "a"); s.State != incident.Failed || s.Intent != nil {
		t.Errorf("got %+v", s)
	}
}
