package diskimage

import (
	"encoding/binary"
	"hash/crc32"
	"runtime"

	"github.com/klauspost/compress"

	"github.com/cordon-ir/cordon/internal/evidence"
)

const (
	blockBytes = evidence.BlockBytes
	// maxZstdBlock is the most that one Zstandard block can hold (RFC 8878, 3.1.1.2.4).
	maxZstdBlock = 128 << 10
	// holeBlocks of a hole share a frame: 64 MiB in 2 KiB. Whoever seeks into
	// it decodes zeros only.
	holeBlocks = 128
)

// Zstandard block types (RFC 8878, 3.1.1.2.2).
const (
	typeRaw        = 0
	typeRLE        = 1
	typeCompressed = 2
)

// Window descriptors (RFC 8878, 3.1.1.1.2): of what may lie between a match and what it repeats.
const (
	pieceWindow = 7 << 3 // 128 KiB
	blockWindow = 9 << 3 // 512 KiB
)

// appendFrameHeader begins a frame of n bytes without checksum: the block list
// has a better one.
func appendFrameHeader(b []byte, window byte, n int) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0xFD2FB528) // RFC 8878, 3.1.1
	b = append(b, 0x80, window)                         // content size in 4 bytes
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

const blockHeaderBytes = 3

func appendBlockHeader(b []byte, kind, n int, last bool) []byte {
	h := uint32(n<<3 | kind<<1)
	if last {
		h |= 1
	}
	return append(b, byte(h), byte(h>>8), byte(h>>16))
}

// A block that is stored as it is lies in raw blocks of a frame: its headers are always the same.
var (
	rawFrameStart = appendBlockHeader(appendFrameHeader(nil, pieceWindow, blockBytes), typeRaw, maxZstdBlock, false)
	rawBlockNext  = appendBlockHeader(nil, typeRaw, maxZstdBlock, false)
	rawBlockLast  = appendBlockHeader(nil, typeRaw, maxZstdBlock, true)
)

const rawFrameBytes = 10 + blockBytes/maxZstdBlock*3 + blockBytes

// rawFrame returns the pieces of the frame that holds a block as it is.
func rawFrame(raw []byte) [][]byte {
	pieces := make([][]byte, 0, 2*blockBytes/maxZstdBlock)
	for at := 0; at < blockBytes; at += maxZstdBlock {
		header := rawBlockNext
		switch at {
		case 0:
			header = rawFrameStart
		case blockBytes - maxZstdBlock:
			header = rawBlockLast
		}
		pieces = append(pieces, header, raw[at:at+maxZstdBlock])
	}
	return pieces
}

func rawFrameCRC(raw []byte) (crc uint32) {
	for _, piece := range rawFrame(raw) {
		crc = crc32.Update(crc, castagnoli, piece)
	}
	return crc
}

// appendZeros appends a frame of n blocks of zeros, holeBlocks at most.
func appendZeros(b []byte, n int) []byte {
	left := n * blockBytes
	b = appendFrameHeader(b, pieceWindow, left)
	for ; left > 0; left -= maxZstdBlock {
		b = append(appendBlockHeader(b, typeRLE, maxZstdBlock, left == maxZstdBlock), 0)
	}
	return b
}

// seekTable is what makes a Zstandard file seekable
// (https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md).
type seekTable []frameSize

// frameSize of one frame: as stored and as decompressed.
type frameSize struct{ stored, raw uint32 }

// appendTo appends the table: a skippable frame at the file's end.
func (t seekTable) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0x184D2A5E)
	b = binary.LittleEndian.AppendUint32(b, uint32(8*len(t)+9))
	for _, f := range t {
		b = binary.LittleEndian.AppendUint32(b, f.stored)
		b = binary.LittleEndian.AppendUint32(b, f.raw)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t)))
	b = append(b, 0) // no checksums: the block list has SHA-256
	return binary.LittleEndian.AppendUint32(b, 0x8F92EAB1)
}

// Encoder compresses blocks. It is safe for concurrent use.
type Encoder struct{ free chan *compressor }

// NewEncoder returns an encoder for as many blocks at once as there are processors.
func NewEncoder() *Encoder {
	e := &Encoder{make(chan *compressor, runtime.GOMAXPROCS(0))}
	for range cap(e.free) {
		e.free <- newCompressor()
	}
	return e
}

// compress appends a block's frame to memory.
func (e *Encoder) compress(memory, block []byte) []byte {
	c := <-e.free
	defer func() { e.free <- c }()
	return c.appendFrame(memory, block)
}

const (
	// Three samples of a block tell whether compressing it is worth the time.
	samples, sampleBytes = 3, 4 << 10
	// hardly compressible: compress.Estimate gives encrypted, compressed and
	// random data less, text and machine code several times as much.
	hardly = 0.1
)

// Encode prepares a block for Writer.Add, in memory of a block's size that it
// may use until then, and reports whether it does. The same block is always encoded in the same way.
func (e *Encoder) Encode(b *Block, memory []byte) bool {
	b.encoded, b.frame = true, nil
	if worth(b.Raw) {
		if frame := e.compress(memory[:0], b.Raw); len(frame) < len(b.Raw) {
			b.frame, b.crc = frame, crc32.Checksum(frame, castagnoli)
			return true
		}
	}
	b.crc = rawFrameCRC(b.Raw)
	return false
}

// worth reports whether a block is worth the time to compress it.
func worth(block []byte) bool {
	for i := range samples {
		at := i * (len(block) - sampleBytes) / (samples - 1)
		if compress.Estimate(block[at:at+sampleBytes]) > hardly {
			return true
		}
	}
	return false
}
