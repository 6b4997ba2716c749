package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// maxIndex bounds what is read as an image's index: 64 MiB are the segments of many PiB.
const maxIndex = 64 << 20

// earlierImage finds, in the store alone, the newest finished image of a volume that the case
// holds, other than the snapshot's own; nil where there is none.
func earlierImage(ctx context.Context, store evidence.Store, c incident.Case, volume, snapshot string, bytes int64) (*evidence.Base, error) {
	objects, err := store.List(ctx, evidence.Folder(c))
	if err != nil {
		return nil, fmt.Errorf("earlier images of %s: %w", volume, err)
	}
	var newest evidence.Image
	var base *evidence.Base
	for _, o := range objects {
		// Of an image's objects only the index is called ITEM.json.
		item, isJSON := strings.CutSuffix(path.Base(o.Key), ".json")
		if !isJSON || !strings.HasPrefix(item, diskID("")) || strings.Contains(item, ".") || item == diskID(snapshot) {
			continue
		}
		image, err := readImage(ctx, store, o)
		if err != nil {
			return nil, err
		}
		if image.Schema != evidence.ImageSchema || image.Volume != volume || image.Bytes > bytes || image.Acquired.Before(newest.Acquired) {
			continue
		}
		obj, err := store.Stat(ctx, o.Key, o.Version)
		if err != nil {
			return nil, err
		}
		newest = image
		base = &evidence.Base{Item: image.Item, Snapshot: image.Snapshot, Ref: refOf(obj)}
	}
	return base, nil
}

func refOf(o evidence.Object) evidence.Ref {
	return evidence.Ref{Key: o.Key, Version: o.Version, SHA256: o.SHA256, Bytes: o.Bytes}
}

// readImage reads an image's index.
func readImage(ctx context.Context, store evidence.Store, o evidence.Object) (image evidence.Image, err error) {
	r, err := store.Get(ctx, o.Key, o.Version)
	if err != nil {
		return image, err
	}
	defer r.Close()
	if err := json.NewDecoder(io.LimitReader(r, maxIndex)).Decode(&image); err != nil {
		return image, fmt.Errorf("index %s: %w", o.Location, err)
	}
	return image, nil
}
