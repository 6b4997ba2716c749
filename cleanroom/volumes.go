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

// volumes makes a volume of each snapshot in the instance's zone and attaches
// it. Both can be asked for again: creation has a client token, and a volume that is
// attached already is left as it is.
func (o *opening) volumes(ctx context.Context, zone, instance string) ([]string, error) {
	if err := o.completed(ctx); err != nil {
		return nil, err
	}
	made, err := volumesOf(ctx, o.ec2, o.req.Token)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(o.in.Snapshots))
	for i, snapshot := range o.in.Snapshots {
		at := slices.IndexFunc(made, func(v types.Volume) bool { return aws.ToString(v.SnapshotId) == snapshot })
		if at >= 0 {
			ids[i] = aws.ToString(made[at].VolumeId)
			continue
		}
		out, err := o.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{
			AvailabilityZone: &zone, SnapshotId: &snapshot, VolumeType: types.VolumeTypeGp3, Encrypted: aws.Bool(true),
			ClientToken:       aws.String(o.req.Token[:min(32, len(o.req.Token))] + "-" + snapshot), // 64 characters at most
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: o.tags()}},
		})
		if err != nil {
			return nil, fmt.Errorf("volume from %s: %w", snapshot, err)
		}
		ids[i] = aws.ToString(out.VolumeId)
	}
	for i, id := range ids {
		if err := o.attach(ctx, id, instance, "/dev/sd"+devices[i:i+1]); err != nil {
			return nil, err
		}
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "volumes attached", Done: int64(i + 1), Total: int64(len(ids)), Unit: "volumes"})
	}
	return ids, nil
}

// completed waits until all snapshots are: no volume can be made of a pending one.
func (o *opening) completed(ctx context.Context) error {
	return incident.Poll(ctx, o.req.Clock, snapshotPoll, snapshotLimit, "the snapshots' completion", func(ctx context.Context) (bool, error) {
		out, err := o.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: o.in.Snapshots})
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
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "snapshots complete", Done: int64(done), Total: int64(len(o.in.Snapshots)), Unit: "snapshots"})
		return done == len(o.in.Snapshots), nil
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
