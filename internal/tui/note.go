package tui

import (
	"errors"
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/journal"
)

// noteHeight is how many lines the prompt takes.
const noteHeight = 3

// notePrompt takes an observation for a case's journal.
type notePrompt struct {
	caseID string
	typed  textinput.Model
}

// savedNoteMsg tells what became of a note.
type savedNoteMsg struct {
	text string
	bad  bool
}

func newNotePrompt(caseID string) *notePrompt {
	return &notePrompt{caseID, newInput("what you see, or what you decided and why")}
}

func (p *notePrompt) view(t *Theme, width int) string {
	p.typed.SetWidth(width - 4)
	return " " + t.Rule("note for "+p.caseID+": Enter writes it into the journal, Esc doesn't", width-2) + "\n > " + p.typed.View() + "\n"
}

// noteInput takes a key or a paste for the note that is being written.
func (a *App) noteInput(msg tea.Msg) tea.Cmd {
	p := a.note
	if key, ok := msg.(tea.KeyPressMsg); ok {
		switch key.String() {
		case keyBack:
			a.note = nil
			a.say("no note written", false)
			return nil
		case "enter":
			text := strings.TrimSpace(p.typed.Value())
			if text == "" {
				return nil
			}
			a.note = nil
			return a.saveNote(p.caseID, text)
		}
	}
	p.typed, _ = p.typed.Update(msg)
	return nil
}

// saveNote writes through the process that holds the case, or without one.
func (a *App) saveNote(caseID, text string) tea.Cmd {
	write := func() error {
		client, err := journal.Attach(a.ctx, a.env.Cordon.Dir(caseID))
		if errors.Is(err, journal.ErrNotLive) {
			return a.env.Cordon.Do(a.ctx, "note", "--case", caseID, "--", text)
		}
		if err != nil {
			return err
		}
		return errors.Join(client.Note(a.ctx, text), client.Close())
	}
	return func() tea.Msg {
		if err := write(); err != nil {
			message, _ := explain(err)
			return savedNoteMsg{"not written: " + message + "; it said: " + text, true}
		}
		return savedNoteMsg{"noted in " + caseID + ": " + text, false}
	}
}
