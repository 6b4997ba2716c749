package tui

import (
	"context"
	"os/exec"

	tea "charm.land/bubbletea/v2"
)

// Screen is one page. Its methods are called from one goroutine.
type Screen interface {
	// Init starts what the screen needs and returns the command that gets it. It
	// is called once, when the screen is pushed. ctx ends when the screen is left:
	// every command of the screen MUST end with it.
	Init(ctx context.Context) tea.Cmd
	// Update takes keys, pastes, TickMsg, ShownMsg, and the results of the screen's
	// own commands: those of other screens never arrive. It MUST NOT wait, read or
	// write anything outside the screen; a command does, and it MUST NOT touch the screen.
	// Commands may be combined with tea.Batch, not with tea.Sequence.
	Update(msg tea.Msg) tea.Cmd
	// View draws the screen between the App's header and footer. Lines beyond
	// the size are cut off. It MUST NOT change the screen but for what it remembers of the size.
	View(size Size) string
	// Title says where we are, in two or three words.
	Title() string
	// CaseID is the case that the screen is about, where n writes a note; empty: none.
	CaseID() string
	// Keys are the screen's own, the most needed first: the footer shows as many as fit, ? all.
	Keys() []Key
	// Command is the command line that does, or shows, the same; y copies it. Empty: there is none.
	Command() string
	// Typing: a text is being typed, so that letters are the screen's, not the App's.
	Typing() bool
}

// leaver is a screen that has something to say to whoever leaves it.
type leaver interface {
	// Leaving returns what goes on after the screen is left; empty: nothing does.
	Leaving() string
}

// Size is in terminal cells.
type Size struct{ W, H int }

// Key is a key and what it does, in a word or two.
type Key struct {
	Press string // as tea.KeyPressMsg.String has it; several are separated by spaces
	Does  string
}

// TickMsg comes to every screen of the stack once a second.
type TickMsg struct{}

// ShownMsg comes to a screen that is on top again, because the one above it was left.
type ShownMsg struct{}

// The messages by which screens talk to the App.
type (
	pushMsg    struct{ screen Screen }
	restartMsg struct{ screen Screen }
	popMsg     struct{}
	sayMsg     struct {
		text string
		bad  bool
	}
	askMsg  struct{ question Confirm }
	execMsg struct {
		cmd   *exec.Cmd
		ended func(error) tea.Msg
	}
	// addressed is the result of a screen's command, on its way to that screen.
	addressed struct {
		to  *page
		msg tea.Msg
	}
)

// Push opens a screen on top of this one.
func Push(s Screen) tea.Cmd { return func() tea.Msg { return pushMsg{s} } }

// Restart opens a screen on the first one, leaving all others: a new run is not
// a detail of where it was started.
func Restart(s Screen) tea.Cmd { return func() tea.Msg { return restartMsg{s} } }

// Pop leaves the screen.
func Pop() tea.Cmd { return func() tea.Msg { return popMsg{} } }

// Say shows a line in the footer until the next key.
func Say(text string) tea.Cmd { return func() tea.Msg { return sayMsg{text: text} } }

// Warn is Say for what went wrong.
func Warn(text string) tea.Cmd { return func() tea.Msg { return sayMsg{text, true} } }

// Ask shows a question above the screen; its Yes is called where the answer is yes.
func Ask(c Confirm) tea.Cmd { return func() tea.Msg { return askMsg{c} } }

// Exec gives the terminal to a command until it ends; the screen gets what ended makes of that.
func Exec(cmd *exec.Cmd, ended func(error) tea.Msg) tea.Cmd {
	return func() tea.Msg { return execMsg{cmd, ended} }
}

// page is a screen on the stack.
type page struct {
	screen Screen
	ctx    context.Context
	leave  context.CancelFunc
}

// address makes the results of cmd reach the page's screen only.
func (p *page) address(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() tea.Msg {
		switch msg := cmd().(type) {
		case nil:
			return nil
		case tea.BatchMsg:
			batch := make(tea.BatchMsg, len(msg))
			for i, c := range msg {
				batch[i] = p.address(c)
			}
			return batch
		default:
			return addressed{p, msg}
		}
	}
}
