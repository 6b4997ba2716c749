package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Action is one thing a playbook can do to a target.
type Action interface {
	// Spec never changes between calls.
	Spec() Spec
	// Plan reads AWS and returns the before-state and the changes Apply would
	// make. It MUST NOT change anything. It is called while planning
	// (Request.Planned is nil) and once more right before Apply.
	Plan(ctx context.Context, req Request) (Proposal, error)
	// Apply makes the changes. It MUST be convergent: called again after a
	// crash, a lost response or a half-done try it ends in the same state,
	// with no second snapshot, group, image or stack. It MUST work from
	// p.Before, never from a fresh read of what it restores later: after a
	// crash a fresh read may show our own isolation.
	Apply(ctx context.Context, req Request, p Proposal) (Result, error)
	// Verify proves from AWS that the effect is there. It MUST NOT change
	// anything. It returns *NotVerifiedError when it is not there.
	Verify(ctx context.Context, req Request, p Proposal, r Result) (Verification, error)
}

// Reverter is an Action that can be undone. Request is the one of the release,
// with Undo set to what the journal knows about the step being undone.
type Reverter interface {
	Action
	// PlanRevert reads AWS and returns what Revert would change (possibly
	// nothing). Where something else has changed what the step set since, it
	// returns *DriftError unless req.Undo.Force.
	PlanRevert(ctx context.Context, req Request) (Proposal, error)
	// Revert restores the before-state exactly, verifies it, and is
	// convergent. It copes with a step that was only half applied.
	Revert(ctx context.Context, req Request, p Proposal) (Result, error)
}

// Spec declares an action.
type Spec struct {
	Name        string   `json:"name"` // as in YAML: isolate.network
	Summary     string   `json:"summary"`
	Impact      Impact   `json:"impact"`
	Inputs      []Field  `json:"inputs,omitempty"`
	Outputs     []Field  `json:"outputs,omitempty"`
	Permissions []string `json:"permissions"` // IAM actions, service:Operation
	Example     string   `json:"example"`     // a step in YAML
	// Provides and MayRequire let the engine guard the order of work
	// (architecture.md, "Order"): a step that may require a capability must
	// come after a step of the same playbook that provides it, and a proposal
	// that does require it is refused without one.
	Provides   []Capability `json:"provides,omitempty"`
	MayRequire []Capability `json:"may_require,omitempty"`
	// Timeout bounds one try where the playbook names none.
	Timeout time.Duration `json:"timeout"`
	// TakesTurns: Apply takes Request.Turn around what it reads and writes of
	// what its steps share (Proposal.Shared), so that steps of several targets
	// need not wait for each other.
	TakesTurns bool `json:"-"`
}

// Capability is a fact about a target that a step brings about.
type Capability string

const (
	// LeftGroup: the instance is no longer InService in an Auto Scaling group.
	// Cutting the network before makes Auto Scaling terminate it.
	LeftGroup Capability = "left-group"
	// NetworkCut: the instance's network is cut and the cut is verified.
	NetworkCut Capability = "network-cut"
)

// FieldType is the type of an input or output.
type FieldType string

const (
	String  FieldType = "string"
	Integer FieldType = "integer"
	Boolean FieldType = "boolean"
	Strings FieldType = "strings" // a list of strings
	Object  FieldType = "object"  // outputs only
)

// Field is an input of an action or playbook, or an output of an action.
type Field struct {
	Name        string    `json:"name"`
	Type        FieldType `json:"type"`
	Description string    `json:"description,omitempty"`
	Required    bool      `json:"required,omitempty"`
	Default     any       `json:"default,omitempty"`
	Enum        []string  `json:"enum,omitempty"`
	// Late, of an action's input: what the step would change does not depend on
	// it, so that Plan MUST do without it while only the run can know it.
	Late bool `json:"late,omitempty"`
}

// Request is what an action is called with.
type Request struct {
	Case   Case
	Run    string
	Step   string
	Target Target
	Inputs map[string]any // checked against Spec.Inputs, defaults filled in
	// Token is the step's idempotency token: 32 hexadecimal digits, the same
	// on every try of this step in this run.
	Token string
	// Planned is the proposal that was approved; nil while planning and where
	// the step's inputs were not known then.
	Planned *Proposal
	// Resumed: an earlier try left no outcome, so what Apply creates may exist
	// already and the tag index may not show it yet.
	Resumed bool
	Undo    *Undo
	// Sharing are the targets of the same plan whose step names something that
	// this one names too (Proposal.Shared; in a release, what the steps being
	// undone named) and is still to come: neither done, nor failed, nor skipped.
	// It is empty while a playbook's run is planned: what steps share is not known yet.
	Sharing []Target
	Clock   Clock
	// Turn calls do while no other step of this process's run is in a turn of
	// the same key; those that wait get theirs in the order in which they came. It returns do's error, or
	// where ctx ends first, its cause. A turn MUST NOT be taken within another. Never nil.
	Turn     func(ctx context.Context, key string, do func() error) error
	Progress func(Progress) // never nil; not journaled
	// Record appends an entry on behalf of the step (evidence, custody,
	// progress that resume needs). It returns after the commit is on disk.
	Record func(ctx context.Context, kind EntryType, data any) error
	// Recorded are the data of the entries of this kind that earlier tries of
	// this step recorded, oldest first.
	Recorded func(kind EntryType) []json.RawMessage
}

// Decode fills v, a pointer to a struct with json tags, from the inputs.
func (r Request) Decode(v any) error {
	b, err := json.Marshal(r.Inputs)
	if err != nil {
		return fmt.Errorf("inputs of step %s: %w", r.Step, err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("inputs of step %s: %w", r.Step, err)
	}
	return nil
}

// Undo is what the journal knows about a step that is being undone.
type Undo struct {
	Run    string         `json:"run"`
	Step   string         `json:"step"`
	State  StepState      `json:"state"`
	Inputs map[string]any `json:"inputs,omitempty"`
	Token  string         `json:"token"` // of the step being undone
	// Proposal is the one of the step's first intent, which every later try
	// used too: its Before is what Revert restores.
	Proposal Proposal `json:"proposal"`
	Result   Result   `json:"result"` // zero where no try left one
	// Records are what the step's tries recorded (EntryStepRecord), oldest
	// first: what was found, or about to be set, only while it was applied.
	Records []json.RawMessage `json:"records,omitempty"`
	Force   bool              `json:"force"`
	// Held: another live step of the case, one that may be in effect still, names
	// something that this step names (Proposal.Shared). It is worked out anew
	// whenever the undo starts: the last step to be undone finds it false and
	// takes away what was shared. While planning it tells of the steps that the release leaves as
	// they are. What PlanRevert gives as changes MUST NOT depend on it: only the
	// run knows who comes last.
	Held bool `json:"held,omitempty"`
	// HeldNames are those of the names: a step may share one thing with one target
	// and another with none.
	HeldNames []string `json:"held_names,omitempty"`
}

// Proposal is what a step would do.
type Proposal struct {
	// Before is the action's own record of the state it will restore.
	Before  json.RawMessage `json:"before,omitempty"`
	Changes []Change        `json:"changes"`
	// Requires are the capabilities that must hold before this is applied.
	Requires []Capability `json:"requires,omitempty"`
	// Shared names what this step and those of other targets change together,
	// by ARN or another name that is unique in the case: the one deny policy of
	// a role, an Auto Scaling group's size. Steps of a run that name the same thing are never at work
	// at once, from the reading of their state before to their outcome, undone or done. Where
	// Spec.TakesTurns says so, steps of several targets that are done, not undone, are at work at
	// once all the same: what Plan reads of the shared thing may be another step's halfway, and
	// only what Apply reads and writes in a turn (Request.Turn) is its own.
	Shared []string `json:"shared,omitempty"`
	// Impact of these changes; never worse than Spec.Impact.
	Impact   Impact     `json:"impact"`
	Residual []Exposure `json:"residual,omitempty"` // expected after the step
	Cuts     []Cut      `json:"cuts,omitempty"`     // expected, path by path
	Notes    []string   `json:"notes,omitempty"`    // for the responder: who else is hit, capacity, cost
}

// Change is one attribute of one resource, before and after, in words that
// a responder reads. Changes are compared as text to tell whether what was
// approved still holds.
type Change struct {
	Resource string `json:"resource"` // eni-0123 (eth1)
	What     string `json:"what"`     // security groups
	Before   string `json:"before"`
	After    string `json:"after"`
}

// Exposure is something that can still pass, and why.
type Exposure struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Interface and Direction ("in", "out"; empty: both) where they are known.
	Interface string `json:"interface,omitempty"`
	Direction string `json:"direction,omitempty"`
	// IdleSeconds: connections open at the cut live on until nothing passes for
	// so long; 0 where that is not the limit. One that is in use has no limit.
	IdleSeconds int64 `json:"idle_s,omitempty"`
}

// Cut is what becomes of one path to or from the target: which measures bear on
// it, and whether connections that are open now end too.
type Cut struct {
	Path      string   `json:"path"`
	Interface string   `json:"interface,omitempty"`
	Kind      string   `json:"kind,omitempty"` // nat-gateway, other-subnet, …
	Measures  []string `json:"measures"`
	Cut       bool     `json:"cut"`
	Reason    string   `json:"reason,omitempty"`
	// Observed is what AWS shows after the cut that proves it.
	Observed string `json:"observed,omitempty"`
}

// Result is what a step left behind.
type Result struct {
	// Outputs are what later steps refer to as steps.ID.outputs.NAME.
	Outputs map[string]any `json:"outputs,omitempty"`
	// Applied is the action's own record of what it set: Revert tells drift by it.
	Applied json.RawMessage `json:"applied,omitempty"`
}

// Verification is what was observed, never what was assumed.
type Verification struct {
	Observed []string   `json:"observed,omitempty"`
	Residual []Exposure `json:"residual,omitempty"`
	Cuts     []Cut      `json:"cuts,omitempty"` // as read back, path by path
	// Outputs that only reading back could tell. They are added to Result.Outputs,
	// and journaled there.
	Outputs map[string]any `json:"-"`
}

// Progress of a long step: done of total, in Unit ("bytes", "snapshots").
type Progress struct {
	Run    string `json:"run,omitempty"`
	Step   string `json:"step"`
	Target string `json:"target,omitempty"`
	What   string `json:"what"`
	Done   int64  `json:"done"`
	Total  int64  `json:"total"` // 0: not known
	Unit   string `json:"unit"`
	// Unreached tells of the call What, which is being tried again; the other fields of the work are zero then.
	Unreached *Unreached `json:"unreached,omitempty"`
}

// Unreached: AWS does not answer a call, or answers that it can't.
type Unreached struct {
	Since    time.Time `json:"since"`    // of the first attempt without an answer
	Attempts int       `json:"attempts"` // so far
	Error    string    `json:"error,omitempty"`
	Over     bool      `json:"over,omitempty"` // it was answered, or given up
}

// NotVerifiedError: the effect of a step could not be observed.
type NotVerifiedError struct {
	Resource string
	Want     string
	Got      string
}

func (e *NotVerifiedError) Error() string {
	return fmt.Sprintf("%s: not verified: want %s, AWS shows %s", e.Resource, e.Want, e.Got)
}

// DriftError: something else has changed what a step set.
type DriftError struct {
	Differences []Drift
}

// Drift is a three-way difference on one attribute.
type Drift struct {
	Resource string `json:"resource"`
	What     string `json:"what"`
	Before   string `json:"before"` // what a release restores
	Set      string `json:"set"`    // by the step
	Now      string `json:"now"`
}

func (e *DriftError) Error() string {
	var b strings.Builder
	b.WriteString("changed by someone else since")
	for _, d := range e.Differences {
		fmt.Fprintf(&b, "\n  %s %s: before %s, we set %s, now %s", d.Resource, d.What, d.Before, d.Set, d.Now)
	}
	return b.String()
}

// HintError carries the next step for the responder; it prints as its cause.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }

// WithHint wraps err with what to do next. A nil err stays nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &HintError{Err: err, Hint: hint}
}

// RefusedError: the engine or an action will not do this; nothing was changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused: " + e.Reason }
