package isolate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// The size of all inline policies together; IAM does not count white space
	// ("IAM and AWS STS quotas").
	roleLimit = 10240
	userLimit = 2048
	// nameLimit is the length of a policy's name ("PutRolePolicy").
	nameLimit = 128
)

// principal is a role or a user, whose inline policies IAM has operations of
// their own for.
type principal struct {
	iam     *iam.Client
	account string
	user    bool // otherwise a role
	name    string
}

func (p principal) String() string {
	if p.user {
		return "user " + p.name
	}
	return "role " + p.name
}

// limit is the size of the principal's inline policies together.
func (p principal) limit() int {
	if p.user {
		return userLimit
	}
	return roleLimit
}

// names lists the principal's inline policies.
func (p principal) names(ctx context.Context) ([]string, error) {
	var all []string
	var marker *string
	for {
		var page []string
		var err error
		if page, marker, err = p.page(ctx, marker); err != nil {
			return nil, fmt.Errorf("inline policies of %s: %w", p, err)
		}
		if all = append(all, page...); marker == nil {
			return all, nil
		}
	}
}

func (p principal) page(ctx context.Context, marker *string) (names []string, next *string, err error) {
	if p.user {
		out, err := p.iam.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &p.name, Marker: marker})
		if err != nil {
			return nil, nil, err
		}
		return out.PolicyNames, out.Marker, nil
	}
	out, err := p.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &p.name, Marker: marker})
	if err != nil {
		return nil, nil, err
	}
	return out.PolicyNames, out.Marker, nil
}

// policy returns an inline policy's document; nil where there is none, or no
// such principal any more.
func (p principal) policy(ctx context.Context, name string) (*string, error) {
	encoded, err := p.encoded(ctx, name)
	if hasCode(err, "NoSuchEntity") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inline policy %s of %s: %w", name, p, err)
	}
	// The document comes URL-encoded by RFC 3986 ("GetRolePolicy").
	doc, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, fmt.Errorf("inline policy %s of %s: %w", name, p, err)
	}
	return &doc, nil
}

func (p principal) encoded(ctx context.Context, name string) (string, error) {
	if p.user {
		out, err := p.iam.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &p.name, PolicyName: &name})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.PolicyDocument), nil
	}
	out, err := p.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &p.name, PolicyName: &name})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.PolicyDocument), nil
}

func (p principal) put(ctx context.Context, name, document string) (err error) {
	if p.user {
		_, err = p.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &p.name, PolicyName: &name, PolicyDocument: &document})
	} else {
		_, err = p.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &p.name, PolicyName: &name, PolicyDocument: &document})
	}
	if err != nil {
		err = fmt.Errorf("put inline policy %s on %s: %w", name, p, err)
	}
	if hasCode(err, "LimitExceeded") {
		err = incident.WithHint(err, "another inline policy has taken the room since this was planned: move one into a managed policy, and resume")
	}
	return err
}

// remove takes an inline policy away and waits until AWS no longer shows it.
func (p principal) remove(ctx context.Context, clock incident.Clock, name string) (err error) {
	if p.user {
		_, err = p.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &p.name, PolicyName: &name})
	} else {
		_, err = p.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &p.name, PolicyName: &name})
	}
	if err != nil && !hasCode(err, "NoSuchEntity") {
		return fmt.Errorf("delete inline policy %s of %s: %w", name, p, err)
	}
	what := fmt.Sprintf("inline policy %s of %s to be gone", name, p)
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		now, err := p.policy(ctx, name)
		return now == nil, err
	})
}

// others is the size of all inline policies but this one, and that one's document.
func (p principal) others(ctx context.Context, except string) (size int, document *string, err error) {
	names, err := p.names(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, name := range names {
		doc, err := p.policy(ctx, name)
		if err != nil {
			return 0, nil, err
		}
		if name == except {
			document = doc
		} else if doc != nil {
			size += counted(*doc)
		}
	}
	return size, document, nil
}

// tooLarge refuses a deny for which the principal's inline policies leave no room.
func (p principal) tooLarge(others, size int, hint string) error {
	if others+size <= p.limit() {
		return nil
	}
	return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
		"the inline policies of %s would be %d characters together, %d are allowed: the deny has %d, the others %d",
		p, others+size, p.limit(), size, others)}, hint)
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

// policyName is cordon-CASE-WHAT in the characters that IAM takes. Where the
// case's ID has to be changed or cut, a digest keeps two cases apart.
func policyName(caseID, what string) string {
	clean := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_+=,.@-", r)) {
			return r
		}
		return '-'
	}, caseID)
	room := nameLimit - len("cordon--") - len(what)
	if clean != caseID || len(clean) > room {
		digest := "-" + shortDigest(caseID)
		clean = clean[:min(len(clean), room-len(digest))] + digest
	}
	return "cordon-" + clean + "-" + what
}

// shortDigest tells texts apart for a reader: 8 hexadecimal digits of the SHA-256.
func shortDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
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
