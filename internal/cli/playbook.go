package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/playbooks"
)

func newPlaybook(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "playbook", Short: "List, show and check playbooks"}
	cmd.AddCommand(newPlaybookList(g), newPlaybookShow(g), newPlaybookLint(g), newPlaybookSchema(g))
	return cmd
}

// loadPlaybook loads a shipped playbook, or one in a file.
func loadPlaybook(nameOrPath string) (incident.Playbook, error) {
	all, err := specs()
	if err != nil {
		return incident.Playbook{}, err
	}
	pb, err := playbooks.Load(nameOrPath, all)
	var unread *fs.PathError
	if errors.As(err, &unread) {
		err = incident.WithHint(&usageError{err}, "'cordon playbook list' shows the shipped ones, which are named without a path")
	}
	return pb, err
}

func newPlaybookList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the shipped playbooks", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			var list []incident.Playbook
			for _, name := range playbooks.Shipped() {
				pb, err := loadPlaybook(name)
				if err != nil {
					return err
				}
				list = append(list, pb)
			}
			if g.output == "json" {
				return g.printJSON(list)
			}
			t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "PLAYBOOK\tSTEPS\tDOES")
			for _, pb := range list {
				fmt.Fprintf(t, "%s\t%d\t%s\n", pb.Name, len(pb.Steps), pb.Title)
			}
			return t.Flush()
		},
	}
}

func newPlaybookShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a playbook as it is written", Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			pb, err := loadPlaybook(args[0])
			if err != nil {
				return err
			}
			if g.output == "json" {
				return g.printPlaybook(pb)
			}
			_, err = fmt.Fprint(g.out, pb.Source)
			return err
		},
	}
}

// shownStep is a step with what its action declares. Its JSON is stable.
type shownStep struct {
	incident.Step
	Does        string          `json:"does"`   // the action's summary
	Impact      incident.Impact `json:"impact"` // at worst
	Permissions []string        `json:"permissions"`
}

func (g *globals) printPlaybook(pb incident.Playbook) error {
	all, err := specs()
	if err != nil {
		return err
	}
	shown := struct {
		incident.Playbook
		Steps []shownStep `json:"steps"`
	}{Playbook: pb}
	for _, s := range pb.Steps {
		for _, spec := range all {
			if spec.Name == s.Action {
				shown.Steps = append(shown.Steps, shownStep{s, spec.Summary, spec.Impact, spec.Permissions})
			}
		}
	}
	return g.printJSON(shown)
}

func newPlaybookLint(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "lint FILE", Short: "Check a playbook; all problems with file and line", Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			pb, err := loadPlaybook(args[0])
			if err != nil {
				return err
			}
			if g.output == "json" {
				return g.printJSON(pb)
			}
			fmt.Fprintf(g.out, "%s: %d steps, %s\n", pb.Name, len(pb.Steps), pb.Digest)
			return nil
		},
	}
}

func newPlaybookSchema(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "The JSON Schema of playbooks, for editors", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := specs()
			if err != nil {
				return err
			}
			schema, err := playbooks.Schema(all)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(g.out, "%s\n", schema)
			return err
		},
	}
}
