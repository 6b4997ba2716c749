package isolate

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/playbooks"
)

// notebook is a journal in memory, folded as it is written.
type notebook struct {
	mu      sync.Mutex
	clock   incident.Clock
	entries []incident.Entry
	state   *incident.State
}

// fold is another state of what was written so far.
func (n *notebook) fold(t tester) *incident.State {
	t.Helper()
	s := incident.NewState()
	for _, e := range n.entries {
		if err := s.Add(e); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return s
}

func (n *notebook) Append(_ context.Context, d incident.Draft) (incident.Entry, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	data, err := json.Marshal(d.Data)
	if err != nil {
		return incident.Entry{}, err
	}
	e := incident.Entry{Seq: uint64(len(n.entries)), Time: n.clock.Now(), Type: d.Type, Case: "INC-42", Run: d.Run, Step: d.Step, Target: d.Target, Data: data}
	n.entries = append(n.entries, e)
	return e, n.state.Add(e)
}

// TestTheShippedContainmentIsApprovedOnce runs playbook and release through
// the engine with the plan's approval only: a step whose changes were not among
// those approved would ask, and nobody answers.
func TestTheShippedContainmentIsApprovedOnce(t *testing.T) {
	for _, strategy := range []string{strategyReplace, strategyShrink, strategyStandby} {
		for _, wait := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, waiting %v", strategy, wait), func(t *testing.T) {
				s := newSite(t, 1)
				before := s.state()
				registry := must[incident.Registry](t)(incident.NewRegistry(s.all...))
				pb := must[incident.Playbook](t)(playbooks.Load("contain", registry.Specs()))
				c := incident.Case{ID: s.caseID, Rehearsal: true}
				n := &notebook{clock: s.acct.Clock(), state: incident.NewState()}
				must[incident.Entry](t)(n.Append(s.ctx, incident.Draft{Type: incident.EntryCaseOpened, Data: c}))

				planner := incident.Planner{Registry: registry, Clock: s.acct.Clock()}
				plan := must[incident.Plan](t)(planner.Plan(s.ctx, c, pb, []incident.Target{s.target}, map[string]any{
					"autoscaling_strategy": strategy, "wait_for_draining": wait,
				}))
				s.execute(n, registry, pb, plan, "r1")
				if s.state() == before {
					t.Fatal("nothing was isolated")
				}
				release := must[incident.Plan](t)(planner.Release(s.ctx, n.state, nil, false))
				s.execute(n, registry, incident.Playbook{}, release, "r2")
				s.same(before, s.state(), "after the release")
			})
		}
	}
}

// execute runs a plan that has been approved as a whole.
func (s *site) execute(n *notebook, registry incident.Registry, pb incident.Playbook, plan incident.Plan, run string) {
	s.t.Helper()
	runner := incident.Runner{
		Journal: n, Registry: registry, Clock: s.acct.Clock(),
		Approved: &incident.Approval{Approved: true, Digest: plan.Digest, By: "analyst@desk", How: "--digest"},
		Ask: func(_ context.Context, q incident.Question) (incident.Approval, error) {
			return incident.Approval{}, fmt.Errorf("step %s asks again: %s", q.Step.ID, q.Why)
		},
	}
	outcome, err := runner.Start(s.ctx, n.fold(s.t), pb, plan, run)
	if err != nil || outcome != incident.OutcomeSucceeded {
		for k, st := range n.state.Run(run).Steps {
			if st.Outcome != nil && st.Outcome.Error != "" {
				s.t.Errorf("%s: %s", k, st.Outcome.Error)
			}
		}
		s.t.Fatalf("run %s: %s, %v", run, outcome, err)
	}
}
