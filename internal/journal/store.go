package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/mod/sumdb/tlog"
)

// File is the journal's file in the case's directory.
const File = "journal.db"

// The file has two buckets, both keyed by a big-endian 64-bit number: the
// entries by sequence number, and the tree's hashes by their index in
// golang.org/x/mod/sumdb/tlog's order.
var (
	entriesBucket = []byte("entries")
	hashesBucket  = []byte("hashes")
)

// readerPatience is how long a new holder waits for those who just read a page
// of the file, in real time.
const readerPatience = 10 * time.Second

// A page of entries is what is read in one transaction. It is small, so that
// nobody who consumes entries slowly keeps the file locked, or its pages in use.
const (
	pageEntries = 512
	pageBytes   = 4 << 20
)

func itob(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// guarded runs f, which reads or writes the database at path. bbolt panics on a
// damaged file, and a page beyond the end of a truncated one is a memory fault:
// both become *CorruptError.
func guarded(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &CorruptError{Path: path, Reason: fmt.Sprint(r)}
		}
	}()
	return f()
}

// access is what a database is opened for.
type access int

const (
	readMore access = iota // a further page of what was checked a moment ago
	readOnly
	readWrite
)

// openDB opens the database and makes sure that bbolt can walk it safely. It waits
// at most timeout for the file's lock, then fails with ErrTimeout.
func openDB(path string, use access, timeout time.Duration) (*bbolt.DB, error) {
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), ErrNoCase)
	} else if err != nil {
		return nil, err
	} else if info.Size() == 0 {
		return nil, &CorruptError{Path: path, Reason: "it is empty"} // bbolt would make it a new one
	}
	var file *os.File
	var db *bbolt.DB
	err := guarded(path, func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         timeout,
			ReadOnly:        use != readWrite,
			PreLoadFreelist: use != readMore, // here, where a panic is caught
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				file, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
				return file, err
			},
		})
		if err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error { return checkFile(tx, use) })
	})
	if err == nil {
		return db, nil
	}
	if db != nil {
		return nil, errors.Join(err, db.Close())
	}
	var corrupt *CorruptError
	var system syscall.Errno
	switch {
	case errors.As(err, &corrupt) && file != nil:
		// bbolt panicked with the file open and mapped. The map stays, and would keep the lock.
		err = errors.Join(err, release(file))
	case !errors.Is(err, berrors.ErrTimeout) && !errors.As(err, &system):
		err = &CorruptError{Path: path, Reason: err.Error()}
	}
	return nil, err
}

func checkFile(tx *bbolt.Tx, use access) error {
	path := tx.DB().Path()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return &CorruptError{Path: path, Reason: fmt.Sprintf("it is cut off: %d bytes of %d", info.Size(), tx.Size())}
	}
	if use != readMore {
		if err := checkPages(tx); err != nil {
			return err
		}
	}
	if tx.Bucket(entriesBucket) == nil || tx.Bucket(hashesBucket) == nil {
		return &CorruptError{Path: path, Reason: "it is not a journal"}
	}
	return nil
}

// readPage returns the entries from a number on, as far as one page goes; none
// where there are no more.
func readPage(db *bbolt.DB, from uint64) (page []record, err error) {
	err = guarded(db.Path(), func() error {
		return db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(entriesBucket).Cursor()
			size := 0
			for k, v := c.Seek(itob(from)); k != nil && len(page) < pageEntries && size < pageBytes; k, v = c.Next() {
				seq := from + uint64(len(page))
				if !bytes.Equal(k, itob(seq)) {
					return &VerifyError{Seq: seq, Reason: fmt.Sprintf("is missing: the next one in the file is %x", k)}
				}
				page = append(page, record{seq, bytes.Clone(v)})
				size += len(v)
			}
			return nil
		})
	})
	return page, err
}

// put adds an entry and the tree's hashes that it completes.
func put(tx *bbolt.Tx, r record) error {
	text, err := leaf(r.raw)
	if err != nil {
		return err
	}
	hashes, err := tlog.StoredHashes(int64(r.seq), text, storedHashes(tx))
	if err != nil {
		return err
	}
	entries, tree := tx.Bucket(entriesBucket), tx.Bucket(hashesBucket)
	// Keys only grow: full pages serve better than half-full ones.
	entries.FillPercent, tree.FillPercent = 0.9, 0.9
	index := tlog.StoredHashIndex(0, int64(r.seq))
	for i, h := range hashes {
		if err := tree.Put(itob(uint64(index)+uint64(i)), h[:]); err != nil {
			return err
		}
	}
	return entries.Put(itob(r.seq), r.raw)
}

// storedHashes reads the tree's hashes in a transaction.
func storedHashes(tx *bbolt.Tx) tlog.HashReader {
	b := tx.Bucket(hashesBucket)
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if copy(hashes[i][:], b.Get(itob(uint64(index)))) != tlog.HashSize {
				return nil, fmt.Errorf("hash %d of the tree is missing", index)
			}
		}
		return hashes, nil
	})
}
