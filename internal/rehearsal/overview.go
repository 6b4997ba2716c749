package rehearsal

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Overview is the state of the account as a person wants to see it.
type Overview struct {
	Rehearsal bool               `json:"rehearsal"` // always true
	Scenario  string             `json:"scenario"`
	Account   string             `json:"account"`
	Region    string             `json:"region"`
	Time      time.Time          `json:"time"` // in the account
	Instances []InstanceOverview `json:"instances"`
	Groups    []GroupOverview    `json:"groups"`
	Buckets   []BucketOverview   `json:"buckets"`
	Snapshots []string           `json:"snapshots"`
	Images    []string           `json:"images"`
	Stacks    []string           `json:"stacks"`
	// Flows are the connections of the scenario, the intruder's and the neighbours'.
	Flows []FlowOverview `json:"flows,omitempty"`
	// Intruder says how far somebody gets with stolen credentials of a role, Thief
	// with a user's access key.
	Intruder string `json:"intruder,omitempty"`
	Thief    string `json:"thief,omitempty"`
	// Problem says why the account could not be read; all else is empty then.
	Problem string `json:"problem,omitempty"`
}

// InstanceOverview is one instance.
type InstanceOverview struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	State     string `json:"state"`
	Zone      string `json:"zone"`
	Group     string `json:"group,omitempty"`     // Auto Scaling
	Lifecycle string `json:"lifecycle,omitempty"` // there
	Reachable bool   `json:"reachable"`           // over the network
	Suspect   bool   `json:"suspect"`
}

// GroupOverview is an Auto Scaling group's capacity. Healthy counts the members
// that are InService and healthy in every target group and classic load balancer of the group.
type GroupOverview struct {
	Name    string `json:"name"`
	Min     int    `json:"min"`
	Max     int    `json:"max"`
	Desired int    `json:"desired"`
	Healthy int    `json:"healthy"`
}

// BucketOverview is a bucket and how many objects it holds, all versions counted.
type BucketOverview struct {
	Name    string `json:"name"`
	Objects int    `json:"objects"`
}

// Overview shows the account as it is now on its own clock.
func (a *Account) Overview() Overview {
	var o Overview
	if err := a.with(func(w *world) bool {
		changed := w.tick(a.clock.Now())
		o = w.overview()
		return changed
	}); err != nil {
		return Overview{Rehearsal: true, Problem: err.Error()}
	}
	return o
}

// Whole reports whether every group serves with all it wants.
func (o Overview) Whole() bool {
	for _, g := range o.Groups {
		if g.Healthy != g.Desired {
			return false
		}
	}
	return o.Problem == ""
}

func (w *world) overview() Overview {
	o := Overview{
		Rehearsal: true, Scenario: w.Scenario, Account: w.Account, Region: w.Region, Time: w.Now,
	}
	if w.Intruder != nil {
		o.Intruder = w.Intruder.String()
	}
	if w.Thief != nil {
		o.Thief = w.Thief.String()
	}
	for _, f := range w.Traffic {
		o.Flows = append(o.Flows, w.flowOverview(f))
	}
	for _, s := range inOrder(w.EC2.Snapshots) {
		if s.Owner == w.Account {
			o.Snapshots = append(o.Snapshots, s.ID)
		}
	}
	for _, i := range inOrder(w.EC2.Images) {
		if i.Owner == w.Account {
			o.Images = append(o.Images, i.ID)
		}
	}
	for _, st := range w.CloudFormation.Stacks {
		o.Stacks = append(o.Stacks, fmt.Sprintf("%s %s", st.Name, st.Status))
	}
	for _, b := range inOrder(w.S3.Buckets) {
		bo := BucketOverview{Name: b.Name}
		for _, versions := range b.Objects {
			for _, v := range versions {
				if !v.Marker {
					bo.Objects++
				}
			}
		}
		o.Buckets = append(o.Buckets, bo)
	}
	for _, i := range inOrder(w.EC2.Instances) {
		io := InstanceOverview{
			ID: i.ID, Name: w.tags(i.ID)["Name"], State: string(i.State), Zone: i.AZ, Reachable: w.reachable(i.ID), Suspect: i.ID == w.Suspect,
		}
		if g := w.groupOf(i.ID); g != nil {
			io.Group, io.Lifecycle = g.Name, g.member(i.ID).State
		}
		o.Instances = append(o.Instances, io)
	}
	for _, g := range w.AutoScaling.Groups {
		o.Groups = append(o.Groups, GroupOverview{Name: g.Name, Min: g.Min, Max: g.Max, Desired: g.Desired, Healthy: g.serving(w)})
	}
	return o
}

// serving counts the members that the group's load balancers send requests to.
func (g *scalingGroup) serving(w *world) int {
	n := 0
	for _, m := range g.Members {
		targets := g.registrations(w, m.ID)
		ok := m.State == stateInService && m.Healthy && w.running(m.ID) && len(targets) == len(g.TargetGroups)+len(g.Classic)
		for _, t := range targets {
			ok = ok && t.Health == targetHealthy
		}
		if ok {
			n++
		}
	}
	return n
}

// String is for a terminal.
func (o Overview) String() string {
	if o.Problem != "" {
		return "REHEARSAL: " + o.Problem + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "REHEARSAL %s: account %s, %s, %s\n", o.Scenario, o.Account, o.Region, o.Time.Format(time.RFC3339))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, i := range o.Instances {
		var marks []string
		if i.Group != "" {
			marks = append(marks, i.Lifecycle+" in "+i.Group)
		}
		if i.State == "running" && !i.Reachable {
			marks = append(marks, "network cut")
		}
		if i.Suspect {
			marks = append(marks, "suspected")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", i.ID, i.Name, i.State, i.Zone, strings.Join(marks, ", "))
	}
	_ = t.Flush() // into memory: can't fail
	for _, g := range o.Groups {
		fmt.Fprintf(&b, "  group %s: %d of %d healthy (min %d, max %d)\n", g.Name, g.Healthy, g.Desired, g.Min, g.Max)
	}
	for _, s := range o.Buckets {
		fmt.Fprintf(&b, "  bucket %s: %d objects\n", s.Name, s.Objects)
	}
	for _, l := range []struct {
		what string
		ids  []string
	}{{"snapshots", o.Snapshots}, {"images", o.Images}, {"stacks", o.Stacks}} {
		if len(l.ids) > 0 {
			fmt.Fprintf(&b, "  %s: %s\n", l.what, strings.Join(l.ids, ", "))
		}
	}
	o.writeFlows(&b)
	for _, s := range []string{o.Intruder, o.Thief} {
		if s != "" {
			fmt.Fprintf(&b, "  intruder: %s\n", s)
		}
	}
	return b.String()
}
