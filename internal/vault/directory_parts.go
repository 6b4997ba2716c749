package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cordon-ir/cordon/internal/evidence"
)

var _ evidence.Resumable = (*Directory)(nil)

// uploadDir holds the parts of an upload, each a file that is whole and on disk.
func (d *Directory) uploadDir(u evidence.Upload) (string, error) {
	if raw, err := hex.DecodeString(u.ID); err != nil || len(raw) != 16 {
		return "", fmt.Errorf("%w: %q is not an upload", evidence.ErrNotFound, u.ID)
	}
	return filepath.Join(d.root, partialDir, u.ID), nil
}

// Begin starts an object that comes in parts; see evidence.Resumable.
func (d *Directory) Begin(ctx context.Context, key string, o evidence.PutOptions) (evidence.Upload, error) {
	file, err := d.file(key)
	if err == nil && !o.AllowUnlocked {
		err = d.Check(ctx)
	}
	if err == nil {
		if _, serr := os.Lstat(file); serr == nil {
			err = evidence.ErrExists
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	u := evidence.Upload{Key: key, ID: hex.EncodeToString(id[:]), AllowUnlocked: o.AllowUnlocked}
	if err == nil {
		err = os.MkdirAll(filepath.Join(d.root, partialDir, u.ID), 0o700)
	}
	if err != nil {
		return evidence.Upload{}, fmt.Errorf("storing %s in %s: %w", key, d, err)
	}
	return u, nil
}

// Part keeps a part in a file of its number.
func (d *Directory) Part(ctx context.Context, u evidence.Upload, p evidence.Part, body io.ReadSeeker) (evidence.Part, error) {
	if err := d.part(ctx, u, p, body); err != nil {
		return p, fmt.Errorf("storing part %d of %s in %s: %w", p.Number, u.Key, d, err)
	}
	return p, nil
}

func (d *Directory) part(ctx context.Context, u evidence.Upload, p evidence.Part, body io.Reader) error {
	dir, err := d.uploadDir(u)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return err
	}
	h := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(f, h), body)
	if err == nil && (n != p.Bytes || h.Sum32() != p.CRC32C) {
		err = fmt.Errorf("%w: %d bytes of CRC-32C %s came, not %d of %s", evidence.ErrDigest, n, crcText(h.Sum32()), p.Bytes, crcText(p.CRC32C))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, partName(p.Number))); err != nil {
		return err
	}
	return syncDir(dir)
}

func partName(n int) string { return fmt.Sprintf("%05d", n) }

// Parts reads what an upload holds.
func (d *Directory) Parts(_ context.Context, u evidence.Upload) ([]evidence.Part, error) {
	all, err := d.parts(u)
	if err != nil {
		return nil, fmt.Errorf("the unfinished upload of %s in %s: %w", u.Key, d, err)
	}
	return all, nil
}

func (d *Directory) parts(u evidence.Upload) ([]evidence.Part, error) {
	dir, err := d.uploadDir(u)
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir) // by name, and so by number
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", evidence.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	var all []evidence.Part
	for _, e := range files {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // a killed process was still writing it
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		h := crc32.New(castagnoli)
		size, err := io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		all = append(all, evidence.Part{Number: n, Bytes: size, CRC32C: h.Sum32()})
	}
	return all, nil
}

// Complete puts the parts together beside and links the file to its name.
func (d *Directory) Complete(ctx context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	obj, err := d.completeParts(ctx, u, parts)
	if err != nil {
		return evidence.Object{}, fmt.Errorf("storing %s in %s: %w", u.Key, d, err)
	}
	return obj, nil
}

func (d *Directory) completeParts(ctx context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	file, err := d.file(u.Key)
	if err != nil {
		return evidence.Object{}, err
	}
	dir, err := d.uploadDir(u)
	if err != nil {
		return evidence.Object{}, err
	}
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if err := d.join(ctx, dir, file, parts); err != nil {
			return evidence.Object{}, err
		}
	}
	if err := matches(file, parts); err != nil {
		return evidence.Object{}, err
	}
	obj, err := d.Stat(ctx, u.Key, "")
	if err != nil {
		return obj, err
	}
	return obj, os.RemoveAll(dir)
}

func (d *Directory) join(ctx context.Context, dir, file string, parts []evidence.Part) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	r := &partsReader{dir: dir, parts: parts}
	partial, _, err := d.write(ctx, r)
	if r.open != nil {
		err = errors.Join(err, r.open.Close())
	}
	if err != nil {
		return err
	}
	defer os.Remove(partial)
	if err := os.Link(partial, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// partsReader reads one part's file after the other.
type partsReader struct {
	dir   string
	parts []evidence.Part
	open  *os.File
}

func (r *partsReader) Read(b []byte) (n int, err error) {
	for r.open != nil || len(r.parts) > 0 {
		if r.open == nil {
			if r.open, err = os.Open(filepath.Join(r.dir, partName(r.parts[0].Number))); err != nil {
				return 0, err
			}
			r.parts = r.parts[1:]
		}
		n, err = r.open.Read(b)
		if errors.Is(err, io.EOF) {
			err, r.open = r.open.Close(), nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// matches reads the file back, part by part.
func matches(file string, parts []evidence.Part) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range parts {
		h := crc32.New(castagnoli)
		if n, err := io.CopyN(h, f, p.Bytes); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if n != p.Bytes || h.Sum32() != p.CRC32C {
			return fmt.Errorf("%w: it differs in part %d", evidence.ErrExists, p.Number)
		}
	}
	if n, err := io.CopyN(io.Discard, f, 1); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: it has more bytes", evidence.ErrExists), err)
	}
	return nil
}
