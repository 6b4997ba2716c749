package rehearsal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// blobs keeps bytes under their SHA-256 (hexadecimal), outside the world's
// JSON: object bodies, parts, written disk blocks.
type blobs interface {
	put(b []byte) (sum string, err error)
	get(sum string) ([]byte, error)
}

type dirBlobs string

func (d dirBlobs) put(b []byte) (string, error) {
	sum := sumOf(b)
	path := filepath.Join(string(d), sum)
	if _, err := os.Stat(path); err == nil {
		return sum, nil
	}
	f, err := os.CreateTemp(string(d), "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	if _, err := io.Copy(f, bytes.NewReader(b)); err != nil {
		_ = f.Close()
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return sum, os.Rename(f.Name(), path)
}

func (d dirBlobs) get(sum string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), sum))
}

type memoryBlobs struct {
	mu sync.Mutex
	m  map[string][]byte
}

func newMemoryBlobs() *memoryBlobs { return &memoryBlobs{m: make(map[string][]byte)} }

func (m *memoryBlobs) put(b []byte) (string, error) {
	sum := sumOf(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.m[sum]; !ok {
		m.m[sum] = bytes.Clone(b)
	}
	return sum, nil
}

func (m *memoryBlobs) get(sum string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.m[sum]
	if !ok {
		return nil, fmt.Errorf("no blob %s", sum)
	}
	return b, nil
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
