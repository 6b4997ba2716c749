package isolate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// exempt is what a release can't restore, by the end of its place in an answer, and why.
var exempt = map[string]string{
	"AssociationId":              "an address or a profile that is associated again has a new association",
	"Timestamp":                  "so it has a new time",
	"ResultMetadata":             "the answer's own",
	"State":                      "the health of a target and the state of a profile's association move by themselves",
	"NextToken":                  "the answer's own",
	"LaunchTemplate":             "an instance that is attached has none, whoever launched it",
	"VersionNumber":              "the group counts its changes",
	"aws:autoscaling:groupName=": "the group sets its own tag when the instance is back",
}

// snapshot is what AWS's Describe calls answer about the instance and everything around
// it that isolation touches, one line for each attribute, lists in one order.
func (w *world) snapshot() string {
	w.t.Helper()
	var lines []string
	add := func(name string, answer any, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		var v any
		b, err := json.Marshal(answer)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		lines = append(lines, flatten(name, v)...)
	}
	w.snapshotInstance(add)
	w.snapshotNetwork(add)
	w.snapshotRole(add)
	w.snapshotServices(add)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (w *world) snapshotInstance(add func(string, any, error)) {
	id := aws.String(w.target.Instance)
	instance := w.instance()
	for i := range instance.NetworkInterfaces { // DescribeNetworkInterfaces has them
		instance.NetworkInterfaces[i] = ec2types.InstanceNetworkInterface{NetworkInterfaceId: instance.NetworkInterfaces[i].NetworkInterfaceId}
	}
	instance.PublicIpAddress, instance.PublicDnsName = nil, nil
	add("DescribeInstances", instance, nil)
	for _, a := range []ec2types.InstanceAttributeName{
		ec2types.InstanceAttributeNameDisableApiTermination, ec2types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
		ec2types.InstanceAttributeNameBlockDeviceMapping, ec2types.InstanceAttributeNameGroupSet, ec2types.InstanceAttributeNameSourceDestCheck,
	} {
		out, err := w.ec2().DescribeInstanceAttribute(w.ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: id, Attribute: a})
		add("DescribeInstanceAttribute "+string(a), out, err)
	}
	volumes, err := w.ec2().DescribeVolumes(w.ctx, &ec2.DescribeVolumesInput{Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{*id}}}})
	add("DescribeVolumes", volumes, err)
	profile, err := w.ec2().DescribeIamInstanceProfileAssociations(w.ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: []string{*id}}}})
	if err == nil {
		profile.IamInstanceProfileAssociations = slices.DeleteFunc(profile.IamInstanceProfileAssociations, func(a ec2types.IamInstanceProfileAssociation) bool {
			return a.State == ec2types.IamInstanceProfileAssociationStateDisassociating || a.State == ec2types.IamInstanceProfileAssociationStateDisassociated
		})
	}
	add("DescribeIamInstanceProfileAssociations", profile, err)
}

func (w *world) snapshotNetwork(add func(string, any, error)) {
	interfaces := must[*ec2.DescribeNetworkInterfacesOutput](w.t)(w.ec2().DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{w.target.Instance}}},
	})).NetworkInterfaces
	for i := range interfaces {
		forgetAutomatic(&interfaces[i])
		automatic, err := w.ec2().DescribeNetworkInterfaceAttribute(w.ctx, &ec2.DescribeNetworkInterfaceAttributeInput{
			NetworkInterfaceId: interfaces[i].NetworkInterfaceId, Attribute: ec2types.NetworkInterfaceAttributeAssociatePublicIpAddress,
		})
		add("DescribeNetworkInterfaceAttribute "+*interfaces[i].NetworkInterfaceId, automatic, err)
	}
	add("DescribeNetworkInterfaces", interfaces, nil)
	addresses, err := w.ec2().DescribeAddresses(w.ctx, &ec2.DescribeAddressesInput{})
	add("DescribeAddresses", addresses, err)
	groups, err := w.ec2().DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{})
	if err == nil { // the isolation groups stay for the next time
		groups.SecurityGroups = slices.DeleteFunc(groups.SecurityGroups, func(g ec2types.SecurityGroup) bool {
			return strings.HasPrefix(*g.GroupName, isolationName)
		})
	}
	add("DescribeSecurityGroups", groups, err)
	acls, err := w.ec2().DescribeNetworkAcls(w.ctx, &ec2.DescribeNetworkAclsInput{})
	add("DescribeNetworkAcls", acls, err)
	routes, err := w.ec2().DescribeRouteTables(w.ctx, &ec2.DescribeRouteTablesInput{})
	add("DescribeRouteTables", routes, err)
	endpoints, err := w.ec2().DescribeVpcEndpoints(w.ctx, &ec2.DescribeVpcEndpointsInput{})
	add("DescribeVpcEndpoints", endpoints, err)
}

// forgetAutomatic blanks what AWS gives anew: an automatic address is gone for good.
// And AWS has no call that takes configured timeouts away: its defaults stand for none.
func forgetAutomatic(n *ec2types.NetworkInterface) {
	forget := func(a *ec2types.NetworkInterfaceAssociation) {
		if a != nil && aws.ToString(a.IpOwnerId) == "amazon" {
			a.PublicIp, a.PublicDnsName = aws.String("given by AWS"), nil
			n.PublicDnsName = nil
		}
	}
	forget(n.Association)
	for i := range n.PrivateIpAddresses {
		forget(n.PrivateIpAddresses[i].Association)
	}
	set := ec2types.ConnectionTrackingConfiguration{TcpEstablishedTimeout: aws.Int32(432000), UdpStreamTimeout: aws.Int32(180), UdpTimeout: aws.Int32(30)}
	if c := n.ConnectionTrackingConfiguration; c != nil {
		for _, t := range []struct{ have, want **int32 }{
			{&c.TcpEstablishedTimeout, &set.TcpEstablishedTimeout}, {&c.UdpStreamTimeout, &set.UdpStreamTimeout}, {&c.UdpTimeout, &set.UdpTimeout},
		} {
			if *t.have != nil {
				*t.want = *t.have
			}
		}
	}
	n.ConnectionTrackingConfiguration = &set
}

func (w *world) snapshotRole(add func(string, any, error)) {
	name := aws.String(w.role)
	found, err := w.iam().GetRole(w.ctx, &iam.GetRoleInput{RoleName: name})
	add("GetRole", found, err)
	attached, err := w.iam().ListAttachedRolePolicies(w.ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
	add("ListAttachedRolePolicies", attached, err)
	inline := must[*iam.ListRolePoliciesOutput](w.t)(w.iam().ListRolePolicies(w.ctx, &iam.ListRolePoliciesInput{RoleName: name}))
	for _, p := range inline.PolicyNames {
		document, err := w.iam().GetRolePolicy(w.ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: aws.String(p)})
		add("GetRolePolicy "+p, document, err)
	}
	profile, err := w.iam().GetInstanceProfile(w.ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
	add("GetInstanceProfile", profile, err)
}

// snapshotServices: of the group and the load balancers, the instance's own place. Other members come and go.
func (w *world) snapshotServices(add func(string, any, error)) {
	id := w.target.Instance
	member, err := w.autoscaling().DescribeAutoScalingInstances(w.ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{id}})
	add("DescribeAutoScalingInstances", member, err)
	client := elb.NewFromConfig(w.cfg)
	groups := must[*elb.DescribeTargetGroupsOutput](w.t)(client.DescribeTargetGroups(w.ctx, &elb.DescribeTargetGroupsInput{}))
	for _, g := range groups.TargetGroups {
		health := must[*elb.DescribeTargetHealthOutput](w.t)(client.DescribeTargetHealth(w.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn}))
		for _, h := range health.TargetHealthDescriptions {
			if *h.Target.Id == id && h.TargetHealth.State != "draining" {
				add("DescribeTargetHealth "+*g.TargetGroupName, h.Target, nil)
			}
		}
	}
	classic := must[*elasticloadbalancing.DescribeLoadBalancersOutput](w.t)(elasticloadbalancing.NewFromConfig(w.cfg).DescribeLoadBalancers(w.ctx, &elasticloadbalancing.DescribeLoadBalancersInput{}))
	for _, b := range classic.LoadBalancerDescriptions {
		for _, i := range b.Instances {
			if *i.InstanceId == id {
				add("DescribeLoadBalancers "+*b.LoadBalancerName, i, nil)
			}
		}
	}
}

// flatten gives a line for each value: where it is, and what. A list's element is
// told by what is in it, not by its place.
func flatten(at string, v any) []string {
	for end := range exempt {
		if strings.HasSuffix(at, "."+end) {
			return nil
		}
	}
	var lines []string
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for key, inner := range v {
			lines = append(lines, flatten(at+"."+key, inner)...)
		}
	case []any:
		for _, inner := range v {
			lines = append(lines, at+"[] "+strings.Join(flatten("", inner), ", "))
		}
	default:
		lines = []string{fmt.Sprintf("%s = %v", at, v)}
	}
	slices.Sort(lines)
	return lines
}
