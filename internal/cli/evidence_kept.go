package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

// keeper asks AWS about the evidence of a case that AWS itself keeps.
type keeper struct {
	w *workspace
	r *record
	a *access.Access

	mu     sync.Mutex
	barred map[incident.Target]error // places that can't be asked, so that each is tried once
}

func (w *workspace) keeper(r *record) *keeper {
	return &keeper{w: w, r: r, a: w.access(nil, r.state.Case.ID), barred: make(map[incident.Target]error)}
}

// kept is what AWS shows of an item.
func (k *keeper) kept(ctx context.Context, it evidence.Item) (evidence.Kept, error) {
	at, err := k.place(it)
	if err != nil {
		return evidence.Kept{}, err
	}
	cfg, err := k.config(ctx, at)
	if err != nil {
		return evidence.Kept{}, err
	}
	if strings.HasPrefix(it.Location, "s3://") {
		return k.object(ctx, cfg, it)
	}
	return capture.Kept(ctx, cfg, it, k.holders(it))
}

// place is the account and Region that keep an item. An object that AWS made of an image is in the image's.
func (k *keeper) place(it evidence.Item) (incident.Target, error) {
	last, _ := k.r.lastTarget()
	at := incident.Target{Account: orElse(it.Account, last.Account), Region: last.Region}
	location := it.Location
	if of, ok := k.r.custody.Item(it.Source); ok && strings.HasPrefix(location, "s3://") {
		location = of.Location
	}
	if fields := strings.SplitN(location, ":", 6); len(fields) == 6 && fields[0] == "arn" {
		at.Region = fields[3]
	}
	if at.Account == "" || at.Region == "" {
		return at, fmt.Errorf("%s: neither the item nor a run of the case says in which account and Region it is", it.Location)
	}
	return at, nil
}

func (k *keeper) config(ctx context.Context, at incident.Target) (aws.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.barred[at]; err != nil {
		return aws.Config{}, err
	}
	cfg, err := k.a.Config(ctx, at)
	if err != nil {
		k.barred[at] = err
	}
	return cfg, err
}

// holders are the accounts that the case itself has shared an item with: the journal has each request.
func (k *keeper) holders(it evidence.Item) (accounts []string) {
	for _, e := range k.r.entries {
		var call incident.CallIntent
		if e.Type != incident.EntryCallIntent || json.Unmarshal(e.Data, &call) != nil || call.Operation != "ModifySnapshotAttribute" {
			continue
		}
		var asked ec2.ModifySnapshotAttributeInput
		if json.Unmarshal(call.Params, &asked) != nil || asked.CreateVolumePermission == nil || "snapshot-"+aws.ToString(asked.SnapshotId) != it.ID {
			continue
		}
		for _, p := range asked.CreateVolumePermission.Add {
			accounts = append(accounts, aws.ToString(p.UserId))
		}
	}
	return accounts
}

// object is what S3 shows of an object that AWS wrote, in the version that was recorded.
func (k *keeper) object(ctx context.Context, cfg aws.Config, it evidence.Item) (evidence.Kept, error) {
	var kept evidence.Kept
	bucket, key, _ := strings.Cut(strings.TrimPrefix(it.Location, "s3://"), "/")
	key, _, _ = strings.Cut(key, "?")
	store := vault.NewS3(cfg, vault.S3Options{Bucket: bucket}, k.w.clock)
	o, err := store.Stat(ctx, key, it.Version)
	if errors.Is(err, evidence.ErrNotFound) {
		kept.Find(evidence.Missing, err.Error())
		return kept, nil
	}
	if err != nil {
		return kept, err
	}
	if o.Bytes != it.Bytes {
		kept.Find(evidence.Altered, fmt.Sprintf("%d bytes, %d were recorded", o.Bytes, it.Bytes))
	}
	newest, err := store.Stat(ctx, key, "")
	switch {
	case errors.Is(err, evidence.ErrNotFound):
		kept.Find(evidence.Hidden, "a delete marker lies on top; the version below is still there")
	case err != nil:
		return kept, err
	case newest.Version != o.Version:
		kept.Find(evidence.Overlaid, "another version lies on top; the one below is still there")
	}
	kept.Mode, kept.RetainUntil, kept.LegalHold = o.Mode, o.RetainUntil, o.LegalHold
	kept.Shown = fmt.Sprintf("%d bytes, not hashed, %s", o.Bytes, retention(evidence.Item{Mode: o.Mode, RetainUntil: o.RetainUntil}))
	return kept, nil
}
