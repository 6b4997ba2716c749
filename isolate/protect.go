package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// protect keeps the instance and its volumes from being destroyed, by
// accident or by whoever holds its credentials.
type protect struct{ configs configs }

// Spec of isolate.protect.
func (a *protect) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.protect",
		Summary: "Keep the instance, its volumes and its image from being lost: termination protection, shutdown behaviour, delete on termination, scale-in protection, deregistration protection",
		Impact:  incident.Additive,
		Outputs: []incident.Field{
			{Name: "volumes", Type: incident.Strings, Description: "the volumes that now outlive the instance"},
		},
		Permissions: []string{
			"autoscaling:DescribeAutoScalingInstances", "autoscaling:SetInstanceProtection",
			"ec2:DescribeImages", "ec2:DescribeInstanceAttribute", "ec2:DescribeInstances",
			"ec2:DisableImageDeregistrationProtection", "ec2:EnableImageDeregistrationProtection", "ec2:ModifyInstanceAttribute",
		},
		Example:    "- id: protect\n  action: isolate.protect\n",
		Timeout:    5 * time.Minute,
		TakesTurns: true,
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
	guardImage       guardKind = "deregistration protection"
)

// safe is the value that protects.
func (k guardKind) safe() string {
	switch k {
	case guardTermination, guardScaleIn, guardImage:
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
	return g, g.readGuards(ctx, t.Account)
}

// reading is what one call tells of the guards.
type reading struct {
	guards []guard
	notes  []string
}

// readGuards asks side by side: containment waits for this.
func (g *guarded) readGuards(ctx context.Context, account string) error {
	asks := []func(context.Context) (reading, error){
		g.termination, g.shutdown, g.volumes,
		func(ctx context.Context) (reading, error) { return g.image(ctx, account) },
		g.scaleIn,
	}
	answers := make([]reading, len(asks))
	group, ctx := errgroup.WithContext(ctx)
	for i, ask := range asks {
		group.Go(func() (err error) {
			answers[i], err = ask(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, r := range answers {
		g.guards, g.notes = append(g.guards, r.guards...), append(g.notes, r.notes...)
	}
	return nil
}

func (g *guarded) termination(ctx context.Context) (reading, error) {
	id := g.inst.InstanceId
	if g.inst.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot {
		// "Change instance termination protection": it can't be enabled for Spot.
		return reading{notes: []string{"a Spot instance has no termination protection, and nothing stops an interruption: capture first"}}, nil
	}
	out, err := g.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: id, Attribute: ec2types.InstanceAttributeNameDisableApiTermination,
	})
	if err != nil {
		return reading{}, fmt.Errorf("termination protection of %s: %w", *id, err)
	}
	on := out.DisableApiTermination != nil && aws.ToBool(out.DisableApiTermination.Value)
	return reading{guards: []guard{{Kind: guardTermination, ID: *id, Value: strconv.FormatBool(on)}}}, nil
}

func (g *guarded) shutdown(ctx context.Context) (reading, error) {
	id := g.inst.InstanceId
	if g.inst.RootDeviceType == ec2types.DeviceTypeInstanceStore {
		return reading{notes: []string{"its root is an instance store: it can't be stopped, and what is on it is lost when it ends"}}, nil
	}
	out, err := g.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: id, Attribute: ec2types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
	})
	if err != nil {
		return reading{}, fmt.Errorf("shutdown behaviour of %s: %w", *id, err)
	}
	if v := out.InstanceInitiatedShutdownBehavior; v != nil && v.Value != nil {
		return reading{guards: []guard{{Kind: guardShutdown, ID: *id, Value: *v.Value}}}, nil
	}
	return reading{}, nil
}

func (g *guarded) volumes(context.Context) (r reading, _ error) {
	for _, m := range g.inst.BlockDeviceMappings {
		if m.Ebs != nil {
			r.guards = append(r.guards, guard{
				Kind: guardVolume, ID: aws.ToString(m.Ebs.VolumeId), Device: aws.ToString(m.DeviceName),
				Value: strconv.FormatBool(aws.ToBool(m.Ebs.DeleteOnTermination)),
			})
		}
	}
	return r, nil
}

// image reads whether the image that the instance was launched from can be
// deregistered: it is what the instance is compared with, and what a
// replacement is launched from.
func (g *guarded) image(ctx context.Context, account string) (reading, error) {
	id := aws.ToString(g.inst.ImageId)
	found, err := serving.FindImage(ctx, g.ec2, id)
	switch {
	case err != nil:
		return reading{}, err
	case found == nil:
		return reading{notes: []string{"its image " + id + " is not there any more, or no longer shared with this account: nothing can be launched from it"}}, nil
	case aws.ToString(found.OwnerId) != account:
		return reading{notes: []string{fmt.Sprintf("its image %s belongs to account %s, which alone can protect it from being deregistered", id, aws.ToString(found.OwnerId))}}, nil
	}
	// The value also says whether there is a cooldown ("Protect an AMI from deregistration").
	on := strings.HasPrefix(aws.ToString(found.DeregistrationProtection), "enabled")
	return reading{guards: []guard{{Kind: guardImage, ID: id, Value: strconv.FormatBool(on)}}}, nil
}

// scaleIn reads the protection that the instance's Auto Scaling group gives.
func (g *guarded) scaleIn(ctx context.Context) (reading, error) {
	m, err := membership(ctx, g.asg, *g.inst.InstanceId)
	if err != nil || m == nil {
		return reading{}, err
	}
	g.group = aws.ToString(m.AutoScalingGroupName)
	// SetInstanceProtection refuses any other lifecycle state.
	if s := lifecycle(m); !is(s, astypes.LifecycleStateInService, astypes.LifecycleStateEnteringStandby, astypes.LifecycleStateStandby) {
		return reading{notes: []string{fmt.Sprintf("scale-in protection can't be set: the instance is %s in group %s", s, g.group)}}, nil
	}
	return reading{guards: []guard{{Kind: guardScaleIn, ID: g.group, Value: strconv.FormatBool(aws.ToBool(m.ProtectedFromScaleIn))}}}, nil
}

func (g *guarded) name(o guard) string {
	switch o.Kind {
	case guardVolume:
		return label(o.ID, o.Device)
	case guardScaleIn:
		return instanceName(g.inst) + " in group " + o.ID
	case guardImage:
		return "image " + o.ID
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
	case guardImage:
		err = g.putImage(ctx, o.ID, value == "true")
	}
	if err != nil {
		return fmt.Errorf("%s: set %s to %s: %w", g.name(o), o.Kind, value, err)
	}
	return nil
}

// putImage protects without a cooldown: with one, AWS keeps an image protected
// for 24 hours after that is lifted, so that a release would not restore it.
func (g *guarded) putImage(ctx context.Context, image string, on bool) (err error) {
	if on {
		_, err = g.ec2.EnableImageDeregistrationProtection(ctx, &ec2.EnableImageDeregistrationProtectionInput{ImageId: &image, WithCooldown: aws.Bool(false)})
	} else {
		_, err = g.ec2.DisableImageDeregistrationProtection(ctx, &ec2.DisableImageDeregistrationProtectionInput{ImageId: &image})
	}
	return err
}

// shared names the image, which is one for many instances. Where another
// target's step of this run has protected it since the plan was approved, the
// state before is still the one approved.
func (g *guarded) shared(req incident.Request) ([]string, error) {
	approved, err := planned[protection](req)
	i := slices.IndexFunc(g.guards, func(o guard) bool { return o.Kind == guardImage })
	if err != nil || i < 0 {
		return nil, err
	}
	if approved != nil {
		if at := slices.IndexFunc(approved.Guards, g.guards[i].same); at >= 0 {
			g.guards[i].Value = approved.Guards[at].Value
		}
	}
	return []string{g.guards[i].ID}, nil
}

// Plan shows each attribute that does not protect yet.
func (a *protect) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	g, err := a.read(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	shared, err := g.shared(req)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := incident.Proposal{Changes: []incident.Change{}, Notes: g.notes, Shared: shared}
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
			if err := g.protect(ctx, req, o); err != nil {
				return incident.Result{}, err
			}
		}
		if o.Kind == guardVolume {
			volumes = append(volumes, o.ID)
		}
	}
	return incident.Result{Outputs: map[string]any{"volumes": volumes}}, nil
}

// protect sets one attribute. The image's is set once for all instances that
// were launched from it: whoever waited for another's turn looks again.
func (g *guarded) protect(ctx context.Context, req incident.Request, o guard) error {
	if o.Kind != guardImage {
		return g.put(ctx, o, o.Kind.safe())
	}
	return req.Turn(ctx, "image "+o.ID, func() error {
		now, err := g.image(ctx, req.Target.Account)
		if err != nil || len(now.guards) == 0 || now.guards[0].Value == o.Kind.safe() {
			return err
		}
		return g.put(ctx, o, o.Kind.safe())
	})
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
		if b.Kind == guardImage && req.Undo.Held {
			p.Notes = append(p.Notes, g.name(b)+" stays protected as long as another step of the case needs it: the last one to be released restores it")
			continue
		}
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
