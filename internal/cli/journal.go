package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

func newJournal(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "journal", Short: "Show, follow, verify and export a case's record"}
	cmd.AddCommand(newJournalShow(g), newJournalFollow(g), newJournalVerify(g), newJournalExport(g), newJournalProve(g))
	return cmd
}

func newJournalShow(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "show --case ID", Short: "Show the entries", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := g.open()
			if err != nil {
				return err
			}
			dir, err := w.caseDir(caseID)
			if err != nil {
				return err
			}
			for e, err := range journal.Read(cmd.Context(), dir) {
				if err != nil {
					return w.explainCase(caseID, err)
				}
				g.headEntries(e)
				g.printEntry(e)
			}
			return nil
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

// headEntries says REHEARSAL above the first entry.
func (g *globals) headEntries(e incident.Entry) {
	if e.Type == incident.EntryCaseOpened && g.output == "text" {
		sayRehearsal(g.out, data[incident.Case](e))
	}
}

// printEntry shows an entry on standard output.
func (g *globals) printEntry(e incident.Entry) {
	if g.output == "json" {
		printEntryJSON(g.out, e)
		return
	}
	text := entryText(e, true)
	if text == "" {
		text = string(e.Type)
	}
	fmt.Fprintf(g.out, "%5d  %s  %-13s %s\n", e.Seq, e.Time.Format(time.RFC3339), e.Type, text)
}

type followOptions struct {
	caseID string
	from   uint64
	until  string
}

func newJournalFollow(g *globals) *cobra.Command {
	var o followOptions
	cmd := &cobra.Command{
		Use: "follow --case ID", Short: "Show the entries of a live case as they come, until its run ends or you interrupt",
		Long: `Shows the entries of a live case as they come. With --until it ends after the first entry of
that type (step.waiting, step.outcome, run.ended, …), and waits for the case to become live: a
script can start a run and wait for what it must act on.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFollow(cmd.Context(), g, o) },
	}
	f := cmd.Flags()
	addCaseFlag(cmd, &o.caseID)
	f.Uint64Var(&o.from, "from", 0, "the first entry to show")
	f.StringVar(&o.until, "until", "", "end after the first entry of this type")
	return cmd
}

func runFollow(ctx context.Context, g *globals, o followOptions) error {
	follow := func(ctx context.Context, c *journal.Client) error {
		for event, err := range c.Follow(ctx, o.from) {
			if err != nil {
				return err
			}
			if event.Entry == nil {
				continue
			}
			g.headEntries(*event.Entry)
			g.printEntry(*event.Entry)
			o.from = event.Entry.Seq + 1
			if o.until == string(event.Entry.Type) {
				return nil
			}
		}
		if o.until != "" {
			return fmt.Errorf("no entry %s came before its process ended", o.until)
		}
		return nil
	}
	if o.until == "" {
		return g.withLive(ctx, o.caseID, follow)
	}
	if !slices.Contains(incident.EntryTypes(), incident.EntryType(o.until)) {
		return usagef("--until %q: there is no entry of that type; there are %v", o.until, incident.EntryTypes())
	}
	for {
		err := g.withLive(ctx, o.caseID, follow)
		if !errors.Is(err, journal.ErrNotLive) {
			return err
		}
		// Another process is waited for, not an account: this is the wall's time, in a rehearsal too.
		if err := (clock.Wall{}).Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func newJournalVerify(g *globals) *cobra.Command {
	var caseID, file string
	cmd := &cobra.Command{
		Use: "verify --case ID | --file EXPORT", Short: "Check that the record is whole and unchanged",
		Long: `Checks every entry's form, number and hash, the Merkle tree against the signed
checkpoint, and, where the evidence store can be reached, against the checkpoints anchored
there. Exit code 4 names the first entry that is wrong.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case file != "" && caseID != "":
				return usagef("--case and --file: which of the two? An export says itself whose it is")
			case file != "":
				return runVerifyExport(g, file)
			}
			return runVerify(cmd.Context(), g, caseID)
		},
	}
	cmd.Flags().StringVar(&caseID, "case", "", "the case")
	cmd.Flags().StringVar(&file, "file", "", "an export instead, by 'journal export'")
	return cmd
}

func runVerify(ctx context.Context, g *globals, caseID string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	dir, err := w.caseDir(caseID)
	if err != nil {
		return err
	}
	anchors, anchorErr := w.anchors(ctx, caseID)
	report, err := w.verify(ctx, dir, anchors)
	if err != nil {
		return w.explainCase(caseID, err)
	}
	if anchorErr != nil {
		fmt.Fprintf(g.err, "warning: the anchors in the evidence store were not checked: %v\n", anchorErr)
	}
	return g.printReport(report, len(anchors))
}

// verify measures the journal against this home's key too, where it has one: a
// copy of a case that was brought here is measured against the key it names.
func (w *workspace) verify(ctx context.Context, dir string, anchors []incident.Checkpoint) (journal.Report, error) {
	if _, err := os.Stat(filepath.Join(w.home, journal.KeyFile)); errors.Is(err, fs.ErrNotExist) {
		return journal.Verify(ctx, dir, anchors...)
	}
	key, err := journal.LoadKey(w.home)
	if err != nil {
		return journal.Report{}, err
	}
	return key.Verify(ctx, dir, anchors...)
}

func (g *globals) printReport(r journal.Report, anchors int) error {
	if g.output == "json" {
		return g.printJSON(r)
	}
	_, err := fmt.Fprintf(g.out, "%sjournal of case %s verifies: %d entries, head %s, %d anchored checkpoint(s) checked\n",
		banner(r.Case.Rehearsal), r.Case.ID, r.Entries, r.Head, anchors)
	return err
}

func runVerifyExport(g *globals, file string) error {
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			err = fmt.Errorf("%s is a directory", file)
		}
	}
	if err != nil {
		return incident.WithHint(&usageError{err}, "name a file that 'cordon journal export --out FILE' wrote")
	}
	report, err := journal.VerifyExport(f)
	if err != nil {
		return err
	}
	return g.printReport(report, 0)
}

// anchorPatience bounds the fetching of anchors: a record can be verified without AWS.
const anchorPatience = 30 * time.Second

// anchors fetches the checkpoints in the evidence store, by the store's own
// list, not by what the journal says is there.
func (w *workspace) anchors(ctx context.Context, caseID string) ([]incident.Checkpoint, error) {
	r, err := w.read(ctx, caseID)
	if err != nil {
		return nil, err
	}
	if !w.hasStore() {
		return nil, errNoStore
	}
	ctx, cancel := w.clock.WithTimeout(ctx, anchorPatience)
	defer cancel()
	a := w.access(nil, caseID)
	target, ok := r.lastTarget()
	if !ok { // no run yet, or a journal that was rolled back to before it
		if target, err = w.here(ctx, a); err != nil {
			return nil, err
		}
	}
	store, err := w.store(ctx, a, target)
	if err != nil {
		return nil, err
	}
	return evidence.Checkpoints(ctx, store, r.state.Case)
}

func newJournalExport(g *globals) *cobra.Command {
	var caseID, out string
	cmd := &cobra.Command{
		Use: "export --case ID [--out FILE]", Short: "Write the record as JSON lines (docs/journal-format.md)", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			w, err := g.open()
			if err != nil {
				return err
			}
			dir, err := w.caseDir(caseID)
			if err != nil {
				return err
			}
			to := io.Writer(g.stdout) // as it is: its hashes are over every byte
			if out != "" {
				f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return incident.WithHint(&usageError{fmt.Errorf("--out: %w", err)}, "name a new file, in a directory that is there")
				}
				defer func() {
					if err = errors.Join(err, f.Close()); err != nil {
						err = errors.Join(err, os.Remove(out))
					}
				}()
				to = f
			}
			if err := journal.Export(cmd.Context(), dir, to); err != nil {
				return w.explainCase(caseID, err)
			}
			return nil
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&out, "out", "", "a new file (default: standard output)")
	return cmd
}

func newJournalProve(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "prove --case ID SEQ", Short: "Prove that an entry is in the record (RFC 6962 inclusion proof)", Args: exactArgs("SEQ"),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("SEQ %q: want an entry's number", args[0])
			}
			w, err := g.open()
			if err != nil {
				return err
			}
			dir, err := w.caseDir(caseID)
			if err != nil {
				return err
			}
			proof, err := journal.Prove(cmd.Context(), dir, seq)
			if errors.Is(err, journal.ErrNoEntry) {
				return incident.WithHint(&usageError{fmt.Errorf("case %s: %w", caseID, err)}, "'cordon journal show --case "+caseID+"' shows their numbers")
			}
			if err != nil {
				return w.explainCase(caseID, err)
			}
			return g.printJSON(proof)
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}
