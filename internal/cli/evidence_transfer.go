package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

type transferOptions struct{ caseID, to, reason, copyTo string }

func newEvidenceTransfer(g *globals) *cobra.Command {
	var o transferOptions
	cmd := &cobra.Command{
		Use: "transfer --case ID ITEM --to WHO --reason WHY [--copy-to s3://BUCKET/PREFIX|DIR]", Args: exactArgs("ITEM"),
		Short: "Hand an item over: a signed custody event, and with --copy-to a verified copy",
		Long: `Hands an item over. What the case holds at that moment is put into the store as a
signed manifest; who hands over what to whom, when and why, with the manifest's
digest, is signed with the case's key, kept in the store and journaled as a custody event.
With --copy-to the item's objects, its record and the manifest are copied first, and
every byte of the copy is read again. Nothing is taken away from where it lies.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for flag, value := range map[string]string{"--to": o.to, "--reason": o.reason} {
				if strings.TrimSpace(value) == "" {
					return usagef("%s is missing", flag)
				}
			}
			return g.withItem(cmd.Context(), o.caseID, args[0], func(ctx context.Context, h *heldItem) error { return h.transfer(ctx, o) })
		},
	}
	addCaseFlag(cmd, &o.caseID)
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "who receives it (required)")
	f.StringVar(&o.reason, "reason", "", "why (required)")
	f.StringVar(&o.copyTo, "copy-to", "", "also copy it to this store and verify the copy")
	return cmd
}

func (h *heldItem) transfer(ctx context.Context, o transferOptions) error {
	manifest, err := h.w.putManifest(ctx, h.j, h.r, h.store, "")
	if err != nil {
		return fmt.Errorf("the manifest that goes with item %s: %w", h.item.ID, err)
	}
	t := evidence.Transfer{
		Item: h.item, From: journal.Self(), To: o.to, Reason: o.reason, Manifest: manifest, At: h.w.clock.Now(),
	}
	if o.copyTo != "" {
		to, err := h.w.openStore(ctx, o.copyTo, h.w.appender(h.j), h.j.Case().ID)
		if err != nil {
			return err
		}
		if err := h.copy(ctx, to, manifest, o.reason); err != nil {
			return incident.WithHint(fmt.Errorf("copying item %s to %s: %w", h.item.ID, to, err), "it was not handed over; the same command again goes on: what was copied whole stays")
		}
		t.CopiedTo = to.String()
	}
	event, err := evidence.PutTransfer(ctx, h.store, h.j.Case(), t, h.j.SignText)
	if err != nil {
		return err
	}
	if err := h.custody(ctx, event); err != nil {
		return err
	}
	if err := h.w.putCheckpoint(ctx, h.j, h.store, ""); err != nil {
		fmt.Fprintf(h.w.g.err, "warning: the journal is not anchored: %v\n", err)
	}
	if h.w.g.output == "json" {
		return h.w.g.printJSON(event)
	}
	_, err = fmt.Fprintf(h.w.g.out, "%s%s is handed over to %s; signed in %s\n%s", banner(h.r.state.Case.Rehearsal), h.item.ID, o.to, event.Detail, event.Note)
	return err
}

// copy copies the item and the manifest, and verifies the copy from the other store.
func (h *heldItem) copy(ctx context.Context, to evidence.Store, manifest evidence.Item, reason string) error {
	unlocked := false
	if err := to.Check(ctx); errors.Is(err, evidence.ErrNotLocked) {
		// It is a copy: what is locked stays where it is.
		unlocked = true
		fmt.Fprintf(h.w.g.err, "warning: the copy is not write-once: %v\n", err)
	} else if err != nil {
		return err
	}
	var objects []evidence.Version
	for _, it := range append(h.withBases(ctx), manifest) {
		of, err := evidence.Objects(ctx, h.store, it)
		if err != nil {
			return err
		}
		objects = append(objects, of...)
	}
	what := fmt.Sprintf("%d object(s) to %s", len(objects), to)
	if err := h.custody(ctx, evidence.CustodyEvent{Event: evidence.EventCopying, Reason: reason, Detail: what}); err != nil {
		return err
	}
	if err := h.copyObjects(ctx, to, objects, unlocked); err != nil {
		return err
	}
	found, err := evidence.Verifier{
		Store: to, Now: h.w.clock.Now(), Images: verifyImage, Item: h.item.ID, Progress: newMeter(h.w.g, h.w.clock, "verifying the copy").show,
	}.Case(ctx, h.j.Case())
	if err != nil {
		return err
	}
	if !found.Verified || len(found.Items) != 1 || found.Items[0].State != evidence.StateVerified {
		h.w.g.printCase(h.w.g.err, to.String(), found)
		return fmt.Errorf("%w: the copy is not the original", evidence.ErrDigest)
	}
	return h.custody(ctx, evidence.CustodyEvent{Event: evidence.EventCopied, Reason: reason, Detail: what + ", verified there"})
}

// withBases are the item and, of an image of changes, the images that it builds
// on: without them it can't be restored. An index that can't be read is found by the verification.
func (h *heldItem) withBases(ctx context.Context) []evidence.Item {
	all := []evidence.Item{h.item}
	if h.item.Kind != evidence.KindDiskImage {
		return all
	}
	image, err := diskimage.Open(ctx, h.store, evidence.Ref{Key: h.item.Key, Version: h.item.Version, SHA256: h.item.SHA256, Bytes: h.item.Bytes})
	for ; err == nil && image.Base() != nil; image = image.Base() {
		if base, ok := h.r.custody.Item(image.Image().Base.Item); ok {
			all = append(all, base)
		}
	}
	return all
}

// copyObjects streams one after the other: each is as fast as the two stores are.
func (h *heldItem) copyObjects(ctx context.Context, to evidence.Store, objects []evidence.Version, unlocked bool) error {
	var total, done int64
	for _, v := range objects {
		total += v.Bytes
	}
	var mu sync.Mutex
	m := newMeter(h.w.g, h.w.clock, "copying "+h.item.ID)
	progress := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += int64(n)
		m.show(done, total)
	}
	for _, v := range objects {
		o := evidence.PutOptions{AllowUnlocked: unlocked, Metadata: map[string]string{"case": h.j.Case().ID, "copy-of": v.Location}}
		if _, err := evidence.Copy(ctx, h.store, to, v, o, progress); err != nil {
			return err
		}
	}
	return nil
}
