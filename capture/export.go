package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// export reads snapshots through the EBS direct APIs and stores each as a
// compressed raw disk.
//
// A disk is two objects: ITEM.raw.zst, from which zstd -d makes the raw disk,
// and ITEM.json, the index with the digests, stored last. An image whose index is there
// is not read again. One that was cut short leaves nothing and is read from the start.
type export struct {
	configs Configs
	stores  Stores
}

const (
	// parallelDisks are exported at once.
	parallelDisks = 2
	// quotaBytes a second are what AWS lets be read of one snapshot.
	quotaBytes = 500 << 20
	// A first snapshot of a large volume takes hours.
	snapshotPoll, snapshotLimit = 15 * time.Second, 24 * time.Hour
)

func (export) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.export",
		Summary: "Snapshots as raw disks, compressed and hashed, in the evidence store",
		Impact:  incident.Additive,
		Inputs: []incident.Field{
			{Name: "snapshots", Type: incident.Strings, Required: true, Description: "snapshot IDs"},
			{Name: "allow_unlocked", Type: incident.Boolean, Default: false, Description: "keep the evidence also where the store can't lock it"},
		},
		Outputs: []incident.Field{{Name: "images", Type: incident.Strings, Description: "IDs of the evidence items"}},
		Permissions: append([]string{
			"ec2:DescribeSnapshots", "ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock",
		}, storePermissions...),
		Example: "- id: export\n  action: capture.export\n  needs: [snapshots]\n  with:\n    snapshots: ${{ steps.snapshots.outputs.snapshots }}\n",
		Timeout: 24 * time.Hour,
	}
}

type exportInputs struct {
	Snapshots     []string `json:"snapshots"`
	AllowUnlocked bool     `json:"allow_unlocked"`
}

func (a export) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in exportInputs
	if err := req.Decode(&in); err != nil {
		return incident.Proposal{}, err
	}
	if len(in.Snapshots) == 0 {
		return incident.Proposal{}, errors.New("input snapshots: none given")
	}
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	store, err := a.stores(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	notes, err := checkStore(ctx, store, in.AllowUnlocked)
	if err != nil {
		return incident.Proposal{}, err
	}
	found, err := describeSnapshots(ctx, ec2.NewFromConfig(cfg), &ec2.DescribeSnapshotsInput{SnapshotIds: in.Snapshots})
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Impact: incident.Additive, Notes: notes}
	var largest, total int64
	for _, id := range in.Snapshots {
		i := slices.IndexFunc(found, func(s types.Snapshot) bool { return aws.ToString(s.SnapshotId) == id })
		if i < 0 {
			return incident.Proposal{}, fmt.Errorf("snapshot %s is not in %s of account %s", id, req.Target.Region, req.Target.Account)
		}
		size := int64(aws.ToInt32(found[i].VolumeSize)) * gib
		largest, total = max(largest, size), total+size
		p.Changes = append(p.Changes, incident.Change{
			Resource: store.String(), What: "raw disk of " + id, Before: "none",
			After: fmt.Sprintf("%s.raw.zst, %d GiB when decompressed", diskID(id), size/gib),
		})
	}
	p.Notes = append(p.Notes, fmt.Sprintf("at most %d GiB to read: about %s at the 500 MiB/s that AWS allows for one snapshot, less where blocks were never written; it starts once the snapshots are completed",
		total/gib, max(time.Duration(largest/quotaBytes)*time.Second, time.Second)))
	return p, nil
}

func diskID(snapshot string) string { return "disk-image-" + snapshot }

func (a export) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	var in exportInputs
	if err := req.Decode(&in); err != nil {
		return incident.Result{}, err
	}
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	store, err := a.stores(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	done := make([][]kept, len(in.Snapshots))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelDisks)
	for i, id := range in.Snapshots {
		x := &diskExport{req: req, in: in, store: store, snapshot: id, ec2: ec2.NewFromConfig(cfg), ebs: ebs.NewFromConfig(cfg)}
		g.Go(func() (err error) {
			done[i], err = x.run(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return incident.Result{}, err
	}
	var ids []string
	for _, id := range in.Snapshots {
		ids = append(ids, diskID(id))
	}
	applied, err := json.Marshal(slices.Concat(done...))
	return incident.Result{Outputs: map[string]any{"images": ids}, Applied: applied}, err
}

func (a export) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var all []kept
	if err := json.Unmarshal(r.Applied, &all); err != nil {
		return incident.Verification{}, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	store, err := a.stores(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	observed, err := verifyKept(ctx, store, all)
	return incident.Verification{Observed: observed}, err
}

// diskExport is one snapshot on its way into the store.
type diskExport struct {
	req      incident.Request
	in       exportInputs
	store    evidence.Store
	snapshot string
	ec2      *ec2.Client
	ebs      *ebs.Client
}

func (x *diskExport) key(ext string) string {
	return evidence.Key(x.req.Case, x.req.Run, diskID(x.snapshot)+ext)
}

// run stores the disk, or finds it stored, and records it.
func (x *diskExport) run(ctx context.Context) ([]kept, error) {
	index, indexObj, err := x.stored(ctx)
	if errors.Is(err, evidence.ErrNotFound) {
		if index, err = x.acquire(ctx); err == nil {
			indexObj, err = x.putIndex(ctx, index)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", x.snapshot, err)
	}
	disk, err := x.store.Stat(ctx, x.key(".raw.zst"), "")
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", x.snapshot, err)
	}
	it := itemOf(diskID(x.snapshot), evidence.KindDiskImage, x.snapshot, disk, index.Acquired)
	it.ContentSHA256, it.ContentBytes = index.Raw.SHA256, index.Raw.Bytes
	it.Notes = []string{"volume " + index.Volume, "index with the digest of each block: " + indexObj.Location}
	if err := recordStored(ctx, x.req, x.store, it); err != nil {
		return nil, err
	}
	return []kept{{it.ID, disk.Key, index.Stored.SHA256}, {it.ID, indexObj.Key, indexObj.SHA256}}, nil
}

// diskIndex is ITEM.json.
type diskIndex struct {
	Schema     string    `json:"schema"`
	Snapshot   string    `json:"snapshot"`
	Volume     string    `json:"volume"`
	Acquired   time.Time `json:"acquired"`
	Raw        digested  `json:"raw"`    // the disk as the instance saw it
	Stored     digested  `json:"stored"` // the compressed object
	BlockBytes int       `json:"block_bytes"`
	// Blocks that the snapshot holds, with the SHA-256 of each; the others are zeros.
	Blocks []indexedBlock `json:"blocks"`
}

type digested struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// indexedBlock is 36 bytes in memory: 72 MiB for a full TiB.
type indexedBlock struct {
	index int32
	sum   [sha256.Size]byte
}

// MarshalJSON writes [index, "sha256"].
func (b indexedBlock) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `[%d,"%x"]`, b.index, b.sum), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *indexedBlock) UnmarshalJSON(raw []byte) error {
	var sum string
	if err := json.Unmarshal(raw, &[]any{&b.index, &sum}); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(sum); err == nil && len(raw) == sha256.Size {
		copy(b.sum[:], raw)
		return nil
	}
	return fmt.Errorf("block %d: %q is not a SHA-256", b.index, sum)
}

// stored finds what an earlier try has finished. The index is stored last: it
// vouches for the disk. It fails with evidence.ErrNotFound.
func (x *diskExport) stored(ctx context.Context) (diskIndex, evidence.Object, error) {
	var index diskIndex
	obj, err := x.store.Stat(ctx, x.key(".json"), "")
	if err != nil {
		return index, obj, err
	}
	r, err := x.store.Get(ctx, x.key(".json"), obj.Version)
	if err != nil {
		return index, obj, err
	}
	defer r.Close()
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return index, obj, fmt.Errorf("index %s: %w", obj.Location, err)
	}
	return index, obj, nil
}

// acquire waits for the snapshot and streams its disk into the store.
func (x *diskExport) acquire(ctx context.Context) (diskIndex, error) {
	snap, err := x.completed(ctx)
	if err != nil {
		return diskIndex{}, err
	}
	index := diskIndex{
		Schema: "cordon.disk-image/1", Snapshot: x.snapshot, Volume: aws.ToString(snap.VolumeId),
		Acquired: x.req.Clock.Now().UTC(), BlockBytes: blockBytes, Blocks: []indexedBlock{},
		Raw: digested{Bytes: int64(aws.ToInt32(snap.VolumeSize)) * gib},
	}
	g, gctx := errgroup.WithContext(ctx)
	r, w := io.Pipe()
	g.Go(func() error {
		err := x.assemble(gctx, w, &index)
		w.CloseWithError(err) // nil ends the stream well; an error makes Put fail, and leave nothing
		return err
	})
	var obj evidence.Object
	g.Go(func() (err error) {
		obj, err = x.store.Put(gctx, x.key(".raw.zst"), r, evidence.PutOptions{
			ContentType: "application/zstd", Metadata: objectMetadata(x.req), AllowUnlocked: x.in.AllowUnlocked,
		})
		r.CloseWithError(err)
		return err
	})
	if err := g.Wait(); err != nil {
		return diskIndex{}, err
	}
	index.Stored = digested{obj.SHA256, obj.Bytes}
	return index, nil
}

// assemble writes the compressed disk to w and fills in the index.
func (x *diskExport) assemble(ctx context.Context, w io.Writer, index *diskIndex) error {
	disk, err := newDiskWriter(w, index.Raw.Bytes, func(done int64) {
		x.progress("reading "+x.snapshot, done, index.Raw.Bytes, "bytes")
	})
	if err != nil {
		return err
	}
	err = readBlocks(ctx, x.ebs, x.snapshot, func(b block) error {
		index.Blocks = append(index.Blocks, indexedBlock{b.index, b.sum})
		return disk.block(b)
	})
	if err != nil {
		return err
	}
	if err := disk.finish(); err != nil {
		return err
	}
	index.Raw.SHA256 = hex.EncodeToString(disk.raw.Sum(nil))
	return nil
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

// putIndex streams the index: a large disk's takes tens of megabytes.
func (x *diskExport) putIndex(ctx context.Context, index diskIndex) (evidence.Object, error) {
	r, w := io.Pipe()
	var g errgroup.Group
	g.Go(func() error {
		err := json.NewEncoder(w).Encode(index)
		w.CloseWithError(err)
		return nil // Put reports it
	})
	obj, err := x.store.Put(ctx, x.key(".json"), r, evidence.PutOptions{
		ContentType: "application/json", Metadata: objectMetadata(x.req), AllowUnlocked: x.in.AllowUnlocked,
	})
	r.CloseWithError(err)
	_ = g.Wait()
	return obj, err
}
