package incident

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// turns decide who works: so many steps at once, and never two that name the
// same shared thing. A step gets its place and its keys together or waits with
// neither, so no two steps can wait for each other. Who comes first in the
// plan goes first: targets that were begun early are done early.
//
// What comes after the cut of its target (it watches, it copies disks) may take long and is in no
// hurry: a quarter of the places is kept for targets that are not contained yet.
type turns struct {
	mu    sync.Mutex
	free  int
	kept  int // of the free places, those that no late step takes
	taken map[string]bool
	held  bool    // nobody is let in
	over  bool    // nobody is held any more
	queue []*turn // those that wait, by rank
}

func newTurns(places int) *turns {
	return &turns{free: places, kept: places / 4, taken: make(map[string]bool)}
}

// turn is one step's; it belongs to the step's goroutine.
type turn struct {
	of    *turns
	rank  int           // the step's place in the plan
	late  bool          // after the cut
	keys  []string      // sorted
	scope string        // keys are taken within it: steps of different scopes don't wait for each other
	begin chan struct{} // closed when the turn has come
}

// at returns the turn of the step of this rank. It has not come yet.
func (ts *turns) at(rank int, late bool, scope string, keys []string) *turn {
	return &turn{of: ts, rank: rank, late: late, scope: scope, keys: union(keys)}
}

// enter waits until the turn has come. After an interrupt it does come, as soon
// as calls in flight are over.
func (t *turn) enter() {
	ts := t.of
	ts.mu.Lock()
	t.begin = make(chan struct{})
	i, _ := slices.BinarySearchFunc(ts.queue, t, func(a, b *turn) int { return cmp.Compare(a.rank, b.rank) })
	ts.queue = slices.Insert(ts.queue, i, t)
	ts.next()
	ts.mu.Unlock()
	<-t.begin
}

// leave ends the turn.
func (t *turn) leave() {
	ts := t.of
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.free++
	for _, k := range t.keys {
		delete(ts.taken, t.scope+k)
	}
	ts.next()
}

// keep gives up the keys that are not among these: the turn goes on without them.
func (t *turn) keep(keys []string) {
	ts := t.of
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.keys = slices.DeleteFunc(t.keys, func(k string) bool {
		unneeded := !slices.Contains(keys, k)
		if unneeded {
			delete(ts.taken, t.scope+k)
		}
		return unneeded
	})
	ts.next()
}

// has reports whether the turn covers the keys.
func (t *turn) has(keys []string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return !slices.Contains(t.keys, k) })
}

// hold keeps everyone who waits from being let in, or ends that.
func (ts *turns) hold(on bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.held = on && !ts.over
	ts.next()
}

// release lets in whoever is held, for good: they see that the run was interrupted.
func (ts *turns) release() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.held, ts.over = false, true
	ts.next()
}

// next lets in whoever can go. Held: mu.
func (ts *turns) next() {
	if ts.held {
		return
	}
	ts.queue = slices.DeleteFunc(ts.queue, func(t *turn) bool {
		if ts.free == 0 || t.late && ts.free <= ts.kept || slices.ContainsFunc(t.keys, func(k string) bool { return ts.taken[t.scope+k] }) {
			return false
		}
		ts.free--
		for _, k := range t.keys {
			ts.taken[t.scope+k] = true
		}
		close(t.begin)
		return true
	})
}

// union is sorted and holds each text once.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// sections are the short turns that actions take themselves (Request.Turn).
type sections struct {
	mu  sync.Mutex
	own map[string]chan struct{} // full while somebody has the turn
}

func (s *sections) of(key string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		s.own = make(map[string]chan struct{})
	}
	if s.own[key] == nil {
		s.own[key] = make(chan struct{}, 1)
	}
	return s.own[key]
}

// turn is Request.Turn.
func (s *sections) turn(ctx context.Context, key string, do func() error) error {
	own := s.of(key)
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-own }()
	return do()
}
