package tui

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/cordon-ir/cordon/internal/incident"
)

var update = flag.Bool("update", false, "write the golden views anew")

// testdata/full-response.jsonl is 'journal export' after, with the same --rehearsal:
//
//	cordon rehearse web-tier
//	cordon note --case REHEARSAL-1 "beacon stopped at 03:02, proxy log attached to the ticket"
//	cordon release --yes --case REHEARSAL-1

// fixture are the entries of a real rehearsal: run r1, a note, release r2.
func fixture(t testing.TB) []incident.Entry {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "full-response.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []incident.Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e incident.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "" { // the last line is the checkpoint
			list = append(list, e)
		}
	}
	return list
}

// until are the entries before the first that f is true for.
func until(entries []incident.Entry, f func(incident.Entry) bool) []incident.Entry {
	for i, e := range entries {
		if f(e) {
			return entries[:i]
		}
	}
	return entries
}

func intentOf(step string) func(incident.Entry) bool {
	return func(e incident.Entry) bool { return e.Type == incident.EntryStepIntent && e.Step == step }
}

// stillClock shows one moment; who sleeps wakes when the context ends.
type stillClock struct{ now time.Time }

func (c *stillClock) Now() time.Time { return c.now }
func (c *stillClock) Sleep(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
func (c *stillClock) WithTimeout(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// desk is an App on a clock that stands still, without any process behind it.
type desk struct {
	*App
	clock *stillClock
}

func newDesk(t testing.TB, screens func(*Env) []Screen) *desk {
	t.Helper()
	clock := &stillClock{time.Date(2026, 3, 14, 3, 9, 0, 0, time.UTC)}
	env := &Env{
		Cordon: &Cordon{Program: "cordon", Globals: []string{"--rehearsal", "training"}, Home: "training/home"},
		Theme:  NewTheme(true, true), Clock: clock, Rehearsal: true,
	}
	return &desk{NewApp(t.Context(), env, screens(env)...), clock}
}

// press sends keys, by their names or as text.
func (d *desk) press(keys ...string) (cmd tea.Cmd) {
	for _, k := range keys {
		_, cmd = d.Update(keyPress(k))
	}
	return cmd
}

// paste sends what the terminal's own paste does.
func (d *desk) paste(text string) { d.Update(tea.PasteMsg{Content: text}) }

func keyPress(name string) tea.KeyPressMsg {
	named := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "tab": tea.KeyTab, "space": tea.KeySpace, "end": tea.KeyEnd, "home": tea.KeyHome}
	if code, ok := named[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if c, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(c[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// settle carries out commands that only talk to the App.
func (d *desk) settle(cmd tea.Cmd) {
	for cmd != nil {
		_, cmd = d.Update(cmd())
	}
}

// at draws in a size, without styles.
func (d *desk) at(w, h int) string {
	d.Update(tea.WindowSizeMsg{Width: w, Height: h})
	return ansi.Strip(d.draw())
}

// golden compares the App's view at the three sizes with what it was.
func (d *desk) golden(t *testing.T, name string) {
	t.Helper()
	for _, size := range []Size{{80, 24}, {120, 40}, {200, 60}} {
		path := filepath.Join("testdata", "golden", fmt.Sprintf("%s-%dx%d.txt", name, size.W, size.H))
		var b strings.Builder
		for _, l := range strings.Split(d.at(size.W, size.H), "\n") {
			b.WriteString(strings.TrimRight(l, " ") + "\n")
		}
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s is not what it was (go test ./internal/tui -update writes it anew):\n%s", path, b.String())
		}
	}
}

// runDesk shows a run as a follower would have handed it over.
func runDesk(t testing.TB, m feedMsg) (*desk, *Run) {
	t.Helper()
	var run *Run
	d := newDesk(t, func(env *Env) []Screen {
		run = NewRun(env, "REHEARSAL-1")
		return []Screen{NewHome(env), run}
	})
	run.ctx, run.feed = t.Context(), &follower{wake: make(chan struct{}, 1)}
	run.Update(m)
	return d, run
}

// waiting is the question that the runner asks before a step that asks.
func waiting(t testing.TB, entries []incident.Entry, step string) incident.Entry {
	t.Helper()
	v := NewCaseView()
	for _, e := range entries {
		v.Add(e)
	}
	run := v.Run("")
	for _, s := range run.Plan.Steps {
		if s.ID == step {
			b, err := json.Marshal(incident.StepWaiting{Impact: s.Impact, Digest: run.Plan.Digest, Changes: s.Proposal.Changes})
			if err != nil {
				t.Fatal(err)
			}
			last := entries[len(entries)-1]
			return incident.Entry{
				Seq: last.Seq + 1, Time: last.Time.Add(time.Second), Type: incident.EntryStepWaiting, Case: last.Case,
				Run: run.ID, Step: s.ID, Target: s.Target.String(), Data: b,
			}
		}
	}
	t.Fatalf("no step %s", step)
	return incident.Entry{}
}
