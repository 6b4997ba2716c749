package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

type releaseOptions struct {
	selection
	caseID string
	digest string
	force  bool
	wait   bool
	plan   bool
}

func newRelease(g *globals) *cobra.Command {
	var o releaseOptions
	cmd := &cobra.Command{
		Use:   "release --case ID [--instance I] [--plan] [--force]",
		Short: "Undo the isolation from the journal",
		Long: `Puts back, exactly, what the case's runs changed on the instance: network first,
then credentials, load balancers, the Auto Scaling group, protection. Where someone else
has changed it since, it shows the difference and refuses, unless --force. Evidence stays.
Releasing twice changes nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.plan {
				return planRelease(cmd.Context(), g, o)
			}
			return runRelease(cmd.Context(), g, o)
		},
	}
	f := cmd.Flags()
	addCaseFlag(cmd, &o.caseID)
	o.selection.addFlags(cmd, "only this instance (default: every one of the case)")
	f.StringVar(&o.digest, "digest", "", "approve exactly the plan with this digest")
	addWaitFlag(cmd, &o.wait)
	f.BoolVar(&o.plan, "plan", false, "show what would be put back, and what was changed since; reads only")
	f.BoolVar(&o.force, "force", false, "put the before-state back even where someone else changed it since")
	return cmd
}

// planRelease shows the plan, also that of a release which would be refused.
func planRelease(ctx context.Context, g *globals, o releaseOptions) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.read(ctx, o.caseID)
	if err != nil {
		return err
	}
	plan, e, err := w.releasePlan(ctx, r, nil, o)
	if plan.Case == "" {
		return err
	}
	permissions, unasked := w.permissions(ctx, e, plan)
	switch {
	case unasked != nil:
		return errors.Join(err, unasked)
	case g.output == "json":
		return errors.Join(g.printJSON(shownPlan{plan, r.state.Case.Rehearsal, permissions}), err)
	case err == nil:
		printPlan(g, plan, r.state.Case.Rehearsal, permissions)
	}
	return err
}

// releasePlan reads what is in effect on the targets and plans to undo it.
func (w *workspace) releasePlan(ctx context.Context, r *record, j incident.Appender, o releaseOptions) (incident.Plan, *engine, error) {
	named, err := o.named(w.g.in)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	targets, err := r.targets(named)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	e, err := w.engine(j, r.state.Case)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	plan, err := incident.Planner{Registry: e.registry, Clock: w.clock}.Release(ctx, r.state, targets, o.force)
	return plan, e, err
}

func runRelease(ctx context.Context, g *globals, o releaseOptions) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	j, err := w.hold(ctx, o.caseID)
	if err != nil {
		return err
	}
	return errors.Join(w.release(ctx, j, o), j.Close())
}

func (w *workspace) release(ctx context.Context, j *journal.Journal, o releaseOptions) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	plan, e, err := w.releasePlan(ctx, r, w.appender(j), o)
	if err != nil && e == nil {
		return err
	}
	if err != nil {
		return w.refuse(ctx, j, "release", err)
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintf(w.g.err, "%scase %s: nothing to release\n", banner(j.Case().Rehearsal), j.Case().ID)
		if w.g.output == "json" {
			plan.Steps = []incident.StepPlan{}
			return w.g.printJSON(shownPlan{plan, j.Case().Rehearsal, []incident.Permission{}})
		}
		return nil
	}
	if w.g.yes || o.digest != "" {
		printPlan(w.g.onStderr(), plan, j.Case().Rehearsal, nil)
	}
	x := &execution{w: w, j: j, engine: e, run: r.newRunID(), waits: o.wait, plan: plan, again: again(plan, "", incident.Playbook{})}
	if x.approved, err = w.approve(ctx, e, plan, j.Case().Rehearsal, runOptions{digest: o.digest, wait: o.wait}); err != nil {
		return w.refuse(ctx, j, "release", err)
	}
	return x.do(ctx, func(ctx context.Context, runner *incident.Runner) (incident.Outcome, error) {
		return runner.Start(ctx, r.state, incident.Playbook{}, plan, x.run)
	})
}

// targets are those of the case's runs, or the named ones among them.
func (r *record) targets(named []incident.Target) ([]incident.Target, error) {
	known := make(map[incident.Target]incident.Target) // also by the ID alone
	var all []incident.Target
	for _, run := range r.state.Runs {
		for _, t := range run.Plan.Targets {
			if _, ok := known[t]; !ok {
				known[t], known[incident.Target{Instance: t.Instance}] = t, t
				all = append(all, t)
			}
		}
	}
	if len(named) == 0 {
		return all, nil
	}
	var targets []incident.Target
	var problems []error
	for _, n := range named {
		t, ok := known[n]
		if !ok {
			problems = append(problems, fmt.Errorf("%s: no run of this case worked on it", strings.TrimPrefix(n.String(), "//")))
			continue
		}
		targets = append(targets, t)
	}
	targets = distinct(targets)
	if len(problems) > 0 {
		return nil, incident.WithHint(&usageError{errors.Join(problems...)}, "without --instance it is about every instance of the case: cordon case exposure "+r.state.Case.ID+" lists them")
	}
	return targets, nil
}
