package incident_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestNamesNobodyKnowsPanic(t *testing.T) {
	for name, text := range map[string]func() string{
		"state":  func() string { return incident.StepState(99).String() },
		"impact": func() string { return incident.Impact(-1).String() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("an unknown %s has a name", name)
				}
			}()
			_ = text()
		}()
	}
}

func TestAnEntryThatContradictsTheOnesBeforeIsAnError(t *testing.T) {
	b := newBench(t)
	b.run(playbook(step("a", "additive")))
	for name, tc := range map[string]struct {
		entry incident.Entry
		want  string
	}{
		"a run nobody started":  {incident.Entry{Type: incident.EntryRunEnded, Run: "run-9"}, "run run-9 was never started"},
		"a run started twice":   {incident.Entry{Type: incident.EntryRunStarted, Run: "run-1"}, "started before"},
		"a step of no plan":     {incident.Entry{Type: incident.EntryStepIntent, Run: "run-1", Step: "z", Target: targetA.String()}, "has no step z"},
		"another plan approved": {incident.Entry{Type: incident.EntryApproval, Run: "run-1", Data: []byte(`{"approved":true,"digest":"sha256:other"}`)}, "sha256:other"},
		"not JSON":              {incident.Entry{Type: incident.EntryRunEnded, Run: "run-1", Data: []byte(`{`)}, "unexpected end"},
	} {
		err := b.journal.fold(t).Add(tc.entry)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := b.journal.fold(t).Add(incident.Entry{Type: incident.EntryNote, Data: []byte(`{"text":"seen"}`)}); err != nil {
		t.Errorf("a note by hand: %v", err)
	}
}

func TestACallWithoutAnAnswerIsLost(t *testing.T) {
	b := newBench(t)
	b.run(playbook(step("a", "additive")))
	for _, d := range []incident.Draft{
		{Type: incident.EntryCallIntent, Data: incident.CallIntent{Call: "1", Operation: "CreateSnapshots"}},
		{Type: incident.EntryCallIntent, Data: incident.CallIntent{Call: "2", Operation: "CreateTags"}},
		{Type: incident.EntryCallResult, Data: incident.CallResult{Call: "1"}},
	} {
		d.Run, d.Step, d.Target = "run-1", "a", targetA.String()
		if _, err := b.journal.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	lost := status(b.journal.fold(t).Run("run-1"), "a").LostCalls
	if len(lost) != 1 || lost[0].Operation != "CreateTags" {
		t.Errorf("got %+v", lost)
	}
}

func TestWhatADeadHolderWasAtIsUnknown(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("a", "additive"))
	b.life.dies = b.life.moments + 5 // before the effect of a
	if _, err := b.runner.Start(t.Context(), b.journal.fold(t), pb, b.plan(pb), "run-1"); err == nil {
		t.Fatal("survived")
	}
	s := b.journal.fold(t)
	wantEqual(t, "states while its holder may live", states(s.Run("run-1")), []string{"a running"})
	s.Abandon()
	wantEqual(t, "states", states(s.Run("run-1")), []string{"a unknown"})
}

func TestTheSummaryTellsWhenTheLastTargetWasContained(t *testing.T) {
	b := newBench(t)
	b.runner.MaxParallel = 1
	pb := playbook(step("leave", "leave"), step("cut", "cut", "leave"), step("after", "additive", "cut"))
	r := b.run(pb, targetA, targetB)
	var last time.Time
	for _, target := range []incident.Target{targetA, targetB} {
		if ended := r.Steps[incident.StepKey{Target: target, ID: "cut"}].Ended; ended.After(last) {
			last = ended
		}
	}
	sum := r.Summary()
	if sum.ContainedAfter == nil || *sum.ContainedAfter != last.Sub(r.Started).Seconds() {
		t.Errorf("contained after %v", sum.ContainedAfter)
	}
	if len(sum.ResidualExposure) != 1 || len(sum.Steps) != 6 || !sum.Rehearsal {
		t.Errorf("got %+v", sum)
	}

	b = newBench(t)
	b.world.failures["cut@i-b"] = []string{"apply"}
	sum = b.run(pb, targetA, targetB).Summary()
	if sum.ContainedAfter != nil || sum.Outcome != incident.OutcomeFailed {
		t.Errorf("one target is open, and yet contained after %v, %s", *sum.ContainedAfter, sum.Outcome)
	}
}

// What took how long is the same wherever in a run the clock was set, and by how much.
func TestASetClockChangesNoDuration(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("leave", "leave"), step("cut", "cut", "leave"), step("after", "additive", "cut"))
	want := b.run(pb)
	entries := b.journal.all()
	for _, by := range []time.Duration{-time.Hour, -3 * time.Second, 90 * time.Minute} {
		for at := range entries[2:] {
			s := incident.NewState()
			add := func(e incident.Entry) {
				if err := s.Add(e); err != nil {
					t.Fatal(err)
				}
			}
			for i, e := range entries {
				if i == at+2 {
					data, err := json.Marshal(incident.ClockSet{By: by.Seconds()})
					must(t, err)
					add(incident.Entry{Type: incident.EntryClockSet, Time: e.Time.Add(by), Data: data})
				}
				if i >= at+2 {
					e.Time = e.Time.Add(by)
				}
				add(e)
			}
			r := s.Run(want.ID)
			if after := r.ContainedAfter(); after == nil || *after != *want.ContainedAfter() || r.Took != want.Took {
				t.Errorf("set by %s at entry %d: contained after %v, took %s; want %v, %s", by, at+2, after, r.Took, *want.ContainedAfter(), want.Took)
			}
			for key, status := range r.Steps {
				if w := want.Steps[key]; status.EndedAfter-status.StartedAfter != w.Ended.Sub(w.Started) {
					t.Errorf("set by %s at entry %d: %s took %s, want %s", by, at+2, key, status.EndedAfter-status.StartedAfter, w.Ended.Sub(w.Started))
				}
			}
		}
	}
}

func TestTheSummaryHasTheDocumentedNames(t *testing.T) {
	b := newBench(t)
	j, err := json.Marshal(b.run(playbook(step("a", "additive"))).Summary())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(j, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"type", "case", "run", "playbook", "digest", "rehearsal", "outcome", "steps", "contained_after_s", "evidence", "clean_room", "journal", "residual_exposure",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s in %s", name, j)
		}
	}
	if got["contained_after_s"] != nil || got["type"] != "summary" || got["outcome"] != "succeeded" {
		t.Errorf("got %s", j)
	}
}
