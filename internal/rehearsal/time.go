package rehearsal

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// timeFile holds the simulated time as Unix nanoseconds, big-endian.
const timeFile = "now"

func writeTime(dir string, t time.Time) error {
	return os.WriteFile(filepath.Join(dir, timeFile), encodeTime(t), 0o600)
}

func encodeTime(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano()))
}

// fileTime is a time that several processes share. Two that advance it at the
// same moment leave one of the two times there: both are past what it was.
type fileTime struct {
	path string
	mu   sync.Mutex
	last time.Time
}

func (f *fileTime) Load() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load()
}

func (f *fileTime) load() time.Time {
	if b, err := os.ReadFile(f.path); err == nil && len(b) == 8 {
		if t := time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC(); t.After(f.last) {
			f.last = t
		}
	}
	return f.last
}

func (f *fileTime) Advance(t time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.load()
	if !t.After(now) {
		return now
	}
	f.last = t
	if file, err := os.OpenFile(f.path, os.O_WRONLY, 0o600); err == nil {
		_, _ = file.WriteAt(encodeTime(t), 0)
		_ = file.Close()
	}
	return t
}

// memoryTime is a time of one process.
type memoryTime struct {
	mu  sync.Mutex
	now time.Time
}

func (m *memoryTime) Load() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *memoryTime) Advance(t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.After(m.now) {
		m.now = t
	}
	return m.now
}
