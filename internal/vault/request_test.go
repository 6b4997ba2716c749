package vault_test

import (
	"bytes"
	"context"
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
	cfg, named := a.Config(region).Copy(), map[string]int{}
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		operation := stack.ID()
		if operation != "PutObject" && operation != "UploadPart" {
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
				named[operation]++
				return next.HandleBuild(ctx, in)
			}), middleware.Before)
	})
	s := vault.NewS3(cfg, locked("evidence"), a.Clock())
	for key, size := range map[string]int{"whole": 10, "parts": 9 << 20} {
		if _, err := s.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), evidence.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if named["PutObject"] == 0 || named["UploadPart"] == 0 {
		t.Errorf("the uploads seen: %v", named)
	}
}
