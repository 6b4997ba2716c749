package diskimage

import (
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
)

// Buffers keeps buffers of a block each for use again. It is safe for concurrent use.
type Buffers struct {
	mu   sync.Mutex
	free [][]byte
}

// Get returns a buffer of a block with any content.
func (p *Buffers) Get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return make([]byte, blockBytes)
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	return b
}

// Put takes a buffer back.
func (p *Buffers) Put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b[:blockBytes])
}

// body of a part: pieces that lie where they were read to, or in buffers of its own.
type body struct {
	pieces [][]byte
	bytes  int
	crc    uint32
	own    [][]byte // buffers with what was copied; the last is not full
	used   int      // of the last
	open   bool     // the last piece ends where the last buffer goes on
	blocks []Block  // whose bytes are among the pieces
}

// copy appends what the caller uses again.
func (b *body) copy(from *Buffers, data []byte, crc uint32) {
	b.crc = combine(b.crc, crc, len(data))
	b.bytes += len(data)
	for len(data) > 0 {
		if len(b.own) == 0 || b.used == blockBytes {
			b.own, b.used, b.open = append(b.own, from.Get()), 0, false
		}
		last := b.own[len(b.own)-1]
		n := copy(last[b.used:], data)
		if end := len(b.pieces) - 1; b.open {
			b.pieces[end] = b.pieces[end][:len(b.pieces[end])+n]
		} else {
			b.pieces, b.open = append(b.pieces, last[b.used:b.used+n]), true
		}
		b.used += n
		data = data[n:]
	}
}

// small appends a few bytes.
func (b *body) small(from *Buffers, data []byte) {
	b.copy(from, data, crc32.Checksum(data, castagnoli))
}

// raw appends the frame that holds a block as it is, without copying it.
func (b *body) raw(block Block) {
	b.crc = combine(b.crc, block.crc, rawFrameBytes)
	b.bytes += rawFrameBytes
	b.pieces = append(b.pieces, rawFrame(block.Raw)...)
	b.open = false
	b.blocks = append(b.blocks, block)
}

// release gives back what the part was made of.
func (b *body) release(to *Buffers) {
	for _, own := range b.own {
		to.Put(own)
	}
	for _, block := range b.blocks {
		block.done()
	}
}

// reader reads the pieces one after the other.
func (b *body) reader() io.ReadSeeker { return &bodyReader{b: b} }

type bodyReader struct {
	b         *body
	at        int64
	piece, in int // where at is
}

func (r *bodyReader) Read(to []byte) (n int, err error) {
	for n < len(to) && r.piece < len(r.b.pieces) {
		m := copy(to[n:], r.b.pieces[r.piece][r.in:])
		n += m
		r.in += m
		if r.in == len(r.b.pieces[r.piece]) {
			r.piece, r.in = r.piece+1, 0
		}
	}
	r.at += int64(n)
	if n == 0 && len(to) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo spares io.Copy a buffer.
func (r *bodyReader) WriteTo(to io.Writer) (n int64, err error) {
	for r.piece < len(r.b.pieces) {
		m, err := to.Write(r.b.pieces[r.piece][r.in:])
		n += int64(m)
		r.at += int64(m)
		r.in += m
		if err != nil {
			return n, err
		}
		r.piece, r.in = r.piece+1, 0
	}
	return n, nil
}

func (r *bodyReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += int64(r.b.bytes)
	}
	if offset < 0 || offset > int64(r.b.bytes) {
		return 0, errors.New("seeking outside of the part")
	}
	r.at, r.piece, r.in = offset, 0, int(offset)
	for r.piece < len(r.b.pieces) && r.in >= len(r.b.pieces[r.piece]) {
		r.in -= len(r.b.pieces[r.piece])
		r.piece++
	}
	return offset, nil
}

// shared returns a block that is done with when two have said so.
func (b Block) shared() Block {
	if b.Done == nil {
		return b
	}
	var said atomic.Int32
	done := b.Done
	b.Done = func() {
		if said.Add(1) == 2 {
			done()
		}
	}
	return b
}
