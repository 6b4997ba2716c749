package isolate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// recordedLate is how much later than its packet a record's start can be
	// (VPC User Guide, "Flow log records", field start): what starts within this time
	// after the cut may have passed before it.
	recordedLate = time.Minute
	// lookEvery is the time between two readings of the flow logs: they arrive minutes late.
	lookEvery = 30 * time.Second
	// pagesOfALog bounds one reading: a host that is scanned has many rejected flows.
	pagesOfALog = 100
)

// unseen is what no flow log shows (VPC User Guide, "Flow log limitations").
var unseen = incident.Exposure{
	Path: "what VPC flow logs do not record",
	Reason: "DNS queries to the VPC resolver, the instance metadata service, the time service, DHCP, the default router, Windows licence activation, " +
		"mirrored traffic: none of it was observed",
}

// nic is an interface that is observed.
type nic struct {
	ID        string       `json:"id"`
	Device    int32        `json:"device_index"`
	VPC       string       `json:"vpc"`
	Subnet    string       `json:"subnet"`
	Addresses []netip.Addr `json:"addresses"`
}

func (n nic) name() string { return fmt.Sprintf("%s (eth%d)", n.ID, n.Device) }

func nicOf(n ec2types.NetworkInterface) nic {
	v := nic{ID: aws.ToString(n.NetworkInterfaceId), Device: deviceIndex(n), VPC: aws.ToString(n.VpcId), Subnet: aws.ToString(n.SubnetId)}
	add := func(text *string) {
		if a, err := netip.ParseAddr(aws.ToString(text)); err == nil {
			v.Addresses = append(v.Addresses, a)
		}
	}
	for _, p := range n.PrivateIpAddresses {
		add(p.PrivateIpAddress)
	}
	for _, p := range n.Ipv6Addresses {
		add(p.Ipv6Address)
	}
	return v
}

// witness is a flow log of one interface.
type witness struct {
	Log    string     `json:"log"`
	NIC    nic        `json:"interface"`
	Group  string     `json:"group,omitempty"`  // of CloudWatch Logs
	Stream string     `json:"stream,omitempty"` // its name's beginning
	Files  *flowFiles `json:"files,omitempty"`  // in S3
	Format flowFormat `json:"format,omitempty"`
	Silent string     `json:"silent,omitempty"` // why it is not read
}

func (w witness) name() string { return fmt.Sprintf("flow log %s of %s", w.Log, w.NIC.name()) }

// findWitnesses finds the flow logs that cover the interfaces, by themselves, their
// subnets or their VPCs, with those that can't be read.
func findWitnesses(ctx context.Context, client *ec2.Client, target incident.Target, nics []nic) ([]witness, error) {
	var resources []string
	for _, n := range nics {
		resources = append(resources, n.ID, n.Subnet, n.VPC)
	}
	slices.Sort(resources)
	var all []witness
	pages := ec2.NewDescribeFlowLogsPaginator(client, &ec2.DescribeFlowLogsInput{
		Filter: []ec2types.Filter{{Name: aws.String("resource-id"), Values: slices.Compact(resources)}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("flow logs of %s: %w", strings.Join(resources, ", "), err)
		}
		for _, l := range page.FlowLogs {
			for _, n := range nics {
				if r := aws.ToString(l.ResourceId); r == n.ID || r == n.Subnet || r == n.VPC {
					all = append(all, witnessOf(l, target, n))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b witness) int { return strings.Compare(a.NIC.ID+a.Log, b.NIC.ID+b.Log) })
	return all, nil
}

func witnessOf(l ec2types.FlowLog, target incident.Target, n nic) witness {
	w := witness{Log: aws.ToString(l.FlowLogId), NIC: n, Group: aws.ToString(l.LogGroupName), Stream: n.ID + "-" + strings.ToLower(string(l.TrafficType))}
	format, err := parseFlowFormat(aws.ToString(l.LogFormat))
	if err == nil {
		err = format.tells()
	}
	if err == nil {
		w.Files, err = flowFilesOf(l, target)
	}
	if err == nil && w.Files != nil && !slices.Contains(format, "interface-id") {
		err = errors.New("its format has no field interface-id, and its files are of many interfaces")
	}
	w.Format = format
	switch {
	case l.TrafficType == ec2types.TrafficTypeReject:
		w.Silent = "it records rejected traffic only"
	case err != nil:
		w.Silent = "it is not read: " + err.Error()
	case w.Files == nil && w.Group == "":
		w.Silent = fmt.Sprintf("it exists, and is not read here: it goes to %s", cmp.Or(aws.ToString(l.LogDestination), string(l.LogDestinationType)))
	case aws.ToString(l.DeliverLogsStatus) == "FAILED":
		w.Silent = "its delivery fails: " + aws.ToString(l.DeliverLogsErrorMessage)
	}
	return w
}

// flow is one direction of a connection, over all the records that have it.
type flow struct {
	Log            string
	NIC            nic
	Direction      string // in, out, or empty where the record does not tell
	Local, Remote  netip.AddrPort
	Protocol       uint8
	Packets, Bytes int64
	First, Last    time.Time
}

var protocolNames = map[uint8]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}

func (f flow) String() string {
	protocol := protocolNames[f.Protocol]
	if protocol == "" {
		protocol = fmt.Sprintf("protocol %d", f.Protocol)
	}
	arrow := map[string]string{"in": "←", "out": "→", "": "–"}[f.Direction]
	return fmt.Sprintf("%s %s %s %s, %s, %d packets, %d bytes, %s to %s (flow log %s)",
		f.NIC.name(), f.Local, arrow, f.Remote, protocol, f.Packets, f.Bytes, stamp(f.First), stamp(f.Last), f.Log)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// testimony is what one flow log has shown of the time after the cut.
type testimony struct {
	witness
	Records  int       // that were delivered of it
	From, To time.Time // the time that they are of
	Accepted []flow    // that began after the cut for certain
	Unsure   int       // accepted, and so soon after the cut that they may be from before
	Lost     int       // intervals that were not captured
	Bad      int       // lines that can't be read
	Example  string    // of those, and why
	Refused  string    // why nothing could be read
	Cut      bool      // there was more than was read
}

// settled: at least a minute of the time after the cut has been delivered.
func (t testimony) settled(since time.Time) bool {
	return t.Silent != "" || t.Refused != "" || !t.To.Before(since.Add(2*recordedLate))
}

// readers of flow logs, by where these are.
type readers struct {
	logs  *cloudwatchlogs.Client
	files *archive
}

// read asks a flow log for everything that it has of the time after the cut.
func (r readers) read(ctx context.Context, w witness, since, now time.Time) (testimony, error) {
	t := testimony{witness: w}
	switch {
	case w.Silent != "":
		return t, nil
	case w.Files != nil:
		return r.files.read(ctx, w, since, now)
	}
	// Events carry a time that is not before their record's start, whatever AWS takes for it.
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(r.logs, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &w.Group, LogStreamNamePrefix: &w.Stream, StartTime: aws.Int64(since.UnixMilli()),
	})
	for n := 0; pages.HasMorePages(); n++ {
		if t.Cut = n == pagesOfALog; t.Cut {
			return t, nil
		}
		page, err := pages.NextPage(ctx)
		if hasCode(err, "ResourceNotFoundException") || denied(err) {
			t.Refused = err.Error()
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("%s, log group %s: %w", w.name(), w.Group, err)
		}
		for _, e := range page.Events {
			t.hear(aws.ToString(e.Message), since)
		}
	}
	slices.SortFunc(t.Accepted, func(a, b flow) int { return a.First.Compare(b.First) })
	return t, nil
}

// hear takes one line in. A record that starts before the cut proves nothing
// about the time after it.
func (t *testimony) hear(line string, since time.Time) {
	r, err := t.Format.parse(line)
	if err == nil && r.Interface != "" && r.Interface != t.NIC.ID {
		err = fmt.Errorf("it is of %s", r.Interface)
	}
	if err != nil {
		t.bad(line, err)
		return
	}
	sure := since.Add(recordedLate)
	switch {
	case r.Start.Before(since):
		return
	case r.Start.Before(sure):
		if r.Accepted {
			t.Unsure++
		}
		return
	case r.Status == flowSkipped:
		t.Lost++
		return
	}
	t.Records++
	if t.From.IsZero() || r.Start.Before(t.From) {
		t.From = r.Start
	}
	for _, at := range []time.Time{r.Start, r.End} {
		if at.After(t.To) {
			t.To = at
		}
	}
	if r.Accepted {
		t.add(r)
	}
}

func (t *testimony) bad(line string, err error) {
	if t.Bad++; t.Bad == 1 {
		t.Example = fmt.Sprintf("%.200q: %v", line, err)
	}
}

// add joins what a flow has in several intervals.
func (t *testimony) add(r flowRecord) {
	f := flow{Log: t.Log, NIC: t.NIC, Protocol: r.Protocol, Packets: r.Packets, Bytes: r.Bytes, First: r.Start, Last: r.Start}
	if r.End.After(f.Last) {
		f.Last = r.End
	}
	src, dst := netip.AddrPortFrom(r.Src, r.SrcPort), netip.AddrPortFrom(r.Dst, r.DstPort)
	switch {
	case r.Direction == "egress", r.Direction == "" && slices.Contains(t.NIC.Addresses, r.Src):
		f.Direction, f.Local, f.Remote = "out", src, dst
	case r.Direction == "ingress", slices.Contains(t.NIC.Addresses, r.Dst):
		f.Direction, f.Local, f.Remote = "in", dst, src
	default:
		f.Local, f.Remote = src, dst
	}
	for i := range t.Accepted {
		if o := &t.Accepted[i]; o.Direction == f.Direction && o.Local == f.Local && o.Remote == f.Remote && o.Protocol == f.Protocol {
			o.Packets, o.Bytes = o.Packets+f.Packets, o.Bytes+f.Bytes
			if f.First.Before(o.First) {
				o.First = f.First
			}
			if f.Last.After(o.Last) {
				o.Last = f.Last
			}
			return
		}
	}
	t.Accepted = append(t.Accepted, f)
}

// words say what the flow log has shown, and what it has not.
func (t testimony) words(since, now time.Time) []string {
	if t.Silent != "" {
		return []string{t.name() + ": " + t.Silent}
	}
	if t.Refused != "" {
		return []string{t.name() + ": it exists and could not be read: " + t.Refused}
	}
	var all []string
	say := func(format string, args ...any) { all = append(all, t.name()+": "+fmt.Sprintf(format, args...)) }
	switch {
	case t.Records == 0:
		say("nothing was delivered by %s of the time after %s: nothing was observed", stamp(now), stamp(since.Add(recordedLate)))
	case len(t.Accepted) == 0:
		say("no ACCEPT among %d records of between %s and %s", t.Records, stamp(t.From), stamp(t.To))
	default:
		say("%d accepted flows among %d records of between %s and %s", len(t.Accepted), t.Records, stamp(t.From), stamp(t.To))
	}
	if t.Unsure > 0 {
		say("%d ACCEPT records that start within a minute of the cut may be of packets from before it", t.Unsure)
	}
	if t.Lost > 0 {
		say("%d intervals after the cut were not captured (SKIPDATA)", t.Lost)
	}
	if t.Bad > 0 {
		say("%d lines can't be read, the first is %s", t.Bad, t.Example)
	}
	if t.Cut {
		say("it has more records than were read")
	}
	return all
}
