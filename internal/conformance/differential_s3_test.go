package conformance

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func s3Scenarios() []scenario {
	return []scenario{
		{"buckets", buckets},
		{"objects", objects},
		{"versions", versions},
		{"object lock", objectLock},
		{"multipart uploads", multipart},
	}
}

func newBucket(l *lane, name string, locked bool) *string {
	must(l, l.s3.CreateBucket, &s3.CreateBucketInput{
		Bucket: &name, ObjectLockEnabledForBucket: &locked,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region},
	})
	return &name
}

var absentBucket = aws.String("diff-absent-bucket")

func buckets(l *lane) {
	b := newBucket(l, "diff-buckets", false)
	where := &types.CreateBucketConfiguration{LocationConstraint: region}
	do(l, l.s3.CreateBucket, &s3.CreateBucketInput{Bucket: b, CreateBucketConfiguration: where})
	do(l, l.s3.CreateBucket, &s3.CreateBucketInput{Bucket: aws.String("Diff_Bad"), CreateBucketConfiguration: where})
	for _, name := range []*string{b, absentBucket} {
		do(l, l.s3.HeadBucket, &s3.HeadBucketInput{Bucket: name})
		do(l, l.s3.GetBucketLocation, &s3.GetBucketLocationInput{Bucket: name})
		do(l, l.s3.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: name})
		do(l, l.s3.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: name})
		do(l, l.s3.GetBucketEncryption, &s3.GetBucketEncryptionInput{Bucket: name})
		do(l, l.s3.GetPublicAccessBlock, &s3.GetPublicAccessBlockInput{Bucket: name})
		do(l, l.s3.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: name})
	}
	do(l, l.s3.PutPublicAccessBlock, &s3.PutPublicAccessBlockInput{Bucket: b, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
	}})
	do(l, l.s3.GetPublicAccessBlock, &s3.GetPublicAccessBlockInput{Bucket: b})
	do(l, l.s3.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: b})
	do(l, l.s3.PutBucketPolicy, &s3.PutBucketPolicyInput{Bucket: b, Policy: aws.String("{not JSON")})
	do(l, l.s3.PutBucketPolicy, &s3.PutBucketPolicyInput{Bucket: b, Policy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::diff-buckets/*"}]}`)})
	do(l, l.s3.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: b})
	do(l, l.s3.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: b})
	do(l, l.s3.PutBucketEncryption, &s3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms}}},
	}})
	do(l, l.s3.GetBucketEncryption, &s3.GetBucketEncryptionInput{Bucket: b})
	do(l, l.s3.PutObjectLockConfiguration, &s3.PutObjectLockConfigurationInput{Bucket: b, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}})
	do(l, l.s3.PutBucketVersioning, &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	do(l, l.s3.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: b})
	locked := newBucket(l, "diff-buckets-locked", true)
	do(l, l.s3.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: locked})
	do(l, l.s3.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: locked})
	do(l, l.s3.PutBucketVersioning, &s3.PutBucketVersioningInput{Bucket: locked, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
}

func put(b *string, key, text string) *s3.PutObjectInput {
	return &s3.PutObjectInput{Bucket: b, Key: &key, Body: strings.NewReader(text)}
}

func objects(l *lane) {
	b := newBucket(l, "diff-objects", false)
	for _, key := range []string{"b/2", "a", "b/1", "b/10", "Z"} {
		in := put(b, key, "text of "+key)
		in.ContentType, in.Metadata = aws.String("text/plain"), map[string]string{"case": "D-1"}
		do(l, l.s3.PutObject, in)
	}
	do(l, l.s3.PutObject, put(absentBucket, "a", "x"))
	exists := put(b, "a", "again")
	exists.IfNoneMatch = aws.String("*")
	do(l, l.s3.PutObject, exists)
	summed := put(b, "summed", "text")
	summed.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	do(l, l.s3.PutObject, summed)
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("summed"), ChecksumMode: types.ChecksumModeEnabled})
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("a")})
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("absent")})
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: absentBucket, Key: aws.String("a")})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: aws.String("a")})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: aws.String("a"), Range: aws.String("bytes=2-4")})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: aws.String("a"), Range: aws.String("bytes=100-")})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: aws.String("absent")})
	do(l, l.s3.GetObjectAttributes, &s3.GetObjectAttributesInput{Bucket: b, Key: aws.String("summed"), ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesChecksum, types.ObjectAttributesObjectSize}})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b, Prefix: aws.String("b/"), MaxKeys: aws.Int32(2)})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b, Delimiter: aws.String("/")})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b, StartAfter: aws.String("b/1")})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: absentBucket})
	do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("a")})
	do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("a")})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: aws.String("a")})
	wrong := put(b, "wrong", "text")
	wrong.ChecksumSHA256 = aws.String("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	do(l, l.s3.PutObject, wrong)
	do(l, l.s3.PutObjectRetention, &s3.PutObjectRetentionInput{Bucket: b, Key: aws.String("Z"), Retention: &types.ObjectLockRetention{
		Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(farFuture),
	}})
}

// farFuture is after both accounts' time.
var farFuture = time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC)

func versions(l *lane) {
	b := newBucket(l, "diff-versions", true)
	key := aws.String("log")
	first := l.call("first version", must(l, l.s3.PutObject, put(b, *key, "one")).VersionId)
	l.pass(time.Second)
	l.call("second version", must(l, l.s3.PutObject, put(b, *key, "two")).VersionId)
	l.pass(time.Second)
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: key})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: key, VersionId: &first})
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: key, VersionId: aws.String("nonsense")})
	marker := do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: key})
	l.call("marker", marker.VersionId)
	do(l, l.s3.GetObject, &s3.GetObjectInput{Bucket: b, Key: key})
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: key})
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: key, VersionId: marker.VersionId})
	do(l, l.s3.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: b})
	do(l, l.s3.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b})
	do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: key, VersionId: marker.VersionId})
	do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: key, VersionId: &first})
	do(l, l.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: key, VersionId: &first})
	do(l, l.s3.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: b})
	do(l, l.s3.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: absentBucket})
}

func objectLock(l *lane) {
	b := newBucket(l, "diff-locked", true)
	key := aws.String("evidence")
	version := l.call("version", must(l, l.s3.PutObject, put(b, *key, "evidence")).VersionId)
	retain := func(mode types.ObjectLockRetentionMode, until time.Time, bypass bool) {
		do(l, l.s3.PutObjectRetention, &s3.PutObjectRetentionInput{
			Bucket: b, Key: key, VersionId: &version, BypassGovernanceRetention: &bypass, Retention: &types.ObjectLockRetention{Mode: mode, RetainUntilDate: &until},
		})
	}
	remove := func(bypass bool) {
		in := &s3.DeleteObjectInput{Bucket: b, Key: key, VersionId: &version}
		if bypass {
			in.BypassGovernanceRetention = &bypass
		}
		do(l, l.s3.DeleteObject, in)
	}
	hold := func(status types.ObjectLockLegalHoldStatus) {
		do(l, l.s3.PutObjectLegalHold, &s3.PutObjectLegalHoldInput{Bucket: b, Key: key, VersionId: &version, LegalHold: &types.ObjectLockLegalHold{Status: status}})
		do(l, l.s3.GetObjectLegalHold, &s3.GetObjectLegalHoldInput{Bucket: b, Key: key, VersionId: &version})
	}
	do(l, l.s3.GetObjectRetention, &s3.GetObjectRetentionInput{Bucket: b, Key: key, VersionId: &version})
	do(l, l.s3.GetObjectLegalHold, &s3.GetObjectLegalHoldInput{Bucket: b, Key: key, VersionId: &version})
	retain(types.ObjectLockRetentionModeGovernance, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), false)
	retain("WHATEVER", farFuture, false)
	retain(types.ObjectLockRetentionModeGovernance, farFuture, false)
	do(l, l.s3.GetObjectRetention, &s3.GetObjectRetentionInput{Bucket: b, Key: key, VersionId: &version})
	remove(false)
	retain(types.ObjectLockRetentionModeGovernance, farFuture.AddDate(-1, 0, 0), false)
	retain(types.ObjectLockRetentionModeGovernance, farFuture.AddDate(-1, 0, 0), true)
	hold(types.ObjectLockLegalHoldStatusOn)
	remove(true)
	hold(types.ObjectLockLegalHoldStatusOff)
	retain(types.ObjectLockRetentionModeCompliance, farFuture, false)
	retain(types.ObjectLockRetentionModeCompliance, farFuture.AddDate(-1, 0, 0), true)
	retain(types.ObjectLockRetentionModeGovernance, farFuture, true)
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: key, VersionId: &version})
	remove(true)
	do(l, l.s3.GetObjectRetention, &s3.GetObjectRetentionInput{Bucket: b, Key: aws.String("absent")})
	in := put(b, "born locked", "x")
	in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = types.ObjectLockModeCompliance, aws.Time(farFuture), types.ObjectLockLegalHoldStatusOn
	do(l, l.s3.PutObject, in)
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: in.Key})
	days := func(n int32) {
		do(l, l.s3.PutObjectLockConfiguration, &s3.PutObjectLockConfigurationInput{Bucket: b, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: &n}},
		}})
	}
	days(0)
	days(7)
	do(l, l.s3.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: b})
	in = put(b, "by default", "x")
	in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	do(l, l.s3.PutObject, in)
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("by default")})
}

func multipart(l *lane) {
	b := newBucket(l, "diff-multipart", true)
	key := aws.String("image")
	upload := l.call("upload", must(l, l.s3.CreateMultipartUpload, &s3.CreateMultipartUploadInput{
		Bucket: b, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(farFuture),
	}).UploadId)
	do(l, l.s3.CreateMultipartUpload, &s3.CreateMultipartUploadInput{Bucket: absentBucket, Key: key})
	var parts []types.CompletedPart
	part := func(n int32, id, text string) {
		out := do(l, l.s3.UploadPart, &s3.UploadPartInput{
			Bucket: b, Key: key, UploadId: &id, PartNumber: &n, Body: strings.NewReader(text), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if out != nil {
			parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256})
		}
	}
	complete := func(id string, parts ...types.CompletedPart) {
		out := do(l, l.s3.CompleteMultipartUpload, &s3.CompleteMultipartUploadInput{
			Bucket: b, Key: key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		if out != nil {
			l.call("version", out.VersionId)
		}
	}
	part(2, upload, "the end")
	part(1, upload, strings.Repeat("x", 5<<20))
	part(0, upload, "below the first")
	part(10001, upload, "beyond the last")
	part(1, "no-such-upload", "x")
	do(l, l.s3.ListParts, &s3.ListPartsInput{Bucket: b, Key: key, UploadId: &upload})
	do(l, l.s3.ListParts, &s3.ListPartsInput{Bucket: b, Key: key, UploadId: aws.String("no-such-upload")})
	do(l, l.s3.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: b})
	if len(parts) < 2 {
		return
	}
	last, first := parts[0], parts[1]
	complete(upload, last, first)
	complete(upload, types.CompletedPart{PartNumber: aws.Int32(7), ETag: first.ETag, ChecksumSHA256: first.ChecksumSHA256})
	complete("no-such-upload", first, last)
	complete(upload, first, last)
	do(l, l.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	do(l, l.s3.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: b})
	small := must(l, l.s3.CreateMultipartUpload, &s3.CreateMultipartUploadInput{Bucket: b, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256}).UploadId
	l.call("second upload", small)
	parts = nil
	part(1, *small, "too small")
	part(2, *small, "the end")
	complete(*small, parts...)
	do(l, l.s3.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: b, Key: key, UploadId: small})
	do(l, l.s3.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: b, Key: key, UploadId: small})
	do(l, l.s3.ListParts, &s3.ListPartsInput{Bucket: b, Key: key, UploadId: small})
}
