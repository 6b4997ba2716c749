package incident

import (
	"fmt"
	"slices"
)

// CheckOrder guards the order of work as far as a playbook alone tells it: a
// step that may require a capability which another step of the playbook
// provides must come after one that does. Errors are *StepError. Whether the
// capability is required at all depends on the target: the planner and the
// runner look again.
func CheckOrder(pb Playbook, specs func(name string) (Spec, bool)) []error {
	var errs []error
	g := graphOf(pb.Steps)
	for _, s := range pb.Steps {
		spec, _ := specs(s.Action)
		for _, c := range spec.MayRequire {
			var providers []string
			for _, o := range pb.Steps {
				if other, _ := specs(o.Action); o.ID != s.ID && slices.Contains(other.Provides, c) {
					providers = append(providers, o.ID)
				}
			}
			before := g.ancestors(s.ID)
			if len(providers) == 0 || slices.ContainsFunc(providers, func(id string) bool { return before[id] }) {
				continue
			}
			errs = append(errs, &StepError{Line: s.Line, Step: s.ID, Err: fmt.Errorf("must need step %s: %s", providers[0], c.lack())})
		}
	}
	return errs
}

// lack says what happens to an instance without the capability.
func (c Capability) lack() string {
	switch c {
	case LeftGroup:
		return "the instance must leave its Auto Scaling group first, or Auto Scaling finds it unhealthy and terminates it, and the evidence with it"
	case NetworkCut:
		return "the instance's network must be cut first, or whoever controls the instance can still act on what this step does"
	default:
		return fmt.Sprintf("%q must hold first", string(c))
	}
}

// guardOrder returns why step, one of its target's steps, must not be applied with proposal p: something
// it requires is not provided by any step before it that counts.
func guardOrder(steps []StepPlan, step StepPlan, p Proposal, counts func(StepPlan) bool) error {
	for _, c := range p.Requires {
		if !provided(steps, step, c, counts) {
			return &RefusedError{Reason: fmt.Sprintf("step %s on %s: no step before it provides %s: %s", step.ID, step.Target, c, c.lack())}
		}
	}
	return nil
}

func provided(steps []StepPlan, step StepPlan, c Capability, counts func(StepPlan) bool) bool {
	before := planGraph(steps).ancestors(step.ID)
	return slices.ContainsFunc(steps, func(s StepPlan) bool {
		return before[s.ID] && slices.Contains(s.Provides, c) && counts(s)
	})
}

// graph maps a step's ID to the IDs of the steps it needs.
type graph map[string][]string

func graphOf(steps []Step) graph {
	g := make(graph, len(steps))
	for _, s := range steps {
		g[s.ID] = s.Needs
	}
	return g
}

// planGraph is that of one target's steps.
func planGraph(steps []StepPlan) graph {
	g := make(graph, len(steps))
	for _, s := range steps {
		g[s.ID] = s.Needs
	}
	return g
}

// ancestors are the steps that id needs, and what they need. It ends on cycles too.
func (g graph) ancestors(id string) map[string]bool {
	seen := make(map[string]bool)
	var visit func(string)
	visit = func(id string) {
		for _, n := range g[id] {
			if !seen[n] {
				seen[n] = true
				visit(n)
			}
		}
	}
	visit(id)
	return seen
}

// ordered returns the steps so that each comes after what it needs, otherwise
// in the order of the file.
func ordered(steps []Step) ([]Step, []error) {
	var errs []error
	g := graphOf(steps)
	for _, s := range steps {
		for _, n := range s.Needs {
			if _, ok := g[n]; !ok {
				errs = append(errs, &StepError{Line: s.Line, Step: s.ID, Err: fmt.Errorf("needs step %s, which does not exist", n)})
			}
		}
		if g.ancestors(s.ID)[s.ID] {
			errs = append(errs, &StepError{Line: s.Line, Step: s.ID, Err: fmt.Errorf("needs itself, by way of what it needs")})
		}
	}
	if len(g) < len(steps) {
		errs = append(errs, fmt.Errorf("two steps have the same ID"))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	done := make(map[string]bool, len(steps))
	out := make([]Step, 0, len(steps))
	for len(out) < len(steps) {
		for _, s := range steps {
			if !done[s.ID] && !slices.ContainsFunc(s.Needs, func(n string) bool { return !done[n] }) {
				done[s.ID] = true
				out = append(out, s)
			}
		}
	}
	return out, nil
}
