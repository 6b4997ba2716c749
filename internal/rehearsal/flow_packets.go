package rehearsal

import (
	"net/netip"
	"time"
)

// packet is what an interface saw of a flow: one packet on its way out or in, and whether the
// groups of the interface and the ACL of its subnet let it pass. A packet that an
// ACL further on drops was accepted here, as AWS's flow logs have it ("Flow log
// records", VPC User Guide).
type packet struct {
	At        time.Time
	Flow      string // name
	Interface string
	Egress    bool // it leaves the interface
	// Src and Dst are the packet's at this interface: in front of a NAT gateway the
	// instance's, behind it the gateway's.
	Src, Dst netip.AddrPort
	Protocol int32 // IANA number
	Bytes    int64
	Accepted bool
}

// beaconBytes is the size of every packet here.
const beaconBytes = 120

func (j *journey) record(n *networkInterface, egress, accepted bool) {
	if j.f.probing {
		return
	}
	j.w.observed(packet{
		At: j.at, Flow: j.f.Name, Interface: n.ID, Egress: egress, Src: j.src, Dst: j.dst,
		Protocol: j.protocol(), Bytes: beaconBytes, Accepted: accepted,
	})
}
