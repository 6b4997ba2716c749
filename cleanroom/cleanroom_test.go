package cleanroom_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// bench runs cleanroom.launch against the scenario as the engine does.
type bench struct {
	t         *testing.T
	account   *rehearsal.Account
	action    incident.Action
	target    incident.Target
	snapshots []string
	instances int // 0: one
	entries   []incident.Entry
	inputs    map[string]any // besides the usual ones
}

func newBench(t *testing.T) *bench {
	t.Helper()
	account, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	b := &bench{t: t, account: account, target: incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance}}
	b.action = cleanroom.Actions(func(_ context.Context, t incident.Target) (aws.Config, error) {
		return atOnce(account.Config(t.Region)), nil
	}, cleanroom.Evidence{Bucket: alert.Bucket})[0]
	out, err := b.ec2().CreateSnapshots(t.Context(), &ec2.CreateSnapshotsInput{
		InstanceSpecification: &types.InstanceSpecification{InstanceId: &b.target.Instance},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Snapshots {
		b.snapshots = append(b.snapshots, aws.ToString(s.SnapshotId))
	}
	return b
}

func (b *bench) cfg() aws.Config  { return atOnce(b.account.Config(b.target.Region)) }
func (b *bench) ec2() *ec2.Client { return ec2.NewFromConfig(b.cfg()) }

func (b *bench) record(_ context.Context, kind incident.EntryType, data any) error {
	raw, err := json.Marshal(data)
	b.entries = append(b.entries, incident.Entry{Seq: uint64(len(b.entries)), Type: kind, Data: raw})
	return err
}

func (b *bench) request(resumed bool) incident.Request {
	seen := slices.Clone(b.entries)
	inputs := map[string]any{"snapshots": b.snapshots, "instance_type": "t3.large", "instances": max(b.instances, 1)}
	maps.Copy(inputs, b.inputs)
	return incident.Request{
		Case: incident.Case{ID: "INC 2026/7", Rehearsal: true}, Run: "run-1", Step: "cleanroom", Target: b.target,
		Inputs: inputs,
		Token:  "0123456789abcdef0123456789abcdef", Resumed: resumed, Clock: b.account.Clock(), Progress: func(incident.Progress) {},
		Turn:   func(_ context.Context, _ string, do func() error) error { return do() },
		Record: b.record,
		Recorded: func(kind incident.EntryType) (all []json.RawMessage) {
			for _, e := range seen {
				if e.Type == kind {
					all = append(all, e.Data)
				}
			}
			return all
		},
	}
}

func (b *bench) apply(resumed bool) (incident.Result, error) {
	b.t.Helper()
	p, err := b.action.Plan(b.t.Context(), b.request(false))
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	return b.action.Apply(b.t.Context(), b.request(resumed), p)
}

// open launches the room and proves it closed.
func (b *bench) open(resumed bool) incident.CleanRoom {
	b.t.Helper()
	r, err := b.apply(resumed)
	if err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	if _, err := b.action.Verify(b.t.Context(), b.request(false), incident.Proposal{}, r); err != nil {
		b.t.Fatalf("verify: %v", err)
	}
	return b.room()
}

// room is what the journal knows.
func (b *bench) room() incident.CleanRoom {
	b.t.Helper()
	rooms, err := cleanroom.Rooms(b.entries)
	if err != nil || len(rooms) != 1 {
		b.t.Fatalf("rooms %+v, %v", rooms, err)
	}
	return rooms[0]
}

func (b *bench) inject(f rehearsal.Fault) {
	b.t.Helper()
	if err := b.account.Inject(f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stacks() []string {
	b.t.Helper()
	out, err := cloudformation.NewFromConfig(b.cfg()).DescribeStacks(b.t.Context(), &cloudformation.DescribeStacksInput{})
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, s := range out.Stacks {
		names = append(names, aws.ToString(s.StackName)+" "+string(s.StackStatus))
	}
	return names
}

// copies are the volumes made from the captured snapshots.
func (b *bench) copies() []types.Volume {
	b.t.Helper()
	out, err := b.ec2().DescribeVolumes(b.t.Context(), &ec2.DescribeVolumesInput{
		Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: b.snapshots}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Volumes
}

// recorded reports whether the journal holds an item.
func (b *bench) recorded(id string) bool {
	return slices.ContainsFunc(b.entries, func(e incident.Entry) bool {
		var it evidence.Item
		return e.Type == incident.EntryEvidence && json.Unmarshal(e.Data, &it) == nil && it.ID == id
	})
}

// closure takes the room down as the command line does, without an evidence store.
func (b *bench) closure() cleanroom.Closure {
	b.t.Helper()
	custody := evidence.NewCustody()
	for _, s := range b.snapshots {
		if b.recorded("snapshot-" + s) {
			continue // otherwise the bench leaves its capture out
		}
		it, err := json.Marshal(evidence.Item{ID: "snapshot-" + s, Kind: evidence.KindSnapshot, Location: s})
		if err != nil {
			b.t.Fatal(err)
		}
		if err := custody.Add(incident.Entry{Type: incident.EntryEvidence, Data: it}); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, e := range b.entries {
		if err := custody.Add(e); err != nil {
			b.t.Fatal(err)
		}
	}
	return cleanroom.Closure{Config: b.cfg(), Clock: b.account.Clock(), Case: b.request(false).Case, Custody: custody, Record: b.record}
}

func (b *bench) status() cleanroom.Report {
	b.t.Helper()
	r, err := cleanroom.Status(b.t.Context(), b.cfg(), b.room())
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestARoomIsClosedAndHoldsTheCapturedVolumes(t *testing.T) {
	b := newBench(t)
	room := b.open(false)
	r := b.status()
	if len(r.WaysOut) != 0 || len(r.Checked) < 7 || len(r.Residual) == 0 || !r.Closed || len(r.Drift) != 0 || len(r.Declared) == 0 || len(r.Instances) != 1 || r.Instances[0].State != "running" || r.State != "CREATE_COMPLETE" {
		t.Errorf("got %+v", r)
	}
	if room.Event != cleanroom.Launched || len(room.Volumes) != len(b.snapshots) || len(r.Volumes) != len(b.snapshots) {
		t.Errorf("room %+v, volumes %+v", room, r.Volumes)
	}
	devices := make(map[string]bool)
	for _, v := range r.Volumes {
		devices[v.Device] = true
		if v.AttachedTo != room.Instance || !slices.Contains(b.snapshots, v.Snapshot) {
			t.Errorf("volume %+v", v)
		}
	}
	if len(devices) != len(b.snapshots) {
		t.Errorf("devices %v", devices)
	}
	attached := 0
	for _, e := range b.entries {
		var ev evidence.CustodyEvent
		if e.Type == incident.EntryCustody && json.Unmarshal(e.Data, &ev) == nil && ev.Event == "attached" && strings.HasPrefix(ev.Item, "snapshot-snap-") {
			attached++
		}
	}
	if attached != len(b.snapshots) {
		t.Errorf("%d custody events, want %d", attached, len(b.snapshots))
	}
}

func TestOneRoomWhateverIsLost(t *testing.T) {
	for _, operation := range []string{"cloudformation:CreateStack", "ec2:CreateVolume", "ec2:AttachVolume"} {
		t.Run(operation, func(t *testing.T) {
			b := newBench(t)
			b.inject(rehearsal.Fault{Operation: operation, Kind: "lost", Count: 1})
			first := b.open(false)
			entries := len(b.entries)
			second := b.open(true)
			if second.Stack != first.Stack || !maps.Equal(second.Volumes, first.Volumes) || len(b.entries) != entries {
				t.Errorf("first %+v, then %+v; %d entries, then %d", first, second, entries, len(b.entries))
			}
			if s := b.stacks(); len(s) != 1 {
				t.Errorf("stacks %q", s)
			}
			if v := b.copies(); len(v) != len(b.snapshots) {
				t.Errorf("%d volumes", len(v))
			}
		})
	}
}

func TestALaunchThatFailsAnywhereIsMadeGoodByTheNext(t *testing.T) {
	for operation, skip := range map[string]int{
		"cloudformation:CreateStack": 0, "cloudformation:DescribeStacks": 1, "ec2:CreateVolume": 1, "ec2:AttachVolume": 1, "ec2:DescribeVolumes": 1,
	} {
		t.Run(operation, func(t *testing.T) {
			b := newBench(t)
			b.inject(rehearsal.Fault{Operation: operation, Kind: "error", Code: "AccessDenied", Skip: skip, Count: 1})
			if _, err := b.apply(false); err == nil {
				t.Fatal("the fault was not met")
			}
			b.open(true)
			if s := b.stacks(); len(s) != 1 || len(b.copies()) != len(b.snapshots) {
				t.Errorf("stacks %q, %d volumes", s, len(b.copies()))
			}
		})
	}
}

func TestAFailedStackIsNamedDeletedAndMadeAgain(t *testing.T) {
	b := newBench(t)
	req := b.request(false)
	req.Inputs["image"] = "ami-0123456789abcdef0"
	p, err := b.action.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.action.Apply(t.Context(), req, p)
	var hint *incident.HintError
	if err == nil || !strings.Contains(err.Error(), "Examiner (AWS::EC2::Instance)") || !errors.As(err, &hint) {
		t.Fatalf("got %v", err)
	}
	if s := b.stacks(); len(s) != 0 {
		t.Errorf("left behind: %q", s)
	}
	b.open(true)
	if s := b.stacks(); len(s) != 1 || !strings.HasSuffix(s[0], "CREATE_COMPLETE") {
		t.Errorf("stacks %q", s)
	}
}

func (b *bench) group(instance string) string {
	b.t.Helper()
	out, err := b.ec2().DescribeInstances(b.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.Reservations[0].Instances[0].NetworkInterfaces[0].Groups[0].GroupId)
}

func TestCloseLeavesNothingButTheEvidence(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"undisturbed":           {Operation: "ec2:RunInstances", Kind: "lost", Count: 1}, // not called
		"detaching fails":       {Operation: "ec2:DetachVolume", Kind: "error", Code: "UnauthorizedOperation", Skip: 1, Count: 1},
		"deleting fails":        {Operation: "ec2:DeleteVolume", Kind: "error", Code: "UnauthorizedOperation", Skip: 1, Count: 1},
		"deleting is lost":      {Operation: "ec2:DeleteVolume", Kind: "lost", Count: 1},
		"the stack's end fails": {Operation: "cloudformation:DeleteStack", Kind: "error", Code: "AccessDenied", Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(false)
			b.inject(f)
			_, err := b.closure().Close(t.Context(), b.room())
			if (f.Kind == "error") == (err == nil) {
				t.Fatalf("the first try: %v", err)
			}
			if err != nil && b.room().Event != cleanroom.Closing {
				t.Errorf("after a failed try the journal says %s", b.room().Event)
			}
			for range 2 { // the second finds nothing to do
				if _, err := b.closure().Close(t.Context(), b.room()); err != nil {
					t.Fatal(err)
				}
			}
			if b.room().Event != cleanroom.Closed || len(b.stacks()) != 0 || b.status().State != "gone" {
				t.Errorf("room %+v, stacks %q", b.room(), b.stacks())
			}
			for _, v := range b.copies() {
				if v.State != types.VolumeStateDeleted {
					t.Errorf("%s is %s", aws.ToString(v.VolumeId), v.State)
				}
			}
			if _, err := b.ec2().DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: b.snapshots}); err != nil {
				t.Errorf("the evidence is gone: %v", err)
			}
		})
	}
}

// A launch that was killed has left a stack and volumes that no entry names.
func TestARoomThatWasNeverFinishedCanBeClosed(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "ec2:AttachVolume", Kind: "error", Code: "UnauthorizedOperation", Skip: 1, Count: 1})
	if _, err := b.apply(false); err == nil {
		t.Fatal("the fault was not met")
	}
	room := b.room()
	if room.Event != cleanroom.Launching || len(room.Volumes) != 0 || len(b.copies()) == 0 {
		t.Fatalf("room %+v, %d volumes", room, len(b.copies()))
	}
	if err := b.account.Clock().Sleep(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := b.closure().Close(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	if s, v := b.stacks(), b.copies(); len(s) != 0 || len(v) != 0 {
		t.Errorf("left: stacks %q, %d volumes", s, len(v))
	}
}

func TestPlanShowsWhatWillBeMadeAndChangesNothing(t *testing.T) {
	b := newBench(t)
	p, err := b.action.Plan(t.Context(), b.request(false))
	if err != nil || len(p.Changes) != 2 || !strings.Contains(p.Notes[0], "$") || p.Impact != incident.Additive || len(p.Residual) == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if s := b.stacks(); len(s) != 0 || len(b.entries) != 0 {
		t.Errorf("stacks %q, entries %d", s, len(b.entries))
	}
	req := b.request(false)
	delete(req.Inputs, "snapshots") // which the run will know
	if err := b.account.Deny("s3:GetEncryptionConfiguration"); err != nil {
		t.Fatal(err)
	}
	early, err := b.action.Plan(t.Context(), req)
	if err != nil || !slices.Equal(early.Changes, p.Changes) || !strings.Contains(strings.Join(early.Notes, "; "), "could be read") {
		t.Errorf("early: %+v, %v", early, err)
	}
	req.Inputs["snapshots"] = []string{}
	if _, err := b.action.Plan(t.Context(), req); err == nil {
		t.Error("a room for nothing was planned")
	}
}

// atOnce retries without waiting: the SDK's delays are real time.
func atOnce(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return cfg
}
