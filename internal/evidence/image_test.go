package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// rfc6962 is the root by another implementation.
func rfc6962(t interface{ Fatal(...any) }, leaves [][sha256.Size]byte) string {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			out[i] = stored[n]
		}
		return out, nil
	})
	for i, l := range leaves {
		more, err := tlog.StoredHashes(int64(i), l[:], read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(int64(len(leaves)), read)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(root[:])
}

func TestATreeIsThatOfRFC6962HolesAndAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree evidence.Tree
		var leaves [][sha256.Size]byte
		for range rapid.IntRange(1, 12).Draw(t, "runs") {
			if n := rapid.IntRange(0, 40).Draw(t, "zeros"); n > 0 {
				tree.AddZeros(int64(n))
				for range n {
					leaves = append(leaves, evidence.ZeroBlock())
				}
			}
			sum := sha256.Sum256([]byte{rapid.Byte().Draw(t, "block")})
			tree.Add(sum)
			leaves = append(leaves, sum)
			if rapid.Bool().Draw(t, "journaled") {
				b, err := json.Marshal(tree)
				if err != nil {
					t.Fatal(err)
				}
				tree = evidence.Tree{}
				if err := json.Unmarshal(b, &tree); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, want := tree.Root(), rfc6962(t, leaves); got != want || tree.Len() != int64(len(leaves)) {
			t.Fatalf("%d leaves: got %s over %d, want %s", len(leaves), got, tree.Len(), want)
		}
	})
}

func FuzzBlockList(f *testing.F) {
	sum := sha256.Sum256(nil)
	one := evidence.BlockEntry{Index: 7, Sum: sum, Offset: 12, Length: 5}.AppendTo(nil)
	f.Add(one)
	f.Add(append(one, one...))
	f.Add([]byte("8 zz 0 0\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		var again []byte
		last := int64(-1)
		err := evidence.ReadBlockList(bytes.NewReader(list), func(e evidence.BlockEntry) error {
			if e.Index <= last {
				t.Fatalf("block %d after block %d", e.Index, last)
			}
			last = e.Index
			again = e.AppendTo(again)
			return nil
		})
		if err != nil {
			return
		}
		n := 0
		err = evidence.ReadBlockList(bytes.NewReader(again), func(evidence.BlockEntry) error { n++; return nil })
		if err != nil || n != bytes.Count(again, []byte("\n")) {
			t.Fatalf("%q was read, written as %q and then refused: %v", list, again, err)
		}
	})
}
