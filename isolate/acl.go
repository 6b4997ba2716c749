package isolate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// barrier is one entry that a network ACL shall have: everything from (in) or to
// (out) a prefix is denied, in front of every entry that allows something. An
// entry has no ID and no tags: this is all that tells it.
type barrier struct {
	ACL     string        `json:"acl"`
	Egress  bool          `json:"egress,omitempty"`
	Prefix  netip.Prefix  `json:"prefix"`
	Measure reach.Measure `json:"measure"`
	// Standing: such an entry was there before. It is not ours, and stays.
	Standing bool `json:"standing,omitempty"`
	absent   bool // it was not there when the plan was made
}

// entry is a barrier of ours and its number.
type entry struct {
	ACL    string       `json:"acl"`
	Egress bool         `json:"egress,omitempty"`
	Prefix netip.Prefix `json:"prefix"`
	Number int32        `json:"number"`
}

func (e entry) is(d barrier) bool {
	return e.ACL == d.ACL && e.Egress == d.Egress && e.Prefix == d.Prefix
}

// joint: instances of one plan may need the same entry. Whoever comes first makes
// it, and the last one to be released takes it away. One that names the
// instance's own address is its own.
func (d barrier) joint() bool { return d.Measure != reach.EdgeACL && !d.Standing }

// key names a joint entry among the steps that share it.
func (d barrier) key() string { return fmt.Sprintf("%s, %s", d.ACL, d.what()) }

func (d barrier) what() string {
	if d.Egress {
		return fmt.Sprintf("outbound entry for %s", d.Prefix)
	}
	return fmt.Sprintf("inbound entry for %s", d.Prefix)
}

func deniedAs(number int32) string { return fmt.Sprintf("denied by entry %d", number) }

// lastNumber is the highest that an entry can have (API_CreateNetworkAclEntry).
const lastNumber = 32766

// acls reads network ACLs, by ID. One that is gone is not among them.
func (w *wired) acls(ctx context.Context, ids ...string) (map[string]ec2types.NetworkAcl, error) {
	all := make(map[string]ec2types.NetworkAcl)
	if len(ids) == 0 {
		return all, nil
	}
	pages := ec2.NewDescribeNetworkAclsPaginator(w.ec2, &ec2.DescribeNetworkAclsInput{
		Filters: []ec2types.Filter{{Name: aws.String("network-acl-id"), Values: ids}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("network ACLs %v: %w", ids, err)
		}
		for _, a := range page.NetworkAcls {
			all[aws.ToString(a.NetworkAclId)] = a
		}
	}
	return all, nil
}

func aclsOf(barriers []barrier) []string {
	ids := make([]string, len(barriers))
	for i, d := range barriers {
		ids[i] = d.ACL
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// matches reports whether an entry does what the barrier says, wherever it stands.
func (d barrier) matches(e ec2types.NetworkAclEntry) bool {
	if aws.ToBool(e.Egress) != d.Egress || e.RuleAction != ec2types.RuleActionDeny || aws.ToString(e.Protocol) != "-1" || aws.ToInt32(e.RuleNumber) > lastNumber {
		return false
	}
	prefix, err := netip.ParsePrefix(cmp.Or(aws.ToString(e.CidrBlock), aws.ToString(e.Ipv6CidrBlock)))
	return err == nil && prefix == d.Prefix
}

// denied reports whether the barrier's packets are denied in front of whatever
// lets some of them through, by this entry or a wider one.
func (d barrier) denied(a ec2types.NetworkAcl) bool {
	numbers, err := reach.Numbers(a, d.Egress, []netip.Prefix{d.Prefix}, noQuota)
	return err == nil && len(numbers) == 0
}

// noQuota leaves it to AWS to say when an ACL is full: the quota may have been raised.
const noQuota = 1 << 16

// numbered returns the entry with a number.
func numbered(a ec2types.NetworkAcl, egress bool, number int32) (ec2types.NetworkAclEntry, bool) {
	i := slices.IndexFunc(a.Entries, func(e ec2types.NetworkAclEntry) bool {
		return aws.ToBool(e.Egress) == egress && aws.ToInt32(e.RuleNumber) == number
	})
	if i < 0 {
		return ec2types.NetworkAclEntry{}, false
	}
	return a.Entries[i], true
}

// errFull: the ACL has no room for the entry.
var errFull = errors.New("no room")

// fullACLs remember how many entries there were where AWS had no room for
// another one: a fleet behind one gateway would be refused once for each instance. The
// zero value is ready to use.
type fullACLs struct {
	mu   sync.Mutex
	seen map[aclSide]fullACL
}

// aclSide: the quota is for each direction and family ("Amazon VPC quotas").
type aclSide struct {
	acl    string
	egress bool
	six    bool
}

type fullACL struct {
	entries int
	why     error
}

func (d barrier) side() aclSide { return aclSide{d.ACL, d.Egress, d.Prefix.Addr().Is6()} }

// entries counts those of one direction and family.
func (s aclSide) entries(a ec2types.NetworkAcl) int {
	n := 0
	for _, e := range a.Entries {
		if aws.ToBool(e.Egress) == s.egress && (e.Ipv6CidrBlock != nil) == s.six {
			n++
		}
	}
	return n
}

// note remembers that the ACL, as it was read, has no room for the barrier.
func (f *fullACLs) note(a ec2types.NetworkAcl, d barrier, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = make(map[aclSide]fullACL)
	}
	f.seen[d.side()] = fullACL{d.side().entries(a), why}
}

// known is why the ACL, as it was read, has no room for the barrier; nil where AWS is to say.
func (f *fullACLs) known(a ec2types.NetworkAcl, d barrier) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if full, ok := f.seen[d.side()]; ok && d.side().entries(a) >= full.entries {
		return full.why
	}
	return nil
}

// barring makes the entry of one barrier.
type barring struct {
	*wired
	req incident.Request
	d   barrier
	// acl is as it was read last, with what was made since; read again where it
	// turns out not to be so any more.
	acl   *ec2types.NetworkAcl
	stale bool
	// mine is the entry that this step was last about to make; refused says that
	// AWS has one of that number, which is ours only if it says the same.
	mine    *entry
	refused bool
}

// bar makes the barrier's entry and returns it where it is ours: one that is
// there already, and that no try of this step was about to make, is someone
// else's, or another target's of this plan (barrier.joint). It returns errFull
// where there is no room.
func (w *wired) bar(ctx context.Context, req incident.Request, d barrier, acl *ec2types.NetworkAcl, noted []entry) (*entry, error) {
	m := &barring{wired: w, req: req, d: d, acl: acl, mine: lastEntry(noted, d)}
	ours := false
	err := incident.Poll(ctx, req.Clock, pause, lag, d.what()+" of "+d.ACL, func(ctx context.Context) (done bool, err error) {
		ours, done, err = m.look(ctx)
		if err == nil && !done && m.refused { // most often it shows at once
			ours, done, err = m.look(ctx)
		}
		return done, err
	})
	if err != nil || !ours {
		return nil, err
	}
	return m.mine, nil
}

// look reads the ACL and makes the entry where it is missing. Ours says that
// the entry is there and is m.mine.
func (m *barring) look(ctx context.Context) (ours, done bool, err error) {
	if m.stale {
		found, err := m.acls(ctx, m.d.ACL)
		if err != nil {
			return false, false, err
		}
		a, ok := found[m.d.ACL]
		if !ok {
			return false, false, fmt.Errorf("network ACL %s does not exist any more", m.d.ACL)
		}
		*m.acl = a
	}
	m.stale = true
	a := *m.acl
	if m.d.denied(a) {
		ours, err := m.claim(ctx, a)
		return ours, true, err
	}
	if m.mine != nil {
		if _, other := numbered(a, m.d.Egress, m.mine.Number); other {
			m.mine = nil
		} else if m.refused {
			return false, false, nil // AWS has it and does not show it yet
		}
	}
	if m.mine == nil {
		if err := m.choose(ctx, a); err != nil {
			return false, false, err
		}
	}
	switch err := m.create(ctx, *m.mine); {
	case err == nil:
		m.acl.Entries = append(m.acl.Entries, m.mine.shown())
		return true, true, nil
	case hasCode(err, "NetworkAclEntryAlreadyExists"):
		m.refused = true
		return false, false, nil
	case hasCode(err, "NetworkAclEntryLimitExceeded"):
		return false, false, fmt.Errorf("%w: %w", errFull, err)
	default:
		return false, false, err
	}
}

// claim tells whether the entry that denies already is ours.
func (m *barring) claim(ctx context.Context, a ec2types.NetworkAcl) (bool, error) {
	for _, e := range a.Entries {
		n := aws.ToInt32(e.RuleNumber)
		switch {
		case !m.d.matches(e):
		case m.mine != nil && m.mine.Number == n:
			return true, nil
		case m.d.joint():
			return true, m.about(ctx, n)
		}
	}
	return false, nil
}

// choose takes a number in front.
func (m *barring) choose(ctx context.Context, a ec2types.NetworkAcl) error {
	numbers, err := reach.Numbers(a, m.d.Egress, []netip.Prefix{m.d.Prefix}, noQuota)
	if err != nil {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	m.refused = false
	return m.about(ctx, numbers[m.d.Prefix])
}

// about records the entry before the call, so that a release knows what a try
// that was killed may have made.
func (m *barring) about(ctx context.Context, number int32) error {
	m.mine = &entry{ACL: m.d.ACL, Egress: m.d.Egress, Prefix: m.d.Prefix, Number: number}
	return m.req.Record(ctx, incident.EntryStepRecord, noted{Entry: m.mine})
}

// lastEntry is the last entry that was recorded for a barrier: the ones before
// it turned out to be someone else's.
func lastEntry(entries []entry, d barrier) *entry {
	for _, e := range slices.Backward(entries) {
		if e.is(d) {
			return &e
		}
	}
	return nil
}

// shown is the entry as AWS shows it.
func (e entry) shown() ec2types.NetworkAclEntry {
	out := ec2types.NetworkAclEntry{
		Egress: aws.Bool(e.Egress), RuleNumber: aws.Int32(e.Number), Protocol: aws.String("-1"), RuleAction: ec2types.RuleActionDeny,
	}
	if cidr := aws.String(e.Prefix.String()); e.Prefix.Addr().Is4() {
		out.CidrBlock = cidr
	} else {
		out.Ipv6CidrBlock = cidr
	}
	return out
}

func (w *wired) create(ctx context.Context, e entry) error {
	out := e.shown()
	in := &ec2.CreateNetworkAclEntryInput{
		NetworkAclId: aws.String(e.ACL), Egress: out.Egress, RuleNumber: out.RuleNumber, Protocol: out.Protocol, RuleAction: out.RuleAction,
		CidrBlock: out.CidrBlock, Ipv6CidrBlock: out.Ipv6CidrBlock,
	}
	if _, err := w.ec2.CreateNetworkAclEntry(ctx, in); err != nil {
		return fmt.Errorf("deny %s in network ACL %s as entry %d: %w", e.Prefix, e.ACL, e.Number, err)
	}
	return nil
}

// barrierDrift is the three-way difference of one barrier that the step took.
// Confirmed: its entry was seen to be made; without it, what stands at the
// number is ours only if it says the same.
func barrierDrift(d barrier, e entry, confirmed bool, a ec2types.NetworkAcl) (drift incident.Drift, number int32) {
	drift = incident.Drift{Resource: d.ACL, What: d.what(), Before: none, Set: deniedAs(e.Number), Now: none}
	there, ok := numbered(a, d.Egress, e.Number)
	switch {
	case ok && d.matches(there):
		drift.Now = drift.Set
		return drift, e.Number
	case !confirmed:
		return drift, 0
	}
	for _, other := range a.Entries {
		if d.matches(other) {
			drift.Now = deniedAs(aws.ToInt32(other.RuleNumber))
			return drift, aws.ToInt32(other.RuleNumber)
		}
	}
	if ok {
		drift.Now = entryWords(there)
	}
	return drift, 0
}

func entryWords(e ec2types.NetworkAclEntry) string {
	return fmt.Sprintf("entry %d is: %s %s, protocol %s", aws.ToInt32(e.RuleNumber), e.RuleAction,
		cmp.Or(aws.ToString(e.CidrBlock), aws.ToString(e.Ipv6CidrBlock)), aws.ToString(e.Protocol))
}

// unbar takes the barrier's entry away. Number 0: someone replaced it by
// another one, which a forced release leaves.
func (w *wired) unbar(ctx context.Context, d barrier, number int32) error {
	if number == 0 {
		return nil
	}
	_, err := w.ec2.DeleteNetworkAclEntry(ctx, &ec2.DeleteNetworkAclEntryInput{
		NetworkAclId: aws.String(d.ACL), Egress: aws.Bool(d.Egress), RuleNumber: aws.Int32(number),
	})
	if err != nil && !hasCode(err, "InvalidNetworkAclEntry.NotFound") {
		return fmt.Errorf("take entry %d out of network ACL %s: %w", number, d.ACL, err)
	}
	return nil
}
