package evidence

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The schemas of a disk image's two kinds of index; docs/evidence-format.md
// describes both and the block lists.
const (
	ImageSchema   = "cordon.disk-image/2"
	SegmentSchema = "cordon.disk-segment/1"
)

// BlockBytes is the size of the blocks that an image is listed in: that of the
// EBS direct APIs.
const BlockBytes = 512 << 10

// Image is the index of a disk image, ITEM.json. It is stored last: what it
// names is there, whole and with retention. The item's Key and SHA256 are this
// index's; by the digests in it, it vouches for every byte of the image.
type Image struct {
	Schema       string    `json:"schema"`
	Item         string    `json:"item"`
	Snapshot     string    `json:"snapshot"`
	Volume       string    `json:"volume"`
	Acquired     time.Time `json:"acquired"`
	Bytes        int64     `json:"bytes"` // of the raw disk
	BlockBytes   int64     `json:"block_bytes"`
	SegmentBytes int64     `json:"segment_bytes"` // of raw disk, but for the last one
	// SHA256 of the raw disk, as sha256sum gives it. Empty where it was not
	// computed: an image of changes, or holes that take too long to hash.
	SHA256 string `json:"sha256,omitempty"`
	// Root of the Merkle tree over the SHA-256 of every block of the raw disk, holes and, in an
	// image of changes, the base's blocks included: see Tree.
	Root   string `json:"root"`
	Blocks int64  `json:"blocks"` // listed in all segments
	// Segments are the indexes of the segments, in order. In an image of
	// changes, those without any are left out.
	Segments []Ref `json:"segments"`
	// Base is the image that this one holds the changes to.
	Base *Base `json:"base,omitempty"`
}

// Base names the image that an image of changes builds on: its index.
type Base struct {
	Item     string `json:"item"`
	Snapshot string `json:"snapshot"`
	Ref
}

// Ref names an object in the same store, by its bytes.
type Ref struct {
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256"`
	Bytes   int64  `json:"bytes"`
}

// Segment is the index of one segment, ITEM.NNNNN.json, stored after the
// segment's data and block lists.
type Segment struct {
	Schema string `json:"schema"`
	Item   string `json:"item"`
	Number int    `json:"number"`
	Offset int64  `json:"offset"` // of its first byte on the raw disk
	Bytes  int64  `json:"bytes"`  // of raw disk
	Root   string `json:"root"`   // as Image.Root, of this segment's blocks
	// Data is a Zstandard file with a seek table. Decompressed it is the
	// segment's raw disk; in an image of changes, the listed blocks one after the other.
	Data Data `json:"data"`
	// Lists are the block lists, in order.
	Lists []Ref `json:"lists"`
}

// Data names a segment's object. It has no SHA-256 of its own, which would be
// another pass over every byte: its content is covered block by block, and
// what lies between the blocks is determined by the block list.
type Data struct {
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	Bytes   int64  `json:"bytes"`
	CRC32C  string `json:"crc32c"` // of the whole object, hexadecimal (RFC 3720, B.4)
}

// DataName is the name of a segment's object; Key makes the key of it.
func DataName(item string, segment int, changes bool) string {
	if changes {
		return fmt.Sprintf("%s.%05d.changes.zst", item, segment)
	}
	return fmt.Sprintf("%s.%05d.raw.zst", item, segment)
}

// SegmentName is the name of a segment's index.
func SegmentName(item string, segment int) string { return fmt.Sprintf("%s.%05d.json", item, segment) }

// ListName is the name of a segment's block list, counted from 0.
func ListName(item string, segment, list int) string {
	return fmt.Sprintf("%s.%05d.%04d.blocks", item, segment, list)
}

// BlockEntry is one line of a block list: INDEX SHA256 OFFSET LENGTH.
type BlockEntry struct {
	Index int64 // of the block on the raw disk
	Sum   [sha256.Size]byte
	// Offset and Length are where the block's Zstandard frame lies in the
	// segment's object. Length 0: the block was written once and is zeros now.
	Offset, Length int64
}

// AppendTo appends the line to b.
func (e BlockEntry) AppendTo(b []byte) []byte {
	b = strconv.AppendInt(b, e.Index, 10)
	b = append(b, ' ')
	b = hex.AppendEncode(b, e.Sum[:])
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Offset, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Length, 10)
	return append(b, '\n')
}

// ReadBlockList yields the entries of a block list. It fails where a line is
// not one, or where the blocks or their frames are out of order.
func ReadBlockList(r io.Reader, yield func(BlockEntry) error) error {
	lines := bufio.NewScanner(r)
	last := BlockEntry{Index: -1}
	for n := 1; lines.Scan(); n++ {
		e, err := parseBlockEntry(lines.Text())
		if err == nil && (e.Index <= last.Index || e.Length > 0 && e.Offset < last.Offset+last.Length) {
			err = fmt.Errorf("block %d after block %d: out of order", e.Index, last.Index)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := yield(e); err != nil {
			return err
		}
		last.Index = e.Index
		if e.Length > 0 {
			last.Offset, last.Length = e.Offset, e.Length
		}
	}
	return lines.Err()
}

func parseBlockEntry(line string) (e BlockEntry, err error) {
	f := strings.Split(line, " ")
	if len(f) != 4 {
		return e, fmt.Errorf("%q is not INDEX SHA256 OFFSET LENGTH", line)
	}
	for i, n := range map[int]*int64{0: &e.Index, 2: &e.Offset, 3: &e.Length} {
		if *n, err = strconv.ParseInt(f[i], 10, 64); err != nil || *n < 0 {
			return e, fmt.Errorf("%q is not a number from 0 on", f[i])
		}
	}
	sum, err := hex.DecodeString(f[1])
	if err != nil || len(sum) != sha256.Size {
		return e, fmt.Errorf("%q is not a SHA-256", f[1])
	}
	copy(e.Sum[:], sum)
	return e, nil
}
