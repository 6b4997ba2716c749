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

// Run shows a case's runs as they go on, and steers the one that is live.
type Run struct {
	env    *Env
	ctx    context.Context
	caseID string
	view   *CaseView
	feed   *follower
	child  *Child // of ours, until it has ended; nil: none

	run    string // the run that was chosen; empty: the newest
	index  *runIndex
	fleet  bool            // the list of targets is shown, not one target's steps
	target incident.Target // chosen
	step   string          // chosen on the target
	filter textinput.Model
	typing bool

	unverified error // what 'journal verify' said
	failed     error // what the child said, where it failed
}

// NewRun returns the screen of a case's runs.
func NewRun(env *Env, caseID string) *Run {
	return &Run{env: env, caseID: caseID, view: NewCaseView(), filter: newInput("")}
}

// NewRunOf is NewRun for a run that was just started here.
func NewRunOf(env *Env, caseID string, child *Child) *Run {
	r := NewRun(env, caseID)
	r.child = child
	return r
}

// childMsg: the run's process has ended.
type childMsg struct{ err error }

// resumedMsg: a process that resumes the run was started, or could not be.
type resumedMsg struct {
	child *Child
	err   error
}

// verifiedMsg is the answer of 'journal verify'.
type verifiedMsg struct{ err error }

// didMsg is what became of something that was asked of the run.
type didMsg struct {
	what string
	err  error
}

// Init follows the case's journal, and has it verified.
func (r *Run) Init(ctx context.Context) tea.Cmd {
	r.ctx = ctx
	r.feed = follow(ctx, r.env, r.env.Cordon.Dir(r.caseID))
	return tea.Batch(r.feed.next(ctx), r.verify(), r.watch())
}

// verify proves the journal as it lies there.
func (r *Run) verify() tea.Cmd {
	return func() tea.Msg {
		var report struct{}
		return verifiedMsg{r.env.Cordon.Read(r.ctx, &report, "journal", "verify", "--case", r.caseID)}
	}
}

// watch waits for the run's process to end.
func (r *Run) watch() tea.Cmd {
	child := r.child
	if child == nil {
		return nil
	}
	return func() tea.Msg {
		if err := child.Wait(r.ctx); r.ctx.Err() == nil {
			return childMsg{err}
		}
		return nil
	}
}

// Update takes keys and what the journal says.
func (r *Run) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case feedMsg:
		r.view.feed(msg, r.env.Clock.Now())
		r.reindex(len(msg.entries) > 0)
		return r.feed.next(r.ctx)
	case TickMsg:
		if r.index != nil {
			r.index.count()
		}
	case verifiedMsg:
		r.unverified = verifyFailure(msg.err)
	case resumedMsg:
		if r.child, r.failed = msg.child, msg.err; msg.err == nil {
			return r.watch()
		}
	case childMsg:
		r.child, r.failed = nil, msg.err
	case didMsg:
		if msg.err == nil {
			return Say(msg.what)
		}
		message, hint := explain(msg.err)
		if hint != "" {
			message += " (" + hint + ")"
		}
		return Warn(message)
	case tea.KeyPressMsg:
		return r.key(msg)
	case tea.PasteMsg:
		if r.typing {
			r.filter, _ = r.filter.Update(msg)
		}
	}
	return nil
}

// verifyFailure is what is wrong with the journal, not with the asking.
func verifyFailure(err error) error {
	const exitVerify = 4 // docs/cli.md
	var failed *CommandError
	if errors.As(err, &failed) && failed.Code == exitVerify {
		return err
	}
	return nil
}

// childFailure is why a run did not begin. What happened to one that did, the journal tells.
func childFailure(err error, last *incident.RunState) error {
	const exitFailed, exitUsage, exitNotApproved, exitHeld = 1, 2, 5, 7 // docs/cli.md
	var failed *CommandError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed):
		return err
	case failed.Code == exitNotApproved && (last == nil || last.Outcome != incident.OutcomeRefused):
		return err // by its digest: the plan has changed since
	case failed.Code == exitFailed, failed.Code == exitUsage, failed.Code == exitHeld:
		return err
	default:
		return nil
	}
}

// reindex keeps the index of the run that is shown.
func (r *Run) reindex(entries bool) {
	run := r.view.Run(r.run)
	if run == nil || len(run.Plan.Steps) == 0 {
		return
	}
	if r.index == nil || r.index.run != run {
		r.index = newRunIndex(run)
		r.fleet = len(r.index.targets) > 1
		r.target, r.step = incident.Target{}, ""
		return
	}
	const few = 2000 // steps: more are counted once a second
	if entries && len(run.Plan.Steps) <= few {
		r.index.count()
	}
}

// Title is the run's.
func (r *Run) Title() string {
	if run := r.view.Run(r.run); run != nil {
		return r.caseID + " " + run.ID
	}
	return r.caseID
}

// CaseID is the case's.
func (r *Run) CaseID() string { return r.caseID }

// Command comes back to this screen.
func (r *Run) Command() string { return r.env.Cordon.Line("attach", "--case", r.caseID) }

// Typing tells whether the filter is being typed.
func (r *Run) Typing() bool { return r.typing }

// Leaving says that the run goes on.
func (r *Run) Leaving() string {
	if !r.view.Live && r.child == nil {
		return ""
	}
	return "the run of " + r.caseID + " goes on without this terminal; come back with: " + r.Command()
}

// Keys are those that make sense now.
func (r *Run) Keys() []Key {
	if r.typing {
		return []Key{{"enter", "keep the filter"}, {keyBack, "all targets"}}
	}
	var keys []Key
	if r.underWay() {
		if len(r.waiting()) > 0 {
			keys = append(keys, Key{"a", "approve"}, Key{"x", "reject"})
		}
		keys = append(keys, Key{"space", r.pauseWord()})
		if step, ok := r.chosenStep(); ok && !r.fleet && r.retriable(step) {
			keys = append(keys, Key{"r", "retry"})
		}
		keys = append(keys, Key{"I", "interrupt"})
	} else if r.resumable() {
		keys = append(keys, Key{"R", "resume"})
	}
	if r.index != nil {
		keys = append(keys, Key{"enter", "detail"})
	}
	keys = append(keys, Key{"l", "journal"}, Key{keyAfter, "evidence"})
	if r.index != nil && !r.view.Live {
		keys = append(keys, Key{keyRelease, "release"})
	}
	if r.many() {
		keys = append(keys, Key{"t", "targets"}, Key{keyFilter, "filter"})
	}
	if !r.view.Live {
		keys = append(keys, Key{keyPlan, "playbook"})
	}
	if r.skippable() {
		keys = append(keys, Key{"s", "skip step"})
	}
	if len(r.view.State.Runs) > 1 {
		keys = append(keys, Key{"[ ]", "other runs"})
	}
	return append(keys, Key{"up down", "choose"})
}

// underWay: a process carries out the case's last run. It holds the case for a
// moment longer than the run, and others hold it who run nothing.
func (r *Run) underWay() bool {
	last := r.view.Run("")
	return r.view.Live && last != nil && last.Outcome == ""
}

// pauseWord is what space does.
func (r *Run) pauseWord() string {
	if run := r.view.Run(""); run != nil && run.Paused != nil {
		return "continue"
	}
	return "pause"
}

// skippable: the chosen step can still be left out.
func (r *Run) skippable() bool {
	step, ok := r.chosenStep()
	return ok && !r.fleet && r.refusesSkip(step) == nil
}

// refusesSkip tells why 'cordon skip' would not leave the step out, if it would not.
func (r *Run) refusesSkip(step incident.StepPlan) error {
	switch {
	case r.index == nil || r.index.run != r.view.Run(""):
		return errors.New("this is not the newest run")
	case !r.underWay() && !r.resumable():
		return errors.New("the run is over: nothing of it is left to do")
	}
	run := r.index.run
	if status := run.Steps[step.Key()]; r.underWay() && status.Outcome != nil {
		return fmt.Errorf("%s has %s already: retry it, or leave it out once the run has ended", step.ID, status.State)
	}
	_, err := run.Skip(step.Key().String(), incident.Skipping{})
	return err
}

func (r *Run) many() bool { return r.index != nil && len(r.index.targets) > 1 }

// resumable: nobody holds the case, and the last run is not finished.
func (r *Run) resumable() bool {
	last := r.view.Run("")
	return !r.view.Live && r.child == nil && last != nil && (last.Outcome == "" || !last.Finished())
}

// waiting are the steps of the run that wait for an approval.
func (r *Run) waiting() []incident.StepPlan {
	if r.index == nil {
		return nil
	}
	return r.index.waiting
}

func (r *Run) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	if r.typing {
		switch key {
		case keyBack:
			r.filter.SetValue("")
			fallthrough
		case "enter", "up", "down":
			r.typing = false
		default:
			r.filter, _ = r.filter.Update(msg)
		}
		return nil
	}
	switch key {
	case "up", "k":
		r.move(-1)
	case "down", "j":
		r.move(+1)
	case "pgup":
		r.move(-10)
	case "pgdown":
		r.move(+10)
	case "[":
		r.otherRun(-1)
	case "]":
		r.otherRun(+1)
	case "t":
		r.fleet = r.many() && !r.fleet
	case keyFilter:
		r.typing = r.many()
		r.fleet = r.fleet || r.typing
	case "enter":
		return r.open()
	case "l":
		return Push(newJournal(r.env, r.caseID, r.view))
	case keyAfter:
		return Push(NewAfter(r.env, r.caseID))
	case keyRelease:
		if r.view.Live {
			return Warn("a run is under way: its end, or an interrupt (I), comes before a release")
		}
		return Push(NewRelease(r.env, r.caseID))
	case keyPlan:
		return r.another()
	default:
		return r.steer(key)
	}
	return nil
}

// another goes to a playbook in the same case, on what was worked on last.
func (r *Run) another() tea.Cmd {
	if r.view.Live {
		return Warn("one run at a time: this one is under way")
	}
	s := Start{CaseID: r.caseID}
	if run := r.view.Run(r.run); run != nil {
		s.Targets = targetNames(run.Plan.Targets)
	}
	return Push(NewPlaybooks(r.env, s))
}

// open goes from the targets to one target's steps, and from there to a step.
func (r *Run) open() tea.Cmd {
	switch {
	case r.index == nil:
		return nil
	case r.fleet:
		if rows := r.index.rows(r.filter.Value()); len(rows) > 0 {
			r.target = r.index.targets[rows[r.index.at(rows, r.target)]].Target
			r.fleet, r.step = false, ""
		}
		return nil
	}
	step, ok := r.chosenStep()
	if !ok {
		return nil
	}
	r.target, r.step = step.Target, step.ID // the keys of its screen are about it, whatever becomes more urgent
	return Push(newStep(r, r.index.run, step))
}

// otherRun shows the run before or after this one.
func (r *Run) otherRun(by int) {
	runs := r.view.State.Runs
	at := slices.Index(runs, r.view.Run(r.run)) + by
	if at < 0 || at >= len(runs) {
		return
	}
	if r.run = runs[at].ID; at == len(runs)-1 {
		r.run = "" // the newest, also when there is a newer one
	}
	r.reindex(false)
}

// move chooses another target, or another step.
func (r *Run) move(by int) {
	if r.index == nil {
		return
	}
	if r.fleet {
		rows := r.index.rows(r.filter.Value())
		if at := r.index.at(rows, r.target); len(rows) > 0 {
			r.target = r.index.targets[rows[min(max(at+by, 0), len(rows)-1)]].Target
		}
		return
	}
	steps := r.steps()
	at := stepAt(steps, r.step)
	if len(steps) > 0 {
		r.step = steps[min(max(at+by, 0), len(steps)-1)].ID
	}
}

// steps are those of the chosen target.
func (r *Run) steps() []incident.StepPlan {
	if r.index == nil {
		return nil
	}
	return r.index.stepsOf(r.target)
}

// chosenStep is the one under the cursor: where nobody has moved it, the one that
// needs attention.
func (r *Run) chosenStep() (incident.StepPlan, bool) {
	steps := r.steps()
	if len(steps) == 0 {
		return incident.StepPlan{}, false
	}
	if r.step == "" {
		return steps[r.index.urgent(steps)], true
	}
	return steps[stepAt(steps, r.step)], true
}

func stepAt(steps []incident.StepPlan, id string) int {
	return max(0, slices.IndexFunc(steps, func(s incident.StepPlan) bool { return s.ID == id }))
}
