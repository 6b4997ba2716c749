package tui

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// The least size at which screens are drawn; they are made for 80 by 24.
const (
	minWidth  = 60
	minHeight = 15
)

// Env is what screens are made with.
type Env struct {
	Cordon    *Cordon
	Theme     *Theme         // it changes with the terminal's background: read it in View
	Clock     incident.Clock // of this machine, in a rehearsal too
	Rehearsal bool
	Alert     string // of a rehearsal that has just begun
	Suspect   string // the instance that the alert names

	followers sync.WaitGroup
}

// App is the root model: a stack of screens, what is shown around the top one,
// and what can lie above it: help, a note, a question.
type App struct {
	env   *Env
	ctx   context.Context
	size  Size
	stack []*page

	help *scroll // nil: it is not shown
	note *notePrompt
	asks *question

	said    string
	saidBad bool
	saidFor int    // ticks that it is still shown for; what went wrong stays until a key
	leaving string // what goes on after the end, for the last words
}

// NewApp returns the model with its first screens, the top one last. ctx ends
// with the program.
func NewApp(ctx context.Context, env *Env, screens ...Screen) *App {
	a := &App{env: env, ctx: ctx}
	for _, s := range screens {
		a.stack = append(a.stack, a.page(s))
	}
	return a
}

func (a *App) page(s Screen) *page {
	p := &page{screen: s}
	p.ctx, p.leave = context.WithCancel(a.ctx)
	return p
}

func (a *App) top() *page { return a.stack[len(a.stack)-1] }

// Init asks the terminal for its background and starts the screens.
func (a *App) Init() tea.Cmd {
	cmds := []tea.Cmd{tea.RequestBackgroundColor, a.tick()}
	for _, p := range a.stack {
		cmds = append(cmds, p.address(p.screen.Init(p.ctx)))
	}
	return tea.Batch(cmds...)
}

// tick comes once a second, by the machine's clock.
func (a *App) tick() tea.Cmd {
	return func() tea.Msg {
		if a.env.Clock.Sleep(a.ctx, time.Second) != nil {
			return nil
		}
		return TickMsg{}
	}
}

// Update handles a message, or hands it to the screen that it is for.
func (a *App) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		a.size = Size{msg.Width, msg.Height}
	case tea.BackgroundColorMsg:
		a.env.Theme.SetDark(msg.IsDark())
	case TickMsg:
		if a.saidFor--; a.saidFor <= 0 && !a.saidBad && !a.env.Theme.Still {
			a.said = ""
		}
		cmds := []tea.Cmd{a.tick()}
		for _, p := range a.stack {
			cmds = append(cmds, p.address(p.screen.Update(msg)))
		}
		return a, tea.Batch(cmds...)
	case addressed:
		return a, a.deliver(msg)
	case savedNoteMsg:
		a.say(msg.text, msg.bad)
	case tea.KeyPressMsg:
		return a, a.key(msg)
	case tea.PasteMsg:
		return a, a.input(msg)
	}
	return a, nil
}

// deliver hands a command's result to its screen, unless the screen was left.
func (a *App) deliver(m addressed) tea.Cmd {
	if m.to.ctx.Err() != nil {
		return nil
	}
	switch msg := m.msg.(type) {
	case pushMsg:
		return a.push(msg.screen)
	case restartMsg:
		for _, p := range a.stack[1:] {
			p.leave()
		}
		a.stack = a.stack[:1]
		return a.push(msg.screen)
	case popMsg:
		return a.back()
	case sayMsg:
		a.say(msg.text, msg.bad)
		return nil
	case askMsg:
		a.asks = newQuestion(msg.question, m.to, a.env.Clock.Now())
		return nil
	case execMsg:
		return tea.ExecProcess(msg.cmd, func(err error) tea.Msg { return addressed{m.to, msg.ended(err)} })
	default:
		return m.to.address(m.to.screen.Update(msg))
	}
}

// sayTicks is how many seconds a line in the footer stays.
const sayTicks = 6

func (a *App) say(text string, bad bool) { a.said, a.saidBad, a.saidFor = clean(text), bad, sayTicks }

func (a *App) push(s Screen) tea.Cmd {
	p := a.page(s)
	a.stack = append(a.stack, p)
	a.help = nil
	return p.address(s.Init(p.ctx))
}

// drop takes a page off the stack, wherever it is.
func (a *App) drop(p *page) {
	p.leave()
	for i := range a.stack {
		if a.stack[i] == p {
			a.stack = append(a.stack[:i], a.stack[i+1:]...)
			return
		}
	}
}

// back leaves the top screen; the last one ends the program.
func (a *App) back() tea.Cmd {
	if len(a.stack) == 1 {
		return a.quit()
	}
	p := a.top()
	if l, ok := p.screen.(leaver); ok {
		a.say(l.Leaving(), false)
	}
	a.drop(p)
	p = a.top()
	return p.address(p.screen.Update(ShownMsg{}))
}

// quit ends the program; the uppermost screen that has something to say has the last word.
func (a *App) quit() tea.Cmd {
	for _, p := range slices.Backward(a.stack) {
		if l, ok := p.screen.(leaver); ok && a.leaving == "" {
			a.leaving = l.Leaving()
		}
		p.leave()
	}
	return tea.Quit
}

// key goes to whatever lies on top: a question, the note, the help, the screen.
func (a *App) key(msg tea.KeyPressMsg) tea.Cmd {
	if msg.String() == keyKill {
		return a.quit()
	}
	if a.asks != nil || a.note != nil {
		return a.input(msg)
	}
	a.said = ""
	p := a.top()
	if p.screen.Typing() && a.help == nil {
		return a.input(msg)
	}
	key := msg.String()
	switch {
	case a.help != nil:
		if !a.help.key(key) {
			a.help = nil
		}
		return nil
	case key == keyHelp:
		a.help = new(scroll)
	case key == keyNote:
		if id := p.screen.CaseID(); id == "" {
			a.say("a note belongs to a case: choose one first", true)
		} else {
			a.note = newNotePrompt(id)
		}
	case key == keyCopy:
		return a.copyCommand(p.screen)
	case key == keyBack:
		if len(a.stack) > 1 {
			return a.back()
		}
	case key == keyQuit:
		return a.back()
	default:
		return a.input(msg)
	}
	return nil
}

func (a *App) copyCommand(s Screen) tea.Cmd {
	line := s.Command()
	if line == "" {
		a.say("there is no command for this", true)
		return nil
	}
	a.say("copied: "+line, false)
	return tea.SetClipboard(line)
}

// input is a key or a paste for the question, the note or the screen.
func (a *App) input(msg tea.Msg) tea.Cmd {
	switch {
	case a.asks != nil:
		q := a.asks
		switch q.update(msg, a.env.Clock.Now()) {
		case yes:
			a.asks = nil
			return q.from.address(q.Yes())
		case no:
			a.asks = nil
			a.say("not done", false)
		}
		return nil
	case a.note != nil:
		return a.noteInput(msg)
	case a.help != nil:
		return nil
	default:
		p := a.top()
		return p.address(p.screen.Update(msg))
	}
}

// View draws the whole terminal.
func (a *App) View() tea.View {
	v := tea.NewView(a.draw())
	v.AltScreen = true
	v.WindowTitle = strings.TrimSpace("cordon " + a.top().screen.CaseID())
	if a.env.Rehearsal {
		v.WindowTitle = "REHEARSAL " + v.WindowTitle
	}
	return v
}

func (a *App) draw() string {
	switch {
	case a.size.W == 0 || a.size.H == 0:
		return ""
	case a.size.W < minWidth || a.size.H < minHeight:
		return tooSmall(a.size)
	}
	body := Size{a.size.W, a.size.H - 2}
	return a.env.Theme.drawable(a.header() + "\n" + frame(a.body(body), body) + "\n" + a.footer())
}

func (a *App) body(size Size) string {
	t := a.env.Theme
	switch {
	case a.asks != nil:
		return a.asks.view(t, size)
	case a.help != nil:
		return a.help.view(t, helpView(t, a.top().screen, size.W), size)
	case a.note != nil:
		head := Size{size.W, size.H - noteHeight}
		return frame(a.top().screen.View(head), head) + "\n" + a.note.view(t, size.W)
	default:
		return a.top().screen.View(size)
	}
}

// badge goes onto every screen of a rehearsal.
func (a *App) badge() string {
	if !a.env.Rehearsal {
		return ""
	}
	return a.env.Theme.Badge.Render(" REHEARSAL ") + " "
}

func (a *App) header() string {
	t := a.env.Theme
	var where []string
	for _, p := range a.stack {
		where = append(where, clean(p.screen.Title()))
	}
	now := ""
	if !t.Still {
		now = " " + t.Dim.Render(a.env.Clock.Now().UTC().Format("15:04:05 UTC")+" ")
	}
	text := " " + a.badge() + t.Bar.Render("cordon") + "  "
	room := a.size.W - cells(text) - cells(now)
	return fit(text+t.Dim.Render(t.path(where, room)), a.size.W-cells(now)) + now
}

// path names the screens from the first to the top one; where there is no room for
// all, the first ones are left out: where one is matters most.
func (t *Theme) path(where []string, room int) string {
	between := t.sign(" › ", " > ")
	text := strings.Join(where, between)
	for from := 1; cells(text) > room && from < len(where); from++ {
		text = t.sign("…", "...") + between + strings.Join(where[from:], between)
	}
	return text
}

// footer shows what was said last, or the keys.
func (a *App) footer() string {
	t := a.env.Theme
	if a.said != "" {
		style := t.Strong
		if a.saidBad {
			style = t.Bad
		}
		return fit(" "+style.Render(a.said), a.size.W)
	}
	s := a.top().screen
	var own []Key
	switch {
	case a.asks != nil, a.note != nil:
		own = []Key{{keyBack, "don't"}}
	case a.help != nil:
		own = []Key{{keyBack, "close"}, {"up down", "scroll"}}
	default:
		own = s.Keys()
	}
	fixed := []Key{}
	if a.asks == nil && a.note == nil && a.help == nil {
		fixed = appKeys(s, len(a.stack))
	}
	return fit(" "+keyLine(t, own, fixed, a.size.W-2), a.size.W)
}

// tooSmall says so in whatever room there is.
func tooSmall(s Size) string {
	return frame(strings.Join(wrap("cordon: the terminal is too small. It needs 80 by 24. A run goes on all the same.", s.W), "\n"), s)
}
