package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/isolate/reach"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// Permissions are the IAM actions that a triage needs. Only ec2:DescribeInstances must be
// there: what can't be read is named in the report, and not judged.
func Permissions() []string {
	list := append(reach.Permissions(),
		"autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeInstanceRefreshes",
		"ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstances", "ec2:DescribeKeyPairs", "ec2:DescribeLaunchTemplateVersions",
		"elasticloadbalancing:DescribeInstanceHealth", "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroups",
		"elasticloadbalancing:DescribeTargetHealth",
		"iam:GetInstanceProfile", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole",
	)
	slices.Sort(list)
	return list
}

// Reader reads what surrounds the instances of one account and Region. What several
// of them have in common is read once: make a Reader for a triage, not for a day. It is safe for
// concurrent use.
type Reader struct {
	cfg   aws.Config
	here  incident.Target
	names triage.Names
	ec2   *ec2.Client
	asg   *autoscaling.Client
	iam   *iam.Client
	elb   serving.Balancers

	vpcs      memo[*reach.VPC]
	groups    memo[group]
	roles     memo[*role]
	balancers memo[*balancers]
	pools     memo[pool]
}

// NewReader returns a Reader for the account and Region of here, which names no instance.
func NewReader(cfg aws.Config, here incident.Target, names triage.Names) *Reader {
	return &Reader{
		cfg: cfg, here: here, names: names, ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), elb: serving.New(cfg),
	}
}

// Triage reads one instance and all that surrounds it, and judges it. It fails where there is no such instance.
func (r *Reader) Triage(ctx context.Context, id string) (triage.Report, error) {
	inst, err := r.describe(ctx, id)
	if err != nil {
		return triage.Report{}, err
	}
	out := triage.Report{Instance: instance(r.here, inst, r.names)}
	out.Queue, out.Classification = out.Tags[r.names.Queue], out.Tags[r.names.Classification]
	out.Criticality, out.Environment = out.Tags[r.names.Criticality], out.Tags[r.names.Environment]
	for _, part := range []struct {
		what string
		read func(context.Context, ec2types.Instance, *triage.Report) error
	}{
		{"its network", r.network},
		{"its load balancers", r.balancing},
		{"its Auto Scaling group", r.scaling},
		{"its role", r.role},
	} {
		if err := part.read(ctx, inst, &out); err != nil {
			if ctx.Err() != nil {
				return out, context.Cause(ctx)
			}
			out.Unread = append(out.Unread, part.what+": "+err.Error())
		}
	}
	out.Judge()
	return out, nil
}

// describe finds the instance, by a filter: without one AWS has a smaller budget
// ("Request throttling for the Amazon EC2 API").
func (r *Reader) describe(ctx context.Context, id string) (ec2types.Instance, error) {
	out, err := r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: filter("instance-id", id)})
	if err != nil {
		return ec2types.Instance{}, fmt.Errorf("instance %s: %w", id, err)
	}
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if aws.ToString(i.InstanceId) == id && i.State != nil && i.State.Name != ec2types.InstanceStateNameTerminated {
				return i, nil
			}
		}
	}
	return ec2types.Instance{}, incident.WithHint(fmt.Errorf("instance %s: there is none in account %s, Region %s", id, r.here.Account, r.here.Region),
		"check the ID, the account and the Region; what is terminated can't be triaged")
}

func filter(name string, values ...string) []ec2types.Filter {
	return []ec2types.Filter{{Name: aws.String(name), Values: values}}
}

// scaling reads the group, and whether it could launch a replacement.
func (r *Reader) scaling(ctx context.Context, inst ec2types.Instance, out *triage.Report) error {
	member, err := r.asg.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{out.ID}})
	if err != nil {
		return err
	}
	for _, m := range member.AutoScalingInstances {
		if aws.ToString(m.InstanceId) != out.ID {
			continue
		}
		name := aws.ToString(m.AutoScalingGroupName)
		g, err := r.groups.get(name, func() (group, error) { return r.group(ctx, name) })
		if err != nil {
			return err
		}
		out.Scaling = &triage.Scaling{
			Group: name, State: aws.ToString(m.LifecycleState), Desired: g.desired, Min: g.min, Max: g.max,
			Obstacles: g.survey.Obstacles, Notes: g.survey.Notes, Unchecked: g.survey.Unchecked,
		}
	}
	return nil
}

// group is an Auto Scaling group, surveyed.
type group struct {
	desired, min, max int32
	survey            *serving.Survey
}

func (r *Reader) group(ctx context.Context, name string) (group, error) {
	found, err := r.asg.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return group{}, err
	}
	if len(found.AutoScalingGroups) == 0 {
		return group{}, fmt.Errorf("there is no group %s any more", name)
	}
	g := found.AutoScalingGroups[0]
	return group{aws.ToInt32(g.DesiredCapacity), aws.ToInt32(g.MinSize), aws.ToInt32(g.MaxSize), serving.Look(ctx, r.cfg, g, true)}, nil
}

// memo reads each thing once, for all who want it.
type memo[T any] struct {
	mu sync.Mutex
	of map[string]func() (T, error)
}

func (m *memo[T]) get(key string, read func() (T, error)) (T, error) {
	m.mu.Lock()
	if m.of == nil {
		m.of = make(map[string]func() (T, error))
	}
	if m.of[key] == nil {
		m.of[key] = sync.OnceValues(read)
	}
	once := m.of[key]
	m.mu.Unlock()
	return once()
}

// hasCode reports whether AWS refused with this error code.
func hasCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
