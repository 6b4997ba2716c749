package incident

import "fmt"

// Impact says what a step does to the service and the evidence. Later values
// are worse.
type Impact int

const (
	ReadOnly     Impact = iota // changes nothing
	Additive                   // creates something new beside what is there
	Disruptive                 // changes what the service relies on; can be undone
	Irreversible               // can't be undone
)

var impactNames = [...]string{"read-only", "additive", "disruptive", "irreversible"}

// String panics on an unknown value: an impact nobody named must not pass as harmless.
func (i Impact) String() string { return impactNames[i] }

// MarshalText writes the impact's name.
func (i Impact) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (i *Impact) UnmarshalText(b []byte) error {
	for n, name := range impactNames {
		if name == string(b) {
			*i = Impact(n)
			return nil
		}
	}
	return fmt.Errorf("unknown impact %q", b)
}

// StepState is where a step stands.
type StepState int

const (
	Pending   StepState = iota
	Waiting             // for an approval
	Running             // an intent is journaled; its holder is alive
	Succeeded           // applied and verified
	Failed
	Skipped  // its condition was false, it was not approved, or what it needs failed
	Reverted // undone by a release
	Unknown  // an intent without an outcome: it may or may not have happened
)

var stateNames = [...]string{"pending", "waiting", "running", "succeeded", "failed", "skipped", "reverted", "unknown"}

// String panics on an unknown value.
func (s StepState) String() string { return stateNames[s] }

// MarshalText writes the state's name.
func (s StepState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *StepState) UnmarshalText(b []byte) error {
	for n, name := range stateNames {
		if name == string(b) {
			*s = StepState(n)
			return nil
		}
	}
	return fmt.Errorf("unknown step state %q", b)
}

// Outcome is how a run ended. The values are those of the summary's JSON.
type Outcome string

const (
	OutcomeSucceeded   Outcome = "succeeded"
	OutcomeFailed      Outcome = "failed"      // a step failed or is unknown, which is resumable; or a target was left out
	OutcomeInterrupted Outcome = "interrupted" // resumable
	OutcomeRefused     Outcome = "refused"     // nothing was changed
	OutcomeLeftOut     Outcome = "left-out"    // of a target only: Plan.LeftOut
)
