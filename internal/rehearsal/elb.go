package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// elbState is what the API of application and network load balancers keeps.
type elbState struct {
	LoadBalancers []*loadBalancer `json:"load_balancers,omitempty"`
	TargetGroups  []*targetGroup  `json:"target_groups,omitempty"`
}

type loadBalancer struct {
	Name      string            `json:"name"`
	ARN       string            `json:"arn"`
	VPC       string            `json:"vpc"`
	Subnets   map[string]string `json:"subnets"` // by Availability Zone
	Groups    []string          `json:"groups,omitempty"`
	Created   time.Time         `json:"created"`
	Listeners []*listener       `json:"listeners,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
}

// listener sends to its target group what no rule takes.
type listener struct {
	ARN      string          `json:"arn"`
	Protocol string          `json:"protocol"`
	Port     int32           `json:"port"`
	Group    string          `json:"group"` // ARN
	Rules    []*listenerRule `json:"rules,omitempty"`
}

type listenerRule struct {
	ARN      string `json:"arn"`
	Priority int    `json:"priority"`
	Path     string `json:"path"` // pattern
	Group    string `json:"group"`
}

type targetGroup struct {
	Name     string            `json:"name"`
	ARN      string            `json:"arn"`
	VPC      string            `json:"vpc"`
	Type     string            `json:"type"` // instance or ip
	Protocol string            `json:"protocol"`
	Port     int32             `json:"port"`
	Path     string            `json:"path"`
	Checks   checks            `json:"checks"`
	Delay    time.Duration     `json:"delay"` // of deregistration
	Targets  []*target         `json:"targets,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// checks are the health checks of a target group or a classic load balancer.
type checks struct {
	Interval  time.Duration `json:"interval"`
	Timeout   time.Duration `json:"timeout"`
	Healthy   int32         `json:"healthy"` // in a row
	Unhealthy int32         `json:"unhealthy"`
}

// target is one registration: the same instance can be there under several ports.
type target struct {
	ID     string    `json:"id"` // instance or address
	Port   int32     `json:"port"`
	Zone   string    `json:"zone,omitempty"`
	Health string    `json:"health"`
	Since  time.Time `json:"since"` // in this health
	// Turning is since when the checks have said otherwise; zero where they agree.
	Turning time.Time `json:"turning,omitzero"`
	Gone    time.Time `json:"gone,omitzero"` // when draining ends
}

// Health of a target as DescribeTargetHealth names it.
const (
	targetInitial   = string(types.TargetHealthStateEnumInitial)
	targetHealthy   = string(types.TargetHealthStateEnumHealthy)
	targetUnhealthy = string(types.TargetHealthStateEnumUnhealthy)
	targetDraining  = string(types.TargetHealthStateEnumDraining)
)

func (ops operations) elb() {
	on(ops, elbDescribeLoadBalancers)
	on(ops, elbDescribeLoadBalancerAttributes)
	on(ops, elbDescribeListeners)
	on(ops, elbDescribeRules)
	on(ops, elbDescribeTargetGroups)
	on(ops, elbDescribeTargetGroupAttributes)
	on(ops, elbModifyTargetGroupAttributes)
	on(ops, elbDescribeTargetHealth)
	on(ops, elbDescribeTags)
	on(ops, elbRegisterTargets)
	on(ops, elbDeregisterTargets)
}

// tick runs the health checks and ends what has drained.
func (s *elbState) tick(w *world) bool {
	changed := false
	attached := w.EC2.attached()
	for _, g := range s.TargetGroups {
		before := len(g.Targets)
		g.Targets = slices.DeleteFunc(g.Targets, func(t *target) bool { return t.over(w, g.instanceOf(w, t)) })
		changed = changed || len(g.Targets) != before
		for _, t := range g.Targets {
			changed = t.check(g.Checks, w.reachableBy(g.instanceOf(w, t), attached[g.instanceOf(w, t)]), w.Now) || changed
		}
	}
	return changed
}

// instanceOf is the instance behind a target; empty where an address belongs to none.
func (g *targetGroup) instanceOf(w *world, t *target) string {
	if g.Type == string(types.TargetTypeEnumInstance) {
		return t.ID
	}
	return w.instanceAt(t.ID)
}

// over reports whether the registration ends now: drained, or its instance is
// terminated. A stopped instance stays registered.
func (t *target) over(w *world, instance string) bool {
	if t.Health == targetDraining {
		return !w.Now.Before(t.Gone)
	}
	return instance != "" && w.terminated(instance)
}

// check moves a target's health by what the checks see. A new target needs one
// good check, others as many in a row as the thresholds say.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
func (t *target) check(c checks, up bool, now time.Time) bool {
	if t.Health == targetDraining {
		return false
	}
	next, wait := targetUnhealthy, c.Interval*time.Duration(c.Unhealthy)
	if up {
		next, wait = targetHealthy, c.Interval*time.Duration(c.Healthy)
		if t.Health == targetInitial {
			wait = c.Interval
		}
	}
	switch {
	case next == t.Health && t.Turning.IsZero():
		return false
	case next == t.Health:
		t.Turning = time.Time{}
	case t.Turning.IsZero():
		t.Turning = now
	case now.Sub(t.Turning) < wait:
		return false
	default:
		t.Health, t.Since, t.Turning = next, now, time.Time{}
	}
	return true
}

// find gives the registration of an ID under a port.
func (g *targetGroup) find(id string, port int32) *target {
	for _, t := range g.Targets {
		if t.ID == id && t.Port == port {
			return t
		}
	}
	return nil
}

// register adds a target, or takes one back that is draining.
func (g *targetGroup) register(id string, port int32, zone string, now time.Time) {
	t := g.find(id, port)
	if t == nil {
		t = &target{ID: id, Port: port, Zone: zone}
		g.Targets = append(g.Targets, t)
	} else if t.Health != targetDraining {
		return
	}
	t.Health, t.Since, t.Turning, t.Gone = targetInitial, now, time.Time{}, time.Time{}
}

// deregister starts draining and says when it ends; now where there is nothing
// to drain.
func (g *targetGroup) deregister(id string, port int32, now time.Time) time.Time {
	t := g.find(id, port)
	if t == nil {
		return now
	}
	if t.Health != targetDraining {
		t.Health, t.Since, t.Gone = targetDraining, now, now.Add(g.Delay)
	}
	return t.Gone
}

// inUse reports whether a listener sends anything to the group.
func (s *elbState) inUse(arn string) bool { return len(s.balancersOf(arn)) > 0 }

// balancersOf lists the load balancers that send to a target group.
func (s *elbState) balancersOf(arn string) []string {
	var arns []string
	for _, b := range s.LoadBalancers {
		if slices.ContainsFunc(b.Listeners, func(l *listener) bool {
			return l.Group == arn || slices.ContainsFunc(l.Rules, func(r *listenerRule) bool { return r.Group == arn })
		}) {
			arns = append(arns, b.ARN)
		}
	}
	return arns
}

func (s *elbState) targetGroup(arn string) *targetGroup {
	for _, g := range s.TargetGroups {
		if g.ARN == arn {
			return g
		}
	}
	return nil
}

func (c *call) targetGroup(arn *string) (*targetGroup, error) {
	if g := c.ELB.targetGroup(aws.ToString(arn)); g != nil && c.region == c.Region {
		return g, nil
	}
	return nil, &types.TargetGroupNotFoundException{Message: aws.String(fmt.Sprintf("Target groups '%s' not found", aws.ToString(arn)))}
}

func (w *world) elbARN(path string) string {
	r := w.random()
	return fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:%s/%016x", w.Region, w.Account, path, r.Uint64())
}

// elbPart is the ARN of what belongs to another: the other's with one ID more
// (Service Authorization Reference, "Resource types defined by AWS Elastic Load Balancing V2").
func (w *world) elbPart(of, kind, part string) string {
	r := w.random()
	return fmt.Sprintf("%s/%016x", strings.Replace(of, ":"+kind+"/", ":"+part+"/", 1), r.Uint64())
}
