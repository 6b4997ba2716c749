package cleanroom_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
)

// withStore gives the bench an evidence store, which the room reaches too.
func (b *bench) withStore() evidence.Store {
	b.t.Helper()
	bucket := b.account.Alert().Bucket
	store := vault.NewS3(b.cfg(), vault.S3Options{Bucket: bucket, Mode: "GOVERNANCE", Days: 1}, b.account.Clock())
	b.configure(cleanroom.Evidence{Bucket: bucket, Store: func(context.Context, incident.Target) (evidence.Store, error) { return store, nil }})
	return store
}

func (b *bench) configure(e cleanroom.Evidence) {
	b.action = cleanroom.Actions(func(_ context.Context, t incident.Target) (aws.Config, error) {
		return atOnce(b.account.Config(t.Region)), nil
	}, e)[0]
}

// export stores the smallest snapshot as a disk image, with whole_digest as given.
func (b *bench) export(store evidence.Store, digest string) (snapshot string) {
	b.t.Helper()
	out, err := b.ec2().DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: b.snapshots})
	if err != nil {
		b.t.Fatal(err)
	}
	smallest := slices.MinFunc(out.Snapshots, func(a, c types.Snapshot) int { return int(*a.VolumeSize - *c.VolumeSize) })
	snapshot = *smallest.SnapshotId
	stores := func(context.Context, incident.Target) (evidence.Store, error) { return store, nil }
	configs := func(_ context.Context, t incident.Target) (aws.Config, error) {
		return atOnce(b.account.Config(t.Region)), nil
	}
	all := capture.Actions(configs, stores)
	action := all[slices.IndexFunc(all, func(a incident.Action) bool { return a.Spec().Name == "capture.export" })]
	req := b.request(false)
	req.Step = "export"
	req.Inputs = map[string]any{"snapshots": []string{snapshot}, "incremental": false, "whole_digest": digest, "segment_bytes": 64 << 20, "allow_unlocked": false}
	p, err := action.Plan(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := action.Apply(b.t.Context(), req, p); err != nil {
		b.t.Fatal(err)
	}
	return snapshot
}

func (b *bench) deleteSnapshot(id string) {
	b.t.Helper()
	if _, err := b.ec2().DeleteSnapshot(b.t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &id}); err != nil {
		b.t.Fatal(err)
	}
}

// blocks are those of a snapshot, as AWS gives them.
func (b *bench) blocks(snapshot string) map[int32]string {
	b.t.Helper()
	client, all := ebs.NewFromConfig(b.cfg()), make(map[int32]string)
	pages := ebs.NewListSnapshotBlocksPaginator(client, &ebs.ListSnapshotBlocksInput{SnapshotId: &snapshot})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, l := range page.Blocks {
			out, err := client.GetSnapshotBlock(b.t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: &snapshot, BlockIndex: l.BlockIndex, BlockToken: l.BlockToken})
			if err != nil {
				b.t.Fatal(err)
			}
			body, err := io.ReadAll(out.BlockData)
			if err != nil {
				b.t.Fatal(err)
			}
			all[*l.BlockIndex] = string(body)
		}
	}
	return all
}

// restored are the snapshots that a room has restored from images.
func (b *bench) restored() []types.Snapshot {
	b.t.Helper()
	out, err := b.ec2().DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{"cordon:restored"}}}})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Snapshots
}

// custody are the events of an item.
func (b *bench) custody(item string) (events []string) {
	b.t.Helper()
	for _, e := range b.entries {
		var ev evidence.CustodyEvent
		if e.Type == incident.EntryCustody && json.Unmarshal(e.Data, &ev) == nil && ev.Item == item {
			events = append(events, ev.Event)
		}
	}
	return events
}

func TestASnapshotThatIsGoneIsRestoredFromItsImage(t *testing.T) {
	b := newBench(t)
	gone := b.export(b.withStore(), "always")
	want := b.blocks(gone)
	b.deleteSnapshot(gone)
	b.snapshots = []string{gone}
	room := b.open(false)
	made := b.restored()
	if len(made) != 1 || !aws.ToBool(made[0].Encrypted) {
		t.Fatalf("restored %+v", made)
	}
	if got := b.blocks(*made[0].SnapshotId); len(want) == 0 || !maps.Equal(got, want) {
		t.Errorf("%d blocks, want the %d of %s", len(got), len(want), gone)
	}
	item := "disk-image-" + gone
	for volume, of := range room.Items {
		if of != item || room.Volumes[volume] != *made[0].SnapshotId {
			t.Errorf("volume %s of %s, from %s", volume, of, room.Volumes[volume])
		}
	}
	if events := b.custody(item); !slices.Equal(events, []string{"acquired", "restored", "attached"}) {
		t.Errorf("custody %q", events)
	}
	if _, err := b.closure().Close(t.Context(), b.room()); err != nil {
		t.Fatal(err)
	}
	if left := b.restored(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// Whatever is lost or fails, one snapshot is made, and it is whole.
func TestARestorationThatIsCutShortGoesOn(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"the start is lost":      {Operation: "ebs:StartSnapshot", Kind: "lost", Count: 1},
		"a block fails":          {Operation: "ebs:PutSnapshotBlock", Kind: "error", Code: "AccessDeniedException", Skip: 2, Count: 1},
		"a block is lost":        {Operation: "ebs:PutSnapshotBlock", Kind: "lost", Skip: 1, Count: 1},
		"the completion fails":   {Operation: "ebs:CompleteSnapshot", Kind: "error", Code: "AccessDeniedException", Count: 1},
		"the completion is lost": {Operation: "ebs:CompleteSnapshot", Kind: "lost", Count: 1},
		"a volume fails":         {Operation: "ec2:CreateVolume", Kind: "error", Code: "UnauthorizedOperation", Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			gone := b.export(b.withStore(), "never")
			want := b.blocks(gone)
			b.deleteSnapshot(gone)
			b.snapshots = []string{gone}
			p, err := b.action.Plan(t.Context(), b.request(false))
			if err != nil {
				t.Fatal(err)
			}
			b.inject(f)
			_, err = b.action.Apply(t.Context(), b.request(false), p)
			if f.Kind == "error" && err == nil {
				t.Fatal("the fault was not met")
			}
			if _, err := b.action.Apply(t.Context(), b.request(true), p); err != nil {
				t.Fatal(err)
			}
			made := b.restored()
			if len(made) != 1 || made[0].State != types.SnapshotStateCompleted {
				t.Fatalf("restored %+v", made)
			}
			if got := b.blocks(*made[0].SnapshotId); !maps.Equal(got, want) {
				t.Errorf("%d blocks, want %d", len(got), len(want))
			}
			if v := b.room().Volumes; len(v) != 1 {
				t.Errorf("volumes %v", v)
			}
		})
	}
}

// An image that was altered, in the store or on the way, never becomes a volume.
func TestAnAlteredImageIsNotRestored(t *testing.T) {
	b := newBench(t)
	store := b.withStore()
	gone := b.export(store, "never")
	b.deleteSnapshot(gone)
	b.snapshots = []string{gone}
	p, err := b.action.Plan(t.Context(), b.request(false))
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cleanroom.Evidence{Bucket: b.account.Alert().Bucket, Store: func(context.Context, incident.Target) (evidence.Store, error) { return altering{store}, nil }})
	if _, err := b.action.Apply(t.Context(), b.request(false), p); !errors.Is(err, evidence.ErrDigest) {
		t.Fatalf("got %v", err)
	}
	for _, s := range b.restored() {
		if s.State == types.SnapshotStateCompleted {
			t.Errorf("%s was completed", *s.SnapshotId)
		}
	}
	if v := b.copies(); len(v) != 0 {
		t.Errorf("volumes %+v", v)
	}
}

// altering is a store whose images have another byte in the middle.
type altering struct{ evidence.Store }

func (a altering) Get(ctx context.Context, key, version string) (io.ReadCloser, error) {
	body, err := a.Store.Get(ctx, key, version)
	if err != nil || !strings.HasSuffix(key, ".raw.zst") {
		return body, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	b[len(b)/2] ^= 1
	return io.NopCloser(strings.NewReader(string(b))), nil
}

func TestWithoutSnapshotAndImageNothingIsPlanned(t *testing.T) {
	b := newBench(t)
	for name, e := range map[string]cleanroom.Evidence{"no store": {}, "no image": {Bucket: b.account.Alert().Bucket}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if e.Bucket != "" {
				b.withStore()
			} else {
				b.configure(e)
			}
			b.deleteSnapshot(b.snapshots[0])
			if _, err := b.action.Plan(t.Context(), b.request(false)); err == nil || !strings.Contains(err.Error(), b.snapshots[0]) {
				t.Errorf("planned: %v", err)
			}
		})
	}
}

// parameters are those that a plan gives the stack, and the plan's notes.
func (b *bench) parameters(req incident.Request) (map[string]string, string) {
	b.t.Helper()
	p, err := b.action.Plan(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	var before struct{ Parameters map[string]string }
	if err := json.Unmarshal(p.Before, &before); err != nil {
		b.t.Fatal(err)
	}
	return before.Parameters, strings.Join(p.Notes, "; ")
}

func TestARoomMayUseTheBucketsOwnKeyAndNoOther(t *testing.T) {
	b := newBench(t)
	b.withStore()
	bucket := aws.String(b.account.Alert().Bucket)
	key, err := kms.NewFromConfig(b.cfg()).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		by   s3types.ServerSideEncryptionByDefault
		want string
	}{
		"a key of S3's":       {s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAes256}, ""},
		"the customer's, ID":  {s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: key.KeyMetadata.KeyId}, *key.KeyMetadata.Arn},
		"the customer's, ARN": {s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: key.KeyMetadata.Arn}, *key.KeyMetadata.Arn},
	} {
		if _, err := s3.NewFromConfig(b.cfg()).PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
			Bucket: bucket, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &test.by}}},
		}); err != nil {
			t.Fatal(err)
		}
		if got, _ := b.parameters(b.request(false)); got["EvidenceKey"] != test.want || got["EvidenceBucket"] != *bucket {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// A gateway endpoint leads to the buckets of its own Region only.
func TestARoomInAnotherRegionReachesNoBucket(t *testing.T) {
	b := newBench(t)
	b.withStore()
	req := b.request(false)
	delete(req.Inputs, "snapshots") // not known yet: they would be copies
	req.Inputs["region"] = "eu-west-1"
	req.Inputs["image"] = "ami-0123456789abcdef0"
	if got, notes := b.parameters(req); got["EvidenceBucket"] != "" || !strings.Contains(notes, "the room can't reach it") {
		t.Errorf("got %v: %s", got, notes)
	}
	req.Inputs["toolkit"] = strings.Repeat("0", 64)
	if _, err := b.action.Plan(t.Context(), req); err == nil || !strings.Contains(err.Error(), "toolkit") {
		t.Errorf("planned: %v", err)
	}
}

func TestEachInstanceHasItsOwnCopies(t *testing.T) {
	b := newBench(t)
	b.instances = 2
	room := b.open(false)
	if len(room.Instances) != 2 || len(room.Volumes) != 2*len(b.snapshots) {
		t.Fatalf("room %+v", room)
	}
	for _, instance := range room.Instances {
		out, err := b.ec2().DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{instance}}}})
		if err != nil {
			t.Fatal(err)
		}
		var from []string
		for _, v := range out.Volumes {
			if slices.Contains(b.snapshots, aws.ToString(v.SnapshotId)) {
				from = append(from, *v.SnapshotId)
			}
		}
		slices.Sort(from)
		if want := slices.Sorted(slices.Values(b.snapshots)); !slices.Equal(from, want) {
			t.Errorf("%s has copies of %q, want %q", instance, from, want)
		}
	}
	entries := len(b.entries)
	if again := b.open(true); len(again.Volumes) != len(room.Volumes) || len(b.entries) != entries {
		t.Errorf("done again: %+v, %d entries, then %d", again, entries, len(b.entries))
	}
}

// What examiner.sh tells an item by: the instance sees its own tags.
func TestAnInstanceIsToldWhatEachDiskIs(t *testing.T) {
	b := newBench(t)
	room := b.open(false)
	out, err := b.ec2().DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{room.Instance}})
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]string)
	for _, tag := range out.Reservations[0].Instances[0].Tags {
		if volume, ok := strings.CutPrefix(*tag.Key, "cordon:evidence:"); ok {
			told[volume] = *tag.Value
		}
	}
	if len(told) != len(b.snapshots) || !maps.Equal(told, room.Items) {
		t.Errorf("told %v, items %v", told, room.Items)
	}
}
