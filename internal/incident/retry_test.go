package incident_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cordon-ir/cordon/internal/incident"
)

var retrying = incident.Retrying{By: "lead@desk", Reason: "the policy is mended"}

// occupy keeps the run alive: steps of fake.read-only wait until it is called, or the run is interrupted.
func occupy(b *bench) (free func()) {
	hold := make(chan struct{})
	b.fake("fake.read-only").apply = func(ctx context.Context, _ incident.Request) (incident.Result, error) {
		select {
		case <-hold:
			return incident.Result{}, nil
		case <-ctx.Done():
			return incident.Result{}, context.Cause(ctx)
		}
	}
	return func() { close(hold) }
}

func wantRefused(t *testing.T, err error, why, hint string) {
	t.Helper()
	var hinted *incident.HintError
	if errors.As(err, &hinted); err == nil || !strings.Contains(err.Error(), why) || hint != "" && (hinted == nil || !strings.Contains(hinted.Hint, hint)) {
		t.Errorf("got %v (%+v), want %q, %q", err, hinted, why, hint)
	}
}

func TestAFailedStepIsTriedAgainWhileOthersAreAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		free, asked := occupy(b), 0
		b.runner.Ask = func(ctx context.Context, q incident.Question) (incident.Approval, error) { asked++; return yes(ctx, q) }
		b.world.failures["a@i-a"] = []string{"apply", "verify"}
		s := steer(t, b, playbook(step("busy", "read-only"), step("a", "disruptive"), step("b", "plain", "a"), step("c", "additive", "b")))
		s.want("busy running", "a failed", "b skipped", "c skipped")
		must(t, b.runner.Retry("a", retrying))
		s.want("busy running", "a failed", "b skipped", "c skipped")
		must(t, b.runner.Retry("a@"+targetA.String(), retrying))
		s.want("busy running", "a succeeded", "b succeeded", "c succeeded")
		free()
		s.ends(incident.OutcomeSucceeded)
		if got := status(s.now(), "a"); got.Tries != 3 || asked != 1 {
			t.Errorf("tried %d times, asked %d", got.Tries, asked)
		}
		at := slices.IndexFunc(b.journal.all(), func(e incident.Entry) bool { return e.Type == incident.EntryStepRetry })
		e, next := b.journal.all()[at], b.journal.all()[at+1]
		var order incident.StepRetry
		must(t, json.Unmarshal(e.Data, &order))
		if e.Actor != "lead@desk" || fmt.Sprint(order) != "{lead@desk the policy is mended [b c]}" || next.Type != incident.EntryStepIntent {
			t.Errorf("the journal says %s by %s, then %s", e.Data, e.Actor, next.Type)
		}
	})
}

func TestWhatSeveralFailuresBlockedWaitsForAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		free := occupy(b)
		b.world.failures["a@i-a"], b.world.failures["b@i-a"] = []string{"apply"}, []string{"apply"}
		s := steer(t, b, playbook(step("busy", "read-only"), step("a", "additive"), step("b", "additive"), step("after", "plain", "a")), targetA, targetB)
		s.want("busy running", "a failed", "b failed", "after skipped")
		must(t, b.runner.Retry("a@"+targetA.String(), retrying))
		s.want("busy running", "a succeeded", "b failed", "after skipped")
		must(t, b.runner.Retry("b@"+targetA.String(), retrying))
		s.want("busy running", "a succeeded", "b succeeded", "after succeeded")
		free()
		s.ends(incident.OutcomeSucceeded)
	})
}

func TestAStepThatFailedBeforeItWasApprovedAsksWhenItIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		free, asked := occupy(b), 0
		b.runner.Ask = func(ctx context.Context, q incident.Question) (incident.Approval, error) { asked++; return yes(ctx, q) }
		b.world.failures["a@i-a"] = []string{"plan", "plan"} // the first when it is planned, without harm
		s := steer(t, b, playbook(step("busy", "read-only"), step("a", "disruptive")))
		s.want("busy running", "a failed")
		if asked != 0 {
			t.Errorf("asked %d times before it could say what it would do", asked)
		}
		must(t, b.runner.Retry("a", retrying))
		s.want("busy running", "a succeeded")
		free()
		s.ends(incident.OutcomeSucceeded)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestOfTwoWhoRetryAStepOneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		free := occupy(b)
		b.world.failures["a@i-a"] = []string{"apply"}
		s := steer(t, b, playbook(step("busy", "read-only"), step("a", "additive")))
		must(t, b.runner.Pause(analyst)) // so that the first retry is not over when the second comes
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			both.Go(func() { errs[i] = b.runner.Retry("a", retrying) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("got %v", errs)
		}
		wantRefused(t, errors.Join(errs...), "only a step that failed is tried again", "")
		s.want("busy running", "a pending")
		must(t, b.runner.Continue(incident.RunContinued{}))
		free()
		s.ends(incident.OutcomeSucceeded)
		if got := status(s.now(), "a").Tries; got != 2 {
			t.Errorf("tried %d times", got)
		}
	})
}

func TestWhatCantBeTriedAgainIsRefusedAndNothingIsJournaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		free := occupy(b)
		wantRefused(t, b.runner.Retry("a", retrying), "no run is under way", "cordon resume")
		b.runner.Ask = func(context.Context, incident.Question) (incident.Approval, error) { return incident.Approval{}, nil }
		b.world.failures["soft@i-a"] = []string{"apply"}
		soft := step("soft", "additive")
		soft.OnFailure = incident.Continue
		no := step("no", "disruptive", "done")
		no.OnFailure = incident.Continue
		s := steer(t, b, playbook(step("done", "additive"), soft, step("busy", "read-only", "soft"), no, step("late", "additive", "busy")))
		s.want("done succeeded", "soft failed", "busy running", "no skipped", "late pending")
		entries := len(b.journal.all())
		for text, want := range map[string][2]string{
			"done": {"is succeeded", ""}, "busy": {"is running", ""}, "late": {"is pending", ""}, "none": {"has no step none", ""},
			"no": {"was not approved", "cordon resume"}, "soft": {"busy, which needs soft, is at work", "once it is over"},
		} {
			wantRefused(t, b.runner.Retry(text, retrying), want[0], want[1])
		}
		if n := len(b.journal.all()); n != entries {
			t.Errorf("%d entries came of what was refused", n-entries)
		}
		free()
		s.ends(incident.OutcomeFailed)
		entries = len(b.journal.all())
		wantRefused(t, b.runner.Retry("soft", retrying), "no run is under way", "cordon resume")
		if n := len(b.journal.all()); n != entries {
			t.Error("a run that has ended has new entries")
		}
	})
}

func TestAPausedRunWithAFailedStepWaitsForItsRetry(t *testing.T) {
	for name, tc := range map[string]struct {
		steer func(*steered)
		ends  incident.Outcome
		a     incident.StepState
	}{
		"retry, then continue": {func(s *steered) {
			must(s.t, s.runner.Retry("a", retrying))
			s.want("a pending", "b pending")
			must(s.t, s.runner.Continue(incident.RunContinued{}))
		}, incident.OutcomeSucceeded, incident.Succeeded},
		"continue":  {func(s *steered) { must(s.t, s.runner.Continue(incident.RunContinued{})) }, incident.OutcomeFailed, incident.Failed},
		"interrupt": {func(s *steered) { s.interrupt() }, incident.OutcomeFailed, incident.Failed},
		"retry, then interrupt": {func(s *steered) {
			must(s.t, s.runner.Retry("a", retrying))
			s.want("a pending", "b pending")
			s.interrupt()
		}, incident.OutcomeInterrupted, incident.Pending},
		"retry, then skip": {func(s *steered) {
			must(s.t, s.runner.Retry("a", retrying))
			must(s.t, s.runner.Skip("a", skipping))
			must(s.t, s.runner.Continue(incident.RunContinued{}))
		}, incident.OutcomeSucceeded, incident.Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.fake("fake.additive").apply = func(_ context.Context, req incident.Request) (incident.Result, error) {
					if status(b.journal.fold(t).Run("run-1"), "a").Tries == 1 {
						must(t, b.runner.Pause(analyst))
						return incident.Result{}, errors.New("AWS said no")
					}
					return incident.Result{}, nil
				}
				s := steer(t, b, playbook(step("a", "additive"), step("b", "plain", "a")))
				s.want("a failed", "b skipped")
				tc.steer(s)
				s.ends(tc.ends)
				if got := status(s.now(), "a"); got.State != tc.a {
					t.Errorf("a is %s", got.State)
				} else if got.State == incident.Skipped && !strings.Contains(got.Outcome.Reason, "it had failed: AWS said no") {
					t.Errorf("a: %s", got.Outcome.Reason)
				}
			})
		})
	}
}

func TestWhatAResumeTriesAgainAnywayIsNotTriedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.world.failures["gate@i-a"], b.world.failures["late@i-a"] = []string{"apply"}, []string{"apply"}
		gate := step("gate", "irreversible")
		gate.OnFailure = incident.Continue
		pb := playbook(gate, step("late", "additive", "gate"))
		wantEqual(t, "states", states(b.run(pb)), []string{"gate failed", "late failed"})
		anchored := 0
		b.runner.Anchor = func(context.Context) error { // right before the intent of gate, and at the run's end
			if anchored++; anchored == 1 {
				wantRefused(t, b.runner.Retry("gate", retrying), "is being tried again already", "")
				wantRefused(t, b.runner.Retry("late", retrying), "late needs gate, which is not over", "")
			}
			return nil
		}
		wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"gate succeeded", "late succeeded"})
		if anchored != 2 {
			t.Errorf("asked %d times", anchored)
		}
	})
}

// TestKilledAtEveryMomentARunWithARetryEndsTheSame kills it before and after the
// order, in the try, and after it; resumes it; and releases it.
func TestKilledAtEveryMomentARunWithARetryEndsTheSame(t *testing.T) {
	pb := playbook(step("busy", "read-only"), step("a", "additive"), step("b", "disruptive", "a"), step("c", "irreversible", "b"))
	play := func(t *testing.T, dies int) *bench {
		b := newBench(t)
		plan := b.plan(pb)
		b.runner.Approved = &incident.Approval{Approved: true, How: incident.HowYes, Digest: plan.Digest}
		b.world.failures["a@i-a"] = []string{"verify"}
		free := occupy(b)
		ended := make(chan error, 1)
		b.life.dies = b.life.moments + dies
		if dies == 0 {
			b.life.dies = 0
		}
		go func() {
			_, err := b.proceed(pb, plan)
			ended <- err
		}()
		synctest.Wait()
		if !b.life.dead {
			if err := b.runner.Retry("a", retrying); err != nil && !errors.Is(err, errKilled) {
				t.Errorf("killed at %d: %v", dies, err)
			}
		}
		synctest.Wait()
		free()
		if err := <-ended; err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		for range 2 { // a death before a's first try leaves its failure to the resume
			b.life.dead, b.life.dies = false, 0
			if s := b.journal.fold(t); s.Run("run-1") == nil || !s.Run("run-1").Finished() {
				if _, err := b.proceed(pb, plan); err != nil {
					t.Fatal(err)
				}
			}
		}
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		calm := play(t, 0)
		if !calm.journal.has(incident.EntryStepRetry, "run-1", "a", targetA.String()) {
			t.Fatal("nothing was tried again")
		}
		for moment := 1; moment <= calm.life.moments; moment++ {
			b := play(t, moment)
			run := b.journal.fold(t).Run("run-1")
			wantEqual(t, fmt.Sprint("killed at ", moment), states(run), []string{"busy succeeded", "a succeeded", "b succeeded", "c succeeded"})
			if run.Outcome != incident.OutcomeSucceeded || len(b.world.applied) != 4 || len(run.Approved.How) == 0 {
				t.Errorf("killed at %d: %s, applied %v", moment, run.Outcome, b.world.applied)
			}
			if before := string(status(run, "a").Intent.Proposal.Before); before != `"off"` {
				t.Errorf("killed at %d: a release would restore %s", moment, before)
			}
			if live := b.journal.fold(t).Live(); len(live) != 4 {
				t.Errorf("killed at %d: a release would undo %d steps", moment, len(live))
			}
		}
	})
}
