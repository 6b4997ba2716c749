package isolate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/incident"
)

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

// groupsDrift is the three-way difference of one interface's groups. Set is the isolation group.
func groupsDrift(before, now wire, set, name string) incident.Drift {
	d := incident.Drift{Resource: before.name(), What: "security groups", Before: before.words(), Set: label(set, name), Now: now.words()}
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
	return incident.WithHint(fmt.Errorf("%s: its security groups can't be restored: %s no longer exists", w.name(), strings.Join(gone, ", ")),
		"give the interface the groups it shall have now (aws ec2 modify-network-interface-attribute --groups …), then release with force: it keeps them")
}

// existing are those groups of the before-state that still exist.
func (w *wired) existing(ctx context.Context, interfaces []wire) (map[string]bool, error) {
	var ids []string
	for _, b := range interfaces {
		ids = append(ids, b.ids()...)
	}
	slices.Sort(ids)
	found, err := groupsBy(ctx, w.ec2, "group-id", slices.Compact(ids)...)
	exist := make(map[string]bool, len(found))
	for _, g := range found {
		exist[aws.ToString(g.GroupId)] = true
	}
	return exist, err
}
