//go:build ignore

// Command disk_pack, run by disks/make.sh, reads a disk image and writes the 4 KiB blocks that are not
// all zeros, each after its number, as one zstd stream.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := pack(os.Stdout, bufio.NewReaderSize(os.Stdin, 1<<20)); err != nil {
		log.Fatal(err)
	}
}

func pack(w io.Writer, r io.Reader) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	var block, zero [4096]byte
	for n := uint32(0); ; n++ {
		if _, err := io.ReadFull(r, block[:]); errors.Is(err, io.EOF) {
			return z.Close()
		} else if err != nil {
			return err
		}
		if block == zero {
			continue
		}
		if err := binary.Write(z, binary.BigEndian, n); err != nil {
			return err
		}
		if _, err := z.Write(block[:]); err != nil {
			return err
		}
	}
}
