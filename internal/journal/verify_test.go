package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
)

// finished is a closed journal of a few entries of several kinds.
func finished(t testing.TB, notes int) (dir string, key Key) {
	t.Helper()
	j, key := newCase(t, "INC-1")
	fill(t, j, notes)
	c := must(j.Checkpoint(t.Context()))
	for _, d := range []incident.Draft{
		{Type: incident.EntryCheckpoint, Run: "r1", Data: c},
		{Type: incident.EntryStepIntent, Run: "r1", Step: "cut", Target: "111122223333/eu-west-1/i-0abc", Data: incident.StepIntent{Action: "isolate.network", Try: 1}},
		{Type: incident.EntryRunEnded, Run: "r1", Data: incident.RunEnded{Outcome: incident.OutcomeSucceeded}},
	} {
		if _, err := j.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	return closed(t, j), key
}

// stored returns every entry as it is in the file.
func stored(t testing.TB, dir string) [][]byte {
	t.Helper()
	var raws [][]byte
	for from := uint64(0); ; from = uint64(len(raws)) {
		page, err := readFile(dir, from)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return raws
		}
		for _, r := range page {
			raws = append(raws, r.raw)
		}
	}
}

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// wantWrong checks that a verification failed, and at which entry. A negative
// seq means any.
func wantWrong(t testing.TB, err error, seq int, what string) {
	t.Helper()
	var wrong *VerifyError
	if !errors.As(err, &wrong) {
		t.Errorf("%s: got %v, want a *VerifyError", what, err)
	} else if seq >= 0 && wrong.Seq != uint64(seq) {
		t.Errorf("%s: got %v, want entry %d named", what, err, seq)
	}
}

func TestACopyVerifies(t *testing.T) {
	dir, key := finished(t, 2)
	dir = copyDir(t, dir)
	for _, name := range []string{File, CheckpointFile} {
		if err := os.Chmod(filepath.Join(dir, name), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	report, err := key.Verify(t.Context(), dir)
	if err != nil || report.Entries != 6 || report.Signed != 6 {
		t.Errorf("got %+v, %v", report, err)
	}
	if _, err := Verify(t.Context(), t.TempDir()); !errors.Is(err, ErrNoCase) {
		t.Errorf("an empty directory: got %v, want ErrNoCase", err)
	}
}

func TestEveryFlippedByteOfAnEntryIsFound(t *testing.T) {
	dir, _ := finished(t, 1)
	raws := stored(t, dir)
	for seq, raw := range raws {
		for i := range raw {
			flipped := bytes.Clone(raw)
			flipped[i] ^= 1 << (i % 8)
			change(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(entriesBucket).Put(itob(uint64(seq)), flipped) })
			_, err := Verify(t.Context(), dir)
			wantWrong(t, err, seq, fmt.Sprintf("byte %d of entry %d", i, seq))
		}
		change(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(entriesBucket).Put(itob(uint64(seq)), raw) })
	}
	if _, err := Verify(t.Context(), dir); err != nil {
		t.Errorf("after putting everything back: %v", err)
	}
}

func TestEveryRemovedEntryIsFound(t *testing.T) {
	dir, key := finished(t, 3)
	raws := stored(t, dir)
	replace := func(t *testing.T, with [][]byte) string {
		dir := copyDir(t, dir)
		change(t, dir, func(tx *bbolt.Tx) error {
			if err := errors.Join(tx.DeleteBucket(entriesBucket), tx.DeleteBucket(hashesBucket)); err != nil {
				return err
			}
			must(tx.CreateBucket(entriesBucket))
			must(tx.CreateBucket(hashesBucket))
			for i, raw := range with {
				if raw == nil {
					continue
				}
				if err := tx.Bucket(entriesBucket).Put(itob(uint64(i)), raw); err != nil {
					return err
				}
			}
			return nil
		})
		return dir
	}
	for gone := range raws {
		t.Run(fmt.Sprint(gone), func(t *testing.T) {
			gap := append([][]byte{}, raws...)
			gap[gone] = nil
			_, err := Verify(t.Context(), replace(t, gap))
			wantWrong(t, err, gone, "removed")

			moved := append(append([][]byte{}, raws[:gone]...), raws[gone+1:]...)
			_, err = Verify(t.Context(), replace(t, moved))
			wantWrong(t, err, gone, "removed, the keys renumbered")

			_, err = Verify(t.Context(), replace(t, rechain(moved)))
			wantWrong(t, err, -1, "removed, the rest renumbered and chained anew")
			_, err = Open(t.Context(), replace(t, rechain(moved)), key, newClock())
			if err == nil {
				t.Error("a journal chained anew was opened")
			}

			tail := raws[:gone]
			_, err = Verify(t.Context(), replace(t, tail))
			wantWrong(t, err, gone, "the tail removed")
		})
	}
}

// rechain does what someone without the signing key can: numbers, prev and
// hashes are all in order again.
func rechain(raws [][]byte) [][]byte {
	var out [][]byte
	prev := ""
	for i, raw := range raws {
		e := must(decode(raw))
		e.Seq, e.Prev = uint64(i), prev
		out = append(out, must(seal(e)))
		prev = must(decode(out[i])).Hash
	}
	return out
}

func TestAForgedEntryChainedAnewIsFound(t *testing.T) {
	dir, _ := finished(t, 3)
	raws := stored(t, dir)
	for i := range raws {
		forged := append([][]byte{}, raws...)
		e := must(decode(raws[i]))
		e.Actor = "nobody@nowhere"
		forged[i] = must(seal(e))
		forged = rechain(forged)
		dir := copyDir(t, dir)
		change(t, dir, func(tx *bbolt.Tx) error {
			must(0, tx.DeleteBucket(hashesBucket))
			must(tx.CreateBucket(hashesBucket))
			for i, raw := range forged {
				if err := put(tx, record{uint64(i), raw}); err != nil {
					return err
				}
			}
			return nil
		})
		_, err := Verify(t.Context(), dir)
		wantWrong(t, err, -1, fmt.Sprintf("entry %d forged", i))
	}
}

func TestAFileCutOffAtAnyLengthIsFound(t *testing.T) {
	dir, key := finished(t, 30)
	whole := must(os.ReadFile(filepath.Join(dir, File)))
	db := must(openDB(filepath.Join(dir, File), readOnly, lockPatience))
	var used int64
	must(0, db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }))
	must(0, db.Close())
	for n := int64(0); n < used; n += 509 {
		if err := os.WriteFile(filepath.Join(dir, File), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Verify(t.Context(), dir)
		wantWrong(t, err, -1, fmt.Sprintf("cut to %d bytes", n))
		var corrupt *CorruptError
		if _, err := Open(t.Context(), dir, key, newClock()); !errors.As(err, &corrupt) {
			t.Errorf("cut to %d bytes: Open returned %v, want a *CorruptError", n, err)
		}
	}
	// What is beyond the last page in use is bbolt's spare room.
	if err := os.WriteFile(filepath.Join(dir, File), whole[:used], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), dir); err != nil {
		t.Errorf("without the spare room: %v", err)
	}
}

// A byte that changes in the file either changes nothing that is read, as in a
// page no longer in use, or is found. It never crashes or hangs the examiner's tool.
func TestAFlippedByteOfTheFileIsFoundOrHarmless(t *testing.T) {
	for _, test := range []struct{ notes, stride int }{{4, 197}, {60, 997}} {
		dir, key := finished(t, test.notes)
		path := filepath.Join(dir, File)
		want := must(Verify(t.Context(), dir))
		whole := must(os.ReadFile(path))
		f := must(os.OpenFile(path, os.O_WRONLY, 0))
		defer f.Close()
		for i := range whole {
			// Page headers and the elements behind them are where it can hurt.
			if i%os.Getpagesize() > 40 && i%test.stride != 0 {
				continue
			}
			must(f.WriteAt([]byte{whole[i] ^ 1<<(i%8)}, int64(i)))
			got, err := Verify(t.Context(), dir)
			if err == nil && got != want {
				t.Errorf("byte %d of %d: verified as %+v", i, len(whole), got)
			}
			if j, err := Open(t.Context(), dir, key, newClock()); err == nil {
				j.Close()
			}
			must(f.WriteAt(whole, 0))
		}
		if _, err := Verify(t.Context(), dir); err != nil {
			t.Errorf("after putting everything back: %v", err)
		}
	}
}

// Each page of the tree in turn refers to itself, to its root, or to nowhere.
func TestPagesThatReferWronglyAreFound(t *testing.T) {
	dir, key := finished(t, 200)
	path := filepath.Join(dir, File)
	whole := must(os.ReadFile(path))
	size := os.Getpagesize()
	damaged := 0
	for start := 2 * size; start < len(whole); start += size {
		if binary.NativeEndian.Uint16(whole[start+8:]) != branchPage {
			continue
		}
		for _, to := range []uint64{0, uint64(start / size), 1 << 40} {
			b := bytes.Clone(whole)
			binary.NativeEndian.PutUint64(b[start+pageHeader+8:], to)
			must(0, os.WriteFile(path, b, 0o600))
			_, err := Verify(t.Context(), dir)
			if err == nil {
				continue // a page that is no longer in use
			}
			wantWrong(t, err, -1, fmt.Sprintf("page %d refers to page %d", start/size, to))
			if _, err := Open(t.Context(), dir, key, newClock()); err == nil {
				t.Errorf("page %d refers to page %d, and the journal was opened", start/size, to)
			}
			damaged++
		}
	}
	if damaged == 0 {
		t.Error("no page in use was damaged")
	}
}

func TestASwappedFileIsFound(t *testing.T) {
	home := t.TempDir()
	key := must(LoadKey(home))
	stranger := must(LoadKey(t.TempDir()))
	built := 0 // no two journals are alike
	build := func(id string, key Key) string {
		j := createIn(t, t.TempDir(), id, key)
		built++
		must(j.Append(t.Context(), aNote(built)))
		fill(t, j, 3)
		return closed(t, j)
	}
	mine := build("INC-1", key)
	anchor := must(readCheckpoint(mine))
	for _, test := range []struct {
		name  string
		from  string
		files []string
	}{
		{"another case's journal", build("INC-2", key), []string{File}},
		{"another case's journal and checkpoint", build("INC-2", key), []string{File, CheckpointFile}},
		{"another journal of the same case", build("INC-1", key), []string{File}},
		{"another checkpoint of the same case", build("INC-1", key), []string{CheckpointFile}},
		{"a stranger's journal of the same case", build("INC-1", stranger), []string{File}},
		{"a stranger's journal and checkpoint of the same case", build("INC-1", stranger), []string{File, CheckpointFile}},
		{"our own other journal and checkpoint of the same case", build("INC-1", key), []string{File, CheckpointFile}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := copyDir(t, mine)
			for _, name := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), must(os.ReadFile(filepath.Join(test.from, name))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Verify(t.Context(), dir, anchor)
			wantWrong(t, err, -1, "with an anchor")
			if strings.HasPrefix(test.name, "our own") {
				return // made with the same key: only the anchor tells
			}
			_, err = key.Verify(t.Context(), dir)
			wantWrong(t, err, -1, "with the key")
		})
	}
}

func TestAJournalRolledBackIsFoundByItsAnchor(t *testing.T) {
	j, key := newCase(t, "INC-1")
	fill(t, j, 3)
	dir := closed(t, j)
	old := copyDir(t, dir)
	j = must(Open(t.Context(), dir, key, newClock()))
	fill(t, j, 3)
	anchor := must(j.Checkpoint(t.Context()))
	fill(t, j, 2)
	closed(t, j)

	report, err := key.Verify(t.Context(), dir, anchor)
	if err != nil || report.Anchored != 7 || report.Signed != 9 {
		t.Errorf("the journal itself: %+v, %v", report, err)
	}
	_, err = key.Verify(t.Context(), old, anchor)
	wantWrong(t, err, 4, "an older copy")
}

func TestAMissingCheckpointIsFound(t *testing.T) {
	dir, key := finished(t, 1)
	if err := os.Remove(filepath.Join(dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	_, err := Verify(t.Context(), dir)
	wantWrong(t, err, -1, "no checkpoint")
	if _, err := Open(t.Context(), dir, key, newClock()); err == nil {
		t.Error("a journal without its checkpoint was opened")
	}
}

func TestATreeThatIsNotTheEntriesIsFound(t *testing.T) {
	dir, _ := finished(t, 4)
	for i := range 8 {
		dir := copyDir(t, dir)
		change(t, dir, func(tx *bbolt.Tx) error {
			return tx.Bucket(hashesBucket).Put(itob(uint64(i)), make([]byte, 32))
		})
		_, err := Verify(t.Context(), dir)
		wantWrong(t, err, -1, fmt.Sprintf("stored hash %d", i))
	}
}

func TestWhateverIsAppendedVerifies(t *testing.T) {
	key := must(LoadKey(t.TempDir()))
	rapid.Check(t, func(r *rapid.T) {
		dir := filepath.Join(must(os.MkdirTemp(t.TempDir(), "")), "INC-1")
		j := must(Create(t.Context(), dir, incident.Case{ID: "INC-1", Title: rapid.String().Draw(r, "title")}, key, newClock()))
		t.Cleanup(func() { j.Close() })
		j.db.NoSync = true
		var hashes []string
		var anchors []incident.Checkpoint
		operation := rapid.SampledFrom([]string{"append", "append", "append", "checkpoint", "reopen"})
		for _, op := range rapid.SliceOfN(operation, 0, 12).Draw(r, "operations") {
			switch op {
			case "append":
				e, err := j.Append(t.Context(), anyDraft(r))
				if err != nil {
					r.Fatal(err)
				}
				hashes = append(hashes, e.Hash)
			case "checkpoint":
				anchors = append(anchors, must(j.Checkpoint(t.Context())))
			case "reopen":
				must(0, j.Close())
				j = must(Open(t.Context(), dir, key, newClock()))
				j.db.NoSync = true
			}
			if j.Len() != uint64(len(hashes))+1 {
				r.Fatalf("%d entries, want %d", j.Len(), len(hashes)+1)
			}
		}
		must(0, j.Close())
		report, err := key.Verify(t.Context(), dir, anchors...)
		if err != nil {
			r.Fatal(err)
		}
		if n := len(hashes); n > 0 && report.Head != hashes[n-1] {
			r.Fatalf("head %s, the last entry's hash was %s", report.Head, hashes[n-1])
		}
	})
}

func anyDraft(r *rapid.T) incident.Draft {
	return incident.Draft{
		Type: incident.EntryType(rapid.StringMatching(`[a-z]{1,8}`).Draw(r, "type")),
		Step: rapid.String().Draw(r, "step"),
		Data: rapid.MapOf(rapid.String(), rapid.OneOf(
			rapid.String().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.Int32().AsAny(), rapid.Bool().AsAny(),
		)).Draw(r, "data"),
	}
}

func BenchmarkAppend(b *testing.B) {
	j, _ := newCase(b, "INC-1")
	for i := range b.N {
		if _, err := j.Append(b.Context(), aNote(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	dir, _ := finished(b, 1000)
	for b.Loop() {
		if _, err := Verify(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
	}
}
