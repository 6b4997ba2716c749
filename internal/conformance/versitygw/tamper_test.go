package versitygw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/vault"
)

const mib = 1 << 20

// version of an object, as the API names it.
type version struct{ bucket, key, id string }

// attempt to delete a version or to weaken what keeps it.
type attempt struct {
	name string
	try  func(context.Context, *s3.Client, version) error
}

func deletion(bypass bool) func(context.Context, *s3.Client, version) error {
	return func(ctx context.Context, c *s3.Client, v version) error {
		_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: &v.bucket, Key: &v.key, VersionId: &v.id, BypassGovernanceRetention: &bypass,
		})
		return err
	}
}

// deletions is the batch form: S3 answers 200 and reports each key.
func deletions(ctx context.Context, c *s3.Client, v version) error {
	out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &v.bucket, BypassGovernanceRetention: aws.Bool(true),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &v.key, VersionId: &v.id}}},
	})
	if err != nil || len(out.Errors) == 0 {
		return err
	}
	return &smithy.GenericAPIError{Code: aws.ToString(out.Errors[0].Code), Message: aws.ToString(out.Errors[0].Message)}
}

func retention(mode types.ObjectLockRetentionMode, days int, bypass bool) func(context.Context, *s3.Client, version) error {
	return func(ctx context.Context, c *s3.Client, v version) error {
		until := clock.Wall{}.Now().AddDate(0, 0, days).Truncate(time.Second)
		_, err := c.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: &v.bucket, Key: &v.key, VersionId: &v.id, BypassGovernanceRetention: &bypass,
			Retention: &types.ObjectLockRetention{Mode: mode, RetainUntilDate: &until},
		})
		return err
	}
}

// removal takes the retention away. versitygw refuses it to everyone, for its form
// (deviations); to whoever may not bypass governance S3 refuses it for the lock.
func removal(ctx context.Context, c *s3.Client, v version) error {
	_, err := c.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &v.bucket, Key: &v.key, VersionId: &v.id, BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{},
	})
	return err
}

// attempts against an object kept for 30 days in the mode.
func attempts(mode types.ObjectLockRetentionMode) []attempt {
	other := types.ObjectLockRetentionModeCompliance
	if mode == other {
		other = types.ObjectLockRetentionModeGovernance
	}
	return []attempt{
		{"a shorter retention", retention(mode, 1, false)},
		{"a shorter retention, bypassing", retention(mode, 1, true)},
		{"the other mode, shorter", retention(other, 1, false)},
		{"the other mode, shorter, bypassing", retention(other, 1, true)},
		{"the other mode, as long, bypassing", retention(other, 30, true)},
		{"deleting the version", deletion(false)},
		{"deleting the version, bypassing", deletion(true)},
		{"deleting the version in a batch, bypassing", deletions},
	}
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// content of n bytes, no two pages alike.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>12 ^ i)
	}
	return b
}

// kept is what the store holds and must still hold after every attempt.
type kept struct {
	store *vault.S3
	obj   evidence.Object
	bytes []byte
}

func keep(t *testing.T, s *vault.S3, n int) kept {
	t.Helper()
	b := content(n)
	obj, err := s.Put(t.Context(), fmt.Sprintf("cases/INC-1/run/%d.bin", n), io.MultiReader(bytes.NewReader(b)), evidence.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return kept{s, obj, b}
}

// unharmed checks that the version is there with its bytes, as it was kept.
func (k kept) unharmed(t *testing.T, after string) {
	t.Helper()
	if now, err := k.store.Stat(t.Context(), k.obj.Key, k.obj.Version); err != nil || now != k.obj {
		t.Errorf("after %s: %+v became %+v, error %v", after, k.obj, now, err)
	}
	body, err := k.store.Get(t.Context(), k.obj.Key, k.obj.Version)
	if err != nil {
		t.Errorf("after %s: %v", after, err)
		return
	}
	defer body.Close()
	if b, err := io.ReadAll(body); err != nil || !bytes.Equal(b, k.bytes) {
		t.Errorf("after %s: %d bytes came back, %d were stored, error %v", after, len(b), len(k.bytes), err)
	}
	all, err := k.store.List(t.Context(), k.obj.Key)
	if err != nil || len(all) == 0 || all[0].Version != k.obj.Version {
		t.Errorf("after %s: listed as %+v, error %v", after, all, err)
	}
}

// versions that keep the object: itself, and the digest beside one stored in parts.
func (k kept) versions(t *testing.T, bucket string) []version {
	t.Helper()
	all := []version{{bucket, "team/" + k.obj.Key, k.obj.Version}}
	if len(k.bytes) >= 8*mib {
		beside, err := k.store.Stat(t.Context(), k.obj.Key+".sha256", "")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, version{bucket, all[0].key + ".sha256", beside.Version})
	}
	return all
}

func TestNobodyDeletesOrShortensWhatTheModeProtects(t *testing.T) {
	for mode, callers := range map[types.ObjectLockRetentionMode][]string{
		types.ObjectLockRetentionModeGovernance: {responder},
		types.ObjectLockRetentionModeCompliance: {responder, root},
	} {
		name := bucket(t, true)
		s := vault.NewS3(product(t), options(name, string(mode)), clock.Wall{})
		for _, n := range []int{100, 17 * mib} {
			k := keep(t, s, n)
			for _, v := range k.versions(t, name) {
				for _, who := range callers {
					if removal(t.Context(), client(t, who), v) == nil {
						t.Errorf("%s, %s: the retention was taken away by %s", mode, v.key, who)
					}
					for _, a := range attempts(mode) {
						if got := code(a.try(t.Context(), client(t, who), v)); got != "AccessDenied" {
							t.Errorf("%s, %s: %s by %s: got %q", mode, v.key, a.name, who, got)
						}
					}
				}
			}
			k.unharmed(t, fmt.Sprintf("every attempt in mode %s", mode))
		}
	}
}

// The same attempts reach their end where AWS lets them: by the account's root
// user, bypassing governance. So it is the lock that refuses them elsewhere, not their form.
func TestTheAttemptsSucceedForWhoMayBypassGovernance(t *testing.T) {
	name := bucket(t, true)
	s := vault.NewS3(product(t), options(name, "GOVERNANCE"), clock.Wall{})
	for i, a := range attempts(types.ObjectLockRetentionModeGovernance) {
		bypasses := strings.Contains(a.name, "bypassing")
		k := keep(t, s, 100+i)
		got := code(a.try(t.Context(), client(t, root), k.versions(t, name)[0]))
		if bypasses && got != "" || !bypasses && got != "AccessDenied" {
			t.Errorf("%s: got %q", a.name, got)
		}
		now, err := s.Stat(t.Context(), k.obj.Key, k.obj.Version)
		if changed := err != nil || now != k.obj; changed != bypasses {
			t.Errorf("%s: %+v became %+v, error %v", a.name, k.obj, now, err)
		}
	}
}

func TestARetentionCanBeMadeLonger(t *testing.T) {
	for _, mode := range []types.ObjectLockRetentionMode{types.ObjectLockRetentionModeGovernance, types.ObjectLockRetentionModeCompliance} {
		name := bucket(t, true)
		s := vault.NewS3(product(t), options(name, string(mode)), clock.Wall{})
		k := keep(t, s, 100)
		if err := retention(mode, 60, false)(t.Context(), client(t, responder), k.versions(t, name)[0]); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		now, err := s.Stat(t.Context(), k.obj.Key, k.obj.Version)
		if err != nil || !now.RetainUntil.After(k.obj.RetainUntil) {
			t.Errorf("%s: %+v became %+v, error %v", mode, k.obj, now, err)
		}
	}
}

// A legal hold protects from those too who may bypass governance; lifting it
// lifts no retention.
func TestALegalHoldIsIndependentOfTheRetention(t *testing.T) {
	name := bucket(t, true)
	o := options(name, "GOVERNANCE")
	o.LegalHold = true
	s := vault.NewS3(product(t), o, clock.Wall{})
	for _, n := range []int{100, 17 * mib} {
		k := keep(t, s, n)
		if !k.obj.LegalHold {
			t.Fatalf("%d bytes: stored without the hold: %+v", n, k.obj)
		}
		for _, v := range k.versions(t, name) {
			for _, try := range []func(context.Context, *s3.Client, version) error{deletion(true), deletions} {
				if got := code(try(t.Context(), client(t, root), v)); got != "AccessDenied" {
					t.Errorf("%s: deleting under a hold: got %q", v.key, got)
				}
			}
		}
		k.unharmed(t, "deleting under a hold")
		v := k.versions(t, name)[0]
		_, err := client(t, responder).PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
			Bucket: &v.bucket, Key: &v.key, VersionId: &v.id,
			LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attempts(types.ObjectLockRetentionModeGovernance) {
			if got := code(a.try(t.Context(), client(t, responder), v)); got != "AccessDenied" {
				t.Errorf("%s once the hold is lifted: got %q", a.name, got)
			}
		}
		k.obj.LegalHold = false
		k.unharmed(t, "lifting the hold")
	}
}

func TestWhatIsPutOnTopHarmsNothing(t *testing.T) {
	for _, n := range []int{100, 17 * mib} {
		name := bucket(t, true)
		s := vault.NewS3(product(t), options(name, "GOVERNANCE"), clock.Wall{})
		k, c := keep(t, s, n), client(t, responder)
		all := k.versions(t, name)
		other := &s3.PutObjectInput{Bucket: &name, Key: &all[0].key, Body: strings.NewReader("other"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
		other.IfNoneMatch = aws.String("*")
		if _, err := c.PutObject(t.Context(), other); code(err) != "PreconditionFailed" {
			t.Errorf("%d bytes: putting other bytes on condition that there are none: %v", n, err)
		}
		k.unharmed(t, "a refused overwrite")
		other.IfNoneMatch = nil
		if _, err := c.PutObject(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		k.covered(t, "another version on top", all)
		for _, v := range all {
			if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &v.key}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Stat(t.Context(), k.obj.Key, ""); !errors.Is(err, evidence.ErrNotFound) {
			t.Errorf("%d bytes: under a delete marker the newest is %v", n, err)
		}
		k.covered(t, "a delete marker on top", all)
	}
}

// covered is unharmed for a version with another on top, which versitygw's HeadObject shows
// without its lock (deviations): the store asks for the lock by name. Here it is also tried.
func (k kept) covered(t *testing.T, under string, versions []version) {
	t.Helper()
	for _, v := range versions {
		c := client(t, responder)
		got, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &v.bucket, Key: &v.key, VersionId: &v.id})
		if err != nil || string(got.Retention.Mode) != k.obj.Mode || got.Retention.RetainUntilDate.Before(k.obj.RetainUntil) {
			t.Errorf("under %s: %s is kept %+v, error %v", under, v.key, got, err)
		}
		for _, a := range attempts(types.ObjectLockRetentionMode(k.obj.Mode)) {
			if got := code(a.try(t.Context(), c, v)); got != "AccessDenied" {
				t.Errorf("under %s: %s of %s: got %q", under, a.name, v.key, got)
			}
		}
	}
	k.unharmed(t, under)
}
