package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestAFileThatDoesNotFitIsNotBegun(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "disk")
	_, err := newFile(out, 1<<62, func(*os.File) (string, error) {
		t.Error("it was begun")
		return "", nil
	})
	var usage *usageError
	var hint *incident.HintError
	if !errors.As(err, &usage) || !errors.As(err, &hint) || !strings.Contains(err.Error(), "4294967296.0 GiB") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWhatFitsExactlyFits(t *testing.T) {
	if err := fits("d", 512<<10, 512<<10); err != nil {
		t.Error(err)
	}
	if err := fits("d", 512<<10+1, 512<<10); err == nil || !strings.Contains(err.Error(), "d has 524288 B free, and the file needs up to 524289 B") {
		t.Errorf("got %v", err)
	}
}

// A file that fails half-way has neither its name nor any other.
func TestAHalfWrittenFileIsGone(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EFBIG, errors.New("another digest")} {
		dir := t.TempDir()
		_, err := newFile(filepath.Join(dir, "disk"), 10, func(f *os.File) (string, error) {
			_, _ = f.WriteString("half")
			return "", cause
		})
		if !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}
