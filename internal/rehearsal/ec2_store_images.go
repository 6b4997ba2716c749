package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// storeTask puts an image into a bucket as one object, which is there once the task is
// completed (EC2 User Guide, "How AMI store and restore works").
type storeTask struct {
	Image     string    `json:"image"`
	Bucket    string    `json:"bucket"`
	GiB       int32     `json:"gib"` // of the image's snapshots
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"` // why it failed
	Started   time.Time `json:"started"`
	Completes time.Time `json:"completes"`
}

// The states of a task (API_StoreImageTaskResult).
const (
	storeInProgress = "InProgress"
	storeCompleted  = "Completed"
	storeFailed     = "Failed"
)

const (
	storeLimit   = 5000 // GB of an image, before compression
	storeAtOnce  = 1200 // GB of all tasks in progress
	storeHistory = 31 * 24 * time.Hour
)

func (t *storeTask) key() string { return t.Image + ".bin" }

func (ops operations) ec2StoreImages() {
	ec2On(ops, ec2CreateStoreImageTask)
	ec2On(ops, ec2DescribeStoreImageTasks)
}

// storeTime is how long a task takes. AWS promises nothing.
func storeTime(gib int32) time.Duration { return time.Minute + 2*time.Second*time.Duration(gib) }

func (img *image) size() (gib int32) {
	for _, m := range img.Mappings {
		gib += m.Size
	}
	return gib
}

// ec2CreateStoreImageTask: API_CreateStoreImageTask. It has no client token, and makes no second
// copy in the same bucket (EC2 User Guide, "Store and restore an AMI using S3", limitations). AWS's pages
// name the error codes of none of its refusals.
func ec2CreateStoreImageTask(c *call, in *ec2.CreateStoreImageTaskInput) (*ec2.CreateStoreImageTaskOutput, error) {
	if len(in.S3ObjectTags) > 0 {
		return nil, errNotModelled
	}
	if err := c.here(); err != nil {
		return nil, err
	}
	img, err := c.ownImage(in.ImageId)
	if err != nil {
		return nil, err
	}
	if img.State != types.ImageStateAvailable {
		return nil, apiError("InvalidAMIID.Unavailable", fmt.Sprintf("The image ID '%s' is not available", img.ID))
	}
	b, err := c.s3Bucket(in.Bucket, nil)
	if err != nil {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("The bucket '%s' can't be used: %v", aws.ToString(in.Bucket), err))
	}
	for _, action := range []string{"s3:PutObject", "ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"} {
		if c.denied(action) {
			return nil, apiError("UnauthorizedOperation", fmt.Sprintf("User: %s is not authorized to perform: %s", c.Caller, action))
		}
	}
	t := &storeTask{Image: img.ID, Bucket: b.Name, GiB: img.size(), State: storeInProgress, Started: c.Now, Completes: c.Now.Add(storeTime(img.size()))}
	atOnce := t.GiB
	for _, other := range c.EC2.StoreTasks {
		if other.State == storeInProgress {
			atOnce += other.GiB
		}
		if other.State == storeInProgress && other.Image == t.Image && other.Bucket == t.Bucket {
			return nil, apiError("InvalidRequest", fmt.Sprintf("%s is being stored in %s already", t.Image, t.Bucket))
		}
	}
	switch {
	case b.current(t.key()) != nil:
		return nil, apiError("InvalidRequest", fmt.Sprintf("%s holds %s already", t.Bucket, t.key()))
	case t.GiB > storeLimit:
		return nil, apiError("InvalidRequest", fmt.Sprintf("%s has %d GB, more than %d", t.Image, t.GiB, storeLimit))
	case atOnce > t.GiB && atOnce > storeAtOnce:
		return nil, apiError("RequestLimitExceeded", fmt.Sprintf("%d GB would be in progress, more than %d", atOnce, storeAtOnce))
	}
	c.EC2.StoreTasks = append(c.EC2.StoreTasks, t)
	return &ec2.CreateStoreImageTaskOutput{ObjectKey: aws.String(t.key())}, nil
}

// tickStoreTasks completes what is due. The bytes are no image: nobody here could restore one.
func (w *world) tickStoreTasks() (changed bool) {
	for _, t := range w.EC2.StoreTasks {
		if t.State != storeInProgress || w.Now.Before(t.Completes) {
			continue
		}
		changed, t.State = true, storeCompleted
		if err := w.storeImage(t); err != nil {
			t.State, t.Reason = storeFailed, err.Error()
		}
	}
	return changed
}

func (w *world) storeImage(t *storeTask) error {
	c := w.call("ec2")
	img := w.EC2.Images[t.Image]
	if img == nil {
		return fmt.Errorf("the image %s is gone", t.Image)
	}
	for _, m := range img.Mappings {
		if snap := w.EC2.Snapshots[m.Snapshot]; snap != nil {
			if err := c.useKey(snap.KMSKey, "kms:Decrypt"); err != nil {
				return err
			}
		}
	}
	b := w.S3.Buckets[t.Bucket]
	lock, err := b.lockFor(w.Now, "", nil, "")
	if err != nil {
		return err
	}
	about := s3Attributes{
		ContentType: "application/octet-stream", Lock: lock,
		Metadata: map[string]string{"ami-name": img.Name, "ami-description": img.Description, "ami-owner-account": img.Owner},
	}
	if err := c.encrypt(b, &about); err != nil {
		return err
	}
	up := &s3Upstream{Body: strings.NewReader(fmt.Sprintf("a simulated store of %s, %d GiB: it can't be restored\n", t.Image, t.GiB))}
	body, err := up.store(w.blobs)
	if err != nil {
		return err
	}
	b.add(t.key(), &s3Version{
		s3Attributes: about, ID: c.versionID(b), Modified: w.Now.Truncate(time.Second), ETag: body.etag(),
		Size: body.size, Sums: body.sums, ChecksumType: s3types.ChecksumTypeFullObject, Body: body.pieces,
	})
	return nil
}

// ec2DescribeStoreImageTasks: API_DescribeStoreImageTasks. The newest first, of the past 31 days;
// filters count only where no images are named. One page.
func ec2DescribeStoreImageTasks(c *call, in *ec2.DescribeStoreImageTasksInput) (*ec2.DescribeStoreImageTasksOutput, error) {
	if len(in.ImageIds) > 0 && in.MaxResults != nil {
		return nil, apiError("InvalidParameterCombination", "MaxResults can't be specified together with ImageIds")
	}
	for _, id := range in.ImageIds {
		if _, err := get(kindImage, c.ec2().Images, &id); err != nil {
			return nil, err
		}
	}
	field := func(t *storeTask, name string) ([]string, bool) {
		switch name {
		case "task-state":
			return one(t.State), true
		case "bucket":
			return one(t.Bucket), true
		}
		return nil, false
	}
	if err := checkFilters(in.Filters, field); err != nil {
		return nil, err
	}
	out := &ec2.DescribeStoreImageTasksOutput{}
	for _, t := range slices.Backward(c.ec2().StoreTasks) {
		asked := slices.Contains(in.ImageIds, t.Image)
		if len(in.ImageIds) == 0 {
			asked = matches(in.Filters, func(name string) []string {
				values, _ := field(t, name)
				return values
			})
		}
		if asked && c.Now.Sub(t.Started) < storeHistory {
			out.StoreImageTaskResults = append(out.StoreImageTaskResults, c.showStoreTask(t))
		}
	}
	return out, nil
}

// showStoreTask: API_StoreImageTaskResult.
func (c *call) showStoreTask(t *storeTask) types.StoreImageTaskResult {
	percent := int32(100)
	if t.State == storeInProgress {
		percent = int32(min(99, 100*c.Now.Sub(t.Started)/t.Completes.Sub(t.Started)))
	}
	return types.StoreImageTaskResult{
		AmiId: &t.Image, Bucket: &t.Bucket, S3objectKey: aws.String(t.key()), StoreTaskState: &t.State,
		StoreTaskFailureReason: nilIfEmpty(t.Reason), TaskStartTime: &t.Started, ProgressPercentage: &percent,
	}
}
