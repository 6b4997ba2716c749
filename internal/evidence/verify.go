package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Verifier re-reads evidence from a store: every byte, the retention, the legal hold and
// the versions. It needs the store alone. With a case's Custody it also
// compares the store with the journal, both ways. It changes nothing.
type Verifier struct {
	Store Store
	Now   time.Time
	// PublicKey of the case's journal, a note verifier key. Empty: the
	// custody's case is asked, then the store's own manifests.
	PublicKey string
	// Custody of the case, or nil.
	Custody *Custody
	// Item restricts the check to one.
	Item string
	// ExpiresWithin is when the end of a retention is worth a warning.
	ExpiresWithin time.Duration
	// Images reads every byte of a disk image, given the store and its index, and
	// fails with ErrDigest where it is not what the index says (capture/diskimage does).
	Images func(ctx context.Context, s Store, index Ref) error
	// InAWS reads what AWS shows of an item that it keeps itself. Where it fails the
	// item is not checked, and the report says so. Nil: the store alone is asked.
	// It is called from several goroutines.
	InAWS func(ctx context.Context, it Item) (Kept, error)
	// Progress is called with the bytes read and those to read; nil: not called.
	Progress func(done, total int64)
}

// parallelItems and parallelObjects of each are read at once.
const parallelItems, parallelObjects = 3, 3

// Cases are those that the store holds anything of, by the names of its folders.
func Cases(ctx context.Context, s Store) ([]incident.Case, error) {
	var all []incident.Case
	for _, rehearsal := range []bool{false, true} {
		root := path.Dir(strings.TrimSuffix(Folder(incident.Case{ID: "x", Rehearsal: rehearsal}), "/")) + "/"
		objects, err := s.List(ctx, root)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			id, _, _ := strings.Cut(strings.TrimPrefix(o.Key, root), "/")
			if n := len(all); n == 0 || all[n-1].ID != id || all[n-1].Rehearsal != rehearsal {
				all = append(all, incident.Case{ID: id, Rehearsal: rehearsal})
			}
		}
	}
	return all, nil
}

// verification is one case's.
type verification struct {
	Verifier
	c        incident.Case
	versions map[string][]Version // by key, the newest first
	expected map[string]*expected // by item ID
	order    []string             // item IDs
	listed   *Manifest            // the newest manifest that is signed
	report   CaseReport

	mu          sync.Mutex
	known       map[string]bool // keys that something names
	done, total int64
}

// expected is an item with who says that there is one.
type expected struct {
	Item
	journal, record, manifest bool
	held                      bool // by the last custody event
	findings                  Findings
}

// Case verifies what the store holds of one case. An error means that it could
// not be done; what is wrong with the evidence is in the report.
func (v Verifier) Case(ctx context.Context, c incident.Case) (CaseReport, error) {
	x := &verification{
		Verifier: v, c: c, versions: make(map[string][]Version), expected: make(map[string]*expected), known: make(map[string]bool),
		report: CaseReport{Case: c.ID, Rehearsal: c.Rehearsal, At: v.Now.UTC(), Journal: v.Custody != nil, Items: []ItemReport{}},
	}
	all, err := v.Store.Versions(ctx, Folder(c))
	if err != nil {
		return x.report, err
	}
	for _, o := range all {
		x.versions[o.Key] = append(x.versions[o.Key], o)
	}
	if v.Custody != nil {
		for _, it := range v.Custody.Items {
			x.expect(it).journal = true
		}
		x.hold(v.Custody)
	}
	x.chooseKey()
	for _, read := range []func(context.Context) error{x.manifests, x.notes, x.records} {
		if err := read(ctx); err != nil {
			return x.report, err
		}
	}
	if v.Item == "" {
		x.anchors(ctx)
	}
	if err := x.items(ctx); err != nil {
		return x.report, err
	}
	if v.Item == "" {
		x.strays()
	}
	x.report.Findings.sorted()
	x.report.conclude()
	return x.report, nil
}

// keys under the case's folder, in order, whose names end so.
func (x *verification) keys(folder, end string) []string {
	var keys []string
	for key := range x.versions {
		if strings.HasPrefix(key, folder) && strings.HasSuffix(key, end) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// oldest is the version that Put has stored: whatever lies on top is somebody else's.
func (x *verification) oldest(key string) (Version, bool) {
	for _, v := range slices.Backward(x.versions[key]) {
		if !v.DeleteMarker {
			return v, true
		}
	}
	return Version{}, false
}

// small reads a document.
func (x *verification) small(ctx context.Context, key string) ([]byte, error) {
	v, ok := x.oldest(key)
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return readBounded(ctx, x.Store, Object{Key: key, Version: v.Version, Location: v.Location}, maxDocument)
}

// maxDocument bounds a manifest, a record or an index: 64 MiB is an index of
// tens of thousands of segments.
const maxDocument = 64 << 20

// expect notes that an item should be there and compares what is said of it.
func (x *verification) expect(it Item) *expected {
	e := x.expected[it.ID]
	if e == nil {
		e = &expected{Item: it}
		x.expected[it.ID] = e
		x.order = append(x.order, it.ID)
		return e
	}
	if e.Kind != it.Kind || e.Key != it.Key || e.Version != it.Version || e.SHA256 != it.SHA256 || e.Bytes != it.Bytes || e.Location != it.Location && e.Key == "" {
		e.findings.add(Contradicted, it.Key, it.Version, fmt.Sprintf("%s: version %q, sha256 %s, %d bytes; elsewhere version %q, sha256 %s, %d bytes",
			it.Key, it.Version, it.SHA256, it.Bytes, e.Version, e.SHA256, e.Bytes))
	}
	return e
}

// hold notes which items are held.
func (x *verification) hold(c *Custody) {
	for id, e := range x.expected {
		e.held = c.Held(id)
	}
}

// chooseKey takes the key that signatures are checked with.
func (x *verification) chooseKey() {
	switch {
	case x.PublicKey != "":
		x.report.KeyFrom = "given"
		if x.c.PublicKey != "" && x.c.PublicKey != x.PublicKey {
			x.report.Findings.add(BadSignature, "", "", "the journal names the key "+x.c.PublicKey+", not "+x.PublicKey)
		}
	case x.c.PublicKey != "":
		x.PublicKey, x.report.KeyFrom = x.c.PublicKey, "journal"
	}
	x.report.PublicKey = x.PublicKey
}

// manifests reads every manifest and checks its signature.
func (x *verification) manifests(ctx context.Context) error {
	for _, key := range x.keys(Folder(x.c)+manifestFolder+"/", ".json") {
		noteKey := strings.TrimSuffix(key, ".json") + ".note"
		x.names(key, noteKey)
		signed, err := x.small(ctx, noteKey)
		if err != nil {
			if err := x.unread(ctx, Unsigned, key, err); err != nil {
				return err
			}
			continue
		}
		b, err := x.small(ctx, key)
		if err != nil {
			if err := x.unread(ctx, Missing, key, err); err != nil {
				return err
			}
			continue
		}
		m, err := ReadManifest(b, signed, x.PublicKey)
		if err == nil && (m.Case != x.c.ID || m.Rehearsal != x.c.Rehearsal) {
			err = fmt.Errorf("it is of case %s", m.Case)
		}
		if err != nil {
			x.report.Findings.add(BadSignature, key, "", fmt.Sprintf("manifest %s: %v", key, err))
			continue
		}
		if x.PublicKey == "" { // keys come in order: the oldest manifest says it
			x.PublicKey, x.report.PublicKey, x.report.KeyFrom = m.PublicKey, m.PublicKey, "store"
		}
		x.listed, x.report.Manifest = &m, key
		for _, it := range m.Items {
			x.expect(it).manifest = true
		}
		if x.Custody == nil {
			x.hold(&Custody{Events: m.Events})
		}
	}
	return nil
}

// anchors checks the locks of what is no item, or none that is known here: the newest
// manifest, the notes of all, the newest checkpoint, transfers.
func (x *verification) anchors(ctx context.Context) {
	items := make(map[string]bool)
	for _, e := range x.expected {
		items[e.Key] = true
	}
	for _, folder := range []string{manifestFolder, checkpointFolder, transferFolder} {
		for _, key := range x.keys(Folder(x.c)+folder+"/", "") {
			if !items[key] && x.known[key] {
				x.kept(ctx, &x.report.Findings, key, Item{})
			}
		}
	}
}

// unread turns what a document could not be read for into a finding.
func (x *verification) unread(ctx context.Context, absent Problem, key string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	problem := Unreadable
	if isNotFound(err) {
		problem = absent
	}
	x.report.Findings.add(problem, key, "", err.Error())
	return nil
}

// notes checks the signature of each checkpoint and of each transfer.
func (x *verification) notes(ctx context.Context) error {
	verifier, keyErr := note.NewVerifier(x.PublicKey)
	keys := x.keys(Folder(x.c)+checkpointFolder+"/", ".note")
	checkpoints := len(keys)
	for i, key := range append(keys, x.keys(Folder(x.c)+transferFolder+"/", ".note")...) {
		x.names(key)
		b, err := x.small(ctx, key)
		if err != nil {
			if err := x.unread(ctx, Missing, key, err); err != nil {
				return err
			}
			continue
		}
		if err = keyErr; err == nil {
			_, err = note.Open(b, note.VerifierList(verifier))
		}
		if err != nil {
			x.report.Findings.add(BadSignature, key, "", fmt.Sprintf("note %s: %v", key, err))
			continue
		}
		if i < checkpoints {
			x.report.Checkpoints++
		}
	}
	return nil
}

// records reads what the store itself says of its items.
func (x *verification) records(ctx context.Context) error {
	for _, key := range x.keys(Folder(x.c), recordEnd) {
		x.names(key)
		b, err := x.small(ctx, key)
		if err != nil {
			if err := x.unread(ctx, Missing, key, err); err != nil {
				return err
			}
			continue
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil || r.Schema != RecordSchema || r.Case != x.c.ID || r.Rehearsal != x.c.Rehearsal || r.Item.RecordKey() != key {
			x.report.Findings.add(Altered, key, "", fmt.Sprintf("%s is not the record of an item of case %s (schema %q, case %q, item %q)", key, x.c.ID, r.Schema, r.Case, r.Item.ID))
			continue
		}
		x.expect(r.Item).record = true
	}
	return nil
}

// items checks each, several at once.
func (x *verification) items(ctx context.Context) error {
	for _, id := range x.order {
		if x.Item == "" || x.Item == id {
			x.total += x.sizeOf(x.expected[id])
		}
	}
	reports := make([]*ItemReport, len(x.order))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelItems)
	for i, id := range x.order {
		if x.Item != "" && x.Item != id {
			continue
		}
		g.Go(func() error {
			r, err := x.item(gctx, x.expected[id])
			reports[i] = &r
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, r := range reports {
		if r != nil {
			x.report.Items = append(x.report.Items, *r)
		}
	}
	return nil
}

// strays are objects that nothing names, and delete markers on nothing.
func (x *verification) strays() {
	for _, key := range x.keys("", "") {
		if x.known[key] || x.known[strings.TrimSuffix(key, ".sha256")] {
			continue
		}
		detail := "no record, manifest or index names it"
		if _, ok := x.oldest(key); !ok {
			detail = "only a delete marker is left"
		}
		x.report.Findings.add(Stray, key, x.versions[key][0].Version, detail)
	}
}

// names marks keys as expected.
func (x *verification) names(keys ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range keys {
		x.known[k] = true
	}
}
