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

func TestEveryFlippedBitOfAnExportIsFound(t *testing.T) {
	dir, _ := finished(t, 1)
	export := exported(t, dir)
	for i := range export {
		for bit := range 8 {
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
