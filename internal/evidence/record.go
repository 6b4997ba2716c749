package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/cordon-ir/cordon/internal/incident"
)

// RecordSchema names the format of a Record.
const RecordSchema = "cordon.item/1"

// recordEnd is how the key of an item's record ends.
const recordEnd = ".item.json"

// Record says in the store itself what an item is: whoever has the store, and
// neither the journal nor the source, can check it. It lies beside the item's
// object, under the same retention. Of an item of several objects the item's own
// is the index that names the others.
type Record struct {
	Schema    string `json:"schema"`
	Case      string `json:"case"`
	Rehearsal bool   `json:"rehearsal"`
	Run       string `json:"run"`
	Step      string `json:"step,omitempty"`
	Target    string `json:"target,omitempty"` // account/region/instance
	Tool      string `json:"tool"`             // what has recorded it
	Item      Item   `json:"item"`
}

// Tool names this build, as records and manifests have it.
func Tool() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "cordon " + info.Main.Version
	}
	return "cordon (devel)"
}

// RecordKey is where the record of the case's item lies, beside its objects.
func (it Item) RecordKey() string { return path.Join(path.Dir(it.Key), segment(it.ID)+recordEnd) }

// PutRecord stores the record of an item. A record of the same item that an
// earlier try has stored stays; one of another item is ErrExists.
func PutRecord(ctx context.Context, s Store, r Record) error {
	r.Schema, r.Tool = RecordSchema, Tool()
	b, err := canonical(r)
	if err != nil {
		return fmt.Errorf("record of item %s: %w", r.Item.ID, err)
	}
	key := r.Item.RecordKey()
	switch old, err := s.Stat(ctx, key, ""); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	default:
		return sameRecord(ctx, s, old, b)
	}
	_, err = s.Put(ctx, key, bytes.NewReader(b), PutOptions{ContentType: "application/json", AllowUnlocked: r.Item.Mode == ModeNone})
	return err
}

// sameRecord compares what is stored with what would be, but for the tool: a
// later build may go on with what an earlier one began.
func sameRecord(ctx context.Context, s Store, old Object, b []byte) error {
	stored, err := readBounded(ctx, s, old, maxDocument)
	if err != nil {
		return err
	}
	var have, want Record
	if err := json.Unmarshal(b, &want); err != nil {
		return err
	}
	if err := json.Unmarshal(stored, &have); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExists, old.Location, err)
	}
	if have.Tool = want.Tool; !reflect.DeepEqual(have, want) {
		return fmt.Errorf("%w: %s records something else: %s", ErrExists, old.Location, stored)
	}
	return nil
}

// canonical is the one spelling of v as JSON (RFC 8785), so that its digest is one too.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

// Folder is under what a store keeps all of a case, with the slash at its end.
func Folder(c incident.Case) string {
	return strings.TrimSuffix(Key(c, "x", "x"), "x/x")
}
