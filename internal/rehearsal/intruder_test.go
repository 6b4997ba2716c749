package rehearsal

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// dropProfile takes the suspect's instance profile away.
func (s *shop) dropProfile() {
	s.t.Helper()
	out, err := s.ec2.DescribeIamInstanceProfileAssociations(s.ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: []string{s.suspect}}},
	})
	s.must(err)
	_, err = s.ec2.DisassociateIamInstanceProfile(s.ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: out.IamInstanceProfileAssociations[0].AssociationId})
	s.must(err)
}

// revoke denies everything to the role's sessions that the condition holds for.
func (s *shop) revoke(condition string) {
	s.t.Helper()
	_, err := iam.NewFromConfig(s.Config("eu-central-1")).PutRolePolicy(s.ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(webRole), PolicyName: aws.String("revoked"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":` + condition + `}]}`),
	})
	s.must(err)
}

func (s *shop) userid() string {
	s.t.Helper()
	out, err := iam.NewFromConfig(s.Config("eu-central-1")).GetRole(s.ctx, &iam.GetRoleInput{RoleName: aws.String(webRole)})
	s.must(err)
	return *out.Role.RoleId + ":" + s.suspect
}

// stillIn reports whether the stolen credentials worked after that time.
func (s *shop) stillIn(after time.Time) bool {
	s.t.Helper()
	s.wait(trailDelay + 3*intruderPause)
	pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(s.Config("eu-central-1")), &cloudtrail.LookupEventsInput{
		StartTime:        &after,
		LookupAttributes: []cloudtrailtypes.LookupAttribute{{AttributeKey: cloudtrailtypes.LookupAttributeKeyUsername, AttributeValue: &s.suspect}},
	})
	calls := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.ctx)
		s.must(err)
		for _, e := range page.Events {
			calls++
			if !strings.Contains(*e.CloudTrailEvent, "errorCode") {
				return true
			}
		}
	}
	if calls == 0 {
		s.t.Error("the intruder made no call at all")
	}
	return false
}

func TestStolenCredentialsOutliveTheProfile(t *testing.T) {
	s := newShop(t)
	s.dropProfile()
	if !s.stillIn(s.Clock().Now()) {
		t.Error("without the profile the credentials handed out before stopped working")
	}
}

func TestADenyForTheOneSessionStopsStolenCredentials(t *testing.T) {
	s := newShop(t)
	s.dropProfile()
	s.revoke(`{"StringEquals":{"aws:userid":"` + s.userid() + `"}}`)
	if s.stillIn(s.Clock().Now()) {
		t.Error("the deny did not stop it")
	}
}

func TestADenyForAnotherSessionDoesNot(t *testing.T) {
	s := newShop(t)
	s.revoke(`{"StringEquals":{"aws:userid":"` + s.userid() + `0"}}`)
	if !s.stillIn(s.Clock().Now()) {
		t.Error("the deny hit a session it does not name")
	}
}

// Order: remove the profile first. The other order leaves a window in which the
// metadata service hands out tokens issued after the deny's date.
func TestADenyByDateLetsFreshCredentialsPassWhileTheProfileIsThere(t *testing.T) {
	s := newShop(t)
	s.revoke(`{"DateLessThan":{"aws:TokenIssueTime":"` + s.Clock().Now().Format(time.RFC3339) + `"}}`)
	s.wait(credentialsFrom)
	if !s.stillIn(s.Clock().Now()) {
		t.Error("fresh credentials were denied")
	}
	s.dropProfile()
	s.revoke(`{"DateLessThan":{"aws:TokenIssueTime":"` + s.Clock().Now().Format(time.RFC3339) + `"}}`)
	if s.stillIn(s.Clock().Now()) {
		t.Error("with the profile gone the deny did not stop it")
	}
}
