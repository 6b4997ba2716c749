package cli

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// room is what the journal and AWS show of the case's clean room.
func (o *world) room() (incident.CleanRoom, cleanroom.Report) {
	o.t.Helper()
	r, err := o.w.read(o.t.Context(), "INC-1")
	o.must(err)
	rooms, err := cleanroom.Rooms(r.entries)
	o.must(err)
	if len(rooms) != 1 {
		o.t.Fatalf("%d clean rooms", len(rooms))
	}
	report, err := cleanroom.Status(o.t.Context(), o.account.Config(o.account.Alert().Region), rooms[0])
	o.must(err)
	return rooms[0], report
}

func (o *world) closeRoom() {
	o.t.Helper()
	j, err := o.w.hold(o.t.Context(), "INC-1")
	o.must(err)
	o.must(errors.Join(o.w.closeRooms(o.t.Context(), j, closing{caseID: "INC-1"}), j.Close()))
}

func TestReleaseAndTheCleanRoomLeaveEachOtherAlone(t *testing.T) {
	settings := []string{"export=false", "image=false", "live_response=false", "observe_for=off"}
	for _, first := range []string{"release", "close"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			o := newWorld(t)
			free := o.exact()
			if err := o.live(undisturbed(), "full-response", settings...); err != nil {
				t.Fatal(err)
			}
			isolated := o.exact()
			_, open := o.room()
			if !open.Closed {
				t.Fatalf("the room is open: %+v", open.WaysOut)
			}
			release := func() {
				if err := o.live(undisturbed(), "release"); err != nil {
					t.Fatal(err)
				}
			}
			if first == "release" {
				release()
				if _, after := o.room(); !reflect.DeepEqual(after, open) {
					t.Errorf("the release has changed the room:\n%+v\n%+v", open, after)
				}
				o.closeRoom()
			} else {
				o.closeRoom()
				if after := o.exact(); !reflect.DeepEqual(after, isolated) {
					t.Errorf("closing the room has changed the isolation: %s", isolated.difference(after))
				}
				release()
			}
			if after := o.exact(); !reflect.DeepEqual(after, free) {
				t.Error(free.difference(after))
			}
			if room, _ := o.room(); room.Event != cleanroom.Closed {
				t.Errorf("the room is %s", room.Event)
			}
			o.verify()
		})
	}
}

// trespass CASE attaches an Internet gateway to the network of the case's clean room.
func trespass(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: trespass CASE")
	}
	account, err := rehearsal.Open(ts.Getenv("CORDON_REHEARSAL"))
	ts.Check(err)
	client := ec2.NewFromConfig(account.Config(account.Alert().Region))
	ctx := context.Background()
	vpcs, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	ts.Check(err)
	for _, v := range vpcs.Vpcs {
		for _, t := range v.Tags {
			if aws.ToString(t.Key) != "cordon:case" || aws.ToString(t.Value) != args[0] {
				continue
			}
			made, err := client.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
			ts.Check(err)
			_, err = client.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: made.InternetGateway.InternetGatewayId, VpcId: v.VpcId})
			ts.Check(err)
			return
		}
	}
	ts.Fatalf("case %s has no clean room", args[0])
}
