package rehearsal

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// flowDelay is how long after its aggregation interval a record can be read:
// "typically … in about 5 minutes", on a best effort basis ("Flow log records", VPC User Guide).
const flowDelay = 5 * time.Minute

// flowKept is how long records are kept.
const flowKept = time.Hour

// flowState is what the flow logs have recorded. Only traffic is stored:
// that an interval had none is worked out when somebody reads.
type flowState struct {
	Records []*flowRecord `json:"records,omitempty"` // by First
	Skipped []timeSpan    `json:"skipped,omitempty"` // no flow log could keep up
}

type timeSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// flowKey is what packets have in common that are aggregated into one record.
// Times are Unix seconds, as in the records: there are many of these on disk.
type flowKey struct {
	Log       string         `json:"log"`
	Interface string         `json:"eni"`
	Window    int64          `json:"win"` // its aggregation interval's beginning
	Egress    bool           `json:"out,omitempty"`
	Accepted  bool           `json:"ok,omitempty"`
	Protocol  int32          `json:"pro"`
	From      netip.AddrPort `json:"src"`
	To        netip.AddrPort `json:"dst"`
}

type flowRecord struct {
	flowKey
	Packets int64 `json:"n"`
	Bytes   int64 `json:"bytes"`
	First   int64 `json:"first"`
	Last    int64 `json:"last"`
}

// observed puts a packet into every flow log that covers the interface.
func (w *world) observed(p packet) {
	n := w.EC2.Interfaces[p.Interface]
	if n == nil || unrecorded(p) {
		return
	}
	for _, l := range inOrder(w.EC2.FlowLogs) {
		if !l.covers(n) || !l.keeps(p.Accepted) {
			continue
		}
		w.Flows.add(p.At.Unix(), p.Bytes, flowKey{
			Log: l.ID, Interface: n.ID, Window: p.At.Truncate(w.interval(l, n)).Unix(), Egress: p.Egress, Accepted: p.Accepted, Protocol: p.Protocol, From: p.Src, To: p.Dst,
		})
	}
}

// unrecorded: what no flow log ever shows ("Flow log limitations"): the
// metadata and time services, and the resolver, whose address is the second of a network.
func unrecorded(p packet) bool {
	for _, a := range []netip.Addr{p.Src.Addr(), p.Dst.Addr()} {
		if a.Is4() && a.IsLinkLocalUnicast() {
			return true
		}
	}
	return p.Egress && p.Dst.Port() == 53 && p.Dst.Addr().Is4() && p.Dst.Addr().As4()[3] == 2 && p.Dst.Addr().IsPrivate()
}

// add joins a packet to its interval's record. Records are in the order of their
// first packets, so that one of this interval is not further back than its beginning.
func (s *flowState) add(at, bytes int64, k flowKey) {
	for _, r := range slices.Backward(s.Records) {
		if r.First < k.Window {
			break
		}
		if r.flowKey == k {
			r.Packets, r.Bytes, r.Last = r.Packets+1, r.Bytes+bytes, at
			return
		}
	}
	s.Records = append(s.Records, &flowRecord{flowKey: k, Packets: 1, Bytes: bytes, First: at, Last: at})
	if kept := at - int64(flowKept/time.Second); s.Records[0].First < kept {
		s.Records = slices.DeleteFunc(s.Records, func(r *flowRecord) bool { return r.First < kept })
	}
}

func (s *flowState) skipped(from, to time.Time) bool {
	return slices.ContainsFunc(s.Skipped, func(t timeSpan) bool { return from.Before(t.To) && t.From.Before(to) })
}

// logEvent is one event of a log group.
type logEvent struct {
	Stream  string
	Time    time.Time
	Written time.Time
	Message string
}

// flowEvents are the records that a log group shows by now, of intervals that begin in
// [from, to], by time. An interval without a packet has one that says so.
func (w *world) flowEvents(group string, from, to time.Time) []logEvent {
	var all []logEvent
	for _, l := range inOrder(w.EC2.FlowLogs) {
		if l.Group != group {
			continue
		}
		for _, n := range inOrder(w.EC2.Interfaces) {
			if l.covers(n) {
				all = append(all, w.flowEventsOf(l, n, from, to)...)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b logEvent) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Stream, b.Stream))
	})
	return all
}

func (w *world) flowEventsOf(l *flowLog, n *networkInterface, from, to time.Time) []logEvent {
	interval := w.interval(l, n)
	first := later(from, l.Created, w.Now.Add(-flowKept))
	if n.Attachment != nil {
		first = later(first, n.Attachment.At)
	}
	records := make(map[int64][]*flowRecord)
	for _, r := range w.Flows.Records {
		if r.Log == l.ID && r.Interface == n.ID {
			records[r.Window] = append(records[r.Window], r)
		}
	}
	var all []logEvent
	for start := first.Truncate(interval); !start.After(to); start = start.Add(interval) {
		end := start.Add(interval)
		written := end.Add(flowDelay)
		if written.After(w.Now) || start.Before(first) && len(records[start.Unix()]) == 0 {
			continue
		}
		event := func(at time.Time, fields map[string]string) {
			all = append(all, logEvent{Stream: l.stream(n.ID), Time: at, Written: written, Message: l.line(fields)})
		}
		switch seen := records[start.Unix()]; {
		case w.Flows.skipped(start, end):
			event(start, w.emptyFields(n, start, end, "SKIPDATA"))
		case len(seen) == 0:
			event(start, w.emptyFields(n, start, end, "NODATA"))
		default:
			for _, r := range seen {
				event(time.Unix(r.First, 0), w.recordFields(n, r))
			}
		}
	}
	return all
}

func later(a time.Time, others ...time.Time) time.Time {
	for _, b := range others {
		if b.After(a) {
			a = b
		}
	}
	return a
}

// stream is the log stream of an interface ("Publish flow logs to CloudWatch Logs").
func (l *flowLog) stream(networkInterface string) string {
	return networkInterface + "-" + strings.ToLower(string(l.Traffic))
}

// line writes a record in the log's format; what does not apply is a dash.
func (l *flowLog) line(fields map[string]string) string {
	names := strings.Fields(l.Format)
	for i, f := range names {
		names[i] = cmp.Or(fields[flowField.FindStringSubmatch(f)[1]], "-")
	}
	return strings.Join(names, " ")
}

// flowFields are those that a format may have here ("Flow log records", "Available fields").
var flowFields = []string{
	"version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "action", "log-status",
	"vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr", "region", "az-id", "sublocation-type", "sublocation-id",
	"pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction", "traffic-path", "reject-reason",
}

func (w *world) emptyFields(n *networkInterface, start, end time.Time, status string) map[string]string {
	f := map[string]string{
		"version": "2", "account-id": w.Account, "interface-id": n.ID, "vpc-id": n.VPC, "subnet-id": n.Subnet, "region": w.Region,
		"start": strconv.FormatInt(start.Unix(), 10), "end": strconv.FormatInt(end.Unix(), 10), "log-status": status,
	}
	if n.Attachment != nil {
		f["instance-id"] = n.Attachment.Instance
	}
	return f
}

func (w *world) recordFields(n *networkInterface, r *flowRecord) map[string]string {
	f := w.emptyFields(n, time.Unix(r.First, 0), time.Unix(r.Last, 0), "OK")
	f["srcaddr"], f["dstaddr"] = r.From.Addr().String(), r.To.Addr().String()
	f["pkt-srcaddr"], f["pkt-dstaddr"] = f["srcaddr"], f["dstaddr"]
	f["srcport"], f["dstport"] = strconv.Itoa(int(r.From.Port())), strconv.Itoa(int(r.To.Port()))
	f["protocol"] = strconv.Itoa(int(r.Protocol))
	f["packets"], f["bytes"] = strconv.FormatInt(r.Packets, 10), strconv.FormatInt(r.Bytes, 10)
	f["action"], f["flow-direction"], f["type"] = string(types.TrafficTypeReject), "ingress", "IPv4"
	if r.Accepted {
		f["action"] = string(types.TrafficTypeAccept)
	}
	if r.Egress {
		f["flow-direction"] = "egress"
	}
	if r.From.Addr().Is6() {
		f["type"] = "IPv6"
	}
	return f
}
