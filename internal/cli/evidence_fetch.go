package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

func newEvidenceFetch(g *globals) *cobra.Command {
	var caseID, out string
	cmd := &cobra.Command{
		Use: "fetch --case ID ITEM --out FILE", Short: "Fetch an item's bytes and check them; a disk image is unpacked, with holes for zeros",
		Args: exactArgs("ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out is missing: where to?")
			}
			return g.withItem(cmd.Context(), caseID, args[0], func(ctx context.Context, h *heldItem) error { return h.fetch(ctx, out) })
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&out, "out", "", "a new file (required)")
	return cmd
}

func (h *heldItem) fetch(ctx context.Context, out string) error {
	content, err := fetch(ctx, h.store, h.item, out, newMeter(h.w.g, h.w.clock, "fetching "+h.item.ID).show)
	if err != nil {
		return fmt.Errorf("item %s: %w", h.item.ID, err)
	}
	event := evidence.CustodyEvent{Event: evidence.EventFetched, Detail: "to " + out + ", digests checked, sha256 " + content}
	if err := h.custody(ctx, event); err != nil {
		return err
	}
	g := h.w.g
	if g.output == "json" {
		return g.printJSON(h.item)
	}
	_, err = fmt.Fprintf(g.out, "%s%s is in %s, sha256 %s\n", banner(h.r.state.Case.Rehearsal), h.item.ID, out, content)
	return err
}

// fetch writes the item's content to a new file, checks it and returns its SHA-256. A
// file that fails the check, or does not fit, is removed.
func fetch(ctx context.Context, s evidence.Store, item evidence.Item, out string, progress func(done, total int64)) (sha string, err error) {
	if item.Kind == evidence.KindDiskImage {
		// Its indexes are read and checked before there is a file.
		image, err := diskimage.Open(ctx, s, evidence.Ref{Key: item.Key, Version: item.Version, SHA256: item.SHA256, Bytes: item.Bytes})
		if err != nil {
			return "", err
		}
		total, err := image.Allocated(ctx)
		if err != nil {
			return "", err
		}
		return newFile(out, size{whole: image.Image().Bytes, data: total}, func(f *os.File) (string, error) {
			return image.Restore(ctx, f, func(blocks int64) { progress(min(blocks*evidence.BlockBytes, total), total) })
		})
	}
	stored, err := s.Get(ctx, item.Key, item.Version)
	if err != nil {
		return "", err
	}
	defer stored.Close()
	return newFile(out, size{whole: item.Bytes, data: item.Bytes}, func(f *os.File) (string, error) {
		sum := sha256.New()
		if err := writeSparse(f, sum, stored); err != nil {
			return "", err
		}
		sha := hex.EncodeToString(sum.Sum(nil))
		if sha != item.SHA256 {
			return "", fmt.Errorf("%w: the stored object is %s, not %s", evidence.ErrDigest, sha, item.SHA256)
		}
		return sha, nil
	})
}

// size of a file, in bytes: all of it, and what of it is data at most. The rest is holes.
type size struct{ whole, data int64 }

// newFile makes a file, which must not be there yet, where its file system takes one of
// its size and has room for it. It has its name once it is whole and on disk: a process that dies leaves OUT.*.partial.
func newFile(out string, n size, write func(*os.File) (sha string, err error)) (sha string, err error) {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return "", &usageError{fmt.Errorf("%s is there already: %w", out, errors.Join(err, fs.ErrExist))}
	}
	if err := room(filepath.Dir(out), n.data); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".*.partial") // mode 0600
	if err != nil {
		return "", &usageError{err}
	}
	if err = n.fits(f); err == nil {
		sha, err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = name(f.Name(), out)
	}
	if err == nil {
		return sha, nil
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		err = incident.WithHint(fmt.Errorf("the disk of %s is full: %w", out, err), "fetch to a disk with more room; nothing was kept")
	case errors.Is(err, syscall.EFBIG):
		err = incident.WithHint(err, "its file system takes no file of that size, as FAT32 does not: fetch to another one")
	}
	if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return "", fmt.Errorf("writing %s: %w", out, err)
}

// fits fails where the file system of f, an empty file, takes no file of the size, or keeps no
// holes and has no room for all of it. f is empty afterwards.
func (n size) fits(f *os.File) error {
	// Linux refuses an offset past the file system's largest file, without writing (vfs: generic_file_llseek).
	if _, err := f.Seek(n.whole, io.SeekStart); errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("%d bytes: %w", n.whole, syscall.EFBIG)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if n.data == n.whole {
		return nil
	}
	holes, err := keepsHoles(f)
	if err != nil {
		return err
	}
	return room(filepath.Dir(f.Name()), n.need(holes))
}

// need is the room that the file takes.
func (n size) need(holes bool) int64 {
	if holes {
		return n.data
	}
	return n.whole
}

// holeProbe is more than a cluster of the usual disks: a byte at its end leaves whole clusters before it.
const holeProbe = 4 << 20

// keepsHoles finds out whether what f's file system was never given takes room there: exFAT, FAT and
// many network and FUSE file systems store it as zeros. It writes one byte far out, and takes it away again.
func keepsHoles(f *os.File) (bool, error) {
	if _, err := f.WriteAt([]byte{1}, holeProbe-1); err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil { // what is not allocated yet is not counted
		return false, err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return false, err
	}
	return st.Blocks*512 < holeProbe, f.Truncate(0)
}

// room fails where a directory's file system has not so many bytes free for whoever runs this:
// holes need none. A file system that does not tell is not held back: a full one shows when it is.
func room(dir string, need int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return nil
	}
	return fits(dir, need, uint64(fs.Bavail)*uint64(fs.Bsize))
}

func fits(dir string, need int64, free uint64) error {
	if uint64(need) <= free {
		return nil
	}
	return incident.WithHint(
		usagef("%s has %s free, and the file needs up to %s there: nothing was fetched", dir, amount(int64(free), "bytes"), amount(need, "bytes")),
		"name in --out a file on a file system with more room; one that keeps no holes, as exFAT, needs room for all of a raw disk")
}

// name gives a finished file its name, never that of another: a link does not replace
// what is there. The file systems of many external disks know no links.
func name(partial, out string) error {
	err := os.Link(partial, out)
	switch {
	case err == nil:
		return os.Remove(partial)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	return claim(partial, out)
}

// claim does as name, without links: the name is taken by an empty file first, which nobody
// else can take for theirs, and is let go of where the file can't have it.
func claim(partial, out string) error {
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, os.Remove(out))
	}
	if err := os.Rename(partial, out); err != nil {
		return errors.Join(err, os.Remove(out))
	}
	return nil
}

// writeSparse copies r to f and sum, leaving holes in f where r yields blocks of zeros.
func writeSparse(f *os.File, sum io.Writer, r io.Reader) error {
	r = io.TeeReader(r, sum)
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	var size int64
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 && string(buf[:n]) != string(zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return f.Truncate(size)
		case err != nil:
			return err
		}
	}
}
