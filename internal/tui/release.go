package tui

import (
	"context"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Release plans the undoing of a case's isolation, shows what someone else has
// changed since, and starts it once it is approved.
type Release struct {
	env    *Env
	ctx    context.Context
	caseID string
	only   string // the one target, as --instance takes it; empty: all
	force  bool
	drift  []incident.Drift // that a forced plan overwrites

	reading bool
	err     error
	plan    planView
}

// releasePlanMsg is the answer of 'release --plan'.
type releasePlanMsg struct {
	plan shownPlan
	err  error
}

// NewRelease returns the screen of a case's release.
func NewRelease(env *Env, caseID string) *Release { return &Release{env: env, caseID: caseID} }

// Init plans.
func (r *Release) Init(ctx context.Context) tea.Cmd {
	r.ctx = ctx
	return r.read()
}

// read plans anew; what is shown can't be approved meanwhile.
func (r *Release) read() tea.Cmd {
	r.reading, r.err = true, nil
	args := append([]string{"release", "--plan"}, r.options()...)
	return func() tea.Msg {
		var m releasePlanMsg
		m.err = r.env.Cordon.Read(r.ctx, &m.plan, args...)
		return m
	}
}

// options are those of the plan and of the release.
func (r *Release) options() []string {
	args := []string{"--case", r.caseID}
	if r.only != "" {
		args = append(args, "--instance", r.only)
	}
	if r.force {
		args = append(args, "--force")
	}
	return args
}

// Update takes keys and the plan.
func (r *Release) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case releasePlanMsg:
		r.reading, r.err = false, msg.err
		if len(msg.plan.LeftOut) > 0 && len(msg.plan.Steps) == 0 {
			r.err = nil // the plan says why
		}
		r.plan.set(msg.plan.Plan, msg.plan.Permissions)
	case startedMsg:
		if msg.err != nil {
			r.err = msg.err
			return nil
		}
		return Restart(NewRunOf(r.env, r.caseID, msg.child))
	case tea.KeyPressMsg:
		return r.key(msg.String())
	}
	return nil
}

func (r *Release) key(key string) tea.Cmd {
	switch {
	case key == "r":
		return r.read()
	case r.reading || r.err != nil:
		return nil
	case key == "a":
		return r.approve()
	case key == "F":
		return r.askForce()
	case key == "t":
		return r.narrow()
	}
	r.plan.key(key)
	return nil
}

// narrow plans for the chosen target alone, or for all again.
func (r *Release) narrow() tea.Cmd {
	target, ok := r.plan.target()
	switch {
	case r.only != "":
		r.only = ""
	case !ok || len(r.plan.plan.Targets)+len(r.plan.plan.LeftOut) < 2:
		return Warn("there is one target only")
	default:
		r.only = target.String()
	}
	return r.read()
}

// differences are those of all targets that are left out.
func (r *Release) differences() (all []incident.Drift) {
	for _, l := range r.plan.plan.LeftOut {
		all = append(all, l.Drift...)
	}
	return all
}

// askForce asks before it plans over what someone else has changed. Nothing is done by that.
func (r *Release) askForce() tea.Cmd {
	if r.force {
		r.force, r.drift = false, nil
		return r.read()
	}
	drift := r.differences()
	if len(drift) == 0 {
		return Warn("nothing was changed by someone else: there is nothing to force")
	}
	lines := []string{"Find out first who changed it, and why. These would be overwritten:", ""}
	return Ask(Confirm{
		Question: "Plan to put the state before back over what someone else has changed?",
		Lines:    append(lines, driftLines(r.env.Theme, drift)...),
		Yes: func() tea.Cmd {
			r.force, r.drift = true, drift
			return r.read()
		},
	})
}

func driftLines(t *Theme, drift []incident.Drift) (lines []string) {
	for _, x := range drift {
		lines = append(lines, changeText(t, incident.Change{Resource: x.Resource, What: x.What, Before: x.Now, After: x.Before})+", overwriting a change by someone else")
	}
	return lines
}

// approve asks with everything that will be changed, and starts the release by the plan's digest.
func (r *Release) approve() tea.Cmd {
	p := r.plan.plan
	switch {
	case len(p.Steps) == 0 && len(p.LeftOut) > 0:
		return Warn("refused: what would be put back was changed, or can't be read")
	case len(p.Steps) == 0:
		return Warn("there is nothing to release")
	}
	impact, lines := incident.ReadOnly, []string(nil)
	if r.force {
		lines = driftLines(r.env.Theme, r.drift)
	}
	changes := 0
	for _, s := range p.Steps {
		impact = max(impact, s.Impact)
		if s.Proposal == nil {
			lines = append(lines, s.ID+" on "+s.Target.Instance+": known only in the run")
			continue
		}
		for _, c := range s.Proposal.Changes {
			lines = append(lines, changeText(r.env.Theme, c))
			changes++
		}
	}
	args := append(append([]string{"release"}, r.options()...), "--digest", p.Digest)
	what := p.Targets[0].Instance
	name := what
	if n := len(p.Targets); n > 1 {
		what, name = count(n, "target", "targets")+" of "+r.caseID, r.caseID
	}
	if impact < incident.Disruptive && !r.force {
		name = ""
	}
	return Ask(Confirm{
		Question: fmt.Sprintf("Release %s: %s?", what, count(changes, "change", "changes")),
		Impact:   impact, Name: name,
		Lines: append([]string{r.env.Cordon.Line(args...), ""}, lines...),
		Yes:   func() tea.Cmd { return r.start(args) },
	})
}

// startedMsg is what became of the start of a run.
type startedMsg struct {
	child *Child
	err   error
}

func (r *Release) start(args []string) tea.Cmd {
	return func() tea.Msg {
		child, err := r.env.Cordon.Start(r.caseID, args...)
		return startedMsg{child, err}
	}
}

// View draws the plan.
func (r *Release) View(size Size) string {
	t := r.env.Theme
	p := r.plan.plan
	switch {
	case r.reading:
		return "\n  reading from AWS what is in effect, and what was changed since…\n\n  " + t.Dim.Render(r.planLine())
	case r.err != nil:
		return failure(t, r.err, size)
	case len(p.Steps)+len(p.LeftOut) == 0:
		return "\n  " + t.State(incident.Succeeded).String() + "  Nothing to release: what the case's runs changed is put back, or nothing was changed."
	}
	head := r.head(size.W)
	body := Size{size.W, size.H - len(head)}
	text := ""
	for _, l := range head {
		text += l + "\n"
	}
	return text + r.plan.view(t, body)
}

// planLine is the command that plans.
func (r *Release) planLine() string {
	return r.env.Cordon.Line(append([]string{"release", "--plan"}, r.options()...)...)
}

// head says whether the release can be approved.
func (r *Release) head(width int) []string {
	t, p := r.env.Theme, r.plan.plan
	sum := fmt.Sprintf(" release of %s, %s to undo", count(len(p.Targets), "target", "targets"), count(len(p.Steps), "step", "steps"))
	if len(p.Steps) == 0 {
		sum = " release of " + r.caseID
	}
	if r.only != "" {
		sum += t.Warn.Render("  only this target; t: all")
	}
	if p.Digest != "" {
		sum += t.Dim.Render("  " + p.Digest)
	}
	lines := []string{fit(t.Strong.Render(sum), width)}
	drift := r.differences()
	switch {
	case r.force:
		lines = append(lines, t.Alarm.Render(fit(" FORCED: overwrites "+count(len(r.drift), "thing that someone else has changed", "things that someone else has changed")+"; F: don't", width)))
	case len(p.Steps) == 0 && len(drift) > 0:
		lines = append(lines, t.Alarm.Render(fit(" REFUSED: someone else has changed what would be put back. F plans over it", width)))
	case len(p.Steps) == 0:
		lines = append(lines, t.Alarm.Render(fit(" REFUSED: no target can be released", width)))
	case len(p.LeftOut) > 0:
		lines = append(lines, t.Warn.Render(fit(" "+count(len(p.LeftOut), "target is", "targets are")+" left out and stays isolated", width)))
	}
	return lines
}

// Title is where we are.
func (r *Release) Title() string { return r.caseID + " release" }

// CaseID is the case's.
func (r *Release) CaseID() string { return r.caseID }

// Command releases what is shown; where it can't be, it plans.
func (r *Release) Command() string {
	if d := r.plan.plan.Digest; d != "" && !r.reading && r.err == nil {
		return r.env.Cordon.Line(append(append([]string{"release"}, r.options()...), "--digest", d)...)
	}
	return r.planLine()
}

// Typing is never the case here.
func (r *Release) Typing() bool { return false }

// Keys are those that make sense now.
func (r *Release) Keys() []Key {
	var keys []Key
	p := r.plan.plan
	if !r.reading && r.err == nil {
		if len(p.Steps) > 0 {
			keys = append(keys, Key{"a", "approve"})
		}
		if r.force {
			keys = append(keys, Key{"F", "don't force"})
		} else if len(r.differences()) > 0 {
			keys = append(keys, Key{"F", "plan by force"})
		}
		if len(p.Targets)+len(p.LeftOut) > 1 || r.only != "" {
			keys = append(keys, Key{"t", "one target, all"})
		}
	}
	keys = append(keys, Key{"r", "plan again"})
	if len(r.plan.rows) > 0 {
		keys = append(keys, Key{"up down", "choose"}, Key{"pgup pgdown", "scroll"})
	}
	return keys
}
