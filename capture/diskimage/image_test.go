package diskimage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/vault"
)

const blockBytes = evidence.BlockBytes

// disk is what a volume holds: its blocks that were ever written, by index.
type disk struct {
	blocks  int64
	written map[int64][]byte
}

// data of a block: random, text, or zeros that were written.
func data(kind, seed byte) []byte {
	b := make([]byte, blockBytes)
	switch kind {
	case 0:
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	case 1:
		copy(b, bytes.Repeat([]byte{'e', 'v', 'i', 'd', 'e', 'n', 'c', 'e', seed}, blockBytes/9))
	}
	return b
}

// drawDisk gives every block the same chance to be a hole, so that runs of all lengths occur.
func drawDisk(t *rapid.T, label string, blocks int64) disk {
	d := disk{blocks: blocks, written: make(map[int64][]byte)}
	holes := rapid.IntRange(0, 9).Draw(t, label+" holes of 10")
	for i := range blocks {
		if rapid.IntRange(0, 9).Draw(t, label) >= holes {
			d.written[i] = data(rapid.ByteRange(0, 2).Draw(t, label+" kind"), rapid.ByteRange(0, 3).Draw(t, label+" seed"))
		}
	}
	return d
}

func (d disk) raw() []byte {
	raw := make([]byte, d.blocks*blockBytes)
	for i, b := range d.written {
		copy(raw[i*blockBytes:], b)
	}
	return raw
}

var errDead = errors.New("the process is dead")

// mortal is a store and a journal that die at one of their moments: before or
// after something was done.
type mortal struct {
	evidence.Resumable
	mu      sync.Mutex
	left    int // moments; negative: for ever
	records []diskimage.Record
	sent    int // parts
}

func (m *mortal) pass() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		return errDead
	}
	m.left--
	return nil
}

func (m *mortal) Begin(ctx context.Context, key string, o evidence.PutOptions) (evidence.Upload, error) {
	return dying(m, func() (evidence.Upload, error) { return m.Resumable.Begin(ctx, key, o) })
}

func (m *mortal) Part(ctx context.Context, u evidence.Upload, p evidence.Part, body io.ReadSeeker) (evidence.Part, error) {
	return dying(m, func() (evidence.Part, error) {
		m.mu.Lock()
		m.sent++
		m.mu.Unlock()
		return m.Resumable.Part(ctx, u, p, body)
	})
}

func (m *mortal) Complete(ctx context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	return dying(m, func() (evidence.Object, error) { return m.Resumable.Complete(ctx, u, parts) })
}

func (m *mortal) Put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	return dying(m, func() (evidence.Object, error) { return m.Resumable.Put(ctx, key, r, o) })
}

func (m *mortal) record(_ context.Context, r diskimage.Record) error {
	_, err := dying(m, func() (any, error) {
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		var kept diskimage.Record // as a journal gives it back
		m.mu.Lock()
		defer m.mu.Unlock()
		err = json.Unmarshal(b, &kept)
		m.records = append(m.records, kept)
		return nil, err
	})
	return err
}

func dying[T any](m *mortal, do func() (T, error)) (T, error) {
	var zero T
	if err := m.pass(); err != nil {
		return zero, err
	}
	v, err := do()
	if err == nil {
		err = m.pass()
	}
	return v, err
}

func (m *mortal) options(item string, blocks, segment int64) diskimage.Options {
	return diskimage.Options{
		Store: m, Records: m.records, Record: m.record, Hash: true, PartBytes: 300 << 10, ListParts: 2,
		Key:   func(name string) string { return "cases/INC-1/run/" + name },
		Put:   evidence.PutOptions{AllowUnlocked: true},
		Image: evidence.Image{Item: item, Snapshot: "snap-1", Volume: "vol-1", Bytes: blocks * blockBytes, SegmentBytes: segment * blockBytes},
	}
}

// write stores what next yields from the image's position on.
func write(ctx context.Context, o diskimage.Options, d disk, was map[int64][]byte) (evidence.Image, evidence.Ref, error) {
	encoder := diskimage.NewEncoder()
	image, obj, err := diskimage.Write(ctx, o, func(_ context.Context, w *diskimage.Writer) error {
		for i := w.Next(); i < d.blocks; i++ {
			raw, ok := d.written[i]
			if old, had := was[i]; had && !ok {
				if err := w.Add(diskimage.Block{Index: i, Sum: evidence.ZeroBlock()}); err != nil {
					return err
				}
			} else if ok && !(had && bytes.Equal(old, raw)) {
				b := diskimage.Block{Index: i, Sum: sha256.Sum256(raw), Raw: raw}
				encoder.Encode(&b, make([]byte, blockBytes))
				if err := w.Add(b); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return image, evidence.Ref{Key: obj.Key, Version: obj.Version, SHA256: obj.SHA256, Bytes: obj.Bytes}, err
}

// memoryDisk is a file in memory.
type memoryDisk []byte

func (d *memoryDisk) Truncate(n int64) error { *d = make([]byte, n); return nil }
func (d *memoryDisk) WriteAt(b []byte, at int64) (int, error) {
	return copy((*d)[at:], b), nil
}

type fataler interface {
	Helper()
	Fatal(...any)
}

// restored reads the image back, and checks its digests against the disk.
func restored(t fataler, store evidence.Store, ref evidence.Ref, want []byte) {
	t.Helper()
	r, err := diskimage.Open(context.Background(), store, ref)
	if err != nil {
		t.Fatal(err)
	}
	var got memoryDisk
	sha, err := r.Restore(context.Background(), &got, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(want); !bytes.Equal(got, want) || sha != hex.EncodeToString(sum[:]) {
		t.Fatal("the disk that came back differs")
	}
	if err := r.Verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	var used int64
	for block := range slices.Chunk(want, evidence.BlockBytes) {
		if slices.ContainsFunc(block, func(b byte) bool { return b != 0 }) {
			used += evidence.BlockBytes
		}
	}
	// A full image counts blocks of zeros that the snapshot lists, too.
	if n, err := r.Allocated(context.Background()); err != nil || n < used || n > int64(len(want)) || r.Base() != nil && n != used {
		t.Fatal(n, "bytes are allocated,", used, "are not zeros:", err)
	}
}

// object is what the store holds under a name of the image.
func object(t fataler, store evidence.Store, name string) []byte {
	t.Helper()
	r, err := store.Get(context.Background(), "cases/INC-1/run/"+name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnImageIsTheDiskWhereverTheProcessDies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mortal{Resumable: newMemory(), left: -1}
		blocks := rapid.Int64Range(1, 9).Draw(t, "blocks")
		d := drawDisk(t, "block", blocks)
		segment := rapid.Int64Range(1, blocks+2).Draw(t, "segment")
		partBytes, listParts := rapid.IntRange(1, 3<<20).Draw(t, "part"), rapid.IntRange(1, 3).Draw(t, "list")
		var image evidence.Image
		var ref evidence.Ref
		for {
			m.left = rapid.IntRange(-1, 60).Draw(t, "lives")
			o := m.options("img", blocks, segment)
			o.PartBytes, o.ListParts = partBytes, listParts
			var err error
			if image, ref, err = write(context.Background(), o, d, nil); err == nil {
				break
			}
			if !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			if _, err := m.Stat(context.Background(), "cases/INC-1/run/img.json", ""); err == nil && m.left != 0 {
				t.Fatal("an image that is not finished has an index")
			}
		}
		m.left = -1
		want := d.raw()
		restored(t, m, ref, want)
		if sum := sha256.Sum256(want); image.SHA256 != hex.EncodeToString(sum[:]) || image.Blocks != int64(len(d.written)) {
			t.Fatal("the index is not the disk's")
		}
		var whole []byte
		for n := range image.Segments {
			whole = append(whole, object(t, m, evidence.DataName("img", n, false))...)
		}
		if raw := decompressed(t, whole); !bytes.Equal(raw, want) {
			t.Fatal("the segments, one after the other, are not the disk")
		}
	})
}

func decompressed(t fataler, b []byte) []byte {
	t.Helper()
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

func TestChangesOnTopOfTheirBaseAreTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.Int64Range(1, 9).Draw(t, "blocks")
		segment := rapid.Int64Range(1, blocks+2).Draw(t, "segment")
		before := drawDisk(t, "before", blocks)
		m := &mortal{Resumable: newMemory(), left: -1}
		_, ref, err := write(context.Background(), m.options("0", blocks, segment), before, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range []string{"1", "2"} { // changes on top of changes
			after := drawDisk(t, "after", blocks+1)
			base, err := diskimage.Open(context.Background(), m, ref)
			if err != nil {
				t.Fatal(err)
			}
			m.records, m.left = nil, rapid.IntRange(-1, 40).Draw(t, "lives")
			for {
				o := m.options(item, after.blocks, segment)
				o.Base, o.Image.Base = base, &evidence.Base{Item: "before", Snapshot: "snap-0", Ref: ref}
				image, next, err := write(context.Background(), o, after, before.written)
				if m.left = -1; err == nil {
					if ref = next; image.SHA256 != "" {
						t.Fatal("changes alone can't have the disk's SHA-256")
					}
					break
				}
				if !errors.Is(err, errDead) {
					t.Fatal(err)
				}
			}
			restored(t, m, ref, after.raw())
			before, blocks = after, after.blocks
		}
	})
}

// full is an image of a small disk, in a store of its own.
func full(t *testing.T) (*mortal, evidence.Image, evidence.Ref, disk) {
	t.Helper()
	m := &mortal{Resumable: vault.NewDirectory(t.TempDir()), left: -1}
	d := disk{blocks: 170, written: map[int64][]byte{3: data(0, 1), 4: data(1, 1), 5: data(2, 1), 140: data(0, 2), 169: data(1, 2)}}
	image, ref, err := write(t.Context(), m.options("img", d.blocks, 160), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, image, ref, d
}

func TestTheZstdCommandReadsAnImage(t *testing.T) {
	command, err := exec.LookPath("zstd")
	if err != nil {
		if os.Getenv("CORDON_CONFORMANCE") == "required" {
			t.Fatal(err)
		}
		t.Skip("there is no zstd command")
	}
	m, image, _, d := full(t)
	var files []string
	for n := range image.Segments {
		files = append(files, filepath.Join(strings.TrimPrefix(m.String(), "file://"), "cases/INC-1/run", evidence.DataName("img", n, false)))
	}
	out, err := exec.CommandContext(t.Context(), command, append([]string{"-d", "-c"}, files...)...).Output()
	if err != nil || !bytes.Equal(out, d.raw()) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestASegmentIsASeekableZstdFile(t *testing.T) {
	m, image, _, d := full(t)
	if len(image.Segments) != 2 {
		t.Fatalf("%d segments", len(image.Segments))
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r, err := seekable.NewReader(bytes.NewReader(object(t, m, evidence.DataName("img", 0, false))), z)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw := d.raw()
	for _, at := range []int64{0, 3*blockBytes + 17, 4*blockBytes - 5, 139 * blockBytes, 140*blockBytes + 1, 159 * blockBytes} {
		got := make([]byte, 1000)
		if _, err := r.ReadAt(got, at); err != nil || !bytes.Equal(got, raw[at:at+1000]) {
			t.Errorf("at %d: %v", at, err)
		}
	}
}

func TestHolesTakeNextToNoSpace(t *testing.T) {
	m := &mortal{Resumable: vault.NewDirectory(t.TempDir()), left: -1}
	o := m.options("img", 64<<30/blockBytes, 64<<30/blockBytes)
	o.Hash = false
	image, ref, err := write(t.Context(), o, disk{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(object(t, m, evidence.DataName("img", 0, false))); n > 3<<20 || image.Blocks != 0 {
		t.Errorf("64 GiB of zeros take %d bytes", n)
	}
	r, err := diskimage.Open(t.Context(), m, ref)
	if err == nil {
		err = r.Verify(t.Context(), nil)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestAnyChangedByteOfAnImageIsFound(t *testing.T) {
	m, _, ref, _ := full(t)
	objects, err := m.List(t.Context(), "cases/")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		file := strings.TrimPrefix(o.Location, "file://")
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, 7, len(good) / 3, len(good) / 2, len(good) - 10, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			for name, b := range map[string][]byte{"changed": bad, "cut": good[:at], "longer": append(bytes.Clone(good), 0)} {
				if err := os.WriteFile(file, b, 0o600); err != nil {
					t.Fatal(err)
				}
				r, err := diskimage.Open(t.Context(), m, ref)
				if err == nil {
					err = r.Verify(t.Context(), nil)
				}
				if !errors.Is(err, evidence.ErrDigest) {
					t.Errorf("%s %s at %d of %d: got %v", o.Key, name, at, len(good), err)
				}
			}
		}
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABlockThatDoesNotFitIsRefused(t *testing.T) {
	b := func(index int64, n int) diskimage.Block { return diskimage.Block{Index: index, Raw: make([]byte, n)} }
	for name, blocks := range map[string][]diskimage.Block{
		"twice":         {b(1, blockBytes), b(1, blockBytes)},
		"backwards":     {b(1, blockBytes), b(0, blockBytes)},
		"past the end":  {b(2, blockBytes)},
		"short":         {b(0, 100)},
		"without bytes": {b(0, 0), {Index: 1}},
	} {
		m := &mortal{Resumable: vault.NewDirectory(t.TempDir()), left: -1}
		_, _, err := diskimage.Write(t.Context(), m.options("img", 2, 2), func(_ context.Context, w *diskimage.Writer) error {
			for _, b := range blocks {
				if err := w.Add(b); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestPartsThatAreThereAreNotSentAgain(t *testing.T) {
	d := disk{blocks: 64, written: make(map[int64][]byte)}
	for i := range d.blocks {
		d.written[i] = data(0, byte(i))
	}
	m := &mortal{Resumable: vault.NewDirectory(t.TempDir()), left: 80}
	o := m.options("img", d.blocks, d.blocks)
	o.ListParts = 16
	if _, _, err := write(t.Context(), o, d, nil); !errors.Is(err, errDead) {
		t.Fatalf("got %v", err)
	}
	first := m.sent
	m.left, m.sent = -1, 0
	o.Records = m.records
	if _, ref, err := write(t.Context(), o, d, nil); err != nil {
		t.Fatal(err)
	} else {
		restored(t, m, ref, d.raw())
	}
	if first < 20 || first+m.sent > int(d.blocks)+1+5 {
		t.Errorf("%d parts were sent, then %d; the disk has %d", first, m.sent, d.blocks)
	}
}
