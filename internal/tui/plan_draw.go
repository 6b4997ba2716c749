package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// View draws what the plan comes to, the steps and inputs, and the chosen one below or beside them.
func (p *Plan) View(size Size) string {
	const wide = 130
	head := p.head(size.W)
	size.H = max(1, size.H-len(head))
	top := strings.Join(head, "\n") + "\n"
	switch {
	case !p.planned && p.err == nil:
		return top + "\n  reading from AWS what would be changed; nothing is changed by that…"
	case size.W >= wide:
		left := size.W * 2 / 5
		return top + beside(p.lists(Size{left, size.H}), left, p.chosenText(Size{size.W - left - 2, size.H}), size)
	case !p.inputs:
		return top + p.plan.view(p.env.Theme, size)
	}
	list := Size{size.W, min(len(p.playbook.Inputs), max(4, size.H/2))}
	text := Size{size.W, size.H - list.H}
	return top + frame(p.inputTable(list), list) + "\n" + p.chosenText(text)
}

// lists are the steps and the inputs, one above the other.
func (p *Plan) lists(size Size) string {
	t := p.env.Theme
	inputs := Size{size.W, min(len(p.playbook.Inputs), size.H/2)}
	steps := Size{size.W, max(1, min(len(p.plan.rows), size.H-inputs.H-2))}
	return frame(p.plan.list(t, steps), steps) + "\n\n" + t.Rule("inputs", size.W) + "\n" + p.inputTable(inputs)
}

// chosenText is the detail of the chosen step or input.
func (p *Plan) chosenText(size Size) string {
	t := p.env.Theme
	if p.inputs {
		return p.detail.view(t, p.inputDetail(size.W), size)
	}
	return p.plan.detail.view(t, p.plan.chosenText(t, size.W), size)
}

// head is what is planned on what, what it comes to, and what must not be overlooked.
func (p *Plan) head(width int) []string {
	t := p.env.Theme
	if !p.planned {
		on := clean(strings.Join(p.targets, ", "))
		return append([]string{fit(" "+t.Strong.Render(clean(p.playbook.Name))+" on "+on, width)}, p.banners(width)...)
	}
	lines := []string{fit(" "+p.counts(), width), t.Dim.Render(fit(" "+p.plan.plan.Digest, width))}
	if len(p.skip) > 0 {
		lines = append(lines, t.Warn.Render(fit(" left out by you: "+clean(strings.Join(p.skip, ", "))+"; s on the step takes it in again", width)))
	}
	return append(lines, p.banners(width)...)
}

// counts are the steps by impact, what is not permitted, and what stays exposed.
func (p *Plan) counts() string {
	t, plan := p.env.Theme, p.plan.plan
	number := make(map[incident.Impact]int)
	open := 0
	for _, s := range plan.Steps {
		if s.Skip != "" {
			continue
		}
		number[s.Impact]++
		if s.Proposal != nil {
			open += len(s.Proposal.Residual)
		}
	}
	var parts []string
	if n := len(plan.Targets); n > 1 {
		parts = append(parts, count(n, "target", "targets"))
	}
	for impact := incident.Irreversible; impact >= incident.ReadOnly; impact-- {
		if n := number[impact]; n > 0 {
			m := t.Impact(impact)
			m.Word = fmt.Sprintf("%d %s", n, m.Word)
			parts = append(parts, m.String())
		}
	}
	if missing := p.plan.asked.count(t, incident.PermissionDenied); missing != "" {
		parts = append(parts, missing)
	}
	if open > 0 {
		parts = append(parts, t.Warn.Render(count(open, "exposure stays", "exposures stay")))
	}
	if n := len(plan.LeftOut); n > 0 {
		parts = append(parts, t.Bad.Render(fmt.Sprintf("%d left out", n)))
	}
	if unknown := p.plan.asked.count(t, incident.PermissionUnknown); unknown != "" {
		parts = append(parts, unknown)
	}
	return strings.Join(parts, "  ")
}

// stepTotal is a step of the playbook on all targets of a plan.
type stepTotal struct {
	incident.StepPlan // the first, with the worst impact
	targets, changes  int
	later             bool // some changes are known only in the run
}

// totals are the steps that are done, the worst first.
func totals(plan incident.Plan) (steps []*stepTotal) {
	known := make(map[string]*stepTotal)
	for _, s := range plan.Steps {
		if s.Skip != "" {
			continue
		}
		one := known[s.ID]
		if one == nil {
			one = &stepTotal{StepPlan: s}
			known[s.ID], steps = one, append(steps, one)
		}
		one.targets++
		one.Impact = max(one.Impact, s.Impact)
		if s.Proposal == nil {
			one.later = true
		} else {
			one.changes += len(s.Proposal.Changes)
		}
	}
	slices.SortStableFunc(steps, func(a, b *stepTotal) int { return int(b.Impact) - int(a.Impact) })
	return steps
}

func (s stepTotal) line(t *Theme) string {
	what := count(s.changes, "change", "changes")
	switch {
	case s.later && s.changes == 0:
		what = "known only in the run"
	case s.later:
		what += ", more known only in the run"
	}
	line := t.Impact(s.Impact).Symbol + " " + s.ID + ": " + what
	if s.targets > 1 {
		line += " on " + count(s.targets, "target", "targets")
	}
	if s.When != "" {
		line += ", if " + condition(s.When)
	}
	return line
}

// summary is what the question before the run lists.
func (p *Plan) summary() (lines []string) {
	for _, s := range totals(p.plan.plan) {
		lines = append(lines, s.line(p.env.Theme))
	}
	if n := len(p.plan.plan.LeftOut); n > 0 {
		lines = append(lines, count(n, "target is", "targets are")+" left out: nothing is done there")
	}
	for _, state := range []incident.PermissionState{incident.PermissionDenied, incident.PermissionUnknown} {
		if text := p.plan.asked.count(p.env.Theme, state); text != "" {
			lines = append(lines, text)
		}
	}
	return lines
}

// banners are what must not be overlooked.
func (p *Plan) banners(width int) []string {
	t := p.env.Theme
	var lines []string
	atMost := 6 // lines of an error, where there is a plan to show below it
	if !p.planned {
		atMost = 16
	}
	put := func(text string, draw func(...string) string) {
		for _, l := range wrap(clean(text), width-2) {
			lines = append(lines, draw(fit(" "+l, width)))
		}
	}
	switch {
	case p.start != nil:
		put("starting: the plan is made once more, and carried out if it is still this one", t.Accent.Render)
	case p.err != nil:
		message, hint := explain(p.err)
		for _, l := range strings.Split(message, "\n") {
			put(l, t.Alarm.Render)
		}
		if more := len(lines) - atMost; more > 0 {
			lines = append(lines[:atMost], t.Bad.Render(fit(" and "+count(more, "line", "lines")+" more, which the command prints (y)", width)))
		}
		if hint != "" {
			put("hint: "+hint, t.Warn.Render)
		}
	case p.notice != "":
		put(p.notice, t.Alarm.Render)
	}
	if p.planning && p.planned {
		put("planning again; below is the plan before", t.Accent.Render)
	}
	return lines
}

// wholePlan is the plan of the chosen step's target as one text to read through.
type wholePlan struct {
	of     *Plan
	target incident.Target
	row    int // at which it begins
	scroll scroll

	text  string // at this width
	width int
}

func newWholePlan(of *Plan) *wholePlan {
	target, ok := of.plan.target()
	if !ok {
		target = of.plan.plan.Targets[0]
	}
	return &wholePlan{of: of, target: target, row: of.plan.at}
}

// Init has nothing to start.
func (w *wholePlan) Init(context.Context) tea.Cmd { return nil }

// Update scrolls.
func (w *wholePlan) Update(msg tea.Msg) tea.Cmd {
	if key, ok := msg.(tea.KeyPressMsg); ok {
		w.scroll.key(key.String())
	}
	return nil
}

// View draws the text, from the chosen row.
func (w *wholePlan) View(size Size) string {
	if w.width != size.W {
		w.draw(size.W)
	}
	return w.scroll.view(w.of.env.Theme, w.text, size)
}

// draw writes the target's rows, and those that are of no target.
func (w *wholePlan) draw(width int) {
	v := &w.of.plan
	var b strings.Builder
	w.width, w.scroll = width, scroll{}
	for i, r := range v.rows {
		r, ours := r.of(w.target)
		if !ours {
			continue
		}
		if i == w.row {
			w.scroll.top = strings.Count(b.String(), "\n")
		}
		d := &detail{t: w.of.env.Theme, width: width}
		d.planRow(r)
		b.WriteString(d.b.String() + "\n")
	}
	w.text = b.String()
}

// of is what the row says of a target; false: nothing.
func (r planRow) of(t incident.Target) (planRow, bool) {
	switch {
	case r.heading != "":
		return r, false
	case r.left != nil:
		return r, r.left.Target == t
	case r.step != nil:
		return r, r.step.Target == t
	case r.exposed != nil:
		others := func(x exposure) bool { return x.of.Target != t }
		r.exposed = slices.DeleteFunc(slices.Clone(r.exposed), others)
		return r, len(r.exposed) > 0
	}
	return r, true
}

// Title is what is read.
func (w *wholePlan) Title() string { return w.target.Instance }

// CaseID is the case's.
func (w *wholePlan) CaseID() string { return w.of.caseID }

// Command prints the same plan.
func (w *wholePlan) Command() string { return w.of.Command() }

// Typing is never the case here.
func (w *wholePlan) Typing() bool { return false }

// Keys scroll.
func (w *wholePlan) Keys() []Key {
	return []Key{{"up down", "scroll"}, {"pgup pgdown", "by pages"}, {"home end", "begin, end"}}
}
