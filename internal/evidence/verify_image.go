package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// image checks what the index of a disk image names: the segments' indexes, their
// block lists, and every block. The index itself has been read and is whole.
func (c *itemCheck) image(ctx context.Context) error {
	own, _ := c.find(c.ref())
	b, err := readBounded(ctx, c.Store, Object{Key: own.Key, Version: own.Version, Location: own.Location}, maxDocument)
	if err != nil {
		c.add(Unreadable, c.ref(), err.Error())
		return ctx.Err()
	}
	var index Image
	if err := json.Unmarshal(b, &index); err != nil || index.Schema != ImageSchema {
		c.add(Altered, c.ref(), fmt.Sprintf("it is not the index of a disk image (schema %q)", index.Schema))
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelObjects)
	for _, ref := range index.Segments {
		g.Go(func() error { return c.segment(gctx, ref, index.Base != nil) })
	}
	return g.Wait()
}

func (c *itemCheck) ref() Ref {
	return Ref{Key: c.Key, Version: c.Version, SHA256: c.SHA256, Bytes: c.Bytes}
}

// segment checks one: its index, its block lists and its data.
func (c *itemCheck) segment(ctx context.Context, ref Ref, changes bool) error {
	var b bytes.Buffer
	if ok, err := c.object(ctx, ref, false, &b); err != nil || !ok {
		return err
	}
	var s Segment
	if err := json.Unmarshal(b.Bytes(), &s); err != nil || s.Schema != SegmentSchema {
		c.add(Altered, ref, fmt.Sprintf("it is not the index of a segment (schema %q)", s.Schema))
		return nil
	}
	data := Ref{Key: s.Data.Key, Version: s.Data.Version, Bytes: s.Data.Bytes}
	c.names(data.Key)
	v, ok := c.find(data)
	if !ok {
		c.add(Missing, data, "version "+data.Version+" of the segment's data is not in the store")
		return nil
	}
	c.overlaid(&c.report.Findings, v)
	c.lock(ctx, &c.report.Findings, v, false)
	body, err := c.Store.Get(ctx, v.Key, v.Version)
	if err != nil {
		return c.unreadable(ctx, data, err)
	}
	defer body.Close()
	d, err := newSegmentReader(c.counting(body), s)
	if err != nil {
		return err
	}
	defer d.close()
	for _, list := range s.Lists {
		var b bytes.Buffer
		if ok, err := c.object(ctx, list, false, &b); err != nil || !ok {
			return err
		}
		if err := ReadBlockList(&b, d.block); err != nil {
			return c.altered(ctx, data, fmt.Errorf("by the block list %s: %w", list.Key, err))
		}
	}
	if err := d.finish(!changes); err != nil {
		return c.altered(ctx, data, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Objects++
	return nil
}

func (c *itemCheck) unreadable(ctx context.Context, ref Ref, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	problem := Unreadable
	if isNotFound(err) {
		problem = Missing
	}
	c.add(problem, ref, err.Error())
	return nil
}

func (c *itemCheck) altered(ctx context.Context, ref Ref, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.add(Altered, ref, err.Error())
	return nil
}

// segmentReader follows a segment's data from its first byte to its last, and
// checks each listed block on the way. It holds one block.
type segmentReader struct {
	r      io.Reader
	s      Segment
	crc    uint32
	offset int64 // read so far
	tree   Tree
	z      *zstd.Decoder
	frame  []byte
	raw    []byte
}

// maxFrame is the largest that a frame of a block can be: data that does not compress is
// stored as it is, with a few bytes of frame and block headers.
const maxFrame = BlockBytes + 64<<10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newSegmentReader(r io.Reader, s Segment) (*segmentReader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*BlockBytes))
	if err != nil {
		return nil, err
	}
	return &segmentReader{r: r, s: s, z: z, frame: make([]byte, maxFrame), raw: make([]byte, 0, BlockBytes)}, nil
}

func (d *segmentReader) close() { d.z.Close() }

// fill reads the next n bytes into the checksum and, where they are wanted, into b.
func (d *segmentReader) fill(b []byte, n int64) error {
	for n > 0 {
		part := d.frame[:min(n, int64(len(d.frame)))]
		if b != nil {
			part = b[:n]
		}
		read, err := io.ReadFull(d.r, part)
		d.crc = crc32.Update(d.crc, castagnoli, part[:read])
		d.offset += int64(read)
		if err != nil {
			return fmt.Errorf("it ends at byte %d of %d: %w", d.offset, d.s.Data.Bytes, err)
		}
		n -= int64(read)
	}
	return nil
}

// block checks the next listed block.
func (d *segmentReader) block(e BlockEntry) error {
	number := e.Index - d.s.Offset/BlockBytes - d.tree.Len()
	if number < 0 {
		return fmt.Errorf("block %d is not of this segment", e.Index)
	}
	d.tree.AddZeros(number)
	d.tree.Add(e.Sum)
	if e.Length == 0 {
		return nil
	}
	if e.Length > maxFrame || e.Offset < d.offset || e.Offset+e.Length > d.s.Data.Bytes {
		return fmt.Errorf("block %d cannot lie at %d, %d bytes long", e.Index, e.Offset, e.Length)
	}
	if err := d.fill(nil, e.Offset-d.offset); err != nil {
		return err
	}
	if err := d.fill(d.frame[:e.Length], e.Length); err != nil {
		return err
	}
	raw, err := d.z.DecodeAll(d.frame[:e.Length], d.raw[:0])
	if err != nil {
		return fmt.Errorf("block %d does not decompress: %w", e.Index, err)
	}
	if got := sha256.Sum256(raw); got != e.Sum {
		return fmt.Errorf("block %d has sha256 %x, listed %x", e.Index, got, e.Sum)
	}
	return nil
}

// finish reads what is left and compares what the segment's index says of the
// whole: size, checksum and, where all blocks are its own, the tree.
func (d *segmentReader) finish(whole bool) error {
	if err := d.fill(nil, d.s.Data.Bytes-d.offset); err != nil {
		return err
	}
	if n, _ := io.ReadFull(d.r, d.frame[:1]); n > 0 {
		return fmt.Errorf("it is longer than %d bytes", d.s.Data.Bytes)
	}
	if got := fmt.Sprintf("%08x", d.crc); got != d.s.Data.CRC32C {
		return fmt.Errorf("its CRC-32C is %s, recorded %s", got, d.s.Data.CRC32C)
	}
	if !whole {
		return nil
	}
	d.tree.AddZeros(d.s.Bytes/BlockBytes - d.tree.Len())
	if got := d.tree.Root(); got != d.s.Root {
		return fmt.Errorf("the tree over its blocks has the root %s, recorded %s", got, d.s.Root)
	}
	return nil
}
