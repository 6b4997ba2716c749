package storetest

import (
	"bytes"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// resumables check a store that takes objects in parts.
var resumables = map[string]func(*testing.T, evidence.Resumable){
	"PartsMakeAnObject":                inParts,
	"APartOfOtherBytesIsRefused":       otherBytes,
	"AnotherProcessGoesOn":             goesOn,
	"APartSentAgainReplacesTheOld":     partAgain,
	"CompletedAgainItIsTheSame":        completedAgain,
	"WhatWasPutMeanwhileIsNotReplaced": putMeanwhile,
	"BeginGivesUpWhatWasUnfinished":    beginsAnew,
	"BeginNeedsAFreeKeyAndALock":       beginRefused,
}

func begin(t *testing.T, s evidence.Resumable, key string) evidence.Upload {
	t.Helper()
	u, err := s.Begin(t.Context(), key, options(s))
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return u
}

func partOf(n int, body []byte) evidence.Part {
	return evidence.Part{Number: n, Bytes: int64(len(body)), CRC32C: crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))}
}

func send(t *testing.T, s evidence.Resumable, u evidence.Upload, n int, body []byte) evidence.Part {
	t.Helper()
	p, err := s.Part(t.Context(), u, partOf(n, body), bytes.NewReader(body))
	if err != nil {
		t.Fatalf("Part %d: %v", n, err)
	}
	return p
}

// completed makes the object and checks that it holds these bytes.
func completed(t *testing.T, s evidence.Resumable, u evidence.Upload, parts []evidence.Part, want []byte) evidence.Object {
	t.Helper()
	obj, err := s.Complete(t.Context(), u, parts)
	if err != nil {
		t.Fatalf("Complete: %v", err)
	}
	if obj.Key != u.Key || obj.Bytes != int64(len(want)) || obj.SHA256 != "" && obj.SHA256 != digest(want) {
		t.Errorf("completed as %+v", obj)
	}
	if s.Check(t.Context()) == nil && (obj.Mode == evidence.ModeNone || obj.RetainUntil.IsZero()) {
		t.Errorf("without retention: %+v", obj)
	}
	if again, err := s.Stat(t.Context(), u.Key, obj.Version); err != nil || again != obj {
		t.Errorf("Stat %+v, Complete %+v, error %v", again, obj, err)
	}
	if got := get(t, s, u.Key, obj.Version); !bytes.Equal(got, want) {
		t.Error("other bytes came back")
	}
	return obj
}

func otherBytes(t *testing.T, s evidence.Resumable) {
	u := begin(t, s, "parts/other")
	p := partOf(1, random(1, mib))
	if _, err := s.Part(t.Context(), u, p, bytes.NewReader(random(2, mib))); !errors.Is(err, evidence.ErrDigest) {
		t.Errorf("error %v, want ErrDigest", err)
	}
}

func inParts(t *testing.T, s evidence.Resumable) {
	for _, sizes := range [][]int{{1}, {5 * mib}, {5 * mib, 1}, {6 * mib, 5 * mib, 3 * mib}} {
		key := "parts/" + digest([]byte{byte(len(sizes)), byte(sizes[0] >> 20), byte(sizes[0])})
		u := begin(t, s, key)
		var parts []evidence.Part
		var want []byte
		for i, n := range sizes {
			body := random(uint64(i), n)
			parts, want = append(parts, send(t, s, u, i+1, body)), append(want, body...)
			absent(t, s, key)
		}
		completed(t, s, u, parts, want)
		if left, err := s.Parts(t.Context(), u); !errors.Is(err, evidence.ErrNotFound) {
			t.Errorf("%v: after Complete the upload holds %v, error %v", sizes, left, err)
		}
	}
}

func goesOn(t *testing.T, s evidence.Resumable) {
	a, b := random(1, 5*mib), random(2, 100)
	u := begin(t, s, "goes/on")
	first := send(t, s, u, 1, a)
	u = evidence.Upload{Key: u.Key, ID: u.ID, AllowUnlocked: u.AllowUnlocked} // all that a journal keeps
	parts, err := s.Parts(t.Context(), u)
	if err != nil || !slices.Equal(parts, []evidence.Part{first}) {
		t.Fatalf("Parts %+v, Part %+v, error %v", parts, first, err)
	}
	completed(t, s, u, append(parts, send(t, s, u, 2, b)), slices.Concat(a, b))
}

func partAgain(t *testing.T, s evidence.Resumable) {
	u := begin(t, s, "part/again")
	send(t, s, u, 1, random(1, 6*mib))
	send(t, s, u, 2, random(2, 100))
	b := random(3, 5*mib)
	p := send(t, s, u, 1, b)
	parts, err := s.Parts(t.Context(), u)
	if err != nil || len(parts) != 2 || parts[0] != p {
		t.Fatalf("Parts %+v, error %v", parts, err)
	}
	completed(t, s, u, parts[:1], b) // what is not named is no part of it
}

func completedAgain(t *testing.T, s evidence.Resumable) {
	b := random(1, 100)
	u := begin(t, s, "completed/again")
	parts := []evidence.Part{send(t, s, u, 1, b)}
	first := completed(t, s, u, parts, b)
	if second := completed(t, s, u, parts, b); second != first {
		t.Errorf("first %+v, then %+v", first, second)
	}
}

func putMeanwhile(t *testing.T, s evidence.Resumable) {
	u := begin(t, s, "put/meanwhile")
	parts := []evidence.Part{send(t, s, u, 1, random(1, 100))}
	there := put(t, s, u.Key, random(2, 100))
	if obj, err := s.Complete(t.Context(), u, parts); !errors.Is(err, evidence.ErrExists) {
		t.Errorf("got %+v, error %v", obj, err)
	}
	if now, err := s.Stat(t.Context(), u.Key, ""); err != nil || now != there {
		t.Errorf("what was stored is now %+v, error %v", now, err)
	}
}

func beginsAnew(t *testing.T, s evidence.Resumable) {
	old := begin(t, s, "begins/anew")
	send(t, s, old, 1, random(1, 100))
	u, b := begin(t, s, "begins/anew"), random(2, 100)
	if parts, err := s.Parts(t.Context(), u); err != nil || len(parts) != 0 {
		t.Errorf("a new upload holds %+v, error %v", parts, err)
	}
	completed(t, s, u, []evidence.Part{send(t, s, u, 1, b)}, b)
}

func beginRefused(t *testing.T, s evidence.Resumable) {
	put(t, s, "taken", random(1, 100))
	if u, err := s.Begin(t.Context(), "taken", options(s)); !errors.Is(err, evidence.ErrExists) {
		t.Errorf("got %+v, error %v", u, err)
	}
	o := options(s)
	if !o.AllowUnlocked {
		return
	}
	o.AllowUnlocked = false
	if u, err := s.Begin(t.Context(), "free", o); !errors.Is(err, evidence.ErrNotLocked) {
		t.Errorf("got %+v, error %v", u, err)
	}
}
