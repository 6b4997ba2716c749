package tui

import (
	"maps"
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// planView shows a plan: the targets that it leaves out, its steps in their
// order, and what the chosen one would change. Of a run and of a release it is the same.
type planView struct {
	plan   incident.Plan
	at     int // the chosen row
	detail scroll
	rows   []planRow
}

// planRow is a line of the list: a step, a target that is left out, or the
// heading of a target's steps.
type planRow struct {
	heading string
	left    *incident.LeftOut
	step    *incident.StepPlan
}

// set shows a plan, and keeps the place where the rows are as before.
func (v *planView) set(p incident.Plan) {
	v.plan, v.rows = p, nil
	for i := range p.LeftOut {
		v.rows = append(v.rows, planRow{left: &p.LeftOut[i]})
	}
	var last incident.Target
	for i := range p.Steps {
		if t := p.Steps[i].Target; i == 0 || t != last {
			last = t
			v.rows = append(v.rows, planRow{heading: t.String()})
		}
		v.rows = append(v.rows, planRow{step: &p.Steps[i]})
	}
	v.at = min(v.at, max(0, len(v.rows)-1))
	v.move(0)
}

// move chooses another row that is no heading.
func (v *planView) move(by int) {
	at := min(max(v.at+by, 0), len(v.rows)-1)
	way := 1
	if by < 0 {
		way = -1
	}
	for at >= 0 && at < len(v.rows) && v.rows[at].heading != "" {
		at += way
	}
	if at >= 0 && at < len(v.rows) && at != v.at {
		v.at, v.detail = at, scroll{}
	}
}

// key moves and scrolls; false: it was another key.
func (v *planView) key(key string) bool {
	switch key {
	case "up", "k":
		v.move(-1)
	case "down", "j":
		v.move(+1)
	case "home", "g":
		v.move(-len(v.rows))
	case "end", "G":
		v.move(len(v.rows))
	case "pgup", "pgdown", "space":
		v.detail.key(key)
	default:
		return false
	}
	return true
}

// chosen is the step under the cursor, and nil on a target that is left out.
func (v *planView) chosen() *incident.StepPlan {
	if v.at < len(v.rows) {
		return v.rows[v.at].step
	}
	return nil
}

// target is the chosen row's.
func (v *planView) target() (incident.Target, bool) {
	switch {
	case v.at >= len(v.rows):
		return incident.Target{}, false
	case v.rows[v.at].left != nil:
		return v.rows[v.at].left.Target, true
	case v.rows[v.at].step != nil:
		return v.rows[v.at].step.Target, true
	}
	return incident.Target{}, false
}

// view draws the rows with the chosen one's detail below, or beside them where there is room.
func (v *planView) view(t *Theme, size Size) string {
	const wide = 110
	if size.W >= wide {
		left := size.W * 2 / 5
		text := v.detail.view(t, v.chosenText(t, size.W-left-2), size)
		return beside(v.list(t, Size{left, size.H}), left, text, size)
	}
	list := Size{size.W, min(len(v.rows), max(4, size.H*2/5))}
	rest := Size{size.W, size.H - list.H}
	return frame(v.list(t, list), list) + "\n" + v.detail.view(t, v.chosenText(t, size.W), rest)
}

func (v *planView) list(t *Theme, size Size) string {
	first, last := window(v.at, len(v.rows), size.H)
	lines := make([]string, 0, size.H)
	for i := first; i < last; i++ {
		lines = append(lines, v.row(t, v.rows[i], i == v.at, size.W))
	}
	return strings.Join(lines, "\n")
}

func (v *planView) row(t *Theme, r planRow, chosen bool, width int) string {
	name := func(s string) string {
		s = fit(clean(s), 24)
		if chosen {
			return t.Selected.Render(s)
		}
		return s
	}
	switch {
	case r.heading != "":
		return t.Rule(clean(r.heading), width)
	case r.left != nil:
		m := t.leftOut(*r.left)
		return t.Cursor(chosen) + m.Style.Render(m.Symbol) + " " + name(r.left.Target.Instance) + " " + m.Style.Render(m.Word)
	}
	m := t.Impact(r.step.Impact)
	row := t.Cursor(chosen) + m.Style.Render(m.Symbol) + " " + name(r.step.ID) + " "
	switch {
	case r.step.Skip != "":
		return row + t.Dim.Render("skipped")
	case r.step.Proposal == nil:
		return row + t.Dim.Render("known only in the run")
	default:
		row += fit(count(len(r.step.Proposal.Changes), "change", "changes"), 11)
	}
	if r.step.Asks {
		row += " " + t.Warn.Render("asks")
	}
	return row
}

// leftOut marks a target that a plan leaves out.
func (t *Theme) leftOut(l incident.LeftOut) Mark {
	m := t.State(incident.Failed)
	if m.Word = "left out"; len(l.Drift) > 0 {
		m.Symbol, m.Word = t.sign("≠", "!"), count(len(l.Drift), "difference", "differences")
	}
	return m
}

func (v *planView) chosenText(t *Theme, width int) string {
	d := &detail{t: t, width: width}
	switch {
	case v.at >= len(v.rows):
	case v.rows[v.at].left != nil:
		d.leftOut(*v.rows[v.at].left)
	case v.rows[v.at].step != nil:
		d.plannedStep(*v.rows[v.at].step)
	}
	return d.b.String()
}

// leftOut is why a target is left out; where it is drift, as a three-way difference.
func (d *detail) leftOut(l incident.LeftOut) {
	d.rule(clean(l.Target.String()))
	d.text("left out", strings.Join(l.Steps, ", "))
	if len(l.Drift) == 0 {
		d.text("why", l.Reason)
	}
	for _, x := range l.Drift {
		d.drift(x)
	}
	d.text("hint", l.Hint)
}

// drift is one attribute: before, what we set, what it is now.
func (d *detail) drift(x incident.Drift) {
	or := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	for _, l := range wrap(clean(x.Resource+", "+x.What), d.width-3) {
		d.b.WriteString(" " + d.t.Strong.Render(l) + "\n")
	}
	d.text("  before", or(x.Before))
	d.text("  we set", or(x.Set))
	for i, l := range wrap(clean(or(x.Now)), d.width-16) {
		word := ""
		if i == 0 {
			word = "  now"
		}
		d.b.WriteString(d.t.Bad.Render(fit(word, 15)+l) + "\n")
	}
}

// plannedStep is what a step would do, before it is done.
func (d *detail) plannedStep(s incident.StepPlan) {
	d.rule(clean(s.ID + " on " + s.Target.Instance))
	d.b.WriteString(d.t.Impact(s.Impact).String() + "  " + d.t.Dim.Render(clean(s.Action)) + "\n")
	if s.Undo != nil {
		d.text("undoes", s.Title+": "+s.Undo.Step+" of run "+s.Undo.Run)
	} else {
		d.text("does", s.Title)
	}
	d.text("skipped", s.Skip)
	d.text("when", s.When)
	d.text("after", strings.Join(s.Needs, ", "))
	for _, name := range slices.Sorted(maps.Keys(s.Deferred)) {
		d.text(name, "known only in the run: "+s.Deferred[name])
	}
	if s.Proposal != nil {
		d.proposal(*s.Proposal)
	}
}

func (d *detail) proposal(p incident.Proposal) {
	d.rule(count(len(p.Changes), "change", "changes"))
	for _, c := range p.Changes {
		for _, l := range wrap(clean(changeText(d.t, c)), d.width-3) {
			d.line(l)
		}
	}
	for _, n := range p.Notes {
		d.text("note", n)
	}
	for _, x := range p.Residual {
		d.text("stays open", x.Path+": "+x.Reason)
	}
}
