package evidence

import (
	"context"
	"io"
	"time"
)

// Object is what a store knows of a stored object.
type Object struct {
	Key         string
	Location    string
	Version     string
	Bytes       int64
	SHA256      string // hexadecimal, of the whole object; may be empty for one that Resumable made
	Mode        string // GOVERNANCE, COMPLIANCE; none where the store can't lock
	RetainUntil time.Time
	LegalHold   bool
	// Encryption at rest as the store shows it: AES256, aws:kms with KMSKey;
	// empty where it shows none.
	Encryption, KMSKey string
}

// Version is one version of an object, or a delete marker, which hides the
// versions under it from whoever names none.
type Version struct {
	Key          string
	Version      string
	Location     string
	Bytes        int64
	Stored       time.Time // by the store's clock
	Newest       bool
	DeleteMarker bool
}

// Holder is a store that can put a legal hold on a version and lift it: S3 with
// Object Lock. Hold returns what the store shows afterwards. A retention stays as it is.
type Holder interface {
	Hold(ctx context.Context, key, version string, on bool) (Object, error)
}

// Store keeps evidence. What it MUST guarantee:
//   - Put returns only after the object is stored whole with the retention
//     asked for, and that was read back. A Put that failed or was cut short leaves no
//     object under the key, and nothing that keeps a later Put from succeeding.
//   - Put of a key that exists already with the same SHA-256 returns that object
//     and stores nothing; with another one it fails with ErrExists.
//   - nothing in this interface deletes, or shortens a retention.
type Store interface {
	// Put streams r. Memory is bounded, however much r yields. It fails with
	// ErrNotLocked, ErrExists, ErrDigest.
	Put(ctx context.Context, key string, r io.Reader, o PutOptions) (Object, error)
	// Get opens a version; Version empty is the newest.
	Get(ctx context.Context, key, version string) (io.ReadCloser, error)
	// Stat reads back what the store holds. It fails with ErrNotFound.
	Stat(ctx context.Context, key, version string) (Object, error)
	// List names the oldest versions of the objects whose keys begin with
	// prefix, by key: Put stores no version on top of another, so whatever lies
	// there is somebody else's. Key, Location, Version and Bytes are filled in.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Versions names every version of the objects whose keys begin with prefix,
	// and every delete marker: by key, the newest first.
	Versions(ctx context.Context, prefix string) ([]Version, error)
	// Check fails, with what is wrong and a hint, where the store can't keep
	// evidence as asked: ErrNotLocked, no bucket, no permission.
	Check(ctx context.Context) error
	// String names the store for people: s3://bucket/prefix.
	String() string
}

// PutOptions of one object.
type PutOptions struct {
	ContentType string
	// SHA256, where known beforehand, is checked (hexadecimal).
	SHA256   string
	Metadata map[string]string
	// AllowUnlocked stores the object where the store can't lock it, too; its
	// Mode is then none. Without it such a store refuses with ErrNotLocked.
	AllowUnlocked bool
}
