package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
)

// toolkitOptions are the flags of cleanroom toolkit.
type toolkitOptions struct {
	caseID, dir   string
	allowUnlocked bool
}

func newCleanRoomToolkit(g *globals) *cobra.Command {
	var o toolkitOptions
	cmd := &cobra.Command{
		Use: "toolkit --case ID --dir DIR", Short: "Store the examiners' tools where clean rooms can fetch them", Args: noArgs,
		Long: `Stores a folder of tools in the evidence bucket, with a manifest that lists every
file with its SHA-256, and prints the manifest's own digest: the input toolkit of
cleanroom.launch. Each tool is a folder called NAME-VERSION; an install.sh beside them is
run once all digests are checked. Any case can use a toolkit; the uploads are in the
journal of the case that is named.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runToolkit(cmd.Context(), g, o) },
	}
	addCaseFlag(cmd, &o.caseID)
	cmd.Flags().StringVar(&o.dir, "dir", "", "the folder that holds the tools (required)")
	cmd.Flags().BoolVar(&o.allowUnlocked, "allow-unlocked", false, "store them also where the store can't lock what it keeps")
	return cmd
}

func runToolkit(ctx context.Context, g *globals, o toolkitOptions) (err error) {
	if o.dir == "" {
		return errors.Join(requireCase(o.caseID), usagef("--dir is missing: which folder holds the tools?"))
	}
	w, err := g.open()
	if err != nil {
		return err
	}
	dir := os.DirFS(o.dir)
	kit, err := cleanroom.ReadToolkit(dir)
	if err != nil {
		return &usageError{fmt.Errorf("%s is no toolkit: %w", o.dir, err)}
	}
	j, err := w.hold(ctx, o.caseID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	a := w.access(w.appender(j), o.caseID)
	target, err := w.here(ctx, a)
	if err != nil {
		return err
	}
	store, err := w.store(ctx, a, target)
	if err != nil {
		return err
	}
	n := 0
	digest, err := cleanroom.PutToolkit(ctx, store, dir, kit, o.allowUnlocked, func(cleanroom.ToolFile) {
		if n++; n%100 == 0 && !g.quiet {
			fmt.Fprintf(g.err, "%d of %d files\n", n, len(kit.Files))
		}
	})
	if err != nil {
		return incident.WithHint(fmt.Errorf("storing the toolkit in %s: %w", store, err), "the same command again does the rest")
	}
	if g.output == "json" {
		return g.printJSON(struct {
			Toolkit string           `json:"toolkit"`
			Tools   []cleanroom.Tool `json:"tools"`
			Files   int              `json:"files"`
		}{digest, kit.Tools, len(kit.Files)})
	}
	for _, t := range kit.Tools {
		fmt.Fprintf(g.out, "%s%s\n", banner(j.Case().Rehearsal), t)
	}
	_, err = fmt.Fprintf(g.out, "%stoolkit %s\n", banner(j.Case().Rehearsal), digest)
	return err
}
