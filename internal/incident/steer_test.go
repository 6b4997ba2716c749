package incident_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cordon-ir/cordon/internal/incident"
)

// steered is a run under way in a synctest bubble.
type steered struct {
	*bench
	t         *testing.T
	pb        incident.Playbook
	interrupt context.CancelFunc
	outcome   chan incident.Outcome
}

// steer starts the playbook and waits until nothing moves any more.
func steer(t *testing.T, b *bench, pb incident.Playbook, targets ...incident.Target) *steered {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	s := &steered{bench: b, t: t, pb: pb, interrupt: interrupt, outcome: make(chan incident.Outcome, 1)}
	plan := b.plan(pb, targets...)
	go func() {
		outcome, err := b.runner.Start(ctx, b.journal.fold(t), pb, plan, "run-1")
		if err != nil {
			t.Errorf("start: %v", err)
		}
		s.outcome <- outcome
	}()
	synctest.Wait()
	return s
}

func (s *steered) now() *incident.RunState { return s.journal.fold(s.t).Run("run-1") }

func (s *steered) want(states_ ...string) {
	s.t.Helper()
	synctest.Wait()
	wantEqual(s.t, "states", states(s.now()), states_)
}

func (s *steered) ends(want incident.Outcome) {
	s.t.Helper()
	if got := <-s.outcome; got != want {
		s.t.Errorf("the run ended as %s, want %s: %s", got, want, s.now().Error)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

var (
	analyst  = incident.RunPaused{By: "analyst@desk", Reason: "the owner calls"}
	skipping = incident.Skipping{By: "analyst@desk", Reason: "not on this one"}
)

func TestInAPauseStepsAtWorkFinishAndNoneBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.fake("fake.additive").apply = func(_ context.Context, req incident.Request) (incident.Result, error) {
			if req.Step == "a" {
				must(t, b.runner.Pause(analyst))
				if b.runner.Pause(analyst) == nil {
					t.Error("paused twice")
				}
			}
			return incident.Result{}, nil
		}
		s := steer(t, b, playbook(step("a", "additive"), step("b", "additive", "a"), step("c", "plain", "b")))
		s.want("a succeeded", "b pending", "c pending")
		if p := s.now().Paused; p == nil || *p != analyst {
			t.Errorf("the journal says the run is paused by %+v", p)
		}
		must(t, b.runner.Continue(incident.RunContinued{By: "lead@desk"}))
		s.want("a succeeded", "b succeeded", "c succeeded")
		s.ends(incident.OutcomeSucceeded)
		if s.now().Paused != nil || b.runner.Pause(analyst) == nil || b.runner.Continue(incident.RunContinued{}) == nil {
			t.Error("a run that has ended is paused, or can be")
		}
	})
}

func TestAStepThatWasAboutToBeginWaitsAndLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		read, paused := 0, 0
		b.fake("fake.irreversible").plan = func(req incident.Request, _ *incident.Proposal) error {
			if req.Run != "" {
				read++
			}
			return nil
		}
		b.runner.Anchor = func(context.Context) error { // right before the intent
			if paused == 0 {
				paused = read
				must(t, b.runner.Pause(analyst))
			}
			return nil
		}
		s := steer(t, b, playbook(step("a", "irreversible")))
		s.want("a pending")
		must(t, b.runner.Continue(incident.RunContinued{}))
		s.want("a succeeded")
		s.ends(incident.OutcomeSucceeded)
		if read <= paused {
			t.Error("the state before the pause was taken for that after it")
		}
	})
}

func TestAnAnswerInAPauseCountsOnceItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		answer, asked := make(chan incident.Approval), 0
		b.runner.Ask = func(context.Context, incident.Question) (incident.Approval, error) { asked++; return <-answer, nil }
		s := steer(t, b, playbook(step("a", "disruptive")))
		s.want("a waiting")
		must(t, b.runner.Pause(analyst))
		answer <- incident.Approval{Approved: true, By: "lead@desk"}
		s.want("a pending")
		must(t, b.runner.Continue(incident.RunContinued{}))
		s.want("a succeeded")
		s.ends(incident.OutcomeSucceeded)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestAPausedRunCanBeInterruptedAndItsResumeIsNotPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		once := true
		b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
			if once {
				once = false
				must(t, b.runner.Pause(analyst))
			}
			return incident.Result{}, nil
		}
		s := steer(t, b, playbook(step("a", "additive"), step("b", "additive", "a")))
		s.interrupt()
		s.want("a succeeded", "b pending")
		s.ends(incident.OutcomeInterrupted)
		wantEqual(t, "states", states(b.resume(s.pb, "run-1")), []string{"a succeeded", "b succeeded"})
	})
}

func TestASkippedStepIsLeftOutForGood(t *testing.T) {
	for name, pb := range map[string]incident.Playbook{
		"waits for an approval": playbook(step("a", "disruptive"), step("b", "plain", "a")),
		"not begun":             playbook(step("first", "disruptive"), step("a", "additive", "first"), step("b", "plain", "a")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				answer := make(chan incident.Approval)
				b.runner.Ask = func(ctx context.Context, _ incident.Question) (incident.Approval, error) {
					select {
					case a := <-answer:
						return a, nil
					case <-ctx.Done():
						return incident.Approval{}, ctx.Err()
					}
				}
				s := steer(t, b, pb)
				must(t, b.runner.Skip("a", skipping))
				if b.runner.Skip("a", skipping) == nil {
					t.Error("skipped twice")
				}
				if name == "not begun" {
					answer <- incident.Approval{Approved: true}
				}
				s.ends(incident.OutcomeSucceeded)
				run := s.now()
				if got := status(run, "a"); got.State != incident.Skipped || got.Outcome.Reason != "skipped by analyst@desk: not on this one" || got.Intent != nil {
					t.Errorf("a is %s, %+v", got.State, got.Outcome)
				}
				if status(run, "b").State != incident.Succeeded || !run.Finished() {
					t.Errorf("states %v", states(run))
				}
			})
		})
	}
}

func TestSkippingTheWayOutOfTheGroupDoesNotLetTheCutThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.runner.Ask = func(ctx context.Context, q incident.Question) (incident.Approval, error) {
			if q.Step.ID == "leave" {
				<-ctx.Done()
				return incident.Approval{}, context.Cause(ctx)
			}
			return yes(ctx, q)
		}
		s := steer(t, b, playbook(step("leave", "leave"), step("cut", "cut", "leave")))
		must(t, b.runner.Skip("leave@"+targetA.String(), skipping))
		s.want("leave skipped", "cut failed")
		s.ends(incident.OutcomeFailed)
		if len(b.world.applied) != 0 {
			t.Errorf("applied %v", b.world.applied)
		}
	})
}

func TestWhatIsAtWorkOrOverOrNobodyKnowsIsNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.world.failures["failed@i-a"] = []string{"apply"}
		hold := make(chan struct{})
		b.fake("fake.read-only").apply = func(ctx context.Context, _ incident.Request) (incident.Result, error) {
			<-hold
			return incident.Result{}, context.Cause(ctx)
		}
		failing := step("failed", "additive")
		failing.OnFailure = incident.Continue
		s := steer(t, b, playbook(step("done", "additive"), failing, step("busy", "read-only")), targetA, targetB)
		for text, why := range map[string]string{
			"done@" + targetA.String(): "is succeeded", "failed@" + targetA.String(): "has failed", "busy@" + targetA.String(): "is running",
			"none": "has no step none", "busy": "2 targets have a step busy",
		} {
			if err := b.runner.Skip(text, skipping); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: got %v, want that it %s", text, err, why)
			}
		}
		s.interrupt()
		close(hold)
		s.ends(incident.OutcomeInterrupted)
		run := s.now()
		if _, err := run.Skip("busy@"+targetA.String(), skipping); err == nil || !strings.Contains(err.Error(), "nobody knows") {
			t.Errorf("unknown: %v", err)
		}
	})
}

func TestAResumeGoesOnWithoutAStepThatFailedAndWasSkippedThen(t *testing.T) {
	b := newBench(t)
	b.world.failures["a@i-a"] = []string{"apply"}
	pb := playbook(step("a", "additive"), step("b", "plain", "a"))
	run := b.run(pb)
	wantEqual(t, "states", states(run), []string{"a failed", "b skipped"})
	draft, err := run.Skip("a", skipping)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.journal.Append(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	run = b.resume(pb, "run-1")
	wantEqual(t, "states", states(run), []string{"a skipped", "b succeeded"})
	if got := status(run, "a"); got.Tries != 1 || !strings.HasSuffix(got.Outcome.Reason, "it had failed: apply of a@i-a: AWS said no") {
		t.Errorf("tried %d times; %s", got.Tries, got.Outcome.Reason)
	}
	if live := b.journal.fold(t).Live(); len(live) != 2 {
		t.Errorf("a release would undo %d steps: what failed halfway is still in effect", len(live))
	}
}

func TestKilledAtEveryMomentASteeredRunEndsTheSame(t *testing.T) {
	pb := playbook(step("a", "additive"), step("b", "plain", "a"), step("c", "irreversible", "a"))
	play := func(dies int) *bench {
		b := newBench(t)
		b.runner.Approved = &incident.Approval{Approved: true, How: incident.HowYes}
		b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
			for _, err := range []error{b.runner.Pause(analyst), b.runner.Skip("b", skipping), b.runner.Continue(incident.RunContinued{})} {
				if errors.Is(err, errKilled) {
					return incident.Result{}, err
				}
			}
			return incident.Result{}, nil
		}
		plan := b.plan(pb)
		b.runner.Approved.Digest = plan.Digest
		if dies > 0 {
			b.life.dies = b.life.moments + dies
		}
		for range 3 {
			if outcome, err := b.proceed(pb, plan); err == nil && outcome == incident.OutcomeSucceeded {
				return b
			} else if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			b.life.dead, b.life.dies = false, 0
		}
		t.Fatalf("killed at moment %d it never succeeds", dies)
		return nil
	}
	calm := play(0)
	for moment := 1; moment <= calm.life.moments; moment++ {
		b := play(moment)
		run := b.journal.fold(t).Run("run-1")
		wantEqual(t, "states", states(run), []string{"a succeeded", "b skipped", "c succeeded"})
		if run.Paused != nil || len(b.world.applied) != 2 {
			t.Errorf("killed at %d: paused %v, applied %v", moment, run.Paused, b.world.applied)
		}
	}
}

// output is an expression that takes the output count of a step.
func output(id string) incident.Expr {
	return expr("${{ steps."+id+".outputs.count }}", func(s incident.Scope) (any, error) {
		if n, ok := s.Steps[id].Outputs["count"]; ok {
			return n, nil
		}
		return nil, errors.New("steps." + id + ".outputs.count has no value")
	}, id)
}

func TestAPlanLeavesOutWhatIsNotWantedAndWhatCantDoWithout(t *testing.T) {
	b := newBench(t)
	use, last := step("use", "additive", "snap"), step("last", "additive", "use")
	use.With, last.With = map[string]incident.Expr{"number": output("snap")}, map[string]incident.Expr{"number": output("use")}
	choosing := step("choosing", "additive", "snap")
	when := expr("${{ steps.snap.state == 'succeeded' }}", func(s incident.Scope) (any, error) { return s.Steps["snap"].State == "succeeded", nil }, "snap")
	choosing.When = &when
	pb := playbook(step("snap", "plain"), use, last, choosing, step("free", "additive", "last"))
	whole := b.plan(pb)
	b.planner.Without = []string{"snap"}
	plan := b.plan(pb)
	if plan.Digest == whole.Digest {
		t.Error("the digest does not tell the two plans apart")
	}
	var skips []string
	for _, s := range plan.Steps {
		if s.Skip != "" && s.Chosen && s.Proposal == nil {
			skips = append(skips, s.ID)
		}
	}
	wantEqual(t, "left out", skips, []string{"snap", "use", "last", "choosing"})
	r := b.start(pb, plan, "run-1")
	wantEqual(t, "states", states(r), []string{"snap skipped", "use skipped", "last skipped", "choosing skipped", "free succeeded"})
	if r.Outcome != incident.OutcomeSucceeded || !r.Finished() {
		t.Errorf("outcome %s, %s", r.Outcome, r.Error)
	}
	b.planner.Without = []string{"snap", "snip"}
	if _, err := b.planner.Plan(t.Context(), testCase, pb, []incident.Target{targetA}, nil); err == nil || !strings.Contains(err.Error(), "no step snip") {
		t.Errorf("a step that does not exist: %v", err)
	}
}

func TestWhatTakesTheOutputsOfASkippedStepIsSkippedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.runner.Ask = func(ctx context.Context, _ incident.Question) (incident.Approval, error) {
			<-ctx.Done()
			return incident.Approval{}, context.Cause(ctx)
		}
		use := step("use", "additive", "ask")
		use.With = map[string]incident.Expr{"number": output("ask")}
		s := steer(t, b, playbook(step("ask", "disruptive"), use, step("free", "additive", "use")))
		must(t, b.runner.Skip("ask", skipping))
		s.want("ask skipped", "use skipped", "free succeeded")
		s.ends(incident.OutcomeSucceeded)
	})
}

func TestTheOrderIsGuardedInAPlanWithoutAStep(t *testing.T) {
	b := newBench(t)
	b.planner.Without = []string{"leave"}
	pb := playbook(step("leave", "leave"), step("cut", "cut", "leave"))
	if _, err := b.planner.Plan(t.Context(), testCase, pb, []incident.Target{targetA}, nil); err == nil || !strings.Contains(err.Error(), "left-group") {
		t.Errorf("the way out of the group is left out: %v", err)
	}
}
