package journal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// CheckpointFile is the file of the last signed checkpoint in the case's
// directory. Every case has one from its first entry on.
const CheckpointFile = "checkpoint"

// head is a signed statement: the first size entries of the case have this root.
type head struct {
	size uint64
	root tlog.Hash
}

func sign(key Key, caseID string, h head) (incident.Checkpoint, error) {
	signer, err := key.signer(caseID)
	if err != nil {
		return incident.Checkpoint{}, err
	}
	text := log.Checkpoint{Origin: origin(caseID), Size: h.size, Hash: h.root[:]}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		return incident.Checkpoint{}, err
	}
	return incident.Checkpoint{Size: h.size, Note: string(signed)}, nil
}

// SignText signs a statement other than a checkpoint with the case's key, as a
// note. The text ends with a newline.
func (j *Journal) SignText(text string) (string, error) {
	// Nobody may be able to have a checkpoint signed that is none.
	if strings.HasPrefix(text, originPrefix) {
		return "", errors.New("a text to sign must not begin like a checkpoint")
	}
	signer, err := j.key.signer(j.c.ID)
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	return string(signed), err
}

// openCheckpoint reads a signed note and checks signature, origin and size.
func openCheckpoint(publicKey, caseID string, c incident.Checkpoint) (head, error) {
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return head{}, fmt.Errorf("public key %q: %w", publicKey, err)
	}
	cp, _, signed, err := log.ParseCheckpoint([]byte(c.Note), origin(caseID), verifier)
	if err != nil {
		return head{}, err
	}
	for _, s := range signed.Sigs { // note.Open ignores the unused bits of the last digit
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return head{}, fmt.Errorf("its signature: %w", err)
		}
	}
	h := head{size: cp.Size}
	if copy(h.root[:], cp.Hash) != tlog.HashSize || len(cp.Hash) != tlog.HashSize {
		return head{}, fmt.Errorf("its root hash has %d bytes", len(cp.Hash))
	}
	if cp.Size == 0 || cp.Size > 1<<62 {
		return head{}, fmt.Errorf("its size is %d", cp.Size)
	}
	if c.Size != 0 && c.Size != cp.Size {
		return head{}, fmt.Errorf("it is said to be of size %d and is of size %d", c.Size, cp.Size)
	}
	return h, nil
}

// check compares the statement with the tree of the first entries.
func (h head) check(entries uint64, tree tlog.HashReader) error {
	if h.size > entries {
		return &VerifyError{Seq: entries, Reason: fmt.Sprintf("is missing: a checkpoint is signed over %d entries, the journal has %d", h.size, entries)}
	}
	root, err := tlog.TreeHash(int64(h.size), tree)
	if err != nil {
		return err
	}
	if root != h.root {
		return &VerifyError{Seq: h.size - 1, Reason: fmt.Sprintf("entries 0 to %d are not those that a checkpoint was signed over (root %v, signed %v)", h.size-1, root, h.root)}
	}
	return nil
}

func readCheckpoint(dir string) (incident.Checkpoint, error) {
	b, err := os.ReadFile(filepath.Join(dir, CheckpointFile))
	return incident.Checkpoint{Note: string(b)}, err
}

// writeCheckpoint replaces the file. Only the holder calls it, so the
// temporary file needs no name of its own.
func writeCheckpoint(dir string, c incident.Checkpoint) error {
	path := filepath.Join(dir, CheckpointFile)
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(c.Note)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}
