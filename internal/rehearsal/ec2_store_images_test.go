package rehearsal

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestAnImageIsStoredOnceInABucketAndShowsWhenItIsWhole(t *testing.T) {
	l := newLab(t)
	image := ok(l.ec2.CreateImage(l.ctx, &ec2.CreateImageInput{InstanceId: &l.instance, Name: aws.String("evidence"), NoReboot: aws.Bool(true)}))(t).ImageId
	bucket := l.imageBucket()
	client := s3.NewFromConfig(l.account.Config("eu-central-1"))
	store := func(to string) error {
		_, err := l.ec2.CreateStoreImageTask(l.ctx, &ec2.CreateStoreImageTaskInput{ImageId: image, Bucket: &to})
		return err
	}
	state := func() types.StoreImageTaskResult {
		out := ok(l.ec2.DescribeStoreImageTasks(l.ctx, &ec2.DescribeStoreImageTasksInput{
			Filters: []types.Filter{{Name: aws.String("bucket"), Values: []string{bucket}}},
		}))(t)
		if len(out.StoreImageTaskResults) != 1 {
			t.Fatalf("tasks %+v", out.StoreImageTaskResults)
		}
		return out.StoreImageTaskResults[0]
	}
	refused(t, "InvalidAMIID.Unavailable", store(bucket))
	l.pass(5 * time.Minute)
	refused(t, "InvalidParameterValue", store("no-such-bucket"))
	if err := store(bucket); err != nil {
		t.Fatal(err)
	}
	refused(t, "InvalidRequest", store(bucket)) // while it is at work
	head := func() error {
		_, err := client.HeadObject(l.ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String(*image + ".bin")})
		return err
	}
	if *state().StoreTaskState != "InProgress" || head() == nil {
		t.Errorf("task %+v, object: %v", state(), head())
	}
	l.pass(time.Hour)
	if *state().StoreTaskState != "Completed" || head() != nil {
		t.Errorf("task %+v, object: %v", state(), head())
	}
	refused(t, "InvalidRequest", store(bucket)) // and once it is there
	l.pass(32 * 24 * time.Hour)
	out := ok(l.ec2.DescribeStoreImageTasks(l.ctx, &ec2.DescribeStoreImageTasksInput{ImageIds: []string{*image}}))(t)
	if len(out.StoreImageTaskResults) != 0 {
		t.Errorf("tasks of more than 31 days ago: %+v", out.StoreImageTaskResults)
	}
}

func TestStoreTasksHaveLimits(t *testing.T) {
	l := newLab(t)
	bucket := l.imageBucket()
	store := func(name string, size int32) error {
		var id string
		l.world(func(w *world) { id = w.makeImage(name, w.Account, types.ArchitectureValuesX8664, "", size).ID })
		_, err := l.ec2.CreateStoreImageTask(l.ctx, &ec2.CreateStoreImageTaskInput{ImageId: &id, Bucket: &bucket})
		return err
	}
	refused(t, "InvalidRequest", store("more than 5,000 GB", 5001))
	if err := store("alone it may be that large", 5000); err != nil {
		t.Error(err)
	}
	refused(t, "RequestLimitExceeded", store("one more", 1))
}

// imageBucket makes a bucket.
func (l *lab) imageBucket() string {
	l.Helper()
	const name = "for-images"
	ok(s3.NewFromConfig(l.account.Config("eu-central-1")).CreateBucket(l.ctx, &s3.CreateBucketInput{
		Bucket: aws.String(name), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	}))(l)
	return name
}
