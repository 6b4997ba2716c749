package vault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

const imageItem = "disk-image-snap-1"

// storeImage stores a disk of three segments, the middle one a hole, and its record.
func storeImage(t *testing.T, s evidence.Resumable, c incident.Case) evidence.Item {
	t.Helper()
	return storeImageOn(t, s, c, imageItem, nil, 0, 2, 9)
}

// storeImageOn stores an image with these blocks, on top of another where there is one, and its record.
func storeImageOn(t *testing.T, s evidence.Resumable, c incident.Case, item string, on *evidence.Item, blocks ...int64) evidence.Item {
	t.Helper()
	o := diskimage.Options{
		Store: s, Key: func(name string) string { return evidence.Key(c, "r1", name) }, Put: evidence.PutOptions{AllowUnlocked: true}, Hash: on == nil,
		Image:  evidence.Image{Item: item, Snapshot: "snap-1", Bytes: 12 * evidence.BlockBytes, SegmentBytes: 4 * evidence.BlockBytes},
		Record: func(context.Context, diskimage.Record) error { return nil },
	}
	if on != nil {
		ref := evidence.Ref{Key: on.Key, Version: on.Version, SHA256: on.SHA256, Bytes: on.Bytes}
		base, err := diskimage.Open(t.Context(), s, ref)
		if err != nil {
			t.Fatal(err)
		}
		o.Base, o.Image.Base = base, &evidence.Base{Item: on.ID, Snapshot: "snap-0", Ref: ref}
	}
	image, obj, err := diskimage.Write(t.Context(), o, func(_ context.Context, w *diskimage.Writer) error {
		for _, i := range blocks {
			raw := make([]byte, evidence.BlockBytes)
			copy(raw, strings.Repeat(item+" ", int(i)+1))
			if err := w.Add(diskimage.Block{Index: i, Sum: sha256.Sum256(raw), Raw: raw}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recordImage(t, s, c, image, obj)
}

func recordImage(t *testing.T, s evidence.Store, c incident.Case, image evidence.Image, obj evidence.Object) evidence.Item {
	t.Helper()
	it := evidence.Item{
		ID: image.Item, Kind: evidence.KindDiskImage, Source: image.Snapshot, Key: obj.Key, Location: obj.Location, Version: obj.Version,
		SHA256: obj.SHA256, Bytes: obj.Bytes, Mode: obj.Mode, RetainUntil: obj.RetainUntil, ContentSHA256: image.SHA256, ContentRoot: image.Root, ContentBytes: image.Bytes,
	}
	if err := evidence.PutRecord(t.Context(), s, evidence.Record{Case: c.ID, Run: "r1", Item: it}); err != nil {
		t.Fatal(err)
	}
	return it
}

func verifyImage(ctx context.Context, s evidence.Store, ref evidence.Ref) error {
	r, err := diskimage.Open(ctx, s, ref)
	if err != nil {
		return err
	}
	return r.Verify(ctx, nil)
}

func imageReport(t *testing.T, s evidence.Store, c incident.Case) evidence.CaseReport {
	t.Helper()
	r, err := evidence.Verifier{Store: s, Now: time.Unix(0, 0), Images: verifyImage}.Case(t.Context(), c)
	if err != nil || len(r.Items) != 1 {
		t.Fatalf("%+v, error %v", r, err)
	}
	return r
}

// Every object of an image, removed or changed by one bit at any of several places, is found and named.
func TestADamagedDiskImageIsFound(t *testing.T) {
	c := incident.Case{ID: "INC-1"}
	root := t.TempDir()
	s := vault.NewDirectory(root)
	it := storeImage(t, s, c)
	if r := imageReport(t, s, c); !r.Verified || r.Items[0].State != evidence.StateVerified || len(r.Findings) != 0 {
		t.Fatalf("%+v", r)
	}
	objects, err := evidence.Objects(t.Context(), s, it)
	if err != nil || len(objects) < 10 { // index, record, and of three segments index and data, and a list of those that are no hole
		t.Fatalf("%d objects, error %v", len(objects), err)
	}
	for _, o := range objects {
		if strings.HasSuffix(o.Key, ".item.json") {
			continue // what it says is compared with manifest and journal
		}
		name := filepath.Join(root, o.Key)
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		expect := func(what string, want evidence.Problem) {
			t.Helper()
			r := imageReport(t, s, c)
			found := r.Items[0].Findings
			i := slices.IndexFunc(found, func(f evidence.Finding) bool {
				return f.Problem == want && (f.Key == o.Key || strings.Contains(f.Detail, o.Key))
			})
			if r.Verified || i < 0 {
				t.Errorf("%s, %s: %+v", o.Key, what, found)
			}
		}
		replace(t, name, nil)
		expect("removed", evidence.Missing)
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			changed := slices.Clone(whole)
			changed[at] ^= 1
			replace(t, name, changed)
			expect("changed", evidence.Altered)
		}
		replace(t, name, whole)
	}
	if r := imageReport(t, s, c); !r.Verified {
		t.Fatalf("put back: %+v", r)
	}
}

// The root is that of the whole disk, the base's blocks included: what the changes alone can't show.
func TestAnImageOfChangesIsVerifiedWithItsBase(t *testing.T) {
	c := incident.Case{ID: "INC-1"}
	root := t.TempDir()
	s := vault.NewDirectory(root)
	base := storeImage(t, s, c)
	changes := storeImageOn(t, s, c, "disk-image-snap-2", &base, 2, 5)
	report := func(item string) evidence.CaseReport {
		t.Helper()
		r, err := evidence.Verifier{Store: s, Now: time.Unix(0, 0), Images: verifyImage, Item: item}.Case(t.Context(), c)
		if err != nil || len(r.Items) != 1 {
			t.Fatalf("%+v, error %v", r, err)
		}
		return r
	}
	if r := report(changes.ID); !r.Verified {
		t.Fatalf("%+v", r)
	}

	// An index that says another root, with a digest of its own that is right, and everything else as it was.
	var image evidence.Image
	index, err := os.ReadFile(filepath.Join(root, changes.Key))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(index, &image); err != nil {
		t.Fatal(err)
	}
	image.Item, image.Root = "disk-image-snap-3", strings.Repeat("0", 64)
	forged, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := s.Put(t.Context(), evidence.Key(c, "r1", image.Item+".json"), bytes.NewReader(forged), evidence.PutOptions{AllowUnlocked: true})
	if err != nil {
		t.Fatal(err)
	}
	recordImage(t, s, c, image, obj)
	r := report(image.Item)
	if f := r.Items[0].Findings; r.Verified || !slices.ContainsFunc(f, func(f evidence.Finding) bool {
		return f.Problem == evidence.Altered && strings.Contains(f.Detail, "Merkle root")
	}) {
		t.Errorf("another root: %+v", f)
	}

	// A block of the base that the changes leave as it was.
	data := filepath.Join(root, evidence.Key(c, "r1", evidence.DataName(base.ID, 2, false)))
	whole, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	replace(t, data, whole)
	if r := report(changes.ID); r.Verified {
		t.Error("a changed block of the base was not found")
	}
	replace(t, data, nil)
	if r := report(changes.ID); r.Verified || !slices.ContainsFunc(r.Items[0].Findings, func(f evidence.Finding) bool { return f.Problem == evidence.Missing }) {
		t.Errorf("the base is gone: %+v", r.Items[0].Findings)
	}
}

// replace writes a file anew; nil removes it.
func replace(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if b != nil {
		if err := os.WriteFile(name, b, 0o400); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADiskImageInALockedBucketIsVerified(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	s := vault.NewS3(a.Config(region), locked("evidence"), a.Clock())
	c := incident.Case{ID: "INC-1"}
	it := storeImage(t, s, c)
	r, err := evidence.Verifier{Store: s, Now: a.Clock().Now(), Images: verifyImage}.Case(t.Context(), c)
	if err != nil || !r.Verified || len(r.Items) != 1 || r.Items[0].State != evidence.StateVerified || r.Items[0].Bytes < it.Bytes {
		t.Fatalf("%+v, error %v", r, err)
	}
}
