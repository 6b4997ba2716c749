package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/vault"
)

// watching shows each input on its way, and lets each output be changed. Parts
// are sent side by side, and so both are called.
func watching(cfg aws.Config, operation string, sees func(in any), changes func(out any)) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Watches",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if sees != nil {
					sees(in.Parameters)
				}
				out, meta, err := next.HandleInitialize(ctx, in)
				if err == nil && changes != nil && awsmiddleware.GetOperationName(ctx) == operation {
					changes(out.Result)
				}
				return out, meta, err
			}), middleware.After)
	})
	return cfg
}

func TestEveryRequestNamesTheBucketsOwner(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	o := locked("evidence")
	o.Account = "111122223333"
	var seen atomic.Int32
	cfg := watching(a.Config(region), "", func(in any) {
		owner, _ := reflect.Indirect(reflect.ValueOf(in)).FieldByName("ExpectedBucketOwner").Interface().(*string)
		if aws.ToString(owner) != o.Account {
			t.Errorf("%T names the owner %q", in, aws.ToString(owner))
		}
		seen.Add(1)
	}, nil)
	s := vault.NewS3(cfg, o, a.Clock())
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100, 9 << 20} {
		if _, err := s.Put(t.Context(), "key-"+strings.Repeat("x", n%7), bytes.NewReader(make([]byte, n)), evidence.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := seen.Load(); n < 10 {
		t.Errorf("%d requests were seen", n)
	}
	o.Account = "999988887777"
	var hint *incident.HintError
	if err := vault.NewS3(a.Config(region), o, a.Clock()).Check(t.Context()); !errors.As(err, &hint) || !strings.Contains(hint.Hint, "evidence.account") {
		t.Errorf("somebody else's bucket: %v", err)
	}
}

func TestABucketThatIsPublicIsRefusedUnlessThatIsBlocked(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	s, client, name := vault.NewS3(a.Config(region), locked("evidence"), a.Clock()), s3.NewFromConfig(a.Config(region)), aws.String("evidence")
	policy := func(statement string) {
		t.Helper()
		if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: name, Policy: aws.String(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)}); err != nil {
			t.Fatal(err)
		}
	}
	block := func(on bool) {
		t.Helper()
		if _, err := client.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: &on, BlockPublicPolicy: &on, IgnorePublicAcls: &on, RestrictPublicBuckets: &on,
		}}); err != nil {
			t.Fatal(err)
		}
	}
	const everyone = `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::evidence/*"}`
	for _, c := range []struct {
		statement        string
		blocked, refused bool
	}{
		{strings.Replace(everyone, "Allow", "Deny", 1), false, false},
		{everyone, true, false},
		{everyone, false, true},
		{strings.Replace(everyone, `"*"`, `{"AWS":"*"}`, 1), false, true},
		{strings.Replace(everyone, `"*"`, `{"AWS":"arn:aws:iam::111122223333:root"}`, 1), false, false},
	} {
		policy(c.statement)
		block(c.blocked)
		var refused *incident.RefusedError
		if err := s.Check(t.Context()); errors.As(err, &refused) != c.refused || !c.refused && err != nil {
			t.Errorf("%s, blocked %v: %v", c.statement, c.blocked, err)
		}
	}
}

func TestAnObjectUnderAnotherKeyIsNotEvidence(t *testing.T) {
	const asked = "arn:aws:kms:eu-central-1:111122223333:key/1"
	for shown, fits := range map[[2]string]bool{
		{"aws:kms", asked}: true, {"aws:kms", asked + "2"}: false, {"AES256", ""}: false,
	} {
		a := account(t)
		bucket(t, a, "evidence", true)
		cfg := watching(a.Config(region), "HeadObject", func(in any) {
			if p, ok := in.(*s3.PutObjectInput); ok { // the simulated account has no such key
				if aws.ToString(p.SSEKMSKeyId) != asked || p.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
					t.Errorf("asked for %q, %q", p.ServerSideEncryption, aws.ToString(p.SSEKMSKeyId))
				}
				p.SSEKMSKeyId, p.ServerSideEncryption = nil, ""
			}
		}, func(out any) {
			h := out.(*s3.HeadObjectOutput)
			h.ServerSideEncryption, h.SSEKMSKeyId = types.ServerSideEncryption(shown[0]), aws.String(shown[1])
		})
		o := locked("evidence")
		o.KMSKey = asked
		_, err := vault.NewS3(cfg, o, a.Clock()).Put(t.Context(), "x", strings.NewReader("x"), evidence.PutOptions{})
		if (err == nil) != fits {
			t.Errorf("%v: %v", shown, err)
		}
	}
}

// breaking is a body that breaks off after n bytes.
type breaking struct {
	io.ReadCloser
	n int
}

var errBroke = errors.New("the connection broke")

func (b *breaking) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, errBroke
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.n)])
	b.n -= n
	return n, err
}

func TestAReadThatBreaksOffGoesOn(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	want := bytes.Repeat([]byte("0123456789"), 1000)
	opened, each := 0, 1500
	cfg := watching(a.Config(region), "GetObject", nil, func(out any) {
		opened++
		g := out.(*s3.GetObjectOutput)
		g.Body = &breaking{g.Body, each}
	})
	s := vault.NewS3(cfg, locked("evidence"), a.Clock())
	obj, err := s.Put(t.Context(), "x", bytes.NewReader(want), evidence.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	read := func() ([]byte, error) {
		r, err := s.Get(t.Context(), "x", obj.Version)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		return b, errors.Join(err, r.Close())
	}
	if b, err := read(); err != nil || !bytes.Equal(b, want) || opened != 7 {
		t.Errorf("%d bytes in %d pieces, error %v", len(b), opened, err)
	}
	// Nothing comes any more: it ends, and says where.
	each = 0
	if _, err := read(); !errors.Is(err, errBroke) || !strings.Contains(err.Error(), "at byte 0 of 10000") {
		t.Errorf("got %v", err)
	}
}
