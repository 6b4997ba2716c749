package rehearsal

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// FlowOverview is one connection as it is now.
type FlowOverview struct {
	Name string `json:"name"`
	// Of is suspect where one end is the suspected instance, neighbour otherwise.
	Of       string `json:"of"`
	Intruder bool   `json:"intruder,omitempty"` // a shell, a tunnel
	// Path is the kind of path as it was opened: internet-gateway, egress-only-gateway, nat-gateway,
	// transit-gateway, peering, vpn-gateway, endpoint, load-balancer, other-subnet, same-subnet, service. Via is
	// the gateway's or endpoint's ID, the other subnet's, or the service's name.
	Path      string `json:"path"`
	Via       string `json:"via"`
	Protocol  string `json:"protocol"`
	Interface string `json:"interface"`
	Local     string `json:"local"` // address and port
	Remote    string `json:"remote"`
	Inbound   bool   `json:"inbound,omitempty"` // opened by the far end
	// Tracked: Interface's groups let it pass although their rules would not any more.
	Tracked bool      `json:"tracked"`
	State   string    `json:"state"` // up or cut
	Since   time.Time `json:"since"` // in this state
	Last    time.Time `json:"last"`  // when a packet was answered last
	// Missed beacons in a row; the third in a row ends the flow.
	Missed int `json:"missed,omitempty"`
	// Reason is what stopped the first packet that was missed.
	Reason string `json:"reason,omitempty"`
	// Blocked is what stops a packet that is sent now; empty where it passes, or where the
	// flow is cut. Both ends take a while to notice.
	Blocked string `json:"blocked,omitempty"`
	Cuts    int    `json:"cuts,omitempty"` // so far: it may have been opened again
	// Refused counts the tries to open it again since it was cut.
	Refused int `json:"refused,omitempty"`
}

// Flows shows the connections of the scenario as they are now on the account's own clock.
func (a *Account) Flows() ([]FlowOverview, error) {
	var list []FlowOverview
	err := a.with(func(w *world) bool {
		changed := w.tick(a.clock.Now())
		for _, f := range w.Traffic {
			list = append(list, w.flowOverview(f))
		}
		return changed
	})
	return list, err
}

func (w *world) flowOverview(f *flow) FlowOverview {
	local, far := f.inside()
	o := FlowOverview{
		Name: f.Name, Of: "neighbour", Intruder: f.Intruder, Path: string(f.Path), Via: f.Via, Protocol: f.Protocol, Interface: local.Interface,
		Local: local.String(), Remote: far.String(), Inbound: local == f.Responder, Tracked: f.Tracks[local.Interface].Tracked,
		State: string(f.State), Since: f.Since, Last: f.Last, Missed: f.Missed, Reason: f.Reason, Cuts: f.Cuts, Refused: f.Refused,
	}
	if f.State == flowUp {
		o.Blocked = f.blocked(w)
	}
	for _, e := range []endpoint{local, far} {
		if n := w.EC2.Interfaces[e.Interface]; n != nil && n.Attachment != nil && n.Attachment.Instance == w.Suspect {
			o.Of = "suspect"
		}
	}
	return o
}

func (e endpoint) String() string {
	if e.Port == 0 {
		return e.Addr.String()
	}
	if e.Addr.Is4() {
		return fmt.Sprintf("%s:%d", e.Addr, e.Port)
	}
	return fmt.Sprintf("[%s]:%d", e.Addr, e.Port)
}

func (o Overview) writeFlows(to io.Writer) {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, f := range o.Flows {
		state := f.State + " since " + f.Since.Format(time.TimeOnly)
		switch {
		case f.State == string(flowCut):
			state += ": " + f.Reason
		case f.Blocked != "":
			state += ", nothing passes now: " + f.Blocked
		case f.Cuts > 0:
			state += fmt.Sprintf(", cut %d times before", f.Cuts)
		}
		fmt.Fprintf(t, "  flow %s\t%s\t%s\t%s\n", f.Name, f.Of, f.Path, state)
	}
	_ = t.Flush() // into memory: can't fail
}
