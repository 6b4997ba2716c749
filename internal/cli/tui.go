package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/tui"
)

func newAttach(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "attach --case ID", Short: "Open the TUI on a case, live or not", Args: noArgs,
		Long: `Opens the TUI on a case. A live run is followed and steered, as by any number of other
terminals; leaving the TUI leaves the run running.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAttach(cmd.Context(), g, caseID) },
	}
	addCaseFlag(cmd, &caseID)
	g.addTUIFlags(cmd)
	return cmd
}

// addTUIFlags are those of every command that opens the TUI.
func (g *globals) addTUIFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&g.lines, "screen-reader", os.Getenv("CORDON_SCREEN_READER") != "", "in the TUI: print lines, draw nothing (CORDON_SCREEN_READER)")
}

func runAttach(ctx context.Context, g *globals, caseID string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	dir, err := w.caseDir(caseID)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return w.explainCase(caseID, journal.ErrNoCase)
	}
	if !g.hasScreen() {
		return incident.WithHint(usagef("attach needs a terminal"), "'cordon journal follow --case "+caseID+"' shows the entries without one")
	}
	return g.showTUI(ctx, tui.Options{CaseID: caseID})
}

// hasScreen reports whether someone sits at it: standard input and output.
func (g *globals) hasScreen() bool {
	in, ok := g.in.(*os.File)
	out, ok2 := g.stdout.file()
	return ok && ok2 && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// showTUI opens the TUI with the flags that this command was given.
func (g *globals) showTUI(ctx context.Context, o tui.Options) error {
	if g.mfaSerial != "" {
		return incident.WithHint(&usageError{errors.New("the TUI can't ask for an MFA code")},
			"get credentials for the session first ('aws sts get-session-token', or a profile with SSO)")
	}
	w, err := g.open()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program, which the TUI runs: %w", err)
	}
	o.Cordon = &tui.Cordon{Program: program, Globals: g.arguments(), Home: w.home, Env: os.Environ()}
	o.Lines = g.lines
	o.Clock, o.Rehearsal, o.Env = clock.Wall{}, w.isRehearsal(), os.Environ()
	o.In = g.in.(*os.File) // hasScreen has seen that
	o.Out, _ = g.stdout.file()
	err = tui.Show(ctx, o)
	if errors.Is(err, context.Canceled) {
		return &outcomeError{exitInterrupted, "the TUI was ended by a signal", "runs go on without it; 'cordon attach' comes back"}
	}
	return err
}

// arguments are the global flags as they were given, for the commands that the
// TUI runs and shows. What stands in the environment is there for them too.
func (g *globals) arguments() []string {
	var args []string
	add := func(flag, value, variable string) {
		if value != "" && (variable == "" || value != os.Getenv(variable)) {
			args = append(args, flag, value)
		}
	}
	add("--home", g.home, "CORDON_HOME")
	add("--config", g.configFile, "CORDON_CONFIG")
	add("--rehearsal", g.rehearsal, "CORDON_REHEARSAL")
	add("--profile", g.profile, "")
	add("--region", g.region, "")
	add("--role-arn", g.roleARN, "")
	add("--endpoint-url", g.endpoint, "")
	if g.verbose {
		args = append(args, "--verbose")
	}
	return args
}
