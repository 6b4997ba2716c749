package proof

// Model is a room as far as something can pass into it or out of it. Names are
// AWS's IDs in a room that is there, and logical names in a template.
type Model struct {
	Account, Region string
	VPC             string
	CIDRs           []string // of the VPC, its own first, IPv6 too
	Subnets         []Subnet
	Routes          []Route
	Gateways        []Gateway
	Groups          []Group
	ACLs            []ACL
	Interfaces      []Interface
	Instances       []Instance
	Endpoints       []Endpoint
	Roles           []Role
	DNS             DNS
	// PrefixLists are the names of those that rules mention, by ID.
	PrefixLists map[string]string
	// Unknown is what the reader does not know, or could not read.
	Unknown []Unknown
}

// Unknown is something that can't be proven to let nothing pass.
type Unknown struct{ Resource, Reason string }

// Subnet: what is launched in it may get addresses by itself.
type Subnet struct {
	ID       string
	PublicIP bool // MapPublicIpOnLaunch
	IPv6     bool // AssignIpv6AddressOnCreation
}

// Route of one of the VPC's tables. Via is empty for the VPC's own.
type Route struct{ Table, To, Via string }

// Gateway is anything that connects the VPC with something else, or could.
type Gateway struct{ ID, Kind string }

// Group is a security group of the VPC.
type Group struct {
	ID      string
	In, Out []Rule
}

// Rule of a security group. Peer is a CIDR block, a group or a prefix list.
type Rule struct{ Ports, Peer string }

// ACL is a network ACL. A subnet without one of its own has the VPC's default one.
type ACL struct {
	ID      string
	Subnets []string
	Entries []ACLEntry
}

// ACLEntry allows or denies. Peer is a CIDR block.
type ACLEntry struct {
	Number      int
	Allow, Out  bool
	Ports, Peer string
}

func (e ACLEntry) String() string {
	action, way, to := "denies", "in", " from "
	if e.Allow {
		action = "allows"
	}
	if e.Out {
		way, to = "out", " to "
	}
	return action + " " + way + " " + e.Ports + to + e.Peer
}

// Interface is a network interface in the VPC, or of one of the room's instances.
type Interface struct {
	ID       string
	Instance string // empty: of none
	Index    string // of the attachment: "0" is the primary one
	Endpoint bool   // an endpoint's own
	Foreign  string // the VPC, where it is another one
	Owner    string // the account, where it is another one: the subnet is shared with it
	Groups   []string
	Public   []string // addresses that the Internet knows
	IPv6     []string
	About    string // AWS's description
}

// Instance in the VPC.
type Instance struct {
	ID string
	// Ours: the template's own. Any other is a stranger in the room.
	Ours    bool
	Profile string // instance profile; empty: none
	Role    string // ARN of the profile's role
}

// Endpoint of the VPC.
type Endpoint struct {
	ID      string
	Service string // com.amazonaws.REGION.s3, or the ARN of what it leads to where that is no service
	Type    string
	Policy  string // JSON; empty: everything is allowed
	Groups  []string
	// Interfaces are those that it has in the network; a template does not name them.
	Interfaces []string
}

// Role that an instance of the room has.
type Role struct {
	ARN      string
	Name     string
	Trust    string            // JSON
	Inline   map[string]string // policy documents by name, JSON
	Attached []string          // ARNs of managed policies
	Boundary string
}

// DNS is what the VPC's resolver does with a query.
type DNS struct {
	// Off: the VPC has no resolver.
	Off bool
	// Rules of the DNS firewall, in the order in which they are asked; none: no firewall.
	Rules []DNSRule
	// FailOpen: a query passes while the firewall does not answer.
	FailOpen bool
	// Forwards are resolver rules that send queries elsewhere.
	Forwards []string
}

// DNSRule of a DNS firewall.
type DNSRule struct {
	Group   string
	Action  string // ALLOW, BLOCK, ALERT
	Domains []string
}

// role finds a role by its ARN.
func (m *Model) role(arn string) (Role, bool) {
	for _, r := range m.Roles {
		if r.ARN == arn {
			return r, true
		}
	}
	return Role{}, false
}
