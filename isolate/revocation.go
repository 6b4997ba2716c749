package isolate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// revocation is what one of cordon's deny policies denies: the sessions of
// these instances, or every session issued before a time. A case has one such
// policy for each on a principal; the steps of the case extend and shrink it.
type revocation struct {
	Instances []string  // IDs, sorted
	Before    time.Time // whole seconds, as AWS compares them; zero: not by time
}

// The names of the two policies, behind the case's ID.
const (
	policyInstances = "instances"
	policySessions  = "sessions"
)

type statement struct {
	Sid       string
	Effect    string
	Action    string
	Resource  string
	Condition map[string]map[string][]string
}

func deny(sid, operator, key string, values []string) statement {
	return statement{Sid: sid, Effect: "Deny", Action: "*", Resource: "*", Condition: map[string]map[string][]string{operator: {key: values}}}
}

const (
	sidInstances = "CordonInstances"
	sidSessions  = "CordonSessions"
	sidBefore    = "CordonIssuedBefore"
)

// Patterns that end with an instance's ID, which is unique. They stand on the
// role, so the rest can only be the role's own, and every character counts.
const (
	instancePattern = "arn:*:ec2:*:*:instance/"
	sessionPattern  = "*:" // ROLE-ID:INSTANCE-ID ("IAM policy elements: Variables": aws:userid of a role assigned to an instance)
)

// document is the policy: the same revocation and room give the same bytes.
//
// aws-facts: ec2:SourceInstanceARN is part of instance-profile sessions, but
// whether it is off the host as well is unproven; aws:userid holds anywhere.
// Where both have no room, aws:userid stands alone.
func (r revocation) document(room int) string {
	full := r.encode(true)
	if counted(full) <= room {
		return full
	}
	return r.encode(false)
}

func (r revocation) encode(both bool) string {
	doc := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	with := func(prefix string) []string {
		all := make([]string, len(r.Instances))
		for i, id := range r.Instances {
			all[i] = prefix + id
		}
		return all
	}
	if len(r.Instances) > 0 && both {
		doc.Statement = append(doc.Statement, deny(sidInstances, "ArnLike", "ec2:SourceInstanceARN", with(instancePattern)))
	}
	if len(r.Instances) > 0 {
		doc.Statement = append(doc.Statement, deny(sidSessions, "StringLike", "aws:userid", with(sessionPattern)))
	}
	if !r.Before.IsZero() {
		doc.Statement = append(doc.Statement, deny(sidBefore, "DateLessThan", "aws:TokenIssueTime", []string{r.Before.UTC().Format(time.RFC3339)}))
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic("isolate: " + err.Error()) // maps and strings
	}
	return string(b)
}

// smallest is the least that a deny of so many instances takes.
func smallest(instances int) int {
	one := "i-0123456789abcdef0"
	return counted(revocation{Instances: slices.Repeat([]string{one}, instances)}.encode(false))
}

// sizeOfTime is what a deny by time takes.
var sizeOfTime = counted(revocation{Before: time.Unix(0, 0)}.encode(false))

// empty: nothing is denied, the policy is not needed.
func (r revocation) empty() bool { return len(r.Instances) == 0 && r.Before.IsZero() }

func (r revocation) denies(instance string) bool { return slices.Contains(r.Instances, instance) }

func (r revocation) with(instance string) revocation {
	if !r.denies(instance) {
		r.Instances = append(slices.Clone(r.Instances), instance)
		slices.Sort(r.Instances)
	}
	return r
}

func (r revocation) without(instance string) revocation {
	r.Instances = slices.DeleteFunc(slices.Clone(r.Instances), func(id string) bool { return id == instance })
	return r
}

// since moves the time forward, never back: what another step of the case
// denied stays denied.
func (r revocation) since(t time.Time) revocation {
	if t.After(r.Before) {
		r.Before = t
	}
	return r
}

// wholeSecond is the next one: a token issued within this second is issued
// before it ("DateLessThan" on times of whole seconds).
func wholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second).Add(time.Second) }

// parseRevocation reads what document wrote; nil is none. Anything else under
// the policy's name is an error: it is not ours to rewrite.
func parseRevocation(document *string) (revocation, error) {
	var r revocation
	if document == nil {
		return r, nil
	}
	var doc struct{ Statement []statement }
	if err := json.Unmarshal([]byte(*document), &doc); err != nil {
		return r, foreign(*document)
	}
	for _, s := range doc.Statement {
		for _, value := range s.Condition["StringLike"]["aws:userid"] {
			r.Instances = append(r.Instances, strings.TrimPrefix(value, sessionPattern))
		}
		for _, value := range s.Condition["DateLessThan"]["aws:TokenIssueTime"] {
			r.Before, _ = time.Parse(time.RFC3339, value)
		}
	}
	if *document != r.encode(true) && *document != r.encode(false) {
		return revocation{}, foreign(*document)
	}
	return r, nil
}

// foreignError: a policy that someone else wrote, or changed.
type foreignError struct{ digest string }

func foreign(document string) error { return foreignError{shortDigest(document)} }

func (e foreignError) Error() string { return "another document (SHA-256 " + e.digest + "…)" }

// says tells what the policy denies, as it was read.
func (r revocation) says(instance string) string {
	if !r.Before.IsZero() {
		return "denies everything to sessions issued before " + r.Before.UTC().Format(time.RFC3339)
	}
	text := "denies everything to sessions of " + instance
	if others := len(r.without(instance).Instances); others > 0 {
		text += fmt.Sprintf(", and of %d other instances", others)
	}
	return text
}

// shown is what a policy denies where it is not what was put.
func (r revocation) shown(err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r.Before.IsZero():
		return "no deny by time"
	default:
		return r.says("")
	}
}
