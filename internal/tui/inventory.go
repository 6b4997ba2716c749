package tui

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/triage"
)

// Lines runs a command that prints one JSON object a line, and calls take with
// each as it comes. It returns when the command has ended. An error of take ends the command.
func (c *Cordon) Lines(ctx context.Context, take func(line []byte) error, args ...string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := c.command(ctx, append([]string{"--output", "json", "--quiet"}, args...))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.Program, err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := take(lines.Bytes()); err != nil {
			cancel(fmt.Errorf("what %q printed can't be read: %w", strings.Join(args, " "), err))
			break
		}
	}
	if err := lines.Err(); err != nil {
		cancel(fmt.Errorf("what %q printed can't be read: %w", strings.Join(args, " "), err))
	}
	return c.explain(ctx, cmd.Wait(), args, stderr.String())
}

// listed is an instance with what a search looks through.
type listed struct {
	triage.Instance
	text string
}

// inventoryMsg is what came of the inventory since the last one.
type inventoryMsg struct {
	of   *inventory
	more []listed
	done bool
	err  error
}

// inventory reads the account's instances, a page after the other.
type inventory struct {
	wake chan struct{} // holds a token while something waits to be handed over

	mu      sync.Mutex
	pending inventoryMsg
	panics  any
}

// readInventory starts reading; it ends with ctx, and env.followers waits for that.
func readInventory(ctx context.Context, env *Env) *inventory {
	v := &inventory{wake: make(chan struct{}, 1)}
	env.followers.Go(func() {
		defer func() {
			// Passed on to where Bubble Tea catches it and puts the terminal back.
			if p := recover(); p != nil {
				v.give(func(*inventoryMsg) { v.panics = p })
			}
		}()
		err := env.Cordon.Lines(ctx, v.take, "inventory")
		v.give(func(m *inventoryMsg) { m.done, m.err = true, err })
	})
	return v
}

func (v *inventory) take(line []byte) error {
	var i triage.Instance
	if err := json.Unmarshal(line, &i); err != nil {
		return err
	}
	v.give(func(m *inventoryMsg) { m.more = append(m.more, listed{i, i.Text()}) })
	return nil
}

// give changes what waits to be handed over.
func (v *inventory) give(change func(*inventoryMsg)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.pending)
	select {
	case v.wake <- struct{}{}:
	default: // there is one already
	}
}

// next waits for something to hand over. It is asked for again when that has been taken.
func (v *inventory) next(ctx context.Context) tea.Cmd {
	return func() tea.Msg {
		select {
		case <-v.wake:
		case <-ctx.Done():
			return nil
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.panics != nil {
			panic(v.panics)
		}
		m := v.pending
		m.of, v.pending = v, inventoryMsg{}
		return m
	}
}
