package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// shownItem is what evidence show --output json prints.
type shownItem struct {
	evidence.Item
	Rehearsal bool `json:"rehearsal"`
	// RetentionLeft in seconds; 0 where nothing keeps it, or no longer.
	RetentionLeft int64            `json:"retention_left_s"`
	LegalHold     bool             `json:"legal_hold"` // by the last custody event
	Verified      *evidence.Event  `json:"last_verification"`
	Custody       []evidence.Event `json:"custody"`
}

func newEvidenceShow(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "show --case ID ITEM", Short: "Show an item and its custody", Args: exactArgs("ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, r, err := g.look(cmd.Context(), caseID)
			if err != nil {
				return err
			}
			item, ok := r.custody.Item(args[0])
			if !ok {
				return incident.WithHint(usagef("case %s has no evidence item %s", caseID, args[0]), "'cordon evidence list --case "+caseID+"' shows them")
			}
			return g.printItem(r.shown(item, w.clock.Now()))
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

func (r *record) shown(item evidence.Item, now time.Time) shownItem {
	s := shownItem{
		Item: item, Rehearsal: r.state.Case.Rehearsal, LegalHold: r.custody.Held(item.ID), Custody: r.custody.EventsOf(item.ID),
		RetentionLeft: max(0, int64(item.RetainUntil.Sub(now).Seconds())),
	}
	if e, ok := r.custody.LastVerification(item.ID); ok {
		s.Verified = &e
	}
	return s
}

func (g *globals) printItem(s shownItem) error {
	if g.output == "json" {
		return g.printJSON(s)
	}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "%s%s\n", banner(s.Rehearsal), s.ID)
	line("kind", string(s.Kind))
	line("source", s.Source)
	line("location", s.Location)
	line("bytes", bytesOf(s.Item))
	line("sha256", s.SHA256)
	if s.ContentBytes > 0 {
		line("content", amount(s.ContentBytes, "bytes"))
		line("its sha256", s.ContentSHA256)
		line("its root", s.ContentRoot)
	}
	line("acquired", s.Acquired.Format(time.RFC3339))
	left := ""
	if s.RetentionLeft > 0 {
		left = fmt.Sprintf(", %.1f days left", (time.Duration(s.RetentionLeft)*time.Second).Hours()/24)
	}
	line("kept until", retention(s.Item)+left)
	line("legal hold", onOff(s.LegalHold))
	if s.Verified != nil {
		line("verified", fmt.Sprintf("%s by %s: %s", s.Verified.Time.Format(time.RFC3339), s.Verified.By, s.Verified.Detail))
	}
	for _, n := range s.Notes {
		line("note", n)
	}
	b.WriteString("custody:\n")
	for _, e := range s.Custody {
		b.WriteString("  " + custodyText(e) + "\n")
	}
	_, err := fmt.Fprint(g.out, b.String())
	return err
}

// custodyText is one line for a person.
func custodyText(e evidence.Event) string {
	text := fmt.Sprintf("%s  %-11s %s", e.Time.Format(time.RFC3339), e.Event, e.By)
	if e.To != "" {
		text += " to " + e.To
	}
	for _, s := range []string{e.Reason, e.Detail} {
		if s != "" {
			text += "; " + s
		}
	}
	return text
}

// lastVerified is when, and with what result, in a word.
func lastVerified(c *evidence.Custody, id string) string {
	e, ok := c.LastVerification(id)
	if !ok {
		return "never"
	}
	state, _, _ := strings.Cut(e.Detail, ":")
	if state == evidence.StateVerified {
		return e.Time.Format(time.RFC3339)
	}
	return state + " " + e.Time.Format(time.RFC3339)
}
