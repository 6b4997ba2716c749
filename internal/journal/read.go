package journal

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"time"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/cordon-ir/cordon/internal/incident"
)

// lockPatience is how long a reader waits, in real time, for a file that
// nobody serves: its holder has just begun, or is just ending.
const lockPatience = 200 * time.Millisecond

// Read yields the entries of the case in dir, whoever holds it: from the file,
// or through the holder's socket. It needs no key and keeps nobody from taking hold of the case.
// It fails with ErrNoCase, with ErrHeld where the holder serves nobody, and
// with *CorruptError or *VerifyError at the first entry that can't be read.
func Read(ctx context.Context, dir string) iter.Seq2[incident.Entry, error] {
	return ReadFrom(ctx, dir, 0)
}

// ReadFrom is Read without the entries before number from.
func ReadFrom(ctx context.Context, dir string, from uint64) iter.Seq2[incident.Entry, error] {
	return entries(from, func(from uint64) ([]record, error) { return readAny(ctx, dir, from) })
}

// readAny reads a page of entries from the file or from the holder.
func readAny(ctx context.Context, dir string, from uint64) ([]record, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	const tries = 5
	for range tries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		page, err := readServed(ctx, dir, from)
		if !errors.Is(err, ErrNotLive) && !errors.Is(err, ErrHolderGone) {
			return page, err
		}
		page, err = readFile(dir, from)
		if !errors.Is(err, berrors.ErrTimeout) {
			return page, err
		}
	}
	return nil, &HeldError{Dir: dir, PID: holderOf(dir)}
}

func readFile(dir string, from uint64) ([]record, error) {
	use := readMore
	if from == 0 {
		use = readOnly
	}
	db, err := openDB(filepath.Join(dir, File), use, lockPatience)
	if err != nil {
		return nil, err
	}
	page, err := readPage(db, from)
	return page, errors.Join(err, db.Close())
}
