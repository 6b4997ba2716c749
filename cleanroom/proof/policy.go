package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// policy is one of IAM's, as far as it matters here.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type policy struct {
	Statement oneOrMore[statement]
}

type statement struct {
	Effect       string
	Principal    any
	NotPrincipal any
	Action       oneOrMore[string]
	NotAction    oneOrMore[string]
	Resource     oneOrMore[string]
	NotResource  oneOrMore[string]
	Condition    map[string]map[string]oneOrMore[any]
}

// parsePolicy fails on what it can't read: it must not pass as narrow. IAM gives
// documents URL-encoded.
func parsePolicy(document string) (policy, error) {
	var p policy
	if strings.HasPrefix(document, "%7B") {
		var err error
		if document, err = url.PathUnescape(document); err != nil {
			return p, err
		}
	}
	if err := json.Unmarshal([]byte(document), &p); err != nil {
		return p, err
	}
	if len(p.Statement) == 0 {
		return p, errors.New("it has no statement")
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return p, fmt.Errorf("a statement's effect is %q", s.Effect)
		}
	}
	return p, nil
}

// oneOrMore is an element that IAM lets be written without its list.
type oneOrMore[T any] []T

// UnmarshalJSON takes one value or a list of them.
func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), "[") {
		return json.Unmarshal(b, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = []T{one}
	return nil
}

// beyond lists what a statement allows that no permission covers. Conditions
// only narrow, so that leaving them aside errs on the safe side; so does leaving aside what is denied.
func (s statement) beyond(allowed []Permission) (more []string) {
	if s.Effect == "Deny" {
		return nil
	}
	actions, resources := []string(s.Action), []string(s.Resource)
	if len(actions) == 0 || len(s.NotAction) > 0 {
		actions = []string{"*"}
	}
	if len(resources) == 0 || len(s.NotResource) > 0 {
		resources = []string{"*"}
	}
	for _, r := range resources {
		var open []string
		for _, a := range actions {
			covered := slices.ContainsFunc(allowed, func(p Permission) bool {
				return within(strings.ToLower(a), p.Actions, strings.ToLower) && within(r, p.Resources, nil)
			})
			if !covered {
				open = append(open, a)
			}
		}
		if len(open) > 0 {
			more = append(more, strings.Join(open, ", ")+" on "+r)
		}
	}
	return more
}

// within reports whether one of the patterns covers all that s, itself a pattern, can stand for.
func within(s string, patterns []string, fold func(string) string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if fold != nil {
			p = fold(p)
		}
		return covers(p, s)
	})
}

// covers reports whether pattern matches everything that s matches: * any
// characters, ? one. Wildcards of s are taken as characters that only the pattern's
// own wildcards match, which says no in a few cases where the answer is yes.
func covers(pattern, s string) bool {
	for pattern != "" {
		switch {
		case pattern[0] == '*':
			for i := range len(s) + 1 {
				if covers(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case s == "", pattern[0] == '?' && s[0] == '*', pattern[0] != '?' && pattern[0] != s[0]:
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// anyone reports whether a statement lets principals through that are not the
// room's account's: somebody who brings credentials of an account of their own into the room.
func (s statement) anyone(account string, roles []Role) bool {
	ours := func(p string) bool {
		return p == account || accountOf(p) == account || slices.ContainsFunc(roles, func(r Role) bool { return r.ARN == p })
	}
	for operator, keys := range s.Condition {
		if !strings.HasPrefix(operator, "StringEquals") && !strings.HasPrefix(operator, "StringLike") && !strings.HasPrefix(operator, "ArnEquals") && !strings.HasPrefix(operator, "ArnLike") ||
			strings.HasSuffix(operator, "IfExists") {
			continue
		}
		for key, values := range keys {
			switch strings.ToLower(key) {
			case "aws:principalarn", "aws:principalaccount":
				if allOf(values, ours) {
					return false
				}
			}
		}
	}
	if s.NotPrincipal != nil {
		return true
	}
	m, ok := s.Principal.(map[string]any)
	if !ok || len(m) != 1 {
		return true // "*", or none
	}
	switch p := m["AWS"].(type) {
	case string:
		return !ours(p)
	case []any:
		return !allOf(p, ours)
	}
	return true
}

// elsewhere reports whether a resource may be another account's: its ARN names
// neither a bucket, whose name is one of a kind, nor the room's account.
func (s statement) elsewhere(account string) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if operator == "StringEquals" && strings.EqualFold(key, "aws:ResourceAccount") && allOf(values, func(v string) bool { return v == account }) {
				return false
			}
		}
	}
	if len(s.Resource) == 0 || len(s.NotResource) > 0 {
		return true
	}
	return slices.ContainsFunc(s.Resource, func(r string) bool {
		if part := arn(r); part != nil && part[2] == "s3" {
			bucket, _, _ := strings.Cut(part[5], "/")
			return bucket == "" || strings.ContainsAny(bucket, "*?$")
		}
		return accountOf(r) != account
	})
}

// arn splits arn:partition:service:region:account:resource; nil where s is none, or a
// wildcard before the account could stand for another one.
func arn(s string) []string {
	part := strings.SplitN(s, ":", 6)
	if len(part) != 6 || part[0] != "arn" || strings.ContainsAny(part[1]+part[2]+part[3], "*?") {
		return nil
	}
	return part
}

func accountOf(s string) string {
	if part := arn(s); part != nil {
		return part[4]
	}
	return ""
}

func allOf(values []any, ok func(string) bool) bool {
	for _, v := range values {
		if text, is := v.(string); !is || !ok(text) {
			return false
		}
	}
	return len(values) > 0
}

// compact is a document in the one spelling in which it can be compared; what can't
// be read stays as it is.
func compact(document string) string {
	if strings.HasPrefix(document, "%7B") {
		if decoded, err := url.PathUnescape(document); err == nil {
			document = decoded
		}
	}
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		return orNone(document)
	}
	return compactJSON(v)
}

func compactJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
