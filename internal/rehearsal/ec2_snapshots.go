package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// snapshot is an EBS snapshot. What it holds is fixed when the request that made it
// returns; it can be read once it is completed.
type snapshot struct {
	ID          string              `json:"id"`
	Volume      string              `json:"volume"`
	Owner       string              `json:"owner"` // account
	Description string              `json:"description"`
	Size        int32               `json:"size"`           // GiB
	Disk        string              `json:"disk,omitempty"` // the name of the content; empty: zeros
	Written     writes              `json:"written,omitempty"`
	State       types.SnapshotState `json:"state"`
	Message     string              `json:"message,omitempty"` // why it failed
	Started     time.Time           `json:"started"`
	Completes   time.Time           `json:"completes"`
	Encrypted   bool                `json:"encrypted,omitempty"`
	KMSKey      string              `json:"kms_key,omitempty"` // ARN
	Writing     *snapshotWriting    `json:"writing,omitempty"` // nil but for one that is being written block by block
	Lock        *snapshotLock       `json:"lock,omitempty"`
	SharedWith  []string            `json:"shared_with,omitempty"` // accounts; all: everyone
}

const (
	pendingPerVolume = 5              // of most types; one for st1 and sc1 (aws-facts.md, "Snapshots, images")
	copiedVolume     = "vol-ffffffff" // a copy's volume ID means nothing (API_CopySnapshot)
)

func (ops operations) ec2Snapshots() {
	ec2On(ops, ec2CreateSnapshot)
	ec2On(ops, ec2CreateSnapshots)
	ec2On(ops, ec2DescribeSnapshots)
	ec2On(ops, ec2DeleteSnapshot)
	ec2On(ops, ec2CopySnapshot)
	ec2On(ops, ec2ModifySnapshotAttribute)
	ec2On(ops, ec2DescribeSnapshotAttribute)
	ec2On(ops, ec2LockSnapshot)
	ec2On(ops, ec2UnlockSnapshot)
	ec2On(ops, ec2DescribeLockedSnapshots)
}

// snapshot is nil where there is none.
func (w *world) snapshot(id string) *snapshot { return w.EC2.Snapshots[id] }

// visibleSnapshots are the account's own, and those that others share with it.
func (c *call) visibleSnapshots() map[string]*snapshot {
	if c.here() != nil {
		return maps.Clone(c.ec2().Snapshots)
	}
	return c.snapshotsIn(c.Region)
}

// snapshotsIn are those that the account sees in a Region.
func (c *call) snapshotsIn(region string) map[string]*snapshot {
	all := make(map[string]*snapshot)
	for _, other := range c.first().worlds() {
		for id, snap := range other.EC2.Snapshots {
			shared := snap.Owner == other.Account && (slices.Contains(snap.SharedWith, c.Account) || slices.Contains(snap.SharedWith, "all"))
			if other.Region == region && (other.Account == c.Account || shared) {
				all[id] = snap
			}
		}
	}
	return all
}

// snapshotTime is how long a snapshot is pending: 30 to 90 s, by size. AWS promises
// nothing; hours are possible for a first snapshot.
func snapshotTime(size int32) time.Duration {
	return 30*time.Second + time.Minute*time.Duration(min(size, 500))/500
}

func (s *ec2State) tickSnapshots(now time.Time) (changed bool) {
	for _, snap := range s.Snapshots {
		if w := snap.Writing; w != nil && snap.State == types.SnapshotStatePending {
			if now.Sub(w.Last) >= w.Timeout {
				changed, snap.State, snap.Message = true, types.SnapshotStateError, "The snapshot was not completed in time."
			}
			continue
		}
		if snap.State == types.SnapshotStatePending && !now.Before(snap.Completes) {
			changed, snap.State = true, types.SnapshotStateCompleted
			if snap.Message != "" {
				snap.State = types.SnapshotStateError
			}
		}
	}
	return changed
}

// progress is how far a snapshot is, as AWS writes it.
func (snap *snapshot) progress(now time.Time) string {
	switch {
	case snap.State != types.SnapshotStatePending:
		return "100%"
	case snap.Writing != nil:
		return "0%"
	}
	return fmt.Sprintf("%d%%", min(99, 100*now.Sub(snap.Started)/snap.Completes.Sub(snap.Started)))
}

// takeSnapshot can't fail: checkVolumes comes first.
func (c *call) takeSnapshot(v *volume, description string, tags map[string]string) *snapshot {
	snap := &snapshot{
		ID: c.id("snap"), Volume: v.ID, Owner: c.Account, Description: description, Size: v.Size, Disk: v.Disk, Written: v.Written, State: types.SnapshotStatePending,
		Started: c.Now, Completes: c.Now.Add(snapshotTime(v.Size)), Encrypted: v.Encrypted, KMSKey: v.KMSKey,
	}
	c.EC2.Snapshots[snap.ID] = snap
	c.tag(snap.ID, tags)
	return snap
}

// checkVolumes refuses where one volume has too many pending snapshots: if
// one of several fails, all do.
func (c *call) checkVolumes(volumes []*volume) error {
	for _, v := range volumes {
		pending, limit := 0, pendingPerVolume
		if v.Type == types.VolumeTypeSt1 || v.Type == types.VolumeTypeSc1 {
			limit = 1
		}
		for _, snap := range c.EC2.Snapshots {
			if snap.Volume == v.ID && snap.State == types.SnapshotStatePending {
				pending++
			}
		}
		if pending >= limit {
			return apiError("ConcurrentSnapshotLimitExceeded", fmt.Sprintf("Maximum allowed in-progress snapshots for a single volume (%s) exceeded.", v.ID))
		}
	}
	return nil
}

// ec2CreateSnapshot: API_CreateSnapshot. No client token.
func ec2CreateSnapshot(c *call, in *ec2.CreateSnapshotInput) (*ec2.CreateSnapshotOutput, error) {
	v, err := get(kindVolume, c.ec2().Volumes, in.VolumeId)
	if err != nil {
		return nil, err
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeSnapshot); err != nil {
		return nil, err
	}
	if err := c.checkVolumes([]*volume{v}); err != nil {
		return nil, err
	}
	tags, _ := tagsFor(types.ResourceTypeSnapshot, in.TagSpecifications)
	snap := c.showSnapshot(c.takeSnapshot(v, aws.ToString(in.Description), tags))
	return &ec2.CreateSnapshotOutput{
		SnapshotId: snap.SnapshotId, VolumeId: snap.VolumeId, VolumeSize: snap.VolumeSize, State: snap.State, StartTime: snap.StartTime, Progress: aws.String(""),
		Description: snap.Description, OwnerId: snap.OwnerId, Encrypted: snap.Encrypted, Tags: snap.Tags, StorageTier: snap.StorageTier,
	}, nil
}

// ec2CreateSnapshots: API_CreateSnapshots. All volumes at one point in time, or
// none. There is no client token: a lost answer can only be found by tag.
func ec2CreateSnapshots(c *call, in *ec2.CreateSnapshotsInput) (*ec2.CreateSnapshotsOutput, error) {
	s := c.ec2()
	if in.InstanceSpecification == nil {
		return nil, apiError("MissingParameter", "The request must contain the parameter InstanceSpecification")
	}
	i, err := get(kindInstance, s.Instances, in.InstanceSpecification.InstanceId)
	if err != nil {
		return nil, err
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeSnapshot); err != nil {
		return nil, err
	}
	tags, _ := tagsFor(types.ResourceTypeSnapshot, in.TagSpecifications)
	volumes, err := c.chosenVolumes(i, in.InstanceSpecification)
	if err != nil {
		return nil, err
	}
	if err := c.checkVolumes(volumes); err != nil {
		return nil, err
	}
	out := &ec2.CreateSnapshotsOutput{}
	for _, v := range volumes {
		all := make(map[string]string)
		if in.CopyTagsFromSource == types.CopyTagsFromSourceVolume {
			for k, value := range c.tags(v.ID) {
				if len(k) < 4 || k[:4] != "aws:" {
					all[k] = value
				}
			}
		}
		for k, value := range tags {
			all[k] = value
		}
		snap := c.takeSnapshot(v, aws.ToString(in.Description), all)
		out.Snapshots = append(out.Snapshots, types.SnapshotInfo{
			SnapshotId: &snap.ID, VolumeId: &snap.Volume, VolumeSize: &snap.Size, State: snap.State, StartTime: &snap.Started, Progress: aws.String(""),
			Description: &snap.Description, OwnerId: &snap.Owner, Encrypted: &snap.Encrypted, Tags: c.tagList(snap.ID),
		})
	}
	return out, nil
}

// chosenVolumes are the instance's volumes but those that are left out. An instance that
// may hibernate gives no snapshots (EC2 User Guide, "Hibernate your Amazon EC2 instance").
func (c *call) chosenVolumes(i *instance, spec *types.InstanceSpecification) ([]*volume, error) {
	if !i.alive() || i.State == types.InstanceStateNameShuttingDown {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in a valid state for this operation.", i.ID))
	}
	if i.Hibernates {
		return nil, apiError("UnsupportedOperation", fmt.Sprintf("You can't create snapshots of instance '%s', which is enabled for hibernation.", i.ID))
	}
	var volumes []*volume
	for _, v := range c.EC2.volumesOf(i.ID) {
		root := v.Attachment.Device == i.RootDevice
		if root && slices.Contains(spec.ExcludeDataVolumeIds, v.ID) {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("%s is the root volume; use ExcludeBootVolume.", v.ID))
		}
		if !(root && aws.ToBool(spec.ExcludeBootVolume)) && !slices.Contains(spec.ExcludeDataVolumeIds, v.ID) {
			volumes = append(volumes, v)
		}
	}
	for _, id := range spec.ExcludeDataVolumeIds {
		if v := c.EC2.Volumes[id]; v == nil || v.Attachment == nil || v.Attachment.Instance != i.ID {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("The volume '%s' is not attached to instance '%s'.", id, i.ID))
		}
	}
	if len(volumes) == 0 {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Instance '%s' has no EBS volumes to snapshot.", i.ID))
	}
	return volumes, nil
}

// showSnapshot: API_Snapshot.
func (c *call) showSnapshot(snap *snapshot) types.Snapshot {
	out := types.Snapshot{
		SnapshotId: &snap.ID, VolumeId: &snap.Volume, VolumeSize: &snap.Size, OwnerId: &snap.Owner, Description: &snap.Description,
		State: snap.State, StateMessage: nilIfEmpty(snap.Message), Progress: aws.String(snap.progress(c.Now)), StartTime: &snap.Started,
		Encrypted: &snap.Encrypted, KmsKeyId: nilIfEmpty(snap.KMSKey), StorageTier: types.StorageTierStandard, Tags: c.tagList(snap.ID),
	}
	if snap.State == types.SnapshotStateCompleted {
		out.CompletionTime = &snap.Completes
	}
	if snap.Owner == amazon {
		out.OwnerAlias = aws.String("amazon")
	}
	return out
}

// ec2DescribeSnapshots: API_DescribeSnapshots. Without owners it lists whatever the
// account may use, public ones of others too.
func ec2DescribeSnapshots(c *call, in *ec2.DescribeSnapshotsInput) (*ec2.DescribeSnapshotsOutput, error) {
	all, q := c.visibleSnapshots(), query{in.SnapshotIds, in.Filters}
	ids, err := find(c, kindSnapshot, all, q, c.snapshotField)
	if err != nil {
		return nil, err
	}
	if len(in.OwnerIds) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !c.owns(in.OwnerIds, all[id].Owner) })
	}
	ids, next, err := page(ids, q, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSnapshotsOutput{NextToken: next}
	for _, id := range ids {
		out.Snapshots = append(out.Snapshots, c.showSnapshot(all[id]))
	}
	return out, nil
}

// owns reads a list of owners: self, amazon or account IDs.
func (c *call) owns(owners []string, owner string) bool {
	return slices.ContainsFunc(owners, func(o string) bool {
		return o == owner || o == "self" && owner == c.Account || o == "amazon" && owner == amazon
	})
}

func (c *call) snapshotField(snap *snapshot, name string) ([]string, bool) {
	switch name {
	case "snapshot-id":
		return one(snap.ID), true
	case "volume-id":
		return one(snap.Volume), true
	case "volume-size":
		return []string{fmt.Sprint(snap.Size)}, true
	case "description":
		return one(snap.Description), true
	case "encrypted":
		return yes(snap.Encrypted), true
	case "owner-id":
		return one(snap.Owner), true
	case "owner-alias":
		if snap.Owner == amazon {
			return []string{"amazon"}, true
		}
		return nil, true
	case "status":
		return one(string(snap.State)), true
	case "progress":
		if snap.ID == "" {
			return nil, true
		}
		return one(snap.progress(c.Now)), true
	case "start-time":
		return one(snap.Started.UTC().Format("2006-01-02T15:04:05.000Z")), true
	case "storage-tier":
		return []string{string(types.StorageTierStandard)}, true
	}
	return nil, false
}

// ownSnapshot is one of the account's own.
func (c *call) ownSnapshot(id *string) (*snapshot, error) {
	snap, err := get(kindSnapshot, c.ec2().Snapshots, id)
	if err != nil {
		return nil, err
	}
	if snap.Owner != c.Account {
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("The snapshot '%s' is not owned by this account.", snap.ID))
	}
	return snap, nil
}

// ec2DeleteSnapshot: API_DeleteSnapshot. Neither a locked one nor one that an image uses.
// AWS's pages say that a locked snapshot can't be deleted, but name no error code.
func ec2DeleteSnapshot(c *call, in *ec2.DeleteSnapshotInput) (*ec2.DeleteSnapshotOutput, error) {
	snap, err := c.ownSnapshot(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	if snap.Lock.holds(c.Now) {
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("The snapshot '%s' is locked and can't be deleted.", snap.ID))
	}
	if img := c.EC2.imageOf(snap.ID); img != nil {
		return nil, apiError("InvalidSnapshot.InUse", fmt.Sprintf("The snapshot %s is currently in use by %s", snap.ID, img.ID))
	}
	deleteWhere(c.ec2(), c.EC2.Snapshots, func(o *snapshot) bool { return o == snap })
	return &ec2.DeleteSnapshotOutput{}, nil
}

// ec2CopySnapshot: API_CopySnapshot. A copy is a full one. With a key that can't be
// used it is accepted all the same, and ends in error.
func ec2CopySnapshot(c *call, in *ec2.CopySnapshotInput) (*ec2.CopySnapshotOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	from, err := get(kindSnapshot, c.snapshotsIn(aws.ToString(in.SourceRegion)), in.SourceSnapshotId)
	if err != nil {
		return nil, err
	}
	if from.State != types.SnapshotStateCompleted {
		return nil, apiError("IncorrectState", fmt.Sprintf("Snapshot is in invalid state - %s", from.State))
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeSnapshot); err != nil {
		return nil, err
	}
	if in.Encrypted != nil && !*in.Encrypted && from.Encrypted {
		return nil, apiError("InvalidParameterValue", "An encrypted snapshot can't be copied to an unencrypted one.")
	}
	tags, _ := tagsFor(types.ResourceTypeSnapshot, in.TagSpecifications)
	snap := &snapshot{
		ID: c.id("snap"), Volume: copiedVolume, Owner: c.Account, Description: aws.ToString(in.Description), Size: from.Size, Disk: from.Disk, Written: from.Written,
		State: types.SnapshotStatePending, Started: c.Now, Completes: c.Now.Add(snapshotTime(from.Size)),
		Encrypted: from.Encrypted || aws.ToBool(in.Encrypted) || c.EC2.EncryptByDefault,
	}
	if snap.Encrypted {
		snap.KMSKey = c.ebsKey(aws.ToString(in.KmsKeyId))
		if c.useKey(snap.KMSKey, "kms:CreateGrant") != nil || c.useKey(from.KMSKey, "kms:Decrypt") != nil {
			snap.Message = "Given key ID is not accessible"
		}
	}
	c.EC2.Snapshots[snap.ID] = snap
	c.tag(snap.ID, tags)
	return &ec2.CopySnapshotOutput{SnapshotId: &snap.ID, Tags: c.tagList(snap.ID)}, nil
}

// ec2ModifySnapshotAttribute: API_ModifySnapshotAttribute: who else may make volumes
// of it. Nobody, where the default key encrypted it.
func ec2ModifySnapshotAttribute(c *call, in *ec2.ModifySnapshotAttributeInput) (*ec2.ModifySnapshotAttributeOutput, error) {
	snap, err := c.ownSnapshot(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	var add, remove []string
	if p := in.CreateVolumePermission; p != nil {
		for _, a := range p.Add {
			add = append(add, aws.ToString(a.UserId)+string(a.Group))
		}
		for _, r := range p.Remove {
			remove = append(remove, aws.ToString(r.UserId)+string(r.Group))
		}
	}
	switch in.OperationType {
	case types.OperationTypeAdd:
		add = append(add, append(slices.Clone(in.UserIds), in.GroupNames...)...)
	case types.OperationTypeRemove:
		remove = append(remove, append(slices.Clone(in.UserIds), in.GroupNames...)...)
	}
	if k := c.findKey(c.region, snap.KMSKey); len(add) > 0 && k != nil && k.Manager == kmstypes.KeyManagerTypeAws {
		return nil, apiError("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
	}
	if snap.Encrypted && slices.Contains(add, "all") {
		return nil, apiError("OperationNotPermitted", "Encrypted snapshots can't be made public")
	}
	for _, who := range add {
		if !slices.Contains(snap.SharedWith, who) {
			snap.SharedWith = append(snap.SharedWith, who)
		}
	}
	snap.SharedWith = slices.DeleteFunc(snap.SharedWith, func(who string) bool { return slices.Contains(remove, who) })
	return &ec2.ModifySnapshotAttributeOutput{}, nil
}

// ec2DescribeSnapshotAttribute: API_DescribeSnapshotAttribute.
func ec2DescribeSnapshotAttribute(c *call, in *ec2.DescribeSnapshotAttributeInput) (*ec2.DescribeSnapshotAttributeOutput, error) {
	snap, err := c.ownSnapshot(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSnapshotAttributeOutput{SnapshotId: &snap.ID}
	if in.Attribute == types.SnapshotAttributeNameCreateVolumePermission {
		for _, who := range snap.SharedWith {
			p := types.CreateVolumePermission{UserId: aws.String(who)}
			if who == "all" {
				p = types.CreateVolumePermission{Group: types.PermissionGroupAll}
			}
			out.CreateVolumePermissions = append(out.CreateVolumePermissions, p)
		}
	}
	return out, nil
}
