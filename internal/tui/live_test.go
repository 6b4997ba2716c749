package tui_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/cordon-ir/cordon/internal/cli"
	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/tui"
)

// The tests here work with real processes: this test binary is cordon, too.
const asCommand = "CORDON_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		if err := onLeash(os.Getenv(leashFile)); err != nil {
			fmt.Fprintln(os.Stderr, "the leash of a test's command:", err)
			os.Exit(1)
		}
		os.Exit(cli.Execute(cli.UntilSignal(context.Background()), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// laterClock is the wall clock, set forward: nobody waits for a grace period.
type laterClock struct {
	clock.Wall
	by *atomic.Int64 // nanoseconds
}

func (c laterClock) Now() time.Time { return c.Wall.Now().Add(time.Duration(c.by.Load())) }

// account is a simulated account with one case.
type account struct {
	*tui.Cordon
	instance string
}

func newAccount(t *testing.T) account {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a")
	a := account{Cordon: &tui.Cordon{Program: program, Home: filepath.Join(dir, "home"), Env: append(os.Environ(), asCommand+"=1", leashFile+"="+newLeash(t),
		"XDG_CONFIG_HOME="+t.TempDir(), "CORDON_HOME=", "CORDON_CONFIG=", "CORDON_REHEARSAL=")}}
	var alert struct {
		Instance string `json:"instance"`
	}
	if err := a.Read(t.Context(), &alert, "rehearse", "new", "web-tier", dir); err != nil {
		t.Fatal(err)
	}
	a.Globals, a.instance = []string{"--rehearsal", dir}, alert.Instance
	a.must(t, "case", "open", "INC-1", "--title", "beacon")
	return a
}

func (a account) must(t *testing.T, args ...string) {
	t.Helper()
	if err := a.Do(t.Context(), args...); err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// run begins a containment that asks at each step.
func (a account) run(t *testing.T) *tui.Child {
	t.Helper()
	child, err := a.Start("INC-1", "run", "contain", "--case", "INC-1", "--instance", a.instance, "--wait-for-approval")
	if err != nil {
		t.Fatal(err)
	}
	return child
}

// person sits at an App that nothing draws.
type person struct {
	t    *testing.T
	app  *tui.App
	ctx  context.Context
	msgs chan tea.Msg
	by   *atomic.Int64
	stop context.CancelFunc
	work sync.WaitGroup // what the App has begun
}

func (a account) sits(t *testing.T, screens func(*tui.Env) []tui.Screen) *person {
	t.Helper()
	p := &person{t: t, msgs: make(chan tea.Msg), by: new(atomic.Int64)}
	p.ctx, p.stop = context.WithCancel(t.Context())
	t.Cleanup(func() {
		p.stop()
		p.work.Wait() // its commands write into the test's directories
	})
	env := &tui.Env{Cordon: a.Cordon, Theme: tui.NewTheme(true, true), Clock: laterClock{by: p.by}, Rehearsal: true}
	p.app = tui.NewApp(p.ctx, env, screens(env)...)
	p.start(p.app.Init())
	p.app.Update(tea.WindowSizeMsg{Width: 160, Height: 50})
	return p
}

func (p *person) start(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	p.work.Go(func() {
		switch m := cmd().(type) {
		case nil:
		case tea.BatchMsg:
			for _, c := range m {
				p.start(c)
			}
		default:
			select {
			case p.msgs <- m:
			case <-p.ctx.Done():
			}
		}
	})
}

func (p *person) update(m tea.Msg) {
	_, cmd := p.app.Update(m)
	p.start(cmd)
}

func (p *person) screen() string { return ansi.Strip(p.app.View().Content) }

// sees waits until the screen shows something. What it waits for can be a whole run
// of several processes: the limit only says where a test hangs.
func (p *person) sees(want string) {
	p.t.Helper()
	patience, cancel := clock.Wall{}.WithTimeout(p.ctx, 5*time.Minute)
	defer cancel()
	for !strings.Contains(p.screen(), want) {
		select {
		case m := <-p.msgs:
			p.update(m)
		case <-patience.Done():
			p.t.Fatalf("%q does not appear:\n%s", want, p.screen())
		}
	}
}

// presses sends keys one by one, later than any grace period.
func (p *person) presses(keys ...tea.Msg) {
	for _, k := range keys {
		p.by.Add(int64(2 * tui.Grace))
		p.update(k)
	}
}

func key(r rune) tea.Msg { return tea.KeyPressMsg{Code: r, Text: string(r)} }

var enter = tea.KeyPressMsg{Code: tea.KeyEnter}

func attached(env *tui.Env) []tui.Screen {
	return []tui.Screen{tui.NewHome(env), tui.NewRun(env, "INC-1")}
}

func TestARunIsSteeredByKeys(t *testing.T) {
	a := newAccount(t)
	child := a.run(t)
	ana := a.sits(t, func(env *tui.Env) []tui.Screen {
		return []tui.Screen{tui.NewHome(env), tui.NewRunOf(env, "INC-1", child)}
	})
	ana.sees("waits: autoscaling")
	ana.presses(key('n'), tea.PasteMsg{Content: "the beacon stopped"}, enter)
	ana.sees("noted in INC-1: the beacon stopped")
	ana.presses(key(' '))
	ana.sees("no further step begins; space continues")
	ana.presses(key(' '))
	ana.sees("continued by")

	// Somebody else has the same question open; ana answers first.
	ben := a.sits(t, attached)
	ben.sees("waits: autoscaling")
	ben.presses(key('a'))
	ben.sees("To do it, type " + a.instance)
	ana.presses(key('a'))
	ana.sees("To do it, type " + a.instance)
	ana.presses(tea.PasteMsg{Content: a.instance}, enter)
	ana.sees("autoscaling approved by")
	ben.presses(tea.PasteMsg{Content: a.instance}, enter)
	ben.sees("no step autoscaling")
	ben.sees("autoscaling approved by " + journal.Self() + " (socket)")

	ana.presses(key('I'))
	ana.sees("Interrupt the run?")
	ana.presses(key('y'))
	ana.sees("interrupted")
	ana.sees("R resume") // its process has ended
}

func TestARunOutlivesTheTUIAndItsOwnDeath(t *testing.T) {
	a := newAccount(t)
	child := a.run(t)
	ana := a.sits(t, attached)
	ana.sees("waits: autoscaling")
	ana.stop() // as when the terminal is closed
	if !journal.Live(t.Context(), a.Dir("INC-1")) {
		t.Fatal("the run ended with the TUI")
	}

	ana = a.sits(t, attached)
	ana.sees("waits: autoscaling")
	if err := syscall.Kill(child.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ana.sees("the run's process was killed")
	ana.presses(key('R'))
	ana.sees("Resume run r1?")
	ana.presses(key('y'))
	ana.sees("run r1 resumed")
	ana.sees("waits: autoscaling")
	a.must(t, "interrupt", "--case", "INC-1")
	ana.sees("R resume") // its process has ended
}

func TestARunThatCantBeginSaysWhy(t *testing.T) {
	a := newAccount(t)
	child, err := a.Start("INC-1", "run", "contain", "--case", "INC-1", "--instance", "i-0ffffffffffffffff", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	ana := a.sits(t, func(env *tui.Env) []tui.Screen { return []tui.Screen{tui.NewRunOf(env, "INC-1", child)} })
	ana.sees("not started: ")
	ana.sees("i-0ffffffffffffffff")
}

func TestATamperedJournalIsShownAsSuch(t *testing.T) {
	a := newAccount(t)
	a.must(t, "note", "--case", "INC-1", "the beacon stopped")
	file := filepath.Join(a.Dir("INC-1"), journal.File)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(b, []byte("beacon stopped"), []byte("beacon started"))
	if bytes.Equal(b, changed) {
		t.Fatal("the note is not in the file")
	}
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	ana := a.sits(t, attached)
	ana.sees("THE JOURNAL DOES NOT VERIFY")
}

func TestHomeReadsTheCasesAsTheyChange(t *testing.T) {
	a := newAccount(t)
	ana := a.sits(t, func(env *tui.Env) []tui.Screen { return []tui.Screen{tui.NewHome(env)} })
	ana.sees("1 case")
	ana.sees("open, nothing run")
	for i := range 3 {
		a.must(t, "case", "open", fmt.Sprintf("INC-%d", i+2))
	}
	ana.presses(key('r'))
	ana.sees("4 cases")
	ana.presses(key('/'), key('i'), key('n'), key('c'), key('-'), key('3'), enter, enter)
	ana.sees("Nothing was run in this case yet.")
	ana.sees("INC-3")
}

func TestAPasteAndFourKeysLeadFromTheCasesToAPlan(t *testing.T) {
	a := newAccount(t)
	ana := a.sits(t, func(env *tui.Env) []tui.Screen { return []tui.Screen{tui.NewHome(env)} })
	ana.sees("1 case")
	ana.presses(key('i'))
	ana.sees("3 of 3 instances")
	ana.presses(tea.PasteMsg{Content: a.instance})
	ana.sees("high impact, 9 points")
	ana.sees("behind target group web-admin of load balancer web")
	ana.presses(enter, enter)
	ana.sees("new: it is opened")
	ana.sees("Cut the instance off, keep the service up")
	ana.presses(enter)
	ana.sees("sha256:") // the plan's digest
	ana.sees("Cut the network")
}
