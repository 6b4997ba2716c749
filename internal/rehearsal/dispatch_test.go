package rehearsal

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func TestAnOperationNobodyWroteFailsLoudly(t *testing.T) {
	a, err := newAccount("", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 1, func(*world) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = kms.NewFromConfig(a.Config("eu-central-1")).ListKeys(context.Background(), &kms.ListKeysInput{})
	if err == nil || !strings.Contains(err.Error(), "kms:ListKeys") {
		t.Fatalf("got %v", err)
	}
}
