package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

// s3Vandal may write to the bucket and not bypass its lock.
type s3Vandal struct {
	client         *s3.Client
	clock          incident.Clock
	bucket, prefix string
}

func (v s3Vandal) key(key string) *string { return aws.String(v.prefix + key) }

func (v s3Vandal) Overwrite(ctx context.Context, key string, b []byte) error {
	_, err := v.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &v.bucket, Key: v.key(key), Body: bytes.NewReader(b)})
	return err
}

func (v s3Vandal) Hide(ctx context.Context, key string) error {
	_, err := v.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &v.bucket, Key: v.key(key)})
	return err
}

func (v s3Vandal) Destroy(ctx context.Context, key, version string) error {
	in := &s3.DeleteObjectInput{Bucket: &v.bucket, Key: v.key(key)}
	if version != "" {
		in.VersionId = &version
	}
	_, err := v.client.DeleteObject(ctx, in)
	return err
}

func (v s3Vandal) Shorten(ctx context.Context, key, version string) error {
	until := v.clock.Now().Add(time.Hour)
	_, err := v.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &v.bucket, Key: v.key(key), VersionId: &version,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until},
	})
	return err
}

// directoryVandal is anyone who may write there.
type directoryVandal struct{ root string }

func (v directoryVandal) Overwrite(_ context.Context, key string, b []byte) error {
	name := filepath.Join(v.root, key)
	if err := os.Remove(name); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}
func (v directoryVandal) Hide(_ context.Context, key string) error {
	return os.Remove(filepath.Join(v.root, key))
}
func (v directoryVandal) Destroy(ctx context.Context, key, _ string) error { return v.Hide(ctx, key) }
func (v directoryVandal) Shorten(context.Context, string, string) error    { return nil }

func TestALockedBucketIsVerified(t *testing.T) {
	buckets := 0
	storetest.RunVerify(t, func(t *testing.T) (evidence.Store, storetest.Vandal) {
		buckets++
		a, name := account(t), fmt.Sprintf("evidence-%d", buckets)
		bucket(t, a, name, true)
		return vault.NewS3(a.Config(region), locked(name), a.Clock()),
			s3Vandal{s3.NewFromConfig(a.Config(region)), a.Clock(), name, "team/"}
	})
}

func TestADirectoryIsVerified(t *testing.T) {
	storetest.RunVerify(t, func(t *testing.T) (evidence.Store, storetest.Vandal) {
		root := t.TempDir()
		return vault.NewDirectory(root), directoryVandal{root}
	})
}
