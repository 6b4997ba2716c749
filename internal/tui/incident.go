package tui

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/triage"
)

// Incident finds the instances that an incident is about, and shows the triage of
// the one that is chosen. Whoever knows the ID pastes it.
type Incident struct {
	env *Env
	ctx context.Context

	search  textinput.Model
	looking bool // the keys are the triage's, not the search's

	feed  *inventory
	all   []listed
	shown []int // places in all of those that the search finds
	read  bool  // to the end
	err   error

	chosen string   // the ID of the chosen one
	marked []string // those to work on together, as --instance takes them

	reports  map[string]triagedMsg // by what was asked for
	asked    string                // what is being triaged; empty: nothing
	stopAsk  context.CancelFunc
	shownFor string // whose report the scroll belongs to
	detail   scroll
}

// triagedMsg is what 'cordon triage' answered.
type triagedMsg struct {
	id     string
	report triage.Report
	err    error
}

// NewIncident returns the search over the account's instances.
func NewIncident(env *Env) *Incident {
	return &Incident{env: env, search: newInput("ID, name, owner, address, key=value; or paste an ID"), reports: make(map[string]triagedMsg)}
}

// Init starts reading the inventory. The instance that an alert names is there at once.
func (x *Incident) Init(ctx context.Context) tea.Cmd {
	x.ctx = ctx
	x.chosen = x.env.Suspect
	return tea.Batch(x.readAgain(), x.triage())
}

func (x *Incident) readAgain() tea.Cmd {
	x.all, x.shown, x.read, x.err = nil, nil, false, nil
	x.feed = readInventory(x.ctx, x.env)
	return x.feed.next(x.ctx)
}

// Update takes keys, the inventory and triages.
func (x *Incident) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case inventoryMsg:
		return x.take(msg)
	case triagedMsg:
		x.reports[msg.id] = msg
		if x.asked == msg.id {
			x.asked = ""
		}
	case TickMsg: // who stays on an instance for a moment wants to see it; who passes by does not
		return x.triage()
	case tea.PasteMsg:
		x.looking = false
		x.search, _ = x.search.Update(tea.PasteMsg{Content: strings.TrimSpace(msg.Content)})
		x.find()
		return x.triage()
	case tea.KeyPressMsg:
		if x.looking {
			return x.look(msg.String())
		}
		return x.enter(msg)
	}
	return nil
}

// take adds what came of the inventory.
func (x *Incident) take(m inventoryMsg) tea.Cmd {
	if m.of != x.feed {
		return nil // of a reading that was given up
	}
	search := triage.NewSearch(x.search.Value())
	for _, i := range m.more {
		if search.Finds(i.text) {
			x.shown = append(x.shown, len(x.all))
		}
		x.all = append(x.all, i)
	}
	if !m.done {
		return x.feed.next(x.ctx)
	}
	x.read, x.err = true, m.err
	slices.SortStableFunc(x.all, func(a, b listed) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	x.find()
	return x.triage()
}

// find looks through all instances for what is typed.
func (x *Incident) find() {
	search := triage.NewSearch(x.search.Value())
	x.shown = x.shown[:0]
	for i := range x.all {
		if search.Finds(x.all[i].text) {
			x.shown = append(x.shown, i)
		}
	}
}

// enter takes a key of the search.
func (x *Incident) enter(msg tea.KeyPressMsg) tea.Cmd {
	switch key := msg.String(); key {
	case keyBack:
		return Pop()
	case "enter":
		if x.selected() == "" {
			return nil
		}
		x.looking = true
		return x.triage()
	case "up", "down", "pgup", "pgdown":
		x.move(map[string]int{"up": -1, "down": 1, "pgup": -10, "pgdown": 10}[key])
	case "tab":
		x.mark()
	case "ctrl+r":
		return x.readAgain()
	default:
		x.search, _ = x.search.Update(msg)
		x.find()
		if len(x.shown) == 1 {
			return x.triage() // there is nothing left to choose
		}
	}
	return nil
}

// look takes a key of the triage.
func (x *Incident) look(key string) tea.Cmd {
	switch key {
	case "enter", keyPlan:
		return Push(NewPlaybooks(x.env, x.start()))
	case keyFilter:
		x.looking = false
	case "left", "right":
		x.move(map[string]int{"left": -1, "right": 1}[key])
		return x.triage()
	case "tab":
		x.mark()
	case "r":
		delete(x.reports, x.selected())
		return x.triage()
	default:
		x.detail.key(key)
	}
	return nil
}

// start is a playbook on what is marked, or else on what is chosen.
func (x *Incident) start() Start {
	s := Start{Targets: slices.Clone(x.marked)}
	if len(s.Targets) == 0 {
		s.Targets = []string{x.selected()}
	}
	if r, ok := x.reports[s.Targets[0]]; ok && r.err == nil && len(s.Targets) == 1 {
		s.Title = strings.TrimSpace(clean(r.report.Name) + " " + r.report.ID)
	}
	return s
}

// instanceText is how --instance takes an instance: its ID, or account/region/ID.
var instanceText = regexp.MustCompile(`^([0-9]{12}/[a-z0-9-]+/)?i-[0-9a-f]{8,17}$`)

// selected is the instance that the triage is of: the chosen one, where it is shown,
// or else the first; or what was typed or pasted, which another Region may have.
func (x *Incident) selected() string {
	if at := x.at(); at < len(x.shown) {
		return x.all[x.shown[at]].ID
	}
	if typed := strings.TrimSpace(x.search.Value()); instanceText.MatchString(typed) {
		return typed
	}
	if x.search.Value() == "" && !x.read {
		return x.env.Suspect
	}
	return ""
}

// at is the chosen one's place among those shown.
func (x *Incident) at() int {
	return max(0, slices.IndexFunc(x.shown, func(i int) bool { return x.all[i].ID == x.chosen }))
}

func (x *Incident) move(by int) {
	if n := len(x.shown); n > 0 {
		x.chosen = x.all[x.shown[min(max(x.at()+by, 0), n-1)]].ID
	}
}

func (x *Incident) mark() {
	id := x.selected()
	if i := slices.Index(x.marked, id); i >= 0 {
		x.marked = slices.Delete(x.marked, i, i+1)
	} else if id != "" {
		x.marked = append(x.marked, id)
	}
}

// triage asks for the selected instance's, unless it is there or on its way. Whoever
// went on to another one wants that first.
func (x *Incident) triage() tea.Cmd {
	id := x.selected()
	if _, known := x.reports[id]; known || id == "" || id == x.asked {
		return nil
	}
	if x.stopAsk != nil {
		x.stopAsk()
	}
	var ctx context.Context
	ctx, x.stopAsk = context.WithCancel(x.ctx)
	x.asked = id
	return func() tea.Msg {
		m := triagedMsg{id: id}
		m.err = x.env.Cordon.Read(ctx, &m.report, "triage", "--instance", id)
		if ctx.Err() != nil {
			return nil
		}
		return m
	}
}

// Title is where we are.
func (x *Incident) Title() string { return "new incident" }

// CaseID is none yet.
func (x *Incident) CaseID() string { return "" }

// Command is the triage, or the search where nothing is chosen.
func (x *Incident) Command() string {
	if id := x.selected(); id != "" {
		return x.env.Cordon.Line("triage", "--instance", id)
	}
	return x.env.Cordon.Line(append([]string{"inventory"}, strings.Fields(x.search.Value())...)...)
}

// Typing tells whether letters are the search's.
func (x *Incident) Typing() bool { return !x.looking }

// Keys are those of the search, or of the triage.
func (x *Incident) Keys() []Key {
	if x.looking {
		return []Key{{"enter", "choose a playbook"}, {keyFilter, "search"}, {"up down", "scroll"}, {"left right", "other instance"}, {"tab", "mark"}, {"r", "read again"}}
	}
	return []Key{{"enter", "this one"}, {keyBack, "back"}, {"up down", "choose"}, {"tab", "mark several"}, {"ctrl+r", "read again"}}
}

// headline sums up what is shown.
func (x *Incident) headline() string {
	t := x.env.Theme
	text := fmt.Sprintf("  %d of %s", len(x.shown), count(len(x.all), "instance", "instances"))
	if !x.read {
		text += t.Accent.Render(t.sign(", reading…", ", reading"))
	}
	if n := len(x.marked); n > 0 {
		text += t.Warn.Render(fmt.Sprintf(", %d marked", n))
	}
	return text
}
