package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// pause is the time between two looks at something that is changing.
	pause = 2 * time.Second
	// lag is how long AWS may keep showing the state from before a change
	// ("Eventual consistency in the Amazon EC2 API").
	lag = time.Minute
)

// errGone: there is no instance any more, so nothing of it can be isolated or
// restored.
var errGone = errors.New("the instance is gone")

// describe returns an instance that can be isolated: running or stopped. It
// fails with errGone where there is none.
func describe(ctx context.Context, client *ec2.Client, t incident.Target) (ec2types.Instance, error) {
	var none ec2types.Instance
	// By a filter: without one AWS has a smaller budget ("Request throttling for the Amazon EC2 API").
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: []string{t.Instance}}},
	})
	if hasCode(err, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed") {
		return none, notFound(t, err)
	}
	if err != nil {
		return none, fmt.Errorf("instance %s: %w", t, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if aws.ToString(i.InstanceId) != t.Instance || i.State == nil {
				continue
			}
			switch i.State.Name {
			case ec2types.InstanceStateNameTerminated, ec2types.InstanceStateNameShuttingDown:
				return none, incident.WithHint(fmt.Errorf("instance %s: %w: it is %s", t, errGone, i.State.Name),
					"nothing is left to isolate; look for volumes and snapshots that outlived it, and in CloudTrail for who terminated it")
			}
			return i, nil
		}
	}
	return none, notFound(t, nil)
}

func notFound(t incident.Target, cause error) error {
	err := fmt.Errorf("instance %s: %w: AWS knows no such instance here", t, errGone)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return incident.WithHint(err, "check the ID, the account and the Region: an instance is seen only in its own Region, and for about an hour after its end")
}

// nothingLeft is a release's proposal for an instance that is gone.
func nothingLeft(err error) incident.Proposal {
	return incident.Proposal{Changes: []incident.Change{}, Notes: []string{err.Error() + "; nothing to restore"}}
}

// instanceName is the instance as a responder reads it: i-0123 (web-1).
func instanceName(i ec2types.Instance) string {
	return label(aws.ToString(i.InstanceId), tagOf(i.Tags, "Name"))
}

// label puts a name behind an ID, where there are both.
func label(id, name string) string {
	switch {
	case name == "":
		return id
	case id == "":
		return name
	}
	return id + " (" + name + ")"
}

func tagOf(tags []ec2types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// membership is the instance's place in its Auto Scaling group; nil where it is in none.
func membership(ctx context.Context, client *autoscaling.Client, instance string) (*astypes.AutoScalingInstanceDetails, error) {
	out, err := client.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		return nil, fmt.Errorf("reading the Auto Scaling group of %s: %w", instance, err)
	}
	for _, m := range out.AutoScalingInstances {
		state := lifecycle(&m)
		if aws.ToString(m.InstanceId) == instance && state != astypes.LifecycleStateDetached && state != astypes.LifecycleStateTerminated {
			return &m, nil
		}
	}
	return nil, nil
}

// lifecycle is the state of a membership; empty for none.
func lifecycle(m *astypes.AutoScalingInstanceDetails) astypes.LifecycleState {
	if m == nil {
		return ""
	}
	return astypes.LifecycleState(aws.ToString(m.LifecycleState))
}

// is reports whether the state is one of these or a phase of one: Pending:Wait
// is Pending.
func is(s astypes.LifecycleState, states ...astypes.LifecycleState) bool {
	phase, _, _ := strings.Cut(string(s), ":")
	return slices.Contains(states, astypes.LifecycleState(phase))
}

// hasCode reports whether AWS refused with one of these error codes.
func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

// observe looks until the effect of a step is there. Look returns a
// *incident.NotVerifiedError as long as it is not; that of the last look is
// returned where limit has passed.
func observe(ctx context.Context, clock incident.Clock, limit time.Duration, what string,
	look func(context.Context) (incident.Verification, error),
) (incident.Verification, error) {
	var v incident.Verification
	var missing error
	err := incident.Poll(ctx, clock, pause, limit, what, func(ctx context.Context) (bool, error) {
		var err error
		v, err = look(ctx)
		missing = nil
		if _, ok := errors.AsType[*incident.NotVerifiedError](err); ok {
			missing = err
			return false, nil
		}
		return err == nil, err
	})
	if missing != nil && ctx.Err() == nil {
		return v, missing
	}
	return v, err
}

// settle tells for each attribute whether restoring it changes anything. An
// attribute that is neither what it was before nor what the step set has been
// changed by someone else: that is a *incident.DriftError unless forced.
func settle(attributes []incident.Drift, force bool) ([]incident.Change, error) {
	changes := []incident.Change{}
	var drifted []incident.Drift
	for _, a := range attributes {
		switch {
		case a.Now == a.Before:
		case a.Now == a.Set || force:
			changes = append(changes, incident.Change{Resource: a.Resource, What: a.What, Before: a.Now, After: a.Before})
		default:
			drifted = append(drifted, a)
		}
	}
	if len(drifted) > 0 {
		return nil, incident.WithHint(&incident.DriftError{Differences: drifted},
			"find out who changed it and why; a forced release restores the state from before all the same")
	}
	return changes, nil
}

// impactOf is the impact of these changes: none without any.
func impactOf(changes []incident.Change, impact incident.Impact) incident.Impact {
	if len(changes) == 0 {
		return incident.ReadOnly
	}
	return impact
}

// recall reads an action's own record: the before-state of a proposal.
func recall[T any](raw json.RawMessage) (T, error) {
	var v T
	if len(raw) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("before-state in the journal: %w", err)
	}
	return v, nil
}

// record is what recall reads.
func record(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("before-state: %w", err)
	}
	return b, nil
}

// planned is the before-state that was approved; nil while planning.
func planned[T any](req incident.Request) (*T, error) {
	if req.Planned == nil || len(req.Planned.Before) == 0 {
		return nil, nil
	}
	v, err := recall[T](req.Planned.Before)
	return &v, err
}
