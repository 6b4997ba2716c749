package cleanroom

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// resources are those that a policy's statements allow. A policy that this
// can't read is an error: it must not pass as narrow. No policy at all allows everything.
func resources(document string) ([]string, error) {
	if document == "" {
		return []string{"*"}, nil
	}
	if strings.HasPrefix(document, "%7B") {
		var err error
		if document, err = url.PathUnescape(document); err != nil {
			return nil, err
		}
	}
	var policy struct {
		Statement oneOrMore[struct {
			Effect      string
			Resource    oneOrMore[string]
			NotResource oneOrMore[string]
		}]
	}
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return nil, err
	}
	var all []string
	for _, s := range policy.Statement {
		switch {
		case s.Effect == "Deny":
		case s.Effect != "Allow":
			return nil, fmt.Errorf("a statement's effect is %q", s.Effect)
		case len(s.NotResource) > 0 || len(s.Resource) == 0:
			all = append(all, "*")
		default:
			all = append(all, s.Resource...)
		}
	}
	return all, nil
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
