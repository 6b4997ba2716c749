package versitygw

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// probe is a behaviour of S3 that evidence rests on. Answers are error codes; "" is success.
type probe struct {
	name string
	page string // of AWS that says what S3 does
	aws  string // the answer there
	ask  func(*bench) string
}

// deviations of versitygw 1.8.0: its answers to the probes that AWS answers otherwise.
var deviations = map[string]string{
	"a locked object without a checksum":                                "",
	"putting over a delete marker on condition that there is no object": "PreconditionFailed",
	"the bucket's default retention shows on the object":                "",
	"the retention shows on a version under another":                    "",
	"taking the retention away, bypassing governance":                   "InvalidArgument",
	"deleting under a legal hold once the retention has passed":         "",
	"encryption with a KMS key is answered":                             "",
	"the bucket's encryption":                                           "NotImplemented",
	"a new bucket's block of public access":                             "NotImplemented",
}

// bench is where probes work: a bucket of their own, and a caller who may do everything.
type bench struct {
	t      *testing.T
	ctx    context.Context
	c      *s3.Client
	clock  incident.Clock
	locked string
	plain  string
}

// day from now.
func (b *bench) day() time.Time { return b.clock.Now().AddDate(0, 0, 1).Truncate(time.Second) }

func TestVersitygwAnswersAsAWSButForTheDeviations(t *testing.T) {
	ask(t, deviations, func(t *testing.T) *bench {
		return &bench{t, t.Context(), client(t, root), clock.Wall{}, bucket(t, true), bucket(t, false)}
	})
}

// notSimulated are the probes that the simulated account has no operation for.
var notSimulated = map[string]string{
	"deleting a bucket that keeps something": "operation error S3: DeleteBucket, the simulated account has no s3:DeleteBucket: write it in internal/rehearsal",
}

// What versitygw does as AWS, and what it does not, the simulated account must do.
func TestTheSimulatedAccountAnswersAsAWS(t *testing.T) {
	ask(t, notSimulated, func(t *testing.T) *bench {
		a, err := rehearsal.Create("", "web-tier", 1)
		if err != nil {
			t.Fatal(err)
		}
		cfg := a.Config(region)
		cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		b := &bench{t, t.Context(), s3.NewFromConfig(cfg), a.Clock(), "evidence-locked", "evidence-plain"}
		create(t, b.c, b.locked, true)
		create(t, b.c, b.plain, false)
		return b
	})
}

// ask asks every probe. A deviation that is none any more fails, as does one
// that has changed in another way.
func ask(t *testing.T, deviations map[string]string, newBench func(*testing.T) *bench) {
	left := maps.Clone(deviations)
	for _, p := range probes {
		want, deviates := deviations[p.name]
		if !deviates {
			want = p.aws
		}
		delete(left, p.name)
		t.Run(p.name, func(t *testing.T) {
			switch got := p.ask(newBench(t)); {
			case deviates && got == p.aws:
				t.Errorf("answers %q, as AWS does: remove it from the deviations", got)
			case got != want:
				t.Errorf("answers %q, not %q (AWS: %q, %s)", got, want, p.aws, p.page)
			}
		})
	}
	for name := range left {
		t.Errorf("a deviation that no probe asks after: %s", name)
	}
}

func (b *bench) put(in s3.PutObjectInput) (*s3.PutObjectOutput, error) {
	if in.Bucket == nil {
		in.Bucket = &b.locked
	}
	in.Key = aws.String("k")
	if in.Body == nil {
		in.Body = strings.NewReader("x")
	}
	return b.c.PutObject(b.ctx, &in)
}

// kept stores an object under GOVERNANCE and returns its version.
func (b *bench) kept(until time.Time) *string {
	b.t.Helper()
	out, err := b.put(s3.PutObjectInput{
		ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.VersionId
}

func sum(s string) *string {
	h := sha256.Sum256([]byte(s))
	return aws.String(base64.StdEncoding.EncodeToString(h[:]))
}

// upload begins one that will be kept, and sends its part.
func (b *bench) upload(checksum *string) (id *string, part types.CompletedPart, err error) {
	b.t.Helper()
	until := b.day()
	up, err := b.c.CreateMultipartUpload(b.ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.locked, Key: aws.String("k"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := b.c.UploadPart(b.ctx, &s3.UploadPartInput{
		Bucket: &b.locked, Key: aws.String("k"), UploadId: up.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader([]byte("x")), ChecksumSHA256: checksum,
	})
	if err != nil {
		return up.UploadId, part, err
	}
	return up.UploadId, types.CompletedPart{PartNumber: aws.Int32(1), ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256}, nil
}

// complete sends a part and completes the upload, as change would have it.
func (b *bench) complete(change func(*s3.CompleteMultipartUploadInput)) string {
	b.t.Helper()
	id, part, err := b.upload(sum("x"))
	if err != nil {
		b.t.Fatal(err)
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &b.locked, Key: aws.String("k"), UploadId: id, ChecksumType: types.ChecksumTypeComposite,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{part}},
	}
	change(in)
	_, err = b.c.CompleteMultipartUpload(b.ctx, in)
	return code(err)
}

const (
	pageLock      = "Amazon S3 User Guide, Object Lock considerations"
	pageIntegrity = "Amazon S3 User Guide, Checking object integrity"
	pageCondition = "Amazon S3 User Guide, How to prevent object overwrites with conditional writes"
	pageErrors    = "Amazon S3 API Reference, Error responses"
	pageMarkers   = "Amazon S3 User Guide, Working with delete markers"
)

var probes = []probe{
	{"bytes that their SHA-256 does not match", pageIntegrity, "BadDigest", func(b *bench) string {
		_, err := b.put(s3.PutObjectInput{ChecksumSHA256: sum("other")})
		return code(err)
	}},
	{"a part that its SHA-256 does not match", pageIntegrity, "BadDigest", func(b *bench) string {
		_, _, err := b.upload(sum("other"))
		return code(err)
	}},
	{"a list of parts with a wrong SHA-256", "CompleteMultipartUpload", "InvalidPart", func(b *bench) string {
		return b.complete(func(in *s3.CompleteMultipartUploadInput) { in.MultipartUpload.Parts[0].ChecksumSHA256 = sum("other") })
	}},
	{"a size that is not that of the parts", "CompleteMultipartUpload", "InvalidRequest", func(b *bench) string {
		return b.complete(func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(2) })
	}},
	{"a locked object without a checksum", pageLock, "InvalidRequest", func(b *bench) string {
		until := b.day()
		_, err := b.put(s3.PutObjectInput{ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until})
		return code(err)
	}},
	{"a part of a locked object without a checksum", pageLock, "InvalidRequest", func(b *bench) string {
		_, _, err := b.upload(nil)
		return code(err)
	}},
	{"completing over an object on condition that there is none", pageCondition, "PreconditionFailed", func(b *bench) string {
		b.kept(b.day())
		return b.complete(func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") })
	}},
	{"putting over a delete marker on condition that there is no object", pageCondition, "", func(b *bench) string {
		b.kept(b.day())
		if _, err := b.c.DeleteObject(b.ctx, &s3.DeleteObjectInput{Bucket: &b.locked, Key: aws.String("k")}); err != nil {
			b.t.Fatal(err)
		}
		_, err := b.put(s3.PutObjectInput{IfNoneMatch: aws.String("*")})
		return code(err)
	}},
	{"a mode without a date", "PutObject", "InvalidArgument", func(b *bench) string {
		_, err := b.put(s3.PutObjectInput{ObjectLockMode: types.ObjectLockModeGovernance, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		return code(err)
	}},
	{"a retention that has passed", "PutObject", "InvalidArgument", func(b *bench) string {
		past := b.clock.Now().AddDate(0, 0, -1)
		_, err := b.put(s3.PutObjectInput{ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &past, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		return code(err)
	}},
	{"a retention in a bucket without Object Lock", pageLock, "InvalidRequest", func(b *bench) string {
		until := b.day()
		_, err := b.put(s3.PutObjectInput{Bucket: &b.plain, ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		return code(err)
	}},
	{"the bucket's default retention shows on the object", pageLock, "GOVERNANCE", func(b *bench) string {
		_, err := b.c.PutObjectLockConfiguration(b.ctx, &s3.PutObjectLockConfigurationInput{
			Bucket: &b.locked,
			ObjectLockConfiguration: &types.ObjectLockConfiguration{
				ObjectLockEnabled: types.ObjectLockEnabledEnabled,
				Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{
					Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1),
				}},
			},
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.put(s3.PutObjectInput{ChecksumAlgorithm: types.ChecksumAlgorithmSha256}); err != nil {
			b.t.Fatal(err)
		}
		return b.mode(nil)
	}},
	{"the retention shows on a version under another", "HeadObject", "GOVERNANCE", func(b *bench) string {
		version := b.kept(b.day())
		if _, err := b.put(s3.PutObjectInput{}); err != nil {
			b.t.Fatal(err)
		}
		return b.mode(version)
	}},
	{"taking the retention away, bypassing governance", "Amazon S3 User Guide, Use S3 Batch Operations with S3 Object Lock retention governance mode", "", func(b *bench) string {
		return code(removal(b.ctx, b.c, b.version(b.kept(b.day()))))
	}},
	{"deleting under a legal hold once the retention has passed", pageLock, "AccessDenied", func(b *bench) string {
		until := b.clock.Now().Add(4 * time.Second).Truncate(time.Second)
		version := b.kept(until)
		_, err := b.c.PutObjectLegalHold(b.ctx, &s3.PutObjectLegalHoldInput{
			Bucket: &b.locked, Key: aws.String("k"), VersionId: version,
			LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn},
		})
		if err == nil {
			err = incident.Poll(b.ctx, b.clock, 50*time.Millisecond, time.Minute, "the retention's end", func(context.Context) (bool, error) {
				return b.clock.Now().After(until.Add(100 * time.Millisecond)), nil
			})
		}
		if err != nil {
			b.t.Fatal(err)
		}
		return code(deletion(false)(b.ctx, b.c, b.version(version)))
	}},
	{"suspending versioning under Object Lock", pageLock, "InvalidBucketState", func(b *bench) string {
		_, err := b.c.PutBucketVersioning(b.ctx, &s3.PutBucketVersioningInput{
			Bucket: &b.locked, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
		})
		return code(err)
	}},
	{"turning Object Lock off", pageLock, "MalformedXML", func(b *bench) string {
		_, err := b.c.PutObjectLockConfiguration(b.ctx, &s3.PutObjectLockConfigurationInput{
			Bucket: &b.locked, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Disabled"},
		})
		return code(err)
	}},
	{"deleting a bucket that keeps something", "DeleteBucket", "BucketNotEmpty", func(b *bench) string {
		b.kept(b.day())
		_, err := b.c.DeleteBucket(b.ctx, &s3.DeleteBucketInput{Bucket: &b.locked})
		return code(err)
	}},
	{"reading a version that there is not", pageErrors, "NoSuchVersion", func(b *bench) string {
		gone := b.kept(b.clock.Now().Add(time.Hour))
		if err := deletion(true)(b.ctx, b.c, b.version(gone)); err != nil {
			b.t.Fatal(err)
		}
		b.kept(b.day())
		_, err := b.c.GetObject(b.ctx, &s3.GetObjectInput{Bucket: &b.locked, Key: aws.String("k"), VersionId: gone})
		return code(err)
	}},
	{"reading what no version can be called", pageErrors, "InvalidArgument", func(b *bench) string {
		b.kept(b.day())
		_, err := b.c.GetObject(b.ctx, &s3.GetObjectInput{Bucket: &b.locked, Key: aws.String("k"), VersionId: aws.String("no-such-version")})
		return code(err)
	}},
	{"asking after what no version can be called", pageErrors, "BadRequest", func(b *bench) string {
		b.kept(b.day())
		_, err := b.c.HeadObject(b.ctx, &s3.HeadObjectInput{Bucket: &b.locked, Key: aws.String("k"), VersionId: aws.String("no-such-version")})
		return code(err)
	}},
	{"reading a delete marker", pageMarkers, "MethodNotAllowed", func(b *bench) string {
		b.kept(b.day())
		marker, err := b.c.DeleteObject(b.ctx, &s3.DeleteObjectInput{Bucket: &b.locked, Key: aws.String("k")})
		if err != nil {
			b.t.Fatal(err)
		}
		_, err = b.c.GetObject(b.ctx, &s3.GetObjectInput{Bucket: &b.locked, Key: aws.String("k"), VersionId: marker.VersionId})
		return code(err)
	}},
	{"encryption with a KMS key is answered", "PutObject", "aws:kms", func(b *bench) string {
		out, err := b.put(s3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAwsKms})
		if err != nil {
			return code(err)
		}
		return string(out.ServerSideEncryption)
	}},
	{"the bucket's encryption", "GetBucketEncryption", "", func(b *bench) string {
		_, err := b.c.GetBucketEncryption(b.ctx, &s3.GetBucketEncryptionInput{Bucket: &b.locked})
		return code(err)
	}},
	{"a new bucket's block of public access", "GetPublicAccessBlock", "", func(b *bench) string {
		_, err := b.c.GetPublicAccessBlock(b.ctx, &s3.GetPublicAccessBlockInput{Bucket: &b.locked})
		return code(err)
	}},
	{"the bucket's Region", "HeadBucket", region, func(b *bench) string {
		out, err := b.c.HeadBucket(b.ctx, &s3.HeadBucketInput{Bucket: &b.locked})
		return aws.ToString(out.BucketRegion) + code(err)
	}},
}

// mode that HeadObject shows.
func (b *bench) mode(version *string) string {
	out, err := b.c.HeadObject(b.ctx, &s3.HeadObjectInput{Bucket: &b.locked, Key: aws.String("k"), VersionId: version})
	if err != nil {
		return code(err)
	}
	return string(out.ObjectLockMode)
}

// version of the bench's one object.
func (b *bench) version(id *string) version { return version{b.locked, "k", *id} }
