package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// webTier: a shop's web servers. One of them runs a web shell: it is in the
// group like its siblings, and has grown by hand what they have not: a second
// interface, an Elastic IP, a data volume, and a registration under another
// port of a target group that the Auto Scaling group does not know.
func webTier(w *world) error {
	start := w.Now
	w.Now = start.Add(-20 * 24 * time.Hour) // the web shell on the disk is from 2 March
	n := webNetwork(w.call("ec2"))
	key := webKey(w.call("kms"))
	webRoles(w.call("iam"))
	must(ec2ImportKeyPair(w.call("ec2"), &ec2.ImportKeyPairInput{KeyName: aws.String(webKeyPair), PublicKeyMaterial: []byte("ssh-ed25519 rehearsal")}))
	webBuckets(w.call("s3"))
	image := w.makeImage("shop-web-7", w.Account, ec2types.ArchitectureValuesX8664, "", 2).ID
	webBalancers(w, n)
	g := webGroup(w, n, image)
	suspect := must(w.launch(webSuspect(g, n, key)))
	webSuspectExtras(w, n, g, suspect)
	w.tick(start)
	w.Suspect = suspect.ID
	recordFlows(w, n.vpc, "/shop/flow-logs", 20*24*time.Hour)
	w.Alert = webAlert(w)
	webIntrusion(w)
	webStolenKey(w)
	webQuarantine(w.call("iam"))
	return nil
}

// must: a scenario is part of the program; where its own account refuses it,
// the program is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic("rehearsal: scenario: " + err.Error())
	}
	return v
}

// webNet are the parts of the network that the rest refers to.
type webNet struct {
	vpc                        string
	public, private            []string // subnets, one in each zone
	balancer, app, admin, back string   // security groups
}

// webNetwork: public subnets for the web servers and the balancer, private ones
// that reach the Internet through a NAT gateway.
func webNetwork(c *call) webNet {
	vpc := *must(ec2CreateVpc(c, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})).Vpc.VpcId
	c.EC2.VPCs[vpc].DNSHostnames = true
	c.tag(vpc, map[string]string{"Name": "shop"})
	n := webNet{vpc: vpc}
	for i, zone := range []string{"a", "b"} {
		n.public = append(n.public, webSubnet(c, vpc, "public-"+zone, fmt.Sprintf("10.20.%d.0/24", i), c.Region+zone))
		n.private = append(n.private, webSubnet(c, vpc, "private-"+zone, fmt.Sprintf("10.20.%d.0/24", 10+i), c.Region+zone))
	}
	webRoutes(c, n)
	allow := func(id, protocol string, port int32, cidr, group string) {
		g := c.EC2.Groups[id]
		g.Rules = append(g.Rules, groupRule{ID: c.id("sgr"), Protocol: protocol, From: port, To: port, CIDR: cidr, Group: group})
	}
	group := func(name, description string) string {
		g := c.makeGroup(c.EC2.VPCs[vpc], name, description)
		c.tag(g.ID, map[string]string{"Name": name})
		return g.ID
	}
	n.balancer, n.app = group("web-balancer", "load balancers of the shop"), group("web-app", "web servers of the shop")
	n.admin, n.back = group("web-admin", "administration"), group("web-backend", "back end of the web servers")
	allow(n.balancer, "tcp", 80, "0.0.0.0/0", "")
	allow(n.balancer, "tcp", 443, "0.0.0.0/0", "")
	allow(n.app, "tcp", 80, "", n.balancer)
	allow(n.app, "tcp", 8080, "", n.balancer)
	allow(n.admin, "tcp", 22, "10.20.0.0/16", "")
	allow(n.back, "tcp", 9100, "10.20.0.0/16", "")
	return n
}

func webSubnet(c *call, vpc, name, cidr, zone string) string {
	id := *must(ec2CreateSubnet(c, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: &zone})).Subnet.SubnetId
	c.tag(id, map[string]string{"Name": name})
	return id
}

func webRoutes(c *call, n webNet) {
	gateway := must(ec2CreateInternetGateway(c, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must(ec2AttachInternetGateway(c, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &n.vpc}))
	address := must(ec2AllocateAddress(c, &ec2.AllocateAddressInput{})).AllocationId
	nat := must(ec2CreateNatGateway(c, &ec2.CreateNatGatewayInput{SubnetId: &n.public[0], AllocationId: address})).NatGateway.NatGatewayId
	webRouteTable(c, n.vpc, "public", n.public, &ec2.CreateRouteInput{GatewayId: gateway})
	webRouteTable(c, n.vpc, "private", n.private, &ec2.CreateRouteInput{NatGatewayId: nat})
}

// webRouteTable sends everything that is not for the VPC one way.
func webRouteTable(c *call, vpc, name string, subnets []string, route *ec2.CreateRouteInput) {
	table := must(ec2CreateRouteTable(c, &ec2.CreateRouteTableInput{VpcId: &vpc})).RouteTable.RouteTableId
	c.tag(*table, map[string]string{"Name": name})
	route.RouteTableId, route.DestinationCidrBlock = table, aws.String("0.0.0.0/0")
	must(ec2CreateRoute(c, route))
	for _, s := range subnets {
		must(ec2AssociateRouteTable(c, &ec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: &s}))
	}
}

func webKey(c *call) string {
	arn := *must(kmsCreateKey(c, &kms.CreateKeyInput{
		Description: aws.String("data volumes of the shop"), Tags: []kmstypes.Tag{{TagKey: aws.String("owner"), TagValue: aws.String("shop-platform")}},
	})).KeyMetadata.Arn
	must(kmsCreateAlias(c, &kms.CreateAliasInput{AliasName: aws.String("alias/shop-data"), TargetKeyId: &arn}))
	return arn
}

const (
	webRole    = "web-tier"
	webKeyPair = "shop-ops"
)

// webRoles: the web servers share one role through one profile. The responder's
// role and the service-linked one are there as in any account.
func webRoles(c *call) {
	role, config := aws.String(webRole), aws.String("app-config")
	must(iamCreateRole(c, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: trustOf("ec2.amazonaws.com")}))
	must(iamPutRolePolicy(c, &iam.PutRolePolicyInput{RoleName: role, PolicyName: config, PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::shop-config-` + c.Account + `","arn:aws:s3:::shop-config-` + c.Account + `/*"]}]}`)}))
	must(iamAttachRolePolicy(c, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String(awsManagedPolicyStart + "AmazonSSMManagedInstanceCore")}))
	must(iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: role}))
	must(iamAddRoleToInstanceProfile(c, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: role, RoleName: role}))
	must(iamCreateRole(c, &iam.CreateRoleInput{
		RoleName: aws.String("AWSServiceRoleForAutoScaling"), Path: aws.String("/aws-service-role/autoscaling.amazonaws.com/"),
		AssumeRolePolicyDocument: trustOf("autoscaling.amazonaws.com"),
	}))
	must(iamCreateRole(c, &iam.CreateRoleInput{RoleName: aws.String("responder"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + c.Account + `:root"},"Action":"sts:AssumeRole"}]}`)}))
}

// trustOf lets a service assume a role.
func trustOf(service string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`)
}

// webBuckets: the evidence bucket has Object Lock, and so versions.
func webBuckets(c *call) {
	where := &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(c.Region)}
	must(s3CreateBucket(c, &s3.CreateBucketInput{Bucket: aws.String("shop-config-" + c.Account), CreateBucketConfiguration: where}))
	must(s3CreateBucket(c, &s3.CreateBucketInput{
		Bucket: aws.String(c.evidenceBucket()), CreateBucketConfiguration: where, ObjectLockEnabledForBucket: aws.Bool(true),
	}))
}

// webBalancers: the application load balancer sends to the group's target group
// and, by a rule, to one that the Auto Scaling group knows nothing of.
func webBalancers(w *world, n webNet) {
	zones := map[string]string{w.Region + "a": n.public[0], w.Region + "b": n.public[1]}
	often := checks{Interval: 10 * time.Second, Timeout: 5 * time.Second, Healthy: 2, Unhealthy: 3}
	tg := func(name string, port int32) *targetGroup {
		return &targetGroup{
			Name: name, ARN: w.elbARN("targetgroup/" + name), VPC: n.vpc, Type: "instance", Protocol: "HTTP", Port: port, Path: "/",
			Checks: often, Delay: 30 * time.Second, Tags: map[string]string{"owner": "shop-platform"},
		}
	}
	web, admin := tg("web", 80), tg("web-admin", 9000)
	lb := &loadBalancer{
		Name: "web", ARN: w.elbARN("loadbalancer/app/web"), VPC: n.vpc, Subnets: zones, Groups: []string{n.balancer},
		Created: w.Now, Tags: map[string]string{"owner": "shop-platform"},
	}
	lb.Listeners = []*listener{{
		ARN: w.elbPart(lb.ARN, "loadbalancer", "listener"), Protocol: "HTTP", Port: 80, Group: web.ARN,
	}}
	lb.Listeners[0].Rules = []*listenerRule{{
		ARN: w.elbPart(lb.Listeners[0].ARN, "listener", "listener-rule"), Priority: 10, Path: "/admin/*", Group: admin.ARN,
	}}
	w.ELB.TargetGroups = []*targetGroup{web, admin}
	w.ELB.LoadBalancers = []*loadBalancer{lb}
	w.Classic.LoadBalancers = []*classicBalancer{{
		Name: "web-internal", VPC: n.vpc, Subnets: zones, Groups: []string{n.balancer}, Port: 80, InstancePort: 80, Created: w.Now,
		Checks: often, Draining: true, Delay: 30 * time.Second, Tags: map[string]string{"owner": "shop-platform"},
	}}
}

// webGroup: two of its three members start here, launched as Auto Scaling does
// it; the third is the suspect.
func webGroup(w *world, n webNet, image string) *scalingGroup {
	name := "web"
	g := &scalingGroup{
		Name: name, Created: w.Now, Min: 2, Max: 4, Desired: 3, HealthCheckType: "ELB", Grace: time.Minute, Subnets: n.public,
		ARN:          fmt.Sprintf("arn:aws:autoscaling:%s:%s:autoScalingGroup:%s:autoScalingGroupName/%s", w.Region, w.Account, w.uuid(), name),
		TargetGroups: []string{w.ELB.TargetGroups[0].ARN}, Classic: []string{w.Classic.LoadBalancers[0].Name},
		Tags: []groupTag{
			{"Name", "web", true}, {"owner", "shop-platform", true}, {"queue", "INC-SHOP", true},
			{"data-classification", "confidential", true}, {"criticality", "high", true},
		},
	}
	g.Template = launchTemplate{ID: w.id("lt"), Name: "web", Version: "7", Spec: launchSpec{
		Image: image, Type: "t3.small", Groups: []string{n.app}, Profile: webRole, KeyName: webKeyPair,
	}}
	w.AutoScaling.Groups = []*scalingGroup{g}
	return g
}

// webSuspect is the template's instance and what was added to it.
func webSuspect(g *scalingGroup, n webNet, key string) launchSpec {
	spec := g.Template.Spec
	spec.Subnet, spec.Tags = n.public[0], g.memberTags(nil)
	spec.Groups = []string{n.app, n.admin}
	spec.Volumes = []launchVolume{
		{Device: "/dev/xvda", Size: 2, Type: "gp3", Disk: diskWebRoot},
		{Device: "/dev/sdf", Size: 1, Type: "gp3", Disk: diskWebData, Encrypted: true, Key: key},
	}
	spec.Interfaces = []launchInterface{{Index: 1, Subnet: n.private[0], Groups: []string{n.back}, Description: "back end"}}
	return spec
}

func webSuspectExtras(w *world, n webNet, g *scalingGroup, suspect *instance) {
	g.Members = append(g.Members, &member{ID: suspect.ID, Healthy: true, Template: g.Template.Version})
	g.enter(w, g.member(suspect.ID), statePending, pendingTime)
	admin := w.ELB.TargetGroups[1]
	admin.register(suspect.ID, 8080, suspect.AZ, w.Now)
	c := w.call("ec2")
	address := must(ec2AllocateAddress(c, &ec2.AllocateAddressInput{})).AllocationId
	must(ec2AssociateAddress(c, &ec2.AssociateAddressInput{AllocationId: address, NetworkInterfaceId: &w.EC2.interfacesOf(suspect.ID)[0].ID}))
}

func webAlert(w *world) Alert {
	return Alert{
		Rehearsal: true, Scenario: w.Scenario, Account: w.Account, Region: w.Region, Instance: w.Suspect, Bucket: w.evidenceBucket(),
		Time: w.Now.Add(-13 * time.Minute), Title: "Backdoor:EC2/C&CActivity.B", Severity: "high",
		Text: fmt.Sprintf("GuardDuty: instance %s (web, %s) is talking to a known command-and-control server, 203.0.113.66, port 443, since 02:41 UTC. "+
			"Its role %s has made calls it never made before. The shop is open: it must stay up.", w.Suspect, w.Region, webRole),
	}
}

// webIntrusion is what the intruder left in the event history: the stolen
// credentials of the instance profile, used from outside. It goes on.
func webIntrusion(w *world) {
	w.Intruder = &intruder{
		Instance: w.Suspect, Role: webRole, From: "203.0.113.66", Issued: w.Now.Add(-20 * time.Minute), Next: w.Now.Add(2 * time.Minute),
	}
	session := fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", w.Account, webRole, w.Suspect)
	for _, e := range []struct {
		ago           time.Duration
		service, name string
		read          bool
		code          string
	}{
		{19 * time.Minute, "sts", "GetCallerIdentity", true, ""},
		{18 * time.Minute, "s3", "ListBuckets", true, "AccessDenied"},
		{17 * time.Minute, "ec2", "DescribeInstances", true, "Client.UnauthorizedOperation"},
		{16 * time.Minute, "iam", "CreateUser", false, "AccessDenied"},
		{12 * time.Minute, "secretsmanager", "ListSecrets", true, "AccessDenied"},
	} {
		event := trailEvent{
			ID: w.uuid(), Time: w.Now.Add(-e.ago), Region: w.Region, Source: e.service + ".amazonaws.com", Name: e.name, By: session,
			From: w.Intruder.From, Read: e.read, Request: w.uuid(), Code: e.code,
		}
		if e.code != "" {
			event.Error = fmt.Sprintf("User: %s is not authorized to perform: %s:%s", session, e.service, e.name)
		}
		w.Trail.Events = append(w.Trail.Events, event)
	}
}

// webStolenKey: the deployment's user has a key that was in the web server's
// environment. The intruder has it as well, and credentials that it got with it.
func webStolenKey(w *world) {
	c, name := w.call("iam"), aws.String("shop-deploy")
	must(iamCreateUser(c, &iam.CreateUserInput{UserName: name}))
	must(iamPutUserPolicy(c, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("deploy"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListAllMyBuckets","s3:PutObject"],"Resource":"*"}]}`)}))
	key := must(iamCreateAccessKey(c, &iam.CreateAccessKeyInput{UserName: name})).AccessKey
	created := w.Now.Add(-200 * 24 * time.Hour)
	w.IAM.Users[*name].Created, w.accessKey(*key.AccessKeyId).Created = created, created
	w.Thief = &keyThief{User: *name, Key: *key.AccessKeyId, From: w.Intruder.From, Issued: w.Now.Add(-10 * time.Minute), Next: w.Now.Add(3 * time.Minute)}
	for i, event := range []string{"GetCallerIdentity", "GetSessionToken"} {
		w.Trail.Events = append(w.Trail.Events, trailEvent{
			ID: w.uuid(), Time: w.Now.Add(time.Duration(i-11) * time.Minute), Region: w.Region, Source: "sts.amazonaws.com", Name: event, Read: true,
			By: w.IAM.Users[*name].arn(w), Key: w.Thief.Key, From: w.Thief.From, Request: w.uuid(),
		})
	}
}

// webQuarantine: a profile for isolated instances, which lets them talk to SSM.
func webQuarantine(c *call) {
	name := aws.String("quarantine")
	must(iamCreateRole(c, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &c.IAM.Roles[webRole].Trust}))
	must(iamAttachRolePolicy(c, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String(awsManagedPolicyStart + "AmazonSSMManagedInstanceCore")}))
	must(iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: name}))
	must(iamAddRoleToInstanceProfile(c, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}))
}
