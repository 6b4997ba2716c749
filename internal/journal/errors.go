package journal

import (
	"errors"
	"fmt"
)

// Returned by Create, Open, Read and Attach; test with errors.Is.
var (
	// ErrExists: there is something in the case's directory already.
	ErrExists = errors.New("case exists already")
	// ErrNoCase: there is no journal in the directory.
	ErrNoCase = errors.New("no such case")
	// ErrHeld: another process holds the case. The error is a *HeldError.
	ErrHeld = errors.New("case is held by another process")
	// ErrNotLive: no process serves the case.
	ErrNotLive = errors.New("no run is live")
	// ErrNoEntry: the journal has no entry of that number. Prove returns it too.
	ErrNoEntry = errors.New("no entry")
	// ErrKey: the case's checkpoints are signed with another key.
	ErrKey = errors.New("case was opened with another journal key")
)

// Returned while a journal is in use.
var (
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrFailed: an earlier commit failed. Nothing more is recorded, so nothing
	// more may be done, until the journal is opened again.
	ErrFailed = errors.New("journal has failed and takes no more entries")
	// ErrHolderGone: the process that served a live case ended without saying so.
	ErrHolderGone = errors.New("the process that held the case is gone")
)

// HeldError says who holds a case. PID is 0 where that is not known.
type HeldError struct {
	Dir string
	PID int
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: %v", e.Dir, ErrHeld)
	}
	return fmt.Sprintf("%s: %v (pid %d)", e.Dir, ErrHeld, e.PID)
}

func (e *HeldError) Unwrap() error { return ErrHeld }

// CorruptError: the database file itself can't be read, so no entry can be named.
type CorruptError struct {
	Path   string
	Reason string
}

func (e *CorruptError) Error() string { return fmt.Sprintf("%s is damaged: %s", e.Path, e.Reason) }

// VerifyError names the first entry at which a journal is not what it should
// be. Where a whole tree contradicts a signature, Seq is the last entry the
// signature covers; where entries are missing, it is the first of them.
type VerifyError struct {
	Seq    uint64
	Reason string
	Err    error // may be nil
}

func (e *VerifyError) Error() string {
	s := fmt.Sprintf("journal entry %d: %s", e.Seq, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *VerifyError) Unwrap() error { return e.Err }
