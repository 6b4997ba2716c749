package vault_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/vault"
)

func TestDirectoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) evidence.Store { return vault.NewDirectory(t.TempDir()) })
}

func TestAKeyCannotLeaveTheDirectory(t *testing.T) {
	root := t.TempDir()
	d := vault.NewDirectory(filepath.Join(root, "evidence"))
	for _, key := range []string{"", ".", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/", ".partial/x"} {
		if _, err := d.Put(t.Context(), key, strings.NewReader("x"), evidence.PutOptions{AllowUnlocked: true}); err == nil {
			t.Errorf("%q was taken as a key", key)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, error %v", entries, err)
	}
}
