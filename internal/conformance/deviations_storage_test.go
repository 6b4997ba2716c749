package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/clock"
)

// storageDeviations: the EBS direct APIs and S3. What Object Lock refuses is held against versitygw instead.
var storageDeviations = []deviation{
	{
		operation: "ebs:ListSnapshotBlocks", moto: "answers what the SDK can't decode: a block's index is a string", aws: "gives a block's index as an integer",
		page: ebsAPI + "API_ListSnapshotBlocks.html", explains: "the volumes are not exported", set: "export=false",
		deviates: func(l *lab) bool {
			_, err := ebs.NewFromConfig(l.cfg).ListSnapshotBlocks(l.ctx(), &ebs.ListSnapshotBlocksInput{SnapshotId: aws.String(l.snapshot())})
			return err != nil
		},
	},
	{
		operation: "s3:PutObject", moto: "keeps a body that does not match its SHA-256", aws: "refuses with BadDigest",
		page: s3Guide + "checking-object-integrity-upload.html", explains: "that a damaged upload is refused is tested on versitygw and the simulated account",
		deviates: func(l *lab) bool {
			other := sha256.Sum256([]byte("other"))
			_, err := s3.NewFromConfig(l.cfg).PutObject(l.ctx(), &s3.PutObjectInput{
				Bucket: &l.w.Bucket, Key: aws.String("damaged"), Body: bytes.NewReader([]byte("body")),
				ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(other[:])),
			})
			return err == nil
		},
	},
	{
		operation: "s3:PutObjectRetention", moto: "shortens a retention in COMPLIANCE mode", aws: "refuses with AccessDenied, whoever asks",
		page: s3Guide + "object-lock.html", explains: "what Object Lock refuses is tested on versitygw",
		deviates: func(l *lab) bool {
			c := s3.NewFromConfig(l.cfg)
			l.lockedObject("compliance", 48*time.Hour)
			until := clock.Wall{}.Now().Add(24 * time.Hour)
			_, err := c.PutObjectRetention(l.ctx(), &s3.PutObjectRetentionInput{
				Bucket: &l.w.Bucket, Key: aws.String("compliance"),
				Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeCompliance, RetainUntilDate: &until},
			})
			return err == nil
		},
	},
	{
		operation: "s3:GetObjectRetention", moto: "answers with the object", aws: "answers with the object's retention",
		page: s3API + "API_GetObjectRetention.html", explains: "the AWS CLI asks for the lock by head-object",
		deviates: func(l *lab) bool {
			l.lockedObject("retention", 48*time.Hour)
			out, err := s3.NewFromConfig(l.cfg).GetObjectRetention(l.ctx(), &s3.GetObjectRetentionInput{Bucket: &l.w.Bucket, Key: aws.String("retention")})
			return err != nil || out.Retention == nil || out.Retention.RetainUntilDate == nil
		},
	},
	{
		operation: "s3:CompleteMultipartUpload", moto: "makes an object without the lock that was asked for", aws: "keeps the lock that CreateMultipartUpload set",
		page: s3API + "API_CreateMultipartUpload.html", explains: "large evidence is stored, and its lock read back, on versitygw and the simulated account",
		deviates: func(l *lab) bool { return l.multipartLock() == "" },
	},
}

func (l *lab) lockedObject(key string, retention time.Duration) {
	until := clock.Wall{}.Now().Add(retention)
	_, err := s3.NewFromConfig(l.cfg).PutObject(l.ctx(), &s3.PutObjectInput{
		Bucket: &l.w.Bucket, Key: &key, Body: bytes.NewReader([]byte("locked")), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
		ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &until,
	})
	l.must(err)
}

// multipartLock is the mode of an object put in one part under Object Lock.
func (l *lab) multipartLock() s3types.ObjectLockMode {
	c, key, until := s3.NewFromConfig(l.cfg), aws.String("multipart"), clock.Wall{}.Now().Add(48*time.Hour)
	upload, err := c.CreateMultipartUpload(l.ctx(), &s3.CreateMultipartUploadInput{
		Bucket: &l.w.Bucket, Key: key, ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
		ObjectLockMode: s3types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until,
	})
	l.must(err)
	part, err := c.UploadPart(l.ctx(), &s3.UploadPartInput{
		Bucket: &l.w.Bucket, Key: key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("part")),
		ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
	})
	l.must(err)
	_, err = c.CompleteMultipartUpload(l.ctx(), &s3.CompleteMultipartUploadInput{
		Bucket: &l.w.Bucket, Key: key, UploadId: upload.UploadId,
		MultipartUpload: &s3types.CompletedMultipartUpload{Parts: []s3types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256}}},
	})
	l.must(err)
	head, err := c.HeadObject(l.ctx(), &s3.HeadObjectInput{Bucket: &l.w.Bucket, Key: key})
	l.must(err)
	return head.ObjectLockMode
}
