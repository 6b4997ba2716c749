package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
)

// What evidence verify reads of snapshots and images is in no journal.
func TestTheRequestsAboutWhatAWSKeepsAreWellFormed(t *testing.T) {
	account, err := simulated.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	made, err := ec2.NewFromConfig(account.Config(alert.Region)).CreateImage(t.Context(), &ec2.CreateImageInput{
		InstanceId: &alert.Instance, Name: aws.String("evidence"), NoReboot: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	items := []evidence.Item{{Kind: evidence.KindAMI, Location: "arn:aws:ec2:" + alert.Region + "::image/" + *made.ImageId}}
	for _, id := range snapshotsOf(t, account) {
		items = append(items, evidence.Item{Kind: evidence.KindSnapshot, Location: "arn:aws:ec2:" + alert.Region + "::snapshot/" + id, Mode: "governance"})
	}
	if err := account.Clock().Sleep(t.Context(), 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	var all ledger
	a := access.New(access.Options{
		Base:    func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
		Journal: &all, Case: "INC-1", Version: "test", Clock: account.Clock(), Verbose: true, Rehearsal: true,
	})
	cfg, err := a.Config(t.Context(), incident.Target{Account: alert.Account, Region: alert.Region})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if _, err := capture.Kept(t.Context(), cfg, it, nil); err != nil {
			t.Fatal(err)
		}
	}
	n := checkJournal(t, all.lines.Bytes())
	for _, operation := range []string{"ec2:DescribeSnapshots", "ec2:DescribeLockedSnapshots", "ec2:DescribeSnapshotAttribute", "ec2:DescribeImages", "ec2:DescribeImageAttribute"} {
		if n.operations[operation] == 0 {
			t.Errorf("%s was not sent:%s", operation, n.list())
		}
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
