package cleanroom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Closure takes clean rooms of a case down.
type Closure struct {
	Config aws.Config // of the room's account and Region
	Clock  incident.Clock
	Case   incident.Case
	// Store takes what the room leaves behind; nil: it is not taken into custody.
	Store         evidence.Store
	AllowUnlocked bool // keep it also where the store can't lock it
	// Custody is the case's, as the journal has it.
	Custody *evidence.Custody
	Record  func(context.Context, incident.EntryType, any) error
	// Retain are resources, by logical name, that stay behind where the stack could not be deleted.
	Retain []string
}

const undone = "nothing of the room is deleted yet; the same command goes on, --without-findings closes the room and leaves them where they are"

// Close ends the room's sessions, takes what the room leaves behind into custody, and then the room down: the volumes made for it, and
// its stack. The evidence stays, and so do the log groups. It can be called again after a crash or a
// deletion that failed: what is taken, or gone, already is passed over. It records that the room is closing
// before it changes anything, and that it is closed when AWS shows that all is gone. It returns the IDs of the items
// that it has taken.
func (c Closure) Close(ctx context.Context, room incident.CleanRoom) ([]string, error) {
	s := stack{client: cloudformation.NewFromConfig(c.Config), clock: c.Clock, name: stackID(room)}
	st, err := s.describe(ctx)
	if err != nil && !errors.Is(err, errNoStack) {
		return nil, err
	}
	there := err == nil
	if len(c.Retain) > 0 && st.StackStatus != cftypes.StackStatusDeleteFailed {
		return nil, &incident.RefusedError{Reason: "resources can stay behind only where a deletion has failed; the stack of clean room " + room.Name + " is " + cmp.Or(string(st.StackStatus), "gone")}
	}
	made := make(map[string][]string)
	if there {
		room.Stack = aws.ToString(st.StackId)
		s.name = room.Stack
		if made, err = s.resources(ctx); err != nil {
			return nil, err
		}
	}
	room.Event = Closing
	if err := c.Record(ctx, incident.EntryCleanRoom, room); err != nil {
		return nil, err
	}
	if err := c.endSessions(ctx, room, made["AWS::EC2::Instance"]); err != nil {
		return nil, incident.WithHint(err, undone)
	}
	var taken []string
	if c.Store != nil {
		if taken, err = c.takeFindings(ctx, room, made["AWS::Logs::LogGroup"]); err != nil {
			return taken, incident.WithHint(err, undone)
		}
	}
	token := tagOf(st, tagToken) // empty where the stack is gone
	if err := c.deleteVolumes(ctx, room, token); err != nil {
		return taken, err
	}
	if token != "" {
		if err := deleteRestored(ctx, ec2.NewFromConfig(c.Config), token); err != nil {
			return taken, err
		}
	}
	if there {
		if err := s.delete(ctx, c.Retain); err != nil {
			return taken, undeleted(err, room, c.Case)
		}
		room.Retained = c.Retain
	}
	room.Event = Closed
	return taken, c.Record(ctx, incident.EntryCleanRoom, room)
}

// undeleted says how to go on where CloudFormation could not delete a resource.
func undeleted(err error, room incident.CleanRoom, of incident.Case) error {
	var failed *failedError
	if !errors.As(err, &failed) || len(failed.resources) == 0 {
		return err
	}
	var retain []string
	for _, r := range failed.resources {
		retain = append(retain, "--retain "+r.Logical)
	}
	return incident.WithHint(err, fmt.Sprintf("mend the cause and close again; or leave behind what can't be deleted: 'cordon cleanroom close --case %s --name %s %s'",
		of.ID, room.Name, strings.Join(retain, " ")))
}

// deleteVolumes deletes the copies that the journal knows, and those that a launch which was cut
// short has made. Token is the launch's; empty where the stack is gone.
func (c Closure) deleteVolumes(ctx context.Context, room incident.CleanRoom, token string) error {
	client := ec2.NewFromConfig(c.Config)
	ids := slices.Collect(maps.Keys(room.Volumes))
	if token != "" {
		made, err := volumesOf(ctx, client, token)
		if err != nil {
			return err
		}
		for _, v := range made {
			ids = append(ids, aws.ToString(v.VolumeId))
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err := deleteVolume(ctx, client, c.Clock, id); err != nil {
			return fmt.Errorf("volume %s: %w", id, err)
		}
	}
	return nil
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
