package diskimage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
)

// memory is a store that keeps the contract, and nothing on disk: a property
// is tried on a hundred images.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]map[int][]byte
}

func newMemory() *memory {
	return &memory{objects: make(map[string][]byte), uploads: make(map[string]map[int][]byte)}
}

func TestTheStoreInMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) evidence.Store { return newMemory() })
}

func (m *memory) String() string              { return "memory" }
func (m *memory) Check(context.Context) error { return evidence.ErrNotLocked }

// keep stores b under the key unless something else is there.
func (m *memory) keep(key string, b []byte) (evidence.Object, error) {
	if old, ok := m.objects[key]; ok && !bytes.Equal(old, b) {
		return evidence.Object{}, evidence.ErrExists
	}
	m.objects[key] = b
	return m.object(key), nil
}

func (m *memory) object(key string) evidence.Object {
	b := m.objects[key]
	sum := sha256.Sum256(b)
	return evidence.Object{Key: key, Location: "memory:" + key, Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:]), Mode: evidence.ModeNone}
}

func (m *memory) Put(ctx context.Context, key string, r io.Reader, o evidence.PutOptions) (evidence.Object, error) {
	b, err := io.ReadAll(r)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && !o.AllowUnlocked {
		err = evidence.ErrNotLocked
	}
	if err != nil {
		return evidence.Object{}, err
	}
	if sum := sha256.Sum256(b); o.SHA256 != "" && o.SHA256 != hex.EncodeToString(sum[:]) {
		return evidence.Object{}, evidence.ErrDigest
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keep(key, b)
}

func (m *memory) Get(_ context.Context, key, version string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[key]
	if !ok || version != "" {
		return nil, evidence.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memory) Stat(_ context.Context, key, version string) (evidence.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; !ok || version != "" {
		return evidence.Object{}, evidence.ErrNotFound
	}
	return m.object(key), nil
}

func (m *memory) List(_ context.Context, prefix string) ([]evidence.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []evidence.Object
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, m.object(key))
		}
	}
	return all, nil
}

func (m *memory) Versions(ctx context.Context, prefix string) ([]evidence.Version, error) {
	objects, err := m.List(ctx, prefix)
	var all []evidence.Version
	for _, o := range objects {
		all = append(all, evidence.Version{Key: o.Key, Location: o.Location, Bytes: o.Bytes, Newest: true})
	}
	return all, err
}

func (m *memory) Begin(_ context.Context, key string, o evidence.PutOptions) (evidence.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return evidence.Upload{}, evidence.ErrExists
	}
	if !o.AllowUnlocked {
		return evidence.Upload{}, evidence.ErrNotLocked
	}
	u := evidence.Upload{Key: key, ID: strconv.Itoa(len(m.uploads)), AllowUnlocked: true}
	m.uploads[u.ID] = make(map[int][]byte)
	return u, nil
}

func (m *memory) Part(ctx context.Context, u evidence.Upload, p evidence.Part, r io.ReadSeeker) (evidence.Part, error) {
	body, err := io.ReadAll(r)
	if err != nil || partOf(p.Number, body) != p {
		return p, errors.Join(evidence.ErrDigest, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uploads[u.ID] == nil || ctx.Err() != nil {
		return evidence.Part{}, errors.Join(evidence.ErrNotFound, ctx.Err())
	}
	m.uploads[u.ID][p.Number] = body
	return p, nil
}

func partOf(n int, body []byte) evidence.Part {
	return evidence.Part{Number: n, Bytes: int64(len(body)), CRC32C: crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))}
}

func (m *memory) Parts(_ context.Context, u evidence.Upload) ([]evidence.Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uploads[u.ID] == nil {
		return nil, evidence.ErrNotFound
	}
	var all []evidence.Part
	for _, n := range slices.Sorted(maps.Keys(m.uploads[u.ID])) {
		all = append(all, partOf(n, m.uploads[u.ID][n]))
	}
	return all, nil
}

func (m *memory) Complete(_ context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uploads[u.ID] == nil {
		return m.compared(u.Key, parts)
	}
	var all []byte
	for _, p := range parts {
		body, ok := m.uploads[u.ID][p.Number]
		if !ok || partOf(p.Number, body) != p {
			return evidence.Object{}, fmt.Errorf("no part %d like that", p.Number)
		}
		all = append(all, body...)
	}
	obj, err := m.keep(u.Key, all)
	if err == nil {
		m.uploads[u.ID] = nil
	}
	return obj, err
}

func (m *memory) compared(key string, parts []evidence.Part) (evidence.Object, error) {
	b := m.objects[key]
	for _, p := range parts {
		if int64(len(b)) < p.Bytes || partOf(p.Number, b[:p.Bytes]) != p {
			return evidence.Object{}, evidence.ErrExists
		}
		b = b[p.Bytes:]
	}
	return m.object(key), nil
}
