// Package storetest is what every evidence.Store must pass.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cordon-ir/cordon/internal/evidence"
)

const mib = 1 << 20

// Run checks a store against the contract in evidence.Store. Each call of
// newStore returns an empty one. A store whose Check fails with
// evidence.ErrNotLocked is held to everything but the retention, and one that
// is an evidence.Resumable to that contract, too.
func Run(t *testing.T, newStore func(t *testing.T) evidence.Store) {
	for name, test := range map[string]func(*testing.T, evidence.Store){
		"WhatIsPutComesBack":               comesBack,
		"PuttingTheSameAgainStoresNothing": putTwice,
		"OtherBytesUnderAKeyAreRefused":    putOther,
		"AWrongDigestLeavesNothing":        wrongDigest,
		"ACutReaderLeavesNothing":          cutReader,
		"ACancelledPutLeavesNothing":       cancelled,
		"WhatIsNotThereIsNotFound":         notFound,
		"WritersAtOnceEndInOneObject":      atOnce,
		"AnUnlockedStoreRefuses":           unlocked,
		"AListHoldsWhatIsUnderThePrefix":   list,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
	for name, test := range resumables {
		t.Run(name, func(t *testing.T) {
			s, ok := newStore(t).(evidence.Resumable)
			if !ok {
				t.Skip("this store takes objects whole")
			}
			test(t, s)
		})
	}
}

// random bytes, the same for the same seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func options(s evidence.Store) evidence.PutOptions {
	return evidence.PutOptions{
		ContentType: "application/octet-stream", Metadata: map[string]string{"case": "INC-1"},
		AllowUnlocked: errors.Is(s.Check(context.Background()), evidence.ErrNotLocked),
	}
}

func put(t *testing.T, s evidence.Store, key string, b []byte) evidence.Object {
	t.Helper()
	// Neither Len nor Seek: what is streamed has no known length.
	obj, err := s.Put(t.Context(), key, io.MultiReader(bytes.NewReader(b)), options(s))
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return obj
}

func absent(t *testing.T, s evidence.Store, key string) {
	t.Helper()
	if obj, err := s.Stat(t.Context(), key, ""); !errors.Is(err, evidence.ErrNotFound) {
		t.Errorf("Stat found %+v, error %v", obj, err)
	}
}

func comesBack(t *testing.T, s evidence.Store) {
	for i, n := range []int{0, 1, 8*mib - 1, 8 * mib, 8*mib + 1, 19 * mib} {
		b, key := random(uint64(i), n), fmt.Sprintf("cases/INC-1/run/%d.bin", n)
		obj := put(t, s, key, b)
		if obj.Key != key || obj.Bytes != int64(n) || obj.SHA256 != digest(b) || obj.Location == "" {
			t.Errorf("%d bytes: stored as %+v", n, obj)
		}
		if s.Check(t.Context()) == nil && (obj.Mode == evidence.ModeNone || obj.RetainUntil.IsZero()) {
			t.Errorf("%d bytes: without retention: %+v", n, obj)
		}
		if again, err := s.Stat(t.Context(), key, obj.Version); err != nil || again != obj {
			t.Errorf("%d bytes: Stat %+v, Put %+v, error %v", n, again, obj, err)
		}
		for _, version := range []string{"", obj.Version} {
			if got := get(t, s, key, version); !bytes.Equal(got, b) {
				t.Errorf("%d bytes: version %q: other bytes came back", n, version)
			}
		}
	}
}

func get(t *testing.T, s evidence.Store, key, version string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, version)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	return b
}

func putTwice(t *testing.T, s evidence.Store) {
	for _, n := range []int{100, 9 * mib} {
		b, key := random(1, n), fmt.Sprintf("twice/%d", n)
		first := put(t, s, key, b)
		if second := put(t, s, key, b); second != first {
			t.Errorf("%d bytes: first %+v, then %+v", n, first, second)
		}
	}
}

func putOther(t *testing.T, s evidence.Store) {
	for _, n := range []int{100, 9 * mib} {
		b, key := random(1, n), fmt.Sprintf("other/%d", n)
		first := put(t, s, key, b)
		for name, other := range map[string][]byte{"other": random(2, n), "shorter": b[:n-1], "longer": random(1, n+1)} {
			if obj, err := s.Put(t.Context(), key, bytes.NewReader(other), options(s)); !errors.Is(err, evidence.ErrExists) {
				t.Errorf("%d bytes, %s: got %+v, error %v", n, name, obj, err)
			}
		}
		if now, err := s.Stat(t.Context(), key, ""); err != nil || now != first {
			t.Errorf("%d bytes: what was stored is now %+v, error %v", n, now, err)
		}
	}
}

func wrongDigest(t *testing.T, s evidence.Store) {
	for _, n := range []int{100, 9 * mib} {
		b, key := random(1, n), fmt.Sprintf("wrong/%d", n)
		o := options(s)
		o.SHA256 = digest(b[1:])
		if _, err := s.Put(t.Context(), key, bytes.NewReader(b), o); !errors.Is(err, evidence.ErrDigest) {
			t.Errorf("%d bytes: got %v", n, err)
		}
		absent(t, s, key)
		o.SHA256 = digest(b)
		if _, err := s.Put(t.Context(), key, bytes.NewReader(b), o); err != nil {
			t.Errorf("%d bytes: with the right digest: %v", n, err)
		}
	}
}

var errCut = errors.New("the source broke")

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, errCut }

func cutReader(t *testing.T, s evidence.Store) {
	for _, n := range []int{0, 100, 8 * mib, 17 * mib} {
		b, key := random(1, n), fmt.Sprintf("cut/%d", n)
		if _, err := s.Put(t.Context(), key, io.MultiReader(bytes.NewReader(b), cut{}), options(s)); !errors.Is(err, errCut) {
			t.Errorf("%d bytes: got %v", n, err)
		}
		absent(t, s, key)
		put(t, s, key, b)
	}
}

// cancelling cancels once what comes before it was read.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read([]byte) (int, error) { c.cancel(); return 0, io.EOF }

func cancelled(t *testing.T, s evidence.Store) {
	for _, n := range []int{100, 9 * mib} {
		b, key := random(1, n), fmt.Sprintf("cancelled/%d", n)
		o := options(s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := s.Put(ctx, key, io.MultiReader(bytes.NewReader(b), cancelling{cancel}), o); !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: got %v", n, err)
		}
		absent(t, s, key)
		put(t, s, key, b)
	}
}

func notFound(t *testing.T, s evidence.Store) {
	absent(t, s, "nothing/here")
	if r, err := s.Get(t.Context(), "nothing/here", ""); !errors.Is(err, evidence.ErrNotFound) {
		t.Errorf("Get: %v, error %v", r, err)
	}
	put(t, s, "something", []byte("x"))
	if obj, err := s.Stat(t.Context(), "something", "no-such-version"); !errors.Is(err, evidence.ErrNotFound) {
		t.Errorf("Stat of a version: %+v, error %v", obj, err)
	}
}

func atOnce(t *testing.T, s evidence.Store) {
	b, o := random(1, 1000), options(s)
	var objs [4]evidence.Object
	var wg sync.WaitGroup
	for i := range objs {
		wg.Go(func() {
			var err error
			if objs[i], err = s.Put(t.Context(), "at/once", bytes.NewReader(b), o); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for _, obj := range objs[1:] {
		if obj != objs[0] {
			t.Errorf("%+v and %+v", objs[0], obj)
		}
	}
}

func unlocked(t *testing.T, s evidence.Store) {
	o := options(s)
	if !o.AllowUnlocked {
		t.Skip("this store locks")
	}
	o.AllowUnlocked = false
	if _, err := s.Put(t.Context(), "unlocked", bytes.NewReader(nil), o); !errors.Is(err, evidence.ErrNotLocked) {
		t.Errorf("got %v", err)
	}
	absent(t, s, "unlocked")
}

func list(t *testing.T, s evidence.Store) {
	for _, key := range []string{"cases/a/r1/2", "cases/a/r1/1", "cases/a/r10/3", "cases/b/r1/1"} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(random(1, 10)), options(s)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.List(t.Context(), "cases/a/r1/")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Key != "cases/a/r1/1" || got[1].Key != "cases/a/r1/2" || got[0].Bytes != 10 {
		t.Fatalf("got %+v", got)
	}
	r, err := s.Get(t.Context(), got[0].Key, got[0].Version)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, random(1, 10)) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if none, err := s.List(t.Context(), "cases/c/"); err != nil || len(none) != 0 {
		t.Fatalf("got %+v, %v", none, err)
	}
}
