package evidence

import "errors"

var (
	// ErrNotFound: the store has no such object or version.
	ErrNotFound = errors.New("no such object in the evidence store")
	// ErrExists: another object is stored under this key.
	ErrExists = errors.New("another object is stored under this key")
	// ErrNotLocked: the store can't keep anyone from deleting or replacing
	// evidence: no versioning, no Object Lock.
	ErrNotLocked = errors.New("the evidence store is not write-once")
	// ErrDigest: the bytes are not those that the digest names.
	ErrDigest = errors.New("the bytes do not match the digest")
)
