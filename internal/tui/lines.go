package tui

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/cancelreader"
)

// The page that is read aloud: nothing has to fit on a screen.
const (
	readWidth  = 100
	readHeight = 60
	// readQuiet is how long nothing must happen before what is new is printed.
	readQuiet = 100 * time.Millisecond
)

// reader is the TUI for screen readers and dumb terminals: the same screens,
// printed line by line as they change; what is typed is a key, or a text where one is asked for.
type reader struct {
	app  *App
	out  io.Writer
	msgs chan tea.Msg
	done chan struct{} // closed at the end: nobody takes messages any more
	said map[string]bool
}

const readerHelp = `Each line you type is a key: enter (or an empty line), esc, up, down, or a letter.
Where a text is asked for, type the text. Type ? for the keys of this screen, q to go back or quit.`

// showLines runs the App without a screen until the person quits, the input ends or ctx does.
func showLines(ctx context.Context, app *App, in io.Reader, out io.Writer) error {
	cancelable, err := cancelreader.NewReader(in)
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	r := &reader{app: app, out: out, msgs: make(chan tea.Msg), done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { r.read(cancelable) })
	defer wg.Wait()
	defer cancelable.Cancel()
	defer close(r.done)
	fmt.Fprintln(out, readerHelp)
	app.size = Size{readWidth, readHeight}
	r.start(app.Init())
	return r.loop(ctx)
}

// typedMsg is a line that was typed; eof: there will be no more.
type typedMsg struct {
	line string
	eof  bool
}

func (r *reader) read(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		r.send(typedMsg{line: lines.Text()})
	}
	r.send(typedMsg{eof: true})
}

func (r *reader) send(m tea.Msg) {
	select {
	case r.msgs <- m:
	case <-r.done:
	}
}

// start runs a command; as in Bubble Tea its goroutine ends with the screen's context.
func (r *reader) start(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		if m := cmd(); m != nil {
			r.send(m)
		}
	}()
}

func (r *reader) loop(ctx context.Context) error {
	pending := false // something has changed and was not printed
	for {
		wait, cancel := context.WithCancel(ctx)
		if pending {
			wait, cancel = r.app.env.Clock.WithTimeout(ctx, readQuiet)
		}
		select {
		case m := <-r.msgs:
			cancel()
			if over := r.take(m); over {
				return nil
			}
			pending = true
		case <-wait.Done():
			cancel()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.print()
			pending = false
		}
	}
}

// take handles a message; true: it is over.
func (r *reader) take(m tea.Msg) bool {
	switch m := m.(type) {
	case tea.QuitMsg:
		return true
	case tea.BatchMsg:
		for _, c := range m {
			r.start(c)
		}
		return false
	case typedMsg:
		if m.eof {
			return true
		}
		for _, in := range r.inputs(m.line) {
			_, cmd := r.app.Update(in)
			r.start(cmd)
		}
		return false
	}
	_, cmd := r.app.Update(m)
	r.start(cmd)
	return false
}

// inputs are a typed line as keys: a text and Enter where a text is asked for.
func (r *reader) inputs(line string) []tea.Msg {
	enter := tea.KeyPressMsg{Code: tea.KeyEnter}
	named := map[string]rune{"": tea.KeyEnter, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "space": tea.KeySpace, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "tab": tea.KeyTab}
	if code, ok := named[line]; ok {
		return []tea.Msg{tea.KeyPressMsg{Code: code}}
	}
	if r.app.wantsText() {
		return []tea.Msg{tea.PasteMsg{Content: line}, enter}
	}
	key, size := utf8.DecodeRuneInString(line)
	if size != len(line) {
		r.app.say("type one key, or a key's name: "+line+" is none", true)
		return nil
	}
	return []tea.Msg{tea.KeyPressMsg{Code: key, Text: line}}
}

// wantsText tells whether a text is being asked for.
func (a *App) wantsText() bool {
	return a.note != nil || a.asks != nil && a.asks.Name != "" || a.asks == nil && a.help == nil && a.top().screen.Typing()
}

// print says the lines that were not there before; of a list the line that is chosen now.
func (r *reader) print() {
	seen := make(map[string]bool)
	for _, l := range strings.Split(ansi.Strip(r.app.draw()), "\n") {
		l = strings.TrimRight(l, " ")
		if strings.TrimSpace(l) == "" {
			continue
		}
		bare := strings.TrimPrefix(strings.TrimPrefix(l, "> "), "  ")
		chosen := strings.HasPrefix(l, "> ")
		if !r.said[bare] || chosen && !r.said["> "+bare] {
			fmt.Fprintln(r.out, l)
		}
		seen[bare] = true
		if chosen {
			seen["> "+bare] = true
		}
	}
	r.said = seen
}
