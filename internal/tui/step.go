package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Step is everything the journal says of one step. The screen below it follows the journal.
type Step struct {
	of     *Run
	run    string // its ID: what is known of it changes
	step   incident.StepPlan
	scroll scroll
}

func newStep(of *Run, run *incident.RunState, step incident.StepPlan) *Step {
	return &Step{of: of, run: run.ID, step: step}
}

// Init has nothing to start.
func (s *Step) Init(context.Context) tea.Cmd { return nil }

// Update scrolls, and steers as the run's screen does.
func (s *Step) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch key := msg.String(); {
		case s.scroll.key(key):
		case key == "R": // a resumed run is watched by its own screen
			return Warn("go back first: R resumes the whole run")
		default:
			return s.of.steer(key)
		}
	case didMsg:
		return s.of.Update(msg)
	}
	return nil
}

// View draws the detail.
func (s *Step) View(size Size) string {
	return s.scroll.view(s.of.env.Theme, stepDetail(s.of.env.Theme, s.of.view, s.of.view.Run(s.run), s.step, size.W, s.of.now()), size)
}

// Title is the step's ID.
func (s *Step) Title() string { return s.step.ID }

// CaseID is the case's.
func (s *Step) CaseID() string { return s.of.caseID }

// Command tries a step that failed again, where that is possible; otherwise it shows the journal's entries.
func (s *Step) Command() string {
	if s.of.retriable(s.step) {
		return s.of.retryLine(s.step)
	}
	return s.of.env.Cordon.Line("journal", "show", "--case", s.of.caseID)
}

// Typing is never the case here.
func (s *Step) Typing() bool { return false }

// Keys scroll and steer.
func (s *Step) Keys() []Key {
	keys := []Key{{"up down", "scroll"}}
	if s.of.underWay() && len(s.of.waiting()) > 0 {
		keys = append(keys, Key{"a", "approve"}, Key{"x", "reject"})
	}
	if s.of.refusesSkip(s.step) == nil {
		keys = append(keys, Key{"s", "skip step"})
	}
	if s.of.retriable(s.step) {
		keys = append(keys, Key{"r", "retry"})
	}
	if s.of.underWay() {
		keys = append(keys, Key{"I", "interrupt"})
	}
	return keys
}

// detail writes the parts of a step's page.
type detail struct {
	t     *Theme
	width int
	b     strings.Builder
}

func (d *detail) rule(heading string) { d.b.WriteString(d.t.Rule(heading, d.width) + "\n") }

// text writes a text that came from elsewhere, wrapped, under a word.
func (d *detail) text(word, text string) {
	if text == "" {
		return
	}
	const indent = 15
	for i, line := range wrap(clean(text), d.width-indent-1) {
		if i > 0 {
			word = ""
		}
		d.b.WriteString(d.t.Dim.Render(fit(word, indent)) + line + "\n")
	}
}

func (d *detail) line(text string) { d.b.WriteString("  " + text + "\n") }

func stepDetail(t *Theme, v *CaseView, run *incident.RunState, step incident.StepPlan, width int, now time.Time) string {
	status := run.Steps[step.Key()]
	d := &detail{t: t, width: width}
	d.rule(clean(step.ID + " on " + step.Target.Instance))
	d.b.WriteString(t.State(status.State).String() + "  " + t.Impact(step.Impact).String() + "  " + t.Dim.Render(clean(step.Action)) + "\n")
	d.text("does", step.Title)
	d.text("when", stepTimes(t, status, run.After(now)))
	if status.State == incident.Unknown {
		d.text("unknown", "it was begun, and no outcome is journaled: it may or may not have happened. A resume finds out.")
	}
	d.text("error", status.Error)
	d.text("hint", status.Hint)
	if status.Outcome != nil {
		d.text("reason", status.Outcome.Reason)
	}
	if status.RevertedBy != "" {
		d.text("undone by", status.RevertedBy)
	}
	d.text("after", strings.Join(step.Needs, ", "))
	if a := status.Approval; a != nil {
		d.text("answer", approvalText(*a)+" "+a.Reason)
	}
	d.progress(v.progress[stepRef{run.ID, step.ID, step.Target.String()}])
	d.changes(step, status)
	d.inputs(step, status)
	d.outcome(status)
	d.calls(v, stepRef{run.ID, step.ID, step.Target.String()})
	d.before(step, status)
	return d.b.String()
}

// stepTimes are of a step of a run that has gone on for so long.
func stepTimes(t *Theme, s *incident.StepStatus, elapsed time.Duration) string {
	const at = "15:04:05"
	var text string
	switch {
	case !s.WaitingSince.IsZero():
		text = "waits since " + s.WaitingSince.UTC().Format(at)
	case s.Started.IsZero():
		return "not begun"
	case s.State == incident.Pending:
		text = "begun at " + s.Started.UTC().Format(at) + ", to be tried again"
	case s.Ended.IsZero():
		text = "since " + s.Started.UTC().Format(at)
		if !t.Still && s.State == incident.Running {
			text += ", " + tookText(elapsed-s.StartedAfter)
		}
	default:
		text = s.Started.UTC().Format(at) + " to " + s.Ended.UTC().Format(at) + ", " + tookText(s.EndedAfter-s.StartedAfter)
	}
	if s.Tries > 1 {
		text += fmt.Sprintf(", try %d", s.Tries)
	}
	return text
}

func (d *detail) progress(paces []*pace) {
	for _, p := range paces {
		d.line(clean(p.What) + " " + p.text(d.t, d.width-cells(p.What)-4))
	}
}

// changes are those of the step's question, else of its intent, else of the plan.
func (d *detail) changes(step incident.StepPlan, status *incident.StepStatus) {
	p := step.Proposal
	if status.Intent != nil {
		p = &status.Intent.Proposal
	}
	var changes []incident.Change
	if p != nil {
		changes = p.Changes
	}
	if status.State == incident.Waiting && status.Waiting != nil {
		changes = status.Waiting.Changes
	}
	if len(changes) > 0 {
		d.rule("changes")
	}
	for _, c := range changes {
		for _, l := range wrap(clean(changeText(d.t, c)), d.width-3) {
			d.line(l)
		}
	}
	if p == nil {
		return
	}
	for _, n := range p.Notes {
		d.text("note", n)
	}
}

func (d *detail) inputs(step incident.StepPlan, status *incident.StepStatus) {
	inputs := step.Inputs
	if status.Intent != nil {
		inputs = status.Intent.Inputs
	}
	if len(inputs)+len(step.Deferred) == 0 {
		return
	}
	d.rule("inputs")
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		d.text(name, oneLine(inputs[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(step.Deferred)) {
		if _, known := inputs[name]; !known {
			d.text(name, step.Deferred[name])
		}
	}
}

// oneLine is a value as JSON; it came out of JSON.
func oneLine(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (d *detail) outcome(s *incident.StepStatus) {
	if s.Outcome == nil {
		return
	}
	v := s.Outcome.Verification
	if len(v.Observed)+len(v.Residual)+len(s.Result.Outputs) == 0 {
		return
	}
	d.rule("outcome")
	for _, o := range v.Observed {
		d.text("observed", o)
	}
	for _, e := range v.Residual {
		d.text("open", e.Path+": "+e.Reason)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Result.Outputs)) {
		d.text(name, oneLine(s.Result.Outputs[name]))
	}
}

// calls are the step's last changing calls with AWS's request IDs, the newest last.
func (d *detail) calls(v *CaseView, ref stepRef) {
	const shown = 400 // entries: an export has thousands
	calls, before := v.lastCalls(ref, shown)
	if len(calls) == 0 {
		return
	}
	d.rule("calls that change something")
	if before > 0 {
		d.line(d.t.Dim.Render("the last ones; the journal has all"))
	}
	for _, c := range calls {
		d.call(c)
	}
}

func (d *detail) call(c call) {
	line := d.t.Dim.Render(c.sent.UTC().Format("15:04:05 ")) + clean(c.Service+":"+c.Operation)
	switch r := c.result; {
	case r == nil:
		line += d.t.Warn.Render(" not answered")
	case r.ErrorCode != "" || r.Error != "":
		line += " " + d.t.Bad.Render(clean(r.ErrorCode)) + " " + clean(r.Error) + d.t.Dim.Render(" "+clean(r.RequestID))
	default:
		line += d.t.Dim.Render(" " + tookText(c.answered.Sub(c.sent)) + " " + clean(r.RequestID))
	}
	if r := c.result; r != nil && r.Attempts > 1 {
		line += d.t.Warn.Render(fmt.Sprintf(" %d attempts", r.Attempts))
	}
	d.line(line)
}

// before is the action's own record of what it will restore.
func (d *detail) before(step incident.StepPlan, status *incident.StepStatus) {
	raw := json.RawMessage(nil)
	if step.Proposal != nil {
		raw = step.Proposal.Before
	}
	if status.Intent != nil {
		raw = status.Intent.Proposal.Before
	}
	if len(raw) == 0 || string(raw) == "{}" {
		return
	}
	d.rule("state before, which a release restores")
	for _, l := range indented(raw) {
		for _, l := range wrap(clean(l), d.width-3) {
			d.line(l)
		}
	}
}

// indented is JSON in lines; what is none, as it is.
func indented(raw json.RawMessage) []string {
	var v any
	if json.Unmarshal(raw, &v) == nil {
		if b, err := json.MarshalIndent(v, "", "  "); err == nil {
			return strings.Split(string(b), "\n")
		}
	}
	return []string{string(raw)}
}

// styled writes a text that came from elsewhere, wrapped, every line in the style.
func (d *detail) styled(indent, text string, style lipgloss.Style) {
	if text == "" {
		return
	}
	for _, l := range wrap(clean(text), d.width-cells(indent)-1) {
		d.b.WriteString(indent + style.Render(l) + "\n")
	}
}
