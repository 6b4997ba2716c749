package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// View draws the clock, the steps or targets, what is at work, and the journal's end.
func (r *Run) View(size Size) string {
	t := r.env.Theme
	head := append(r.banners(size.W), r.clock(size)...)
	rest := Size{size.W, max(1, size.H-len(head))}
	return frame(strings.Join(head, "\n"), Size{size.W, len(head)}) + "\n" + r.body(t, rest)
}

func (r *Run) body(t *Theme, size Size) string {
	if r.index == nil {
		return r.nothingYet(size)
	}
	const wide = 130
	tail := max(4, min(size.H/3, 12))
	if size.W >= wide {
		left := size.W * 48 / 100
		top := Size{size.W, size.H - tail - 1}
		var right string
		if step, ok := r.chosenStep(); ok {
			right = stepDetail(t, r.view, r.index.run, step, size.W-left-2, r.now())
		}
		return beside(r.list(Size{left, top.H}), left, right, top) + "\n" + r.tail(Size{size.W, tail + 1})
	}
	now := r.atWork(size.W, 3)
	top := Size{size.W, size.H - tail - 1 - len(now)}
	return frame(r.list(top), top) + "\n" + strings.Join(append(now, ""), "\n") + r.tail(Size{size.W, tail + 1})
}

// now is the moment that the screen shows.
func (r *Run) now() time.Time { return r.view.Now(r.env.Clock.Now()) }

// banners are what must not be overlooked, one line each.
func (r *Run) banners(width int) []string {
	t := r.env.Theme
	var lines []string
	alarm := func(text string) { lines = append(lines, t.Alarm.Render(fit(" "+clean(text), width))) }
	warn := func(text string) { lines = append(lines, t.Warn.Render(fit(" "+clean(text), width))) }
	if r.unverified != nil {
		alarm("THE JOURNAL DOES NOT VERIFY: " + r.unverified.Error())
	}
	if r.view.Err != nil && (r.unverified == nil || r.unverified.Error() != r.view.Err.Error()) {
		alarm("the journal can't be followed: " + r.view.Err.Error())
	}
	if failed := childFailure(r.failed, r.view.Run("")); failed != nil {
		message, hint := explain(failed)
		alarm("not started: " + message)
		if hint != "" {
			warn("hint: " + hint)
		}
	}
	run := r.view.Run("")
	switch {
	case run == nil:
	case !r.view.Live && r.child == nil && run.Outcome == "" && (r.view.CaughtUp || r.view.Gone):
		alarm(r.abandoned())
	case run.Paused != nil:
		warn("paused by " + strings.TrimSpace(run.Paused.By+" "+run.Paused.Reason) + ": no further step begins; space continues")
	}
	if waiting := r.waiting(); len(waiting) > 0 && r.view.Live {
		warn(fmt.Sprintf("%s: %s on %s; a approves, x rejects",
			count(len(waiting), "step waits", "steps wait"), waiting[0].ID, waiting[0].Target.Instance))
	}
	if call, u, others := r.view.longestUnreached(); !u.Since.IsZero() {
		alarm("AWS can't be reached since " + u.Since.UTC().Format("15:04:05") + ": " + count(u.Attempts, "try", "tries") + " so far, and it goes on")
		warn(callText(call, others) + ": " + u.Error)
	}
	if late := r.behind(); late > time.Minute && !r.view.State.Case.Rehearsal {
		warn("this machine's clock is " + tookText(late) + " behind the journal's last entry: it was set back")
	}
	return lines
}

// callText names a call that AWS does not answer.
func callText(call unreachedCall, others int) string {
	text := call.what
	if call.step != "" {
		text += " for " + call.step
	}
	if others > 0 {
		text += fmt.Sprintf(" and %d more", others)
	}
	return text
}

// abandoned says that nobody carries the run out any more.
func (r *Run) abandoned() string {
	text := "nobody carries this run out any more"
	if r.view.Gone {
		text = "the run's process was killed"
	}
	if r.index != nil && r.index.states[incident.Unknown] > 0 {
		text += ": " + count(r.index.states[incident.Unknown], "step is unknown", "steps are unknown")
	}
	return text + "; R resumes"
}

// behind is how far this machine's clock is behind the journal.
func (r *Run) behind() time.Duration {
	if n := len(r.view.Entries); n > 0 {
		return r.view.Entries[n-1].Time.Sub(r.env.Clock.Now())
	}
	return 0
}

// clock is the run, how long it has taken, and when the target was contained.
func (r *Run) clock(size Size) []string {
	run := r.view.Run(r.run)
	if run == nil {
		return nil
	}
	t := r.env.Theme
	elapsed := run.Took
	if run.Ended.IsZero() {
		elapsed = run.After(r.now())
	}
	mark := t.outcome(run.Outcome)
	if run.Outcome == "" && !r.view.Live {
		mark = t.State(incident.Unknown)
		mark.Word = "not under way"
	}
	what := mark.String() + "  " + t.Strong.Render(clean(run.Plan.Playbook)) + t.Dim.Render(" "+run.ID)
	took := clockText(elapsed)
	const wide, high = 110, 30
	if t.Unicode && !t.Still && size.W >= wide && size.H >= high {
		big := bigText(took)
		return []string{
			"", "  " + t.Strong.Render(big[0]) + "   " + what,
			"  " + t.Strong.Render(big[1]) + "   " + sinceText(t, run) + "  " + r.containedText(run),
			"  " + t.Strong.Render(big[2]) + "   " + r.counts(), "",
		}
	}
	line := " " + what
	switch {
	case run.Outcome != "":
		line += "  took " + t.Strong.Render(took)
	case !t.Still:
		line += "  " + t.Strong.Render(took) + " " + sinceText(t, run)
	}
	return []string{line + "  " + r.containedText(run), " " + r.counts()}
}

func sinceText(t *Theme, run *incident.RunState) string {
	if run.Outcome != "" {
		return t.Dim.Render("from start to end")
	}
	return t.Dim.Render("since start")
}

// containedText is the moment of containment.
func (r *Run) containedText(run *incident.RunState) string {
	t := r.env.Theme
	if r.index == nil || r.index.run != run || !r.index.cuts {
		return ""
	}
	if r.index.contained == nil {
		return t.Warn.Render("not contained yet")
	}
	after := time.Duration(*r.index.contained * float64(time.Second))
	return t.Good.Render(t.State(incident.Succeeded).Symbol+" contained after "+clockText(after)) + t.Dim.Render(", "+run.Started.Add(after).UTC().Format("15:04:05"))
}

// counts are the steps by state.
func (r *Run) counts() string {
	if r.index == nil {
		return ""
	}
	t := r.env.Theme
	var parts []string
	for s := incident.Pending; s <= incident.Unknown; s++ {
		if n := r.index.states[s]; n > 0 {
			m := t.State(s)
			m.Word = fmt.Sprintf("%d %s", n, m.Word)
			parts = append(parts, m.String())
		}
	}
	text := strings.Join(parts, "  ")
	if n := len(r.index.targets); n > 1 {
		text = count(n, "target", "targets") + "  " + text
	}
	if left := len(r.index.run.Plan.LeftOut); left > 0 {
		text += "  " + t.Bad.Render(count(left, "target left out", "targets left out"))
	}
	return text
}

// nothingYet is shown while the case has no run.
func (r *Run) nothingYet(size Size) string {
	text := "reading the journal…"
	switch {
	case r.child != nil:
		text = "cordon " + strings.Join(r.child.Args, " ") + "\n\nplanning: reading AWS…"
	case r.view.CaughtUp || r.view.Live:
		text = "Nothing was run in this case yet."
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = "  " + clean(lines[i])
	}
	tail := max(4, size.H/2)
	top := Size{size.W, size.H - tail}
	return frame("\n"+strings.Join(lines, "\n"), top) + "\n" + r.tail(Size{size.W, tail})
}

// list is the fleet, or the steps of one target.
func (r *Run) list(size Size) string {
	if r.fleet {
		return r.fleetList(size)
	}
	t := r.env.Theme
	steps := r.steps()
	chosen, _ := r.chosenStep()
	at := stepAt(steps, chosen.ID)
	var b strings.Builder
	first, last := window(at, len(steps), size.H-1)
	heading := steps[0].Target.String()
	if last-first < len(steps) {
		heading += fmt.Sprintf(", steps %d to %d of %d", first+1, last, len(steps))
	}
	b.WriteString(t.Rule(clean(heading), size.W) + "\n")
	from := r.index.span(steps[0].Target).from
	for i := first; i < last; i++ {
		b.WriteString(r.stepRow(steps[i], r.index.depth[from+i], i == at, size.W) + "\n")
	}
	return b.String()
}

// stepRow is one step: its place in the graph by indentation, its state, time and progress.
func (r *Run) stepRow(s incident.StepPlan, depth int, chosen bool, width int) string {
	t := r.env.Theme
	status := r.index.run.Steps[s.Key()]
	state := t.State(status.State)
	const widest = 26
	name := clean(s.ID)
	if depth > 0 && !t.Still {
		name = strings.Repeat(" ", min(depth, 8)-1) + t.sign("└", "`") + name
	}
	name = fit(name, widest)
	if chosen {
		name = t.Selected.Render(name)
	}
	took := ""
	switch {
	case status.Started.IsZero():
	case !status.Ended.IsZero():
		took = tookText(status.EndedAfter - status.StartedAfter)
	case !t.Still:
		took = tookText(r.index.run.After(r.now()) - status.StartedAfter)
	}
	impact := t.Impact(s.Impact)
	if t.Still {
		impact.Symbol = impact.Word
	}
	row := t.Cursor(chosen) + state.Style.Render(state.Symbol) + " " + name + " " + impact.Style.Render(impact.Symbol) + " " + state.Style.Render(fit(state.Word, 9)) + " " + fit(took, 7) + " "
	return row + r.stepNews(s, status, width-cells(row))
}

// stepNews is what there is to say of a step: progress, an error, who answered, what it does.
func (r *Run) stepNews(s incident.StepPlan, status *incident.StepStatus, width int) string {
	t := r.env.Theme
	ref := stepRef{r.index.run.ID, s.ID, s.Target.String()}
	switch {
	case status.State == incident.Running && len(r.view.progress[ref]) > 0:
		return newest(r.view.progress[ref]).text(t, width)
	case status.Error != "":
		return t.Bad.Render(clean(status.Error))
	case status.State == incident.Skipped && status.Outcome != nil && status.Outcome.Reason != "":
		return t.Dim.Render(clean(status.Outcome.Reason))
	case status.Approval != nil && status.State != incident.Succeeded:
		return t.Dim.Render(approvalText(*status.Approval))
	case s.Undo != nil:
		return t.Dim.Render("undoes: " + clean(s.Title))
	default:
		return t.Dim.Render(clean(s.Title))
	}
}

// newest is the progress that was told last, of what is not yet done where there is any.
func newest(paces []*pace) *pace {
	return slices.MaxFunc(paces, func(a, b *pace) int {
		if done := a.Total > 0 && a.Done >= a.Total; done != (b.Total > 0 && b.Done >= b.Total) {
			if done {
				return -1
			}
			return 1
		}
		return a.last.Compare(b.last)
	})
}

func approvalText(a incident.Approval) string {
	word := "rejected"
	if a.Approved {
		word = "approved"
	}
	return clean(word + " by " + a.By + " (" + a.How + ")")
}

// text is a gauge with how much, how fast and how long still.
func (p *pace) text(t *Theme, width int) string {
	amount := func(n int64) string {
		if p.Unit == "bytes" {
			return bytesText(n)
		}
		return fmt.Sprint(n)
	}
	if p.Total <= 0 {
		return clean(p.What) + " " + amount(p.Done)
	}
	text := fmt.Sprintf("%3d%%", p.Done*100/p.Total)
	moved, took := p.Done-p.first.Done, p.last.Sub(p.since)
	if p.Unit == "bytes" && moved > 0 && took >= time.Second {
		speed := float64(moved) / took.Seconds()
		text += fmt.Sprintf(" %.1f MB/s", speed/1e6)
		if left := p.Total - p.Done; left > 0 {
			text += " " + clockText(time.Duration(float64(left)/speed*float64(time.Second))) + " left"
		}
	}
	switch p.Unit {
	case "percent": // said already
	case "bytes":
		text += " " + t.Dim.Render(amount(p.Done)+" of "+amount(p.Total))
	default:
		text += " " + t.Dim.Render(amount(p.Done)+" of "+amount(p.Total)+" "+clean(p.Unit))
	}
	const gauge = 10
	if width < cells(text)+gauge+1 {
		return text
	}
	return t.Gauge(p.Done, p.Total, gauge) + " " + text
}

// fleetList is one line for each target, those that need attention first.
func (r *Run) fleetList(size Size) string {
	t := r.env.Theme
	rows := r.index.rows(r.filter.Value())
	at := r.index.at(rows, r.target)
	heading := count(len(rows), "target", "targets")
	if r.typing || r.filter.Value() != "" {
		heading += " matching " + r.filter.Value()
	}
	var b strings.Builder
	b.WriteString(t.Rule(clean(heading), size.W) + "\n")
	first, last := window(at, len(rows), size.H-1)
	for i := first; i < last; i++ {
		span := r.index.targets[rows[i]]
		worst := t.State(span.worst)
		name := fit(span.Target.Instance, 20)
		if i == at {
			name = t.Selected.Render(name)
		}
		var strip strings.Builder
		for _, s := range r.index.run.Plan.Steps[span.from:span.to] {
			m := t.State(r.index.run.Steps[s.Key()].State)
			strip.WriteString(m.Style.Render(m.Symbol))
		}
		b.WriteString(t.Cursor(i == at) + name + " " + strip.String() + "  " + worst.String() + "  " +
			t.Dim.Render(span.Target.Account+"/"+span.Target.Region) + "\n")
	}
	return b.String()
}

// atWork are the calls being made now, at most n lines; of a fleet the first.
func (r *Run) atWork(width, n int) []string {
	t := r.env.Theme
	lines := []string{t.Rule("calls being made", width)}
	if !r.view.Live {
		return nil
	}
	for _, s := range r.steps() {
		status := r.index.run.Steps[s.Key()]
		if status.State != incident.Running {
			continue
		}
		const recent = 64 // entries: a call in flight is among the last
		calls, _ := r.view.lastCalls(stepRef{r.index.run.ID, s.ID, s.Target.String()}, recent)
		for _, c := range calls {
			if c.result != nil {
				continue
			}
			if len(lines) > n {
				return lines
			}
			lines = append(lines, "  "+t.Accent.Render(clean(c.Service+":"+c.Operation))+t.Dim.Render(" for "+clean(s.ID)+" in "+clean(c.Region)))
		}
	}
	if len(lines) == 1 {
		lines = append(lines, t.Dim.Render("  none that changes anything"))
	}
	return lines
}

// tail is the journal's end.
func (r *Run) tail(size Size) string {
	t := r.env.Theme
	lines := []string{t.Rule("journal, "+count(len(r.view.Entries), "entry", "entries"), size.W)}
	from := max(0, len(r.view.Entries)-(size.H-1))
	for _, e := range r.view.Entries[from:] {
		lines = append(lines, tailLine(t, e, r.many()))
	}
	return frame(strings.Join(lines, "\n"), size)
}

// tailLine is an entry with its time, and its instance where there are several.
func tailLine(t *Theme, e incident.Entry, many bool) string {
	line := t.Dim.Render(fmt.Sprintf("%6d %s ", e.Seq, e.Time.UTC().Format("15:04:05"))) + entryLine(t, e)
	if at := strings.LastIndex(e.Target, "/"); many && at >= 0 {
		line += t.Dim.Render(" " + e.Target[at+1:])
	}
	return line
}
