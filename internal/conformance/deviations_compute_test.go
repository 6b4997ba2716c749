package conformance

import (
	"encoding/json"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// computeDeviations: EC2, Auto Scaling, load balancing, CloudFormation.
var computeDeviations = []deviation{
	{
		operation: "autoscaling: a launch", moto: "gives a member no instance profile", aws: "launches with the launch template's instance profile",
		page: asgGuide + "launch-templates.html", explains: "the web tier's builder associates the profile itself",
		deviates: func(l *lab) bool { return l.replacement().IamInstanceProfile == nil },
	},
	{
		operation: "autoscaling: a launch", moto: "puts a member into the VPC's default group", aws: "launches with the groups of the template's network interface",
		page: asgGuide + "create-launch-template.html", explains: "the web tier's builder sets the members' groups itself",
		deviates: func(l *lab) bool {
			return !slices.ContainsFunc(l.replacement().NetworkInterfaces[0].Groups, func(g ec2types.GroupIdentifier) bool { return *g.GroupId == l.w.App })
		},
	},
	{
		operation: "autoscaling:DetachInstances", moto: "goes below the minimum size", aws: "refuses with ValidationError to decrement below the minimum size",
		page: asgGuide + "ec2-auto-scaling-detach-attach-instances.html", explains: "that shrinking at the minimum is refused is tested on the simulated account only",
		deviates: func(l *lab) bool { return l.detachBelowMinimum() == nil },
	},
	{
		operation: "autoscaling:DetachInstances", moto: "detaches what is no member", aws: "refuses with ValidationError an instance that is not in the group",
		page: asgGuide + "ec2-auto-scaling-detach-attach-instances.html", explains: "that a stranger can't be detached is tested on the simulated account only",
		deviates: func(l *lab) bool {
			_, err := autoscaling.NewFromConfig(l.cfg).DetachInstances(l.ctx(), &autoscaling.DetachInstancesInput{
				AutoScalingGroupName: &l.w.Group, InstanceIds: []string{"i-0123456789abcdef0"}, ShouldDecrementDesiredCapacity: aws.Bool(false),
			})
			return err == nil
		},
	},
	{
		operation: "autoscaling:DescribeScalingActivities", moto: "shows none", aws: "shows the launches and terminations of six weeks",
		page: asgAPI + "API_DescribeScalingActivities.html", explains: notCompare,
		deviates: func(l *lab) bool {
			out, err := autoscaling.NewFromConfig(l.cfg).DescribeScalingActivities(l.ctx(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &l.w.Group})
			return lacks(err) || err == nil && len(out.Activities) == 0
		},
	},
	{
		operation: "ec2:ModifyNetworkInterfaceAttribute", moto: "leaves the groups that the instance was launched with on the interface",
		aws: "replaces the interface's groups", page: ec2API + "API_ModifyNetworkInterfaceAttribute.html",
		explains: "the launch template names its group on its interface, where moto overlooks it, and not for the instance",
		deviates: func(l *lab) bool {
			i := l.launch(&ec2.RunInstancesInput{SecurityGroupIds: []string{l.w.App}})
			_, err := l.ec2.ModifyNetworkInterfaceAttribute(l.ctx(), &ec2.ModifyNetworkInterfaceAttributeInput{
				NetworkInterfaceId: i.NetworkInterfaces[0].NetworkInterfaceId, Groups: []string{l.w.Admin},
			})
			l.must(err)
			return len(l.groups(*i.NetworkInterfaces[0].NetworkInterfaceId)) != 1
		},
	},
	{
		operation: "ec2:DescribeNetworkAcls", moto: "answers 500: it has no filter network-acl-id", aws: "leaves the ACLs with these IDs",
		page: ec2API + "API_DescribeNetworkAcls.html", explains: "in moto the network is cut by groups alone", set: "network_strategy=groups",
		deviates: func(l *lab) bool {
			_, err := l.ec2.DescribeNetworkAcls(l.ctx(), &ec2.DescribeNetworkAclsInput{
				Filters: []ec2types.Filter{{Name: aws.String("network-acl-id"), Values: []string{"acl-0123456789abcdef0"}}},
			})
			return lacks(err)
		},
	},
	{
		operation: "ec2:ModifyInstanceAttribute", moto: "leaves the interface's groups as they are", aws: "replaces the primary interface's groups",
		page: ec2API + "API_ModifyInstanceAttribute.html", explains: notCompare,
		deviates: func(l *lab) bool {
			i := l.launch(&ec2.RunInstancesInput{SecurityGroupIds: []string{l.w.App}})
			_, err := l.ec2.ModifyInstanceAttribute(l.ctx(), &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId, Groups: []string{l.w.Admin}})
			l.must(err)
			groups := l.groups(*i.NetworkInterfaces[0].NetworkInterfaceId)
			return len(groups) != 1 || *groups[0].GroupId != l.w.Admin
		},
	},
	{
		operation: "ec2:DetachVolume", moto: "answers 500 without an instance ID", aws: "asks for the instance only where a volume is attached to several",
		page: ec2API + "API_DetachVolume.html", explains: "a clean room's volumes are detached by the AWS CLI before it can be closed",
		deviates: func(l *lab) bool {
			_, err := l.ec2.DetachVolume(l.ctx(), &ec2.DetachVolumeInput{VolumeId: &l.w.Data, Force: aws.Bool(true)})
			return lacks(err)
		},
	},
	{
		operation: "ec2:RunInstances", moto: "launches twice for one client token", aws: "answers a repeated client token with the first launch",
		page: "https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html", explains: "that a lost answer makes no second instance is tested on the simulated account only",
		deviates: func(l *lab) bool {
			first, second := l.launch(&ec2.RunInstancesInput{ClientToken: aws.String("one")}), l.launch(&ec2.RunInstancesInput{ClientToken: aws.String("one")})
			return *first.InstanceId != *second.InstanceId
		},
	},
	{
		operation: "ec2:CreateNetworkInterface", moto: "accepts a group that does not exist", aws: "refuses with InvalidGroup.NotFound",
		page: "https://docs.aws.amazon.com/ec2/latest/devguide/errors-overview.html", explains: notCompare,
		deviates: func(l *lab) bool {
			_, err := l.ec2.CreateNetworkInterface(l.ctx(), &ec2.CreateNetworkInterfaceInput{SubnetId: &l.w.Public[0], Groups: []string{"sg-0123456789abcdef0"}})
			return err == nil
		},
	},
	{
		operation: "ec2:DeleteSecurityGroup", moto: "deletes a group in use", aws: "refuses with DependencyViolation",
		page: ec2API + "API_DeleteSecurityGroup.html", explains: "that a group in use stays is tested on the simulated account only",
		deviates: func(l *lab) bool {
			made, err := l.ec2.CreateSecurityGroup(l.ctx(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("used"), Description: aws.String("used"), VpcId: &l.w.VPC})
			l.must(err)
			_, err = l.ec2.CreateNetworkInterface(l.ctx(), &ec2.CreateNetworkInterfaceInput{SubnetId: &l.w.Public[0], Groups: []string{*made.GroupId}})
			l.must(err)
			_, err = l.ec2.DeleteSecurityGroup(l.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: made.GroupId})
			return err == nil
		},
	},
	{
		operation: "ec2:CreateImage", moto: "answers 500 where tags for its snapshots are asked for", aws: "tags the snapshots that it takes",
		page: ec2API + "API_CreateImage.html", explains: "runs without an image; where a playbook always makes one, that step fails", set: "image=false",
		fails: []failure{{"exfiltration", "image", "CreateImage", "image=false", false}, {"full-response", "image", "CreateImage", "image=false", false}, {"capture", "image", "CreateImage", "image=false", false}},
		deviates: func(l *lab) bool {
			_, err := l.ec2.CreateImage(l.ctx(), &ec2.CreateImageInput{
				InstanceId: &l.w.Suspect, Name: aws.String("probe"), NoReboot: aws.Bool(true), TagSpecifications: named(ec2types.ResourceTypeSnapshot, "probe"),
			})
			return lacks(err)
		},
	},
	{
		operation: "ec2:CreateSnapshots", moto: "answers without a state", aws: "answers with the state of each snapshot, pending at first",
		page: ec2API + "API_SnapshotInfo.html", explains: "snapshots are complete at once, so nothing waits for them here",
		deviates: func(l *lab) bool {
			out, err := l.ec2.CreateSnapshots(l.ctx(), &ec2.CreateSnapshotsInput{InstanceSpecification: &ec2types.InstanceSpecification{InstanceId: &l.w.Suspect}})
			l.must(err)
			return slices.ContainsFunc(out.Snapshots, func(s ec2types.SnapshotInfo) bool { return s.State == "" })
		},
	},
	{
		operation: "ec2:CreateSnapshots", moto: "ignores CopyTagsFromSource", aws: "copies the volume's tags where it is asked to",
		page: ec2API + "API_CreateSnapshots.html", explains: "the snapshots' tags are looked at for cordon's own only",
		deviates: func(l *lab) bool {
			out, err := l.ec2.CreateSnapshots(l.ctx(), &ec2.CreateSnapshotsInput{
				InstanceSpecification: &ec2types.InstanceSpecification{InstanceId: &l.w.Suspect}, CopyTagsFromSource: ec2types.CopyTagsFromSourceVolume,
			})
			l.must(err)
			for _, s := range out.Snapshots {
				if *s.VolumeId == l.w.Data {
					return len(s.Tags) == 0
				}
			}
			return true
		},
	},
	{
		operation: "elasticloadbalancing:RegisterTargets", moto: "has the target healthy at once", aws: "shows a target as initial until its health checks pass",
		page: "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html", explains: "waiting for a released target is tested on the simulated account only",
		deviates: func(l *lab) bool {
			out, err := elbv2.NewFromConfig(l.cfg).DescribeTargetHealth(l.ctx(), &elbv2.DescribeTargetHealthInput{TargetGroupArn: &l.w.AdminTarget})
			l.must(err)
			return out.TargetHealthDescriptions[0].TargetHealth.State == elbv2types.TargetHealthStateEnumHealthy
		},
	},
	{
		operation: "elasticloadbalancing:DeregisterTargets", moto: "has the target unused at once", aws: "shows a target draining until its delay is over",
		page: elbAPI + "API_DeregisterTargets.html", explains: "waiting for draining is tested on the simulated account only",
		deviates: func(l *lab) bool {
			c := elbv2.NewFromConfig(l.cfg)
			sibling := []elbv2types.TargetDescription{{Id: &l.w.Siblings[0]}}
			_, err := c.DeregisterTargets(l.ctx(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &l.w.WebTarget, Targets: sibling})
			l.must(err)
			out, err := c.DescribeTargetHealth(l.ctx(), &elbv2.DescribeTargetHealthInput{TargetGroupArn: &l.w.WebTarget})
			l.must(err)
			return !slices.ContainsFunc(out.TargetHealthDescriptions, func(d elbv2types.TargetHealthDescription) bool {
				return d.TargetHealth.State == elbv2types.TargetHealthStateEnumDraining
			})
		},
	},
	{
		operation: "cloudformation:CreateStack", moto: "completes a stack with a type that it does not know", aws: "refuses a template whose type is not recognized",
		page: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html", explains: "the template is held against cfn-lint instead; a clean room has neither ACLs of its own nor a DNS firewall",
		opens: []opening{{"it allows out everything to 0.0.0.0/0", 1}, {"it allows in everything from 0.0.0.0/0", 1}, {"no DNS firewall blocks it", 1}},
		deviates: func(l *lab) bool {
			return l.stack("probe-type", `{"Resources": {"Unknown": {"Type": "AWS::EC2::NoSuchThing", "Properties": {}}}}`) != "refused"
		},
	},
	{
		operation: "cloudformation: AWS::EC2::VPCEndpoint", moto: "keeps a Python dictionary as the endpoint's policy", aws: "gives the endpoint the policy as JSON",
		page: cfnGuide + "aws-resource-ec2-vpcendpoint.html", explains: "a clean room is not proven closed: an unreadable policy must not pass as narrow",
		fails:    []failure{{"full-response", "cleanroom", "its policy can't be read", "cleanroom=false", true}, {"examine", "cleanroom", "its policy can't be read", "", true}},
		opens:    []opening{{"its policy can't be read, so that it is not proven to be narrow", 5}},
		deviates: func(l *lab) bool { return !json.Valid([]byte(l.endpointPolicy())) },
	},
	{
		operation: "cloudformation: AWS::EC2::SecurityGroup", moto: "ignores egress rules and leaves the default one, all open", aws: "replaces the default rule by those of the template",
		page: cfnGuide + "aws-resource-ec2-securitygroup.html", explains: "a clean room is not proven closed",
		opens:    []opening{{"it lets out everything to 0.0.0.0/0", 2}},
		deviates: func(l *lab) bool { return l.egressRanges() != "10.20.0.0/16" },
	},
	{
		operation: "cloudformation: AWS::EC2::Instance", moto: "ignores NetworkInterfaces and launches in the default VPC", aws: "launches with the interfaces of the template",
		page: cfnGuide + "aws-resource-ec2-instance.html", explains: "a clean room is not proven closed: its instance is elsewhere",
		opens: []opening{{"in another network", 1}},
		deviates: func(l *lab) bool {
			id := l.made("probe-instance", `{"Resources": {"Instance": {"Type": "AWS::EC2::Instance", "Properties": {
				"ImageId": "`+*l.describe().ImageId+`", "InstanceType": "t3.large", "NetworkInterfaces": [{"DeviceIndex": "0", "SubnetId": "`+l.w.Private[0]+`"}]}}}}`)
			out, err := l.ec2.DescribeInstances(l.ctx(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
			l.must(err)
			return aws.ToString(out.Reservations[0].Instances[0].SubnetId) != l.w.Private[0]
		},
	},
	{
		operation: "cloudformation: AWS::EC2::RouteTable", moto: "leaves it where the stack is deleted, and so the VPC too", aws: "deletes it with the stack",
		page: cfnGuide + "aws-resource-ec2-routetable.html", explains: "a clean room's route tables are deleted by the AWS CLI before it can be closed",
		deviates: func(l *lab) bool { return l.tablesLeft() > 0 },
	},
	{
		operation: "cloudformation: AWS::IAM::Role", moto: "keeps a Python dictionary as an inline policy", aws: "gives the role the policy as JSON",
		page: cfnGuide + "aws-resource-iam-role.html", explains: "a clean room is not proven closed: an unreadable policy must not pass as narrow",
		opens:    []opening{{"its policy examine can't be read", 1}},
		deviates: func(l *lab) bool { return !json.Valid([]byte(l.rolePolicy())) },
	},
	{
		operation: "ec2:CreateVpcEndpoint", moto: "makes interfaces of no kind", aws: "makes interfaces of the type vpc_endpoint",
		page: ec2API + "API_NetworkInterface.html", explains: "a clean room is not proven closed: it has interfaces of nobody's",
		opens: []opening{{"an interface that is neither an instance's nor an endpoint's", 4}},
		deviates: func(l *lab) bool {
			made, err := l.ec2.CreateVpcEndpoint(l.ctx(), &ec2.CreateVpcEndpointInput{
				VpcId: &l.w.VPC, ServiceName: aws.String("com.amazonaws." + motoRegion + ".ebs"), VpcEndpointType: ec2types.VpcEndpointTypeInterface, SubnetIds: l.w.Private[:1],
			})
			l.must(err)
			out, err := l.ec2.DescribeNetworkInterfaces(l.ctx(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: made.VpcEndpoint.NetworkInterfaceIds})
			l.must(err)
			return out.NetworkInterfaces[0].InterfaceType != ec2types.NetworkInterfaceTypeVpcEndpoint
		},
	},
}

// launch starts one instance of the suspect's kind.
func (l *lab) launch(in *ec2.RunInstancesInput) ec2types.Instance {
	in.ImageId, in.SubnetId, in.MinCount, in.MaxCount = l.describe().ImageId, &l.w.Public[0], aws.Int32(1), aws.Int32(1)
	out, err := l.ec2.RunInstances(l.ctx(), in)
	l.must(err)
	return out.Instances[0]
}

// replacement is a member that the group has just launched, untouched by the builder.
func (l *lab) replacement() ec2types.Instance {
	group := func() []string {
		out, err := autoscaling.NewFromConfig(l.cfg).DescribeAutoScalingGroups(l.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{l.w.Group}})
		l.must(err)
		var ids []string
		for _, m := range out.AutoScalingGroups[0].Instances {
			ids = append(ids, *m.InstanceId)
		}
		return ids
	}
	_, err := autoscaling.NewFromConfig(l.cfg).SetDesiredCapacity(l.ctx(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &l.w.Group, DesiredCapacity: aws.Int32(4)})
	l.must(err)
	ids := group()
	out, err := l.ec2.DescribeInstances(l.ctx(), &ec2.DescribeInstancesInput{InstanceIds: ids[len(ids)-1:]})
	l.must(err)
	return out.Reservations[0].Instances[0]
}

// detachBelowMinimum takes members out, decrementing, until the group would have one fewer than its minimum of two.
func (l *lab) detachBelowMinimum() error {
	c := autoscaling.NewFromConfig(l.cfg)
	out, err := c.DescribeAutoScalingGroups(l.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{l.w.Group}})
	l.must(err)
	var ids []string
	for _, m := range out.AutoScalingGroups[0].Instances[1:] {
		ids = append(ids, *m.InstanceId)
	}
	_, err = c.DetachInstances(l.ctx(), &autoscaling.DetachInstancesInput{AutoScalingGroupName: &l.w.Group, InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(true)})
	return err
}

func (l *lab) groups(eni string) []ec2types.GroupIdentifier {
	out, err := l.ec2.DescribeNetworkInterfaces(l.ctx(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}})
	l.must(err)
	return out.NetworkInterfaces[0].Groups
}

// stack makes one and gives the physical ID of its only resource, or "refused".
func (l *lab) stack(name, template string) string {
	c := cloudformation.NewFromConfig(l.cfg)
	if _, err := c.CreateStack(l.ctx(), &cloudformation.CreateStackInput{StackName: &name, TemplateBody: &template}); err != nil {
		return "refused"
	}
	out, err := c.DescribeStackResources(l.ctx(), &cloudformation.DescribeStackResourcesInput{StackName: &name})
	l.must(err)
	return aws.ToString(out.StackResources[0].PhysicalResourceId)
}

// made is the physical ID of the only resource of a stack that must come about.
func (l *lab) made(name, template string) string {
	id := l.stack(name, template)
	if id == "refused" {
		l.t.Fatalf("the probe itself: stack %s was refused", name)
	}
	return id
}

func (l *lab) endpointPolicy() string {
	id := l.made("probe-endpoint", `{"Resources": {"Endpoint": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {
		"VpcId": "`+l.w.VPC+`", "ServiceName": "com.amazonaws.`+motoRegion+`.s3", "VpcEndpointType": "Gateway", "RouteTableIds": [],
		"PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}]}}}}}`)
	out, err := l.ec2.DescribeVpcEndpoints(l.ctx(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	l.must(err)
	return aws.ToString(out.VpcEndpoints[0].PolicyDocument)
}

// tablesLeft is how many route tables a stack that made one has left behind.
func (l *lab) tablesLeft() int {
	name := "probe-table"
	id := l.made(name, `{"Resources": {"Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": "`+l.w.VPC+`"}}}}`)
	_, err := cloudformation.NewFromConfig(l.cfg).DeleteStack(l.ctx(), &cloudformation.DeleteStackInput{StackName: &name})
	l.must(err)
	out, err := l.ec2.DescribeRouteTables(l.ctx(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("route-table-id"), Values: []string{id}}}})
	l.must(err)
	return len(out.RouteTables)
}

func (l *lab) rolePolicy() string {
	id := l.made("probe-role", `{"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
		"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]},
		"Policies": [{"PolicyName": "probe", "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}}]}}}}`)
	out, err := iam.NewFromConfig(l.cfg).GetRolePolicy(l.ctx(), &iam.GetRolePolicyInput{RoleName: &id, PolicyName: aws.String("probe")})
	l.must(err)
	document, err := url.PathUnescape(*out.PolicyDocument)
	l.must(err)
	return document
}

func (l *lab) egressRanges() string {
	id := l.made("probe-group", `{"Resources": {"Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {
		"VpcId": "`+l.w.VPC+`", "GroupDescription": "probe", "SecurityGroupEgress": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.20.0.0/16"}]}}}}`)
	out, err := l.ec2.DescribeSecurityGroups(l.ctx(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	l.must(err)
	ranges := ""
	for _, p := range out.SecurityGroups[0].IpPermissionsEgress {
		for _, r := range p.IpRanges {
			ranges += *r.CidrIp
		}
	}
	return ranges
}
