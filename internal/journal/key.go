package journal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/cordon-ir/cordon/internal/incident"
)

// KeyFile is the signing key's file in the home directory.
const KeyFile = "journal.key"

// ed25519Type is the signature type of c2sp.org/signed-note for Ed25519.
const ed25519Type = 1

// Key signs the checkpoints of every case of one home. The zero Key signs nothing.
type Key struct {
	private ed25519.PrivateKey
}

// LoadKey reads the key in home and makes one where there is none. Of two
// processes that make one at the same time both get the same. The file is a
// signed-note signer key, readable by its owner only.
func LoadKey(home string) (Key, error) {
	path := filepath.Join(home, KeyFile)
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(home, path); err != nil {
		return Key{}, fmt.Errorf("making the journal key: %w", err)
	}
	return readKey(path)
}

func readKey(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		err := fmt.Errorf("journal key %s can be read by others (mode %v)", path, info.Mode().Perm())
		return Key{}, incident.WithHint(err, "chmod 600 "+path+", and ask who could have read it")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Key{}, err
	}
	text := strings.TrimSpace(string(b))
	if _, err := note.NewSigner(text); err != nil {
		return Key{}, fmt.Errorf("journal key %s: %w", path, err)
	}
	// NewSigner has checked the form, PRIVATE+KEY+name+id+base64(type, seed);
	// base64 may hold a + too.
	seed, err := base64.StdEncoding.DecodeString(strings.SplitN(text, "+", 5)[4])
	if err != nil {
		return Key{}, fmt.Errorf("journal key %s: %w", path, err)
	}
	return Key{ed25519.NewKeyFromSeed(seed[1:])}, nil
}

// makeKey writes a new key beside path and links it into place: a link never
// replaces a key that another process has made meanwhile.
func makeKey(home, path string) error {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(home, KeyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(signerKey(originPrefix, private) + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(home)
}

// originPrefix begins the origin line of every checkpoint. c2sp.org/tlog-checkpoint
// asks for a schema-less URL, and for a key name that equals it.
const originPrefix = "github.com/cordon-ir/cordon/case"

func origin(caseID string) string { return originPrefix + "/" + caseID }

// PublicKey is the note verifier key of the case's checkpoints. One Ed25519 key
// serves all cases; the name in front of it, and so the key ID, is the case's.
func (k Key) PublicKey(caseID string) string {
	if k.private == nil {
		return ""
	}
	// It fails only for a key of the wrong length.
	v, _ := note.NewEd25519VerifierKey(origin(caseID), k.private.Public().(ed25519.PublicKey))
	return v
}

func (k Key) signer(caseID string) (note.Signer, error) {
	if k.private == nil {
		return nil, errors.New("no journal key")
	}
	return note.NewSigner(signerKey(origin(caseID), k.private))
}

// signerKey writes a private key in the form note.NewSigner reads.
func signerKey(name string, private ed25519.PrivateKey) string {
	public, _ := note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	id := strings.Split(public, "+")[1]
	seed := append([]byte{ed25519Type}, private.Seed()...)
	return "PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(seed)
}

// A case's ID names its directory, tags, object keys and the origin of its
// checkpoints, so it holds only what is safe in all of them.
var caseID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckCaseID says what is wrong with a case ID.
func CheckCaseID(id string) error {
	if !caseID.MatchString(id) {
		return fmt.Errorf("case ID %q: want 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first", id)
	}
	return nil
}
