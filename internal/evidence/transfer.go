package evidence

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// transferFolder stands where a run's ID stands in other keys.
const transferFolder = "transfers"

// Transfer is who hands an item over to whom, and why.
type Transfer struct {
	Item     Item
	From, To string
	Reason   string
	Manifest Item // the list of what the case has at that moment
	CopiedTo string
	At       time.Time
}

// text is what is signed: what a person reads.
func (t Transfer) text(c incident.Case) string {
	var b strings.Builder
	b.WriteString("cordon evidence transfer\n")
	for _, line := range [][2]string{
		{"case", c.ID}, {"item", t.Item.ID}, {"location", t.Item.Location}, {"sha256", t.Item.SHA256},
		{"from", t.From}, {"to", t.To}, {"reason", t.Reason}, {"copied to", t.CopiedTo},
		{"at", t.At.UTC().Format(time.RFC3339Nano)}, {"manifest", t.Manifest.Location}, {"manifest sha256", t.Manifest.SHA256},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s %s\n", line[0], strings.Join(strings.Fields(line[1]), " "))
		}
	}
	return b.String()
}

// PutTransfer signs the transfer, keeps the note in the store, and returns the
// custody event that says so.
func PutTransfer(ctx context.Context, s Store, c incident.Case, t Transfer, sign func(text string) (string, error)) (CustodyEvent, error) {
	signed, err := sign(t.text(c))
	if err != nil {
		return CustodyEvent{}, fmt.Errorf("signing the transfer of item %s: %w", t.Item.ID, err)
	}
	name := strings.TrimPrefix(t.Manifest.ID, "manifest-") + "-" + t.Item.ID + ".note"
	o, err := s.Put(ctx, Key(c, transferFolder, name), strings.NewReader(signed), PutOptions{
		ContentType: "text/plain; charset=utf-8", AllowUnlocked: t.Manifest.Mode == ModeNone,
	})
	if err != nil {
		return CustodyEvent{}, err
	}
	return CustodyEvent{
		Item: t.Item.ID, Event: EventTransferred, By: t.From, To: t.To, Reason: t.Reason,
		Manifest: t.Manifest.SHA256, Note: signed, Detail: o.Location,
	}, nil
}
