package incident

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// token is the same on every try of the step in this run, and on no other.
func token(caseID, run string, k StepKey) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{caseID, run, k.ID, k.Target.String()}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// step takes one step from pending to settled. Where it is interrupted it
// leaves no outcome: what happened is unknown, and a resume tries again.
// Its turn lasts until the outcome is journaled: whoever shares something
// with it must see whether it was done or undone.
func (e *execution) step(step StepPlan, rank int, late bool) {
	ctx := WithStep(e.ctx, StepRef{Run: e.id, Step: step.ID, Target: step.Target.String()})
	keys := step.shared()
	if first := e.status(step.Key()).Intent; first != nil {
		keys = union(keys, first.Proposal.Shared)
	}
	t := e.turns.at(rank, late, e.scopeOfTurns(step), keys)
	t.enter()
	defer t.leave()
	outcome, err := e.attempt(ctx, step, t)
	for errors.Is(err, errPaused) {
		t.leave()
		t.enter()
		outcome, err = e.attempt(ctx, step, t) // what it read before the pause is old
	}
	switch {
	case err == nil:
		e.settle(step, outcome)
	case e.ctx.Err() == nil:
		if e.Explain != nil {
			err = e.Explain(err)
		}
		outcome.State, outcome.Error = Failed, err.Error()
		_, outcome.Unverified = errors.AsType[*NotVerifiedError](err)
		if hint := new(HintError); errors.As(err, &hint) {
			outcome.Hint = hint.Hint
		}
		e.settle(step, outcome)
	}
	e.count(step)
}

// scopeOfTurns is the target's own where the action takes turns itself: only
// steps of the same target wait for each other then. Whoever is undone may be the
// last one to hold what is shared, and only whole turns tell.
func (e *execution) scopeOfTurns(step StepPlan) string {
	if spec, _ := e.Registry.Spec(step.Action); step.Undo == nil && spec.TakesTurns {
		return step.Target.String() + "\x00"
	}
	return ""
}

func (e *execution) settle(step StepPlan, outcome StepOutcome) {
	_ = e.advance(step, EntryStepOutcome, outcome) // skipped meanwhile, or the journal's refusal, which is kept
}

// advance journals what takes a step from one state to the next. A step that
// somebody skipped takes none, and in a pause none begins.
func (e *execution) advance(step StepPlan, kind EntryType, data any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	switch {
	case run.Steps[step.Key()].chosen():
		return errSkipped
	case kind == EntryStepIntent && run.Paused != nil:
		return errPaused
	}
	return e.appendLocked(e.draft(step, kind, data))
}

func (e *execution) draft(step StepPlan, kind EntryType, data any) Draft {
	return Draft{Type: kind, Run: e.id, Step: step.ID, Target: step.Target.String(), Data: data}
}

// count journals the reads that were made for the step.
func (e *execution) count(step StepPlan) {
	if e.Reads == nil {
		return
	}
	if reads := e.Reads(e.id, step.ID, step.Target.String()); len(reads) > 0 {
		e.append(e.draft(step, EntryCallCount, CallCount{Reads: reads}))
	}
}

// attempt tries the step once. Its error is the step's failure, or the
// interrupt. It has its turn all the while, so that nothing
// lies between the reading of the state before and the act, except while it
// waits for an answer.
func (e *execution) attempt(ctx context.Context, step StepPlan, t *turn) (StepOutcome, error) {
	spec, _ := e.Registry.Spec(step.Action)
	status := e.status(step.Key())
	req := e.request(step, status)
	var proposal Proposal
	if status.Intent != nil {
		req.Resumed, req.Inputs, proposal = true, spec.typed(status.Intent.Inputs), status.Intent.Proposal
		req.Undo, req.Sharing = e.others(step, t)
	} else {
		skip, inputs, err := e.decide(step, spec)
		if err != nil {
			return StepOutcome{}, err
		}
		if skip != nil {
			return *skip, nil
		}
		req.Inputs = inputs
		agreed, answer, err := e.agree(ctx, step, &req, t)
		if err != nil {
			return StepOutcome{}, err
		}
		if !answer.Approved {
			return StepOutcome{State: Skipped, Skip: SkipRejected, Reason: rejection(answer)}, nil
		}
		proposal = agreed
	}
	if err := e.guard(step, proposal); err != nil {
		return StepOutcome{}, err
	}
	return e.try(ctx, step, req, proposal, status.Tries+1)
}

func rejection(a Approval) string {
	reason := "not approved"
	if a.By != "" {
		reason += " by " + a.By
	}
	if a.Reason != "" {
		reason += ": " + a.Reason
	}
	return reason
}

// others tells, now that the step has its turn, who else is at what it shares.
func (e *execution) others(step StepPlan, t *turn) (*Undo, []Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	toCome := func(k StepKey) bool {
		switch run.Steps[k].State {
		case Pending, Waiting, Running, Unknown:
			return true
		default:
			return false
		}
	}
	sharing := e.shared.targets(step.Target, t.keys, toCome)
	if step.Undo == nil {
		return nil, sharing
	}
	undo, self := *step.Undo, step.undone()
	undo.hold(e.state.held(t.keys, func(h runStep) bool { return h == self }))
	return &undo, sharing
}

func (e *execution) request(step StepPlan, status StepStatus) Request {
	k := step.Key()
	e.mu.Lock()
	recorded := make(map[EntryType][]json.RawMessage, len(status.Records))
	for kind, data := range status.Records {
		recorded[kind] = slices.Clone(data)
	}
	c := e.state.Case
	e.mu.Unlock()
	return Request{
		Case: c, Run: e.id, Step: step.ID, Target: step.Target, Inputs: step.Inputs,
		Token: token(c.ID, e.id, k), Planned: step.Proposal, Clock: e.Clock, Turn: e.sections.turn,
		Progress: func(p Progress) {
			if e.Progress != nil {
				p.Run, p.Step, p.Target = e.id, step.ID, step.Target.String()
				e.Progress(p)
			}
		},
		Record: func(_ context.Context, kind EntryType, data any) error {
			switch kind {
			case EntryStepRecord, EntryEvidence, EntryCustody, EntryCleanRoom, EntryNote:
				return e.append(e.draft(step, kind, data))
			}
			return fmt.Errorf("step %s: an action can't record %s: the engine does", step.ID, kind)
		},
		Recorded: func(kind EntryType) []json.RawMessage { return recorded[kind] },
	}
}

// decide evaluates what only the run could know: whether the step is to be done
// (skip is nil then), and its inputs.
func (e *execution) decide(step StepPlan, spec Spec) (skip *StepOutcome, inputs map[string]any, err error) {
	skipped := func(cause SkipCause, why string) (*StepOutcome, map[string]any, error) {
		return &StepOutcome{State: Skipped, Skip: cause, Reason: why}, nil, nil
	}
	switch {
	case step.Chosen:
		return skipped(SkipChosen, step.Skip)
	case step.Skip != "":
		return skipped(SkipCondition, step.Skip)
	case step.When == "" && len(step.Deferred) == 0:
		return nil, spec.typed(step.Inputs), nil
	}
	s, ok := e.pb.step(step.ID)
	if !ok {
		return nil, nil, fmt.Errorf("the playbook has no step %s", step.ID)
	}
	scope, err := e.scope(step.Target)
	if err != nil {
		return nil, nil, err
	}
	if why := s.starved(scope); why != "" {
		return skipped(SkipChosen, why)
	}
	if step.When != "" {
		holds, err := s.When.holds(scope)
		if err != nil {
			return nil, nil, err
		}
		if !holds {
			return skipped(SkipCondition, conditionFalse(*s.When))
		}
	}
	inputs, _, problems := s.inputs(spec, scope, false)
	return nil, inputs, errors.Join(problems...)
}

// scope is what expressions of the target's steps can see: steps that have
// settled, with values of their declared types.
func (e *execution) scope(t Target) (Scope, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	inputs, problems := CheckInputs(e.pb.Inputs, run.Plan.Inputs)
	scope := Scope{Case: e.state.Case, Target: t, Inputs: inputs, Steps: make(map[string]StepScope)}
	for _, step := range run.on(t) {
		s := run.Steps[step.Key()]
		if s.Outcome == nil {
			continue
		}
		spec, _ := e.Registry.Spec(step.Action)
		outputs := make(map[string]any, len(s.Outcome.Result.Outputs))
		for name, v := range s.Outcome.Result.Outputs {
			outputs[name] = v
			if i := slices.IndexFunc(spec.Outputs, func(f Field) bool { return f.Name == name }); i >= 0 {
				typed, err := spec.Outputs[i].Check(v)
				if err != nil {
					problems = append(problems, fmt.Errorf("output %s of step %s: %w", name, step.ID, err))
				}
				outputs[name] = typed
			}
		}
		scope.Steps[step.ID] = StepScope{State: s.State.String(), Outputs: outputs, LeftOut: s.chosen()}
	}
	return scope, errors.Join(problems...)
}

// agree plans the step anew and asks where its rule says so and what was
// approved does not cover what would be done now. After an answer that took
// its time it looks again, until what it would do is what was approved.
func (e *execution) agree(ctx context.Context, step StepPlan, req *Request, t *turn) (Proposal, Approval, error) {
	for {
		req.Undo, req.Sharing = e.others(step, t)
		proposal, err := e.replan(ctx, step, *req)
		if err != nil {
			return Proposal{}, Approval{}, err
		}
		if !t.has(proposal.Shared) { // what was read may be another step's halfway
			t.leave()
			t.keys = union(t.keys, proposal.Shared)
			t.enter()
			continue
		}
		if step.Undo == nil { // whoever is undone may be the last, and has to know
			t.keep(proposal.Shared)
		}
		why, covered := e.covered(step, proposal)
		if covered {
			return proposal, Approval{Approved: true}, nil
		}
		answer, err := e.ask(ctx, step, proposal, why, t)
		if err != nil || !answer.Approved || answer.How == HowYes {
			return proposal, answer, err
		}
	}
}

func (e *execution) replan(ctx context.Context, step StepPlan, req Request) (Proposal, error) {
	if e.ctx.Err() != nil {
		return Proposal{}, context.Cause(e.ctx)
	}
	limited, cancel := e.limit(ctx, step)
	defer cancel()
	proposal, err := planned(limited, e.Registry[step.Action], req)
	if drift := new(DriftError); errors.As(err, &drift) {
		return Proposal{}, hintForce(err)
	}
	if err != nil {
		return Proposal{}, timedOut(limited, step, fmt.Errorf("reading the state before: %w", err))
	}
	return proposal, nil
}

// covered tells whether the step may make these changes without a question:
// its rule asks none, or they are among those that were approved and no worse.
// Where the inputs were not known, the expression is what was approved.
func (e *execution) covered(step StepPlan, p Proposal) (why string, ok bool) {
	if !e.pb.rule(step.ID).asks(p.Impact) {
		return "", true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	s := run.Steps[step.Key()]
	stepwise := s.Approval != nil && s.Approval.Approved
	impact, changes, known := step.Impact, []Change(nil), step.Proposal != nil
	if known {
		changes = step.Proposal.Changes
	}
	if stepwise {
		impact, changes, known = s.Waiting.Impact, s.Waiting.Changes, true
	}
	if known {
		why = unseen(changes, p.Changes)
	}
	if p.Impact > impact {
		why = strings.TrimPrefix(fmt.Sprintf("%s; its impact is %s, it was %s", why, p.Impact, impact), "; ")
	}
	return why, why == "" && (stepwise || run.Approved != nil)
}

// unseen says which of the changes were not among those shown.
func unseen(shown, now []Change) string {
	var news []string
	for _, c := range now {
		if !slices.Contains(shown, c) {
			news = append(news, fmt.Sprintf("%s %s: %s → %s", c.Resource, c.What, c.Before, c.After))
		}
	}
	if len(news) == 0 {
		return ""
	}
	return "not among the changes shown before: " + strings.Join(news, ", ")
}

// ask journals the question, puts it to whoever can answer, and journals the answer.
func (e *execution) ask(ctx context.Context, step StepPlan, p Proposal, why string, t *turn) (Approval, error) {
	e.mu.Lock()
	digest := e.state.Run(e.id).Plan.Digest
	e.mu.Unlock()
	err := e.advance(step, EntryStepWaiting, StepWaiting{Impact: p.Impact, Digest: digest, Changes: p.Changes, Why: why})
	if err != nil {
		return Approval{}, err
	}
	if !e.yes() {
		t.leave() // others may work while somebody thinks
		defer t.enter()
	}
	answer, err := e.answer(ctx, Question{Run: e.id, Step: step, Proposal: p, Digest: digest, Why: why})
	if err != nil {
		return Approval{}, fmt.Errorf("asking for approval: %w", err)
	}
	if answer.By == "" {
		answer.By = e.Actor
	}
	if answer.Digest == "" {
		answer.Digest = digest
	}
	if answer.Digest != digest {
		return Approval{}, fmt.Errorf("the answer is about plan %s, the question was about %s", answer.Digest, digest)
	}
	return answer, e.advance(step, EntryApproval, answer)
}

// yes tells that whatever is asked is approved.
func (e *execution) yes() bool { return e.Approved != nil && e.Approved.How == HowYes }

func (e *execution) answer(ctx context.Context, q Question) (Approval, error) {
	if e.yes() {
		return *e.Approved, nil
	}
	if e.Ask == nil {
		return Approval{}, WithHint(errors.New("nobody is there to answer"), "run with --yes, or with --digest and the digest that plan shows")
	}
	ctx, done := e.askable(ctx, q.Step.Key())
	defer done()
	return e.Ask(ctx, q)
}

// askable ends the question also when the step is skipped.
func (e *execution) askable(ctx context.Context, k StepKey) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Run(e.id).Steps[k].chosen() {
		cancel(errSkipped)
	}
	e.asking[k.String()] = cancel
	return ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.asking, k.String())
		cancel(nil)
	}
}

// guard looks at the order of work once more, now that it is known which steps
// have succeeded. A release has its order from the run it undoes.
func (e *execution) guard(step StepPlan, p Proposal) error {
	if step.Undo != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	run := e.state.Run(e.id)
	return guardOrder(run.on(step.Target), step, p, func(s StepPlan) bool { return run.Steps[s.Key()].State == Succeeded })
}

// try commits the intent and only then acts.
func (e *execution) try(ctx context.Context, step StepPlan, req Request, p Proposal, n int) (StepOutcome, error) {
	if p.Impact == Irreversible {
		if err := e.anchor(ctx); err != nil {
			return StepOutcome{}, err
		}
	}
	if e.ctx.Err() != nil {
		return StepOutcome{}, context.Cause(e.ctx)
	}
	intent := StepIntent{Action: step.Action, Inputs: req.Inputs, Proposal: p, Token: req.Token, Try: n, Undo: req.Undo}
	if err := e.advance(step, EntryStepIntent, intent); err != nil {
		return StepOutcome{}, err
	}
	ctx, cancel := e.limit(ctx, step)
	defer cancel()
	outcome := StepOutcome{State: Succeeded}
	var err error
	if outcome.Result, outcome.Verification, err = e.act(ctx, req, e.Registry[step.Action], p); err != nil {
		return outcome, timedOut(ctx, step, err)
	}
	return outcome, nil
}

// act does the step and proves it. The result of a step that failed halfway
// is kept: undoing it needs to know what was set.
func (e *execution) act(ctx context.Context, req Request, action Action, p Proposal) (Result, Verification, error) {
	if reverter, ok := action.(Reverter); ok && req.Undo != nil {
		r, err := reverter.Revert(ctx, req, p) // it verifies too
		return r, Verification{}, err
	}
	r, err := action.Apply(ctx, req, p)
	if err != nil {
		return r, Verification{}, err
	}
	v, err := action.Verify(ctx, req, p, r)
	if len(v.Outputs) > 0 {
		outputs := maps.Clone(v.Outputs)
		maps.Copy(outputs, r.Outputs)
		r.Outputs = outputs
	}
	return r, v, err
}

// limit bounds one reading or one try of the step.
func (e *execution) limit(ctx context.Context, step StepPlan) (context.Context, context.CancelFunc) {
	if step.Timeout <= 0 {
		return ctx, func() {}
	}
	return e.Clock.WithTimeout(ctx, step.Timeout)
}

// timedOut names the timeout where it is the cause.
func timedOut(ctx context.Context, step StepPlan, err error) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("not done within %s: %w", step.Timeout, err)
	}
	return err
}
