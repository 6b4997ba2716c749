package incident

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// State is what a journal says, folded: the one way in which anyone knows
// anything about a case. It is not safe for concurrent use.
type State struct {
	Case   Case
	Closed bool
	Runs   []*RunState // in the order they were started
	// Owed is the last checkpoint that could not be anchored; nil when none is owed.
	Owed *AnchorOwed

	holders map[string]map[runStep]bool // live steps, by what they name as shared
}

// NewState returns the state of an empty journal.
func NewState() *State { return &State{} }

// RunState is a run, or a release, so far.
type RunState struct {
	ID      string
	Case    Case
	Kind    RunKind
	Plan    Plan
	Source  string // the playbook's text
	Inputs  map[string]any
	Started time.Time
	Ended   time.Time // zero while it runs
	// Took is how long it went on, whatever the clock was set to meanwhile; zero while it runs.
	Took    time.Duration
	Resumed int     // how often
	Outcome Outcome // empty while it runs
	Error   string
	// Approved is the approval of the whole plan; nil where steps are approved one by one.
	Approved *Approval
	Paused   *RunPaused              // nil unless it is paused
	Steps    map[StepKey]*StepStatus // all of the plan's

	begun time.Time      // Started, by the clock as it is set now
	keys  map[string]int // places in Plan.Steps, by StepKey.String
	first map[Target]int // places in Plan.Steps of the targets' first steps
}

// StepStatus is a step of a run so far.
type StepStatus struct {
	State   StepState
	Started time.Time // its first intent
	Ended   time.Time // its last outcome
	// StartedAfter and EndedAfter are how long after the run's start that was, whatever the clock was set to meanwhile.
	StartedAfter, EndedAfter time.Duration
	Tries                    int
	// Intent is that of the first try. Later tries repeat its inputs and
	// proposal: a fresh read could show our own isolation as the state before.
	Intent  *StepIntent
	Outcome *StepOutcome // of the last try; nil while there is none
	// Result is the last one that any try left: a later try that failed early
	// does not unmake what an earlier one set.
	Result Result
	// Records are the data of the other entries of the step (step.record,
	// evidence.item, custody, cleanroom, note), oldest first.
	Records map[EntryType][]json.RawMessage
	// LostCalls are changing calls that were journaled and never answered:
	// each may or may not have reached AWS.
	LostCalls []CallIntent
	Reads     map[string]int // "ec2:DescribeInstances" to how many
	Error     string         // of the last try
	Hint      string
	// Waiting is the last question asked; Approval its answer, nil while there is none.
	Waiting      *StepWaiting
	WaitingSince time.Time // zero unless it waits
	Approval     *Approval
	// RevertedBy is the release that undid the step.
	RevertedBy string
}

// Run returns the run with this ID, or nil.
func (s *State) Run(id string) *RunState {
	for _, r := range s.Runs {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// on are the run's steps on a target.
func (r *RunState) on(t Target) []StepPlan {
	first, ok := r.first[t]
	if !ok {
		return nil
	}
	last := first
	for last < len(r.Plan.Steps) && r.Plan.Steps[last].Target == t {
		last++
	}
	return r.Plan.Steps[first:last]
}

// Abandon marks the steps that were under way as unknown. Call it when nobody
// holds the case: the journal alone can't tell that its holder was killed.
func (s *State) Abandon() {
	for _, r := range s.Runs {
		r.rest()
	}
}

// LiveStep is a step that may have changed its target and was not undone.
type LiveStep struct {
	Run    *RunState
	Step   StepPlan
	Status *StepStatus
}

// Live lists what may still be in effect on the targets (on all where none is
// given): newest run first, within a run the last step first.
func (s *State) Live(targets ...Target) []LiveStep {
	var live []LiveStep
	chosen := make(map[Target]bool, len(targets))
	for _, t := range targets {
		chosen[t] = true
	}
	for _, r := range slices.Backward(s.Runs) {
		if r.Kind != KindRun {
			continue
		}
		for _, step := range slices.Backward(r.Plan.Steps) {
			status := r.Steps[step.Key()]
			wanted := len(targets) == 0 || chosen[step.Target]
			if wanted && status.Intent != nil && status.State != Reverted {
				live = append(live, LiveStep{r, step, status})
			}
		}
	}
	return live
}

// Add folds one more entry in. Entries that no fold of ours needs are passed
// over; an entry that contradicts the ones before it is an error.
func (s *State) Add(e Entry) error {
	if err := s.add(e); err != nil {
		return fmt.Errorf("entry %d (%s): %w", e.Seq, e.Type, err)
	}
	return nil
}

func (s *State) add(e Entry) error {
	switch e.Type {
	case EntryCaseOpened:
		return json.Unmarshal(e.Data, &s.Case)
	case EntryCaseClosed:
		s.Closed = true
		return nil
	case EntryAnchorOwed:
		s.Owed = new(AnchorOwed)
		return json.Unmarshal(e.Data, s.Owed)
	case EntryCheckpoint:
		return s.anchored(e)
	case EntryRunStarted:
		return s.start(e)
	case EntryRunRefused:
		return nil
	case EntryClockSet:
		return s.clockSet(e)
	}
	if e.Run == "" {
		return nil // by hand, outside any run
	}
	r := s.Run(e.Run)
	if r == nil {
		return fmt.Errorf("run %s was never started", e.Run)
	}
	if err := r.add(e); err != nil {
		return err
	}
	if e.Type == EntryStepIntent && r.Kind == KindRun {
		step, status, err := r.step(e)
		if err != nil {
			return err
		}
		s.hold(runStep{r.ID, step.Key()}, status.Intent.Proposal.Shared)
		return nil
	}
	if e.Type == EntryStepOutcome && r.Kind == KindRelease {
		return s.revert(r, e)
	}
	return nil
}

func (s *State) anchored(e Entry) error {
	var c Checkpoint
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return err
	}
	if s.Owed != nil && c.Location != "" && c.Size >= s.Owed.Size {
		s.Owed = nil
	}
	return nil
}

func (s *State) clockSet(e Entry) error {
	var d ClockSet
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	for _, r := range s.Runs {
		r.begun = r.begun.Add(time.Duration(d.By * float64(time.Second)))
	}
	return nil
}

func (s *State) start(e Entry) error {
	if s.Run(e.Run) != nil {
		return fmt.Errorf("run %s was started before", e.Run)
	}
	var d RunStarted
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	r := &RunState{
		ID: e.Run, Case: s.Case, Kind: d.Kind, Plan: d.Plan, Source: d.Source, Inputs: d.Inputs, Started: e.Time, begun: e.Time,
		Steps: make(map[StepKey]*StepStatus, len(d.Plan.Steps)), keys: make(map[string]int, len(d.Plan.Steps)),
		first: make(map[Target]int, len(d.Plan.Targets)),
	}
	for i, step := range d.Plan.Steps {
		k := step.Key()
		r.Steps[k], r.keys[k.String()] = &StepStatus{}, i
		if _, known := r.first[step.Target]; !known {
			r.first[step.Target] = i
		} else if d.Plan.Steps[i-1].Target != step.Target {
			return fmt.Errorf("the plan of run %s does not list the steps of %s together", e.Run, step.Target)
		}
	}
	s.Runs = append(s.Runs, r)
	return nil
}

// revert marks the step that a release's step has undone.
func (s *State) revert(release *RunState, e Entry) error {
	step, status, err := release.step(e)
	if err != nil || status.State != Succeeded {
		return err
	}
	if step.Undo == nil {
		return fmt.Errorf("step %s of a release undoes nothing", step.Key())
	}
	undone := step.undone()
	run := s.Run(undone.run)
	if run == nil || run.Steps[undone.key] == nil {
		return fmt.Errorf("step %s undoes step %s of run %s, which does not exist", step.Key(), step.Undo.Step, step.Undo.Run)
	}
	status = run.Steps[undone.key]
	status.State, status.RevertedBy = Reverted, release.ID
	s.drop(undone, step.Undo.Proposal.Shared)
	return nil
}

func (r *RunState) add(e Entry) error {
	switch e.Type {
	case EntryRunPaused:
		r.Paused = new(RunPaused)
		return json.Unmarshal(e.Data, r.Paused)
	case EntryRunContinued:
		r.Paused = nil
		return nil
	case EntryRunResumed:
		r.Resumed++
		r.Outcome, r.Ended, r.Took, r.Error = "", time.Time{}, 0, ""
		r.rest()
		r.reopen()
		return nil
	case EntryRunEnded:
		var d RunEnded
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		r.Outcome, r.Error, r.Ended, r.Took = d.Outcome, d.Error, e.Time, r.After(e.Time)
		r.rest()
		return nil
	}
	if e.Step == "" {
		return r.approve(e)
	}
	_, status, err := r.step(e)
	switch {
	case err != nil:
		return err
	case e.Type == EntryStepRetry:
		return r.retried(e, status)
	default:
		return status.add(e, r.After(e.Time))
	}
}

// After is how long after the run's start now is, by the clock as the journal's last entry knows it to be set.
func (r *RunState) After(now time.Time) time.Duration { return now.Sub(r.begun) }

// step returns the step that the entry is about.
func (r *RunState) step(e Entry) (*StepPlan, *StepStatus, error) {
	i, ok := r.keys[e.Step+"@"+e.Target]
	if !ok {
		return nil, nil, fmt.Errorf("run %s has no step %s on %s", r.ID, e.Step, e.Target)
	}
	step := &r.Plan.Steps[i]
	return step, r.Steps[step.Key()], nil
}

func (r *RunState) approve(e Entry) error {
	if e.Type != EntryApproval {
		return nil // the run's own: an anchor's calls
	}
	var d Approval
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	if d.Approved && d.Digest != r.Plan.Digest {
		return fmt.Errorf("the approval names plan %s, the run's is %s", d.Digest, r.Plan.Digest)
	}
	r.Approved = nil
	if d.Approved {
		r.Approved = &d
	}
	return nil
}

// rest: nobody executes the run any more. What was under way is unknown,
// and questions nobody answered are to be asked again.
func (r *RunState) rest() {
	r.Paused = nil
	for _, s := range r.Steps {
		switch s.State {
		case Running:
			s.State = Unknown
		case Waiting:
			s.State, s.WaitingSince = Pending, time.Time{}
		}
	}
}

// reopen gives another chance to the steps that were skipped because
// something failed or was not approved.
func (r *RunState) reopen() {
	for _, s := range r.Steps {
		if s.State == Skipped && !s.Outcome.stays() {
			s.reopen()
		}
	}
}

func (s *StepStatus) reopen() {
	s.State, s.Outcome, s.Ended, s.Error, s.Hint = Pending, nil, time.Time{}, "", ""
}

// retried: the step has another try coming, and what its failure had blocked too.
// Its error stays until then: it is that of the last try.
func (r *RunState) retried(e Entry, status *StepStatus) error {
	var d StepRetry
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	if status.State != Failed {
		return fmt.Errorf("step %s on %s is %s: only what failed is tried again", e.Step, e.Target, status.State)
	}
	status.State, status.Outcome, status.Ended = Pending, nil, time.Time{}
	for _, id := range d.Unblocks {
		i, ok := r.keys[id+"@"+e.Target]
		if !ok {
			return fmt.Errorf("run %s has no step %s on %s", e.Run, id, e.Target)
		}
		if s := r.Steps[r.Plan.Steps[i].Key()]; s.blocked() {
			s.reopen()
		}
	}
	return nil
}

// add folds an entry in that was written so long after the run's start.
func (s *StepStatus) add(e Entry, after time.Duration) error {
	switch e.Type {
	case EntryStepWaiting:
		s.State, s.Waiting, s.WaitingSince, s.Approval = Waiting, new(StepWaiting), e.Time, nil
		return json.Unmarshal(e.Data, s.Waiting)
	case EntryApproval:
		s.State, s.Approval, s.WaitingSince = Pending, new(Approval), time.Time{}
		return json.Unmarshal(e.Data, s.Approval)
	case EntryStepIntent:
		return s.intend(e, after)
	case EntryStepOutcome:
		var d StepOutcome
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		s.State, s.Outcome, s.Ended, s.EndedAfter, s.Error, s.Hint = d.State, &d, e.Time, after, d.Error, d.Hint
		if d.Result.Outputs != nil || d.Result.Applied != nil {
			s.Result = d.Result
		}
		return nil
	case EntryCallIntent, EntryCallResult, EntryCallCount:
		return s.call(e)
	default:
		if s.Records == nil {
			s.Records = make(map[EntryType][]json.RawMessage)
		}
		s.Records[e.Type] = append(s.Records[e.Type], e.Data)
		return nil
	}
}

func (s *StepStatus) intend(e Entry, after time.Duration) error {
	var d StepIntent
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	s.State, s.Tries, s.Outcome, s.Ended, s.Error, s.Hint = Running, d.Try, nil, time.Time{}, "", ""
	if s.Intent == nil {
		s.Intent, s.Started, s.StartedAfter = &d, e.Time, after
	}
	return nil
}

func (s *StepStatus) call(e Entry) error {
	switch e.Type {
	case EntryCallIntent:
		var d CallIntent
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		s.LostCalls = append(s.LostCalls, d)
	case EntryCallResult:
		var d CallResult
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		s.LostCalls = slices.DeleteFunc(s.LostCalls, func(c CallIntent) bool { return c.Call == d.Call })
	case EntryCallCount:
		var d CallCount
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		if s.Reads == nil {
			s.Reads = make(map[string]int)
		}
		for op, n := range d.Reads {
			s.Reads[op] += n
		}
	}
	return nil
}
