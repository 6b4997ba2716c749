// Command tour makes the pictures of docs/tui-tour.md: it rehearses an incident in
// the TUI by keys alone, from the alert to the release, in a dark and in a light terminal of tmux,
// and writes what they show as SVG. From the repository's root:
//
//	go run ./docs/tour
//
// It needs tmux. Nothing of it touches AWS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/clock"
)

// move waits for a text on the screen, takes a picture and presses keys.
type move struct {
	wait    string
	picture string   // the file's name; empty: none
	keys    []string // as tmux names them; $INSTANCE is typed
	wide    bool     // another picture is taken in a terminal of 200 by 60
}

// The tour, which docs/tui-tour.md tells.
var tour = []move{
	{wait: "suspected instance", picture: "alert", keys: []string{"i"}},
	{wait: "high impact", picture: "incident", keys: []string{"Enter"}},
	{wait: "choose a playbook", keys: []string{"Enter"}},
	{wait: "PLAYBOOK", keys: []string{"Down", "Down"}},
	{wait: "▸ full-response", picture: "playbook", keys: []string{"Enter"}},
	{wait: "a approve", keys: []string{"Down", "Down", "Down", "Down", "Down", "Down", "Down"}},
	{wait: "network on i-", picture: "plan", keys: []string{"a"}, wide: true},
	{wait: "To do it, type", keys: []string{"$INSTANCE"}},
	{wait: "To do it, type", picture: "approve", keys: []string{"Enter"}},
	{wait: "▶ running", picture: "run", keys: nil},
	{wait: "✓ succeeded  full-response", picture: "run-done", keys: []string{"Up", "Up", "Up", "Up", "Up", "Enter"}, wide: true},
	{wait: "calls that change something", picture: "step", keys: []string{"Escape"}},
	{wait: "l journal", keys: []string{"e"}},
	{wait: "1 evidence", keys: []string{"v"}},
	{wait: "every byte as it was recorded", picture: "evidence", keys: []string{"2"}},
	{wait: "what can still pass", picture: "exposure", keys: []string{"3"}},
	{wait: "proved: no way out", picture: "room", keys: []string{"u"}},
	{wait: "a approve", picture: "release", keys: []string{"a"}},
	{wait: "To do it, type", keys: []string{"$INSTANCE", "Enter"}},
	{wait: "✓ succeeded  release", picture: "release-done", keys: []string{"q"}},
	{wait: "enter open", picture: "cases", keys: []string{"q"}},
}

const (
	columns, lines         = 120, 36
	wideColumns, wideLines = 200, 60
	patience               = 5 * time.Minute // for one text
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "cordon-tour-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "cordon")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/cordon").CombinedOutput(); err != nil {
		return fmt.Errorf("building cordon: %w: %s", err, out)
	}
	var group errgroup.Group
	for _, l := range looks {
		group.Go(func() error {
			t := &terminal{socket: filepath.Join(dir, "tmux"+l.suffix), clock: clock.Wall{}, look: l}
			return t.tour(ctx, program, filepath.Join(dir, "in"+l.suffix))
		})
	}
	return group.Wait()
}

// tour is the whole, in a folder of its own.
func (t *terminal) tour(ctx context.Context, program, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() { _, _ = t.tmux(ctx, "kill-server") }() // it is gone already where the tour ended well
	// tmux tells whoever asks for the background that of its window's style.
	_, err := t.tmux(ctx, "-f", "/dev/null", "new-session", "-d", "-c", dir, "-x", fmt.Sprint(columns), "-y", fmt.Sprint(lines), "sleep 600",
		";", "set", "-g", "window-style", "fg="+t.look.palette[foreground]+",bg="+t.look.palette[background],
		";", "respawn-pane", "-k", "-c", dir, "env LANG=C.UTF-8 TERM=xterm-256color "+program+" rehearse --tui --dir training")
	if err != nil {
		return err
	}
	return t.walk(ctx, filepath.Join("docs", "pictures"))
}

func (t *terminal) walk(ctx context.Context, pictures string) error {
	instance := ""
	for _, m := range tour {
		screen, err := t.wait(ctx, m.wait, 0)
		if err != nil {
			return err
		}
		if instance == "" {
			instance = regexp.MustCompile(`i-[0-9a-f]{17}`).FindString(screen)
		}
		if m.picture != "" {
			if err := t.keep(screen, filepath.Join(pictures, m.picture), columns, lines); err != nil {
				return err
			}
		}
		if m.wide {
			if err := t.spread(ctx, m, pictures); err != nil {
				return err
			}
		}
		for _, k := range m.keys {
			if err := t.press(ctx, strings.ReplaceAll(k, "$INSTANCE", instance)); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep writes a screen as a picture.
func (t *terminal) keep(screen, path string, columns, lines int) error {
	path += t.look.suffix + ".svg"
	fmt.Println(path)
	return os.WriteFile(path, []byte(t.look.palette.svg(screen, columns, lines)), 0o644)
}

// spread takes the picture again in a large terminal, and goes back to the usual one.
func (t *terminal) spread(ctx context.Context, m move, pictures string) error {
	if _, err := t.tmux(ctx, "resize-window", "-x", fmt.Sprint(wideColumns), "-y", fmt.Sprint(wideLines)); err != nil {
		return err
	}
	screen, err := t.wait(ctx, m.wait, columns+1)
	if err != nil {
		return err
	}
	if err := t.keep(screen, filepath.Join(pictures, m.picture+"-wide"), wideColumns, wideLines); err != nil {
		return err
	}
	_, err = t.tmux(ctx, "resize-window", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(lines))
	return err
}

// terminal is one of a tmux server of its own.
type terminal struct {
	socket string
	clock  clock.Wall
	look   look
}

func (t *terminal) tmux(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "tmux", append([]string{"-S", t.socket}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// unhurried is how long a person takes before a key. A question ignores keys that
// come sooner than 0.7 s after it.
const unhurried = 800 * time.Millisecond

func (t *terminal) press(ctx context.Context, key string) error {
	if err := t.clock.Sleep(ctx, unhurried); err != nil {
		return err
	}
	_, err := t.tmux(ctx, "send-keys", key)
	return err
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// wait returns the screen, with its colours, once it shows the text, and something behind that many columns.
func (t *terminal) wait(ctx context.Context, text string, behind int) (string, error) {
	ctx, cancel := t.clock.WithTimeout(ctx, patience)
	defer cancel()
	for {
		screen, err := t.tmux(ctx, "capture-pane", "-p", "-e")
		if err != nil {
			return "", err
		}
		bare := escapes.ReplaceAllString(screen, "")
		wide := slices.ContainsFunc(strings.Split(bare, "\n"), func(l string) bool { return utf8.RuneCountInString(strings.TrimRight(l, " ")) > behind })
		if wide && strings.Contains(bare, text) {
			return screen, nil
		}
		if err := t.clock.Sleep(ctx, unhurried/5); err != nil {
			return "", fmt.Errorf("the screen never shows %q: %w\n%s", text, err, screen)
		}
	}
}
