package evidence

import "time"

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
	KindFinding    Kind = "finding" // what an examiner worked out in a clean room
	KindCheckpoint Kind = "checkpoint"
	KindManifest   Kind = "manifest"
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
	// Account that keeps it, of an item that has no bytes of ours: the ARN of a snapshot or an AMI names none.
	Account string `json:"account,omitempty"`
	Version string `json:"version,omitempty"`
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

// The events of custody.
const (
	EventAcquired    = "acquired"
	EventVerified    = "verified" // its Detail says with what result
	EventFetched     = "fetched"
	EventHolding     = "holding"   // a legal hold is about to be put on it
	EventHeld        = "held"      // and is on it
	EventReleasing   = "releasing" // the hold is about to be lifted
	EventReleased    = "released"  // and is lifted
	EventCopying     = "copying"   // its objects are about to be copied to another store
	EventCopied      = "copied"    // and were verified there
	EventTransferred = "transferred"
)

// CustodyEvent is one thing that happened to an item.
type CustodyEvent struct {
	Item   string `json:"item"`
	Event  string `json:"event"` // one of those above, or an action's own: attached
	By     string `json:"by"`    // empty: the entry's actor
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// To, Manifest and Note are of a transfer: to whom, the SHA-256 of the manifest
	// that went with it, and the signed note that says so.
	To       string `json:"to,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	Note     string `json:"note,omitempty"`
}
