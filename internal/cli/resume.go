package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/playbooks"
)

func newResume(g *globals) *cobra.Command {
	var caseID string
	var parallel int
	cmd := &cobra.Command{
		Use:   "resume --case ID [RUN]",
		Short: "Go on with a run after a crash, an interrupt or a failure",
		Long: `Goes on with the newest run that has not succeeded, or the one named. Steps that
succeeded stay; steps whose outcome is unknown are applied again from the journaled
before-state, which ends in the same state; approvals that were given hold.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			run := ""
			if len(args) == 1 {
				run = args[0]
			}
			return runResume(cmd.Context(), g, caseID, run, parallel)
		},
	}
	cmd.Flags().StringVar(&caseID, "case", "", "the case (required)")
	cmd.Flags().IntVar(&parallel, "max-parallel", 0, "steps at once (0: as many as is sensible)")
	return cmd
}

func runResume(ctx context.Context, g *globals, caseID, run string, parallel int) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	j, err := w.hold(ctx, caseID)
	if err != nil {
		return err
	}
	return errors.Join(w.resume(ctx, j, run, parallel), j.Close())
}

func (w *workspace) resume(ctx context.Context, j *journal.Journal, id string, parallel int) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	run := r.unfinished()
	if id != "" {
		if run = r.state.Run(id); run == nil {
			return usagef("case %s has no run %s", j.Case().ID, id)
		}
	}
	if run == nil || run.Outcome == incident.OutcomeSucceeded {
		if err := w.catchUp(ctx, j, r); err != nil {
			return err
		}
		fmt.Fprintf(w.g.err, "case %s: nothing to resume\n", j.Case().ID)
		return nil
	}
	var pb incident.Playbook
	if run.Kind == incident.KindRun {
		all, err := specs()
		if err != nil {
			return err
		}
		if pb, err = playbooks.Parse(run.Plan.Playbook, []byte(run.Source), all); err != nil {
			return fmt.Errorf("run %s: the journaled playbook can't be used by this version: %w", run.ID, err)
		}
	}
	e, err := w.engine(j, j.Case())
	if err != nil {
		return err
	}
	x := &execution{w: w, j: j, engine: e, run: run.ID, parallel: parallel}
	if w.g.yes {
		x.approved = &incident.Approval{Approved: true, Digest: run.Plan.Digest, By: journal.Self(), How: incident.HowYes}
	}
	return x.do(ctx, func(ctx context.Context, runner *incident.Runner) (incident.Outcome, error) {
		return runner.Resume(ctx, r.state, run.ID, pb)
	})
}

// catchUp anchors the end of a run whose process died, or could not reach the
// evidence store, before the checkpoint was there.
func (w *workspace) catchUp(ctx context.Context, j *journal.Journal, r *record) error {
	owed := false
	for _, e := range r.entries {
		switch e.Type {
		case incident.EntryRunEnded:
			owed = true
		case incident.EntryCheckpoint:
			owed = false
		}
	}
	if !owed {
		return nil
	}
	run := r.state.Runs[len(r.state.Runs)-1].ID
	if err := w.anchor(ctx, j, w.access(j, j.Case().ID), run); err != nil {
		return fmt.Errorf("anchoring the journal in the evidence store: %w", err)
	}
	fmt.Fprintf(w.g.err, "case %s: the journal is anchored in the evidence store\n", j.Case().ID)
	return nil
}
