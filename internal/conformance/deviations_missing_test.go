package conformance

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/route53profiles"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

const (
	ec2API     = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/"
	asgGuide   = "https://docs.aws.amazon.com/autoscaling/ec2/userguide/"
	asgAPI     = "https://docs.aws.amazon.com/autoscaling/ec2/APIReference/"
	elbAPI     = "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/"
	s3API      = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
	s3Guide    = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
	ebsAPI     = "https://docs.aws.amazon.com/ebs/latest/APIReference/"
	cfnGuide   = "https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/"
	notThere   = "answers 500: the action is not there"
	notCompare = "not compared with moto"
)

// missingOperations are those that moto does not have at all.
var missingOperations = []deviation{
	{
		operation: "ec2:LockSnapshot", moto: notThere, aws: "locks a snapshot, pending or completed", page: ec2API + "API_LockSnapshot.html",
		explains: "the snapshots stay unlocked", set: "lock_mode=none",
		deviates: func(l *lab) bool {
			_, err := l.ec2.LockSnapshot(l.ctx(), &ec2.LockSnapshotInput{
				SnapshotId: aws.String(l.snapshot()), LockMode: ec2types.LockModeGovernance, LockDuration: aws.Int32(1),
			})
			return lacks(err)
		},
	},
	{
		operation: "ec2:DescribeLockedSnapshots", moto: notThere, aws: "shows a snapshot's lock", page: ec2API + "API_DescribeLockedSnapshots.html",
		explains: "the snapshots stay unlocked", set: "lock_mode=none",
		deviates: func(l *lab) bool {
			_, err := l.ec2.DescribeLockedSnapshots(l.ctx(), &ec2.DescribeLockedSnapshotsInput{})
			return lacks(err)
		},
	},
	{
		operation: "ec2:CreateNetworkInsightsPath", moto: notThere, aws: "makes a path to analyse, as do the other operations of Reachability Analyzer", page: ec2API + "API_CreateNetworkInsightsPath.html",
		explains: "no second opinion is asked for", set: "reachability_analyzer=false",
		deviates: func(l *lab) bool {
			_, err := l.ec2.CreateNetworkInsightsPath(l.ctx(), &ec2.CreateNetworkInsightsPathInput{Source: &l.w.Suspect, Destination: &l.w.Suspect, Protocol: ec2types.ProtocolTcp})
			return lacks(err)
		},
	},
	{
		operation: "ec2:GetConsoleScreenshot", moto: notThere, aws: "gives a JPG of the console", page: ec2API + "API_GetConsoleScreenshot.html",
		explains: "capture.metadata stores no screenshot, and the journal notes why",
		deviates: func(l *lab) bool {
			_, err := l.ec2.GetConsoleScreenshot(l.ctx(), &ec2.GetConsoleScreenshotInput{InstanceId: &l.w.Suspect})
			return lacks(err)
		},
	},
	{
		operation: "ec2:CreateStoreImageTask", moto: notThere, aws: "stores an image in a bucket", page: ec2API + "API_CreateStoreImageTask.html", explains: notCompare,
		deviates: func(l *lab) bool {
			_, err := l.ec2.CreateStoreImageTask(l.ctx(), &ec2.CreateStoreImageTaskInput{Bucket: &l.w.Bucket, ImageId: l.describe().ImageId})
			return lacks(err)
		},
	},
	{
		operation: "iam:SimulatePrincipalPolicy", moto: notThere, aws: "says what a principal may do",
		page: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html", explains: "that the deny denies is not asked of moto",
		deviates: func(l *lab) bool {
			_, err := iam.NewFromConfig(l.cfg).SimulatePrincipalPolicy(l.ctx(), &iam.SimulatePrincipalPolicyInput{
				PolicySourceArn: aws.String("arn:aws:iam::" + motoAccount + ":role/" + l.w.Role), ActionNames: []string{"s3:GetObject"},
			})
			return lacks(err)
		},
	},
	{
		operation: "cloudtrail:LookupEvents", moto: notThere, aws: "gives the event history of 90 days",
		page: "https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html", explains: notCompare,
		deviates: func(l *lab) bool {
			_, err := cloudtrail.NewFromConfig(l.cfg).LookupEvents(l.ctx(), &cloudtrail.LookupEventsInput{})
			return lacks(err)
		},
	},
	{
		operation: "ssm:DescribeInstanceInformation", moto: notThere, aws: "lists the instances whose agent answers",
		page: "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html", explains: notCompare,
		deviates: func(l *lab) bool {
			_, err := ssm.NewFromConfig(l.cfg).DescribeInstanceInformation(l.ctx(), &ssm.DescribeInstanceInformationInput{})
			return lacks(err)
		},
	},
	{
		operation: "route53resolver:ListFirewallRuleGroupAssociations", moto: notThere, aws: "lists the rule groups that a VPC's names are held to",
		page: "https://docs.aws.amazon.com/Route53/latest/APIReference/API_route53resolver_ListFirewallRuleGroupAssociations.html", explains: "a clean room is not proven closed: what can't be read is not",
		opens: []opening{{"its DNS firewall can't be read", 1}},
		deviates: func(l *lab) bool {
			_, err := route53resolver.NewFromConfig(l.cfg).ListFirewallRuleGroupAssociations(l.ctx(), &route53resolver.ListFirewallRuleGroupAssociationsInput{VpcId: &l.w.VPC})
			return lacks(err)
		},
	},
	{
		operation: "ssm:DescribeSessions", moto: notThere, aws: "lists the sessions on an instance",
		page: "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeSessions.html", explains: "a room's test answers in moto's place that there is none",
		deviates: func(l *lab) bool {
			_, err := ssm.NewFromConfig(l.cfg).DescribeSessions(l.ctx(), &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive})
			return lacks(err)
		},
	},
	{
		operation: "route53profiles:ListProfileAssociations", moto: notThere, aws: "lists the profiles that VPCs are associated with",
		page: "https://docs.aws.amazon.com/Route53/latest/APIReference/API_route53profiles_ListProfileAssociations.html", explains: "a clean room is not proven closed: what can't be read is not",
		opens: []opening{{"its Route 53 Profiles can't be read", 1}},
		deviates: func(l *lab) bool {
			_, err := route53profiles.NewFromConfig(l.cfg).ListProfileAssociations(l.ctx(), &route53profiles.ListProfileAssociationsInput{})
			return lacks(err)
		},
	},
	{
		operation: "ec2:DescribeLocalGatewayRouteTableVpcAssociations", moto: notThere, aws: "lists the VPCs that local gateways' route tables are associated with",
		page: ec2API + "API_DescribeLocalGatewayRouteTableVpcAssociations.html", explains: "a clean room is not proven closed: what can't be read is not",
		opens: []opening{{"its associations with local gateways can't be read", 1}},
		deviates: func(l *lab) bool {
			_, err := l.ec2.DescribeLocalGatewayRouteTableVpcAssociations(l.ctx(), &ec2.DescribeLocalGatewayRouteTableVpcAssociationsInput{})
			return lacks(err)
		},
	},
	{
		operation: "ec2:DescribeInstanceConnectEndpoints", moto: notThere, aws: "lists the endpoints by which instances are reached from outside",
		page: ec2API + "API_DescribeInstanceConnectEndpoints.html", explains: "a clean room is not proven closed: what can't be read is not",
		opens: []opening{{"its instance connect endpoints can't be read", 1}},
		deviates: func(l *lab) bool {
			_, err := l.ec2.DescribeInstanceConnectEndpoints(l.ctx(), &ec2.DescribeInstanceConnectEndpointsInput{})
			return lacks(err)
		},
	},
	{
		operation: "cloudformation:DetectStackDrift", moto: notThere, aws: "compares a stack with what exists",
		page: "https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DetectStackDrift.html", explains: notCompare,
		deviates: func(l *lab) bool {
			_, err := cloudformation.NewFromConfig(l.cfg).DetectStackDrift(l.ctx(), &cloudformation.DetectStackDriftInput{StackName: aws.String("none")})
			return lacks(err)
		},
	},
}

func (l *lab) describe() ec2types.Instance {
	out, err := l.ec2.DescribeInstances(l.ctx(), &ec2.DescribeInstancesInput{InstanceIds: []string{l.w.Suspect}})
	l.must(err)
	return out.Reservations[0].Instances[0]
}

// snapshot is a new one of the suspect's root volume.
func (l *lab) snapshot() string {
	out, err := l.ec2.CreateSnapshot(l.ctx(), &ec2.CreateSnapshotInput{VolumeId: &l.w.Root})
	l.must(err)
	return *out.SnapshotId
}
