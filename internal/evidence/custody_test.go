package evidence_test

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
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
