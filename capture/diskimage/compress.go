package diskimage

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/huff0"
)

const (
	// 1<<hashLog positions are remembered, by the eight bytes at them: as many as the processor's first cache holds.
	hashLog = 13
	// Every stride-th position is looked up, and fewer the longer there was no match.
	stride, patience = 4, 6
	// glance is how many bytes are compared at once.
	glance = 64
	// lastBytes of a piece are literals: nothing is read beyond its end.
	lastBytes = 2*glance + 8
	// shortRun is how many literals are copied at once, needed or not.
	shortRun = 16
	// fewLiterals are not worth a Huffman table.
	fewLiterals = 1 << 10
)

// compressor makes Zstandard frames (RFC 8878) in half the time that the library's encoder takes at its fastest level, a
// quarter (logs), half (programs, libraries) to three fifths (source text) larger: it looks at fewer positions, follows a match
// past a gap instead of looking for another, and uses the sequence codes that every decoder knows. What it makes depends on the
// block alone.
type compressor struct {
	table     [1 << hashLog]uint32 // position by hash
	distance  int                  // of the last match that was coded; a frame begins with 1
	next      int                  // the first byte that is in no sequence and no literal
	literals  []byte
	sequences []sequence
	huffman   huff0.Scratch
}

func newCompressor() *compressor {
	const most = maxZstdBlock / 4 // sequences of a piece: matches have four bytes
	return &compressor{literals: make([]byte, maxZstdBlock+shortRun), sequences: make([]sequence, 0, most)}
}

// appendFrame appends a frame of a block. It can be larger than the block.
func (c *compressor) appendFrame(b, block []byte) []byte {
	clear(c.table[:])
	c.distance, c.huffman.Reuse = 1, huff0.ReusePolicyNone
	b = appendFrameHeader(b, blockWindow, len(block))
	for at := 0; at < len(block); at += maxZstdBlock {
		b = c.appendPiece(b, block, at, min(at+maxZstdBlock, len(block)))
	}
	return b
}

// appendPiece appends a Zstandard block of a piece.
func (c *compressor) appendPiece(b, block []byte, at, end int) []byte {
	before, header := c.distance, len(b)
	c.find(block, at, end)
	b = c.appendLiterals(appendBlockHeader(b, typeCompressed, 0, false))
	switch n := len(c.sequences); {
	case n < 128:
		b = append(b, byte(n))
	case n < 0x7F00:
		b = append(b, byte(n>>8|0x80), byte(n))
	default:
		b = append(b, 0xFF, byte(n-0x7F00), byte((n-0x7F00)>>8))
	}
	if len(c.sequences) > 0 {
		b = append(b, 0) // the predefined codes
		b = slices.Grow(b, len(c.sequences)*sequenceBytes+16)
		b = b[:len(b)+encodeSequences(b[len(b):cap(b)], c.sequences)]
	}
	last := end == len(block)
	if n := len(b) - header - blockHeaderBytes; n < end-at {
		appendBlockHeader(b[:header], typeCompressed, n, last)
		return b
	}
	// What the decoder does not see it does not know.
	c.distance, c.huffman.Reuse = before, huff0.ReusePolicyNone
	return append(appendBlockHeader(b[:header], typeRaw, end-at, last), block[at:end]...)
}

// appendLiterals appends the literals section (RFC 8878, 3.1.1.3.1).
func (c *compressor) appendLiterals(b []byte) []byte {
	n := uint64(len(c.literals))
	if n >= fewLiterals {
		// Four streams, both sizes in 18 bits.
		if out, again, err := huff0.Compress4X(c.literals, &c.huffman); err == nil {
			kind := uint64(2)
			if again { // the table of the piece before
				kind = 3
			}
			c.huffman.Reuse = huff0.ReusePolicyPrefer
			header := kind | 3<<2 | n<<4 | uint64(len(out))<<22
			return append(append(binary.LittleEndian.AppendUint32(b, uint32(header)), byte(header>>32)), out...)
		}
	}
	header := 3<<2 | n<<4 // as they are, the size in 20 bits
	return append(append(b, byte(header), byte(header>>8), byte(header>>16)), c.literals...)
}

// find cuts a piece of a block into literals and sequences.
func (c *compressor) find(block []byte, at, end int) {
	block = block[:end]
	c.literals, c.sequences, c.next = c.literals[:0], c.sequences[:0], at
	for pos := max(at, 8); pos < end-lastBytes; {
		value := load(block, pos)
		slot := &c.table[hashOf(value)]
		was := int(*slot)
		*slot = uint32(pos)
		if uint32(load(block, was)) != uint32(value) || was < 8 {
			pos += stride + (pos-c.next)>>patience
			continue
		}
		before := bits.LeadingZeros64(load(block, pos-8)^load(block, was-8)) >> 3
		pos = c.follow(block, pos-min(before, pos-c.next), pos, pos-was) + stride
	}
	c.literals = append(c.literals, block[c.next:]...)
}

// follow adds the sequence whose match, at such a distance, begins at from and goes on at pos, and those after it at the same
// distance: records differ in a field and go on alike. It returns where the last one ends.
func (c *compressor) follow(block []byte, from, pos, distance int) int {
	limit := len(block) - lastBytes
	literals, n, next := c.literals[:cap(c.literals)], len(c.literals), c.next
	offset := uint32(distance + 3)
	if distance == c.distance && from > next {
		offset = repeatOffset
	}
	for {
		same := equal((*[glance]byte)(block[pos:]), (*[glance]byte)(block[pos-distance:]))
		seen := bits.TrailingZeros64(^same)
		pos += seen
		for seen < glance || pos >= limit {
			run := from - next
			if run <= shortRun {
				// In words: the compiler would call memmove for the whole.
				binary.LittleEndian.PutUint64(literals[n:], load(block, next))
				binary.LittleEndian.PutUint64(literals[n+8:], load(block, next+8))
			} else {
				copy(literals[n:], block[next:from])
			}
			n += run
			c.sequences = append(c.sequences, sequence{uint32(run), uint32(pos - from), offset})
			next = pos
			four := same >> (seen & (glance - 1)) // where four bytes are equal again
			four &= four >> 1
			four &= four >> 2
			if four == 0 || pos >= limit {
				c.literals, c.next, c.distance = c.literals[:n], next, distance
				return pos
			}
			gap := bits.TrailingZeros64(four)
			from = pos + gap
			offset = repeatOffset
			length := bits.TrailingZeros64(^(same >> ((seen + gap) & (glance - 1))))
			pos = from + length
			seen += gap + length
		}
	}
}

func load(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at : at+8 : at+8]) }

func hashOf(value uint64) uint32 {
	return uint32(value * 0x9E3779B185EBCA87 >> (64 - hashLog)) // by the golden ratio
}
