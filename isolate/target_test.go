package isolate

import (
	"errors"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestSettleRestoresWhatTheStepSetAndNothingElse(t *testing.T) {
	tests := []struct {
		name             string
		before, set, now string
		force            bool
		changes          int
		drift            bool
	}{
		{name: "as the step left it", before: "a", set: "b", now: "b", changes: 1},
		{name: "restored already", before: "a", set: "b", now: "a"},
		{name: "changed by someone else", before: "a", set: "b", now: "c", drift: true},
		{name: "changed by someone else, forced", before: "a", set: "b", now: "c", force: true, changes: 1},
		{name: "the step had nothing to change", before: "b", set: "b", now: "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := settle([]incident.Drift{{Before: tt.before, Set: tt.set, Now: tt.now}}, tt.force)
			if _, ok := errors.AsType[*incident.DriftError](err); ok != tt.drift || (err != nil) != tt.drift {
				t.Fatalf("error %v", err)
			}
			if len(changes) != tt.changes {
				t.Fatalf("%d changes", len(changes))
			}
			for _, c := range changes {
				if c.Before != tt.now || c.After != tt.before {
					t.Errorf("change %+v", c)
				}
			}
		})
	}
}

func TestAllDriftIsReportedTogether(t *testing.T) {
	_, err := settle([]incident.Drift{{Resource: "x", Before: "a", Set: "b", Now: "c"}, {Resource: "y", Before: "a", Set: "b", Now: "d"}}, false)
	drift, ok := errors.AsType[*incident.DriftError](err)
	if !ok || len(drift.Differences) != 2 {
		t.Fatalf("got %v", err)
	}
}
