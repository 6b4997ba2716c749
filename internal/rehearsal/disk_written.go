package rehearsal

import (
	"fmt"
	"maps"
	"slices"
)

// writes are the 512 KiB blocks that were written over a volume's disk: the
// blob of each, by index; empty where it was discarded and reads as zeros.
type writes map[int32]string

// content of a volume or snapshot.
type content struct {
	disk    string
	size    int32 // GiB
	written writes
}

func (s *snapshot) content() content { return content{s.Disk, s.Size, s.Written} }

// has reports whether a block is there; what is not reads as zeros.
func (c content) has(index int32) bool {
	if blob, ok := c.written[index]; ok {
		return blob != ""
	}
	return diskBlock(c.disk, c.size, index) != nil
}

// blocks are the indexes of those that are there, in order.
func (c content) blocks() []int32 {
	var all []int32
	for _, index := range diskBlocks(c.disk) {
		if _, ok := c.written[index]; !ok {
			all = append(all, index)
		}
	}
	for index, blob := range c.written {
		if blob != "" {
			all = append(all, index)
		}
	}
	slices.Sort(all)
	return all
}

// changed are the indexes of the blocks in which two contents may differ, in order.
func changed(first, second content) []int32 {
	all := make(map[int32]struct{})
	for _, index := range changedBlocks(first.disk, second.disk) {
		all[index] = struct{}{}
	}
	for _, w := range []writes{first.written, second.written} {
		for index := range w {
			a, inFirst := first.written[index]
			b, inSecond := second.written[index]
			if inFirst != inSecond || a != b {
				all[index] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// block is the 512 KiB at index, or nil where it is not there.
func (w *world) block(c content, index int32) ([]byte, error) {
	if blob := c.written[index]; blob != "" {
		return w.blobs.get(blob)
	}
	if _, discarded := c.written[index]; discarded {
		return nil, nil
	}
	return diskBlock(c.disk, c.size, index), nil
}

// WriteBlock lets the instance write 512 KiB to a volume, or discard them where
// data is nil. Snapshots that were taken before keep what they hold.
func (a *Account) WriteBlock(volume string, index int32, data []byte) error {
	var err error
	if werr := a.with(func(w *world) bool {
		v := w.EC2.Volumes[volume]
		if v == nil || index < 0 || index >= v.Size*blocksPerGiB || data != nil && len(data) != diskBlockSize {
			err = fmt.Errorf("volume %q has no block %d of %d bytes", volume, index, len(data))
			return false
		}
		blob := ""
		if data != nil {
			if blob, err = w.blobs.put(data); err != nil {
				return false
			}
		}
		written := writes{index: blob}
		for i, old := range v.Written { // a snapshot may hold the old map
			if i != index {
				written[i] = old
			}
		}
		v.Written = written
		return true
	}); werr != nil {
		return werr
	}
	return err
}
