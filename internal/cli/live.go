package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// The commands here reach a live run from another terminal.

func newNote(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "note --case ID TEXT", Short: "Write an observation into the journal", Args: exactArgs("TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error { return runNote(cmd.Context(), g, caseID, args[0]) },
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

// runNote goes through the process that holds the case, or holds it itself.
func runNote(ctx context.Context, g *globals, caseID, text string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	dir, err := w.caseDir(caseID)
	if err != nil {
		return err
	}
	if client, err := journal.Attach(ctx, dir); err == nil {
		return errors.Join(client.Note(ctx, text), client.Close())
	} else if !errors.Is(err, journal.ErrNotLive) {
		return w.explainCase(caseID, err)
	}
	j, err := w.hold(ctx, caseID)
	if err != nil {
		return err
	}
	_, err = j.Append(ctx, incident.Draft{Type: incident.EntryNote, Data: incident.Note{Text: text}})
	return errors.Join(err, j.Close())
}

func newApprove(g *globals) *cobra.Command {
	return newAnswer(g, "approve", "Say yes to a step of a live run that waits for approval", true)
}
func newReject(g *globals) *cobra.Command {
	return newAnswer(g, "reject", "Say no to a step of a live run that waits for approval", false)
}

func newAnswer(g *globals, verb, short string, yes bool) *cobra.Command {
	var caseID, reason string
	cmd := &cobra.Command{
		Use: verb + " --case ID STEP", Short: short, Args: exactArgs("STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withLive(cmd.Context(), caseID, func(ctx context.Context, c *journal.Client) error {
				return c.Approve(ctx, args[0], incident.Approval{Approved: yes, By: journal.Self(), How: "socket", Reason: reason})
			})
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func newInterrupt(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "interrupt --case ID", Short: "Interrupt a live run: the call in flight finishes, and it can be resumed", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withLive(cmd.Context(), caseID, func(ctx context.Context, c *journal.Client) error { return c.Interrupt(ctx) })
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

// withLive talks to the process that holds the case.
func (g *globals) withLive(ctx context.Context, caseID string, f func(context.Context, *journal.Client) error) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	dir, err := w.caseDir(caseID)
	if err != nil {
		return err
	}
	client, err := journal.Attach(ctx, dir)
	if errors.Is(err, journal.ErrNotLive) {
		if _, err := os.Stat(filepath.Join(dir, journal.File)); errors.Is(err, fs.ErrNotExist) {
			return w.explainCase(caseID, journal.ErrNoCase)
		}
		return incident.WithHint(fmt.Errorf("case %s: %w", caseID, journal.ErrNotLive), "'cordon case show "+caseID+"' shows where it stands")
	}
	if err != nil {
		return w.explainCase(caseID, err)
	}
	if err := errors.Join(f(ctx, client), client.Close()); err != nil {
		return fmt.Errorf("case %s: %w", caseID, err)
	}
	return nil
}
