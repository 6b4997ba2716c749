package diskimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// Reader reads an image from a store and checks all of it.
type Reader struct {
	store evidence.Store
	image evidence.Image
	base  *Reader
}

// Open reads an image's index, which must have the digest that ref names, and
// those of the images that it builds on.
func Open(ctx context.Context, store evidence.Store, ref evidence.Ref) (*Reader, error) {
	r := &Reader{store: store}
	b, err := read(ctx, store, ref)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &r.image); err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Key, err)
	}
	i := r.image
	if i.Schema != evidence.ImageSchema {
		return nil, fmt.Errorf("%s: schema %q; this version reads %s", ref.Key, i.Schema, evidence.ImageSchema)
	}
	if i.BlockBytes != blockBytes || i.Bytes <= 0 || i.Bytes%blockBytes != 0 || i.SegmentBytes <= 0 || i.SegmentBytes%blockBytes != 0 {
		return nil, fmt.Errorf("%s: %d bytes in segments of %d and blocks of %d make no image", ref.Key, i.Bytes, i.SegmentBytes, i.BlockBytes)
	}
	if i.Base != nil {
		if r.base, err = Open(ctx, store, i.Base.Ref); err != nil {
			return nil, fmt.Errorf("image %s builds on %s: %w", i.Item, i.Base.Item, err)
		}
	}
	return r, nil
}

// Image is the image's index.
func (r *Reader) Image() evidence.Image { return r.image }

// Base is the image that this one builds on; nil for a full one.
func (r *Reader) Base() *Reader { return r.base }

// Segments yields the indexes of the image's own segments, checked.
func (r *Reader) Segments(ctx context.Context) iter.Seq2[evidence.Segment, error] {
	return func(yield func(evidence.Segment, error) bool) {
		for n := range r.image.Segments {
			if s, err := r.segment(ctx, n); !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// segment reads the index of the image's n-th stored segment.
func (r *Reader) segment(ctx context.Context, n int) (evidence.Segment, error) {
	var s evidence.Segment
	ref := r.image.Segments[n]
	b, err := read(ctx, r.store, ref)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", ref.Key, err)
	}
	want := min(r.image.SegmentBytes, r.image.Bytes-s.Offset)
	if s.Schema != evidence.SegmentSchema || s.Offset != int64(s.Number)*r.image.SegmentBytes || s.Number < 0 || s.Bytes != want || want <= 0 || r.base == nil && s.Number != n {
		return s, fmt.Errorf("%s: it is no segment of this image", ref.Key)
	}
	return s, nil
}

// Verify reads every byte of the image, and of those it builds on, and checks
// it: each block's digest, the Merkle root, what lies between the blocks and,
// where the image has one, the SHA-256 of the raw disk. Progress, where set, is called with blocks done.
func (r *Reader) Verify(ctx context.Context, progress func(blocks int64)) error {
	_, err := r.read(ctx, r.image.SHA256 != "", progress, func(Block) error { return nil })
	return err
}

// Blocks reads every byte of the image and checks it as Verify does. sink gets each block
// that holds data, in order, with its digest checked, and may keep it; whether
// the image is whole is only known once Blocks returns nil.
func (r *Reader) Blocks(ctx context.Context, sink func(Block) error) error {
	_, err := r.read(ctx, r.image.SHA256 != "", nil, func(b Block) error {
		if b.Raw == nil {
			return nil
		}
		return sink(b)
	})
	return err
}

// Disk is where an image is restored to: a file.
type Disk interface {
	WriteAt(b []byte, offset int64) (int, error)
	Truncate(size int64) error
}

// Allocated is how many bytes of the raw disk are no holes: the most that Restore writes. Of an
// image of changes the block lists are read, its base's too.
func (r *Reader) Allocated(ctx context.Context) (int64, error) {
	if r.base == nil {
		return r.image.Blocks * blockBytes, nil
	}
	var n int64
	for b, err := range r.blocks(ctx, false) {
		if err != nil {
			return 0, err
		}
		if b.Sum != evidence.ZeroBlock() {
			n++
		}
	}
	return n * blockBytes, nil
}

// holeBytes is the smallest stretch of zeros that Restore leaves out: file systems
// keep holes in blocks of 4 KiB and more.
const holeBytes = 64 << 10

// Restore writes the raw disk to an empty file, with holes for zeros, checks
// it as Verify does and returns its SHA-256, hexadecimal.
func (r *Reader) Restore(ctx context.Context, disk Disk, progress func(blocks int64)) (sha string, err error) {
	if err := disk.Truncate(r.image.Bytes); err != nil {
		return "", err
	}
	return r.read(ctx, true, progress, func(b Block) error {
		for at := 0; at < len(b.Raw); at += holeBytes {
			if piece := b.Raw[at : at+holeBytes]; string(piece) != string(zeros[:holeBytes]) {
				if _, err := disk.WriteAt(piece, b.Index*blockBytes+int64(at)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// read checks the image; sink gets its blocks in order.
func (r *Reader) read(ctx context.Context, hashed bool, progress func(int64), sink func(Block) error) (string, error) {
	g, gctx := errgroup.WithContext(ctx)
	blocks := make(chan Block, 8)
	g.Go(func() error {
		defer close(blocks)
		for b, err := range r.blocks(gctx, true) {
			if err != nil {
				return err
			}
			select {
			case blocks <- b:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		}
		return nil
	})
	sum := &summer{image: r.image}
	if hashed {
		sum.raw = sha256.New()
	}
	g.Go(func() error {
		done := int64(0)
		for b := range blocks {
			if err := sum.add(gctx, b); err != nil {
				return err
			}
			if err := sink(b); err != nil {
				return err
			}
			if done++; progress != nil {
				progress(done)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return "", err
	}
	return sum.check(ctx)
}

// summer computes an image's digests from its blocks.
type summer struct {
	image evidence.Image
	tree  evidence.Tree
	raw   hash.Hash // nil: not wanted
}

func (s *summer) add(ctx context.Context, b Block) error {
	if b.Index < s.tree.Len() || b.Index >= s.image.Bytes/blockBytes {
		return fmt.Errorf("block %d does not belong there", b.Index)
	}
	if err := s.zerosTo(ctx, b.Index); err != nil {
		return err
	}
	if b.Raw == nil {
		return s.zerosTo(ctx, b.Index+1)
	}
	s.tree.Add(b.Sum)
	if s.raw != nil {
		s.raw.Write(b.Raw)
	}
	return nil
}

func (s *summer) zerosTo(ctx context.Context, index int64) error {
	n := index - s.tree.Len()
	s.tree.AddZeros(n)
	for ; s.raw != nil && n > 0; n-- {
		s.raw.Write(zeros[:])
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// check compares what was read with what the image's index says.
func (s *summer) check(ctx context.Context) (sha string, err error) {
	if err := s.zerosTo(ctx, s.image.Bytes/blockBytes); err != nil {
		return "", err
	}
	if root := s.tree.Root(); root != s.image.Root {
		return "", fmt.Errorf("%w: the blocks of %s have the Merkle root %s, not %s", evidence.ErrDigest, s.image.Item, root, s.image.Root)
	}
	if s.raw == nil {
		return "", nil
	}
	sha = hex.EncodeToString(s.raw.Sum(nil))
	if s.image.SHA256 != "" && sha != s.image.SHA256 {
		return "", fmt.Errorf("%w: the raw disk of %s has SHA-256 %s, not %s", evidence.ErrDigest, s.image.Item, sha, s.image.SHA256)
	}
	return sha, nil
}

// blocks yields the blocks of the raw disk that are not holes, in order. With data they are read
// and checked; otherwise Index and Sum are filled in, from the block lists alone.
func (r *Reader) blocks(ctx context.Context, data bool) iter.Seq2[Block, error] {
	own := func(yield func(Block, error) bool) {
		stopped := errors.New("nobody wants more")
		for n := range r.image.Segments {
			err := r.segmentBlocks(ctx, n, data, func(b Block) error {
				if !yield(b, nil) {
					return stopped
				}
				return nil
			})
			if errors.Is(err, stopped) {
				return
			}
			if err != nil {
				yield(Block{}, fmt.Errorf("image %s: %w", r.image.Item, err))
				return
			}
		}
	}
	if r.base == nil {
		return own
	}
	return merged(r.base.blocks(ctx, data), own)
}

// merged yields both in order; where both have a block it is the newer one's.
func merged(older, newer iter.Seq2[Block, error]) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		next, stop := iter.Pull2(older)
		defer stop()
		old, err, ok := next()
		for b, berr := range newer {
			for ; berr == nil && ok && (err != nil || old.Index < b.Index); old, err, ok = next() {
				if !yield(old, err) || err != nil {
					return
				}
			}
			if ok && old.Index == b.Index {
				old, err, ok = next()
			}
			if !yield(b, berr) || berr != nil {
				return
			}
		}
		for ; ok; old, err, ok = next() {
			if !yield(old, err) || err != nil {
				return
			}
		}
	}
}
