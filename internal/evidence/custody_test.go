package evidence_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

func entry(t *testing.T, seq uint64, kind incident.EntryType, data any) incident.Entry {
	t.Helper()
	b, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return incident.Entry{Seq: seq, Time: time.Unix(int64(seq), 0).UTC(), Type: kind, Actor: "ana@desk", Data: b}
}

func TestAnItemRecordedTwiceByAResumedStepCountsOnce(t *testing.T) {
	c := evidence.NewCustody()
	it := evidence.Item{ID: "metadata-i-1", Kind: evidence.KindMetadata, Location: "s3://b/k", SHA256: "ab"}
	again := it
	again.Notes = []string{"stored by an earlier try"}
	for i, e := range []incident.Entry{
		entry(t, 1, incident.EntryEvidence, it),
		entry(t, 2, incident.EntryCustody, evidence.CustodyEvent{Item: it.ID, Event: "acquired"}),
		entry(t, 3, incident.EntryNote, incident.Note{Text: "not about evidence"}),
		entry(t, 4, incident.EntryEvidence, again),
	} {
		if err := c.Add(e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	if len(c.Items) != 1 {
		t.Fatalf("got %d items", len(c.Items))
	}
	ev := c.EventsOf(it.ID)
	if len(ev) != 1 || ev[0].By != "ana@desk" || ev[0].Seq != 2 || !ev[0].Time.Equal(time.Unix(2, 0)) {
		t.Fatalf("events %+v", ev)
	}
	if got, ok := c.Item(it.ID); !ok || got.SHA256 != "ab" {
		t.Fatalf("item %+v %v", got, ok)
	}
	m := c.Manifest(incident.Case{ID: "INC-1", Rehearsal: true}, time.Unix(9, 0))
	if m.Case != "INC-1" || !m.Rehearsal || len(m.Items) != 1 || len(m.Events) != 1 {
		t.Fatalf("manifest %+v", m)
	}
}

func TestContradictingEntriesAreRefused(t *testing.T) {
	it := evidence.Item{ID: "x", Kind: evidence.KindLog, Location: "s3://b/k", SHA256: "ab"}
	other := it
	other.SHA256 = "cd"
	for name, e := range map[string]incident.Entry{
		"other bytes":     entry(t, 2, incident.EntryEvidence, other),
		"no ID":           entry(t, 2, incident.EntryEvidence, evidence.Item{}),
		"unknown item":    entry(t, 2, incident.EntryCustody, evidence.CustodyEvent{Item: "y", Event: "fetched"}),
		"not a JSON item": {Seq: 2, Type: incident.EntryEvidence, Data: []byte(`[]`)},
	} {
		c := evidence.NewCustody()
		if err := c.Add(entry(t, 1, incident.EntryEvidence, it)); err != nil {
			t.Fatal(err)
		}
		if err := c.Add(e); err == nil || !strings.Contains(err.Error(), "entry 2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAKeyStaysInTheFolderOfItsRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := incident.Case{ID: rapid.String().Draw(t, "case"), Rehearsal: rapid.Bool().Draw(t, "rehearsal")}
		run, name := rapid.String().Draw(t, "run"), rapid.String().Draw(t, "name")
		key := evidence.Key(c, run, name)
		if c.ID == "" || run == "" || name == "" {
			return
		}
		if parts := strings.Split(key, "/"); len(parts) != 4 || path.Clean(key) != key {
			t.Fatalf("key %q", key)
		}
		if strings.HasPrefix(key, "cases/") == c.Rehearsal {
			t.Fatalf("key %q of a case with rehearsal=%v", key, c.Rehearsal)
		}
	})
}

// Whatever happens to items, in whatever order: every event is kept, as it came, and an item is held
// if the last of its holds and releases was a hold.
func TestCustodyKeepsEveryEventAndTheLastHoldCounts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, held, events := evidence.NewCustody(), make(map[string]bool), make(map[string][]string)
		verified := make(map[string]uint64)
		owed := false
		ids := []string{"a-1", "b-1", "c-1"}
		seq := uint64(0)
		add := func(kind incident.EntryType, data any) {
			seq++
			if err := c.Add(entry(t, seq, kind, data)); err != nil {
				rt.Fatal(err)
			}
		}
		for _, id := range ids {
			add(incident.EntryEvidence, evidence.Item{ID: id, Kind: evidence.KindLog, Location: "s3://b/" + id, SHA256: "ab"})
			owed = true
		}
		for range rapid.IntRange(0, 40).Draw(rt, "events") {
			id := rapid.SampledFrom(ids).Draw(rt, "item")
			what := rapid.SampledFrom([]string{
				evidence.EventHolding, evidence.EventHeld, evidence.EventReleasing, evidence.EventReleased, evidence.EventVerified,
				evidence.EventFetched, evidence.EventTransferred, "manifest", "checkpoint",
			}).Draw(rt, "event")
			switch what {
			case "manifest":
				add(incident.EntryEvidence, evidence.Item{ID: fmt.Sprintf("manifest-%d", seq), Kind: evidence.KindManifest})
				owed = false
				continue
			case "checkpoint":
				add(incident.EntryEvidence, evidence.Item{ID: fmt.Sprintf("checkpoint-%d", seq), Kind: evidence.KindCheckpoint})
				continue
			case evidence.EventHeld, evidence.EventReleased:
				held[id] = what == evidence.EventHeld
			case evidence.EventVerified:
				verified[id] = seq + 1
			}
			add(incident.EntryCustody, evidence.CustodyEvent{Item: id, Event: what, To: "the court", Note: "signed"})
			events[id], owed = append(events[id], what), true
		}
		for _, id := range ids {
			var got []string
			for _, e := range c.EventsOf(id) {
				got = append(got, e.Event)
			}
			if !slices.Equal(got, events[id]) || c.Held(id) != held[id] {
				rt.Fatalf("%s: events %v, held %v; want %v, %v", id, got, c.Held(id), events[id], held[id])
			}
			if last, ok := c.LastVerification(id); ok != (verified[id] != 0) || last.Seq != verified[id] {
				rt.Fatalf("%s: verified at entry %d, want %d", id, last.Seq, verified[id])
			}
		}
		if c.OwesManifest() != owed {
			rt.Fatalf("a manifest is owed: %v, want %v", c.OwesManifest(), owed)
		}
		if m := c.Manifest(incident.Case{ID: "INC-1"}, time.Unix(9, 0)); m.Entries != seq || len(m.Events) != len(c.Events) {
			rt.Fatalf("%d entries, the manifest says %d", seq, m.Entries)
		}
	})
}

// A manifest whose bytes, or whose note, are changed in any place is not taken.
func TestAChangedManifestIsNotTaken(t *testing.T) {
	private, public, err := note.GenerateKey(nil, "example.org/case/INC-1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	c := evidence.NewCustody()
	if err := c.Add(entry(t, 0, incident.EntryEvidence, evidence.Item{ID: "a-1", Kind: evidence.KindLog, Location: "s3://b/a", SHA256: "ab"})); err != nil {
		t.Fatal(err)
	}
	s := vault.NewDirectory(t.TempDir())
	of := incident.Case{ID: "INC-1", PublicKey: public}
	m := c.Manifest(of, time.Unix(9, 0))
	m.Items[0].Key, m.Items[0].Mode = "k", evidence.ModeNone // so that an unlocked store takes it
	it, err := evidence.PutManifest(t.Context(), s, of, m, func(text string) (string, error) {
		b, err := note.Sign(&note.Note{Text: text}, signer)
		return string(b), err
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(key string) []byte {
		r, err := s.Get(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	manifest, signed := read(it.Key), read(strings.TrimSuffix(it.Key, ".json")+".note")
	for _, key := range []string{public, ""} {
		if got, err := evidence.ReadManifest(manifest, signed, key); err != nil || len(got.Items) != 1 || got.Case != "INC-1" {
			t.Fatalf("%+v, error %v", got, err)
		}
	}
	for i := range manifest {
		changed := slices.Clone(manifest)
		changed[i] ^= 1
		if _, err := evidence.ReadManifest(changed, signed, public); err == nil {
			t.Errorf("the manifest with byte %d changed was taken", i)
		}
	}
	end := bytes.LastIndexByte(signed, ' ') // after it the signature, whose last digit has unused bits
	for i := range signed[:end] {
		changed := slices.Clone(signed)
		changed[i] ^= 1
		if _, err := evidence.ReadManifest(manifest, changed, public); err == nil {
			t.Errorf("the note with byte %d changed was taken", i)
		}
	}
}
