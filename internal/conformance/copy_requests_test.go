package conformance

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/incident"
	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
)

// Copies for another account ask for what no rehearsal does: it has one account, which
// stands for both here.
func TestEveryRequestForCopiesInAnotherAccountIsWellFormed(t *testing.T) {
	account, err := simulated.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := makeEvidenceKey(account); err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	var all ledger
	a := access.New(access.Options{
		Base:    func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
		Journal: &all, Case: "INC-1", Version: "test", Clock: account.Clock(), Verbose: true, Rehearsal: true,
	})
	actions := capture.Actions(func(ctx context.Context, t incident.Target) (aws.Config, error) {
		return a.Config(ctx, incident.Target{Region: t.Region}) // whoever's account it is
	}, nil)
	copying := actions[slices.IndexFunc(actions, func(a incident.Action) bool { return a.Spec().Name == "capture.copy-snapshots" })]
	req := incident.Request{
		Case: incident.Case{ID: "INC-1", Rehearsal: true}, Run: "run-1", Step: "copy", Token: "0123456789abcdef0123456789abcdef",
		Target: incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance},
		Inputs: map[string]any{
			"snapshots": snapshotsOf(t, account), "kms_key": "alias/evidence", "account": "444455556666", "through_key": "alias/evidence",
			"lock_mode": "governance", "lock_days": 7,
		},
		Clock: account.Clock(), Progress: func(incident.Progress) {},
		Record:   func(context.Context, incident.EntryType, any) error { return nil },
		Recorded: func(incident.EntryType) []json.RawMessage { return nil },
	}
	p, err := copying.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := copying.Apply(t.Context(), req, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copying.Verify(t.Context(), req, p, r); err != nil {
		t.Fatal(err)
	}
	n := checkJournal(t, all.lines.Bytes())
	if copies := len(r.Outputs["copies"].([]string)); n.operations["ec2:CopySnapshot"] != copies || n.operations["ec2:ModifySnapshotAttribute"] != copies {
		t.Errorf("of %d copies the journal has%s", copies, n.list())
	}
}

func snapshotsOf(t *testing.T, account *simulated.Account) (ids []string) {
	t.Helper()
	alert := account.Alert()
	out, err := ec2.NewFromConfig(account.Config(alert.Region)).CreateSnapshots(t.Context(), &ec2.CreateSnapshotsInput{
		InstanceSpecification: &ec2types.InstanceSpecification{InstanceId: &alert.Instance},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Snapshots {
		ids = append(ids, aws.ToString(s.SnapshotId))
	}
	return ids
}
