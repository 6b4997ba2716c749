package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

var _ evidence.Store = (*Directory)(nil)

// partialDir holds what is still being written. What a killed process left
// there is never read.
const partialDir = ".partial"

// Directory keeps evidence in a directory. Whoever may write there can delete
// evidence: its mode is none, and every Put needs AllowUnlocked. It has no
// versions.
type Directory struct{ root string }

// NewDirectory returns the store; the directory is made by the first Put.
func NewDirectory(root string) *Directory { return &Directory{root: root} }

// String is the directory as a file URL.
func (d *Directory) String() string { return location(d.root) }

func location(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
}

// Check always fails with evidence.ErrNotLocked.
func (d *Directory) Check(context.Context) error {
	return incident.WithHint(fmt.Errorf("%w: %s is a directory", evidence.ErrNotLocked, d.root),
		"name a bucket with Object Lock, or set allow_unlocked to keep evidence that can be deleted")
}

// file is where the object lies. A key can't leave the directory.
func (d *Directory) file(key string) (string, error) {
	if key == "" || path.Clean(key) != key || !filepath.IsLocal(filepath.FromSlash(key)) || key[0] == '.' {
		return "", fmt.Errorf("%q is not a key", key)
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

// Put writes the object beside and links it to its name once it is whole and
// on disk: a link, unlike a rename, never replaces what is there.
func (d *Directory) Put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	obj, err := d.put(ctx, key, r, o)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("storing %s in %s: %w", key, d, err)
	}
	return obj, nil
}

func (d *Directory) put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	file, err := d.file(key)
	if err != nil {
		return evidence.Object{}, err
	}
	if !o.AllowUnlocked {
		return evidence.Object{}, d.Check(ctx)
	}
	for _, dir := range []string{filepath.Dir(file), filepath.Join(d.root, partialDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return evidence.Object{}, err
		}
	}
	partial, sum, err := d.write(ctx, r)
	if err != nil {
		return evidence.Object{}, err
	}
	defer os.Remove(partial)
	if o.SHA256 != "" && o.SHA256 != sum {
		return evidence.Object{}, fmt.Errorf("%w: want %s, got %s", evidence.ErrDigest, o.SHA256, sum)
	}
	if err := os.Link(partial, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return evidence.Object{}, err
	}
	if err := syncDir(filepath.Dir(file)); err != nil {
		return evidence.Object{}, err
	}
	got, err := d.Stat(ctx, key, "")
	if err == nil && got.SHA256 != sum {
		err = fmt.Errorf("%w: sha256 %s is stored, %s was given", evidence.ErrExists, got.SHA256, sum)
	}
	return got, err
}

// write copies r to a file of its own, read-only and on disk when it returns.
func (d *Directory) write(ctx context.Context, r io.Reader) (name, sum string, err error) {
	f, err := os.CreateTemp(filepath.Join(d.root, partialDir), "*")
	if err != nil {
		return "", "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), r)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), hex.EncodeToString(h.Sum(nil)), nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get opens an object. There are no versions: version must be empty.
func (d *Directory) Get(_ context.Context, key, version string) (io.ReadCloser, error) {
	f, err := d.open(key, version)
	if err != nil {
		return nil, fmt.Errorf("reading %s from %s: %w", key, d, err)
	}
	return f, nil
}

func (d *Directory) open(key, version string) (*os.File, error) {
	file, err := d.file(key)
	if err != nil {
		return nil, err
	}
	if version != "" {
		return nil, fmt.Errorf("%w: a directory keeps no version %q", evidence.ErrNotFound, version)
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", evidence.ErrNotFound, err)
	}
	return f, err
}

// Stat hashes what is on disk now.
func (d *Directory) Stat(_ context.Context, key, version string) (evidence.Object, error) {
	f, err := d.open(key, version)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("looking up %s in %s: %w", key, d, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("hashing %s: %w", f.Name(), err)
	}
	return evidence.Object{
		Key: key, Location: location(f.Name()), Bytes: n,
		SHA256: hex.EncodeToString(h.Sum(nil)), Mode: evidence.ModeNone,
	}, nil
}
