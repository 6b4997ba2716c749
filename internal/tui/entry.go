package tui

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// data reads what an entry of a known type holds. What this version does not know
// shows as empty; the fold has complained about what it can't read.
func data[T any](e incident.Entry) T {
	var v T
	_ = json.Unmarshal(e.Data, &v)
	return v
}

// entryLine is an entry in one line, without its time and its target.
func entryLine(t *Theme, e incident.Entry) string {
	switch e.Type {
	case incident.EntryCaseOpened:
		return t.Strong.Render("case opened: " + clean(data[incident.Case](e).Title))
	case incident.EntryCaseClosed:
		return t.Strong.Render("case closed: " + clean(data[incident.Note](e).Text))
	case incident.EntryNote:
		return t.Accent.Render("note by "+clean(e.Actor)+": ") + clean(data[incident.Note](e).Text)
	case incident.EntryEvidence:
		i := data[evidence.Item](e)
		return t.Good.Render("evidence ") + clean(i.ID) + t.Dim.Render(" "+clean(i.Location))
	case incident.EntryCustody:
		c := data[evidence.CustodyEvent](e)
		return clean("custody: " + c.Item + " " + c.Event + " " + c.Detail)
	case incident.EntryCleanRoom:
		r := data[incident.CleanRoom](e)
		return clean("clean room " + r.Name + ": " + r.Event)
	case incident.EntryCheckpoint:
		c := data[incident.Checkpoint](e)
		if c.Location == "" {
			return fmt.Sprintf("checkpoint of %d entries", c.Size)
		}
		return fmt.Sprintf("checkpoint of %d entries, anchored", c.Size)
	case incident.EntryClockSet:
		return t.Warn.Render(data[incident.ClockSet](e).String())
	case incident.EntryAnchorOwed:
		return t.Warn.Render("anchor owed: ") + clean(data[incident.AnchorOwed](e).Reason)
	}
	if strings.HasPrefix(string(e.Type), "run.") {
		return runLine(t, e)
	}
	return stepLine(t, e)
}

// runLine is an entry about a run as a whole.
func runLine(t *Theme, e incident.Entry) string {
	switch e.Type {
	case incident.EntryRunStarted:
		s := data[incident.RunStarted](e)
		return t.Strong.Render(clean(fmt.Sprintf("run %s started: %s on %s", e.Run, s.Plan.Playbook, count(len(s.Plan.Targets), "target", "targets"))))
	case incident.EntryRunResumed:
		return t.Strong.Render("run " + clean(e.Run) + " resumed, " + count(len(data[incident.RunResumed](e).Unknown), "step", "steps") + " unknown")
	case incident.EntryRunEnded:
		d := data[incident.RunEnded](e)
		return t.outcome(d.Outcome).Style.Render(clean(fmt.Sprintf("run %s ended: %s %s", e.Run, d.Outcome, d.Error)))
	case incident.EntryRunPaused:
		p := data[incident.RunPaused](e)
		return t.Warn.Render(clean("paused by " + p.By + " " + p.Reason))
	case incident.EntryRunContinued:
		return clean("continued by " + data[incident.RunContinued](e).By)
	case incident.EntryRunRefused:
		return t.Warn.Render("refused: ") + clean(data[incident.RunRefused](e).Reason)
	}
	return clean(string(e.Type))
}

// stepLine is an entry about a step.
func stepLine(t *Theme, e incident.Entry) string {
	who := clean(e.Step)
	if who == "" {
		who = "the run"
	}
	switch e.Type {
	case incident.EntryStepWaiting:
		return t.State(incident.Waiting).Style.Render(t.State(incident.Waiting).Symbol+" "+who) + " waits for approval"
	case incident.EntryApproval:
		a := data[incident.Approval](e)
		word := "rejected"
		if a.Approved {
			word = "approved"
		}
		return t.Strong.Render(who+" "+word) + clean(" by "+a.By+" ("+a.How+") "+a.Reason)
	case incident.EntryStepIntent:
		m := t.State(incident.Running)
		return m.Style.Render(m.Symbol+" "+who) + " " + count(len(data[incident.StepIntent](e).Proposal.Changes), "change", "changes")
	case incident.EntryStepRetry:
		r := data[incident.StepRetry](e)
		return t.Strong.Render(who+" is tried again") + clean(" by "+r.By+" "+r.Reason)
	case incident.EntryStepOutcome:
		o := data[incident.StepOutcome](e)
		m := t.State(o.State)
		return m.Style.Render(m.Symbol+" "+who+" "+m.Word) + " " + clean(o.Error+o.Reason)
	case incident.EntryStepRecord:
		return t.Dim.Render("  " + who + " records how far it is, for a resume")
	case incident.EntryCallIntent:
		c := data[incident.CallIntent](e)
		return t.Dim.Render("  " + t.Arrow() + " " + clean(c.Service+":"+c.Operation) + " for " + who)
	case incident.EntryCallResult:
		return callResultLine(t, data[incident.CallResult](e))
	case incident.EntryCallCount:
		reads := 0
		for _, n := range data[incident.CallCount](e).Reads {
			reads += n
		}
		return t.Dim.Render("  " + who + " has read AWS " + count(reads, "time", "times"))
	}
	return t.Dim.Render("  " + who + " " + clean(string(e.Type)))
}

func callResultLine(t *Theme, c incident.CallResult) string {
	if c.ErrorCode == "" && c.Error == "" {
		return t.Dim.Render("    ok " + clean(c.RequestID))
	}
	return t.Bad.Render("    "+clean(c.ErrorCode)) + " " + clean(c.Error) + t.Dim.Render(" "+clean(c.RequestID))
}

// outcome marks how a run ended; empty: it goes on.
func (t *Theme) outcome(o incident.Outcome) Mark {
	state := map[incident.Outcome]incident.StepState{
		"": incident.Running, incident.OutcomeSucceeded: incident.Succeeded, incident.OutcomeFailed: incident.Failed,
		incident.OutcomeInterrupted: incident.Unknown, incident.OutcomeRefused: incident.Skipped,
	}[o]
	m := t.State(state)
	if o != "" {
		m.Word = string(o)
	}
	return m
}
