package tui

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/triage"
)

// testdata/inventory.jsonl and triage.json are what these print, in a new rehearsal of web-tier:
//
//	cordon inventory --output json
//	cordon triage --instance i-0b722053402f900e4 --output json

// instances are those of the rehearsal.
func instances(t testing.TB) []listed {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "inventory.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []listed
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var i triage.Instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			t.Fatal(err)
		}
		list = append(list, listed{i, i.Text()})
	}
	return list
}

// thousands are n instances of many owners.
func thousands(t testing.TB, n int) []listed {
	one := instances(t)[0].Instance
	list := make([]listed, n)
	for k := range list {
		i := one
		i.ID, i.Name, i.Owner = fmt.Sprintf("i-%017x", k), fmt.Sprintf("app-%04d", k), fmt.Sprintf("team-%d", k%40)
		i.Private, i.Public = []string{fmt.Sprintf("10.%d.%d.%d", k>>16, k>>8&255, k&255)}, nil
		i.Tags = map[string]string{"Name": i.Name, "owner": i.Owner, "queue": "INC", "env": "prod"}
		list[k] = listed{i, i.Text()}
	}
	return list
}

// incidentDesk shows the search over these instances, without any process behind it.
func incidentDesk(t testing.TB, list []listed) (*desk, *Incident) {
	t.Helper()
	var x *Incident
	d := newDesk(t, func(env *Env) []Screen {
		x = NewIncident(env)
		return []Screen{NewHome(env), x}
	})
	x.ctx, x.feed = t.Context(), &inventory{}
	x.take(inventoryMsg{of: x.feed, more: list, done: true})
	return d, x
}

// triaged answers what the screen has asked for with the rehearsal's triage.
func triaged(t testing.TB, x *Incident) {
	t.Helper()
	x.Update(triagedMsg{id: x.asked, report: printed[triage.Report](t, "triage.json")})
}

func TestAnIncidentFindsTheInstanceAndShowsItsTriage(t *testing.T) {
	d, x := incidentDesk(t, instances(t))
	d.golden(t, "incident-reading")
	d.paste(suspect)
	if x.asked != suspect {
		t.Fatalf("a pasted ID is triaged at once; asked for %q", x.asked)
	}
	triaged(t, x)
	d.golden(t, "incident")
	d.press("enter")
	d.golden(t, "incident-triage")
	d.settle(d.press("enter"))
	p, ok := d.top().screen.(*Playbooks)
	if !ok || p.form[lineTargets].Value() != suspect || p.form[lineTitle].Value() != "web "+suspect {
		t.Errorf("Enter leads to %T", d.top().screen)
	}
}

func TestASearchNarrowsAsItIsTyped(t *testing.T) {
	d, x := incidentDesk(t, thousands(t, 10_000))
	d.golden(t, "incident-many")
	for _, c := range []struct {
		typed string
		found int
	}{{"owner=team-7", 250}, {" 10.0.0.", 7}, {"7 ", 1}, {"zzz", 0}} {
		for _, r := range c.typed {
			d.press(string(r))
		}
		if len(x.shown) != c.found {
			t.Errorf("after %q: %d found, want %d", x.search.Value(), len(x.shown), c.found)
		}
	}
	if x.selected() != "" || d.press("enter") != nil || x.looking {
		t.Error("Enter takes an instance where none is found")
	}
	d.golden(t, "incident-none")
}

func TestWhatAnotherRegionHasIsTakenAsItIsWritten(t *testing.T) {
	d, x := incidentDesk(t, instances(t))
	const elsewhere = "111122223333/eu-west-1/i-0123456789abcdef0"
	d.paste(" " + elsewhere + "\n")
	if x.selected() != elsewhere || x.asked != elsewhere {
		t.Fatalf("selected %q, asked %q", x.selected(), x.asked)
	}
	x.Update(triagedMsg{id: elsewhere, err: &CommandError{Code: 1, Message: "nothing could be triaged", Hint: "check the ID, the account and the Region"}})
	d.golden(t, "incident-elsewhere")
}

func TestOnlyTheLastOneIsAskedFor(t *testing.T) {
	d, x := incidentDesk(t, instances(t))
	first := x.selected()
	x.Update(TickMsg{})
	if x.asked != first {
		t.Fatalf("whoever stays on an instance sees its triage; asked for %q", x.asked)
	}
	stopped := false
	x.stopAsk = func() { stopped = true }
	d.press("down")
	if x.asked != first {
		t.Error("who passes by asks for a triage")
	}
	x.Update(TickMsg{})
	second := x.asked
	if second == first || !stopped {
		t.Fatalf("asked for %q, the first one is stopped: %v", second, stopped)
	}
	x.Update(triagedMsg{id: second})
	d.press("up", "down")
	if x.Update(TickMsg{}) != nil {
		t.Error("what is known is asked for again")
	}
}

func TestSeveralInstancesAreMarked(t *testing.T) {
	d, x := incidentDesk(t, instances(t))
	d.press("tab", "down", "tab", "down", "tab", "tab")
	want := []string{x.all[0].ID, x.all[1].ID}
	if !slices.Equal(x.start().Targets, want) || x.start().Title != "" {
		t.Errorf("marked %+v, want %v", x.start(), want)
	}
}

func TestAnInventoryOfAReadingThatWasGivenUpIsDropped(t *testing.T) {
	_, x := incidentDesk(t, instances(t))
	n := len(x.all)
	x.Update(inventoryMsg{of: &inventory{}, more: instances(t)})
	if len(x.all) != n {
		t.Errorf("%d instances, %d before", len(x.all), n)
	}
}

func BenchmarkKeyInASearchOf10000Instances(b *testing.B) {
	d, _ := incidentDesk(b, thousands(b, 10_000))
	d.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	keys := strings.Split("owner=team-7 10.0", "")
	for n := 0; b.Loop(); n++ {
		if n%(2*len(keys)) < len(keys) {
			d.press(keys[n%len(keys)])
		} else {
			d.Update(tea.KeyPressMsg{Code: tea.KeyBackspace})
		}
		d.draw()
	}
}
