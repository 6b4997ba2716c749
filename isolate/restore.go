package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cordon-ir/cordon/internal/incident"
)

// restoring is one attribute to put back.
type restoring struct {
	incident.Drift
	put func(context.Context) error
	// lost: what it was before can't be had any more. A forced release leaves out
	// what is optional, and otherwise keeps what someone gave by hand since.
	lost     error
	optional bool
	// shared: another instance that is still isolated needs what the step set.
	shared bool
}

// releasing is a release of isolate.network.
type releasing struct {
	*wired
	req    incident.Request
	before []wire // the late ones too
	orders orders
	notes  notes
	set    cut
	said   []string
}

// PlanRevert shows each attribute that comes back.
func (a *network) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	t, err := a.releasing(ctx, req)
	if err != nil || t == nil {
		return p, err
	}
	p.Changes, _, err = t.plan(ctx)
	p.Notes = t.said
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

// releasing reads what the journal knows; nil where nothing was begun.
func (a *network) releasing(ctx context.Context, req incident.Request) (*releasing, error) {
	before, err := recall[wiring](req.Undo.Proposal.Before)
	if err != nil || len(before.Interfaces) == 0 {
		return nil, err
	}
	t := &releasing{req: req, before: before.Interfaces, orders: before.Orders}
	if t.set, err = recall[cut](req.Undo.Result.Applied); err != nil {
		return nil, err
	}
	if t.notes, err = recollect(req.Undo.Records); err != nil {
		return nil, err
	}
	for _, late := range slices.Concat(t.notes.late, t.set.Late) {
		if !has(t.before, late.ID) {
			t.before = append(t.before, late)
		}
	}
	t.wired, err = a.open(ctx, req.Target)
	if errors.Is(err, errGone) { // what the step set elsewhere, for its address, is still there
		t.said = append(t.said, err.Error()+"; nothing to restore on it")
		err = nil
	}
	return t, err
}

// plan compares every attribute with what it was. The order is that of Revert:
// the groups come last, so that nothing passes until all else is in place. A
// release that fails halfway leaves the instance isolated, and when the load
// balancers get it back its health check passes at once.
func (t *releasing) plan(ctx context.Context) ([]incident.Change, []restoring, error) {
	all, err := t.attributes(ctx)
	if err != nil {
		return nil, nil, err
	}
	force := t.req.Undo.Force
	var todo []restoring
	var drifts []incident.Drift
	var problems []error
	for _, r := range all {
		switch {
		case r.Now == r.Before:
			continue
		case r.lost != nil && force && (r.optional || r.Now != r.Set):
			t.said = append(t.said, fmt.Sprintf("%s, %s: stays %s: %v", r.Resource, r.What, r.Now, r.lost))
			continue
		case r.lost != nil:
			problems = append(problems, r.lost)
			continue
		}
		todo, drifts = append(todo, r), append(drifts, r.Drift)
	}
	changes, err := settle(drifts, force)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, nil, err
	}
	t.say(todo)
	return changes, todo, nil
}

// say adds what the responder should know about what comes back.
func (t *releasing) say(todo []restoring) {
	for _, r := range todo {
		switch {
		case r.Before == automatic:
			t.said = append(t.said, r.Resource+": AWS gives it a new public address; the one it had is gone")
		case r.What == timeoutsWord && t.unset(r.Resource):
			t.said = append(t.said, r.Resource+": no timeouts were configured before; AWS has no call to unset them, so its defaults are configured now")
		}
	}
	if len(todo) > 0 {
		t.said = append(t.said, "the isolation group itself stays for the next time")
	}
}

func (t *releasing) unset(name string) bool {
	return slices.ContainsFunc(t.before, func(b wire) bool { return b.name() == name && b.Timers.Unset })
}

// attributes are all that the step may have set, with what they are now.
func (t *releasing) attributes(ctx context.Context) ([]restoring, error) {
	barriers, err := t.barriers(ctx)
	if err != nil {
		return nil, err
	}
	now, err := t.now(ctx)
	if err != nil {
		return nil, err
	}
	var timers, addresses, groups []restoring
	exist, err := t.existing(ctx, t.before)
	if err != nil {
		return nil, err
	}
	uses, gone, err := t.uses(ctx, t.before)
	if err != nil {
		return nil, err
	}
	fences, err := t.fences(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range t.before {
		n, ok := now[b.ID]
		if !ok {
			continue
		}
		groups = append(groups, restoring{
			Drift: groupsDrift(b, n, fences[b.VPC], t.orders.fence(b.VPC).name()), lost: b.lost(exist),
			put: func(ctx context.Context) error { return t.put(ctx, t.req.Clock, b, b.ids()) },
		})
		if slices.Contains(t.orders.Timeouts, b.ID) || slices.Contains(t.set.Timeouts, b.ID) || slices.Contains(t.notes.timeouts, b.ID) {
			timers = append(timers, restoring{
				Drift: timersDrift(b, n), put: func(ctx context.Context) error { return t.setTimers(ctx, b.ID, n.Timers, b.Timers) },
			})
		}
		of, err := t.addressesOf(ctx, b, n, uses, gone)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, of...)
	}
	return slices.Concat(barriers, timers, addresses, groups), nil
}

// now are those interfaces of the before-state that still exist, as they are now.
func (t *releasing) now(ctx context.Context) (map[string]wire, error) {
	ids := make([]string, len(t.before))
	for i, b := range t.before {
		ids[i] = b.ID
	}
	found, err := t.find(ctx, "network-interface-id", ids...)
	if err != nil {
		return nil, err
	}
	now := make(map[string]wire)
	for _, n := range found {
		now[aws.ToString(n.NetworkInterfaceId)] = t.wire(n)
	}
	for _, b := range t.before {
		n, ok := now[b.ID]
		if said := b.name() + " does not exist any more: nothing to restore on it"; !ok {
			if !slices.Contains(t.said, said) {
				t.said = append(t.said, said)
			}
			continue
		}
		if b.Automatic {
			if err := t.readAutomatic(ctx, &n); err != nil {
				return nil, err
			}
			now[b.ID] = n
		}
	}
	return now, nil
}

// fences are the isolation groups by VPC: those that Apply recorded, and where
// it left no result, those that it would find.
func (t *releasing) fences(ctx context.Context) (map[string]string, error) {
	all := make(map[string]string)
	for _, b := range t.before {
		if _, ok := all[b.VPC]; ok {
			continue
		}
		if id, ok := t.set.Groups[b.VPC]; ok {
			all[b.VPC] = id
			continue
		}
		g, err := t.orders.fence(b.VPC).find(ctx, t.ec2)
		if err != nil {
			return nil, err
		}
		all[b.VPC] = ""
		if g != nil {
			all[b.VPC] = aws.ToString(g.GroupId)
		}
	}
	return all, nil
}

// addressesOf are an interface's addresses. Elastic IPs come back before AWS may
// give an address of its own: it would give one and take it back again.
func (t *releasing) addressesOf(ctx context.Context, b, now wire, uses map[string]string, gone map[string]bool) ([]restoring, error) {
	var all []restoring
	for _, d := range addressDrifts(b, now, uses) {
		r := restoring{Drift: d, optional: true}
		i := slices.IndexFunc(b.Public, func(p public) bool { return d.What == elasticWord(p) })
		switch {
		case d.Now == d.Before:
		case i >= 0 && gone[b.Public[i].Allocation]:
			r.lost = incident.WithHint(fmt.Errorf("%s: %s can't be restored: the Elastic IP was released", b.name(), b.Public[i]),
				"give the interface another address, or none, then release with force: it leaves it so")
		case i >= 0:
			r.put = func(ctx context.Context) error { return t.giveAddress(ctx, b, b.Public[i], t.req.Undo.Force) }
		case d.What == automaticWord:
			r.put = func(ctx context.Context) error { return t.setAutomatic(ctx, b.ID, true) }
		default:
			taken, err := t.takenIPv6(ctx, b, now)
			if err != nil {
				return nil, err
			}
			r.lost, r.put = taken, func(ctx context.Context) error { return t.giveIPv6(ctx, b, now) }
		}
		all = append(all, r)
	}
	return all, nil
}

// barriers are the entries that this step made or was about to make.
func (t *releasing) barriers(ctx context.Context) ([]restoring, error) {
	recorded := slices.Concat(t.notes.entries, t.set.Entries)
	found, err := t.acls(ctx, aclsOf(t.orders.Barriers)...)
	if err != nil {
		return nil, err
	}
	var all []restoring
	for _, d := range t.orders.Barriers {
		e := lastEntry(recorded, d)
		a, ok := found[d.ACL]
		if e == nil || !ok { // never made, or gone with its ACL
			continue
		}
		drift, number := barrierDrift(d, *e, lastEntry(t.set.Entries, d) != nil, a)
		r := restoring{
			Drift: drift, shared: d.joint() && slices.Contains(t.req.Undo.HeldNames, d.key()),
			put: func(ctx context.Context) error { return t.unbar(ctx, d, number) },
		}
		if drift.Now != none && number == 0 && t.req.Undo.Force {
			r.lost, r.optional = errors.New("it is someone else's entry"), true
		}
		all = append(all, r)
	}
	return all, nil
}

// Revert puts everything back in that order, and reads it back.
func (a *network) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	t, err := a.releasing(ctx, req)
	if err != nil || t == nil {
		return incident.Result{}, err
	}
	_, todo, err := t.plan(ctx)
	if err != nil {
		return incident.Result{}, err
	}
	for _, r := range todo {
		if r.shared { // the last instance to be released takes it away
			continue
		}
		if err := t.restore(ctx, r); err != nil {
			return incident.Result{}, err
		}
	}
	what := "the network of " + req.Target.Instance + " to be as it was"
	return incident.Result{}, incident.Poll(ctx, req.Clock, pause, lag, what, func(ctx context.Context) (bool, error) { return t.restored(ctx, todo) })
}

// restore puts one attribute back. After a lost answer AWS may refuse what it has
// done: what it shows decides.
func (t *releasing) restore(ctx context.Context, r restoring) error {
	err := r.put(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if done, readErr := t.restored(ctx, []restoring{r}); readErr == nil && done {
		return nil
	}
	return err
}

// restored reads whether these attributes are what they were before.
func (t *releasing) restored(ctx context.Context, todo []restoring) (bool, error) {
	all, err := t.attributes(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range todo {
		i := slices.IndexFunc(all, func(o restoring) bool { return o.Resource == r.Resource && o.What == r.What })
		if i >= 0 && !r.shared && all[i].Now != all[i].Before {
			return false, nil
		}
	}
	return true, nil
}
