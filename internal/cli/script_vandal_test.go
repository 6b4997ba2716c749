package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// vandal HOW CASE KIND VAR does something to the object of the case's first
// item of a kind, in the rehearsal's bucket, as the account's root user can, and sets VAR to the item's ID.
//
//	hide       put a delete marker on top
//	overwrite  put another version on top
//	delete     delete the version, bypassing governance
//	segment    delete the data of a disk image's first segment, bypassing governance
//	shorten    end its retention in an hour, bypassing governance
//	release    lift its legal hold
//	unlock     unlock a snapshot
//	publish    open a snapshot to every account
func vandal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: vandal hide|overwrite|delete|segment|shorten|release|unlock|publish CASE KIND VAR")
	}
	ts.Check(ts.Exec("cordon", "--output", "json", "evidence", "list", "--case", args[1]))
	var manifest struct {
		Items []struct{ ID, Kind, Location, Version string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &manifest))
	for _, i := range manifest.Items {
		if i.Kind != args[2] {
			continue
		}
		bucket, key, _ := strings.Cut(strings.TrimPrefix(i.Location, "s3://"), "/")
		key, _, _ = strings.Cut(key, "?")
		account, err := rehearsal.Open(ts.Getenv("CORDON_REHEARSAL"))
		ts.Check(err)
		ts.Check(harm(account, args[0], bucket, key, i.Version))
		ts.Setenv(args[3], i.ID)
		return
	}
	ts.Fatalf("case %s has no item of kind %s", args[1], args[2])
}

// fault OPERATION CODE COUNT has the rehearsal refuse the operation's next calls.
func fault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fault OPERATION CODE COUNT")
	}
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	account, err := rehearsal.Open(ts.Getenv("CORDON_REHEARSAL"))
	ts.Check(err)
	ts.Check(account.Inject(rehearsal.Fault{Operation: args[0], Kind: "error", Code: args[1], Count: count}))
}

func harm(account *rehearsal.Account, how, bucket, key, version string) error {
	ctx := context.Background()
	cfg := account.Config(account.Alert().Region)
	client := s3.NewFromConfig(cfg)
	var err error
	switch how {
	case "hide":
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	case "overwrite":
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("something else")})
	case "delete":
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
	case "segment":
		data := strings.TrimSuffix(key, ".json") + ".00000.raw.zst"
		var found *s3.ListObjectVersionsOutput
		if found, err = client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &data}); err == nil {
			err = harm(account, "delete", bucket, data, *found.Versions[0].VersionId)
		}
	case "shorten":
		_, err = client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: &bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(account.Clock().Now().Add(time.Hour))},
		})
	case "release":
		_, err = client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
			Bucket: &bucket, Key: &key, VersionId: &version, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff},
		})
	case "unlock":
		_, err = ec2.NewFromConfig(cfg).UnlockSnapshot(ctx, &ec2.UnlockSnapshotInput{SnapshotId: &key})
	case "publish":
		_, err = ec2.NewFromConfig(cfg).ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: &key, Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
			OperationType: ec2types.OperationTypeAdd, GroupNames: []string{"all"},
		})
	}
	return err
}

// pass DURATION lets simulated time pass.
func pass(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pass DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	account, err := rehearsal.Open(ts.Getenv("CORDON_REHEARSAL"))
	ts.Check(err)
	ts.Check(account.Clock().Sleep(context.Background(), d))
}
