package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// protect keeps the instance and its volumes from being destroyed, by
// accident or by whoever holds its credentials.
type protect struct{ configs configs }

// Spec of isolate.protect.
func (a *protect) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.protect",
		Summary: "Keep the instance and its volumes from being terminated: termination protection, shutdown behaviour, delete on termination, scale-in protection",
		Impact:  incident.Additive,
		Outputs: []incident.Field{
			{Name: "volumes", Type: incident.Strings, Description: "the volumes that now outlive the instance"},
		},
		Permissions: []string{
			"autoscaling:DescribeAutoScalingInstances", "autoscaling:SetInstanceProtection",
			"ec2:DescribeInstanceAttribute", "ec2:DescribeInstances", "ec2:ModifyInstanceAttribute",
		},
		Example: "- id: protect\n  action: isolate.protect\n",
		Timeout: 5 * time.Minute,
	}
}

// guard is one attribute that decides whether the instance, or a part of it,
// can be lost.
type guard struct {
	Kind   guardKind `json:"kind"`
	ID     string    `json:"id"`               // of the instance or volume; name of the group
	Device string    `json:"device,omitempty"` // of a volume
	Value  string    `json:"value"`
}

type guardKind string

const (
	guardTermination guardKind = "termination protection"
	guardShutdown    guardKind = "shutdown behaviour"
	guardVolume      guardKind = "delete on termination"
	guardScaleIn     guardKind = "scale-in protection"
)

// safe is the value that protects.
func (k guardKind) safe() string {
	switch k {
	case guardTermination, guardScaleIn:
		return "true"
	case guardShutdown:
		return string(ec2types.ShutdownBehaviorStop)
	case guardVolume:
		return "false"
	default:
		panic("isolate: unknown guard " + string(k))
	}
}

// same reports whether both are the same attribute of the same resource.
func (g guard) same(o guard) bool { return g.Kind == o.Kind && g.ID == o.ID }

// protection is the before-state of isolate.protect.
type protection struct {
	Guards []guard `json:"guards"`
}

// guarded is an instance and its guards as they are now.
type guarded struct {
	ec2    *ec2.Client
	asg    *autoscaling.Client
	inst   ec2types.Instance
	group  string // empty: none
	guards []guard
	notes  []string
}

func (a *protect) read(ctx context.Context, t incident.Target) (*guarded, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	g := &guarded{ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg)}
	if g.inst, err = describe(ctx, g.ec2, t); err != nil {
		return nil, err
	}
	if err := g.readAttributes(ctx); err != nil {
		return nil, err
	}
	for _, m := range g.inst.BlockDeviceMappings {
		if m.Ebs != nil {
			g.guards = append(g.guards, guard{
				Kind: guardVolume, ID: aws.ToString(m.Ebs.VolumeId), Device: aws.ToString(m.DeviceName),
				Value: strconv.FormatBool(aws.ToBool(m.Ebs.DeleteOnTermination)),
			})
		}
	}
	return g, g.readGroup(ctx)
}

// readAttributes reads what is a property of the instance itself.
func (g *guarded) readAttributes(ctx context.Context) error {
	id := g.inst.InstanceId
	if g.inst.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot {
		// "Change instance termination protection": it can't be enabled for Spot.
		g.notes = append(g.notes, "a Spot instance has no termination protection, and nothing stops an interruption: capture first")
	} else {
		out, err := g.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
			InstanceId: id, Attribute: ec2types.InstanceAttributeNameDisableApiTermination,
		})
		if err != nil {
			return fmt.Errorf("termination protection of %s: %w", *id, err)
		}
		on := out.DisableApiTermination != nil && aws.ToBool(out.DisableApiTermination.Value)
		g.guards = append(g.guards, guard{Kind: guardTermination, ID: *id, Value: strconv.FormatBool(on)})
	}
	if g.inst.RootDeviceType == ec2types.DeviceTypeInstanceStore {
		g.notes = append(g.notes, "its root is an instance store: it can't be stopped, and what is on it is lost when it ends")
		return nil
	}
	out, err := g.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: id, Attribute: ec2types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
	})
	if err != nil {
		return fmt.Errorf("shutdown behaviour of %s: %w", *id, err)
	}
	if v := out.InstanceInitiatedShutdownBehavior; v != nil && v.Value != nil {
		g.guards = append(g.guards, guard{Kind: guardShutdown, ID: *id, Value: *v.Value})
	}
	return nil
}

// readGroup reads the protection that the instance's Auto Scaling group gives.
func (g *guarded) readGroup(ctx context.Context) error {
	m, err := membership(ctx, g.asg, *g.inst.InstanceId)
	if err != nil || m == nil {
		return err
	}
	g.group = aws.ToString(m.AutoScalingGroupName)
	// SetInstanceProtection refuses any other lifecycle state.
	if s := lifecycle(m); !is(s, astypes.LifecycleStateInService, astypes.LifecycleStateEnteringStandby, astypes.LifecycleStateStandby) {
		g.notes = append(g.notes, fmt.Sprintf("scale-in protection can't be set: the instance is %s in group %s", s, g.group))
		return nil
	}
	g.guards = append(g.guards, guard{Kind: guardScaleIn, ID: g.group, Value: strconv.FormatBool(aws.ToBool(m.ProtectedFromScaleIn))})
	return nil
}

func (g *guarded) name(o guard) string {
	switch o.Kind {
	case guardVolume:
		return label(o.ID, o.Device)
	case guardScaleIn:
		return instanceName(g.inst) + " in group " + o.ID
	default:
		return instanceName(g.inst)
	}
}

// find returns the guard as it is now.
func (g *guarded) find(o guard) (guard, bool) {
	i := slices.IndexFunc(g.guards, o.same)
	if i < 0 {
		return guard{}, false
	}
	return g.guards[i], true
}

// put sets one attribute: AWS takes one a call ("ModifyInstanceAttribute").
func (g *guarded) put(ctx context.Context, o guard, value string) error {
	in := &ec2.ModifyInstanceAttributeInput{InstanceId: g.inst.InstanceId}
	var err error
	switch o.Kind {
	case guardTermination:
		in.DisableApiTermination = &ec2types.AttributeBooleanValue{Value: aws.Bool(value == "true")}
		_, err = g.ec2.ModifyInstanceAttribute(ctx, in)
	case guardShutdown:
		in.InstanceInitiatedShutdownBehavior = &ec2types.AttributeValue{Value: aws.String(value)}
		_, err = g.ec2.ModifyInstanceAttribute(ctx, in)
	case guardVolume:
		in.BlockDeviceMappings = []ec2types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: aws.String(o.Device),
			Ebs:        &ec2types.EbsInstanceBlockDeviceSpecification{VolumeId: aws.String(o.ID), DeleteOnTermination: aws.Bool(value == "true")},
		}}
		_, err = g.ec2.ModifyInstanceAttribute(ctx, in)
	case guardScaleIn:
		_, err = g.asg.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
			AutoScalingGroupName: aws.String(o.ID), InstanceIds: []string{*g.inst.InstanceId}, ProtectedFromScaleIn: aws.Bool(value == "true"),
		})
	}
	if err != nil {
		return fmt.Errorf("%s: set %s to %s: %w", g.name(o), o.Kind, value, err)
	}
	return nil
}

// Plan shows each attribute that does not protect yet.
func (a *protect) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	g, err := a.read(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}, Notes: g.notes}
	for _, o := range g.guards {
		if o.Value != o.Kind.safe() {
			p.Changes = append(p.Changes, incident.Change{Resource: g.name(o), What: string(o.Kind), Before: o.Value, After: o.Kind.safe()})
		}
	}
	p.Impact = impactOf(p.Changes, incident.Additive)
	if g.group != "" {
		p.Residual = append(p.Residual, incident.Exposure{
			Path:   "Auto Scaling group " + g.group,
			Reason: "a group terminates a member that looks unhealthy whatever protects it: it has to leave the group before it is stopped or cut off",
		})
	}
	p.Before, err = record(protection{Guards: g.guards})
	return p, err
}

// Apply sets each attribute that does not protect yet.
func (a *protect) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	g, err := a.read(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	before, err := recall[protection](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	volumes := []string{}
	for _, o := range g.guards {
		if !slices.ContainsFunc(before.Guards, o.same) {
			continue // attached since: its before-state is not in the journal
		}
		if o.Value != o.Kind.safe() {
			if err := g.put(ctx, o, o.Kind.safe()); err != nil {
				return incident.Result{}, err
			}
		}
		if o.Kind == guardVolume {
			volumes = append(volumes, o.ID)
		}
	}
	return incident.Result{Outputs: map[string]any{"volumes": volumes}}, nil
}

// Verify reads every attribute back.
func (a *protect) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, _ incident.Result) (incident.Verification, error) {
	return observe(ctx, req.Clock, lag, "the protection of "+req.Target.Instance, func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		g, err := a.read(ctx, req.Target)
		if err != nil {
			return v, err
		}
		var missing error
		for _, o := range g.guards {
			v.Observed = append(v.Observed, fmt.Sprintf("%s: %s is %s", g.name(o), o.Kind, o.Value))
			if o.Value != o.Kind.safe() && missing == nil {
				missing = &incident.NotVerifiedError{Resource: g.name(o) + " " + string(o.Kind), Want: o.Kind.safe(), Got: o.Value}
			}
		}
		return v, missing
	})
}

// PlanRevert shows each attribute that the step set.
func (a *protect) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, _, err := a.planRevert(ctx, req)
	return p, err
}

func (a *protect) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *guarded, []guard, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[protection](req.Undo.Proposal.Before)
	if err != nil {
		return p, nil, nil, err
	}
	g, err := a.read(ctx, req.Target)
	if errors.Is(err, errGone) {
		return nothingLeft(err), nil, nil, nil
	}
	if err != nil {
		return p, nil, nil, err
	}
	var attributes []incident.Drift
	var restore []guard
	for _, b := range before.Guards {
		now, ok := g.find(b)
		if !ok && b.Kind == guardScaleIn {
			p.Notes = append(p.Notes, fmt.Sprintf("its scale-in protection is restored (%s) once it is in service in group %s again", b.Value, b.ID))
			continue
		}
		if !ok {
			p.Notes = append(p.Notes, fmt.Sprintf("%s is no longer there: its %s (%s before) is not restored", g.name(b), b.Kind, b.Value))
			continue
		}
		attributes = append(attributes, incident.Drift{Resource: g.name(b), What: string(b.Kind), Before: b.Value, Set: b.Kind.safe(), Now: now.Value})
		if now.Value != b.Value {
			now.Value = b.Value
			restore = append(restore, now)
		}
	}
	p.Changes, err = settle(attributes, req.Undo.Force)
	p.Impact = impactOf(p.Changes, incident.Additive)
	return p, g, restore, err
}

// Revert sets each attribute to what it was, and reads it back.
func (a *protect) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	_, g, restore, err := a.planRevert(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	for _, o := range restore {
		if err := g.put(ctx, o, o.Value); err != nil {
			return incident.Result{}, err
		}
	}
	return incident.Result{}, incident.Poll(ctx, req.Clock, pause, lag, "the attributes of "+req.Target.Instance+" to be what they were",
		func(ctx context.Context) (bool, error) {
			_, _, left, err := a.planRevert(ctx, req)
			return len(left) == 0, err
		})
}
