package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Plan shows what a playbook would change, and starts it when it is approved.
// Whatever is edited is planned again.
type Plan struct {
	env      *Env
	ctx      context.Context
	caseID   string
	targets  []string // as --instance takes them
	playbook playbook
	set      map[string]string // inputs that were edited, as --set takes them
	skip     []string          // steps that are left out

	plan     planView
	planned  bool   // once; plan is the last that could be made
	err      error  // why the newest planning failed, or the run did not begin
	notice   string // why it was planned again
	planning bool
	number   int                // of the newest planning; what older ones answer is dropped
	stop     context.CancelFunc // ends it

	inputs  bool   // the inputs have the keys, not the steps
	input   int    // chosen, of playbook.Inputs
	detail  scroll // of the input
	typed   textinput.Model
	editing bool

	start *starting // once it was approved
}

// starting is a run that was approved and has not begun yet.
type starting struct {
	child *Child
	from  uint64 // entries with lower numbers were there before
	feed  *follower
	ctx   context.Context // of what waits for it
	stop  context.CancelFunc
}

// plannedMsg is the answer of 'cordon plan'.
type plannedMsg struct {
	number int
	plan   shownPlan
	err    error
}

// shownPlan is what 'plan --output json' prints.
type shownPlan struct {
	incident.Plan
	Permissions asked `json:"permissions"`
}

// begunMsg: the run's process was started, or was not.
type begunMsg struct {
	child *Child
	was   caseSummary // the case before
	err   error
}

// endedMsg: that process has ended; began tells whether there is a run of it.
type endedMsg struct {
	err   error
	began bool
}

// NewPlan returns the screen of the playbook's plan for the targets, in a case that is open.
func NewPlan(env *Env, caseID string, targets []string, pb playbook) *Plan {
	return &Plan{env: env, caseID: caseID, targets: targets, playbook: pb, set: make(map[string]string), typed: newInput("")}
}

// Init makes the plan.
func (p *Plan) Init(ctx context.Context) tea.Cmd {
	p.ctx = ctx
	return p.replan()
}

// args are what plan and run have in common.
func (p *Plan) args() []string {
	args := []string{p.playbook.ref(), "--case", p.caseID}
	for _, t := range p.targets {
		args = append(args, "--instance", t)
	}
	for _, f := range p.playbook.Inputs {
		if v, ok := p.set[f.Name]; ok {
			args = append(args, "--set", f.Name+"="+v)
		}
	}
	for _, s := range p.skip {
		args = append(args, "--skip", s)
	}
	return args
}

// replan asks for a plan with what is chosen now; the one asked for before is given up.
func (p *Plan) replan() tea.Cmd {
	if p.stop != nil {
		p.stop()
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.stop, p.planning, p.err = stop, true, nil
	p.number++
	number, args := p.number, append([]string{"plan"}, p.args()...)
	return func() tea.Msg {
		defer stop()
		m := plannedMsg{number: number}
		m.err = p.env.Cordon.Read(ctx, &m.plan, args...)
		return m
	}
}

// Update takes keys, plans, and what becomes of the run.
func (p *Plan) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case plannedMsg:
		if msg.number == p.number {
			p.take(msg)
		}
	case begunMsg:
		return p.begun(msg)
	case feedMsg:
		return p.follow(msg)
	case endedMsg:
		return p.ended(msg)
	case tea.KeyPressMsg:
		return p.key(msg)
	case tea.PasteMsg:
		if p.editing {
			p.typed, _ = p.typed.Update(msg)
		}
	}
	return nil
}

// take shows a new plan. A failed planning leaves the old one to look at, not to approve.
func (p *Plan) take(m plannedMsg) {
	p.planning = false
	if p.err = m.err; m.err != nil {
		p.inputs = p.inputs || !p.planned && len(p.playbook.Inputs) > 0 && isUsage(m.err)
		return
	}
	p.planned = true
	p.plan.set(m.plan.Plan, m.plan.Permissions)
	if at := slices.IndexFunc(p.plan.rows, func(r planRow) bool { return r.changed }); p.notice != "" && at >= 0 {
		p.plan.move(at - p.plan.at)
	}
}

// isUsage tells whether a command complained about what it was given.
func isUsage(err error) bool {
	const exitUsage = 2 // docs/cli.md
	var failed *CommandError
	return errors.As(err, &failed) && failed.Code == exitUsage
}

func (p *Plan) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	switch {
	case p.start != nil:
		return Warn("the run is being started")
	case p.editing:
		return p.edit(msg)
	}
	switch key {
	case "a":
		return p.approve()
	case "r":
		p.notice = ""
		return p.replan()
	case "tab":
		p.inputs, p.detail = !p.inputs && len(p.playbook.Inputs) > 0, scroll{}
	case "s":
		return p.leaveOut()
	case "enter":
		if p.inputs {
			return p.inputKey(key)
		}
		if len(p.plan.rows) > 0 {
			return Push(newWholePlan(p))
		}
	default:
		if p.inputs {
			return p.inputKey(key)
		}
		p.plan.key(key)
	}
	return nil
}

// leaveOut takes the chosen step out of the plan, on every target, or back in.
func (p *Plan) leaveOut() tea.Cmd {
	step := p.plan.chosen()
	if p.inputs || step == nil {
		return Warn("choose a step first")
	}
	if i := slices.Index(p.skip, step.ID); i >= 0 {
		p.skip = slices.Delete(p.skip, i, i+1)
	} else {
		p.skip = append(p.skip, step.ID)
	}
	p.notice = ""
	return p.replan()
}

// approve asks, and starts the run.
func (p *Plan) approve() tea.Cmd {
	switch {
	case p.planning:
		return Warn("the plan is being made")
	case p.err != nil:
		return Warn("this can't be approved: see above; r plans again")
	case len(p.plan.plan.Steps) == 0:
		return Warn("there is nothing to approve")
	}
	plan := p.plan.plan
	worst := incident.ReadOnly
	for _, s := range plan.Steps {
		if s.Skip == "" {
			worst = max(worst, s.Impact)
		}
	}
	on := plan.Targets[0].Instance
	name := nameToType(worst, plan.Targets[0])
	if n := len(plan.Targets); n > 1 {
		on = count(n, "target", "targets")
		if name != "" {
			name = on
		}
	}
	return Ask(Confirm{
		Question: "Carry out " + plan.Playbook + " on " + on + "?",
		Impact:   worst, Name: name,
		Lines: append(p.summary(), "", p.env.Cordon.Line(p.runArgs()...)),
		Yes:   p.begin,
	})
}

// runArgs start exactly the plan that is shown. A step whose changes turn out to be
// others when it begins waits for an approval of its own.
func (p *Plan) runArgs() []string {
	return append(append([]string{"run"}, p.args()...), "--digest", p.plan.plan.Digest, "--wait-for-approval")
}

// begin starts the run, unless another process holds the case: two would share a log.
func (p *Plan) begin() tea.Cmd {
	p.start, p.notice, p.err = &starting{}, "", nil
	args := p.runArgs()
	return func() tea.Msg {
		var c caseSummary
		if err := p.env.Cordon.Read(p.ctx, &c, "case", "show", p.caseID); err != nil {
			return begunMsg{err: err}
		}
		if c.Live {
			return begunMsg{err: incident.WithHint(fmt.Errorf("a run is under way in case %s", p.caseID), "wait until it has ended, or use a case of its own")}
		}
		child, err := p.env.Cordon.Start(p.caseID, args...)
		return begunMsg{child, c, err}
	}
}

// begun waits for the run's first entry, or for the end of its process.
func (p *Plan) begun(m begunMsg) tea.Cmd {
	if m.err != nil {
		p.start, p.err = nil, m.err
		return nil
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.start = &starting{
		child: m.child, from: uint64(m.was.Entries), ctx: ctx, stop: stop,
		feed: follow(ctx, p.env, p.env.Cordon.Dir(p.caseID)),
	}
	return tea.Batch(p.start.feed.next(ctx), func() tea.Msg {
		err := m.child.Wait(ctx)
		var now caseSummary
		unread := p.env.Cordon.Read(ctx, &now, "case", "show", p.caseID)
		if ctx.Err() != nil {
			return nil
		}
		return endedMsg{err, unread == nil && len(now.Runs) > len(m.was.Runs)}
	})
}

// follow looks for the run among what is new in the journal.
func (p *Plan) follow(m feedMsg) tea.Cmd {
	if p.start == nil || p.start.feed == nil {
		return nil
	}
	for _, e := range m.entries {
		if e.Type == incident.EntryRunStarted && e.Seq >= p.start.from {
			return p.arrive()
		}
	}
	return p.start.feed.next(p.start.ctx)
}

// arrive goes to the run's screen.
func (p *Plan) arrive() tea.Cmd {
	return Restart(NewRunOf(p.env, p.caseID, p.start.child))
}

// ended: the run's process has ended before its first entry was seen.
func (p *Plan) ended(m endedMsg) tea.Cmd {
	const exitNotApproved = 5 // docs/cli.md: what --digest names is not the plan any more
	switch {
	case p.start == nil:
		return nil
	case m.began || m.err == nil:
		return p.arrive()
	}
	p.start.stop()
	p.start = nil
	var failed *CommandError
	if !errors.As(m.err, &failed) || failed.Code != exitNotApproved {
		p.err = m.err
		return nil
	}
	p.notice = "NOTHING WAS DONE: the plan has changed since you looked at it. This is the plan now; what is new is marked."
	return p.replan()
}

// Leaving says that a run that was started begins all the same.
func (p *Plan) Leaving() string {
	switch {
	case p.start == nil:
		return ""
	case p.start.child == nil:
		return "the run of " + p.caseID + " may not have begun; look at it with: " + p.env.Cordon.Line("attach", "--case", p.caseID)
	}
	return "the run of " + p.caseID + " begins without this terminal; look at it with: " + p.env.Cordon.Line("attach", "--case", p.caseID)
}

// Title is the playbook's name.
func (p *Plan) Title() string { return "plan " + p.playbook.Name }

// CaseID is the case's.
func (p *Plan) CaseID() string { return p.caseID }

// Command prints the same plan.
func (p *Plan) Command() string {
	return p.env.Cordon.Line(append([]string{"plan"}, p.args()...)...)
}

// Typing tells whether an input is being typed.
func (p *Plan) Typing() bool { return p.editing }

// Keys are those of what has them.
func (p *Plan) Keys() []Key {
	switch {
	case p.editing:
		return []Key{{"enter", "plan with it"}, {keyBack, "leave it as it was"}}
	case p.start != nil:
		return nil
	case p.inputs:
		keys := []Key{{"enter", "edit"}, {"tab", "steps"}, {"d", "default"}, {"left right", "other value"}, {"up down", "choose"}, {"r", "plan again"}}
		return append(p.approveKey(), keys...)
	}
	keys := p.approveKey()
	if p.planned {
		keys = append(keys, Key{"enter", "read it"})
	}
	if len(p.playbook.Inputs) > 0 {
		keys = append(keys, Key{"tab", "inputs"})
	}
	if p.planned {
		keys = append(keys, Key{"s", "leave out, take in"}, Key{"pgup pgdown", "scroll"}, Key{"up down", "choose"})
	}
	if len(p.plan.plan.Targets) > 1 {
		keys = append(keys, Key{"[ ]", "other target"})
	}
	return append(keys, Key{"r", "plan again"})
}

// approveKey is offered while what is shown can be approved.
func (p *Plan) approveKey() []Key {
	if p.planning || p.err != nil || len(p.plan.plan.Steps) == 0 {
		return nil
	}
	return []Key{{"a", "approve"}}
}
