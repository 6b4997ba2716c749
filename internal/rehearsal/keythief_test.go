package rehearsal

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// stolenKey is the user's key that the thief has.
func (s *shop) stolenKey() types.AccessKeyMetadata {
	s.t.Helper()
	out, err := iam.NewFromConfig(s.Config("eu-central-1")).ListAccessKeys(s.ctx, &iam.ListAccessKeysInput{UserName: aws.String("shop-deploy")})
	s.must(err)
	return out.AccessKeyMetadata[0]
}

// keyWorks reports whether what was stolen of the user worked after that time.
func (s *shop) keyWorks(after time.Time) bool {
	s.t.Helper()
	s.wait(trailDelay + 4*intruderPause)
	out, err := cloudtrail.NewFromConfig(s.Config("eu-central-1")).LookupEvents(s.ctx, &cloudtrail.LookupEventsInput{
		StartTime:        &after,
		LookupAttributes: []cloudtrailtypes.LookupAttribute{{AttributeKey: cloudtrailtypes.LookupAttributeKeyUsername, AttributeValue: aws.String("shop-deploy")}},
	})
	s.must(err)
	if len(out.Events) == 0 {
		s.t.Error("the thief made no call at all")
	}
	for _, e := range out.Events {
		if !strings.Contains(*e.CloudTrailEvent, "errorCode") {
			return true
		}
	}
	return false
}

func TestSessionsOutliveTheKeyThatMadeThem(t *testing.T) {
	s := newShop(t)
	client := iam.NewFromConfig(s.Config("eu-central-1"))
	key := s.stolenKey()
	if !s.keyWorks(s.Clock().Now()) {
		t.Fatal("the key does not work")
	}
	used, err := client.GetAccessKeyLastUsed(s.ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: key.AccessKeyId})
	s.must(err)
	if used.AccessKeyLastUsed.LastUsedDate == nil || *used.AccessKeyLastUsed.ServiceName != "s3" || *used.UserName != *key.UserName {
		t.Errorf("last used %+v", used)
	}
	_, err = client.UpdateAccessKey(s.ctx, &iam.UpdateAccessKeyInput{UserName: key.UserName, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive})
	s.must(err)
	if !s.keyWorks(s.Clock().Now()) {
		t.Error("the session ended with the key")
	}
	_, err = client.PutUserPolicy(s.ctx, &iam.PutUserPolicyInput{
		UserName: key.UserName, PolicyName: aws.String("revoked"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"` +
			s.Clock().Now().Format(time.RFC3339) + `"}}}]}`),
	})
	s.must(err)
	if s.keyWorks(s.Clock().Now()) {
		t.Error("the deny did not stop the session")
	}
	if o := s.Overview().Thief; !strings.Contains(o, "refused since") {
		t.Errorf("the overview says %q", o)
	}
}

func TestAUserHasFewInlinePoliciesAndTwoKeys(t *testing.T) {
	ctx, client := t.Context(), iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	user := aws.String("deploy")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateUser(ctx, &iam.CreateUserInput{UserName: user}))
	put := func(name string, characters int) error {
		document := `{"Statement":{"Effect":"Deny","Action":"*","Resource":"` + strings.Repeat("a", characters) + `"}}` + strings.Repeat(" ", 900)
		_, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: user, PolicyName: &name, PolicyDocument: &document})
		return err
	}
	must(nil, put("first", 1500))
	var limit *types.LimitExceededException
	if err := put("second", 1500); !errors.As(err, &limit) {
		t.Errorf("both together are over the quota: got %v", err)
	}
	for range 2 {
		must(client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user}))
	}
	if _, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user}); !errors.As(err, &limit) {
		t.Errorf("a third key: %v", err)
	}
	var conflict *types.DeleteConflictException
	if _, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: user}); !errors.As(err, &conflict) {
		t.Errorf("a user with keys was deleted: %v", err)
	}
}
