package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// network replaces the security groups of every interface with one group that
// allows nothing.
type network struct{ configs configs }

// Spec of isolate.network.
func (a *network) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.network",
		Summary: "Replace the security groups of every network interface with an isolation group that has no rules",
		Impact:  incident.Disruptive,
		Outputs: []incident.Field{
			{Name: "interfaces", Type: incident.Strings, Description: "the interfaces that were cut off"},
			{Name: "isolation_groups", Type: incident.Strings, Description: "the isolation group of each VPC"},
		},
		Permissions: []string{
			"autoscaling:DescribeAutoScalingInstances",
			"ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups",
			"ec2:ModifyNetworkInterfaceAttribute", "ec2:RevokeSecurityGroupEgress",
		},
		Example:    "- id: network\n  action: isolate.network\n  needs: [autoscaling, credentials]\n",
		Provides:   []incident.Capability{incident.NetworkCut},
		MayRequire: []incident.Capability{incident.LeftGroup},
		Timeout:    10 * time.Minute,
	}
}

// wiring is the before-state of isolate.network: the groups of each interface.
type wiring struct {
	Interfaces []wire `json:"interfaces"`
}

type wire struct {
	ID     string  `json:"id"`
	Device int32   `json:"device_index"`
	VPC    string  `json:"vpc"`
	Groups []group `json:"groups"` // in the order AWS gave them
}

type group struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

func (w wire) name() string { return fmt.Sprintf("%s (eth%d)", w.ID, w.Device) }

func (w wire) ids() []string {
	ids := make([]string, len(w.Groups))
	for i, g := range w.Groups {
		ids[i] = g.ID
	}
	return ids
}

// words are the interface's groups in one order: theirs has no meaning.
func (w wire) words() string {
	all := make([]string, len(w.Groups))
	for i, g := range w.Groups {
		all[i] = label(g.ID, g.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// only reports whether this group is the interface's only one.
func (w wire) only(id string) bool { return len(w.Groups) == 1 && w.Groups[0].ID == id }

// cut is what the step set: the isolation group of each VPC.
type cut struct {
	Groups map[string]string `json:"groups"` // VPC to group
}

// wired is an instance and its interfaces as they are now.
type wired struct {
	ec2        *ec2.Client
	asg        *autoscaling.Client
	inst       ec2types.Instance
	interfaces []ec2types.NetworkInterface
}

func (a *network) open(ctx context.Context, t incident.Target) (*wired, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	w := &wired{ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg)}
	if w.inst, err = describe(ctx, w.ec2, t); err != nil {
		return w, err
	}
	w.interfaces, err = w.find(ctx, "attachment.instance-id", t.Instance)
	if err == nil && len(w.interfaces) == 0 {
		err = fmt.Errorf("%s: AWS shows no network interface", instanceName(w.inst))
	}
	return w, err
}

// find returns the interfaces that a filter leaves, by device index.
func (w *wired) find(ctx context.Context, filter string, values ...string) ([]ec2types.NetworkInterface, error) {
	var all []ec2types.NetworkInterface
	pages := ec2.NewDescribeNetworkInterfacesPaginator(w.ec2, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: aws.String(filter), Values: values}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("network interfaces with %s %s: %w", filter, strings.Join(values, ", "), err)
		}
		all = append(all, page.NetworkInterfaces...)
	}
	slices.SortStableFunc(all, func(a, b ec2types.NetworkInterface) int { return int(deviceIndex(a) - deviceIndex(b)) })
	return all, nil
}

func deviceIndex(n ec2types.NetworkInterface) int32 {
	if n.Attachment == nil {
		return 0
	}
	return aws.ToInt32(n.Attachment.DeviceIndex)
}

func wireOf(n ec2types.NetworkInterface) wire {
	w := wire{ID: aws.ToString(n.NetworkInterfaceId), Device: deviceIndex(n), VPC: aws.ToString(n.VpcId)}
	for _, g := range n.Groups {
		w.Groups = append(w.Groups, group{ID: aws.ToString(g.GroupId), Name: aws.ToString(g.GroupName)})
	}
	return w
}

// Plan shows each interface's groups, what stays exposed, and whether the
// instance has to leave an Auto Scaling group first.
func (a *network) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	w, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}}
	before := wiring{Interfaces: []wire{}}
	groups := make(map[string]string)
	for _, n := range w.interfaces {
		now := wireOf(n)
		if _, ok := groups[now.VPC]; !ok {
			if groups[now.VPC], err = w.planGroup(ctx, now.VPC, &p); err != nil {
				return p, err
			}
		}
		before.Interfaces = append(before.Interfaces, now)
		if now.only(groups[now.VPC]) {
			continue
		}
		p.Changes = append(p.Changes, incident.Change{
			Resource: now.name(), What: "security groups", Before: now.words(), After: fmt.Sprintf("%s of %s: nothing in, nothing out", isolationName, now.VPC),
		})
	}
	p.Residual = residual(w.interfaces)
	if p.Requires, err = w.requires(ctx); err != nil {
		return p, err
	}
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	p.Before, err = record(before)
	return p, err
}

// planGroup returns the VPC's isolation group; empty where Apply will make it.
func (w *wired) planGroup(ctx context.Context, vpc string, p *incident.Proposal) (string, error) {
	g, err := isolationGroup(ctx, w.ec2, vpc)
	if err != nil {
		return "", err
	}
	if g == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("security group %s is made in %s and stays for the next time", isolationName, vpc))
		return "", nil
	}
	return aws.ToString(g.GroupId), refuseIngress(g)
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

// Apply gives every interface of the plan the isolation group of its VPC.
func (a *network) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[wiring](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	w, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	set := cut{Groups: make(map[string]string)}
	for _, b := range before.Interfaces {
		if _, ok := set.Groups[b.VPC]; !ok {
			if set.Groups[b.VPC], err = ensureIsolation(ctx, w.ec2, req.Clock, b.VPC); err != nil {
				return incident.Result{}, err
			}
		}
	}
	interfaces := []string{}
	var unplanned error
	for _, n := range w.interfaces {
		now := wireOf(n)
		if !slices.ContainsFunc(before.Interfaces, func(b wire) bool { return b.ID == now.ID }) {
			unplanned = incident.WithHint(fmt.Errorf("%s: it was attached after the plan was made, and is not cut off", now.name()),
				"run the step anew: the interface's groups have to be recorded before they are replaced")
			continue
		}
		interfaces = append(interfaces, now.ID)
		if now.only(set.Groups[now.VPC]) {
			continue
		}
		if err := w.put(ctx, req.Clock, now, []string{set.Groups[now.VPC]}); err != nil {
			return incident.Result{}, err
		}
	}
	if unplanned != nil {
		return incident.Result{}, unplanned
	}
	return result(set, interfaces)
}

func result(set cut, interfaces []string) (incident.Result, error) {
	groups := []string{}
	for _, id := range set.Groups {
		groups = append(groups, id)
	}
	slices.Sort(groups)
	applied, err := record(set)
	return incident.Result{Applied: applied, Outputs: map[string]any{"interfaces": interfaces, "isolation_groups": groups}}, err
}

// put replaces the groups of one interface. ModifyInstanceAttribute would
// reach the primary interface only. A group made a moment ago may not be known
// everywhere yet.
func (w *wired) put(ctx context.Context, clock incident.Clock, n wire, groups []string) error {
	return incident.Poll(ctx, clock, pause, lag, "the security groups of "+n.name()+" to be replaced", func(ctx context.Context) (bool, error) {
		_, err := w.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: aws.String(n.ID), Groups: groups,
		})
		if hasCode(err, "InvalidGroup.NotFound") {
			return false, nil
		}
		return err == nil, err
	})
}

// Verify reads every interface and every isolation group back.
func (a *network) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	set, err := recall[cut](r.Applied)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, "the network of "+req.Target.Instance+" to be cut", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		w, err := a.open(ctx, req.Target)
		if err != nil {
			return v, err
		}
		for _, n := range w.interfaces {
			now := wireOf(n)
			if want := set.Groups[now.VPC]; !now.only(want) {
				return v, &incident.NotVerifiedError{Resource: now.name(), Want: "security group " + want + " only", Got: now.words()}
			}
			v.Observed = append(v.Observed, fmt.Sprintf("%s has security group %s only", now.name(), now.words()))
		}
		for _, id := range set.Groups {
			if err := w.verifyEmpty(ctx, id); err != nil {
				return v, err
			}
			v.Observed = append(v.Observed, "security group "+id+" has no rules")
		}
		slices.Sort(v.Observed)
		v.Residual = residual(w.interfaces)
		return v, nil
	})
}

func (w *wired) verifyEmpty(ctx context.Context, id string) error {
	g, err := groupsBy(ctx, w.ec2, "group-id", id)
	if err != nil {
		return err
	}
	if len(g) == 0 || len(g[0].IpPermissions)+len(g[0].IpPermissionsEgress) > 0 {
		got := "no such group"
		if len(g) > 0 {
			got = fmt.Sprintf("%d inbound, %d outbound", len(g[0].IpPermissions), len(g[0].IpPermissionsEgress))
		}
		return &incident.NotVerifiedError{Resource: "security group " + id, Want: "no rules", Got: got}
	}
	return nil
}

// PlanRevert shows each interface whose groups come back.
func (a *network) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, _, err := a.planRevert(ctx, req)
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

// planRevert returns the interfaces to restore, as they were before.
func (a *network) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *wired, []wire, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[wiring](req.Undo.Proposal.Before)
	if err != nil || len(before.Interfaces) == 0 {
		return p, nil, nil, err
	}
	w, err := a.open(ctx, req.Target)
	if errors.Is(err, errGone) {
		return nothingLeft(err), nil, nil, nil
	}
	if err != nil {
		return p, nil, nil, err
	}
	set, err := w.whatWasSet(ctx, req.Undo, before)
	if err != nil {
		return p, nil, nil, err
	}
	exist, err := w.existing(ctx, before)
	if err != nil {
		return p, nil, nil, err
	}
	var attributes []incident.Drift
	var restore []wire
	var problems []error
	for _, b := range before.Interfaces {
		found, err := w.find(ctx, "network-interface-id", b.ID)
		if err != nil {
			return p, nil, nil, err
		}
		if len(found) == 0 {
			p.Notes = append(p.Notes, b.name()+" does not exist any more: nothing to restore on it")
			continue
		}
		d, lost := b.compare(wireOf(found[0]), set.Groups[b.VPC]), b.lost(exist)
		switch {
		case d.Now == d.Before:
		case lost == nil:
			restore = append(restore, b)
		case d.Now != d.Set && req.Undo.Force:
			p.Notes = append(p.Notes, fmt.Sprintf("%s keeps %s: %v", b.name(), d.Now, lost))
			continue
		default:
			problems = append(problems, lost)
		}
		attributes = append(attributes, d)
	}
	if err := errors.Join(problems...); err != nil {
		return p, nil, nil, incident.WithHint(err, "give the interface the groups it shall have now (aws ec2 modify-network-interface-attribute --groups …), then release with force: it keeps them")
	}
	if p.Changes, err = settle(attributes, req.Undo.Force); len(p.Changes) > 0 {
		p.Notes = append(p.Notes, "the isolation group itself stays for the next time")
	}
	return p, w, restore, err
}

// compare is the three-way difference of one interface's groups. Set is the isolation group.
func (w wire) compare(now wire, set string) incident.Drift {
	d := incident.Drift{Resource: w.name(), What: "security groups", Before: w.words(), Set: label(set, isolationName), Now: now.words()}
	if now.only(set) {
		d.Set = d.Now
	}
	return d
}

// lost tells which of the interface's groups exist no more; nil for none.
func (w wire) lost(exist map[string]bool) error {
	var gone []string
	for _, g := range w.Groups {
		if !exist[g.ID] {
			gone = append(gone, label(g.ID, g.Name))
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return fmt.Errorf("%s: its security groups can't be restored: %s no longer exists", w.name(), strings.Join(gone, ", "))
}

// whatWasSet is what Apply recorded. Where it left no result, the isolation
// groups are found as Apply finds them.
func (w *wired) whatWasSet(ctx context.Context, u *incident.Undo, before wiring) (cut, error) {
	set, err := recall[cut](u.Result.Applied)
	if err != nil || len(set.Groups) > 0 {
		return set, err
	}
	set.Groups = make(map[string]string)
	for _, b := range before.Interfaces {
		g, err := isolationGroup(ctx, w.ec2, b.VPC)
		if err != nil {
			return set, err
		}
		if g != nil {
			set.Groups[b.VPC] = aws.ToString(g.GroupId)
		}
	}
	return set, nil
}

// existing are those groups of the before-state that still exist.
func (w *wired) existing(ctx context.Context, before wiring) (map[string]bool, error) {
	var ids []string
	for _, b := range before.Interfaces {
		ids = append(ids, b.ids()...)
	}
	found, err := groupsBy(ctx, w.ec2, "group-id", ids...)
	exist := make(map[string]bool, len(found))
	for _, g := range found {
		exist[aws.ToString(g.GroupId)] = true
	}
	return exist, err
}

// Revert gives every interface exactly the groups it had, and reads them back.
func (a *network) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	_, w, restore, err := a.planRevert(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	for _, b := range restore {
		if err := w.put(ctx, req.Clock, b, b.ids()); err != nil {
			return incident.Result{}, err
		}
	}
	for _, b := range restore {
		err := incident.Poll(ctx, req.Clock, pause, lag, b.name()+" to have its security groups again", func(ctx context.Context) (bool, error) {
			found, err := w.find(ctx, "network-interface-id", b.ID)
			return len(found) == 1 && wireOf(found[0]).words() == b.words(), err
		})
		if err != nil {
			return incident.Result{}, err
		}
	}
	return incident.Result{}, nil
}
