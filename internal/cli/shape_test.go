package cli

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classicelb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// shape is the account as a playbook left it, with what differs between any
// two runs (IDs, times, digests) left out: name to sorted values.
type shape map[string][]string

func (s shape) difference(got shape) string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(s))
	for n := range got {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		if !slices.Equal(s[n], got[n]) {
			fmt.Fprintf(&b, "%s:\n  undisturbed %q\n  resumed     %q\n", n, s[n], got[n])
		}
	}
	return b.String()
}

// suffixes are what CloudFormation puts behind a logical ID.
var suffixes = regexp.MustCompile(`-[0-9A-F]{12}\b`)

var ids = regexp.MustCompile(`\b(i|vol|snap|eni|sg|ami|vpc|subnet|rtb|vpce|eipassoc|iip-assoc)-[0-9a-f]{8,17}\b`)

// shape reads the account through the SDK, once everything has come to rest.
func (o *world) shape() shape {
	o.t.Helper()
	err := incident.Poll(o.t.Context(), o.account.Clock(), 15*time.Second, 20*time.Minute, "the group to be whole",
		func(context.Context) (bool, error) { return o.account.Overview().Whole(), nil })
	if err != nil {
		o.t.Fatal(err)
	}
	s := make(shape)
	add := func(name, format string, args ...any) {
		s[name] = append(s[name], suffixes.ReplaceAllString(ids.ReplaceAllString(fmt.Sprintf(format, args...), "$1-…"), "-…"))
	}
	o.instanceShape(add)
	o.placeShape(add)
	o.madeShape(add)
	o.storeShape(add)
	return s.sorted()
}

func (s shape) sorted() shape {
	for n := range s {
		slices.Sort(s[n])
	}
	return s
}

// exact is everything that isolation changes and a release puts back, to the letter.
func (o *world) exact() shape {
	o.t.Helper()
	s := make(shape)
	add := func(name, format string, args ...any) { s[name] = append(s[name], fmt.Sprintf(format, args...)) }
	o.instanceShape(add)
	o.placeShape(add)
	return s.sorted()
}

type adder func(name, format string, args ...any)

// instanceShape says how the instance is set.
func (o *world) instanceShape(add adder) {
	ctx, id := o.t.Context(), o.account.Alert().Instance
	client := ec2.NewFromConfig(o.account.Config(o.account.Alert().Region))
	nics, err := client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{id}}}})
	o.must(err)
	for _, n := range nics.NetworkInterfaces {
		for _, g := range n.Groups {
			add("interface", "%d %s %s", *n.Attachment.DeviceIndex, aws.ToString(g.GroupName), aws.ToString(g.GroupId))
		}
	}
	for _, name := range []types.InstanceAttributeName{"disableApiTermination", "instanceInitiatedShutdownBehavior"} {
		out, err := client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: name})
		o.must(err)
		if v := out.DisableApiTermination; v != nil {
			add("attribute", "%s %v", name, aws.ToBool(v.Value))
		}
		if v := out.InstanceInitiatedShutdownBehavior; v != nil {
			add("attribute", "%s %v", name, aws.ToString(v.Value))
		}
	}
	instances, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	o.must(err)
	for _, d := range instances.Reservations[0].Instances[0].BlockDeviceMappings {
		add("volume", "%s deleted on termination %v", aws.ToString(d.DeviceName), aws.ToBool(d.Ebs.DeleteOnTermination))
	}
	profiles, err := client.DescribeIamInstanceProfileAssociations(ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: []string{id}}}})
	o.must(err)
	for _, p := range profiles.IamInstanceProfileAssociations {
		add("profile", "%s %s", aws.ToString(p.IamInstanceProfile.Arn), p.State)
	}
}

// madeShape counts what a second try must not make twice.
func (o *world) madeShape(add adder) {
	ctx := o.t.Context()
	cfg := o.account.Config(o.account.Alert().Region)
	client := ec2.NewFromConfig(cfg)
	snapshots, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	o.must(err)
	locked, err := client.DescribeLockedSnapshots(ctx, &ec2.DescribeLockedSnapshotsInput{})
	o.must(err)
	add("snapshots", "%d, %d locked", len(snapshots.Snapshots), len(locked.Snapshots))
	images, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}})
	o.must(err)
	for _, i := range images.Images {
		add("image", "%d volumes, %s", len(i.BlockDeviceMappings), aws.ToString(i.DeregistrationProtection))
	}
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	o.must(err)
	for _, g := range groups.SecurityGroups {
		add("group", "%s %d in, %d out", aws.ToString(g.GroupName), len(g.IpPermissions), len(g.IpPermissionsEgress))
	}
	scaling, err := autoscaling.NewFromConfig(cfg).DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
	o.must(err)
	for _, g := range scaling.AutoScalingGroups {
		add("autoscaling", "%s %d to %d, %d desired, %d there", aws.ToString(g.AutoScalingGroupName), *g.MinSize, *g.MaxSize, *g.DesiredCapacity, len(g.Instances))
	}
	stacks, err := cloudformation.NewFromConfig(cfg).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{})
	o.must(err)
	for _, s := range stacks.Stacks {
		add("stack", "%s %s", aws.ToString(s.StackName), s.StackStatus)
	}
	volumes, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
	o.must(err)
	for _, v := range volumes.Volumes {
		add("volumes", "%d GiB, encrypted %v, %d attachment(s)", *v.Size, aws.ToBool(v.Encrypted), len(v.Attachments))
	}
}

// placeShape says where the instance stands in its service, and what its role
// may not do.
func (o *world) placeShape(add adder) {
	ctx, alert := o.t.Context(), o.account.Alert()
	cfg := o.account.Config(alert.Region)
	members, err := autoscaling.NewFromConfig(cfg).DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{alert.Instance}})
	o.must(err)
	for _, i := range members.AutoScalingInstances {
		add("member", "of %s, %s, protected %v", aws.ToString(i.AutoScalingGroupName), aws.ToString(i.LifecycleState), aws.ToBool(i.ProtectedFromScaleIn))
	}
	classic, err := classicelb.NewFromConfig(cfg).DescribeLoadBalancers(ctx, &classicelb.DescribeLoadBalancersInput{})
	o.must(err)
	for _, b := range classic.LoadBalancerDescriptions {
		for _, i := range b.Instances {
			if aws.ToString(i.InstanceId) == alert.Instance {
				add("target", "classic %s", aws.ToString(b.LoadBalancerName))
			}
		}
	}
	balancers := elb.NewFromConfig(cfg)
	targets, err := balancers.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{})
	o.must(err)
	for _, tg := range targets.TargetGroups {
		health, err := balancers.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg.TargetGroupArn})
		o.must(err)
		for _, h := range health.TargetHealthDescriptions {
			if aws.ToString(h.Target.Id) == alert.Instance {
				add("target", "%s port %d", aws.ToString(tg.TargetGroupName), aws.ToInt32(h.Target.Port))
			}
		}
	}
	roles := iam.NewFromConfig(cfg)
	all, err := roles.ListRoles(ctx, &iam.ListRolesInput{})
	o.must(err)
	for _, r := range all.Roles {
		if strings.HasPrefix(aws.ToString(r.RoleName), "cordon-") {
			continue // a clean room's, which a release leaves
		}
		policies, err := roles.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		o.must(err)
		for _, p := range policies.PolicyNames {
			doc, err := roles.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &p})
			o.must(err)
			add("policy", "%s of %s: %s", p, aws.ToString(r.RoleName), aws.ToString(doc.PolicyDocument))
		}
	}
}

// storeShape lists the evidence: in the bucket, and as the journal has it.
// How many checkpoints and manifests are anchored depends on how often the run was resumed.
func (o *world) storeShape(add adder) {
	ctx := o.t.Context()
	client := s3.NewFromConfig(o.account.Config(o.account.Alert().Region))
	pages := s3.NewListObjectVersionsPaginator(client, &s3.ListObjectVersionsInput{Bucket: aws.String(o.account.Alert().Bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		o.must(err)
		for _, v := range page.Versions {
			if key := aws.ToString(v.Key); !strings.Contains(key, "/checkpoints/") && !strings.Contains(key, "/manifests/") {
				add("object", "%s", key)
			}
		}
	}
	r, err := o.w.read(ctx, "INC-1")
	o.must(err)
	for _, i := range r.custody.Items {
		if i.Kind != evidence.KindCheckpoint && i.Kind != evidence.KindManifest {
			add("evidence", "%s %s %s", i.Kind, i.ID, i.Mode)
		}
	}
}

func (o *world) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}
