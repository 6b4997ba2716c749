package triage

// Report is what is known of one instance before anything is done to it. Its JSON
// is that of cordon triage (docs/cli.md).
type Report struct {
	Instance
	Queue          string `json:"queue,omitempty"` // by the tags that Names names
	Classification string `json:"classification,omitempty"`
	Criticality    string `json:"criticality,omitempty"`
	Environment    string `json:"environment,omitempty"`

	Impact Impact   `json:"impact"`
	Breaks []string `json:"breaks,omitempty"` // what cutting the instance off does to others, in words

	Paths      []Path        `json:"paths,omitempty"`      // to and from what lies outside the VPC
	Rules      []Rule        `json:"open_rules,omitempty"` // that let something in
	Balancers  []Balancer    `json:"load_balancers,omitempty"`
	Scaling    *Scaling      `json:"auto_scaling,omitempty"` // nil: in no group
	Role       *Role         `json:"role,omitempty"`         // nil: none, or not known (Unread)
	Neighbours []Neighbours  `json:"neighbours,omitempty"`   // of each of its subnets
	Routes     []RoutedThere `json:"routes_through,omitempty"`
	// Unread is what could not be read, and is not judged.
	Unread []string `json:"unread,omitempty"`
}

// Path is a way to or from something outside the VPC, and whether a new
// connection can be opened in each direction, with what decides.
type Path struct {
	Path      string `json:"path"`
	Kind      string `json:"kind"` // internet-gateway, nat-gateway, transit-gateway, …
	In        bool   `json:"in"`
	InReason  string `json:"in_reason"`
	Out       bool   `json:"out"`
	OutReason string `json:"out_reason"`
}

// Rule is an ingress rule of a security group of the instance, for one source.
type Rule struct {
	Group    string `json:"group"` // ID, and name in parentheses
	Protocol string `json:"protocol"`
	From     int32  `json:"from_port"` // -1: every port, or the protocol has none
	To       int32  `json:"to_port"`
	Source   string `json:"source"` // CIDR, group or prefix list
	// Internet: the source holds public addresses, and an interface with this group is reached through an
	// Internet gateway. A network ACL may still stop the port.
	Internet bool `json:"internet"`
}

// Balancer is a target group or classic load balancer that the instance is registered with.
type Balancer struct {
	Kind     string   `json:"kind"` // target-group, classic
	Name     string   `json:"name"`
	Balances []string `json:"load_balancers,omitempty"` // of a target group
	Public   bool     `json:"internet_facing"`
	State    string   `json:"state"`        // the instance's, as AWS has it
	Healthy  int      `json:"healthy_left"` // targets, without the instance
	Others   int      `json:"others"`       // targets, without the instance
}

// Scaling is the instance's Auto Scaling group.
type Scaling struct {
	Group     string   `json:"group"`
	State     string   `json:"lifecycle_state"`
	Desired   int32    `json:"desired"`
	Min       int32    `json:"min"`
	Max       int32    `json:"max"`
	Obstacles []string `json:"obstacles,omitempty"` // why no replacement would launch
	Notes     []string `json:"notes,omitempty"`
	Unchecked []string `json:"unchecked,omitempty"`
}

// Role is whose credentials the instance hands out.
type Role struct {
	Name     string   `json:"name"`
	ARN      string   `json:"arn"`
	Profile  string   `json:"profile"` // ARN
	Policies []string `json:"policies,omitempty"`
	Shared   []string `json:"shared_with,omitempty"` // other instances of this account and Region
}

// Neighbours are the other instances in a subnet.
type Neighbours struct {
	Subnet    string   `json:"subnet"`
	Instances []string `json:"instances"`
}

// RoutedThere is a route that leads through the instance.
type RoutedThere struct {
	Table       string   `json:"route_table"`
	Destination string   `json:"destination"`
	Subnets     []string `json:"subnets,omitempty"` // that use the table; none: it is a VPC's main one, or unused
}

// Impact is an estimate of how much depends on the instance, and how far whoever has it gets.
type Impact struct {
	Level   string   `json:"level"` // low, medium, high, critical
	Points  int      `json:"points"`
	Reasons []Reason `json:"reasons"` // every point, and what counts for nothing but should be known
}

// Reason is what some points are for.
type Reason struct {
	Points int    `json:"points"`
	Kind   string `json:"kind"` // service, information, reach
	Text   string `json:"text"`
}
