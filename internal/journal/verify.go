package journal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Report is what a verification that found nothing wrong has established.
type Report struct {
	Case    incident.Case `json:"case"`
	Entries uint64        `json:"entries"`
	Head    string        `json:"head"` // hash of the last entry
	// Signed is how many of the entries the checkpoint in the case's directory,
	// or at the export's end, covers. Later ones are chained, but whoever could
	// write the file could have cut or changed them.
	Signed uint64 `json:"signed"`
	// Anchored is how many of the entries the largest anchor covers: those that
	// not even the owner of the signing key can have changed since.
	Anchored uint64 `json:"anchored"`
	// KeyKnown: the public key was compared with one that did not come with the journal.
	KeyKnown bool `json:"key_known"`
}

// Verify proves every entry of the case in dir: canonical form, numbers, hash
// chain, the tree against the checkpoint file, against the checkpoints that
// entries carry and against anchors, which are checkpoints that the caller has
// fetched from the evidence store. It changes nothing and works on a copy; a case that is live is read
// through its holder. A journal that is not what it should be is a
// *VerifyError; dir without one is ErrNoCase.
//
// Without anchors and without Key.Verify the journal is measured against the
// public key in its own first entry: a whole journal forged with another key passes.
func Verify(ctx context.Context, dir string, anchors ...incident.Checkpoint) (Report, error) {
	v, err := verifyDir(ctx, dir, anchors)
	return v.report(), err
}

// Verify is the function Verify, and proves besides that the journal is signed with this key.
func (k Key) Verify(ctx context.Context, dir string, anchors ...incident.Checkpoint) (Report, error) {
	v, err := verifyDir(ctx, dir, anchors)
	r := v.report()
	if err != nil {
		return r, err
	}
	if ours := k.PublicKey(v.c.ID); ours != v.c.PublicKey {
		return r, &VerifyError{Seq: 0, Reason: fmt.Sprintf("names the key %s, ours is %s", v.c.PublicKey, ours), Err: ErrKey}
	}
	r.KeyKnown = true
	return r, nil
}

// verifier folds entries.
type verifier struct {
	c        incident.Case
	size     uint64
	head     string
	hashes   []tlog.Hash // the tree, in tlog's order
	signed   head        // of the checkpoint file or line
	note     string      // its text
	anchored uint64
}

func (v *verifier) report() Report {
	return Report{Case: v.c, Entries: v.size, Head: v.head, Signed: v.signed.size, Anchored: v.anchored}
}

func (v *verifier) tree() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = v.hashes[index]
		}
		return out, nil
	})
}

func (v *verifier) fail(reason string, err error) error {
	return &VerifyError{Seq: v.size, Reason: reason, Err: err}
}

func (v *verifier) unsigned(reason string, err error) error {
	return &VerifyError{Seq: max(v.size, 1) - 1, Reason: "is the last, and " + reason, Err: err}
}

// add checks the next entry and takes it in.
func (v *verifier) add(raw []byte) error {
	e, err := checkForm(raw)
	if err != nil {
		return v.fail("is not what was written", err)
	}
	if e.Seq != v.size {
		return v.fail(fmt.Sprintf("is missing or out of order: number %d stands in its place", e.Seq), nil)
	}
	if e.Prev != v.head {
		return v.fail(fmt.Sprintf("does not follow from the one before: prev is %q, that one's hash %q", e.Prev, v.head), nil)
	}
	if v.size == 0 {
		if v.c, err = caseOf(e); err != nil {
			return err
		}
	}
	if e.Case != v.c.ID {
		return v.fail(fmt.Sprintf("is of case %s, the journal of case %s", e.Case, v.c.ID), nil)
	}
	if err := v.checkCarried(e); err != nil {
		return err
	}
	text, err := leaf(raw)
	if err != nil {
		return v.fail("is not an entry", err)
	}
	hashes, err := tlog.StoredHashes(int64(v.size), text, v.tree())
	if err != nil {
		return v.fail("can't be hashed", err)
	}
	v.hashes = append(v.hashes, hashes...)
	v.size, v.head = v.size+1, e.Hash
	return nil
}

// checkCarried checks the checkpoint that an entry carries against the entries before it.
func (v *verifier) checkCarried(e incident.Entry) error {
	if e.Type != incident.EntryCheckpoint {
		return nil
	}
	var c incident.Checkpoint
	err := json.Unmarshal(e.Data, &c)
	if err != nil {
		return v.fail("holds no checkpoint", err)
	}
	h, err := openCheckpoint(v.c.PublicKey, v.c.ID, c)
	if err != nil {
		return v.fail("holds a checkpoint that does not verify", err)
	}
	return h.check(v.size, v.tree())
}

// finish checks the tree against the checkpoint that came with the journal and
// against the anchors, smallest first: the first that fails bounds the place best.
func (v *verifier) finish(last incident.Checkpoint, anchors []incident.Checkpoint) error {
	if v.size == 0 {
		return v.fail("is missing: the journal is empty", nil)
	}
	var heads []head
	for _, c := range anchors {
		h, err := openCheckpoint(v.c.PublicKey, v.c.ID, c)
		if err != nil {
			return &VerifyError{Seq: 0, Reason: fmt.Sprintf("opens a journal that the anchored checkpoint %s is not of", c.Location), Err: err}
		}
		heads = append(heads, h)
		v.anchored = max(v.anchored, h.size)
	}
	h, err := openCheckpoint(v.c.PublicKey, v.c.ID, last)
	if err != nil {
		return v.unsigned("the journal's checkpoint does not verify", err)
	}
	v.signed, v.note = h, last.Note
	heads = append(heads, h)
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(a.size, b.size) })
	for _, h := range heads {
		if err := h.check(v.size, v.tree()); err != nil {
			return err
		}
	}
	return nil
}

func verifyDir(ctx context.Context, dir string, anchors []incident.Checkpoint) (*verifier, error) {
	v := &verifier{}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return v, err
	}
	// The checkpoint first: a live journal may grow, and be signed anew, while it is read.
	last, checkpointErr := readCheckpoint(dir)
	for {
		page, err := readAny(ctx, dir, v.size)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			return v, v.fail("can't be read", err)
		} else if err != nil {
			return v, err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			if err := v.add(r.raw); err != nil {
				return v, err
			}
		}
	}
	if v.size > 0 {
		if err := checkDirectory(dir, v.c); err != nil {
			return v, err
		}
	}
	if checkpointErr != nil {
		return v, v.unsigned("there is no signed checkpoint beside the journal", checkpointErr)
	}
	if err := v.finish(last, anchors); err != nil {
		return v, err
	}
	return v, v.checkStored(dir)
}

// checkStored compares the tree in the file, from which the holder signs and
// proves, with the one made from the entries. The holder of a live case has it
// open; then it is not checked.
func (v *verifier) checkStored(dir string) error {
	db, err := openDB(filepath.Join(dir, File), readMore, lockPatience)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil
	} else if err != nil {
		return err
	}
	err = guarded(db.Path(), func() error {
		return db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(hashesBucket).Cursor()
			k, stored := c.First()
			for i, h := range v.hashes {
				if !bytes.Equal(k, itob(uint64(i))) || !bytes.Equal(stored, h[:]) {
					_, n := tlog.SplitStoredHashIndex(int64(i))
					return &VerifyError{Seq: uint64(n), Reason: fmt.Sprintf("the tree's stored hash %d is not that of the entries", i)}
				}
				k, stored = c.Next()
			}
			return nil
		})
	})
	return errors.Join(err, db.Close())
}
