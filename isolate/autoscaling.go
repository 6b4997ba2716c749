package isolate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// autoscalingGroup takes the instance out of its Auto Scaling group, so that
// the group does not terminate it once it looks unhealthy.
type autoscalingGroup struct {
	configs configs

	mu      sync.Mutex
	surveys map[string]*survey // by the group's ARN and strategy
}

const (
	strategyReplace = "replace" // detach, a replacement is launched
	strategyShrink  = "shrink"  // detach, the group gets one smaller
	strategyStandby = "standby" // keep it in the group without health checks; the group gets one smaller
)

// drainLimit is the longest that draining a target can take, and some
// ("Deregistration delay": 0–3600 s): an instance is Detaching, or
// EnteringStandby, as long as its load balancers drain it.
const drainLimit = 65 * time.Minute

// Spec of isolate.autoscaling.
func (a *autoscalingGroup) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.autoscaling",
		Summary: "Take the instance out of its Auto Scaling group, which would terminate it once it looks unhealthy",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{{
			Name: "strategy", Type: incident.String, Default: strategyReplace, Enum: []string{strategyReplace, strategyShrink, strategyStandby},
			Description: "replace: detach, the group launches a replacement. shrink: detach and lower the desired capacity by one. " +
				"standby: keep it in the group, without health checks and traffic, and lower the desired capacity by one; this waits until the load balancers have drained it",
		}},
		Outputs: []incident.Field{
			{Name: "group", Type: incident.String, Description: "the group it was in; empty for none"},
			{Name: "state", Type: incident.String, Description: "its lifecycle state now; empty once it is detached"},
		},
		Permissions: []string{
			"autoscaling:AttachInstances", "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeInstanceRefreshes",
			"autoscaling:DetachInstances", "autoscaling:EnterStandby", "autoscaling:ExitStandby", "autoscaling:SetInstanceProtection",
			"ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstances", "ec2:DescribeKeyPairs", "ec2:DescribeLaunchTemplateVersions",
			"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
			"elasticloadbalancing:DescribeInstanceHealth", "elasticloadbalancing:DescribeTargetHealth",
		},
		Example:  "- id: autoscaling\n  action: isolate.autoscaling\n  with:\n    strategy: replace\n",
		Provides: []incident.Capability{incident.LeftGroup},
		Timeout:  drainLimit + 15*time.Minute,
	}
}

// place is the before-state of isolate.autoscaling: where the instance was.
type place struct {
	Group     string `json:"group,omitempty"` // empty: in none
	ARN       string `json:"group_arn,omitempty"`
	Lifecycle string `json:"lifecycle_state,omitempty"`
	// Protected from scale-in: lost on detach, so it is restored after attaching.
	Protected bool  `json:"protected_from_scale_in"`
	Desired   int32 `json:"desired_capacity"`
	Min       int32 `json:"min_size"`
	Max       int32 `json:"max_size"`
	// Moves is what the step does to the desired capacity; of a release's
	// proposal, whose capacity is today's, what that does.
	Moves int32 `json:"moves,omitempty"`
}

// inService: only such an instance was taken out by the step.
func (p place) inService() bool { return p.Lifecycle == string(astypes.LifecycleStateInService) }

// scaled is an instance and its group as they are now.
type scaled struct {
	cfg    aws.Config
	asg    *autoscaling.Client
	inst   ec2types.Instance
	member *astypes.AutoScalingInstanceDetails // nil: in no group
}

func (a *autoscalingGroup) read(ctx context.Context, t incident.Target) (*scaled, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	s := &scaled{cfg: cfg, asg: autoscaling.NewFromConfig(cfg)}
	if s.inst, err = describe(ctx, ec2.NewFromConfig(cfg), t); err != nil {
		return nil, err
	}
	return s, s.look(ctx)
}

// look reads the instance's membership again.
func (s *scaled) look(ctx context.Context) (err error) {
	s.member, err = membership(ctx, s.asg, aws.ToString(s.inst.InstanceId))
	return err
}

func (s *scaled) state() astypes.LifecycleState { return lifecycle(s.member) }

func (s *scaled) group(ctx context.Context, name string) (astypes.AutoScalingGroup, error) {
	out, err := s.asg.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return astypes.AutoScalingGroup{}, fmt.Errorf("reading Auto Scaling group %s: %w", name, err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return astypes.AutoScalingGroup{}, incident.WithHint(fmt.Errorf("there is no Auto Scaling group %s any more", name),
			"the instance can't go back into it; restore the other steps and keep the instance outside")
	}
	return out.AutoScalingGroups[0], nil
}

// Plan shows how the instance leaves its group, and what that does to the capacity.
func (a *autoscalingGroup) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	s, err := a.read(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	strategy, err := strategyOf(req.Step, req.Inputs)
	if err != nil {
		return incident.Proposal{}, err
	}
	approved, err := planned[place](req)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}}
	before := place{}
	if s.member == nil {
		p.Notes = append(p.Notes, "the instance is in no Auto Scaling group")
	} else {
		g, err := s.group(ctx, aws.ToString(s.member.AutoScalingGroupName))
		if err != nil {
			return p, err
		}
		before = placeOf(s.member, g)
		if err := leave(&p, s, &before, strategy); err != nil {
			return p, err
		}
		if approved == nil && len(p.Changes) > 0 { // otherwise it was told before it was approved
			p.Notes = append(p.Notes, a.survey(ctx, s.cfg, req.Clock.Now(), g, strategy).Without(s.inst)...)
		}
	}
	if approved != nil && approved.Group == before.Group {
		// isolate.protect may have set it since, and undoes that itself.
		before.Protected = approved.Protected
	}
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	p.Before, err = record(before)
	return p, err
}

// left reports whether the instance has left this group, or is about to.
func (s *scaled) left(group string) bool {
	return s.member == nil || aws.ToString(s.member.AutoScalingGroupName) == group &&
		is(s.state(), astypes.LifecycleStateDetaching, astypes.LifecycleStateEnteringStandby, astypes.LifecycleStateStandby)
}

func placeOf(m *astypes.AutoScalingInstanceDetails, g astypes.AutoScalingGroup) place {
	return place{
		Group: aws.ToString(m.AutoScalingGroupName), ARN: aws.ToString(g.AutoScalingGroupARN), Lifecycle: aws.ToString(m.LifecycleState), Protected: aws.ToBool(m.ProtectedFromScaleIn),
		Desired: aws.ToInt32(g.DesiredCapacity), Min: aws.ToInt32(g.MinSize), Max: aws.ToInt32(g.MaxSize),
	}
}

// leave adds to the proposal how a member leaves, or refuses.
func leave(p *incident.Proposal, s *scaled, before *place, strategy string) error {
	name := instanceName(s.inst)
	switch state := s.state(); {
	case is(state, astypes.LifecycleStateInService):
	case is(state, astypes.LifecycleStateStandby, astypes.LifecycleStateEnteringStandby):
		// Detaching from Standby can make Auto Scaling terminate other members.
		p.Notes = append(p.Notes, fmt.Sprintf("it is %s in group %s already, where health checks are halted: it stays there", state, before.Group))
		return nil
	case is(state, astypes.LifecycleStateDetaching):
		p.Notes = append(p.Notes, "it is being detached from group "+before.Group+" already")
		return nil
	default:
		return incident.WithHint(fmt.Errorf("%s is %s in Auto Scaling group %s: only an InService instance can be taken out", name, state, before.Group),
			"where it is Pending, wait until it is InService and plan again; where it is Terminating, capture what you can at once")
	}
	if strategy != strategyReplace && before.Desired <= before.Min {
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"strategy %s lowers the desired capacity of Auto Scaling group %s to %d, below its min-size %d (desired %d, max-size %d)",
			strategy, before.Group, before.Desired-1, before.Min, before.Desired, before.Max)},
			"use strategy replace, or lower the group's min-size first")
	}
	if strategy != strategyReplace {
		before.Moves = -1
	}
	describeLeaving(p, s.inst, *before, strategy)
	return nil
}

func describeLeaving(p *incident.Proposal, inst ec2types.Instance, before place, strategy string) {
	p.Changes = append(p.Changes, incident.Change{
		Resource: instanceName(inst), What: "place in Auto Scaling group " + before.Group, Before: before.Lifecycle, After: placeAfter(strategy),
	})
	capacity := fmt.Sprintf("capacity of group %s: desired %d, min-size %d, max-size %d; ", before.Group, before.Desired, before.Min, before.Max)
	if before.Moves == 0 {
		p.Notes = append(p.Notes, capacity+"desired stays, the group launches a replacement")
		if before.Desired+1 > before.Max {
			p.Notes = append(p.Notes, "as it is now, the group has no room for both the replacement and this instance: before a release raise its max-size, or lower its desired capacity again")
		}
		return
	}
	p.Notes = append(p.Notes, capacity+"desired becomes "+fmt.Sprint(before.Desired-1)+", nothing is launched")
	p.Changes = append(p.Changes, capacityChange(before.Group, "one less"))
}

// capacityChange says the same whatever other members do to the capacity
// meanwhile: what was approved must hold when its turn comes.
func capacityChange(group, after string) incident.Change {
	return incident.Change{Resource: "Auto Scaling group " + group, What: "desired capacity", Before: "as it is", After: after}
}

const placeDetached = "not in the group"

func placeAfter(strategy string) string {
	if strategy == strategyStandby {
		return string(astypes.LifecycleStateStandby)
	}
	return placeDetached
}

func strategyOf(step string, inputs map[string]any) (string, error) {
	in := struct {
		Strategy string `json:"strategy"`
	}{strategyReplace}
	err := incident.Request{Step: step, Inputs: inputs}.Decode(&in)
	return in.Strategy, err
}

// Apply takes the instance out, unless that has been done or is under way.
func (a *autoscalingGroup) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	before, err := recall[place](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	s, err := a.read(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	strategy, err := strategyOf(req.Step, req.Inputs)
	if err != nil {
		return incident.Result{}, err
	}
	if before.inService() && is(s.state(), astypes.LifecycleStateInService) {
		if err := s.takeOut(ctx, before.Group, strategy); err != nil {
			return incident.Result{}, err
		}
	}
	err = incident.Poll(ctx, req.Clock, pause, drainLimit, fmt.Sprintf("%s to leave Auto Scaling group %s", instanceName(s.inst), before.Group),
		func(ctx context.Context) (bool, error) {
			if err := s.look(ctx); err != nil {
				return false, err
			}
			return outOfService(s.state()), nil
		})
	return incident.Result{Outputs: map[string]any{"group": before.Group, "state": string(s.state())}}, err
}

// takeOut asks for it once. Neither call has a client token, but AWS refuses
// both for an instance that is not InService, so a repeated request can't
// lower the capacity twice: a refusal is looked into.
func (s *scaled) takeOut(ctx context.Context, group, strategy string) error {
	ids := []string{aws.ToString(s.inst.InstanceId)}
	var err error
	if strategy == strategyStandby {
		// Lowered, so that ExitStandby, which raises it again, restores it exactly.
		_, err = s.asg.EnterStandby(ctx, &autoscaling.EnterStandbyInput{
			AutoScalingGroupName: aws.String(group), InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(true),
		})
	} else {
		_, err = s.asg.DetachInstances(ctx, &autoscaling.DetachInstancesInput{
			AutoScalingGroupName: aws.String(group), InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(strategy == strategyShrink),
		})
	}
	if hasCode(err, "ValidationError") {
		if lerr := s.look(ctx); lerr == nil && s.left(group) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("take %s out of Auto Scaling group %s: %w", instanceName(s.inst), group, err)
	}
	return nil
}

// outOfService reports whether health checks no longer terminate the instance.
// One that is Detaching no longer belongs to the group's capacity; one that is
// EnteringStandby still does until it is Standby.
func outOfService(s astypes.LifecycleState) bool {
	return s == "" || is(s, astypes.LifecycleStateDetaching, astypes.LifecycleStateStandby)
}

// Verify reads the instance's place back. The replacement is Auto Scaling's work: it is not waited for.
func (a *autoscalingGroup) Verify(ctx context.Context, req incident.Request, p incident.Proposal, _ incident.Result) (incident.Verification, error) {
	before, err := recall[place](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, req.Target.Instance+" out of its Auto Scaling group", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		s, err := a.read(ctx, req.Target)
		if err != nil {
			return v, err
		}
		if !outOfService(s.state()) {
			return v, &incident.NotVerifiedError{Resource: instanceName(s.inst), Want: "out of service in its Auto Scaling group", Got: string(s.state())}
		}
		now := string(s.state())
		if s.member == nil {
			now = "in no Auto Scaling group"
		}
		v.Observed = append(v.Observed, instanceName(s.inst)+" is "+now)
		if before.Group == "" {
			return v, nil
		}
		g, err := s.group(ctx, before.Group)
		if err != nil {
			return v, err
		}
		v.Observed = append(v.Observed, fmt.Sprintf("group %s: desired capacity %d (%d before), %d instances", before.Group, aws.ToInt32(g.DesiredCapacity), before.Desired, len(g.Instances)))
		return v, nil
	})
}

// PlanRevert shows how the instance goes back, and what that does to the
// capacity: attaching raises it, and a replacement stays.
func (a *autoscalingGroup) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, err := a.planRevert(ctx, req)
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

func (a *autoscalingGroup) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *scaled, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[place](req.Undo.Proposal.Before)
	if err != nil || !before.inService() {
		return p, nil, err
	}
	strategy, err := strategyOf(req.Undo.Step, req.Undo.Inputs)
	if err != nil {
		return p, nil, err
	}
	s, err := a.read(ctx, req.Target)
	if errors.Is(err, errGone) {
		return nothingLeft(err), nil, nil
	}
	if err != nil {
		return p, nil, err
	}
	attribute := incident.Drift{
		Resource: instanceName(s.inst), What: "place in Auto Scaling group " + before.Group,
		Before: before.Lifecycle, Set: placeAfter(strategy), Now: s.placeNow(before.Group),
	}
	if p.Changes, err = settle([]incident.Drift{attribute}, req.Undo.Force); err != nil {
		return p, nil, err
	}
	if attribute.Now == attribute.Before {
		s.protectionBack(&p, before)
		return p, s, nil
	}
	return p, s, s.goBack(ctx, &p, before)
}

// placeNow is the instance's place as Drift compares it: a place that it is on
// its way to counts as reached.
func (s *scaled) placeNow(group string) string {
	state := s.state()
	switch {
	case s.member == nil:
		return placeDetached
	case aws.ToString(s.member.AutoScalingGroupName) != group:
		return "in group " + aws.ToString(s.member.AutoScalingGroupName)
	case is(state, astypes.LifecycleStatePending):
		return string(astypes.LifecycleStateInService)
	case is(state, astypes.LifecycleStateDetaching):
		return placeDetached
	case is(state, astypes.LifecycleStateEnteringStandby):
		return string(astypes.LifecycleStateStandby)
	default:
		return string(state)
	}
}

// protectionBack adds the scale-in protection that attaching does not bring back.
func (s *scaled) protectionBack(p *incident.Proposal, before place) {
	if now := aws.ToBool(s.member.ProtectedFromScaleIn); now != before.Protected {
		p.Changes = append(p.Changes, incident.Change{
			Resource: instanceName(s.inst) + " in group " + before.Group, What: string(guardScaleIn), Before: fmt.Sprint(now), After: fmt.Sprint(before.Protected),
		})
	}
}

// goBack adds what going back does to the group, or refuses.
func (s *scaled) goBack(ctx context.Context, p *incident.Proposal, before place) error {
	g, err := s.group(ctx, before.Group)
	if err != nil {
		return err
	}
	desired, biggest := aws.ToInt32(g.DesiredCapacity), aws.ToInt32(g.MaxSize)
	if desired+1 > biggest {
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"taking %s back raises the desired capacity of Auto Scaling group %s to %d, above its max-size %d (desired %d, min-size %d)",
			instanceName(s.inst), before.Group, desired+1, biggest, desired, aws.ToInt32(g.MinSize))},
			"raise the group's max-size, or terminate the replacement with a lower desired capacity, and release again")
	}
	if s.member != nil && aws.ToString(s.member.AutoScalingGroupName) != before.Group {
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("%s is in Auto Scaling group %s now; it was in %s",
			instanceName(s.inst), aws.ToString(s.member.AutoScalingGroupName), before.Group)}, "detach it from there first")
	}
	// "Attach instances": an instance that is attached has to be running.
	if s.inst.State.Name != ec2types.InstanceStateNameRunning {
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf("%s is %s: an Auto Scaling group takes a running instance only",
			instanceName(s.inst), s.inst.State.Name)}, "start it and release again")
	}
	p.Changes = append(p.Changes, capacityChange(before.Group, "one more"))
	now := place{Group: before.Group, ARN: aws.ToString(g.AutoScalingGroupARN), Desired: desired, Min: aws.ToInt32(g.MinSize), Max: biggest, Moves: 1}
	if p.Before, err = record(now); err != nil {
		return err
	}
	if before.Protected && s.member == nil {
		p.Notes = append(p.Notes, "its scale-in protection, lost on detaching, is set again")
	}
	if desired >= before.Desired {
		p.Notes = append(p.Notes, fmt.Sprintf("the replacement stays: desired capacity was %d before isolation and becomes %d (max-size %d); "+
			"lower it yourself once the instance serves again", before.Desired, desired+1, biggest))
	}
	return nil
}

// Revert brings the instance back into its group, waits until it is InService
// there, and restores its protection from scale-in.
func (a *autoscalingGroup) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	before, err := recall[place](req.Undo.Proposal.Before)
	if err != nil {
		return incident.Result{}, err
	}
	_, s, err := a.planRevert(ctx, req)
	if err != nil || s == nil {
		return incident.Result{}, err
	}
	if err := s.settleDown(ctx, req.Clock); err != nil {
		return incident.Result{}, err
	}
	if err := s.takeBack(ctx, before.Group); err != nil {
		return incident.Result{}, err
	}
	what := fmt.Sprintf("%s to be InService in Auto Scaling group %s", instanceName(s.inst), before.Group)
	err = incident.Poll(ctx, req.Clock, pause, 15*time.Minute, what, func(ctx context.Context) (bool, error) {
		if err := s.look(ctx); err != nil {
			return false, err
		}
		if is(s.state(), astypes.LifecycleStateTerminating) {
			return false, fmt.Errorf("it is being terminated by Auto Scaling")
		}
		return is(s.state(), astypes.LifecycleStateInService), nil
	})
	if err != nil {
		return incident.Result{}, err
	}
	return incident.Result{}, s.restoreProtection(ctx, req.Clock, before)
}

// settleDown waits until the instance has left for good: what is Detaching or
// EnteringStandby can't come back.
func (s *scaled) settleDown(ctx context.Context, clock incident.Clock) error {
	what := "the load balancers to drain " + instanceName(s.inst)
	return incident.Poll(ctx, clock, pause, drainLimit, what, func(ctx context.Context) (bool, error) {
		if err := s.look(ctx); err != nil {
			return false, err
		}
		return !is(s.state(), astypes.LifecycleStateDetaching, astypes.LifecycleStateEnteringStandby), nil
	})
}

// takeBack asks for it once. AWS refuses to attach a member, so a repeated
// request can't raise the capacity twice: a refusal is looked into.
func (s *scaled) takeBack(ctx context.Context, group string) error {
	ids := []string{aws.ToString(s.inst.InstanceId)}
	var err error
	switch {
	case s.member == nil:
		_, err = s.asg.AttachInstances(ctx, &autoscaling.AttachInstancesInput{AutoScalingGroupName: aws.String(group), InstanceIds: ids})
	case is(s.state(), astypes.LifecycleStateStandby):
		_, err = s.asg.ExitStandby(ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: aws.String(group), InstanceIds: ids})
	}
	if hasCode(err, "ValidationError") {
		if lerr := s.look(ctx); lerr == nil && s.placeNow(group) == string(astypes.LifecycleStateInService) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("bring %s back into Auto Scaling group %s: %w", instanceName(s.inst), group, err)
	}
	return nil
}

func (s *scaled) restoreProtection(ctx context.Context, clock incident.Clock, before place) error {
	what := fmt.Sprintf("scale-in protection of %s in group %s", instanceName(s.inst), before.Group)
	if aws.ToBool(s.member.ProtectedFromScaleIn) == before.Protected {
		return nil
	}
	_, err := s.asg.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: aws.String(before.Group), InstanceIds: []string{aws.ToString(s.inst.InstanceId)}, ProtectedFromScaleIn: aws.Bool(before.Protected),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		if err := s.look(ctx); err != nil {
			return false, err
		}
		return s.member != nil && aws.ToBool(s.member.ProtectedFromScaleIn) == before.Protected, nil
	})
}
