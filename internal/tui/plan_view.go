package tui

import (
	"maps"
	"reflect"
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
	asked  asked
}

// planRow is a line of the list: a step, a target that is left out, the heading
// of a target's steps, what stays exposed, or what has to be permitted.
type planRow struct {
	heading     string
	left        *incident.LeftOut
	step        *incident.StepPlan
	exposed     []exposure
	permissions asked
	missing     asked // of the step's
	changed     bool  // against the plan that was shown before
}

// exposure is what a step leaves open.
type exposure struct {
	of *incident.StepPlan
	incident.Exposure
}

// set shows a plan and the permissions that it needs, and keeps the place where the rows
// are as before.
func (v *planView) set(p incident.Plan, permissions asked) {
	before, missing := v.plan, permissions.missing()
	v.plan, v.rows, v.asked = p, nil, permissions
	for i := range p.LeftOut {
		v.rows = append(v.rows, planRow{left: &p.LeftOut[i]})
	}
	var last incident.Target
	var exposed []exposure
	for i := range p.Steps {
		s := &p.Steps[i]
		if i == 0 || s.Target != last {
			last = s.Target
			v.rows = append(v.rows, planRow{heading: last.String()})
		}
		v.rows = append(v.rows, planRow{step: s, missing: missing.of(*s)})
		if s.Proposal != nil && s.Skip == "" {
			for _, x := range s.Proposal.Residual {
				exposed = append(exposed, exposure{s, x})
			}
		}
	}
	if len(exposed) > 0 {
		v.rows = append(v.rows, planRow{exposed: exposed})
	}
	if len(permissions) > 0 {
		v.rows = append(v.rows, planRow{permissions: permissions})
	}
	v.markChanged(before)
	v.at = min(v.at, max(0, len(v.rows)-1))
	v.move(0)
}

// markChanged marks the steps that are not as they were.
func (v *planView) markChanged(before incident.Plan) {
	if len(before.Steps) == 0 {
		return
	}
	was := make(map[incident.StepKey]*incident.StepPlan, len(before.Steps))
	for i := range before.Steps {
		was[before.Steps[i].Key()] = &before.Steps[i]
	}
	for i, r := range v.rows {
		if r.step != nil {
			old := was[r.step.Key()]
			v.rows[i].changed = old == nil || !reflect.DeepEqual(approved(*old), approved(*r.step))
		}
	}
}

// approved is what an approval of the step covers.
func approved(s incident.StepPlan) incident.StepPlan {
	covered := incident.StepPlan{Action: s.Action, Inputs: s.Inputs, Deferred: s.Deferred, When: s.When, Skip: s.Skip, Impact: s.Impact}
	if s.Proposal != nil {
		covered.Proposal = &incident.Proposal{Changes: s.Proposal.Changes}
	}
	return covered
}

// move chooses another row that is no heading.
func (v *planView) move(by int) {
	at := min(max(v.at+by, 0), len(v.rows)-1)
	way := 1
	if by < 0 {
		way = -1
	}
	if at == 0 {
		way = 1 // above the first heading there is nothing
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
	case "[":
		v.otherTarget(-1)
	case "]":
		v.otherTarget(+1)
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

// otherTarget goes to the first step of the target before or after.
func (v *planView) otherTarget(way int) {
	at := v.at
	if way < 0 { // past the heading of this one
		for at > 0 && v.rows[at].heading == "" {
			at--
		}
	}
	for at += way; at >= 0 && at < len(v.rows); at += way {
		if v.rows[at].heading != "" {
			v.move(at + 1 - v.at)
			return
		}
	}
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

// list draws the rows around the chosen one; where not all fit, the last line says so.
func (v *planView) list(t *Theme, size Size) string {
	return listPart(t, v.at, len(v.rows), size, func(i int) string { return v.row(t, v.rows[i], i == v.at, size.W) })
}

// wordy is how many cells a row has where there is room for the impact in words and the title.
const wordy = 64

func (v *planView) row(t *Theme, r planRow, chosen bool, width int) string {
	if heading := clean(r.heading); heading != "" {
		if cells(heading)+8 > width {
			heading = heading[strings.LastIndex(heading, "/")+1:] // the instance
		}
		return t.Rule(heading, width)
	}
	mark, name, does := v.rowText(t, r, width >= wordy)
	sign, id := mark.Style.Render(mark.Symbol), fit(clean(name), 19)
	if width >= wordy {
		sign, id = fit(mark.String(), 14), fit(clean(name), 14)
	}
	if r.step == nil || r.step.Skip != "" {
		id = strings.TrimRight(id, " ") // their texts are no columns
		id = fit(id, max(14, cells(id)))
	}
	if chosen {
		id = t.Selected.Render(id)
	}
	if r.changed {
		does = t.Warn.Render("changed: ") + does
	}
	return t.Cursor(chosen) + sign + " " + id + " " + does
}

// rowText is a row's sign, its name, and what it comes to.
func (v *planView) rowText(t *Theme, r planRow, title bool) (mark Mark, name, does string) {
	switch {
	case r.left != nil:
		mark = t.leftOut(*r.left)
		return mark, r.left.Target.Instance, mark.Style.Render(mark.Word)
	case r.exposed != nil:
		return Mark{t.sign("◌", "o"), t.Warn, "stays open"}, "exposure", t.Warn.Render(count(len(r.exposed), "residual exposure", "residual exposures"))
	case r.permissions != nil:
		return r.permissions.mark(t), "permissions", r.permissions.inWords()
	}
	s := r.step
	switch {
	case s.Skip != "":
		return t.State(incident.Skipped), s.ID, t.Dim.Render(clean(s.Skip))
	case s.Proposal == nil:
		does = t.Dim.Render(fit("only in the run", 16))
	default:
		does = fit(count(len(s.Proposal.Changes), "change", "changes"), 11)
		asks := ""
		if s.Asks {
			asks = t.Warn.Render("asks")
		}
		does += fit(asks, 5)
	}
	does += r.missing.sign(t, title)
	if !title {
		return t.Impact(s.Impact), s.ID, does
	}
	if s.Undo != nil {
		does += "undoes: "
	}
	does += clean(s.Title)
	if s.When != "" {
		does += t.Dim.Render(clean(", if " + condition(s.When)))
	}
	return t.Impact(s.Impact), s.ID, does
}

// condition is an expression without what marks it as one.
func condition(when string) string {
	return strings.TrimSuffix(strings.TrimPrefix(when, "${{ "), " }}")
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
	if v.at < len(v.rows) {
		d.planRow(v.rows[v.at])
	}
	return d.b.String()
}

// planRow is everything that the plan says of a row.
func (d *detail) planRow(r planRow) {
	switch {
	case r.left != nil:
		d.leftOut(*r.left)
	case r.step != nil:
		d.plannedStep(*r.step, r.missing)
	case r.exposed != nil:
		d.exposed(r.exposed)
	case r.permissions != nil:
		d.permissions(r.permissions)
	}
}

// exposed is what stays open after the whole plan.
func (d *detail) exposed(all []exposure) {
	const atMost = 100
	d.rule("stays exposed, as far as the plan can tell")
	for i, x := range all {
		if i == atMost {
			d.line(count(len(all)-i, "more stays", "more stay") + " open: each step names its own")
			return
		}
		d.styled("  ", x.Path, d.t.Warn)
		d.styled("    ", x.Reason+" ("+x.of.ID+" on "+x.of.Target.Instance+")", d.t.Dim)
	}
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
func (d *detail) plannedStep(s incident.StepPlan, missing asked) {
	d.rule(clean(s.ID + " on " + s.Target.Instance))
	mark := d.t.Impact(s.Impact)
	if s.Skip != "" {
		mark = d.t.State(incident.Skipped)
	}
	d.b.WriteString(mark.String() + "  " + d.t.Dim.Render(clean(s.Action)) + "\n")
	if s.Undo != nil {
		d.text("undoes", s.Title+": "+s.Undo.Step+" of run "+s.Undo.Run)
	} else {
		d.text("does", s.Title)
	}
	d.text("skipped", s.Skip)
	d.text("only if", condition(s.When))
	d.text("after", strings.Join(s.Needs, ", "))
	if s.Skip != "" {
		return
	}
	if s.Asks {
		d.text("approval", "needed")
	}
	d.missing(missing)
	for _, name := range slices.Sorted(maps.Keys(s.Deferred)) {
		d.text(name, "known only in the run: "+s.Deferred[name])
	}
	if s.Proposal == nil {
		d.line(d.t.Dim.Render("what it changes is known only in the run"))
		return
	}
	d.proposal(*s.Proposal, s.Impact)
}

func (d *detail) proposal(p incident.Proposal, impact incident.Impact) {
	d.rule(count(len(p.Changes), "change", "changes"))
	for _, c := range p.Changes {
		d.change(c, impact)
	}
	for _, n := range p.Notes {
		d.text("note", n)
	}
	for _, c := range p.Cuts {
		d.cut(c)
	}
	for _, x := range p.Residual {
		d.text("stays open", x.Path+": "+x.Reason)
	}
}

// change is one attribute, before and after: in a line where it fits, else one below the other.
func (d *detail) change(c incident.Change, impact incident.Impact) {
	or := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return clean(s)
	}
	d.styled("  ", c.Resource+", "+c.What, d.t.Strong)
	before, after, arrow := or(c.Before), or(c.After), " "+d.t.Arrow()+" "
	style := d.t.Impact(impact).Style
	if 6+cells(before+arrow+after) < d.width {
		d.b.WriteString("      " + before + d.t.Dim.Render(arrow) + style.Render(after) + "\n")
		return
	}
	d.styled("      ", before, d.t.Plain)
	for i, l := range wrap(after, d.width-6-cells(arrow)) {
		lead := strings.Repeat(" ", cells(arrow))
		if i == 0 {
			lead = d.t.Dim.Render(arrow)
		}
		d.b.WriteString("     " + lead + style.Render(l) + "\n")
	}
}

// cut is what becomes of a path.
func (d *detail) cut(c incident.Cut) {
	word, by, text := "NOT CUT", strings.Join(c.Measures, ", "), c.Path
	switch {
	case c.Cut:
		word = "will be cut"
		text += ", by " + by
	case by != "":
		text += "; what is open now is not cut, what is new is, by " + by
	}
	if c.Reason != "" {
		text += " (" + c.Reason + ")"
	}
	d.text(word, text)
}
