package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Vandal does to a store's objects what somebody can who may write there, but
// not bypass a lock. Keys are the store's own.
type Vandal interface {
	Overwrite(ctx context.Context, key string, b []byte) error // naming no version
	Hide(ctx context.Context, key string) error                // delete, naming no version
	Destroy(ctx context.Context, key, version string) error    // delete a version
	Shorten(ctx context.Context, key, version string) error    // let its retention end in an hour
}

// RunVerify checks that evidence in a store is verified from the store alone,
// and that whatever a vandal does is refused or found. Each call of newStore returns an empty one.
func RunVerify(t *testing.T, newStore func(t *testing.T) (evidence.Store, Vandal)) {
	for name, test := range map[string]func(*testing.T, *scene){
		"WhatIsStoredVerifies":            verifies,
		"AnotherSignatureIsFound":         otherKey,
		"WhatTheJournalDoesNotHoldShows":  otherJournal,
		"WhatLiesOnTopIsFound":            onTop,
		"WhatIsDestroyedIsRefusedOrFound": destroyed,
		"AShorterRetentionIsRefused":      shortened,
		"AHoldIsPutOnAndItsEndIsFound":    held,
		"EveryVersionIsNamed":             versions,
		"ACopyVerifies": func(t *testing.T, x *scene) {
			to, _ := newStore(t)
			copied(t, x, to)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := newStore(t)
			test(t, newScene(t, s, v))
		})
	}
}

// scene is a case with two items, of one part and of several, and a signed manifest.
type scene struct {
	store    evidence.Store
	vandal   Vandal
	c        incident.Case
	custody  *evidence.Custody
	items    []evidence.Item
	manifest evidence.Item
	locks    bool
	key      string
}

var sceneTime = time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)

func newScene(t *testing.T, s evidence.Store, v Vandal) *scene {
	t.Helper()
	private, public, err := note.GenerateKey(nil, "example.org/case/INC-1")
	if err != nil {
		t.Fatal(err)
	}
	x := &scene{
		store: s, vandal: v, c: incident.Case{ID: "INC-1", PublicKey: public}, custody: evidence.NewCustody(), key: public,
		locks: !errors.Is(s.Check(t.Context()), evidence.ErrNotLocked),
	}
	for i, name := range []string{"small-1", "large-1"} {
		n := []int{1000, 9 * mib}[i]
		obj := put(t, s, evidence.Key(x.c, "r1", name+".bin"), random(7, n))
		it := evidence.Item{
			ID: name, Kind: evidence.KindLog, Source: "i-1", Key: obj.Key, Location: obj.Location, Version: obj.Version,
			SHA256: obj.SHA256, Bytes: obj.Bytes, Mode: obj.Mode, RetainUntil: obj.RetainUntil, Acquired: sceneTime,
		}
		x.add(t, incident.EntryEvidence, it)
		if err := evidence.PutRecord(t.Context(), s, evidence.Record{Case: x.c.ID, Run: "r1", Item: it}); err != nil {
			t.Fatal(err)
		}
		x.items = append(x.items, it)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	x.manifest, err = evidence.PutManifest(t.Context(), s, x.c, x.custody.Manifest(x.c, sceneTime), func(text string) (string, error) {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		return string(signed), err
	})
	if err != nil {
		t.Fatal(err)
	}
	x.add(t, incident.EntryEvidence, x.manifest)
	return x
}

func (x *scene) add(t *testing.T, kind incident.EntryType, data any) {
	t.Helper()
	b, err := json.Marshal(data)
	if err == nil {
		err = x.custody.Add(incident.Entry{Type: kind, Data: b})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// verify from the store alone, or compared with a journal.
func (x *scene) verify(t *testing.T, custody *evidence.Custody) evidence.CaseReport {
	t.Helper()
	c := x.c
	if custody == nil {
		c.PublicKey = "" // what comes with a journal
	}
	r, err := evidence.Verifier{Store: x.store, Now: sceneTime, Custody: custody}.Case(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// problems of an item, or of none.
func problems(r evidence.CaseReport, id string) (all []evidence.Problem) {
	found := r.Findings
	for _, it := range r.Items {
		if it.ID == id {
			found = it.Findings
		}
	}
	for _, f := range found {
		if !f.Warning {
			all = append(all, f.Problem)
		}
	}
	return all
}

// found expects exactly these problems of an item, with the journal and without.
func (x *scene) found(t *testing.T, id string, want ...evidence.Problem) {
	t.Helper()
	for _, custody := range []*evidence.Custody{nil, x.custody} {
		r := x.verify(t, custody)
		got := problems(r, id)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) || r.Verified != (len(want) == 0) {
			t.Errorf("item %s, journal %v: problems %v, want %v (%+v)", id, custody != nil, got, want, r.Findings)
		}
	}
}

func verifies(t *testing.T, x *scene) {
	for _, custody := range []*evidence.Custody{nil, x.custody} {
		r := x.verify(t, custody)
		if !r.Verified || r.Manifest != x.manifest.Key || r.PublicKey != x.key {
			t.Errorf("journal %v: %+v", custody != nil, r)
		}
		for _, it := range x.items {
			i := slices.IndexFunc(r.Items, func(f evidence.ItemReport) bool { return f.ID == it.ID })
			if i < 0 || r.Items[i].State != evidence.StateVerified || r.Items[i].Bytes != it.Bytes || r.Items[i].Mode != it.Mode {
				t.Errorf("journal %v: item %s: %+v", custody != nil, it.ID, r.Items)
			}
		}
	}
	all, err := evidence.Cases(t.Context(), x.store)
	if err != nil || len(all) != 1 || all[0].ID != x.c.ID {
		t.Errorf("the store holds %+v, error %v", all, err)
	}
}

func otherKey(t *testing.T, x *scene) {
	_, x.c.PublicKey, _ = note.GenerateKey(nil, "example.org/case/INC-1")
	if r := x.verify(t, x.custody); r.Verified || !slices.Contains(problems(r, ""), evidence.BadSignature) {
		t.Errorf("%+v", r)
	}
}

func otherJournal(t *testing.T, x *scene) {
	x.custody = evidence.NewCustody() // of a journal that has lost an entry, and holds another
	it := x.items[0]
	x.add(t, incident.EntryEvidence, it)
	gone := it
	gone.ID, gone.Key = "gone-1", evidence.Key(x.c, "r1", "gone-1.bin")
	x.add(t, incident.EntryEvidence, gone)
	r := x.verify(t, x.custody)
	if got := problems(r, x.items[1].ID); !slices.Contains(got, evidence.OffJournal) {
		t.Errorf("%s, which the journal does not hold: %v", x.items[1].ID, got)
	}
	if got := problems(r, gone.ID); !slices.Contains(got, evidence.Missing) {
		t.Errorf("%s, which the store does not hold: %v", gone.ID, got)
	}
	other := it
	other.SHA256 = digest([]byte("other"))
	x.custody = evidence.NewCustody()
	x.add(t, incident.EntryEvidence, other)
	if got := problems(x.verify(t, x.custody), it.ID); !slices.Contains(got, evidence.Contradicted) {
		t.Errorf("a journal that names another digest: %v", got)
	}
}

func onTop(t *testing.T, x *scene) {
	small, large := x.items[0], x.items[1]
	if err := x.vandal.Overwrite(t.Context(), small.Key, []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if err := x.vandal.Hide(t.Context(), large.Key); err != nil {
		t.Fatal(err)
	}
	over, hidden := evidence.Overlaid, evidence.Hidden
	if !x.locks {
		over, hidden = evidence.Altered, evidence.Missing
	}
	for _, custody := range []*evidence.Custody{nil, x.custody} {
		r := x.verify(t, custody)
		if got := problems(r, small.ID); r.Verified || !slices.Equal(got, []evidence.Problem{over}) {
			t.Errorf("overwritten: %v", got)
		}
		if got := problems(r, large.ID); !slices.Equal(got, []evidence.Problem{hidden}) {
			t.Errorf("hidden: %v", got)
		}
	}
}

func destroyed(t *testing.T, x *scene) {
	it := x.items[0]
	switch err := x.vandal.Destroy(t.Context(), it.Key, it.Version); {
	case x.locks && err == nil:
		t.Error("a locked version was deleted")
	case x.locks:
		x.found(t, it.ID)
	case err != nil:
		t.Fatal(err)
	default:
		x.found(t, it.ID, evidence.Missing)
	}
}

func shortened(t *testing.T, x *scene) {
	it := x.items[0]
	if !x.locks {
		t.Skip("this store has no retention")
	}
	if err := x.vandal.Shorten(t.Context(), it.Key, it.Version); err == nil {
		t.Error("a retention was shortened")
	}
	x.found(t, it.ID)
}

func held(t *testing.T, x *scene) {
	h, ok := x.store.(evidence.Holder)
	if !ok || !x.locks {
		t.Skip("this store has no legal hold")
	}
	it := x.items[1]
	objects, err := evidence.Objects(t.Context(), x.store, it)
	if err != nil || len(objects) < 2 {
		t.Fatalf("objects of %s: %+v, error %v", it.ID, objects, err)
	}
	set := func(on bool) {
		t.Helper()
		for _, v := range objects {
			obj, err := h.Hold(t.Context(), v.Key, v.Version, on)
			if err != nil || obj.LegalHold != on || obj.Version != v.Version || obj.Mode == evidence.ModeNone {
				t.Errorf("hold %v of %s: %+v, error %v", on, v.Key, obj, err)
			}
			if again, err := x.store.Stat(t.Context(), v.Key, v.Version); err != nil || again.LegalHold != on {
				t.Errorf("hold %v of %s: Stat %+v, error %v", on, v.Key, again, err)
			}
		}
	}
	set(true)
	set(true)
	x.add(t, incident.EntryCustody, evidence.CustodyEvent{Item: it.ID, Event: evidence.EventHeld})
	x.found(t, it.ID)
	set(false)
	if got := problems(x.verify(t, x.custody), it.ID); !slices.Contains(got, evidence.HoldLifted) {
		t.Errorf("a hold that was lifted behind custody's back: %v", got)
	}
}

func versions(t *testing.T, x *scene) {
	it := x.items[0]
	named := func() []evidence.Version {
		t.Helper()
		all, err := x.store.Versions(t.Context(), it.Key)
		if err != nil || len(all) == 0 {
			t.Fatalf("%+v, error %v", all, err)
		}
		return all
	}
	if all := named(); len(all) != 1 || !all[0].Newest || all[0].DeleteMarker || all[0].Version != it.Version || all[0].Bytes != it.Bytes || all[0].Stored.IsZero() {
		t.Fatalf("%+v", all)
	}
	if !x.locks {
		return
	}
	for _, act := range []func() error{
		func() error { return x.vandal.Overwrite(t.Context(), it.Key, []byte("forged")) },
		func() error { return x.vandal.Hide(t.Context(), it.Key) },
	} {
		if err := act(); err != nil {
			t.Fatal(err)
		}
	}
	all := named()
	if len(all) != 3 || !all[0].DeleteMarker || !all[0].Newest || all[1].Newest || all[2].Version != it.Version || all[2].DeleteMarker {
		t.Fatalf("%+v", all)
	}
	oldest, err := x.store.List(t.Context(), it.Key)
	if err != nil || len(oldest) != 1 || oldest[0].Version != it.Version {
		t.Errorf("List: %+v, error %v", oldest, err)
	}
}

func copied(t *testing.T, x *scene, to evidence.Store) {
	o := options(to)
	for _, it := range append(slices.Clone(x.items), x.manifest) {
		objects, err := evidence.Objects(t.Context(), x.store, it)
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for _, v := range objects {
			if _, err := evidence.Copy(t.Context(), x.store, to, v, o, func(n int) { read += n }); err != nil {
				t.Fatalf("copying %s: %v", v.Key, err)
			}
		}
		if int64(read) < it.Bytes {
			t.Errorf("%s: %d of %d bytes were read", it.ID, read, it.Bytes)
		}
		r, err := to.Get(t.Context(), it.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || digest(b) != it.SHA256 || bytes.Equal(b, nil) {
			t.Errorf("%s: the copy has sha256 %s, error %v", it.ID, digest(b), err)
		}
	}
	x.store = to
	if r := x.verify(t, nil); !r.Verified || len(r.Items) != len(x.items) {
		t.Errorf("%+v", r)
	}
}
