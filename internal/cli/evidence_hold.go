package cli

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

func newEvidenceHold(g *globals) *cobra.Command {
	var caseID, reason string
	cmd := &cobra.Command{
		Use: "hold --case ID ITEM on|off", Short: "Put a legal hold on every object of an item, or lift it", Args: exactArgs("ITEM", "on|off"),
		Long: `Puts a legal hold on every object of an item, by version, or lifts it, and reads it
back. A legal hold keeps an object from being deleted until it is lifted, whatever
becomes of its retention, which stays as it is. A directory keeps no legal hold.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return usagef("%q: want on or off", args[1])
			}
			return g.withItem(cmd.Context(), caseID, args[0], func(ctx context.Context, h *heldItem) error {
				return h.hold(ctx, args[1] == "on", reason)
			})
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&reason, "reason", "", "why: the order's number, who asked for it")
	return cmd
}

// heldItem is an item of a case that this process holds, and the store it lies in.
type heldItem struct {
	w     *workspace
	j     *journal.Journal
	r     *record
	item  evidence.Item
	store evidence.Store
}

// withItem holds the case and finds an item that has bytes in the store.
func (g *globals) withItem(ctx context.Context, caseID, id string, do func(context.Context, *heldItem) error) (err error) {
	w, err := g.open()
	if err != nil {
		return err
	}
	j, err := w.hold(ctx, caseID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	r, err := fold(j)
	if err != nil {
		return err
	}
	item, ok := r.custody.Item(id)
	if !ok {
		return incident.WithHint(usagef("case %s has no evidence item %s", caseID, id), "'cordon evidence list --case "+caseID+"' shows them")
	}
	if item.Key == "" {
		return usagef("item %s is kept in AWS at %s, not in the evidence store", id, item.Location)
	}
	target, ok := r.lastTarget()
	if !ok {
		return usagef("case %s has no target", caseID)
	}
	store, err := w.store(ctx, w.access(w.appender(j), caseID), target)
	if err != nil {
		return err
	}
	return do(ctx, &heldItem{w, j, r, item, store})
}

// custody journals an event of the item.
func (h *heldItem) custody(ctx context.Context, e evidence.CustodyEvent) error {
	e.Item = h.item.ID
	_, err := h.j.Append(ctx, incident.Draft{Type: incident.EntryCustody, Data: e})
	return err
}

// parallelHolds are set at once: an image of a large disk has thousands of objects.
const parallelHolds = 4

func (h *heldItem) hold(ctx context.Context, on bool, reason string) error {
	holder, ok := h.store.(evidence.Holder)
	if !ok {
		return incident.WithHint(usagef("%s keeps no legal hold: it is a directory, which anyone who may write there can delete from", h.store),
			"copy the item into a bucket with Object Lock: 'cordon evidence transfer "+h.item.ID+" --copy-to s3://BUCKET/PREFIX'")
	}
	objects, err := evidence.Objects(ctx, h.store, h.item)
	if err != nil {
		return err
	}
	before, after, word := evidence.EventReleasing, evidence.EventReleased, "off"
	if on {
		before, after, word = evidence.EventHolding, evidence.EventHeld, "on"
	}
	what := fmt.Sprintf("legal hold %s, %d object(s)", word, len(objects))
	if err := h.custody(ctx, evidence.CustodyEvent{Event: before, Reason: reason, Detail: what}); err != nil {
		return err
	}
	var done atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelHolds)
	for _, v := range objects {
		g.Go(func() error {
			if _, err := holder.Hold(gctx, v.Key, v.Version, on); err != nil {
				return err
			}
			if n := done.Add(1); n%100 == 0 && !h.w.g.quiet {
				fmt.Fprintf(h.w.g.err, "legal hold %s: %d of %d objects\n", word, n, len(objects))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return incident.WithHint(fmt.Errorf("item %s: legal hold %s on %d of %d object(s): %w", h.item.ID, word, done.Load(), len(objects), err),
			"the same command again does the rest; the journal says that it was begun")
	}
	if err := h.custody(ctx, evidence.CustodyEvent{Event: after, Reason: reason, Detail: what + ", read back"}); err != nil {
		return err
	}
	return h.printHold(on, objects)
}

func (h *heldItem) printHold(on bool, objects []evidence.Version) error {
	if h.w.g.output == "json" {
		keys := make([]string, len(objects))
		for i, v := range objects {
			keys[i] = v.Location
		}
		return h.w.g.printJSON(struct {
			Item    string   `json:"item"`
			Hold    bool     `json:"hold"`
			Objects []string `json:"objects"`
		}{h.item.ID, on, keys})
	}
	word := "lifted from"
	if on {
		word = "put on"
	}
	_, err := fmt.Fprintf(h.w.g.out, "%slegal hold %s %s: %d object(s), read back\n", banner(h.r.state.Case.Rehearsal), word, h.item.ID, len(objects))
	return err
}
