package rehearsal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const evidenceBucket = "evidence-111122223333"

// lockedBucket is an account with a bucket that has Object Lock on; days of default
// retention in the mode, none without one.
func lockedBucket(t *testing.T, mode types.ObjectLockRetentionMode, days int32) (*Account, *s3.Client) {
	t.Helper()
	a := emptyAccount(t)
	client := s3.NewFromConfig(a.Config("eu-central-1"))
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String(evidenceBucket), ObjectLockEnabledForBucket: aws.Bool(true),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if mode != "" {
		_, err = client.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
			Bucket: aws.String(evidenceBucket),
			ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled,
				Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: mode, Days: aws.Int32(days)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return a, client
}

func sha256Base64(b []byte) *string {
	sum := sha256.Sum256(b)
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

func putText(t *testing.T, client *s3.Client, key, text string) *s3.PutObjectOutput {
	t.Helper()
	out, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(evidenceBucket), Key: aws.String(key), Body: strings.NewReader(text), ChecksumSHA256: sha256Base64([]byte(text)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantCode fails unless err carries AWS's error code; an empty code means no error.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	switch {
	case code == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case code != "" && (!errors.As(err, &api) || api.ErrorCode() != code):
		t.Fatalf("got %v, want %s", err, code)
	}
}

func TestAnObjectUnderRetentionNeedsAChecksum(t *testing.T) {
	_, client := lockedBucket(t, types.ObjectLockRetentionModeGovernance, 1)
	ctx := t.Context()
	put := func(change func(*s3.PutObjectInput)) error {
		in := &s3.PutObjectInput{Bucket: aws.String(evidenceBucket), Key: aws.String("k"), Body: strings.NewReader("text")}
		change(in)
		_, err := client.PutObject(ctx, in)
		return err
	}
	wantCode(t, put(func(*s3.PutObjectInput) {}), "InvalidRequest")
	wantCode(t, put(func(in *s3.PutObjectInput) { in.ChecksumSHA256 = sha256Base64([]byte("other")) }), "BadDigest")
	wantCode(t, put(func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") }), "BadDigest") // of nothing
	wantCode(t, put(func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 }), "")
	wantCode(t, put(func(in *s3.PutObjectInput) { in.ChecksumSHA256 = sha256Base64([]byte("text")) }), "")
	wantCode(t, put(func(in *s3.PutObjectInput) {
		in.ChecksumSHA256, in.IfNoneMatch = sha256Base64([]byte("text")), aws.String("*")
	}), "PreconditionFailed")
}

func TestRetentionCanOnlyGrow(t *testing.T) {
	for _, test := range []struct {
		name    string
		mode    types.ObjectLockRetentionMode
		want    *types.ObjectLockRetention
		bypass  bool
		refused bool // to the caller without s3:BypassGovernanceRetention too
		code    string
	}{
		{"longer", "COMPLIANCE", retain("COMPLIANCE", 20), false, false, ""},
		{"compliance, shorter", "COMPLIANCE", retain("COMPLIANCE", 5), true, false, "AccessDenied"},
		{"compliance, weaker", "COMPLIANCE", retain("GOVERNANCE", 20), true, false, "AccessDenied"},
		{"compliance, none", "COMPLIANCE", &types.ObjectLockRetention{}, true, false, "AccessDenied"},
		{"governance, stronger", "GOVERNANCE", retain("COMPLIANCE", 10), false, false, ""},
		{"governance, shorter", "GOVERNANCE", retain("GOVERNANCE", 5), false, false, "AccessDenied"},
		{"governance, shorter, bypass", "GOVERNANCE", retain("GOVERNANCE", 5), true, false, ""},
		{"governance, bypass not permitted", "GOVERNANCE", retain("GOVERNANCE", 5), true, true, "AccessDenied"},
		{"in the past", "GOVERNANCE", retain("GOVERNANCE", -1), true, false, "InvalidArgument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, client := lockedBucket(t, test.mode, 10)
			if test.refused {
				deny(t, a, "s3:BypassGovernanceRetention")
			}
			version := putText(t, client, "k", "text").VersionId
			if r := test.want.RetainUntilDate; r != nil {
				test.want.RetainUntilDate = aws.Time(a.Clock().Now().Add(r.Sub(time.Time{})))
			}
			_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
				Bucket: aws.String(evidenceBucket), Key: aws.String("k"), VersionId: version,
				Retention: test.want, BypassGovernanceRetention: &test.bypass, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
			})
			wantCode(t, err, test.code)
		})
	}
}

// retain is a retention for days from the moment at which the test sets it.
func retain(mode types.ObjectLockRetentionMode, days int) *types.ObjectLockRetention {
	d := time.Duration(days) * 24 * time.Hour
	return &types.ObjectLockRetention{Mode: mode, RetainUntilDate: aws.Time(time.Time{}.Add(d))}
}

func deny(t *testing.T, a *Account, action string) {
	t.Helper()
	if err := a.with(func(w *world) bool { w.Denied = append(w.Denied, action); return true }); err != nil {
		t.Fatal(err)
	}
}

func TestALockedVersionStaysUnderItsDeleteMarker(t *testing.T) {
	a, client := lockedBucket(t, types.ObjectLockRetentionModeCompliance, 10)
	ctx, bucket, key := t.Context(), aws.String(evidenceBucket), aws.String("k")
	version := putText(t, client, "k", "text").VersionId
	if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	var notFound *types.NotFound
	if _, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key}); !errors.As(err, &notFound) {
		t.Fatalf("got %v, want NotFound", err)
	}
	var noKey *types.NoSuchKey
	if _, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key}); !errors.As(err, &noKey) {
		t.Fatalf("got %v, want NoSuchKey", err)
	}
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key, VersionId: version, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	if *head.ChecksumSHA256 != *sha256Base64([]byte("text")) || head.ObjectLockMode != types.ObjectLockModeCompliance {
		t.Fatalf("got %+v", head)
	}
	remove := &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: version, BypassGovernanceRetention: aws.Bool(true)}
	_, err = client.DeleteObject(ctx, remove)
	wantCode(t, err, "AccessDenied")
	if err := a.Clock().Sleep(ctx, 11*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = client.DeleteObject(ctx, remove)
	wantCode(t, err, "")
	list, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Versions) != 0 || len(list.DeleteMarkers) != 1 || !*list.DeleteMarkers[0].IsLatest {
		t.Fatalf("got %d versions, %d markers", len(list.Versions), len(list.DeleteMarkers))
	}
}

func TestALegalHoldDoesNotNeedRetention(t *testing.T) {
	_, client := lockedBucket(t, "", 0)
	ctx, bucket, key := t.Context(), aws.String(evidenceBucket), aws.String("k")
	version := putText(t, client, "k", "text").VersionId
	_, err := client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: bucket, Key: key, VersionId: version})
	wantCode(t, err, "NoSuchObjectLockConfiguration")
	hold := func(status types.ObjectLockLegalHoldStatus) {
		t.Helper()
		_, err := client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
			Bucket: bucket, Key: key, VersionId: version, LegalHold: &types.ObjectLockLegalHold{Status: status}, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		wantCode(t, err, "")
	}
	remove := &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: version}
	hold(types.ObjectLockLegalHoldStatusOn)
	_, err = client.DeleteObject(ctx, remove)
	wantCode(t, err, "AccessDenied")
	hold(types.ObjectLockLegalHoldStatusOff)
	_, err = client.DeleteObject(ctx, remove)
	wantCode(t, err, "")
}

func TestAMultipartObjectTakesItsLockAndItsChecksumFromItsCreation(t *testing.T) {
	a, client := lockedBucket(t, types.ObjectLockRetentionModeGovernance, 1)
	ctx, bucket, key := t.Context(), aws.String(evidenceBucket), aws.String("image")
	until := a.Clock().Now().Add(30 * 24 * time.Hour)
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &until,
	})
	if err != nil {
		t.Fatal(err)
	}
	bodies := [][]byte{bytes.Repeat([]byte("a"), minPart), bytes.Repeat([]byte("b"), minPart), []byte("the end")}
	var parts []types.CompletedPart
	composite := sha256.New()
	for i, body := range bodies {
		part := &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(body)}
		_, err := client.UploadPart(ctx, part)
		wantCode(t, err, "InvalidRequest") // no checksum
		part.ChecksumSHA256, part.Body = sha256Base64(body), bytes.NewReader(body)
		out, err := client.UploadPart(ctx, part)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		composite.Write(sum[:])
		parts = append(parts, types.CompletedPart{PartNumber: part.PartNumber, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256})
	}
	done, err := client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: upload.UploadId, IfNoneMatch: aws.String("*"), MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := base64.StdEncoding.EncodeToString(composite.Sum(nil)) + "-3"; *done.ChecksumSHA256 != want || done.ChecksumType != types.ChecksumTypeComposite {
		t.Fatalf("got checksum %s, want %s", *done.ChecksumSHA256, want)
	}
	retention, err := client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: bucket, Key: key, VersionId: done.VersionId})
	if err != nil {
		t.Fatal(err)
	}
	if r := retention.Retention; r.Mode != types.ObjectLockRetentionModeCompliance || !r.RetainUntilDate.Equal(until.Truncate(time.Millisecond)) {
		t.Fatalf("got %s until %s", r.Mode, r.RetainUntilDate)
	}
	// A range over two parts' border.
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=10485758-10485762")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil || string(text) != "bbthe" || *got.ContentRange != "bytes 10485758-10485762/10485767" {
		t.Fatalf("got %q, %s, %v", text, *got.ContentRange, err)
	}
}

func TestACompletionIsRefusedWhereThePartsAreNotWhatItSays(t *testing.T) {
	_, client := lockedBucket(t, "", 0)
	ctx, bucket, key := t.Context(), aws.String(evidenceBucket), aws.String("k")
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	part := func(number int32, body string) types.CompletedPart {
		out, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: &number, Body: strings.NewReader(body), ChecksumSHA256: sha256Base64([]byte(body)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256}
	}
	first, second := part(1, "too small"), part(2, "last")
	other := second
	other.ETag = first.ETag
	bare := second
	bare.ChecksumSHA256 = nil
	for _, test := range []struct {
		code  string
		parts []types.CompletedPart
	}{
		{"EntityTooSmall", []types.CompletedPart{first, second}},
		{"InvalidPartOrder", []types.CompletedPart{second, first}},
		{"InvalidPart", []types.CompletedPart{other}},
		{"InvalidPart", []types.CompletedPart{{PartNumber: aws.Int32(3), ETag: first.ETag, ChecksumSHA256: first.ChecksumSHA256}}},
		{"InvalidRequest", []types.CompletedPart{bare}},
		{"", []types.CompletedPart{second}},
		{"NoSuchUpload", []types.CompletedPart{second}}, // done already
	} {
		_, err := client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: bucket, Key: key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: test.parts},
		})
		wantCode(t, err, test.code)
	}
}

func TestABucketBelongsToOneRegion(t *testing.T) {
	a, _ := lockedBucket(t, "", 0)
	elsewhere := s3.NewFromConfig(a.Config("us-east-1"))
	_, err := elsewhere.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(evidenceBucket), Key: aws.String("k")})
	wantCode(t, err, "PermanentRedirect")
	where, err := elsewhere.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: aws.String(evidenceBucket)})
	if err != nil || where.LocationConstraint != types.BucketLocationConstraintEuCentral1 {
		t.Fatalf("got %v, %v", where, err)
	}
	_, err = elsewhere.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("nobody-has-it")})
	wantCode(t, err, "NotFound")
}

func TestObjectLockKeepsVersioningOn(t *testing.T) {
	_, client := lockedBucket(t, "", 0)
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(evidenceBucket), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	wantCode(t, err, "InvalidBucketState")
}

func TestListingsComeInPages(t *testing.T) {
	_, client := lockedBucket(t, "", 0)
	ctx := context.WithoutCancel(t.Context())
	for _, key := range []string{"a/1", "a/2", "b", "c/1", "d"} {
		putText(t, client, key, key)
		putText(t, client, key, key+" again")
	}
	var seen []string
	objects := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String(evidenceBucket), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1)})
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			seen = append(seen, *o.Key)
		}
		for _, p := range page.CommonPrefixes {
			seen = append(seen, *p.Prefix)
		}
	}
	if got := strings.Join(seen, " "); got != "a/ b c/ d" {
		t.Fatalf("got %s", got)
	}
	count, latest := 0, 0
	versions := s3.NewListObjectVersionsPaginator(client, &s3.ListObjectVersionsInput{Bucket: aws.String(evidenceBucket), MaxKeys: aws.Int32(3)})
	for versions.HasMorePages() {
		page, err := versions.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions {
			count++
			if *v.IsLatest {
				latest++
			}
		}
	}
	if count != 10 || latest != 5 {
		t.Fatalf("got %d versions, %d of them the latest", count, latest)
	}
}

// A broken connection makes the SDK send the same request, and the same body, again.
func TestARetriedPutStoresTheWholeBody(t *testing.T) {
	a, client := lockedBucket(t, "", 0)
	err := a.with(func(w *world) bool {
		w.Faults = append(w.Faults, Fault{Operation: "s3:PutObject", Kind: "lost", Count: 1})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	putText(t, client, "k", "the whole body")
	got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(evidenceBucket), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil || string(text) != "the whole body" {
		t.Fatalf("got %q, %v", text, err)
	}
}

func TestByteRanges(t *testing.T) {
	for _, test := range []struct {
		header         string
		offset, length int64
		ok             bool
	}{
		{"bytes=0-0", 0, 1, true},
		{"bytes=4-", 4, 6, true},
		{"bytes=4-99", 4, 6, true},
		{"bytes=-3", 7, 3, true},
		{"bytes=-99", 0, 10, true},
		{"bytes=10-", 0, 0, false},
		{"bytes=5-4", 0, 0, false},
		{"bytes=-0", 0, 0, false},
		{"bytes=x-", 0, 0, false},
		{"rows", 0, 0, false},
	} {
		offset, length, err := byteRange(test.header, 10)
		if (err == nil) != test.ok || offset != test.offset || length != test.length {
			t.Errorf("%s: got %d, %d, %v", test.header, offset, length, err)
		}
	}
}
