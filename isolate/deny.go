package isolate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// revoked is what the step set: as an entry of its own, before the policy is
// put, so that a resumed try puts the same, and as Result.Applied.
type revoked struct {
	Before time.Time `json:"issued_before,omitzero"`
}

// moment is the time before which sessions are denied: after what made them
// has gone, so that none is newer. A try after a crash takes that of the one before, unless what
// made them had come back (changed). Seen is AWS's own time, zero where it is not known: by
// a workstation's clock that is late some sessions would be left out.
func moment(ctx context.Context, req incident.Request, changed bool, seen func() (time.Time, error)) (revoked, error) {
	if tried := req.Recorded(incident.EntryStepRecord); len(tried) > 0 && !changed {
		return recall[revoked](tried[len(tried)-1])
	}
	now, err := seen()
	if err != nil {
		return revoked{}, err
	}
	if now.IsZero() {
		now = req.Clock.Now()
	}
	set := revoked{Before: wholeSecond(now)}
	return set, req.Record(ctx, incident.EntryStepRecord, set)
}

// ledger is what this process put last under a policy's name. IAM is
// eventually consistent: written from a read that is late, a policy would lose
// what the step before has added.
type ledger struct {
	mu         sync.Mutex
	put        map[string]*string      // documents; nil: removed
	extensions map[string][]*extension // what waits for its turn
}

// extension is what a step wants of a policy. Whoever has the turn makes all that
// wait: a policy that hundreds of instances share is put a few times only, and
// none of them waits until IAM has shown what every other one put.
type extension struct {
	change func(revocation) revocation
	done   bool // in a turn of the policy's
}

func (l *ledger) last(p principal, policy string) (document *string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	document, known = l.put[p.key(policy)]
	return document, known
}

func (l *ledger) note(p principal, policy string, document *string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.put == nil {
		l.put = make(map[string]*string)
	}
	l.put[p.key(policy)] = document
}

// key names a policy among those of all accounts.
func (p principal) key(policy string) string { return p.account + " " + p.String() + " " + policy }

// settled reads a policy once AWS shows what this process put last, or does
// not for so long that someone else must have changed it.
func (l *ledger) settled(ctx context.Context, clock incident.Clock, p principal, policy string) (now *string, err error) {
	want, known := l.last(p, policy)
	deadline := clock.Now().Add(lag)
	err = incident.Poll(ctx, clock, pause, 2*lag, fmt.Sprintf("inline policy %s of %s as it was put last", policy, p), func(ctx context.Context) (bool, error) {
		now, err = p.policy(ctx, policy)
		shown := !known || now == want || now != nil && want != nil && *now == *want
		return err == nil && (shown || !clock.Now().Before(deadline)), err
	})
	return now, err
}

// extend makes the change in a turn of the policy, together with those of
// other steps that wait for theirs. Their intents are journaled: where this process ends, they
// look by themselves. What fails for all is tried for the step's own alone.
func (l *ledger) extend(ctx context.Context, req incident.Request, p principal, policy string, room int, change func(revocation) revocation) error {
	key, own := p.key(policy), &extension{change: change}
	l.mu.Lock()
	if l.extensions == nil {
		l.extensions = make(map[string][]*extension)
	}
	l.extensions[key] = append(l.extensions[key], own)
	l.mu.Unlock()
	defer l.withdraw(key, own)
	return req.Turn(ctx, key, func() error {
		if own.done {
			return nil
		}
		all := l.waiting(key)
		err := l.revise(ctx, req.Clock, p, policy, room, func(now revocation) revocation {
			for _, w := range all {
				now = w.change(now)
			}
			return now
		})
		if err != nil && len(all) > 1 && ctx.Err() == nil {
			return l.revise(ctx, req.Clock, p, policy, room, change)
		}
		for _, w := range all {
			w.done = err == nil
		}
		return err
	})
}

// waiting are the extensions that are not made yet.
func (l *ledger) waiting(key string) []*extension {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.extensions[key]), func(w *extension) bool { return w.done })
}

func (l *ledger) withdraw(key string, own *extension) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.extensions[key] = slices.DeleteFunc(l.extensions[key], func(w *extension) bool { return w == own })
}

// revise reads cordon's deny, changes it, and puts it where that changes anything.
// Steps that share the policy take turns (extend; Proposal.Shared where they are undone), so
// nobody writes in between. Room is what the policy may take; one that shrinks never takes more
// than it did.
func (l *ledger) revise(ctx context.Context, clock incident.Clock, p principal, policy string, room int, change func(revocation) revocation) error {
	document, err := l.settled(ctx, clock, p, policy)
	if err != nil {
		return err
	}
	now, err := parseRevocation(document)
	if err != nil {
		return notOurs(p, policy, err)
	}
	next := change(now)
	if next.empty() {
		if document == nil {
			return nil
		}
		l.note(p, policy, nil)
		return p.remove(ctx, clock, policy)
	}
	if document != nil && len(next.Instances) < len(now.Instances) {
		room = counted(*document)
	}
	text, least := next.document(room), next.encode(false)
	if document != nil && *document == text {
		return nil
	}
	if err = p.put(ctx, policy, text); text != least && hasCode(err, "LimitExceeded") {
		text = least // the room was taken since it was measured
		err = p.put(ctx, policy, text)
	}
	if err == nil {
		l.note(p, policy, &text)
	}
	return err
}

func notOurs(p principal, policy string, err error) error {
	return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("inline policy %s of %s is not what cordon put there: %v", policy, p, err)},
		"find out who wrote it; rename or delete it, and plan again")
}

// drift compares what a deny does to the instance, or by its time, now with
// what a step set (change.After) and with the state before.
func (p principal) drift(ctx context.Context, policy string, change incident.Change, denied bool, instance string) (incident.Drift, error) {
	d := incident.Drift{Resource: change.Resource, What: change.What, Before: change.Before, Set: change.After, Now: change.Before}
	if denied {
		d.Before = d.Set // for another step of the case, which undoes it
	}
	document, err := p.policy(ctx, policy)
	if err != nil {
		return d, err
	}
	now, err := parseRevocation(document)
	switch {
	case err != nil:
		d.Now = err.Error()
	case now.denies(instance) || !now.Before.IsZero():
		d.Now = d.Set
	}
	return d, nil
}

// restore is revise for a release. What someone else wrote into the policy is drift, and
// goes with it where that is forced, unless other steps hold the policy still.
func (l *ledger) restore(ctx context.Context, req incident.Request, p principal, policy string, change func(revocation) revocation) error {
	document, err := l.settled(ctx, req.Clock, p, policy)
	if err != nil {
		return err
	}
	if _, err := parseRevocation(document); err != nil && req.Undo.Held {
		return nil
	} else if err != nil {
		l.note(p, policy, nil)
		return p.remove(ctx, req.Clock, policy)
	}
	return l.revise(ctx, req.Clock, p, policy, 0, change)
}
