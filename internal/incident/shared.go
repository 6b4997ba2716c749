package incident

import "slices"

// runStep names a step of a run of the case.
type runStep struct {
	run string
	key StepKey
}

// hold notes that the step may have changed what it names as shared.
func (s *State) hold(h runStep, keys []string) {
	for _, k := range keys {
		if s.holders == nil {
			s.holders = make(map[string]map[runStep]bool)
		}
		if s.holders[k] == nil {
			s.holders[k] = make(map[runStep]bool)
		}
		s.holders[k][h] = true
	}
}

// drop notes that the step was undone.
func (s *State) drop(h runStep, keys []string) {
	for _, k := range keys {
		if delete(s.holders[k], h); len(s.holders[k]) == 0 {
			delete(s.holders, k)
		}
	}
}

// held are those keys that a live step names, besides the steps that don't count.
func (s *State) held(keys []string, besides func(runStep) bool) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		for h := range s.holders[k] {
			if !besides(h) {
				return false
			}
		}
		return true
	})
}

// hold notes which of what the step shares another one holds.
func (u *Undo) hold(names []string) { u.HeldNames, u.Held = names, len(names) > 0 }

// undone names the step that this step of a release undoes.
func (s StepPlan) undone() runStep {
	return runStep{s.Undo.Run, StepKey{s.Target, s.Undo.Step}}
}

// shared is what the step names as shared, as far as the plan knows. What is
// undone shares what it shared when it was done.
func (s StepPlan) shared() []string {
	var keys []string
	if s.Proposal != nil {
		keys = union(keys, s.Proposal.Shared)
	}
	if s.Undo != nil {
		keys = union(keys, s.Undo.Proposal.Shared)
	}
	return keys
}

// sharers are a plan's steps by what they name as shared.
type sharers map[string][]StepKey

func sharersOf(steps []StepPlan) sharers {
	by := make(sharers)
	for _, s := range steps {
		for _, k := range s.shared() {
			by[k] = append(by[k], s.Key())
		}
	}
	return by
}

// targets are the other targets whose steps share one of the keys and still count.
func (by sharers) targets(self Target, keys []string, counts func(StepKey) bool) []Target {
	var others []Target
	seen := map[Target]bool{self: true}
	for _, k := range keys {
		for _, s := range by[k] {
			if !seen[s.Target] && counts(s) {
				seen[s.Target] = true
				others = append(others, s.Target)
			}
		}
	}
	return others
}
