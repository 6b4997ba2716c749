package tui

import (
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// footerOf is the last line of the screen.
func footerOf(d *desk) string {
	lines := strings.Split(d.at(200, 60), "\n")
	return lines[len(lines)-1]
}

// The process holds the case for a moment after the run's end, and an evidence
// verification holds it too: nothing is paused or interrupted then.
func TestAFinishedRunOffersNoPauseWhileItsCaseIsHeld(t *testing.T) {
	entries := fixture(t)
	ended := slices.IndexFunc(entries, func(e incident.Entry) bool { return e.Type == incident.EntryRunEnded })
	d, run := runDesk(t, feedMsg{entries: entries[:ended], live: true})
	if got := footerOf(d); !strings.Contains(got, "space pause") || !strings.Contains(got, "I interrupt") {
		t.Errorf("under way it offers %s", got)
	}
	run.Update(feedMsg{entries: entries[ended : ended+1], live: true})
	if got := footerOf(d); strings.Contains(got, "pause") || strings.Contains(got, "interrupt") || strings.Contains(got, "skip") {
		t.Errorf("once it has ended it offers %s", got)
	}
	for _, key := range []string{"space", "I"} {
		d.settle(d.press(key))
		if d.asks != nil || !strings.Contains(footerOf(d), "no run is under way") {
			t.Errorf("%s: %s", key, footerOf(d))
		}
	}
	d.settle(d.press("enter"))
	if got := footerOf(d); strings.Contains(got, "approve") || strings.Contains(got, "skip") || strings.Contains(got, "interrupt") {
		t.Errorf("a step of it offers %s", got)
	}
}

func TestAStepIsLeftOutOnlyWhileItCanBe(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: until(fixture(t), intentOf("network")), live: true})
	for step, can := range map[string]bool{"metadata": false, "network": true} {
		run.step = step
		if got := strings.Contains(footerOf(d), "s skip step"); got != can {
			t.Errorf("%s: %v is offered: %s", step, got, footerOf(d))
		}
		d.settle(d.press("s"))
		if asked := d.asks != nil; asked != can {
			t.Errorf("%s: asked %v: %s", step, asked, footerOf(d))
		}
		d.asks, d.said = nil, ""
	}
}

// A note belongs to a case; what opens a case needs one.
func TestWithoutACaseNothingIsOfferedThatNeedsOne(t *testing.T) {
	d := newDesk(t, func(env *Env) []Screen {
		home := NewHome(env)
		home.Update(casesMsg{})
		return []Screen{home}
	})
	for _, not := range []string{"n note", "enter", "evidence", "release", "filter", "choose"} {
		if got := footerOf(d); strings.Contains(got, not) {
			t.Errorf("%q is offered: %s", not, got)
		}
	}
	d.press("?")
	if got := d.at(80, 24); strings.Contains(got, "write a note") {
		t.Errorf("the help offers a note:\n%s", got)
	}
}

func TestTheHeaderNamesTheTopScreen(t *testing.T) {
	d, _ := runDesk(t, feedMsg{entries: fixture(t), caughtUp: true})
	d.settle(d.press("enter"))
	step := d.top().screen.Title()
	for _, width := range []int{60, 80, 200} {
		if got, _, _ := strings.Cut(d.at(width, 24), "\n"); !strings.Contains(got, step) || !strings.Contains(got, "REHEARSAL") {
			t.Errorf("%d wide: %s", width, got)
		}
	}
	if got := d.env.Theme.path([]string{"cases", "a long case's name", "after"}, 12); got != "… › after" {
		t.Errorf("in 12 cells: %s", got)
	}
}
