package evidence

import (
	"slices"
	"strings"
	"time"
)

// Problem is one way in which evidence is not what it should be.
type Problem string

const (
	Missing      Problem = "missing"       // the version that was recorded is not there
	Altered      Problem = "altered"       // the bytes do not match the digest
	Unlocked     Problem = "unlocked"      // it was locked when it was stored, and is not now
	Shortened    Problem = "shortened"     // the retention ends earlier, or is weaker, than when it was stored
	Expired      Problem = "expired"       // the retention is over, and nothing holds it
	HoldLifted   Problem = "hold-lifted"   // custody says that it is held, the store shows no legal hold
	Hidden       Problem = "delete-marker" // a delete marker lies on top
	Overlaid     Problem = "overlaid"      // a newer version lies on top
	OffManifest  Problem = "not-on-manifest"
	OffJournal   Problem = "not-in-journal"
	Unrecorded   Problem = "no-record"   // the item is known, but the store has no record of it
	Contradicted Problem = "contradicts" // journal, record and manifest say different things
	BadSignature Problem = "signature"   // a manifest, a checkpoint or a transfer is not signed as it should be
	Unreadable   Problem = "unreadable"  // it could not be checked
	Broken       Problem = "broken"      // AWS says that what it keeps has failed
	Shared       Problem = "shared"      // what AWS keeps is open to others, and not by the case's doing

	// What is worth knowing and nothing wrong.
	Expiring     Problem = "expiring"       // the retention ends soon
	NotWriteOnce Problem = "not-write-once" // nothing keeps anyone from deleting it, as recorded
	Unsigned     Problem = "unsigned"       // a manifest without its note: a process died in between
	Unlisted     Problem = "not-listed-yet" // recorded after the last manifest
	Stray        Problem = "stray"          // an object that nothing names
	Unchecked    Problem = "not-checked"    // AWS keeps it, and could not be asked
	Unfinished   Problem = "unfinished"     // AWS is still at work on it
)

// warns reports whether the problem is only worth knowing.
func (p Problem) warns() bool {
	return slices.Contains([]Problem{Expiring, NotWriteOnce, Unsigned, Unlisted, Stray, Unchecked, Unfinished}, p)
}

// Finding is a problem with an object or an item.
type Finding struct {
	Problem Problem `json:"problem"`
	Warning bool    `json:"warning,omitempty"` // worth knowing, and nothing wrong
	Key     string  `json:"key,omitempty"`
	Version string  `json:"version,omitempty"`
	Detail  string  `json:"detail"`
}

// Findings of one check.
type Findings []Finding

// Failed reports whether anything is not what it should be.
func (f Findings) Failed() bool {
	return slices.ContainsFunc(f, func(x Finding) bool { return !x.Warning })
}

func (f *Findings) add(p Problem, key, version, detail string) {
	*f = append(*f, Finding{Problem: p, Warning: p.warns(), Key: key, Version: version, Detail: detail})
}

func (f Findings) sorted() Findings {
	slices.SortStableFunc(f, func(a, b Finding) int {
		if a.Warning != b.Warning {
			if b.Warning {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Key, b.Key)
	})
	return f
}

// The states of an ItemReport.
const (
	StateVerified  = "verified"
	StateFailed    = "failed"
	StateElsewhere = "elsewhere" // AWS keeps it, a snapshot or an AMI, and was not asked
)

// ItemReport is what was found of one item.
type ItemReport struct {
	ID     string `json:"id"`
	Kind   Kind   `json:"kind"`
	Source string `json:"source"`
	Key    string `json:"key,omitempty"`
	State  string `json:"state"`
	// Objects and Bytes that were read for it.
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// The lock as the store, or AWS, shows it now, of the item's own object.
	Mode        string    `json:"mode,omitempty"`
	RetainUntil time.Time `json:"retention_until,omitzero"`
	LegalHold   bool      `json:"legal_hold"`
	// Shown is what AWS shows of an item that it keeps, in words.
	Shown    string   `json:"shown,omitempty"`
	Findings Findings `json:"findings,omitempty"`
}

// Kept is what AWS shows of an item that it keeps itself: a snapshot, an AMI.
type Kept struct {
	Shown       string // in words
	Mode        string // as Item.Mode
	RetainUntil time.Time
	LegalHold   bool
	Findings    Findings // but for those of the lock
}

// Find adds a finding.
func (k *Kept) Find(p Problem, detail string) { k.Findings.add(p, "", "", detail) }

// CaseReport is what was found of a case.
type CaseReport struct {
	Case      string    `json:"case"`
	Rehearsal bool      `json:"rehearsal"`
	At        time.Time `json:"at"`
	Verified  bool      `json:"verified"` // nothing is other than it should be
	// PublicKey that signatures were checked with, and where it is from: given,
	// journal, or store, which proves only that what is there belongs together.
	PublicKey string `json:"public_key,omitempty"`
	KeyFrom   string `json:"key_from,omitempty"`
	// Journal: the items were compared with the case's journal, both ways.
	Journal bool `json:"journal"`
	// Manifest is the newest one whose signature is good.
	Manifest    string       `json:"manifest,omitempty"`
	Checkpoints int          `json:"checkpoints"` // with a good signature
	Items       []ItemReport `json:"items"`
	Findings    Findings     `json:"findings,omitempty"` // of no item
}

func (r *CaseReport) conclude() {
	r.Verified = !r.Findings.Failed()
	for _, it := range r.Items {
		r.Verified = r.Verified && it.State != StateFailed
	}
}
