package tui

import (
	"context"
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Journal is the whole record of a case, entry by entry. The screen below it
// follows the journal.
type Journal struct {
	env    *Env
	caseID string
	view   *CaseView
	at     int  // the chosen entry
	end    bool // the newest is chosen, as it comes
	filter textinput.Model
	typing bool
}

func newJournal(env *Env, caseID string, view *CaseView) *Journal {
	return &Journal{env: env, caseID: caseID, view: view, end: true, filter: newInput("")}
}

// Init has nothing to start.
func (j *Journal) Init(context.Context) tea.Cmd { return nil }

// Update takes keys.
func (j *Journal) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		return j.key(msg)
	case tea.PasteMsg:
		if j.typing {
			j.filter, _ = j.filter.Update(msg)
		}
	}
	return nil
}

func (j *Journal) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	if j.typing {
		switch key {
		case keyBack:
			j.filter.SetValue("")
			j.typing = false
		case "enter", "up", "down":
			j.typing = false
		default:
			j.filter, _ = j.filter.Update(msg)
		}
		return nil
	}
	switch key {
	case "up", "k":
		j.move(-1)
	case "down", "j":
		j.move(+1)
	case "pgup":
		j.move(-15)
	case "pgdown":
		j.move(+15)
	case "home", "g":
		j.at, j.end = 0, false
		j.move(0)
	case "end", "G":
		j.end = true
	case keyFilter:
		j.typing = true
	case "enter":
		if e, ok := j.chosen(); ok {
			return Push(&entryScreen{env: j.env, caseID: j.caseID, entry: e})
		}
	}
	return nil
}

// matches tells whether an entry passes the filter.
func (j *Journal) matches(e incident.Entry) bool {
	words := strings.Fields(strings.ToLower(j.filter.Value()))
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{string(e.Type), e.Step, e.Target, e.Actor, string(e.Data)}, " "))
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// move chooses the entry that is by further, among those that match.
func (j *Journal) move(by int) {
	if j.end {
		j.at, j.end = len(j.view.Entries)-1, false
	}
	way := 1
	if by < 0 {
		way, by = -1, -by
	}
	for i := j.at; by >= 0 && i >= 0 && i < len(j.view.Entries); i += way {
		if j.matches(j.view.Entries[i]) {
			j.at = i
			by--
		}
	}
}

// last is the place of the chosen entry: the last that matches, where none was chosen.
func (j *Journal) last() int {
	at := j.at
	if j.end || at >= len(j.view.Entries) {
		at = len(j.view.Entries) - 1
	}
	for i := at; i >= 0; i-- {
		if j.matches(j.view.Entries[i]) {
			return i
		}
	}
	return at
}

func (j *Journal) chosen() (incident.Entry, bool) {
	at := j.last()
	if at < 0 {
		return incident.Entry{}, false
	}
	return j.view.Entries[at], true
}

// View draws the entries around the chosen one.
func (j *Journal) View(size Size) string {
	t := j.env.Theme
	heading := "journal of " + j.caseID + ", " + count(len(j.view.Entries), "entry", "entries")
	lines := []string{t.Rule(heading, size.W)}
	if j.typing || j.filter.Value() != "" {
		lines = append(lines, " filter: "+j.filter.View())
	}
	room := size.H - len(lines)
	at := j.last()
	var rows []string
	for i := at; i >= 0 && len(rows) < room; i-- { // up to the top, then down with what room is left
		if e := j.view.Entries[i]; j.matches(e) {
			rows = append([]string{j.row(e, i == at)}, rows...)
		}
	}
	if above := room / 2; len(rows) > above && at < len(j.view.Entries)-1 {
		below := j.below(at, room-above)
		rows = append(rows[max(0, len(rows)-(room-len(below))):], below...)
	} else {
		rows = append(rows, j.below(at, room-len(rows))...)
	}
	return strings.Join(append(lines, rows...), "\n")
}

// below are the rows of at most n entries after a place.
func (j *Journal) below(at, n int) (rows []string) {
	for i := at + 1; i < len(j.view.Entries) && len(rows) < n; i++ {
		if e := j.view.Entries[i]; j.matches(e) {
			rows = append(rows, j.row(e, false))
		}
	}
	return rows
}

func (j *Journal) row(e incident.Entry, chosen bool) string {
	return j.env.Theme.Cursor(chosen) + tailLine(j.env.Theme, e, true)
}

// Title is where we are.
func (j *Journal) Title() string { return "journal" }

// CaseID is the case's.
func (j *Journal) CaseID() string { return j.caseID }

// Command shows the same.
func (j *Journal) Command() string {
	return j.env.Cordon.Line("journal", "show", "--case", j.caseID)
}

// Typing tells whether the filter is being typed.
func (j *Journal) Typing() bool { return j.typing }

// Keys choose and filter.
func (j *Journal) Keys() []Key {
	if j.typing {
		return []Key{{"enter", "keep the filter"}, {keyBack, "all entries"}}
	}
	return []Key{{"enter", "whole entry"}, {keyFilter, "filter"}, {"up down", "choose"}, {"G", "newest"}}
}

// entryScreen is one entry, whole.
type entryScreen struct {
	env    *Env
	caseID string
	entry  incident.Entry
	scroll scroll
}

// Init has nothing to start.
func (s *entryScreen) Init(context.Context) tea.Cmd { return nil }

// Update scrolls.
func (s *entryScreen) Update(msg tea.Msg) tea.Cmd {
	if key, ok := msg.(tea.KeyPressMsg); ok {
		s.scroll.key(key.String())
	}
	return nil
}

// View draws the entry with its hashes.
func (s *entryScreen) View(size Size) string {
	d := &detail{t: s.env.Theme, width: size.W}
	e := s.entry
	d.rule(count(int(e.Seq), "entry", "entries") + " before this one")
	d.text("time", e.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"))
	d.text("type", string(e.Type))
	d.text("run", e.Run)
	d.text("step", e.Step)
	d.text("target", e.Target)
	d.text("actor", e.Actor)
	d.text("hash", e.Hash)
	d.text("before", e.Prev)
	d.rule("data")
	for _, l := range indented(e.Data) {
		for _, l := range wrap(clean(l), size.W-3) {
			d.line(l)
		}
	}
	return s.scroll.view(s.env.Theme, d.b.String(), size)
}

// Title is the entry's number.
func (s *entryScreen) Title() string { return "entry " + some(int(s.entry.Seq)) }

// CaseID is the case's.
func (s *entryScreen) CaseID() string { return s.caseID }

// Command proves that the entry is in the journal.
func (s *entryScreen) Command() string {
	return s.env.Cordon.Line("journal", "prove", "--case", s.caseID, some(int(s.entry.Seq)))
}

// Typing is never the case here.
func (s *entryScreen) Typing() bool { return false }

// Keys scroll.
func (s *entryScreen) Keys() []Key { return []Key{{"up down", "scroll"}} }
