package tui

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
)

// everyDesk has every screen there is, in the states that draw most.
func everyDesk(t testing.TB) map[string]*desk {
	all := fixture(t)
	desks := map[string]*desk{"home": homeDesk(t)}
	open := func(name string, m feedMsg, keys ...string) {
		d, _ := runDesk(t, m)
		for _, k := range keys {
			d.settle(d.press(k))
		}
		desks[name] = d
	}
	network := until(all, intentOf("network"))
	asked := append(network[:len(network):len(network)], waiting(t, network, "network"))
	open("run", feedMsg{entries: all, caughtUp: true})
	open("empty", feedMsg{})
	open("fleet", feedMsg{entries: fleet(t, 30), live: true})
	open("waiting", feedMsg{entries: asked, live: true})
	open("approve", feedMsg{entries: asked, live: true}, "a")
	open("interrupt", feedMsg{entries: asked, live: true}, "I")
	open("killed", feedMsg{entries: network, gone: true})
	open("step", feedMsg{entries: all}, "enter")
	open("journal", feedMsg{entries: all}, "l")
	open("entry", feedMsg{entries: all}, "l", "enter")
	for name, list := range map[string][]listed{"incident": instances(t), "incident of thousands": thousands(t, 3000), "incident of none": nil} {
		d, x := incidentDesk(t, list)
		x.Update(TickMsg{})
		triaged(t, x)
		desks[name] = d
	}
	open("help", feedMsg{entries: all}, "?")
	open("note", feedMsg{entries: all}, "n")
	return desks
}

func TestEveryScreenFillsEverySizeExactlyAndSaysREHEARSAL(t *testing.T) {
	for name, d := range everyDesk(t) {
		for w := 1; w <= 210; w += 13 {
			for h := 1; h <= 62; h += 3 {
				lines := strings.Split(d.at(w, h), "\n")
				if len(lines) != h {
					t.Fatalf("%s at %dx%d has %d lines", name, w, h, len(lines))
				}
				for _, l := range lines {
					if got := ansi.StringWidth(l); got != w {
						t.Fatalf("%s at %dx%d has a line %d wide: %q", name, w, h, got, l)
					}
				}
				if w >= minWidth && h >= minHeight && !strings.Contains(lines[0], "REHEARSAL") {
					t.Fatalf("%s at %dx%d does not say REHEARSAL: %q", name, w, h, lines[0])
				}
			}
		}
	}
}

func TestARealCaseDoesNotSayREHEARSAL(t *testing.T) {
	d := homeDesk(t)
	d.env.Rehearsal = false
	if got := d.at(80, 24); strings.Contains(got, "REHEARSAL") {
		t.Errorf("it does:\n%s", got)
	}
}

func TestWithoutUnicodeTheSignsAreASCII(t *testing.T) {
	d := homeDesk(t)
	d.env.Theme.Unicode = false
	for _, r := range d.at(120, 40) {
		if r > unicode.MaxASCII {
			t.Fatalf("%q is drawn", r)
		}
	}
	for text, want := range map[string]string{
		"web\x1b[1m │…": "web\x1b[1m ?~", "a → b": "a > b", "Büro 東京": "B?ro ????",
		"👨\u200d👩\u200d👧 e\u0301": "?? e", "\xff": "?",
	} {
		if got := d.env.Theme.drawable(text); got != want {
			t.Errorf("%q is drawn as %q, want %q", text, got, want)
		}
	}
	seen := make(map[string]string)
	for s := incident.Pending; s <= incident.Unknown; s++ {
		m := d.env.Theme.State(s)
		if other, twice := seen[m.Symbol]; twice {
			t.Errorf("%s and %s have the same sign %s", other, m.Word, m.Symbol)
		}
		seen[m.Symbol] = m.Word
	}
}

func TestTheThemeFollowsTheBackground(t *testing.T) {
	d := homeDesk(t)
	d.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	dark := d.draw()
	d.Update(tea.BackgroundColorMsg{Color: color.White})
	if light := d.draw(); light == dark {
		t.Error("a light background changes no colour")
	} else if ansi.Strip(light) != ansi.Strip(dark) {
		t.Error("a light background changes what is said")
	}
}

func TestAStrayEnterCantApprove(t *testing.T) {
	network := until(fixture(t), intentOf("network"))
	target := network[len(network)-1].Target
	instance := target[strings.LastIndex(target, "/")+1:]
	m := feedMsg{entries: append(network[:len(network):len(network)], waiting(t, network, "network")), live: true}
	for name, c := range map[string]struct {
		wait  time.Duration
		type_ string
		want  answer
	}{
		"enter at once":                {0, "", undecided},
		"enter later":                  {time.Minute, "", undecided},
		"the name, typed too early":    {Grace / 2, instance, undecided},
		"another name":                 {time.Minute, "i-0000000000000000f", undecided},
		"the name":                     {Grace, instance, yes},
		"the name, the clock set back": {-time.Hour, instance, yes},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := runDesk(t, m)
			d.settle(d.press("a"))
			if d.asks == nil {
				t.Fatal("nothing is asked")
			}
			d.clock.now = d.clock.now.Add(c.wait)
			d.Update(tea.PasteMsg{Content: c.type_})
			cmd := d.press("enter")
			if approved := cmd != nil; approved != (c.want == yes) {
				t.Errorf("approved: %v", approved)
			}
		})
	}
}

func TestWhatIsNotDangerousTakesYAndNotEnter(t *testing.T) {
	network := until(fixture(t), intentOf("network"))
	d, _ := runDesk(t, feedMsg{entries: network, live: true})
	d.settle(d.press("I"))
	d.clock.now = d.clock.now.Add(Grace)
	if cmd := d.press("enter"); cmd != nil || d.asks == nil {
		t.Error("Enter answers")
	}
	if cmd := d.press("y"); cmd == nil || d.asks != nil {
		t.Error("y does not answer")
	}
}

func TestAResultForAScreenThatWasLeftIsDropped(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: fixture(t)[:1], caughtUp: true})
	page := d.top()
	late := page.address(func() tea.Msg { return feedMsg{entries: fixture(t)[1:], caughtUp: true} })
	d.press("esc")
	d.Update(late())
	if n := len(run.view.Entries); n != 1 {
		t.Errorf("the screen that was left has %d entries", n)
	}
	if _, ok := d.top().screen.(*Home); !ok {
		t.Errorf("esc leads to %T", d.top().screen)
	}
}

func TestLeavingALiveRunSaysThatItGoesOn(t *testing.T) {
	d, _ := runDesk(t, feedMsg{entries: until(fixture(t), intentOf("network")), live: true})
	d.press("ctrl+c")
	if want := "goes on without this terminal; come back with: cordon --rehearsal training attach --case REHEARSAL-1"; !strings.Contains(d.leaving, want) {
		t.Errorf("the last words are %q", d.leaving)
	}
}

func TestLettersAreTextWhileSomethingIsTyped(t *testing.T) {
	d := homeDesk(t)
	d.press("/", "q", "n", "y", "?")
	home := d.top().screen.(*Home)
	if got := home.filter.Value(); got != "qny?" {
		t.Errorf("the filter is %q", got)
	}
	d.press("esc")
	if got := len(home.shown()); got != 7 {
		t.Errorf("esc leaves %d cases", got)
	}
}

func TestWhatCameFromElsewhereCantDrawOrRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := clean(rapid.String().Draw(t, "text") + "\x1b[2J\x1b]52;c;AAAA\x07\a\r\n\u202e" + rapid.String().Draw(t, "more"))
		for _, r := range s {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q is left", r)
			}
		}
	})
}

func TestWrapLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-z0-9 -]{0,80}`).Draw(t, "text")
		width := rapid.IntRange(1, 40).Draw(t, "width")
		lines := wrap(s, width)
		for _, l := range lines {
			if cells(strings.TrimRight(l, " ")) > width {
				t.Fatalf("%q is wider than %d", l, width)
			}
		}
		bare := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := bare(strings.Join(lines, "")); got != bare(s) {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

// bomb is a screen that panics when a key comes.
type bomb struct{ *Home }

func (bomb) Init(context.Context) tea.Cmd { return nil }

func (bomb) Update(msg tea.Msg) tea.Cmd {
	if _, ok := msg.(tea.KeyPressMsg); ok {
		panic("a bug")
	}
	return nil
}

// screenOutput is what a terminal gets; entered is closed when the alternate screen is.
type screenOutput struct {
	bytes.Buffer
	entered chan struct{}
	once    sync.Once
}

func (o *screenOutput) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("\x1b[?1049h")) {
		o.once.Do(func() { close(o.entered) })
	}
	return o.Buffer.Write(b)
}

func TestTheTerminalIsPutBack(t *testing.T) {
	for name, end := range map[string]func(keys io.Writer, cancel context.CancelFunc){
		"after a panic":  func(keys io.Writer, _ context.CancelFunc) { fmt.Fprint(keys, "x") },
		"after a signal": func(_ io.Writer, cancel context.CancelFunc) { cancel() },
		"after ctrl-c":   func(keys io.Writer, _ context.CancelFunc) { fmt.Fprint(keys, "\x03") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d := newDesk(t, func(env *Env) []Screen { return []Screen{bomb{NewHome(env)}} })
			out := &screenOutput{entered: make(chan struct{})}
			in, keys := io.Pipe()
			defer keys.Close()
			go func() {
				<-out.entered
				end(keys, cancel)
			}()
			_, err := tea.NewProgram(d.App, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out),
				tea.WithWindowSize(80, 24), tea.WithoutSignalHandler()).Run()
			if (err != nil) != (name != "after ctrl-c") {
				t.Errorf("Run returns %v", err)
			}
			const leaveAltScreen, showCursor = "\x1b[?1049l", "\x1b[?25h"
			if got := out.String(); !strings.Contains(got, leaveAltScreen) || !strings.Contains(got, showCursor) {
				t.Errorf("the terminal got %q", got)
			}
		})
	}
}

func TestAHolderThatIsSeenLateHasItsQuestionsAsked(t *testing.T) {
	entries := until(fixture(t), intentOf("network"))
	entries = append(slices.Clone(entries), waiting(t, entries, "network"))
	_, run := runDesk(t, feedMsg{entries: entries[:len(entries)-3]})
	run.Update(feedMsg{entries: entries[len(entries)-3:]})
	if len(run.waiting()) != 0 {
		t.Fatal("a question is asked that nobody would hear the answer of")
	}
	run.Update(feedMsg{live: true})
	if w := run.waiting(); len(w) != 1 || w[0].ID != "network" {
		t.Errorf("%d steps wait, want network alone", len(w))
	}
}
