package evidence

import (
	"context"
	"io"
	"time"
)

// Kind of an item: the values are those of the summary's JSON.
type Kind string

const (
	KindMetadata   Kind = "metadata"
	KindConsole    Kind = "console"
	KindScreenshot Kind = "screenshot"
	KindSnapshot   Kind = "snapshot"
	KindAMI        Kind = "ami"
	KindDiskImage  Kind = "disk-image"
	KindLog        Kind = "log"
	KindMemory     Kind = "memory"
	KindCheckpoint Kind = "checkpoint"
)

// ModeNone is the mode of what nothing protects from deletion. The other modes
// are those of S3 Object Lock (GOVERNANCE, COMPLIANCE) and of EBS snapshot lock
// (the same in lower case).
const ModeNone = "none"

// Item is one piece of evidence. It exists once its object is in the store
// with retention set and read back, and this record is in the journal.
type Item struct {
	ID       string `json:"id"` // unique in the case: metadata-i-0abc-1f2e3d4c, disk-image-snap-0abc
	Kind     Kind   `json:"kind"`
	Source   string `json:"source"`        // the resource it was taken from
	Key      string `json:"key,omitempty"` // in the store; empty where the item has no bytes of ours
	Location string `json:"location"`      // s3://bucket/key?versionId=…, or the snapshot's or image's ARN
	Version  string `json:"version,omitempty"`
	// SHA256 of the bytes as stored, hexadecimal; empty where the item has no
	// bytes of ours (a snapshot, an AMI).
	SHA256 string `json:"sha256,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"` // as stored
	// ContentSHA256 and ContentBytes are of what the object decompresses to; of
	// a disk image, those of the raw disk, and ContentRoot is Image.Root.
	ContentSHA256 string    `json:"content_sha256,omitempty"`
	ContentRoot   string    `json:"content_root,omitempty"`
	ContentBytes  int64     `json:"content_bytes,omitempty"`
	Mode          string    `json:"mode,omitempty"` // GOVERNANCE, COMPLIANCE, governance, none
	RetainUntil   time.Time `json:"retention_until,omitzero"`
	Acquired      time.Time `json:"acquired"`
	Notes         []string  `json:"notes,omitempty"`
}

// CustodyEvent is one thing that happened to an item.
type CustodyEvent struct {
	Item   string `json:"item"`
	Event  string `json:"event"` // acquired, verified, fetched, attached, held, released, transferred
	By     string `json:"by"`    // empty: the entry's actor
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

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
