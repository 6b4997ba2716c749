package vault

import (
	"context"
	"fmt"

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
	obj, err := s.stat(ctx, key, version)
	if err == nil && obj.LegalHold != on {
		err = &incident.NotVerifiedError{Resource: obj.Location, Want: "legal hold " + string(status), Got: fmt.Sprintf("legal hold %v", obj.LegalHold)}
	}
	return obj, err
}
