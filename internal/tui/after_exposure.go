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
	targets []targetExposure
	chosen  string
	scroll  scroll
}

// targetExposure is what became of a target in the last run that cut its network.
type targetExposure struct {
	incident.TargetSummary
	run      *incident.RunState
	released string // the release that undid the cut
}

// open is how many paths are not cut, and what else can pass.
func (x targetExposure) open() int { return len(x.ResidualExposure) }

// sum reads the runs' summaries, where the journal has grown.
func (a *After) sum() []targetExposure {
	l := &a.exposure
	if l.entries == len(a.view.Entries) {
		return l.targets
	}
	l.entries, l.targets = len(a.view.Entries), nil
	known := make(map[string]bool)
	for _, run := range slices.Backward(a.view.State.Runs) {
		if run.Kind != incident.KindRun {
			continue
		}
		for _, t := range run.Summary().Targets {
			if known[t.Target] || t.Outcome == incident.OutcomeLeftOut || len(t.Cuts)+len(t.ResidualExposure) == 0 {
				continue
			}
			known[t.Target] = true
			l.targets = append(l.targets, targetExposure{t, run, releasedBy(run, t.Target)})
		}
	}
	slices.SortStableFunc(l.targets, func(a, b targetExposure) int { return b.open() - a.open() })
	return l.targets
}

// releasedBy is the release that has undone a step which cuts the target's network.
func releasedBy(run *incident.RunState, target string) string {
	for _, s := range run.Plan.Steps {
		status := run.Steps[s.Key()]
		if s.Target.String() == target && status.State == incident.Reverted && slices.Contains(s.Provides, incident.NetworkCut) {
			return status.RevertedBy
		}
	}
	return ""
}

func (a *After) exposureAt(list []targetExposure) int {
	return max(0, slices.IndexFunc(list, func(x targetExposure) bool { return x.Target == a.exposure.chosen }))
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

func (a *After) exposureRows(list []targetExposure, size Size) string {
	t, at := a.env.Theme, a.exposureAt(list)
	first, last := window(at, len(list), size.H)
	var lines []string
	for i := first; i < last; i++ {
		x := list[i]
		name := fit(instanceOf(x.Target), 20)
		if i == at {
			name = t.Selected.Render(name)
		}
		lines = append(lines, t.Cursor(i == at)+name+" "+x.mark(t).String())
	}
	return strings.Join(lines, "\n")
}

func instanceOf(target string) string { return clean(target[strings.LastIndex(target, "/")+1:]) }

// mark says how a target stands.
func (x targetExposure) mark(t *Theme) Mark {
	m := t.State(incident.Succeeded)
	switch {
	case x.released != "":
		m = t.State(incident.Reverted)
		m.Word = "released by " + x.released
	case x.ContainedAfter == nil:
		m = t.State(incident.Failed)
		m.Word = "not contained"
	case x.open() > 0:
		m.Symbol, m.Style = t.sign("▲", "!"), t.Warn
		m.Word = "contained, " + count(x.open(), "thing can still pass", "things can still pass")
	default:
		m.Word = "contained, nothing is known to pass"
	}
	return m
}

// exposureText is what can still pass, and what became of every path, interface by interface.
func exposureText(t *Theme, x targetExposure, width int) string {
	d := &detail{t: t, width: width}
	d.rule(clean(x.Target))
	head := x.mark(t).String() + t.Dim.Render("  "+clean(x.run.Plan.Playbook)+" "+x.run.ID)
	if x.ContainedAfter != nil {
		after := time.Duration(*x.ContainedAfter * float64(time.Second))
		head += "  cut " + x.run.Started.Add(after).UTC().Format("2006-01-02 15:04:05 UTC") + ", after " + clockText(after)
	}
	d.line(head)
	if x.released != "" {
		d.line(t.Dim.Render("What follows is of before the release."))
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
