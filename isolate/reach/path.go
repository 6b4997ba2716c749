package reach

import (
	"net/netip"
)

// Kind is how a path leaves, or reaches, an interface.
type Kind string

const (
	// InternetGateway: IPv4 behind a public address, or IPv6.
	InternetGateway Kind = "internet-gateway"
	// EgressOnly: IPv6 through an egress-only Internet gateway.
	EgressOnly Kind = "egress-only-gateway"
	NAT        Kind = "nat-gateway"
	// TransitGateway, Peering, VPN: other networks.
	TransitGateway Kind = "transit-gateway"
	Peering        Kind = "peering"
	VPN            Kind = "vpn-gateway"
	// Endpoint: an interface endpoint (PrivateLink); GatewayEndpoint: S3 or DynamoDB by route.
	Endpoint        Kind = "endpoint"
	GatewayEndpoint Kind = "gateway-endpoint"
	// Appliance: a route to an interface or to a Gateway Load Balancer endpoint.
	Appliance Kind = "appliance"
	// OtherSubnet and SameSubnet: neighbours in the VPC, load balancers among them.
	OtherSubnet Kind = "other-subnet"
	SameSubnet  Kind = "same-subnet"
	// Service: the VPC resolver, the metadata service, the time service. Neither
	// groups nor ACLs filter them (aws-facts: "Network isolation").
	Service Kind = "service"
	// Unknown: a route to something this package does not know (Local Gateway,
	// Cloud WAN core network, …): never left out, never called cut.
	Unknown Kind = "unknown"
)

// Path is one way between an interface and one kind of far end.
type Path struct {
	Interface string `json:"interface"` // eni-…
	Device    int32  `json:"device_index"`
	Kind      Kind   `json:"kind"`
	// Via is what it passes: a gateway's or endpoint's ID, a subnet's for
	// SameSubnet and OtherSubnet (the ACL's, where several subnets share one: what
	// passes is the same for all of them), the service's name for Service.
	Via string `json:"via"`
	// To are the routed destinations: CIDR blocks and prefix lists, with commas.
	To string `json:"to,omitempty"`
	// Local are the interface's own addresses on this path, as the far end's edge
	// sees them: private IPv4, or IPv6.
	Local []netip.Addr `json:"local,omitempty"`
	// Delegated are the prefixes that AWS has given to the interface whole: every
	// address in them is the instance's own.
	Delegated []netip.Prefix `json:"delegated,omitempty"`
	// Public is the public IPv4 address in front of Local; zero for none.
	Public netip.Addr `json:"public,omitzero"`
	// Edges are the subnets at the far end whose ACLs this path crosses with the
	// instance as the remote side. Empty: no ACL can single the instance out.
	Edges []Edge `json:"edges,omitempty"`
	// In and Out say whether a new connection can be opened towards, and from, the
	// instance as things are.
	In  Verdict `json:"in"`
	Out Verdict `json:"out"`
	// Tracked: flows open before a change of groups live on after it, or may.
	// False only where AWS documents that every flow of the path is untracked.
	Tracked bool `json:"tracked"`
	// Note is what else is known of the far end: the load balancers in it.
	Note string `json:"note,omitempty"`
}

// Edge is a subnet at the far end and its ACL.
type Edge struct {
	Subnet string `json:"subnet"`
	ACL    string `json:"acl"`
}

// Verdict is whether packets of a direction can pass, and what decides.
type Verdict struct {
	Open   bool   `json:"open"`
	Reason string `json:"reason"` // what lets them pass, or the first thing that stops them
}

// Measure is a way to cut paths, from narrow to wide.
type Measure string

const (
	// Groups: the isolation group on every interface. Always taken. Cuts new
	// connections of every path, and untracked flows.
	Groups Measure = "groups"
	// Timeouts: idle timers of tracked connections lowered to AWS's minimum.
	Timeouts Measure = "timeouts"
	// Addresses: public IPv4 and IPv6 addresses taken off, for InternetGateway and EgressOnly.
	Addresses Measure = "addresses"
	// EdgeACL: the instance denied, both ways, in the ACLs of the far end's subnets.
	EdgeACL Measure = "edge-acl"
	// RemoteACL: addresses of the attacker denied on the instance's own subnet. Only
	// with addresses given.
	RemoteACL Measure = "remote-acl"
	// SubnetACL: everything denied on the instance's own subnet, neighbours
	// included. Only when asked for by name.
	SubnetACL Measure = "subnet-acl"
)

// Choice is what becomes of one path.
type Choice struct {
	Path Path `json:"path"`
	// Measures that bear on the path, Groups first.
	Measures []Measure `json:"measures,omitempty"`
	// Cut: connections that are open now end too. False: they live on until idle
	// for the interface's timeout. It is what AWS documents, or Reason says that it does not.
	Cut bool `json:"cut"`
	// Allowed: left open on purpose, by the allow-list.
	Allowed bool `json:"allowed,omitempty"`
	// Reason: why it is not cut, why a narrower measure was not to be had (a full
	// ACL, another account's), or what AWS does not document.
	Reason string `json:"reason,omitempty"`
	// Seen is what AWS shows after the cut that proves it; empty before.
	Seen string `json:"seen,omitempty"`
}

// Deny is one pair of ACL entries, in and out.
type Deny struct {
	ACL    string
	Prefix netip.Prefix // /32 or /128 of the instance; of an attacker for RemoteACL; 0.0.0.0/0 and ::/0 for SubnetACL
}

// Address is one that is taken off an interface: a public IPv4 address, or an IPv6
// address or delegated IPv6 prefix.
type Address struct {
	Interface string
	// Public is a public IPv4 address, and Private the one behind it. Both are zero
	// for IPv6.
	Public, Private netip.Addr
	// Automatic: AWS gave the public address at launch, and takes it for good. An
	// Elastic IP can be associated again; an interface that was launched with an
	// automatic address gets a new one when its Elastic IP goes, so that
	// AssociatePublicIpAddress has to be turned off as well.
	Automatic bool
	// IPv6 is a single address (/128) or a delegated prefix.
	IPv6 netip.Prefix
}

// Decision is what isolate.network shall do about the paths.
type Decision struct {
	Choices []Choice
	Denies  map[Measure][]Deny // EdgeACL, RemoteACL, SubnetACL
	// Addresses that go; what the allow-list needs, and a primary IPv6 address, stays.
	Addresses []Address
	// Timeouts: the interfaces whose idle timers are lowered.
	Timeouts []string
	// Irreversible: an address goes that can't be had back; which, in words.
	Irreversible []string
	// Neighbours that SubnetACL hits: other interfaces of the subnet, in words.
	Neighbours []string
	Notes      []string
}
