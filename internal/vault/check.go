package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Check fails where the bucket is not there, lies in another Region, can't be
// reached with these credentials, or does not lock what is put into it
// (evidence.ErrNotLocked).
func (s *S3) Check(ctx context.Context) error {
	head, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.o.Bucket})
	if errorCode(err) == "NotFound" {
		err = &types.NoSuchBucket{Message: aws.String("HEAD answered 404")}
	}
	if err != nil {
		return fmt.Errorf("evidence bucket: %w", explain(err, s.o.Bucket))
	}
	if got, want := aws.ToString(head.BucketRegion), s.client.Options().Region; got != "" && got != want {
		return incident.WithHint(
			fmt.Errorf("evidence bucket: %s lies in Region %s, not in %s", s.o.Bucket, got, want),
			"name the bucket's Region in the configuration: evidence.region: "+got)
	}
	if err := s.private(ctx); err != nil {
		return err
	}
	return s.locks(ctx)
}

// private refuses a bucket that anyone may read or write by its policy, with
// nothing that blocks it. What the responder may not see, or the store does not have, is not held
// against the bucket: the account can block public access for all of them.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
func (s *S3) private(ctx context.Context) error {
	status, err := s.client.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &s.o.Bucket})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	public := err == nil && status.PolicyStatus != nil && aws.ToBool(status.PolicyStatus.IsPublic)
	block, err := s.client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &s.o.Bucket})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	blocked := err == nil && block.PublicAccessBlockConfiguration != nil && aws.ToBool(block.PublicAccessBlockConfiguration.RestrictPublicBuckets)
	if !public || blocked {
		return nil
	}
	return incident.WithHint(&incident.RefusedError{Reason: "evidence bucket " + s.o.Bucket + " is public by its policy, and nothing blocks it"},
		"block public access on the bucket, and find out who made it public (CloudTrail: PutBucketPolicy)")
}

// locks fails with evidence.ErrNotLocked where the bucket has no versioning or
// no Object Lock, which needs versioning (aws-facts.md, "S3 Object Lock").
func (s *S3) locks(ctx context.Context) error {
	const hint = "name a bucket that was made with Object Lock, or set allow_unlocked to keep evidence that can be deleted"
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.o.Bucket})
	if errorCode(err) == "ObjectLockConfigurationNotFoundError" {
		return incident.WithHint(fmt.Errorf("%w: bucket %s has no Object Lock", evidence.ErrNotLocked, s.o.Bucket), hint)
	}
	if err != nil {
		return fmt.Errorf("object lock of the evidence bucket: %w", explain(err, s.o.Bucket))
	}
	if out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return incident.WithHint(fmt.Errorf("%w: bucket %s has no Object Lock", evidence.ErrNotLocked, s.o.Bucket), hint)
	}
	v, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.o.Bucket})
	if err != nil {
		return fmt.Errorf("versioning of the evidence bucket: %w", explain(err, s.o.Bucket))
	}
	if v.Status != types.BucketVersioningStatusEnabled {
		return incident.WithHint(fmt.Errorf("%w: bucket %s keeps no versions", evidence.ErrNotLocked, s.o.Bucket), hint)
	}
	return nil
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// isConflict: the condition If-None-Match failed, or another request for the
// key was under way ("How to prevent object overwrites with conditional writes").
func isConflict(err error) bool {
	code := errorCode(err)
	return code == "PreconditionFailed" || code == "ConditionalRequestConflict"
}

// explain says what S3's terse codes mean for the responder. HEAD requests
// carry no error document: all there is is the status, as a code.
func explain(err error, bucket string) error {
	switch errorCode(err) {
	case "NoSuchKey", "NotFound", "NoSuchVersion":
		return fmt.Errorf("%w: %w", evidence.ErrNotFound, err)
	case "NoSuchBucket":
		return incident.WithHint(fmt.Errorf("bucket %s does not exist: %w", bucket, err),
			"name an existing bucket in the configuration (evidence.bucket), or make one with Object Lock")
	case "AccessDenied", "Forbidden":
		return incident.WithHint(fmt.Errorf("no permission on bucket %s: %w", bucket, err),
			"give the responder the permissions that its playbook's actions name, in its role and in the bucket's and the key's policy; where evidence.account is set, the bucket must be that account's")
	case "PermanentRedirect", "MovedPermanently", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return incident.WithHint(fmt.Errorf("bucket %s lies in another Region: %w", bucket, err),
			"name the bucket's Region in the configuration: evidence.region")
	default:
		return err
	}
}
