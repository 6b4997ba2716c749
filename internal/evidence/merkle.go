package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/bits"
	"sync"
)

// Tree is a Merkle tree over the SHA-256 of each block of a disk, in order: RFC
// 6962, 2.1, with those 32 bytes as a leaf's data. It is kept as the roots of the complete
// subtrees that make it up, so it takes the same memory for any disk; a copy is a tree of its own,
// and its JSON can be journaled. The zero Tree is empty.
type Tree struct {
	size  int64
	n     int                        // complete subtrees, one for each bit that is set in size
	roots [maxTree][sha256.Size]byte // the largest first
}

// maxTree: 2^40 blocks are 512 PiB.
const maxTree = 40

func leaf(sum [sha256.Size]byte) [sha256.Size]byte {
	var b [1 + sha256.Size]byte
	copy(b[1:], sum[:])
	return sha256.Sum256(b[:])
}

func node(left, right [sha256.Size]byte) [sha256.Size]byte {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Len is the number of blocks.
func (t *Tree) Len() int64 { return t.size }

// Add appends a block.
func (t *Tree) Add(sum [sha256.Size]byte) { t.push(leaf(sum), 1) }

// push appends a complete subtree over n blocks, a power of two that divides the size.
func (t *Tree) push(root [sha256.Size]byte, n int64) {
	for ; t.size&n != 0; n <<= 1 { // the last subtree is as large: they make one
		t.n--
		root = node(t.roots[t.n], root)
		t.size -= n
	}
	t.roots[t.n] = root
	t.n++
	t.size += n
}

// zeroBlock is the SHA-256 of a block of zeros.
var zeroBlock = sha256.Sum256(make([]byte, BlockBytes))

// ZeroBlock is the SHA-256 of a block of zeros.
func ZeroBlock() [sha256.Size]byte { return zeroBlock }

// zeroRoots are the roots of the trees over 1, 2, 4, … blocks of zeros.
var zeroRoots = sync.OnceValue(func() (roots [maxTree][sha256.Size]byte) {
	roots[0] = leaf(zeroBlock)
	for i := 1; i < maxTree; i++ {
		roots[i] = node(roots[i-1], roots[i-1])
	}
	return roots
})

// AddZeros appends n blocks of zeros, a subtree at a time: a hole of any size
// takes a few dozen hashes at most.
func (t *Tree) AddZeros(n int64) {
	if n <= 0 {
		return
	}
	roots := zeroRoots()
	for n > 0 {
		i, size := 0, int64(1)
		for size*2 <= n && t.size&(size*2-1) == 0 {
			i, size = i+1, size*2
		}
		t.push(roots[i], size)
		n -= size
	}
}

// Root is the tree's hash, hexadecimal.
func (t *Tree) Root() string {
	if t.n == 0 {
		empty := sha256.Sum256(nil)
		return hex.EncodeToString(empty[:])
	}
	root := t.roots[t.n-1]
	for i := t.n - 2; i >= 0; i-- {
		root = node(t.roots[i], root)
	}
	return hex.EncodeToString(root[:])
}

// treeJSON is a Tree on its way through a journal.
type treeJSON struct {
	Size  int64    `json:"size"`
	Roots []string `json:"roots,omitempty"`
}

// MarshalJSON writes the tree's state.
func (t Tree) MarshalJSON() ([]byte, error) {
	j := treeJSON{Size: t.size}
	for _, r := range t.roots[:t.n] {
		j.Roots = append(j.Roots, hex.EncodeToString(r[:]))
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Tree) UnmarshalJSON(b []byte) error {
	var j treeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if j.Size < 0 || j.Size >= 1<<maxTree || bits.OnesCount64(uint64(j.Size)) != len(j.Roots) {
		return fmt.Errorf("a tree of %d blocks has not %d subtrees", j.Size, len(j.Roots))
	}
	*t = Tree{size: j.Size, n: len(j.Roots)}
	for i, s := range j.Roots {
		raw, err := hex.DecodeString(s)
		if err != nil || len(raw) != sha256.Size {
			return fmt.Errorf("%q is not a SHA-256", s)
		}
		copy(t.roots[i][:], raw)
	}
	return nil
}
