package rehearsal

import (
	"bytes"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The disks that volumes can hold, made by disks/make.sh: real ext4 file
// systems with planted traces. A volume or snapshot names its disk, and must be
// as large at least: zeros follow. An empty name is a disk of zeros.
const (
	diskWebRoot = "web-root" // 2 GiB; UUID 5e1f0b6a-3f0c-4d8e-9a51-7c0de0c0ffee
	diskWebData = "web-data" // 1 GiB; UUID 0da7a000-51e5-4b1d-8c2e-0ddba11ca11e
)

// diskBlockSize is that of the EBS direct APIs, in bytes.
const diskBlockSize = 512 << 10

const (
	storedBlockSize = 4 << 10 // what disk_pack.go stores, the file systems' own block size
	storedPerBlock  = diskBlockSize / storedBlockSize
)

//go:embed disks/*.blocks
var diskFiles embed.FS

// disks are unpacked once, when first read; they never change.
var disks = map[string]func() (disk, error){
	diskWebRoot: sync.OnceValues(func() (disk, error) { return unpackDisk(diskWebRoot) }),
	diskWebData: sync.OnceValues(func() (disk, error) { return unpackDisk(diskWebData) }),
}

// disk holds the stored blocks that are not zeros, by their number.
type disk map[uint32][]byte

func unpackDisk(name string) (disk, error) {
	packed, err := diskFiles.ReadFile("disks/" + name + ".blocks")
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", name, err)
	}
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", name, err)
	}
	defer z.Close()
	d := make(disk)
	for {
		var number uint32
		if err := binary.Read(z, binary.BigEndian, &number); errors.Is(err, io.EOF) {
			return d, nil
		} else if err != nil {
			return nil, fmt.Errorf("disk %s: %w", name, err)
		}
		block := make([]byte, storedBlockSize)
		if _, err := io.ReadFull(z, block); err != nil {
			return nil, fmt.Errorf("disk %s, block %d: %w", name, number, err)
		}
		d[number] = block
	}
}

// openDisk panics where an embedded disk is damaged or unknown: the program
// itself is wrong then.
func openDisk(name string) disk {
	if name == "" {
		return nil
	}
	open, ok := disks[name]
	if !ok {
		panic("rehearsal: no disk " + name)
	}
	d, err := open()
	if err != nil {
		panic("rehearsal: " + err.Error())
	}
	return d
}

// diskBlock returns the 512 KiB block at index, or nil where it is all zeros or
// lies behind the end of a volume of size GiB.
func diskBlock(name string, size, index int32) []byte {
	d := openDisk(name)
	if index < 0 || int64(index) >= int64(size)<<30/diskBlockSize {
		return nil
	}
	var block []byte
	for n := range uint32(storedPerBlock) {
		stored, ok := d[uint32(index)*storedPerBlock+n]
		if !ok {
			continue
		}
		if block == nil {
			block = make([]byte, diskBlockSize)
		}
		copy(block[n*storedBlockSize:], stored)
	}
	return block
}

// diskBlocks lists the indexes of the 512 KiB blocks that are not all zeros, in order.
func diskBlocks(name string) []int32 {
	indexes := make(map[int32]struct{})
	for number := range openDisk(name) {
		indexes[int32(number/storedPerBlock)] = struct{}{}
	}
	return slices.Sorted(maps.Keys(indexes))
}

// changedBlocks lists the indexes of the 512 KiB blocks in which two disks differ, in order.
func changedBlocks(first, second string) []int32 {
	a, b := openDisk(first), openDisk(second)
	indexes := make(map[int32]struct{})
	for _, d := range []disk{a, b} {
		for number := range d {
			if !bytes.Equal(a[number], b[number]) {
				indexes[int32(number/storedPerBlock)] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(indexes))
}
