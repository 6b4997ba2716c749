package capture_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// verified is the report of one item that AWS keeps.
func (b *bench) verified(id string, holders ...string) evidence.ItemReport {
	b.t.Helper()
	b.item(id)
	report, err := evidence.Verifier{
		Store: b.store, Now: b.account.Clock().Now(), Custody: b.custody, Item: id, ExpiresWithin: time.Hour,
		InAWS: func(ctx context.Context, it evidence.Item) (evidence.Kept, error) {
			return capture.Kept(ctx, b.config(atOnce(b.account.Config(b.target.Region))), it, holders)
		},
	}.Case(b.t.Context(), incident.Case{ID: "INC-1", Rehearsal: true})
	if err != nil || len(report.Items) != 1 {
		b.t.Fatalf("%+v, %v", report, err)
	}
	return report.Items[0]
}

func problems(r evidence.ItemReport) (all []evidence.Problem) {
	for _, f := range r.Findings {
		if f.Problem != evidence.Unlisted { // there is no run that puts a manifest
			all = append(all, f.Problem)
		}
	}
	return all
}

func (b *bench) share(id, account string, group types.PermissionGroup) {
	b.t.Helper()
	p := types.CreateVolumePermission{Group: group}
	if account != "" {
		p.UserId = &account
	}
	if _, err := b.ec2().ModifySnapshotAttribute(b.t.Context(), &ec2.ModifySnapshotAttributeInput{
		SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
		CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: []types.CreateVolumePermission{p}},
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) unlock(id string) {
	b.t.Helper()
	if _, err := b.ec2().UnlockSnapshot(b.t.Context(), &ec2.UnlockSnapshotInput{SnapshotId: &id}); err != nil {
		b.t.Fatal(err)
	}
}

// Whatever is done to a snapshot of the case is found.
func TestWhatBecameOfASnapshotIsFound(t *testing.T) {
	const stranger = "999988887777"
	for name, tt := range map[string]struct {
		mode string
		does func(b *bench, id string)
		want []evidence.Problem
	}{
		"nothing":     {does: func(*bench, string) {}},
		"not at once": {does: nil, want: []evidence.Problem{evidence.Unfinished}},
		"deleted": {want: []evidence.Problem{evidence.Missing}, does: func(b *bench, id string) {
			b.unlock(id)
			if _, err := b.ec2().DeleteSnapshot(b.t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &id}); err != nil {
				b.t.Fatal(err)
			}
		}},
		"unlocked": {want: []evidence.Problem{evidence.Unlocked}, does: (*bench).unlock},
		"locked for a shorter time": {want: []evidence.Problem{evidence.Shortened}, does: func(b *bench, id string) {
			if _, err := b.ec2().LockSnapshot(b.t.Context(), &ec2.LockSnapshotInput{SnapshotId: &id, LockMode: types.LockModeGovernance, LockDuration: aws.Int32(2)}); err != nil {
				b.t.Fatal(err)
			}
		}},
		"never locked": {mode: "none", does: func(*bench, string) {}, want: []evidence.Problem{evidence.NotWriteOnce}},
		"its lock ends": {want: []evidence.Problem{evidence.Expired}, does: func(b *bench, _ string) {
			if err := b.account.Clock().Sleep(b.t.Context(), 31*24*time.Hour); err != nil {
				b.t.Fatal(err)
			}
		}},
		"made public":              {want: []evidence.Problem{evidence.Shared}, does: func(b *bench, id string) { b.share(id, "", types.PermissionGroupAll) }},
		"shared with a stranger":   {want: []evidence.Problem{evidence.Shared}, does: func(b *bench, id string) { b.share(id, stranger, "") }},
		"shared for the case copy": {does: func(b *bench, id string) { b.share(id, evidenceAccount, "") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			mode := tt.mode
			if mode == "" {
				mode = "governance"
			}
			r, _ := b.run("capture.snapshots", false, map[string]any{"lock_mode": mode})
			id := r.Outputs["snapshots"].([]string)[0]
			if tt.does != nil {
				if err := b.account.Clock().Sleep(t.Context(), 5*time.Minute); err != nil {
					t.Fatal(err)
				}
				tt.does(b, id)
			}
			report := b.verified("snapshot-"+id, evidenceAccount)
			if got := problems(report); !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q: %+v", got, tt.want, report.Findings)
			}
			failed := slices.ContainsFunc(report.Findings, func(f evidence.Finding) bool { return !f.Warning })
			if want := map[bool]string{false: evidence.StateVerified, true: evidence.StateFailed}[failed]; report.State != want {
				t.Errorf("state %s, want %s", report.State, want)
			}
			if name == "shared for the case copy" && !strings.Contains(report.Shown, "shared with "+evidenceAccount) {
				t.Errorf("shown as %q", report.Shown)
			}
		})
	}
}

func TestWhatBecameOfAnImageIsFound(t *testing.T) {
	b := newBench(t)
	r, _ := b.run("capture.image", false, nil)
	id := r.Outputs["image"].(string)
	if got := problems(b.verified(id)); !slices.Equal(got, []evidence.Problem{evidence.Unfinished, evidence.NotWriteOnce}) {
		t.Errorf("at once: %q", got)
	}
	if err := b.account.Clock().Sleep(t.Context(), 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	report := b.verified(id)
	if got := problems(report); !slices.Equal(got, []evidence.Problem{evidence.NotWriteOnce}) || report.State != evidence.StateVerified || !strings.Contains(report.Shown, "available") {
		t.Errorf("%+v", report)
	}
	if _, err := b.ec2().DisableImageDeregistrationProtection(t.Context(), &ec2.DisableImageDeregistrationProtectionInput{ImageId: &id}); err != nil {
		t.Fatal(err)
	}
	if got := problems(b.verified(id)); !slices.Contains(got, evidence.Unlocked) {
		t.Errorf("without its protection: %q", got)
	}
	if _, err := b.ec2().DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: &id}); err != nil {
		t.Fatal(err)
	}
	if report := b.verified(id); report.State != evidence.StateFailed || !slices.Contains(problems(report), evidence.Missing) {
		t.Errorf("deregistered: %+v", report)
	}
}

// What can't be asked about is said so, and fails nothing.
func TestWhatAWSDoesNotShowIsNotChecked(t *testing.T) {
	for _, denied := range []string{"ec2:DescribeSnapshots", "ec2:DescribeLockedSnapshots", "ec2:DescribeSnapshotAttribute"} {
		b := newBench(t)
		id := b.taken()[0]
		if err := b.account.Deny(denied); err != nil {
			t.Fatal(err)
		}
		report := b.verified("snapshot-" + id)
		if got := problems(report); report.State != evidence.StateElsewhere || !slices.Equal(got, []evidence.Problem{evidence.Unchecked}) || !strings.Contains(report.Findings[0].Detail+report.Findings[1].Detail, denied) {
			t.Errorf("without %s: %+v", denied, report)
		}
	}
}
