package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Create opens a new case in dir, whose last element must be the case's ID, and
// takes hold of it. The first entry, case.opened, carries the case with
// PublicKey filled in, and Opened where it is zero; a checkpoint is signed over it. After a crash the directory
// is there whole or not at all. It fails with ErrExists where dir is there and
// not empty.
func Create(ctx context.Context, dir string, c incident.Case, key Key, clock incident.Clock) (*Journal, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := CheckCaseID(c.ID); err != nil {
		return nil, err
	}
	if base := filepath.Base(dir); base != c.ID {
		return nil, fmt.Errorf("case %s can't live in a directory named %s", c.ID, base)
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(parent, "."+c.ID+".new-*") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp) // nothing is left there once it is renamed
	if err := begin(tmp, c, key, clock); err != nil {
		return nil, fmt.Errorf("opening case %s: %w", c.ID, err)
	}
	if err := os.Rename(tmp, dir); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil {
		return nil, err
	}
	if err := syncDir(parent); err != nil {
		return nil, err
	}
	return Open(ctx, dir, key, clock)
}

// begin writes a journal of one entry, and its checkpoint, into an empty directory.
func begin(dir string, c incident.Case, key Key, clock incident.Clock) error {
	if key.private == nil {
		return errors.New("no journal key")
	}
	now := clock.Now().UTC()
	c.PublicKey = key.PublicKey(c.ID)
	if c.Opened.IsZero() {
		c.Opened = now
	}
	data, err := marshalData(c)
	if err != nil {
		return err
	}
	raw, err := seal(incident.Entry{Time: now, Type: incident.EntryCaseOpened, Case: c.ID, Actor: Self(), Data: data})
	if err != nil {
		return err
	}
	db, err := bbolt.Open(filepath.Join(dir, File), 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{entriesBucket, hashesBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return put(tx, record{0, raw})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	text, err := leaf(raw)
	if err != nil {
		return err
	}
	signed, err := sign(key, c.ID, head{1, tlog.RecordHash(text)})
	if err != nil {
		return err
	}
	return writeCheckpoint(dir, signed)
}
