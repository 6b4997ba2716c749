package triage

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Instance is one line of the inventory. Its JSON is that of cordon inventory (docs/cli.md).
type Instance struct {
	Account  string            `json:"account"`
	Region   string            `json:"region"`
	ID       string            `json:"instance"`
	Name     string            `json:"name,omitempty"` // its tag Name
	State    string            `json:"state"`          // as EC2 has it
	Type     string            `json:"type"`
	Owner    string            `json:"owner,omitempty"` // its tag that Names.Owner names
	Private  []string          `json:"private_ips,omitempty"`
	Public   []string          `json:"public_ips,omitempty"`
	IPv6     []string          `json:"ipv6,omitempty"`
	VPC      string            `json:"vpc,omitempty"`
	Subnet   string            `json:"subnet,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Group    string            `json:"group,omitempty"` // the Auto Scaling group's name
	Launched time.Time         `json:"launched"`        // the last start
	Tags     map[string]string `json:"tags,omitempty"`
}

// Names are the keys of the tags that say whose an instance is, and what it holds. Keys are
// compared as AWS does: case counts.
type Names struct {
	Owner, Queue, Classification, Criticality, Environment string
}

// Usual are the keys where the configuration names none.
var Usual = Names{Owner: "owner", Queue: "queue", Classification: "data-classification", Criticality: "criticality", Environment: "environment"}

// Or fills in what is empty.
func (n Names) Or(other Names) Names {
	or := func(a *string, b string) {
		if *a == "" {
			*a = b
		}
	}
	or(&n.Owner, other.Owner)
	or(&n.Queue, other.Queue)
	or(&n.Classification, other.Classification)
	or(&n.Criticality, other.Criticality)
	or(&n.Environment, other.Environment)
	return n
}

// Search is what somebody looks for: every word must be found.
type Search []string

// NewSearch splits what somebody typed into words. Case does not count.
func NewSearch(typed ...string) Search {
	return strings.Fields(strings.ToLower(strings.Join(typed, " ")))
}

// Finds reports whether every word is somewhere in the text of an instance.
func (s Search) Finds(text string) bool {
	return !slices.ContainsFunc(s, func(word string) bool { return !strings.Contains(text, word) })
}

// Text is what a Search looks through: ID, name, state, type, addresses, place, group and tags
// (key=value), in lower case, a line each. Make it once: a search runs at every key.
func (i Instance) Text() string {
	lines := []string{i.ID, i.Name, i.State, i.Type, i.VPC, i.Subnet, i.Zone, i.Group}
	lines = append(lines, slices.Concat(i.Private, i.Public, i.IPv6)...)
	for _, k := range slices.Sorted(maps.Keys(i.Tags)) {
		lines = append(lines, k+"="+i.Tags[k])
	}
	return strings.ToLower(strings.Join(lines, "\n"))
}
