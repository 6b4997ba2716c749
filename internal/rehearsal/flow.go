package rehearsal

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// flow is a conversation between an interface of the account and a far end, which may be
// another interface or outside. The one who opened it sends a packet (a beacon) every so often and gets
// one back. Whether they arrive is judged packet by packet, by the rules that hold then.
type flow struct {
	Name     string `json:"name"`
	Intruder bool   `json:"intruder,omitempty"` // somebody holds the instance by it
	Protocol string `json:"protocol"`           // tcp, udp, icmp
	// Opener sends first; it opens the flow anew, each minute, when it was cut.
	Opener    endpoint      `json:"opener"`
	Responder endpoint      `json:"responder"`
	Every     time.Duration `json:"every"`
	// Target is the target group whose load balancer opened the flow: it closes it
	// when the target has drained.
	Target string `json:"target,omitempty"`

	// The path it was opened on, and the public address in front of it.
	Path   pathKind   `json:"path"`
	Via    string     `json:"via"`
	Public netip.Addr `json:"public,omitzero"`
	// Tracks is what the interfaces remember of it, by their ID.
	Tracks map[string]track `json:"tracks,omitempty"`

	State   flowStatus `json:"state"`
	Since   time.Time  `json:"since"` // in this state
	Next    time.Time  `json:"next"`  // beacon, or try to open it
	Last    time.Time  `json:"last"`  // beacon that was answered
	Missed  int        `json:"missed,omitempty"`
	Reason  string     `json:"reason,omitempty"` // what stopped the first packet missed
	Cuts    int        `json:"cuts,omitempty"`
	Refused int        `json:"refused,omitempty"` // tries to open it since it was cut

	probing bool // only to see whether packets would pass
}

type flowStatus string

const (
	flowUp  flowStatus = "up"
	flowCut flowStatus = "cut"
)

// pathKind is how a flow leaves the interface in the account, or reaches it.
type pathKind string

const (
	pathInternet     pathKind = "internet-gateway"
	pathEgressOnly   pathKind = "egress-only-gateway"
	pathNAT          pathKind = "nat-gateway"
	pathTransit      pathKind = "transit-gateway"
	pathPeering      pathKind = "peering"
	pathVPN          pathKind = "vpn-gateway"
	pathEndpoint     pathKind = "endpoint"
	pathLoadBalancer pathKind = "load-balancer"
	pathOtherSubnet  pathKind = "other-subnet"
	pathSameSubnet   pathKind = "same-subnet"
	pathService      pathKind = "service" // resolver, metadata, time
)

// endpoint is one end of a flow. Without an interface it is outside the account.
type endpoint struct {
	Interface string     `json:"interface,omitempty"`
	Addr      netip.Addr `json:"addr"`
	Port      uint16     `json:"port,omitempty"`
}

const (
	flowGivesUp  = 3           // beacons in a row without an answer
	flowComeback = time.Minute // between two tries to open it again

	firstPort, ports = 32768, 28232 // ephemeral ones, as Linux has them
)

// Behaviour is what AWS does where no source decides it. The zero value is what the
// documentation lets one expect. A product that claims only what it has observed is right under each.
type Behaviour struct {
	// FlowsOutliveAddresses: a flow lives on when the public address, or the IPv6
	// address, that it runs on is taken off (aws-facts.md: unproven).
	FlowsOutliveAddresses bool `json:"flows_outlive_addresses,omitempty"`
}

// SetBehaviour decides what no source does, from now on.
func (a *Account) SetBehaviour(b Behaviour) error {
	return a.with(func(w *world) bool {
		w.Behaviour = b
		return true
	})
}

// addFlow opens a flow of a scenario; that it can't be opened is the scenario's mistake.
func (w *world) addFlow(f flow) *flow {
	if f.Protocol == "" {
		f.Protocol = "tcp"
	}
	if f.Every == 0 {
		f.Every = 10 * time.Second
	}
	if reason := f.open(w, w.Now); reason != "" {
		panic(fmt.Sprintf("rehearsal: flow %s: %s", f.Name, reason))
	}
	f.State, f.Since, f.Last, f.Next = flowUp, w.Now, w.Now, w.Now.Add(f.Every)
	w.Traffic = append(w.Traffic, &f)
	return &f
}

// tickFlows sends the beacons that are due and tries to open again what was cut. A beacon that is
// answered is no change worth writing: from the same saved state the same beacons are sent again.
func (w *world) tickFlows() (changed bool) {
	for _, f := range w.Traffic {
		for !f.Next.After(w.Now) {
			if f.State == flowUp {
				changed = f.beat(w, f.Next) || changed
			} else {
				f.retry(w, f.Next)
				changed = true
			}
		}
	}
	return changed
}

// beat sends one beacon and its answer. Without an answer often enough both ends give up.
func (f *flow) beat(w *world, at time.Time) (changed bool) {
	f.Next = at.Add(f.Every)
	reason := f.exchange(w, at, false)
	if reason == "" {
		changed = f.Missed > 0
		f.Last, f.Missed, f.Reason = at, 0, ""
		return changed
	}
	if f.Missed++; f.Missed == 1 {
		f.Reason = reason
	}
	if f.Missed >= flowGivesUp {
		f.State, f.Since, f.Tracks, f.Refused = flowCut, at, nil, 0
		f.Cuts++
		f.Next = at.Add(flowComeback)
	}
	return true
}

// retry opens the flow anew, where it can be: a new connection, from another port, that the groups must allow.
func (f *flow) retry(w *world, at time.Time) {
	if f.Opener.Port != 0 {
		f.Opener.Port = firstPort + (f.Opener.Port-firstPort+1)%ports
	}
	if n := w.EC2.Interfaces[f.Opener.Interface]; n != nil && f.Opener.Addr.Is6() && len(n.IPv6) > 0 && !slices.Contains(n.IPv6, f.Opener.Addr.String()) {
		f.Opener.Addr = netip.MustParseAddr(n.IPv6[0]) // whatever the host has now
	}
	if reason := f.open(w, at); reason != "" {
		f.Tracks = nil
		f.Refused++
		f.Next = at.Add(flowComeback)
		return
	}
	f.State, f.Since, f.Last, f.Next = flowUp, at, at, at.Add(f.Every)
	f.Missed, f.Reason, f.Refused = 0, "", 0
}

// open finds the flow's path and sends the first packets.
func (f *flow) open(w *world, at time.Time) (reason string) {
	f.Tracks = nil
	if reason := f.findPath(w); reason != "" {
		return reason
	}
	return f.exchange(w, at, true)
}

// exchange is a packet from the opener and one back.
func (f *flow) exchange(w *world, at time.Time, opening bool) (reason string) {
	if reason := f.drained(w); reason != "" {
		return reason
	}
	if reason := w.carry(f, f.Opener, f.Responder, at, opening); reason != "" {
		return reason
	}
	return w.carry(f, f.Responder, f.Opener, at, false)
}

// blocked is what stops a packet of the flow that is sent now; empty where it passes. Nobody remembers it.
func (f *flow) blocked(w *world) string {
	probe := *f
	probe.probing, probe.Tracks = true, maps.Clone(f.Tracks)
	return probe.exchange(w, w.Now, false)
}

// drained: a load balancer closes its connections to a target that is registered no more. While
// the target drains they go on ("Deregistration delay", Application Load Balancers).
func (f *flow) drained(w *world) string {
	if f.Target == "" {
		return ""
	}
	g := w.ELB.targetGroup(f.Target)
	n := w.EC2.Interfaces[f.Responder.Interface]
	if g == nil || n == nil {
		return "the load balancer's target is gone"
	}
	for _, t := range g.Targets {
		if n.Attachment != nil && g.instanceOf(w, t) == n.Attachment.Instance && t.Port == int32(f.Responder.Port) {
			return ""
		}
	}
	return "deregistered from target group " + g.Name
}

// inside is the interface in the account by which the flow has its path: the opener's,
// or the responder's where it was opened from outside.
func (f *flow) inside() (local, far endpoint) {
	if f.Opener.Interface == "" || f.Path == pathLoadBalancer {
		return f.Responder, f.Opener
	}
	return f.Opener, f.Responder
}
