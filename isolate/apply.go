package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// applying is one try of Apply.
type applying struct {
	*wired
	req    incident.Request
	before wiring
	notes  notes
	set    cut
	full   *fullACLs
}

// Apply ends new connections first, then open ones, from narrow to wide. A
// measure that is refused does not keep the next one from being taken: what can be
// cut is cut, and the step fails with all that was refused.
func (a *network) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[wiring](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	recorded, err := recollect(req.Recorded(incident.EntryStepRecord))
	if err != nil {
		return incident.Result{}, err
	}
	w, err := a.connect(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	t := &applying{wired: w, req: req, before: before, notes: recorded, full: &a.full, set: cut{Groups: make(map[string]string), Late: recorded.late}}
	var g errgroup.Group
	g.Go(func() error { return w.read(ctx, req.Target) })
	made := t.fences(ctx, before.vpcs())
	if err := errors.Join(g.Wait(), made); err != nil {
		return incident.Result{}, err
	}
	err = t.groups(ctx)
	if ctx.Err() == nil {
		err = errors.Join(err, t.open(ctx))
	}
	result, resultErr := t.result()
	return result, errors.Join(err, resultErr)
}

// fences makes sure of the isolation group of each VPC.
func (t *applying) fences(ctx context.Context, vpcs []string) error {
	for _, vpc := range vpcs {
		id, err := t.before.Orders.fence(vpc).ensure(ctx, t.ec2, t.req.Clock)
		if err != nil {
			return err
		}
		t.set.Groups[vpc] = id
	}
	return nil
}

// groups gives every interface the isolation group of its VPC. One that was
// attached after the plan is recorded first, so that a release restores it.
func (t *applying) groups(ctx context.Context) error {
	var problems []error
	for _, n := range t.interfaces {
		now := t.wire(n)
		if !t.before.has(now.ID) && !has(t.set.Late, now.ID) {
			late := now.going(nil)
			if err := t.req.Record(ctx, incident.EntryStepRecord, noted{Interface: &late}); err != nil {
				return err
			}
			t.set.Late = append(t.set.Late, late)
		}
		if _, ok := t.set.Groups[now.VPC]; !ok {
			problems = append(problems, t.fences(ctx, []string{now.VPC}))
		}
	}
	refused := make([]error, len(t.interfaces))
	var g errgroup.Group
	for i, n := range t.interfaces {
		if now := t.wire(n); t.set.Groups[now.VPC] != "" && !now.only(t.set.Groups[now.VPC]) {
			g.Go(func() error {
				refused[i] = t.put(ctx, t.req.Clock, now, []string{t.set.Groups[now.VPC]})
				return nil
			})
		}
	}
	_ = g.Wait() // each one's error is in refused
	return errors.Join(append(problems, refused...)...)
}

// open ends what is open: the ACLs at the same time as what is set on the interfaces.
func (t *applying) open(ctx context.Context) error {
	var g errgroup.Group
	var denied error
	g.Go(func() error {
		denied = t.barriers(ctx)
		return nil
	})
	var unsupported []missed
	lowered := t.timers(ctx, &unsupported)
	taken := t.addresses(ctx)
	_ = g.Wait() // its error is in denied
	t.set.Missed = append(t.set.Missed, unsupported...)
	var fallen error
	if slices.ContainsFunc(t.set.Missed, func(m missed) bool { return m.Prefix.IsValid() }) {
		fallen = t.fallBack(ctx)
	}
	return errors.Join(lowered, taken, denied, fallen)
}

// timers lowers the timeouts of the interfaces that keep tracked connections.
func (t *applying) timers(ctx context.Context, unsupported *[]missed) error {
	var problems []error
	for _, n := range t.interfaces {
		now := t.wire(n)
		if slices.Contains(t.before.Orders.Timeouts, now.ID) || slices.Contains(t.notes.timeouts, now.ID) {
			problems = append(problems, t.lower(ctx, now, unsupported))
		}
	}
	return errors.Join(problems...)
}

// lower: AWS has the timeouts on Nitro instances only ("Connection tracking
// timeouts"). Elsewhere connections live as long as they do: said, no failure.
func (t *applying) lower(ctx context.Context, now wire, unsupported *[]missed) error {
	err := t.setTimers(ctx, now.ID, now.Timers, shortest)
	if hasCode(err, "UnsupportedOperation", "OperationNotPermitted", "InvalidParameterCombination") {
		*unsupported = append(*unsupported, missed{Measure: reach.Timeouts, Resource: now.ID, Reason: err.Error()})
		return nil
	}
	return err
}

func (t *applying) addresses(ctx context.Context) error {
	var problems []error
	for _, n := range t.interfaces {
		now := t.wire(n)
		if b, ok := t.before.get(now.ID); ok {
			problems = append(problems, t.takeAddresses(ctx, b, now))
		}
	}
	return errors.Join(problems...)
}

// barriers makes the entries, in all ACLs at once. Where one is full, which others
// may have filled since the plan, the timeouts are what is left.
func (t *applying) barriers(ctx context.Context) error {
	found, err := t.acls(ctx, aclsOf(t.before.Orders.Barriers)...)
	if err != nil {
		return err
	}
	ids := aclsOf(t.before.Orders.Barriers)
	parts := make([]barred, len(ids))
	var g errgroup.Group
	g.SetLimit(aclsAtOnce)
	for i, id := range ids {
		g.Go(func() error {
			parts[i] = t.barAll(ctx, id, found)
			return nil
		})
	}
	_ = g.Wait() // each one's error is in its part
	var problems []error
	for _, p := range parts {
		t.set.Entries, t.set.Missed = append(t.set.Entries, p.entries...), append(t.set.Missed, p.missed...)
		problems = append(problems, p.problems...)
	}
	return errors.Join(problems...)
}

// aclsAtOnce bounds the ACLs that one instance changes at a time.
const aclsAtOnce = 4

// barred is what became of one ACL.
type barred struct {
	entries  []entry
	missed   []missed
	problems []error
}

// barAll makes the entries of one ACL in a turn: instances that do so at the
// same time would choose the same numbers.
func (t *applying) barAll(ctx context.Context, id string, found map[string]ec2types.NetworkAcl) barred {
	var p barred
	a, ok := found[id]
	if !ok {
		p.problems = append(p.problems, fmt.Errorf("network ACL %s does not exist any more", id))
		return p
	}
	todo := p.hopeful(t, id, a)
	if len(todo) == 0 {
		return p
	}
	err := t.req.Turn(ctx, "network ACL "+id, func() error {
		now, err := t.acls(ctx, id)
		if err != nil {
			return err
		}
		a, ok := now[id]
		if !ok {
			return fmt.Errorf("network ACL %s does not exist any more", id)
		}
		for _, d := range p.hopeful(t, id, a) {
			if p.make(ctx, t, d, &a); ctx.Err() != nil {
				break
			}
		}
		return nil
	})
	if err != nil {
		p.problems = append(p.problems, err)
	}
	return p
}

// hopeful are the barriers of an ACL that are to be made; what AWS is known to have no room for is missed.
func (p *barred) hopeful(t *applying, id string, a ec2types.NetworkAcl) []barrier {
	p.missed = nil
	var all []barrier
	for _, d := range t.before.Orders.Barriers {
		if d.ACL != id || d.Standing {
			continue
		}
		// What an earlier try was about to make, or another instance may have made, is looked for.
		if err := t.full.known(a, d); err != nil && !d.joint() && lastEntry(t.notes.entries, d) == nil {
			p.miss(d, err)
			continue
		}
		all = append(all, d)
	}
	return all
}

func (p *barred) miss(d barrier, why error) {
	p.missed = append(p.missed, missed{Measure: d.Measure, Resource: d.ACL, Prefix: d.Prefix, Egress: d.Egress, Reason: why.Error()})
}

// make makes one entry. Where other instances need it as well, it waits until AWS
// shows it, so that the next one takes it for its own too.
func (p *barred) make(ctx context.Context, t *applying, d barrier, a *ec2types.NetworkAcl) {
	there := d.denied(*a)
	made, err := t.bar(ctx, t.req, d, a, t.notes.entries)
	if err == nil && d.joint() && !there {
		err = t.shown(ctx, d)
	}
	if made != nil {
		p.entries = append(p.entries, *made)
	}
	switch {
	case errors.Is(err, errFull):
		t.full.note(*a, d, err)
		p.miss(d, err)
	case err != nil:
		p.problems = append(p.problems, err)
	}
}

// shown waits until AWS shows the barrier.
func (t *applying) shown(ctx context.Context, d barrier) error {
	return incident.Poll(ctx, t.req.Clock, pause, lag, d.what()+" of "+d.ACL, func(ctx context.Context) (bool, error) {
		found, err := t.acls(ctx, d.ACL)
		a, ok := found[d.ACL]
		return ok && d.denied(a), err
	})
}

// fallBack lowers the timeouts of the interfaces whose paths an ACL has no room for.
func (t *applying) fallBack(ctx context.Context) error {
	var problems []error
	for _, n := range t.interfaces {
		now := t.wire(n)
		if slices.Contains(t.before.Orders.Timeouts, now.ID) || !t.before.has(now.ID) || !t.wantsTimeouts() {
			continue
		}
		if !slices.Contains(t.notes.timeouts, now.ID) {
			if err := t.req.Record(ctx, incident.EntryStepRecord, noted{Timeouts: now.ID}); err != nil {
				return err
			}
			t.notes.timeouts = append(t.notes.timeouts, now.ID)
		}
		problems = append(problems, t.lower(ctx, now, &t.set.Missed))
	}
	return errors.Join(problems...)
}

// wantsTimeouts: auto takes whatever helps; a strategy by name takes what it names.
func (t *applying) wantsTimeouts() bool {
	w, err := readWish(t.req)
	return err == nil && (len(w.Measures) == 0 || slices.Contains(w.Measures, reach.Timeouts))
}

// result is what stands, also after a failure: a release needs it.
func (t *applying) result() (incident.Result, error) {
	groups, interfaces := []string{}, []string{}
	for _, id := range t.set.Groups {
		groups = append(groups, id)
	}
	slices.Sort(groups)
	for _, n := range t.interfaces {
		interfaces = append(interfaces, aws.ToString(n.NetworkInterfaceId))
	}
	t.set.Timeouts = t.notes.timeouts
	applied, err := record(t.set)
	return incident.Result{Applied: applied, Outputs: map[string]any{"interfaces": interfaces, "isolation_groups": groups}}, err
}
