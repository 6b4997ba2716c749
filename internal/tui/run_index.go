package tui

import (
	"maps"
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// runIndex finds the steps of a run's targets, and counts them, so that a frame
// need not go through the steps of thousands of instances.
type runIndex struct {
	run       *incident.RunState
	targets   []targetSpan
	status    []*incident.StepStatus // of each step in the plan
	depth     []int                  // of each step in the plan: how many it comes after, one after the other
	states    map[incident.StepState]int
	cuts      bool                // the playbook cuts the network
	contained *float64            // seconds from the start; nil: not, or not yet
	waiting   []incident.StepPlan // for an approval
	order     []int               // places in targets: those that need attention first
}

// targetSpan is where a target's steps stand in the plan, and the most urgent state among them.
type targetSpan struct {
	Target   incident.Target
	from, to int
	worst    incident.StepState
}

// newRunIndex goes through the plan once: its steps stand target by target.
func newRunIndex(run *incident.RunState) *runIndex {
	x := &runIndex{run: run, depth: make([]int, len(run.Plan.Steps)), status: make([]*incident.StepStatus, len(run.Plan.Steps))}
	depth := make(map[string]int)
	for i, s := range run.Plan.Steps {
		if i == 0 || run.Plan.Steps[i-1].Target != s.Target {
			x.targets = append(x.targets, targetSpan{Target: s.Target, from: i})
			clear(depth)
		}
		x.targets[len(x.targets)-1].to = i + 1
		for _, need := range s.Needs {
			x.depth[i] = max(x.depth[i], depth[need]+1)
		}
		depth[s.ID], x.status[i] = x.depth[i], run.Steps[s.Key()]
		x.cuts = x.cuts || slices.Contains(s.Provides, incident.NetworkCut)
	}
	x.count()
	return x
}

// byUrgency are the states by how much they want a person, the least first.
var byUrgency = [...]incident.StepState{
	incident.Reverted, incident.Skipped, incident.Succeeded, incident.Pending, incident.Running, incident.Failed, incident.Unknown, incident.Waiting,
}

// urgency is a state's place among byUrgency.
func urgency(s incident.StepState) int { return slices.Index(byUrgency[:], s) }

// count counts the steps by state and orders the targets.
func (x *runIndex) count() {
	before := x.states
	x.states, x.waiting = make(map[incident.StepState]int), nil
	for i := range x.targets {
		t := &x.targets[i]
		t.worst = incident.Reverted
		for at, status := range x.status[t.from:t.to] {
			x.states[status.State]++
			if status.State == incident.Waiting {
				x.waiting = append(x.waiting, x.run.Plan.Steps[t.from+at])
			}
			if urgency(status.State) > urgency(t.worst) {
				t.worst = status.State
			}
		}
	}
	if maps.Equal(before, x.states) {
		return
	}
	x.contained = x.run.ContainedAfter()
	x.order = x.order[:0]
	for i := range x.targets {
		x.order = append(x.order, i)
	}
	slices.SortStableFunc(x.order, func(a, b int) int { return urgency(x.targets[b].worst) - urgency(x.targets[a].worst) })
}

// rows are the places of the targets that match the filter, in order.
func (x *runIndex) rows(filter string) []int {
	words := strings.Fields(strings.ToLower(filter))
	if len(words) == 0 {
		return x.order
	}
	var rows []int
	for _, i := range x.order {
		text := x.targets[i].Target.String() + " " + x.targets[i].worst.String()
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			rows = append(rows, i)
		}
	}
	return rows
}

// at is the place of a target among the rows; 0 where it is not there.
func (x *runIndex) at(rows []int, target incident.Target) int {
	return max(0, slices.IndexFunc(rows, func(i int) bool { return x.targets[i].Target == target }))
}

// stepsOf are a target's steps; those of the most urgent target where it has none.
func (x *runIndex) stepsOf(target incident.Target) []incident.StepPlan {
	t := x.span(target)
	return x.run.Plan.Steps[t.from:t.to]
}

func (x *runIndex) span(target incident.Target) targetSpan {
	at := slices.IndexFunc(x.targets, func(t targetSpan) bool { return t.Target == target })
	if at < 0 {
		at = x.order[0]
	}
	return x.targets[at]
}

// urgent is the place of the step that wants a person most, the last one of those that are over.
func (x *runIndex) urgent(steps []incident.StepPlan) int {
	best, level := 0, -1
	for i, s := range steps {
		u := urgency(x.run.Steps[s.Key()].State)
		if u > level || u == level && u == urgency(incident.Succeeded) {
			best, level = i, u
		}
	}
	return best
}
