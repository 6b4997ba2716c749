package cleanroom_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

// found are what the room's examiners leave: a report in two versions, and the log of a session.
func (b *bench) leaveFindings() {
	b.t.Helper()
	c, room := b.request(false).Case, b.room().Name
	for _, o := range [][2]string{
		{cleanroom.Findings(c, room) + "report.txt", "a first draft"}, {cleanroom.Findings(c, room) + "report.txt", "what was found"},
		{cleanroom.Sessions(c, room) + "examiner-0abc.log", "$ fls -r /dev/sdf"},
	} {
		if _, err := s3.NewFromConfig(b.cfg()).PutObject(b.t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(b.account.Alert().Bucket), Key: aws.String(o[0]), Body: strings.NewReader(o[1]),
		}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) store() evidence.Store {
	return vault.NewS3(b.cfg(), vault.S3Options{Bucket: b.account.Alert().Bucket, Region: b.target.Region, Mode: "GOVERNANCE", Days: 30}, b.account.Clock())
}

// held is what the journal holds by now. It fails where an item is recorded as two different things.
func (b *bench) held() *evidence.Custody {
	b.t.Helper()
	return b.closure().Custody
}

func TestFindingsAndLogsAreInCustodyBeforeTheRoomIsDeleted(t *testing.T) {
	b := newBench(t)
	b.open(false)
	b.leaveFindings()
	c := b.closure()
	c.Store = b.store()
	if err := b.account.Deny("cloudformation:DeleteStack"); err != nil {
		t.Fatal(err)
	}
	taken, err := c.Close(t.Context(), b.room())
	if err == nil || len(taken) != 6 { // two versions, a session, three log groups
		t.Fatalf("took %q, %v", taken, err)
	}
	if len(b.stacks()) != 1 || b.room().Event != cleanroom.Closing {
		t.Errorf("the room is %s, stacks %q", b.room().Event, b.stacks())
	}
	kinds := make(map[evidence.Kind]int)
	var texts []string
	for _, it := range b.held().Items {
		if !slices.Contains(taken, it.ID) {
			continue
		}
		kinds[it.Kind]++
		if it.Mode != "GOVERNANCE" || it.RetainUntil.IsZero() || it.SHA256 == "" || len(b.held().EventsOf(it.ID)) != 1 {
			t.Errorf("%+v, %+v", it, b.held().EventsOf(it.ID))
		}
		body, err := b.store().Get(t.Context(), it.Key, it.Version)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if kinds[evidence.KindFinding] != 2 || kinds[evidence.KindLog] != 4 {
		t.Errorf("kinds %v", kinds)
	}
	for _, want := range []string{"a first draft", "what was found", "$ fls -r /dev/sdf"} {
		if !slices.Contains(texts, want) {
			t.Errorf("nothing holds %q", want)
		}
	}
	report, err := evidence.Verifier{Store: b.store(), Now: b.account.Clock().Now(), Progress: func(int64, int64) {}}.Case(t.Context(), c.Case)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Items) != len(taken) {
		t.Errorf("%d items are verified, %d were taken", len(report.Items), len(taken))
	}
	for _, it := range report.Items {
		for _, f := range it.Findings {
			if !f.Warning {
				t.Errorf("%s: %+v", it.ID, f)
			}
		}
	}
}

// An examiner is still at work: the session is ended, and its log, which comes later, is taken.
func TestSessionsAreEndedAndTheirLogsTakenBeforeTheRoomIsDeleted(t *testing.T) {
	for _, dies := range []bool{false, true} {
		b := newBench(t)
		b.open(false)
		client := ssm.NewFromConfig(b.cfg())
		door, err := cleanroom.DoorOf(t.Context(), b.cfg(), b.room())
		if err != nil {
			t.Fatal(err)
		}
		session, err := client.StartSession(t.Context(), &ssm.StartSessionInput{Target: &door.Instances[0], DocumentName: &door.Document})
		if err != nil {
			t.Fatal(err)
		}
		if dies { // an earlier try ended it and got no further
			if _, err := client.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: session.SessionId}); err != nil {
				t.Fatal(err)
			}
		}
		c := b.closure()
		c.Store = b.store()
		if _, err := c.Close(t.Context(), b.room()); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(b.held().Items, func(it evidence.Item) bool { return strings.Contains(it.Source, *session.SessionId) }) {
			t.Errorf("dies %t: the session's log is not in custody", dies)
		}
		active, err := client.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive})
		if err != nil || len(active.Sessions) > 0 {
			t.Errorf("dies %t: %v, %v", dies, active, err)
		}
	}
}

// A close that dies at any of its entries is made good by the next, and nothing is taken twice.
func TestACloseThatDiesAnywhereIsMadeGoodByTheNext(t *testing.T) {
	for died := 0; ; died++ {
		b := newBench(t)
		b.open(false)
		b.leaveFindings()
		c, n := b.closure(), 0
		c.Store = b.store()
		c.Record = func(ctx context.Context, kind incident.EntryType, data any) error {
			if n++; n > died {
				return errors.New("killed")
			}
			return b.record(ctx, kind, data)
		}
		_, err := c.Close(t.Context(), b.room())
		again := b.closure()
		again.Store = b.store()
		if _, err := again.Close(t.Context(), b.room()); err != nil {
			t.Fatalf("died at entry %d: %v", died, err)
		}
		if b.room().Event != cleanroom.Closed || len(b.stacks()) != 0 {
			t.Errorf("died at entry %d: %s, stacks %q", died, b.room().Event, b.stacks())
		}
		acquired := 0
		for _, it := range b.held().Items {
			if it.Kind == evidence.KindFinding || it.Kind == evidence.KindLog {
				acquired++
				if e := b.held().EventsOf(it.ID); len(e) != 1 {
					t.Errorf("died at entry %d: %s has the events %+v", died, it.ID, e)
				}
			}
		}
		if acquired != 6 {
			t.Errorf("died at entry %d: %d items", died, acquired)
		}
		if err == nil {
			return // it did not die any more
		}
	}
}

// Somebody's interface in the room's subnet keeps CloudFormation from deleting it.
func TestADeletionThatFailsNamesTheResourceAndGoesOn(t *testing.T) {
	for name, retain := range map[string]bool{"once the cause is gone": false, "leaving it behind": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(false)
			subnet := (&breach{b, b.status().VPC}).subnet()
			stray, err := b.ec2().CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: subnet})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the same again while the cause is there
				_, err := b.closure().Close(t.Context(), b.room())
				var hint *incident.HintError
				if err == nil || !strings.Contains(err.Error(), *subnet) || !strings.Contains(err.Error(), "DependencyViolation") || !errors.As(err, &hint) || !strings.Contains(hint.Hint, "--retain ") {
					t.Fatalf("got %v", err)
				}
			}
			c := b.closure()
			if retain {
				c.Retain = []string{"Subnet", "EndpointSubnet", "Vpc"}
			} else if _, err := b.ec2().DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: stray.NetworkInterface.NetworkInterfaceId}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Close(t.Context(), b.room()); err != nil {
				t.Fatal(err)
			}
			if room := b.room(); room.Event != cleanroom.Closed || !slices.Equal(room.Retained, c.Retain) || len(b.stacks()) != 0 {
				t.Errorf("%+v, stacks %q", room, b.stacks())
			}
		})
	}
}

func TestNothingStaysBehindOfAStackThatHasNotFailed(t *testing.T) {
	b := newBench(t)
	b.open(false)
	c := b.closure()
	c.Retain = []string{"Vpc"}
	var refused *incident.RefusedError
	if _, err := c.Close(t.Context(), b.room()); !errors.As(err, &refused) || b.room().Event != cleanroom.Launched {
		t.Errorf("%v, the room is %s", err, b.room().Event)
	}
}

func TestAStackThatFailedIsKeptWhereThatIsAskedFor(t *testing.T) {
	b := newBench(t)
	if err := b.account.Deny("iam:CreateInstanceProfile"); err != nil {
		t.Fatal(err)
	}
	req := b.request(false)
	req.Inputs["keep_failed"] = true
	p, err := b.action.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.action.Apply(t.Context(), req, p); err == nil || !strings.Contains(err.Error(), "ExaminerProfile (AWS::IAM::InstanceProfile") || strings.Contains(err.Error(), ";") {
		t.Fatalf("got %v", err)
	}
	if s := b.stacks(); len(s) != 1 || !strings.HasSuffix(s[0], "CREATE_FAILED") {
		t.Errorf("stacks %q", s)
	}
	if _, err := b.closure().Close(t.Context(), b.room()); err != nil || len(b.stacks()) != 0 {
		t.Errorf("%v, stacks %q", err, b.stacks())
	}
}
