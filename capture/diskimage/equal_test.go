package diskimage

import (
	"testing"

	"pgregory.net/rapid"
)

func TestEqualTellsByteByByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		byteOfFew := rapid.SampledFrom([]byte{0, 1, 0x7F, 0x80, 0xFF})
		all := rapid.SliceOfN(byteOfFew, 2*glance+16, 2*glance+16).Draw(t, "bytes")
		at := rapid.IntRange(0, 15).Draw(t, "alignment")
		a, b := (*[glance]byte)(all[at:]), (*[glance]byte)(all[at+glance:])
		var want uint64
		for i := range a {
			if a[i] == b[i] {
				want |= 1 << i
			}
		}
		if got := equal(a, b); got != want {
			t.Errorf("%x and %x: %064b, not %064b", *a, *b, got, want)
		}
		if got := equalPortable(a, b); got != want {
			t.Errorf("portable: %x and %x: %064b, not %064b", *a, *b, got, want)
		}
	})
}
