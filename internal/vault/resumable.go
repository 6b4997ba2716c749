package vault

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/evidence"
)

var _ evidence.Resumable = (*S3)(nil)

// castagnoli is CRC-32C, which processors compute at memory speed: another
// SHA-256 of every byte would cost as much as the block digests do.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcText is a CRC-32C as S3 writes it.
func crcText(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

func parseCRC(text string) (uint32, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != 4 {
		return 0, fmt.Errorf("%q is not a CRC-32C", text)
	}
	return binary.BigEndian.Uint32(b), nil
}

// compositeCRC is what S3 computes from the parts' checksums ("Checking object
// integrity in Amazon S3"), and the bytes in all parts.
func compositeCRC(parts []evidence.Part) (composite string, bytes int64) {
	crc := uint32(0)
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, binary.BigEndian.AppendUint32(nil, p.CRC32C))
		bytes += p.Bytes
	}
	return fmt.Sprintf("%s-%d", crcText(crc), len(parts)), bytes
}

// isResumable: the object was made by Complete.
func isResumable(h *s3.HeadObjectOutput) bool {
	return strings.Contains(aws.ToString(h.ChecksumCRC32C), "-")
}

// Begin starts a multipart upload; see evidence.Resumable.
func (s *S3) Begin(ctx context.Context, key string, o evidence.PutOptions) (evidence.Upload, error) {
	u, err := s.begin(ctx, key, o)
	if err != nil {
		return u, fmt.Errorf("storing %s in %s: %w", key, s, err)
	}
	return u, nil
}

func (s *S3) begin(ctx context.Context, key string, o evidence.PutOptions) (evidence.Upload, error) {
	lock := true
	if err := s.locks(ctx); err != nil {
		if !o.AllowUnlocked || !errors.Is(err, evidence.ErrNotLocked) {
			return evidence.Upload{}, err
		}
		lock = false
	}
	switch _, err := s.head(ctx, key, ""); {
	case err == nil:
		return evidence.Upload{}, evidence.ErrExists
	case !errors.Is(err, evidence.ErrNotFound):
		return evidence.Upload{}, err
	}
	if err := s.abortUnfinished(ctx, key); err != nil {
		return evidence.Upload{}, err
	}
	in := &s3.CreateMultipartUploadInput{
		Bucket: &s.o.Bucket, Key: s.key(key), ContentType: contentType(o), Metadata: o.Metadata,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeComposite,
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = s.encryption()
	if lock {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = s.retention()
	}
	out, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return evidence.Upload{}, explain(err, s.o.Bucket)
	}
	return evidence.Upload{Key: key, ID: aws.ToString(out.UploadId), AllowUnlocked: o.AllowUnlocked}, nil
}

// Part uploads one part with the CRC-32C that it must have: S3 refuses other bytes ("Checking object
// integrity in Amazon S3"), and the SDK neither sums nor, over HTTPS, hashes the body once more.
func (s *S3) Part(ctx context.Context, u evidence.Upload, p evidence.Part, body io.ReadSeeker) (evidence.Part, error) {
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.o.Bucket, Key: s.key(u.Key), UploadId: &u.ID, PartNumber: aws.Int32(int32(p.Number)),
		Body: body, ContentLength: &p.Bytes, ChecksumCRC32C: aws.String(crcText(p.CRC32C)),
	})
	if errorCode(err) == "BadDigest" {
		err = fmt.Errorf("%w: %w", evidence.ErrDigest, err)
	}
	if err != nil {
		return p, fmt.Errorf("storing part %d of %s in %s: %w", p.Number, u.Key, s, explain(err, s.o.Bucket))
	}
	if got := aws.ToString(out.ChecksumCRC32C); got != crcText(p.CRC32C) {
		return p, fmt.Errorf("storing part %d of %s in %s: %w: CRC-32C should be %s, of what is stored it is %q", p.Number, u.Key, s, evidence.ErrDigest, crcText(p.CRC32C), got)
	}
	p.Tag = aws.ToString(out.ETag)
	return p, nil
}

// Parts lists what an upload holds.
func (s *S3) Parts(ctx context.Context, u evidence.Upload) ([]evidence.Part, error) {
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.o.Bucket, Key: s.key(u.Key), UploadId: &u.ID})
	var all []evidence.Part
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if errorCode(err) == "NoSuchUpload" {
			err = fmt.Errorf("%w: %w", evidence.ErrNotFound, err)
		}
		if err != nil {
			return nil, fmt.Errorf("the unfinished upload of %s in %s: %w", u.Key, s, explain(err, s.o.Bucket))
		}
		for _, p := range page.Parts {
			crc, err := parseCRC(aws.ToString(p.ChecksumCRC32C))
			if err != nil {
				return nil, fmt.Errorf("part %d of %s in %s: %w", aws.ToInt32(p.PartNumber), u.Key, s, err)
			}
			all = append(all, evidence.Part{Number: int(aws.ToInt32(p.PartNumber)), Bytes: aws.ToInt64(p.Size), CRC32C: crc, Tag: aws.ToString(p.ETag)})
		}
	}
	return all, nil
}

// Complete makes the object and reads it back. Where the answer got lost, or
// the process died, the second request meets the finished object: it is compared.
func (s *S3) Complete(ctx context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	obj, err := s.completeParts(ctx, u, parts)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("storing %s in %s: %w", u.Key, s, err)
	}
	return obj, nil
}

func (s *S3) completeParts(ctx context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	named := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		named[i] = types.CompletedPart{
			PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.Tag), ChecksumCRC32C: aws.String(crcText(p.CRC32C)),
		}
	}
	composite, size := compositeCRC(parts)
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.o.Bucket, Key: s.key(u.Key), UploadId: &u.ID, IfNoneMatch: aws.String("*"),
		ChecksumType: types.ChecksumTypeComposite, MpuObjectSize: &size,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: named},
	})
	if err != nil && !isConflict(err) && errorCode(err) != "NoSuchUpload" {
		return evidence.Object{}, explain(err, s.o.Bucket)
	}
	head, err := s.head(ctx, u.Key, "")
	if err != nil {
		return evidence.Object{}, fmt.Errorf("reading back: %w", err)
	}
	if got := aws.ToString(head.ChecksumCRC32C); got != composite || aws.ToInt64(head.ContentLength) != size {
		return evidence.Object{}, fmt.Errorf("%w: the object there has %d bytes and checksum %s, ours %d and %s",
			evidence.ErrExists, aws.ToInt64(head.ContentLength), got, size, composite)
	}
	obj, err := s.stat(ctx, u.Key, aws.ToString(head.VersionId))
	if err != nil {
		return obj, fmt.Errorf("reading back: %w", err)
	}
	lock := true
	if u.AllowUnlocked {
		err := s.locks(ctx)
		if lock = err == nil; !lock && !errors.Is(err, evidence.ErrNotLocked) {
			return obj, err
		}
	}
	return obj, s.kept(obj, lock)
}
