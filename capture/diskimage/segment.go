package diskimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// part of the current segment's object on its way into the store.
type part struct {
	evidence.Part               // valid once stored is closed
	stored        chan struct{} // closed when it is
}

func (w *Writer) put(contentType string) evidence.PutOptions {
	o := w.o.Put
	o.ContentType = contentType
	return o
}

func (w *Writer) key(name string) string { return w.o.Key(name) }

// begin starts the segment's object; a segment without any block of its own has none.
func (w *Writer) begin() error {
	key := w.key(evidence.DataName(w.image.Item, w.at.Segment.Number, w.image.Base != nil))
	u, err := w.o.Store.Begin(w.ctx, key, w.put("application/zstd"))
	if errors.Is(err, evidence.ErrExists) {
		err = incident.WithHint(err, "somebody else has stored this object, and the journal does not know of it: start another run")
	}
	if err != nil {
		return err
	}
	w.start.Segment.Upload, w.at.Segment.Upload = u, u
	return w.o.Record(w.ctx, Record{Item: w.image.Item, At: w.start})
}

// send hands the part that is being filled to a goroutine that stores it.
func (w *Writer) send() error {
	if w.at.Segment.Upload.ID == "" {
		if err := w.begin(); err != nil {
			return err
		}
	}
	body := w.part
	w.part = nil
	s := &w.at.Segment
	s.Parts++
	s.Bytes += int64(body.bytes)
	s.CRC32C = combine(s.CRC32C, body.crc, body.bytes)
	p := &part{stored: make(chan struct{}), Part: evidence.Part{Number: s.Parts, Bytes: int64(body.bytes), CRC32C: body.crc}}
	w.parts = append(w.parts, p)
	upload, there := s.Upload, w.there[s.Parts]
	w.g.Go(func() (err error) {
		// The same blocks make the same parts, so what a try before us has sent need not be sent again.
		if there.Bytes == p.Bytes && there.CRC32C == p.CRC32C {
			p.Part = there
		} else if p.Part, err = w.o.Store.Part(w.ctx, upload, p.Part, body.reader()); err != nil {
			return err
		}
		close(p.stored)
		body.release(w.o.Buffers)
		<-w.slots
		return nil
	})
	return nil
}

// commit records, once it is true, that everything up to here is stored. The
// image goes on being written meanwhile.
func (w *Writer) commit() error {
	select { // one commit at a time: they are recorded in order
	case <-w.committed:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	state, err := w.hashState()
	if err != nil {
		return err
	}
	at, list, parts, done := w.at, w.list, w.parts, make(chan struct{})
	w.list, w.committed = nil, done
	w.g.Go(func() error {
		if err := w.wait(parts); err != nil {
			return err
		}
		select {
		case at.SHA256 = <-state:
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
		r := Record{Item: w.image.Item, At: at}
		if len(list) > 0 {
			ref, err := w.store(evidence.ListName(w.image.Item, at.Segment.Number, len(w.lists)), "text/plain", list)
			if err != nil {
				return err
			}
			r.List = &ref
			w.lists = append(w.lists, ref)
		}
		if err := w.o.Record(w.ctx, r); err != nil {
			return err
		}
		close(done)
		return nil
	})
	return nil
}

func (w *Writer) wait(parts []*part) error {
	for _, p := range parts {
		select {
		case <-p.stored:
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
	return nil
}

// store puts a small object.
func (w *Writer) store(name, contentType string, b []byte) (evidence.Ref, error) {
	obj, err := w.o.Store.Put(w.ctx, w.key(name), bytes.NewReader(b), w.put(contentType))
	return evidence.Ref{Key: obj.Key, Version: obj.Version, SHA256: obj.SHA256, Bytes: obj.Bytes}, err
}

// endSegment stores what is left of the segment, waits until all of it is
// there, and makes the object. A segment of changes without any is not stored.
func (w *Writer) endSegment() error {
	if w.image.Base != nil && w.at.Segment.Blocks == 0 {
		w.nextSegment()
		return nil
	}
	if err := w.room(); err != nil {
		return err
	}
	w.part.small(w.o.Buffers, w.table.appendTo(nil))
	if err := w.send(); err != nil {
		return err
	}
	w.at.Segment.Sealed = true
	if err := w.commit(); err != nil {
		return err
	}
	select {
	case <-w.committed:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	return w.complete()
}

// complete makes the object of a sealed segment, and stores and records its index.
func (w *Writer) complete() error {
	obj, err := w.object()
	if err != nil {
		return err
	}
	s := w.at.Segment
	offset := int64(s.Number) * w.image.SegmentBytes
	index := evidence.Segment{
		Schema: evidence.SegmentSchema, Item: w.image.Item, Number: s.Number, Offset: offset, Bytes: w.at.Block*blockBytes - offset,
		Root: s.Tree.Root(), Lists: w.lists,
		Data: evidence.Data{Key: obj.Key, Version: obj.Version, Bytes: obj.Bytes, CRC32C: fmt.Sprintf("%08x", s.CRC32C)},
	}
	b, err := json.Marshal(index)
	if err != nil {
		return err
	}
	ref, err := w.store(evidence.SegmentName(w.image.Item, s.Number), "application/json", b)
	if err != nil {
		return err
	}
	state, err := w.hashState()
	if err != nil {
		return err
	}
	select {
	case w.at.SHA256 = <-state:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	w.image.Segments = append(w.image.Segments, ref)
	w.nextSegment()
	return w.o.Record(w.ctx, Record{Item: w.image.Item, Segment: &ref, At: w.at})
}

func (w *Writer) nextSegment() {
	w.at.Segment = SegmentPosition{Number: w.at.Segment.Number + 1}
	w.start, w.lists, w.list, w.table, w.parts, w.there = w.at, nil, nil, nil, nil, nil
}

// object completes the upload. Where a try before us did, and died before it could record that, the
// parts are not known any more: the object is read and compared.
func (w *Writer) object() (evidence.Object, error) {
	parts := make([]evidence.Part, 0, len(w.parts))
	for _, p := range w.parts {
		parts = append(parts, p.Part)
	}
	s := w.at.Segment
	if len(parts) == s.Parts {
		return w.o.Store.Complete(w.ctx, s.Upload, parts)
	}
	obj, err := w.o.Store.Stat(w.ctx, s.Upload.Key, "")
	if err != nil {
		return obj, err
	}
	if obj.Mode == evidence.ModeNone && !s.Upload.AllowUnlocked {
		return obj, fmt.Errorf("%w: %s is stored without retention", evidence.ErrNotLocked, obj.Location)
	}
	r, err := w.o.Store.Get(w.ctx, obj.Key, obj.Version)
	if err != nil {
		return obj, err
	}
	defer r.Close()
	crc := &crcReader{r: r}
	if err := crc.drain(); err != nil {
		return obj, fmt.Errorf("reading %s: %w", obj.Location, err)
	}
	if crc.bytes != s.Bytes || crc.sum != s.CRC32C {
		return obj, fmt.Errorf("%w: %s has %d bytes and CRC-32C %08x, ours has %d and %08x", evidence.ErrExists, obj.Location, crc.bytes, crc.sum, s.Bytes, s.CRC32C)
	}
	return obj, nil
}

// finish stores the image's index: the image exists.
func (w *Writer) finish(ctx context.Context) (evidence.Image, evidence.Object, error) {
	w.image.Root, w.image.Blocks = w.at.Tree.Root(), w.at.Blocks
	if w.raw != nil {
		w.image.SHA256 = hex.EncodeToString(w.raw.Sum(nil))
	}
	b, err := json.Marshal(w.image)
	if err != nil {
		return w.image, evidence.Object{}, err
	}
	o := w.put("application/json")
	sum := sha256.Sum256(b)
	o.SHA256 = hex.EncodeToString(sum[:])
	obj, err := w.o.Store.Put(ctx, w.key(w.image.Item+".json"), bytes.NewReader(b), o)
	return w.image, obj, err
}
