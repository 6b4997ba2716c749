package diskimage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// segmentBlocks yields a segment's blocks from its lists and, with data, from its object, of which
// every byte is checked: the frames of blocks by their digests, those of holes and the seek table by what they must be.
func (r *Reader) segmentBlocks(ctx context.Context, n int, data bool, yield func(Block) error) error {
	s, err := r.segment(ctx, n)
	if err != nil {
		return err
	}
	first, end := s.Offset/blockBytes, (s.Offset+s.Bytes)/blockBytes
	var object *object
	if data {
		if object, err = r.open(ctx, s); err != nil {
			return err
		}
		defer object.close()
	}
	next := first
	for _, l := range s.Lists {
		list, err := read(ctx, r.store, l)
		if err != nil {
			return err
		}
		err = evidence.ReadBlockList(bytes.NewReader(list), func(e evidence.BlockEntry) error {
			if e.Index < next || e.Index >= end || e.Length == 0 && (r.base == nil || e.Sum != evidence.ZeroBlock()) {
				return fmt.Errorf("block %d does not belong there", e.Index)
			}
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			b := Block{Index: e.Index, Sum: e.Sum}
			if data {
				if err := object.block(next, e, &b); err != nil {
					return fmt.Errorf("block %d in %s: %w", e.Index, s.Data.Key, err)
				}
			}
			next = e.Index + 1
			return yield(b)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", l.Key, err)
		}
	}
	if !data {
		return nil
	}
	if err := object.end(next, end, s.Data); err != nil {
		return fmt.Errorf("%s: %w", s.Data.Key, err)
	}
	return nil
}

// object is a segment's data as it is read from beginning to end.
type object struct {
	body    io.Closer
	crc     *crcReader
	r       *bufio.Reader
	z       *zstd.Decoder
	at      int64
	table   seekTable
	changes bool // no holes between the blocks
	frame   []byte
	want    []byte
}

func (r *Reader) open(ctx context.Context, s evidence.Segment) (*object, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(blockBytes))
	if err != nil {
		return nil, err
	}
	body, err := r.store.Get(ctx, s.Data.Key, s.Data.Version)
	if err != nil {
		z.Close()
		return nil, err
	}
	crc := &crcReader{r: body}
	return &object{body: body, crc: crc, r: bufio.NewReaderSize(crc, 1<<20), z: z, changes: r.base != nil}, nil
}

func (o *object) close() {
	o.z.Close()
	_ = o.body.Close() // what was read is checked
}

// block reads the hole from a block on, if any, and then the entry's block.
func (o *object) block(from int64, e evidence.BlockEntry, b *Block) error {
	if err := o.hole(from, e.Index); err != nil {
		return err
	}
	if e.Length == 0 {
		return nil
	}
	if e.Offset != o.at || e.Length > 2*blockBytes {
		return fmt.Errorf("%w: the list says %d bytes at %d, where %d is next", evidence.ErrDigest, e.Length, e.Offset, o.at)
	}
	o.frame = grow(o.frame, int(e.Length))
	if err := o.read(o.frame); err != nil {
		return err
	}
	raw, err := o.z.DecodeAll(o.frame, make([]byte, 0, blockBytes))
	if err != nil {
		return fmt.Errorf("%w: %w", evidence.ErrDigest, err)
	}
	if sum := sha256.Sum256(raw); sum != e.Sum {
		return fmt.Errorf("%w: its %d bytes have SHA-256 %x, not %x", evidence.ErrDigest, len(raw), sum, e.Sum)
	}
	b.Raw = raw
	o.table = append(o.table, frameSize{uint32(e.Length), blockBytes})
	return nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func (o *object) read(b []byte) error {
	n, err := io.ReadFull(o.r, b)
	o.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the object ends after %d bytes", evidence.ErrDigest, o.at)
	}
	return err
}

// expect reads what must come next.
func (o *object) expect(want []byte, what string) error {
	at := o.at
	o.frame = grow(o.frame, len(want))
	if err := o.read(o.frame); err != nil {
		return err
	}
	if !bytes.Equal(o.frame, want) {
		return fmt.Errorf("%w: at byte %d it is not %s", evidence.ErrDigest, at, what)
	}
	return nil
}

// hole reads the frames of zeros between two blocks.
func (o *object) hole(from, to int64) error {
	for !o.changes && from < to {
		n := min(to-from, holeBlocks)
		o.want = appendZeros(o.want[:0], int(n))
		if err := o.expect(o.want, "zeros"); err != nil {
			return err
		}
		o.table = append(o.table, frameSize{uint32(len(o.want)), uint32(n * blockBytes)})
		from += n
	}
	return nil
}

// end reads the last hole and the seek table.
func (o *object) end(from, to int64, data evidence.Data) error {
	if err := o.hole(from, to); err != nil {
		return err
	}
	if err := o.expect(o.table.appendTo(nil), "the seek table"); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, o.r); err != nil || n > 0 {
		return errors.Join(fmt.Errorf("%w: %d bytes too many", evidence.ErrDigest, n), err)
	}
	if sum := fmt.Sprintf("%08x", o.crc.sum); o.at != data.Bytes || sum != data.CRC32C {
		return fmt.Errorf("%w: %d bytes with CRC-32C %s, not %d with %s", evidence.ErrDigest, o.at, sum, data.Bytes, data.CRC32C)
	}
	return nil
}
