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
	Suspect   string // the instance that the alert names
	CaseID    string // to attach to; empty: the list of cases
	// Lines prints lines instead of drawing screens, for screen readers. A terminal
	// that can do nothing else (TERM=dumb) gets that too.
	Lines bool
	In    *os.File
	Out   *os.File
	Env   []string
}

// Show shows the TUI until the person leaves it or ctx ends. The terminal is as it
// was before, also after a panic. A run that was started goes on.
func Show(signalled context.Context, o Options) error {
	ctx, cancel := context.WithCancel(signalled)
	defer cancel()
	env := &Env{
		Cordon: o.Cordon, Clock: o.Clock, Rehearsal: o.Rehearsal, Alert: o.Alert, Suspect: o.Suspect,
		Theme: NewTheme(true, isUnicode(o.Env)),
	}
	screens := []Screen{NewHome(env)}
	if o.CaseID != "" {
		screens = append(screens, NewRun(env, o.CaseID))
	}
	app := NewApp(ctx, env, screens...)
	var err error
	if o.Lines || variable(o.Env, "TERM") == "dumb" {
		env.Theme.Still, env.Theme.Unicode = true, false
		err = showLines(ctx, app, o.In, o.Out)
	} else {
		// Signals are the command line's: they end ctx.
		_, err = tea.NewProgram(app, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out),
			tea.WithEnvironment(o.Env), tea.WithoutSignalHandler()).Run()
	}
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
	a.quit() // again: a signal leaves no time to ask
	if a.leaving != "" {
		fmt.Fprintln(w, a.leaving)
	}
}

// isUnicode tells whether the terminal's locale, by the order of POSIX, is UTF-8.
func isUnicode(env []string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToUpper(variable(env, name)); value != "" {
			return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
		}
	}
	return false
}

// variable is the value of an environment variable; empty where it is not set.
func variable(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
