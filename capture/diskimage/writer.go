package diskimage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/evidence"
)

const (
	// DefaultSegment is the raw range of a segment in bytes, MaxSegment what 10,000 parts can hold
	// of data that does not compress.
	DefaultSegment = 64 << 30
	MaxSegment     = 96 << 30
	// PartBytes of a segment's object are sent at once, parallelParts side by
	// side: one connection to S3 moves some 100 MB/s.
	PartBytes, parallelParts = 12 << 20, 4
	// listParts lie between two checkpoints: a process that dies has at most
	// 480 MiB to read again, and an image of a TiB puts 2,000 records into the journal.
	listParts = 40
)

// Block is a block on its way into an image or out of it.
type Block struct {
	Index int64
	Sum   [sha256.Size]byte
	// Raw is the block; nil for one that is zeros now and was not in the image's base.
	Raw []byte
	// Done, where set, is called once Raw is needed no more.
	Done func()

	frame   []byte // what Encoder made of it; nil to store it as it is
	crc     uint32 // CRC-32C of the frame
	encoded bool
}

func (b Block) done() {
	if b.Done != nil {
		b.Done()
	}
}

// Options of Write.
type Options struct {
	Store evidence.Resumable
	Key   func(name string) string // of an object
	Put   evidence.PutOptions      // of every object; its ContentType is set
	// Image is what is known beforehand: Item to SegmentBytes, and Base. Of an
	// image that was begun before, the records count.
	Image evidence.Image
	Hash  bool    // the whole raw disk, too; never where there is a Base
	Base  *Reader // of Image.Base
	// Records are those that earlier tries gave to Record, oldest first.
	Records []Record
	// Record keeps a record: from what it says another process goes on.
	Record func(context.Context, Record) error
	// Buffers are shared with whoever reads the blocks; nil for some of its own.
	Buffers *Buffers
	// PartBytes and ListParts are the defaults where they are 0.
	PartBytes, ListParts int
}

// Record is what a later try needs. Every record says where the image stands,
// and what is new since the one before.
type Record struct {
	Item    string          `json:"item"`
	Begun   *evidence.Image `json:"begun,omitempty"`
	Hash    bool            `json:"hash,omitempty"`    // with Begun
	List    *evidence.Ref   `json:"list,omitempty"`    // stored for the current segment
	Segment *evidence.Ref   `json:"segment,omitempty"` // finished; At is the start of the next
	At      Position        `json:"at"`
}

// Position in an image: everything before it is in the store.
type Position struct {
	Block   int64           `json:"block"`            // the next one
	Blocks  int64           `json:"blocks"`           // listed so far
	SHA256  []byte          `json:"sha256,omitempty"` // state of the hash over the raw disk (encoding.BinaryMarshaler)
	Tree    evidence.Tree   `json:"tree"`
	Segment SegmentPosition `json:"segment"`
}

// SegmentPosition is the one within a segment.
type SegmentPosition struct {
	Number int             `json:"number"`
	Blocks int64           `json:"blocks"` // listed so far
	Tree   evidence.Tree   `json:"tree"`
	Upload evidence.Upload `json:"upload,omitzero"`
	Parts  int             `json:"parts"`
	Bytes  int64           `json:"bytes"` // in those parts
	CRC32C uint32          `json:"crc32c"`
	Sealed bool            `json:"sealed,omitempty"` // all parts are stored
}

// Writer puts an image together from its blocks, in order.
type Writer struct {
	o     Options
	image evidence.Image
	g     *errgroup.Group
	ctx   context.Context // ends with the first failure

	at    Position
	start Position       // of the current segment
	lists []evidence.Ref // of the current segment, but for what a commit under way adds
	list  []byte         // block list since the last commit
	table seekTable
	zeros []byte // the last frame of a hole: its memory

	part      *body
	slots     chan struct{} // one for each part in memory
	parts     []*part
	there     map[int]evidence.Part // that an earlier try has stored
	committed chan struct{}         // closed when the last commit is done

	raw     hash.Hash // of the raw disk; nil where it is not hashed
	hashing chan toHash

	base    func() (Block, error, bool) // the base's blocks
	baseTop Block
	baseOK  bool
}

// Write stores an image: it calls body, which adds the blocks from Writer.Next
// on, and returns the finished image and its index. Where it fails, what is
// stored already is no image yet, and Write with the records goes on from there. The same blocks make the same objects.
func Write(ctx context.Context, o Options, body func(context.Context, *Writer) error) (evidence.Image, evidence.Object, error) {
	w, err := newWriter(o)
	if err != nil {
		return evidence.Image{}, evidence.Object{}, err
	}
	w.g, w.ctx = errgroup.WithContext(ctx)
	if w.raw != nil {
		w.g.Go(w.hash)
	}
	w.g.Go(func() error {
		defer close(w.hashing)
		if o.Base != nil {
			next, stop := iter.Pull2(o.Base.blocks(w.ctx, false))
			defer stop()
			w.base = next
		}
		if err := w.goOn(); err != nil {
			return err
		}
		if err := body(w.ctx, w); err != nil {
			return err
		}
		return w.fill(w.blocks())
	})
	if err := w.g.Wait(); err != nil {
		return evidence.Image{}, evidence.Object{}, err
	}
	return w.finish(ctx)
}

func newWriter(o Options) (*Writer, error) {
	w := &Writer{o: o, image: o.Image, hashing: make(chan toHash, hashAhead), committed: make(chan struct{})}
	close(w.committed)
	if w.o.PartBytes == 0 {
		w.o.PartBytes = PartBytes
	}
	if w.o.ListParts == 0 {
		w.o.ListParts = listParts
	}
	if w.o.Buffers == nil {
		w.o.Buffers = new(Buffers)
	}
	w.slots = make(chan struct{}, parallelParts+1)
	if err := w.fold(); err != nil {
		return nil, err
	}
	w.image.Schema, w.image.BlockBytes = evidence.ImageSchema, blockBytes
	if w.image.Bytes <= 0 || w.image.Bytes%blockBytes != 0 {
		return nil, fmt.Errorf("a disk of %d bytes is not made of blocks of %d", w.image.Bytes, blockBytes)
	}
	if s := w.image.SegmentBytes; s <= 0 || s > MaxSegment || s%blockBytes != 0 {
		return nil, fmt.Errorf("segments of %d bytes: a multiple of %d up to %d is possible", s, blockBytes, int64(MaxSegment))
	}
	return w, nil
}

// Next is the first block that the image still needs: earlier ones are stored.
func (w *Writer) Next() int64 { return w.at.Block }

// Stored is how many blocks are listed so far.
func (w *Writer) Stored() int64 { return w.at.Blocks }

func (w *Writer) blocks() int64 { return w.image.Bytes / blockBytes }

// segmentEnd is the block after the current segment.
func (w *Writer) segmentEnd() int64 {
	return min(w.blocks(), (int64(w.at.Segment.Number)+1)*(w.image.SegmentBytes/blockBytes))
}

// Add appends a block; what lies before it is a hole, or the base's. One that
// no Encoder has seen is stored as it is.
func (w *Writer) Add(b Block) error {
	if b.Index < w.at.Block || b.Index >= w.blocks() || b.Raw != nil && len(b.Raw) != blockBytes {
		return fmt.Errorf("block %d of %d bytes does not fit: the disk has %d blocks, the next is %d", b.Index, len(b.Raw), w.blocks(), w.at.Block)
	}
	if err := w.fill(b.Index); err != nil {
		return err
	}
	if err := w.room(); err != nil {
		return err
	}
	before := w.part.bytes
	switch {
	case b.Raw == nil && w.base == nil:
		return fmt.Errorf("block %d is said to be zeros now, but the image builds on no other", b.Index)
	case b.Raw == nil:
	case b.Sum == evidence.ZeroBlock():
		w.zeros = appendZeros(w.zeros[:0], 1)
		w.part.small(w.o.Buffers, w.zeros)
	case b.frame != nil:
		w.part.copy(w.o.Buffers, b.frame, b.crc)
	default:
		if !b.encoded {
			b.crc = rawFrameCRC(b.Raw)
		}
		b = b.shared()
		w.part.raw(b)
	}
	e := evidence.BlockEntry{Index: b.Index, Sum: b.Sum, Length: int64(w.part.bytes - before)}
	if e.Length > 0 {
		e.Offset = w.at.Segment.Bytes + int64(before)
		w.table = append(w.table, frameSize{uint32(e.Length), blockBytes})
	}
	w.list = e.AppendTo(w.list)
	w.at.Tree.Add(b.Sum)
	w.at.Segment.Tree.Add(b.Sum)
	w.at.Blocks++
	w.at.Segment.Blocks++
	if err := w.toHash(toHash{block: b}); err != nil {
		return err
	}
	return w.advance(1)
}

// fill appends what lies before a block.
func (w *Writer) fill(to int64) error {
	for w.at.Block < to {
		n := min(to, w.segmentEnd()) - w.at.Block
		if w.base != nil {
			if err := w.addBase(w.at.Block + n); err != nil {
				return err
			}
		} else {
			n = min(n, holeBlocks)
			if err := w.room(); err != nil {
				return err
			}
			w.zeros = appendZeros(w.zeros[:0], int(n))
			w.part.small(w.o.Buffers, w.zeros)
			w.table = append(w.table, frameSize{uint32(len(w.zeros)), uint32(n * blockBytes)})
			w.addZeros(n)
			if err := w.toHash(toHash{zeros: n * blockBytes}); err != nil {
				return err
			}
		}
		if err := w.advance(n); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) addZeros(n int64) {
	w.at.Tree.AddZeros(n)
	w.at.Segment.Tree.AddZeros(n)
}

// addBase appends the digests of the base's blocks to the trees: they are in
// the image without being stored again.
func (w *Writer) addBase(to int64) error {
	for at := w.at.Block; at < to; {
		if !w.baseOK {
			var err error
			if w.baseTop, err, w.baseOK = w.base(); err != nil {
				return fmt.Errorf("the image that this one builds on: %w", err)
			}
			if !w.baseOK {
				w.addZeros(to - at)
				return nil
			}
		}
		next := w.baseTop.Index
		if next >= to {
			w.addZeros(to - at)
			return nil
		}
		if next >= at {
			w.addZeros(next - at)
			w.at.Tree.Add(w.baseTop.Sum)
			w.at.Segment.Tree.Add(w.baseTop.Sum)
			at = next + 1
		}
		w.baseOK = false
	}
	return nil
}

// room makes sure that there is a part to add to.
func (w *Writer) room() error {
	if w.part != nil {
		return nil
	}
	select {
	case w.slots <- struct{}{}:
		w.part = new(body)
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// advance moves on by n blocks, sends the part where it is full and ends the
// segment where it is.
func (w *Writer) advance(n int64) error {
	w.at.Block += n
	if w.at.Block == w.segmentEnd() {
		return w.endSegment()
	}
	if w.part == nil || w.part.bytes < w.o.PartBytes {
		return nil
	}
	if err := w.send(); err != nil {
		return err
	}
	if w.at.Segment.Parts%w.o.ListParts != 0 {
		return nil
	}
	return w.commit()
}
