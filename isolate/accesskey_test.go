package isolate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

func (s *site) anotherKey(name string) string {
	s.t.Helper()
	return *must[*iam.CreateAccessKeyOutput](s.t)(s.iam().CreateAccessKey(s.ctx, &iam.CreateAccessKeyInput{UserName: &name})).AccessKey.AccessKeyId
}

func TestWhatIsNoUsersAccessKeyIsRefused(t *testing.T) {
	s := newSite(t, 1)
	must[*iam.CreateUserOutput](t)(s.iam().CreateUser(s.ctx, &iam.CreateUserInput{UserName: aws.String("other")}))
	others := s.anotherKey("other")
	for _, tt := range []struct{ user, key, says string }{
		{"", "AKIA", "root user"},
		{"<root_account>", "AKIA", "root user"},
		{"arn:aws:iam::111122223333:root", "AKIA", "root user"},
		{"arn:aws:iam::111122223333:user/" + user, "AKIA", "not its ARN"},
		{user, "ASIA", "key of a session"},
		{"nobody", "AKIA", "no IAM user nobody"},
		{user, "AKIA", "has no access key AKIA"},
		{user, others, "it is user other's"},
	} {
		_, err := s.plan("isolate.access-key", map[string]any{"user": tt.user, "access_key_id": tt.key})
		s.refused(err, tt.says)
	}
}

func TestThePlanTellsOfTheKeysUseAndOfTheOthers(t *testing.T) {
	s := newSite(t, 1)
	notes := func() string {
		t.Helper()
		st, err := s.plan("isolate.access-key", map[string]any{"user": user})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(st.proposal.Notes, "\n")
	}
	if got := notes(); !strings.Contains(got, "was never used") {
		t.Errorf("notes %q", got)
	}
	if err := s.acct.Clock().Sleep(s.ctx, 10*time.Minute); err != nil { // the intruder uses it
		t.Fatal(err)
	}
	other := s.anotherKey(user)
	for _, want := range []string{"with s3 in eu-central-1", other + " (Active), which is left as it is", "console sessions"} {
		if got := notes(); !strings.Contains(got, want) {
			t.Errorf("nothing says %q in %q", want, got)
		}
	}
}

func TestTheKeyAndItsSessionsStopWorking(t *testing.T) {
	s := newSite(t, 1)
	if err := s.acct.Clock().Sleep(s.ctx, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := s.acct.Overview().Thief; !strings.Contains(got, "last worked at") || strings.Contains(got, "refused") {
		t.Fatalf("before: %s", got)
	}
	s.do("isolate.access-key", map[string]any{"user": user})
	if err := s.acct.Clock().Sleep(s.ctx, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := s.acct.Overview().Thief; !strings.Contains(got, "refused since") {
		t.Errorf("after: %s", got)
	}
}

func TestAKeyThatWasInactiveStaysSo(t *testing.T) {
	s := newSite(t, 1)
	key := s.stolenKey()
	must[*iam.UpdateAccessKeyOutput](t)(s.iam().UpdateAccessKey(s.ctx, &iam.UpdateAccessKeyInput{
		UserName: aws.String(user), AccessKeyId: &key, Status: iamtypes.StatusTypeInactive,
	}))
	before := s.state()
	st := s.do("isolate.access-key", map[string]any{"user": user})
	if len(st.proposal.Changes) != 1 {
		t.Errorf("changes %v", st.proposal.Changes)
	}
	s.undoAll(st)
	s.same(before, s.state(), "after the release")
}

func TestAKeyDeletedSinceIsNotRestored(t *testing.T) {
	s := newSite(t, 1)
	key := s.stolenKey()
	st := s.do("isolate.access-key", map[string]any{"user": user, "access_key_id": key})
	must[*iam.DeleteAccessKeyOutput](t)(s.iam().DeleteAccessKey(s.ctx, &iam.DeleteAccessKeyInput{UserName: aws.String(user), AccessKeyId: &key}))
	p, err := s.planUndo(st, false)
	if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "was deleted since") {
		t.Errorf("notes %q, %v", p.Notes, err)
	}
	s.undoAll(st)
	if names := must[[]string](t)(s.keyring().principal().names(s.ctx)); len(names) != 1 {
		t.Errorf("the user has policies %v", names)
	}
}

func TestWhatSomeoneElseChangedOfTheUserIsDrift(t *testing.T) {
	for name, meddle := range map[string]func(s *site){
		"the policy": func(s *site) {
			must[*iam.PutUserPolicyOutput](s.t)(s.iam().PutUserPolicy(s.ctx, &iam.PutUserPolicyInput{
				UserName: aws.String(user), PolicyName: aws.String(policyName(s.caseID, policySessions)),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`),
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			before := s.state()
			st := s.do("isolate.access-key", map[string]any{"user": user})
			meddle(s)
			changed := s.state()
			if _, ok := errors.AsType[*incident.DriftError](s.undo(st, false)); !ok {
				t.Error("no drift")
			}
			s.same(changed, s.state(), "after the refused release")
			if err := s.undo(st, true); err != nil {
				t.Fatal(err)
			}
			s.same(before, s.state(), "after the forced release")
		})
	}
}

func TestTwoKeysOfAUserShareTheDeny(t *testing.T) {
	c := newSite(t, 1).crew()
	first, second := c.stolenKey(), c.anotherKey(user)
	before := c.state()
	const source = `name: keys
title: Keys
inputs:
  first: {type: string, required: true}
  second: {type: string, required: true}
steps:
  - {id: first, action: isolate.access-key, with: {user: shop-deploy, access_key_id: "${{ inputs.first }}"}}
  - {id: second, action: isolate.access-key, with: {user: shop-deploy, access_key_id: "${{ inputs.second }}"}}
`
	c.isolate(source, []incident.Target{c.target}, map[string]any{"first": first, "second": second})
	if names := must[[]string](t)(c.keyring().principal().names(c.ctx)); len(names) != 2 {
		t.Errorf("the user has policies %v", names)
	}
	c.release()
	c.same(before, c.state(), "after the release")
}

func TestAUserWithoutRoomIsRefusedBeforeAnythingChanges(t *testing.T) {
	s := newSite(t, 1)
	filler := `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("x", 1700) + `","Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`
	must[*iam.PutUserPolicyOutput](t)(s.iam().PutUserPolicy(s.ctx, &iam.PutUserPolicyInput{
		UserName: aws.String(user), PolicyName: aws.String("filler"), PolicyDocument: &filler,
	}))
	_, err := s.plan("isolate.access-key", map[string]any{"user": user})
	s.refused(err, "user "+user, "2048 are allowed")
}
