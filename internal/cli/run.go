package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

type runOptions struct {
	planOptions
	digest   string
	parallel uint16
	wait     bool
}

func newRun(g *globals) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run NAME --case ID TARGETS",
		Short: "Plan, approve and execute a playbook",
		Long: `Plans the playbook, asks for what is disruptive or can't be undone, and executes it.

On a terminal it shows the plan and asks once. Without a terminal, say yes
beforehand: --yes, or --digest with the digest that 'cordon plan' printed and you
have looked at; or --wait-for-approval, and each step that asks waits for
'cordon approve' from another terminal.`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRun(cmd.Context(), g, args[0], o)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.digest, "digest", "", "approve exactly the plan with this digest")
	addParallelFlag(cmd, &o.parallel)
	addWaitFlag(cmd, &o.wait)
	return cmd
}

func addWaitFlag(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait-for-approval", false, "let steps that ask wait for 'cordon approve'")
}

func addParallelFlag(cmd *cobra.Command, parallel *uint16) {
	cmd.Flags().Uint16Var(parallel, "max-parallel", 0, "steps at once (0: as many as is sensible)")
}

func runRun(ctx context.Context, g *globals, name string, o runOptions) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	j, err := w.hold(ctx, o.caseID)
	if err != nil {
		return err
	}
	return errors.Join(w.startRun(ctx, j, name, o), j.Close())
}

// startRun plans and executes in a held case. Whatever refuses it before it
// begins is journaled, and nothing else.
func (w *workspace) startRun(ctx context.Context, j *journal.Journal, name string, o runOptions) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	x, pb, plan, err := w.prepare(ctx, j, r, name, o)
	if err != nil {
		return w.refuse(ctx, j, name, err)
	}
	return x.do(ctx, func(ctx context.Context, runner *incident.Runner) (incident.Outcome, error) {
		return runner.Start(ctx, r.state, pb, plan, x.run)
	})
}

// prepare makes the plan and gets it approved.
func (w *workspace) prepare(ctx context.Context, j *journal.Journal, r *record, name string, o runOptions) (*execution, incident.Playbook, incident.Plan, error) {
	var none incident.Plan
	pb, err := loadPlaybook(name)
	if err != nil {
		return nil, pb, none, err
	}
	if r.state.Closed {
		return nil, pb, none, incident.WithHint(usagef("case %s is closed", j.Case().ID), "'cordon case open ID' opens another; release and evidence work in a closed case too")
	}
	plan, e, err := w.plan(ctx, j.Case(), pb, w.appender(j), o.planOptions)
	if err != nil {
		return nil, pb, none, err
	}
	x := &execution{w: w, j: j, engine: e, run: r.newRunID(), parallel: o.parallel, waits: o.wait, plan: plan, again: again(plan, name, pb)}
	if o.permit {
		permissions, err := w.permissions(ctx, e, plan)
		if err == nil {
			err = allPermitted(permissions)
		}
		if err != nil {
			return nil, pb, none, err
		}
	}
	x.approved, err = w.approve(ctx, e, plan, j.Case().Rehearsal, o)
	return x, pb, plan, err
}

// refuse journals why a run was not begun.
func (w *workspace) refuse(ctx context.Context, j *journal.Journal, playbook string, why error) error {
	_, err := j.Append(context.WithoutCancel(ctx), incident.Draft{
		Type: incident.EntryRunRefused, Data: incident.RunRefused{Playbook: playbook, Reason: why.Error()},
	})
	return errors.Join(why, err)
}

// approve finds the answer to the whole plan: from the flags, or from whoever
// sits at the terminal. A nil answer leaves it to each step that asks.
func (w *workspace) approve(ctx context.Context, e *engine, plan incident.Plan, rehearsal bool, o runOptions) (*incident.Approval, error) {
	g := w.g
	yes := func(how string) *incident.Approval {
		return &incident.Approval{Approved: true, Digest: plan.Digest, By: journal.Self(), How: how}
	}
	switch {
	case o.digest != "" && o.digest != plan.Digest:
		return nil, incident.WithHint(fmt.Errorf("%w: the plan is now %s, not %s", errNotApproved, plan.Digest, o.digest),
			"something changed since; look at the plan again")
	case o.digest != "":
		return yes("--digest"), nil
	case g.yes:
		return yes(incident.HowYes), nil
	case o.wait || !asks(plan):
		return nil, nil
	case !g.isTerminal():
		return nil, incident.WithHint(fmt.Errorf("%w: the plan has steps that ask, and there is no terminal", errNotApproved),
			"add --yes, or --digest "+plan.Digest+", or --wait-for-approval")
	}
	permissions, err := w.permissions(ctx, e, plan)
	if err != nil {
		return nil, err
	}
	printPlan(g.onStderr(), plan, rehearsal, permissions)
	answer, err := g.prompt(ctx, "Carry out this plan? yes / step (ask at every step) / no: ")
	switch {
	case err != nil:
		return nil, err
	case answer == "yes" || answer == "y":
		return yes("terminal"), nil
	case answer == "step" || answer == "s":
		return nil, nil
	default:
		return nil, errNotApproved
	}
}

// asks reports whether any step of the plan waits for an approval.
func asks(p incident.Plan) bool {
	return slices.ContainsFunc(p.Steps, func(s incident.StepPlan) bool { return s.Asks && s.Skip == "" })
}
