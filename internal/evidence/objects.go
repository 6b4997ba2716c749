package evidence

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Objects are the versions that an item consists of, its record and the digests and
// signatures beside it included: the recorded version of the item's own object,
// the oldest of the others. An item without bytes in the store has none.
func Objects(ctx context.Context, s Store, it Item) ([]Version, error) {
	if it.Key == "" {
		return nil, nil
	}
	var all []Version
	for _, prefix := range it.prefixes() {
		found, err := s.Versions(ctx, prefix)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	chosen := make(map[string]Version)
	for _, v := range all {
		own := v.Key == it.Key && it.Version != "" && it.keptIn(s)
		switch {
		case v.DeleteMarker, own && v.Version != it.Version:
		default:
			chosen[v.Key] = v // the newest come first: the oldest stays
		}
	}
	if _, ok := chosen[it.Key]; !ok {
		return nil, fmt.Errorf("item %s: %s: %w", it.ID, it.Location, ErrNotFound)
	}
	var objects []Version
	for _, v := range chosen {
		objects = append(objects, v)
	}
	slices.SortFunc(objects, func(a, b Version) int { return strings.Compare(a.Key, b.Key) })
	return objects, nil
}

// prefixes of the keys of an item's objects: every name begins with the item's
// ID and a dot, but for anchors, which are named by their number.
func (it Item) prefixes() []string {
	switch it.Kind {
	case KindCheckpoint:
		return []string{it.Key}
	case KindManifest:
		return []string{it.Key, strings.TrimSuffix(it.Key, ".json") + ".note"}
	default:
		return []string{path.Join(path.Dir(it.Key), segment(it.ID)) + "."}
	}
}

// keptIn reports whether s is the store that the item was recorded in. In a copy
// of it the versions are others.
func (it Item) keptIn(s Store) bool {
	return strings.HasPrefix(it.Location, strings.TrimSuffix(s.String(), "/")+"/")
}

// Copy puts an object of one store into another, under the same key. It fails
// with ErrDigest where the source does not hold what its own digest says.
func Copy(ctx context.Context, from, to Store, v Version, o PutOptions, progress func(n int)) (Object, error) {
	src, err := from.Stat(ctx, v.Key, v.Version)
	if err != nil {
		return Object{}, err
	}
	body, err := from.Get(ctx, v.Key, v.Version)
	if err != nil {
		return Object{}, err
	}
	defer body.Close()
	o.SHA256 = src.SHA256
	return to.Put(ctx, v.Key, reading{body, progress}, o)
}

type reading struct {
	io.Reader
	progress func(n int)
}

func (r reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.progress(n)
	return n, err
}
