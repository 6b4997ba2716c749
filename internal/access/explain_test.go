package access

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/incident"
)

func hintOf(err error) string {
	var h *incident.HintError
	if errors.As(err, &h) {
		return h.Hint
	}
	return ""
}

func TestRefusalsComeWithTheNextStep(t *testing.T) {
	tests := []struct {
		code, message, want string
	}{
		{"ExpiredToken", "The security token included in the request is expired", "sign in again"},
		{"RequestExpired", "Request has expired.", "sign in again"},
		{"UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:iam::1:user/me is not authorized to perform: ec2:DescribeInstances because …", "permission ec2:DescribeInstances is missing"},
		{"UnauthorizedOperation", "You are not authorized to perform this operation.", "permission ec2:DescribeInstances is missing"},
		{"AuthFailure", "AWS was not able to validate the provided access credentials", "does not accept these credentials"},
		{"InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist", "the --region and the account"},
		{"OptInRequired", "You are not subscribed to this service", "has not enabled"},
	}
	for _, tt := range tests {
		f := newFront(t)
		a, _ := newAccess(t, f, nil)
		cfg := configFor(t, a)
		f.answer = func(string, int, url.Values) (int, string) {
			return http.StatusBadRequest, ec2Error(tt.code, tt.message)
		}
		_, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
		if got := Explain(err); !strings.Contains(hintOf(got), tt.want) || !errors.Is(got, err) {
			t.Errorf("%s: hint %q, want %q", tt.code, hintOf(got), tt.want)
		}
	}
}

func TestExpiredCredentialsAreFoundBeforeAnythingElse(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	f.answer = func(string, int, url.Values) (int, string) {
		return http.StatusForbidden, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error><RequestId>r</RequestId></ErrorResponse>`
	}
	_, err := a.Config(t.Context(), target)
	if err == nil || !strings.Contains(hintOf(err), "sign in again") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if len(l.entries()) != 0 {
		t.Error("something was journaled")
	}
}

func TestMissingCredentialsAreExplained(t *testing.T) {
	isolated(t)
	f := newFront(t)
	a := New(Options{Base: Load(LoadOptions{EndpointURL: f.URL, Region: "eu-central-1"}), Clock: newClock()})
	_, _, err := a.Identity(t.Context(), "")
	if err == nil || !strings.Contains(hintOf(err), "no usable AWS credentials") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestAnUnknownProfileIsExplained(t *testing.T) {
	isolated(t)
	_, err := Load(LoadOptions{Profile: "nobody", Region: "eu-central-1"})(t.Context(), "")
	if err == nil || !strings.Contains(hintOf(err), `no profile "nobody"`) {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestAMissingRegionIsExplained(t *testing.T) {
	signedIn(t)
	_, err := Load(LoadOptions{})(t.Context(), "")
	if err == nil || !strings.Contains(hintOf(err), "--region") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestAnEndpointThatIsNotThereIsExplained(t *testing.T) {
	// Nobody can listen on port 0. Where a server was closed, another test's may listen by now.
	a, _ := newAccess(t, newFront(t), func(o *Options) { o.Base = Load(LoadOptions{EndpointURL: "http://127.0.0.1:0"}) })
	_, err := a.Config(t.Context(), target)
	if err == nil || !strings.Contains(hintOf(err), "can't be reached") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestAHintThatIsThereIsKept(t *testing.T) {
	err := incident.WithHint(errors.New("no such host"), "mine")
	if got := Explain(err); hintOf(got) != "mine" {
		t.Errorf("hint %q", hintOf(got))
	}
	plain := errors.New("anything else")
	if got := Explain(plain); got != plain || Explain(nil) != nil {
		t.Errorf("got %v", got)
	}
}

func TestAProfilesRoleAndTheMFACodeAreUsedOnceForAllRegions(t *testing.T) {
	isolated(t)
	f := newFront(t)
	dir := t.TempDir()
	profile := "[profile me]\nregion = eu-west-1\naws_access_key_id = AKID\naws_secret_access_key = x\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	f.answer = func(action string, _ int, form url.Values) (int, string) {
		if action != "AssumeRole" {
			return http.StatusOK, ""
		}
		if form.Get("SerialNumber") != "arn:aws:iam::1:mfa/me" || form.Get("TokenCode") != "123456" {
			return http.StatusForbidden, ec2Error("AccessDenied", "MultiFactorAuthentication failed")
		}
		return http.StatusOK, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
	}
	asked := 0
	load := Load(LoadOptions{
		Profile: "me", RoleARN: "arn:aws:iam::1:role/responder", MFASerial: "arn:aws:iam::1:mfa/me", EndpointURL: f.URL,
		MFAToken: func() (string, error) { asked++; return "123456", nil },
	})
	for region, want := range map[string]string{"": "eu-west-1", "us-east-2": "us-east-2"} {
		cfg, err := load(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		creds, err := cfg.Credentials.Retrieve(t.Context())
		if err != nil || creds.AccessKeyID != "ASIA" || cfg.Region != want {
			t.Errorf("%q: %s in %s, %v", region, creds.AccessKeyID, cfg.Region, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestAnMFACodeWithoutATerminalIsExplained(t *testing.T) {
	signedIn(t)
	f := newFront(t)
	a := New(Options{Clock: newClock(), Base: Load(LoadOptions{
		Region: "eu-central-1", RoleARN: "arn:aws:iam::1:role/r", MFASerial: "arn:aws:iam::1:mfa/me", EndpointURL: f.URL,
	})})
	_, _, err := a.Identity(t.Context(), "")
	if err == nil || !strings.Contains(hintOf(err), "get-session-token") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestTheBasesErrorsAreExplained(t *testing.T) {
	a := New(Options{Clock: newClock(), Base: func(context.Context, string) (aws.Config, error) {
		return aws.Config{}, &aws.MissingRegionError{}
	}})
	if _, err := a.Config(t.Context(), target); !strings.Contains(hintOf(err), "--region") {
		t.Errorf("got %v", err)
	}
}
