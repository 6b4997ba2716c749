package tui

import (
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Grace is how long a question ignores keys after it has appeared, so that one
// meant for the screen below can't answer it.
const Grace = 700 * time.Millisecond

// Confirm is a question before something is done. What is disruptive or can't
// be undone must name what it is done to, in Name, which has to be typed.
type Confirm struct {
	Question string
	Impact   incident.Impact // shown unless nothing is changed
	Lines    []string        // what it will change, one thing a line
	Name     string          // to be typed; empty: y is enough
	Yes      func() tea.Cmd
}

// question is a Confirm on the screen.
type question struct {
	Confirm
	from   *page
	asked  time.Time
	typed  textinput.Model
	wrong  bool
	scroll scroll
}

func newQuestion(c Confirm, from *page, now time.Time) *question {
	q := &question{Confirm: c, from: from, asked: now, typed: newInput("")}
	return q
}

// newInput is a text field that has the cursor, which does not blink.
func newInput(placeholder string) textinput.Model {
	in := textinput.New()
	in.Prompt, in.Placeholder = "", placeholder
	styles := in.Styles()
	styles.Cursor.Blink = false
	in.SetStyles(styles)
	in.KeyMap.Paste.SetEnabled(false) // it would start another program; the terminal's own paste arrives as a message
	in.Focus()
	return in
}

// answer is what became of the question.
type answer int

const (
	undecided answer = iota
	yes
	no
)

// update takes a key or a paste.
func (q *question) update(msg tea.Msg, now time.Time) answer {
	if since := now.Sub(q.asked); since >= 0 && since < Grace {
		return undecided
	}
	if key, ok := msg.(tea.KeyPressMsg); ok {
		switch key.String() {
		case keyBack:
			return no
		case "up", "down", "pgup", "pgdown":
			q.scroll.key(key.String())
			return undecided
		case "enter":
			if q.Name == "" {
				return undecided // a stray Enter never says yes
			}
			if strings.TrimSpace(q.typed.Value()) == q.Name {
				return yes
			}
			q.wrong = true
			return undecided
		}
		if q.Name == "" {
			switch key.String() {
			case "y":
				return yes
			case "n", keyQuit:
				return no
			}
			return undecided
		}
	}
	q.wrong = false
	q.typed, _ = q.typed.Update(msg)
	return undecided
}

func (q *question) view(t *Theme, size Size) string {
	var b strings.Builder
	put := func(s string) { b.WriteString("  " + s + "\n") }
	b.WriteString("\n")
	put(t.Strong.Render(clean(q.Question)))
	if q.Impact > incident.ReadOnly {
		put(t.Impact(q.Impact).String())
	}
	b.WriteString("\n")
	var lines []string
	for _, l := range q.Lines {
		lines = append(lines, wrap(clean(l), size.W-4)...)
	}
	const around = 9 // lines that are not the changes
	room := Size{size.W, max(1, size.H-around)}
	for _, l := range strings.Split(q.scroll.view(t, strings.Join(lines, "\n"), room), "\n") {
		put(l)
	}
	b.WriteString("\n")
	if q.Name == "" {
		put("Do it?  " + t.Strong.Render("y") + " yes   " + t.Strong.Render("n") + " no")
		return b.String()
	}
	put("To do it, type " + t.Strong.Render(clean(q.Name)) + " and press Enter. Esc: don't.")
	put("> " + q.typed.View())
	if q.wrong {
		put(t.Bad.Render("that is not " + clean(q.Name)))
	}
	return b.String()
}
