package capture_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func (b *bench) snapshots() []string {
	b.t.Helper()
	out, err := b.ec2().DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:cordon:step"), Values: []string{"capture.snapshots"}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, s := range out.Snapshots {
		ids = append(ids, aws.ToString(s.SnapshotId))
	}
	slices.Sort(ids)
	return ids
}

func (b *bench) images() []types.Image {
	b.t.Helper()
	out, err := b.ec2().DescribeImages(b.t.Context(), &ec2.DescribeImagesInput{
		Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"cordon-*"}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Images
}

// The export that follows is planned in the run: who approves the whole knows its size beforehand.
func TestThePlanOfSnapshotsSaysWhatAnExportWouldTake(t *testing.T) {
	b := newBench(t)
	p, err := b.plan("capture.snapshots", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"at most 3.0 GiB to read: 6144 blocks", "6s at the 1000 blocks a second", "Estimate (us-east-1 prices of ", "$0.02 for the requests"}
	for _, w := range want {
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, w) }) {
			t.Errorf("%q is not in %q", w, p.Notes)
		}
	}
}

func TestSnapshotsAreTakenOnceLockedAndRecorded(t *testing.T) {
	b := newBench(t)
	r, v := b.run("capture.snapshots", false, map[string]any{"lock_days": 7})
	ids := r.Outputs["snapshots"].([]string)
	if len(ids) != 2 || len(v.Observed) != 2 || !strings.Contains(v.Observed[0], "governance") {
		t.Fatalf("snapshots %q, observed %q", ids, v.Observed)
	}
	for _, id := range ids {
		it := b.item("snapshot-" + id)
		if it.Mode != "governance" || it.RetainUntil.IsZero() || !strings.HasSuffix(it.Location, ":snapshot/"+id) {
			t.Errorf("item %+v", it)
		}
		if _, err := b.ec2().DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &id}); err == nil {
			t.Errorf("%s could be deleted", id)
		}
	}
}

func TestOneSetOfSnapshotsWhateverIsLost(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"the answer to CreateSnapshots": {Operation: "ec2:CreateSnapshots", Kind: "lost", Count: 1},
		"the answer to a lock":          {Operation: "ec2:LockSnapshot", Kind: "lost", Count: 1},
		"throttled":                     {Operation: "ec2:CreateSnapshots", Kind: "throttle", Count: 2},
		"nothing":                       {Operation: "ec2:NoSuchOperation", Kind: "lost", Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.inject(f)
			first, _ := b.run("capture.snapshots", false, nil)
			second, _ := b.run("capture.snapshots", true, nil)
			if string(first.Applied) != string(second.Applied) {
				t.Errorf("first %s, then %s", first.Applied, second.Applied)
			}
			if ids := b.snapshots(); len(ids) != 2 {
				t.Errorf("snapshots %q", ids)
			}
			if len(b.custody.Items) != 2 || len(b.custody.Events) != 2 {
				t.Errorf("items %+v, events %+v", b.custody.Items, b.custody.Events)
			}
		})
	}
}

// A process killed after the request was sent knows nothing of its answer, and
// the tag index does not show the snapshots at once.
func TestAResumedStepFindsItsSnapshotsThroughALateTagIndex(t *testing.T) {
	b := newBench(t)
	p, err := b.plan("capture.snapshots", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.inject(rehearsal.Fault{Operation: "ec2:DescribeLockedSnapshots", Kind: "error", Code: "UnauthorizedOperation", Count: 1})
	if _, err := b.action("capture.snapshots").Apply(t.Context(), b.request("capture.snapshots", false, nil), p); err == nil {
		t.Fatal("the fault was not met")
	}
	if early := b.snapshots(); len(early) != 0 {
		t.Fatalf("the tag index shows %q at once: nothing is tested", early)
	}
	clear(b.entries) // what was recorded is not needed
	if _, err := b.action("capture.snapshots").Apply(t.Context(), b.request("capture.snapshots", true, nil), p); err != nil {
		t.Fatal(err)
	}
	if ids := b.snapshots(); len(ids) != 2 {
		t.Errorf("snapshots %q", ids)
	}
}

func TestALockThatFailsIsMadeGoodOnTheSnapshotsThereAre(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "ec2:LockSnapshot", Kind: "error", Code: "UnauthorizedOperation", Skip: 1, Count: 1})
	var hint *incident.HintError
	if err := b.fails("capture.snapshots", false, nil); !errors.As(err, &hint) {
		t.Errorf("got %v", err)
	}
	b.run("capture.snapshots", false, nil) // the failed try left an outcome: not resumed
	if ids := b.snapshots(); len(ids) != 2 {
		t.Errorf("snapshots %q", ids)
	}
}

func TestComplianceIsIrreversibleAndNoneIsNotLocked(t *testing.T) {
	b := newBench(t)
	for mode, want := range map[string]incident.Impact{"governance": incident.Additive, "none": incident.Additive, "compliance": incident.Irreversible} {
		p, err := b.plan("capture.snapshots", map[string]any{"lock_mode": mode})
		if err != nil || p.Impact != want || len(p.Changes) != 2 {
			t.Errorf("%s: %+v, %v", mode, p, err)
		}
	}
	if _, err := b.plan("capture.snapshots", map[string]any{"lock_days": 0}); err == nil {
		t.Error("a lock of no days was planned")
	}
	_, v := b.run("capture.snapshots", false, map[string]any{"lock_mode": "none"})
	if !strings.Contains(v.Observed[0], "not locked") {
		t.Errorf("observed %q", v.Observed)
	}
}

func TestOneImageWhateverIsLost(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"the answer to CreateSnapshots": {Operation: "ec2:CreateImage", Kind: "lost", Count: 1},
		"the answer to the protection":  {Operation: "ec2:EnableImageDeregistrationProtection", Kind: "lost", Count: 1},
		"nothing":                       {Operation: "ec2:NoSuchOperation", Kind: "lost", Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.inject(f)
			first, _ := b.run("capture.image", false, nil)
			second, v := b.run("capture.image", true, nil)
			id := first.Outputs["image"].(string)
			if second.Outputs["image"] != id || !strings.Contains(v.Observed[0], "protection enabled") {
				t.Errorf("first %s, then %v; observed %q", id, second.Outputs, v.Observed)
			}
			if all := b.images(); len(all) != 1 || aws.ToString(all[0].ImageId) != id {
				t.Errorf("images %+v", all)
			}
			b.item(id)
			if _, err := b.ec2().DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: &id}); err == nil {
				t.Errorf("%s could be deregistered", id)
			}
		})
	}
}
