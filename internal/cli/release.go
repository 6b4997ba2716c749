package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

type releaseOptions struct {
	caseID    string
	instances []string
	digest    string
	force     bool
	wait      bool
}

func newRelease(g *globals) *cobra.Command {
	var o releaseOptions
	cmd := &cobra.Command{
		Use:   "release --case ID [--instance I] [--force]",
		Short: "Undo the isolation from the journal",
		Long: `Puts back, exactly, what the case's runs changed on the instance: network first,
then credentials, load balancers, the Auto Scaling group, protection. Where someone else
has changed it since, it shows the difference and refuses, unless --force. Evidence stays.
Releasing twice changes nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRelease(cmd.Context(), g, o) },
	}
	f := cmd.Flags()
	addCaseFlag(cmd, &o.caseID)
	f.StringArrayVar(&o.instances, "instance", nil, "only this instance (default: every one of the case)")
	f.StringVar(&o.digest, "digest", "", "approve exactly the plan with this digest")
	addWaitFlag(cmd, &o.wait)
	f.BoolVar(&o.force, "force", false, "put the before-state back even where someone else changed it since")
	return cmd
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
	targets, err := r.targets(o.instances)
	if err != nil {
		return err
	}
	e, err := w.engine(w.appender(j), j.Case())
	if err != nil {
		return err
	}
	plan, err := incident.Planner{Registry: e.registry, Clock: w.clock}.Release(ctx, r.state, targets, o.force)
	if err != nil {
		return w.refuse(ctx, j, "release", err)
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintf(w.g.err, "%scase %s: nothing to release\n", banner(j.Case().Rehearsal), j.Case().ID)
		if w.g.output == "json" {
			return w.g.printJSON(plan)
		}
		return nil
	}
	if w.g.yes || o.digest != "" {
		printPlan(w.g.onStderr(), plan, j.Case().Rehearsal)
	}
	x := &execution{w: w, j: j, engine: e, run: r.newRunID(), waits: o.wait}
	if x.approved, err = w.approve(ctx, plan, j.Case().Rehearsal, runOptions{digest: o.digest, wait: o.wait}); err != nil {
		return w.refuse(ctx, j, "release", err)
	}
	return x.do(ctx, func(ctx context.Context, runner *incident.Runner) (incident.Outcome, error) {
		return runner.Start(ctx, r.state, incident.Playbook{}, plan, x.run)
	})
}

// targets are those of the case's runs, or the named ones among them.
func (r *record) targets(instances []string) ([]incident.Target, error) {
	byID := make(map[string]incident.Target)
	var all []incident.Target
	for _, run := range r.state.Runs {
		for _, t := range run.Plan.Targets {
			if _, ok := byID[t.Instance]; !ok {
				byID[t.Instance] = t
				all = append(all, t)
			}
		}
	}
	if len(instances) == 0 {
		return all, nil
	}
	var named []incident.Target
	for _, id := range instances {
		t, ok := byID[id]
		if !ok {
			return nil, usagef("--instance %s: no run of this case worked on it", id)
		}
		named = append(named, t)
	}
	return named, nil
}
