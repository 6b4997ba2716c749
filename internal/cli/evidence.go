package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/evidence"
)

func newEvidence(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "evidence", Short: "Evidence and its custody"}
	cmd.AddCommand(newEvidenceList(g), newEvidenceShow(g), newEvidenceVerify(g), newEvidenceFetch(g),
		newEvidenceHold(g), newEvidenceTransfer(g))
	return cmd
}

func newEvidenceList(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "list --case ID", Short: "List the case's evidence", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, r, err := g.look(cmd.Context(), caseID)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return g.printJSON(r.custody.Manifest(r.state.Case, w.clock.Now()))
			}
			if r.state.Case.Rehearsal {
				fmt.Fprintln(g.out, "REHEARSAL: nothing here is real evidence")
			}
			t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "ITEM\tKIND\tBYTES\tKEPT UNTIL\tHOLD\tVERIFIED\tLOCATION")
			for _, i := range r.custody.Items {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Kind, bytesOf(i), retention(i), onOff(r.custody.Held(i.ID)), lastVerified(r.custody, i.ID), i.Location)
			}
			return t.Flush()
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

func bytesOf(i evidence.Item) string {
	if i.Bytes == 0 {
		return "-"
	}
	return amount(i.Bytes, "bytes")
}

// retention is until when an item is locked, and how. S3 writes the mode in
// capitals, EC2 does not.
func retention(i evidence.Item) string {
	if i.RetainUntil.IsZero() {
		return "not locked"
	}
	return i.RetainUntil.Format(time.RFC3339) + " " + strings.ToLower(i.Mode)
}
