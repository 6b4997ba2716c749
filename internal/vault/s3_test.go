package vault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
)

const region = "eu-central-1"

func account(t *testing.T) *rehearsal.Account {
	t.Helper()
	a, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func bucket(t *testing.T, a *rehearsal.Account, name string, lock bool) {
	t.Helper()
	_, err := s3.NewFromConfig(a.Config(region)).CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, ObjectLockEnabledForBucket: &lock,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func locked(name string) vault.S3Options {
	return vault.S3Options{Bucket: name, Prefix: "team/", Region: region, Mode: "GOVERNANCE", Days: 30}
}

func TestALockedBucketKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) evidence.Store {
		a := account(t)
		bucket(t, a, "evidence", true)
		return vault.NewS3(a.Config(region), locked("evidence"), a.Clock())
	})
}

func TestAnUnlockedBucketKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) evidence.Store {
		a := account(t)
		bucket(t, a, "plain", false)
		return vault.NewS3(a.Config(region), locked("plain"), a.Clock())
	})
}

func TestCheckSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	a := account(t)
	bucket(t, a, "plain", false)
	bucket(t, a, "evidence", true)
	for name, c := range map[string]struct {
		cfg    aws.Config
		o      vault.S3Options
		is     error
		says   string
		unhint bool
	}{
		"locked":         {cfg: a.Config(region), o: locked("evidence"), unhint: true},
		"not locked":     {cfg: a.Config(region), o: locked("plain"), is: evidence.ErrNotLocked, says: "no Object Lock"},
		"no such bucket": {cfg: a.Config(region), o: locked("nowhere"), says: "does not exist"},
		"not permitted":  {cfg: failing(a.Config(region), "HeadBucket", "Forbidden", 1), o: locked("evidence"), says: "no permission on bucket evidence"},
		"other Region":   {cfg: failing(a.Config(region), "HeadBucket", "MovedPermanently", 1), o: locked("evidence"), says: "another Region"},
	} {
		err := vault.NewS3(c.cfg, c.o, a.Clock()).Check(t.Context())
		if c.is != nil && !errors.Is(err, c.is) || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", name, err)
		}
		var hint *incident.HintError
		if errors.As(err, &hint) == c.unhint {
			t.Errorf("%s: hint %v", name, hint)
		}
	}
}

// What no version can be called is refused with 400, where one that is not there
// is 404; so is an expired session, which must not pass as "no such evidence".
func TestAnImpossibleVersionIsNotFoundAndAnExpiredSessionIsNot(t *testing.T) {
	for code, notFound := range map[string]bool{"InvalidArgument": true, "ExpiredToken": false} {
		a := account(t)
		bucket(t, a, "evidence", true)
		cfg := failing(failing(a.Config(region), "HeadObject", "BadRequest", 1), "GetObject", code, 2)
		s := vault.NewS3(cfg, locked("evidence"), a.Clock())
		if _, err := s.Stat(t.Context(), "k", "impossible"); errors.Is(err, evidence.ErrNotFound) != notFound || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: Stat: %v", code, err)
		}
		if _, err := s.Get(t.Context(), "k", "impossible"); errors.Is(err, evidence.ErrNotFound) != notFound {
			t.Errorf("%s: Get: %v", code, err)
		}
	}
}

// failing makes the operation fail before it is sent, n times.
func failing(cfg aws.Config, operation, code string, n int32) aws.Config {
	cfg = cfg.Copy()
	var calls atomic.Int32 // parts are sent side by side
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		if stack.ID() != operation {
			return nil
		}
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Fails",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if calls.Add(1) <= n {
					return middleware.InitializeOutput{}, middleware.Metadata{}, &smithy.GenericAPIError{Code: code, Message: "made to fail"}
				}
				return next.HandleInitialize(ctx, in)
			}), middleware.Before)
	})
	return cfg
}

func TestWhatIsStoredCannotBeDeletedAndCarriesItsRetention(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	o := locked("evidence")
	o.Mode, o.LegalHold = "COMPLIANCE", true
	s := vault.NewS3(a.Config(region), o, a.Clock())
	client := s3.NewFromConfig(a.Config(region))
	for _, n := range []int{10, 9 << 20} {
		key := "k" + strings.Repeat("x", n%7)
		obj, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, n)), evidence.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if obj.Mode != "COMPLIANCE" || !obj.LegalHold || obj.RetainUntil.Sub(a.Clock().Now()) < 29*24*time.Hour {
			t.Errorf("%d bytes: %+v", n, obj)
		}
		for _, k := range []string{"team/" + key, "team/" + key + ".sha256"} {
			head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("evidence"), Key: &k})
			if err != nil {
				if n == 10 && strings.HasSuffix(k, ".sha256") {
					continue // an object in one piece has S3's own digest
				}
				t.Fatalf("%s: %v", k, err)
			}
			_, err = client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("evidence"), Key: &k, VersionId: head.VersionId, BypassGovernanceRetention: aws.Bool(true)})
			if err == nil {
				t.Errorf("%s was deleted", k)
			}
		}
	}
}

// Put has a condition, but whoever may put objects can do without it. What was
// stored first is locked, and is what counts: a checkpoint forged on top would hide it otherwise.
func TestWhatWasPutOnTopHidesNoCheckpoint(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	s := vault.NewS3(a.Config(region), locked("evidence"), a.Clock())
	c := incident.Case{ID: "INC-1"}
	for _, size := range []uint64{5, 9} {
		if _, err := evidence.PutCheckpoint(t.Context(), s, c, incident.Checkpoint{Size: size, Note: "signed"}, a.Clock().Now()); err != nil {
			t.Fatal(err)
		}
	}
	client := s3.NewFromConfig(a.Config(region))
	key := "team/" + evidence.Key(c, "checkpoints", "000000000009.note")
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("evidence"), Key: &key, Body: strings.NewReader("forged")}); err != nil {
		t.Fatal(err)
	}
	for _, marker := range []bool{false, true} {
		all, err := evidence.Checkpoints(t.Context(), s, c)
		if err != nil || len(all) != 2 || all[1].Size != 9 || all[1].Note != "signed" {
			t.Errorf("under a delete marker: %t: got %+v, error %v", marker, all, err)
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("evidence"), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSameBytesWithoutARetentionAreNotEvidence(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	_, err := s3.NewFromConfig(a.Config(region)).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("evidence"), Key: aws.String("team/k"), Body: strings.NewReader("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := vault.NewS3(a.Config(region), locked("evidence"), a.Clock())
	if obj, err := s.Put(t.Context(), "k", strings.NewReader("x"), evidence.PutOptions{}); !errors.Is(err, evidence.ErrNotLocked) {
		t.Errorf("got %+v, error %v", obj, err)
	}
}

func TestAPutCutShortAnywhereIsMadeGoodByTheNext(t *testing.T) {
	b := make([]byte, 20<<20)
	for i := range b {
		b[i] = byte(i >> 12)
	}
	sum := sha256.Sum256(b)
	for _, operation := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "HeadObject"} {
		t.Run(operation, func(t *testing.T) {
			a := account(t)
			bucket(t, a, "evidence", true)
			cut := vault.NewS3(failing(a.Config(region), operation, "InternalError", 1), locked("evidence"), a.Clock())
			if _, err := cut.Put(t.Context(), "disk", bytes.NewReader(b), evidence.PutOptions{}); err == nil {
				t.Fatal("the cut was not met")
			}
			s := vault.NewS3(a.Config(region), locked("evidence"), a.Clock())
			obj, err := s.Put(t.Context(), "disk", io.MultiReader(bytes.NewReader(b)), evidence.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if obj.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("got %+v", obj)
			}
			client := s3.NewFromConfig(a.Config(region))
			versions, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("evidence")})
			if err != nil || len(versions.Versions) != 2 { // the object and its digest
				t.Errorf("%d versions, %v", len(versions.Versions), err)
			}
			uploads, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("evidence")})
			if err != nil || len(uploads.Uploads) != 0 {
				t.Errorf("%d unfinished uploads, %v", len(uploads.Uploads), err)
			}
		})
	}
}

func TestLostAnswersStoreOneObject(t *testing.T) {
	for _, operation := range []string{"PutObject", "CompleteMultipartUpload", "UploadPart", "CreateMultipartUpload"} {
		for _, n := range []int{10, 9 << 20} {
			a := account(t)
			bucket(t, a, "evidence", true)
			s := vault.NewS3(losing(a.Config(region), operation), locked("evidence"), a.Clock())
			if _, err := s.Put(t.Context(), "k", bytes.NewReader(make([]byte, n)), evidence.PutOptions{}); err != nil {
				t.Errorf("%s, %d bytes: %v", operation, n, err)
			}
			versions, err := s3.NewFromConfig(a.Config(region)).ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("evidence"), Prefix: aws.String("team/k")})
			want := 1
			if n > 10 {
				want = 2
			}
			if err != nil || len(versions.Versions) != want {
				t.Errorf("%s, %d bytes: %d versions, %v", operation, n, len(versions.Versions), err)
			}
		}
	}
}

type lost struct{}

func (lost) Error() string         { return "the answer is lost" }
func (lost) ConnectionError() bool { return true }

// losing loses the operation's first answer: the SDK sends it again.
func losing(cfg aws.Config, operation string) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	var seen atomic.Bool
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		if stack.ID() != operation {
			return nil
		}
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Loses",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleFinalize(ctx, in)
				if err == nil && !seen.Swap(true) {
					return middleware.FinalizeOutput{}, meta, lost{}
				}
				return out, meta, err
			}), "RehearsalAnswer", middleware.Before)
	})
	return cfg
}
