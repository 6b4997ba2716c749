package incident_test

import (
	"errors"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// roomFor takes so many steps in one plan.
type roomFor struct {
	*fake
	steps int
}

func (r roomFor) PlanJoint(proposals []incident.Proposal) error {
	if len(proposals) > r.steps {
		return &incident.RefusedError{Reason: "no room"}
	}
	return nil
}

func TestWhatFitsAloneAndNotTogetherIsRefusedBeforeAnythingRuns(t *testing.T) {
	b := newBench(t)
	b.registry["fake.joint"] = roomFor{&fake{spec: spec("fake.joint", incident.Disruptive), world: b.world}, 1}
	pb := playbook(step("a", "joint"))
	if _, err := b.planner.Plan(t.Context(), testCase, pb, []incident.Target{targetA}, nil); err != nil {
		t.Errorf("one target: %v", err)
	}
	_, err := b.planner.Plan(t.Context(), testCase, pb, []incident.Target{targetA, targetB}, nil)
	if _, refused := errors.AsType[*incident.RefusedError](err); !refused {
		t.Errorf("two targets: %v", err)
	}
}
