package rehearsal

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// assumed is an account and a client of EC2 in each of its two accounts, the second through its role.
func assumed(t *testing.T, a *Account) (first, second *ec2.Client, there aws.Config) {
	t.Helper()
	region := a.Alert().Region
	out, err := sts.NewFromConfig(a.Config(region)).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::" + evidenceAccount + ":role/" + evidenceRole), RoleSessionName: aws.String("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	there = a.Config(region)
	there.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken}, nil
	})
	return ec2.NewFromConfig(a.Config(region)), ec2.NewFromConfig(there), there
}

func TestARoleOfTheOtherAccountOpensThatAccountAlone(t *testing.T) {
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	_, second, there := assumed(t, a)
	id := ok(sts.NewFromConfig(there).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t)
	if *id.Account != evidenceAccount {
		t.Errorf("identity %+v", id)
	}
	if out := ok(second.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}))(t); len(out.Reservations) != 0 {
		t.Error("the first account's instances are seen")
	}
	_, err = s3.NewFromConfig(there).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String(a.Alert().Bucket)})
	refused(t, "Forbidden", err)
	_, err = sts.NewFromConfig(there).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::" + a.Alert().Account + ":role/web-tier"), RoleSessionName: aws.String("test"),
	})
	refused(t, "AccessDenied", err) // it trusts EC2 only
	_, err = ec2.NewFromConfig(a.ConfigIn("999988887777", a.Alert().Region)).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	refused(t, "InvalidClientTokenId", err)
}

// What is written to disk by one process is found, in both accounts, by the next.
func TestAnotherAccountSeesWhatIsSharedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	a, err := Create(dir, "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := assumed(t, a)
	alert := a.Alert()
	taken := ok(first.CreateSnapshots(t.Context(), &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &alert.Instance}}))(t)
	if err := a.Clock().Sleep(t.Context(), 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	var open, closed string // by whether it is encrypted
	for _, s := range taken.Snapshots {
		if *s.Encrypted {
			closed = *s.SnapshotId
		} else {
			open = *s.SnapshotId
		}
		_, err := second.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*s.SnapshotId}})
		refused(t, "InvalidSnapshot.NotFound", err)
		ok(first.ModifySnapshotAttribute(t.Context(), &ec2.ModifySnapshotAttributeInput{
			SnapshotId: s.SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd, UserIds: []string{evidenceAccount},
		}))(t)
	}

	a, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, second, there := assumed(t, a)
	shown := ok(second.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{open}}))(t)
	if s := shown.Snapshots[0]; *s.OwnerId != alert.Account || len(s.Tags) != 0 {
		t.Errorf("shared: %+v", s)
	}
	_, err = second.DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &open})
	if err == nil {
		t.Error("another account's snapshot could be deleted")
	}
	copied := func(of string) types.Snapshot {
		made := ok(second.CopySnapshot(t.Context(), &ec2.CopySnapshotInput{
			SourceRegion: &alert.Region, SourceSnapshotId: &of, Encrypted: aws.Bool(true), KmsKeyId: aws.String(evidenceKey),
		}))(t)
		if err := a.Clock().Sleep(t.Context(), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		return ok(second.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*made.SnapshotId}}))(t).Snapshots[0]
	}
	if s := copied(open); s.State != types.SnapshotStateCompleted || *s.OwnerId != evidenceAccount {
		t.Errorf("the copy of %s: %+v", open, s)
	}
	// Shared, but under a key whose policy lets nobody else use it.
	if s := copied(closed); s.State != types.SnapshotStateError {
		t.Errorf("the copy of %s: %+v", closed, s)
	}
	_, err = kms.NewFromConfig(there).DescribeKey(t.Context(), &kms.DescribeKeyInput{
		KeyId: ok(first.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{closed}}))(t).Snapshots[0].KmsKeyId,
	})
	refused(t, "AccessDeniedException", err)
}

func TestAKeyPolicyNamesAccountsAndActions(t *testing.T) {
	const policy = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:role/cordon","999988887777"]},"Action":["kms:Describe*","kms:CreateGrant"]},
		{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt"}]}`
	for _, tt := range []struct {
		account, action string
		want            bool
	}{
		{"444455556666", "kms:DescribeKey", true},
		{"999988887777", "kms:CreateGrant", true},
		{"444455556666", "kms:Decrypt", false},
		{"111122223333", "kms:DescribeKey", false},
	} {
		if got := policyAllows(policy, tt.account, tt.action); got != tt.want {
			t.Errorf("%s %s: %v", tt.account, tt.action, got)
		}
	}
}
