package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// readTries without a byte in between end a read; readPause comes before each but the first.
const (
	readTries = 4
	readPause = 2 * time.Second
)

// Get opens a version of an object; the newest where version is empty. A read
// that breaks off goes on from where it was, in the same version: an image of
// a terabyte does not start over. It ends where nothing comes any more.
func (s *S3) Get(ctx context.Context, key, version string) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)}
	if version != "" {
		in.VersionId = &version
	}
	out, err := s.client.GetObject(ctx, in)
	if version != "" && errorCode(err) == "InvalidArgument" {
		err = fmt.Errorf("%w: version %s: %w", evidence.ErrNotFound, version, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s from %s: %w", key, s, explain(err, s.o.Bucket))
	}
	in.VersionId, in.IfMatch = out.VersionId, out.ETag // what goes on is the same
	return &body{ctx: ctx, s: s, key: key, in: in, r: out.Body, size: aws.ToInt64(out.ContentLength)}, nil
}

// body is an object being read. Its owner reads it from one goroutine and closes it.
type body struct {
	ctx          context.Context
	s            *S3
	key          string
	in           *s3.GetObjectInput
	r            io.ReadCloser
	offset, size int64
	broken       int // times since the last byte
}

// Read goes on where a connection breaks off.
func (b *body) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		b.offset += int64(n)
		if n > 0 {
			b.broken = 0
		}
		switch {
		case err == nil, b.offset == b.size: // at its end, or the SDK says that S3's own checksum is another
			return n, err
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		if err := b.reopen(err); err != nil || n > 0 {
			return n, err
		}
	}
}

// reopen asks for the rest of the object.
func (b *body) reopen(why error) error {
	for {
		if b.broken++; b.broken >= readTries || b.ctx.Err() != nil {
			return fmt.Errorf("reading %s from %s broke off at byte %d of %d: %w", b.key, b.s, b.offset, b.size, why)
		}
		if err := b.s.clock.Sleep(b.ctx, readPause); err != nil {
			return err
		}
		b.in.Range = aws.String(fmt.Sprintf("bytes=%d-", b.offset))
		out, err := b.s.client.GetObject(b.ctx, b.in)
		if err != nil {
			why = explain(err, b.s.o.Bucket)
			continue
		}
		_ = b.r.Close() // it broke off
		b.r = out.Body
		return nil
	}
}

// Close ends the read.
func (b *body) Close() error { return b.r.Close() }
