package tui

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// manyEntries is a journal of n entries: full-response on a fleet, with as many
// calls for each instance as in the fixture.
func manyEntries(b *testing.B, n int) []incident.Entry {
	b.Helper()
	entries := fleet(b, n/len(until(fixture(b), func(e incident.Entry) bool { return e.Run == "r2" })))
	template := fixture(b)
	var calls []incident.Entry
	for _, e := range template {
		switch e.Type {
		case incident.EntryCallIntent, incident.EntryCallResult, incident.EntryCallCount, incident.EntryStepRecord:
			if e.Step != "" && e.Run == "r1" {
				calls = append(calls, e)
			}
		}
	}
	steps := data[incident.RunStarted](entries[len(until(entries, func(e incident.Entry) bool { return e.Type == incident.EntryRunStarted }))]).Plan.Steps
	for i := len(entries); i < n; i++ {
		e := calls[i%len(calls)]
		s := steps[i/len(calls)%len(steps)]
		e.Seq, e.Step, e.Target = uint64(i), s.ID, s.Target.String()
		entries = append(entries, e)
	}
	return entries[:n]
}

// Issue 7: under 200 ms.
func BenchmarkFoldOf100000Entries(b *testing.B) {
	entries := manyEntries(b, 100_000)
	b.ResetTimer()
	for b.Loop() {
		v := NewCaseView()
		for _, e := range entries {
			v.Add(e)
		}
		if v.Err != nil {
			b.Fatal(v.Err)
		}
	}
}

// Issue 7: under 16 ms, with 10,000 instances and a running export.
func BenchmarkFrameWith10000Instances(b *testing.B) {
	entries := fleet(b, 10_000)
	for name, fleetView := range map[string]bool{"targets": true, "steps": false} {
		b.Run(name, func(b *testing.B) {
			d, run := runDesk(b, feedMsg{entries: entries, live: true})
			run.index.count()
			run.fleet = fleetView
			d.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
			target := run.index.targets[run.index.order[0]].Target
			var done int64
			for b.Loop() {
				done += 1 << 20
				p := incident.Progress{Run: "r1", Step: "export", Target: target.String(), What: "copying", Done: done % (1 << 40), Total: 1 << 40, Unit: "bytes"}
				d.clock.now = d.clock.now.Add(100 * time.Millisecond)
				run.Update(feedMsg{live: true, progress: []incident.Progress{p}})
				d.press("down")
				if d.View().Content == "" {
					b.Fatal("nothing is drawn")
				}
			}
		})
	}
}

// What comes once a second: the steps are counted, the targets ordered.
func BenchmarkTickWith10000Instances(b *testing.B) {
	d, _ := runDesk(b, feedMsg{entries: fleet(b, 10_000), live: true})
	for b.Loop() {
		d.Update(TickMsg{})
	}
}

func BenchmarkFrameOfAJournalOf100000Entries(b *testing.B) {
	d, _ := runDesk(b, feedMsg{entries: manyEntries(b, 100_000), live: true})
	d.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	d.settle(d.press("l"))
	b.ResetTimer()
	for b.Loop() {
		d.press("up")
		d.View()
	}
}

func BenchmarkFrameOf10000Cases(b *testing.B) {
	var m casesMsg
	var list []map[string]any
	for i := range 10_000 {
		list = append(list, map[string]any{"id": fmt.Sprintf("INC-%d", i), "title": "a case", "opened": "2026-03-14T03:00:00Z"})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(raw, &m.list); err != nil {
		b.Fatal(err)
	}
	d := homeDesk(b)
	d.top().screen.(*Home).Update(m)
	d.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	for b.Loop() {
		d.press("down")
		d.View()
	}
}
