package diskimage

import (
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

func TestSumsCombineToTheSumOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.Byte()).Draw(t, "a"), rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		b = append(b, make([]byte, rapid.IntRange(0, 2*blockBytes).Draw(t, "more"))...)
		sum := func(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
		if got, want := combine(sum(a), sum(b), len(b)), sum(append(a, b...)); got != want {
			t.Errorf("%08x, want %08x", got, want)
		}
	})
}
