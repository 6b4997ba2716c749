package isolate

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestAPolicyNameIsOneThatIAMTakes(t *testing.T) {
	allowed := regexp.MustCompile(`^[\w+=,.@-]{1,128}$`) // "PutRolePolicy"
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.String().Draw(t, "a case")
		b := rapid.String().Draw(t, "another case")
		const instance = "i-0123456789abcdef0"
		name := policyName(a, instance)
		if !allowed.MatchString(name) {
			t.Fatalf("%q", name)
		}
		if !strings.HasSuffix(name, instance) {
			t.Fatalf("%q does not name the instance", name)
		}
		if a != b && name == policyName(b, instance) {
			t.Fatalf("cases %q and %q share %q", a, b, name)
		}
	})
}

func TestTheDenyNamesTheInstanceItsSessionAndTheTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 0, 0, 5, time.FixedZone("", 3600))
	d := denial{Instance: "arn:aws:ec2:eu-central-1:111122223333:instance/i-1", Session: "AROAX:i-1"}
	tests := []struct {
		name   string
		before time.Time
		want   []string // conditions
	}{
		{"one instance", time.Time{}, []string{
			`{"ArnEquals":{"ec2:SourceInstanceARN":"arn:aws:ec2:eu-central-1:111122223333:instance/i-1"}}`,
			`{"StringEquals":{"aws:userid":"AROAX:i-1"}}`,
		}},
		{"the whole role", at, []string{
			`{"ArnEquals":{"ec2:SourceInstanceARN":"arn:aws:ec2:eu-central-1:111122223333:instance/i-1"}}`,
			`{"StringEquals":{"aws:userid":"AROAX:i-1"}}`,
			`{"DateLessThan":{"aws:TokenIssueTime":"2026-11-23T12:00:00Z"}}`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.IssuedBefore = tt.before
			text, err := d.document()
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Version   string
				Statement []struct {
					Effect, Action, Resource string
					Condition                json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatal(err)
			}
			if len(doc.Statement) != len(tt.want) {
				t.Fatalf("%d statements in %s", len(doc.Statement), text)
			}
			for i, s := range doc.Statement {
				if s.Effect != "Deny" || s.Action != "*" || s.Resource != "*" || string(s.Condition) != tt.want[i] {
					t.Errorf("statement %d is %+v, condition %s; want %s", i, s, s.Condition, tt.want[i])
				}
			}
		})
	}
}

func TestRolesThatNobodyCanEditAreRefused(t *testing.T) {
	tests := []struct {
		path    string
		refused string
	}{
		{"/", ""},
		{"/service-role/", ""},
		{"/aws-service-role/autoscaling.amazonaws.com/", "service-linked"},
		{"/aws-reserved/sso.amazonaws.com/eu-central-1/", "Identity Center"},
	}
	for _, tt := range tests {
		err := editable(iamtypes.Role{RoleName: aws.String("r"), Path: aws.String(tt.path)})
		_, refused := errors.AsType[*incident.RefusedError](err)
		if refused != (tt.refused != "") {
			t.Errorf("%s: %v", tt.path, err)
		}
		if refused && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: %v does not say %q", tt.path, err, tt.refused)
		}
	}
}

func TestWhiteSpaceDoesNotCountTowardsIAMsLimit(t *testing.T) {
	if n := counted("{ \"a\":\n\t\"ü\" }"); n != 9 {
		t.Errorf("counted %d", n)
	}
}
