package incident

import (
	"fmt"
	"slices"
)

// schedule starts every step as soon as what it needs has settled and waits
// for all it started. Targets never wait for each other: a step that is over
// concerns its own target's steps only. While it waits, what failed can be
// tried again.
func (e *execution) schedule() {
	defer close(e.settled)
	run := e.state.Run(e.id)
	if run == nil {
		return // its first entry was refused
	}
	e.shared = sharersOf(run.Plan.Steps)
	s := &schedule{e: e, done: make(chan StepPlan), work: make(map[Target]*targetWork, len(run.Plan.Targets))}
	for rank, steps := 0, []StepPlan(nil); rank < len(run.Plan.Steps); rank += len(steps) {
		t := run.Plan.Steps[rank].Target
		steps = run.on(t)
		s.work[t] = &targetWork{s: s, steps: steps, rank: rank, phases: make(map[string]phase), began: make(map[string]*StepOutcome)}
		s.work[t].proceed()
	}
	for s.busy > 0 || e.waitsForRetry() {
		select {
		case step := <-s.done:
			s.over(step)
		case r := <-e.retries:
			r.answer <- s.retry(r)
		case <-e.steered: // look again whether to end
		}
	}
}

// waitsForRetry tells that the run does not end although nothing is at work:
// it is paused, and something failed.
func (e *execution) waitsForRetry() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	if run.Paused == nil || e.ctx.Err() != nil {
		return false
	}
	for _, s := range run.Steps {
		if s.State == Failed {
			return true
		}
	}
	return false
}

// schedule is what is at work. It belongs to one goroutine.
type schedule struct {
	e    *execution
	work map[Target]*targetWork
	busy int           // steps at work
	done chan StepPlan // they are over
}

// over: a step has settled, and its target goes on.
func (s *schedule) over(step StepPlan) {
	s.busy--
	w := s.work[step.Target]
	w.phases[step.ID] = settled
	if why := s.e.stops(step); why != "" {
		w.stopped = why
	}
	w.proceed()
}

// phase is where this process is with a step.
type phase int

const (
	ahead  phase = iota // it did not come to its turn
	atWork              // waits for its turn or an answer, or acts
	barred              // its target had stopped
	settled
)

// targetWork is how far a target's steps are.
type targetWork struct {
	s       *schedule
	steps   []StepPlan
	rank    int                     // of the first of them in the plan
	phases  map[string]phase        // by step ID
	began   map[string]*StepOutcome // what was known of a step when it began: a resume tries again what failed
	stopped string                  // why no further step starts
}

// proceed starts what can start now.
func (w *targetWork) proceed() {
	e := w.s.e
	for i, step := range w.steps {
		ready := !slices.ContainsFunc(step.Needs, func(id string) bool { return w.phases[id] != settled })
		switch s := e.status(step.Key()); {
		case w.phases[step.ID] != ahead || e.ctx.Err() != nil:
		case s.chosen() && !ready: // those that need it need what it needs too
		case s.over():
			w.phases[step.ID] = settled
		case w.stopped != "":
			w.phases[step.ID] = barred
			e.block(step, w.stopped)
		case ready:
			w.begin(i)
		}
	}
}

// begin starts a step.
func (w *targetWork) begin(i int) {
	step := w.steps[i]
	w.phases[step.ID], w.began[step.ID] = atWork, w.s.e.status(step.Key()).Outcome
	w.s.busy++
	go func() {
		w.s.e.step(step, w.rank+i, w.late(step))
		w.s.done <- step
	}()
}

// late reports whether the step comes after the cut of its target.
func (w *targetWork) late(step StepPlan) bool {
	before := planGraph(w.steps).ancestors(step.ID)
	return slices.ContainsFunc(w.steps, func(s StepPlan) bool { return before[s.ID] && slices.Contains(s.Provides, NetworkCut) })
}

// stops says why a step that is over stops its target; empty where it does not.
func (e *execution) stops(step StepPlan) string {
	s := e.status(step.Key())
	switch {
	case step.OnFailure == Continue:
		return ""
	case s.State == Failed:
		return fmt.Sprintf("step %s failed", step.ID)
	case s.State == Skipped && s.Outcome.Skip == SkipRejected:
		return fmt.Sprintf("step %s was not approved", step.ID)
	default:
		return ""
	}
}

// status is a copy of the step's status: others go on folding meanwhile.
func (e *execution) status(k StepKey) StepStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return *e.state.Run(e.id).Steps[k]
}

// block skips a step whose target has stopped. One that was tried before keeps
// its state: it may have changed something.
func (e *execution) block(step StepPlan, reason string) {
	if e.status(step.Key()).Intent == nil {
		e.settle(step, StepOutcome{State: Skipped, Skip: SkipBlocked, Reason: reason})
	}
}
