package incident

import "time"

// Playbook is a parsed and checked playbook.
type Playbook struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Summary string  `json:"summary,omitempty"`
	Digest  string  `json:"digest"` // sha256:… of Source
	Source  string  `json:"-"`
	Inputs  []Field `json:"inputs,omitempty"`
	Steps   []Step  `json:"steps"` // in the order of the file
}

// Step is one use of an action in a playbook.
type Step struct {
	ID        string          `json:"id"`
	Title     string          `json:"title,omitempty"`
	Action    string          `json:"action"`
	Needs     []string        `json:"needs,omitempty"` // IDs; the graph's edges
	With      map[string]Expr `json:"with,omitempty"`
	When      *Expr           `json:"when,omitempty"` // nil: always
	Timeout   time.Duration   `json:"timeout"`        // zero: the action's
	OnFailure OnFailure       `json:"on_failure"`
	Approval  ApprovalRule    `json:"approval"`
	Line      int             `json:"-"` // in the file, from 1
}

// OnFailure says what a failed step means for the rest of its target's steps.
type OnFailure string

const (
	// Stop: no further step of this target is started.
	Stop OnFailure = "stop"
	// Continue: steps that need it run all the same.
	Continue OnFailure = "continue"
)

// ApprovalRule says when a step asks.
type ApprovalRule string

const (
	ApprovalAuto     ApprovalRule = "auto"     // where its impact is disruptive or irreversible
	ApprovalRequired ApprovalRule = "required" // always
	ApprovalNone     ApprovalRule = "none"     // never
)

// Expr is a value of a step's with, or its condition: a literal, or CEL inside
// ${{ }} compiled by package playbooks.
type Expr struct {
	Source string // as written
	// Refs are the IDs of the steps whose outputs or state it reads.
	Refs []string
	// Eval is pure and bounded. It fails where a reference has no value, unless the
	// result is the same with any: false && x.
	Eval func(Scope) (any, error)
}

// MarshalText writes the source: a playbook in JSON shows expressions as written.
func (e Expr) MarshalText() ([]byte, error) { return []byte(e.Source), nil }

// Scope is what an expression can see.
type Scope struct {
	Case   Case
	Target Target
	Inputs map[string]any       // the playbook's, defaults filled in
	Steps  map[string]StepScope // by step ID, of the same target
}

// StepScope is what an expression sees of another step: steps.ID.state and
// steps.ID.outputs.NAME.
type StepScope struct {
	State   string
	Outputs map[string]any
	LeftOut bool // somebody left it out: no expression sees that
}
