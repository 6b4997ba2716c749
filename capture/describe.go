package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// document is the metadata item. AWS's own types are kept as they are, under
// the names of its API.
type document struct {
	Schema    string    `json:"schema"`
	Case      string    `json:"case"`
	Run       string    `json:"run"`
	Target    string    `json:"target"`
	Rehearsal bool      `json:"rehearsal"`
	Begun     time.Time `json:"begun"`
	Ended     time.Time `json:"ended"`

	Instance       types.Instance           `json:"instance"`
	Interfaces     []types.NetworkInterface `json:"interfaces"`
	Addresses      []types.Address          `json:"addresses"`
	Volumes        []types.Volume           `json:"volumes"`
	SecurityGroups []types.SecurityGroup    `json:"security_groups"`
	Subnets        []types.Subnet           `json:"subnets"`
	RouteTables    []types.RouteTable       `json:"route_tables"`
	NetworkACLs    []types.NetworkAcl       `json:"network_acls"`

	InstanceProfile  *iamtypes.InstanceProfile           `json:"instance_profile"`
	Roles            []role                              `json:"roles"`
	AutoScaling      *astypes.AutoScalingInstanceDetails `json:"auto_scaling"`
	AutoScalingGroup *astypes.AutoScalingGroup           `json:"auto_scaling_group"`
	LaunchTemplate   *types.LaunchTemplateVersion        `json:"launch_template"` // the version that it was launched from
	TargetGroups     []targetGroup                       `json:"target_groups"`
	ClassicBalancers []elbtypes.LoadBalancerDescription  `json:"classic_load_balancers"`

	// Gaps are the parts that AWS refused to show, and why.
	Gaps []string `json:"gaps"`
}

type role struct {
	Name     string                    `json:"name"`
	Inline   map[string]string         `json:"inline_policies"` // name to document
	Attached []iamtypes.AttachedPolicy `json:"attached_policies"`
	// Own are the attached policies that are the account's own, by ARN. AWS's are
	// public, and are told by their names.
	Own map[string]managedPolicy `json:"customer_managed_policies"`
}

type managedPolicy struct {
	Version  string    `json:"version"`
	Created  time.Time `json:"created"` // the version
	Document string    `json:"document"`
}

type targetGroup struct {
	TargetGroup elbv2types.TargetGroup               `json:"target_group"`
	Targets     []elbv2types.TargetHealthDescription `json:"targets"` // those that are the instance
}

// describer fills a document, part by part.
type describer struct {
	ec2  *ec2.Client
	iam  *iam.Client
	as   *autoscaling.Client
	elb  *elb.Client
	elb2 *elbv2.Client
	doc  document
}

// describe reads everything. Only the instance itself must be readable: what
// else is refused is a gap, named in the document, and not a reason to have nothing.
func describe(ctx context.Context, cfg aws.Config, req incident.Request) ([]byte, error) {
	d := &describer{
		ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), as: autoscaling.NewFromConfig(cfg),
		elb: elb.NewFromConfig(cfg), elb2: elbv2.NewFromConfig(cfg),
		doc: document{
			Schema: "cordon.metadata/1", Case: req.Case.ID, Run: req.Run, Target: req.Target.String(),
			Rehearsal: req.Case.Rehearsal, Begun: req.Clock.Now().UTC(), Gaps: []string{},
		},
	}
	var err error
	if d.doc.Instance, err = instance(ctx, d.ec2, req.Target); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		read func(context.Context) error
	}{
		{"network interfaces", d.interfaces}, {"addresses", d.addresses}, {"volumes", d.volumes},
		{"security groups", d.groups}, {"subnets", d.subnets}, {"route tables", d.routes}, {"network ACLs", d.acls},
		{"instance profile and roles", d.profile}, {"Auto Scaling", d.autoScaling}, {"launch template", d.launchTemplate},
		{"target groups", d.targetGroups}, {"classic load balancers", d.classic},
	} {
		if err := part.read(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			d.doc.Gaps = append(d.doc.Gaps, part.name+": "+err.Error())
		}
	}
	d.doc.Ended = req.Clock.Now().UTC()
	return encode(d.doc)
}

// encode leaves out the many fields that AWS did not set.
func encode(doc document) ([]byte, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.MarshalIndent(withoutNulls(v), "", "  ")
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, field := range v {
			if field == nil {
				delete(v, k)
			} else {
				v[k] = withoutNulls(field)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func (d *describer) interfaces(ctx context.Context) error {
	out, err := d.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: filter("attachment.instance-id", *d.doc.Instance.InstanceId)})
	if err == nil {
		d.doc.Interfaces = out.NetworkInterfaces
	}
	return err
}

func (d *describer) addresses(ctx context.Context) error {
	out, err := d.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filter("instance-id", *d.doc.Instance.InstanceId)})
	if err == nil {
		d.doc.Addresses = out.Addresses
	}
	return err
}

func (d *describer) volumes(ctx context.Context) error {
	out, err := d.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", *d.doc.Instance.InstanceId)})
	if err == nil {
		d.doc.Volumes = out.Volumes
	}
	return err
}

func (d *describer) groups(ctx context.Context) error {
	var ids []string
	for _, i := range d.doc.Interfaces {
		for _, g := range i.Groups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	out, err := d.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: slices.Compact(ids)})
	if err == nil {
		d.doc.SecurityGroups = out.SecurityGroups
	}
	return err
}

// subnetIDs of all interfaces, each once.
func (d *describer) subnetIDs() []string {
	ids := []string{aws.ToString(d.doc.Instance.SubnetId)}
	for _, i := range d.doc.Interfaces {
		ids = append(ids, aws.ToString(i.SubnetId))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (d *describer) subnets(ctx context.Context) error {
	out, err := d.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: d.subnetIDs()})
	if err == nil {
		d.doc.Subnets = out.Subnets
	}
	return err
}

// routes takes all tables of the VPC: a subnet without one of its own uses the main one.
func (d *describer) routes(ctx context.Context) error {
	out, err := d.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", aws.ToString(d.doc.Instance.VpcId))})
	if err == nil {
		d.doc.RouteTables = out.RouteTables
	}
	return err
}

func (d *describer) acls(ctx context.Context) error {
	out, err := d.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: filter("association.subnet-id", d.subnetIDs()...)})
	if err == nil {
		d.doc.NetworkACLs = out.NetworkAcls
	}
	return err
}

func (d *describer) profile(ctx context.Context) error {
	p := d.doc.Instance.IamInstanceProfile
	if p == nil {
		return nil
	}
	arn := aws.ToString(p.Arn)
	name := arn[strings.LastIndex(arn, "/")+1:]
	out, err := d.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return err
	}
	d.doc.InstanceProfile = out.InstanceProfile
	for _, r := range out.InstanceProfile.Roles {
		role, err := d.role(ctx, aws.ToString(r.RoleName))
		d.doc.Roles = append(d.doc.Roles, role)
		if err != nil {
			return fmt.Errorf("role %s: %w", role.Name, err)
		}
	}
	return nil
}

func (d *describer) role(ctx context.Context, name string) (role, error) {
	r := role{Name: name, Inline: map[string]string{}, Own: map[string]managedPolicy{}}
	for pages := iam.NewListRolePoliciesPaginator(d.iam, &iam.ListRolePoliciesInput{RoleName: &name}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return r, err
		}
		for _, policy := range page.PolicyNames {
			out, err := d.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
			if err != nil {
				return r, err
			}
			// IAM returns documents percent-encoded (API reference, GetRolePolicy).
			if r.Inline[policy], err = url.PathUnescape(aws.ToString(out.PolicyDocument)); err != nil {
				return r, fmt.Errorf("policy %s: %w", policy, err)
			}
		}
	}
	for pages := iam.NewListAttachedRolePoliciesPaginator(d.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &name}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return r, err
		}
		r.Attached = append(r.Attached, page.AttachedPolicies...)
	}
	for _, a := range r.Attached {
		policy := aws.ToString(a.PolicyArn)
		if strings.Contains(policy, ":iam::aws:policy/") {
			continue
		}
		own, err := d.managed(ctx, policy)
		if err != nil {
			return r, fmt.Errorf("policy %s: %w", policy, err)
		}
		r.Own[policy] = own
	}
	return r, nil
}

// managed reads the version of a policy that is in force.
func (d *describer) managed(ctx context.Context, policy string) (managedPolicy, error) {
	p, err := d.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &policy})
	if err != nil {
		return managedPolicy{}, err
	}
	out, err := d.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &policy, VersionId: p.Policy.DefaultVersionId})
	if err != nil {
		return managedPolicy{}, err
	}
	v := out.PolicyVersion
	document, err := url.PathUnescape(aws.ToString(v.Document))
	return managedPolicy{Version: aws.ToString(v.VersionId), Created: aws.ToTime(v.CreateDate).UTC(), Document: document}, err
}

func (d *describer) autoScaling(ctx context.Context) error {
	in, err := d.as.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{*d.doc.Instance.InstanceId}})
	if err != nil || len(in.AutoScalingInstances) == 0 {
		return err
	}
	d.doc.AutoScaling = &in.AutoScalingInstances[0]
	out, err := d.as.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{aws.ToString(d.doc.AutoScaling.AutoScalingGroupName)}})
	if err == nil && len(out.AutoScalingGroups) > 0 {
		d.doc.AutoScalingGroup = &out.AutoScalingGroups[0]
	}
	return err
}

// launchTemplate reads the version that the instance was launched from: EC2 names
// it in tags of the instance, Auto Scaling in what it knows of the instance.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-instances-from-launch-template.html
func (d *describer) launchTemplate(ctx context.Context) error {
	var id, version string
	for _, t := range d.doc.Instance.Tags {
		switch aws.ToString(t.Key) {
		case "aws:ec2launchtemplate:id":
			id = aws.ToString(t.Value)
		case "aws:ec2launchtemplate:version":
			version = aws.ToString(t.Value)
		}
	}
	if a := d.doc.AutoScaling; id == "" && a != nil && a.LaunchTemplate != nil {
		id, version = aws.ToString(a.LaunchTemplate.LaunchTemplateId), aws.ToString(a.LaunchTemplate.Version)
	}
	if id == "" || version == "" {
		return nil
	}
	out, err := d.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}})
	if err == nil && len(out.LaunchTemplateVersions) > 0 {
		d.doc.LaunchTemplate = &out.LaunchTemplateVersions[0]
	}
	return err
}

// targetGroups asks each group of the VPC: there is no way to ask by target.
func (d *describer) targetGroups(ctx context.Context) error {
	for pages := elbv2.NewDescribeTargetGroupsPaginator(d.elb2, &elbv2.DescribeTargetGroupsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.TargetGroups {
			if vpc := aws.ToString(g.VpcId); vpc != "" && vpc != aws.ToString(d.doc.Instance.VpcId) {
				continue
			}
			out, err := d.elb2.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
			if err != nil {
				return err
			}
			ours := slices.DeleteFunc(out.TargetHealthDescriptions, func(t elbv2types.TargetHealthDescription) bool {
				return t.Target == nil || !d.isTarget(aws.ToString(t.Target.Id))
			})
			if len(ours) > 0 {
				d.doc.TargetGroups = append(d.doc.TargetGroups, targetGroup{g, ours})
			}
		}
	}
	return nil
}

// isTarget: a target is named by the instance's ID or by one of its addresses.
func (d *describer) isTarget(id string) bool {
	if id == aws.ToString(d.doc.Instance.InstanceId) {
		return true
	}
	for _, i := range d.doc.Interfaces {
		for _, p := range i.PrivateIpAddresses {
			if id == aws.ToString(p.PrivateIpAddress) {
				return true
			}
		}
	}
	return false
}

func (d *describer) classic(ctx context.Context) error {
	for pages := elb.NewDescribeLoadBalancersPaginator(d.elb, &elb.DescribeLoadBalancersInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, b := range page.LoadBalancerDescriptions {
			if slices.ContainsFunc(b.Instances, func(i elbtypes.Instance) bool {
				return aws.ToString(i.InstanceId) == aws.ToString(d.doc.Instance.InstanceId)
			}) {
				d.doc.ClassicBalancers = append(d.doc.ClassicBalancers, b)
			}
		}
	}
	return nil
}
