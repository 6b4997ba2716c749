package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// bbolt trusts its pages. A damaged file can make it follow a page that refers
// to itself until the stack overflows, or read far outside the file; neither can
// be caught. So the pages' structure is checked once before bbolt walks them.
// The format is that of bbolt's internal/common: page.go, bucket.go.
const (
	pageHeader  = 16 // id uint64, flags uint16, count uint16, overflow uint32
	pageElement = 16 // branch: pos, ksize uint32, page uint64; leaf: flags, pos, ksize, vsize uint32
	branchPage  = 0x01
	leafPage    = 0x02
	freePage    = 0x10
	metaFree    = 32   // where a meta page, behind its header, names the list of free pages
	bucketFlag  = 0x01 // of a leaf's element: the value is a bucket
	bucketValue = 16   // its root page uint64, sequence uint64; an inline page follows where the root is 0
)

// pageWalk visits every page of the tree.
type pageWalk struct {
	file *os.File
	size uint64 // of a page, in bytes
	end  uint64 // pages in use
	todo []uint64
	seen map[uint64]bool
}

// checkPages proves that every page that a transaction can reach is reached
// once, lies in the file and keeps to its bounds, and that bbolt holds none of
// them for free: the next commit would overwrite it.
func checkPages(tx *bbolt.Tx) error {
	path := tx.DB().Path()
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	size := uint64(tx.DB().Info().PageSize)
	w := pageWalk{file: file, size: size, end: uint64(tx.Size()) / size, seen: make(map[uint64]bool)}
	w.todo = append(w.todo, uint64(tx.Cursor().Bucket().RootPage()))
	for len(w.todo) > 0 {
		id := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		page, err := w.read(id)
		if err == nil {
			err = w.elements(page)
		}
		if err != nil {
			return &CorruptError{Path: path, Reason: fmt.Sprintf("page %d %v", id, err)}
		}
	}
	if err := w.free(uint64(tx.ID())); err != nil {
		return &CorruptError{Path: path, Reason: "the list of free pages " + err.Error()}
	}
	return nil
}

// free checks the list of free pages. Two meta pages take turns; that of this
// transaction names the list's page.
func (w *pageWalk) free(transaction uint64) error {
	meta := make([]byte, 8)
	if _, err := w.file.ReadAt(meta, int64(transaction%2*w.size+pageHeader+metaFree)); err != nil {
		return err
	}
	page, err := w.read(binary.NativeEndian.Uint64(meta))
	if err != nil {
		return err
	}
	count, ids := uint64(binary.NativeEndian.Uint16(page[10:])), page[pageHeader:]
	if count == 0xffff { // too many for the header: the list begins with their number
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if flags := binary.NativeEndian.Uint16(page[8:]); flags != freePage || count > uint64(len(ids)/8) {
		return errors.New("is damaged")
	}
	for ids = ids[:count*8]; len(ids) > 0; ids = ids[8:] {
		id := binary.NativeEndian.Uint64(ids)
		if id < 2 || id >= w.end || w.seen[id] {
			return fmt.Errorf("names page %d, which is not free", id)
		}
		w.seen[id] = true
	}
	return nil
}

// read returns a page that nothing has referred to yet.
func (w *pageWalk) read(id uint64) ([]byte, error) {
	if id < 2 || id >= w.end {
		return nil, fmt.Errorf("is not among the %d in use", w.end)
	}
	page := make([]byte, w.size)
	if _, err := w.file.ReadAt(page, int64(id*w.size)); err != nil {
		return nil, err
	}
	if got := binary.NativeEndian.Uint64(page); got != id {
		return nil, fmt.Errorf("says that it is page %d", got)
	}
	overflow := uint64(binary.NativeEndian.Uint32(page[12:]))
	if id+overflow >= w.end {
		return nil, errors.New("reaches beyond those in use")
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i] {
			return nil, errors.New("is referred to twice")
		}
		w.seen[i] = true
	}
	if overflow == 0 {
		return page, nil
	}
	page = make([]byte, (1+overflow)*w.size)
	_, err := w.file.ReadAt(page, int64(id*w.size))
	return page, err
}

// elements checks a page's elements, and puts down the pages they refer to.
func (w *pageWalk) elements(page []byte) error {
	u32 := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(page[i:])) }
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*pageElement > len(page) {
		return fmt.Errorf("has no room for %d elements", count)
	}
	for i := pageHeader; i < pageHeader+count*pageElement; i += pageElement {
		switch flags {
		case branchPage:
			if uint64(i)+u32(i)+u32(i+4) > uint64(len(page)) {
				return errors.New("has a key outside")
			}
			w.todo = append(w.todo, binary.NativeEndian.Uint64(page[i+8:]))
		case leafPage:
			value := uint64(i) + u32(i+4) + u32(i+8)
			end := value + u32(i+12)
			if end > uint64(len(page)) {
				return errors.New("has an entry outside")
			}
			if u32(i)&bucketFlag == 0 {
				continue
			}
			if err := w.bucket(page[value:end]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("is of no known kind (%#x)", flags)
		}
	}
	return nil
}

// bucket checks a nested bucket: a page of its own, or one inside the value.
func (w *pageWalk) bucket(value []byte) error {
	if len(value) < bucketValue {
		return errors.New("has a bucket cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		w.todo = append(w.todo, root)
		return nil
	}
	inline := value[bucketValue:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return errors.New("has a bucket cut short")
	}
	return w.elements(inline)
}
