package rehearsal

import (
	"maps"
	"slices"
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
