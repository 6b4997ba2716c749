package incident

import (
	"fmt"
	"slices"
)

// Retry tries a failed step of the run under way once more, as a resume would:
// from the before-state of its first try, without a question about what was approved already. What its
// failure had blocked is pending again, unless something else stops the target
// too. It can be asked for until the last step at work has settled; after that
// only a resume helps. It is refused while a step that needs this one is at
// work, and before what it needs itself. Of two who ask at once one is refused. The step is named as
// for Skip. When it returns the order is journaled; the try itself waits for its turn, and in a
// pause for Continue.
func (r *Runner) Retry(step string, by Retrying) error {
	e := r.live.Load()
	if e == nil {
		return WithHint(errNotLive, retryLater)
	}
	ask := retry{step, by, make(chan error, 1)}
	select {
	case e.retries <- ask:
		return <-ask.answer
	case <-e.settled:
		return WithHint(fmt.Errorf("run %s is ending", e.id), retryLater)
	}
}

const retryLater = "'cordon resume' tries again what failed"

// retry is an order to the schedule.
type retry struct {
	step   string
	by     Retrying
	answer chan error // takes one
}

// retry starts the step once more, or says why not.
func (s *schedule) retry(r retry) error {
	k, err := s.failed(r.step)
	if err != nil {
		return err
	}
	w := s.work[k.Target]
	if w.phases[k.ID] == atWork && s.e.status(k).Outcome == w.began[k.ID] {
		return fmt.Errorf("step %s is being tried again already", k)
	}
	for w.phases[k.ID] == atWork { // its failure is journaled, and its turn about to end
		s.over(<-s.done)
	}
	i := slices.IndexFunc(w.steps, func(step StepPlan) bool { return step.ID == k.ID })
	if err := w.apart(w.steps[i]); err != nil {
		return err
	}
	order := StepRetry{By: r.by.By, Reason: r.by.Reason}
	stopped := w.stoppedWithout(k.ID)
	if stopped == "" {
		order.Unblocks = w.blocked()
	}
	draft := s.e.draft(w.steps[i], EntryStepRetry, order)
	draft.Actor = r.by.By
	if err := s.e.append(draft); err != nil {
		return err
	}
	if w.stopped = stopped; stopped == "" {
		for id, p := range w.phases {
			if p == barred {
				w.phases[id] = ahead
			}
		}
	}
	w.begin(i)
	w.proceed()
	return nil
}

// failed finds the step, which must have failed in a run that goes on.
func (s *schedule) failed(step string) (StepKey, error) {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	run := s.e.state.Run(s.e.id)
	k, err := run.named(step)
	switch {
	case err != nil:
		return k, err
	case s.e.ctx.Err() != nil:
		return k, WithHint(fmt.Errorf("run %s is ending", s.e.id), retryLater)
	case run.Steps[k].State == Skipped && run.Steps[k].Outcome.Skip == SkipRejected:
		return k, WithHint(fmt.Errorf("step %s was not approved", k), "once the run has ended 'cordon resume' asks again")
	case run.Steps[k].State != Failed:
		return k, fmt.Errorf("step %s is %s: only a step that failed is tried again", k, run.Steps[k].State)
	}
	return k, nil
}

// apart refuses a step beside which others are at work that it needs, or
// that need it: one after the other is what the playbook promises.
func (w *targetWork) apart(step StepPlan) error {
	graph := planGraph(w.steps)
	before := graph.ancestors(step.ID)
	for _, other := range w.steps {
		switch {
		case before[other.ID] && w.phases[other.ID] != settled:
			return fmt.Errorf("step %s needs %s, which is not over", step.ID, other.ID)
		case before[other.ID] && w.s.e.stops(other) != "":
			return fmt.Errorf("%s, which %s needs: it comes first", w.s.e.stops(other), step.ID)
		case w.phases[other.ID] == atWork && graph.ancestors(other.ID)[step.ID]:
			return WithHint(fmt.Errorf("step %s, which needs %s, is at work", other.ID, step.ID), "once it is over "+step.ID+" can be tried again")
		}
	}
	return nil
}

// stoppedWithout says why the target stays stopped when this step is tried again; empty: it does not.
func (w *targetWork) stoppedWithout(id string) string {
	for _, step := range w.steps {
		if step.ID == id || w.phases[step.ID] != settled {
			continue
		}
		if why := w.s.e.stops(step); why != "" {
			return why
		}
	}
	return ""
}

// blocked are the steps that were skipped because the target had stopped.
func (w *targetWork) blocked() []string {
	var ids []string
	for _, step := range w.steps {
		if s := w.s.e.status(step.Key()); w.phases[step.ID] == barred && s.blocked() {
			ids = append(ids, step.ID)
		}
	}
	return ids
}
