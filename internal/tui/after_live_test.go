package tui_test

import (
	"path/filepath"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/tui"
)

func TestKeysLeadFromARunToItsEvidenceAndItsRelease(t *testing.T) {
	a := newAccount(t)
	a.must(t, "--yes", "run", "contain", "--case", "INC-1", "--instance", a.instance)
	ana := a.sits(t, attached)
	ana.sees("✓ succeeded  contain")
	ana.presses(key('e'))
	ana.sees("1 evidence")
	ana.sees("· never")
	ana.presses(key('v'))
	ana.sees("every byte as it was recorded")
	ana.presses(key('t'))
	for _, answer := range []string{"K. Weber", "order 7", filepath.Join(t.TempDir(), "copy")} {
		ana.presses(tea.PasteMsg{Content: answer}, enter)
	}
	ana.sees("Hand over ")
	ana.presses(key('y'))
	ana.sees("is handed over")
	ana.presses(enter)
	ana.sees("INC-1 after › checkpoint")
	ana.sees("transferred by")
	ana.sees("to K. Weber")
	ana.presses(esc)
	ana.presses(key('2'))
	ana.sees("what can still pass")
	ana.presses(key('3'))
	ana.sees("no clean room in this case")
	ana.presses(key('u'))
	ana.sees("undoes")
	ana.presses(key('a'))
	ana.sees("To do it, type " + a.instance)
	ana.presses(tea.PasteMsg{Content: a.instance}, enter)
	ana.sees("✓ succeeded  release")
	ana.sees("u release") // its process has ended
	ana.presses(key('u'))
	ana.sees("Nothing to release")

	ben := a.sits(t, func(env *tui.Env) []tui.Screen { return []tui.Screen{tui.NewHome(env), tui.NewAfter(env, "INC-1")} })
	ben.presses(key('2'))
	ben.sees("released by r2")
}
