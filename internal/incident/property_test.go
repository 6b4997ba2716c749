package incident_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
)

// scenario is a random graph with random failures.
type scenario struct {
	playbook incident.Playbook
	targets  []incident.Target
	failures map[string][]string
	parallel int
	whole    bool // approved as a whole
	retries  bool // somebody has whatever fails tried again, as far as the run lets him
}

func drawScenario(t *rapid.T) scenario {
	s := scenario{
		targets: []incident.Target{targetA, targetB}[:rapid.IntRange(1, 2).Draw(t, "targets")], failures: make(map[string][]string),
		parallel: rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "parallel"), whole: rapid.Bool().Draw(t, "approved as a whole"),
		retries: rapid.Bool().Draw(t, "retries"),
	}
	var steps []incident.Step
	for i := range rapid.IntRange(1, 5).Draw(t, "steps") {
		st := step(fmt.Sprint("s", i), rapid.SampledFrom([]string{"read-only", "additive", "disruptive", "irreversible", "plain"}).Draw(t, "action"))
		for _, earlier := range steps {
			if rapid.Bool().Draw(t, "needs") {
				st.Needs = append(st.Needs, earlier.ID)
			}
		}
		st.OnFailure = rapid.SampledFrom([]incident.OnFailure{incident.Stop, incident.Continue}).Draw(t, "on failure")
		st.Approval = rapid.SampledFrom([]incident.ApprovalRule{incident.ApprovalAuto, incident.ApprovalRequired, incident.ApprovalNone}).Draw(t, "approval")
		drawExpression(t, &st)
		for _, target := range s.targets {
			s.failures[st.ID+"@"+target.Instance] = rapid.SliceOfN(rapid.SampledFrom([]string{"plan", "apply", "verify"}), 0, 2).Draw(t, "failures")
		}
		steps = append(steps, st)
	}
	s.playbook = playbook(steps...)
	return s
}

// drawExpression may give the step an input that the first step leaves behind,
// or a condition that turns out false. The first step always runs.
func drawExpression(t *rapid.T, st *incident.Step) {
	if !slices.Contains(st.Needs, "s0") {
		return
	}
	count := func(s incident.Scope) (any, error) {
		if n, ok := s.Steps["s0"].Outputs["count"]; ok {
			return n, nil
		}
		return nil, errors.New("step s0 has no output count")
	}
	switch rapid.SampledFrom([]string{"none", "input", "condition"}).Draw(t, "expression") {
	case "input":
		st.With = map[string]incident.Expr{"number": expr("${{ steps.s0.outputs.count }}", count, "s0")}
	case "condition":
		e := expr("${{ steps.s0.outputs.count == 4 }}", func(s incident.Scope) (any, error) {
			n, err := count(s)
			return n == int64(4), err
		}, "s0")
		st.When = &e
	}
}

// play executes the scenario, killed at these moments (counted from the life
// before), until the run has succeeded.
func play(t tester, s scenario, deaths ...int) *bench {
	b := newBench(t)
	for k, f := range s.failures {
		b.world.failures[k] = slices.Clone(f)
	}
	b.runner.MaxParallel = s.parallel
	plan := b.plan(s.playbook, s.targets...)
	if s.whole {
		b.runner.Approved = &incident.Approval{Approved: true, Digest: plan.Digest, How: "--digest", By: "analyst@desk"}
	}
	for round := 0; ; round++ {
		b.life.dead, b.life.dies = false, 0
		if round < len(deaths) {
			b.life.dies = b.life.moments + deaths[round]
		}
		stop := func() {}
		if s.retries {
			stop = b.retryAll()
		}
		outcome, err := b.proceed(s.playbook, plan)
		stop()
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if err == nil && outcome == incident.OutcomeSucceeded {
			return b
		}
		if round > 20 {
			t.Fatalf("never succeeds: %s %v", outcome, err)
		}
	}
}

// retryAll asks for another try of each step that fails, until it is called.
func (b *bench) retryAll() (stop func()) {
	var asked sync.WaitGroup
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	b.journal.seen = func(e incident.Entry) {
		if e.Type == incident.EntryStepOutcome {
			asked.Go(func() { _ = b.runner.Retry(e.Step+"@"+e.Target, incident.Retrying{By: "lead@desk"}) }) // most are refused
		}
	}
	return func() {
		b.journal.mu.Lock()
		b.journal.seen = nil
		b.journal.mu.Unlock()
		asked.Wait()
	}
}

// proceed starts the run or, where the journal knows it, resumes it.
func (b *bench) proceed(pb incident.Playbook, plan incident.Plan) (incident.Outcome, error) {
	s := b.journal.fold(b.t)
	switch r := s.Run("run-1"); {
	case r == nil:
		return b.runner.Start(b.t.Context(), s, pb, plan, "run-1")
	case r.Outcome == incident.OutcomeSucceeded: // killed once that was committed
		return r.Outcome, nil
	}
	outcome, err := b.runner.Resume(b.t.Context(), s, "run-1", pb)
	if err == nil && !reflect.DeepEqual(s, b.journal.fold(b.t)) {
		b.t.Errorf("the state after a resume is not the fold of the journal")
	}
	return outcome, err
}

func TestKilledAtAnyMomentARunEndsAsIfUndisturbed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t)
		calm := play(t, s)
		checkRules(t, s, calm)
		for range 5 {
			moment := rapid.IntRange(1, calm.life.moments).Draw(t, "killed at")
			checkKilled(t, s, calm, moment, rapid.IntRange(1, 20).Draw(t, "and again at"))
		}
	})
}

func TestKilledAtEveryMomentARunEndsAsIfUndisturbed(t *testing.T) {
	use := step("use", "additive", "snap")
	use.With = map[string]incident.Expr{"number": expr("${{ steps.snap.outputs.count }}", func(s incident.Scope) (any, error) {
		return s.Steps["snap"].Outputs["count"], nil
	}, "snap")}
	for _, parallel := range []int{1, 8} {
		s := scenario{
			playbook: playbook(step("protect", "additive"), step("leave", "leave", "protect"), step("cut", "cut", "leave"),
				step("snap", "plain", "protect"), use, step("lock", "irreversible", "use", "cut")),
			targets: []incident.Target{targetA, targetB}, parallel: parallel,
			failures: map[string][]string{"leave@i-a": {"verify"}, "snap@i-b": {"apply", "plan"}},
		}
		calm := play(t, s)
		checkRules(t, s, calm)
		for moment := 1; moment <= calm.life.moments; moment++ {
			checkKilled(t, s, calm, moment)
		}
	}
}

func checkKilled(t tester, s scenario, calm *bench, deaths ...int) {
	t.Helper()
	b := play(t, s, deaths...)
	checkRules(t, s, b)
	if !maps.Equal(b.world.switches, calm.world.switches) {
		t.Fatalf("killed at %d: the world is %v, undisturbed %v", deaths, b.world.switches, calm.world.switches)
	}
	if got, want := states(b.journal.fold(t).Run("run-1")), states(calm.journal.fold(t).Run("run-1")); !slices.Equal(got, want) {
		t.Fatalf("killed at %d: %v, undisturbed %v", deaths, got, want)
	}
}

// checkRules reads the journal from its start and holds every intent to the rules.
func checkRules(t tester, s scenario, b *bench) {
	state := incident.NewState()
	for _, e := range b.journal.all() {
		if e.Type == incident.EntryStepIntent {
			checkIntent(t, s, state.Run(e.Run), e)
		}
		if err := state.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	run := state.Run("run-1")
	for _, st := range run.Plan.Steps {
		status := run.Steps[st.Key()]
		if status.State != incident.Succeeded {
			continue
		}
		if n := b.world.effects[status.Intent.Token]; n != 1 {
			t.Fatalf("%s happened %d times", st.Key(), n)
		}
	}
	if len(b.world.effects) != len(b.world.applied) {
		t.Fatalf("%d effects by %d tokens", len(b.world.applied), len(b.world.effects))
	}
}

func checkIntent(t tester, s scenario, run *incident.RunState, e incident.Entry) {
	var intent incident.StepIntent
	if err := json.Unmarshal(e.Data, &intent); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.playbook.Steps, func(st incident.Step) bool { return st.ID == e.Step })
	st := s.playbook.Steps[i]
	target, err := incident.ParseTarget(e.Target)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range st.Needs {
		j := slices.IndexFunc(s.playbook.Steps, func(st incident.Step) bool { return st.ID == id })
		switch need := run.Steps[incident.StepKey{Target: target, ID: id}]; {
		case need.State == incident.Succeeded:
		case need.State == incident.Skipped && need.Outcome.Skip == incident.SkipCondition:
		case need.State == incident.Failed && s.playbook.Steps[j].OnFailure == incident.Continue:
		default:
			t.Fatalf("entry %d: %s was begun while %s, which it needs, was %s", e.Seq, e.Step, id, need.State)
		}
	}
	asks := st.Approval == incident.ApprovalRequired || st.Approval == incident.ApprovalAuto && intent.Proposal.Impact >= incident.Disruptive
	status := run.Steps[incident.StepKey{Target: target, ID: e.Step}]
	if stepwise := status.Approval != nil && status.Approval.Approved; asks && !stepwise && run.Approved == nil {
		t.Fatalf("entry %d: %s was begun without an approval", e.Seq, e.Step)
	}
	if string(intent.Proposal.Before) != `"off"` {
		t.Fatalf("entry %d: %s would restore %s", e.Seq, e.Step, intent.Proposal.Before)
	}
}
