package access

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestAChangeIsJournaledBeforeAndAfter(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	atSend := -1
	f.answer = func(action string, _ int, _ url.Values) (int, string) {
		if action == "DeleteSecurityGroup" {
			atSend = len(l.entries())
		}
		return http.StatusOK, ""
	}
	ref := incident.StepRef{Run: "r1", Step: "network", Target: target.String()}
	if err := protect(incident.WithStep(t.Context(), ref), cfg); err != nil {
		t.Fatal(err)
	}
	entries := l.entries()
	if len(entries) != 2 || atSend != 1 {
		t.Fatalf("%d entries, %d when AWS was asked", len(entries), atSend)
	}
	intent, result := entries[0].Data.(incident.CallIntent), entries[1].Data.(incident.CallResult)
	for _, e := range entries {
		if e.Run != "r1" || e.Step != "network" || e.Target != target.String() {
			t.Errorf("entry %s is of %s/%s/%s", e.Type, e.Run, e.Step, e.Target)
		}
	}
	if intent.Service != "ec2" || intent.Operation != "DeleteSecurityGroup" || intent.Account != target.Account || intent.Region != target.Region ||
		string(intent.Params) != `{"GroupId":"sg-1"}` {
		t.Errorf("intent %+v, params %s", intent, intent.Params)
	}
	if result.Call != intent.Call || result.RequestID != "req-1" || result.Attempts != 1 || !result.ServerTime.Equal(start.Add(5*time.Minute)) || result.Error != "" {
		t.Errorf("result %+v", result)
	}
}

func TestReadsAreCountedPerStepAndNotJournaled(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	client := ec2.NewFromConfig(configFor(t, a))
	ctx := incident.WithStep(t.Context(), incident.StepRef{Run: "r", Step: "s", Target: "x"})
	for range 3 {
		if _, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{}); err != nil {
			t.Fatal(err)
		}
	}
	// A dry run asks whether a change would be allowed: it changes nothing.
	if _, err := client.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String("sg-1"), DryRun: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.entries()); n != 0 {
		t.Errorf("%d entries", n)
	}
	reads := a.Reads("r", "s", "x")
	if reads["ec2:DescribeInstances"] != 3 || reads["ec2:DeleteSecurityGroup"] != 1 || len(reads) != 2 {
		t.Errorf("counted %v", reads)
	}
	if again := a.Reads("r", "s", "x"); len(again) != 0 {
		t.Errorf("counted twice: %v", again)
	}
	if outside := a.Reads("", "", ""); outside["sts:GetCallerIdentity"] != 1 {
		t.Errorf("outside a step: %v", outside)
	}
}

func TestVerboseJournalsReadsToo(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, func(o *Options) { o.Verbose = true })
	if _, err := ec2.NewFromConfig(configFor(t, a)).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.entries()); n != 4 { // with GetCallerIdentity
		t.Errorf("%d entries", n)
	}
}

func TestNoJournalNoCall(t *testing.T) {
	f := newFront(t)
	for name, change := range map[string]func(*Options){
		"none":    func(o *Options) { o.Journal = nil },
		"refuses": func(o *Options) { o.Journal = &ledger{refuses: incident.EntryCallIntent} },
	} {
		a, _ := newAccess(t, f, change)
		err := protect(t.Context(), configFor(t, a))
		if !errors.Is(err, ErrNoJournal) || !strings.Contains(err.Error(), "ec2:DeleteSecurityGroup was not sent") {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "refuses" && !errors.Is(err, errFull) {
			t.Errorf("the journal's own error is lost: %v", err)
		}
	}
	if n := f.count("DeleteSecurityGroup"); n != 0 {
		t.Errorf("sent %d times", n)
	}
}

func TestAResultThatCannotBeJournaledIsAnError(t *testing.T) {
	f := newFront(t)
	a, _ := newAccess(t, f, func(o *Options) { o.Journal = &ledger{refuses: incident.EntryCallResult} })
	if err := protect(t.Context(), configFor(t, a)); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "was sent") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledContextSendsNothingMore(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := protect(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if f.count("DeleteSecurityGroup") != 0 || len(l.entries()) != 0 {
		t.Errorf("sent %d, journaled %d", f.count("DeleteSecurityGroup"), len(l.entries()))
	}
}

func TestTheCallInFlightFinishesAndIsJournaled(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = func(action string, _ int, _ url.Values) (int, string) {
		if action == "DeleteSecurityGroup" {
			cancel()
		}
		return http.StatusOK, ""
	}
	if err := protect(ctx, cfg); err != nil {
		t.Errorf("the call in flight failed: %v", err)
	}
	entries := l.entries()
	if len(entries) != 2 || entries[1].Data.(incident.CallResult).Error != "" {
		t.Fatalf("entries %+v", entries)
	}
	if l.ctxErr[1] != nil {
		t.Error("the result was committed under the cancelled context")
	}
}

func TestAfterCancellationAFailedAttemptIsNotRepeated(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = func(action string, _ int, _ url.Values) (int, string) {
		if action != "DeleteSecurityGroup" {
			return http.StatusOK, ""
		}
		cancel()
		return http.StatusServiceUnavailable, throttled
	}
	if err := protect(ctx, cfg); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "RequestLimitExceeded") {
		t.Errorf("got %v", err)
	}
	if n := f.count("DeleteSecurityGroup"); n != 1 {
		t.Errorf("sent %d times", n)
	}
	if n := len(l.entries()); n != 2 {
		t.Errorf("%d entries", n)
	}
}

func TestThrottledCallsAreTriedAgainWithoutWaitingInRealTime(t *testing.T) {
	f := newFront(t)
	simulated := newClock()
	a, l := newAccess(t, f, func(o *Options) { o.Clock = simulated })
	cfg := configFor(t, a)
	f.answer = func(action string, n int, _ url.Values) (int, string) {
		if action == "DeleteSecurityGroup" && n < 5 {
			return http.StatusServiceUnavailable, throttled
		}
		return http.StatusOK, ""
	}
	if err := protect(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got := l.entries()[1].Data.(incident.CallResult); got.Attempts != 5 {
		t.Errorf("attempts %d", got.Attempts)
	}
	if n := len(l.entries()); n != 2 {
		t.Errorf("%d entries: one intent covers all attempts", n)
	}
	if !simulated.Now().After(start) {
		t.Error("the backoff did not pass on the clock")
	}
}

func TestAFailureIsJournaledWithItsCode(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	f.answer = func(action string, _ int, _ url.Values) (int, string) {
		if action == "DeleteSecurityGroup" {
			return http.StatusBadRequest, ec2Error("DependencyViolation", "resource sg-1 has a dependent object")
		}
		return http.StatusOK, ""
	}
	if err := protect(t.Context(), cfg); err == nil {
		t.Fatal("no error")
	}
	got := l.entries()[1].Data.(incident.CallResult)
	if got.ErrorCode != "DependencyViolation" || !strings.Contains(got.Error, "dependent object") || got.RequestID == "" || got.ServerTime.IsZero() {
		t.Errorf("result %+v", got)
	}
}

func TestASignedRequestInAnErrorIsNotJournaled(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	cfg := configFor(t, a)
	f.answer = func(action string, _ int, _ url.Values) (int, string) {
		if action == "DeleteSecurityGroup" {
			return http.StatusForbidden, ec2Error("SignatureDoesNotMatch", "The Canonical String should have been 'x-amz-security-token:canary-session-token'")
		}
		return http.StatusOK, ""
	}
	if err := protect(t.Context(), cfg); err == nil {
		t.Fatal("no error")
	}
	if b := l.bytes(t); strings.Contains(string(b), "canary") {
		t.Errorf("journaled %s", b)
	}
}

func TestTheUserAgentNamesToolAndCase(t *testing.T) {
	f := newFront(t)
	a, _ := newAccess(t, f, nil)
	configFor(t, a)
	if got := f.agents[0]; !strings.Contains(got, "cordon/1.2.3 case/IR-7") {
		t.Errorf("user agent %s", got)
	}
}

func TestAnotherAccountsCredentialsAreRefused(t *testing.T) {
	f := newFront(t)
	a, _ := newAccess(t, f, nil)
	_, err := a.Config(t.Context(), incident.Target{Account: "999988887777", Region: "eu-central-1"})
	var refused *incident.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "111122223333") {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationsAreMadeOncePerAccountAndRegion(t *testing.T) {
	f := newFront(t)
	loads := 0
	a, _ := newAccess(t, f, func(o *Options) {
		base := o.Base
		o.Base = func(ctx context.Context, region string) (aws.Config, error) {
			loads++
			return base(ctx, region)
		}
	})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, region := range []string{"eu-central-1", "us-east-1"} {
				cfg, err := a.Config(t.Context(), incident.Target{Account: target.Account, Region: region})
				if err != nil || cfg.Region != region {
					t.Errorf("%s: %s, %v", region, cfg.Region, err)
				}
			}
		})
	}
	all.Wait()
	if loads != 2 || f.count("GetCallerIdentity") != 1 {
		t.Errorf("%d loads, %d identity checks", loads, f.count("GetCallerIdentity"))
	}
}

func TestAnAccountsRoleIsAssumed(t *testing.T) {
	f := newFront(t)
	f.answer = func(action string, _ int, form url.Values) (int, string) {
		if action != "AssumeRole" {
			return http.StatusOK, ""
		}
		if form.Get("RoleArn") != "arn:aws:iam::111122223333:role/responder" || form.Get("RoleSessionName") != "cordon" {
			return http.StatusForbidden, ec2Error("AccessDenied", "wrong role")
		}
		return http.StatusOK, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>canary-role-key</SecretAccessKey><SessionToken>canary-role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
	}
	a, l := newAccess(t, f, func(o *Options) {
		o.Roles = map[string]string{target.Account: "arn:aws:iam::111122223333:role/responder"}
	})
	if err := protect(t.Context(), configFor(t, a)); err != nil {
		t.Fatal(err)
	}
	if f.count("AssumeRole") != 1 {
		t.Errorf("assumed %d times", f.count("AssumeRole"))
	}
	if strings.Contains(string(l.bytes(t)), "canary") {
		t.Error("a credential is in the journal")
	}
}

func TestEveryEntryIsJSON(t *testing.T) {
	f := newFront(t)
	a, l := newAccess(t, f, nil)
	if err := protect(t.Context(), configFor(t, a)); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(l.bytes(t)) {
		t.Error("not JSON")
	}
}
