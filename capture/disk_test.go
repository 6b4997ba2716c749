package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// assembled is the compressed disk of these blocks.
func assembled(t interface{ Fatal(...any) }, size int64, blocks []block) (compressed []byte, raw [sha256.Size]byte) {
	var out bytes.Buffer
	last := int64(0)
	d, err := newDiskWriter(&out, size, func(done int64) {
		if done < last || done > size {
			t.Fatal("progress goes from", last, "to", done)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := d.block(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.finish(); err != nil {
		t.Fatal(err)
	}
	if last != size {
		t.Fatal("progress ended at", last, "of", size)
	}
	d.raw.Sum(raw[:0])
	return out.Bytes(), raw
}

func decompressed(t interface{ Fatal(...any) }, b []byte) []byte {
	r, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestADiskIsItsBlocksAndZerosBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "size in blocks")
		var blocks []block
		want := make([]byte, n*blockBytes)
		for i := range n {
			if !rapid.Bool().Draw(t, "written") {
				continue
			}
			data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "content")}, blockBytes)
			copy(want[i*blockBytes:], data)
			blocks = append(blocks, block{index: int32(i), data: data})
		}
		compressed, raw := assembled(t, int64(len(want)), blocks)
		if !bytes.Equal(decompressed(t, compressed), want) {
			t.Fatal("the disk differs")
		}
		if raw != sha256.Sum256(want) {
			t.Fatal("the digest is not that of the disk")
		}
		if again, _ := assembled(t, int64(len(want)), blocks); !bytes.Equal(again, compressed) {
			t.Fatal("the same blocks gave other bytes")
		}
	})
}

func TestABlockThatDoesNotFitIsRefused(t *testing.T) {
	data := make([]byte, blockBytes)
	for name, blocks := range map[string][]block{
		"twice":        {{index: 1, data: data}, {index: 1, data: data}},
		"backwards":    {{index: 1, data: data}, {index: 0, data: data}},
		"past the end": {{index: 2, data: data}},
	} {
		d, err := newDiskWriter(io.Discard, 2*blockBytes, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			err = d.block(b)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestTheZstdCommandReadsADisk(t *testing.T) {
	command, err := exec.LookPath("zstd")
	if err != nil {
		if os.Getenv("CORDON_CONFORMANCE") == "required" {
			t.Fatal(err)
		}
		t.Skip("there is no zstd command")
	}
	data := bytes.Repeat([]byte("evidence"), blockBytes/8)
	compressed, raw := assembled(t, 64<<20, []block{{index: 3, data: data}, {index: 100, data: data}})
	cmd := exec.CommandContext(t.Context(), command, "-d", "-c")
	cmd.Stdin = bytes.NewReader(compressed)
	out, err := cmd.Output()
	if err != nil || sha256.Sum256(out) != raw {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestHolesCostNextToNothingToStore(t *testing.T) {
	compressed, _ := assembled(t, 1<<30, nil)
	if len(compressed) > 1<<20 {
		t.Errorf("1 GiB of zeros is stored as %d bytes", len(compressed))
	}
}

func FuzzIndexedBlock(f *testing.F) {
	f.Add([]byte(`[7,"` + "ab12345678901234567890123456789012345678901234567890123456789abc" + `"]`))
	f.Add([]byte(`[7]`))
	f.Add([]byte(`[-1,"",{}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b, again indexedBlock
		if json.Unmarshal(raw, &b) != nil {
			return
		}
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil || again != b {
			t.Errorf("%s became %s: %v", raw, out, err)
		}
	})
}
