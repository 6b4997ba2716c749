package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// runReport is the last object of run --output json (docs/cli.md): the core's
// summary with what only the command line can know.
type runReport struct {
	incident.Summary
	items   []evidence.Item
	rooms   []incident.CleanRoom
	journal journalReport
	// unverified is what is wrong with the journal; nil: nothing.
	unverified error
}

type journalReport struct {
	Entries  uint64 `json:"entries"`
	Head     string `json:"head"`
	Verified bool   `json:"verified"`
	Error    string `json:"error,omitempty"`
}

func newRunReport(ctx context.Context, j *journal.Journal, r *record, run *incident.RunState) (*runReport, error) {
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		return nil, err
	}
	s := &runReport{Summary: run.Summary(), items: r.custody.Items, rooms: rooms}
	s.journal = journalReport{Entries: j.Len(), Head: j.Head()}
	if report, err := journal.Verify(ctx, j.Dir()); err != nil {
		s.journal.Error, s.unverified = err.Error(), err
	} else {
		s.journal = journalReport{Entries: report.Entries, Head: report.Head, Verified: true}
	}
	s.Evidence, s.CleanRoom, s.Journal = append([]evidence.Item{}, s.items...), append([]incident.CleanRoom{}, s.rooms...), s.journal // never null
	return s, nil
}

func (g *globals) printSummary(s *runReport) error {
	if g.output == "json" {
		b, err := json.Marshal(s.Summary)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(g.out, "%s\n", b)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s%s %s of case %s: %s\n", banner(s.Rehearsal), s.Kind, s.Run, s.Case, s.Outcome)
	if len(s.Targets) > many {
		s.writeMany(&b)
	} else {
		s.writeSteps(&b)
		s.writeLeftOut(&b)
	}
	s.writeContained(&b)
	s.writePaths(&b)
	s.writeExposure(&b)
	s.writeEvidence(&b)
	word := "verifies"
	if !s.journal.Verified {
		word = "DOES NOT VERIFY: " + s.journal.Error
	}
	fmt.Fprintf(&b, "journal: %d entries, head %s, %s\n", s.journal.Entries, short("sha256:"+s.journal.Head), word)
	_, err := fmt.Fprint(g.out, b.String())
	return err
}

func (s *runReport) writeSteps(b *strings.Builder) {
	target := ""
	for _, st := range s.Steps {
		if st.Target != target {
			target = st.Target
			fmt.Fprintf(b, "%s\n", target)
		}
		line := fmt.Sprintf("  %-10s %-14s %-24s %s", st.State, st.ID, st.Action, orElse(st.Error, st.Reason))
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
}

// writeMany counts the targets by outcome and lists those that did not succeed.
func (s *runReport) writeMany(b *strings.Builder) {
	var outcomes counted
	var problems []incident.TargetSummary
	for _, t := range s.Targets {
		outcomes.add(orElse(string(t.Outcome), "not ended"))
		if t.Outcome != incident.OutcomeSucceeded {
			problems = append(problems, t)
		}
	}
	fmt.Fprintf(b, "%d targets:", len(s.Targets))
	for i, o := range outcomes.order {
		fmt.Fprintf(b, "%s %d %s", strings.Repeat(",", min(i, 1)), outcomes.times[o], o)
	}
	fmt.Fprintln(b)
	for i, t := range problems {
		if i == listed {
			fmt.Fprintf(b, "  and %d more: --output json lists every target\n", len(problems)-listed)
			return
		}
		writeProblem(b, t)
	}
}

// writeLeftOut lists the targets without steps.
func (s *runReport) writeLeftOut(b *strings.Builder) {
	for _, t := range s.Targets {
		if t.Outcome == incident.OutcomeLeftOut {
			writeProblem(b, t)
		}
	}
}

func writeProblem(b *strings.Builder, t incident.TargetSummary) {
	fmt.Fprintf(b, "  %-11s %s: %s\n", orElse(string(t.Outcome), "not ended"), t.Target, strings.ReplaceAll(t.Error, "\n", "\n              "))
	if t.Hint != "" {
		fmt.Fprintf(b, "              hint: %s\n", t.Hint)
	}
}

// writeContained says when the last target was contained, and where not all
// were, how many are.
func (s *runReport) writeContained(b *strings.Builder) {
	n, last := 0, 0.0
	for _, t := range s.Targets {
		if t.ContainedAfter != nil {
			n, last = n+1, max(last, *t.ContainedAfter)
		}
	}
	switch {
	case n == 0:
	case len(s.Targets) == 1:
		fmt.Fprintf(b, "contained: %.1f s after the start\n", last)
	default:
		fmt.Fprintf(b, "contained: %d of %d, the last %.1f s after the start\n", n, len(s.Targets), last)
	}
}

// writePaths counts the paths: those that are open are told with what stays open.
func (s *runReport) writePaths(b *strings.Builder) {
	if len(s.Cuts) == 0 {
		return
	}
	open := len(openPaths(s.Cuts))
	fmt.Fprintf(b, "paths: %d cut, %d open\n", len(s.Cuts)-open, open)
}

func (s *runReport) writeExposure(b *strings.Builder) {
	for i, x := range s.ResidualExposure {
		if len(s.Targets) > many && i == listed {
			fmt.Fprintf(b, "stays open: %d more: --output json lists each target's\n", len(s.ResidualExposure)-listed)
			return
		}
		fmt.Fprintf(b, "stays open: %s (%s)\n", x.Path, x.Reason)
	}
}

func (s *runReport) writeEvidence(b *strings.Builder) {
	if len(s.items) > 0 {
		fmt.Fprintln(b, "evidence:")
	}
	for _, item := range s.items {
		fmt.Fprintf(b, "  %-12s %s\n", item.Kind, item.Location)
		if item.ContentSHA256 != "" {
			fmt.Fprintf(b, "  %-12s sha256 of the raw image %s, %s\n", "", item.ContentSHA256, amount(item.ContentBytes, "bytes"))
		}
	}
	for _, room := range s.rooms {
		fmt.Fprintf(b, "clean room: %s %s, instance %s, %d volume(s)\n", room.Name, room.Event, room.Instance, len(room.Volumes))
	}
}
