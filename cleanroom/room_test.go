package cleanroom

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestRoomsFoldToTheirLatestEvent(t *testing.T) {
	entry := func(seq uint64, room incident.CleanRoom) incident.Entry {
		raw, err := json.Marshal(room)
		if err != nil {
			t.Fatal(err)
		}
		return incident.Entry{Seq: seq, Type: incident.EntryCleanRoom, Data: raw}
	}
	rooms, err := Rooms([]incident.Entry{
		entry(1, incident.CleanRoom{Event: Launching, Name: "a", Account: "1"}),
		entry(2, incident.CleanRoom{Event: Launching, Name: "a", Account: "2"}),
		{Seq: 3, Type: incident.EntryNote, Data: []byte(`{}`)},
		entry(4, incident.CleanRoom{Event: Launched, Name: "a", Account: "1", Stack: "arn"}),
	})
	if err != nil || len(rooms) != 2 || rooms[0].Event != Launched || rooms[0].Stack != "arn" || rooms[1].Event != Launching {
		t.Errorf("got %+v, %v", rooms, err)
	}
	if _, err := Rooms([]incident.Entry{{Seq: 7, Type: incident.EntryCleanRoom, Data: []byte(`[]`)}}); err == nil || !strings.Contains(err.Error(), "entry 7") {
		t.Errorf("got %v", err)
	}
}
