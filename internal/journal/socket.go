package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// SocketFile is the socket of a live case in its directory.
const SocketFile = "socket"

// maxSocketPath is what fits into a socket's address on every Unix: 104 bytes
// on macOS and the BSDs, 108 on Linux, with a zero at the end.
const maxSocketPath = 103

// withSocketPath calls f with a path to dir's socket that is short enough for
// an address. Where dir lies too deep, that is one through a symbolic link
// which is there only as long as f runs.
func withSocketPath(dir string, f func(path string) error) error {
	if path := filepath.Join(dir, SocketFile); len(path) <= maxSocketPath {
		return f(path)
	}
	tmp, err := os.MkdirTemp("", "cordon")
	if err == nil && len(tmp)+len("/c/"+SocketFile) > maxSocketPath {
		os.Remove(tmp)
		tmp, err = os.MkdirTemp("/tmp", "cordon")
	}
	if err != nil {
		return fmt.Errorf("the case's directory lies too deep for a socket: %w", err)
	}
	defer os.RemoveAll(tmp)
	link := filepath.Join(tmp, "c")
	if err := os.Symlink(dir, link); err != nil {
		return fmt.Errorf("the case's directory lies too deep for a socket: %w", err)
	}
	return f(filepath.Join(link, SocketFile))
}

// listen makes the case's socket. Whatever is there is stale: we hold the case.
func listen(dir string) (*net.UnixListener, error) {
	if err := os.Remove(filepath.Join(dir, SocketFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := withSocketPath(dir, func(path string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its path may have been the short-lived one
	// Between these two lines the directory's mode, 0700, keeps others out.
	if err := os.Chmod(filepath.Join(dir, SocketFile), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// dial connects to the holder of a live case, or fails with ErrNotLive.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	if _, err := os.Lstat(filepath.Join(dir, SocketFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotLive)
	}
	var conn net.Conn
	err := withSocketPath(dir, func(path string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotLive)
	}
	return conn, err
}
