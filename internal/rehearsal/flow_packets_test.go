package rehearsal

import (
	"slices"
	"testing"
	"time"
)

// A flow log shows what its interface saw: behind a deny at the far edge the instance's
// own records still say ACCEPT.
func TestFlowLogsShowWhatEachInterfaceSaw(t *testing.T) {
	s := newSiege(t)
	s.logged(nil)
	private, public := s.nic(2), s.nic(0)
	var gateway, neighbour *networkInterface
	s.world(func(w *world) {
		for _, g := range w.EC2.NATs {
			gateway = w.EC2.Interfaces[g.Interface]
		}
		for _, f := range w.Traffic {
			if f.Name == "pivot-same-subnet" {
				neighbour = w.EC2.Interfaces[f.Responder.Interface]
			}
		}
	})
	s.deny("nat", *private.PrivateIpAddress+"/32", false)
	s.setGroups(s.isolationGroup())
	s.pass(12 * time.Minute)
	if f := s.flows()["shell-nat"]; f.State != "cut" {
		t.Errorf("shell-nat is %s", f.State)
	}
	for _, test := range []struct {
		name, eni, src, dst string
		accepted, seen      bool
	}{
		{"out of the instance", *private.NetworkInterfaceId, *private.PrivateIpAddress, shellServer, true, true},
		{"stopped before the gateway", gateway.ID, *private.PrivateIpAddress, shellServer, false, true},
		{"never through the gateway", gateway.ID, gateway.IPs[0], shellServer, false, false},
		{"a new connection from outside", *public.NetworkInterfaceId, shellServer, *public.PrivateIpAddress, false, true},
		{"the session on the neighbour, at its end", neighbour.ID, *private.PrivateIpAddress, neighbour.IPs[0], true, true},
		{"the session on the neighbour, coming back", *private.NetworkInterfaceId, neighbour.IPs[0], *private.PrivateIpAddress, true, true},
		{"the neighbours' way through the gateway", gateway.ID, gateway.IPs[0], "203.0.113.10", true, true},
	} {
		s.world(func(w *world) {
			got := slices.ContainsFunc(w.Flows.Records, func(r *flowRecord) bool {
				return r.Interface == test.eni && r.From.Addr().String() == test.src && r.To.Addr().String() == test.dst && r.Accepted == test.accepted
			})
			if got != test.seen {
				t.Errorf("%s: %s to %s, accepted %t, seen at %s: %t", test.name, test.src, test.dst, test.accepted, test.eni, got)
			}
		})
	}
}
