package cleanroom

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Events in a clean room's life, as incident.CleanRoom names them.
const (
	Launching = "launching" // the stack is being made: what a killed run leaves behind is known
	Launched  = "launched"
	Closing   = "closing"
	Closed    = "closed"
)

// Rooms are the case's clean rooms, oldest first, each as its latest entry shows it.
func Rooms(entries []incident.Entry) ([]incident.CleanRoom, error) {
	var rooms []incident.CleanRoom
	at := make(map[string]int)
	for _, e := range entries {
		if e.Type != incident.EntryCleanRoom {
			continue
		}
		var room incident.CleanRoom
		if err := json.Unmarshal(e.Data, &room); err != nil {
			return nil, fmt.Errorf("entry %d: clean room: %w", e.Seq, err)
		}
		key := room.Account + "/" + room.Region + "/" + room.Name
		if i, ok := at[key]; ok {
			rooms[i] = room
			continue
		}
		at[key] = len(rooms)
		rooms = append(rooms, room)
	}
	return rooms, nil
}

// Door is how a room is entered.
type Door struct {
	Instances []string // examination instances, the first first
	Document  string   // of Session Manager, by which sessions are logged; empty: the account's own
}

// DoorOf asks AWS for a room's door.
func DoorOf(ctx context.Context, cfg aws.Config, room incident.CleanRoom) (Door, error) {
	made, err := stack{client: cloudformation.NewFromConfig(cfg), name: stackID(room)}.resources(ctx)
	if err != nil {
		return Door{}, err
	}
	d := Door{Instances: made["AWS::EC2::Instance"]}
	if documents := made["AWS::SSM::Document"]; len(documents) > 0 {
		d.Document = documents[0]
	}
	return d, nil
}
