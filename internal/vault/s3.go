package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

var _ evidence.Store = (*S3)(nil)

// S3Options of a bucket that keeps evidence.
type S3Options struct {
	Bucket string
	Prefix string // put before every key, without slashes at its ends; may be empty
	Region string // of the bucket; empty: the configuration's
	Mode   string // GOVERNANCE or COMPLIANCE
	// Days of retention from the moment an object is stored. Zero: the
	// bucket's default retention.
	Days      int
	KMSKey    string // ARN; empty: the bucket's default encryption
	LegalHold bool   // put one on every object
	// Account that owns the bucket; empty: not checked. Every request names it, so that
	// S3 refuses to hand evidence to a bucket of the same name that is somebody else's.
	Account string
}

// S3 keeps evidence in a bucket with versioning and Object Lock.
//
// The digest of an object is S3's own where it was stored in one piece. An
// object stored in parts has a checksum of the parts' checksums only, and its
// metadata was fixed before its last byte was known; its SHA-256 is kept beside it, under the
// same retention, in KEY.sha256 as sha256sum writes it, bound to the object by that
// checksum of checksums. Where the process died in between, the digest is
// had by reading the object.
type S3 struct {
	client *s3.Client
	o      S3Options
	clock  incident.Clock
}

// NewS3 returns the store; nothing is called yet.
func NewS3(cfg aws.Config, o S3Options, clock incident.Clock) *S3 {
	o.Prefix = strings.Trim(o.Prefix, "/")
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		if o.Region != "" {
			c.Region = o.Region
		}
		// An endpoint given by address has no bucket.address.
		c.UsePathStyle = cfg.BaseEndpoint != nil
		// The SDK can't check a checksum of checksums and would say so on
		// standard error at each read. Whoever reads evidence hashes it.
		c.DisableLogOutputChecksumValidationSkipped = true
		if o.Account != "" {
			c.APIOptions = append(c.APIOptions, expectOwner(o.Account))
		}
	})
	return &S3{client: client, o: o, clock: clock}
}

// expectOwner names the bucket's owner in every request, whichever it is
// ("Verifying bucket ownership with bucket owner condition", Amazon S3 User Guide).
func expectOwner(account string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ExpectedBucketOwner",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if f := reflect.Indirect(reflect.ValueOf(in.Parameters)).FieldByName("ExpectedBucketOwner"); f.IsValid() {
					f.Set(reflect.ValueOf(&account))
				}
				return next.HandleInitialize(ctx, in)
			}), middleware.Before)
	}
}

// String is s3://bucket/prefix.
func (s *S3) String() string {
	return "s3://" + path.Join(s.o.Bucket, s.o.Prefix)
}

func (s *S3) key(key string) *string { return aws.String(path.Join(s.o.Prefix, key)) }

// Put streams r into the bucket; see evidence.Store. An unfinished upload that
// an earlier try left under the key is aborted.
func (s *S3) Put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	obj, err := s.put(ctx, key, r, o)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("storing %s in %s: %w", key, s, err)
	}
	return obj, nil
}

func (s *S3) put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	lock := true
	if err := s.locks(ctx); err != nil {
		if !o.AllowUnlocked || !errors.Is(err, evidence.ErrNotLocked) {
			return evidence.Object{}, err
		}
		lock = false
	}
	switch old, err := s.Stat(ctx, key, ""); {
	case err == nil:
		if err := s.same(ctx, old, r, o); err != nil {
			return evidence.Object{}, err
		}
		return old, s.kept(old, lock)
	case !errors.Is(err, evidence.ErrNotFound):
		return evidence.Object{}, err
	}
	first, err := readPart(r, partSize(1))
	if err != nil {
		return evidence.Object{}, err
	}
	want := stored{lock: lock}
	if int64(len(first)) < partSize(1) {
		want.sum, want.bytes = sha256.Sum256(first), int64(len(first))
		err = s.putWhole(ctx, key, first, want, o)
	} else {
		want, err = s.putParts(ctx, key, first, r, want, o)
	}
	if err != nil {
		return evidence.Object{}, err
	}
	return s.readBack(ctx, key, want)
}

// stored is what has been sent, to be compared with what is there.
type stored struct {
	lock      bool
	sum       [sha256.Size]byte
	bytes     int64
	composite string // S3's checksum of the parts' checksums; empty for an object in one piece
}

func (w stored) hex() string { return hex.EncodeToString(w.sum[:]) }

func (w stored) check(o evidence.PutOptions) error {
	if o.SHA256 != "" && o.SHA256 != w.hex() {
		return fmt.Errorf("%w: want %s, got %s", evidence.ErrDigest, o.SHA256, w.hex())
	}
	return nil
}

// same reports whether r yields what is stored already. What is stored in parts gets the digest
// beside it that a killed process may have owed.
func (s *S3) same(ctx context.Context, old evidence.Object, r io.Reader, o evidence.PutOptions) error {
	sum := o.SHA256
	if sum == "" {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		sum = hex.EncodeToString(h.Sum(nil))
	}
	if sum != old.SHA256 {
		return fmt.Errorf("%w: sha256 %s is stored, %s was given", evidence.ErrExists, old.SHA256, sum)
	}
	head, err := s.head(ctx, old.Key, old.Version)
	if err != nil || !isComposite(head) {
		return err
	}
	return s.putDigest(ctx, old.Key, old.Mode != evidence.ModeNone, sum, aws.ToString(head.ChecksumSHA256))
}

// putWhole stores an object in one call. The condition keeps a second writer,
// and our own repeated request, from putting a version on top.
func (s *S3) putWhole(ctx context.Context, key string, body []byte, want stored, o evidence.PutOptions) error {
	if err := want.check(o); err != nil {
		return err
	}
	// A request with a retention must have Content-MD5 or x-amz-sdk-checksum-algorithm (S3 API Reference, PutObject); the
	// SDK sends the latter for a checksum that it computes, not for one that it is given.
	in := &s3.PutObjectInput{
		Bucket: &s.o.Bucket, Key: s.key(key), Body: bytes.NewReader(body), ContentLength: aws.Int64(want.bytes),
		ContentType: contentType(o), Metadata: withDigest(o.Metadata, want.hex()),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(want.sum[:])), IfNoneMatch: aws.String("*"),
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = s.encryption()
	if want.lock {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = s.retention()
	}
	_, err := s.client.PutObject(ctx, in)
	if err != nil && isConflict(err) {
		return nil // somebody, perhaps our own lost request, was first: readBack compares
	}
	return explain(err, s.o.Bucket)
}

// retention to ask for, counted from now.
func (s *S3) retention() (types.ObjectLockMode, *time.Time, types.ObjectLockLegalHoldStatus) {
	var hold types.ObjectLockLegalHoldStatus
	if s.o.LegalHold {
		hold = types.ObjectLockLegalHoldStatusOn
	}
	if s.o.Days == 0 {
		return "", nil, hold
	}
	until := s.clock.Now().UTC().AddDate(0, 0, s.o.Days).Truncate(time.Second)
	return types.ObjectLockMode(s.o.Mode), &until, hold
}

func (s *S3) encryption() (types.ServerSideEncryption, *string) {
	if s.o.KMSKey == "" {
		return "", nil
	}
	return types.ServerSideEncryptionAwsKms, &s.o.KMSKey
}

// readBack proves that what was sent is there, kept as asked.
func (s *S3) readBack(ctx context.Context, key string, want stored) (evidence.Object, error) {
	got, err := s.Stat(ctx, key, "")
	if err != nil {
		return got, fmt.Errorf("reading back: %w", err)
	}
	if got.SHA256 != want.hex() {
		return got, fmt.Errorf("%w: sha256 %s is stored, %s was given", evidence.ErrExists, got.SHA256, want.hex())
	}
	return got, s.kept(got, want.lock)
}

// encrypted fails where an object is not under the key that was asked for. S3 shows
// the key's ARN; an alias can't be compared with it.
func (s *S3) encrypted(obj evidence.Object) error {
	isKey := strings.Contains(s.o.KMSKey, ":key/")
	if s.o.KMSKey == "" || obj.Encryption == string(types.ServerSideEncryptionAwsKms) && (!isKey || obj.KMSKey == s.o.KMSKey) {
		return nil
	}
	return incident.WithHint(
		fmt.Errorf("%s is encrypted by %q with the key %q, not by aws:kms with %s", obj.Location, obj.Encryption, obj.KMSKey, s.o.KMSKey),
		"look who stored it; the key is named in the configuration: evidence.kms_key")
}

// kept fails where a retention is to be on the object and none is: also where
// somebody else stored the same bytes before us, without one.
func (s *S3) kept(obj evidence.Object, lock bool) error {
	if err := s.encrypted(obj); err != nil {
		return err
	}
	if !lock || obj.Mode != evidence.ModeNone && obj.RetainUntil.After(s.clock.Now()) {
		return nil
	}
	return incident.WithHint(
		fmt.Errorf("%w: %s is stored, but S3 shows no retention on it", evidence.ErrNotLocked, obj.Location),
		"let the responder read retentions (s3:GetObjectRetention) and set a retention in days, or a default retention on the bucket")
}

// Stat reads back what S3 knows of an object.
func (s *S3) Stat(ctx context.Context, key, version string) (evidence.Object, error) {
	obj, err := s.stat(ctx, key, version)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("looking up %s in %s: %w", key, s, err)
	}
	return obj, nil
}

func (s *S3) stat(ctx context.Context, key, version string) (evidence.Object, error) {
	head, err := s.head(ctx, key, version)
	if err != nil {
		return evidence.Object{}, err
	}
	obj := evidence.Object{
		Key: key, Version: aws.ToString(head.VersionId), Bytes: aws.ToInt64(head.ContentLength),
		Mode: evidence.ModeNone, LegalHold: head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
		Location: "s3://" + s.o.Bucket + "/" + *s.key(key),
	}
	if obj.Version != "" {
		obj.Location += "?versionId=" + obj.Version
	}
	obj.Encryption, obj.KMSKey = string(head.ServerSideEncryption), aws.ToString(head.SSEKMSKeyId)
	if head.ObjectLockMode != "" {
		obj.Mode, obj.RetainUntil = string(head.ObjectLockMode), aws.ToTime(head.ObjectLockRetainUntilDate).UTC()
	} else if err := s.readLock(ctx, &obj); err != nil {
		return obj, err
	}
	obj.SHA256, err = s.digest(ctx, key, head)
	return obj, err
}

func (s *S3) head(ctx context.Context, key, version string) (*s3.HeadObjectOutput, error) {
	in := &s3.HeadObjectInput{Bucket: &s.o.Bucket, Key: s.key(key), ChecksumMode: types.ChecksumModeEnabled}
	if version != "" {
		in.VersionId = &version
	}
	out, err := s.client.HeadObject(ctx, in)
	if version != "" && errorCode(err) == "BadRequest" {
		err = errors.Join(err, s.refusal(ctx, key, version))
	}
	return out, explain(err, s.o.Bucket)
}

// refusal is why S3 answers 400 for a version. It may be that no version can be called so, or
// that the session has expired: a HEAD's answer has no error document, a GET's has.
func (s *S3) refusal(ctx context.Context, key, version string) error {
	body, err := s.Get(ctx, key, version)
	if err == nil {
		return body.Close()
	}
	return err
}
