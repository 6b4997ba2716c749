package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// approvalDesk takes questions from the runner and answers from the terminal
// and from other processes. The first answer wins.
type approvalDesk struct {
	g        *globals
	waits    bool       // for other processes, where there is no terminal
	terminal sync.Mutex // one question at a time on the screen

	mu   sync.Mutex
	open map[string]chan incident.Approval // by the step's key
}

// askingJournal is the journal of a runner that asks at the desk. Whoever reads there that a
// step waits can answer at once, though the runner has not come to ask yet.
type askingJournal struct {
	incident.Appender
	desk *approvalDesk
}

func (a askingJournal) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	if d.Type != incident.EntryStepWaiting || !a.desk.attended() {
		return a.Appender.Append(ctx, d)
	}
	key := d.Step + "@" + d.Target
	a.desk.question(key)
	e, err := a.Appender.Append(ctx, d)
	if err != nil {
		a.desk.settled(key)
	}
	return e, err
}

func newApprovalDesk(g *globals, waits bool) *approvalDesk {
	return &approvalDesk{g: g, waits: waits, open: make(map[string]chan incident.Approval)}
}

// ask waits for an answer to the step's question. Where nobody is there to
// give one the answer is no: automation must not hang.
func (d *approvalDesk) ask(ctx context.Context, q incident.Question) (incident.Approval, error) {
	if !d.attended() {
		return incident.Approval{By: journal.Self(), How: "no terminal", Reason: "nobody is there to answer: resume with --yes or --wait-for-approval"}, nil
	}
	key := q.Step.Key().String()
	answers := d.question(key)
	defer d.settled(key)
	if !d.g.isTerminal() {
		select {
		case a := <-answers:
			return a, nil
		case <-ctx.Done():
			return incident.Approval{}, context.Cause(ctx)
		}
	}
	return d.askHere(ctx, q, answers)
}

// attended tells whether anybody can answer.
func (d *approvalDesk) attended() bool { return d.waits || d.g.isTerminal() }

// question is where the step's answer comes; it is open from the first call on.
func (d *approvalDesk) question(key string) chan incident.Approval {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[key] == nil {
		d.open[key] = make(chan incident.Approval, 1)
	}
	return d.open[key]
}

// settled: no answer is taken any more.
func (d *approvalDesk) settled(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, key)
}

// askHere also asks at the terminal; an answer from elsewhere ends the prompt.
func (d *approvalDesk) askHere(ctx context.Context, q incident.Question, answers <-chan incident.Approval) (incident.Approval, error) {
	d.terminal.Lock()
	defer d.terminal.Unlock()
	promptCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	type typed struct {
		text string
		err  error
	}
	lines := make(chan typed, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		text, err := d.g.prompt(promptCtx, questionText(q))
		lines <- typed{text, err}
	})
	select {
	case a := <-answers:
		fmt.Fprintf(d.g.err, "\nanswered by %s\n", a.By)
		return a, nil
	case <-ctx.Done():
		return incident.Approval{}, context.Cause(ctx)
	case l := <-lines:
		if l.err != nil {
			return incident.Approval{}, l.err
		}
		return incident.Approval{
			Approved: l.text == "yes" || l.text == "y", Digest: q.Digest, By: journal.Self(), How: "terminal",
		}, nil
	}
}

func questionText(q incident.Question) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s on %s: %s\n", q.Step.ID, q.Step.Target.Instance, q.Proposal.Impact)
	if q.Why != "" {
		fmt.Fprintf(&b, "  %s\n", q.Why)
	}
	for _, c := range q.Proposal.Changes {
		fmt.Fprintf(&b, "  %s, %s: %s → %s\n", c.Resource, c.What, orElse(c.Before, "(none)"), orElse(c.After, "(none)"))
	}
	fmt.Fprintf(&b, "Do it on %s? Type yes or no:\n", q.Step.Target.Instance)
	return b.String()
}

// answer takes an answer from another process, for a step's key or, where one
// target waits, its ID.
func (d *approvalDesk) answer(_ context.Context, step string, a incident.Approval) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []string
	for key := range d.open {
		if key == step || strings.HasPrefix(key, step+"@") {
			found = append(found, key)
		}
	}
	switch len(found) {
	case 0:
		err := fmt.Errorf("no step %s is waiting for an approval", step)
		if len(d.open) == 0 {
			return incident.WithHint(err, "none is: 'cordon case show' says where the run is")
		}
		waiting := slices.Sorted(maps.Keys(d.open))
		if more := len(waiting) - listed; more > 0 {
			waiting = append(waiting[:listed], fmt.Sprintf("and %d more", more))
		}
		return incident.WithHint(err, "these are: "+strings.Join(waiting, ", "))
	case 1:
	default:
		return fmt.Errorf("several targets wait at step %s: name one of %s", step, strings.Join(found, ", "))
	}
	select {
	case d.open[found[0]] <- a:
		return nil
	default:
		return fmt.Errorf("step %s has been answered already", step)
	}
}

// isTerminal reports whether someone sits at it: standard input and error.
func (g *globals) isTerminal() bool {
	in, ok := g.in.(*os.File)
	out, ok2 := fileOf(g.err)
	return ok && ok2 && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// onStderr shows on standard error what goes to standard output elsewhere.
func (g *globals) onStderr() *globals {
	c := *g
	c.out = g.err
	return &c
}

// prompt asks and reads one line. It returns when ctx ends.
func (g *globals) prompt(ctx context.Context, text string) (string, error) {
	r, err := cancelreader.NewReader(g.in)
	if err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { r.Cancel() })
	defer stop()
	fmt.Fprint(g.err, text)
	line, err := bufio.NewReader(r).ReadString('\n')
	switch {
	case errors.Is(err, cancelreader.ErrCanceled):
		return "", context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	return strings.ToLower(strings.TrimSpace(line)), nil
}
