package capture_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

const storing = "capture.store-image"

// imaged is what a step stores: an image of the instance, and the bucket it goes to.
func (b *bench) imaged() map[string]any {
	b.t.Helper()
	r, _ := b.run("capture.image", false, nil)
	return map[string]any{"image": r.Outputs["image"], "bucket": b.account.Alert().Bucket}
}

// storeTasks are all that there were of the image.
func (b *bench) storeTasks() []types.StoreImageTaskResult {
	b.t.Helper()
	out, err := b.ec2().DescribeStoreImageTasks(b.t.Context(), &ec2.DescribeStoreImageTasksInput{})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.StoreImageTaskResults
}

func TestAStoredImageIsLockedAndRecorded(t *testing.T) {
	b := newBench(t)
	with := b.imaged() // still pending
	with["lock_days"] = 7
	r, v := b.run(storing, false, with)
	again, _ := b.run(storing, true, with)
	if string(r.Applied) != string(again.Applied) || len(b.storeTasks()) != 1 {
		t.Errorf("first %s, then %s; tasks %+v", r.Applied, again.Applied, b.storeTasks())
	}
	image := with["image"].(string)
	it := b.item("stored-" + image)
	if it.Kind != evidence.KindAMI || it.Source != image || it.Location != r.Outputs["object"] || it.Mode != "GOVERNANCE" || !it.RetainUntil.Equal(it.Acquired.AddDate(0, 0, 7)) || it.Version == "" || it.Bytes == 0 {
		t.Errorf("item %+v", it)
	}
	if len(v.Observed) != 1 || !strings.Contains(v.Observed[0], "GOVERNANCE") {
		t.Errorf("observed %q", v.Observed)
	}
	_, err := s3.NewFromConfig(b.account.Config(b.target.Region)).DeleteObject(t.Context(), &s3.DeleteObjectInput{
		Bucket: aws.String(with["bucket"].(string)), Key: aws.String(image + ".bin"), VersionId: &it.Version,
	})
	if err == nil {
		t.Error("the object could be deleted")
	}
}

func TestAnImageIsStoredOnceWhateverIsLost(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"the answer to CreateStoreImageTask": {Operation: "ec2:CreateStoreImageTask", Kind: "lost", Count: 1},
		"throttled":                          {Operation: "ec2:CreateStoreImageTask", Kind: "throttle", Count: 2},
		"the answer to the lock":             {Operation: "s3:PutObjectRetention", Kind: "lost", Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			with := b.imaged()
			b.inject(f)
			r, _ := b.run(storing, false, with)
			if tasks := b.storeTasks(); len(tasks) != 1 {
				t.Errorf("tasks %+v", tasks)
			}
			if it := b.item("stored-" + with["image"].(string)); it.Location != r.Outputs["object"] || it.Mode != "GOVERNANCE" {
				t.Errorf("item %+v", it)
			}
		})
	}
}

// The process dies after each of its requests in turn: a later one finds what there is.
func TestAResumedStoreFindsItsTaskWhereverItWasKilled(t *testing.T) {
	for _, operation := range []string{"CreateStoreImageTask", "DescribeStoreImageTasks", "PutObjectRetention", "HeadObject"} {
		b := newBench(t)
		with := b.imaged()
		p, err := b.plan(storing, with)
		if err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		b.config = func(cfg aws.Config) aws.Config { return answering(cfg, operation, func(any) { kill() }) }
		if _, err = b.action(storing).Apply(ctx, b.request(storing, false, with), p); err == nil && operation != "HeadObject" {
			t.Fatalf("it went on though killed after %s", operation)
		}
		kill()
		b.config = func(cfg aws.Config) aws.Config { return cfg }
		delete(b.entries, storing) // what was recorded is not needed
		b.run(storing, true, with)
		if tasks := b.storeTasks(); len(tasks) != 1 {
			t.Errorf("killed after %s: tasks %+v", operation, tasks)
		}
	}
}

func TestAFailedStoreTaskSaysWhyAndIsBegunAnew(t *testing.T) {
	b := newBench(t)
	with := b.imaged()
	key := b.key()
	client := s3.NewFromConfig(b.account.Config(b.target.Region))
	if _, err := client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: aws.String(with["bucket"].(string)), ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
			Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{
				SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key,
			}}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	b.disable(key)
	err := b.fails(storing, false, with)
	var hint *incident.HintError
	if !errors.As(err, &hint) || !strings.Contains(err.Error(), "not enabled") {
		t.Fatalf("got %v", err)
	}
	if _, ok := b.custody.Item("stored-" + with["image"].(string)); ok {
		t.Error("what was not stored counts as evidence")
	}
	if _, err := kms.NewFromConfig(b.account.Config(b.target.Region)).EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key}); err != nil {
		t.Fatal(err)
	}
	b.run(storing, true, with)
	if tasks := b.storeTasks(); len(tasks) != 2 || aws.ToString(tasks[0].StoreTaskState) != "Completed" || aws.ToString(tasks[1].StoreTaskState) != "Failed" {
		t.Errorf("tasks %+v", tasks)
	}
}

func TestABucketThatCannotKeepAnImageIsRefusedBeforeAnythingIsStored(t *testing.T) {
	b := newBench(t)
	b.unlocked() // bucket plain
	for bucket, want := range map[string]string{"": "none given", "nowhere-at-all": "does not exist", "plain": "no Object Lock"} {
		if _, err := b.plan(storing, map[string]any{"bucket": bucket}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", bucket, err)
		}
	}
	with := map[string]any{"bucket": "plain", "lock_mode": "none", "image": b.imaged()["image"]}
	b.run(storing, false, with)
	if it := b.item("stored-" + with["image"].(string)); it.Mode != evidence.ModeNone || !it.RetainUntil.IsZero() {
		t.Errorf("item %+v", it)
	}
}

// The image's default lock is longer than what the step asks for: it is left as it is.
func TestALongerDefaultRetentionStays(t *testing.T) {
	b := newBench(t)
	with := b.imaged()
	with["lock_days"] = 1
	client := s3.NewFromConfig(b.account.Config(b.target.Region))
	if _, err := client.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
		Bucket: aws.String(with["bucket"].(string)), ObjectLockConfiguration: &s3types.ObjectLockConfiguration{
			ObjectLockEnabled: s3types.ObjectLockEnabledEnabled,
			Rule:              &s3types.ObjectLockRule{DefaultRetention: &s3types.DefaultRetention{Mode: s3types.ObjectLockRetentionModeCompliance, Days: aws.Int32(90)}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	p, err := b.plan(storing, with)
	if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "default retention") {
		t.Fatalf("notes %q, %v", p.Notes, err)
	}
	b.run(storing, false, with)
	if it := b.item("stored-" + with["image"].(string)); it.Mode != "COMPLIANCE" || it.RetainUntil.Before(it.Acquired.AddDate(0, 0, 89)) {
		t.Errorf("item %+v", it)
	}
}

func TestAnInstanceTooLargeToBeStoredIsRefused(t *testing.T) {
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "DescribeVolumes", func(out any) {
			for i := range out.(*ec2.DescribeVolumesOutput).Volumes {
				out.(*ec2.DescribeVolumesOutput).Volumes[i].Size = aws.Int32(4000)
			}
		})
	}
	var refused *incident.RefusedError
	if _, err := b.plan(storing, map[string]any{"bucket": b.account.Alert().Bucket}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "8000 GB") {
		t.Errorf("got %v", err)
	}
}
