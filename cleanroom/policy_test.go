package cleanroom

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestAPolicyThatIsNotNarrowNeverPassesAsNarrow(t *testing.T) {
	for document, want := range map[string][]string{
		"": {"*"},
		`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a/*"}}`:                                   {"arn:aws:s3:::a/*"},
		`{"Statement":[{"Effect":"Allow","Resource":["x","y"]},{"Effect":"Deny","Resource":"*"}]}`:                         {"x", "y"},
		`{"Statement":[{"Effect":"Allow","NotResource":"arn:aws:s3:::a"}]}`:                                                {"*"},
		`{"Statement":[{"Effect":"Allow"}]}`:                                                                               {"*"},
		`%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Resource%22%3A%22arn%3Aaws%3As3%3A%3A%3Aa%22%7D%5D%7D`: {"arn:aws:s3:::a"},
	} {
		if got, err := resources(document); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", document, got, err, want)
		}
	}
	for _, document := range []string{"{", `{"Statement":[{"Effect":"Perhaps","Resource":"x"}]}`, `{"Statement":"x"}`} {
		if got, err := resources(document); err == nil {
			t.Errorf("%s: passed as %q", document, got)
		}
	}
}

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

func TestTheTemplateIsJSONWithoutAWayOut(t *testing.T) {
	var parsed struct {
		Resources map[string]struct{ Type string }
	}
	if err := json.Unmarshal(template, &parsed); err != nil {
		t.Fatal(err)
	}
	for name, r := range parsed.Resources {
		for _, way := range []string{"InternetGateway", "NatGateway", "Peering", "TransitGateway", "VPNGateway", "EC2::Route\"", "EIP"} {
			if strings.Contains(r.Type+`"`, way) {
				t.Errorf("%s is a %s", name, r.Type)
			}
		}
	}
}
