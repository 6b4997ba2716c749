package cleanroom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Close takes a clean room down: the volumes made for it, then its stack. The
// evidence stays, and so do the network's flow logs. It can be called again
// after a crash: what is gone already is passed over. It records that the room is closing
// before it changes anything, and that it is closed when AWS shows that all is gone.
func Close(ctx context.Context, cfg aws.Config, clock incident.Clock, room incident.CleanRoom, record func(context.Context, incident.EntryType, any) error) error {
	s := stack{client: cloudformation.NewFromConfig(cfg), clock: clock, name: stackID(room)}
	client := ec2.NewFromConfig(cfg)
	st, err := s.describe(ctx)
	if err != nil && !errors.Is(err, errNoStack) {
		return err
	}
	there := err == nil
	if there {
		room.Stack = aws.ToString(st.StackId)
	}
	ids := slices.Sorted(maps.Keys(room.Volumes))
	if token := tagOf(st, tagToken); there && token != "" {
		// A launch that was cut short has made volumes that the journal does not know.
		made, err := volumesOf(ctx, client, token)
		if err != nil {
			return err
		}
		for _, v := range made {
			ids = append(ids, aws.ToString(v.VolumeId))
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	room.Event = Closing
	if err := record(ctx, incident.EntryCleanRoom, room); err != nil {
		return err
	}
	for _, id := range ids {
		if err := deleteVolume(ctx, client, clock, id); err != nil {
			return fmt.Errorf("volume %s: %w", id, err)
		}
	}
	if token := tagOf(st, tagToken); there && token != "" {
		if err := deleteRestored(ctx, client, token); err != nil {
			return err
		}
	}
	if there {
		s.name = room.Stack
		if err := s.delete(ctx); err != nil {
			return err
		}
	}
	room.Event = Closed
	return record(ctx, incident.EntryCleanRoom, room)
}

// deleteVolume detaches and deletes. Detaching is forced: the volume is a copy
// that nobody will read again, and a hung examination instance must not hold the room open.
func deleteVolume(ctx context.Context, client *ec2.Client, clock incident.Clock, id string) error {
	return incident.Poll(ctx, clock, volumePoll, volumeLimit, "its end", func(ctx context.Context) (bool, error) {
		v, err := volumeByID(ctx, client, id)
		if errorCode(err) == codeNoVolume {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		switch v.State {
		case types.VolumeStateAvailable, types.VolumeStateError:
			_, err = client.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &id})
		case types.VolumeStateInUse:
			_, err = client.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &id, Force: aws.Bool(true)})
		case types.VolumeStateDeleted:
			return true, nil
		}
		switch errorCode(err) {
		case codeNoVolume:
			return true, nil
		case "IncorrectState", "VolumeInUse": // it is on its way already
			return false, nil
		}
		return false, err
	})
}
