package versitygw

import (
	"bytes"
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/vault"
)

// vandal is the responder, who may write to the bucket and not bypass its lock.
type vandal struct {
	client *s3.Client
	bucket string
}

func (v vandal) version(key, id string) version { return version{v.bucket, "team/" + key, id} }

func (v vandal) Overwrite(ctx context.Context, key string, b []byte) error {
	at := v.version(key, "")
	_, err := v.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &at.bucket, Key: &at.key, Body: bytes.NewReader(b), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	return err
}

func (v vandal) Hide(ctx context.Context, key string) error {
	at := v.version(key, "")
	_, err := v.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &at.bucket, Key: &at.key})
	return err
}

func (v vandal) Destroy(ctx context.Context, key, id string) error {
	return deletion(false)(ctx, v.client, v.version(key, id))
}

func (v vandal) Shorten(ctx context.Context, key, id string) error {
	return retention(types.ObjectLockRetentionModeGovernance, 1, false)(ctx, v.client, v.version(key, id))
}

func TestEvidenceInALockedBucketIsVerified(t *testing.T) {
	storetest.RunVerify(t, func(t *testing.T) (evidence.Store, storetest.Vandal) {
		name := bucket(t, true)
		return vault.NewS3(product(t), options(name, "GOVERNANCE"), clock.Wall{}), vandal{client(t, responder), name}
	})
}
