package versitygw

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

func TestALockedBucketKeepsTheContract(t *testing.T) {
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		t.Run(mode, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) evidence.Store {
				return vault.NewS3(product(t), options(bucket(t, true), mode), clock.Wall{})
			})
		})
	}
}

func TestAnUnlockedBucketKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) evidence.Store {
		return vault.NewS3(product(t), options(bucket(t, false), "GOVERNANCE"), clock.Wall{})
	})
}

func TestCheckKnowsWhichBucketsLock(t *testing.T) {
	versioned := bucket(t, false)
	_, err := client(t, root).PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &versioned, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bucket    string
		notLocked bool
		says      string
	}{
		"locked":               {bucket: bucket(t, true)},
		"neither":              {bucket: bucket(t, false), notLocked: true, says: "no Object Lock"},
		"versions but no lock": {bucket: versioned, notLocked: true, says: "no Object Lock"},
		"no such bucket":       {bucket: "no-such-bucket", says: "does not exist"},
	} {
		s := vault.NewS3(product(t), options(c.bucket, "GOVERNANCE"), clock.Wall{})
		err := s.Check(t.Context())
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || errors.Is(err, evidence.ErrNotLocked) != c.notLocked {
			t.Errorf("%s: got %v", name, err)
		}
		var hint *incident.HintError
		if err != nil && !errors.As(err, &hint) {
			t.Errorf("%s: no hint: %v", name, err)
		}
		if _, perr := s.Put(t.Context(), "k", strings.NewReader("x"), evidence.PutOptions{}); (perr == nil) != (err == nil) {
			t.Errorf("%s: Check: %v, Put: %v", name, err, perr)
		}
	}
}

// The store asks with HeadObject; the retention and the hold have calls of their own.
func TestTheRetentionAskedForIsTheOneThatS3Keeps(t *testing.T) {
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		name := bucket(t, true)
		o := options(name, mode)
		o.LegalHold = true
		s := vault.NewS3(product(t), o, clock.Wall{})
		for _, n := range []int{0, 100, 8*mib - 1, 8 * mib, 29*mib + 1} {
			before := clock.Wall{}.Now().AddDate(0, 0, o.Days).Truncate(time.Second)
			k := keep(t, s, n)
			for _, v := range k.versions(t, name) {
				c := client(t, root)
				got, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &v.bucket, Key: &v.key, VersionId: &v.id})
				if err != nil || string(got.Retention.Mode) != mode || got.Retention.RetainUntilDate.Before(before) ||
					got.Retention.RetainUntilDate.After(clock.Wall{}.Now().AddDate(0, 0, o.Days)) {
					t.Errorf("%s: kept %+v, error %v", v.key, got, err)
				}
				hold, err := c.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: &v.bucket, Key: &v.key, VersionId: &v.id})
				if err != nil || hold.LegalHold.Status != types.ObjectLockLegalHoldStatusOn {
					t.Errorf("%s: hold %+v, error %v", v.key, hold, err)
				}
			}
		}
	}
}

func TestAnUnfinishedUploadOfAKilledTryIsFreed(t *testing.T) {
	name := bucket(t, true)
	c := client(t, responder)
	neighbour := "team/cases/INC-1/run/disk.raw.zst"
	for _, key := range []string{"team/cases/INC-1/run/disk", neighbour} {
		up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &name, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(1),
			Body: bytes.NewReader(content(8 * mib)), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := vault.NewS3(product(t), options(name, "GOVERNANCE"), clock.Wall{})
	if _, err := s.Put(t.Context(), "cases/INC-1/run/disk", bytes.NewReader(content(9*mib)), evidence.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	left, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
	if err != nil || len(left.Uploads) != 1 || aws.ToString(left.Uploads[0].Key) != neighbour {
		t.Errorf("left: %+v, error %v", left, err)
	}
}

var errKilled = errors.New("the process was killed")

// killer ends the process at request n: before it is sent, or, where late,
// once S3 has done it. Nothing comes after.
type killer struct {
	at, seen atomic.Int64
	late     bool
	kill     context.CancelFunc
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	n := k.seen.Add(1)
	if at := k.at.Load(); n < at || n == at && k.late {
		res, err := http.DefaultTransport.RoundTrip(r)
		if n < at || err != nil {
			return res, err
		}
		res.Body.Close()
	}
	if r.Body != nil {
		r.Body.Close()
	}
	k.kill()
	return nil, errKilled
}

func TestAPutKilledAtAnyRequestIsMadeGoodByTheNext(t *testing.T) {
	b := content(9 * mib)
	sum := sha256.Sum256(b)
	for _, late := range []bool{false, true} {
		killed := true
		for n := int64(1); killed; n++ {
			name := bucket(t, true)
			killed = putKilledAt(t, name, b, n, late)
			s := vault.NewS3(product(t), options(name, "COMPLIANCE"), clock.Wall{})
			obj, err := s.Put(t.Context(), "disk", io.MultiReader(bytes.NewReader(b)), evidence.PutOptions{})
			if err != nil || obj.SHA256 != hex.EncodeToString(sum[:]) || obj.Mode != "COMPLIANCE" {
				t.Errorf("killed at request %d, late %t: then %+v, error %v", n, late, obj, err)
			}
			c := client(t, root)
			versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &name})
			if err != nil || len(versions.Versions) != 2 { // the object and its digest
				t.Errorf("killed at request %d, late %t: %d versions, error %v", n, late, len(versions.Versions), err)
			}
			uploads, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
			if err != nil || len(uploads.Uploads) != 0 {
				t.Errorf("killed at request %d, late %t: %d unfinished uploads, error %v", n, late, len(uploads.Uploads), err)
			}
			if !killed && n < 10 {
				t.Errorf("late %t: a Put in parts made %d requests only: it was not killed at each", late, n-1)
			}
		}
	}
}

// putKilledAt reports whether the request was met: past the last one the Put succeeds.
func putKilledAt(t *testing.T, name string, b []byte, n int64, late bool) bool {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	k := &killer{late: late, kill: kill}
	k.at.Store(n)
	cfg := product(t)
	cfg.HTTPClient = &http.Client{Transport: k}
	_, err := vault.NewS3(cfg, options(name, "COMPLIANCE"), clock.Wall{}).Put(ctx, "disk", bytes.NewReader(b), evidence.PutOptions{})
	met := k.seen.Load() >= n
	if met != (err != nil) {
		t.Errorf("killed at request %d, late %t: met %t, error %v", n, late, met, err)
	}
	return met
}
