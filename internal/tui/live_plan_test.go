package tui_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/tui"
)

var (
	tab   = tea.KeyPressMsg{Code: tea.KeyTab}
	esc   = tea.KeyPressMsg{Code: tea.KeyEscape}
	down  = tea.KeyPressMsg{Code: tea.KeyDown}
	clear = tea.KeyPressMsg{Code: 'u', Mod: tea.ModCtrl}
	right = tea.KeyPressMsg{Code: tea.KeyRight}
)

// choosesPlaybook sits down in front of the playbooks.
func (a account) choosesPlaybook(t *testing.T) *person {
	t.Helper()
	p := a.sits(t, func(env *tui.Env) []tui.Screen { return []tui.Screen{tui.NewHome(env)} })
	p.sees("INC-1")
	p.presses(key('p'))
	p.sees("Cut the instance off, keep the service up")
	return p
}

// observesFor types a text over the value of contain's ninth input.
func (p *person) observesFor(text string) {
	p.presses(tab, down, down, down, down, down, down, down, down, enter)
	p.presses(clear, tea.PasteMsg{Content: text}, enter, tab)
}

func TestFromHomeToARunInANewCaseByKeysAlone(t *testing.T) {
	a := newAccount(t)
	ana := a.choosesPlaybook(t)
	ana.presses(tea.PasteMsg{Content: a.instance}, tab, clear, tea.PasteMsg{Content: "INC-2"}, tab)
	ana.sees("new: it is opened")
	ana.presses(tea.PasteMsg{Content: "beacon"}, tab, enter)
	ana.sees("Cut the network")
	ana.observesFor("off")
	ana.sees("changed: ")
	ana.presses(key('a'))
	ana.sees("To do it, type " + a.instance)
	ana.presses(tea.PasteMsg{Content: a.instance}, enter)
	ana.sees("succeeded  contain r1")
	ana.presses(esc)
	ana.sees("2 cases")

	var c struct {
		Title string `json:"title"`
		Runs  []struct {
			Outcome string         `json:"outcome"`
			Steps   map[string]int `json:"steps"`
		} `json:"runs"`
	}
	if err := a.Read(t.Context(), &c, "case", "show", "INC-2"); err != nil {
		t.Fatal(err)
	}
	if c.Title != "beacon" || len(c.Runs) != 1 || c.Runs[0].Outcome != "succeeded" || c.Runs[0].Steps["skipped"] != 1 {
		t.Errorf("the case is %+v", c)
	}
}

func TestAPlaybookOfOnesOwnIsCarriedOut(t *testing.T) {
	a := newAccount(t)
	file := filepath.Join(t.TempDir(), "mine.yaml")
	write := func(action string) {
		t.Helper()
		text := "name: mine\ntitle: Only keep it\nsteps:\n  - id: keep\n    action: " + action + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ana := a.choosesPlaybook(t)
	ana.presses(tea.PasteMsg{Content: a.instance}, esc)
	write("isolate.protekt")
	ana.presses(key('o'), tea.PasteMsg{Content: file}, enter)
	ana.sees("mine.yaml:5:")
	write("isolate.protect")
	ana.presses(key('o'), tea.PasteMsg{Content: file}, enter)
	ana.sees("Only keep it")
	ana.presses(enter)
	ana.sees("keep")
	ana.sees("granted")
	ana.presses(key('a'))
	ana.sees("Carry out mine")
	ana.presses(key('y'))
	ana.sees("succeeded  mine r1")
}

func TestAPlanThatChangedIsNotCarriedOut(t *testing.T) {
	a := newAccount(t)
	ana := a.choosesPlaybook(t)
	ana.presses(tea.PasteMsg{Content: a.instance}, esc, enter)
	ana.sees("Cut the network")

	// Meanwhile somebody takes the instance out of its load balancers, in another case.
	a.must(t, "case", "open", "INC-2")
	a.must(t, "run", "contain", "--case", "INC-2", "--instance", a.instance, "--yes", "--skip", "network", "--skip", "credentials", "--skip", "observe")
	ana.presses(key('a'))
	ana.sees("To do it, type " + a.instance)
	ana.presses(tea.PasteMsg{Content: a.instance}, enter)
	ana.sees("NOTHING WAS DONE")
	ana.sees("changed: ")
	if journal.Live(t.Context(), a.Dir("INC-1")) {
		t.Error("a run is under way")
	}
	ana.presses(key('a'))
	ana.sees("To do it, type " + a.instance)
}

func TestWhatTheCommandComplainsAboutIsShownBesideTheInput(t *testing.T) {
	a := newAccount(t)
	ana := a.choosesPlaybook(t)
	ana.presses(tea.PasteMsg{Content: "i-0ffffffffffffffff"}, esc, enter)
	ana.sees("AWS knows no such instance here")
	ana.sees("hint: check the ID")
	ana.presses(key('a'))
	ana.sees("this can't be approved")

	ana.presses(esc)
	ana.sees("PLAYBOOK")
	ana.presses(tab, clear, tea.PasteMsg{Content: a.instance}, esc, enter)
	ana.sees("Cut the network")
	ana.presses(tab, down, down, down, enter, clear, tea.PasteMsg{Content: "everything"}, enter)
	ana.sees("✗ everything")
	ana.sees(`"everything" is not one of auto, groups`)
	ana.sees("hint: 'cordon playbook show NAME'")
	ana.presses(key('d'), key('k'), key('k'), right)
	ana.sees("role  edited")
	ana.sees("changed: ")
	if strings.Contains(ana.screen(), "✗") {
		t.Errorf("the complaint stays:\n%s", ana.screen())
	}
}
