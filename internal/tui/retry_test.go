package tui

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// next is an entry that comes after the others, about the same step as the last intent of this step.
func next(t testing.TB, entries []incident.Entry, step string, kind incident.EntryType, v any) incident.Entry {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(entries, intentOf(step))
	last := entries[len(entries)-1]
	return incident.Entry{
		Seq: last.Seq + 1, Time: last.Time.Add(time.Second), Type: kind, Case: last.Case,
		Run: entries[at].Run, Step: step, Target: entries[at].Target, Actor: "lead@desk", Data: data,
	}
}

// failedNetwork is a run in which the cut was refused while something else is at work.
func failedNetwork(t testing.TB) []incident.Entry {
	t.Helper()
	entries := slices.Clone(until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryStepOutcome && e.Step == "network" }))
	entries = append(entries, next(t, entries, "network", incident.EntryStepOutcome, incident.StepOutcome{
		State: incident.Failed, Error: "UnauthorizedOperation: ec2:ModifyNetworkInterfaceAttribute", Hint: "the role needs this action",
	}))
	return entries
}

func TestAFailedStepOfALiveRunIsTriedAgain(t *testing.T) {
	entries := failedNetwork(t)
	d, run := runDesk(t, feedMsg{entries: entries, live: true})
	run.step = "network"
	d.golden(t, "run-failed")
	d.settle(d.press("r"))
	d.golden(t, "retry")
	d.clock.now = d.clock.now.Add(Grace)
	d.press("esc")
	d.settle(d.press("enter"))
	d.golden(t, "step-failed")
	const line = "cordon --rehearsal training retry --case REHEARSAL-1 network@"
	if got := d.top().screen.Command(); !strings.HasPrefix(got, line) {
		t.Errorf("the same as a command: %s", got)
	}
	d.press("esc")

	again := next(t, entries, "network", incident.EntryStepRetry, incident.StepRetry{By: "lead@desk", Reason: "the policy is mended"})
	run.Update(feedMsg{entries: []incident.Entry{again}, live: true})
	got := d.at(120, 40)
	if !strings.Contains(got, "network is tried again by lead@desk the policy is mended") || strings.Contains(got, "r retry") {
		t.Errorf("after somebody had it tried again:\n%s", got)
	}
	d.settle(d.press("r"))
	if got := d.at(120, 40); !strings.Contains(got, "only a step that failed in a live run") {
		t.Errorf("r once more:\n%s", got)
	}
}

func TestAStepOfARunThatIsNotLiveIsLeftToItsResume(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: failedNetwork(t), gone: true})
	run.step = "network"
	d.settle(d.press("r"))
	if got := d.at(120, 40); !strings.Contains(got, "R resumes the run") || strings.Contains(got, "r retry") {
		t.Errorf("got:\n%s", got)
	}
}

func TestARunFromWhichAWSCantBeReachedSaysSinceWhen(t *testing.T) {
	entries := until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryStepOutcome && e.Step == "network" })
	last := entries[len(entries)-1]
	progress := func(what string, u incident.Unreached) incident.Progress {
		return incident.Progress{Run: last.Run, Step: "network", Target: last.Target, What: what, Unreached: &u}
	}
	const since, later = "ec2:CreateNetworkAclEntry in eu-central-1", "ec2:DescribeNetworkAcls in eu-central-1"
	gone := incident.Unreached{Since: last.Time, Attempts: 3, Error: "dial tcp 198.51.100.7:443: connect: connection refused"}
	afterwards := gone
	afterwards.Since, afterwards.Attempts = last.Time.Add(time.Second), 1

	d, run := runDesk(t, feedMsg{entries: entries, live: true, progress: []incident.Progress{progress(later, afterwards), progress(since, gone)}})
	run.step = "network"
	d.golden(t, "run-unreached")
	gone.Over, afterwards.Over = true, true
	run.Update(feedMsg{live: true, progress: []incident.Progress{progress(since, gone), progress(later, afterwards)}})
	if got := d.at(120, 40); strings.Contains(got, "can't be reached") {
		t.Errorf("once it was answered:\n%s", got)
	}
}
