package cli

import (
	"crypto/rand"
	"errors"
	"io/fs"
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
	_, err := newFile(out, size{whole: 1 << 62, data: 1 << 62}, func(*os.File) (string, error) {
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
	if err := fits("d", 512<<10+1, 512<<10); err == nil || !strings.Contains(err.Error(), "d has 524288 B free, and the file needs up to 524289 B there") {
		t.Errorf("got %v", err)
	}
}

// A file that fails half-way has neither its name nor any other.
func TestAHalfWrittenFileIsGone(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EFBIG, errors.New("another digest")} {
		dir := t.TempDir()
		_, err := newFile(filepath.Join(dir, "disk"), size{whole: 10, data: 10}, func(f *os.File) (string, error) {
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

// A disk on which holes take room shows the probe's file as all data.
func TestAFileSystemWithoutHolesIsFoundOut(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if holes, err := keepsHoles(f); err != nil || !holes {
		t.Errorf("an empty file: holes %t, %v", holes, err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("the probe left %d bytes, %v", st.Size(), err)
	}
	random := make([]byte, holeProbe) // what a file system that compresses can't shrink
	_, _ = rand.Read(random)
	if _, err := f.WriteAt(random, 0); err != nil {
		t.Fatal(err)
	}
	if holes, err := keepsHoles(f); err != nil || holes {
		t.Errorf("a file that is data all over: holes %t, %v", holes, err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("the probe left %d bytes, %v", st.Size(), err)
	}
}

// Where holes take room, a file whose data alone would fit is not begun.
func TestWithoutHolesAllOfAFileMustFit(t *testing.T) {
	n := size{whole: 3 << 20, data: 1}
	for _, tt := range []struct {
		holes bool
		want  int64
	}{{true, 1}, {false, 3 << 20}} {
		if got := n.need(tt.holes); got != tt.want {
			t.Errorf("holes %t: %d bytes, want %d", tt.holes, got, tt.want)
		}
	}
}

// A file that its file system can't hold whatever its room, as an offset that it refuses shows, is not begun.
func TestAFileTooLargeForItsFileSystemIsNotBegun(t *testing.T) {
	dir := t.TempDir()
	_, err := newFile(filepath.Join(dir, "disk"), size{whole: -1}, func(*os.File) (string, error) {
		t.Error("it was begun")
		return "", nil
	})
	if left, _ := os.ReadDir(dir); !errors.Is(err, syscall.EFBIG) || len(left) != 0 {
		t.Errorf("got %v; left behind: %v", err, left)
	}
}

// Neither a link nor the way without links takes another's name.
func TestAFinishedFileReplacesNothing(t *testing.T) {
	for _, name := range map[string]func(partial, out string) error{"link": name, "no links": claim} {
		dir := t.TempDir()
		partial, out := filepath.Join(dir, "p"), filepath.Join(dir, "disk")
		write := func(path, text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(partial, "new")
		if err := name(partial, out); err != nil {
			t.Fatal(err)
		}
		write(partial, "newer")
		if err := name(partial, out); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v", err)
		}
		if text, err := os.ReadFile(out); string(text) != "new" {
			t.Errorf("it holds %q, %v", text, err)
		}
	}
}
