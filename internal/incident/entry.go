package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Entry is one line of a journal. Its JSON, canonical by RFC 8785, is what is
// hashed: docs/journal-format.md.
type Entry struct {
	Seq    uint64          `json:"seq"` // from 0, without gaps
	Time   time.Time       `json:"time"`
	Type   EntryType       `json:"type"`
	Case   string          `json:"case"`
	Run    string          `json:"run,omitempty"`
	Step   string          `json:"step,omitempty"`
	Target string          `json:"target,omitempty"` // Target.String
	Actor  string          `json:"actor,omitempty"`  // user@host
	Data   json.RawMessage `json:"data,omitempty"`
	Prev   string          `json:"prev"` // Hash of the entry before, hexadecimal; empty in entry 0
	Hash   string          `json:"hash"` // SHA-256 of the canonical JSON without this field
}

// EntryType says what Data holds.
type EntryType string

const (
	EntryCaseOpened EntryType = "case.opened" // Case
	EntryCaseClosed EntryType = "case.closed" // Note
	EntryRunStarted EntryType = "run.started" // RunStarted
	EntryRunRefused EntryType = "run.refused" // RunRefused
	EntryRunResumed EntryType = "run.resumed" // RunResumed
	EntryRunEnded   EntryType = "run.ended"   // RunEnded

	EntryRunPaused    EntryType = "run.paused"    // RunPaused
	EntryRunContinued EntryType = "run.continued" // RunContinued

	EntryStepWaiting EntryType = "step.waiting" // StepWaiting
	EntryApproval    EntryType = "approval"     // Approval
	EntryStepIntent  EntryType = "step.intent"  // StepIntent
	EntryStepRecord  EntryType = "step.record"  // an action's own, for its resume
	EntryStepOutcome EntryType = "step.outcome" // StepOutcome
	EntryStepRetry   EntryType = "step.retry"   // StepRetry

	EntryCallIntent EntryType = "call.intent" // CallIntent
	EntryCallResult EntryType = "call.result" // CallResult
	EntryCallCount  EntryType = "call.count"  // CallCount: reads made by a step

	EntryEvidence   EntryType = "evidence.item" // evidence.Item
	EntryCustody    EntryType = "custody"       // evidence.CustodyEvent
	EntryCleanRoom  EntryType = "cleanroom"     // CleanRoom
	EntryNote       EntryType = "note"          // Note
	EntryCheckpoint EntryType = "checkpoint"    // Checkpoint
	EntryAnchorOwed EntryType = "anchor.owed"   // AnchorOwed
	EntryClockSet   EntryType = "clock.set"     // ClockSet
)

// EntryTypes are all there are.
func EntryTypes() []EntryType {
	return []EntryType{
		EntryCaseOpened, EntryCaseClosed, EntryRunStarted, EntryRunRefused, EntryRunResumed, EntryRunEnded, EntryRunPaused, EntryRunContinued,
		EntryStepWaiting, EntryApproval, EntryStepIntent, EntryStepRecord, EntryStepOutcome, EntryStepRetry,
		EntryCallIntent, EntryCallResult, EntryCallCount,
		EntryEvidence, EntryCustody, EntryCleanRoom, EntryNote, EntryCheckpoint, EntryAnchorOwed, EntryClockSet,
	}
}

// Draft is an entry before the journal numbers, times and chains it. Data is
// marshalled to JSON.
type Draft struct {
	Type   EntryType
	Run    string
	Step   string
	Target string
	Actor  string // empty: the process's own user@host
	Data   any
}

// Appender is the journal as its writers see it. Append returns after the
// commit is on disk; when it fails, nothing may be sent or done.
type Appender interface {
	Append(ctx context.Context, d Draft) (Entry, error)
}

// RunStarted opens a run. Source is the playbook's text, so that a resume
// parses exactly what was approved.
type RunStarted struct {
	Kind   RunKind        `json:"kind"`
	Plan   Plan           `json:"plan"`
	Source string         `json:"source,omitempty"`
	Inputs map[string]any `json:"inputs,omitempty"`
}

// RunRefused records that a run was asked for and not begun.
type RunRefused struct {
	Playbook string `json:"playbook"`
	Reason   string `json:"reason"`
}

// RunResumed: a new process goes on with the run.
type RunResumed struct {
	Unknown []string `json:"unknown,omitempty"` // StepPlan.Key of steps to try again
}

// RunPaused: no step begins until RunContinued, or the run's end.
type RunPaused struct {
	By     string `json:"by"` // user@host
	Reason string `json:"reason,omitempty"`
}

// RunContinued ends a pause.
type RunContinued struct {
	By string `json:"by"`
}

// StepRetry is committed before a step that failed is tried again in the same
// process. A resume tries again what failed without one.
type StepRetry struct {
	By     string `json:"by"` // user@host
	Reason string `json:"reason,omitempty"`
	// Unblocks are the steps of the target, by ID, that were skipped because it had
	// stopped, and are pending again.
	Unblocks []string `json:"unblocks,omitempty"`
}

// Skipping says who leaves out a step, and why.
type Skipping struct{ By, Reason string }

// Retrying says who has a step tried again, and why.
type Retrying struct{ By, Reason string }

// RunEnded closes a run, or a try of it.
type RunEnded struct {
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
}

// StepWaiting asks for an approval. Why is set where it asks again.
type StepWaiting struct {
	Impact  Impact   `json:"impact"`
	Digest  string   `json:"digest"` // of the plan
	Changes []Change `json:"changes"`
	Why     string   `json:"why,omitempty"`
}

// Approval answers StepWaiting, or the whole plan at once (Entry.Step empty).
type Approval struct {
	Approved bool   `json:"approved"`
	Digest   string `json:"digest"`
	By       string `json:"by"`  // user@host
	How      string `json:"how"` // terminal, HowYes, --digest, socket
	Reason   string `json:"reason,omitempty"`
}

// HowYes is the Approval.How of someone who approved whatever would be asked.
const HowYes = "--yes"

// StepIntent is committed before Apply is called.
type StepIntent struct {
	Action   string         `json:"action"`
	Inputs   map[string]any `json:"inputs,omitempty"`
	Proposal Proposal       `json:"proposal"`
	Token    string         `json:"token"`
	Try      int            `json:"try"` // from 1
	Undo     *Undo          `json:"undo,omitempty"`
}

// StepOutcome is committed after Verify, or after the failure.
type StepOutcome struct {
	State        StepState    `json:"state"`
	Result       Result       `json:"result"`
	Verification Verification `json:"verification"`
	Error        string       `json:"error,omitempty"`
	Hint         string       `json:"hint,omitempty"`
	// Unverified: what AWS shows is not what the step was to bring about (NotVerifiedError).
	Unverified bool      `json:"unverified,omitempty"`
	Reason     string    `json:"reason,omitempty"` // of a skip
	Skip       SkipCause `json:"skip,omitempty"`
}

// SkipCause tells a resume whether a skipped step gets another chance.
type SkipCause string

const (
	// SkipCondition: its when was false. It stays skipped.
	SkipCondition SkipCause = "condition"
	// SkipRejected: the answer was no. A resume asks again.
	SkipRejected SkipCause = "not-approved"
	// SkipBlocked: a failure stopped the target before it. A resume runs it.
	SkipBlocked SkipCause = "blocked"
	// SkipChosen: somebody left it out, of the plan or later, or a step whose outputs it takes. It stays skipped.
	SkipChosen SkipCause = "chosen"
)

// CallIntent is committed before a changing call is sent. Params are the
// call's input with secrets and bodies redacted by type.
type CallIntent struct {
	Call      string          `json:"call"` // pairs it with its result
	Service   string          `json:"service"`
	Operation string          `json:"operation"`
	Account   string          `json:"account"`
	Region    string          `json:"region"`
	Params    json.RawMessage `json:"params,omitempty"`
}

// CallResult is committed when the answer, or the failure, is in.
type CallResult struct {
	Call       string    `json:"call"`
	RequestID  string    `json:"request_id,omitempty"`
	Attempts   int       `json:"attempts"`
	ServerTime time.Time `json:"server_time,omitzero"` // AWS's Date header
	ErrorCode  string    `json:"error_code,omitempty"`
	Error      string    `json:"error,omitempty"`
}

// CallCount sums the reads of a step: "ec2:DescribeInstances" to how many.
type CallCount struct {
	Reads map[string]int `json:"reads"`
}

// CleanRoom is an event in a clean room's life.
type CleanRoom struct {
	Event    string `json:"event"` // launching, launched, closing, closed
	Stack    string `json:"stack"` // ARN; empty while launching
	Name     string `json:"name"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	Instance string `json:"instance,omitempty"`
	// Instances are the examination instances, Instance the first of them. Each has its own copies.
	Instances []string          `json:"instances,omitempty"`
	Volumes   map[string]string `json:"volumes,omitempty"` // volume to the snapshot it was made from
	Items     map[string]string `json:"items,omitempty"`   // volume to the evidence item that it is a copy of
	// Label is what the playbook calls the room; empty: nothing.
	Label string `json:"label,omitempty"`
	// Parameters are those of the stack, as it was asked for: what the room may reach depends on them.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Facts are what the room's network was proven by once it was launched, for comparison later.
	Facts json.RawMessage `json:"facts,omitempty"`
	// Retained are resources, by logical name, that were left behind when the room was closed.
	Retained []string `json:"retained,omitempty"`
}

// Note is an observation, or why a case was closed.
type Note struct {
	Text string `json:"text"`
}

// Checkpoint is a signed note over the tree (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	Size     uint64 `json:"size"`
	Note     string `json:"note"`
	Location string `json:"location,omitempty"` // where it is anchored in the evidence store
}

// AnchorOwed: a checkpoint could not be put into the evidence bucket.
type AnchorOwed struct {
	Size   uint64 `json:"size"`
	Reason string `json:"reason"`
}

// ClockSet: the machine's clock no longer shows what it would have shown if it had run on since
// the entry before: somebody set it, or the machine slept. Times from here on are by the new setting.
type ClockSet struct {
	By float64 `json:"by_s"` // seconds; below zero: it was set back
}

func (c ClockSet) String() string {
	by := time.Duration(c.By * float64(time.Second)).Round(time.Millisecond)
	if by < 0 {
		return fmt.Sprintf("the machine's clock was set back by %s", -by)
	}
	return fmt.Sprintf("the machine's clock was set forward by %s, or the machine slept that long", by)
}

type stepKey struct{}

// StepRef says which step of which run a call belongs to.
type StepRef struct {
	Run, Step string
	Target    string
}

// WithStep marks ctx: calls made under it are journaled as the step's.
func WithStep(ctx context.Context, ref StepRef) context.Context {
	return context.WithValue(ctx, stepKey{}, ref)
}

// StepFrom returns what WithStep put in; the zero StepRef outside a step.
func StepFrom(ctx context.Context) StepRef {
	ref, _ := ctx.Value(stepKey{}).(StepRef)
	return ref
}
