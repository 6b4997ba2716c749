package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/tui"
)

type rehearseOptions struct {
	scenario string
	playbook string
	seed     int64
	dir      string
	set      []string
	tui      bool
}

func newRehearse(g *globals) *cobra.Command {
	o := rehearseOptions{scenario: "web-tier"}
	cmd := &cobra.Command{
		Use:   "rehearse [SCENARIO]",
		Short: "A whole rehearsal in a simulated account: alert, playbook, outcome",
		Long: `Makes a simulated AWS account, opens a case on the instance its alert names, runs a
playbook with every approval given, and says what came of it. Nothing of it touches AWS. The account and the
case stay on disk; the last lines say how to look at them.`,
		Args: atMostOne("SCENARIO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.scenario = args[0]
			}
			return runRehearse(cmd.Context(), g, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.playbook, "playbook", "full-response", "the playbook to rehearse")
	f.Int64Var(&o.seed, "seed", 1, "the same seed makes the same account")
	f.StringVar(&o.dir, "dir", "", "a new or empty directory for the account (default: a new one under the XDG state directory)")
	f.StringArrayVar(&o.set, "set", nil, "a playbook input, as name=value (may be given several times)")
	f.BoolVar(&o.tui, "tui", false, "make the account, and do the job yourself in the TUI")
	g.addTUIFlags(cmd)
	cmd.AddCommand(newRehearseList(g), newRehearseNew(g), newRehearseShow(g))
	return cmd
}

func newRehearseList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scenarios", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if g.output == "json" {
				return g.printJSON(rehearsal.Scenarios())
			}
			t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			for _, s := range rehearsal.Scenarios() {
				fmt.Fprintf(t, "%s\t%s\n", s.Name, s.Summary)
			}
			return t.Flush()
		},
	}
}

func newRehearseNew(g *globals) *cobra.Command {
	var seed int64
	cmd := &cobra.Command{
		Use: "new SCENARIO DIR", Short: "Make a simulated account to work in with --rehearsal DIR", Args: exactArgs("SCENARIO", "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			account, err := rehearsal.Create(args[1], args[0], seed)
			if err != nil {
				return &usageError{err}
			}
			return g.printAlert(account)
		},
	}
	cmd.Flags().Int64Var(&seed, "seed", 1, "the same seed makes the same account")
	return cmd
}

// printAlert tells what whoever is on call is told; its last line ends with the
// suspected instance.
func (g *globals) printAlert(account *rehearsal.Account) error {
	alert := account.Alert()
	if g.output == "json" {
		return g.printJSON(alert)
	}
	_, err := fmt.Fprintf(g.out, "REHEARSAL  scenario %s, account %s, Region %s, evidence bucket %s\n%s\nsuspected instance: %s\n",
		alert.Scenario, alert.Account, alert.Region, alert.Bucket, alert.Text, alert.Instance)
	return err
}

func newRehearseShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show DIR", Short: "Show a simulated account as it stands", Args: exactArgs("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			account, err := rehearsal.Open(args[0])
			if err != nil {
				return &usageError{err}
			}
			if g.output == "json" {
				return g.printJSON(account.Overview())
			}
			_, err = fmt.Fprintf(g.out, "%s", account.Overview())
			return err
		},
	}
}

// runRehearse is the whole job in one command.
func runRehearse(ctx context.Context, g *globals, o rehearseOptions) error {
	if g.rehearsal != "" {
		return usagef("rehearse makes an account of its own: leave out --rehearsal (CORDON_REHEARSAL), or use 'cordon --rehearsal DIR run'")
	}
	if err := o.check(); err != nil {
		return err
	}
	if o.tui && !g.hasScreen() {
		return usagef("rehearse --tui needs a terminal")
	}
	dir, err := o.directory(g.home)
	if err != nil {
		return err
	}
	account, err := rehearsal.Create(dir, o.scenario, o.seed)
	if err != nil {
		return &usageError{err}
	}
	alert := account.Alert()
	if o.tui {
		own := *g
		own.rehearsal, own.home = dir, rehearsalHome(dir)
		return own.showTUI(ctx, tui.Options{Alert: alert.Text, Suspect: alert.Instance})
	}
	if g.output != "json" && !g.quiet {
		if err := g.onStderr().printAlert(account); err != nil {
			return err
		}
	}
	w, err := g.rehearsalWorkspace(account, dir)
	if err != nil {
		return err
	}
	j, err := w.openNewCase(ctx, incident.Case{ID: "REHEARSAL-1", Title: "rehearsal of " + o.scenario})
	if err != nil {
		return err
	}
	ro := runOptions{planOptions: planOptions{caseID: "REHEARSAL-1", selection: selection{instances: []string{alert.Instance}}, set: o.set}}
	w.afterwards = func(ctx context.Context) error { return w.debrief(ctx, j, dir) }
	return errors.Join(w.startRun(ctx, j, o.playbook, ro), j.Close())
}

// check finds what is wrong with the playbook or its inputs before an account is made.
func (o rehearseOptions) check() error {
	pb, err := loadPlaybook(o.playbook)
	if err != nil {
		return err
	}
	values, err := setValues(o.set)
	if err != nil {
		return err
	}
	if _, problems := incident.CheckInputs(pb.Inputs, values); len(problems) > 0 {
		return &incident.InputError{Problems: problems}
	}
	return nil
}

// directory is where the account is to live: in the home of real cases, beside them.
func (o rehearseOptions) directory(home string) (string, error) {
	if o.dir != "" {
		return o.dir, nil
	}
	base := filepath.Join(orElse(home, defaultHome()), "rehearsals")
	for n := 1; ; n++ {
		dir := filepath.Join(base, fmt.Sprintf("%s-%d", o.scenario, n))
		_, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return dir, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// rehearsalWorkspace works in an account that was just made; every approval is given.
func (g *globals) rehearsalWorkspace(account *rehearsal.Account, dir string) (*workspace, error) {
	own := *g
	own.yes, own.rehearsal = true, dir
	w := &workspace{g: &own, home: rehearsalHome(dir)}
	w.simulate(account)
	var err error
	w.config, err = config.Load(filepath.Join(dir, "config.yaml"))
	return w, err
}

// rehearsalHome is where the cases of a simulated account live: they go with it.
func rehearsalHome(dir string) string { return filepath.Join(dir, "home") }

// debrief waits until Auto Scaling has replaced what was taken out, and says
// what the service has now and how to look further.
func (w *workspace) debrief(ctx context.Context, j *journal.Journal, dir string) error {
	const patience = 15 * time.Minute // of simulated time; a replacement takes a few
	var o rehearsal.Overview
	err := incident.Poll(ctx, w.clock, 15*time.Second, patience, "the group to be whole again", func(context.Context) (bool, error) {
		o = w.account.Overview()
		return o.Whole(), nil
	})
	if w.g.output == "json" {
		return err
	}
	for _, g := range o.Groups {
		fmt.Fprintf(w.g.out, "service: group %s serves with %d healthy instance(s) of %d desired (%d to %d)\n", g.Name, g.Healthy, g.Desired, g.Min, g.Max)
	}
	fmt.Fprintf(w.g.out, "\nlook further:\n")
	further := []string{"journal show", "evidence list", "release --yes"}
	r, foldErr := fold(j)
	if foldErr != nil {
		return errors.Join(err, foldErr)
	}
	rooms, foldErr := cleanroom.Rooms(r.entries)
	if foldErr != nil {
		return errors.Join(err, foldErr)
	}
	if len(rooms) > 0 {
		further = slices.Insert(further, 2, "cleanroom status")
	}
	for _, c := range further {
		fmt.Fprintf(w.g.out, "  cordon --rehearsal %s %s --case %s\n", tui.Quote(dir), c, j.Case().ID)
	}
	return err
}
