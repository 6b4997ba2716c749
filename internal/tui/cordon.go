package tui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Cordon runs this program's own commands, as a script would.
type Cordon struct {
	Program string   // the executable
	Globals []string // the global flags that the TUI was started with: --home DIR, --rehearsal DIR, …
	Home    string   // where cases live
	Env     []string // of the commands; nil: the process's own
}

// CommandError is a command that failed, with what it said.
type CommandError struct {
	Args    []string
	Code    int // its exit code: docs/cli.md
	Message string
	Hint    string
}

func (e *CommandError) Error() string { return e.Message }

// Dir is the case's directory.
func (c *Cordon) Dir(caseID string) string { return filepath.Join(c.Home, "cases", caseID) }

// Line is the command line that a person would type.
func (c *Cordon) Line(args ...string) string {
	words := []string{"cordon"}
	for _, a := range append(append([]string{}, c.Globals...), args...) {
		words = append(words, Quote(a))
	}
	return strings.Join(words, " ")
}

// Quote makes a word safe for a POSIX shell.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@,+%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func (c *Cordon) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Program, append(append([]string{}, c.Globals...), args...)...)
	cmd.Env = c.Env
	// The command ends in order, as on Ctrl-C: it may be about to write into a journal.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// Read runs a command with --output json and decodes what it prints into v. A command
// that prints its findings and fails (verification, exit code 4) fills v and
// returns the *CommandError too.
func (c *Cordon) Read(ctx context.Context, v any, args ...string) error {
	var stdout, stderr bytes.Buffer
	cmd := c.command(ctx, append([]string{"--output", "json", "--quiet"}, args...))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := c.explain(ctx, cmd.Run(), args, stderr.String())
	if stdout.Len() == 0 {
		return err
	}
	if bad := json.Unmarshal(stdout.Bytes(), v); bad != nil && err == nil {
		err = fmt.Errorf("what %q printed can't be read: %w", strings.Join(args, " "), bad)
	}
	return err
}

// Do runs a command for its effect.
func (c *Cordon) Do(ctx context.Context, args ...string) error {
	var stderr bytes.Buffer
	cmd := c.command(ctx, args)
	cmd.Stderr = &stderr
	return c.explain(ctx, cmd.Run(), args, stderr.String())
}

// explain makes a *CommandError of a failure, from what was printed.
func (c *Cordon) explain(ctx context.Context, err error, args []string, stderr string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", c.Program, err)
	}
	failed := &CommandError{Args: args, Code: exit.ExitCode()}
	failed.Message, failed.Hint = complaint(stderr)
	if failed.Message == "" {
		failed.Message = err.Error()
	}
	return failed
}

// complaint finds the error and the hint in what a command wrote to standard error.
func complaint(stderr string) (message, hint string) {
	at := strings.LastIndex("\n"+stderr, "\nerror: ")
	if at < 0 {
		return strings.TrimSpace(stderr), ""
	}
	message, hint, _ = strings.Cut(stderr[at+len("error: "):], "\nhint: ")
	return strings.TrimSpace(message), strings.TrimSpace(hint)
}

// RunLog is what a run that the TUI started printed, in the case's directory.
const RunLog = "run.log"

// Child is a run that the TUI started. It does not need the TUI any more.
type Child struct {
	Args []string
	PID  int
	done chan struct{}
	err  error
}

// Start begins a run (run, resume, release) in a session of its own: nothing
// that happens to the TUI or its terminal reaches it. What it prints goes to
// RunLog. The case must exist.
func (c *Cordon) Start(caseID string, args ...string) (*Child, error) {
	name := filepath.Join(c.Dir(caseID), RunLog)
	log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.Program, append(append([]string{}, c.Globals...), args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.Env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	child := &Child{Args: args, PID: cmd.Process.Pid, done: make(chan struct{})}
	go func() { // ends with the run, or with the TUI, whichever is first: it only reaps
		defer close(child.done)
		waited := cmd.Wait()
		said, _ := os.ReadFile(name) // without it there is still the exit code
		child.err = c.explain(context.Background(), waited, args, string(said))
	}()
	return child, nil
}

// Wait returns how the run's process ended: nil, or what it said. It returns
// early with ctx's error.
func (c *Child) Wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// explain is an error's text and its next step, where it has one.
func explain(err error) (message, hint string) {
	var failed *CommandError
	var hinted *incident.HintError
	switch {
	case errors.As(err, &failed):
		return failed.Message, failed.Hint
	case errors.As(err, &hinted):
		return err.Error(), hinted.Hint
	}
	return err.Error(), ""
}
