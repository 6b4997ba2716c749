package diskimage

import (
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"testing"
	"testing/iotest"
)

func TestAPartReadsAsWhatWasAddedToIt(t *testing.T) {
	var pool Buffers
	var b body
	var want []byte
	raw := make([]byte, blockBytes)
	for i := range raw {
		raw[i] = byte(i >> 7)
	}
	released := 0
	for _, n := range []int{10, 300_000, 400_000, 1} { // of its own buffers it needs two
		b.small(&pool, raw[:n])
		want = append(want, raw[:n]...)
		b.raw(Block{Raw: raw, crc: rawFrameCRC(raw), Done: func() { released++ }})
		for _, piece := range rawFrame(raw) {
			want = append(want, piece...)
		}
	}
	if b.bytes != len(want) || b.crc != crc32.Checksum(want, castagnoli) {
		t.Errorf("%d bytes of CRC-32C %08x, want %d of %08x", b.bytes, b.crc, len(want), crc32.Checksum(want, castagnoli))
	}
	if err := iotest.TestReader(b.reader(), want); err != nil { // Seek, too: the SDK rewinds a body to send it again
		t.Error(err)
	}
	h := sha256.New()
	if n, err := io.Copy(h, b.reader()); n != int64(len(want)) || err != nil || !bytes.Equal(h.Sum(nil), sum(want)) {
		t.Errorf("copied %d bytes, error %v", n, err)
	}
	if b.release(&pool); released != 4 || len(pool.free) != 2 {
		t.Errorf("%d blocks and %d buffers came back", released, len(pool.free))
	}
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
