package incident

import (
	"fmt"
	"strings"
	"time"
)

// Case is one incident. Its journal's first entry carries it whole.
type Case struct {
	ID       string    `json:"id"`
	Title    string    `json:"title,omitempty"`
	Severity string    `json:"severity,omitempty"`
	Ticket   string    `json:"ticket,omitempty"`
	Lead     string    `json:"lead,omitempty"`
	Opened   time.Time `json:"opened"`
	// Rehearsal marks a case opened in a simulated account. Such a case can
	// never be used against a real one, nor the other way round.
	Rehearsal bool `json:"rehearsal"`
	// PublicKey is the note verifier key of the journal's checkpoints
	// (c2sp.org/signed-note).
	PublicKey string `json:"public_key,omitempty"`
	// Retention of the case's evidence, where it is another than the configuration's.
	Retention Retention `json:"retention,omitzero"`
}

// Retention is how long evidence is kept from deletion. What is zero is the
// configuration's.
type Retention struct {
	Mode string `json:"mode,omitempty"` // governance or compliance
	Days int    `json:"days,omitempty"`
	Hold bool   `json:"hold,omitempty"` // a legal hold on every object
}

// Target is one instance that a playbook works on.
type Target struct {
	Account  string `json:"account"`
	Region   string `json:"region"`
	Instance string `json:"instance"`
}

// String is the target's one spelling, in entries, flags and screens:
// account/region/instance.
func (t Target) String() string {
	return t.Account + "/" + t.Region + "/" + t.Instance
}

// ParseTarget reads what String wrote.
func ParseTarget(s string) (Target, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Target{}, fmt.Errorf("target %q: want account/region/instance", s)
	}
	return Target{Account: parts[0], Region: parts[1], Instance: parts[2]}, nil
}
