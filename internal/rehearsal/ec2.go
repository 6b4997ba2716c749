package rehearsal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// ec2State is everything that EC2 and EBS keep, by resource ID. A fact is kept
// once: an interface knows its instance, a volume its attachment; what an
// instance shows of them is put together when it is described.
type ec2State struct {
	Instances    map[string]*instance           `json:"instances"`
	Interfaces   map[string]*networkInterface   `json:"interfaces"`
	Groups       map[string]*securityGroup      `json:"groups"`
	VPCs         map[string]*vpc                `json:"vpcs"`
	Subnets      map[string]*subnet             `json:"subnets"`
	RouteTables  map[string]*routeTable         `json:"route_tables"`
	Gateways     map[string]*internetGateway    `json:"gateways"`
	NATs         map[string]*natGateway         `json:"nats"`
	Endpoints    map[string]*vpcEndpoint        `json:"endpoints"`
	Transits     map[string]*transitGateway     `json:"transit_gateways"`
	Attachments  map[string]*transitAttachment  `json:"transit_attachments"`
	Peerings     map[string]*peering            `json:"peerings"`
	VPNs         map[string]*vpnGateway         `json:"vpn_gateways"`
	EgressOnly   map[string]*egressGateway      `json:"egress_only_gateways"`
	ACLs         map[string]*networkACL         `json:"acls"`
	Addresses    map[string]*address            `json:"addresses"`
	Volumes      map[string]*volume             `json:"volumes"`
	Snapshots    map[string]*snapshot           `json:"snapshots"`
	Images       map[string]*image              `json:"images"`
	StoreTasks   []*storeTask                   `json:"store_tasks,omitempty"` // in the order in which they began
	Associations map[string]*profileAssociation `json:"profile_associations"`
	Keys         map[string]*keyPair            `json:"keys"`
	FlowLogs     map[string]*flowLog            `json:"flow_logs,omitempty"`
	Insights     insightsState                  `json:"insights"`
	Tags         map[string]map[string]tag      `json:"tags"` // by resource ID, then key
	Tokens       map[string]clientToken         `json:"tokens"`
	PublicIPs    int                            `json:"public_ips"` // handed out so far
	// IndexLag is how long after a tag was set a filter by it may miss the
	// resource: the index behind the Describe calls is eventually consistent
	// (EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API").
	IndexLag time.Duration `json:"index_lag"`
	// EncryptByDefault and DefaultKey are the Region's EBS settings.
	EncryptByDefault bool `json:"encrypt_by_default"`
	// Offered are the zones of what is not to be had in all of them: Account.Offer.
	Offered map[string][]string `json:"offered,omitempty"`
}

func newEC2State() ec2State {
	return ec2State{
		Instances: make(map[string]*instance), Interfaces: make(map[string]*networkInterface),
		Groups: make(map[string]*securityGroup), VPCs: make(map[string]*vpc), Subnets: make(map[string]*subnet),
		RouteTables: make(map[string]*routeTable), Gateways: make(map[string]*internetGateway),
		NATs: make(map[string]*natGateway), Endpoints: make(map[string]*vpcEndpoint), ACLs: make(map[string]*networkACL),
		Transits: make(map[string]*transitGateway), Attachments: make(map[string]*transitAttachment),
		Peerings: make(map[string]*peering), VPNs: make(map[string]*vpnGateway), EgressOnly: make(map[string]*egressGateway),
		Addresses: make(map[string]*address), Volumes: make(map[string]*volume), Snapshots: make(map[string]*snapshot),
		Images: make(map[string]*image), Associations: make(map[string]*profileAssociation), Keys: make(map[string]*keyPair),
		Tags: make(map[string]map[string]tag), Tokens: make(map[string]clientToken),
		IndexLag: 5 * time.Second,
	}
}

// ec2 registers EC2. API_X in a handler's comment is the page
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_X.html.
func (ops operations) ec2() {
	ops.ec2Instances()
	ops.ec2Attributes()
	ops.ec2Interfaces()
	ops.ec2Network()
	ops.ec2Groups()
	ops.ec2ACLs()
	ops.ec2Addresses()
	ops.ec2Volumes()
	ops.ec2Snapshots()
	ops.ec2Images()
	ops.ec2StoreImages()
	ops.ec2Tags()
	ops.ec2Profiles()
	ops.ec2Console()
	ops.ec2Catalogue()
	ops.ec2FlowLogs()
	ops.ec2Insights()
}

// ec2On registers a handler of EC2. What all of them share is done here:
// DryRun answers before anything else once the permission is there (API
// Reference, "Common query parameters").
func ec2On[I, O any](ops operations, handle func(*call, *I) (*O, error)) {
	on(ops, func(c *call, in *I) (*O, error) {
		if f := reflect.ValueOf(in).Elem().FieldByName("DryRun"); f.IsValid() && !f.IsNil() && f.Elem().Bool() {
			return nil, apiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
		}
		return handle(c, in)
	})
}

// tick lets time pass in EC2: what was on its way arrives.
func (s *ec2State) tick(w *world) bool {
	changed := s.tickInstances(w)
	changed = s.tickVolumes(w.Now) || changed
	changed = s.tickSnapshots(w.Now) || changed
	changed = s.tickImages() || changed
	changed = w.tickStoreTasks() || changed
	changed = w.tickSessions() || changed
	changed = s.tickGateways(w.Now) || changed
	return s.tickProfiles(w.Now) || changed
}

// call is a call that AWS itself makes (Auto Scaling, CloudFormation), or that
// a scenario makes while it builds: handlers can be called with it.
func (w *world) call(service string) *call {
	return &call{world: w, ctx: context.Background(), region: w.Region, service: service}
}

// ec2 is the state that the call can see. Every EC2 handler reaches its resources
// through it: what is in another Region does not exist for the call.
func (c *call) ec2() *ec2State {
	if c.region != c.Region {
		return new(newEC2State())
	}
	return &c.EC2
}

// here refuses to create what depends on no other resource in a Region that the
// simulated account does not have.
func (c *call) here() error {
	if c.region != c.Region {
		return apiError("UnsupportedOperation", fmt.Sprintf("The simulated account has one Region, %s.", c.Region))
	}
	return nil
}

func (c *call) arn(resource, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", c.region, c.Account, resource, id)
}

// clientToken remembers what a token has made ("Ensuring idempotency in Amazon
// EC2 API requests").
type clientToken struct {
	Sum      string `json:"sum"` // of the request's other parameters
	Resource string `json:"resource"`
}

// once gives what an earlier request with the same token made, and creates it
// where there was none. The same token with other parameters is an error.
func (s *ec2State) once(operation string, token *string, in any, create func() (resource string, err error)) (string, error) {
	if token == nil {
		return create()
	}
	key, sum := operation+" "+*token, sumOfRequest(in)
	if t, ok := s.Tokens[key]; ok {
		if t.Sum != sum {
			return "", apiError("IdempotentParameterMismatch", "The request uses the same client token as a previous, but non-identical request.")
		}
		return t.Resource, nil
	}
	made, err := create()
	if err == nil {
		s.Tokens[key] = clientToken{Sum: sum, Resource: made}
	}
	return made, err
}

func sumOfRequest(in any) string {
	b, err := json.Marshal(in)
	if err != nil {
		panic("rehearsal: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// inOrder gives the values by key: answers come in the same order every time.
func inOrder[K cmp.Ordered, V any](m map[K]V) []V {
	values := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}
