package versitygw

import (
	"testing"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
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
