package conformance

import (
	"encoding/base64"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// webTier is the rehearsal's web-tier scenario, built by ordinary API calls in
// whatever account the configuration leads to: three instances in an Auto
// Scaling group (min 2, max 4) behind an application and a classic load
// balancer. The suspect has what its siblings have not: a second interface, an
// Elastic IP, an encrypted data volume, a second group, and a registration
// under another port of a target group that the Auto Scaling group does not know.
type webTier struct {
	VPC             string
	Public, Private []string // subnets

	Balancers, App, Admin, Back string // security groups

	Role, Profile string // by name; the profile has the role's
	Key           string // ARN of the data volume's key
	Bucket        string // for evidence, with Object Lock

	Group                  string // the Auto Scaling group's name
	Template               string // the launch template's ID
	WebTarget, AdminTarget string // target groups, ARNs
	Classic                string // the classic load balancer's name

	Suspect    string
	Siblings   []string
	Interfaces []string // the suspect's, primary first
	Address    string   // the Elastic IP itself
	Allocation string
	Root, Data string // the suspect's volumes
}

// builder makes the world call by call.
type builder struct {
	t   testing.TB
	cfg aws.Config
	ec2 *ec2.Client
	w   webTier
}

func buildWebTier(t testing.TB, cfg aws.Config) webTier {
	t.Helper()
	w, err := tryWebTier(t, cfg)
	if err != nil {
		t.Fatalf("building the web tier: %v", err)
	}
	return w
}

func tryWebTier(t testing.TB, cfg aws.Config) (w webTier, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refused:
			err = r.error
		default:
			panic(r)
		}
	}()
	b := &builder{t: t, cfg: cfg, ec2: ec2.NewFromConfig(cfg)}
	b.network()
	b.securityGroups()
	b.identity()
	b.evidence()
	b.balancers()
	b.group()
	b.suspect()
	return b.w, nil
}

// refused is a call that failed while the world was built.
type refused struct{ error }

// made is the answer of a call that must succeed; buildWebTier reports where one did not.
func made[T any](answer T, err error) T {
	if err != nil {
		panic(refused{err})
	}
	return answer
}

func named(kind ec2types.ResourceType, name string) []ec2types.TagSpecification {
	return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: &name}}}}
}

// network: two public subnets with a way to the Internet, two private ones behind a NAT gateway.
func (b *builder) network() {
	ctx, c := b.t.Context(), b.ec2
	b.w.VPC = *made(c.CreateVpc(ctx, &ec2.CreateVpcInput{
		CidrBlock: aws.String("10.20.0.0/16"), TagSpecifications: named(ec2types.ResourceTypeVpc, "shop"),
	})).Vpc.VpcId
	subnet := func(name, cidr, zone string) string {
		return *made(c.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &b.w.VPC, CidrBlock: &cidr, AvailabilityZone: aws.String(b.cfg.Region + zone), TagSpecifications: named(ec2types.ResourceTypeSubnet, name),
		})).Subnet.SubnetId
	}
	b.w.Public = []string{subnet("public-a", "10.20.0.0/24", "a"), subnet("public-b", "10.20.1.0/24", "b")}
	b.w.Private = []string{subnet("private-a", "10.20.10.0/24", "a"), subnet("private-b", "10.20.11.0/24", "b")}
	gateway := made(c.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	made(c.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &b.w.VPC}))
	address := made(c.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc}))
	nat := made(c.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{
		SubnetId: &b.w.Public[0], AllocationId: address.AllocationId,
	})).NatGateway.NatGatewayId
	b.routes(b.w.Public, &ec2.CreateRouteInput{GatewayId: gateway})
	b.routes(b.w.Private, &ec2.CreateRouteInput{NatGatewayId: nat})
}

// routes sends everything that is not for the VPC one way.
func (b *builder) routes(subnets []string, route *ec2.CreateRouteInput) {
	ctx, c := b.t.Context(), b.ec2
	table := made(c.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &b.w.VPC})).RouteTable.RouteTableId
	route.RouteTableId, route.DestinationCidrBlock = table, aws.String("0.0.0.0/0")
	made(c.CreateRoute(ctx, route))
	for _, s := range subnets {
		made(c.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: &s}))
	}
}

func (b *builder) securityGroups() {
	ctx, c := b.t.Context(), b.ec2
	group := func(name, description string) string {
		return *made(c.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
			GroupName: &name, Description: &description, VpcId: &b.w.VPC, TagSpecifications: named(ec2types.ResourceTypeSecurityGroup, name),
		})).GroupId
	}
	allow := func(group string, port int32, from ec2types.IpPermission) {
		from.IpProtocol, from.FromPort, from.ToPort = aws.String("tcp"), &port, &port
		made(c.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: &group, IpPermissions: []ec2types.IpPermission{from},
		}))
	}
	network := func(cidr string) ec2types.IpPermission {
		return ec2types.IpPermission{IpRanges: []ec2types.IpRange{{CidrIp: &cidr}}}
	}
	b.w.Balancers, b.w.App = group("web-balancer", "load balancers of the shop"), group("web-app", "web servers of the shop")
	b.w.Admin, b.w.Back = group("web-admin", "administration"), group("web-backend", "back end of the web servers")
	allow(b.w.Balancers, 80, network("0.0.0.0/0"))
	allow(b.w.Balancers, 443, network("0.0.0.0/0"))
	allow(b.w.App, 80, ec2types.IpPermission{UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &b.w.Balancers}}})
	allow(b.w.App, 8080, ec2types.IpPermission{UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &b.w.Balancers}}})
	allow(b.w.Admin, 22, network("10.20.0.0/16"))
	allow(b.w.Back, 9100, network("10.20.0.0/16"))
}

// identity: one role for all web servers, and a key for the data volume.
func (b *builder) identity() {
	ctx, c := b.t.Context(), iam.NewFromConfig(b.cfg)
	b.w.Role, b.w.Profile = "web-tier", "web-tier"
	made(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &b.w.Role, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)}))
	made(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: &b.w.Role, PolicyName: aws.String("app-config"), PolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shop-config/*"}]}`),
	}))
	made(c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &b.w.Profile}))
	made(c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: &b.w.Profile, RoleName: &b.w.Role,
	}))
	b.w.Key = *made(kms.NewFromConfig(b.cfg).CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("data volumes of the shop")})).KeyMetadata.Arn
}

func (b *builder) evidence() {
	b.w.Bucket = "evidence-" + motoAccount
	made(s3.NewFromConfig(b.cfg).CreateBucket(b.t.Context(), &s3.CreateBucketInput{
		Bucket: &b.w.Bucket, ObjectLockEnabledForBucket: aws.Bool(true),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(b.cfg.Region)},
	}))
}

// balancers: the application load balancer sends to the group's target group
// and, by a rule, to one that the Auto Scaling group knows nothing of.
func (b *builder) balancers() {
	ctx, c := b.t.Context(), elbv2.NewFromConfig(b.cfg)
	target := func(name string, port int32) string {
		return *made(c.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
			Name: &name, Protocol: elbv2types.ProtocolEnumHttp, Port: &port, VpcId: &b.w.VPC, TargetType: elbv2types.TargetTypeEnumInstance,
		})).TargetGroups[0].TargetGroupArn
	}
	forward := func(group string) []elbv2types.Action {
		return []elbv2types.Action{{Type: elbv2types.ActionTypeEnumForward, TargetGroupArn: &group}}
	}
	b.w.WebTarget, b.w.AdminTarget = target("web", 80), target("web-admin", 9000)
	balancer := made(c.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{
		Name: aws.String("web"), Subnets: b.w.Public, SecurityGroups: []string{b.w.Balancers}, Type: elbv2types.LoadBalancerTypeEnumApplication,
	})).LoadBalancers[0].LoadBalancerArn
	listener := made(c.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: balancer, Protocol: elbv2types.ProtocolEnumHttp, Port: aws.Int32(80), DefaultActions: forward(b.w.WebTarget),
	})).Listeners[0].ListenerArn
	made(c.CreateRule(ctx, &elbv2.CreateRuleInput{
		ListenerArn: listener, Priority: aws.Int32(10), Actions: forward(b.w.AdminTarget),
		Conditions: []elbv2types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/admin/*"}}},
	}))
	b.w.Classic = "web-internal"
	made(elb.NewFromConfig(b.cfg).CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		LoadBalancerName: &b.w.Classic, Subnets: b.w.Public, SecurityGroups: []string{b.w.Balancers},
		Listeners: []elbtypes.Listener{{Protocol: aws.String("HTTP"), LoadBalancerPort: 80, InstanceProtocol: aws.String("HTTP"), InstancePort: aws.Int32(80)}},
	}))
}

// image is a machine image as the account's catalogue has it.
func (b *builder) image() string {
	images := made(b.ec2.DescribeImages(b.t.Context(), &ec2.DescribeImagesInput{
		Owners: []string{"amazon"}, Filters: []ec2types.Filter{
			{Name: aws.String("name"), Values: []string{"amzn2-ami-*"}}, {Name: aws.String("root-device-type"), Values: []string{"ebs"}},
		},
	})).Images
	if len(images) == 0 {
		b.t.Fatal("building the web tier: no image of Amazon Linux")
	}
	return *images[0].ImageId
}

func (b *builder) group() {
	ctx := b.t.Context()
	template := made(b.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			ImageId: aws.String(b.image()), InstanceType: ec2types.InstanceTypeT3Small,
			NetworkInterfaces: []ec2types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
				DeviceIndex: aws.Int32(0), Groups: []string{b.w.App}, AssociatePublicIpAddress: aws.Bool(true),
			}},
			IamInstanceProfile: &ec2types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: &b.w.Profile},
			UserData:           aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nsystemctl start httpd\n"))),
		},
	})).LaunchTemplate
	b.w.Template, b.w.Group = *template.LaunchTemplateId, "web"
	c := autoscaling.NewFromConfig(b.cfg)
	tag := func(key, value string) astypes.Tag {
		return astypes.Tag{Key: &key, Value: &value, PropagateAtLaunch: aws.Bool(true), ResourceId: &b.w.Group, ResourceType: aws.String("auto-scaling-group")}
	}
	made(c.CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: &b.w.Group, MinSize: aws.Int32(2), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(3),
		LaunchTemplate:    &astypes.LaunchTemplateSpecification{LaunchTemplateId: &b.w.Template, Version: aws.String("$Latest")},
		VPCZoneIdentifier: aws.String(b.w.Public[0] + "," + b.w.Public[1]), TargetGroupARNs: []string{b.w.WebTarget}, LoadBalancerNames: []string{b.w.Classic},
		HealthCheckType: aws.String("ELB"), HealthCheckGracePeriod: aws.Int32(60), Tags: []astypes.Tag{
			tag("Name", "web"), tag("owner", "shop-platform"), tag("queue", "INC-SHOP"), tag("data-classification", "confidential"), tag("criticality", "high"),
		},
	}))
	members := made(c.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{
		AutoScalingGroupNames: []string{b.w.Group},
	})).AutoScalingGroups[0].Instances
	if len(members) != 3 {
		b.t.Fatalf("building the web tier: the group has %d instances", len(members))
	}
	b.w.Suspect, b.w.Siblings = *members[0].InstanceId, []string{*members[1].InstanceId, *members[2].InstanceId}
	for _, id := range append([]string{b.w.Suspect}, b.w.Siblings...) {
		b.asInTheTemplate(id)
	}
}

// asInTheTemplate gives a member what the launch template says and moto's Auto
// Scaling leaves out (deviations: "a member has no instance profile", "a member has the VPC's default group").
func (b *builder) asInTheTemplate(id string) {
	ctx, i := b.t.Context(), b.describe(id)
	if i.IamInstanceProfile == nil {
		made(b.ec2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{
			InstanceId: &id, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: &b.w.Profile},
		}))
	}
	made(b.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: i.NetworkInterfaces[0].NetworkInterfaceId, Groups: []string{b.w.App},
	}))
}

// suspect gives one member what it has beyond its siblings.
func (b *builder) suspect() {
	ctx, c := b.t.Context(), b.ec2
	i := b.describe(b.w.Suspect)
	b.w.Interfaces, b.w.Root = []string{*i.NetworkInterfaces[0].NetworkInterfaceId}, *i.BlockDeviceMappings[0].Ebs.VolumeId
	made(c.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &b.w.Interfaces[0], Groups: []string{b.w.App, b.w.Admin},
	}))
	second := made(c.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(b.private(*i.SubnetId)), Groups: []string{b.w.Back}, Description: aws.String("back end"),
	})).NetworkInterface.NetworkInterfaceId
	made(c.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: second, InstanceId: &b.w.Suspect, DeviceIndex: aws.Int32(1),
	}))
	b.w.Interfaces = append(b.w.Interfaces, *second)
	address := made(c.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc}))
	b.w.Address, b.w.Allocation = *address.PublicIp, *address.AllocationId
	made(c.AssociateAddress(ctx, &ec2.AssociateAddressInput{
		AllocationId: address.AllocationId, NetworkInterfaceId: &b.w.Interfaces[0],
	}))
	b.w.Data = *made(c.CreateVolume(ctx, &ec2.CreateVolumeInput{
		AvailabilityZone: i.Placement.AvailabilityZone, Size: aws.Int32(1), VolumeType: ec2types.VolumeTypeGp3,
		Encrypted: aws.Bool(true), KmsKeyId: &b.w.Key, TagSpecifications: named(ec2types.ResourceTypeVolume, "web-data"),
	})).VolumeId
	made(c.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &b.w.Data, InstanceId: &b.w.Suspect, Device: aws.String("/dev/sdf")}))
	made(elbv2.NewFromConfig(b.cfg).RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: &b.w.AdminTarget, Targets: []elbv2types.TargetDescription{{Id: &b.w.Suspect, Port: aws.Int32(8080)}},
	}))
}

func (b *builder) describe(id string) ec2types.Instance {
	return made(b.ec2.DescribeInstances(b.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})).Reservations[0].Instances[0]
}

// private is the private subnet in the public one's zone: an interface can't leave its zone.
func (b *builder) private(public string) string {
	if public == b.w.Public[1] {
		return b.w.Private[1]
	}
	return b.w.Private[0]
}

func TestTheWebTierIsBuilt(t *testing.T) {
	w := buildWebTier(t, motoConfig(t, startMoto(t)))
	if len(w.Siblings) != 2 || len(w.Interfaces) != 2 || w.Root == "" || w.Data == "" {
		t.Errorf("the world is %+v", w)
	}
}
