package evidence

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// checkpointFolder stands where a run's ID stands in other keys.
const checkpointFolder = "checkpoints"

// maxCheckpoint bounds what is read as one: a signed note is a few hundred bytes.
const maxCheckpoint = 64 << 10

// PutCheckpoint anchors a journal's checkpoint in the store. The same
// checkpoint put twice is one object.
func PutCheckpoint(ctx context.Context, s Store, c incident.Case, cp incident.Checkpoint, now time.Time) (Item, error) {
	name := fmt.Sprintf("%012d.note", cp.Size)
	key := Key(c, checkpointFolder, name)
	o, err := s.Put(ctx, key, strings.NewReader(cp.Note), PutOptions{ContentType: "text/plain; charset=utf-8"})
	if err != nil {
		return Item{}, err
	}
	return Item{
		ID: fmt.Sprintf("checkpoint-%d", cp.Size), Kind: KindCheckpoint, Source: "journal of case " + c.ID,
		Key: key, Location: o.Location, Version: o.Version, SHA256: o.SHA256, Bytes: o.Bytes,
		Mode: o.Mode, RetainUntil: o.RetainUntil, Acquired: now,
	}, nil
}

// Checkpoints reads every checkpoint anchored for the case, by the store's own
// list: a journal that lost its tail can't hide one.
func Checkpoints(ctx context.Context, s Store, c incident.Case) ([]incident.Checkpoint, error) {
	objects, err := s.List(ctx, strings.TrimSuffix(Key(c, checkpointFolder, "x"), "x"))
	if err != nil {
		return nil, err
	}
	var all []incident.Checkpoint
	for _, o := range objects {
		var size uint64
		if n, err := fmt.Sscanf(o.Key[strings.LastIndex(o.Key, "/")+1:], "%d.note", &size); n != 1 || err != nil {
			continue // a digest beside an object, or not ours
		}
		note, err := readAll(ctx, s, o)
		if err != nil {
			return nil, err
		}
		all = append(all, incident.Checkpoint{Size: size, Note: string(note), Location: o.Location})
	}
	return all, nil
}

func readAll(ctx context.Context, s Store, o Object) ([]byte, error) {
	return readBounded(ctx, s, o, maxCheckpoint)
}

// readBounded reads a document; one that is larger is an error.
func readBounded(ctx context.Context, s Store, o Object, limit int64) ([]byte, error) {
	r, err := s.Get(ctx, o.Key, o.Version)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", o.Location, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("reading %s: larger than %d bytes", o.Location, limit)
	}
	return b, nil
}
