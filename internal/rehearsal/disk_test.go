package rehearsal

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestADiskEndsWithItsVolume(t *testing.T) {
	indexes := diskBlocks(diskWebRoot)
	if !slices.IsSorted(indexes) || indexes[0] != 0 {
		t.Fatalf("indexes %v", indexes)
	}
	last := indexes[len(indexes)-1]
	if b := diskBlock(diskWebRoot, 2, last); len(b) != diskBlockSize {
		t.Errorf("block %d has %d bytes", last, len(b))
	}
	for _, index := range []int32{-1, 2 * blocksPerGiB} {
		if diskBlock(diskWebRoot, 2, index) != nil {
			t.Errorf("block %d is there", index)
		}
	}
	if diskBlock(diskWebRoot, 1, 2*blocksPerGiB-1) != nil || diskBlock("", 2, 0) != nil {
		t.Error("there is something behind the volume's end, or on an empty disk")
	}
}

// What the intruder deleted can be found with the Sleuth Kit, where it is installed.
func TestTheSleuthKitRecoversTheDeletedFiles(t *testing.T) {
	fls, err := exec.LookPath("fls")
	if err != nil {
		if os.Getenv("CORDON_CONFORMANCE") == "required" {
			t.Fatal(err)
		}
		t.Skip("the Sleuth Kit is not installed")
	}
	for name, deleted := range map[string]string{diskWebRoot: "var/tmp/.stage.sh", diskWebData: "orders/.dump.csv"} {
		image := writeImage(t, name)
		out, err := exec.Command(fls, "-r", "-d", "-p", image).Output()
		if err != nil {
			t.Fatal(err)
		}
		// r/r * 36:	var/tmp/.stage.sh
		entry, path, _ := strings.Cut(strings.TrimSpace(string(out)), ":\t")
		if path != deleted {
			t.Fatalf("%s: fls found %q", name, out)
		}
		inode := entry[strings.LastIndex(entry, " ")+1:]
		content, err := exec.Command("icat", image, inode).Output()
		if err != nil || !strings.Contains(string(content), "REHEARSAL") {
			t.Errorf("%s: inode %s: %q, %v", name, inode, content, err)
		}
	}
}

// writeImage writes a disk as a raw image with holes.
func writeImage(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(2 << 30); err != nil {
		t.Fatal(err)
	}
	for _, index := range diskBlocks(name) {
		if _, err := f.WriteAt(diskBlock(name, 2, index), int64(index)*diskBlockSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
