package incident

import "time"

// RunKind tells a playbook's run from a release.
type RunKind string

const (
	KindRun     RunKind = "run"
	KindRelease RunKind = "release"
)

// Plan binds a playbook to a case and its targets, or names the steps a
// release undoes. It is data: the journal holds it whole.
type Plan struct {
	Case           string         `json:"case"`
	Kind           RunKind        `json:"kind"`
	Playbook       string         `json:"playbook"`
	PlaybookDigest string         `json:"playbook_digest,omitempty"`
	Targets        []Target       `json:"targets"`
	LeftOut        []LeftOut      `json:"left_out,omitempty"` // chosen, and not among Targets
	Inputs         map[string]any `json:"inputs,omitempty"`
	Without        []string       `json:"without,omitempty"` // steps that whoever planned it leaves out (Planner.Without)
	Steps          []StepPlan     `json:"steps"`             // target by target, in an order that respects Needs
	// Digest (sha256:…) covers everything above and, of each step, what is
	// approved: action, inputs or their expressions, changes, impact. It does not cover
	// before-states.
	Digest string `json:"digest"`
}

// StepPlan is one step for one target.
type StepPlan struct {
	ID     string `json:"id"`
	Target Target `json:"target"`
	Title  string `json:"title,omitempty"`
	Action string `json:"action"`
	// Needs are step IDs of the same target.
	Needs []string `json:"needs,omitempty"`
	// Inputs are the values known now; Deferred the expressions of those that
	// only the run can know, by input name.
	Inputs   map[string]any    `json:"inputs,omitempty"`
	Deferred map[string]string `json:"deferred,omitempty"`
	// When is the condition's source where only the run can decide it.
	When string `json:"when,omitempty"`
	Skip string `json:"skip,omitempty"` // why the step will be skipped, where that is known now
	// Chosen: it is skipped because somebody leaves it out, or a step whose outputs it takes.
	Chosen    bool          `json:"chosen,omitempty"`
	Impact    Impact        `json:"impact"`
	Asks      bool          `json:"asks"` // waits for an approval
	Timeout   time.Duration `json:"timeout"`
	OnFailure OnFailure     `json:"on_failure"`
	Provides  []Capability  `json:"provides,omitempty"`
	// Proposal is nil where it can be made only when the step starts: an input
	// that the changes depend on is deferred, the condition is open and the target can't be read for the step, or,
	// in a release, another step of the same action is undone first.
	Proposal *Proposal `json:"proposal,omitempty"`
	// Undo is set in a release.
	Undo *Undo `json:"undo,omitempty"`
}

// StepKey names a step of a target: unique in its run.
type StepKey struct {
	Target Target
	ID     string
}

// Key is the step's key.
func (s StepPlan) Key() StepKey { return StepKey{s.Target, s.ID} }

// String is step@account/region/instance.
func (k StepKey) String() string { return k.ID + "@" + k.Target.String() }
