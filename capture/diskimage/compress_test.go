package diskimage

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// drawn makes a block, up to a whole one, of what a fuzzer gives: each instruction adds bytes, repeats some or changes some.
func drawn(instructions []byte) []byte {
	b := make([]byte, 0, 2*blockBytes)
	seed := uint32(1)
	random := func() int { // fast, which matters here more than how it is distributed
		seed = seed*1664525 + 1013904223
		return int(seed >> 8)
	}
	for _, in := range instructions {
		if len(b) >= blockBytes {
			break
		}
		n := 1 << (in >> 4) // up to 32 KiB
		n += random() % n
		switch from := len(b) - 1 - random()%(len(b)+1); {
		case in&3 == 0 || from < 0: // bytes of any value, or of few
			few := byte(random()) | 15
			for range n {
				b = append(b, byte(random())&few)
			}
		case in&3 == 1:
			b = append(b, bytes.Repeat(b[len(b)-1:], n)...)
		default: // what was there before, perhaps overlapping, perhaps with a byte changed now and then
			change := random() % 64
			for k := range n {
				next := b[from+k]
				if in&3 == 3 && change > 0 && k%change == 0 {
					next++
				}
				b = append(b, next)
			}
		}
	}
	return b[:min(len(b), blockBytes)]
}

func FuzzFrameHoldsItsBlock(f *testing.F) {
	f.Add([]byte{0x00})
	f.Add([]byte{0x80, 0xF1})
	f.Add(bytes.Repeat([]byte{0xF1}, 20))
	f.Add(bytes.Repeat([]byte{0x70, 0x72, 0x33, 0x43}, 1000))
	f.Add(bytes.Repeat([]byte{0x30, 0x32}, 8000))
	f.Add(bytes.Repeat([]byte{0xF0, 0xE3, 0xF2}, 10))
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(blockBytes))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(decoder.Close)
	one, other := newCompressor(), newCompressor()
	f.Fuzz(func(t *testing.T, instructions []byte) {
		block := drawn(instructions)
		if len(block) == 0 {
			return
		}
		frame := one.appendFrame(nil, block)
		if got, err := decoder.DecodeAll(frame, nil); err != nil || !bytes.Equal(got, block) {
			t.Fatalf("a frame of %d bytes reads as %d bytes, error %v", len(frame), len(got), err)
		}
		other.appendFrame(nil, block[len(block)/2:])
		if again := other.appendFrame(nil, block); !bytes.Equal(frame, again) {
			t.Errorf("the frame depends on what was compressed before: %d and %d bytes", len(frame), len(again))
		}
	})
}

func TestTheZstdCommandReadsCompressedBlocks(t *testing.T) {
	command, err := exec.LookPath("zstd")
	if err != nil {
		if os.Getenv("CORDON_CONFORMANCE") == "required" {
			t.Fatal(err)
		}
		t.Skip("there is no zstd command")
	}
	var frames, want []byte
	c, random := newCompressor(), rand.New(rand.NewPCG(2, 3))
	for range 64 {
		instructions := make([]byte, 2000+random.IntN(2000))
		for i := range instructions {
			instructions[i] = byte(random.Uint32())
		}
		block := drawn(instructions)
		frames, want = c.appendFrame(frames, block), append(want, block...)
	}
	if len(frames) > len(want)*3/4 {
		t.Errorf("%d bytes became %d: most were stored as they are", len(want), len(frames))
	}
	cmd := exec.CommandContext(t.Context(), command, "-d", "-c")
	cmd.Stdin = bytes.NewReader(frames)
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

// A sum that is wrong shifts all codes after it, which decoders may take for other data.
func TestEveryStateOfACodeIsReached(t *testing.T) {
	for name, c := range map[string]struct {
		states     states
		log, codes int
	}{"literals": {literalStates, 6, 36}, "matches": {matchStates, 6, 53}, "offsets": {offsetStates, 5, 29}} {
		said := map[uint32]int{}
		for code := range c.codes {
			for to := range 1 << c.log {
				step := c.states[code<<6|to]
				state, low, n := step&0xff, step>>8&0xff, step>>16
				if low != uint32(to)&(1<<n-1) || n > uint32(c.log) {
					t.Fatalf("%s: code %d to state %d writes %d in %d bits", name, code, to, low, n)
				}
				if was, ok := said[state]; ok && was != code {
					t.Fatalf("%s: state %d says the codes %d and %d", name, state, was, code)
				}
				said[state] = code
			}
		}
		if len(said) != 1<<c.log {
			t.Errorf("%s: %d states of %d", name, len(said), 1<<c.log)
		}
	}
}
