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

type resumeOptions struct {
	caseID   string
	run      string // empty: the newest that has not succeeded
	parallel uint16
	wait     bool
}

func newResume(g *globals) *cobra.Command {
	var o resumeOptions
	cmd := &cobra.Command{
		Use:   "resume --case ID [RUN]",
		Short: "Go on with a run after a crash, an interrupt or a failure",
		Long: `Goes on with the newest run that has not succeeded, or the one named. Steps that
succeeded stay; steps whose outcome is unknown are applied again from the journaled
before-state, which ends in the same state; approvals that were given hold.`,
		Args: atMostOne("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.run = args[0]
			}
			return runResume(cmd.Context(), g, o)
		},
	}
	addCaseFlag(cmd, &o.caseID)
	addWaitFlag(cmd, &o.wait)
	addParallelFlag(cmd, &o.parallel)
	return cmd
}

func runResume(ctx context.Context, g *globals, o resumeOptions) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	j, err := w.hold(ctx, o.caseID)
	if err != nil {
		return err
	}
	return errors.Join(w.resume(ctx, j, o), j.Close())
}

func (w *workspace) resume(ctx context.Context, j *journal.Journal, o resumeOptions) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	run := r.unfinished()
	if o.run != "" {
		if run = r.state.Run(o.run); run == nil {
			return incident.WithHint(usagef("case %s has no run %s", j.Case().ID, o.run), "'cordon case show "+j.Case().ID+"' shows its runs")
		}
	}
	if run == nil || run.Finished() {
		if err := w.catchUp(ctx, j, r); err != nil {
			return err
		}
		fmt.Fprintf(w.g.err, "%scase %s: nothing to resume\n", banner(j.Case().Rehearsal), j.Case().ID)
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
	e, err := w.engine(w.appender(j), j.Case())
	if err != nil {
		return err
	}
	x := &execution{w: w, j: j, engine: e, run: run.ID, parallel: o.parallel, waits: o.wait, plan: run.Plan, again: again(run.Plan, run.Plan.Playbook, pb)}
	if w.g.yes {
		x.approved = &incident.Approval{Approved: true, Digest: run.Plan.Digest, By: journal.Self(), How: incident.HowYes}
	}
	return x.do(ctx, func(ctx context.Context, runner *incident.Runner) (incident.Outcome, error) {
		return runner.Resume(ctx, r.state, run.ID, pb)
	})
}

// catchUp anchors the end of a run whose process died, or could not reach the
// evidence store, before the checkpoint was there. Without a store there is
// nothing to catch up with: the journal says that an anchor is owed.
func (w *workspace) catchUp(ctx context.Context, j *journal.Journal, r *record) error {
	if !w.hasStore() {
		return nil
	}
	owed := false
	for _, e := range r.entries {
		switch e.Type {
		case incident.EntryRunEnded, incident.EntryAnchorOwed:
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
	fmt.Fprintf(w.g.err, "%scase %s: the journal is anchored in the evidence store\n", banner(j.Case().Rehearsal), j.Case().ID)
	return nil
}
