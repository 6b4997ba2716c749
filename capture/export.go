package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// export reads snapshots through the EBS direct APIs and stores each as a disk
// image (docs/evidence-format.md). A later image of the same volume holds the changes only.
//
// The image's index is stored last: an image whose index is there is not read
// again, and one without is no evidence yet. What an earlier try has stored of it is
// in the journal's step.record entries, and the next one goes on from there.
type export struct{ collector }

const (
	gib = 1 << 30
	// A first snapshot of a large volume takes hours.
	snapshotPoll, snapshotLimit = 15 * time.Second, 24 * time.Hour
)

// The values of whole_digest.
const (
	digestAuto   = "auto"
	digestAlways = "always"
	digestNever  = "never"
)

func (export) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.export",
		Summary: "Snapshots as disk images, compressed and hashed, in the evidence store",
		Impact:  incident.Additive,
		Inputs: []incident.Field{
			{Name: "snapshots", Type: incident.Strings, Required: true, Description: "snapshot IDs"},
			{Name: "incremental", Type: incident.Boolean, Default: true, Description: "where the case has an image of the volume already, store what has changed since"},
			{Name: "whole_digest", Type: incident.String, Default: digestAuto, Enum: []string{digestAuto, digestAlways, digestNever},
				Description: "SHA-256 of the raw disk: auto leaves it to fetch where hashing the holes would take longer than reading the data"},
			{Name: "segment_bytes", Type: incident.Integer, Default: int64(diskimage.DefaultSegment), Description: "raw bytes in a segment of the image: a multiple of 524288, at most 96 GiB"},
			{Name: "allow_unlocked", Type: incident.Boolean, Default: false, Description: "keep the evidence also where the store can't lock it"},
		},
		Outputs: []incident.Field{{Name: "images", Type: incident.Strings, Description: "IDs of the evidence items"}},
		Permissions: append([]string{
			"ec2:DescribeSnapshots", "ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock",
		}, storePermissions...),
		Example: "- id: export\n  action: capture.export\n  needs: [snapshots]\n  with:\n    snapshots: ${{ steps.snapshots.outputs.snapshots }}\n",
		Timeout: 24 * time.Hour,
	}
}

type exportInputs struct {
	Snapshots     []string `json:"snapshots"`
	Incremental   bool     `json:"incremental"`
	WholeDigest   string   `json:"whole_digest"`
	SegmentBytes  int64    `json:"segment_bytes"`
	AllowUnlocked bool     `json:"allow_unlocked"`
}

func (in exportInputs) check() error {
	var problems []error
	if len(in.Snapshots) == 0 {
		problems = append(problems, errors.New("input snapshots: none given"))
	}
	if n := in.SegmentBytes; n < blockBytes || n > diskimage.MaxSegment || n%blockBytes != 0 {
		problems = append(problems, fmt.Errorf("input segment_bytes: %d is not a multiple of %d up to %d", n, blockBytes, int64(diskimage.MaxSegment)))
	}
	return errors.Join(problems...)
}

// exportBefore is what Apply builds on, as it was approved.
type exportBefore struct {
	Bases map[string]evidence.Base `json:"bases,omitempty"` // by snapshot
}

// open decodes the inputs and finds whom to talk to.
func (a export) open(ctx context.Context, req incident.Request) (in exportInputs, cfg aws.Config, store evidence.Resumable, err error) {
	cfg, any, err := a.collector.open(ctx, req, &in)
	if err != nil {
		return in, cfg, nil, err
	}
	store, ok := any.(evidence.Resumable)
	if !ok {
		return in, cfg, nil, fmt.Errorf("evidence store %s can't take an image in parts", any)
	}
	return in, cfg, store, nil
}

func (a export) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	in, cfg, store, err := a.open(ctx, req)
	if err != nil {
		return incident.Proposal{}, err
	}
	notes, err := checkStore(ctx, store, in.AllowUnlocked)
	if err != nil {
		return incident.Proposal{}, err
	}
	client := ec2.NewFromConfig(cfg)
	found, err := describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{SnapshotIds: in.Snapshots})
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Impact: incident.Additive, Notes: notes}
	before := exportBefore{Bases: make(map[string]evidence.Base)}
	var total load
	atMost := ""
	for _, id := range in.Snapshots {
		i := slices.IndexFunc(found, func(s types.Snapshot) bool { return aws.ToString(s.SnapshotId) == id })
		if i < 0 {
			return incident.Proposal{}, fmt.Errorf("snapshot %s is not in %s of account %s", id, req.Target.Region, req.Target.Account)
		}
		x := &diskExport{req: req, in: in, store: store, snapshot: id, ec2: client, ebs: ebs.NewFromConfig(cfg)}
		one, err := x.plan(ctx, found[i])
		if err != nil {
			return incident.Proposal{}, err
		}
		if one.base != nil {
			before.Bases[id] = *one.base
		}
		if !one.exact {
			atMost = "at most "
		}
		total = total.and(one.load)
		p.Changes = append(p.Changes, one.change)
	}
	p.Notes = append(p.Notes, atMost+total.String()+"; it starts once the snapshots are completed")
	p.Before, err = json.Marshal(before)
	return p, err
}

func diskID(snapshot string) string { return "disk-image-" + snapshot }

func (a export) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	in, cfg, store, err := a.open(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	var before exportBefore
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return incident.Result{}, fmt.Errorf("proposal of step %s: %w", req.Step, err)
	}
	// One after the other: by default AWS lets as many blocks be read of one
	// snapshot as of all in the account, and one image's memory is enough.
	var ids []string
	var items []evidence.Item
	for _, id := range in.Snapshots {
		x := &diskExport{req: req, in: in, store: store, snapshot: id, ec2: ec2.NewFromConfig(cfg), ebs: ebs.NewFromConfig(cfg)}
		if base, ok := before.Bases[id]; ok {
			x.base = &base
		}
		it, err := x.run(ctx)
		if err != nil {
			return incident.Result{}, fmt.Errorf("exporting %s: %w", id, err)
		}
		ids, items = append(ids, it.ID), append(items, it)
	}
	applied, err := json.Marshal(items)
	return incident.Result{Outputs: map[string]any{"images": ids}, Applied: applied}, err
}

// Verify reads the images' indexes back, and what the store shows of every
// segment's data. The data itself is what evidence verify reads.
func (a export) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var items []evidence.Item
	if err := json.Unmarshal(r.Applied, &items); err != nil {
		return incident.Verification{}, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	store, err := a.stores(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	var v incident.Verification
	for _, it := range items {
		observed, err := verifyImage(ctx, store, it)
		v.Observed = append(v.Observed, observed...)
		if err != nil {
			return v, err
		}
	}
	return v, nil
}
