package rehearsal

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	denyAll  = `{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}`
)

// emptyAccount is one in memory without any scenario.
func emptyAccount(t *testing.T, build ...func(*world)) *Account {
	t.Helper()
	a, err := newAccount("", time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC), 1, func(w *world) error {
		for _, b := range build {
			b(w)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func roleNamed(t *testing.T, client *iam.Client, name, path string) {
	t.Helper()
	if _, err := client.CreateRole(context.Background(), &iam.CreateRoleInput{
		RoleName: &name, Path: &path, AssumeRolePolicyDocument: aws.String(trustEC2),
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAPolicyDocumentComesBackURLEncoded(t *testing.T) {
	client := iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	roleNamed(t, client, "web", "/")
	if _, err := client.PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{
		RoleName: aws.String("web"), PolicyName: aws.String("deny"), PolicyDocument: aws.String(denyAll),
	}); err != nil {
		t.Fatal(err)
	}
	out, err := client.GetRolePolicy(context.Background(), &iam.GetRolePolicyInput{RoleName: aws.String("web"), PolicyName: aws.String("deny")})
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(*out.PolicyDocument, `{"+ `) {
		t.Errorf("not encoded by RFC 3986: %s", *out.PolicyDocument)
	}
	if got, err := url.PathUnescape(*out.PolicyDocument); err != nil || got != denyAll {
		t.Errorf("decoded %q, %v", got, err)
	}
}

func TestInlinePoliciesShareOneQuotaThatIgnoresWhiteSpace(t *testing.T) {
	client := iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	roleNamed(t, client, "web", "/")
	put := func(name string, characters, spaces int) error {
		document := `{"Statement":{"Effect":"Deny","Action":"*","Resource":"` + strings.Repeat("a", characters) + `"}}` + strings.Repeat(" ", spaces)
		_, err := client.PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{RoleName: aws.String("web"), PolicyName: &name, PolicyDocument: &document})
		return err
	}
	if err := put("first", 6000, 9000); err != nil {
		t.Fatalf("white space was counted: %v", err)
	}
	var limit *types.LimitExceededException
	if err := put("second", 6000, 0); !errors.As(err, &limit) {
		t.Fatalf("both together are over the quota: got %v", err)
	}
	if err := put("first", 8000, 0); err != nil {
		t.Fatalf("replacing a policy counts it once: %v", err)
	}
}

func TestRolesThatAWSKeepsRefuseEdits(t *testing.T) {
	client := iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	for name, path := range map[string]string{
		"AWSServiceRoleForAutoScaling": "/aws-service-role/autoscaling.amazonaws.com/",
		"AWSReservedSSO_Admin_0":       "/aws-reserved/sso.amazonaws.com/eu-central-1/",
	} {
		roleNamed(t, client, name, path)
		_, err := client.PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{
			RoleName: &name, PolicyName: aws.String("deny"), PolicyDocument: aws.String(denyAll),
		})
		var unmodifiable *types.UnmodifiableEntityException
		if !errors.As(err, &unmodifiable) {
			t.Errorf("%s%s: got %v", path, name, err)
		}
	}
}

func TestAMalformedPolicyIsRefused(t *testing.T) {
	client := iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	roleNamed(t, client, "web", "/")
	for _, document := range []string{
		``, `{`, `[]`, `{"Version":"2012-10-17"}`, denyAll + denyAll,
		`{"Statement":{"Effect":"Refuse","Action":"*","Resource":"*"}}`,
		`{"Statement":{"Effect":"Deny","Resource":"*"}}`,
		`{"Statement":{"Effect":"Deny","Action":"*"}}`,
		`{"Statement":{"Effect":"Deny","Action":"*","Resource":"*","Conditions":{}}}`,
		trustEC2,
	} {
		_, err := client.PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{
			RoleName: aws.String("web"), PolicyName: aws.String("p"), PolicyDocument: &document,
		})
		var malformed *types.MalformedPolicyDocumentException
		if document != "" && !errors.As(err, &malformed) {
			t.Errorf("%s: got %v", document, err)
		}
		if err == nil {
			t.Errorf("%q was taken", document)
		}
	}
}

func TestARoleInUseCannotBeDeleted(t *testing.T) {
	ctx := context.Background()
	client := iam.NewFromConfig(emptyAccount(t).Config("eu-central-1"))
	web := aws.String("web")
	roleNamed(t, client, "web", "/")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(_ any, err error) {
		t.Helper()
		var conflict *types.DeleteConflictException
		if !errors.As(err, &conflict) {
			t.Errorf("got %v", err)
		}
	}
	must(client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: web, PolicyName: web, PolicyDocument: aws.String(denyAll)}))
	must(client.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: web}))
	must(client.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: web, RoleName: web}))
	refused(client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: web}))
	refused(client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: web}))
	must(client.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: web, RoleName: web}))
	refused(client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: web}))
	must(client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: web, PolicyName: web}))
	must(client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: web}))
	must(client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: web}))
	var gone *types.NoSuchEntityException
	if _, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: web}); !errors.As(err, &gone) {
		t.Errorf("got %v", err)
	}
}

func TestTheCallerIsKnownAlsoWithoutPermissions(t *testing.T) {
	a := emptyAccount(t, func(w *world) { w.Denied = []string{"*"} })
	out, err := sts.NewFromConfig(a.Config("eu-central-1")).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil || *out.Account != "111122223333" {
		t.Fatalf("got %+v, %v", out, err)
	}
}
