package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// engine is every action wired to the account, and the access they go through.
type engine struct {
	access   *access.Access
	registry incident.Registry
}

// engine wires a case's actions. A nil journal allows planning only.
func (w *workspace) engine(j incident.Appender, c incident.Case) (*engine, error) {
	a := w.access(j, c.ID)
	r, err := w.registry(a)
	return &engine{access: a, registry: r}, err
}

// execution is a run under way in a held case.
type execution struct {
	w        *workspace
	j        *journal.Journal
	engine   *engine
	run      string // its ID
	approved *incident.Approval
	parallel uint16
	waits    bool // for answers from other processes, without a terminal
	plan     incident.Plan
	again    string // the command for the targets that the plan leaves out
}

// do starts or resumes the run by start, shows it, serves it to other
// terminals, and ends with its summary.
func (x *execution) do(ctx context.Context, start func(context.Context, *incident.Runner) (incident.Outcome, error)) error {
	from := x.j.Len()
	runCtx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	desk := newApprovalDesk(x.w.g, x.waits)
	shown := newDisplay(x.w.g, x.j, x.plan, x.w.clock)
	if x.w.g.output == "text" && !x.w.g.quiet {
		sayRehearsal(x.w.g.err, x.j.Case())
	}

	steps := x.w.appender(x.j)
	if x.approved == nil || x.approved.How != incident.HowYes { // otherwise the runner answers its questions itself
		steps = askingJournal{steps, desk}
	}
	runner := &incident.Runner{
		Journal: steps, Registry: x.engine.registry, Clock: x.w.clock, MaxParallel: int(x.parallel),
		Approved: x.approved, Ask: desk.ask, Reads: x.engine.access.Reads, Explain: access.Explain,
		Anchor: func(ctx context.Context) error { return x.w.anchor(ctx, x.j, x.engine.access, x.run) },
		Progress: func(p incident.Progress) {
			x.j.Publish(p)
			shown.progress(p)
		},
	}
	x.engine.access.Watch(runner.Progress)
	aside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var serveErr error
	wg.Go(func() {
		serveErr = x.j.Serve(aside, journal.Handler{
			Approve: desk.answer, Interrupt: func() error { interrupt(); return nil },
			Pause: runner.Pause, Continue: runner.Continue, Skip: runner.Skip, Retry: runner.Retry,
		})
	})
	wg.Go(func() { shown.follow(aside, from) })
	outcome, runErr := start(runCtx, runner)
	err := x.conclude(ctx, outcome, runErr, shown)
	stop()
	wg.Wait()
	if serveErr != nil {
		fmt.Fprintf(x.w.g.err, "warning: other terminals could not attach: %v\n", serveErr)
	}
	return err
}

// conclude prints the summary and turns the outcome into the command's.
func (x *execution) conclude(ctx context.Context, outcome incident.Outcome, runErr error, shown *display) error {
	shown.rest()
	r, err := fold(x.j)
	if err != nil {
		return errors.Join(runErr, err)
	}
	run := r.state.Run(x.run)
	if run == nil {
		return runErr
	}
	report, err := newRunReport(context.WithoutCancel(ctx), x.j, r, run)
	if err != nil {
		return errors.Join(runErr, err)
	}
	unsaid := x.w.g.printSummary(report)
	if errors.Is(unsaid, syscall.EPIPE) {
		unsaid = nil // nobody reads it any more: outliveReader
	}
	if x.w.afterwards != nil {
		runErr = errors.Join(runErr, x.w.afterwards(ctx))
	}
	// Before the outcome: what a journal that does not verify says of a run is worth nothing.
	if runErr = errors.Join(report.unverified, runErr); runErr != nil {
		return errors.Join(fmt.Errorf("run %s: %w", x.run, runErr), unsaid)
	}
	return errors.Join(x.outcomeError(outcome, run), unsaid)
}

// outcomeError is the outcome as the command's error, with the way on; nil where it succeeded.
func (x *execution) outcomeError(outcome incident.Outcome, run *incident.RunState) error {
	resume := fmt.Sprintf("'cordon resume --case %s' goes on with it", x.j.Case().ID)
	switch outcome {
	case incident.OutcomeSucceeded:
		return nil
	case incident.OutcomeInterrupted:
		return &outcomeError{exitInterrupted, "run " + x.run + " was interrupted", resume}
	case incident.OutcomeRefused:
		return &outcomeError{exitNotApproved, "run " + x.run + " was not approved: nothing was changed", ""}
	}
	code, ended := exitIncomplete, "run "+x.run+" ended with failed or unknown steps"
	for _, step := range run.Plan.Steps {
		if o := run.Steps[step.Key()].Outcome; o != nil && o.State == incident.Failed && o.Unverified {
			code, ended = exitVerify, "run "+x.run+" ended with steps whose effect AWS does not show"
		}
	}
	left := len(run.Plan.LeftOut)
	mended := "for what was left out, once it is mended: " + x.again
	switch {
	case left == 0:
		return &outcomeError{code, ended, resume}
	case run.Finished():
		return &outcomeError{exitIncomplete, fmt.Sprintf("run %s left out %d target(s)", x.run, left), mended}
	default:
		return &outcomeError{code, fmt.Sprintf("%s and left out %d target(s)", ended, left), resume + "; " + mended}
	}
}

// anchor puts the manifest, where evidence came since the last one, and the journal's signed
// checkpoint into the evidence store, where they can't be taken back: a journal
// cut off or swapped afterwards shows. The checkpoint is put there also where the manifest can't be.
func (w *workspace) anchor(ctx context.Context, j *journal.Journal, a *access.Access, run string) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	target, ok := r.lastTarget()
	if !ok {
		return errors.New("the case has no target yet")
	}
	store, err := w.store(ctx, a, target)
	if err != nil {
		return err
	}
	var manifestErr error
	if r.custody.OwesManifest() {
		_, manifestErr = w.putManifest(ctx, j, r, store, run)
	}
	return errors.Join(w.putCheckpoint(ctx, j, store, run), manifestErr)
}

// putManifest stores the signed list of the case's evidence as of the last entry, and
// journals it. Of the same entries it makes the same manifest again.
func (w *workspace) putManifest(ctx context.Context, j *journal.Journal, r *record, store evidence.Store, run string) (evidence.Item, error) {
	made := r.entries[len(r.entries)-1].Time
	item, err := evidence.PutManifest(ctx, store, j.Case(), r.custody.Manifest(j.Case(), made), j.SignText)
	if err != nil {
		return item, err
	}
	_, err = j.Append(ctx, incident.Draft{Type: incident.EntryEvidence, Run: run, Data: item})
	return item, err
}

func (w *workspace) putCheckpoint(ctx context.Context, j *journal.Journal, store evidence.Store, run string) error {
	cp, err := j.Checkpoint(ctx)
	if err != nil {
		return err
	}
	item, err := evidence.PutCheckpoint(ctx, store, j.Case(), cp, w.clock.Now())
	if err != nil {
		return err
	}
	cp.Location = item.Location
	if _, err := j.Append(ctx, incident.Draft{Type: incident.EntryEvidence, Run: run, Data: item}); err != nil {
		return err
	}
	_, err = j.Append(ctx, incident.Draft{Type: incident.EntryCheckpoint, Run: run, Data: cp})
	return err
}

// lastTarget is a target of the newest run: the evidence store is reached
// with its account's credentials.
func (r *record) lastTarget() (incident.Target, bool) {
	for i := len(r.state.Runs) - 1; i >= 0; i-- {
		if ts := r.state.Runs[i].Plan.Targets; len(ts) > 0 {
			return ts[0], true
		}
	}
	return incident.Target{}, false
}

// newRunID numbers the case's runs.
func (r *record) newRunID() string { return fmt.Sprintf("r%d", len(r.state.Runs)+1) }
