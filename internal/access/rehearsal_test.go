package access

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func rehearse(t *testing.T) (*rehearsal.Account, *Access, *ledger, incident.Target) {
	t.Helper()
	account, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	alert := account.Alert()
	return account, New(Options{
		Base:    func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
		Journal: l, Case: "IR-1", Version: "test", Clock: account.Clock(), Rehearsal: true,
	}), l, incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance}
}

func tagIt(ctx context.Context, cfg aws.Config, id string) error {
	_, err := ec2.NewFromConfig(cfg).CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("cordon:case"), Value: aws.String("IR-1")}},
	})
	return err
}

func TestInARehearsalALostAnswerIsTriedAgainUnderOneIntent(t *testing.T) {
	account, a, l, target := rehearse(t)
	cfg, err := a.Config(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"lost", "throttle"} {
		if err := account.Inject(rehearsal.Fault{Operation: "ec2:CreateTags", Kind: kind, Count: 2}); err != nil {
			t.Fatal(err)
		}
	}
	before := account.Clock().Now()
	if err := tagIt(t.Context(), cfg, target.Instance); err != nil {
		t.Fatal(err)
	}
	entries := l.entries()
	if len(entries) != 2 {
		t.Fatalf("%d entries", len(entries))
	}
	if got := entries[1].Data.(incident.CallResult); got.Attempts != 5 || got.RequestID == "" {
		t.Errorf("result %+v", got)
	}
	if passed := account.Clock().Now().Sub(before); passed > 5*time.Minute {
		t.Errorf("%s passed in the rehearsal", passed)
	}
}

func TestInARehearsalRefusalsAreExplained(t *testing.T) {
	account, a, _, target := rehearse(t)
	cfg, err := a.Config(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if err := account.Deny("ec2:CreateTags"); err != nil {
		t.Fatal(err)
	}
	if err := Explain(tagIt(t.Context(), cfg, target.Instance)); !strings.Contains(hintOf(err), "permission ec2:CreateTags is missing") {
		t.Errorf("denied: %v, hint %q", err, hintOf(err))
	}
	_, err = ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	if err := Explain(err); !strings.Contains(hintOf(err), "check the instance's ID") {
		t.Errorf("no such instance: %v, hint %q", err, hintOf(err))
	}
	if err := account.SetCredentials("expired"); err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Identity(t.Context(), target.Region)
	if !strings.Contains(hintOf(err), "have expired") {
		t.Errorf("expired: %v, hint %q", err, hintOf(err))
	}
}

// The SDK presigns a copy before it sends it: a second CopySnapshot that never left must not be in the journal.
func TestARequestThatIsOnlyPresignedIsNoCall(t *testing.T) {
	account, a, l, target := rehearse(t)
	cfg, err := a.Config(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	client := ec2.NewFromConfig(cfg)
	volumes, err := client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := client.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: volumes.Volumes[0].VolumeId})
	if err != nil {
		t.Fatal(err)
	}
	if err := account.Clock().Sleep(t.Context(), 5*time.Minute); err != nil { // until it is completed
		t.Fatal(err)
	}
	if _, err := client.CopySnapshot(t.Context(), &ec2.CopySnapshotInput{SourceRegion: &target.Region, SourceSnapshotId: snap.SnapshotId}); err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, e := range l.entries() {
		if intent, ok := e.Data.(incident.CallIntent); ok {
			calls = append(calls, intent.Operation)
		}
	}
	if got := strings.Join(calls, " "); got != "CreateSnapshot CopySnapshot" {
		t.Errorf("journaled: %s", got)
	}
}

func TestInARehearsalTheRoleOfAnotherAccountIsAssumed(t *testing.T) {
	account, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	const other = "444455556666"
	at := func(role string) (aws.Config, error) {
		a := New(Options{
			Base:  func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
			Roles: map[string]string{other: "arn:aws:iam::" + other + ":role/" + role}, Version: "test", Clock: account.Clock(), Rehearsal: true,
		})
		return a.Config(t.Context(), incident.Target{Account: other, Region: account.Alert().Region})
	}
	cfg, err := at("cordon")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil || len(out.Reservations) != 0 {
		t.Errorf("the other account has no instances: %+v, %v", out, err)
	}
	if _, err := at("nobody"); err == nil || !strings.Contains(err.Error(), "AccessDenied") && !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("a role that is not there: %v", err)
	}
}
