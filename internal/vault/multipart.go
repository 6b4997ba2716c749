package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/evidence"
)

const (
	mib      = 1 << 20
	maxParts = 10_000 // aws-facts.md, "S3 Object Lock"
	// parallelParts in flight bound the memory: one more is being filled.
	parallelParts = 4
)

// partSize of part n, from 1. How much will come is not known, so parts grow:
// 10,000 of them hold 0.9 TiB, and an ordinary image takes little memory.
func partSize(n int) int64 {
	switch {
	case n <= 1000:
		return 8 * mib
	case n <= 3000:
		return 32 * mib
	default:
		return 128 * mib
	}
}

// readPart reads size bytes, or what is left.
func readPart(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, size)
	n, err := io.ReadFull(r, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return b[:n], nil
}

func contentType(o evidence.PutOptions) *string {
	if o.ContentType == "" {
		return aws.String("application/octet-stream")
	}
	return &o.ContentType
}

// putParts stores first and what r yields after it as a multipart object, and
// its digest beside it. The retention is set when the upload is created: S3
// takes none later (aws-facts.md, "S3 Object Lock").
func (s *S3) putParts(ctx context.Context, key string, first []byte, r io.Reader, want stored, o evidence.PutOptions) (stored, error) {
	if err := s.abortUnfinished(ctx, key); err != nil {
		return want, err
	}
	in := &s3.CreateMultipartUploadInput{
		Bucket: &s.o.Bucket, Key: s.key(key), ContentType: contentType(o), Metadata: o.Metadata,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumType: types.ChecksumTypeComposite,
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = s.encryption()
	if want.lock {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = s.retention()
	}
	created, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return want, explain(err, s.o.Bucket)
	}
	u := &upload{s: s, key: s.key(key), id: created.UploadId}
	want, err = u.send(ctx, first, r, want)
	if err == nil {
		err = want.check(o)
	}
	if err != nil {
		// After a cancelled context nothing more is changed: the next try aborts.
		if ctx.Err() == nil {
			err = errors.Join(err, u.abort(ctx))
		}
		return want, err
	}
	if err := u.complete(ctx, want); err != nil {
		return want, err
	}
	head, err := s.head(ctx, key, "")
	if err != nil {
		return want, fmt.Errorf("reading back: %w", err)
	}
	if got := aws.ToString(head.ChecksumSHA256); got != want.composite || aws.ToInt64(head.ContentLength) != want.bytes {
		return want, fmt.Errorf("%w: the object there has %d bytes and checksum %s, ours %d and %s",
			evidence.ErrExists, aws.ToInt64(head.ContentLength), got, want.bytes, want.composite)
	}
	return want, s.putDigest(ctx, key, want.lock, want.hex(), want.composite)
}

// abortUnfinished frees what tries that were cut short have left under the key.
func (s *S3) abortUnfinished(ctx context.Context, key string) error {
	full := s.key(key)
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.o.Bucket, Prefix: full})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("unfinished uploads: %w", explain(err, s.o.Bucket))
		}
		for _, old := range page.Uploads {
			if aws.ToString(old.Key) != *full {
				continue
			}
			if err := (&upload{s: s, key: full, id: old.UploadId}).abort(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// upload is one multipart upload.
type upload struct {
	s       *S3
	key, id *string
	parts   []*types.CompletedPart // in order; each one's goroutine fills in its ETag
}

// send uploads the parts, a few at once, and returns what was sent.
func (u *upload) send(ctx context.Context, first []byte, r io.Reader, want stored) (stored, error) {
	whole := sha256.New()
	var digests [][]byte
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	part, err := first, error(nil)
	for n := 1; err == nil && len(part) > 0 && gctx.Err() == nil; n++ {
		if n > maxParts {
			err = fmt.Errorf("larger than the %d parts that an S3 object can have: %d bytes so far", maxParts, want.bytes)
			break
		}
		whole.Write(part)
		want.bytes += int64(len(part))
		sum := sha256.Sum256(part)
		digests = append(digests, sum[:])
		done := &types.CompletedPart{
			PartNumber:     aws.Int32(int32(n)),
			ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		}
		u.parts = append(u.parts, done)
		body := part
		g.Go(func() error { return u.part(gctx, done, body) })
		part, err = readPart(r, partSize(n+1))
	}
	if werr := g.Wait(); werr != nil {
		return want, werr
	}
	if err == nil {
		err = ctx.Err()
	}
	whole.Sum(want.sum[:0])
	want.composite = compositeOf(digests)
	return want, err
}

func (u *upload) part(ctx context.Context, p *types.CompletedPart, body []byte) error {
	out, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &u.s.o.Bucket, Key: u.key, UploadId: u.id, PartNumber: p.PartNumber,
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: p.ChecksumSHA256,
	})
	if err != nil {
		return fmt.Errorf("part %d: %w", *p.PartNumber, explain(err, u.s.o.Bucket))
	}
	p.ETag = out.ETag
	return nil
}

// complete makes the object. Where the answer got lost the repeated request
// meets our own object or a finished upload: the caller compares.
func (u *upload) complete(ctx context.Context, want stored) error {
	parts := make([]types.CompletedPart, len(u.parts))
	for i, p := range u.parts {
		parts[i] = *p
	}
	_, err := u.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.s.o.Bucket, Key: u.key, UploadId: u.id, IfNoneMatch: aws.String("*"),
		ChecksumType: types.ChecksumTypeComposite, MpuObjectSize: &want.bytes,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil && (isConflict(err) || errorCode(err) == "NoSuchUpload") {
		return nil
	}
	return explain(err, u.s.o.Bucket)
}

func (u *upload) abort(ctx context.Context) error {
	_, err := u.s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.s.o.Bucket, Key: u.key, UploadId: u.id})
	if err != nil && errorCode(err) != "NoSuchUpload" {
		return fmt.Errorf("aborting the unfinished upload: %w", explain(err, u.s.o.Bucket))
	}
	return nil
}
