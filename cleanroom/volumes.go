package cleanroom

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	volumePoll, volumeLimit = 5 * time.Second, 15 * time.Minute
	// A first snapshot of a large volume takes hours to complete.
	snapshotPoll, snapshotLimit = 15 * time.Second, 24 * time.Hour
)

// copied is a volume made for a room.
type copied struct {
	id, item, snapshot, instance, device string
}

// tagFor names, on a volume, the examination instance that it is for: each has its own
// copies, and only the tag tells them apart before they are attached.
const tagFor = "cordon:for"

// volumes makes a volume of each snapshot for each instance, in its zone, and
// attaches it. All can be asked for again: creation has a client token, and a volume that is
// attached already is left as it is.
func (o *opening) volumes(ctx context.Context, zone string, instances []string) ([]copied, error) {
	var want []copied
	var snapshots []string
	for i, d := range o.before.Disks {
		snapshot := d.Snapshot
		if d.Image != nil {
			var err error
			if snapshot, err = o.restored(ctx, d); err != nil {
				return nil, err
			}
		}
		snapshots = append(snapshots, snapshot)
		for _, instance := range instances {
			want = append(want, copied{item: d.Item, snapshot: snapshot, instance: instance, device: "/dev/sd" + devices[i:i+1]})
		}
	}
	if err := o.completed(ctx, snapshots); err != nil {
		return nil, err
	}
	made, err := volumesOf(ctx, o.ec2, o.req.Token)
	if err != nil {
		return nil, err
	}
	for i := range want {
		if want[i].id, err = o.volume(ctx, zone, made, want[i], slices.Index(instances, want[i].instance)); err != nil {
			return nil, fmt.Errorf("volume from %s: %w", want[i].snapshot, err)
		}
	}
	for i, v := range want {
		if err := o.name(ctx, v); err != nil {
			return nil, err
		}
		if err := o.attach(ctx, v.id, v.instance, v.device); err != nil {
			return nil, err
		}
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "volumes attached", Done: int64(i + 1), Total: int64(len(want)), Unit: "volumes"})
	}
	return want, nil
}

// volume finds the volume among those made already, or makes it.
func (o *opening) volume(ctx context.Context, zone string, made []types.Volume, v copied, n int) (string, error) {
	at := slices.IndexFunc(made, func(m types.Volume) bool {
		return aws.ToString(m.SnapshotId) == v.snapshot && slices.ContainsFunc(m.Tags, func(t types.Tag) bool {
			return aws.ToString(t.Key) == tagFor && aws.ToString(t.Value) == v.instance
		})
	})
	if at >= 0 {
		return aws.ToString(made[at].VolumeId), nil
	}
	in := &ec2.CreateVolumeInput{
		AvailabilityZone: &zone, SnapshotId: &v.snapshot, VolumeType: types.VolumeTypeGp3, Encrypted: aws.Bool(true),
		ClientToken: aws.String(fmt.Sprintf("%.32s-%s-%d", o.req.Token, v.snapshot, n)), // 64 characters at most
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: append(o.tags(),
			types.Tag{Key: aws.String("Name"), Value: &v.item}, types.Tag{Key: aws.String(tagItem), Value: &v.item}, types.Tag{Key: aws.String(tagFor), Value: &v.instance},
		)}},
	}
	if o.in.VolumeKey != "" {
		in.KmsKeyId = &o.in.VolumeKey
	}
	out, err := o.ec2.CreateVolume(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.VolumeId), nil
}

// tagItem names the evidence item: on the volume, and, with a colon and the volume's ID
// after it, on the instance. The instance sees its own tags in its metadata, and nothing of the
// volumes': by them examiner.sh tells which disk is which.
const tagItem = "cordon:evidence"

// name tells the instance what the volume is, before it can see it.
func (o *opening) name(ctx context.Context, v copied) error {
	_, err := o.ec2.CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: []string{v.instance}, Tags: []types.Tag{{Key: aws.String(tagItem + ":" + v.id), Value: &v.item}},
	})
	if err != nil {
		return fmt.Errorf("naming %s on %s: %w", v.item, v.instance, err)
	}
	return nil
}

// completed waits until all snapshots are: no volume can be made of a pending one.
func (o *opening) completed(ctx context.Context, snapshots []string) error {
	return incident.Poll(ctx, o.req.Clock, snapshotPoll, snapshotLimit, "the snapshots' completion", func(ctx context.Context) (bool, error) {
		out, err := o.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: snapshots})
		if err != nil {
			return false, err
		}
		done := 0
		for _, s := range out.Snapshots {
			switch s.State {
			case types.SnapshotStateError:
				return false, fmt.Errorf("%s ended in error: %s", aws.ToString(s.SnapshotId), aws.ToString(s.StateMessage))
			case types.SnapshotStateCompleted:
				done++
			}
		}
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "snapshots complete", Done: int64(done), Total: int64(len(snapshots)), Unit: "snapshots"})
		return done == len(snapshots), nil
	})
}

// volumesOf are the volumes that a step has made.
func volumesOf(ctx context.Context, client *ec2.Client, token string) ([]types.Volume, error) {
	out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{
		Filters: []types.Filter{{Name: aws.String("tag:" + tagToken), Values: []string{token}}},
	})
	if err != nil {
		return nil, fmt.Errorf("volumes of the clean room: %w", err)
	}
	// The stack's tags reach the examination instance's root volume, too.
	return slices.DeleteFunc(out.Volumes, func(v types.Volume) bool {
		return slices.ContainsFunc(v.Attachments, func(a types.VolumeAttachment) bool { return aws.ToBool(a.DeleteOnTermination) })
	}), nil
}

// attach waits for the volume and the instance, attaches, and waits until that is done.
func (o *opening) attach(ctx context.Context, id, instance, device string) error {
	asked := false
	return incident.Poll(ctx, o.req.Clock, volumePoll, volumeLimit, "volume "+id+" on "+instance, func(ctx context.Context) (bool, error) {
		v, err := volumeByID(ctx, o.ec2, id)
		if errorCode(err) == codeNoVolume {
			return false, nil // not shown yet
		}
		if err != nil {
			return false, err
		}
		if len(v.Attachments) > 0 {
			a := v.Attachments[0] // a new volume has no other
			if aws.ToString(a.InstanceId) != instance {
				return false, fmt.Errorf("it is attached to %s", aws.ToString(a.InstanceId))
			}
			return a.State == types.VolumeAttachmentStateAttached, nil
		}
		switch {
		case v.State == types.VolumeStateError:
			return false, fmt.Errorf("it ended in error: the key of its snapshot may not be usable by the caller")
		case v.State != types.VolumeStateAvailable || asked:
			return false, nil
		}
		_, err = o.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &id, InstanceId: &instance, Device: &device})
		switch errorCode(err) {
		case "IncorrectState", "IncorrectInstanceState": // the instance is still starting
			return false, nil
		case "VolumeInUse": // our own lost request
			err = nil
		}
		asked = err == nil
		return false, err
	})
}

const codeNoVolume = "InvalidVolume.NotFound"

func volumeByID(ctx context.Context, client *ec2.Client, id string) (types.Volume, error) {
	out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		return types.Volume{}, err
	}
	if len(out.Volumes) != 1 {
		return types.Volume{}, fmt.Errorf("AWS shows %d volumes %s", len(out.Volumes), id)
	}
	return out.Volumes[0], nil
}
