package cleanroom_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	evidenceAccount = "444455556666" // of the scenario
	otherRegion     = "eu-west-1"
)

// A room apart from the incident: its copies are made there, and nothing of it in the incident's place.
func TestARoomIsOpenedAndClosedElsewhere(t *testing.T) {
	for name, place := range map[string]struct{ account, region, key string }{
		"in another account":            {evidenceAccount, "", "alias/evidence"},
		"in another Region":             {"", otherRegion, "alias/evidence"},
		"in another account and Region": {evidenceAccount, otherRegion, "alias/evidence"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if place.region != "" {
				if err := b.account.AddRegion(place.account, place.region); err != nil {
					t.Fatal(err)
				}
			}
			configs := func(_ context.Context, to incident.Target) (aws.Config, error) {
				if to.Account == b.target.Account {
					return atOnce(b.account.Config(to.Region)), nil
				}
				return atOnce(b.account.ConfigIn(to.Account, to.Region)), nil
			}
			b.action = cleanroom.Actions(configs, cleanroom.Evidence{Bucket: b.account.Alert().Bucket, Region: b.target.Region})[0]
			b.snapshots = b.copiesIn(configs, place.account, place.region, place.key)
			b.inputs = map[string]any{"account": place.account, "region": place.region, "name": "lab"}
			room := b.open(false)
			there := incident.Target{Account: b.target.Account, Region: b.target.Region}
			if place.account != "" {
				there.Account = place.account
			}
			if place.region != "" {
				there.Region = place.region
			}
			if room.Account != there.Account || room.Region != there.Region || room.Label != "lab" || len(room.Volumes) != len(b.snapshots) {
				t.Errorf("%+v", room)
			}
			if s := b.stacks(); len(s) != 0 {
				t.Errorf("in the incident's own place: %q", s)
			}
			cfg, err := configs(t.Context(), there)
			if err != nil {
				t.Fatal(err)
			}
			report, err := cleanroom.Status(t.Context(), cfg, room)
			if err != nil || !report.Closed || len(report.Drift) != 0 {
				t.Errorf("%+v, %v", report, err)
			}
			c := b.closure()
			c.Config = cfg
			if _, err := c.Close(t.Context(), room); err != nil {
				t.Fatal(err)
			}
			left, err := cloudformation.NewFromConfig(cfg).DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{})
			if err != nil || len(left.Stacks) != 0 || b.room().Event != cleanroom.Closed {
				t.Errorf("%d stacks, %v, %+v", len(left.Stacks), err, b.room())
			}
			if _, err := ec2.NewFromConfig(cfg).DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: b.snapshots}); err != nil {
				t.Errorf("the copies are gone: %v", err)
			}
		})
	}
}

// copiesIn takes the bench's snapshots elsewhere, as the playbook does.
func (b *bench) copiesIn(configs capture.Configs, account, region, key string) (ids []string) {
	b.t.Helper()
	var action incident.Action
	for _, a := range capture.Actions(configs, nil) {
		if a.Spec().Name == "capture.copy-snapshots" {
			action = a
		}
	}
	req := b.request(false)
	req.Step = "copies"
	req.Inputs = map[string]any{
		"snapshots": b.snapshots, "kms_key": key, "account": account, "region": region, "through_key": "alias/shared", "lock_mode": "governance", "lock_days": 30,
	}
	p, err := action.Plan(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := action.Apply(b.t.Context(), req, p)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := action.Verify(b.t.Context(), req, p, r); err != nil {
		b.t.Fatal(err)
	}
	ids, ok := r.Outputs["copies"].([]string)
	if !ok || len(ids) != len(b.snapshots) {
		b.t.Fatalf("copies %v", r.Outputs)
	}
	return ids
}
