package proof

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gatewayTypes connect a VPC with something else, or are one side of it.
var gatewayTypes = map[string]string{
	"AWS::EC2::InternetGateway":                           "an Internet gateway",
	"AWS::EC2::VPCGatewayAttachment":                      "a gateway is attached",
	"AWS::EC2::EgressOnlyInternetGateway":                 "an egress-only Internet gateway",
	"AWS::EC2::NatGateway":                                "a NAT gateway",
	"AWS::EC2::CarrierGateway":                            "a carrier gateway",
	"AWS::EC2::VPCPeeringConnection":                      "a peering with another network",
	"AWS::EC2::TransitGatewayAttachment":                  "an attachment to a transit gateway",
	"AWS::EC2::TransitGatewayVpcAttachment":               "an attachment to a transit gateway",
	"AWS::EC2::VPNGateway":                                "a virtual private gateway",
	"AWS::EC2::VPNConnection":                             "a VPN connection",
	"AWS::EC2::ClientVpnEndpoint":                         "a client VPN endpoint",
	"AWS::EC2::EIP":                                       "a public address",
	"AWS::EC2::EIPAssociation":                            "a public address is associated",
	"AWS::Route53Resolver::ResolverRule":                  "a rule by which the resolver forwards queries",
	"AWS::Route53Resolver::ResolverEndpoint":              "an endpoint of the resolver, by which queries come and go",
	"AWS::EC2::LocalGatewayRouteTableVPCAssociation":      "an association with the local gateway of an Outpost",
	"AWS::EC2::InstanceConnectEndpoint":                   "an EC2 Instance Connect endpoint, by which somebody comes in",
	"AWS::EC2::ClientVpnTargetNetworkAssociation":         "a client VPN endpoint",
	"AWS::EC2::VerifiedAccessEndpoint":                    "a Verified Access endpoint, by which somebody comes in",
	"AWS::EC2::RouteServerAssociation":                    "a route server, which changes routes",
	"AWS::EC2::RouteServerEndpoint":                       "a route server, which changes routes",
	"AWS::EC2::TrafficMirrorSession":                      "a mirror of an interface's traffic",
	"AWS::EC2::TransitGatewayConnect":                     "an attachment to a transit gateway",
	"AWS::EC2::VPCEndpointService":                        "an endpoint service, by which other networks come in",
	"AWS::EC2::SubnetCidrBlock":                           "another address block",
	"AWS::NetworkManager::VpcAttachment":                  "an attachment to a core network of Cloud WAN",
	"AWS::DirectConnect::DirectConnectGatewayAssociation": "an association with a Direct Connect gateway",
	"AWS::RAM::ResourceShare":                             "something is shared with other accounts",
	"AWS::Route53Profiles::ProfileAssociation":            "a Route 53 Profile, which changes what names are answered",
	"AWS::VpcLattice::ServiceNetworkVpcAssociation":       "an association with a VPC Lattice service network",
	"AWS::VpcLattice::ResourceGateway":                    "a resource gateway of VPC Lattice, by which other networks come in",
}

// silentTypes carry nothing in or out: they keep records, or hold what other types are judged by.
var silentTypes = []string{
	"AWS::EC2::FlowLog", "AWS::EC2::Volume", "AWS::EC2::VolumeAttachment", "AWS::EC2::SubnetRouteTableAssociation",
	"AWS::IAM::InstanceProfile", "AWS::Logs::LogGroup", "AWS::Logs::LogStream", "AWS::Logs::ResourcePolicy", "AWS::SSM::Document",
	"AWS::Route53Resolver::FirewallDomainList", "AWS::Route53Resolver::FirewallRuleGroup", "AWS::Route53Resolver::ResolverQueryLoggingConfig",
	"AWS::Route53Resolver::ResolverQueryLoggingConfigAssociation",
}

// resource adds one to the model. A type that is not known can't be proven to let nothing pass.
func (r *templateReader) resource(name, kind string, p properties) {
	if vpc := p.text("VpcId"); vpc != "" && r.kindOf(vpc) != "AWS::EC2::VPC" {
		r.unknown(name, "it is in another network, "+vpc)
	}
	switch kind {
	case "AWS::EC2::VPC":
		r.vpc(name, p)
	case "AWS::EC2::VPCCidrBlock":
		r.more = append(r.more, cmp.Or(p.text("CidrBlock"), p.text("Ipv6CidrBlock"), "that AWS gives"))
	case "AWS::EC2::Subnet":
		r.m.Subnets = append(r.m.Subnets, Subnet{ID: name, PublicIP: p.flag("MapPublicIpOnLaunch"), IPv6: p.flag("AssignIpv6AddressOnCreation")})
	case "AWS::EC2::RouteTable":
		r.m.Routes = append(r.m.Routes, Route{Table: name, To: "the network"})
	case "AWS::EC2::Route":
		r.route(p)
	case "AWS::EC2::SecurityGroup":
		r.group(name, p)
	case "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress":
		if r.kindOf(p.text("GroupId")) != "AWS::EC2::SecurityGroup" {
			r.unknown(name, "a rule of a security group that is not in the template")
		}
	case "AWS::EC2::VPCEndpoint":
		r.endpoint(name, p)
	case "AWS::EC2::NetworkAcl":
		r.acl(name)
	case "AWS::EC2::NetworkAclEntry", "AWS::EC2::SubnetNetworkAclAssociation":
		if r.kindOf(p.text("NetworkAclId")) != "AWS::EC2::NetworkAcl" {
			r.unknown(name, "of a network ACL that is not in the template")
		}
	case "AWS::EC2::NetworkInterface":
		r.m.Interfaces = append(r.m.Interfaces, r.networkInterface(name, "", p))
	case "AWS::EC2::NetworkInterfaceAttachment":
		r.m.Interfaces = append(r.m.Interfaces, Interface{ID: name, Instance: p.text("InstanceId"), Index: p.text("DeviceIndex"), Groups: r.groupsOf(p.text("NetworkInterfaceId"))})
	case "AWS::EC2::Instance":
		r.instance(name, p)
	case "AWS::IAM::Role":
		r.role(name, p)
	case "AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy":
		r.rolePolicy(name, p)
	case "AWS::Route53Resolver::FirewallRuleGroupAssociation":
		r.firewall(name, p)
	case "AWS::Route53Resolver::ResolverRuleAssociation":
		r.m.DNS.Forwards = append(r.m.DNS.Forwards, name)
	default:
		if what, ok := gatewayTypes[kind]; ok {
			r.m.Gateways = append(r.m.Gateways, Gateway{ID: name, Kind: what})
		} else if !slices.Contains(silentTypes, kind) {
			r.unknown(name, "what a resource of type "+kind+" lets pass is not known")
		}
	}
}

func (r *templateReader) kindOf(name string) string {
	if _, there := r.read[name]; !there {
		return ""
	}
	return r.Resources[name].Type
}

// properties of a resource, resolved.
type properties map[string]any

func (p properties) text(key string) string {
	if p[key] == nil {
		return ""
	}
	return fmt.Sprint(p[key])
}

// flag: CloudFormation takes "true" for true.
func (p properties) flag(key string) bool { return p.text(key) == "true" }

func (p properties) list(key string) []string {
	switch v := p[key].(type) {
	case []any:
		return texts(v)
	case string:
		return []string{v}
	}
	return nil
}

// objects: what is there and is no list of objects comes back as empty ones, which no rule passes.
func (p properties) objects(key string) []properties {
	if p[key] == nil {
		return nil
	}
	list, ok := p[key].([]any)
	if !ok {
		list = []any{p[key]}
	}
	var all []properties
	for _, item := range list {
		m, _ := item.(map[string]any)
		all = append(all, m)
	}
	return all
}

// document is a policy as JSON.
func (p properties) document(key string) string {
	switch v := p[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return compactJSON(v)
	}
}

func (r *templateReader) vpc(name string, p properties) {
	if r.m.VPC != "" {
		r.unknown(name, "a second network")
		return
	}
	r.m.VPC = name
	if p.text("CidrBlock") == "" {
		r.unknown(name, "its addresses are not known before the launch")
	}
	r.m.CIDRs = append(r.m.CIDRs, p.text("CidrBlock"))
	r.m.DNS.Off = p["EnableDnsSupport"] != nil && !p.flag("EnableDnsSupport")
}

func (r *templateReader) route(p properties) {
	out := Route{Table: p.text("RouteTableId")}
	for key := range p {
		switch {
		case strings.HasPrefix(key, "Destination"):
			out.To = p.text(key)
		case key != "RouteTableId":
			out.Via = p.text(key)
		}
	}
	if out.Via == "" {
		out.Via = "nothing that the template names"
	}
	r.m.Routes = append(r.m.Routes, out)
}

// group: without an egress rule in the group's own properties it has the one that lets
// everything out (template reference, AWS::EC2::SecurityGroup). Rules that are
// resources of their own are added.
func (r *templateReader) group(name string, p properties) {
	g := Group{ID: name}
	for _, rule := range p.objects("SecurityGroupIngress") {
		g.In = append(g.In, rule.rule("Source"))
	}
	for _, rule := range p.objects("SecurityGroupEgress") {
		g.Out = append(g.Out, rule.rule("Destination"))
	}
	if len(g.Out) == 0 {
		g.Out = append(g.Out, Rule{Ports: "everything", Peer: "0.0.0.0/0"})
	}
	for _, other := range sorted(r.read) {
		rule := properties(r.read[other])
		if rule.text("GroupId") != name {
			continue
		}
		switch r.kindOf(other) {
		case "AWS::EC2::SecurityGroupIngress":
			g.In = append(g.In, rule.rule("Source"))
		case "AWS::EC2::SecurityGroupEgress":
			g.Out = append(g.Out, rule.rule("Destination"))
		}
	}
	r.m.Groups = append(r.m.Groups, g)
}

// rule has its peer under one of several keys; side is Source or Destination.
func (p properties) rule(side string) Rule {
	peer := "a peer that the template does not name"
	for _, key := range []string{"CidrIp", "CidrIpv6", side + "SecurityGroupId", side + "PrefixListId", side + "SecurityGroupName"} {
		if p.text(key) != "" {
			peer = p.text(key)
		}
	}
	return Rule{Ports: ports(p.text("IpProtocol"), p.text("FromPort"), p.text("ToPort")), Peer: peer}
}

// ports is how both readers write a rule's protocol and ports.
func ports(protocol, from, to string) string {
	switch {
	case protocol == "-1" || protocol == "":
		return "everything"
	case from == "" || from == "-1":
		return protocol
	case from == to:
		return protocol + " " + from
	}
	return protocol + " " + from + "-" + to
}

// acl has entries and subnets that are resources of their own.
func (r *templateReader) acl(name string) {
	a := ACL{ID: name}
	for _, other := range sorted(r.read) {
		p := properties(r.read[other])
		if p.text("NetworkAclId") != name {
			continue
		}
		switch r.kindOf(other) {
		case "AWS::EC2::SubnetNetworkAclAssociation":
			a.Subnets = append(a.Subnets, p.text("SubnetId"))
		case "AWS::EC2::NetworkAclEntry":
			span := properties{}
			if list := p.objects("PortRange"); len(list) == 1 {
				span = list[0]
			}
			a.Entries = append(a.Entries, ACLEntry{
				Number: number(p["RuleNumber"]), Allow: p.text("RuleAction") != "deny", Out: p.flag("Egress"),
				Ports: ports(protocol(p.text("Protocol")), span.text("From"), span.text("To")), Peer: p.text("CidrBlock") + p.text("Ipv6CidrBlock"),
			})
		}
	}
	r.m.ACLs = append(r.m.ACLs, a)
}

// protocol names those that have numbers in network ACLs.
func protocol(number string) string {
	switch number {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	}
	return number
}

func (r *templateReader) endpoint(name string, p properties) {
	e := Endpoint{ID: name, Service: cmp.Or(p.text("ServiceName"), p.text("ResourceConfigurationArn"), p.text("ServiceNetworkArn"), "what the template does not name"), Type: p.text("VpcEndpointType"), Policy: p.document("PolicyDocument"), Groups: p.list("SecurityGroupIds")}
	if e.Type == "" {
		e.Type = "Gateway"
	}
	if e.Type != "Gateway" {
		// EC2 puts the network's default group on it where none is named (API_CreateVpcEndpoint).
		if len(e.Groups) == 0 {
			e.Groups = []string{"the network's default group"}
		}
		e.Interfaces = []string{name + " (interface)"}
		r.m.Interfaces = append(r.m.Interfaces, Interface{ID: e.Interfaces[0], Endpoint: true, Groups: e.Groups})
	}
	r.m.Endpoints = append(r.m.Endpoints, e)
}

func (r *templateReader) instance(name string, p properties) {
	i := Instance{ID: name, Ours: true, Profile: p.text("IamInstanceProfile")}
	if p["LaunchTemplate"] != nil {
		r.unknown(name, "what its launch template adds is not known")
	}
	if i.Profile != "" {
		profile := properties(r.read[i.Profile])
		for _, role := range profile.list("Roles") {
			i.Role = r.arn(role)
		}
	}
	r.m.Instances = append(r.m.Instances, i)
	interfaces := p.objects("NetworkInterfaces")
	if len(interfaces) == 0 {
		interfaces = []properties{{
			"DeviceIndex": "0", "GroupSet": p["SecurityGroupIds"], "SubnetId": p["SubnetId"], "Ipv6AddressCount": p["Ipv6AddressCount"], "Ipv6Addresses": p["Ipv6Addresses"],
		}}
	}
	for n, own := range interfaces {
		out := r.networkInterface(fmt.Sprintf("%s (interface %d)", name, n), name, own)
		if id := own.text("NetworkInterfaceId"); id != "" {
			out.Groups = r.groupsOf(id)
		}
		r.m.Interfaces = append(r.m.Interfaces, out)
	}
}

func (r *templateReader) networkInterface(id, instance string, p properties) Interface {
	out := Interface{ID: id, Instance: instance, Index: p.text("DeviceIndex"), Groups: orDefault(p.list("GroupSet")), About: "an interface in the template"}
	if p.flag("AssociatePublicIpAddress") {
		out.Public = []string{"that it gets at launch"}
	}
	for _, key := range []string{"Ipv6AddressCount", "Ipv6Addresses", "Ipv6Prefixes", "Ipv6PrefixCount"} {
		if p[key] != nil && p.text(key) != "0" {
			out.IPv6 = []string{"that it gets at launch"}
		}
	}
	if subnet := p.text("SubnetId"); r.kindOf(subnet) != "AWS::EC2::Subnet" {
		out.Foreign = orNone(subnet)
	}
	return out
}

// orDefault: an interface without groups has the network's default one, which lets everything out.
func orDefault(groups []string) []string {
	if len(groups) == 0 {
		return []string{"the network's default group"}
	}
	return groups
}

func (r *templateReader) groupsOf(networkInterface string) []string {
	return orDefault(properties(r.read[networkInterface]).list("GroupSet"))
}

// role: only those of instances are judged, whatever else the template makes.
func (r *templateReader) role(name string, p properties) {
	if !slices.ContainsFunc(sorted(r.read), func(other string) bool {
		return r.kindOf(other) == "AWS::IAM::InstanceProfile" && slices.Contains(properties(r.read[other]).list("Roles"), name)
	}) {
		return
	}
	role := Role{
		ARN: r.arn(name), Name: name, Trust: p.document("AssumeRolePolicyDocument"), Boundary: p.text("PermissionsBoundary"),
		Attached: p.list("ManagedPolicyArns"), Inline: make(map[string]string),
	}
	for _, policy := range p.objects("Policies") {
		role.Inline[policy.text("PolicyName")] = policy.document("PolicyDocument")
	}
	for _, other := range sorted(r.read) {
		p := properties(r.read[other])
		kind := r.kindOf(other)
		if kind == "AWS::IAM::RolePolicy" && p.text("RoleName") == name || (kind == "AWS::IAM::Policy" || kind == "AWS::IAM::ManagedPolicy") && slices.Contains(p.list("Roles"), name) {
			role.Inline[cmp.Or(p.text("PolicyName"), other)] = p.document("PolicyDocument")
		}
	}
	r.m.Roles = append(r.m.Roles, role)
}

// rolePolicy: those of roles in the template are the roles' (role); any other is not looked through.
func (r *templateReader) rolePolicy(name string, p properties) {
	for _, role := range append(p.list("Roles"), p.list("RoleName")...) {
		if r.kindOf(role) != "AWS::IAM::Role" {
			r.unknown(name, "a policy of a role that is not in the template: "+role)
		}
	}
	if p["Users"] != nil || p["Groups"] != nil {
		r.unknown(name, "a policy of users or groups")
	}
}

// firewall adds the rules of a group that is associated with the room's network, lowest priority number first.
func (r *templateReader) firewall(name string, p properties) {
	group := p.text("FirewallRuleGroupId")
	if r.kindOf(group) != "AWS::Route53Resolver::FirewallRuleGroup" {
		r.unknown(name, "a DNS firewall rule group that is not in the template")
		return
	}
	if len(r.m.DNS.Rules) > 0 {
		r.unknown(name, "a second DNS firewall rule group: which is asked first is not worked out")
		return
	}
	rules := properties(r.read[group]).objects("FirewallRules")
	slices.SortStableFunc(rules, func(a, b properties) int { return number(a["Priority"]) - number(b["Priority"]) })
	for _, rule := range rules {
		list := rule.text("FirewallDomainListId")
		if r.kindOf(list) != "AWS::Route53Resolver::FirewallDomainList" {
			r.unknown(group, "a rule whose domain list is not in the template")
			continue
		}
		r.m.DNS.Rules = append(r.m.DNS.Rules, DNSRule{Group: group, Action: action(rule.text("Action"), rule.text("Qtype")), Domains: properties(r.read[list]).list("Domains")})
	}
}

// number is a priority; what can't be read comes first, before what blocks.
func number(v any) int {
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil {
		return -1
	}
	return n
}
