package vault_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/vault"
)

// The S3 API Reference asks for Content-MD5 or x-amz-sdk-checksum-algorithm in
// every request that uploads under a retention; moto refuses one without.
func TestEveryUploadNamesItsChecksumAlgorithm(t *testing.T) {
	a := account(t)
	bucket(t, a, "evidence", true)
	cfg := a.Config(region).Copy()
	named := map[string]*atomic.Int32{"PutObject": {}, "UploadPart": {}} // parts are sent side by side
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		operation := stack.ID()
		seen := named[operation]
		if seen == nil {
			return nil
		}
		return stack.Build.Add(middleware.BuildMiddlewareFunc("Headers",
			func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				header := in.Request.(*smithyhttp.Request).Header
				if got := header.Get("X-Amz-Sdk-Checksum-Algorithm"); got != "SHA256" {
					t.Errorf("%s: x-amz-sdk-checksum-algorithm is %q", operation, got)
				}
				if header.Get("X-Amz-Checksum-Sha256") == "" {
					t.Errorf("%s: there is no x-amz-checksum-sha256", operation)
				}
				seen.Add(1)
				return next.HandleBuild(ctx, in)
			}), middleware.Before)
	})
	s := vault.NewS3(cfg, locked("evidence"), a.Clock())
	for key, size := range map[string]int{"whole": 10, "parts": 9 << 20} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), evidence.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for operation, seen := range named {
		if seen.Load() == 0 {
			t.Errorf("no %s was seen", operation)
		}
	}
}
