package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// How long a volume takes between two states.
const (
	createTime = 2 * time.Second
	attachTime = 3 * time.Second
	detachTime = 5 * time.Second
)

// volume is an EBS volume.
type volume struct {
	ID         string            `json:"id"`
	AZ         string            `json:"az"`
	Size       int32             `json:"size"` // GiB
	Type       types.VolumeType  `json:"type"`
	IOPS       int32             `json:"iops,omitempty"`
	Rate       int32             `json:"rate,omitempty"` // throughput, MiB/s
	State      types.VolumeState `json:"state"`
	Until      time.Time         `json:"until,omitzero"` // when creating, attaching or detaching ends
	Disk       string            `json:"disk,omitempty"` // the name of its content; empty: zeros
	Written    writes            `json:"written,omitempty"`
	Snapshot   string            `json:"snapshot,omitempty"`
	Encrypted  bool              `json:"encrypted,omitempty"`
	KMSKey     string            `json:"kms_key,omitempty"` // ARN
	Broken     bool              `json:"broken,omitempty"`  // its key can't be used
	Created    time.Time         `json:"created"`
	Attachment *volumeAttachment `json:"attachment,omitempty"`
}

type volumeAttachment struct {
	Instance            string                      `json:"instance"`
	Device              string                      `json:"device"`
	State               types.VolumeAttachmentState `json:"state"`
	DeleteOnTermination bool                        `json:"delete_on_termination"`
	At                  time.Time                   `json:"at"`
}

func (ops operations) ec2Volumes() {
	ec2On(ops, ec2CreateVolume)
	ec2On(ops, ec2DescribeVolumes)
	ec2On(ops, ec2AttachVolume)
	ec2On(ops, ec2DetachVolume)
	ec2On(ops, ec2DeleteVolume)
}

// volume is nil where there is none.
func (w *world) volume(id string) *volume { return w.EC2.Volumes[id] }

func (s *ec2State) tickVolumes(now time.Time) (changed bool) {
	for _, v := range s.Volumes {
		if v.Until.IsZero() || now.Before(v.Until) {
			continue
		}
		changed, v.Until = true, time.Time{}
		switch {
		case v.Broken:
			v.State = types.VolumeStateError
		case v.Attachment == nil:
			v.State = types.VolumeStateAvailable
		case v.Attachment.State == types.VolumeAttachmentStateDetaching:
			v.Attachment, v.State = nil, types.VolumeStateAvailable
		default:
			v.Attachment.State = types.VolumeAttachmentStateAttached
		}
	}
	return changed
}

// makeVolume makes what planVolumes, or a caller as careful, has checked: with an
// instance attached to it, without one on its own. What comes from an encrypted
// snapshot is encrypted with its key, whatever is asked ("EBS encryption").
func (c *call) makeVolume(i *instance, l launchVolume) *volume {
	v := &volume{
		ID: c.id("vol"), Size: l.Size, Type: l.Type, IOPS: l.IOPS, Rate: l.Rate, State: types.VolumeStateCreating, Until: c.Now.Add(createTime),
		Disk: l.Disk, Snapshot: l.Snapshot, Encrypted: l.Encrypted || c.EC2.EncryptByDefault, Created: c.Now,
	}
	if v.Type == "" {
		v.Type = types.VolumeTypeGp3
	}
	if v.Type == types.VolumeTypeGp3 {
		v.IOPS, v.Rate = max(v.IOPS, 3000), max(v.Rate, 125)
	}
	key := l.Key
	if snap := c.EC2.Snapshots[l.Snapshot]; snap != nil {
		v.Disk, v.Written, v.Size = snap.Disk, snap.Written, max(v.Size, snap.Size)
		if snap.Encrypted {
			v.Encrypted = true
			if key == "" {
				key = snap.KMSKey
			}
		}
	}
	if v.Encrypted {
		v.KMSKey = c.ebsKey(key)
		v.Broken = c.useKey(v.KMSKey, "kms:CreateGrant") != nil
	}
	if i != nil {
		v.AZ, v.State, v.Until = i.AZ, types.VolumeStateInUse, time.Time{}
		v.Attachment = &volumeAttachment{Instance: i.ID, Device: l.Device, State: types.VolumeAttachmentStateAttached, DeleteOnTermination: !l.Keep, At: c.Now}
	}
	c.EC2.Volumes[v.ID] = v
	c.tag(v.ID, l.Tags)
	return v
}

// ebsKey is the ARN of a key for EBS; none named means the account's default one, which
// AWS manages. A key that does not exist keeps the name it was given.
func (c *call) ebsKey(key string) string {
	if key == "" {
		return c.keyARN(c.managedKey("ebs"))
	}
	if k := c.findKey(c.region, key); k != nil {
		return c.keyARN(k)
	}
	return key
}

// ec2CreateVolume: API_CreateVolume. The client token is honoured. The snapshot must
// be completed. A key is checked only afterwards: with one that can't be used the
// request succeeds and the volume ends in error.
func ec2CreateVolume(c *call, in *ec2.CreateVolumeInput) (*ec2.CreateVolumeOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateVolume", in.ClientToken, in, func() (string, error) { return c.createVolume(in) })
	if err != nil {
		return nil, err
	}
	v := c.showVolume(s.Volumes[made])
	return &ec2.CreateVolumeOutput{
		VolumeId: v.VolumeId, AvailabilityZone: v.AvailabilityZone, Size: v.Size, VolumeType: v.VolumeType, Iops: v.Iops, Throughput: v.Throughput,
		State: v.State, SnapshotId: v.SnapshotId, Encrypted: v.Encrypted, KmsKeyId: v.KmsKeyId, CreateTime: v.CreateTime,
		MultiAttachEnabled: v.MultiAttachEnabled, Tags: v.Tags,
	}, nil
}

func (c *call) createVolume(in *ec2.CreateVolumeInput) (id string, err error) {
	l := launchVolume{
		Size: aws.ToInt32(in.Size), Type: in.VolumeType, Snapshot: aws.ToString(in.SnapshotId), Encrypted: aws.ToBool(in.Encrypted),
		Key: aws.ToString(in.KmsKeyId), IOPS: aws.ToInt32(in.Iops), Rate: aws.ToInt32(in.Throughput),
	}
	if err := c.here(); err != nil {
		return "", err
	}
	zone := aws.ToString(in.AvailabilityZone)
	if !slices.Contains(c.zones(), zone) {
		return "", apiError("InvalidZone.NotFound", fmt.Sprintf("The zone '%s' does not exist.", zone))
	}
	if l.Snapshot == "" && l.Size == 0 {
		return "", apiError("MissingParameter", "The request must contain the parameter size/snapshot")
	}
	if l.Snapshot != "" {
		snap, err := get(kindSnapshot, c.EC2.Snapshots, &l.Snapshot)
		if err != nil {
			return "", err
		}
		if snap.State != types.SnapshotStateCompleted {
			return "", apiError("IncorrectState", fmt.Sprintf("Snapshot is in invalid state - %s", snap.State))
		}
		if l.Size != 0 && l.Size < snap.Size {
			return "", apiError("InvalidParameterValue", fmt.Sprintf("The size of the volume (%d) must be at least that of the snapshot (%d).", l.Size, snap.Size))
		}
	}
	if l.Key != "" && !l.Encrypted {
		return "", apiError("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeVolume); err != nil {
		return "", err
	}
	l.Tags, _ = tagsFor(types.ResourceTypeVolume, in.TagSpecifications)
	v := c.makeVolume(nil, l)
	v.AZ = zone
	return v.ID, nil
}

// showVolume: API_Volume.
func (c *call) showVolume(v *volume) types.Volume {
	out := types.Volume{
		VolumeId: &v.ID, AvailabilityZone: &v.AZ, Size: &v.Size, VolumeType: v.Type, State: v.State, SnapshotId: &v.Snapshot,
		Encrypted: &v.Encrypted, KmsKeyId: nilIfEmpty(v.KMSKey), CreateTime: &v.Created, MultiAttachEnabled: aws.Bool(false), Tags: c.tagList(v.ID),
	}
	if v.IOPS > 0 {
		out.Iops = &v.IOPS
	}
	if v.Rate > 0 {
		out.Throughput = &v.Rate
	}
	if a := v.Attachment; a != nil {
		out.Attachments = []types.VolumeAttachment{{
			VolumeId: &v.ID, InstanceId: &a.Instance, Device: &a.Device, State: a.State, AttachTime: &a.At, DeleteOnTermination: &a.DeleteOnTermination,
		}}
	}
	return out
}

// ec2DescribeVolumes: API_DescribeVolumes.
func ec2DescribeVolumes(c *call, in *ec2.DescribeVolumesInput) (*ec2.DescribeVolumesOutput, error) {
	q := listing{query{in.VolumeIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindVolume, c.ec2().Volumes, q, volumeField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeVolumesOutput{Volumes: each(found, c.showVolume), NextToken: next}, nil
}

func volumeField(v *volume, name string) ([]string, bool) {
	a := v.Attachment
	if a == nil {
		a = &volumeAttachment{}
	}
	switch name {
	case "volume-id":
		return one(v.ID), true
	case "availability-zone":
		return one(v.AZ), true
	case "encrypted":
		return yes(v.Encrypted), true
	case "size":
		return []string{fmt.Sprint(v.Size)}, true
	case "snapshot-id":
		return one(v.Snapshot), true
	case "status":
		return one(string(v.State)), true
	case "volume-type":
		return one(string(v.Type)), true
	case "attachment.instance-id":
		return one(a.Instance), true
	case "attachment.device":
		return one(a.Device), true
	case "attachment.status":
		return one(string(a.State)), true
	case "attachment.delete-on-termination":
		if v.Attachment == nil {
			return nil, true
		}
		return yes(a.DeleteOnTermination), true
	}
	return nil, false
}

// ec2AttachVolume: API_AttachVolume. Same zone, a free device name, and a volume that
// nobody else has.
func ec2AttachVolume(c *call, in *ec2.AttachVolumeInput) (*ec2.AttachVolumeOutput, error) {
	s := c.ec2()
	v, err := get(kindVolume, s.Volumes, in.VolumeId)
	if err != nil {
		return nil, err
	}
	i, err := get(kindInstance, s.Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	device := aws.ToString(in.Device)
	switch {
	case v.Attachment != nil:
		return nil, apiError("VolumeInUse", fmt.Sprintf("%s is already attached to an instance", v.ID))
	case v.State != types.VolumeStateAvailable:
		return nil, apiError("IncorrectState", fmt.Sprintf("%s is not 'available'.", v.ID))
	case i.State != types.InstanceStateNameRunning && i.State != types.InstanceStateNameStopped:
		return nil, apiError("IncorrectState", fmt.Sprintf("Instance '%s' is not 'running'.", i.ID))
	case i.AZ != v.AZ:
		return nil, apiError("InvalidVolume.ZoneMismatch", fmt.Sprintf("The volume '%s' is not in the same availability zone as instance '%s'", v.ID, i.ID))
	case slices.ContainsFunc(s.volumesOf(i.ID), func(o *volume) bool { return o.Attachment.Device == device }):
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid value '%s' for unixDevice. Attachment point %s is already in use", device, device))
	}
	v.State, v.Until = types.VolumeStateInUse, c.Now.Add(attachTime)
	v.Attachment = &volumeAttachment{Instance: i.ID, Device: device, State: types.VolumeAttachmentStateAttaching, At: c.Now}
	return &ec2.AttachVolumeOutput{
		VolumeId: &v.ID, InstanceId: &i.ID, Device: &device, State: v.Attachment.State, AttachTime: &v.Attachment.At, DeleteOnTermination: aws.Bool(false),
	}, nil
}

// ec2DetachVolume: API_DetachVolume. A root volume only from a stopped instance.
func ec2DetachVolume(c *call, in *ec2.DetachVolumeInput) (*ec2.DetachVolumeOutput, error) {
	s := c.ec2()
	v, err := get(kindVolume, s.Volumes, in.VolumeId)
	if err != nil {
		return nil, err
	}
	a := v.Attachment
	if a == nil || a.State == types.VolumeAttachmentStateDetaching {
		return nil, apiError("IncorrectState", fmt.Sprintf("Volume '%s' is in the 'available' state.", v.ID))
	}
	if in.InstanceId != nil && *in.InstanceId != a.Instance || in.Device != nil && *in.Device != a.Device {
		return nil, apiError("InvalidAttachment.NotFound", fmt.Sprintf("The volume '%s' is not attached to instance '%s' as device '%s'.", v.ID, aws.ToString(in.InstanceId), aws.ToString(in.Device)))
	}
	if i := s.Instances[a.Instance]; a.Device == i.RootDevice && i.State != types.InstanceStateNameStopped {
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("Unable to detach root volume '%s' from instance '%s'", v.ID, i.ID))
	}
	a.State, v.Until = types.VolumeAttachmentStateDetaching, c.Now.Add(detachTime)
	return &ec2.DetachVolumeOutput{
		VolumeId: &v.ID, InstanceId: &a.Instance, Device: &a.Device, State: a.State, AttachTime: &a.At, DeleteOnTermination: &a.DeleteOnTermination,
	}, nil
}

// ec2DeleteVolume: API_DeleteVolume.
func ec2DeleteVolume(c *call, in *ec2.DeleteVolumeInput) (*ec2.DeleteVolumeOutput, error) {
	s := c.ec2()
	v, err := get(kindVolume, s.Volumes, in.VolumeId)
	if err != nil {
		return nil, err
	}
	if v.Attachment != nil {
		return nil, apiError("VolumeInUse", fmt.Sprintf("Volume %s is currently attached to %s", v.ID, v.Attachment.Instance))
	}
	deleteWhere(s, s.Volumes, func(o *volume) bool { return o == v })
	return &ec2.DeleteVolumeOutput{}, nil
}
