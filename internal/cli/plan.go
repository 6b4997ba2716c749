package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
)

// planOptions say what a playbook is to work on.
type planOptions struct {
	selection
	caseID string
	set    []string
	skip   []string
	permit bool // --require-permissions
}

func (o *planOptions) addFlags(cmd *cobra.Command) {
	addCaseFlag(cmd, &o.caseID)
	o.selection.addFlags(cmd, "the compromised instance")
	o.addFilterFlag(cmd)
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "a playbook input, as name=value (may be given several times)")
	cmd.Flags().BoolVar(&o.permit, "require-permissions", false, "fail where IAM's policy simulator does not say that every permission is there")
	cmd.Flags().StringArrayVar(&o.skip, "skip", nil, "a step to leave out, and with it those that take what it leaves behind (may be given several times)")
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
		Use:   "plan NAME --case ID TARGETS",
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
	return w.showPlan(ctx, name, o)
}

// showPlan makes the plan and prints it.
func (w *workspace) showPlan(ctx context.Context, name string, o planOptions) error {
	g := w.g
	r, err := w.read(ctx, o.caseID)
	if err != nil {
		return err
	}
	pb, err := loadPlaybook(name)
	if err != nil {
		return err
	}
	plan, e, err := w.plan(ctx, r.state.Case, pb, nil, o)
	if err != nil {
		return err
	}
	permissions, err := w.permissions(ctx, e, plan)
	if err != nil {
		return err
	}
	if g.output == "json" {
		err = g.printJSON(shownPlan{plan, r.state.Case.Rehearsal, permissions})
	} else {
		printPlan(g, plan, r.state.Case.Rehearsal, permissions)
	}
	if err == nil && o.permit {
		err = allPermitted(permissions)
	}
	return err
}

// shownPlan is a plan as a program gets it. Its JSON is stable.
type shownPlan struct {
	incident.Plan
	Rehearsal   bool                  `json:"rehearsal"`
	Permissions []incident.Permission `json:"permissions"`
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
	targets, err := w.targets(ctx, e.access, o.selection)
	if err != nil {
		return incident.Plan{}, nil, err
	}
	plan, err := incident.Planner{Registry: e.registry, Clock: w.clock, Without: o.skip}.Plan(ctx, c, pb, targets, inputs)
	return plan, e, err
}

var impactSymbols = map[incident.Impact]string{
	incident.ReadOnly: "·", incident.Additive: "+", incident.Disruptive: "!", incident.Irreversible: "‼",
}

// many targets are shown by number rather than each: the screen is for what
// differs, --output json and --verbose have every one.
const many = 20

// printPlan shows the steps in order, each with its changes; of many targets,
// what each step of the playbook comes to. Permissions are those that were asked for; none of a release.
func printPlan(g *globals, p incident.Plan, rehearsal bool, permissions []incident.Permission) {
	what := "playbook " + p.Playbook
	if p.Kind == incident.KindRelease {
		what = "release"
	}
	fmt.Fprintf(g.out, "%scase %s, %s, %d target(s)\n", banner(rehearsal), p.Case, what, len(p.Targets))
	printPermissions(g.out, permissions)
	if len(p.Targets) > many && !g.verbose {
		printStepsOfMany(g, p, permissions)
	} else {
		last := incident.Target{}
		for _, s := range p.Steps { // they come target by target
			if s.Target != last {
				last = s.Target
				fmt.Fprintf(g.out, "\n%s\n", s.Target)
			}
			printStep(g, s)
			printMissing(g.out, s, permissions)
		}
	}
	printLeftOut(g.out, p.LeftOut)
	fmt.Fprintf(g.out, "\n· read-only  + additive  ! disruptive  ‼ irreversible\nplan digest %s\n", p.Digest)
}

// stepOfMany is what one step of a playbook comes to on many targets.
type stepOfMany struct {
	incident.StepPlan         // the first, with the worst impact
	targets, skipped, changes int
	said                      counted
}

func printStepsOfMany(g *globals, p incident.Plan, permissions []incident.Permission) {
	var steps []*stepOfMany
	byID := make(map[string]*stepOfMany)
	for _, s := range p.Steps {
		m := byID[s.ID]
		if m == nil {
			m = &stepOfMany{StepPlan: s}
			m.Impact, m.Asks = incident.ReadOnly, false // add raises them
			byID[s.ID], steps = m, append(steps, m)
		}
		m.add(s)
		for _, x := range ofStep(permissions, s, incident.PermissionDenied) {
			m.said.add("missing: " + permissionText(x))
		}
	}
	fmt.Fprintln(g.out)
	for _, m := range steps {
		asks := ""
		if m.Asks {
			asks = ", asks"
		}
		fmt.Fprintf(g.out, "  %s %s (%s): %s%s: %d target(s), %d change(s)\n", impactSymbols[m.Impact], m.ID, m.Action, m.Impact, asks, m.targets, m.changes)
		if m.skipped > 0 {
			fmt.Fprintf(g.out, "      skipped on %d target(s)\n", m.skipped)
		}
		m.said.write(g.out, "      ")
	}
	fmt.Fprintln(g.out, "\n--verbose shows every target's changes, --output json the whole plan")
}

func (m *stepOfMany) add(s incident.StepPlan) {
	m.targets++
	if s.Skip != "" {
		m.skipped++
		return
	}
	m.Impact, m.Asks = max(m.Impact, s.Impact), m.Asks || s.Asks
	if s.Proposal == nil {
		return
	}
	m.changes += len(s.Proposal.Changes)
	for _, n := range s.Proposal.Notes {
		m.said.add("note: " + n)
	}
	for _, x := range s.Proposal.Residual {
		m.said.add("stays open: " + x.Path + " (" + x.Reason + ")")
	}
	for _, c := range openPaths(s.Proposal.Cuts) {
		m.said.add("path: " + c.Path + "  " + cutWords(c, true) + ": " + c.Reason)
	}
}

func printLeftOut(out io.Writer, left []incident.LeftOut) {
	if len(left) > 0 {
		fmt.Fprintf(out, "\nleft out, because they can't be planned: %d target(s)\n", len(left))
	}
	for i, l := range left {
		if i == listed {
			fmt.Fprintf(out, "  and %d more\n", len(left)-listed)
			return
		}
		fmt.Fprintf(out, "  %s (%s): %s\n", l.Target, strings.Join(l.Steps, ", "), strings.ReplaceAll(l.Reason, "\n", "\n      "))
		if l.Hint != "" {
			fmt.Fprintf(out, "      hint: %s\n", l.Hint)
		}
	}
}

func printStep(g *globals, s incident.StepPlan) {
	if s.Skip != "" {
		fmt.Fprintf(g.out, "  – %s (%s)\n      skipped: %s\n", s.ID, s.Action, s.Skip)
		return
	}
	asks := ""
	if s.Asks {
		asks = ", asks"
	}
	fmt.Fprintf(g.out, "  %s %s (%s): %s%s\n", impactSymbols[s.Impact], s.ID, s.Action, s.Impact, asks)
	if s.When != "" {
		fmt.Fprintf(g.out, "      when %s\n", s.When)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Deferred)) {
		fmt.Fprintf(g.out, "      %s: known only in the run: %s\n", name, s.Deferred[name])
	}
	if s.Proposal == nil {
		fmt.Fprintln(g.out, "      its changes are known only in the run")
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
	writeCuts(g.out, "      path: ", s.Proposal.Cuts, true, g.verbose)
	for _, x := range s.Proposal.Residual {
		fmt.Fprintf(g.out, "      stays open: %s (%s)\n", x.Path, x.Reason)
	}
}
