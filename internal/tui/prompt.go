package tui

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
)

// prompt takes a line of text on the screen that shows it, in two lines.
type prompt struct {
	asks  string // what for
	empty bool   // an empty answer is one too
	typed textinput.Model
	then  func(text string) tea.Cmd
}

func newPrompt(asks, placeholder, value string, empty bool, then func(string) tea.Cmd) *prompt {
	p := &prompt{asks: asks, empty: empty, typed: newInput(placeholder), then: then}
	p.typed.SetValue(value)
	p.typed.CursorEnd()
	return p
}

func (p *prompt) input(msg tea.Msg) { p.typed, _ = p.typed.Update(msg) }

// key takes a key; over is called when nothing more is asked for.
func (p *prompt) key(msg tea.KeyPressMsg, over func()) tea.Cmd {
	switch msg.String() {
	case keyBack:
		over()
	case "enter":
		text := strings.TrimSpace(p.typed.Value())
		if text == "" && !p.empty {
			return nil
		}
		over()
		return p.then(text)
	default:
		p.input(msg)
	}
	return nil
}

func (p *prompt) view(t *Theme, width int) string {
	p.typed.SetWidth(width - 4)
	return " " + t.Rule(clean(p.asks), width-2) + "\n > " + p.typed.View() + "\n"
}
