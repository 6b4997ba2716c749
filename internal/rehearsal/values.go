package rehearsal

import (
	"maps"
	"slices"
	"time"
)

// put sets a key of a map that may not have been made yet: a world read from
// disk has no empty maps.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// sortedKeys: the order of a map must not reach an answer.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// valueOr is what p points to, or a default.
func valueOr[T any](p *T, or T) T {
	if p == nil {
		return or
	}
	return *p
}

func nilIfEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// seconds reads a duration as most APIs write it.
func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// inSeconds writes it.
func inSeconds(d time.Duration) *int32 { return new(int32(d / time.Second)) }
