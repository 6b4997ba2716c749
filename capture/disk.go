package capture

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// frameBytes of raw disk go into one Zstandard frame. Frames one after the
	// other are one file (RFC 8878, 3): the zstd command reads them all.
	frameBytes = 4 << 20
	gib        = 1 << 30
)

// zeroes is a frame's worth of what a hole reads as.
var zeroes [frameBytes]byte

// diskWriter puts a raw disk together from its blocks, in order: it hashes the disk
// as it is, holes included, and writes it compressed. The same blocks give the same bytes,
// so that an export that is repeated meets its own object.
type diskWriter struct {
	out      io.Writer
	encoder  *zstd.Encoder
	raw      hash.Hash
	at       int64 // bytes of raw disk so far
	size     int64 // of the disk
	pending  []byte
	hole     []byte // the frame of frameBytes zeros
	progress func(done int64)
}

func newDiskWriter(out io.Writer, size int64, progress func(int64)) (*diskWriter, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	return &diskWriter{
		out: out, encoder: encoder, raw: sha256.New(), size: size, progress: progress,
		pending: make([]byte, 0, frameBytes), hole: encoder.EncodeAll(zeroes[:], nil),
	}, nil
}

// block writes a block, and zeros for what lies before it.
func (d *diskWriter) block(b block) error {
	start := int64(b.index) * blockBytes
	if start < d.at || start+int64(len(b.data)) > d.size {
		return fmt.Errorf("block %d does not fit: the disk has %d bytes and is written to byte %d", b.index, d.size, d.at)
	}
	if err := d.zerosTo(start); err != nil {
		return err
	}
	return d.write(b.data)
}

// finish writes the zeros after the last block.
func (d *diskWriter) finish() error {
	if err := d.zerosTo(d.size); err != nil {
		return err
	}
	return d.flush()
}

// zerosTo fills up to the offset. Whole frames of zeros cost their hash only.
func (d *diskWriter) zerosTo(offset int64) error {
	for d.at < offset {
		n := offset - d.at
		if len(d.pending) > 0 || n < frameBytes {
			if err := d.write(zeroes[:min(n, int64(frameBytes-len(d.pending)))]); err != nil {
				return err
			}
			continue
		}
		d.raw.Write(zeroes[:])
		d.advance(frameBytes)
		if _, err := d.out.Write(d.hole); err != nil {
			return err
		}
	}
	return nil
}

// write adds bytes to the frame that is being filled.
func (d *diskWriter) write(b []byte) error {
	d.raw.Write(b)
	d.advance(int64(len(b)))
	for len(b) > 0 {
		n := min(len(b), frameBytes-len(d.pending))
		d.pending = append(d.pending, b[:n]...)
		b = b[n:]
		if len(d.pending) == frameBytes {
			if err := d.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *diskWriter) flush() error {
	if len(d.pending) == 0 {
		return nil
	}
	frame := d.encoder.EncodeAll(d.pending, nil)
	d.pending = d.pending[:0]
	_, err := d.out.Write(frame)
	return err
}

// progressStep of raw bytes lies between two reports.
const progressStep = 64 << 20

func (d *diskWriter) advance(n int64) {
	before := d.at
	d.at += n
	if before/progressStep != d.at/progressStep || d.at == d.size {
		d.progress(d.at)
	}
}
