package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
)

// planOptions say what a playbook is to work on.
type planOptions struct {
	caseID    string
	instances []string
	set       []string
}

func (o *planOptions) addFlags(cmd *cobra.Command) {
	addCaseFlag(cmd, &o.caseID)
	cmd.Flags().StringArrayVar(&o.instances, "instance", nil, "the compromised instance's ID (required; may be given several times)")
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "a playbook input, as name=value (may be given several times)")
}

// inputs are the configuration's defaults for the playbook's inputs, and
// what --set says over them.
func (o *planOptions) inputs(w *workspace, pb incident.Playbook) (map[string]any, error) {
	in := make(map[string]any)
	for _, f := range pb.Inputs {
		if v, ok := w.config.Inputs[f.Name]; ok {
			in[f.Name] = v
		}
	}
	given, err := setValues(o.set)
	maps.Copy(in, given)
	return in, err
}

// setValues reads the --set flags.
func setValues(set []string) (map[string]any, error) {
	values := make(map[string]any)
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usagef("--set %q: want name=value", s)
		}
		values[name] = value
	}
	return values, nil
}

func newPlan(g *globals) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan NAME --case ID --instance I",
		Short: "Show what a playbook would change; reads only",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPlan(cmd.Context(), g, args[0], o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func runPlan(ctx context.Context, g *globals, name string, o planOptions) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.read(ctx, o.caseID)
	if err != nil {
		return err
	}
	pb, err := loadPlaybook(name)
	if err != nil {
		return err
	}
	plan, _, err := w.plan(ctx, r.state.Case, pb, nil, o)
	if err != nil {
		return err
	}
	if g.output == "json" {
		return g.printJSON(plan)
	}
	printPlan(g, plan, r.state.Case.Rehearsal)
	return nil
}

// plan reads the account and binds the playbook to the targets.
func (w *workspace) plan(ctx context.Context, c incident.Case, pb incident.Playbook, j incident.Appender, o planOptions) (incident.Plan, *engine, error) {
	inputs, err := o.inputs(w, pb)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	e, err := w.engine(j, c)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	targets, err := w.targets(ctx, e.access, o.instances)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	plan, err := incident.Planner{Registry: e.registry, Clock: w.clock}.Plan(ctx, c, pb, targets, inputs)
	return plan, e, err
}

var impactSymbols = map[incident.Impact]string{
	incident.ReadOnly: "·", incident.Additive: "+", incident.Disruptive: "!", incident.Irreversible: "‼",
}

// printPlan shows the steps in order, each with its changes.
func printPlan(g *globals, p incident.Plan, rehearsal bool) {
	what := "playbook " + p.Playbook
	if p.Kind == incident.KindRelease {
		what = "release"
	}
	fmt.Fprintf(g.out, "%scase %s, %s, %d target(s)\n", banner(rehearsal), p.Case, what, len(p.Targets))
	for _, t := range p.Targets {
		fmt.Fprintf(g.out, "\n%s\n", t)
		for _, s := range p.Steps {
			if s.Target == t {
				printStep(g, s)
			}
		}
	}
	fmt.Fprintf(g.out, "\n· read-only  + additive  ! disruptive  ‼ irreversible\nplan digest %s\n", p.Digest)
}

func printStep(g *globals, s incident.StepPlan) {
	asks := ""
	if s.Asks {
		asks = ", asks"
	}
	fmt.Fprintf(g.out, "  %s %s (%s): %s%s\n", impactSymbols[s.Impact], s.ID, s.Action, s.Impact, asks)
	if s.Skip != "" {
		fmt.Fprintf(g.out, "      skipped: %s\n", s.Skip)
		return
	}
	if s.When != "" {
		fmt.Fprintf(g.out, "      when %s\n", s.When)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Deferred)) {
		fmt.Fprintf(g.out, "      %s: known only in the run: %s\n", name, s.Deferred[name])
	}
	if s.Proposal == nil {
		return
	}
	for _, c := range s.Proposal.Changes {
		fmt.Fprintf(g.out, "      %s, %s: %s → %s\n", c.Resource, c.What, orElse(c.Before, "(none)"), orElse(c.After, "(none)"))
	}
	if len(s.Proposal.Changes) == 0 {
		fmt.Fprintln(g.out, "      nothing to change")
	}
	for _, n := range s.Proposal.Notes {
		fmt.Fprintf(g.out, "      note: %s\n", n)
	}
	writeCuts(g.out, "      path: ", s.Proposal.Cuts, true)
	for _, x := range s.Proposal.Residual {
		fmt.Fprintf(g.out, "      stays open: %s (%s)\n", x.Path, x.Reason)
	}
}
