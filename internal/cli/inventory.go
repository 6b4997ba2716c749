package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/internal/triage/survey"
)

func newInventory(g *globals) *cobra.Command {
	var s selection
	cmd := &cobra.Command{
		Use:   "inventory [WORD…]",
		Short: "List the instances of the account and Region",
		Long: `Lists the instances of the credentials' account and Region, terminated ones left aside.
With words, those in whose ID, name, state, type, addresses, VPC, subnet, zone, Auto Scaling group or
tags (key=value) every word is found; case does not count. --filter is EC2's own and reads less.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, words []string) error {
			return runInventory(cmd.Context(), g, s.filters, triage.NewSearch(words...))
		},
	}
	s.addFilterFlag(cmd)
	return cmd
}

func runInventory(ctx context.Context, g *globals, flags []string, search triage.Search) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	return w.inventory(ctx, flags, search)
}

func (w *workspace) inventory(ctx context.Context, flags []string, search triage.Search) error {
	filters, err := parseFilters(flags)
	if err != nil {
		return err
	}
	a := w.access(nil, "")
	here, err := w.here(ctx, a)
	if err != nil {
		return err
	}
	cfg, err := a.Config(ctx, here)
	if err != nil {
		return err
	}
	show := w.g.inventoryPrinter(w.isRehearsal())
	for i, err := range survey.Inventory(ctx, cfg, here, w.tagNames(), filters) {
		if err != nil {
			return err
		}
		if search.Finds(i.Text()) {
			show.add(i)
		}
	}
	return show.end()
}

// tagNames are the configuration's, and where it names none the usual ones.
func (w *workspace) tagNames() triage.Names {
	t := w.config.Tags
	return triage.Names{
		Owner: t.Owner, Queue: t.Queue, Classification: t.Classification, Criticality: t.Criticality, Environment: t.Environment,
	}.Or(triage.Usual)
}

// inventoryPrinter writes instances as they come: objects of JSON, or a table.
type inventoryPrinter struct {
	g         *globals
	rehearsal bool
	json      *json.Encoder
	table     *tabwriter.Writer
	shown     int
}

func (g *globals) inventoryPrinter(rehearsal bool) *inventoryPrinter {
	p := &inventoryPrinter{g: g, rehearsal: rehearsal, json: json.NewEncoder(g.out), table: tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)}
	p.json.SetEscapeHTML(false)
	return p
}

// tableFlush is how many lines of the table share their columns' width: a
// person sees the first ones before ten thousand are there.
const tableFlush = 1000

// add shows one more. What can't be written shows at the end.
func (p *inventoryPrinter) add(i triage.Instance) {
	if p.g.output == "json" {
		_ = p.json.Encode(i)
		return
	}
	if p.shown == 0 {
		if p.rehearsal {
			fmt.Fprintln(p.g.out, "REHEARSAL")
		}
		fmt.Fprintln(p.table, "INSTANCE\tNAME\tSTATE\tTYPE\tOWNER\tADDRESSES\tZONE\tGROUP\tLAUNCHED")
	}
	fmt.Fprintln(p.table, strings.Join([]string{
		i.ID, dash(i.Name), i.State, i.Type, dash(i.Owner), dash(addresses(i)), i.Zone, dash(i.Group), i.Launched.Format(time.DateOnly),
	}, "\t"))
	if p.shown++; p.shown%tableFlush == 0 {
		p.table.Flush()
	}
}

func (p *inventoryPrinter) end() error {
	if p.g.output == "json" {
		return nil
	}
	if p.shown == 0 {
		fmt.Fprintln(p.g.err, "no instance is found")
	}
	return p.table.Flush()
}

// addresses are the first address of each kind, and how many more there are.
func addresses(i triage.Instance) string {
	var shown []string
	more := 0
	for _, list := range [][]string{i.Private, i.Public, i.IPv6} {
		if len(list) > 0 {
			shown = append(shown, list[0])
			more += len(list) - 1
		}
	}
	if more > 0 {
		shown = append(shown, fmt.Sprintf("+%d", more))
	}
	return strings.Join(shown, " ")
}

func dash(s string) string { return orElse(s, "-") }
