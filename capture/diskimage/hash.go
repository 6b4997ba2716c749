package diskimage

import (
	"context"
	"encoding"
	"fmt"
	"hash"
	"runtime"
)

// hashAhead is how many blocks may wait for the hash.
const hashAhead = 8

// toHash is what the hash over the raw disk comes to next: a block, zeros, or
// somebody who asks for its state at this point.
type toHash struct {
	block Block
	zeros int64
	state chan<- []byte
}

// toHash hands on what comes next. Without a hash over the whole disk there is
// nothing to do.
func (w *Writer) toHash(next toHash) error {
	if w.raw == nil {
		next.block.done()
		return nil
	}
	select {
	case w.hashing <- next:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// zeros is what a hole reads as.
var zeros [blockBytes]byte

// hash is the one thing that can't be done in parallel: SHA-256 of a disk is
// one chain over all its bytes, holes included, so it has a goroutine of its own.
func (w *Writer) hash() error {
	for next := range w.hashing {
		switch {
		case next.state != nil:
			state, err := w.raw.(encoding.BinaryMarshaler).MarshalBinary()
			if err != nil {
				return fmt.Errorf("state of the hash: %w", err)
			}
			next.state <- state
		case next.zeros > 0:
			for n := next.zeros; n > 0; n -= int64(len(zeros)) {
				w.raw.Write(zeros[:])
			}
		case next.block.Raw != nil:
			writeCold(w.raw, next.block.Raw)
			next.block.done()
		}
		if err := w.ctx.Err(); err != nil {
			return context.Cause(w.ctx)
		}
	}
	return nil
}

// writeCold writes a block that has left the processor's cache since it was read: SHA-256 alone does not make the
// processor fetch ahead, which costs it a third of its speed. So each page is touched two pages before its turn.
func writeCold(h hash.Hash, b []byte) {
	const page = 4 << 10
	touched := byte(0)
	for at := 0; at < len(b); at += page {
		if ahead := at + 2*page; ahead < len(b) {
			touched ^= b[ahead]
		}
		h.Write(b[at : at+page])
	}
	runtime.KeepAlive(touched)
}

// hashState asks for the hash's state after all that was handed on so far; nil where
// there is no hash.
func (w *Writer) hashState() (<-chan []byte, error) {
	state := make(chan []byte, 1)
	if w.raw == nil {
		state <- nil
		return state, nil
	}
	return state, w.toHash(toHash{state: state})
}
