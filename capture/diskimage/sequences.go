package diskimage

import (
	"encoding/binary"
	"math/bits"
)

// sequence is a run of literals and the match after it (RFC 8878, 3.1.1.3.2.1). Its offset is coded: repeatOffset, or three
// more than the distance.
type sequence struct{ literals, match, offset uint32 }

// repeatOffset is the offset of the sequence before, where there are literals in between.
const repeatOffset = 1

// The probabilities that every decoder knows, so that no table is sent and none is computed (RFC 8878, appendix A).
var (
	literalStates = newStates(6, 4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1)
	matchStates   = newStates(6, 1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1)
	offsetStates = newStates(5, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1)
)

// states of an entropy coder, by 64 times a code plus the state to come: which state says that code and leads there.
// Its lowest byte is the state, above it are the bits to write, and their number.
type states [64 << 6]uint32

// newStates turns the decoding table of so many bits (RFC 8878, 4.1.1) around. A probability of -1 is less than 1.
func newStates(log int, probabilities ...int) (all states) {
	size := 1 << log
	codes, rare := make([]int, size), size
	for code, p := range probabilities {
		if p < 0 {
			rare--
			codes[rare] = code
		}
	}
	at := 0
	for code, p := range probabilities {
		for ; p > 0; p-- {
			codes[at] = code
			for at = (at + size>>1 + size>>3 + 3) % size; at >= rare; {
				at = (at + size>>1 + size>>3 + 3) % size
			}
		}
	}
	next := make([]int, len(probabilities))
	for code, p := range probabilities {
		next[code] = max(p, -p)
	}
	for state, code := range codes {
		n := log + 1 - bits.Len(uint(next[code]))
		for low := range 1 << n {
			all[code<<6+next[code]<<n-size+low] = uint32(n<<16 | low<<8 | state)
		}
		next[code]++
	}
	return all
}

// coded is a length: the place of its code in states in 16 bits, the number of its extra bits in 16, and from 32 on what
// these are added to.
type coded uint64

// lengths are codes for all lengths below 256; from there on they are powers of two.
type lengths struct {
	few   [256]coded
	power int // the code of length 1, were it one
}

var (
	literalLengths = newLengths(16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6)
	matchLengths   = newLengths(32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7) // of what is above minMatch
)

const minMatch = 3

// newLengths: the first codes are lengths themselves, those after them have so
// many extra bits, and then each has one more (RFC 8878, 3.1.1.3.2.1.1).
func newLengths(plain int, extra ...int) (l lengths) {
	l.power = plain + len(extra) - 1 - extra[len(extra)-1]
	for length, code := 0, 0; length < len(l.few); code++ {
		n := 0
		if i := code - plain; i >= len(extra) {
			n = code - l.power
		} else if i >= 0 {
			n = extra[i]
		}
		for extra := range min(1<<n, len(l.few)-length) {
			l.few[length] = coded(extra)<<32 | coded(n<<16|code<<6)
			length++
		}
	}
	return l
}

// of returns a length's code.
func (l *lengths) of(length uint32) coded {
	if length < uint32(len(l.few)) {
		return l.few[length]
	}
	n := bits.Len32(length) - 1
	return coded(length&(1<<n-1))<<32 | coded(n<<16|(l.power+n)<<6)
}

// sequenceBytes is the most that a sequence takes: 17 bits for its codes, 16 for each length and 19 for the offset.
const sequenceBytes = 9

// encodeSequences writes sequences as a decoder reads them, which begins at the end (RFC 8878, 3.1.1.3.2.1.2), and
// returns how many bytes they take. There must be sequenceBytes for each, and 16 more.
func encodeSequences(to []byte, sequences []sequence) int {
	var (
		pending                uint64 // bits that are not written yet
		n                      uint   // how many
		at                     int
		literal, match, offset uint32 // states
	)
	for i := len(sequences) - 1; i >= 0; i-- {
		s := &sequences[i]
		l, m := literalLengths.of(s.literals), matchLengths.of(s.match-minMatch)
		bitsOfOffset := uint(bits.Len32(s.offset)-1) & 31
		// The first has no state to lead to: any that says its code will do.
		offset = offsetStates[(uint32(bitsOfOffset)<<6|offset&63)%uint32(len(offsetStates))]
		match = matchStates[(uint32(m)&0xfff|match&63)%uint32(len(matchStates))]
		literal = literalStates[(uint32(l)&0xfff|literal&63)%uint32(len(literalStates))]
		if i < len(sequences)-1 {
			state := uint64(offset >> 8 & 0xff)
			at := uint(offset >> 16)
			state |= uint64(match>>8&0xff) << (at & 63)
			at += uint(match >> 16)
			state |= uint64(literal>>8&0xff) << (at & 63)
			at += uint(literal >> 16)
			pending |= state << (n & 63)
			n += at
		}
		extra, ln, mn := uint64(l>>32), uint(l>>16&31), uint(m>>16&31)
		extra |= uint64(m>>32) << (ln & 63)
		extra |= uint64(s.offset&(1<<bitsOfOffset-1)) << ((ln + mn) & 63)
		ln += mn + bitsOfOffset
		if n+ln > 63 {
			at, pending, n = flush(to, at, pending, n)
		}
		pending |= extra << (n & 63)
		n += ln
		at, pending, n = flush(to, at, pending, n)
	}
	// Where the decoder begins, and a bit that marks the end.
	pending |= uint64(match&63|offset&31<<6|literal&63<<11|1<<17) << (n & 63)
	n += 18
	at, _, n = flush(to, at, pending, n)
	return at + int(n+7)>>3
}

// flush writes whole bytes.
func flush(to []byte, at int, pending uint64, n uint) (int, uint64, uint) {
	binary.LittleEndian.PutUint64(to[at:at+8:at+8], pending)
	return at + int(n>>3), pending >> (n &^ 7 & 63), n & 7
}
