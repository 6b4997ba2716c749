package cleanroom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Report is what AWS shows of a clean room now.
type Report struct {
	Name          string   `json:"name"`
	Stack         string   `json:"stack"`
	Account       string   `json:"account"`
	Region        string   `json:"region"`
	State         string   `json:"state"` // of the stack; gone where there is none
	VPC           string   `json:"vpc,omitempty"`
	Instance      string   `json:"instance,omitempty"`
	InstanceState string   `json:"instance_state,omitempty"`
	Volumes       []Volume `json:"volumes,omitempty"`
	// Checked is what was looked at and found closed, WaysOut what was found open.
	Checked []string            `json:"checked,omitempty"`
	WaysOut []incident.Exposure `json:"ways_out,omitempty"`
	// Residual is what a closed room lets pass by its nature.
	Residual []incident.Exposure `json:"residual,omitempty"`
}

// Volume is a copy of a captured volume.
type Volume struct {
	ID         string `json:"id"`
	Snapshot   string `json:"snapshot"`
	State      string `json:"state"`
	AttachedTo string `json:"attached_to,omitempty"`
	Device     string `json:"device,omitempty"`
}

// residual exposures of every clean room (aws-facts.md, "Network isolation").
func residual() []incident.Exposure {
	return []incident.Exposure{
		{Path: "the clean room: DNS through its resolver", Reason: "neither security groups nor network ACLs filter it: names can carry data out"},
		{Path: "the clean room: Systems Manager", Reason: "whoever may start a session on the examination instance can move data through it"},
	}
}

// Status reads a clean room back from AWS and looks for every way out of it.
func Status(ctx context.Context, cfg aws.Config, room incident.CleanRoom) (Report, error) {
	r := Report{Name: room.Name, Stack: room.Stack, Account: room.Account, Region: room.Region, Instance: room.Instance, State: "gone"}
	st, err := stack{client: cloudformation.NewFromConfig(cfg), name: stackID(room)}.describe(ctx)
	if errors.Is(err, errNoStack) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Stack, r.State = aws.ToString(st.StackId), string(st.StackStatus)
	r.VPC, r.Residual = output(st, outVpc), residual()
	if r.VPC == "" {
		return r, nil // not made yet, or being taken down
	}
	client := ec2.NewFromConfig(cfg)
	if err := r.volumes(ctx, client, room); err != nil {
		return r, err
	}
	p := &proof{ec2: client, report: &r, endpointGroup: output(st, outEndpointGroup), instances: strings.Split(output(st, outInstances), ","), filter: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{r.VPC}}}}
	return r, p.run(ctx)
}

func stackID(room incident.CleanRoom) string {
	if room.Stack != "" {
		return room.Stack
	}
	return room.Name
}

func (r *Report) volumes(ctx context.Context, client *ec2.Client, room incident.CleanRoom) error {
	for id, snapshot := range room.Volumes {
		v, err := volumeByID(ctx, client, id)
		vol := Volume{ID: id, Snapshot: snapshot, State: string(v.State)}
		if errorCode(err) == codeNoVolume {
			vol.State, err = "gone", nil
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", id, err)
		}
		for _, a := range v.Attachments {
			vol.AttachedTo, vol.Device = aws.ToString(a.InstanceId), aws.ToString(a.Device)
		}
		r.Volumes = append(r.Volumes, vol)
	}
	return nil
}

// proof looks at the room's network as AWS describes it, not as the template
// meant it.
type proof struct {
	ec2           *ec2.Client
	report        *Report
	endpointGroup string
	instances     []string
	filter        []types.Filter // the room's VPC
}

func (p *proof) run(ctx context.Context) error {
	for _, check := range []struct {
		closed string // said where the check finds nothing
		look   func(context.Context) ([]incident.Exposure, error)
	}{
		{"no Internet gateway", p.internetGateways},
		{"no NAT gateway", p.natGateways},
		{"no peering", p.peerings},
		{"every route stays in the network or leads to an endpoint", p.routes},
		{"no public address, and no interface but the instance's and the endpoints'", p.interfaces},
		{"the instance's groups let nothing in, and out only to the endpoints", p.groups},
		{"the S3 endpoint has a policy that names buckets", p.endpoints},
	} {
		ways, err := check.look(ctx)
		if err != nil {
			return err
		}
		if len(ways) == 0 {
			p.report.Checked = append(p.report.Checked, check.closed)
		}
		p.report.WaysOut = append(p.report.WaysOut, ways...)
	}
	return nil
}

func (p *proof) internetGateways(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{
		Filters: []types.Filter{{Name: aws.String("attachment.vpc-id"), Values: []string{p.report.VPC}}},
	})
	if err != nil {
		return nil, fmt.Errorf("internet gateways of %s: %w", p.report.VPC, err)
	}
	for _, g := range out.InternetGateways {
		ways = append(ways, incident.Exposure{Path: aws.ToString(g.InternetGatewayId), Reason: "an Internet gateway is attached"})
	}
	return ways, nil
}

func (p *proof) natGateways(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{Filter: p.filter})
	if err != nil {
		return nil, fmt.Errorf("NAT gateways of %s: %w", p.report.VPC, err)
	}
	for _, g := range out.NatGateways {
		if g.State != types.NatGatewayStateDeleted {
			ways = append(ways, incident.Exposure{Path: aws.ToString(g.NatGatewayId), Reason: "a NAT gateway is " + string(g.State)})
		}
	}
	return ways, nil
}

func (p *proof) peerings(ctx context.Context) (ways []incident.Exposure, err error) {
	for _, side := range []string{"requester-vpc-info.vpc-id", "accepter-vpc-info.vpc-id"} {
		out, err := p.ec2.DescribeVpcPeeringConnections(ctx, &ec2.DescribeVpcPeeringConnectionsInput{
			Filters: []types.Filter{{Name: &side, Values: []string{p.report.VPC}}},
		})
		if err != nil {
			return nil, fmt.Errorf("peering of %s: %w", p.report.VPC, err)
		}
		for _, c := range out.VpcPeeringConnections {
			if c.Status != nil && (c.Status.Code == types.VpcPeeringConnectionStateReasonCodeDeleted || c.Status.Code == types.VpcPeeringConnectionStateReasonCodeRejected) {
				continue
			}
			ways = append(ways, incident.Exposure{Path: aws.ToString(c.VpcPeeringConnectionId), Reason: "the network is peered"})
		}
	}
	return ways, nil
}

// routes finds every other way: transit gateways, VPN, carriers, egress-only
// gateways and appliances are all reached by a route.
func (p *proof) routes(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: p.filter})
	if err != nil {
		return nil, fmt.Errorf("routes of %s: %w", p.report.VPC, err)
	}
	for _, t := range out.RouteTables {
		for _, r := range t.Routes {
			to := aws.ToString(r.GatewayId)
			if to == "local" || strings.HasPrefix(to, "vpce-") {
				continue
			}
			ways = append(ways, incident.Exposure{Path: aws.ToString(t.RouteTableId), Reason: "a route to " + hop(r)})
		}
	}
	return ways, nil
}

// hop names where a route leads.
func hop(r types.Route) string {
	for _, id := range []*string{
		r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.EgressOnlyInternetGatewayId,
		r.CarrierGatewayId, r.LocalGatewayId, r.CoreNetworkArn, r.NetworkInterfaceId, r.InstanceId,
	} {
		if aws.ToString(id) != "" {
			return *id
		}
	}
	return "a target that this version does not know"
}

func (p *proof) interfaces(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: p.filter})
	if err != nil {
		return nil, fmt.Errorf("interfaces of %s: %w", p.report.VPC, err)
	}
	for _, i := range out.NetworkInterfaces {
		id := aws.ToString(i.NetworkInterfaceId)
		if i.Association != nil && aws.ToString(i.Association.PublicIp) != "" {
			ways = append(ways, incident.Exposure{Path: id, Reason: "it has the public address " + *i.Association.PublicIp})
		}
		for _, a := range i.Ipv6Addresses {
			ways = append(ways, incident.Exposure{Path: id, Reason: "it has the IPv6 address " + aws.ToString(a.Ipv6Address)})
		}
		ours := i.Attachment != nil && slices.Contains(p.instances, aws.ToString(i.Attachment.InstanceId))
		if !ours && i.InterfaceType != types.NetworkInterfaceTypeVpcEndpoint {
			ways = append(ways, incident.Exposure{Path: id, Reason: "an interface that is neither the instance's nor an endpoint's: " + aws.ToString(i.Description)})
		}
	}
	return ways, nil
}

func (p *proof) groups(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{p.report.Instance}})
	if err != nil {
		return nil, fmt.Errorf("examination instance %s: %w", p.report.Instance, err)
	}
	var ids []string
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			p.report.InstanceState = string(i.State.Name)
			for _, n := range i.NetworkInterfaces {
				for _, g := range n.Groups {
					ids = append(ids, aws.ToString(g.GroupId))
				}
			}
		}
	}
	if len(ids) == 0 {
		return []incident.Exposure{{Path: p.report.Instance, Reason: "AWS shows no security group on it"}}, nil
	}
	groups, err := p.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", p.report.Instance, err)
	}
	for _, g := range groups.SecurityGroups {
		for _, rule := range g.IpPermissions {
			ways = append(ways, incident.Exposure{Path: aws.ToString(g.GroupId), Reason: "it lets in " + aws.ToString(rule.IpProtocol) + " from " + peers(rule)})
		}
		for _, rule := range g.IpPermissionsEgress {
			if !p.toEndpoints(rule) {
				ways = append(ways, incident.Exposure{Path: aws.ToString(g.GroupId), Reason: "it lets out " + aws.ToString(rule.IpProtocol) + " to " + peers(rule)})
			}
		}
	}
	return ways, nil
}

// toEndpoints: the rule's peers are the endpoints' group and AWS's own prefix
// lists, and nothing else.
func (p *proof) toEndpoints(rule types.IpPermission) bool {
	if len(rule.IpRanges) > 0 || len(rule.Ipv6Ranges) > 0 {
		return false
	}
	for _, g := range rule.UserIdGroupPairs {
		if aws.ToString(g.GroupId) != p.endpointGroup {
			return false
		}
	}
	return true
}

func peers(rule types.IpPermission) string {
	var all []string
	for _, r := range rule.IpRanges {
		all = append(all, aws.ToString(r.CidrIp))
	}
	for _, r := range rule.Ipv6Ranges {
		all = append(all, aws.ToString(r.CidrIpv6))
	}
	for _, g := range rule.UserIdGroupPairs {
		all = append(all, aws.ToString(g.GroupId))
	}
	for _, l := range rule.PrefixListIds {
		all = append(all, aws.ToString(l.PrefixListId))
	}
	return strings.Join(all, ", ")
}

// endpoints: only those of the template may be there, and the one to S3 must
// not lead to every bucket there is.
func (p *proof) endpoints(ctx context.Context) (ways []incident.Exposure, err error) {
	out, err := p.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: p.filter})
	if err != nil {
		return nil, fmt.Errorf("endpoints of %s: %w", p.report.VPC, err)
	}
	for _, e := range out.VpcEndpoints {
		service := aws.ToString(e.ServiceName)
		switch service[strings.LastIndex(service, ".")+1:] {
		case "ssm", "ssmmessages", "kms", "logs", "ebs":
		case "s3":
			buckets, err := resources(aws.ToString(e.PolicyDocument))
			if err != nil {
				return nil, fmt.Errorf("policy of %s: %w", aws.ToString(e.VpcEndpointId), err)
			}
			for _, b := range buckets {
				if name := b[strings.LastIndex(b, ":")+1:]; strings.ContainsAny(strings.TrimSuffix(name, "/*"), "*?") || !strings.Contains(b, ":s3:::") {
					ways = append(ways, incident.Exposure{Path: aws.ToString(e.VpcEndpointId), Reason: "its policy allows " + b})
				}
			}
		default:
			ways = append(ways, incident.Exposure{Path: aws.ToString(e.VpcEndpointId), Reason: "an endpoint to " + service})
		}
	}
	return ways, nil
}
