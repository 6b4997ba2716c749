package vault

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

var _ evidence.Holder = (*S3)(nil)

// Hold puts a legal hold on a version, or lifts it, and reads it back. It is
// independent of the retention, which stays as it is ("Locking objects with
// Object Lock", Amazon S3 User Guide).
func (s *S3) Hold(ctx context.Context, key, version string, on bool) (evidence.Object, error) {
	obj, err := s.setHold(ctx, key, version, on)
	if err != nil {
		return obj, fmt.Errorf("legal hold on %s in %s: %w", key, s, err)
	}
	return obj, nil
}

func (s *S3) setHold(ctx context.Context, key, version string, on bool) (evidence.Object, error) {
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	in := &s3.PutObjectLegalHoldInput{
		Bucket: &s.o.Bucket, Key: s.key(key), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		LegalHold: &types.ObjectLockLegalHold{Status: status},
	}
	if version != "" {
		in.VersionId = &version
	}
	if _, err := s.client.PutObjectLegalHold(ctx, in); err != nil {
		return evidence.Object{}, explain(err, s.o.Bucket)
	}
	return s.held(ctx, key, version, on)
}

// held reads back what a hold did, by the version and from the lock itself.
func (s *S3) held(ctx context.Context, key, version string, on bool) (evidence.Object, error) {
	obj, err := s.stat(ctx, key, version)
	if err != nil {
		return obj, err
	}
	if err := s.readLock(ctx, &obj); err != nil {
		return obj, err
	}
	if obj.LegalHold != on {
		err = &incident.NotVerifiedError{Resource: obj.Location, Want: fmt.Sprintf("legal hold %v", on), Got: fmt.Sprintf("legal hold %v", obj.LegalHold)}
	}
	return obj, err
}

// readLock reads retention and legal hold by their own requests. HeadObject shows no
// lock to whoever may not read locks (API reference, HeadObject); these say that it is not allowed.
func (s *S3) readLock(ctx context.Context, obj *evidence.Object) error {
	version := &obj.Version
	if obj.Version == "" {
		version = nil
	}
	r, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &s.o.Bucket, Key: s.key(obj.Key), VersionId: version})
	if err != nil && !hasNoLock(err) {
		return fmt.Errorf("its retention: %w", explain(err, s.o.Bucket))
	}
	if err == nil && r.Retention != nil {
		obj.Mode, obj.RetainUntil = string(r.Retention.Mode), aws.ToTime(r.Retention.RetainUntilDate).UTC()
	}
	h, err := s.client.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: &s.o.Bucket, Key: s.key(obj.Key), VersionId: version})
	if err != nil && !hasNoLock(err) {
		return fmt.Errorf("its legal hold: %w", explain(err, s.o.Bucket))
	}
	obj.LegalHold = err == nil && h.LegalHold != nil && h.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
	return nil
}

// hasNoLock: the object has none, or the bucket can't give it one.
func hasNoLock(err error) bool {
	code := errorCode(err)
	return code == "NoSuchObjectLockConfiguration" || code == "InvalidRequest" || code == "NotImplemented"
}
