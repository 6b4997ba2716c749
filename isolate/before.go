package isolate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// wiring is the before-state of isolate.network, and what was decided upon it.
type wiring struct {
	Interfaces []wire `json:"interfaces"`
	Orders     orders `json:"orders,omitzero"`
}

// orders are the measures besides the groups, which every interface gets.
type orders struct {
	Rules    []rule    `json:"allow,omitempty"`    // of the isolation groups
	Timeouts []string  `json:"timeouts,omitempty"` // interfaces
	Barriers []barrier `json:"barriers,omitempty"` // entries of network ACLs
	// Choices are what was decided for each path.
	Choices []reach.Choice `json:"choices,omitempty"`
}

// fence is the isolation group of a VPC.
func (o orders) fence(vpc string) fence { return fence{VPC: vpc, Rules: o.Rules} }

// wire is one interface: what the measures change on it.
type wire struct {
	ID     string  `json:"id"`
	Device int32   `json:"device_index"`
	VPC    string  `json:"vpc"`
	Groups []group `json:"groups"` // in the order AWS gave them
	Timers timers  `json:"timeouts,omitzero"`
	// Public are the public IPv4 addresses that go. Automatic: AWS gives the
	// interface one whenever it has no Elastic IP, and that ends.
	Public    []public `json:"public,omitempty"`
	Automatic bool     `json:"automatic,omitempty"`
	// IPv6 are the addresses, and the prefixes delegated to it, that go.
	IPv6 []string `json:"ipv6,omitempty"`
}

type group struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

func (w wire) name() string { return fmt.Sprintf("%s (eth%d)", w.ID, w.Device) }

// cut is what the step set.
type cut struct {
	Groups map[string]string `json:"groups"` // VPC to isolation group
	Late   []wire            `json:"late,omitempty"`
	// Entries are ours in network ACLs; Missed is what AWS had no room for, or refused.
	Entries []entry  `json:"entries,omitempty"`
	Missed  []missed `json:"missed,omitempty"`
	// Timeouts are the interfaces whose timeouts were lowered for want of better.
	Timeouts []string `json:"timeouts,omitempty"`
}

// missed is a measure that could not be taken, though nothing failed: the next
// one has to do.
type missed struct {
	Measure  reach.Measure `json:"measure"`
	Resource string        `json:"resource"`
	Prefix   netip.Prefix  `json:"prefix,omitzero"` // of a barrier
	Egress   bool          `json:"egress,omitempty"`
	Reason   string        `json:"reason"`
}

// noted is what a step records while it works: an interface that was attached
// after the plan, or an entry that is about to be made. Undoing needs them.
type noted struct {
	// Timeouts are those of an interface that were lowered for want of better.
	Timeouts  string `json:"timeouts,omitempty"`
	Interface *wire  `json:"interface,omitempty"`
	Entry     *entry `json:"entry,omitempty"`
}

// notes are all that a step's tries recorded.
type notes struct {
	late     []wire
	entries  []entry
	timeouts []string
}

func recollect(records []json.RawMessage) (notes, error) {
	var all notes
	for _, raw := range records {
		n, err := recall[noted](raw)
		if err != nil {
			return all, err
		}
		if n.Interface != nil && !slices.ContainsFunc(all.late, func(l wire) bool { return l.ID == n.Interface.ID }) {
			all.late = append(all.late, *n.Interface) // the first one is from before the cut
		}
		if n.Entry != nil {
			all.entries = append(all.entries, *n.Entry)
		}
		if n.Timeouts != "" {
			all.timeouts = append(all.timeouts, n.Timeouts)
		}
	}
	return all, nil
}

// wired is an instance and its interfaces as they are now.
type wired struct {
	ec2        *ec2.Client
	asg        *autoscaling.Client
	inst       ec2types.Instance
	interfaces []ec2types.NetworkInterface
}

// open reads the instance and its interfaces, at once. It returns the clients
// with errGone too.
func (a *network) open(ctx context.Context, t incident.Target) (*wired, error) {
	w, err := a.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	return w, w.read(ctx, t)
}

func (a *network) connect(ctx context.Context, t incident.Target) (*wired, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	return &wired{ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg)}, nil
}

func (w *wired) read(ctx context.Context, t incident.Target) (err error) {
	var g errgroup.Group
	g.Go(func() (err error) {
		w.interfaces, err = w.find(ctx, "attachment.instance-id", t.Instance)
		return err
	})
	w.inst, err = describe(ctx, w.ec2, t)
	found := g.Wait()
	switch {
	case err != nil:
		return err
	case found == nil && len(w.interfaces) == 0:
		return fmt.Errorf("%s: AWS shows no network interface", instanceName(w.inst))
	}
	return found
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

// wire is an interface as it is now, with all its addresses; whether AWS gives it
// one is not read (readAutomatic).
func (w *wired) wire(n ec2types.NetworkInterface) wire {
	now := wire{
		ID: aws.ToString(n.NetworkInterfaceId), Device: deviceIndex(n), VPC: aws.ToString(n.VpcId),
		Timers: timersOf(n.ConnectionTrackingConfiguration, w.inst.InstanceType), Public: publicOf(n), IPv6: ipv6Of(n),
	}
	for _, g := range n.Groups {
		now.Groups = append(now.Groups, group{ID: aws.ToString(g.GroupId), Name: aws.ToString(g.GroupName)})
	}
	return now
}
