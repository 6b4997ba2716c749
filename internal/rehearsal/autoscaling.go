package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// autoscalingState is what the Auto Scaling API keeps.
type autoscalingState struct {
	Groups []*scalingGroup `json:"groups,omitempty"`
}

type scalingGroup struct {
	Name            string           `json:"name"`
	ARN             string           `json:"arn"`
	Created         time.Time        `json:"created"`
	Min             int              `json:"min"`
	Max             int              `json:"max"`
	Desired         int              `json:"desired"`
	HealthCheckType string           `json:"health_check_type"` // EC2, or EC2 and ELB
	Grace           time.Duration    `json:"grace"`
	Subnets         []string         `json:"subnets"`
	Template        launchTemplate   `json:"template"`
	TargetGroups    []string         `json:"target_groups,omitempty"` // ARNs
	Classic         []string         `json:"classic,omitempty"`       // names
	Tags            []groupTag       `json:"tags,omitempty"`
	Protect         bool             `json:"protect,omitempty"`   // new instances from scale-in
	Suspended       []string         `json:"suspended,omitempty"` // processes
	Members         []*member        `json:"members,omitempty"`
	Activities      []*groupActivity `json:"activities,omitempty"` // oldest first
}

type launchTemplate struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Spec    launchSpec `json:"spec"`
}

type groupTag struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Propagate bool   `json:"propagate"`
}

// member is an instance of the group.
type member struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Healthy   bool      `json:"healthy"`
	Protected bool      `json:"protected,omitempty"`
	Template  string    `json:"template,omitempty"` // version; empty: attached
	Since     time.Time `json:"since"`              // in this state
	Next      time.Time `json:"next,omitzero"`      // when a passing state ends
	Activity  string    `json:"activity,omitempty"` // that brought it into this state
}

// Lifecycle states, as AWS names them. A member that is terminated or detached
// leaves the group.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
const (
	statePending         = string(types.LifecycleStatePending)
	stateInService       = string(types.LifecycleStateInService)
	stateTerminating     = string(types.LifecycleStateTerminating)
	stateDetaching       = string(types.LifecycleStateDetaching)
	stateEnteringStandby = string(types.LifecycleStateEnteringStandby)
	stateStandby         = string(types.LifecycleStateStandby)
)

// What things take that AWS gives no time for.
const (
	pendingTime = 45 * time.Second // launch until InService
	joinTime    = 10 * time.Second // a running instance: attached, or back from standby
	leaveTime   = 5 * time.Second  // without a load balancer to drain
)

// groupNameTag is AWS's own tag on every member.
const groupNameTag = "aws:autoscaling:groupName"

// processes can be suspended.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
var processes = []string{
	"AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh",
	"Launch", "ReplaceUnhealthy", "ScheduledActions", "Terminate",
}

func (ops operations) autoscaling() {
	on(ops, autoscalingDescribeAutoScalingGroups)
	on(ops, autoscalingDescribeAutoScalingInstances)
	on(ops, autoscalingDescribeScalingActivities)
	on(ops, autoscalingDescribeTags)
	on(ops, autoscalingDetachInstances)
	on(ops, autoscalingAttachInstances)
	on(ops, autoscalingEnterStandby)
	on(ops, autoscalingExitStandby)
	on(ops, autoscalingSetInstanceProtection)
	on(ops, autoscalingSetInstanceHealth)
	on(ops, autoscalingUpdateAutoScalingGroup)
	on(ops, autoscalingSuspendProcesses)
	on(ops, autoscalingResumeProcesses)
	on(ops, autoscalingTerminateInstance)
}

// tick does for every group what Auto Scaling does by itself.
func (s *autoscalingState) tick(w *world) bool {
	changed := false
	for _, g := range s.Groups {
		changed = g.settle(w) || changed
		changed = g.checkHealth(w) || changed
		changed = g.replaceUnhealthy(w) || changed
		changed = g.keepCapacity(w) || changed
	}
	return changed
}

func (g *scalingGroup) suspended(process string) bool { return slices.Contains(g.Suspended, process) }

// settle lets members arrive in the state they are on their way to.
func (g *scalingGroup) settle(w *world) (changed bool) {
	for _, m := range slices.Clone(g.Members) {
		if m.State != stateInService && w.instance(m.ID) == nil { // EC2 has forgotten it
			g.drop(m)
			changed = true
			continue
		}
		if m.Next.IsZero() || w.Now.Before(m.Next) {
			continue
		}
		switch m.State {
		case statePending:
			if w.booting(m.ID) {
				continue
			}
			if !w.running(m.ID) {
				w.terminate(m.ID)
				g.end(w, m, false)
				g.drop(m)
				break
			}
			g.end(w, m, true)
			g.enter(w, m, stateInService, 0)
			if !g.suspended("AddToLoadBalancer") {
				g.register(w, m.ID)
			}
		case stateTerminating:
			w.terminate(m.ID)
			g.end(w, m, true)
			g.drop(m)
		case stateDetaching:
			delete(w.EC2.Tags[m.ID], groupNameTag)
			g.end(w, m, true)
			g.drop(m)
		case stateEnteringStandby:
			g.end(w, m, true)
			g.enter(w, m, stateStandby, 0)
		}
		changed = true
	}
	return changed
}

// enter puts a member into a state; one with a duration is a passing one.
func (g *scalingGroup) enter(w *world, m *member, state string, takes time.Duration) {
	m.State, m.Since, m.Next = state, w.Now, time.Time{}
	if takes > 0 {
		m.Next = w.Now.Add(takes)
	}
}

func (g *scalingGroup) drop(m *member) {
	g.Members = slices.DeleteFunc(g.Members, func(o *member) bool { return o == m })
}

// checkHealth marks members that look unhealthy. That an instance does not run
// is seen at once; the load balancers' word counts after the grace period.
// Standby and detaching members are not looked at: aws-facts.md, "Auto Scaling
// and load balancers".
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html
func (g *scalingGroup) checkHealth(w *world) (changed bool) {
	if g.suspended("HealthCheck") {
		return false
	}
	for _, m := range g.Members {
		if m.State != stateInService || !m.Healthy {
			continue
		}
		if !w.running(m.ID) || g.pastGrace(w, m) && g.failing(w, m.ID) {
			m.Healthy, changed = false, true
		}
	}
	return changed
}

func (g *scalingGroup) pastGrace(w *world, m *member) bool {
	return !w.Now.Before(m.Since.Add(g.Grace))
}

// failing: with ELB health checks one load balancer that calls the instance
// unhealthy is enough.
func (g *scalingGroup) failing(w *world, id string) bool {
	if g.HealthCheckType == "EC2" {
		return false
	}
	for _, t := range g.registrations(w, id) {
		if t.Health == targetUnhealthy {
			return true
		}
	}
	return false
}

// registrations are the instance's in the load balancers that belong to the
// group: what was registered by hand under another port or elsewhere is not.
func (g *scalingGroup) registrations(w *world, id string) []*target {
	var list []*target
	for _, arn := range g.TargetGroups {
		if tg := w.ELB.targetGroup(arn); tg != nil {
			if t := tg.find(id, tg.Port); t != nil {
				list = append(list, t)
			}
		}
	}
	for _, name := range g.Classic {
		if b := w.classicBalancer(name); b != nil {
			if t := b.find(id); t != nil {
				list = append(list, t)
			}
		}
	}
	return list
}

func (g *scalingGroup) register(w *world, id string) {
	for _, arn := range g.TargetGroups {
		if tg := w.ELB.targetGroup(arn); tg != nil {
			tg.register(id, tg.Port, w.zoneOf(id), w.Now)
		}
	}
	for _, name := range g.Classic {
		if b := w.classicBalancer(name); b != nil {
			b.register(id, w.Now)
		}
	}
}

// leave deregisters a member and gives how long that drains: Auto Scaling waits
// for it before it detaches, puts on standby or terminates.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html
func (g *scalingGroup) leave(w *world, id string) time.Duration {
	last := w.Now.Add(leaveTime)
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for _, arn := range g.TargetGroups {
		if tg := w.ELB.targetGroup(arn); tg != nil {
			later(tg.deregister(id, tg.Port, w.Now))
		}
	}
	for _, name := range g.Classic {
		if b := w.classicBalancer(name); b != nil {
			later(b.deregister(id, w.Now))
		}
	}
	return last.Sub(w.Now)
}

// replaceUnhealthy terminates marked members. Neither scale-in protection nor
// termination protection stops it. A mark set while the process is suspended waits for it.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-instance-protection.html
func (g *scalingGroup) replaceUnhealthy(w *world) (changed bool) {
	if g.suspended("ReplaceUnhealthy") || g.suspended("Terminate") {
		return false
	}
	for _, m := range g.Members {
		if m.State == stateInService && !m.Healthy {
			g.terminate(w, m, "an instance was taken out of service in response to "+g.why(w, m)+".")
			changed = true
		}
	}
	return changed
}

func (g *scalingGroup) why(w *world, m *member) string {
	switch {
	case !w.running(m.ID):
		return "an EC2 health check indicating it has been terminated or stopped"
	case g.failing(w, m.ID):
		return "an ELB system health check failure"
	default:
		return "a user health-check"
	}
}

func (g *scalingGroup) terminate(w *world, m *member, cause string) {
	g.enter(w, m, stateTerminating, g.leave(w, m.ID))
	g.begin(w, m, "Terminating EC2 instance: "+m.ID, cause, "WaitingForELBConnectionDraining")
}

// keepCapacity launches what is missing and terminates what is too much.
// Standby, detaching and terminating members do not count.
func (g *scalingGroup) keepCapacity(w *world) (changed bool) {
	var counted []*member
	for _, m := range g.Members {
		if m.State == statePending || m.State == stateInService {
			counted = append(counted, m)
		}
	}
	for n := len(counted); n < g.Desired && !g.suspended("Launch"); n++ {
		if !g.launch(w, fmt.Sprintf("an instance was started in response to a difference between desired and actual capacity, increasing the capacity from %d to %d.", n, g.Desired)) {
			break
		}
		changed = true
	}
	for n := len(counted); n > g.Desired && !g.suspended("Terminate"); n-- {
		m := g.scaleIn(w, counted)
		if m == nil {
			break
		}
		g.terminate(w, m, fmt.Sprintf("an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from %d to %d.", n, g.Desired))
		counted = slices.DeleteFunc(counted, func(o *member) bool { return o == m })
		changed = true
	}
	return changed
}

// scaleIn chooses who goes: of the zone with the most members the one that has
// been there longest, never a protected one.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
func (g *scalingGroup) scaleIn(w *world, from []*member) *member {
	perZone := make(map[string]int)
	for _, m := range from {
		perZone[w.zoneOf(m.ID)]++
	}
	var chosen *member
	for _, m := range from {
		switch {
		case m.Protected || m.State != stateInService:
		case chosen == nil,
			perZone[w.zoneOf(m.ID)] > perZone[w.zoneOf(chosen.ID)],
			perZone[w.zoneOf(m.ID)] == perZone[w.zoneOf(chosen.ID)] && m.Since.Before(chosen.Since):
			chosen = m
		}
	}
	return chosen
}

// launch starts one instance in the zone with the fewest. A failed launch is a
// failed activity, and tried again after a while.
func (g *scalingGroup) launch(w *world, cause string) bool {
	if last := g.lastActivity(); last != nil && last.Status == "Failed" && w.Now.Sub(last.Start) < time.Minute {
		return false
	}
	spec := g.Template.Spec
	spec.Subnet = g.emptiestSubnet(w)
	spec.Tags = g.memberTags(spec.Tags)
	m := &member{Healthy: true, Protected: g.Protect, Template: g.Template.Version}
	i, err := w.launch(spec)
	if err != nil {
		g.begin(w, m, "Launching a new EC2 instance.", cause, "Failed")
		g.lastActivity().Message, g.lastActivity().End = err.Error(), w.Now
		return true
	}
	m.ID = i.ID
	g.Members = append(g.Members, m)
	g.enter(w, m, statePending, pendingTime)
	g.begin(w, m, "Launching a new EC2 instance: "+m.ID, cause, "InProgress")
	return true
}

func (g *scalingGroup) memberTags(base map[string]string) map[string]string {
	tags := map[string]string{groupNameTag: g.Name}
	for k, v := range base {
		tags[k] = v
	}
	for _, t := range g.Tags {
		if t.Propagate {
			tags[t.Key] = t.Value
		}
	}
	return tags
}

func (g *scalingGroup) emptiestSubnet(w *world) string {
	count := make(map[string]int)
	for _, m := range g.Members {
		if i := w.instance(m.ID); i != nil && m.State != stateTerminating && m.State != stateDetaching {
			count[i.Subnet]++
		}
	}
	return slices.MinFunc(g.Subnets, func(a, b string) int { return count[a] - count[b] })
}

func (w *world) scalingGroup(name string) *scalingGroup {
	for _, g := range w.AutoScaling.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

func (g *scalingGroup) member(id string) *member {
	for _, m := range g.Members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// groupOf is the group that an instance is in, whatever its state there.
func (w *world) groupOf(id string) *scalingGroup {
	for _, g := range w.AutoScaling.Groups {
		if g.member(id) != nil {
			return g
		}
	}
	return nil
}

func (c *call) scalingGroup(name *string) (*scalingGroup, error) {
	if g := c.world.scalingGroup(aws.ToString(name)); g != nil && c.region == c.Region {
		return g, nil
	}
	return nil, invalid("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", aws.ToString(name))
}

// invalid is the answer to almost everything that Auto Scaling refuses.
func invalid(format string, args ...any) error {
	return apiError("ValidationError", fmt.Sprintf(format, args...))
}
