package isolate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// network cuts the instance off: by groups that let nothing pass, and, for the
// connections that outlive them, by what isolate/reach decides for each path.
type network struct {
	configs configs
	vpcs    vpcReads
	full    fullACLs
}

// Spec of isolate.network.
func (a *network) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.network",
		Summary: "Cut every path to and from the instance: isolation groups on all interfaces, and what ends open connections too",
		Impact:  incident.Irreversible,
		Inputs:  networkInputs,
		Outputs: []incident.Field{
			{Name: "interfaces", Type: incident.Strings, Description: "the interfaces that were cut off"},
			{Name: "isolation_groups", Type: incident.Strings, Description: "the isolation group of each VPC"},
			{Name: "cut_at", Type: incident.String, Description: "when the cut had been read back, RFC 3339"},
			{Name: "paths_cut", Type: incident.Strings, Description: "the paths that are cut, connections that were open too"},
			{Name: "paths_open", Type: incident.Strings, Description: "the paths on which open connections live on, or that the allow-list leaves open"},
		},
		Permissions: networkPermissions(),
		Example:     "- id: network\n  action: isolate.network\n  needs: [autoscaling, credentials]\n  with:\n    strategy: [auto]\n",
		Provides:    []incident.Capability{incident.NetworkCut},
		MayRequire:  []incident.Capability{incident.LeftGroup},
		Timeout:     10 * time.Minute,
		TakesTurns:  true,
	}
}

func networkPermissions() []string {
	all := append(reach.Permissions(),
		"autoscaling:DescribeAutoScalingInstances", "ec2:DescribeInstances",
		"ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:RevokeSecurityGroupEgress",
		"ec2:DescribeNetworkInterfaceAttribute", "ec2:ModifyNetworkInterfaceAttribute",
		"ec2:AssignIpv6Addresses", "ec2:AssociateAddress", "ec2:DescribeAddresses", "ec2:DisassociateAddress", "ec2:UnassignIpv6Addresses",
		"ec2:CreateNetworkAclEntry", "ec2:DeleteNetworkAclEntry",
	)
	slices.Sort(all)
	return slices.Compact(all)
}

// decide reads the networks of these interfaces and decides about every path.
func (a *network) decide(ctx context.Context, req incident.Request, w *wired, wish *wish) (*reach.Network, reach.Decision, error) {
	// Routes, gateways and neighbours may be read for several instances of the
	// plan at once. What is restored later is read anew for each.
	vpcs, err := a.networks(ctx, req, w, w.vpcIDs(), req.Clock.Now().Add(-vpcAge))
	if err != nil {
		return nil, reach.Decision{}, err
	}
	n, err := reach.New(w.inst, w.interfaces, vpcs...)
	if err != nil {
		return nil, reach.Decision{}, err
	}
	d, err := n.Decide(wish.reach())
	if err == nil && wish.SSM {
		err = wish.allowSSM(vpcs)
	}
	return n, d, err
}

// Plan shows what becomes of every path, each change that takes, and whether
// the instance has to leave an Auto Scaling group first.
func (a *network) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	wish, err := readWish(req)
	if err != nil {
		return incident.Proposal{}, err
	}
	w, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	n, d, err := a.decide(ctx, req, w, &wish)
	if err != nil {
		return incident.Proposal{}, fmt.Errorf("%s: %w", instanceName(w.inst), err)
	}
	before := wiring{Interfaces: []wire{}, Orders: orders{Rules: wish.rules(), Timeouts: d.Timeouts, Choices: d.Choices, Barriers: barriersOf(d)}}
	for _, i := range w.interfaces {
		before.Interfaces = append(before.Interfaces, w.wire(i).going(d.Addresses))
	}
	if err := before.keep(req); err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}, Notes: d.Notes}
	groups, err := w.look(ctx, &before, &p)
	if err != nil {
		return p, err
	}
	p.Changes = before.changes(groups)
	p.Residual, p.Cuts = n.Expected(d)
	p.Shared = before.Orders.shared()
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	if len(d.Irreversible) > 0 && p.Impact == incident.Disruptive {
		p.Impact = incident.Irreversible
	}
	p.Notes = append(p.Notes, d.Irreversible...)
	if len(d.Neighbours) > 0 {
		p.Notes = append(p.Notes, "the whole subnet is cut, these interfaces too: "+strings.Join(d.Neighbours, ", "))
	}
	p.Before, err = record(before)
	return p, err
}

// look reads the rest of the before-state, all at once: the isolation groups by
// VPC (missing where Apply will make one), the ACLs, whether AWS gives an
// address, and the Auto Scaling group.
func (w *wired) look(ctx context.Context, before *wiring, p *incident.Proposal) (map[string]string, error) {
	g, gctx := errgroup.WithContext(ctx)
	vpcs := before.vpcs()
	found := make([]*ec2types.SecurityGroup, len(vpcs))
	for i, vpc := range vpcs {
		g.Go(func() (err error) { found[i], err = before.Orders.fence(vpc).find(gctx, w.ec2); return err })
	}
	for i := range before.Interfaces {
		if n := &before.Interfaces[i]; len(n.Public) > 0 {
			g.Go(func() error { return w.readAutomatic(gctx, n) })
		}
	}
	g.Go(func() error { return w.readStanding(gctx, before.Orders.Barriers) })
	g.Go(func() (err error) { p.Requires, err = w.requires(gctx); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	groups := make(map[string]string)
	for i, vpc := range vpcs {
		f := before.Orders.fence(vpc)
		if found[i] == nil {
			p.Notes = append(p.Notes, fmt.Sprintf("security group %s is made in %s and stays for the next time", f.name(), vpc))
			continue
		}
		if err := f.refuse(found[i]); err != nil {
			return nil, err
		}
		groups[vpc] = aws.ToString(found[i].GroupId)
	}
	return groups, nil
}

// requires: cutting off a member that is in service makes its group terminate it.
func (w *wired) requires(ctx context.Context) ([]incident.Capability, error) {
	m, err := membership(ctx, w.asg, aws.ToString(w.inst.InstanceId))
	if err != nil {
		return nil, err
	}
	if is(lifecycle(m), astypes.LifecycleStateInService, astypes.LifecycleStatePending, astypes.LifecycleStateEnteringStandby) {
		return []incident.Capability{incident.LeftGroup}, nil
	}
	return nil, nil
}

// Verify reads everything back and works out anew what can pass.
func (a *network) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	before, err := recall[wiring](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	set, err := recall[cut](r.Applied)
	if err != nil {
		return incident.Verification{}, err
	}
	since := req.Clock.Now()
	v, err := observe(ctx, req.Clock, lag, "the network of "+req.Target.Instance+" to be cut", func(ctx context.Context) (incident.Verification, error) {
		return a.readBack(ctx, req, before, set, since)
	})
	open, closed := []string{}, []string{}
	for _, c := range v.Cuts {
		if c.Cut {
			closed = append(closed, c.Path)
		} else {
			open = append(open, c.Path)
		}
	}
	v.Outputs = map[string]any{"cut_at": req.Clock.Now().UTC().Format(time.RFC3339Nano), "paths_cut": closed, "paths_open": open}
	return v, err
}

// readBack looks once, at everything at once. Nothing of what it goes by was read
// before the cut.
func (a *network) readBack(ctx context.Context, req incident.Request, before wiring, set cut, since time.Time) (incident.Verification, error) {
	var v incident.Verification
	w, err := a.connect(ctx, req.Target)
	if err != nil {
		return v, err
	}
	var acls []ec2types.NetworkAcl
	var groups []ec2types.SecurityGroup
	var denied, passed []string
	var vpcs []*reach.VPC
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.read(gctx, req.Target) })
	g.Go(func() (err error) { groups, passed, err = w.verifyFences(gctx, before.Orders, set); return err })
	g.Go(func() (err error) {
		acls, denied, err = w.verifyBarriers(gctx, before.Orders.Barriers, set)
		return err
	})
	g.Go(func() (err error) { vpcs, err = a.networks(gctx, req, w, set.vpcs(), since); return err })
	if err := g.Wait(); err != nil {
		return v, err
	}
	seen, err := w.verifyInterfaces(ctx, before, set)
	if err != nil {
		return v, err
	}
	v.Observed = slices.Sorted(slices.Values(slices.Concat(seen, passed, denied)))
	for i := range vpcs {
		vpcs[i] = vpcs[i].With(acls, groups, w.interfaces)
	}
	now, err := reach.New(w.inst, w.interfaces, vpcs...)
	if err != nil {
		return v, err
	}
	v.Residual, v.Cuts = now.Observed(reach.Decision{Choices: before.Orders.Choices})
	for _, m := range set.Missed {
		v.Residual = append(v.Residual, incident.Exposure{Path: m.String(), Reason: m.Reason})
	}
	return v, nil
}

// verifyFences proves what the isolation groups let pass.
func (w *wired) verifyFences(ctx context.Context, o orders, set cut) (groups []ec2types.SecurityGroup, seen []string, err error) {
	for _, vpc := range set.vpcs() {
		g, words, err := o.fence(vpc).verify(ctx, w.ec2, set.Groups[vpc])
		if err != nil {
			return nil, nil, err
		}
		groups, seen = append(groups, g), append(seen, words)
	}
	return groups, seen, nil
}

// verifyInterfaces proves what was set on each interface.
func (w *wired) verifyInterfaces(ctx context.Context, before wiring, set cut) ([]string, error) {
	var seen []string
	for _, n := range w.interfaces {
		now := w.wire(n)
		if want := set.Groups[now.VPC]; !now.only(want) {
			return nil, &incident.NotVerifiedError{Resource: now.name(), Want: "security group " + want + " only", Got: now.words()}
		}
		seen = append(seen, fmt.Sprintf("%s has security group %s only", now.name(), now.words()))
		b, ok := before.get(now.ID)
		if !ok {
			continue
		}
		if b.Automatic {
			if err := w.readAutomatic(ctx, &now); err != nil {
				return nil, err
			}
		}
		drifts := addressDrifts(b, now, nil)
		if set.lowered(before.Orders, now.ID) {
			drifts = append(drifts, timersDrift(b, now))
		}
		for _, d := range drifts {
			if d.Now != d.Set {
				return nil, &incident.NotVerifiedError{Resource: d.Resource, Want: d.What + ": " + d.Set, Got: d.Now}
			}
			seen = append(seen, fmt.Sprintf("%s, %s: %s", d.Resource, d.What, d.Now))
		}
	}
	return seen, nil
}

// verifyBarriers proves that each entry is there and in front.
func (w *wired) verifyBarriers(ctx context.Context, barriers []barrier, set cut) ([]ec2types.NetworkAcl, []string, error) {
	found, err := w.acls(ctx, aclsOf(barriers)...)
	if err != nil {
		return nil, nil, err
	}
	var seen []string
	for _, d := range barriers {
		a, ok := found[d.ACL]
		switch {
		case set.missed(d):
		case !ok:
			return nil, nil, &incident.NotVerifiedError{Resource: d.ACL, Want: d.what(), Got: "no such network ACL"}
		case !d.denied(a):
			return nil, nil, &incident.NotVerifiedError{Resource: d.ACL, Want: d.what() + " denied in front of what lets it through", Got: "no such entry"}
		default:
			seen = append(seen, fmt.Sprintf("%s, %s: denied in front", d.ACL, d.what()))
		}
	}
	var all []ec2types.NetworkAcl
	for _, id := range aclsOf(barriers) {
		if a, ok := found[id]; ok {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b ec2types.NetworkAcl) int {
		return cmp.Compare(aws.ToString(a.NetworkAclId), aws.ToString(b.NetworkAclId))
	})
	return all, seen, nil
}
