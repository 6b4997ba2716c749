package evidence

import "errors"

var (
	// ErrNotFound: the store has no such object or version.
	ErrNotFound = errors.New("no such object in the evidence store")
	// ErrExists: another object is stored under this key.
	ErrExists = errors.New("another object is stored under this key")
)
