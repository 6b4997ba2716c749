package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// intruder uses, from outside, the credentials that an instance's metadata
// service handed out. Taking the profile away does not stop it: what was handed out stays
// valid until it expires, and while the profile is there and the shell answers
// it fetches fresh ones. Only a deny on the role that holds for its session does. aws-facts.md, "Credentials of the instance".
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
type intruder struct {
	Instance string    `json:"instance"`
	Role     string    `json:"role"`
	From     string    `json:"from"`   // address
	Issued   time.Time `json:"issued"` // its credentials
	Next     time.Time `json:"next"`   // call
	Last     time.Time `json:"last,omitzero"`
	Refused  int       `json:"refused"` // calls in a row
}

const (
	intruderPause   = 5 * time.Minute
	intruderPersist = 3                // refusals in a row before it gives up
	credentialsLife = 6 * time.Hour    // of an instance profile
	credentialsFrom = 30 * time.Minute // how old they are when it fetches fresh ones
)

// tick makes the intruder's next call; it shows in the event history.
func (i *intruder) tick(w *world) bool {
	if i == nil || i.Refused >= intruderPersist || w.Now.Before(i.Next) {
		return false
	}
	if w.Now.Sub(i.Issued) >= credentialsFrom && i.canFetch(w) {
		i.Issued = w.Now
	}
	i.Next = w.Now.Add(intruderPause)
	event := trailEvent{
		ID: w.uuid(), Time: w.Now.Truncate(time.Second), Region: w.Region, Source: "ssm.amazonaws.com", Name: "DescribeParameters", Read: true,
		By:   fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", w.Account, i.Role, i.Instance),
		From: i.From, Request: w.uuid(),
	}
	switch {
	case w.Now.Sub(i.Issued) >= credentialsLife:
		event.Code, event.Error = "ExpiredTokenException", "The security token included in the request is expired"
	case i.deniedBy(w):
		event.Code, event.Error = "AccessDenied", "User: "+event.By+" is not authorized to perform: ssm:DescribeParameters with an explicit deny in an identity-based policy"
	}
	if event.Code == "" {
		i.Last, i.Refused = w.Now, 0
		w.IAM.Roles[i.Role].Used = w.Now.Truncate(time.Second)
	} else {
		i.Refused++
	}
	w.Trail.Events = append(w.Trail.Events, event)
	return true
}

// canFetch: the shell answers and the metadata service has the role.
func (i *intruder) canFetch(w *world) bool {
	a := w.EC2.associationOf(i.Instance)
	if a == nil || !w.reachable(i.Instance) {
		return false
	}
	p := w.instanceProfile(a.Profile)
	return p != nil && slices.Contains(p.Roles, i.Role)
}

// deniedBy reports whether an inline policy of the role denies the call. It knows the
// keys that a revocation uses. Off the host ec2:SourceInstanceARN is taken to be absent, the worse case of
// two that no source decides between (aws-facts.md).
func (i *intruder) deniedBy(w *world) bool {
	r := w.IAM.Roles[i.Role]
	if r == nil {
		return true // its sessions end with it
	}
	session := map[string]string{
		"aws:tokenissuetime": i.Issued.UTC().Format(time.RFC3339),
		"aws:userid":         r.ID + ":" + i.Instance,
		"aws:sourceip":       i.From,
	}
	return denies(r.Inline, "ssm:DescribeParameters", session)
}

// denies reports whether one of the policies denies the action to a request with these condition keys.
func denies(policies map[string]string, action string, request map[string]string) bool {
	for _, name := range sortedKeys(policies) {
		statements, err := parsePolicy(policies[name])
		if err != nil {
			continue // IAM would not have taken it
		}
		for _, s := range statements {
			if s.Effect == "Deny" && s.covers(action) && s.holds(request) {
				return true
			}
		}
	}
	return false
}

func (s statement) covers(action string) bool {
	return slices.ContainsFunc(s.Action, func(p string) bool { return like(strings.ToLower(p), strings.ToLower(action)) })
}

// holds: all conditions, and of each any value. A key that the request has not
// makes its condition false; so does an operator that is not known here.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func (s statement) holds(session map[string]string) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			have, ok := session[strings.ToLower(key)]
			if !ok || !slices.ContainsFunc(values, func(v string) bool { return compare(operator, have, v) }) {
				return false
			}
		}
	}
	return true
}

func compare(operator, have, value string) bool {
	switch operator {
	case "StringEquals", "ArnEquals":
		return have == value
	case "StringLike", "ArnLike":
		return like(value, have)
	case "DateLessThan", "DateLessThanEquals":
		h, err1 := time.Parse(time.RFC3339, have)
		v, err2 := time.Parse(time.RFC3339, value)
		return err1 == nil && err2 == nil && (h.Before(v) || operator == "DateLessThanEquals" && h.Equal(v))
	default:
		return false
	}
}

// like: * is any text, ? one character.
func like(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return like(pattern[1:], s) || s != "" && like(pattern, s[1:])
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && like(pattern[1:], s[1:])
}

// String says how far the intruder gets.
func (i *intruder) String() string {
	return "stolen credentials of role " + i.Role + howFar(i.Last, i.Refused)
}

// howFar says whether what was stolen works: when last, and how often it was refused since.
func howFar(last time.Time, refused int) string {
	switch {
	case last.IsZero() && refused == 0:
		return " not used since the alert"
	case last.IsZero():
		return " refused since the alert"
	case refused > 0:
		return " last worked at " + last.Format(time.TimeOnly) + ", refused since"
	default:
		return " last worked at " + last.Format(time.TimeOnly)
	}
}
