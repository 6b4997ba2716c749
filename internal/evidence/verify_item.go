package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// itemCheck is one item under verification.
type itemCheck struct {
	*verification
	*expected
	report ItemReport
}

// sizeOf is what there is to read for an item.
func (x *verification) sizeOf(e *expected) (total int64) {
	if e.Key == "" {
		return 0
	}
	prefix := e.Key
	if e.Kind == KindDiskImage {
		prefix = strings.TrimSuffix(e.RecordKey(), recordEnd[1:])
	}
	for _, key := range x.keys(prefix, "") {
		if v, ok := x.oldest(key); ok && !strings.HasSuffix(key, recordEnd) && !strings.HasSuffix(key, ".sha256") {
			total += v.Bytes
		}
	}
	return total
}

// item checks one. An error means that the check was cut short.
func (x *verification) item(ctx context.Context, e *expected) (ItemReport, error) {
	c := &itemCheck{verification: x, expected: e, report: ItemReport{
		ID: e.ID, Kind: e.Kind, Source: e.Source, Key: e.Key, State: StateElsewhere, Findings: e.findings,
	}}
	// A copy need not hold everything that its manifest lists.
	absent := e.Key != "" && !e.record && !e.keptIn(x.Store) && len(x.versions[e.Key]) == 0
	if !absent {
		c.compareSources()
	}
	if e.Key != "" && !absent {
		c.report.State = StateVerified
		if err := c.objects(ctx); err != nil {
			return c.report, err
		}
	}
	if e.Key == "" && x.InAWS != nil {
		if err := c.inAWS(ctx); err != nil {
			return c.report, err
		}
	}
	if c.report.Findings.Failed() {
		c.report.State = StateFailed
	}
	c.report.Findings.sorted()
	return c.report, nil
}

// inAWS checks an item that AWS keeps.
func (c *itemCheck) inAWS(ctx context.Context) error {
	kept, err := c.InAWS(ctx, c.Item)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.fail(Unchecked, "AWS keeps it, and could not be asked: %v", err)
		return nil
	}
	c.report.State, c.report.Shown = StateVerified, kept.Shown
	c.report.Findings = append(c.report.Findings, kept.Findings...)
	if slices.ContainsFunc(kept.Findings, func(f Finding) bool { return f.Problem == Missing }) {
		return nil
	}
	c.report.Mode, c.report.RetainUntil, c.report.LegalHold = kept.Mode, kept.RetainUntil, kept.LegalHold
	now := Object{Mode: kept.Mode, RetainUntil: kept.RetainUntil, LegalHold: kept.LegalHold}
	if p, detail := c.weaker(now, false, kept.RetainUntil.Before(c.RetainUntil.Truncate(time.Second))); p != "" {
		c.fail(p, "%s", detail)
	}
	return nil
}

func (c *itemCheck) fail(p Problem, format string, args ...any) {
	c.report.Findings.add(p, c.Key, c.Version, fmt.Sprintf(format, args...))
}

// compareSources finds what the journal, the manifest and the records disagree about.
func (c *itemCheck) compareSources() {
	signedByItself := c.Kind == KindCheckpoint || c.Kind == KindManifest
	if c.Custody != nil && !c.journal {
		c.fail(OffJournal, "the journal knows no item %s", c.ID)
	}
	switch {
	case c.manifest || signedByItself:
	case c.listed == nil || c.Acquired.After(c.listed.Made):
		c.fail(Unlisted, "recorded after the last manifest: a run has not come to its end")
	case c.journal && !c.listedBefore():
		c.fail(Unlisted, "the journal has it since the last manifest")
	default:
		c.fail(OffManifest, "no signed manifest lists it")
	}
	if c.Key != "" && !signedByItself && !c.record {
		c.fail(Unrecorded, "the store has no record of it beside it (%s)", c.RecordKey())
	}
}

// listedBefore reports whether an item that the journal recorded at its place came
// before the newest manifest, which then ought to list it.
func (c *itemCheck) listedBefore() bool {
	at := -1
	for i, it := range c.Custody.Items {
		switch {
		case it.ID == c.ID:
			at = i
		case it.Kind == KindManifest && at >= 0:
			return true
		}
	}
	return false
}

// objects checks the item's own object, what belongs to it, and its record.
func (c *itemCheck) objects(ctx context.Context) error {
	c.names(c.Key, c.RecordKey())
	isImage := c.Kind == KindDiskImage && strings.HasSuffix(c.Key, ".json") && c.Bytes <= maxDocument
	var index bytes.Buffer
	to := io.Discard
	if isImage {
		to = &index
	}
	ok, err := c.object(ctx, c.ref(), true, to)
	if err != nil {
		return err
	}
	for _, beside := range []string{c.RecordKey(), c.Key + ".sha256"} {
		if _, there := c.oldest(beside); there || len(c.versions[beside]) > 0 {
			c.kept(ctx, &c.report.Findings, beside, c.Item)
		}
	}
	if ok && isImage {
		return c.image(ctx, index.Bytes())
	}
	return ctx.Err()
}

// object checks one: that the version is there, is kept, and has the digest. What
// is read goes to to. It reports whether the bytes are those.
func (c *itemCheck) object(ctx context.Context, ref Ref, own bool, to io.Writer) (bool, error) {
	c.names(ref.Key)
	found, ok := c.find(ref)
	if !ok {
		c.add(Missing, ref, "version "+ref.Version+" is not in the store")
		return false, nil
	}
	c.overlaid(&c.report.Findings, found)
	c.lock(ctx, &c.report.Findings, found, own)
	sum := sha256.New()
	n, err := c.read(ctx, found, io.MultiWriter(to, sum))
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case isNotFound(err):
		c.add(Missing, ref, err.Error())
	case err != nil && n < ref.Bytes:
		c.add(Unreadable, ref, err.Error())
	case n != ref.Bytes:
		c.add(Altered, ref, fmt.Sprintf("%d bytes, %d were recorded", n, ref.Bytes))
	case got != ref.SHA256:
		c.add(Altered, ref, fmt.Sprintf("sha256 %s, recorded %s", got, ref.SHA256))
	case err != nil:
		c.add(Unreadable, ref, err.Error())
	default:
		return true, nil
	}
	return false, nil
}

// read streams an object.
func (c *itemCheck) read(ctx context.Context, v Version, to io.Writer) (int64, error) {
	body, err := c.Store.Get(ctx, v.Key, v.Version)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(to, c.counting(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Objects++
	return n, err
}

// counting shows the progress of what is read.
func (c *itemCheck) counting(r io.Reader) io.Reader { return countingReader{r, c} }

type countingReader struct {
	io.Reader
	c *itemCheck
}

func (r countingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.done += int64(n)
	r.c.report.Bytes += int64(n)
	if r.c.Progress != nil && n > 0 {
		r.c.Progress(min(r.c.done, r.c.total), r.c.total)
	}
	return n, err
}

// add is for what goes on at once within an item.
func (c *itemCheck) add(p Problem, ref Ref, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Findings.add(p, ref.Key, ref.Version, detail)
}

// find is the version that was recorded; without a recorded one, and in a copy
// of the store it was recorded in, the oldest.
func (c *itemCheck) find(ref Ref) (Version, bool) {
	return c.verification.find(ref, !c.keptIn(c.Store))
}

func (x *verification) find(ref Ref, isCopy bool) (Version, bool) {
	if ref.Version == "" || isCopy {
		return x.oldest(ref.Key)
	}
	for _, v := range x.versions[ref.Key] {
		if v.Version == ref.Version && !v.DeleteMarker {
			return v, true
		}
	}
	return Version{}, false
}

// kept checks the lock, and what lies on top, of an object whose content is checked elsewhere.
func (x *verification) kept(ctx context.Context, f *Findings, key string, of Item) {
	v, ok := x.oldest(key)
	if !ok {
		x.mu.Lock()
		defer x.mu.Unlock()
		f.add(Missing, key, "", "only a delete marker is left")
		return
	}
	x.overlaid(f, v)
	c := &itemCheck{verification: x, expected: &expected{Item: of}}
	c.lock(ctx, f, v, false)
}

// overlaid finds what lies on top of a version: it is unharmed, but whoever
// names no version is shown something else.
func (x *verification) overlaid(f *Findings, v Version) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, top := range x.versions[v.Key] {
		switch {
		case top.Version == v.Version:
			return
		case top.DeleteMarker:
			f.add(Hidden, v.Key, top.Version, "a delete marker of "+top.Stored.Format(time.RFC3339)+" lies on top; the version below is still there")
		default:
			f.add(Overlaid, v.Key, top.Version, fmt.Sprintf("another version, of %s and %d bytes, lies on top; the one below is still there", top.Stored.Format(time.RFC3339), top.Bytes))
		}
	}
}

// spanTolerance: S3 dates a multipart object by the moment its upload was begun or
// by its end, and the retention was counted from one of them.
const spanTolerance = 24 * time.Hour

// lock compares the lock that the store shows with the one that was recorded. Own is
// the item's own object, whose retention is in the item; of the others it is known that they
// were stored for as long.
func (c *itemCheck) lock(ctx context.Context, f *Findings, v Version, own bool) {
	obj, err := c.Store.Stat(ctx, v.Key, v.Version)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			f.add(Unreadable, v.Key, v.Version, err.Error())
		}
		return
	}
	if own {
		c.report.Mode, c.report.RetainUntil, c.report.LegalHold = obj.Mode, obj.RetainUntil, obj.LegalHold
	}
	add := func(p Problem, detail string) { f.add(p, v.Key, v.Version, detail) }
	if c.held && !obj.LegalHold && c.keptIn(c.Store) {
		add(HoldLifted, "custody says that it is held; the store shows no legal hold")
	}
	isCopy := c.ID != "" && !c.keptIn(c.Store)
	if p, detail := c.weaker(obj, isCopy, !isCopy && c.shortened(obj, v, own)); p != "" && (own || p != NotWriteOnce) {
		add(p, detail)
	}
}

// weaker is what is wrong with a lock, or worth knowing; shortened is whether it ends earlier than it did.
func (c *itemCheck) weaker(now Object, isCopy, shortened bool) (p Problem, detail string) {
	until := now.RetainUntil.Format(time.RFC3339)
	switch {
	case now.Mode == ModeNone && isCopy:
		return NotWriteOnce, "a copy that nothing keeps anyone from deleting; the original is " + c.Location
	case now.Mode == ModeNone && (c.Mode == ModeNone || c.ID == "" && c.unlockedStore()):
		return NotWriteOnce, "nothing keeps anyone from deleting it, as was recorded"
	case now.Mode == ModeNone:
		return Unlocked, "it has no retention any more; it was stored with " + c.Mode
	case !isCopy && strings.EqualFold(c.Mode, "COMPLIANCE") && !strings.EqualFold(now.Mode, "COMPLIANCE"):
		return Shortened, "it is kept in mode " + now.Mode + "; it was stored with " + c.Mode
	case !now.RetainUntil.After(c.Now) && !now.LegalHold:
		return Expired, "its retention ended at " + until
	case shortened:
		return Shortened, fmt.Sprintf("it is kept until %s; it was stored until %s", until, c.RetainUntil.Format(time.RFC3339))
	case now.RetainUntil.Before(c.Now.Add(c.ExpiresWithin)) && !now.LegalHold:
		return Expiring, "its retention ends at " + until
	}
	return "", ""
}

// unlockedStore: nothing that was recorded in this store was locked.
func (x *verification) unlockedStore() bool {
	for _, e := range x.expected {
		if e.Key != "" && e.Mode != ModeNone && e.keptIn(x.Store) {
			return false
		}
	}
	return true
}

func (c *itemCheck) shortened(obj Object, v Version, own bool) bool {
	if c.RetainUntil.IsZero() {
		return false
	}
	if own {
		return obj.RetainUntil.Before(c.RetainUntil.Truncate(time.Second))
	}
	item, ok := c.find(Ref{Key: c.Key, Version: c.Version})
	return ok && obj.RetainUntil.Sub(v.Stored) < c.RetainUntil.Sub(item.Stored)-spanTolerance
}
