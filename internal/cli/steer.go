package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

func newPause(g *globals) *cobra.Command {
	var caseID, reason string
	cmd := &cobra.Command{
		Use: "pause --case ID", Short: "Pause a live run: steps at work finish, no further one begins", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withLive(cmd.Context(), caseID, func(ctx context.Context, c *journal.Client) error { return c.Pause(ctx, reason) })
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func newContinue(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "continue --case ID", Short: "Let a paused run go on", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withLive(cmd.Context(), caseID, func(ctx context.Context, c *journal.Client) error { return c.Continue(ctx) })
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

func newSkip(g *globals) *cobra.Command {
	var caseID, reason string
	cmd := &cobra.Command{
		Use:   "skip --case ID STEP",
		Short: "Leave out a step of a run",
		Long: `Leaves out a step of a live run that has not begun or waits for approval, or, of a run
that is not live, one that failed or did not come to its turn: 'cordon resume' then goes on
without it. STEP is a step's ID, or STEP@ACCOUNT/REGION/INSTANCE where several targets have it.`,
		Args: exactArgs("STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSkip(cmd.Context(), g, caseID, args[0], reason)
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func newRetry(g *globals) *cobra.Command {
	var caseID, reason string
	cmd := &cobra.Command{
		Use:   "retry --case ID STEP",
		Short: "Try a failed step of a live run again",
		Long: `Tries a failed step of a live run once more, and then what its failure had blocked. What was
approved is not asked again unless its changes differ. It is possible as long as something of the run is at work,
or the run is paused; once it has ended, 'cordon resume' tries again what failed. STEP is a step's ID, or
STEP@ACCOUNT/REGION/INSTANCE where several targets have it.`,
		Args: exactArgs("STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := g.withLive(cmd.Context(), caseID, func(ctx context.Context, c *journal.Client) error { return c.Retry(ctx, args[0], reason) })
			if errors.Is(err, journal.ErrNotLive) {
				return incident.WithHint(fmt.Errorf("case %s: %w", caseID, journal.ErrNotLive), "'cordon resume --case "+caseID+"' tries again what failed")
			}
			return err
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

// runSkip goes through the process that holds the case, or holds it itself.
func runSkip(ctx context.Context, g *globals, caseID, step, reason string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	dir, err := w.caseDir(caseID)
	if err != nil {
		return err
	}
	if client, err := journal.Attach(ctx, dir); err == nil {
		return errors.Join(client.Skip(ctx, step, reason), client.Close())
	} else if !errors.Is(err, journal.ErrNotLive) {
		return w.explainCase(caseID, err)
	}
	j, err := w.hold(ctx, caseID)
	if err != nil {
		return err
	}
	return errors.Join(w.skipLater(ctx, j, step, incident.Skipping{By: journal.Self(), Reason: reason}), j.Close())
}

// skipLater journals that a resume shall leave the step out.
func (w *workspace) skipLater(ctx context.Context, j *journal.Journal, step string, s incident.Skipping) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	r.state.Abandon() // we hold the case: nobody else is at it
	run := r.unfinished()
	if run == nil {
		return usagef("case %s has no run to resume: there is nothing to skip in", j.Case().ID)
	}
	draft, err := run.Skip(step, s)
	if err != nil {
		return err
	}
	if _, err := j.Append(ctx, draft); err != nil {
		return err
	}
	fmt.Fprintf(w.g.err, "%s'cordon resume --case %s' goes on with run %s without step %s\n", banner(j.Case().Rehearsal), j.Case().ID, run.ID, draft.Step)
	return nil
}
