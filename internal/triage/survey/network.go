package survey

import (
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// network reads the instance's VPCs, and from them its paths, open rules,
// neighbours and the routes that lead through it.
func (r *Reader) network(ctx context.Context, inst ec2types.Instance, out *triage.Report) error {
	var vpcs []*reach.VPC
	var mine []ec2types.NetworkInterface
	for _, id := range vpcsOf(inst) {
		v, err := r.vpcs.get(id, func() (*reach.VPC, error) { return reach.ReadVPC(ctx, r.ec2, id) })
		if err != nil {
			return err
		}
		vpcs = append(vpcs, v)
		out.Unread = append(out.Unread, v.Unseen...)
		for _, n := range v.Interfaces {
			if attachedTo(n) == out.ID {
				mine = append(mine, n)
			}
		}
	}
	net, err := reach.New(inst, mine, vpcs...)
	if err != nil {
		return err
	}
	public := make(map[string]bool) // interfaces that the Internet reaches
	for _, p := range net.Paths() {
		if outside(p.Kind) {
			out.Paths = append(out.Paths, triage.Path{
				Path: p.String(), Kind: string(p.Kind), In: p.In.Open, InReason: p.In.Reason, Out: p.Out.Open, OutReason: p.Out.Reason,
			})
		}
		public[p.Interface] = public[p.Interface] || p.Kind == reach.InternetGateway && p.In.Open
	}
	for _, v := range vpcs {
		out.Rules = append(out.Rules, rules(v, mine, public)...)
		out.Neighbours = append(out.Neighbours, neighbours(v, mine, out.ID)...)
		out.Routes = append(out.Routes, routesThrough(v, mine, out.ID)...)
	}
	return nil
}

func vpcsOf(inst ec2types.Instance) []string {
	var ids []string
	for _, n := range inst.NetworkInterfaces {
		ids = add(ids, n.VpcId)
	}
	return ids
}

func attachedTo(n ec2types.NetworkInterface) string {
	if n.Attachment == nil {
		return ""
	}
	return aws.ToString(n.Attachment.InstanceId)
}

// outside reports whether the far end lies beyond the VPC.
func outside(k reach.Kind) bool {
	switch k {
	case reach.OtherSubnet, reach.SameSubnet, reach.Service:
		return false
	default:
		return true
	}
}

// rules are the ingress rules of the interfaces' groups, each once.
func rules(v *reach.VPC, mine []ec2types.NetworkInterface, public map[string]bool) []triage.Rule {
	var list []triage.Rule
	for _, g := range v.Groups {
		held, open := false, false
		for _, n := range mine {
			if slices.ContainsFunc(n.Groups, func(i ec2types.GroupIdentifier) bool { return aws.ToString(i.GroupId) == aws.ToString(g.GroupId) }) {
				held, open = true, open || public[aws.ToString(n.NetworkInterfaceId)]
			}
		}
		if !held {
			continue
		}
		for _, p := range g.IpPermissions {
			rule := ruleOf(g, p)
			for _, source := range sources(p) {
				rule.Source, rule.Internet = source, open && isPublic(source)
				list = append(list, rule)
			}
		}
	}
	return list
}

// ruleOf is the rule without its source. Of ICMP the ports are types and codes
// (EC2 API Reference, "IpPermission"): they say nothing here.
func ruleOf(g ec2types.SecurityGroup, p ec2types.IpPermission) triage.Rule {
	rule := triage.Rule{Group: aws.ToString(g.GroupId) + " (" + aws.ToString(g.GroupName) + ")", Protocol: aws.ToString(p.IpProtocol), From: -1, To: -1}
	switch rule.Protocol {
	case "-1":
		rule.Protocol = "all"
	case "tcp", "udp":
		if p.FromPort != nil && p.ToPort != nil && (*p.FromPort != 0 || *p.ToPort != 65535) {
			rule.From, rule.To = *p.FromPort, *p.ToPort
		}
	}
	return rule
}

func sources(p ec2types.IpPermission) []string {
	var list []string
	for _, r := range p.IpRanges {
		list = add(list, r.CidrIp)
	}
	for _, r := range p.Ipv6Ranges {
		list = add(list, r.CidrIpv6)
	}
	for _, r := range p.PrefixListIds {
		list = add(list, r.PrefixListId)
	}
	for _, r := range p.UserIdGroupPairs {
		list = add(list, r.GroupId)
	}
	return list
}

// isPublic reports whether the block holds addresses of the Internet.
func isPublic(source string) bool {
	p, err := netip.ParsePrefix(source)
	if err != nil {
		return false // a group or a prefix list
	}
	a := p.Masked().Addr()
	return p.Bits() == 0 || !a.IsPrivate() && !a.IsLinkLocalUnicast() && !a.IsLoopback()
}

// neighbours are the other instances in the subnets of the instance.
func neighbours(v *reach.VPC, mine []ec2types.NetworkInterface, self string) []triage.Neighbours {
	var list []triage.Neighbours
	for _, own := range mine {
		subnet := aws.ToString(own.SubnetId)
		if aws.ToString(own.VpcId) != v.ID || slices.ContainsFunc(list, func(n triage.Neighbours) bool { return n.Subnet == subnet }) {
			continue
		}
		n := triage.Neighbours{Subnet: subnet, Instances: []string{}}
		for _, other := range v.Interfaces {
			if id := attachedTo(other); aws.ToString(other.SubnetId) == subnet && id != "" && id != self {
				n.Instances = add(n.Instances, &id)
			}
		}
		slices.Sort(n.Instances)
		list = append(list, n)
	}
	return list
}

// routesThrough are the routes that name the instance or one of its interfaces.
func routesThrough(v *reach.VPC, mine []ec2types.NetworkInterface, self string) []triage.RoutedThere {
	var list []triage.RoutedThere
	for _, table := range v.RouteTables {
		var subnets []string
		for _, a := range table.Associations {
			subnets = add(subnets, a.SubnetId)
		}
		for _, route := range table.Routes {
			byInterface := route.NetworkInterfaceId != nil && slices.ContainsFunc(mine, func(n ec2types.NetworkInterface) bool {
				return aws.ToString(n.NetworkInterfaceId) == *route.NetworkInterfaceId
			})
			if !byInterface && aws.ToString(route.InstanceId) != self {
				continue
			}
			to := aws.ToString(route.DestinationCidrBlock) + aws.ToString(route.DestinationIpv6CidrBlock) + aws.ToString(route.DestinationPrefixListId)
			list = append(list, triage.RoutedThere{Table: aws.ToString(table.RouteTableId), Destination: to, Subnets: subnets})
		}
	}
	return list
}
