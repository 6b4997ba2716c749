package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// exposureList is After's page of what can still pass, target by target.
type exposureList struct {
	entries int // of the journal, when it was summed up
	targets []incident.TargetExposure
	chosen  string
	scroll  scroll
}

// sum folds what became of each target, where the journal has grown.
func (a *After) sum() []incident.TargetExposure {
	l := &a.exposure
	if l.entries == len(a.view.Entries) {
		return l.targets
	}
	l.entries, l.targets = len(a.view.Entries), a.view.State.Exposures()
	slices.SortStableFunc(l.targets, func(a, b incident.TargetExposure) int {
		return len(b.ResidualExposure) - len(a.ResidualExposure)
	})
	return l.targets
}

func (a *After) exposureAt(list []incident.TargetExposure) int {
	return max(0, slices.IndexFunc(list, func(x incident.TargetExposure) bool { return x.Target == a.exposure.chosen }))
}

func (a *After) exposureKey(key string) tea.Cmd {
	list := a.sum()
	switch at := a.exposureAt(list); {
	case len(list) > 1 && key != "pgup" && key != "pgdown":
		if at, ok := listKey(key, at, len(list)); ok {
			a.exposure.chosen, a.exposure.scroll = list[at].Target, scroll{}
		}
	default:
		a.exposure.scroll.key(key)
	}
	return nil
}

func (a *After) exposureKeys() []Key { return []Key{{"pgup pgdown", "scroll"}} }

func (a *After) exposureView(size Size) string {
	const wide, most = 140, 8
	t, list := a.env.Theme, a.sum()
	if len(list) == 0 {
		return "\n  no run of this case has cut a network"
	}
	chosen := list[a.exposureAt(list)]
	scrolled := func(s Size) string { return a.exposure.scroll.view(t, exposureText(t, chosen, s.W), s) }
	switch {
	case len(list) == 1:
		return scrolled(size)
	case size.W >= wide:
		left := size.W * 2 / 5
		return beside(a.exposureRows(list, Size{left, size.H}), left, scrolled(Size{size.W - left - 2, size.H}), size)
	default:
		top := Size{size.W, min(len(list), most)}
		return frame(a.exposureRows(list, top), top) + "\n" + scrolled(Size{size.W, size.H - top.H})
	}
}

func (a *After) exposureRows(list []incident.TargetExposure, size Size) string {
	t, at := a.env.Theme, a.exposureAt(list)
	first, last := window(at, len(list), size.H)
	var lines []string
	for i := first; i < last; i++ {
		x := list[i]
		name := fit(instanceOf(x.Target), 20)
		if i == at {
			name = t.Selected.Render(name)
		}
		lines = append(lines, t.Cursor(i == at)+name+" "+t.contained(x).String())
	}
	return strings.Join(lines, "\n")
}

func instanceOf(target string) string { return clean(target[strings.LastIndex(target, "/")+1:]) }

// contained marks how a target stands.
func (t *Theme) contained(x incident.TargetExposure) Mark {
	m := t.State(incident.Succeeded)
	switch {
	case x.ReleasedBy != "":
		m = t.State(incident.Reverted)
		m.Word = "released by " + x.ReleasedBy
	case x.ContainedAfter == nil:
		m = t.State(incident.Failed)
		m.Word = "not contained"
	case len(x.ResidualExposure) > 0:
		m.Symbol, m.Style = t.sign("▲", "!"), t.Warn
		m.Word = "contained, " + count(len(x.ResidualExposure), "thing can still pass", "things can still pass")
	default:
		m.Word = "contained, nothing is known to pass"
	}
	return m
}

// exposureText is what can still pass, and what became of every path, interface by interface.
func exposureText(t *Theme, x incident.TargetExposure, width int) string {
	d := &detail{t: t, width: width}
	d.rule(clean(x.Target))
	head := t.contained(x).String() + t.Dim.Render("  "+clean(x.Playbook)+" "+x.Run)
	if after := x.ContainedAfter; after != nil {
		head += "  cut " + x.Contained.UTC().Format("2006-01-02 15:04:05 UTC") + ", after " + clockText(time.Duration(*after*float64(time.Second)))
	}
	d.line(head)
	if x.ReleasedBy != "" {
		d.line("Its network is as it was before: nothing is cut any more.")
		return d.b.String()
	}
	d.exposures(x.ResidualExposure)
	for _, face := range interfacesOf(x.Cuts) {
		d.cuts(face, x.Cuts)
	}
	return d.b.String()
}

func (d *detail) exposures(all []incident.Exposure) {
	d.rule("what can still pass")
	if len(all) == 0 {
		d.line("nothing is known to")
	}
	for _, e := range all {
		where := ""
		for _, w := range []string{e.Interface, e.Direction} {
			if w != "" && !strings.Contains(e.Path, w+" ") {
				where += "  " + w
			}
		}
		if e.IdleSeconds > 0 {
			where += fmt.Sprintf("  until idle for %d s", e.IdleSeconds)
		}
		m := d.t.sign("▲", "!")
		for i, l := range wrap(clean(e.Path), d.width-5) {
			if i > 0 {
				m = " "
			}
			d.line(d.t.Warn.Render(m + " " + l))
		}
		for _, l := range wrap(clean(e.Reason+where), d.width-7) {
			d.b.WriteString("      " + l + "\n")
		}
	}
}

// interfacesOf are those that paths are named for, in their order; empty: of none.
func interfacesOf(cuts []incident.Cut) (all []string) {
	for _, c := range cuts {
		if !slices.Contains(all, c.Interface) {
			all = append(all, c.Interface)
		}
	}
	return all
}

// cuts are the paths of an interface, those that are open first.
func (d *detail) cuts(face string, all []incident.Cut) {
	var cuts []incident.Cut
	open := 0
	for _, c := range all {
		if c.Interface == face {
			cuts = append(cuts, c)
			if !c.Cut {
				open++
			}
		}
	}
	slices.SortStableFunc(cuts, func(a, b incident.Cut) int {
		switch {
		case a.Cut == b.Cut:
			return 0
		case b.Cut:
			return -1
		}
		return 1
	})
	if face == "" {
		face = "paths"
	}
	d.rule(clean(face) + fmt.Sprintf(": %d cut, %d open", len(cuts)-open, open))
	for _, c := range cuts {
		d.pathCut(c)
	}
}

// pathCut is a path as it was read back after the cut.
func (d *detail) pathCut(c incident.Cut) {
	m := d.t.State(incident.Succeeded)
	words := "cut by " + strings.Join(c.Measures, ", ")
	if !c.Cut {
		m = d.t.State(incident.Failed)
		words = "NOT cut, only " + strings.Join(c.Measures, ", ")
		if len(c.Measures) == 0 {
			words = "NOT cut"
		}
	}
	for i, l := range wrap(clean(c.Path), d.width-5) {
		if i == 0 {
			l = m.Style.Render(m.Symbol) + " " + l
		} else {
			l = "  " + l
		}
		d.line(l)
	}
	for _, text := range []string{words, c.Reason, c.Observed} {
		for _, l := range wrap(clean(text), d.width-7) {
			if l != "" {
				d.b.WriteString("      " + d.t.Dim.Render(l) + "\n")
			}
		}
	}
}
