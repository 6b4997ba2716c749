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
	"github.com/aws/aws-sdk-go-v2/service/s3"

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

func TestARoomReachesTheBucketsOwnKey(t *testing.T) {
	b := newBench(t)
	b.withStore()
	parameters := func() map[string]string {
		p, err := b.action.Plan(t.Context(), b.request(false))
		if err != nil {
			t.Fatal(err)
		}
		var before struct{ Parameters map[string]string }
		if err := json.Unmarshal(p.Before, &before); err != nil {
			t.Fatal(err)
		}
		return before.Parameters
	}
	out, err := s3.NewFromConfig(b.cfg()).GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: aws.String(b.account.Alert().Bucket)})
	if err != nil {
		t.Fatal(err)
	}
	own := aws.ToString(out.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.KMSMasterKeyID)
	if got := parameters()["EvidenceKey"]; (own == "") != (got == "") {
		t.Errorf("the bucket has %q, the room %q", own, got)
	}
}
