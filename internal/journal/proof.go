package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gowebpki/jcs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Proof shows that one entry is in the tree that a checkpoint was signed over,
// without the other entries (RFC 6962, section 2.1.1).
type Proof struct {
	Entry      json.RawMessage `json:"entry"`
	Checkpoint string          `json:"checkpoint"` // the signed note
	Hashes     []tlog.Hash     `json:"hashes"`     // base64, from the leaf's sibling to the root's child
}

func noEntry(seq, size uint64) error {
	return fmt.Errorf("%w %d: the journal has %d, numbered from 0", ErrNoEntry, seq, size)
}

// Prove proves an entry of the case in dir, whoever holds it, against the
// checkpoint file. It needs no key, and reads every entry. An entry that no
// checkpoint covers yet can't be proven.
func Prove(ctx context.Context, dir string, seq uint64) (Proof, error) {
	v, err := verifyDir(ctx, dir, nil)
	if err != nil {
		return Proof{}, err
	}
	if seq >= v.size {
		return Proof{}, noEntry(seq, v.size)
	}
	if seq >= v.signed.size {
		err := fmt.Errorf("entry %d of case %s is not covered by a checkpoint yet", seq, v.c.ID)
		return Proof{}, incident.WithHint(err, "a checkpoint is signed when the run ends")
	}
	p := Proof{Checkpoint: v.note}
	page, err := readAny(ctx, dir, seq)
	if err != nil {
		return Proof{}, err
	}
	if len(page) == 0 {
		return Proof{}, noEntry(seq, v.size)
	}
	p.Entry = page[0].raw
	p.Hashes, err = tlog.ProveRecord(int64(v.signed.size), int64(seq), v.tree())
	return p, err
}

// Verify checks the proof against a case's public key (incident.Case.PublicKey)
// that the caller has from somewhere else than the proof.
func (p Proof) Verify(publicKey string) error {
	raw, err := jcs.Transform(p.Entry) // whoever indented it changed nothing
	if err != nil {
		return fmt.Errorf("proof: the entry: %w", err)
	}
	e, err := checkForm(raw)
	if err != nil {
		return fmt.Errorf("proof: the entry %w", err)
	}
	h, err := openCheckpoint(publicKey, e.Case, incident.Checkpoint{Note: p.Checkpoint})
	if err != nil {
		return fmt.Errorf("proof: the checkpoint: %w", err)
	}
	if e.Seq >= h.size {
		return fmt.Errorf("proof: entry %d is not covered by a checkpoint over %d entries", e.Seq, h.size)
	}
	text, err := leaf(raw)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(p.Hashes, int64(h.size), h.root, int64(e.Seq), tlog.RecordHash(text)); err != nil {
		return errors.New("proof: entry " + fmt.Sprint(e.Seq) + " is not in the tree that the checkpoint was signed over")
	}
	return nil
}
