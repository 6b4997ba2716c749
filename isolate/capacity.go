package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// survey looks at who serves beside a member of a group, and whether a
// replacement can launch. It only tells: what it can't read is named as not
// checked, and never keeps an instance in service.
type survey struct {
	balancers
	ec2 *ec2.Client
	asg *autoscaling.Client

	once      sync.Once
	at        time.Time
	serving   []pool
	notes     []string
	unchecked []string
}

// pool are the targets of one load balancer or target group: whether each is healthy.
type pool struct {
	where   string
	healthy map[string]bool // by instance ID or address, and port
}

// surveyAge is how long a survey serves for other members of the group: they
// are planned together, and AWS's request budgets are for all of them.
const surveyAge = 30 * time.Second

// survey looks at a group once for all members that are planned about now.
func (a *autoscalingGroup) survey(ctx context.Context, cfg aws.Config, now time.Time, g astypes.AutoScalingGroup, strategy string) *survey {
	key := aws.ToString(g.AutoScalingGroupARN) + " " + strategy
	a.mu.Lock()
	s := a.surveys[key]
	if s == nil || now.Sub(s.at) > surveyAge {
		if a.surveys == nil {
			a.surveys = make(map[string]*survey)
		}
		s = &survey{balancers: newBalancers(cfg), ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg), at: now}
		a.surveys[key] = s
	}
	a.mu.Unlock()
	s.once.Do(func() { s.look(ctx, g, strategy) })
	return s
}

func (s *survey) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// read reports whether something could be read.
func (s *survey) read(what string, err error) bool {
	if err != nil {
		s.unchecked = append(s.unchecked, what+" ("+reasonOf(err)+")")
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
func (s *survey) look(ctx context.Context, g astypes.AutoScalingGroup, strategy string) {
	for _, arn := range g.TargetGroupARNs {
		targets, err := s.targets(ctx, arn)
		if where := "target group " + targetGroupName(arn); s.read(where, err) {
			s.serving = append(s.serving, poolOf(where, targets))
		}
	}
	for _, name := range g.LoadBalancerNames {
		states, err := s.instanceStates(ctx, name)
		if where := "classic load balancer " + name; s.read(where, err) {
			s.serving = append(s.serving, classicPool(where, states))
		}
	}
	if g.WarmPoolConfiguration != nil {
		s.note("group %s has a warm pool: what it launches comes from there first", aws.ToString(g.AutoScalingGroupName))
	}
	s.refresh(ctx, g)
	if strategy == strategyReplace {
		s.replacement(ctx, g)
		s.unchecked = append(s.unchecked, "service quotas, EC2's capacity")
	}
	if len(s.unchecked) > 0 {
		s.note("not checked: %s", strings.Join(s.unchecked, "; "))
	}
}

// without is what a responder has to know before the instance leaves the group.
func (s *survey) without(inst ec2types.Instance) []string {
	var notes []string
	for _, p := range s.serving {
		notes = append(notes, p.without(inst))
	}
	return append(notes, s.notes...)
}

// poolOf are the registered targets, by DescribeTargetHealth.
func poolOf(where string, targets []elbv2types.TargetHealthDescription) pool {
	p := pool{where, make(map[string]bool)}
	for _, t := range targets {
		if standingOf(t.TargetHealth) == registered {
			p.healthy[aws.ToString(t.Target.Id)+"/"+fmt.Sprint(aws.ToInt32(t.Target.Port))] = t.TargetHealth.State == elbv2types.TargetHealthStateEnumHealthy
		}
	}
	return p
}

func classicPool(where string, states []elbtypes.InstanceState) pool {
	p := pool{where, make(map[string]bool)}
	for _, i := range states {
		if !strings.Contains(aws.ToString(i.Description), drainingClassic) {
			p.healthy[aws.ToString(i.InstanceId)] = aws.ToString(i.State) == "InService"
		}
	}
	return p
}

// without says how many targets serve without the instance.
func (p pool) without(inst ec2types.Instance) string {
	healthy, others := 0, 0
	for target, up := range p.healthy {
		id, _, _ := strings.Cut(target, "/")
		if here, elsewhere := owns(inst, aws.ToString(inst.VpcId), id); here || elsewhere || id == aws.ToString(inst.InstanceId) {
			continue
		}
		others++
		if up {
			healthy++
		}
	}
	switch {
	case others == 0:
		return p.where + " has no other target: what it serves fails until a new one is healthy"
	case healthy == 0:
		return fmt.Sprintf("%s has no other healthy target (of %d): what it serves fails until one is healthy", p.where, others)
	case healthy == 1:
		return fmt.Sprintf("%s is left with only one healthy target (of %d)", p.where, others)
	default:
		return fmt.Sprintf("%s is left with %d healthy targets (of %d)", p.where, healthy, others)
	}
}

// refresh names an instance refresh that replaces members at the same time.
func (s *survey) refresh(ctx context.Context, g astypes.AutoScalingGroup) {
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
func (s *survey) replacement(ctx context.Context, g astypes.AutoScalingGroup) {
	group := aws.ToString(g.AutoScalingGroupName)
	for _, p := range g.SuspendedProcesses {
		if aws.ToString(p.ProcessName) == "Launch" {
			s.note("the Launch process of group %s is suspended: no replacement is launched until it resumes", group)
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
			s.note("key pair %s of the launch template does not exist: no replacement can launch", b.key)
		}
	}
}

// subnets notes those that are full, and returns the zones of the others.
func (s *survey) subnets(ctx context.Context, g astypes.AutoScalingGroup) (zones []string) {
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
		s.note("none of the group's subnets has a free address: no replacement can launch")
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// template reads the launch template's version that the group launches.
func (s *survey) template(ctx context.Context, g astypes.AutoScalingGroup) (b blueprint, ok bool) {
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
		s.unchecked = append(s.unchecked, "launch configuration "+aws.ToString(g.LaunchConfigurationName))
		return b, false
	}
	version := aws.ToString(spec.Version)
	if version == "" {
		version = "$Default"
	}
	out, err := s.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: spec.LaunchTemplateId, Versions: []string{version}})
	name := label(aws.ToString(spec.LaunchTemplateName), "version "+version)
	if hasCode(err, "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound", "InvalidLaunchTemplateName.NotFoundException") || err == nil && len(out.LaunchTemplateVersions) == 0 {
		s.note("launch template %s does not exist: no replacement can launch", name)
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

func (s *survey) image(ctx context.Context, id string) {
	if !strings.HasPrefix(id, "ami-") { // none, or a parameter that is resolved at launch
		s.unchecked = append(s.unchecked, "the image")
		return
	}
	found, err := findImage(ctx, s.ec2, id)
	switch {
	case !s.read("image "+id, err):
	case found == nil:
		s.note("image %s of the launch template is deregistered, or not shared with this account: no replacement can launch", id)
	case found.State != ec2types.ImageStateAvailable:
		s.note("image %s of the launch template is %s: no replacement can launch", id, found.State)
	}
}

// offered notes zones with room where none of the instance types is offered.
func (s *survey) offered(ctx context.Context, names, zones []string) {
	if len(names) == 0 || len(zones) == 0 {
		s.unchecked = append(s.unchecked, "the instance type")
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

func (s *survey) groups(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	found, err := groupsBy(ctx, s.ec2, "group-id", ids...)
	if !s.read("the launch template's security groups", err) {
		return
	}
	for _, id := range ids {
		if !slices.ContainsFunc(found, func(g ec2types.SecurityGroup) bool { return aws.ToString(g.GroupId) == id }) {
			s.note("security group %s of the launch template does not exist: no replacement can launch", id)
		}
	}
}

// PlanJoint refuses a plan whose members of a group, each of which fits by
// itself, together take it below its minimum size or above its maximum.
func (a *autoscalingGroup) PlanJoint(proposals []incident.Proposal) error {
	groups, names := make(map[string]*crowd), []string(nil)
	for _, p := range proposals {
		m, err := recall[place](p.Before)
		if err != nil {
			return err
		}
		if m.Moves == 0 {
			continue
		}
		if groups[m.ARN] == nil {
			groups[m.ARN], names = &crowd{place: m}, append(names, m.ARN)
		}
		groups[m.ARN].members++
	}
	for _, arn := range names {
		if err := groups[arn].refuse(); err != nil {
			return err
		}
	}
	return nil
}

// crowd are the members of a group that leave or come back in one plan.
type crowd struct {
	place
	members int32
}

func (c *crowd) refuse() error {
	after := c.Desired + c.Moves*c.members
	switch {
	case after < c.Min:
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"taking %d instances out lowers the desired capacity of Auto Scaling group %s to %d, below its min-size %d (desired %d, max-size %d)",
			c.members, c.Group, after, c.Min, c.Desired, c.Max)}, "use strategy replace, or lower the group's min-size first")
	case after > c.Max:
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"taking %d instances back raises the desired capacity of Auto Scaling group %s to %d, above its max-size %d (desired %d, min-size %d)",
			c.members, c.Group, after, c.Max, c.Desired, c.Min)},
			"raise the group's max-size, or terminate the replacements with a lower desired capacity, and release again; or release fewer instances at a time")
	}
	return nil
}
