package isolate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// inlineLimit is the size of all inline policies of a role together; IAM
	// does not count white space ("IAM and AWS STS quotas").
	inlineLimit = 10240
	// nameLimit is the length of a policy's name ("PutRolePolicy").
	nameLimit = 128
)

// denial says whose requests an inline policy of the role denies.
type denial struct {
	Instance     string    // ARN
	Session      string    // ROLE-ID:INSTANCE-ID, the aws:userid of the instance's sessions
	IssuedBefore time.Time // zero: not by time
}

type statement struct {
	Sid       string
	Effect    string
	Action    string
	Resource  string
	Condition map[string]map[string]string
}

func deny(sid, operator, key, value string) statement {
	return statement{Sid: sid, Effect: "Deny", Action: "*", Resource: "*", Condition: map[string]map[string]string{operator: {key: value}}}
}

// document is the policy: the same denial gives the same bytes.
//
// aws-facts: ec2:SourceInstanceARN is part of instance-profile sessions, but
// whether it is off the host as well is unproven; aws:userid holds anywhere.
func (d denial) document() (string, error) {
	doc := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{
		deny("CordonInstance", "ArnEquals", "ec2:SourceInstanceARN", d.Instance),
		deny("CordonSession", "StringEquals", "aws:userid", d.Session),
	}}
	if !d.IssuedBefore.IsZero() {
		doc.Statement = append(doc.Statement, deny("CordonIssuedBefore", "DateLessThan", "aws:TokenIssueTime", d.IssuedBefore.UTC().Format(time.RFC3339)))
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("deny policy: %w", err)
	}
	return string(b), nil
}

// policyName is cordon-CASE-INSTANCE in the characters that IAM takes. Where
// the case's ID has to be changed or cut, a digest keeps two cases apart.
func policyName(caseID, instance string) string {
	clean := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_+=,.@-", r)) {
			return r
		}
		return '-'
	}, caseID)
	room := nameLimit - len("cordon--") - len(instance)
	if clean != caseID || len(clean) > room {
		sum := sha256.Sum256([]byte(caseID))
		digest := "-" + hex.EncodeToString(sum[:4])
		clean = clean[:min(len(clean), room-len(digest))] + digest
	}
	return "cordon-" + clean + "-" + instance
}

// policyWords tells policies apart in a change or drift.
func policyWords(document *string, g grant) string {
	switch {
	case document == nil:
		return "none"
	case *document == g.Document:
		return "cordon's deny"
	default:
		sum := sha256.Sum256([]byte(*document))
		return "another document (SHA-256 " + hex.EncodeToString(sum[:4]) + "…)"
	}
}

// editable refuses roles that AWS does not let anyone edit.
func editable(role iamtypes.Role) error {
	name, path := aws.ToString(role.RoleName), aws.ToString(role.Path)
	switch {
	case strings.HasPrefix(path, "/aws-service-role/"):
		return incident.WithHint(&incident.RefusedError{Reason: "role " + name + " is service-linked: its policies can't be edited"},
			"skip this step and cut the network; AWS Support or the linked service can revoke the role")
	case strings.HasPrefix(path, "/aws-reserved/sso.amazonaws.com/"):
		return incident.WithHint(&incident.RefusedError{Reason: "role " + name + " belongs to IAM Identity Center: its policies can't be edited here"},
			"revoke it in Identity Center (the permission set's inline policy, or a service control policy)")
	}
	return nil
}

// fits reads what the role has under our policy's name, and refuses where the
// role's inline policies would be too large together.
func (s *session) fits(ctx context.Context, g *grant) error {
	size := counted(g.Document)
	pages := iam.NewListRolePoliciesPaginator(s.iam, &iam.ListRolePoliciesInput{RoleName: aws.String(g.Role)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("inline policies of role %s: %w", g.Role, err)
		}
		for _, name := range page.PolicyNames {
			doc, err := s.policy(ctx, g.Role, name)
			if err != nil {
				return err
			}
			if name == g.Policy {
				g.Previous = doc
			} else if doc != nil {
				size += counted(*doc)
			}
		}
	}
	if size > inlineLimit {
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"the inline policies of role %s would be %d characters together, %d are allowed", g.Role, size, inlineLimit)},
			"move one of the role's inline policies into a managed one, and plan again")
	}
	return nil
}

func counted(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// policy returns an inline policy's document; nil where there is none.
func (s *session) policy(ctx context.Context, role, name string) (*string, error) {
	out, err := s.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(name)})
	if hasCode(err, "NoSuchEntity") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inline policy %s of role %s: %w", name, role, err)
	}
	// The document comes URL-encoded by RFC 3986 ("GetRolePolicy").
	doc, err := url.PathUnescape(aws.ToString(out.PolicyDocument))
	if err != nil {
		return nil, fmt.Errorf("inline policy %s of role %s: %w", name, role, err)
	}
	return &doc, nil
}

func (s *session) putPolicy(ctx context.Context, g grant, document string) error {
	_, err := s.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(g.Role), PolicyName: aws.String(g.Policy), PolicyDocument: aws.String(document),
	})
	if err != nil {
		return fmt.Errorf("put inline policy %s on role %s: %w", g.Policy, g.Role, err)
	}
	return nil
}

// restorePolicy puts back what the role had under our policy's name, mostly nothing.
func (s *session) restorePolicy(ctx context.Context, clock incident.Clock, g grant) error {
	now, err := s.policy(ctx, g.Role, g.Policy)
	if err != nil {
		return err
	}
	if same(now, g.Previous) {
		return nil
	}
	if g.Previous != nil {
		err = s.putPolicy(ctx, g, *g.Previous)
	} else if _, err = s.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(g.Role), PolicyName: aws.String(g.Policy)}); hasCode(err, "NoSuchEntity") {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("delete inline policy %s of role %s: %w", g.Policy, g.Role, err)
	}
	if err != nil {
		return err
	}
	what := fmt.Sprintf("inline policy %s of role %s to be what it was", g.Policy, g.Role)
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		now, err := s.policy(ctx, g.Role, g.Policy)
		return same(now, g.Previous), err
	})
}

func same(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}
