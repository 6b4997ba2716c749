package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// caseSummary is what the screens need of one case in 'case list --output json'.
type caseSummary struct {
	incident.Case
	Closed     bool     `json:"closed"`
	Live       bool     `json:"live"`
	Entries    int      `json:"entries"`
	Evidence   int      `json:"evidence"`
	CleanRooms []string `json:"clean_rooms"` // those that are open
	Error      string   `json:"error"`
	Runs       []struct {
		ID       string                     `json:"run"`
		Kind     incident.RunKind           `json:"kind"`
		Playbook string                     `json:"playbook"`
		Outcome  incident.Outcome           `json:"outcome"`
		Started  time.Time                  `json:"started"`
		Steps    map[incident.StepState]int `json:"steps"`
		Targets  []incident.Target          `json:"targets"`
		LeftOut  []incident.LeftOut         `json:"left_out"`
	} `json:"runs"`
}

// steps counts the steps of the case's runs in a state.
func (c caseSummary) steps(s incident.StepState) (n int) {
	for _, r := range c.Runs {
		n += r.Steps[s]
	}
	return n
}

// mark says where the case stands, the most urgent first.
func (c caseSummary) mark(t *Theme) Mark {
	state := func(s incident.StepState, word string) Mark {
		m := t.State(s)
		m.Word = word
		return m
	}
	waiting, running, unknown := c.steps(incident.Waiting), c.steps(incident.Running), c.steps(incident.Unknown)
	last := len(c.Runs) - 1
	switch {
	case c.Error != "":
		return state(incident.Failed, "can't be read")
	case c.Live && waiting > 0:
		return state(incident.Waiting, count(waiting, "step waits for approval", "steps wait for approval"))
	case c.Live && running > 0:
		return state(incident.Running, count(running, "step runs", "steps run"))
	case c.Live:
		return state(incident.Running, "live")
	case unknown > 0:
		return state(incident.Unknown, count(unknown, "step unknown: resume", "steps unknown: resume"))
	case c.Closed:
		return Mark{Symbol: t.State(incident.Skipped).Symbol, Style: t.Dim, Word: "closed"}
	case last < 0:
		return state(incident.Pending, "open, nothing run")
	case c.Runs[last].Outcome == "" || c.Runs[last].Outcome == incident.OutcomeInterrupted:
		return state(incident.Unknown, "interrupted: resume")
	case c.Runs[last].Outcome == incident.OutcomeFailed:
		return state(incident.Failed, "failed")
	case c.Runs[last].Outcome == incident.OutcomeRefused:
		return state(incident.Skipped, "not approved")
	case c.Runs[last].Kind == incident.KindRelease:
		return state(incident.Reverted, "released")
	default:
		return state(incident.Succeeded, "succeeded")
	}
}

// Home lists the cases.
type Home struct {
	env  *Env
	ctx  context.Context
	list []caseSummary
	err  error

	read    bool // the list was read once
	reading bool
	ticks   int // until the cases are read again

	chosen    string // a case's ID
	filter    textinput.Model
	filtering bool
}

// casesMsg is the answer of 'case list'.
type casesMsg struct {
	list []caseSummary
	err  error
	took time.Duration
}

// NewHome returns the first screen.
func NewHome(env *Env) *Home { return &Home{env: env, filter: newInput("")} }

// Init reads the cases.
func (h *Home) Init(ctx context.Context) tea.Cmd {
	h.ctx = ctx
	return h.refresh()
}

// refresh reads the cases, unless that is being done.
func (h *Home) refresh() tea.Cmd {
	if h.reading {
		return nil
	}
	h.reading = true
	return func() tea.Msg {
		var m casesMsg
		start := h.env.Clock.Now()
		m.err = h.env.Cordon.Read(h.ctx, &m.list, "case", "list")
		m.took = h.env.Clock.Now().Sub(start)
		return m
	}
}

// Update takes keys and what was read.
func (h *Home) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case casesMsg:
		h.reading, h.read, h.err = false, true, msg.err
		// Reading all cases takes at most a tenth of the time, however long their journals are.
		h.ticks = max(3, int(10*msg.took/time.Second))
		if msg.err == nil {
			h.list = msg.list
			slices.SortStableFunc(h.list, func(a, b caseSummary) int { return b.Opened.Compare(a.Opened) })
		}
	case TickMsg:
		if h.ticks--; h.ticks <= 0 && !h.env.Theme.Still {
			return h.refresh()
		}
	case ShownMsg:
		return h.refresh()
	case tea.KeyPressMsg:
		return h.key(msg)
	case tea.PasteMsg:
		if h.filtering {
			h.filter, _ = h.filter.Update(msg)
		}
	}
	return nil
}

func (h *Home) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	if h.filtering {
		switch key {
		case "enter":
			h.filtering = false
			return nil
		case "up", "down":
			h.filtering = false
		case keyBack:
			h.filtering = false
			h.filter.SetValue("")
			return nil
		default:
			h.filter, _ = h.filter.Update(msg)
			return nil
		}
	}
	list := h.shown()
	at := h.at(list)
	switch key {
	case "up", "k":
		h.choose(list, at-1)
	case "down", "j":
		h.choose(list, at+1)
	case "home", "g":
		h.choose(list, 0)
	case "end", "G":
		h.choose(list, len(list)-1)
	case keyFilter:
		h.filtering = true
	case "r":
		return h.refresh()
	case "enter":
		if at < len(list) {
			return Push(NewRun(h.env, list[at].ID))
		}
	case keyAfter:
		if at < len(list) {
			return Push(NewAfter(h.env, list[at].ID))
		}
	case keyRelease:
		switch {
		case at >= len(list):
		case list[at].Live:
			return Warn("a run is under way in " + list[at].ID + ": open it first")
		default:
			return Push(NewRelease(h.env, list[at].ID))
		}
	case keyIncident:
		return Push(NewIncident(h.env))
	case keyPlan:
		return Push(NewPlaybooks(h.env, h.start(list)))
	}
	return nil
}

// start is a playbook in the chosen case, on what was worked on there last; where
// there is no case that is open, in a new one.
func (h *Home) start(list []caseSummary) Start {
	if at := h.at(list); at < len(list) && !list[at].Closed && list[at].Error == "" {
		s := Start{CaseID: list[at].ID}
		if n := len(list[at].Runs); n > 0 {
			s.Targets = targetNames(list[at].Runs[n-1].Targets)
		}
		return s
	}
	if h.env.Suspect != "" {
		return Start{Targets: []string{h.env.Suspect}}
	}
	return Start{}
}

// targetNames are the targets as --instance takes them.
func targetNames(targets []incident.Target) (names []string) {
	for _, t := range targets {
		names = append(names, t.String())
	}
	return names
}

// shown are the cases that match the filter.
func (h *Home) shown() []caseSummary {
	words := strings.Fields(strings.ToLower(h.filter.Value()))
	if len(words) == 0 {
		return h.list
	}
	var list []caseSummary
	for _, c := range h.list {
		text := strings.ToLower(strings.Join([]string{c.ID, c.Title, c.Severity, c.Ticket, c.Lead}, " "))
		for _, r := range c.Runs {
			for _, t := range r.Targets {
				text += " " + t.String()
			}
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			list = append(list, c)
		}
	}
	return list
}

// at is the place of the chosen case; 0 where it is not shown.
func (h *Home) at(list []caseSummary) int {
	return max(0, slices.IndexFunc(list, func(c caseSummary) bool { return c.ID == h.chosen }))
}

func (h *Home) choose(list []caseSummary, at int) {
	if len(list) > 0 {
		h.chosen = list[min(max(at, 0), len(list)-1)].ID
	}
}

// Title is where we are.
func (h *Home) Title() string { return "cases" }

// CaseID is the chosen case's.
func (h *Home) CaseID() string {
	list := h.shown()
	if len(list) == 0 {
		return ""
	}
	return list[h.at(list)].ID
}

// Command lists the cases.
func (h *Home) Command() string { return h.env.Cordon.Line("case", "list") }

// Typing tells whether the filter is being typed.
func (h *Home) Typing() bool { return h.filtering }

// Leaving names the live cases: their runs go on.
func (h *Home) Leaving() string {
	var live []string
	for _, c := range h.list {
		if c.Live {
			live = append(live, c.ID)
		}
	}
	if len(live) == 0 {
		return ""
	}
	return "live runs go on: " + strings.Join(live, ", ")
}

// Keys are those of the list.
func (h *Home) Keys() []Key {
	if h.filtering {
		return []Key{{"enter", "keep the filter"}, {keyBack, "all cases"}}
	}
	list := h.shown()
	at := h.at(list)
	var keys []Key
	if at < len(list) {
		keys = append(keys, Key{"enter", "open"})
	}
	keys = append(keys, Key{keyIncident, "new incident"}, Key{keyPlan, "playbook"})
	if at < len(list) {
		keys = append(keys, Key{keyAfter, "evidence"})
		if !list[at].Live && len(list[at].Runs) > 0 {
			keys = append(keys, Key{keyRelease, "release"})
		}
	}
	if len(h.list) > 0 {
		keys = append(keys, Key{keyFilter, "filter"})
	}
	keys = append(keys, Key{"r", "read again"})
	if len(list) > 1 {
		keys = append(keys, Key{"up down", "choose"})
	}
	return keys
}

// View draws the list, and the chosen case below or beside it.
func (h *Home) View(size Size) string {
	const wide, detail = 130, 9
	list := h.shown()
	switch {
	case h.err != nil:
		return failure(h.env.Theme, h.err, size)
	case !h.read:
		return "\n  reading the cases…"
	case len(h.list) == 0:
		return h.welcome(size)
	case size.W >= wide:
		left := size.W * 55 / 100
		return beside(h.table(list, Size{left, size.H}), left, h.detail(list, size.W-left-2), size)
	default:
		top := Size{size.W, max(4, size.H-detail)}
		return frame(h.table(list, top), top) + "\n" + h.detail(list, size.W)
	}
}

// welcome is shown while there are no cases.
func (h *Home) welcome(size Size) string {
	t := h.env.Theme
	var b strings.Builder
	b.WriteString("\n")
	if h.env.Alert != "" {
		for _, l := range wrap(h.env.Alert, size.W-4) {
			b.WriteString("  " + t.Warn.Render(l) + "\n")
		}
		b.WriteString("\n  suspected instance: " + t.Strong.Render(h.env.Suspect) + "\n")
	}
	b.WriteString("\n  " + t.Strong.Render("No cases yet.") + "\n\n")
	b.WriteString("  " + t.Strong.Render(keyIncident) + " finds the instances, and shows who owns them and what depends on them.\n")
	b.WriteString("  " + t.Strong.Render(keyPlan) + " opens a case, and plans a playbook in it.\n")
	return b.String()
}

func (h *Home) table(list []caseSummary, size Size) string {
	t := h.env.Theme
	var b strings.Builder
	b.WriteString(h.headline() + "\n")
	if h.filtering || h.filter.Value() != "" {
		b.WriteString("  filter: " + h.filter.View() + "\n")
	}
	const state, evidence, rooms = 30, 5, 6
	id := 12
	for _, c := range list {
		id = min(24, max(id, cells(c.ID)))
	}
	b.WriteString(t.Dim.Render("  "+fit("CASE", id)+"  "+fit("STATE", state)+" "+fit("EVID.", evidence)+" "+fit("ROOMS", rooms)+" TITLE") + "\n")
	at := h.at(list)
	first, last := window(at, len(list), size.H-strings.Count(b.String(), "\n"))
	for i := first; i < last; i++ {
		c := list[i]
		name := fit(clean(c.ID), id)
		if i == at {
			name = t.Selected.Render(name)
		}
		b.WriteString(t.Cursor(i == at) + name + "  " + fit(c.mark(t).String(), state) + " " +
			fit(some(c.Evidence), evidence) + " " + fit(some(len(c.CleanRooms)), rooms) + " " + clean(c.Title) + "\n")
	}
	return b.String()
}

// headline sums the cases up.
func (h *Home) headline() string {
	var waiting, live, unknown int
	for _, c := range h.list {
		unknown += min(1, c.steps(incident.Unknown))
		if c.Live {
			live++
			waiting += min(1, c.steps(incident.Waiting))
		}
	}
	t := h.env.Theme
	text := "  " + count(len(h.list), "case", "cases")
	if live > 0 {
		text += t.Accent.Render(fmt.Sprintf(", %d live", live))
	}
	if waiting > 0 {
		text += t.Warn.Render(fmt.Sprintf(", %d waiting for approval", waiting))
	}
	if unknown > 0 {
		text += t.Bad.Render(fmt.Sprintf(", %d to resume", unknown))
	}
	return text
}

// some is a number, or nothing.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// detail is the chosen case.
func (h *Home) detail(list []caseSummary, width int) string {
	if len(list) == 0 {
		return "\n  no case matches"
	}
	t, c := h.env.Theme, list[h.at(list)]
	var b strings.Builder
	b.WriteString(t.Rule(clean(c.ID), width) + "\n")
	if c.Error != "" {
		for _, l := range wrap(clean(c.Error), width-4) {
			b.WriteString("  " + t.Bad.Render(l) + "\n")
		}
		return b.String()
	}
	b.WriteString("  " + t.Strong.Render(clean(c.Title)) + "\n")
	facts := []string{"opened " + c.Opened.UTC().Format("2006-01-02 15:04 UTC")}
	for _, f := range [][2]string{{"severity ", c.Severity}, {"ticket ", c.Ticket}, {"lead ", c.Lead}} {
		if f[1] != "" {
			facts = append(facts, f[0]+clean(f[1]))
		}
	}
	facts = append(facts, count(c.Entries, "entry", "entries"))
	b.WriteString("  " + t.Dim.Render(strings.Join(facts, ", ")) + "\n")
	for _, room := range c.CleanRooms {
		b.WriteString("  clean room open: " + clean(room) + "\n")
	}
	for _, r := range slices.Backward(c.Runs) {
		b.WriteString("  " + fit(r.ID, 4) + " " + fit(clean(r.Playbook), 16) + " ")
		var states []string
		for s := incident.Pending; s <= incident.Unknown; s++ {
			if n := r.Steps[s]; n > 0 {
				m := t.State(s)
				m.Word = fmt.Sprintf("%d %s", n, m.Word)
				states = append(states, m.String())
			}
		}
		b.WriteString(strings.Join(states, "  ") + "\n")
		b.WriteString("       " + t.Dim.Render(targetsText(r.Targets, width-8)) + "\n")
	}
	return b.String()
}

// targetsText names the targets, as many as fit.
func targetsText(targets []incident.Target, width int) string {
	var text string
	for i, one := range targets {
		more := ""
		if left := len(targets) - i - 1; left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		next := text + strings.Repeat(", ", min(1, i)) + one.String()
		if i > 0 && cells(next+more) > width {
			return fmt.Sprintf("%s and %d more", text, len(targets)-i)
		}
		text = next
	}
	return text
}

// window is the part of a list of n that is shown in height lines around at.
func window(at, n, height int) (first, last int) {
	height = max(1, height)
	first = max(0, min(at-height/2, n-height))
	return first, min(n, first+height)
}

// failure shows what went wrong, and what to do next.
func failure(t *Theme, err error, size Size) string {
	var b strings.Builder
	b.WriteString("\n")
	message, hint := explain(err)
	for _, l := range strings.Split(message, "\n") {
		for _, l := range wrap(clean(l), size.W-4) {
			b.WriteString("  " + t.Bad.Render(l) + "\n")
		}
	}
	for _, l := range wrap(clean(hint), size.W-10) {
		b.WriteString("  " + t.Strong.Render("hint: ") + l + "\n")
	}
	return b.String()
}
