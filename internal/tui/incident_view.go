package tui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/triage"
)

// View draws the search, and the chosen instance's triage below or beside it.
func (x *Incident) View(size Size) string {
	const wide = 130
	if size.W >= wide {
		left := size.W * 50 / 100
		return beside(x.list(Size{left, size.H}), left, x.panel(Size{size.W - left - 2, size.H}), size)
	}
	top := Size{size.W, max(6, size.H*2/5)}
	if x.looking {
		top.H = 6 // the triage needs the room
	}
	return frame(x.list(top), top) + "\n" + x.panel(Size{size.W, size.H - top.H})
}

// column is one of the list's; Width 0: what is left.
type column struct {
	head  string
	width int
	of    func(triage.Instance) string
}

func columns(width int) []column {
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	all := []column{
		{"INSTANCE", 19, func(i triage.Instance) string { return i.ID }},
		{"NAME", 14, func(i triage.Instance) string { return i.Name }},
		{"STATE", 8, func(i triage.Instance) string { return i.State }},
		{"ADDRESS", 15, func(i triage.Instance) string { return first(i.Private) }},
	}
	if width >= 95 {
		all = append(all, column{"PUBLIC", 15, func(i triage.Instance) string { return first(i.Public) }})
	}
	return append(all, column{"OWNER", 0, func(i triage.Instance) string { return i.Owner }})
}

func (x *Incident) list(size Size) string {
	t := x.env.Theme
	var b strings.Builder
	input := x.search
	input.SetWidth(max(1, size.W-14))
	prompt := "search: "
	if x.looking {
		input.Blur()
	} else {
		prompt = t.Strong.Render(prompt)
	}
	b.WriteString("  " + prompt + input.View() + "\n" + x.headline() + "\n")
	if x.err != nil {
		b.WriteString(failure(t, x.err, size))
		return b.String()
	}
	cols := columns(size.W)
	line := func(cell func(column) string) string {
		var text string
		for _, c := range cols {
			width := c.width
			if width == 0 {
				width = size.W - 5 - cells(text)
			}
			text += fit(cell(c), width) + " "
		}
		return text
	}
	b.WriteString(t.Dim.Render("    "+line(func(c column) string { return c.head })) + "\n")
	at := x.at()
	first, last := window(at, len(x.shown), size.H-3)
	for n := first; n < last; n++ {
		i := x.all[x.shown[n]].Instance
		mark := "  "
		if slices.Contains(x.marked, i.ID) {
			mark = t.Warn.Render(t.sign("●", "*")) + " "
		}
		text := line(func(c column) string { return clean(c.of(i)) })
		if n == at {
			text = t.Selected.Render(text)
		}
		b.WriteString(t.Cursor(n == at) + mark + text + "\n")
	}
	if len(x.shown) == 0 && x.read {
		b.WriteString("    " + x.none() + "\n")
	}
	return b.String()
}

// none says what to do where the search finds nothing.
func (x *Incident) none() string {
	if x.selected() != "" {
		return "not in this account and Region's inventory; Enter takes it as it is written"
	}
	return "nothing is found"
}

// panel is the selected instance's triage.
func (x *Incident) panel(size Size) string {
	t, id := x.env.Theme, x.selected()
	if id == "" {
		return t.Rule("triage", size.W) + "\n\n  choose an instance, or paste an ID"
	}
	head := t.Rule("triage of "+clean(id), size.W) + "\n"
	m, known := x.reports[id]
	switch {
	case !known && x.asked == id:
		return head + "\n  " + t.sign("reading who owns it, who reaches it, what it serves…", "reading who owns it, who reaches it, what it serves")
	case !known:
		return head
	case m.err != nil:
		return head + failure(t, m.err, size)
	}
	if x.shownFor != id {
		x.shownFor, x.detail = id, scroll{}
	}
	body := Size{size.W, size.H - 1}
	return head + x.detail.view(t, strings.Join(triageLines(t, m.report, size.W), "\n"), body)
}

// levelMark marks the estimate with the signs of a step's impact.
func levelMark(t *Theme, i triage.Impact) Mark {
	m := t.Impact(map[string]incident.Impact{
		"medium": incident.Additive, "high": incident.Disruptive, "critical": incident.Irreversible,
	}[i.Level])
	m.Word = fmt.Sprintf("%s impact, %s", clean(i.Level), count(i.Points, "point", "points"))
	return m
}

// triageLines are the report, the most urgent first.
func triageLines(t *Theme, r triage.Report, width int) []string {
	p := &reportText{t: t, width: width}
	p.line("  " + levelMark(t, r.Impact).String())
	for _, why := range r.Impact.Reasons {
		p.item(fmt.Sprintf("%+d", why.Points), why.Text)
	}
	p.fact("owner", orNone(r.Owner)+", queue "+orNone(r.Queue))
	p.fact("holds", "classification "+orNone(r.Classification)+", criticality "+orNone(r.Criticality))
	p.fact("instance", strings.Join([]string{orNone(r.Name), r.State, r.Type, r.Zone}, ", "))
	p.fact("addresses", orNone(strings.Join(slices.Concat(r.Private, r.Public, r.IPv6), ", ")))
	p.section("cutting it off")
	for _, b := range r.Breaks {
		p.item(t.sign("•", "-"), b)
	}
	p.exposure(r)
	p.service(r)
	for _, n := range r.Neighbours {
		p.fact("neighbours", count(len(n.Instances), "other instance", "other instances")+" in "+n.Subnet)
	}
	for _, u := range r.Unread {
		p.fact("not read", u)
	}
	return p.lines
}

// reportText collects lines.
type reportText struct {
	t     *Theme
	width int
	lines []string
}

func (p *reportText) line(s string) { p.lines = append(p.lines, s) }

// section heads what follows.
func (p *reportText) section(name string) { p.line("  " + p.t.Strong.Render(name)) }

// item is a text behind a sign, wrapped.
func (p *reportText) item(sign, text string) {
	const indent = 7
	for i, l := range wrap(clean(text), p.width-indent-1) {
		if i > 0 {
			sign = ""
		}
		p.line(fmt.Sprintf("  %4s %s", sign, l))
	}
}

// fact is a text behind its name, wrapped.
func (p *reportText) fact(name, text string) {
	const indent = 14
	for i, l := range wrap(clean(text), p.width-indent-1) {
		if i > 0 {
			name = ""
		}
		p.line("  " + p.t.Dim.Render(fit(name, indent-3)) + " " + l)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// exposure are the open rules, those that the Internet reaches first, and the ways out.
func (p *reportText) exposure(r triage.Report) {
	for _, internet := range []bool{true, false} {
		for _, u := range r.Rules {
			if u.Internet != internet {
				continue
			}
			name := "open to"
			if internet {
				name = "INTERNET"
			}
			p.fact(name, u.String()+" by "+u.Group)
		}
	}
	for _, way := range r.Paths {
		if way.Out {
			p.fact("way out", way.Path)
		}
	}
}

// service is who serves beside it, and whose credentials it has.
func (p *reportText) service(r triage.Report) {
	for _, b := range r.Balancers {
		facing := ""
		if b.Public {
			facing = ", internet-facing"
		}
		p.fact("balancer", fmt.Sprintf("%s %s%s: %s here, %d of %s healthy", b.Kind, b.Name, facing, b.State, b.Healthy, count(b.Others, "other", "others")))
	}
	if s := r.Scaling; s != nil {
		p.fact("group", fmt.Sprintf("%s: %s, desired %d, min %d, max %d", s.Group, s.State, s.Desired, s.Min, s.Max))
		for _, n := range s.Notes {
			p.fact("", n)
		}
	}
	if role := r.Role; role != nil {
		p.fact("role", role.Name+", shared with "+count(len(role.Shared), "other instance", "other instances"))
		if len(role.Policies) > 0 {
			p.fact("", "policies "+strings.Join(role.Policies, ", "))
		}
	}
}
