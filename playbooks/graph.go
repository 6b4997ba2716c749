package playbooks

import (
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// graph checks what the steps need, and that no step waits for itself.
func (p *parser) graph() {
	for i := range p.steps {
		s := &p.steps[i]
		for _, n := range s.needs {
			id, ok := p.text(n, "an item of needs")
			switch {
			case !ok:
			case p.find(id) == nil:
				p.add(at(n), "step %s needs step %s, which is not there; there are %s", s.ID, quote(id), list(p.scope.below("steps.")))
			case slices.Contains(s.Needs, id):
				p.add(at(n), "step %s needs %s twice", s.ID, id)
			default:
				s.Needs = append(s.Needs, id)
			}
		}
	}
	for _, cycle := range p.cycles() {
		first := p.find(cycle[0])
		p.add(first.at, "these steps wait for each other: %s", strings.Join(append(cycle, cycle[0]), " needs "))
	}
}

func (p *parser) find(id string) *stepNode {
	for i := range p.steps {
		if p.steps[i].id && p.steps[i].ID == id {
			return &p.steps[i]
		}
	}
	return nil
}

// cycles returns each cycle that a walk in the order of the file closes,
// beginning with its first step in the file.
func (p *parser) cycles() [][]string {
	var out [][]string
	done := make(map[string]bool)
	var path []string
	var walk func(id string)
	walk = func(id string) {
		if i := slices.Index(path, id); i >= 0 {
			out = append(out, p.fromFirst(path[i:]))
			return
		}
		if done[id] {
			return
		}
		path = append(path, id)
		for _, need := range p.find(id).Needs {
			walk(need)
		}
		path = path[:len(path)-1]
		done[id] = true
	}
	for _, s := range p.steps {
		if s.id {
			walk(s.ID)
		}
	}
	return out
}

// fromFirst turns a cycle so that it begins with its first step in the file.
func (p *parser) fromFirst(cycle []string) []string {
	for _, s := range p.steps {
		if i := slices.Index(cycle, s.ID); i >= 0 {
			return append(slices.Clone(cycle[i:]), cycle[:i]...)
		}
	}
	return cycle
}

// needed are all steps that end before s begins.
func (p *parser) needed(s incident.Step) map[string]bool {
	out := make(map[string]bool)
	todo := slices.Clone(s.Needs)
	for len(todo) > 0 {
		id := todo[0]
		todo = todo[1:]
		if out[id] {
			continue
		}
		out[id] = true
		todo = append(todo, p.find(id).Needs...)
	}
	return out
}
