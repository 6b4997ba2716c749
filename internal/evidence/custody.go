package evidence

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Custody is a case's evidence and everything that happened to it: a fold of
// the journal's entries.
type Custody struct {
	Items  []Item  // in the order of their acquisition
	Events []Event // in the order of the journal

	byID    map[string]int
	entries uint64 // folded so far, of every type
	fresh   bool   // since the last manifest there is something that a next one would say
}

// Event is a custody event with what the journal adds to it.
type Event struct {
	CustodyEvent
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Run  string    `json:"run,omitempty"`
	Step string    `json:"step,omitempty"`
}

// NewCustody returns a custody without any evidence.
func NewCustody() *Custody { return &Custody{byID: make(map[string]int)} }

// Add folds an entry; those that don't concern evidence are passed over. An
// item that a resumed step recorded twice counts once. It fails where an
// entry contradicts an earlier one, or names an item that does not exist.
func (c *Custody) Add(e incident.Entry) error {
	c.entries++
	switch e.Type {
	case incident.EntryEvidence:
		var it Item
		if err := json.Unmarshal(e.Data, &it); err != nil {
			return fmt.Errorf("entry %d: evidence item: %w", e.Seq, err)
		}
		return c.addItem(e.Seq, it)
	case incident.EntryCustody:
		ev := Event{Seq: e.Seq, Time: e.Time, Run: e.Run, Step: e.Step}
		if err := json.Unmarshal(e.Data, &ev.CustodyEvent); err != nil {
			return fmt.Errorf("entry %d: custody event: %w", e.Seq, err)
		}
		if _, ok := c.byID[ev.Item]; !ok {
			return fmt.Errorf("entry %d: custody event %q for item %q, which the journal does not hold", e.Seq, ev.Event, ev.Item)
		}
		if ev.By == "" {
			ev.By = e.Actor
		}
		c.Events = append(c.Events, ev)
		c.fresh = true
	}
	return nil
}

func (c *Custody) addItem(seq uint64, it Item) error {
	if it.ID == "" {
		return fmt.Errorf("entry %d: evidence item without an ID", seq)
	}
	i, ok := c.byID[it.ID]
	if !ok {
		c.byID[it.ID] = len(c.Items)
		c.Items = append(c.Items, it)
		switch it.Kind {
		case KindManifest:
			c.fresh = false
		case KindCheckpoint: // signed by itself
		default:
			c.fresh = true
		}
		return nil
	}
	if old := c.Items[i]; old.SHA256 != it.SHA256 || old.Location != it.Location || old.Kind != it.Kind {
		return fmt.Errorf("entry %d: item %s was recorded before as %s (sha256 %q), now as %s (sha256 %q)",
			seq, it.ID, old.Location, old.SHA256, it.Location, it.SHA256)
	}
	return nil
}

// Item finds an item by its ID.
func (c *Custody) Item(id string) (Item, bool) {
	i, ok := c.byID[id]
	if !ok {
		return Item{}, false
	}
	return c.Items[i], true
}

// Held reports whether a legal hold was put on the item and not lifted since.
func (c *Custody) Held(id string) bool {
	held := false
	for _, e := range c.EventsOf(id) {
		switch e.Event {
		case EventHeld:
			held = true
		case EventReleased:
			held = false
		}
	}
	return held
}

// LastVerification is the newest of the item's.
func (c *Custody) LastVerification(id string) (Event, bool) {
	for _, e := range slices.Backward(c.Events) {
		if e.Item == id && e.Event == EventVerified {
			return e, true
		}
	}
	return Event{}, false
}

// OwesManifest: something happened to the evidence since the last manifest.
func (c *Custody) OwesManifest() bool { return c.fresh }

// EventsOf are the events of one item.
func (c *Custody) EventsOf(id string) []Event {
	var of []Event
	for _, e := range c.Events {
		if e.Item == id {
			of = append(of, e)
		}
	}
	return of
}
