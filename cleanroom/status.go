package cleanroom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/cleanroom/proof"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Report is what AWS shows of a clean room now.
type Report struct {
	Name      string     `json:"name"`
	Stack     string     `json:"stack"`
	Account   string     `json:"account"`
	Region    string     `json:"region"`
	State     string     `json:"state"` // of the stack; gone where there is none
	VPC       string     `json:"vpc,omitempty"`
	Instances []Instance `json:"instances,omitempty"`
	Volumes   []Volume   `json:"volumes,omitempty"`
	// Closed: the room is there, and no way leads out of it but the declared ones.
	Closed bool `json:"closed"`
	// Checked is what was looked at and found closed, WaysOut what must not be there,
	// Declared the ways that a room has by intent.
	Checked  []string    `json:"checked,omitempty"`
	WaysOut  []proof.Way `json:"ways_out,omitempty"`
	Declared []proof.Way `json:"declared,omitempty"`
	// Drift is what is not as it was when the room was launched.
	Drift []proof.Drift `json:"drift,omitempty"`
	// Residual is what a closed room lets pass by its nature.
	Residual []incident.Exposure `json:"residual,omitempty"`
	// Unseen is what the proof does not look at.
	Unseen []incident.Exposure `json:"unseen,omitempty"`
}

// Instance is an examination instance.
type Instance struct {
	ID    string `json:"id"`
	State string `json:"state"` // as EC2 has it; gone where it shows none
}

// Volume is a copy of a captured volume.
type Volume struct {
	ID         string `json:"id"`
	Snapshot   string `json:"snapshot"`
	State      string `json:"state"`
	AttachedTo string `json:"attached_to,omitempty"`
	Device     string `json:"device,omitempty"`
}

// residual exposures of every clean room.
func residual() []incident.Exposure {
	return []incident.Exposure{
		{Path: "the clean room: Systems Manager", Reason: "whoever may start a session on the examination instance can move data through it"},
	}
}

// unseen is what the proof does not look at.
func unseen() []incident.Exposure {
	return []incident.Exposure{
		{Path: "snapshots and images", Reason: "whom those that somebody makes of the room's volumes are shared with"},
		{Path: "shared subnets", Reason: "that a subnet is shared with another account shows only once that account has an interface in it"},
		{Path: "Cloud WAN, client VPN, route servers", Reason: "they are not asked themselves; what they have in the room shows as an interface or a route"},
		{Path: "Verified Access", Reason: "an endpoint of it reaches what the room's security groups let in, which is looked at"},
		{Path: "the room's log groups", Reason: "who reads them, and what they are passed on to by subscriptions"},
	}
}

// Status reads a clean room back from AWS, looks for every way out of it, and compares it
// with what was recorded when it was launched.
func Status(ctx context.Context, cfg aws.Config, room incident.CleanRoom) (Report, error) {
	r := Report{Name: room.Name, Stack: room.Stack, Account: room.Account, Region: room.Region, State: "gone"}
	s := stack{client: cloudformation.NewFromConfig(cfg), name: stackID(room)}
	st, err := s.describe(ctx)
	if errors.Is(err, errNoStack) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Stack, r.State = aws.ToString(st.StackId), string(st.StackStatus)
	made, err := s.resources(ctx)
	if err != nil {
		return r, err
	}
	where := place(room, made)
	if where.VPC == "" {
		return r, nil // not made yet, or taken down already
	}
	r.VPC, r.Residual, r.Unseen = where.VPC, residual(), unseen()
	client := ec2.NewFromConfig(cfg)
	if err := r.instances(ctx, client, where.Instances); err != nil {
		return r, err
	}
	if err := r.volumes(ctx, client, room); err != nil {
		return r, err
	}
	return r, r.prove(ctx, cfg, where, room)
}

// prove judges what is there, and compares it with what was.
func (r *Report) prove(ctx context.Context, cfg aws.Config, where proof.Room, room incident.CleanRoom) error {
	model, err := proof.ReadRoom(ctx, cfg, where)
	if err != nil {
		return err
	}
	verdict := proof.Judge(model, declared(launchOf(room)))
	r.Checked, r.WaysOut = verdict.Closed, verdict.Undeclared()
	for _, w := range verdict.Ways {
		if w.Declared != "" {
			r.Declared = append(r.Declared, w)
		}
	}
	r.Closed = len(r.WaysOut) == 0
	if len(room.Facts) == 0 {
		return nil // its launch never came so far
	}
	var before []proof.Fact
	if err := json.Unmarshal(room.Facts, &before); err != nil {
		return fmt.Errorf("what was recorded at the launch of %s: %w", room.Name, err)
	}
	r.Drift = proof.Compare(before, model.Facts())
	return nil
}

// facts are what the proof rests on, as AWS shows it now, to be compared with later.
func facts(ctx context.Context, cfg aws.Config, s stack, room incident.CleanRoom) (json.RawMessage, error) {
	made, err := s.resources(ctx)
	if err != nil {
		return nil, err
	}
	model, err := proof.ReadRoom(ctx, cfg, place(room, made))
	if err != nil {
		return nil, err
	}
	return json.Marshal(model.Facts())
}

// place is where the room is, by what its stack has made.
func place(room incident.CleanRoom, made map[string][]string) proof.Room {
	p := proof.Room{Account: room.Account, Region: room.Region, Instances: made["AWS::EC2::Instance"]}
	if vpcs := made["AWS::EC2::VPC"]; len(vpcs) > 0 {
		p.VPC = vpcs[0]
	}
	return p
}

// launchOf is what the room was launched with, as the journal has it.
func launchOf(room incident.CleanRoom) proof.Launch {
	return proof.Launch{Account: room.Account, Region: room.Region, Partition: partition(room.Region), Stack: room.Name, Parameters: room.Parameters}
}

// open says what keeps the room from being what it should be; empty: nothing.
func (r Report) open() string {
	var all []string
	for _, w := range r.WaysOut {
		all = append(all, w.Resource+": "+w.Reason)
	}
	return strings.Join(all, "; ")
}

func stackID(room incident.CleanRoom) string {
	if room.Stack != "" {
		return room.Stack
	}
	return room.Name
}

func (r *Report) instances(ctx context.Context, client *ec2.Client, ids []string) error {
	for _, id := range ids {
		out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil && errorCode(err) != "InvalidInstanceID.NotFound" {
			return fmt.Errorf("examination instance %s: %w", id, err)
		}
		i := Instance{ID: id, State: "gone"}
		if err == nil && len(out.Reservations) == 1 && len(out.Reservations[0].Instances) == 1 {
			i.State = string(out.Reservations[0].Instances[0].State.Name)
		}
		r.Instances = append(r.Instances, i)
	}
	return nil
}

func (r *Report) volumes(ctx context.Context, client *ec2.Client, room incident.CleanRoom) error {
	for _, id := range slices.Sorted(maps.Keys(room.Volumes)) {
		v, err := volumeByID(ctx, client, id)
		vol := Volume{ID: id, Snapshot: room.Volumes[id], State: string(v.State)}
		if errorCode(err) == codeNoVolume {
			vol.State, err = "gone", nil
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", id, err)
		}
		for _, a := range v.Attachments {
			vol.AttachedTo, vol.Device = aws.ToString(a.InstanceId), aws.ToString(a.Device)
		}
		r.Volumes = append(r.Volumes, vol)
	}
	return nil
}
