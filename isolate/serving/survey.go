package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// Survey is who serves in an Auto Scaling group, and whether a replacement can launch. It only
// tells: what it can't read is named as not checked.
type Survey struct {
	Pools     []Pool   // of the group's load balancers
	Notes     []string // what a responder has to know; Obstacles are among them
	Obstacles []string // why no replacement launches; none: nothing is known that speaks against it
	Unchecked []string

	Balancers
	ec2 *ec2.Client
	asg *autoscaling.Client
}

// Look surveys a group; replaced says that a new member is to take the place of one.
func Look(ctx context.Context, cfg aws.Config, g astypes.AutoScalingGroup, replaced bool) *Survey {
	s := &Survey{Balancers: New(cfg), ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg)}
	s.look(ctx, g, replaced)
	return s
}

func (s *Survey) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// obstacle is a note on why no replacement launches.
func (s *Survey) obstacle(format string, args ...any) {
	s.note(format, args...)
	s.Obstacles = append(s.Obstacles, fmt.Sprintf(format, args...))
}

// read reports whether something could be read.
func (s *Survey) read(what string, err error) bool {
	if err != nil {
		s.Unchecked = append(s.Unchecked, what+" ("+reasonOf(err)+")")
	}
	return err == nil
}

func reasonOf(err error) string {
	var api interface{ ErrorCode() string }
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return err.Error()
}

// look reads what there is to know of the group.
func (s *Survey) look(ctx context.Context, g astypes.AutoScalingGroup, replaced bool) {
	for _, arn := range g.TargetGroupARNs {
		targets, err := s.Targets(ctx, arn)
		if where := "target group " + TargetGroupName(arn); s.read(where, err) {
			s.Pools = append(s.Pools, PoolOf(where, targets))
		}
	}
	for _, name := range g.LoadBalancerNames {
		states, err := s.States(ctx, name)
		if where := "classic load balancer " + name; s.read(where, err) {
			s.Pools = append(s.Pools, ClassicPool(where, states))
		}
	}
	if g.WarmPoolConfiguration != nil {
		s.note("group %s has a warm pool: what it launches comes from there first", aws.ToString(g.AutoScalingGroupName))
	}
	s.refresh(ctx, g)
	if replaced {
		s.replacement(ctx, g)
		s.Unchecked = append(s.Unchecked, "service quotas, EC2's capacity")
	}
	if len(s.Unchecked) > 0 {
		s.note("not checked: %s", strings.Join(s.Unchecked, "; "))
	}
}

// Without is what a responder has to know before the instance leaves the group.
func (s *Survey) Without(inst ec2types.Instance) []string {
	var notes []string
	for _, p := range s.Pools {
		notes = append(notes, p.Without(inst))
	}
	return append(notes, s.Notes...)
}

// refresh names an instance refresh that replaces members at the same time.
func (s *Survey) refresh(ctx context.Context, g astypes.AutoScalingGroup) {
	out, err := s.asg.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: g.AutoScalingGroupName})
	if !s.read("instance refreshes", err) {
		return
	}
	under := []astypes.InstanceRefreshStatus{
		astypes.InstanceRefreshStatusPending, astypes.InstanceRefreshStatusInProgress, astypes.InstanceRefreshStatusBaking,
		astypes.InstanceRefreshStatusRollbackInProgress, astypes.InstanceRefreshStatusCancelling,
	}
	for _, r := range out.InstanceRefreshes {
		if slices.Contains(under, r.Status) {
			s.note("an instance refresh of group %s is %s: it replaces other members meanwhile", aws.ToString(g.AutoScalingGroupName), r.Status)
		}
	}
}

// blueprint is what a group launches from, as far as it matters here.
type blueprint struct {
	image, key string
	types      []string
	groups     []string
}

// replacement looks whether a new member can launch.
func (s *Survey) replacement(ctx context.Context, g astypes.AutoScalingGroup) {
	group := aws.ToString(g.AutoScalingGroupName)
	for _, p := range g.SuspendedProcesses {
		if aws.ToString(p.ProcessName) == "Launch" {
			s.obstacle("the Launch process of group %s is suspended: no replacement is launched until it resumes", group)
		}
	}
	zones := s.subnets(ctx, g)
	b, ok := s.template(ctx, g)
	if !ok {
		return
	}
	s.image(ctx, b.image)
	s.offered(ctx, b.types, zones)
	s.groups(ctx, b.groups)
	if b.key != "" {
		out, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []ec2types.Filter{{Name: aws.String("key-name"), Values: []string{b.key}}}})
		if s.read("key pair "+b.key, err) && len(out.KeyPairs) == 0 {
			s.obstacle("key pair %s of the launch template does not exist: no replacement can launch", b.key)
		}
	}
}

// subnets notes those that are full, and returns the zones of the others.
func (s *Survey) subnets(ctx context.Context, g astypes.AutoScalingGroup) (zones []string) {
	ids := strings.Split(aws.ToString(g.VPCZoneIdentifier), ",")
	out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("subnet-id"), Values: ids}}})
	if !s.read("the group's subnets", err) {
		return nil
	}
	for _, n := range out.Subnets {
		if aws.ToInt32(n.AvailableIpAddressCount) == 0 {
			s.note("subnet %s in %s has no free address", aws.ToString(n.SubnetId), aws.ToString(n.AvailabilityZone))
		} else {
			zones = append(zones, aws.ToString(n.AvailabilityZone))
		}
	}
	if len(zones) == 0 {
		s.obstacle("none of the group's subnets has a free address: no replacement can launch")
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// template reads the launch template's version that the group launches.
func (s *Survey) template(ctx context.Context, g astypes.AutoScalingGroup) (b blueprint, ok bool) {
	spec := g.LaunchTemplate
	if m := g.MixedInstancesPolicy; m != nil && m.LaunchTemplate != nil {
		spec = m.LaunchTemplate.LaunchTemplateSpecification
		for _, o := range m.LaunchTemplate.Overrides {
			if o.InstanceType != nil {
				b.types = append(b.types, *o.InstanceType)
			}
		}
	}
	if spec == nil {
		s.Unchecked = append(s.Unchecked, "launch configuration "+aws.ToString(g.LaunchConfigurationName))
		return b, false
	}
	version := aws.ToString(spec.Version)
	if version == "" {
		version = "$Default"
	}
	out, err := s.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: spec.LaunchTemplateId, Versions: []string{version}})
	name := aws.ToString(spec.LaunchTemplateName) + " (version " + version + ")"
	if hasCode(err, "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound", "InvalidLaunchTemplateName.NotFoundException") || err == nil && len(out.LaunchTemplateVersions) == 0 {
		s.obstacle("launch template %s does not exist: no replacement can launch", name)
		return b, false
	}
	if !s.read("launch template "+name, err) || out.LaunchTemplateVersions[0].LaunchTemplateData == nil {
		return b, false
	}
	data := out.LaunchTemplateVersions[0].LaunchTemplateData
	b.image, b.key, b.groups = aws.ToString(data.ImageId), aws.ToString(data.KeyName), data.SecurityGroupIds
	for _, n := range data.NetworkInterfaces {
		b.groups = append(b.groups, n.Groups...)
	}
	if len(b.types) == 0 && data.InstanceType != "" {
		b.types = []string{string(data.InstanceType)}
	}
	return b, true
}

func (s *Survey) image(ctx context.Context, id string) {
	if !strings.HasPrefix(id, "ami-") { // none, or a parameter that is resolved at launch
		s.Unchecked = append(s.Unchecked, "the image")
		return
	}
	found, err := FindImage(ctx, s.ec2, id)
	switch {
	case !s.read("image "+id, err):
	case found == nil:
		s.obstacle("image %s of the launch template is deregistered, or not shared with this account: no replacement can launch", id)
	case found.State != ec2types.ImageStateAvailable:
		s.obstacle("image %s of the launch template is %s: no replacement can launch", id, found.State)
	}
}

// offered notes zones with room where none of the instance types is offered.
func (s *Survey) offered(ctx context.Context, names, zones []string) {
	if len(names) == 0 || len(zones) == 0 {
		s.Unchecked = append(s.Unchecked, "the instance type")
		return
	}
	out, err := s.ec2.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: ec2types.LocationTypeAvailabilityZone,
		Filters:      []ec2types.Filter{{Name: aws.String("instance-type"), Values: names}, {Name: aws.String("location"), Values: zones}},
	})
	if !s.read("where the instance type is offered", err) {
		return
	}
	missing := slices.DeleteFunc(zones, func(zone string) bool {
		return slices.ContainsFunc(out.InstanceTypeOfferings, func(o ec2types.InstanceTypeOffering) bool { return aws.ToString(o.Location) == zone })
	})
	if len(missing) > 0 {
		s.note("%s is not offered in %s", strings.Join(names, ", "), strings.Join(missing, ", "))
	}
}

func (s *Survey) groups(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-id"), Values: ids}}})
	if !s.read("the launch template's security groups", err) {
		return
	}
	for _, id := range ids {
		if !slices.ContainsFunc(out.SecurityGroups, func(g ec2types.SecurityGroup) bool { return aws.ToString(g.GroupId) == id }) {
			s.obstacle("security group %s of the launch template does not exist: no replacement can launch", id)
		}
	}
}

// FindImage returns an image; nil where there is none, or none for this account.
func FindImage(ctx context.Context, client *ec2.Client, id string) (*ec2types.Image, error) {
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if hasCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", id, err)
	}
	if len(out.Images) == 0 {
		return nil, nil
	}
	return &out.Images[0], nil
}

// hasCode reports whether AWS refused with one of these error codes.
func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}
