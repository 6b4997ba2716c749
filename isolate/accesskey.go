package isolate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// accessKey deactivates an IAM user's access key, found on the instance or in
// the event history, and revokes the sessions that were made with it. It works
// on the target's account; the instance itself is not touched.
type accessKey struct {
	configs configs
	ledger  ledger
}

// Spec of isolate.access-key.
func (a *accessKey) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.access-key",
		Summary: "Deactivate an IAM user's access key, then deny everything to the sessions that the user has had so far",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{
			{Name: "user", Type: incident.String, Required: true, Description: "name of the IAM user whose key it is"},
			{Name: "access_key_id", Type: incident.String, Required: true, Description: "ID of the key, AKIA…"},
		},
		Outputs: []incident.Field{
			{Name: "user", Type: incident.String, Description: "the user"},
			{Name: "policy", Type: incident.String, Description: "the inline policy that denies its sessions"},
		},
		Permissions: []string{
			"iam:DeleteUserPolicy", "iam:GetAccessKeyLastUsed", "iam:GetUser", "iam:GetUserPolicy", "iam:ListAccessKeys",
			"iam:ListUserPolicies", "iam:PutUserPolicy", "iam:UpdateAccessKey",
		},
		Example: "- id: access_key\n  action: isolate.access-key\n  with:\n    user: deploy\n    access_key_id: ${{ inputs.access_key_id }}\n",
		Timeout: 5 * time.Minute,
	}
}

type accessKeyInputs struct {
	User string `json:"user"`
	Key  string `json:"access_key_id"`
}

// keyState is the before-state of isolate.access-key.
type keyState struct {
	User   string `json:"user"`
	Key    string `json:"access_key_id"`
	Status string `json:"status"` // Active or Inactive
	Policy string `json:"policy"`
	Others int    `json:"others"` // size of the user's other inline policies
}

// keyring is an IAM user and its access keys.
type keyring struct {
	iam     *iam.Client
	account string
	user    string
	seen    time.Time // AWS's, at the last look at the keys; zero where the answer had none
}

func (a *accessKey) open(ctx context.Context, t incident.Target, user string) (*keyring, error) {
	cfg, err := a.configs.open(ctx, t)
	return &keyring{iam: iam.NewFromConfig(cfg), account: t.Account, user: user}, err
}

func (k *keyring) principal() principal {
	return principal{iam: k.iam, account: k.account, user: true, name: k.user}
}

// keys lists the user's access keys; none where there is no such user any more.
func (k *keyring) keys(ctx context.Context) ([]iamtypes.AccessKeyMetadata, error) {
	var all []iamtypes.AccessKeyMetadata
	pages := iam.NewListAccessKeysPaginator(k.iam, &iam.ListAccessKeysInput{UserName: &k.user})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if hasCode(err, "NoSuchEntity") {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("access keys of user %s: %w", k.user, err)
		}
		if at, ok := awsmiddleware.GetServerTime(page.ResultMetadata); ok {
			k.seen = at
		}
		all = append(all, page.AccessKeyMetadata...)
	}
	return all, nil
}

const keyDeleted = "deleted"

// status is that of a key; keyDeleted where the user has it no longer.
func (k *keyring) status(ctx context.Context, key string) (string, error) {
	all, err := k.keys(ctx)
	return statusOf(all, key), err
}

func statusOf(all []iamtypes.AccessKeyMetadata, key string) string {
	for _, m := range all {
		if aws.ToString(m.AccessKeyId) == key {
			return string(m.Status)
		}
	}
	return keyDeleted
}

// Plan shows the key's status and the deny. It refuses what is no access key of
// this user, and a user whose inline policies leave no room.
func (a *accessKey) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	var in accessKeyInputs
	if err := req.Decode(&in); err != nil {
		return p, err
	}
	if err := plausible(in); err != nil {
		return p, err
	}
	k, err := a.open(ctx, req.Target, in.User)
	if err != nil {
		return p, err
	}
	user, err := k.read(ctx)
	if err != nil {
		return p, err
	}
	all, err := k.keys(ctx)
	if err != nil {
		return p, err
	}
	before := keyState{User: in.User, Key: in.Key, Status: statusOf(all, in.Key), Policy: policyName(req.Case.ID, policySessions)}
	if before.Status == keyDeleted {
		return p, k.stranger(ctx, in)
	}
	if err := k.room(ctx, &before); err != nil {
		return p, err
	}
	if before.Status != string(iamtypes.StatusTypeInactive) {
		p.Changes = append(p.Changes, incident.Change{Resource: "access key " + in.Key, What: "status", Before: before.Status, After: string(iamtypes.StatusTypeInactive)})
	}
	p.Changes = append(p.Changes, before.change())
	p.Shared = []string{aws.ToString(user.Arn) + "/" + before.Policy}
	p.Impact, p.Residual = impactOf(p.Changes, incident.Disruptive), outlivesTheKey()
	if p.Notes, err = k.notes(ctx, in.Key, all); err != nil {
		return p, err
	}
	p.Before, err = record(before)
	return p, err
}

// plausible refuses what is no key of an IAM user, whatever the account holds.
func plausible(in accessKeyInputs) error {
	switch {
	case in.User == "" || in.User == "<root_account>" || strings.HasSuffix(in.User, ":root"):
		return incident.WithHint(&incident.RefusedError{Reason: "the root user's keys can't be deactivated from here, and no policy denies its sessions"},
			"sign in as the root user, delete its access keys, and change its password")
	case strings.HasPrefix(in.Key, "ASIA"):
		// "IAM identifiers": ASIA is a temporary key of STS.
		return incident.WithHint(&incident.RefusedError{Reason: in.Key + " is the key of a session, not of a user"},
			"where it is a role's session, isolate.credentials denies it; where it is a user's, give the user's own key, AKIA…")
	case strings.HasPrefix(in.User, "arn:"):
		return incident.WithHint(&incident.RefusedError{Reason: "user " + in.User + ": want the user's name, not its ARN"}, "give what stands behind the last /")
	}
	return nil
}

func (k *keyring) read(ctx context.Context) (*iamtypes.User, error) {
	out, err := k.iam.GetUser(ctx, &iam.GetUserInput{UserName: &k.user})
	if hasCode(err, "NoSuchEntity") {
		return nil, incident.WithHint(&incident.RefusedError{Reason: "there is no IAM user " + k.user + " in this account"},
			"look for the key's ID in CloudTrail: its events name the user and the account")
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", k.user, err)
	}
	return out.User, nil
}

// stranger refuses a key that the user has not, and says whose it is where AWS tells.
func (k *keyring) stranger(ctx context.Context, in accessKeyInputs) error {
	reason := fmt.Sprintf("user %s has no access key %s", in.User, in.Key)
	if out, err := k.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &in.Key}); err == nil && aws.ToString(out.UserName) != "" {
		reason += ": it is user " + aws.ToString(out.UserName) + "'s"
	}
	return incident.WithHint(&incident.RefusedError{Reason: reason}, "look for the key's ID in CloudTrail: its events name the user and the account")
}

// room refuses a user whose inline policies leave none for the deny, and a
// policy by its name that is not cordon's.
func (k *keyring) room(ctx context.Context, s *keyState) error {
	others, document, err := k.principal().others(ctx, s.Policy)
	if err != nil {
		return err
	}
	if _, err := parseRevocation(document); err != nil {
		return notOurs(k.principal(), s.Policy, err)
	}
	s.Others = others
	return k.principal().tooLarge(others, sizeOfTime, hintMove)
}

// change is what becomes of the user's sessions, whatever other steps of the case have denied.
func (s keyState) change() incident.Change {
	return incident.Change{
		Resource: "user " + s.User, What: "inline policy " + s.Policy,
		Before: "denies no session of this user", After: "denies everything to every session of the user issued before this step",
	}
}

// notes tell of the key's last use and the user's other keys.
func (k *keyring) notes(ctx context.Context, key string, all []iamtypes.AccessKeyMetadata) ([]string, error) {
	out, err := k.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &key})
	if err != nil {
		return nil, fmt.Errorf("last use of access key %s: %w", key, err)
	}
	notes := []string{"access key " + key + " was never used, as far as IAM has tracked"}
	if u := out.AccessKeyLastUsed; u != nil && u.LastUsedDate != nil {
		notes[0] = fmt.Sprintf("access key %s was last used %s with %s in %s (IAM's own records, which can be hours late)",
			key, u.LastUsedDate.UTC().Format("2006-01-02 15:04 MST"), aws.ToString(u.ServiceName), aws.ToString(u.Region))
	}
	for _, m := range all {
		if id := aws.ToString(m.AccessKeyId); id != key {
			notes = append(notes, fmt.Sprintf("user %s has another access key, %s (%s), which is left as it is", k.user, id, m.Status))
		}
	}
	// A session does not tell which key or password it was made with.
	return append(notes, "sessions that were made with the user's other keys, and its console sessions, are denied too; new ones are not"), nil
}

// outlivesTheKey is what neither the key's status nor the deny reaches.
// "Disable permissions for temporary security credentials": a session made by
// GetSessionToken or GetFederationToken has the user's permissions, one made by
// AssumeRole the role's.
func outlivesTheKey() []incident.Exposure {
	return []incident.Exposure{
		{
			Path:   "sessions of roles",
			Reason: "a role assumed with this key has credentials of its own, which stay valid until they expire: look in CloudTrail for AssumeRole by this user, and revoke those roles",
		},
		{
			Path:   "what was made with the key",
			Reason: "users, keys, roles, functions and instances that the intruder made stay: look in CloudTrail for what the user has changed",
		},
		{Path: "calls in the first seconds", Reason: "IAM is eventually consistent: a call can still pass for some seconds"},
	}
}

// Apply deactivates the key first: the other order leaves a window in which it
// makes sessions newer than the deny's time.
func (a *accessKey) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[keyState](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	k, err := a.open(ctx, req.Target, before.User)
	if err != nil {
		return incident.Result{}, err
	}
	changed, err := k.set(ctx, req.Clock, before.Key, string(iamtypes.StatusTypeInactive))
	if err != nil {
		return incident.Result{}, err
	}
	set, err := moment(ctx, req, changed, func() (time.Time, error) { return k.seen, nil })
	if err != nil {
		return incident.Result{}, err
	}
	err = a.ledger.revise(ctx, req.Clock, k.principal(), before.Policy, userLimit-before.Others, func(now revocation) revocation { return now.since(set.Before) })
	if err != nil {
		return incident.Result{}, err
	}
	result := incident.Result{Outputs: map[string]any{"user": before.User, "policy": before.Policy}}
	result.Applied, err = record(set)
	return result, err
}

// set gives the key a status, where it has another, and waits until AWS shows
// it. It reports whether there was anything to do. A key that was deleted is
// less than inactive, and there is nothing to restore.
func (k *keyring) set(ctx context.Context, clock incident.Clock, key, status string) (asked bool, err error) {
	what := fmt.Sprintf("access key %s of user %s to be %s", key, k.user, status)
	err = incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		now, err := k.status(ctx, key)
		if err != nil || now == status || now == keyDeleted {
			return err == nil, err
		}
		if asked {
			return false, nil
		}
		asked = true
		_, err = k.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &k.user, AccessKeyId: &key, Status: iamtypes.StatusType(status)})
		if err != nil {
			return false, fmt.Errorf("set access key %s of user %s to %s: %w", key, k.user, status, err)
		}
		now, err = k.status(ctx, key) // mostly it shows at once
		return err == nil && now == status, err
	})
	return asked, err
}

// Verify reads the key's status and the policy back.
func (a *accessKey) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	before, err := recall[keyState](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	set, err := recall[revoked](r.Applied)
	if err != nil {
		return incident.Verification{}, err
	}
	k, err := a.open(ctx, req.Target, before.User)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, "access key "+before.Key+" to be revoked", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		all, err := k.keys(ctx)
		if err != nil {
			return v, err
		}
		status := statusOf(all, before.Key)
		if status == string(iamtypes.StatusTypeActive) {
			return v, &incident.NotVerifiedError{Resource: "access key " + before.Key, Want: string(iamtypes.StatusTypeInactive), Got: status}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("access key %s of user %s is %s", before.Key, before.User, status))
		document, err := k.principal().policy(ctx, before.Policy)
		if err != nil {
			return v, err
		}
		now, err := parseRevocation(document)
		if err != nil || now.Before.Before(set.Before) {
			return v, &incident.NotVerifiedError{Resource: k.principal().String() + " inline policy " + before.Policy, Want: before.change().After, Got: now.shown(err)}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("inline policy %s of %s %s", before.Policy, k.principal(), now.says("")))
		for _, m := range slices.DeleteFunc(all, func(m iamtypes.AccessKeyMetadata) bool { return aws.ToString(m.AccessKeyId) == before.Key }) {
			v.Observed = append(v.Observed, fmt.Sprintf("access key %s of the user is %s", aws.ToString(m.AccessKeyId), m.Status))
		}
		v.Residual = outlivesTheKey()
		return v, nil
	})
}
