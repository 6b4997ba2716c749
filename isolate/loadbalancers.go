package isolate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// loadBalancers takes the instance out of every load balancer's targets. VPC
// Lattice and Global Accelerator have targets of their own: they are not looked at.
type loadBalancers struct{ configs configs }

// The wait for connections to drain ends by default after more than the default
// deregistration delay, 300 s, and at the latest after the longest one, 3600 s.
// What drains longer goes on without us and is reported as residual exposure.
const (
	waitSeconds    = 360
	waitMaxSeconds = 3600
)

// Spec of isolate.loadbalancers.
func (a *loadBalancers) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.loadbalancers",
		Summary: "Deregister the instance, and each of its addresses, from every target group and classic load balancer",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{
			{Name: "wait", Type: incident.Boolean, Default: true, Description: "wait until connections are drained; otherwise the step ends while they drain"},
			{
				Name: "wait_at_most", Type: incident.Integer, Default: waitSeconds,
				Description: "seconds after which it is no longer waited for, 3600 at most; the step succeeds, and what still drains is residual exposure",
			},
		},
		Outputs: []incident.Field{
			{Name: "registrations", Type: incident.Strings, Description: "what it was registered with"},
		},
		Permissions: []string{
			"ec2:DescribeInstances",
			"elasticloadbalancing:DeregisterInstancesFromLoadBalancer", "elasticloadbalancing:DeregisterTargets",
			"elasticloadbalancing:DescribeInstanceHealth", "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
			"elasticloadbalancing:RegisterInstancesWithLoadBalancer", "elasticloadbalancing:RegisterTargets",
		},
		Example: "- id: loadbalancers\n  action: isolate.loadbalancers\n  needs: [autoscaling]\n  with:\n    wait: false\n",
		Timeout: drainLimit + 10*time.Minute,
	}
}

type waiting struct {
	Wait   bool  `json:"wait"`
	AtMost int64 `json:"wait_at_most"` // seconds
}

func waitingOf(req incident.Request) (waiting, error) {
	in := waiting{Wait: true, AtMost: waitSeconds}
	if err := req.Decode(&in); err != nil {
		return in, err
	}
	if in.AtMost < 1 || in.AtMost > waitMaxSeconds {
		return in, &incident.RefusedError{Reason: fmt.Sprintf("wait_at_most is %d s: want 1 to %d; wait: false does not wait at all", in.AtMost, waitMaxSeconds)}
	}
	return in, nil
}

// registration is one entry of the instance with one load balancer.
type registration struct {
	TargetGroup string `json:"target_group,omitempty"`  // ARN
	Classic     string `json:"load_balancer,omitempty"` // name of a classic load balancer
	Target      string `json:"target"`                  // instance ID or IP address
	Port        int32  `json:"port,omitempty"`
	Zone        string `json:"availability_zone,omitempty"`
	QUIC        string `json:"quic_server_id,omitempty"`
}

// balancer names what the target is registered with, as a responder reads it.
func (r registration) balancer() string {
	if r.Classic != "" {
		return "classic load balancer " + r.Classic
	}
	return "target group " + serving.TargetGroupName(r.TargetGroup)
}

// entry names the target.
func (r registration) entry() string {
	if r.Classic != "" {
		return r.Target
	}
	return fmt.Sprintf("%s port %d", r.Target, r.Port)
}

func (r registration) String() string { return r.entry() + " with " + r.balancer() }

func (r registration) same(o registration) bool {
	return r.TargetGroup == o.TargetGroup && r.Classic == o.Classic && r.Target == o.Target && r.Port == o.Port
}

// registrations is the before-state of isolate.loadbalancers.
type registrations struct {
	Registrations []registration `json:"registrations"`
}

// merge adds what the other has and this one has not.
func (r *registrations) merge(other []registration) {
	for _, o := range other {
		if !slices.ContainsFunc(r.Registrations, o.same) {
			r.Registrations = append(r.Registrations, o)
		}
	}
	slices.SortFunc(r.Registrations, func(a, b registration) int {
		return cmp.Or(cmp.Compare(a.TargetGroup, b.TargetGroup), cmp.Compare(a.Classic, b.Classic), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
}

// balanced is an instance and the load balancers of its Region.
type balanced struct {
	balancers
	inst ec2types.Instance
}

func (a *loadBalancers) open(ctx context.Context, t incident.Target) (*balanced, error) {
	cfg, err := a.configs.open(ctx, t)
	if err != nil {
		return nil, err
	}
	b := &balanced{balancers: newBalancers(cfg)}
	b.inst, err = describe(ctx, ec2.NewFromConfig(cfg), t)
	return b, err
}

// Plan finds every registration. Detaching from an Auto Scaling group
// deregisters too, and may have happened since the plan was approved: what was
// there then is still part of what a release has to bring back.
func (a *loadBalancers) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	if _, err := waitingOf(req); err != nil {
		return incident.Proposal{}, err
	}
	b, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	found, err := b.find(ctx, b.inst)
	if err != nil {
		return incident.Proposal{}, err
	}
	approved, err := planned[registrations](req)
	if err != nil {
		return incident.Proposal{}, err
	}
	before := registrations{Registrations: []registration{}}
	before.merge(found.registered)
	if approved != nil {
		before.merge(approved.Registrations)
	}
	p := incident.Proposal{Changes: []incident.Change{}, Notes: found.notes}
	for _, pool := range found.pools {
		p.Notes = append(p.Notes, pool.Without(b.inst))
	}
	for _, r := range before.Registrations {
		p.Changes = append(p.Changes, incident.Change{Resource: r.balancer(), What: "registration of " + r.entry(), Before: "registered", After: "deregistered"})
	}
	if len(p.Changes) == 0 {
		p.Notes = append(p.Notes, "the instance is registered with no load balancer")
	}
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	p.Before, err = record(before)
	return p, err
}

// Apply deregisters what the plan found.
func (a *loadBalancers) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	in, err := waitingOf(req)
	if err != nil {
		return incident.Result{}, err
	}
	before, err := recall[registrations](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	b, err := a.open(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	names := []string{}
	for _, r := range before.Registrations {
		names = append(names, r.String())
		now, err := b.state(ctx, r)
		if err != nil {
			return incident.Result{}, err
		}
		if now != serving.Registered {
			continue
		}
		if err := b.deregister(ctx, r); err != nil {
			return incident.Result{}, err
		}
	}
	if in.Wait {
		err = b.drain(ctx, req, before.Registrations, time.Duration(in.AtMost)*time.Second)
	}
	return incident.Result{Outputs: map[string]any{"registrations": names}}, err
}

// drain waits until no connection is left to drain, or the limit has passed:
// what drains longer is no failure, Verify reports it.
func (b *balanced) drain(ctx context.Context, req incident.Request, all []registration, limit time.Duration) error {
	deadline := req.Clock.Now().Add(limit)
	return incident.Poll(ctx, req.Clock, min(5*time.Second, limit), limit+time.Minute, "connections to drain", func(ctx context.Context) (bool, error) {
		left := 0
		for _, r := range all {
			now, err := b.state(ctx, r)
			if err != nil {
				return false, err
			}
			if now == serving.Registered || now == serving.Draining {
				left++
			}
		}
		req.Progress(incident.Progress{
			Run: req.Run, Step: req.Step, Target: req.Target.String(), What: "draining connections",
			Done: int64(len(all) - left), Total: int64(len(all)), Unit: "registrations",
		})
		return left == 0 || !req.Clock.Now().Before(deadline), nil
	})
}

// Verify looks through every load balancer again: something else, such as a
// Kubernetes controller, may have registered the instance anew.
func (a *loadBalancers) Verify(ctx context.Context, req incident.Request, p incident.Proposal, _ incident.Result) (incident.Verification, error) {
	before, err := recall[registrations](p.Before)
	if err != nil {
		return incident.Verification{}, err
	}
	return observe(ctx, req.Clock, lag, req.Target.Instance+" out of every load balancer", func(ctx context.Context) (incident.Verification, error) {
		var v incident.Verification
		b, err := a.open(ctx, req.Target)
		if err != nil {
			return v, err
		}
		found, err := b.find(ctx, b.inst)
		if err != nil {
			return v, err
		}
		if len(found.registered) > 0 {
			return v, &incident.NotVerifiedError{Resource: instanceName(b.inst), Want: "registered with no load balancer", Got: found.registered[0].String()}
		}
		v.Observed = append(v.Observed, fmt.Sprintf("%s is registered with none of %d target groups and %d classic load balancers", instanceName(b.inst), found.groups, found.classics))
		for _, r := range before.Registrations {
			now, err := b.state(ctx, r)
			if err != nil {
				return v, err
			}
			if now == serving.Draining {
				v.Observed = append(v.Observed, "draining: "+r.String())
				v.Residual = append(v.Residual, incident.Exposure{Path: r.String(), Reason: "open connections are kept until draining ends (0–3600 s, by default 300 s)"})
			}
		}
		return v, nil
	})
}

// PlanRevert shows each registration that is missing.
func (a *loadBalancers) PlanRevert(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p, _, _, err := a.planRevert(ctx, req)
	p.Impact = impactOf(p.Changes, incident.Disruptive)
	return p, err
}

func (a *loadBalancers) planRevert(ctx context.Context, req incident.Request) (incident.Proposal, *balanced, []registration, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	before, err := recall[registrations](req.Undo.Proposal.Before)
	if err != nil {
		return p, nil, nil, err
	}
	b, err := a.open(ctx, req.Target)
	if errors.Is(err, errGone) {
		return nothingLeft(err), nil, nil, nil
	}
	if err != nil {
		return p, nil, nil, err
	}
	var attributes []incident.Drift
	var missing []registration
	for _, r := range before.Registrations {
		now, err := b.state(ctx, r)
		if err != nil {
			return p, nil, nil, err
		}
		if now == serving.Gone {
			return p, nil, nil, incident.WithHint(fmt.Errorf("register %s again: there is no such load balancer or target group any more", r),
				"make it again under the same name and ARN, or register the instance by hand where it serves now, and leave this step out of the release")
		}
		d := incident.Drift{Resource: r.balancer(), What: "registration of " + r.entry(), Before: "registered", Set: "deregistered", Now: "deregistered"}
		switch {
		case now == serving.Registered:
			d.Now = d.Before
		case !b.ours(r):
			d.Now = "no address of this instance any more"
			missing = append(missing, r)
		default:
			missing = append(missing, r)
		}
		attributes = append(attributes, d)
	}
	if len(missing) > 0 {
		p.Notes = append(p.Notes, "registered is what the release waits for; whether a health check then passes is up to the instance")
	}
	p.Changes, err = settle(attributes, req.Undo.Force)
	return p, b, missing, err
}

// ours reports whether the target is still the instance: an address can have
// moved to another host.
func (b *balanced) ours(r registration) bool {
	here, elsewhere := serving.Owns(b.inst, "", r.Target)
	return here || elsewhere || r.Target == *b.inst.InstanceId
}

// Revert registers what is missing and waits until it is registered.
// Registering what an Auto Scaling group registers as well is harmless.
func (a *loadBalancers) Revert(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	_, b, missing, err := a.planRevert(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	for _, r := range missing {
		if err := b.register(ctx, r); err != nil {
			return incident.Result{}, err
		}
	}
	for _, r := range missing {
		err := incident.Poll(ctx, req.Clock, pause, lag, r.String()+" to be registered", func(ctx context.Context) (bool, error) {
			now, err := b.state(ctx, r)
			return now == serving.Registered, err
		})
		if err != nil {
			return incident.Result{}, err
		}
	}
	return incident.Result{}, nil
}
