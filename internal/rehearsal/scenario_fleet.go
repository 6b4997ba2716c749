package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// fleetTag is on every instance of a fleet; its value is the group's name.
const fleetTag = "fleet"

// CreateFleet makes an account with n instances, spread evenly over Auto Scaling
// groups: each group has a launch template, a role with its profile and a target group
// of its own, and they share one load balancer and four subnets in two zones. Every
// instance is tagged fleet=GROUP; group g is named fleet-g, from 1. Disks are empty. Dir is as in Create. It is no
// scenario to choose by name: a command in it takes as long as it is big.
func CreateFleet(dir string, n, groups int, seed int64) (*Account, error) {
	if groups < 1 || n < groups || n > 12000 {
		return nil, fmt.Errorf("a fleet of %d instances in %d groups: want 1 to 12000, and an instance in each group at least", n, groups)
	}
	start := time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)
	a, err := newAccount(dir, start, seed, func(w *world) error {
		w.Scenario = "fleet"
		fleet(w, n, groups)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return a, nil
}

func fleet(w *world, n, groups int) {
	start := w.Now
	w.Now = start.Add(-24 * time.Hour)
	if n > 4000 { // what happens by itself takes real time to live through, by the instance
		w.Now = start.Add(-2 * time.Hour)
	}
	subnets, group := fleetNetwork(w.call("ec2"))
	webBuckets(w.call("s3"))
	image := w.makeImage("fleet-1", w.Account, ec2types.ArchitectureValuesX8664, "", 1).ID
	lb := &loadBalancer{
		Name: "fleet", ARN: w.elbARN("loadbalancer/app/fleet"), VPC: w.EC2.Subnets[subnets[0]].VPC,
		Subnets: map[string]string{w.Region + "a": subnets[0], w.Region + "b": subnets[1]}, Groups: []string{group}, Created: w.Now,
	}
	w.ELB.LoadBalancers = []*loadBalancer{lb}
	for g := range groups {
		members := n / groups
		if g < n%groups {
			members++
		}
		fleetGroup(w, lb, fmt.Sprintf("fleet-%d", g+1), image, subnets, group, members)
	}
	w.tick(start.Add(-time.Hour)) // everything boots, and turns healthy
	w.tick(start)
	for id := range w.EC2.Instances {
		w.Suspect = max(w.Suspect, id)
	}
	w.Alert = Alert{
		Rehearsal: true, Scenario: w.Scenario, Account: w.Account, Region: w.Region, Instance: w.Suspect, Bucket: w.evidenceBucket(),
		Time: start, Title: "CryptoCurrency:EC2/BitcoinTool.B", Severity: "high",
		Text: fmt.Sprintf("GuardDuty: %d instances of %d groups mine coins.", n, groups),
	}
}

// fleetNetwork: four subnets with room for a fleet and its replacements, one open to the Internet by a gateway.
func fleetNetwork(c *call) (subnets []string, group string) {
	vpc := *must(ec2CreateVpc(c, &ec2.CreateVpcInput{CidrBlock: aws.String("10.64.0.0/16")})).Vpc.VpcId
	gateway := must(ec2CreateInternetGateway(c, &ec2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must(ec2AttachInternetGateway(c, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &vpc}))
	for i := range 4 {
		zone := c.Region + "ab"[i%2:i%2+1]
		subnets = append(subnets, webSubnet(c, vpc, fmt.Sprintf("fleet-%d", i+1), fmt.Sprintf("10.64.%d.0/19", 32*i), zone))
	}
	webRouteTable(c, vpc, "fleet", subnets, &ec2.CreateRouteInput{GatewayId: gateway})
	g := c.makeGroup(c.EC2.VPCs[vpc], "fleet", "the fleet's servers")
	g.Rules = append(g.Rules, groupRule{ID: c.id("sgr"), Protocol: "tcp", From: 80, To: 80, CIDR: "0.0.0.0/0"})
	return subnets, g.ID
}

func fleetGroup(w *world, lb *loadBalancer, name, image string, subnets []string, group string, members int) {
	c := w.call("iam")
	role := aws.String(name)
	must(iamCreateRole(c, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)}))
	must(iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: role}))
	must(iamAddRoleToInstanceProfile(c, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: role, RoleName: role}))
	tg := &targetGroup{
		Name: name, ARN: w.elbARN("targetgroup/" + name), VPC: lb.VPC, Type: "instance", Protocol: "HTTP", Port: 80, Path: "/",
		Checks: checks{Interval: 30 * time.Second, Timeout: 5 * time.Second, Healthy: 2, Unhealthy: 3}, Delay: 30 * time.Second,
	}
	lb.Listeners = append(lb.Listeners, &listener{
		ARN: w.elbPart(lb.ARN, "loadbalancer", "listener"), Protocol: "HTTP", Port: int32(80 + len(lb.Listeners)), Group: tg.ARN,
	})
	w.ELB.TargetGroups = append(w.ELB.TargetGroups, tg)
	w.AutoScaling.Groups = append(w.AutoScaling.Groups, &scalingGroup{
		Name: name, Created: w.Now, Min: 1, Max: 2 * members, Desired: members, HealthCheckType: "ELB", Grace: time.Minute,
		Subnets: subnets, TargetGroups: []string{tg.ARN},
		ARN:  fmt.Sprintf("arn:aws:autoscaling:%s:%s:autoScalingGroup:%s:autoScalingGroupName/%s", w.Region, w.Account, w.uuid(), name),
		Tags: []groupTag{{"Name", name, true}, {fleetTag, name, true}},
		Template: launchTemplate{ID: w.id("lt"), Name: name, Version: "1", Spec: launchSpec{
			Image: image, Type: "t3.small", Groups: []string{group}, Profile: name,
		}},
	})
}
