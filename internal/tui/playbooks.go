package tui

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Start is what a response begins with. What is empty is asked for.
type Start struct {
	CaseID  string   // of an open case, or of one that is opened before the first plan
	Title   string   // of that one: what happened
	Targets []string // as --instance takes them: an ID, or account/region/ID
}

// playbook is what the screens need of one in 'playbook list --output json'.
type playbook struct {
	Name    string           `json:"name"`
	Title   string           `json:"title"`
	Summary string           `json:"summary"`
	Inputs  []incident.Field `json:"inputs"`
	Steps   []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	} `json:"steps"`

	path string // of one's own; empty: it is shipped
}

// ref is how commands name it.
func (b playbook) ref() string {
	if b.path != "" {
		return b.path
	}
	return b.Name
}

// The form's lines; below them is the list of playbooks.
const (
	lineTargets = iota
	lineCase
	lineTitle
	lineList
)

// Playbooks chooses which playbook is planned, on which instances, in which case.
type Playbooks struct {
	env  *Env
	ctx  context.Context
	line int // the one that has the keys
	form [lineList]textinput.Model

	list   []playbook // the shipped ones, then those that were read from files
	cases  []caseSummary
	read   bool
	chosen int
	detail scroll

	file    *prompt
	opening bool  // a case
	err     error // what the last command said
}

// playbooksMsg is what 'playbook list' and 'case list' answered.
type playbooksMsg struct {
	list  []playbook
	cases []caseSummary
	err   error
}

// playbookFileMsg is what 'playbook lint' said of a file.
type playbookFileMsg struct {
	playbook playbook
	err      error
}

// openedMsg is what became of 'case open'.
type openedMsg struct {
	id  string
	err error
}

// NewPlaybooks returns the choice of a playbook for the targets.
func NewPlaybooks(env *Env, s Start) *Playbooks {
	p := &Playbooks{env: env, line: lineList}
	for i, l := range [lineList]struct{ value, placeholder string }{
		{strings.Join(s.Targets, " "), "i-0123456789abcdef0, several with spaces between"},
		{s.CaseID, ""},
		{s.Title, "what happened, in a line"},
	} {
		p.form[i] = newInput(l.placeholder)
		p.form[i].SetValue(l.value)
		p.form[i].Blur()
	}
	if len(s.Targets) == 0 {
		p.focus(lineTargets)
	}
	return p
}

// Init reads the playbooks and the cases.
func (p *Playbooks) Init(ctx context.Context) tea.Cmd {
	p.ctx = ctx
	return p.refresh()
}

func (p *Playbooks) refresh() tea.Cmd {
	return func() tea.Msg {
		var m playbooksMsg
		if m.err = p.env.Cordon.Read(p.ctx, &m.list, "playbook", "list"); m.err == nil {
			m.err = p.env.Cordon.Read(p.ctx, &m.cases, "case", "list")
		}
		return m
	}
}

// Update takes keys and what was read.
func (p *Playbooks) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case playbooksMsg:
		p.take(msg)
	case playbookFileMsg:
		p.takeFile(msg)
	case openedMsg:
		p.opening = false
		if p.err = msg.err; msg.err == nil {
			p.cases = append(p.cases, caseSummary{Case: incident.Case{ID: msg.id}})
			p.form[lineCase].SetValue(msg.id)
			return p.plan(msg.id)
		}
	case ShownMsg:
		return p.refresh()
	case tea.KeyPressMsg:
		return p.key(msg)
	case tea.PasteMsg:
		switch {
		case p.file != nil:
			p.file.input(msg)
		case p.Typing():
			p.form[p.line], _ = p.form[p.line].Update(msg)
		}
	}
	return nil
}

// take shows what was read. The first time, the playbook that contains is chosen:
// it is what most responses begin with.
func (p *Playbooks) take(m playbooksMsg) {
	if p.err = m.err; m.err != nil {
		return
	}
	if !p.read {
		p.chosen = max(0, slices.IndexFunc(m.list, func(b playbook) bool { return b.Name == "contain" }))
	}
	for _, known := range p.list {
		if known.path != "" {
			m.list = append(m.list, known)
		}
	}
	p.read, p.list, p.cases = true, m.list, m.cases
	p.form[lineCase].Placeholder = proposedID(m.cases, p.env.Clock.Now())
}

// askFile asks for a playbook of one's own. It is checked before it can be planned.
func (p *Playbooks) askFile() tea.Cmd {
	p.err = nil
	p.file = newPrompt("which file? a playbook of your own (docs/playbook-format.md)", "", "", false, func(path string) tea.Cmd {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		return func() tea.Msg {
			m := playbookFileMsg{playbook: playbook{path: path}}
			m.err = p.env.Cordon.Read(p.ctx, &m.playbook, "playbook", "lint", "--", path)
			return m
		}
	})
	return nil
}

// takeFile adds a playbook that was read from a file, or takes it anew, and chooses it.
func (p *Playbooks) takeFile(m playbookFileMsg) {
	if p.err = m.err; m.err != nil {
		return
	}
	at := slices.IndexFunc(p.list, func(b playbook) bool { return b.path == m.playbook.path })
	if at < 0 {
		at, p.list = len(p.list), append(p.list, m.playbook)
	}
	p.list[at] = m.playbook
	p.choose(at)
}

// proposedID is the first of INC-YYYYMMDD-1, -2, … that no case has.
func proposedID(cases []caseSummary, now time.Time) string {
	for n := 1; ; n++ {
		id := fmt.Sprintf("INC-%s-%d", now.UTC().Format("20060102"), n)
		if !slices.ContainsFunc(cases, func(c caseSummary) bool { return c.ID == id }) {
			return id
		}
	}
}

func (p *Playbooks) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	if p.file != nil {
		return p.file.key(msg, func() { p.file = nil })
	}
	switch key {
	case "tab", "shift+tab":
		p.tab(key == "tab")
		return nil
	}
	if p.Typing() {
		switch key {
		case keyBack:
			if len(p.targets()) == 0 {
				return Pop()
			}
			p.focus(lineList)
		case "enter", "down":
			p.tab(true)
		case "up":
			p.tab(false)
		default:
			p.form[p.line], _ = p.form[p.line].Update(msg)
		}
		return nil
	}
	switch key {
	case "up", "k":
		p.choose(p.chosen - 1)
	case "down", "j":
		p.choose(p.chosen + 1)
	case "enter":
		return p.begin()
	case "o":
		return p.askFile()
	case "pgup", "pgdown":
		p.detail.key(key)
	}
	return nil
}

func (p *Playbooks) choose(at int) {
	p.chosen, p.detail = min(max(at, 0), max(0, len(p.list)-1)), scroll{}
}

// tab goes from line to line, past the title of a case that is open already.
func (p *Playbooks) tab(forward bool) {
	by := lineList // one back, of lineList+1
	if forward {
		by = 1
	}
	next := (p.line + by) % (lineList + 1)
	if next == lineTitle && p.known(p.caseID()) != nil {
		next = (next + by) % (lineList + 1)
	}
	p.focus(next)
}

func (p *Playbooks) focus(line int) {
	if p.line < lineList {
		p.form[p.line].Blur()
	}
	if p.line = line; line == lineList {
		return
	}
	p.form[line].Focus()
	if v := p.form[line].Value(); line == lineTargets && v != "" {
		p.form[line].SetValue(strings.TrimSpace(v) + " ") // what is typed now is another one
	}
	p.form[line].CursorEnd()
}

// targets are the instances as they were typed.
func (p *Playbooks) targets() []string {
	return strings.FieldsFunc(p.form[lineTargets].Value(), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

func (p *Playbooks) caseID() string {
	if id := strings.TrimSpace(p.form[lineCase].Value()); id != "" {
		return id
	}
	return p.form[lineCase].Placeholder
}

// known is the case with this ID; nil: it is not open yet.
func (p *Playbooks) known(id string) *caseSummary {
	if i := slices.IndexFunc(p.cases, func(c caseSummary) bool { return c.ID == id }); i >= 0 {
		return &p.cases[i]
	}
	return nil
}

// begin goes to the plan; it opens the case first, where there is none.
func (p *Playbooks) begin() tea.Cmd {
	id := p.caseID()
	known := p.known(id)
	switch {
	case !p.read || p.opening || len(p.list) == 0:
		return nil
	case len(p.targets()) == 0:
		p.focus(lineTargets)
		return Warn("on which instance? Type its ID")
	case known != nil && known.Closed:
		p.focus(lineCase)
		return Warn("case " + id + " is closed: choose another")
	case known != nil:
		return p.plan(id)
	}
	p.opening = true
	args := []string{"case", "open", "--title", strings.TrimSpace(p.form[lineTitle].Value()), "--", id}
	return func() tea.Msg { return openedMsg{id, p.env.Cordon.Do(p.ctx, args...)} }
}

func (p *Playbooks) plan(caseID string) tea.Cmd {
	return Push(NewPlan(p.env, caseID, p.targets(), p.list[p.chosen]))
}

// Title is what is chosen here.
func (p *Playbooks) Title() string { return "playbook" }

// CaseID is the chosen case's, where it is open.
func (p *Playbooks) CaseID() string {
	if p.known(p.caseID()) == nil {
		return ""
	}
	return p.caseID()
}

// Command shows the chosen playbook.
func (p *Playbooks) Command() string {
	if len(p.list) == 0 {
		return p.env.Cordon.Line("playbook", "list")
	}
	return p.env.Cordon.Line("playbook", "show", p.list[p.chosen].ref())
}

// Typing tells whether a text is being typed.
func (p *Playbooks) Typing() bool { return p.line != lineList || p.file != nil }

// Keys are those of the line that has them.
func (p *Playbooks) Keys() []Key {
	switch {
	case p.file != nil:
		return []Key{{"enter", "read it"}, {keyBack, "don't"}}
	case p.Typing():
		return []Key{{"enter", "next"}, {keyBack, "playbooks"}}
	}
	return []Key{{"enter", "plan"}, {"tab", "instances, case"}, {"o", "your own"}, {"up down", "choose"}, {"pgup pgdown", "scroll"}}
}

// View draws the form, the playbooks, and the chosen one below or beside them.
func (p *Playbooks) View(size Size) string {
	if p.err != nil && !p.read {
		return failure(p.env.Theme, p.err, size)
	}
	if !p.read {
		return "\n  reading the playbooks…"
	}
	if p.file != nil {
		const height = 3
		size.H -= height
		return frame(p.page(size), size) + "\n" + p.file.view(p.env.Theme, size.W)
	}
	return p.page(size)
}

// page is the form, the playbooks, and the chosen one.
func (p *Playbooks) page(size Size) string {
	const wide = 130
	head := p.formView(size.W)
	size.H -= strings.Count(head, "\n")
	if size.W >= wide {
		left := size.W * 45 / 100
		right := Size{size.W - left - 2, size.H}
		return head + beside(p.table(left), left, p.chosenView(right), size)
	}
	table := p.table(size.W)
	rest := Size{size.W, size.H - strings.Count(table, "\n")}
	return head + table + p.chosenView(rest)
}

func (p *Playbooks) formView(width int) string {
	t := p.env.Theme
	var b strings.Builder
	b.WriteString("\n")
	for i, name := range [lineList]string{"instances", "case", "title"} {
		if i == lineTitle && p.known(p.caseID()) != nil {
			continue
		}
		in := p.form[i]
		in.SetWidth(max(10, width-16))
		if i == lineCase {
			in.SetWidth(24)
		}
		b.WriteString(t.Cursor(p.line == i) + t.Dim.Render(fit(name, 11)) + strings.TrimRight(in.View(), " ") + p.remark(i) + "\n")
	}
	switch {
	case p.opening:
		b.WriteString("  opening case " + clean(p.caseID()) + "…\n")
	case p.err != nil:
		b.WriteString(strings.TrimPrefix(failure(t, p.err, Size{width, 0}), "\n"))
	}
	return b.String() + "\n"
}

// remark is what has to be known of a line's value.
func (p *Playbooks) remark(line int) string {
	t := p.env.Theme
	if line != lineCase {
		return ""
	}
	switch known := p.known(p.caseID()); {
	case known == nil:
		return t.Accent.Render("  new: it is opened")
	case known.Closed:
		return t.Bad.Render("  closed")
	case known.Live:
		return t.Warn.Render("  a run is under way")
	}
	return ""
}

func (p *Playbooks) table(width int) string {
	t := p.env.Theme
	var b strings.Builder
	name := 13
	for _, l := range p.list {
		name = min(24, max(name, cells(l.Name)))
	}
	b.WriteString(t.Dim.Render("  "+fit("PLAYBOOK", name)+"  STEPS  DOES") + "\n")
	for i, l := range p.list {
		text := fit(clean(l.Name), name)
		if i == p.chosen {
			text = t.Selected.Render(text)
		}
		title := clean(l.Title)
		if l.path != "" {
			title += t.Accent.Render("  " + clean(l.path))
		}
		row := t.Cursor(i == p.chosen && !p.Typing()) + text + "  " + fit(fmt.Sprint(len(l.Steps)), 5) + "  " + title
		b.WriteString(fit(row, width) + "\n")
	}
	return b.String() + "\n"
}

// chosenView is what the chosen playbook does, and its inputs.
func (p *Playbooks) chosenView(size Size) string {
	t := p.env.Theme
	if len(p.list) == 0 {
		return "  no playbook is shipped"
	}
	chosen := p.list[p.chosen]
	d := &detail{t: t, width: size.W}
	d.rule(clean(chosen.Name))
	d.styled("  ", chosen.Summary, t.Plain)
	d.b.WriteString("\n")
	var steps []string
	for _, s := range chosen.Steps {
		steps = append(steps, s.ID)
	}
	d.text("  steps", strings.Join(steps, ", "))
	if len(chosen.Inputs) > 0 {
		d.rule("inputs, which the plan's screen takes")
	}
	for _, f := range chosen.Inputs {
		d.line(t.Strong.Render(clean(f.Name)) + t.Dim.Render(" "+string(f.Type)+", ") + clean(defaultText(f)))
		d.styled("    ", f.Description, t.Dim)
	}
	return p.detail.view(t, d.b.String(), size)
}

// defaultText says what holds where nothing is given.
func defaultText(f incident.Field) string {
	switch text := inputText(f.Default); {
	case f.Default == nil && f.Required:
		return "has to be given"
	case text == "":
		return "empty"
	default:
		return text
	}
}
