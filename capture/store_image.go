package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// storeImage has AWS put an image (AMI) into a bucket as one object, from which any
// account or partition can restore it. AWS writes it, and in its own format: cordon
// locks what is there, and has no digest of it
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-store-restore.html).
type storeImage struct{ configs Configs }

const (
	// The limits of one image, before compression, and of all tasks in progress in
	// the account ("Store and restore an AMI using S3", limitations).
	storeLimitGB, storeAtOnceGB = 5000, 1200

	storePoll = 30 * time.Second
)

// The states of a store task (API reference, StoreImageTaskResult).
const (
	storeCompleted = "Completed"
	storeFailed    = "Failed"
)

func (storeImage) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.store-image",
		Summary: "An image (AMI) as one object in an S3 bucket, in AWS's own format, locked against deletion",
		Impact:  incident.Irreversible, // in compliance mode; otherwise additive
		Inputs: append([]incident.Field{
			{Name: "image", Type: incident.String, Required: true, Late: true, Description: "AMI ID"},
			{Name: "bucket", Type: incident.String, Required: true, Description: "name of a bucket in the instance's Region; the object is AMI-ID.bin at its top"},
		}, lockInputs()...),
		Outputs: []incident.Field{{Name: "object", Type: incident.String, Description: "s3://BUCKET/KEY?versionId=VERSION"}},
		// What AWS reads and writes it does with the caller's permissions ("Permissions for storing and restoring AMIs using S3",
		// of which those that only restoring needs are left out).
		Permissions: []string{
			"ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeVolumes", "ec2:DescribeImages", "ec2:DescribeTags",
			"ec2:CreateStoreImageTask", "ec2:DescribeStoreImageTasks", "ec2:GetEbsEncryptionByDefault",
			"ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock",
			"s3:ListBucket", "s3:GetBucketObjectLockConfiguration", "s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectRetention",
			"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention",
			"kms:Decrypt", "kms:GenerateDataKey",
		},
		Example: "- id: store_image\n  action: capture.store-image\n  needs: [image]\n  with:\n    image: ${{ steps.image.outputs.image }}\n    bucket: evidence-images\n",
		Timeout: 24 * time.Hour,
	}
}

type storeImageInputs struct {
	Image  string `json:"image"`
	Bucket string `json:"bucket"`
	snapshotInputs
}

// stored is the object, as it was locked.
type stored struct {
	Image   string    `json:"image"`
	Bucket  string    `json:"bucket"`
	Key     string    `json:"key"`
	Version string    `json:"version,omitempty"`
	Until   time.Time `json:"until,omitzero"` // the least that it is kept
}

func (s stored) location() string {
	l := "s3://" + s.Bucket + "/" + s.Key
	if s.Version != "" {
		l += "?versionId=" + s.Version
	}
	return l
}

// imageStorer is a step at work.
type imageStorer struct {
	req incident.Request
	in  storeImageInputs
	ec2 *ec2.Client
	s3  *s3.Client
}

func (a storeImage) open(ctx context.Context, req incident.Request) (*imageStorer, error) {
	s := &imageStorer{req: req}
	err := req.Decode(&s.in)
	if err == nil {
		err = s.in.check()
	}
	if err == nil && s.in.Bucket == "" {
		err = errors.New("input bucket: none given")
	}
	if err != nil {
		return nil, err
	}
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	s.ec2 = ec2.NewFromConfig(cfg)
	s.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = cfg.BaseEndpoint != nil }) // an address has no bucket.address
	return s, nil
}

func (a storeImage) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	s, err := a.open(ctx, req)
	if err != nil {
		return incident.Proposal{}, err
	}
	vols, _, err := planVolumes(ctx, s.ec2, req.Target) // capture.image says what its image does not hold
	if err != nil {
		return incident.Proposal{}, err
	}
	var size int32
	for _, v := range vols {
		size += v.GiB
	}
	if size > storeLimitGB {
		return incident.Proposal{}, incident.WithHint(
			&incident.RefusedError{Reason: fmt.Sprintf("the volumes of %s have %d GB: AWS stores images of %d GB at most", req.Target.Instance, size, storeLimitGB)},
			"capture.export takes volumes of any size")
	}
	notes, err := s.checkBucket(ctx)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{
		Impact: incident.Additive,
		Changes: []incident.Change{{
			Resource: "s3://" + s.in.Bucket, What: "image (AMI) as an object", Before: "none",
			After: fmt.Sprintf("one of %d GB before AWS compresses it, %s", size, s.in.snapshotInputs),
		}},
		Notes: append(notes, "AWS writes the object, decrypted, in a format of its own, and re-encrypts it as the bucket says: there is no digest of it. The evidence that can be checked is capture.export's"),
	}
	if s.in.LockMode == "compliance" {
		p.Impact = incident.Irreversible
		p.Notes = append(p.Notes, fmt.Sprintf("compliance: nobody, the account's root user included, can delete the object for %d days; it is paid for as long", s.in.LockDays))
	}
	return p, nil
}

// checkBucket refuses a bucket that is not there, lies elsewhere, or can't lock what is to be locked.
func (s *imageStorer) checkBucket(ctx context.Context) (notes []string, err error) {
	bucket, region := s.in.Bucket, s.req.Target.Region
	head, err := s.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	elsewhere := fmt.Errorf("bucket %s lies in another Region: AWS stores an image in its own, %s", bucket, region)
	switch errorCode(err) {
	case "":
	case "NotFound":
		return nil, fmt.Errorf("bucket %s does not exist", bucket)
	case "MovedPermanently":
		return nil, elsewhere
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	if got := aws.ToString(head.BucketRegion); got != "" && got != region {
		return nil, elsewhere
	}
	if !s.in.locked() {
		return nil, nil
	}
	out, err := s.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &bucket})
	if err != nil && errorCode(err) != "ObjectLockConfigurationNotFoundError" {
		return nil, fmt.Errorf("object lock of bucket %s: %w", bucket, err)
	}
	config := &s3types.ObjectLockConfiguration{}
	if err == nil && out.ObjectLockConfiguration != nil {
		config = out.ObjectLockConfiguration
	}
	if config.ObjectLockEnabled != s3types.ObjectLockEnabledEnabled {
		return nil, incident.WithHint(fmt.Errorf("%w: bucket %s has no Object Lock", evidence.ErrNotLocked, bucket),
			"name a bucket that was made with Object Lock, or set lock_mode to none")
	}
	if config.Rule != nil && config.Rule.DefaultRetention != nil {
		notes = append(notes, "bucket "+bucket+" has a default retention: AWS does not document whether it can store an image there. If the task fails, name one without")
	}
	return append(notes, "the object is locked once AWS has written it: in between anyone with the permission can delete it"), nil
}

func (a storeImage) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	s, err := a.open(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	if err := s.available(ctx); err != nil {
		return incident.Result{}, err
	}
	after, err := s.begin(ctx)
	if err != nil {
		return incident.Result{}, err
	}
	key, err := s.completed(ctx, after)
	if err != nil {
		return incident.Result{}, err
	}
	it, done, err := s.lock(ctx, key)
	if err != nil {
		return incident.Result{}, err
	}
	if err := record(ctx, req, it); err != nil {
		return incident.Result{}, err
	}
	applied, err := json.Marshal(done)
	return incident.Result{Outputs: map[string]any{"object": done.location()}, Applied: applied}, err
}

// available waits for the image: a pending one can't be stored.
func (s *imageStorer) available(ctx context.Context) error {
	return incident.Poll(ctx, s.req.Clock, snapshotPoll, snapshotLimit, "image "+s.in.Image+" to be available", func(ctx context.Context) (bool, error) {
		out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{s.in.Image}})
		if err != nil {
			return false, err
		}
		if len(out.Images) != 1 {
			return false, fmt.Errorf("AWS shows %d of it", len(out.Images))
		}
		switch img := out.Images[0]; img.State {
		case types.ImageStateAvailable, types.ImageStatePending:
			return img.State == types.ImageStateAvailable, nil
		default:
			return false, fmt.Errorf("it is %s", img.State)
		}
	})
}

// tasks are those that store the image in the bucket, the newest first. Failed ones have left nothing.
func (s *imageStorer) tasks(ctx context.Context) ([]types.StoreImageTaskResult, error) {
	out, err := s.ec2.DescribeStoreImageTasks(ctx, &ec2.DescribeStoreImageTasksInput{ImageIds: []string{s.in.Image}})
	if err != nil {
		return nil, fmt.Errorf("store tasks of %s: %w", s.in.Image, err)
	}
	all := slices.DeleteFunc(out.StoreImageTaskResults, func(t types.StoreImageTaskResult) bool {
		return aws.ToString(t.Bucket) != s.in.Bucket
	})
	slices.SortStableFunc(all, func(a, b types.StoreImageTaskResult) int {
		return aws.ToTime(b.TaskStartTime).Compare(aws.ToTime(a.TaskStartTime))
	})
	return all, nil
}

// begin has AWS store the image, unless it does or did already: the request takes no client
// token, and AWS makes no second copy in a bucket. A task that failed gets a successor. The step's
// task is the newest that began after the time returned, which is AWS's own.
func (s *imageStorer) begin(ctx context.Context) (after time.Time, err error) {
	find := func(ctx context.Context) ([]types.StoreImageTaskResult, error) {
		all, err := s.tasks(ctx)
		return slices.DeleteFunc(all, func(t types.StoreImageTaskResult) bool {
			if aws.ToString(t.StoreTaskState) != storeFailed {
				return false
			}
			if began := aws.ToTime(t.TaskStartTime); began.After(after) {
				after = began
			}
			return true
		}), err
	}
	before := func(t types.StoreImageTaskResult) time.Time { return aws.ToTime(t.TaskStartTime).Add(-time.Nanosecond) }
	found, err := findMade(ctx, s.req.Clock, mayExist(s.req), 1, find)
	if err != nil {
		return after, err
	}
	if len(found) > 0 {
		return before(found[0]), nil
	}
	if err := s.req.Record(ctx, incident.EntryStepRecord, asked{"ec2:CreateStoreImageTask"}); err != nil {
		return after, err
	}
	_, err = s.ec2.CreateStoreImageTask(ctx, &ec2.CreateStoreImageTaskInput{ImageId: &s.in.Image, Bucket: &s.in.Bucket}, notTwice)
	if err == nil {
		return after, nil
	}
	if mayHaveHappened(err) && ctx.Err() == nil {
		if found, ferr := findMade(ctx, s.req.Clock, true, 1, find); ferr == nil && len(found) > 0 {
			return before(found[0]), nil
		}
	}
	return after, incident.WithHint(fmt.Errorf("storing image %s in bucket %s: %w", s.in.Image, s.in.Bucket, err),
		fmt.Sprintf("AWS stores %d GB of an account's images at once: where other tasks are at work, resume the run later", storeAtOnceGB))
}

// completed waits for the task and returns the object's key.
func (s *imageStorer) completed(ctx context.Context, after time.Time) (key string, err error) {
	err = incident.Poll(ctx, s.req.Clock, storePoll, snapshotLimit, "AWS to store "+s.in.Image+" in "+s.in.Bucket, func(ctx context.Context) (bool, error) {
		all, err := s.tasks(ctx)
		if err != nil || len(all) == 0 || !aws.ToTime(all[0].TaskStartTime).After(after) {
			return false, err // a new one may not be shown at once
		}
		s.req.Progress(incident.Progress{
			Step: s.req.Step, What: "AWS stores " + s.in.Image, Done: int64(aws.ToInt32(all[0].ProgressPercentage)), Total: 100, Unit: "percent",
		})
		if aws.ToString(all[0].StoreTaskState) == storeFailed {
			return false, incident.WithHint(errors.New("it failed: "+cmp.Or(aws.ToString(all[0].StoreTaskFailureReason), "AWS gives no reason")),
				"AWS works with cordon's permissions on the bucket, its key and the image's snapshots; when the run is resumed, a new task begins")
		}
		key = aws.ToString(all[0].S3objectKey)
		return aws.ToString(all[0].StoreTaskState) == storeCompleted, nil
	})
	return key, err
}

// lock keeps the object for as long as was asked for, counted from when AWS wrote it, unless
// the bucket's default does already, and describes it.
func (s *imageStorer) lock(ctx context.Context, key string) (evidence.Item, stored, error) {
	done := stored{Image: s.in.Image, Bucket: s.in.Bucket, Key: cmp.Or(key, s.in.Image+".bin")}
	if old, ok := recorded(s.req, storedID(s.in.Image)); ok {
		done.Version = old.Version
	}
	head, err := s.head(ctx, done)
	if err != nil {
		return evidence.Item{}, done, err
	}
	done.Version = aws.ToString(head.VersionId)
	it := evidence.Item{
		ID: storedID(s.in.Image), Kind: evidence.KindAMI, Source: s.in.Image, Version: done.Version, Bytes: aws.ToInt64(head.ContentLength),
		Location: done.location(), Account: s.req.Target.Account, Mode: evidence.ModeNone, Acquired: aws.ToTime(head.LastModified).UTC(),
		Notes: []string{"written by AWS, in its own format: no digest was taken of it; ETag " + aws.ToString(head.ETag)},
	}
	if s.in.locked() {
		done.Until = aws.ToTime(head.LastModified).UTC().AddDate(0, 0, int(s.in.LockDays))
		if later := aws.ToTime(head.ObjectLockRetainUntilDate).UTC(); later.After(done.Until) {
			done.Until = later // the bucket's default is longer: a retention is never shortened
		}
		if !s.keeps(head, done) {
			if _, err := s.s3.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
				Bucket: &done.Bucket, Key: &done.Key, VersionId: head.VersionId, ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
				Retention: &s3types.ObjectLockRetention{Mode: s.mode(), RetainUntilDate: &done.Until},
			}); err != nil {
				return it, done, incident.WithHint(fmt.Errorf("%s is there, but could not be locked: %w", done.location(), err),
					"resume the run: the object is kept, and only the lock is tried again")
			}
		}
		if head, err = s.head(ctx, done); err != nil {
			return it, done, err
		}
		it.Mode, it.RetainUntil = string(head.ObjectLockMode), aws.ToTime(head.ObjectLockRetainUntilDate).UTC()
	}
	return it, done, nil
}

func storedID(image string) string { return "stored-" + image }

func (s *imageStorer) mode() s3types.ObjectLockRetentionMode {
	if s.in.LockMode == "compliance" {
		return s3types.ObjectLockRetentionModeCompliance
	}
	return s3types.ObjectLockRetentionModeGovernance
}

// keeps: the lock is no weaker and no shorter than was asked for.
func (s *imageStorer) keeps(head *s3.HeadObjectOutput, want stored) bool {
	strong := head.ObjectLockMode == s3types.ObjectLockModeCompliance || string(head.ObjectLockMode) == string(s.mode())
	return strong && !aws.ToTime(head.ObjectLockRetainUntilDate).Before(want.Until)
}

func (s *imageStorer) head(ctx context.Context, o stored) (*s3.HeadObjectOutput, error) {
	in := &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key}
	if o.Version != "" {
		in.VersionId = &o.Version
	}
	head, err := s.s3.HeadObject(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.location(), err)
	}
	return head, nil
}

func (a storeImage) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var v incident.Verification
	s, err := a.open(ctx, req)
	if err != nil {
		return v, err
	}
	var done stored
	if err := json.Unmarshal(r.Applied, &done); err != nil {
		return v, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	head, err := s.head(ctx, done)
	if err != nil {
		return v, err
	}
	size := aws.ToInt64(head.ContentLength)
	if size == 0 {
		return v, &incident.NotVerifiedError{Resource: done.location(), Want: "an image", Got: "no bytes"}
	}
	kept := "not locked"
	if s.in.locked() {
		kept = fmt.Sprintf("locked (%s) until %s", head.ObjectLockMode, aws.ToTime(head.ObjectLockRetainUntilDate).UTC().Format(time.RFC3339))
		if !s.keeps(head, done) {
			return v, &incident.NotVerifiedError{Resource: done.location(), Want: fmt.Sprintf("kept in %s mode until %s", s.in.LockMode, done.Until.Format(time.RFC3339)), Got: kept}
		}
	}
	v.Observed = []string{fmt.Sprintf("%s: %d bytes, encrypted with %s, %s", done.location(), size, cmp.Or(string(head.ServerSideEncryption), "nothing"), kept)}
	return v, nil
}
