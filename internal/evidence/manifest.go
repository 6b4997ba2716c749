package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cordon-ir/cordon/internal/incident"
)

// ManifestSchema names the format of a Manifest.
const ManifestSchema = "cordon.manifest/1"

// manifestFolder stands where a run's ID stands in other keys.
const manifestFolder = "manifests"

// manifestTitle begins the text that is signed for a manifest. No checkpoint
// begins so: its first line is its log's origin.
const manifestTitle = "cordon evidence manifest"

// Manifest lists what a case holds, with digests, and what happened to it, for
// whoever receives it.
type Manifest struct {
	Schema    string    `json:"schema"`
	Tool      string    `json:"tool"`
	Case      string    `json:"case"`
	Rehearsal bool      `json:"rehearsal"`
	PublicKey string    `json:"public_key,omitempty"` // of the case's journal, which signs this
	Made      time.Time `json:"made"`
	// Entries of the journal that this is a fold of.
	Entries uint64  `json:"entries"`
	Items   []Item  `json:"items"`
	Events  []Event `json:"events"`
}

// Manifest is the case's manifest as of now.
func (c *Custody) Manifest(of incident.Case, now time.Time) Manifest {
	return Manifest{
		Schema: ManifestSchema, Tool: Tool(), Case: of.ID, Rehearsal: of.Rehearsal, PublicKey: of.PublicKey,
		Made: now.UTC(), Entries: c.entries, Items: slices.Clone(c.Items), Events: slices.Clone(c.Events),
	}
}

// PutManifest stores a manifest, as canonical JSON, and then beside it the
// note that names its digest, signed by sign. A manifest without its note is
// what a process has left that died in between: it proves nothing.
func PutManifest(ctx context.Context, s Store, c incident.Case, m Manifest, sign func(text string) (string, error)) (Item, error) {
	b, err := canonical(m)
	if err != nil {
		return Item{}, fmt.Errorf("manifest of case %s: %w", c.ID, err)
	}
	// A manifest is worth what it lists: where that can be deleted, so may it be.
	unlocked := slices.ContainsFunc(m.Items, func(it Item) bool { return it.Key != "" && it.Mode == ModeNone })
	number := fmt.Sprintf("%012d", m.Entries)
	key := Key(c, manifestFolder, number+".json")
	o, err := s.Put(ctx, key, bytes.NewReader(b), PutOptions{ContentType: "application/json", AllowUnlocked: unlocked})
	if err != nil {
		return Item{}, err
	}
	signed, err := sign(manifestText(m, o.SHA256))
	if err != nil {
		return Item{}, fmt.Errorf("signing the manifest of case %s: %w", c.ID, err)
	}
	if _, err := s.Put(ctx, Key(c, manifestFolder, number+".note"), strings.NewReader(signed),
		PutOptions{ContentType: "text/plain; charset=utf-8", AllowUnlocked: unlocked}); err != nil {
		return Item{}, err
	}
	return Item{
		ID: fmt.Sprintf("manifest-%d", m.Entries), Kind: KindManifest, Source: "journal of case " + c.ID,
		Key: key, Location: o.Location, Version: o.Version, SHA256: o.SHA256, Bytes: o.Bytes,
		Mode: o.Mode, RetainUntil: o.RetainUntil, Acquired: m.Made,
	}, nil
}

// manifestText is what is signed: what a person reads, with the digest as
// sha256sum prints it.
func manifestText(m Manifest, sum string) string {
	return fmt.Sprintf("%s\ncase %s\nmade %s\nitems %d\nsha256 %s\n",
		manifestTitle, m.Case, m.Made.UTC().Format(time.RFC3339Nano), len(m.Items), sum)
}

// ReadManifest checks a manifest against its note and against the key, a note verifier
// key (c2sp.org/signed-note). An empty key is taken from the manifest itself: that
// proves only that the two belong together.
func ReadManifest(manifest, signed []byte, publicKey string) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return m, err
	}
	if m.Schema != ManifestSchema {
		return m, fmt.Errorf("its schema is %q, want %q", m.Schema, ManifestSchema)
	}
	if publicKey == "" {
		publicKey = m.PublicKey
	}
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return m, fmt.Errorf("public key %q: %w", publicKey, err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return m, fmt.Errorf("its signature: %w", err)
	}
	sum := sha256.Sum256(manifest)
	if want := manifestText(m, hex.EncodeToString(sum[:])); n.Text != want {
		return m, fmt.Errorf("%w: signed is\n%swhat is there makes\n%s", ErrDigest, n.Text, want)
	}
	return m, nil
}
