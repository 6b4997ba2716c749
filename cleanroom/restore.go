package cleanroom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// tagRestored names, on a snapshot made from an exported image, the image's item.
	tagRestored = "cordon:restored"
	gib         = 1 << 30
	// parallelBlocks are on their way at once: 16 MiB of memory.
	parallelBlocks = 32
	// restoreTimeout, in minutes, is after how long without a block AWS gives a snapshot up (API_StartSnapshot): a
	// run that was interrupted can go on until then.
	restoreTimeout = 24 * 60
	maxRecord      = 1 << 20 // bytes of an item's record
	sealLimit      = 10 * time.Minute
)

// exported finds the exported image of a snapshot that is gone, by the record
// that lies beside it in the store.
func (p *planner) exported(ctx context.Context, snapshot string) (disk, error) {
	if p.evidence.Store == nil {
		return disk{}, errors.New("and no evidence store is configured that could have its image")
	}
	store, err := p.evidence.store(ctx)
	if err != nil {
		return disk{}, fmt.Errorf("and its image can't be looked for: %w", err)
	}
	objects, err := store.List(ctx, evidence.Folder(p.req.Case))
	if err != nil {
		return disk{}, fmt.Errorf("and its image can't be looked for: %w", err)
	}
	item := "disk-image-" + snapshot
	for _, o := range objects {
		if path.Base(o.Key) != item+".item.json" {
			continue
		}
		ref, err := recorded(ctx, store, o)
		if err != nil {
			return disk{}, fmt.Errorf("and the record of %s can't be read: %w", item, err)
		}
		r, err := diskimage.Open(ctx, store, ref)
		if err != nil {
			return disk{}, fmt.Errorf("and %s can't be restored: %w", item, err)
		}
		size := (r.Image().Bytes + gib - 1) / gib
		return disk{Item: item, Snapshot: snapshot, GiB: int32(size), Image: &ref}, nil
	}
	return disk{}, errors.New("and the case has no exported image of it")
}

// recorded is the index that an item's record names.
func recorded(ctx context.Context, store evidence.Store, o evidence.Object) (evidence.Ref, error) {
	body, err := store.Get(ctx, o.Key, o.Version)
	if err != nil {
		return evidence.Ref{}, err
	}
	defer body.Close()
	var r evidence.Record
	if err := json.NewDecoder(io.LimitReader(body, maxRecord)).Decode(&r); err != nil {
		return evidence.Ref{}, err
	}
	return evidence.Ref{Key: r.Item.Key, Version: r.Item.Version, SHA256: r.Item.SHA256, Bytes: r.Item.Bytes}, nil
}

// restoration makes a snapshot from an exported image, by the EBS direct APIs.
type restoration struct {
	*opening
	disk   disk
	ebs    *ebs.Client
	reader *diskimage.Reader
}

// restoring is recorded when a snapshot is begun, and again before it is
// completed, with what a later try completes it with, without reading the image again.
type restoring struct {
	Item     string `json:"restored_item"`
	Snapshot string `json:"restored_snapshot"`
	Blocks   int32  `json:"restored_blocks,omitempty"`
	Checksum string `json:"restored_checksum,omitempty"` // base64; empty until every block is written
}

// restored returns a snapshot with the content of the image. The image is read to its last byte and checked
// block by block and as a whole before the snapshot is completed, and AWS
// checks what it receives by the same digests. Called again after a crash it
// goes on with the snapshot that it has begun.
func (o *opening) restored(ctx context.Context, d disk) (string, error) {
	store, err := o.evidence.store(ctx)
	if err != nil {
		return "", err
	}
	r := &restoration{opening: o, disk: d, ebs: ebs.NewFromConfig(o.cfg)}
	if r.reader, err = diskimage.Open(ctx, store, *d.Image); err != nil {
		return "", err
	}
	made, err := r.start(ctx)
	if err != nil {
		return "", fmt.Errorf("restoring %s: %w", d.Item, err)
	}
	if made.Checksum == "" {
		if err := r.write(ctx, &made); err != nil {
			return "", fmt.Errorf("restoring %s as %s: %w", d.Item, made.Snapshot, err)
		}
		if err := o.req.Record(ctx, incident.EntryStepRecord, made); err != nil {
			return "", err
		}
	}
	if err := r.complete(ctx, made); err != nil {
		return "", fmt.Errorf("completing %s, restored from %s: %w", made.Snapshot, d.Item, err)
	}
	return made.Snapshot, recordOnce(ctx, o.req, incident.EntryCustody, evidence.CustodyEvent{
		Item: d.Item, Event: "restored", Reason: "examination in clean room " + stackName(o.req),
		Detail: fmt.Sprintf("as snapshot %s, every digest checked", made.Snapshot),
	})
}

// start begins the snapshot, or finds the one that an earlier try has begun, unless AWS has given it up.
func (r *restoration) start(ctx context.Context) (restoring, error) {
	var last restoring
	begun := 0
	for _, raw := range r.req.Recorded(incident.EntryStepRecord) {
		var made restoring
		if err := json.Unmarshal(raw, &made); err != nil || made.Item != r.disk.Item {
			continue
		}
		if last = made; made.Checksum == "" {
			begun++
		}
	}
	if last.Snapshot != "" {
		if state, err := r.state(ctx, last.Snapshot); err != nil || state != types.SnapshotStateError {
			return last, err
		}
	}
	in := &ebs.StartSnapshotInput{
		VolumeSize: aws.Int64(int64(r.disk.GiB)), Encrypted: aws.Bool(true), Timeout: aws.Int32(restoreTimeout),
		// A token names one request: another snapshot needs another.
		ClientToken: aws.String(fmt.Sprintf("%s-%s-%d", r.req.Token, r.disk.Snapshot, begun)),
		Description: aws.String("restored from " + r.disk.Item), Tags: []ebstypes.Tag{{Key: aws.String(tagRestored), Value: &r.disk.Item}},
	}
	if r.in.VolumeKey != "" {
		in.KmsKeyArn = &r.in.VolumeKey
	}
	for _, t := range r.tags() {
		in.Tags = append(in.Tags, ebstypes.Tag{Key: t.Key, Value: t.Value})
	}
	out, err := r.ebs.StartSnapshot(ctx, in)
	if err != nil {
		return restoring{}, err
	}
	made := restoring{Item: r.disk.Item, Snapshot: aws.ToString(out.SnapshotId)}
	return made, r.req.Record(ctx, incident.EntryStepRecord, made)
}

// state of a snapshot that this step has begun; error where it is gone.
func (r *restoration) state(ctx context.Context, id string) (types.SnapshotState, error) {
	out, err := r.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: []string{id}}}})
	if err != nil {
		return "", fmt.Errorf("snapshot %s: %w", id, err)
	}
	for _, s := range out.Snapshots {
		return s.State, nil
	}
	return types.SnapshotStateError, nil
}

// write puts every block that is not zeros into the snapshot.
func (r *restoration) write(ctx context.Context, made *restoring) error {
	all := sha256.New() // over the digests of the blocks in their order: "linear" (API_CompleteSnapshot)
	blocks, total := int32(0), r.reader.Image().Blocks
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlocks)
	err := r.reader.Blocks(gctx, func(b diskimage.Block) error {
		g.Go(func() error { return r.put(gctx, made.Snapshot, b) })
		all.Write(b.Sum[:])
		blocks++
		r.req.Progress(incident.Progress{Step: r.req.Step, What: "restoring " + r.disk.Item, Done: int64(blocks), Total: max(total, int64(blocks)), Unit: "blocks"})
		return nil
	})
	if perr := g.Wait(); perr != nil {
		err = perr // reading ended because of it
	}
	if err != nil {
		return err
	}
	made.Blocks, made.Checksum = blocks, base64.StdEncoding.EncodeToString(all.Sum(nil))
	return nil
}

// put writes one block. For some time a new snapshot is not found.
func (r *restoration) put(ctx context.Context, id string, b diskimage.Block) error {
	return incident.Poll(ctx, r.req.Clock, volumePoll, volumeLimit, "snapshot "+id, func(ctx context.Context) (bool, error) {
		_, err := r.ebs.PutSnapshotBlock(ctx, &ebs.PutSnapshotBlockInput{
			SnapshotId: &id, BlockIndex: aws.Int32(int32(b.Index)), BlockData: bytes.NewReader(b.Raw), DataLength: aws.Int32(int32(len(b.Raw))),
			Checksum: aws.String(base64.StdEncoding.EncodeToString(b.Sum[:])), ChecksumAlgorithm: ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256,
		})
		var missing *ebstypes.ResourceNotFoundException
		if errors.As(err, &missing) {
			return false, nil
		}
		if err != nil {
			err = fmt.Errorf("block %d: %w", b.Index, err)
		}
		return err == nil, err
	})
}

// complete seals the snapshot, unless an earlier try has.
func (r *restoration) complete(ctx context.Context, made restoring) error {
	_, err := r.ebs.CompleteSnapshot(ctx, &ebs.CompleteSnapshotInput{
		SnapshotId: &made.Snapshot, ChangedBlocksCount: aws.Int32(made.Blocks), Checksum: &made.Checksum,
		ChecksumAlgorithm:         ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256,
		ChecksumAggregationMethod: ebstypes.ChecksumAggregationMethodChecksumAggregationLinear,
	})
	var refused *ebstypes.ValidationException
	if !errors.As(err, &refused) {
		return err
	}
	// Sealed by an earlier try whose answer was lost: it completes within seconds. One that was not is
	// pending until it is given up.
	perr := incident.Poll(ctx, r.req.Clock, volumePoll, sealLimit, made.Snapshot+" to be completed", func(ctx context.Context) (bool, error) {
		state, err := r.state(ctx, made.Snapshot)
		return state == types.SnapshotStateCompleted, err
	})
	if perr != nil {
		return err
	}
	return nil
}

// deleteRestored deletes the snapshots that a step has restored from images: the
// images stay. One that is gone already is passed over.
func deleteRestored(ctx context.Context, client *ec2.Client, token string) error {
	out, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{
		{Name: aws.String("tag:" + tagToken), Values: []string{token}}, {Name: aws.String("tag-key"), Values: []string{tagRestored}},
	}})
	if err != nil {
		return fmt.Errorf("restored snapshots: %w", err)
	}
	for _, s := range out.Snapshots {
		if _, err := client.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId}); err != nil && errorCode(err) != "InvalidSnapshot.NotFound" {
			return fmt.Errorf("restored snapshot %s: %w", aws.ToString(s.SnapshotId), err)
		}
	}
	return nil
}
