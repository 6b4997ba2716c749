package incident_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestStepsWithoutEachOtherRunSideBySide(t *testing.T) {
	b := newBench(t)
	var both sync.WaitGroup
	both.Add(2)
	b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		both.Done()
		both.Wait() // deadlocks where one waits for the other
		return incident.Result{}, nil
	}
	r := b.run(playbook(step("a", "additive"), step("b", "additive")))
	wantEqual(t, "states", states(r), []string{"a succeeded", "b succeeded"})
}

func TestNoMoreStepsAtOnceThanAllowed(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	b.run(playbook(step("a", "additive"), step("b", "additive"), step("c", "additive")), targetA, targetB)
	if b.world.peak != 1 || len(b.world.applied) != 6 {
		t.Errorf("peak %d, applied %v", b.world.peak, b.world.applied)
	}
}

func TestAStepThatWaitsForApprovalHoldsUpNoOther(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	others := make(chan struct{})
	b.runner.Ask = func(ctx context.Context, q incident.Question) (incident.Approval, error) {
		<-others
		return yes(ctx, q)
	}
	b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		close(others)
		return incident.Result{}, nil
	}
	r := b.run(playbook(step("ask", "disruptive"), step("free", "additive")))
	wantEqual(t, "states", states(r), []string{"ask succeeded", "free succeeded"})
}

func TestAFailureIsContainedAsThePlaybookSays(t *testing.T) {
	for name, tc := range map[string]struct {
		onFailure incident.OnFailure
		want      []string
		reason    string
	}{
		"stop":     {incident.Stop, []string{"a failed", "b skipped", "c skipped"}, "step a failed"},
		"continue": {incident.Continue, []string{"a failed", "b succeeded", "c succeeded"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.runner.MaxParallel = 1
			b.world.failures["a@i-a"] = []string{"verify"}
			a := step("a", "additive")
			a.OnFailure = tc.onFailure
			pb := playbook(a, step("b", "additive", "a"), step("c", "additive", "b"))
			r := b.run(pb, targetA, targetB)
			wantEqual(t, "states", states(r), tc.want)
			if r.Outcome != incident.OutcomeFailed || !strings.Contains(r.Error, "AWS said no") {
				t.Errorf("ended %s: %s", r.Outcome, r.Error)
			}
			if o := status(r, "b").Outcome; o.Reason != tc.reason {
				t.Errorf("reason %q", o.Reason)
			}
			for _, s := range r.Plan.Steps {
				if st := r.Steps[s.Key()].State; s.Target == targetB && st != incident.Succeeded {
					t.Errorf("%s is %s: another target's failure stopped it", s.Key(), st)
				}
			}
			r = b.resume(pb, "run-1")
			wantEqual(t, "states after the resume", states(r), []string{"a succeeded", "b succeeded", "c succeeded"})
			if r.Outcome != incident.OutcomeSucceeded || status(r, "a").Tries != 2 {
				t.Errorf("ended %s after %d tries of a", r.Outcome, status(r, "a").Tries)
			}
		})
	}
}

func TestAFailureKeepsItsHintAndItsResult(t *testing.T) {
	b := newBench(t)
	b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		return incident.Result{Applied: json.RawMessage(`"half"`)}, incident.WithHint(errors.New("group is full"), "raise max-size")
	}
	s := status(b.run(playbook(step("a", "additive"))), "a")
	if s.Error != "group is full" || s.Hint != "raise max-size" || string(s.Outcome.Result.Applied) != `"half"` || s.Outcome.Unverified {
		t.Errorf("got %+v", s.Outcome)
	}
}

func TestAnEffectThatIsNotThereIsToldFromAFailure(t *testing.T) {
	b := newBench(t)
	b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		return incident.Result{}, fmt.Errorf("looking: %w", &incident.NotVerifiedError{Resource: "eni-1", Want: "cut", Got: "open"})
	}
	if s := status(b.run(playbook(step("a", "additive"))), "a"); s.State != incident.Failed || !s.Outcome.Unverified {
		t.Errorf("got %+v", s.Outcome)
	}
}

func TestConditionsAndInputsSeeWhatEarlierStepsLeft(t *testing.T) {
	b := newBench(t)
	count := func(s incident.Scope) (any, error) {
		n, ok := s.Steps["first"].Outputs["count"].(int64)
		if !ok {
			return nil, errors.New("not the output's own type")
		}
		return n, nil
	}
	use := step("use", "additive", "first")
	use.With = map[string]incident.Expr{"number": expr("${{ steps.first.outputs.count }}", count, "first")}
	no := step("no", "additive", "first")
	when := expr("${{ steps.first.state == 'failed' }}", func(s incident.Scope) (any, error) { return s.Steps["first"].State == "failed", nil }, "first")
	no.When = &when
	wrong := step("wrong", "additive", "first")
	wrong.With = map[string]incident.Expr{"number": expr("${{ steps.first.outputs.was }}", func(s incident.Scope) (any, error) { return s.Steps["first"].Outputs["was"], nil }, "first")}
	wrong.OnFailure = incident.Continue

	r := b.run(playbook(step("first", "additive"), use, no, wrong))
	wantEqual(t, "states", states(r), []string{"first succeeded", "use succeeded", "no skipped", "wrong failed"})
	if got := status(r, "use").Intent.Inputs["number"]; got != float64(3) {
		t.Errorf("number is %v in the journal", got)
	}
	if o := status(r, "no").Outcome; o.Skip != incident.SkipCondition || o.Reason != "its condition is false: "+when.Source {
		t.Errorf("got %+v", o)
	}
	if !strings.Contains(status(r, "wrong").Error, "input number: want integer") || status(r, "wrong").Intent != nil {
		t.Errorf("got %q", status(r, "wrong").Error)
	}
}

func TestWhatWasNotPlannedOrApprovedIsNotBegun(t *testing.T) {
	pb := playbook(step("a", "additive"))
	for name, change := range map[string]func(*bench, *incident.Case, *incident.Playbook, *incident.Plan){
		"another case":     func(_ *bench, c *incident.Case, _ *incident.Playbook, _ *incident.Plan) { c.ID = "case-2" },
		"another playbook": func(_ *bench, _ *incident.Case, pb *incident.Playbook, _ *incident.Plan) { pb.Digest = "sha256:other" },
		"another approval": func(b *bench, _ *incident.Case, _ *incident.Playbook, _ *incident.Plan) {
			b.runner.Approved = &incident.Approval{Approved: true, Digest: "sha256:other"}
		},
		"a no": func(b *bench, _ *incident.Case, _ *incident.Playbook, plan *incident.Plan) {
			b.runner.Approved = &incident.Approval{Digest: plan.Digest}
		},
		"an action gone": func(b *bench, _ *incident.Case, _ *incident.Playbook, _ *incident.Plan) {
			delete(b.registry, "fake.additive")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pb, plan, state := pb, b.plan(pb), b.journal.fold(t)
			change(b, &state.Case, &pb, &plan)
			outcome, err := b.runner.Start(t.Context(), state, pb, plan, "run-1")
			var refused *incident.RefusedError
			if outcome != incident.OutcomeRefused || !errors.As(err, &refused) || len(b.journal.entries) != 1 {
				t.Errorf("got %s, %v, %d entries", outcome, err, len(b.journal.entries))
			}
		})
	}
}

func TestTheOrderIsGuardedAgainBeforeTheStep(t *testing.T) {
	b := newBench(t)
	b.world.failures["leave@i-a"] = []string{"apply"}
	leave := step("leave", "leave")
	leave.OnFailure = incident.Continue
	pb := playbook(leave, step("cut", "cut", "leave"))
	r := b.run(pb)
	wantEqual(t, "states", states(r), []string{"leave failed", "cut failed"})
	if s := status(r, "cut"); s.Intent != nil || !strings.Contains(s.Error, "Auto Scaling") {
		t.Errorf("got %+v", s)
	}
	wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"leave succeeded", "cut succeeded"})
}

func TestAnInterruptedStepIsUnknownAndTriedAgainFromItsFirstStateBefore(t *testing.T) {
	b := newBench(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var tries []incident.Request
	b.fake("fake.disruptive").apply = func(ctx context.Context, req incident.Request) (incident.Result, error) {
		tries = append(tries, req)
		if len(tries) > 1 {
			return incident.Result{}, nil
		}
		if err := req.Record(ctx, incident.EntryStepRecord, "half"); err != nil {
			return incident.Result{}, err
		}
		interrupt()
		return incident.Result{}, ctx.Err()
	}
	first := step("a", "disruptive")
	first.With = map[string]incident.Expr{"number": literal(5)}
	pb := playbook(first, step("b", "additive", "a"))
	outcome, err := b.runner.Start(ctx, b.journal.fold(t), pb, b.plan(pb), "run-1")
	if err != nil || outcome != incident.OutcomeInterrupted {
		t.Fatalf("got %s, %v", outcome, err)
	}
	wantEqual(t, "states", states(b.journal.fold(t).Run("run-1")), []string{"a unknown", "b pending"})

	r := b.resume(pb, "run-1")
	wantEqual(t, "states", states(r), []string{"a succeeded", "b succeeded"})
	again := tries[1]
	if !again.Resumed || again.Token != tries[0].Token || len(again.Token) != 32 || len(again.Recorded(incident.EntryStepRecord)) != 1 {
		t.Errorf("tried again with %+v", again)
	}
	if again.Inputs["number"] != int64(5) {
		t.Errorf("number is a %T after the journal", again.Inputs["number"])
	}
	s := status(r, "a")
	if string(s.Intent.Proposal.Before) != `"off"` || s.Tries != 2 || s.Intent.Try != 1 {
		t.Errorf("got %+v", s.Intent)
	}
	i := slices.IndexFunc(b.journal.entries, func(e incident.Entry) bool { return e.Type == incident.EntryStepIntent })
	if first := b.journal.entries[i].Time; !s.Started.Equal(first) {
		t.Errorf("started %s, its first try was at %s", s.Started, first)
	}
}

func TestAnInterruptWhileWaitingLeavesTheQuestionOpen(t *testing.T) {
	b := newBench(t)
	ctx, interrupt := context.WithCancel(t.Context())
	b.runner.Ask = func(ctx context.Context, _ incident.Question) (incident.Approval, error) {
		interrupt()
		<-ctx.Done()
		return incident.Approval{}, ctx.Err()
	}
	pb := playbook(step("a", "disruptive"))
	if outcome, err := b.runner.Start(ctx, b.journal.fold(t), pb, b.plan(pb), "run-1"); err != nil || outcome != incident.OutcomeInterrupted {
		t.Fatalf("got %s, %v", outcome, err)
	}
	wantEqual(t, "states", states(b.journal.fold(t).Run("run-1")), []string{"a pending"})
	b.runner.Ask = yes
	wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"a succeeded"})
}

func TestWhatIsDoneWhenTheInterruptComesStaysDone(t *testing.T) {
	b := newBench(t)
	ctx, interrupt := context.WithCancel(t.Context())
	b.fake("fake.additive").apply = func(context.Context, incident.Request) (incident.Result, error) {
		interrupt()
		return incident.Result{}, nil
	}
	pb := playbook(step("a", "additive"), step("b", "additive", "a"))
	if outcome, err := b.runner.Start(ctx, b.journal.fold(t), pb, b.plan(pb), "run-1"); err != nil || outcome != incident.OutcomeInterrupted {
		t.Fatalf("got %s, %v", outcome, err)
	}
	wantEqual(t, "states", states(b.journal.fold(t).Run("run-1")), []string{"a succeeded", "b pending"})
}

func TestAnApprovalHoldsOverAResume(t *testing.T) {
	b := newBench(t)
	var asked []incident.Question
	b.runner.Ask = questions(&asked)
	pb := playbook(step("a", "disruptive"))
	b.life.dies = b.life.moments + 6 // run.started, step.waiting and approval are committed
	if _, err := b.runner.Start(t.Context(), b.journal.fold(t), pb, b.plan(pb), "run-1"); !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
	b.life.dies, b.life.dead = 0, false
	wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"a succeeded"})
	if len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
}

func TestAStepThatTakesTooLongFails(t *testing.T) {
	b := newBench(t)
	b.fake("fake.additive").apply = func(ctx context.Context, req incident.Request) (incident.Result, error) {
		return incident.Result{}, req.Clock.Sleep(ctx, time.Hour)
	}
	slow := step("a", "additive")
	slow.Timeout = 3 * time.Minute
	pace := step("b", "read-only") // moves the time on
	b.fake("fake.read-only").apply = func(ctx context.Context, req incident.Request) (incident.Result, error) {
		return incident.Result{}, req.Clock.Sleep(ctx, 4*time.Minute)
	}
	pace.Timeout = time.Hour
	r := b.run(playbook(slow, pace))
	wantEqual(t, "states", states(r), []string{"a failed", "b succeeded"})
	if !strings.Contains(status(r, "a").Error, "not done within 3m0s") {
		t.Errorf("got %q", status(r, "a").Error)
	}
}

func TestNothingIsDoneThatTheJournalRefuses(t *testing.T) {
	full := errors.New("disk full")
	for _, kind := range []incident.EntryType{incident.EntryRunStarted, incident.EntryStepWaiting, incident.EntryApproval, incident.EntryStepIntent} {
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t)
			pb := playbook(step("a", "disruptive"), step("b", "disruptive", "a"))
			plan := b.plan(pb)
			b.journal.refuse = func(d incident.Draft) error {
				if d.Type == kind {
					return full
				}
				return nil
			}
			outcome, err := b.runner.Start(t.Context(), b.journal.fold(t), pb, plan, "run-1")
			if outcome != incident.OutcomeInterrupted || !errors.Is(err, full) {
				t.Errorf("got %s, %v", outcome, err)
			}
			if len(b.world.applied) > 0 {
				t.Error("something was done")
			}
		})
	}
}

func TestAnActionRecordsItsOwnKindsOnly(t *testing.T) {
	b := newBench(t)
	b.fake("fake.additive").apply = func(ctx context.Context, req incident.Request) (incident.Result, error) {
		if err := req.Record(ctx, incident.EntryEvidence, map[string]string{"id": "e-1"}); err != nil {
			return incident.Result{}, err
		}
		return incident.Result{}, req.Record(ctx, incident.EntryStepOutcome, incident.StepOutcome{State: incident.Succeeded})
	}
	s := status(b.run(playbook(step("a", "additive"))), "a")
	if s.State != incident.Failed || !strings.Contains(s.Error, "can't record step.outcome") || len(s.Records[incident.EntryEvidence]) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestTheJournalIsAnchoredBeforeAnythingIrreversibleAndAtTheEnd(t *testing.T) {
	b := newBench(t)
	var before []incident.EntryType
	b.runner.Anchor = func(context.Context) error {
		all := b.journal.all()
		before = append(before, all[len(all)-1].Type)
		return errors.New("no bucket")
	}
	r := b.run(playbook(step("a", "irreversible")))
	wantEqual(t, "states", states(r), []string{"a succeeded"})
	wantEqual(t, "last entries", before, []incident.EntryType{incident.EntryApproval, incident.EntryRunEnded})
	if owed := b.journal.fold(t).Owed; owed == nil || owed.Reason != "no bucket" || owed.Size < 6 {
		t.Errorf("owed %+v", owed)
	}
}

func TestAnAnchoredCheckpointSettlesWhatIsOwed(t *testing.T) {
	b := newBench(t)
	for _, d := range []incident.Draft{
		{Type: incident.EntryAnchorOwed, Data: incident.AnchorOwed{Size: 5}},
		{Type: incident.EntryCheckpoint, Data: incident.Checkpoint{Size: 6}},
	} {
		if _, err := b.journal.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if b.journal.fold(t).Owed == nil {
		t.Error("a checkpoint that is anchored nowhere settled it")
	}
	if _, err := b.journal.Append(t.Context(), incident.Draft{Type: incident.EntryCheckpoint, Data: incident.Checkpoint{Size: 6, Location: "s3://b/k"}}); err != nil {
		t.Fatal(err)
	}
	if b.journal.fold(t).Owed != nil {
		t.Error("still owed")
	}
}

func TestReadsAreCountedByStep(t *testing.T) {
	b := newBench(t)
	b.runner.Reads = func(run, step, target string) map[string]int {
		if run != "run-1" || target != targetA.String() || step != "a" {
			return nil
		}
		return map[string]int{"ec2:DescribeInstances": 2}
	}
	r := b.run(playbook(step("a", "additive"), step("b", "additive")))
	if status(r, "a").Reads["ec2:DescribeInstances"] != 2 || status(r, "b").Reads != nil {
		t.Errorf("got %v, %v", status(r, "a").Reads, status(r, "b").Reads)
	}
}

func TestProgressNamesItsStep(t *testing.T) {
	b := newBench(t)
	var got incident.Progress
	b.runner.Progress = func(p incident.Progress) { got = p }
	b.fake("fake.additive").apply = func(_ context.Context, req incident.Request) (incident.Result, error) {
		req.Progress(incident.Progress{What: "upload", Done: 1, Total: 2, Unit: "bytes"})
		return incident.Result{}, nil
	}
	b.run(playbook(step("a", "additive")))
	want := incident.Progress{Run: "run-1", Step: "a", Target: targetA.String(), What: "upload", Done: 1, Total: 2, Unit: "bytes"}
	if got != want {
		t.Errorf("got %+v", got)
	}
}

func TestARunThatSucceededIsNotResumed(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("a", "additive"))
	b.run(pb)
	var refused *incident.RefusedError
	if _, err := b.runner.Resume(t.Context(), b.journal.fold(t), "run-1", pb); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	var input *incident.InputError
	if _, err := b.runner.Resume(t.Context(), b.journal.fold(t), "run-9", pb); !errors.As(err, &input) {
		t.Errorf("got %v", err)
	}
}

func TestTheLiveStateIsTheFold(t *testing.T) {
	b := newBench(t)
	b.world.failures["b@i-a"] = []string{"apply"}
	pb := playbook(step("a", "additive"), step("b", "disruptive", "a"), step("c", "additive", "b"))
	b.run(pb, targetA, targetB)
	s := b.journal.fold(t)
	if _, err := b.runner.Resume(t.Context(), s, "run-1", pb); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, b.journal.fold(t)) {
		t.Error("the state after a resume is not the fold of the journal")
	}
}

func TestAResumeTakesAFalseConditionAsSettledAndKeepsTypes(t *testing.T) {
	b := newBench(t)
	asked := 0
	no := step("no", "additive", "first")
	when := expr("${{ changing }}", func(incident.Scope) (any, error) {
		asked++
		return asked > 1, nil
	}, "first")
	no.When = &when
	var number any
	b.fake("fake.read-only").plan = func(req incident.Request, _ *incident.Proposal) error {
		number = req.Inputs["number"]
		return nil
	}
	last := step("last", "read-only", "bad")
	last.With = map[string]incident.Expr{"number": literal(5)}
	pb := playbook(step("first", "additive"), no, step("bad", "additive", "no"), last)
	b.world.failures["bad@i-a"] = []string{"apply"}
	b.run(pb)
	wantEqual(t, "states", states(b.resume(pb, "run-1")), []string{"first succeeded", "no skipped", "bad succeeded", "last succeeded"})
	if number != int64(5) {
		t.Errorf("a pending step's number is a %T after the journal", number)
	}
}

func TestARefusalOfTheJournalStopsWhatIsUnderWay(t *testing.T) {
	b := newBench(t)
	full := errors.New("disk full")
	underWay := make(chan struct{})
	b.fake("fake.additive").apply = func(ctx context.Context, _ incident.Request) (incident.Result, error) {
		close(underWay)
		<-ctx.Done()
		return incident.Result{}, context.Cause(ctx)
	}
	b.journal.refuse = func(d incident.Draft) error {
		if d.Step == "b" && d.Type == incident.EntryStepIntent {
			return full
		}
		return nil
	}
	pb := playbook(step("a", "additive"), step("b", "read-only", "x"), step("x", "read-only"))
	b.fake("fake.read-only").apply = func(context.Context, incident.Request) (incident.Result, error) {
		<-underWay
		return incident.Result{}, nil
	}
	if _, err := b.runner.Start(t.Context(), b.journal.fold(t), pb, b.plan(pb), "run-1"); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	s := b.journal.fold(t)
	s.Abandon()
	wantEqual(t, "states", states(s.Run("run-1")), []string{"a unknown", "x succeeded", "b pending"})
}

func TestAStepThatMayHaveHappenedIsNeverCalledSkipped(t *testing.T) {
	b := newBench(t)
	b.world.failures["late@i-a"] = []string{"verify"}
	first, late := step("first", "additive"), step("late", "additive", "first")
	first.OnFailure = incident.Continue
	b.world.failures["first@i-a"] = []string{"apply"}
	pb := playbook(first, late, step("last", "additive", "late"))
	wantEqual(t, "states", states(b.run(pb)), []string{"first failed", "late failed", "last skipped"})

	// Changing the first step's rule stands in for a third step that stops the
	// target on the resume while late, already tried, waits for the first.
	b.world.failures["first@i-a"] = []string{"apply"}
	stopping := b.journal.fold(t)
	stopping.Run("run-1").Plan.Steps[0].OnFailure = incident.Stop
	if _, err := b.runner.Resume(t.Context(), stopping, "run-1", pb); err != nil {
		t.Fatal(err)
	}
	r := b.journal.fold(t).Run("run-1")
	wantEqual(t, "states", states(r), []string{"first failed", "late failed", "last skipped"})
	if s := status(r, "late"); s.Tries != 1 || s.Result.Outputs == nil {
		t.Errorf("got %+v", s)
	}
}

func TestNothingLiesBetweenTheReadingAndTheAct(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	one, two := step("one", "additive"), step("two", "additive")
	one.With = map[string]incident.Expr{"switch": literal("shared")}
	two.With = one.With
	r := b.run(playbook(one, two)) // side by side, at one place
	seen := []string{string(status(r, "one").Intent.Proposal.Before), string(status(r, "two").Intent.Proposal.Before)}
	slices.Sort(seen)
	wantEqual(t, "states before", seen, []string{`"off"`, `"on"`})
}

// Whoever watches a target that is contained does not hold the places of those that are not.
func TestWhatComesAfterTheCutLeavesPlacesForTheOthers(t *testing.T) {
	synctest.Test(t, whatComesAfterTheCut) // which tells where all wait for each other
}

func whatComesAfterTheCut(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 4
	const fleet = 12
	var cut atomic.Int32
	allCut := make(chan struct{})
	b.fake("fake.cut").apply = func(context.Context, incident.Request) (incident.Result, error) {
		if cut.Add(1) == fleet {
			close(allCut)
		}
		return incident.Result{}, nil
	}
	b.fake("fake.read-only").apply = func(context.Context, incident.Request) (incident.Result, error) {
		<-allCut
		return incident.Result{}, nil
	}
	var targets []incident.Target
	for n := range fleet {
		targets = append(targets, incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: fmt.Sprintf("i-%d", n)})
	}
	watch := step("watch", "read-only", "cut")
	watch.Timeout = time.Hour // every entry takes a second here, and a watch may see those of all the others
	r := b.run(playbook(step("leave", "leave"), step("cut", "cut", "leave"), watch), targets...)
	if r.Outcome != incident.OutcomeSucceeded {
		t.Errorf("got %s: %s", r.Outcome, r.Error)
	}
}
