package diskimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// fold takes the writer to where the records of earlier tries end.
func (w *Writer) fold() error {
	hash := w.o.Hash
	for _, r := range w.o.Records {
		if r.Begun != nil {
			w.image, hash = *r.Begun, r.Hash
		}
		if r.Segment != nil {
			w.image.Segments = append(w.image.Segments, *r.Segment)
		}
		if r.At.Segment.Parts == 0 { // a segment begins, perhaps once more
			w.start, w.lists = r.At, nil
		}
		if r.List != nil {
			w.lists = append(w.lists, *r.List)
		}
		w.at = r.At
	}
	if len(w.o.Records) > 0 && w.o.Records[0].Begun == nil {
		return errors.New("the journal does not say how the image was begun")
	}
	if (w.image.Base != nil) != (w.o.Base != nil) {
		return errors.New("the image that this one builds on is missing")
	}
	if hash && w.image.Base == nil {
		w.raw = sha256.New()
	}
	return nil
}

// goOn prepares what the position alone does not say.
func (w *Writer) goOn() error {
	if len(w.o.Records) == 0 {
		begun := w.image
		return w.o.Record(w.ctx, Record{Item: w.image.Item, Begun: &begun, Hash: w.raw != nil})
	}
	if err := w.goOnWithSegment(); err != nil {
		return fmt.Errorf("going on with segment %d: %w", w.at.Segment.Number, err)
	}
	if w.raw != nil && len(w.at.SHA256) > 0 {
		if err := w.raw.(encoding.BinaryUnmarshaler).UnmarshalBinary(w.at.SHA256); err != nil {
			return fmt.Errorf("state of the hash in the journal: %w", err)
		}
	}
	if w.at.Segment.Sealed {
		return w.complete()
	}
	return nil
}

// goOnWithSegment finds the parts and reads back the block lists of the segment that is under way.
// Where the store has given up the upload (buckets can be told to, after some
// days), the segment starts over.
func (w *Writer) goOnWithSegment() error {
	s := &w.at.Segment
	if s.Upload.ID == "" {
		return nil
	}
	stored, err := w.o.Store.Parts(w.ctx, s.Upload)
	switch {
	case errors.Is(err, evidence.ErrNotFound) && s.Sealed:
		return nil // complete looks for the object
	case errors.Is(err, evidence.ErrNotFound):
		w.at = w.start
		w.at.Segment.Upload = evidence.Upload{}
		w.start, w.lists = w.at, nil
		return nil
	case err != nil:
		return err
	}
	w.there = make(map[int]evidence.Part, len(stored))
	for _, p := range stored {
		w.there[p.Number] = p
	}
	for n := 1; n <= s.Parts; n++ {
		p, ok := w.there[n]
		if !ok {
			return fmt.Errorf("part %d was stored and is gone", n)
		}
		done := &part{Part: p, stored: make(chan struct{})}
		close(done.stored)
		w.parts = append(w.parts, done)
	}
	if s.Sealed {
		return nil
	}
	return w.readTable()
}

// readTable makes the seek table again from the segment's block lists.
func (w *Writer) readTable() error {
	next := int64(w.at.Segment.Number) * (w.image.SegmentBytes / blockBytes)
	for _, l := range w.lists {
		b, err := read(w.ctx, w.o.Store, l)
		if err != nil {
			return err
		}
		err = evidence.ReadBlockList(bytes.NewReader(b), func(e evidence.BlockEntry) error {
			w.table = w.holes(w.table, next, e.Index)
			if e.Length > 0 {
				w.table = append(w.table, frameSize{uint32(e.Length), blockBytes})
			}
			next = e.Index + 1
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", l.Key, err)
		}
	}
	w.table = w.holes(w.table, next, w.at.Block)
	return nil
}

// holes appends the frames that fill makes of a hole.
func (w *Writer) holes(t seekTable, from, to int64) seekTable {
	if w.image.Base != nil {
		return t
	}
	for from < to {
		n := min(to-from, holeBlocks)
		t = append(t, frameSize{uint32(len(appendZeros(nil, int(n)))), uint32(n * blockBytes)})
		from += n
	}
	return t
}

// read gets a small object and checks it.
func read(ctx context.Context, store evidence.Store, ref evidence.Ref) ([]byte, error) {
	r, err := store.Get(ctx, ref.Key, ref.Version)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, ref.Bytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ref.Key, err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != ref.SHA256 {
		return nil, fmt.Errorf("%w: %s has SHA-256 %x, not %s", evidence.ErrDigest, ref.Key, sum, ref.SHA256)
	}
	return slices.Clip(b), nil
}

// crcReader sums and counts what passes.
type crcReader struct {
	r     io.Reader
	sum   uint32
	bytes int64
}

func (c *crcReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.sum = crc32.Update(c.sum, castagnoli, b[:n])
	c.bytes += int64(n)
	return n, err
}

func (c *crcReader) drain() error {
	_, err := io.Copy(io.Discard, c)
	return err
}
