package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/tui"
)

// globals are the flags that every command has, and where it reads and writes.
type globals struct {
	home, configFile                              string
	profile, region, roleARN, mfaSerial, endpoint string
	rehearsal                                     string
	output                                        string
	yes, quiet, verbose                           bool
	lines                                         bool // the TUI's: for screen readers

	in       io.Reader
	out, err io.Writer
	stdout   *output // which out is, but where something is shown on standard error

	command  string // that was given, for the hint to its help
	appended func() // called when a writer's entry is on disk; nil: nobody asks
}

const longHelp = `cordon closes off a compromised EC2 instance, takes its evidence into custody
and opens a clean room to examine it. Every step is journaled before it happens:
a run that was killed resumes, and isolation can be undone exactly.
Without a command, on a terminal, it opens the TUI.

  cordon rehearse                                the whole job in a simulated account
  cordon case open CASE                          open a case
  cordon plan contain --case CASE --instance I   see what it would change
  cordon run contain --case CASE --instance I    do it
  cordon release --case CASE                     undo the isolation

Exit codes: 0 done · 1 failed · 2 wrong usage or bad input, nothing changed ·
3 the run ended with failed or unknown steps (resumable), or left targets out ·
4 verification failed ·
5 not approved, nothing changed · 6 not ready · 7 the case is held by another
process · 130 interrupted (resumable)`

// Execute runs one command line and returns its exit code. Nothing of it
// outlives the call.
func Execute(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	return (&globals{in: in, out: out, err: errw}).execute(ctx, args)
}

func (g *globals) execute(ctx context.Context, args []string) int {
	g.stdout = &output{to: g.out}
	g.out = g.stdout
	g.err = &plainWriter{to: g.err}
	root := newRoot(g)
	root.SetArgs(args)
	root.SetIn(g.in)
	root.SetOut(g.out)
	root.SetErr(g.err)
	cmd, err := root.ExecuteContextC(ctx)
	g.command = cmd.CommandPath()
	return g.report(g.stdout.whole(err))
}

func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:           "cordon",
		Short:         "Isolate a compromised EC2 instance, take its evidence into custody, examine it in a clean room",
		Long:          longHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !g.hasScreen() || g.output == "json" {
				return cmd.Help()
			}
			return g.showTUI(cmd.Context(), tui.Options{})
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.output != "json" { // where every byte counts, and a control character is an escape already
				g.out = &plainWriter{to: g.out}
			}
			return g.check()
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&g.home, "home", os.Getenv("CORDON_HOME"), "where cases live (CORDON_HOME; default: the XDG state directory, or in the rehearsal's own)")
	f.StringVar(&g.configFile, "config", os.Getenv("CORDON_CONFIG"), "configuration file (CORDON_CONFIG; default: in the XDG configuration directory, or the rehearsal's own)")
	f.StringVar(&g.profile, "profile", "", "profile of the AWS configuration")
	f.StringVar(&g.region, "region", "", "AWS Region")
	f.StringVar(&g.roleARN, "role-arn", "", "role to assume")
	f.StringVar(&g.mfaSerial, "mfa-serial", "", "MFA device to assume the role with; its code is asked for")
	f.StringVar(&g.endpoint, "endpoint-url", "", "endpoint instead of AWS's (AWS_ENDPOINT_URL)")
	f.StringVar(&g.rehearsal, "rehearsal", os.Getenv("CORDON_REHEARSAL"), "work in the simulated account stored in this directory (CORDON_REHEARSAL)")
	f.StringVar(&g.output, "output", "text", "text, or json for programs")
	f.BoolVar(&g.yes, "yes", false, "approve what would be asked")
	f.BoolVar(&g.quiet, "quiet", false, "no progress")
	f.BoolVar(&g.verbose, "verbose", false, "also journal and show reads")
	g.addTUIFlags(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		newCase(g), newPlaybook(g), newPlan(g), newRun(g), newResume(g), newRelease(g),
		newInventory(g), newTriage(g), newAttach(g), newNote(g), newApprove(g), newReject(g), newInterrupt(g), newPause(g), newContinue(g), newSkip(g), newRetry(g),
		newJournal(g), newEvidence(g), newCleanRoom(g), newRehearse(g), newVersion(g),
	)
	strictGroups(root)
	return root
}

// check refuses global flags that could only be found wrong later, or not at all.
func (g *globals) check() error {
	endpoint, err := url.Parse(g.endpoint)
	switch {
	case g.output != "text" && g.output != "json":
		return usagef("--output %q: want text or json", g.output)
	case g.endpoint != "" && (err != nil || endpoint.Host == ""):
		return usagef("--endpoint-url %q: want a URL, such as https://ec2.eu-central-1.amazonaws.com", g.endpoint)
	case g.roleARN != "" && !arn.IsARN(g.roleARN):
		return usagef("--role-arn %q: want a role's ARN, such as arn:aws:iam::111122223333:role/responder", g.roleARN)
	case g.mfaSerial != "" && g.roleARN == "":
		return usagef("--mfa-serial says by which device --role-arn is assumed: name the role too, or a profile that has both")
	}
	return nil
}

// strictGroups makes a group of commands refuse an unknown one: cobra would
// print the group's help and succeed.
func strictGroups(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() && c.RunE == nil {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
				}
				return cmd.Help()
			}
		}
		strictGroups(c)
	}
}

// usageError is a wrong command line: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command or argument %q for %q", args[0], cmd.CommandPath())
	}
	return nil
}

// exactArgs takes the named arguments, no more and no fewer.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %d argument(s) %v, got %d", cmd.CommandPath(), len(names), names, len(args))
		}
		return nil
	}
}

// atMostOne takes the named argument, or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("%s takes at most one %s, got %q", cmd.CommandPath(), name, args)
		}
		return nil
	}
}

// addCaseFlag names the case that a command works in.
func addCaseFlag(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "case", "", "the case (required)")
}

// requireCase reports a missing --case.
func requireCase(id string) error {
	if id == "" {
		return &usageError{errors.New("--case is missing: which case?")}
	}
	return nil
}
