package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
)

// memory is a clock.Store of one test.
type memory struct {
	mu  sync.Mutex
	now time.Time
}

func (m *memory) Load() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *memory) Advance(t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.After(m.now) {
		m.now = t
	}
	return m.now
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newClock() *clock.Simulated {
	return clock.NewSimulated(&memory{now: start}, time.Millisecond)
}

// ledger is a journal in memory.
type ledger struct {
	mu      sync.Mutex
	drafts  []incident.Draft
	refuses incident.EntryType
	ctxErr  []error // of each Append's context
}

var errFull = errors.New("the disk is full")

func (l *ledger) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Type == l.refuses {
		return incident.Entry{}, errFull
	}
	l.ctxErr = append(l.ctxErr, ctx.Err())
	l.drafts = append(l.drafts, d)
	return incident.Entry{Seq: uint64(len(l.drafts))}, nil
}

func (l *ledger) entries() []incident.Draft {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]incident.Draft(nil), l.drafts...)
}

func (l *ledger) bytes(t *testing.T) []byte {
	t.Helper()
	b, err := json.Marshal(l.entries())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// front is an AWS endpoint on this machine that speaks the query protocol.
type front struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []string // actions, in order of arrival
	agents []string
	// answer gives the status and body for the nth call (from 1) of an action.
	answer func(action string, n int, form url.Values) (int, string)
}

const (
	whoami    = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/responder/me</Arn><UserId>A:me</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	done      = `<Response><requestId>req-1</requestId><return>true</return></Response>`
	nobody    = `<DescribeInstancesResponse><requestId>req-2</requestId><reservationSet/></DescribeInstancesResponse>`
	throttled = `<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error></Errors><RequestID>req-3</RequestID></Response>`
)

func ec2Error(code, message string) string {
	return fmt.Sprintf(`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>req-4</RequestID></Response>`, code, message)
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(b))
	action := form.Get("Action")
	f.mu.Lock()
	f.calls = append(f.calls, action)
	f.agents = append(f.agents, r.UserAgent())
	n := 0
	for _, c := range f.calls {
		if c == action {
			n++
		}
	}
	answer := f.answer
	f.mu.Unlock()
	status, body := http.StatusOK, ""
	if answer != nil {
		status, body = answer(action, n, form)
	}
	if body == "" {
		switch action {
		case "GetCallerIdentity":
			body = whoami
		case "DescribeInstances":
			body = nobody
		default:
			body = done
		}
	}
	w.Header().Set("Date", start.Add(5*time.Minute).Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", "req-1")
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.Copy(w, bytes.NewBufferString(body))
}

func (f *front) count(action string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == action {
			n++
		}
	}
	return n
}

// isolated keeps the machine's own AWS configuration out of a test.
func isolated(t *testing.T) {
	t.Helper()
	empty := t.TempDir() + "/none"
	for k, v := range map[string]string{
		"AWS_CONFIG_FILE": empty, "AWS_SHARED_CREDENTIALS_FILE": empty, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "",
		"AWS_ENDPOINT_URL": "", "AWS_CA_BUNDLE": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
	} {
		t.Setenv(k, v)
	}
}

func signedIn(t *testing.T) {
	t.Helper()
	isolated(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-key")
	t.Setenv("AWS_SESSION_TOKEN", "canary-session-token")
}

var target = incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: "i-0abc"}

// newAccess works against f with a journal in memory.
func newAccess(t *testing.T, f *front, change func(*Options)) (*Access, *ledger) {
	t.Helper()
	signedIn(t)
	l := &ledger{}
	o := Options{
		Base:    Load(LoadOptions{EndpointURL: f.URL}),
		Journal: l, Case: "IR-7", Version: "1.2.3", Clock: newClock(),
	}
	if change != nil {
		change(&o)
	}
	return New(o), l
}

func configFor(t *testing.T, a *Access) aws.Config {
	t.Helper()
	cfg, err := a.Config(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func protect(ctx context.Context, cfg aws.Config) error {
	_, err := ec2.NewFromConfig(cfg).DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String("sg-1")})
	return err
}
