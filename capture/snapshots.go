package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// snapshots takes all volumes at one point in time and locks what it took.
type snapshots struct{ configs Configs }

// lockInputs are those of every action that locks snapshots.
func lockInputs() []incident.Field {
	return []incident.Field{
		{Name: "lock_mode", Type: incident.String, Default: "governance", Enum: []string{"governance", "compliance", "none"},
			Description: "compliance: nobody can lift the lock, at once and without a cooling-off period"},
		{Name: "lock_days", Type: incident.Integer, Default: 30, Description: "days of the lock, 1 to 36500, from the snapshot's completion"},
	}
}

func (snapshots) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.snapshots",
		Summary: "Snapshots of all volumes at one point in time, locked against deletion",
		Impact:  incident.Irreversible, // in compliance mode; otherwise additive
		Inputs:  lockInputs(),
		Outputs: []incident.Field{{Name: "snapshots", Type: incident.Strings, Description: "snapshot IDs, the root volume's first"}},
		Permissions: []string{
			"ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeVolumes", "ec2:DescribeSnapshots", "ec2:DescribeLockedSnapshots",
			"ec2:CreateSnapshots", "ec2:CreateTags", "ec2:LockSnapshot",
		},
		Example: "- id: snapshots\n  action: capture.snapshots\n  with:\n    lock_mode: governance\n    lock_days: 90\n",
		Timeout: 10 * time.Minute,
	}
}

type snapshotInputs struct {
	LockMode string `json:"lock_mode"`
	LockDays int32  `json:"lock_days"`
}

func (in snapshotInputs) locked() bool { return in.LockMode != evidence.ModeNone }

func (in snapshotInputs) String() string {
	if !in.locked() {
		return "not locked"
	}
	return fmt.Sprintf("locked in %s mode for %d days", in.LockMode, in.LockDays)
}

func (in snapshotInputs) check() error {
	// LockSnapshot takes 1 to 36,500 days (API reference, LockSnapshot).
	if in.locked() && (in.LockDays < 1 || in.LockDays > 36500) {
		return fmt.Errorf("input lock_days: %d is not between 1 and 36500", in.LockDays)
	}
	return nil
}

func (in snapshotInputs) complianceNote() string {
	return fmt.Sprintf("compliance: nobody, the account's root user included, can delete these snapshots for %d days; they are paid for as long", in.LockDays)
}

// volume of the instance, as planned.
type volume struct {
	ID     string `json:"id"`
	Device string `json:"device"`
	GiB    int32  `json:"gib"`
}

func (a snapshots) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in snapshotInputs
	if err := req.Decode(&in); err != nil {
		return incident.Proposal{}, err
	}
	if err := in.check(); err != nil {
		return incident.Proposal{}, err
	}
	client, err := a.client(ctx, req)
	if err != nil {
		return incident.Proposal{}, err
	}
	vols, notes, err := planVolumes(ctx, client, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Impact: incident.Additive, Notes: notes}
	if in.LockMode == "compliance" {
		p.Impact = incident.Irreversible
		p.Notes = append(p.Notes, in.complianceNote())
	}
	var export load
	for _, v := range vols {
		export = export.and(loadOf(int64(v.GiB)*gib, diskimage.DefaultSegment))
		p.Changes = append(p.Changes, incident.Change{
			Resource: v.ID + " (" + v.Device + ")", What: "snapshot", Before: "none",
			After: fmt.Sprintf("one of %d GiB, %s", v.GiB, in),
		})
	}
	// A step that exports what this one takes is planned once that is known: whoever approves
	// the whole is told here, from the volumes' sizes.
	p.Notes = append(p.Notes, "an export of all of them (capture.export) has at most "+export.String())
	p.Before, err = json.Marshal(vols)
	return p, err
}

func (a snapshots) client(ctx context.Context, req incident.Request) (*ec2.Client, error) {
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	return ec2.NewFromConfig(cfg), nil
}

// planVolumes lists the instance's volumes, the root first, and refuses where
// AWS can't snapshot them (aws-facts.md, "Snapshots, images").
func planVolumes(ctx context.Context, client *ec2.Client, t incident.Target) ([]volume, []string, error) {
	inst, err := instance(ctx, client, t)
	if err != nil {
		return nil, nil, err
	}
	if inst.HibernationOptions != nil && aws.ToBool(inst.HibernationOptions.Configured) {
		return nil, nil, incident.WithHint(
			&incident.RefusedError{Reason: t.Instance + " is configured for hibernation: AWS takes no snapshots or images of it"},
			"contain it with the playbook contain, and collect from the running system")
	}
	var vols []volume
	var ids []string
	for _, m := range inst.BlockDeviceMappings {
		if m.Ebs == nil {
			continue
		}
		v := volume{ID: aws.ToString(m.Ebs.VolumeId), Device: aws.ToString(m.DeviceName)}
		ids = append(ids, v.ID)
		if v.Device == aws.ToString(inst.RootDeviceName) {
			vols = slices.Insert(vols, 0, v)
		} else {
			vols = append(vols, v)
		}
	}
	if len(vols) == 0 {
		return nil, nil, incident.WithHint(
			&incident.RefusedError{Reason: t.Instance + " has no EBS volumes: instance store can't be snapshotted"},
			"don't stop or terminate it: instance store is lost then; collect from the running system")
	}
	out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: ids})
	if err != nil {
		return nil, nil, fmt.Errorf("volumes of %s: %w", t.Instance, err)
	}
	for i := range vols {
		for _, v := range out.Volumes {
			if aws.ToString(v.VolumeId) == vols[i].ID {
				vols[i].GiB = aws.ToInt32(v.Size)
			}
		}
	}
	var notes []string
	if inst.RootDeviceType == types.DeviceTypeInstanceStore {
		notes = append(notes, "the root device is instance store: it is not in these snapshots, and is lost when the instance stops or terminates")
	}
	note, err := instanceStore(ctx, client, inst.InstanceType)
	if err != nil {
		return nil, nil, err
	}
	return vols, append(notes, note...), nil
}

// instanceStore says before anything else what no snapshot holds.
func instanceStore(ctx context.Context, client *ec2.Client, t types.InstanceType) ([]string, error) {
	out, err := client.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{t}})
	if err != nil {
		return nil, fmt.Errorf("instance type %s: %w", t, err)
	}
	for _, i := range out.InstanceTypes {
		if aws.ToBool(i.InstanceStorageSupported) {
			return []string{fmt.Sprintf("%s has instance store: no snapshot holds it, and it is lost when the instance stops, hibernates or terminates", t)}, nil
		}
	}
	return nil, nil
}

func (a snapshots) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	var in snapshotInputs
	if err := req.Decode(&in); err != nil {
		return incident.Result{}, err
	}
	var vols []volume
	if err := json.Unmarshal(p.Before, &vols); err != nil {
		return incident.Result{}, fmt.Errorf("before-state: %w", err)
	}
	client, err := a.client(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	taken, err := a.take(ctx, client, req, len(vols))
	if err != nil {
		return incident.Result{}, err
	}
	sortByVolume(taken, vols)
	locks, err := lockSnapshots(ctx, client, req, in, taken)
	if err != nil {
		return incident.Result{}, err
	}
	ids := idsOf(taken)
	for _, s := range taken {
		id := aws.ToString(s.SnapshotId)
		it := evidence.Item{
			ID: "snapshot-" + id, Kind: evidence.KindSnapshot, Source: aws.ToString(s.VolumeId),
			Location: arn(req.Target.Region, "snapshot/"+id), Account: req.Target.Account, Mode: in.LockMode,
			RetainUntil: locks[id], Acquired: aws.ToTime(s.StartTime).UTC(),
			Notes: []string{fmt.Sprintf("%d GiB, encrypted: %v, crash-consistent with %s", aws.ToInt32(s.VolumeSize), aws.ToBool(s.Encrypted), strings.Join(ids, ", "))},
		}
		if err := record(ctx, req, it); err != nil {
			return incident.Result{}, err
		}
	}
	applied, err := json.Marshal(ids)
	return incident.Result{Outputs: map[string]any{"snapshots": ids}, Applied: applied}, err
}

// take creates the snapshots, or finds those that this step has created.
// CreateSnapshots is all or nothing and takes no client token.
func (a snapshots) take(ctx context.Context, client *ec2.Client, req incident.Request, n int) ([]types.Snapshot, error) {
	find := func(ctx context.Context) ([]types.Snapshot, error) {
		return describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: byToken(req)})
	}
	taken, err := findMade(ctx, req.Clock, mayExist(req), n, find)
	if err != nil || len(taken) > 0 {
		return taken, err
	}
	if err := req.Record(ctx, incident.EntryStepRecord, asked{"ec2:CreateSnapshots"}); err != nil {
		return nil, err
	}
	out, err := client.CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
		InstanceSpecification: &types.InstanceSpecification{InstanceId: &req.Target.Instance},
		CopyTagsFromSource:    types.CopyTagsFromSourceVolume,
		Description:           aws.String("cordon case " + req.Case.ID + ", run " + req.Run),
		TagSpecifications:     []types.TagSpecification{tags(req, types.ResourceTypeSnapshot)},
	}, notTwice)
	if err != nil {
		err = fmt.Errorf("snapshots of %s: %w", req.Target.Instance, err)
		if mayHaveHappened(err) && ctx.Err() == nil {
			if taken, ferr := findMade(ctx, req.Clock, true, n, find); ferr == nil && len(taken) > 0 {
				return taken, nil
			}
		}
		return nil, err
	}
	for _, s := range out.Snapshots {
		taken = append(taken, types.Snapshot{
			SnapshotId: s.SnapshotId, VolumeId: s.VolumeId, VolumeSize: s.VolumeSize,
			Encrypted: s.Encrypted, StartTime: s.StartTime, State: s.State,
		})
	}
	return taken, nil
}

func describeSnapshots(ctx context.Context, client *ec2.Client, in *ec2.DescribeSnapshotsInput) ([]types.Snapshot, error) {
	var all []types.Snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("snapshots: %w", err)
		}
		all = append(all, page.Snapshots...)
	}
	return all, nil
}

func sortByVolume(taken []types.Snapshot, vols []volume) {
	at := func(s types.Snapshot) int {
		return slices.IndexFunc(vols, func(v volume) bool { return v.ID == aws.ToString(s.VolumeId) })
	}
	slices.SortFunc(taken, func(a, b types.Snapshot) int { return at(a) - at(b) })
}

func idsOf(all []types.Snapshot) []string {
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = aws.ToString(s.SnapshotId)
	}
	return ids
}

// lockSnapshots locks what is not locked yet, pending or not, and returns when each lock ends.
func lockSnapshots(ctx context.Context, client *ec2.Client, req incident.Request, in snapshotInputs, taken []types.Snapshot) (map[string]time.Time, error) {
	if !in.locked() {
		return nil, nil
	}
	until := make(map[string]time.Time)
	held, err := locksOf(ctx, client, idsOf(taken))
	if err != nil {
		return nil, err
	}
	for i, s := range taken {
		id := aws.ToString(s.SnapshotId)
		if l, ok := held[id]; ok && holds(l.LockState, in.LockMode) {
			until[id] = aws.ToTime(l.LockExpiresOn).UTC()
			continue
		}
		out, err := client.LockSnapshot(ctx, &ec2.LockSnapshotInput{
			SnapshotId: &id, LockMode: types.LockMode(in.LockMode), LockDuration: &in.LockDays,
		})
		if err != nil {
			return nil, incident.WithHint(fmt.Errorf("snapshot %s is there, but could not be locked: %w", id, err),
				"resume the run: the snapshots are kept, and only the lock is tried again")
		}
		until[id] = aws.ToTime(out.LockExpiresOn).UTC()
		req.Progress(incident.Progress{Step: req.Step, What: "locking snapshots", Done: int64(i + 1), Total: int64(len(taken)), Unit: "snapshots"})
	}
	return until, nil
}

func locksOf(ctx context.Context, client *ec2.Client, ids []string) (map[string]types.LockedSnapshotsInfo, error) {
	locks := make(map[string]types.LockedSnapshotsInfo)
	in := &ec2.DescribeLockedSnapshotsInput{SnapshotIds: ids}
	for {
		out, err := client.DescribeLockedSnapshots(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("locks of %s: %w", strings.Join(ids, ", "), err)
		}
		for _, l := range out.Snapshots {
			locks[aws.ToString(l.SnapshotId)] = l
		}
		if aws.ToString(out.NextToken) == "" {
			return locks, nil
		}
		in.NextToken = out.NextToken
	}
}

// holds: a compliance lock may still be in its cooling-off period.
func holds(s types.LockState, mode string) bool {
	return string(s) == mode || mode == "compliance" && s == types.LockStateComplianceCooloff
}

func (a snapshots) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	var v incident.Verification
	var in snapshotInputs
	if err := req.Decode(&in); err != nil {
		return v, err
	}
	var vols []volume
	var ids []string
	if err := errors.Join(json.Unmarshal(p.Before, &vols), json.Unmarshal(r.Applied, &ids)); err != nil {
		return v, fmt.Errorf("before-state and result of step %s: %w", req.Step, err)
	}
	client, err := a.client(ctx, req)
	if err != nil {
		return v, err
	}
	all, err := describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{SnapshotIds: ids})
	if err != nil {
		return v, err
	}
	locks, err := verifyLocks(ctx, client, in, ids)
	if err != nil {
		return v, err
	}
	for _, vol := range vols {
		if !slices.ContainsFunc(all, func(s types.Snapshot) bool { return aws.ToString(s.VolumeId) == vol.ID }) {
			return v, &incident.NotVerifiedError{Resource: vol.ID, Want: "a snapshot", Got: "none among " + strings.Join(ids, ", ")}
		}
	}
	for _, s := range all {
		id := aws.ToString(s.SnapshotId)
		if s.State == types.SnapshotStateError {
			return v, &incident.NotVerifiedError{Resource: id, Want: "pending or completed", Got: "error: " + aws.ToString(s.StateMessage)}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("%s of %s: %s, %s", id, aws.ToString(s.VolumeId), s.State, locks[id]))
	}
	return v, nil
}

// verifyLocks tells of each snapshot how it is locked, and fails where one is not as it was asked for.
func verifyLocks(ctx context.Context, client *ec2.Client, in snapshotInputs, ids []string) (map[string]string, error) {
	shown := make(map[string]string)
	if !in.locked() {
		for _, id := range ids {
			shown[id] = "not locked"
		}
		return shown, nil
	}
	locks, err := locksOf(ctx, client, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		l := locks[id]
		if !holds(l.LockState, in.LockMode) {
			return nil, &incident.NotVerifiedError{Resource: id, Want: "a lock in " + in.LockMode + " mode", Got: fmt.Sprintf("%q", l.LockState)}
		}
		shown[id] = fmt.Sprintf("locked (%s) until %s", l.LockState, aws.ToTime(l.LockExpiresOn).UTC().Format(time.RFC3339))
	}
	return shown, nil
}
