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
	s.Evidence, s.CleanRoom, s.Journal = s.items, s.rooms, s.journal
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
	s.writeSteps(&b)
	if s.ContainedAfter != nil {
		fmt.Fprintf(&b, "contained: %.1f s after the start\n", *s.ContainedAfter)
	}
	if open := openPaths(s.Cuts); len(s.Cuts) > 0 {
		fmt.Fprintf(&b, "paths: %d cut, %d open\n", len(s.Cuts)-len(open), len(open))
		writeCuts(&b, "  ", open, false)
	}
	for _, x := range s.ResidualExposure {
		fmt.Fprintf(&b, "stays open: %s (%s)\n", x.Path, x.Reason)
	}
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
