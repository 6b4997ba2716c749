package journal

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

func exported(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Export(t.Context(), dir, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnExportVerifies(t *testing.T) {
	dir, _ := finished(t, 3)
	report, err := VerifyExport(bytes.NewReader(exported(t, dir)), must(readCheckpoint(dir)))
	if err != nil || report.Entries != 7 || report.Signed != 7 || report.Anchored != 7 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestEveryFlippedByteOfAnExportIsFound(t *testing.T) {
	dir, _ := finished(t, 1)
	export := exported(t, dir)
	for i := range export {
		for _, bit := range []int{0, 1, 5} { // 5 changes a letter's case
			flipped := bytes.Clone(export)
			flipped[i] ^= 1 << bit
			if _, err := VerifyExport(bytes.NewReader(flipped)); err == nil {
				t.Errorf("bit %d of byte %d: %q verifies", bit, i, flipped)
			}
		}
	}
}

func TestAnExportCutOffAnywhereIsFound(t *testing.T) {
	dir, _ := finished(t, 1)
	export := exported(t, dir)
	for n := range export {
		_, err := VerifyExport(bytes.NewReader(export[:n]))
		wantWrong(t, err, -1, fmt.Sprintf("cut to %d bytes", n))
	}
	_, err := VerifyExport(bytes.NewReader(append(export, '\n')))
	wantWrong(t, err, -1, "something stands after the end")
}

func TestEveryLineMissingFromAnExportIsFound(t *testing.T) {
	dir, _ := finished(t, 4)
	lines := bytes.SplitAfter(exported(t, dir), []byte("\n"))
	lines = lines[:len(lines)-1]
	for gone := range lines {
		var rest []byte
		for i, line := range lines {
			if i != gone {
				rest = append(rest, line...)
			}
		}
		_, err := VerifyExport(bytes.NewReader(rest))
		wantWrong(t, err, gone, fmt.Sprintf("line %d removed", gone))
	}
}

// forge makes an export as the holder of the key could: every hash, and the
// signed root, are those of the entries, whatever the entries say.
func forge(t testing.TB, key Key, entries []incident.Entry) []byte {
	t.Helper()
	var export bytes.Buffer
	v := verifier{}
	for i, e := range entries {
		raw := must(seal(e))
		fmt.Fprintf(&export, "%s\n", raw)
		v.hashes = append(v.hashes, must(tlog.StoredHashes(int64(i), must(leaf(raw)), v.tree()))...)
	}
	root := must(tlog.TreeHash(int64(len(entries)), v.tree()))
	c := must(sign(key, "INC-1", head{uint64(len(entries)), root}))
	fmt.Fprintf(&export, "%s\n", must(endLine(c)))
	return export.Bytes()
}

func TestEntriesThatDoNotFollowAreFoundThoughTheyAreSigned(t *testing.T) {
	dir, key := finished(t, 4)
	for _, test := range []struct {
		name  string
		seq   int // that is named; negative: none, it verifies
		forge func(entries []incident.Entry) []incident.Entry
	}{
		{"nothing", -1, func(e []incident.Entry) []incident.Entry { return e }},
		{"prev", 3, func(e []incident.Entry) []incident.Entry { e[3].Prev = e[1].Hash; return e }},
		{"number", 7, func(e []incident.Entry) []incident.Entry { e[7].Seq = 8; return e }},
		{"case", 7, func(e []incident.Entry) []incident.Entry { e[7].Case = "INC-2"; return e }},
		{"carried checkpoint", 2, func(e []incident.Entry) []incident.Entry {
			e = e[:6]
			e[5].Data = must(marshalData(must(sign(key, "INC-1", head{3, tlog.Hash{}}))))
			return e
		}},
		{"carried checkpoint of later entries", 5, func(e []incident.Entry) []incident.Entry {
			e = e[:6]
			e[5].Data = must(marshalData(must(sign(key, "INC-1", head{6, tlog.Hash{}}))))
			return e
		}},
		{"no case", 0, func(e []incident.Entry) []incident.Entry { e[0].Type = incident.EntryNote; return e[:1] }},
		{"a time that is not in UTC", 7, func(e []incident.Entry) []incident.Entry {
			e[7].Time = e[7].Time.In(time.FixedZone("", 3600))
			return e
		}},
		{"nothing at all", 0, func([]incident.Entry) []incident.Entry { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var entries []incident.Entry
			for e, err := range Read(t.Context(), dir) {
				entries = append(entries, must(e, err))
			}
			report, err := VerifyExport(bytes.NewReader(forge(t, key, test.forge(entries))))
			if test.seq >= 0 {
				wantWrong(t, err, test.seq, test.name)
			} else if err != nil || report.Signed != uint64(len(entries)) {
				t.Errorf("got %+v, %v", report, err)
			}
		})
	}
}

// Base64 leaves two bits of a signature's last digit unused.
func TestASignatureHasOneSpelling(t *testing.T) {
	dir, key := finished(t, 1)
	c := must(readCheckpoint(dir))
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(c.Note) - len("=\n") - 1
	other := digits[strings.IndexByte(digits, c.Note[last])^1]
	respelt := c.Note[:last] + string(other) + c.Note[last+1:]
	if _, err := openCheckpoint(key.PublicKey("INC-1"), "INC-1", c); err != nil {
		t.Fatal(err)
	}
	if _, err := openCheckpoint(key.PublicKey("INC-1"), "INC-1", incident.Checkpoint{Note: respelt}); err == nil {
		t.Errorf("%q verifies too", respelt)
	}
}

// stranger verifies an export as docs/journal-format.md says, with the
// standard library only and none of this package's code.
func stranger(export []byte, publicKey string) error {
	var leaves [][32]byte
	var prev, note string
	lines := bufio.NewScanner(bytes.NewReader(export))
	hash := regexp.MustCompile(`^(.*)"hash":"([0-9a-f]{64})",(.*)$`) // greedy: the last one
	for lines.Scan() {
		line := lines.Text()
		var entry struct {
			Seq        uint64
			Prev       string
			Checkpoint string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			return err
		}
		if strings.HasPrefix(line, `{"checkpoint":`) {
			note = entry.Checkpoint
			continue
		}
		m := hash.FindStringSubmatch(line)
		if m == nil {
			return errors.New("an entry has no hash")
		}
		sum := sha256.Sum256([]byte(m[1] + m[3]))
		if hex.EncodeToString(sum[:]) != m[2] || entry.Prev != prev || entry.Seq != uint64(len(leaves)) {
			return fmt.Errorf("entry %d does not follow", len(leaves))
		}
		prev = m[2]
		leaves = append(leaves, sha256.Sum256([]byte("\x00"+m[1]+m[3])))
	}
	text, signature, _ := strings.Cut(note, "\n\n")
	text += "\n"
	key := strings.SplitN(publicKey, "+", 3)
	public, _ := base64.StdEncoding.DecodeString(key[2])
	_, encoded, _ := strings.Cut(strings.TrimSuffix(signature, "\n"), "— "+key[0]+" ")
	sig, _ := base64.StdEncoding.DecodeString(encoded)
	id := sha256.Sum256([]byte(key[0] + "\n" + string(public)))
	if len(sig) != 68 || binary.BigEndian.Uint32(sig) != binary.BigEndian.Uint32(id[:]) ||
		!ed25519.Verify(public[1:], []byte(text), sig[4:]) {
		return errors.New("the signature is wrong")
	}
	root := treeHash(leaves)
	if want := fmt.Sprintf("%s\n%d\n%s\n", key[0], len(leaves), base64.StdEncoding.EncodeToString(root[:])); text != want {
		return fmt.Errorf("signed\n%s, the entries make\n%s", text, want)
	}
	return nil
}

// treeHash is RFC 6962, section 2.1.
func treeHash(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := treeHash(leaves[:k]), treeHash(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestAStrangerCanVerifyAnExport(t *testing.T) {
	for _, notes := range []int{0, 1, 3, 4, 5, 60} {
		dir, key := finished(t, notes)
		export := exported(t, dir)
		if err := stranger(export, key.PublicKey("INC-1")); err != nil {
			t.Errorf("%d notes: %v", notes, err)
		}
		changed := bytes.Replace(export, []byte("i-0abc"), []byte("i-0abd"), 1)
		if stranger(changed, key.PublicKey("INC-1")) == nil {
			t.Errorf("%d notes: a changed export passes", notes)
		}
	}
}

// What verifies is the export of the entries that were read, byte for byte:
// there is no second way to write it.
func FuzzVerifyExport(f *testing.F) {
	dir, _ := finished(f, 2)
	good := exported(f, dir)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"seq":1`), []byte(`"seq":1.0`), 1))
	f.Add(bytes.Replace(good, []byte(`"type"`), []byte(`"x":1,"type"`), 1))
	f.Add(append([]byte("\n"), good...))
	f.Add([]byte(`{"checkpoint":""}`))
	f.Fuzz(func(t *testing.T, export []byte) {
		report, err := VerifyExport(bytes.NewReader(export))
		var wrong *VerifyError
		if err != nil {
			if !errors.As(err, &wrong) {
				t.Errorf("got %v, want a *VerifyError", err)
			}
			return
		}
		if n := bytes.Count(export, []byte("\n")); report.Entries != uint64(n-1) {
			t.Errorf("%d entries in %d lines", report.Entries, n)
		}
		if err := stranger(export, report.Case.PublicKey); err != nil && report.Signed == report.Entries {
			t.Errorf("it verifies here, and not for a stranger: %v", err)
		}
	})
}
