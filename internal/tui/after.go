package tui

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// part is one of the pages of After.
type part int

const (
	partEvidence part = iota
	partExposure
	partRooms
	parts
)

// After is what comes after a run: the case's evidence with its custody, what
// can still pass, the clean rooms.
type After struct {
	env    *Env
	ctx    context.Context
	caseID string
	view   *CaseView
	feed   *follower
	part   part

	task   *task        // under way; nil: none
	ended  chan tea.Msg // what became of tasks: it reaches this screen whatever is above it
	failed error        // of the last task
	prompt *prompt

	evidence evidenceList
	exposure exposureList
	rooms    roomList
}

// task is a command at work in the background.
type task struct {
	what  string // verifying 19 items
	line  string // the command
	since time.Time
	own   bool // it goes on when this screen is left
}

// taskMsg is what became of a task of which nothing is read but its effect.
type taskMsg struct {
	done string // what to say
	err  error
}

// NewAfter returns the screen of a case's evidence, exposure and clean rooms.
func NewAfter(env *Env, caseID string) *After {
	return &After{env: env, caseID: caseID, view: NewCaseView(), ended: make(chan tea.Msg, 1)}
}

// Init follows the case's journal.
func (a *After) Init(ctx context.Context) tea.Cmd {
	a.ctx = ctx
	a.feed = follow(ctx, a.env, a.env.Cordon.Dir(a.caseID))
	return tea.Batch(a.feed.next(ctx), a.await())
}

// await waits for what becomes of tasks, one after the other.
func (a *After) await() tea.Cmd {
	return func() tea.Msg {
		select {
		case m := <-a.ended:
			return m
		case <-a.ctx.Done():
			return nil
		}
	}
}

// begin has a task at work, unless there is one: two would wait for the same journal.
func (a *After) begin(what string, own bool, args []string, work func() tea.Msg) tea.Cmd {
	if a.task != nil {
		return Warn("still " + a.task.what)
	}
	a.task = &task{what: what, line: a.env.Cordon.Line(args...), since: a.env.Clock.Now(), own: own}
	a.failed = nil
	return func() tea.Msg {
		m := work()
		select {
		case a.ended <- m:
		case <-a.ctx.Done():
		}
		return nil
	}
}

// start runs a command in a session of its own: it goes on when this screen, or
// the TUI, is left, since it changes something.
func (a *After) start(what, done string, args ...string) tea.Cmd {
	if a.view.Live {
		return Warn("a run is under way in this case: its end comes first")
	}
	return a.begin(what, true, args, func() tea.Msg {
		child, err := a.env.Cordon.Start(a.caseID, args...)
		if err != nil {
			return taskMsg{done, err}
		}
		return taskMsg{done, child.Wait(a.ctx)}
	})
}

// Update takes keys, what the journal says, and what became of tasks.
func (a *After) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case feedMsg:
		a.view.feed(msg, a.env.Clock.Now())
		return a.feed.next(a.ctx)
	case verifiedEvidenceMsg:
		a.over(a.evidence.take(msg))
		return a.await()
	case roomsMsg:
		a.over(a.rooms.take(msg, a.env.Clock.Now()))
		return a.await()
	case sessionMsg:
		a.over(msg.err)
		return tea.Batch(a.await(), a.connected(msg))
	case taskMsg:
		a.over(msg.err)
		if msg.err != nil {
			return a.await()
		}
		return tea.Batch(a.await(), Say(msg.done))
	case leftMsg:
		a.failed = msg.err
	case tea.KeyPressMsg:
		return a.key(msg)
	case tea.PasteMsg:
		if a.prompt != nil {
			a.prompt.input(msg)
		}
	}
	return nil
}

func (a *After) over(err error) { a.task, a.failed = nil, err }

func (a *After) key(msg tea.KeyPressMsg) tea.Cmd {
	if a.prompt != nil {
		return a.prompt.key(msg, func() { a.prompt = nil })
	}
	switch key := msg.String(); key {
	case "tab", "right":
		return a.turn(+1)
	case "shift+tab", "left":
		return a.turn(-1)
	case "1", "2", "3":
		return a.turn(part(key[0]-'1') - a.part)
	case keyRelease:
		if a.view.Live {
			return Warn("a run is under way in this case: its end comes first")
		}
		return Push(NewRelease(a.env, a.caseID))
	default:
		return [parts]func(string) tea.Cmd{a.evidenceKey, a.exposureKey, a.roomKey}[a.part](key)
	}
}

// turn goes to another page. Whoever comes to the clean rooms wants to know how they stand.
func (a *After) turn(by part) tea.Cmd {
	a.part = (a.part + by + parts) % parts
	if a.part == partRooms && !a.rooms.read && a.task == nil && len(a.view.OpenRooms()) > 0 {
		return a.readRooms()
	}
	return nil
}

// View draws the pages' names, what is under way, and the page.
func (a *After) View(size Size) string {
	head := append([]string{a.tabs(size.W)}, a.news(size.W)...)
	foot := ""
	if a.prompt != nil {
		foot = a.prompt.view(a.env.Theme, size.W)
	}
	body := Size{size.W, max(1, size.H-len(head)-strings.Count(foot, "\n"))}
	var page string
	switch {
	case a.view.Err != nil && len(a.view.Entries) == 0:
		page = failure(a.env.Theme, a.view.Err, body)
	case len(a.view.Entries) == 0:
		page = "\n  reading the journal…"
	default:
		page = [parts]func(Size) string{a.evidenceView, a.exposureView, a.roomView}[a.part](body)
	}
	return frame(strings.Join(head, "\n"), Size{size.W, len(head)}) + "\n" + frame(page, body) + "\n" + foot
}

func (a *After) tabs(width int) string {
	t := a.env.Theme
	names := [parts]string{
		"1 evidence " + some(len(a.view.Custody.Items)), "2 exposure", "3 clean rooms " + some(len(a.view.OpenRooms())),
	}
	line := " "
	for i, n := range names {
		n = " " + strings.TrimSpace(n) + " "
		if part(i) == a.part {
			n = t.Selected.Render(n)
		}
		line += n + " "
	}
	return fit(line, width)
}

// news are lines about what is under way, or has gone wrong.
func (a *After) news(width int) (lines []string) {
	t := a.env.Theme
	if a.view.Err != nil {
		lines = append(lines, t.Alarm.Render(fit(" the journal can't be followed: "+clean(a.view.Err.Error()), width)))
	}
	if a.task != nil {
		line := " " + t.State(incident.Running).Style.Render(t.State(incident.Running).Symbol+" "+a.task.what)
		if !t.Still {
			line += " " + tookText(a.env.Clock.Now().Sub(a.task.since))
		}
		lines = append(lines, fit(line+t.Dim.Render("  "+clean(a.task.line)), width))
	}
	if a.failed != nil {
		message, hint := explain(a.failed)
		for i, l := range strings.Split(message, "\n") {
			if i == 3 {
				break
			}
			lines = append(lines, t.Alarm.Render(fit(" "+clean(l), width)))
		}
		if hint != "" {
			lines = append(lines, t.Warn.Render(fit(" hint: "+clean(hint), width)))
		}
	}
	return lines
}

// Title is where we are.
func (a *After) Title() string { return a.caseID + " after" }

// CaseID is the case's.
func (a *After) CaseID() string { return a.caseID }

// Command shows the same page.
func (a *After) Command() string {
	args := [parts][]string{
		{"evidence", "list", "--case", a.caseID}, {"case", "exposure", a.caseID}, {"cleanroom", "status", "--case", a.caseID},
	}[a.part]
	return a.env.Cordon.Line(args...)
}

// Typing tells whether a text is asked for.
func (a *After) Typing() bool { return a.prompt != nil }

// Leaving says what becomes of the task.
func (a *After) Leaving() string {
	switch {
	case a.task == nil:
		return ""
	case a.task.own:
		return "it goes on without this terminal: " + a.task.line
	default:
		return "stopped: " + a.task.line
	}
}

// Keys are the page's, and those that lead to the others.
func (a *After) Keys() []Key {
	if a.prompt != nil {
		return []Key{{"enter", "do it"}, {keyBack, "don't"}}
	}
	keys := [parts]func() []Key{a.evidenceKeys, a.exposureKeys, a.roomKeys}[a.part]()
	return append(keys, Key{"tab", "next page"}, Key{keyRelease, "release"}, Key{"up down", "choose"})
}
