package tui

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// CaseView is a case as its journal tells it: a fold, entry by entry, of what
// the screens show. It is not safe for concurrent use.
type CaseView struct {
	State   *incident.State
	Custody *evidence.Custody
	Entries []incident.Entry // all of them; Entries[n].Seq is n
	Rooms   []incident.CleanRoom

	Live     bool  // a process holds the case
	Gone     bool  // that process was killed
	CaughtUp bool  // the journal has been read to its end once
	Err      error // the journal can't be read on, or contradicts itself

	abandoned bool // State was, since entries were added to it

	calls    map[stepRef][]int // places in Entries of a step's calls
	progress map[stepRef][]*pace

	unreached map[unreachedCall]incident.Unreached // calls that AWS does not answer now
}

// unreachedCall names such a call: of several alike of a step the last word counts.
type unreachedCall struct {
	stepRef
	what string
}

// stepRef names a step of a run as entries do.
type stepRef struct{ run, step, target string }

// pace is a long step's progress, and since when it has been watched.
type pace struct {
	incident.Progress
	first incident.Progress
	since time.Time // of this machine's clock
	last  time.Time
}

// NewCaseView is the view of an empty journal.
func NewCaseView() *CaseView {
	return &CaseView{
		State: incident.NewState(), Custody: evidence.NewCustody(),
		calls: make(map[stepRef][]int), progress: make(map[stepRef][]*pace),
		unreached: make(map[unreachedCall]incident.Unreached),
	}
}

// Add folds one more entry in. Where it contradicts the ones before, Err says
// so, and what can still be shown is.
func (v *CaseView) Add(e incident.Entry) {
	if n := len(v.Entries); n == cap(v.Entries) {
		v.Entries = slices.Grow(v.Entries, n+1) // twofold: append grows long slices by a quarter only
	}
	v.Entries = append(v.Entries, e)
	ref := stepRef{e.Run, e.Step, e.Target}
	switch e.Type {
	case incident.EntryCallIntent, incident.EntryCallResult, incident.EntryCallCount:
		// Most of a journal: they change no step's state, and are read when they are shown.
		v.calls[ref] = append(v.calls[ref], len(v.Entries)-1)
		return
	case incident.EntryCleanRoom:
		v.addRoom(e)
	case incident.EntryStepOutcome:
		delete(v.progress, ref)
	}
	if err := v.State.Add(e); err != nil && v.Err == nil {
		v.Err = err
	}
	if err := v.Custody.Add(e); err != nil && v.Err == nil {
		v.Err = err
	}
}

// call is a changing call and its answer.
type call struct {
	incident.CallIntent
	sent     time.Time
	answered time.Time            // zero: it was not, or not yet
	result   *incident.CallResult // nil: not answered
}

// lastCalls are a step's changing calls in the last n of its entries, and how many entries came before those.
func (v *CaseView) lastCalls(ref stepRef, n int) (calls []call, before int) {
	places := v.calls[ref]
	before = max(0, len(places)-n)
	at := make(map[string]int)
	for _, i := range places[before:] {
		switch e := v.Entries[i]; e.Type {
		case incident.EntryCallIntent:
			c := call{CallIntent: data[incident.CallIntent](e), sent: e.Time}
			at[c.Call] = len(calls)
			calls = append(calls, c)
		case incident.EntryCallResult:
			r := data[incident.CallResult](e)
			if i, ok := at[r.Call]; ok {
				calls[i].result, calls[i].answered = &r, e.Time
			}
		}
	}
	return calls, before
}

// addRoom keeps the last event of each clean room. Later events repeat what the
// first ones said only in part.
func (v *CaseView) addRoom(e incident.Entry) {
	var r incident.CleanRoom
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return // State has said so already
	}
	for i := range v.Rooms {
		if v.Rooms[i].Name == r.Name {
			v.Rooms[i] = r
			return
		}
	}
	v.Rooms = append(v.Rooms, r)
}

// OpenRooms are the clean rooms that are not closed.
func (v *CaseView) OpenRooms() (open []incident.CleanRoom) {
	for _, r := range v.Rooms {
		if r.Event != "closed" {
			open = append(open, r)
		}
	}
	return open
}

// feed folds what a follower has handed over; now is this machine's time.
func (v *CaseView) feed(m feedMsg, now time.Time) {
	for _, e := range m.entries {
		v.Add(e)
	}
	for _, p := range m.progress {
		v.addProgress(p, now)
	}
	v.Live, v.Gone = m.live, m.gone || v.Gone && !m.live
	v.CaughtUp = v.CaughtUp || m.caughtUp
	if m.err != nil {
		v.Err = m.err
	}
	switch {
	case !v.Live:
		// Nobody holds the case: what was under way is unknown.
		v.State.Abandon()
		v.abandoned = true
		clear(v.progress)
		clear(v.unreached)
	case v.abandoned:
		v.takeUp()
	}
}

// takeUp takes back what was given up while no holder was seen: its socket may
// only have been slow, and what waits for an approval waits still.
func (v *CaseView) takeUp() {
	v.State, v.abandoned = incident.NewState(), false
	for _, e := range v.Entries {
		_ = v.State.Add(e) // Err has it from the first time
	}
}

func (v *CaseView) addProgress(p incident.Progress, now time.Time) {
	ref := stepRef{p.Run, p.Step, p.Target}
	if u := p.Unreached; u != nil {
		if u.Over {
			delete(v.unreached, unreachedCall{ref, p.What})
		} else {
			v.unreached[unreachedCall{ref, p.What}] = *u
		}
		return
	}
	for _, known := range v.progress[ref] {
		if known.What == p.What {
			if p.Done < known.Done {
				known.first, known.since = p, now // it begins anew
			}
			known.Progress, known.last = p, now
			return
		}
	}
	v.progress[ref] = append(v.progress[ref], &pace{Progress: p, first: p, since: now, last: now})
}

// longestUnreached is the call that AWS has not answered for the longest, and how many others there are.
func (v *CaseView) longestUnreached() (call unreachedCall, u incident.Unreached, others int) {
	for c, known := range v.unreached {
		if u.Since.IsZero() || known.Since.Before(u.Since) || known.Since.Equal(u.Since) && c.what < call.what {
			call, u = c, known
		}
	}
	return call, u, len(v.unreached) - 1
}

// Now is the moment that a screen shows: this machine's time, never before the
// journal's last entry (of a rehearsal, whose time is its own, the last entry's).
func (v *CaseView) Now(machine time.Time) time.Time {
	if len(v.Entries) == 0 {
		return machine
	}
	last := v.Entries[len(v.Entries)-1].Time
	if v.State.Case.Rehearsal || machine.Before(last) {
		return last
	}
	return machine
}

// Run is the run with this ID, or the last one; nil where there is none.
func (v *CaseView) Run(id string) *incident.RunState {
	if r := v.State.Run(id); r != nil {
		return r
	}
	if n := len(v.State.Runs); n > 0 {
		return v.State.Runs[n-1]
	}
	return nil
}
