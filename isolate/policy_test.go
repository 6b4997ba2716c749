package isolate

import (
	"errors"
	"regexp"
	"strings"
	"testing"

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
		name := policyName(a, policyInstances)
		if !allowed.MatchString(name) {
			t.Fatalf("%q", name)
		}
		if !strings.HasSuffix(name, policyInstances) {
			t.Fatalf("%q does not say whose sessions it denies", name)
		}
		if a != b && name == policyName(b, policyInstances) {
			t.Fatalf("cases %q and %q share %q", a, b, name)
		}
	})
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
