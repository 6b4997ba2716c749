package isolate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// quarantine finds the quarantine profile by its name or ARN, and notes what its role may do.
func (s *session) quarantine(ctx context.Context, p *incident.Proposal, t incident.Target, given string) (string, error) {
	refuse := func(reason string) error {
		return incident.WithHint(&incident.RefusedError{Reason: "quarantine profile " + given + ": " + reason},
			"give the name of an instance profile of account "+t.Account+" whose role may do what live response needs, and no more")
	}
	if a, err := arn.Parse(given); err == nil && (a.AccountID != t.Account || !strings.HasPrefix(a.Resource, "instance-profile/")) {
		return "", refuse("it is no instance profile of this account")
	}
	out, err := s.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(profileName(given))})
	if hasCode(err, "NoSuchEntity") || err == nil && strings.HasPrefix(given, "arn:") && aws.ToString(out.InstanceProfile.Arn) != given {
		return "", refuse("there is no such instance profile")
	}
	if err != nil {
		return "", fmt.Errorf("quarantine profile %s: %w", given, err)
	}
	found := aws.ToString(out.InstanceProfile.Arn)
	if len(out.InstanceProfile.Roles) == 0 {
		p.Notes = append(p.Notes, "quarantine profile "+profileName(found)+" holds no role: the instance gets no credentials")
		return found, nil
	}
	role := out.InstanceProfile.Roles[0]
	may, err := s.mayDo(ctx, role)
	if err != nil {
		return "", err
	}
	p.Notes = append(p.Notes, fmt.Sprintf("quarantine profile %s: its role %s %s; whoever is on the instance can do the same", profileName(found), aws.ToString(role.RoleName), may))
	return found, nil
}

// mayDo names a role's policies.
func (s *session) mayDo(ctx context.Context, role iamtypes.Role) (string, error) {
	var all []string
	pages := iam.NewListAttachedRolePoliciesPaginator(s.iam, &iam.ListAttachedRolePoliciesInput{RoleName: role.RoleName})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("policies of role %s: %w", aws.ToString(role.RoleName), err)
		}
		for _, a := range page.AttachedPolicies {
			all = append(all, aws.ToString(a.PolicyName))
		}
	}
	inline, err := s.role(aws.ToString(role.RoleName)).names(ctx)
	if err != nil {
		return "", err
	}
	for _, name := range inline {
		all = append(all, name+" (inline)")
	}
	if len(all) == 0 {
		return "has no policy", nil
	}
	slices.Sort(all)
	return "has the policies " + strings.Join(all, ", "), nil
}

// differs refuses a quarantine profile that would leave the instance the
// credentials it has.
func (s *session) differs(ctx context.Context, g *grant, role *iamtypes.Role) error {
	if g.Quarantine == "" {
		return nil
	}
	reason := ""
	if g.Quarantine == g.Profile {
		reason = fmt.Sprintf("%s has it already", s.name())
	} else if role != nil {
		other, err := s.roleOf(ctx, g.Quarantine)
		if err != nil {
			return err
		}
		if other != nil && aws.ToString(other.RoleName) == aws.ToString(role.RoleName) {
			reason = fmt.Sprintf("it holds role %s, as the profile that it would replace", aws.ToString(role.RoleName))
		}
	}
	if reason == "" {
		return nil
	}
	return incident.WithHint(&incident.RefusedError{Reason: "quarantine profile " + profileName(g.Quarantine) + ": " + reason},
		"give another profile; where an earlier run put it there, release that run first or leave this step out")
}

// noteOthers says who else uses the role, as far as it can be read: all of
// them where their sessions are denied too.
func (s *session) noteOthers(ctx context.Context, p *incident.Proposal, g grant, role iamtypes.Role) error {
	profiles := []string{g.Profile}
	if g.byTime() {
		var err error
		if profiles, err = s.profilesOf(ctx, g.Role); err != nil {
			return err
		}
	}
	all, err := s.associations(ctx)
	if err != nil {
		return err
	}
	for _, profile := range profiles {
		n := 0
		for _, a := range all {
			if profileARN(a) == profile && aws.ToString(a.InstanceId) != s.instance {
				n++
			}
		}
		p.Notes = append(p.Notes, fmt.Sprintf("%d other instances in this Region use instance profile %s; the role may have further users", n, profileName(profile)))
	}
	if !g.byTime() {
		return nil
	}
	// "Retrieve security credentials from instance metadata": new ones appear
	// some minutes before the old ones expire, which is after hours.
	p.Notes = append(p.Notes, "other instances are denied until their metadata service has newer credentials, which can take hours; one that is stopped and started has them at once")
	return s.noteTrust(ctx, p, role)
}

func (s *session) profilesOf(ctx context.Context, role string) ([]string, error) {
	var all []string
	pages := iam.NewListInstanceProfilesForRolePaginator(s.iam, &iam.ListInstanceProfilesForRoleInput{RoleName: &role})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("instance profiles of role %s: %w", role, err)
		}
		for _, p := range page.InstanceProfiles {
			all = append(all, aws.ToString(p.Arn))
		}
	}
	return all, nil
}

// noteTrust says who can assume the role, and when it was last used.
func (s *session) noteTrust(ctx context.Context, p *incident.Proposal, role iamtypes.Role) error {
	out, err := s.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: role.RoleName})
	if err != nil {
		return fmt.Errorf("role %s: %w", aws.ToString(role.RoleName), err)
	}
	if trusted := trustedBy(aws.ToString(out.Role.AssumeRolePolicyDocument)); len(trusted) > 0 {
		p.Notes = append(p.Notes, "the role can be assumed by "+strings.Join(trusted, ", ")+": their sessions are denied too")
	}
	if used := out.Role.RoleLastUsed; used != nil && used.LastUsedDate != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("the role was last used %s in %s (IAM's own records, which can be hours late)",
			used.LastUsedDate.UTC().Format("2006-01-02 15:04 MST"), aws.ToString(used.Region)))
	}
	return nil
}

// trustedBy lists the principals of a role's trust policy, which comes URL-encoded.
func trustedBy(encoded string) []string {
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return nil
	}
	var doc struct {
		Statement json.RawMessage
	}
	type trust struct {
		Effect    string
		Principal any
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil
	}
	var many []trust
	if err := json.Unmarshal(doc.Statement, &many); err != nil { // one statement may stand without brackets
		many = make([]trust, 1)
		if err := json.Unmarshal(doc.Statement, &many[0]); err != nil {
			return nil
		}
	}
	var all []string
	for _, t := range many {
		if t.Effect == "Allow" {
			all = append(all, texts(t.Principal)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// texts are the strings inside a JSON value, the names of members left out.
func texts(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = append(all, v)
	case []any:
		for _, item := range v {
			all = append(all, texts(item)...)
		}
	case map[string]any:
		for _, item := range v {
			all = append(all, texts(item)...)
		}
	}
	return all
}
