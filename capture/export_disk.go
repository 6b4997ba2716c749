package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// diskExport is one snapshot on its way into the store.
type diskExport struct {
	req      incident.Request
	in       exportInputs
	store    evidence.Resumable
	snapshot string
	base     *evidence.Base // the image that this one holds the changes to
	ec2      *ec2.Client
	ebs      *ebs.Client
}

func (x *diskExport) key(name string) string { return evidence.Key(x.req.Case, x.req.Run, name) }

func (x *diskExport) source() *source {
	s := &source{client: x.ebs, clock: x.req.Clock, snapshot: x.snapshot}
	if x.base != nil {
		s.since = x.base.Snapshot
	}
	return s
}

// diskPlan is what exporting one snapshot would do.
type diskPlan struct {
	load
	exact  bool // the blocks were counted
	base   *evidence.Base
	change incident.Change
}

func (x *diskExport) plan(ctx context.Context, snap types.Snapshot) (p diskPlan, err error) {
	size := int64(aws.ToInt32(snap.VolumeSize)) * gib
	p.load = loadOf(size, x.in.SegmentBytes)
	if x.in.Incremental {
		if p.base, err = x.findBase(ctx, aws.ToString(snap.VolumeId), size); err != nil {
			return p, err
		}
		x.base = p.base
	}
	if snap.State == types.SnapshotStateCompleted {
		if p.blocks, err = x.source().count(ctx); err != nil {
			return p, err
		}
		p.exact = true
	}
	p.change = incident.Change{
		Resource: x.store.String(), What: "disk image of " + x.snapshot, Before: "none",
		After: fmt.Sprintf("%s, %d GiB when restored", diskID(x.snapshot), size/gib),
	}
	if p.base != nil {
		p.change.After += ": what has changed since " + p.base.Item
	}
	return p, nil
}

// findBase is the image to build on: the case's last of the volume, while its
// snapshot is there to be compared with.
func (x *diskExport) findBase(ctx context.Context, volume string, bytes int64) (*evidence.Base, error) {
	base, err := earlierImage(ctx, x.store, x.req.Case, volume, x.snapshot, bytes)
	if err != nil || base == nil {
		return nil, err
	}
	found, err := describeSnapshots(ctx, x.ec2, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{base.Snapshot}})
	switch {
	case errorCode(err) == "InvalidSnapshot.NotFound":
		return nil, nil
	case err != nil:
		return nil, err
	case len(found) != 1 || found[0].State != types.SnapshotStateCompleted:
		return nil, nil
	}
	return base, nil
}

// run stores the image, or finds it stored, and records it.
func (x *diskExport) run(ctx context.Context) (evidence.Item, error) {
	var image evidence.Image
	obj, err := x.store.Stat(ctx, x.key(diskID(x.snapshot)+".json"), "")
	switch {
	case err == nil:
		image, err = readImage(ctx, x.store, obj)
	case errors.Is(err, evidence.ErrNotFound):
		image, obj, err = x.acquire(ctx)
	}
	if err != nil {
		return evidence.Item{}, err
	}
	it := itemOf(diskID(x.snapshot), evidence.KindDiskImage, x.snapshot, obj, image.Acquired)
	it.ContentSHA256, it.ContentRoot, it.ContentBytes = image.SHA256, image.Root, image.Bytes
	it.Notes = []string{"volume " + image.Volume}
	if image.Base != nil {
		it.Notes = append(it.Notes, "holds what has changed since "+image.Base.Item+": both are needed to restore it")
	}
	if image.SHA256 == "" {
		it.Notes = append(it.Notes, "the SHA-256 of the raw disk is computed when it is fetched; the Merkle root covers every block")
	}
	return it, recordStored(ctx, x.req, x.store, it)
}

// acquire waits for the snapshot and streams its blocks into the store, from
// where an earlier try has stopped.
func (x *diskExport) acquire(ctx context.Context) (evidence.Image, evidence.Object, error) {
	snap, err := x.completed(ctx)
	if err != nil {
		return evidence.Image{}, evidence.Object{}, err
	}
	total, err := x.source().count(ctx)
	if err != nil {
		return evidence.Image{}, evidence.Object{}, err
	}
	o, err := x.options(ctx, snap, total)
	if err != nil {
		return evidence.Image{}, evidence.Object{}, err
	}
	src := x.source()
	o.Buffers = new(diskimage.Buffers)
	src.encoder, src.buffers = diskimage.NewEncoder(), o.Buffers
	return diskimage.Write(ctx, o, func(ctx context.Context, w *diskimage.Writer) error {
		if w.Next() >= o.Image.Bytes/blockBytes {
			return nil
		}
		return src.read(ctx, w.Next(), func(b diskimage.Block) error {
			if err := w.Add(b); err != nil {
				return err
			}
			if n := w.Stored(); n%progressBlocks == 0 || n == total {
				x.progress("reading "+x.snapshot, n*blockBytes, total*blockBytes, "bytes")
			}
			return nil
		})
	})
}

// progressBlocks lie between two reports: 64 MiB.
const progressBlocks = 128

// options of the image: what is known of the snapshot, and what earlier tries recorded.
func (x *diskExport) options(ctx context.Context, snap types.Snapshot, blocks int64) (diskimage.Options, error) {
	size := int64(aws.ToInt32(snap.VolumeSize)) * gib
	o := diskimage.Options{
		Store: x.store, Key: x.key, Hash: x.wantsDigest(blocks, size/blockBytes),
		Put: evidence.PutOptions{Metadata: objectMetadata(x.req), AllowUnlocked: x.in.AllowUnlocked},
		Image: evidence.Image{
			Item: diskID(x.snapshot), Snapshot: x.snapshot, Volume: aws.ToString(snap.VolumeId), Acquired: x.req.Clock.Now().UTC(),
			Bytes: size, SegmentBytes: x.in.SegmentBytes, Base: x.base,
		},
		Record: func(ctx context.Context, r diskimage.Record) error {
			return x.req.Record(ctx, incident.EntryStepRecord, r)
		},
	}
	for _, raw := range x.req.Recorded(incident.EntryStepRecord) {
		var r diskimage.Record
		if err := json.Unmarshal(raw, &r); err != nil {
			return o, fmt.Errorf("record of step %s: %w", x.req.Step, err)
		}
		if r.Item == o.Image.Item {
			o.Records = append(o.Records, r)
		}
	}
	if x.base != nil {
		var err error
		if o.Base, err = diskimage.Open(ctx, x.store, x.base.Ref); err != nil {
			return o, fmt.Errorf("the image to build on: %w", err)
		}
	}
	return o, nil
}

const (
	// fewHoles are hashed whatever the disk holds: 256 GiB take three minutes.
	fewHoles = 256 * gib / blockBytes
	// One core hashes some 1.5 GB/s, and AWS lets 500 MiB/s be read: hashing three times as many
	// zeros as there is data takes no longer than reading the data.
	holesForData = 3
)

// wantsDigest: the SHA-256 of a disk is one chain over all its bytes, holes
// included. Where they are most of the disk they take most of the time; the Merkle root is had without.
func (x *diskExport) wantsDigest(stored, all int64) bool {
	switch x.in.WholeDigest {
	case digestAlways:
		return true
	case digestNever:
		return false
	default:
		return all-stored <= max(fewHoles, holesForData*stored)
	}
}

func (x *diskExport) progress(what string, done, total int64, unit string) {
	x.req.Progress(incident.Progress{Step: x.req.Step, What: what, Done: done, Total: total, Unit: unit})
}

// completed waits until the snapshot can be read: only completed ones can.
func (x *diskExport) completed(ctx context.Context) (snap types.Snapshot, err error) {
	err = incident.Poll(ctx, x.req.Clock, snapshotPoll, snapshotLimit, "snapshot "+x.snapshot, func(ctx context.Context) (bool, error) {
		out, err := x.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{x.snapshot}})
		if err != nil {
			return false, err
		}
		if len(out.Snapshots) != 1 {
			return false, fmt.Errorf("AWS shows %d snapshots of that ID", len(out.Snapshots))
		}
		snap = out.Snapshots[0]
		var percent int64
		_, _ = fmt.Sscanf(strings.TrimSuffix(aws.ToString(snap.Progress), "%"), "%d", &percent)
		x.progress(x.snapshot+" completes", percent, 100, "percent")
		switch snap.State {
		case types.SnapshotStateError:
			return false, fmt.Errorf("it ended in error: %s", aws.ToString(snap.StateMessage))
		case types.SnapshotStateCompleted:
			return true, nil
		}
		return false, nil
	})
	return snap, err
}

// verifyImage reads an image's indexes back, and what the store shows of its data.
func verifyImage(ctx context.Context, store evidence.Store, it evidence.Item) ([]string, error) {
	observed, err := verifyKept(ctx, store, []kept{{Item: it.ID, Key: it.Key, SHA256: it.SHA256}})
	if err != nil {
		return observed, err
	}
	r, err := diskimage.Open(ctx, store, evidence.Ref{Key: it.Key, Version: it.Version, SHA256: it.SHA256, Bytes: it.Bytes})
	if err != nil {
		return observed, err
	}
	var bytes int64
	n, mode, until := 0, it.Mode, it.RetainUntil
	for s, err := range r.Segments(ctx) {
		if err != nil {
			return observed, err
		}
		obj, err := store.Stat(ctx, s.Data.Key, s.Data.Version)
		if err != nil {
			return observed, err
		}
		if obj.Bytes != s.Data.Bytes || obj.Mode == evidence.ModeNone && it.Mode != evidence.ModeNone {
			return observed, &incident.NotVerifiedError{
				Resource: obj.Location, Want: fmt.Sprintf("%d bytes, lock %s", s.Data.Bytes, it.Mode), Got: fmt.Sprintf("%d bytes, lock %s", obj.Bytes, obj.Mode),
			}
		}
		if n++; n == 1 || obj.RetainUntil.Before(until) {
			mode, until = obj.Mode, obj.RetainUntil
		}
		bytes += obj.Bytes
	}
	if n == 0 {
		return append(observed, it.ID+": nothing has changed"), nil
	}
	line := fmt.Sprintf("%s: %d segments, %d bytes, lock %s", it.ID, n, bytes, mode)
	if !until.IsZero() {
		line += " until " + until.Format(time.RFC3339) + " at least"
	}
	return append(observed, line), nil
}
