package evidence

import (
	"context"
	"io"
)

// Resumable is a Store that takes an object in parts and lets another process
// go on with it. What it MUST guarantee beyond Store:
//   - nothing is stored under the key until Complete: Stat finds nothing.
//   - Part returns after the part is stored. A part sent again replaces the one before.
//   - Parts shows, in this process or any later one, the parts that Part returned for.
//   - Complete called again, after a crash or a lost answer, returns the same object.
//
// The Object of Complete, and later of Stat, may come without SHA256 where the
// store would have to read the whole object for it: its content has digests of
// its own.
type Resumable interface {
	Store
	// Begin starts an object with the retention asked for. What an earlier
	// Begin of the key left unfinished is given up. It fails with ErrNotLocked, ErrExists.
	Begin(ctx context.Context, key string, o PutOptions) (Upload, error)
	// Part stores a part and returns it with its Tag. Numbers go from 1 to at most 10,000, a part has 5 MiB
	// to 5 GiB, the last one any size (Amazon S3 User Guide, "Multipart upload limits").
	// It fails with ErrDigest where the body has not the CRC32C that p says.
	Part(ctx context.Context, u Upload, p Part, body io.ReadSeeker) (Part, error)
	// Parts lists the parts stored so far, by number. It fails with
	// ErrNotFound where the upload is gone: given up, or completed.
	Parts(ctx context.Context, u Upload) ([]Part, error)
	// Complete makes the object of these parts, in order, and reads it back.
	// It fails with ErrExists where something else is stored under the key.
	Complete(ctx context.Context, u Upload, parts []Part) (Object, error)
}

// Upload is an object that is being stored; a journal can keep it.
type Upload struct {
	Key string `json:"key"`
	ID  string `json:"id"`
	// AllowUnlocked is PutOptions' own.
	AllowUnlocked bool `json:"allow_unlocked,omitempty"`
}

// Part of an upload.
type Part struct {
	Number int
	Bytes  int64
	CRC32C uint32
	Tag    string // the store's own name for it
}
