package vault_test

import (
	"context"
	"crypto/sha256"
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
	key := func(name string) string { return evidence.Key(c, "r1", name) }
	image, obj, err := diskimage.Write(t.Context(), diskimage.Options{
		Store: s, Key: key, Put: evidence.PutOptions{AllowUnlocked: true}, Hash: true,
		Image:  evidence.Image{Item: imageItem, Snapshot: "snap-1", Bytes: 12 * evidence.BlockBytes, SegmentBytes: 4 * evidence.BlockBytes},
		Record: func(context.Context, diskimage.Record) error { return nil },
	}, func(_ context.Context, w *diskimage.Writer) error {
		for _, i := range []int64{0, 2, 9} {
			raw := make([]byte, evidence.BlockBytes)
			copy(raw, strings.Repeat("block ", int(i)+1))
			if err := w.Add(diskimage.Block{Index: i, Sum: sha256.Sum256(raw), Raw: raw}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	it := evidence.Item{
		ID: imageItem, Kind: evidence.KindDiskImage, Source: "snap-1", Key: obj.Key, Location: obj.Location, Version: obj.Version,
		SHA256: obj.SHA256, Bytes: obj.Bytes, Mode: obj.Mode, RetainUntil: obj.RetainUntil, ContentSHA256: image.SHA256, ContentBytes: image.Bytes,
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
