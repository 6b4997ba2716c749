package incident

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Runner executes plans: a run, its resume, or a release. One Runner executes
// one run at a time, on behalf of the process that holds the case.
type Runner struct {
	Journal  Appender
	Registry Registry
	Clock    Clock
	// Ask puts a question to whoever can answer: terminal and socket at once,
	// the first answer wins. The runner journals question and answer. It is
	// called by several steps at once and MUST return when ctx is done. Nil:
	// nobody can answer, and a step that asks fails.
	Ask func(ctx context.Context, q Question) (Approval, error)
	// Approved is the approval of the whole plan, given before it started: it
	// covers every step whose changes are still those of the plan. With How
	// HowYes it answers every later question too.
	Approved *Approval
	// Anchor puts a checkpoint into the evidence store. It is called at the
	// run's end and before anything irreversible; where it fails the journal
	// says that an anchor is owed and the run goes on. Nil: there is no store.
	Anchor func(ctx context.Context) error
	// Progress receives what long steps report; not journaled. It is called by
	// several steps at once. May be nil.
	Progress func(Progress)
	// Reads returns the reads made for a step since it was last called. May be nil.
	Reads func(run, step, target string) map[string]int
	// Explain adds a hint to the error of a step that has none. May be nil.
	Explain     func(error) error
	MaxParallel int    // steps at work at once; 0: 8 for each target, at most 128. Steps that wait for an approval don't count
	Actor       string // user@host, of the entries; empty: the journal's own

	live atomic.Pointer[execution] // nil unless a run is under way
}

// Question asks for the approval of one step's changes.
type Question struct {
	Run      string
	Step     StepPlan
	Proposal Proposal // what would be done now
	Digest   string   // of the plan
	Why      string   // why it asks again; empty where it asks for the first time
}

// anchorLimit bounds an anchor's try: containment goes on without it.
const anchorLimit = time.Minute

// Start journals run.started and executes the plan, in the case that s, the
// fold of its journal, says. It returns when every step
// has settled, or ctx is cancelled and the calls in flight are over
// (OutcomeInterrupted), or the journal refuses an entry: then the outcome is
// interrupted too, and the error says why. A step's failure is an outcome,
// not an error; where a step was not approved and none was begun, the outcome is
// refused. With an error and outcome refused nothing was journaled. The caller MUST NOT use s
// while it runs; afterwards s is the fold up to the run's end, but for entries that others appended.
func (r *Runner) Start(ctx context.Context, s *State, pb Playbook, plan Plan, run string) (Outcome, error) {
	if err := r.check(s.Case, pb, plan); err != nil {
		return OutcomeRefused, err
	}
	if ctx.Err() != nil {
		return OutcomeRefused, context.Cause(ctx)
	}
	if plan.Digest != plan.digest() {
		return OutcomeRefused, &RefusedError{Reason: "the plan is not the one its digest " + plan.Digest + " was made of"}
	}
	e := r.execution(ctx, s, pb, run, plan)
	defer e.cancel(nil)
	e.append(Draft{Type: EntryRunStarted, Run: run, Data: RunStarted{Kind: plan.Kind, Plan: plan, Source: pb.Source, Inputs: plan.Inputs}})
	return e.run()
}

// Resume goes on with a run that was interrupted, killed, or failed. The caller
// holds the case, so nobody else is at it. What succeeded or was undone stays; what
// is unknown or failed is tried again, from the before-state of its first try; what was
// skipped because of that gets its chance. The caller MUST NOT use s while it runs;
// afterwards s is the fold up to the run's end, but for entries that others appended.
func (r *Runner) Resume(ctx context.Context, s *State, run string, pb Playbook) (Outcome, error) {
	if ctx.Err() != nil {
		return OutcomeRefused, context.Cause(ctx)
	}
	rs := s.Run(run)
	if rs == nil {
		return OutcomeRefused, &InputError{[]error{fmt.Errorf("case %s has no run %s", s.Case.ID, run)}}
	}
	if s.Closed {
		return OutcomeRefused, &RefusedError{Reason: fmt.Sprintf("case %s is closed", s.Case.ID)}
	}
	if rs.Finished() {
		return OutcomeRefused, &RefusedError{Reason: fmt.Sprintf("every step of run %s is done: there is nothing left to do", run)}
	}
	if err := r.check(s.Case, pb, rs.Plan); err != nil {
		return OutcomeRefused, err
	}
	rs.rest()
	var unknown []string
	for _, step := range rs.Plan.Steps {
		if rs.Steps[step.Key()].State == Unknown {
			unknown = append(unknown, step.Key().String())
		}
	}
	e := r.execution(ctx, s, pb, run, rs.Plan)
	defer e.cancel(nil)
	e.append(Draft{Type: EntryRunResumed, Run: run, Data: RunResumed{Unknown: unknown}})
	return e.run()
}

// check refuses what must not even be begun.
func (r *Runner) check(c Case, pb Playbook, plan Plan) error {
	switch {
	case plan.Case != c.ID:
		return &RefusedError{Reason: fmt.Sprintf("the plan is for case %q, not for %q", plan.Case, c.ID)}
	case plan.Kind == KindRun && plan.PlaybookDigest != pb.Digest:
		return &RefusedError{Reason: fmt.Sprintf("the plan was made from playbook %s, this one is %s", plan.PlaybookDigest, pb.Digest)}
	case r.Approved != nil && !r.Approved.Approved:
		return &RefusedError{Reason: "the plan was not approved"}
	case r.Approved != nil && r.Approved.Digest != plan.Digest:
		return WithHint(&RefusedError{Reason: fmt.Sprintf("plan %s was approved, this one is %s", r.Approved.Digest, plan.Digest)},
			"look at the plan again: something has changed since")
	}
	for _, step := range plan.Steps {
		action, ok := r.Registry[step.Action]
		if !ok {
			return &RefusedError{Reason: fmt.Sprintf("step %s: action %s does not exist", step.ID, step.Action)}
		}
		if _, ok := action.(Reverter); step.Undo != nil && !ok {
			return &RefusedError{Reason: fmt.Sprintf("step %s: action %s can't be undone", step.ID, step.Action)}
		}
	}
	return nil
}

// execution is one process's work on one run. Its state is the fold of what it
// journals: there is no second source of truth.
type execution struct {
	*Runner
	pb     Playbook
	id     string
	ctx    context.Context
	cancel context.CancelCauseFunc
	turns  *turns
	shared sharers // the plan's

	sections sections

	retries chan retry    // orders that the schedule answers
	steered chan struct{} // tells it, once, that the run goes on or was interrupted
	settled chan struct{} // closed when it is over: nothing is tried again any more

	mu      sync.Mutex
	state   *State
	size    uint64                             // of the journal, as far as seen
	refused error                              // the journal's; nothing is appended or started after it
	asking  map[string]context.CancelCauseFunc // ends the questions that are open, by StepKey.String
}

func (r *Runner) execution(ctx context.Context, s *State, pb Playbook, run string, plan Plan) *execution {
	e := &execution{
		Runner: r, pb: pb, id: run, state: s, asking: make(map[string]context.CancelCauseFunc),
		retries: make(chan retry), steered: make(chan struct{}, 1), settled: make(chan struct{}),
	}
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	n := r.MaxParallel
	if n <= 0 {
		n = parallel(len(plan.Targets))
	}
	e.turns = newTurns(n)
	return e
}

// append journals an entry and folds it in. Results of what was done must get
// into the journal after an interrupt too, so it does not heed cancellation.
// The first refusal stops everything: no journal, no call. It is kept, so a
// caller with nothing to do but go on to the end may ignore it.
func (e *execution) append(d Draft) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.appendLocked(d)
}

// appendLocked is append for whoever holds mu.
func (e *execution) appendLocked(d Draft) error {
	if e.refused != nil {
		return e.refused
	}
	if d.Actor == "" {
		d.Actor = e.Actor
	}
	entry, err := e.Journal.Append(context.WithoutCancel(e.ctx), d)
	if err == nil {
		err = e.state.Add(entry)
	}
	if err != nil {
		e.refused = fmt.Errorf("the journal refused %s: %w", d.Type, err)
		e.cancel(e.refused)
		return e.refused
	}
	e.size = max(e.size, entry.Seq+1)
	return nil
}

// run executes from the state as it is now, to the run's end.
func (e *execution) run() (Outcome, error) {
	if a := e.Approved; a != nil {
		e.append(Draft{Type: EntryApproval, Run: e.id, Data: *a})
	}
	e.live.Store(e)
	released := context.AfterFunc(e.ctx, func() { // an interrupt ends a pause
		e.turns.release()
		e.steer()
	})
	e.schedule()
	released()
	e.live.Store(nil)
	end := e.end()
	if err := e.append(Draft{Type: EntryRunEnded, Run: e.id, Data: end}); err != nil {
		return OutcomeInterrupted, err
	}
	if err := e.anchor(context.WithoutCancel(e.ctx)); err != nil {
		return OutcomeInterrupted, err
	}
	return end.Outcome, nil
}

// end reads the run's outcome off its steps.
func (e *execution) end() RunEnded {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	if run == nil {
		return RunEnded{Outcome: OutcomeInterrupted}
	}
	var all tally
	for _, step := range run.Plan.Steps {
		all.add(step.Key().String(), run.Steps[step.Key()])
	}
	for _, left := range run.Plan.LeftOut {
		all.problems = append(all.problems, left.String())
	}
	return RunEnded{Outcome: all.outcome(e.ctx.Err() != nil), Error: strings.Join(all.problems, "\n")}
}

// anchor fails only where the journal does.
func (e *execution) anchor(ctx context.Context) error {
	if e.Anchor == nil {
		return nil
	}
	limited, cancel := e.Clock.WithTimeout(WithStep(ctx, StepRef{Run: e.id}), anchorLimit)
	defer cancel()
	err := e.Anchor(limited)
	if err == nil {
		return nil
	}
	e.mu.Lock()
	size := e.size
	e.mu.Unlock()
	return e.append(Draft{Type: EntryAnchorOwed, Run: e.id, Data: AnchorOwed{Size: size, Reason: err.Error()}})
}
