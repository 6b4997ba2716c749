package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Options are what the command line starts the TUI with.
type Options struct {
	Cordon    *Cordon
	Clock     incident.Clock // this machine's, in a rehearsal too
	Rehearsal bool
	Alert     string // of a rehearsal that has just begun
	CaseID    string // to attach to; empty: the list of cases
	In        *os.File
	Out       *os.File
	Env       []string
}

// Show shows the TUI until the person leaves it or ctx ends. The terminal is as it
// was before, also after a panic. A run that was started goes on.
func Show(signalled context.Context, o Options) error {
	ctx, cancel := context.WithCancel(signalled)
	defer cancel()
	env := &Env{
		Cordon: o.Cordon, Clock: o.Clock, Rehearsal: o.Rehearsal, Alert: o.Alert,
		Theme: NewTheme(true, isUnicode(o.Env)),
	}
	screens := []Screen{NewHome(env)}
	if o.CaseID != "" {
		screens = append(screens, NewRun(env, o.CaseID))
	}
	app := NewApp(ctx, env, screens...)
	// Signals are the command line's: they end ctx.
	program := tea.NewProgram(app, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out),
		tea.WithEnvironment(o.Env), tea.WithoutSignalHandler())
	_, err := program.Run()
	cancel()
	env.followers.Wait()
	sayGoodbye(o.Out, app)
	if errors.Is(err, tea.ErrProgramKilled) && signalled.Err() != nil && !errors.Is(err, tea.ErrProgramPanic) {
		return context.Canceled // by a signal: the exit code of an interrupt
	}
	return err
}

// sayGoodbye says on the ordinary screen what goes on.
func sayGoodbye(w io.Writer, a *App) {
	if len(a.leaving) == 0 {
		a.quit() // a signal left no time to ask
	}
	for _, l := range a.leaving {
		fmt.Fprintln(w, l)
	}
}

// isUnicode tells whether the terminal's locale, by the order of POSIX, is UTF-8.
func isUnicode(env []string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		for _, v := range env {
			if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
				value = strings.ToUpper(value)
				return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
			}
		}
	}
	return false
}
