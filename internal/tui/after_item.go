package tui

import (
	"context"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// itemScreen is an evidence item with its custody. The screen below it follows the journal.
type itemScreen struct {
	of     *After
	id     string
	scroll scroll
}

// Init has nothing to start.
func (s *itemScreen) Init(context.Context) tea.Cmd { return nil }

// Update scrolls, and does what the list of evidence does.
func (s *itemScreen) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		if s.of.prompt != nil {
			return s.of.key(msg)
		}
		if item, ok := s.of.view.Custody.Item(s.id); ok && !s.scroll.key(msg.String()) {
			return s.of.itemKey(msg.String(), item)
		}
	case tea.PasteMsg:
		return s.of.Update(msg)
	}
	return nil
}

// View draws the item.
func (s *itemScreen) View(size Size) string {
	item, ok := s.of.view.Custody.Item(s.id)
	if !ok {
		return ""
	}
	text := ""
	for _, l := range s.of.news(size.W) {
		text += l + "\n"
		size.H--
	}
	if p := s.of.prompt; p != nil {
		const height = 3
		size.H -= height
		return text + frame(s.scroll.view(s.of.env.Theme, s.of.itemText(item, size.W), size), size) + "\n" + p.view(s.of.env.Theme, size.W)
	}
	return text + s.scroll.view(s.of.env.Theme, s.of.itemText(item, size.W), size)
}

// Title is the item's kind.
func (s *itemScreen) Title() string {
	if item, ok := s.of.view.Custody.Item(s.id); ok {
		return string(item.Kind)
	}
	return s.id
}

// CaseID is the case's.
func (s *itemScreen) CaseID() string { return s.of.caseID }

// Command shows the same.
func (s *itemScreen) Command() string {
	return s.of.env.Cordon.Line("evidence", "show", "--case", s.of.caseID, s.id)
}

// Typing tells whether a text is asked for.
func (s *itemScreen) Typing() bool { return s.of.Typing() }

// Keys are those of the list.
func (s *itemScreen) Keys() []Key {
	if s.of.prompt != nil {
		return s.of.Keys()
	}
	return append(s.of.evidenceKeys()[1:], Key{"up down", "scroll"})
}

// itemText is an item with what was found of it and its custody.
func (a *After) itemText(it evidence.Item, width int) string {
	d := &detail{t: a.env.Theme, width: width}
	d.rule(clean(it.ID))
	m := a.verification(it.ID)
	d.b.WriteString(a.env.Theme.Dim.Render(fit("verified", 15)) + m.String() + "\n")
	if found := a.evidence.found(it.ID); found != nil {
		d.text("AWS shows", found.Shown)
		for _, f := range found.Findings {
			for _, l := range wrap(findingText(d.t, f), width-16) {
				d.b.WriteString(fit("", 15) + l + "\n")
			}
		}
	}
	d.text("kept", a.keptText(it))
	if a.view.Custody.Held(it.ID) {
		d.text("legal hold", "on: nobody can delete it")
	}
	d.text("source", it.Source)
	if it.Bytes > 0 {
		d.text("stored", fmt.Sprintf("%d bytes", it.Bytes))
	}
	if it.ContentBytes > 0 {
		d.text("content", fmt.Sprintf("%s, %d bytes", bytesText(it.ContentBytes), it.ContentBytes))
	}
	d.text("sha256", it.SHA256)
	d.text("of the content", it.ContentSHA256)
	d.text("acquired", it.Acquired.UTC().Format("2006-01-02 15:04:05 UTC"))
	d.text("location", it.Location)
	for _, n := range it.Notes {
		d.text("note", n)
	}
	events := a.view.Custody.EventsOf(it.ID)
	d.rule("custody, " + count(len(events), "event", "events"))
	for _, e := range events {
		d.custody(e)
	}
	return d.b.String()
}

// custody is an event: when, what, who, why, with what result.
func (d *detail) custody(e evidence.Event) {
	head := d.t.Dim.Render(fmt.Sprintf("%s  #%d ", e.Time.UTC().Format("2006-01-02 15:04:05"), e.Seq)) + d.t.Strong.Render(clean(e.Event)) + " by " + clean(e.By)
	if e.To != "" {
		head += " to " + clean(e.To)
	}
	d.line(head)
	for _, text := range []string{e.Reason, e.Detail} {
		if text == "" {
			continue
		}
		for _, l := range wrap(clean(text), d.width-7) {
			d.b.WriteString("      " + l + "\n")
		}
	}
}
