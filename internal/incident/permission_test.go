package incident

import (
	"slices"
	"testing"
)

func TestAPermissionIsOfTheStepsThatActWhereItIsAskedFor(t *testing.T) {
	home, other := Target{Account: "1", Region: "eu", Instance: "i-1"}, Target{Account: "2", Region: "eu", Instance: "i-2"}
	copies := StepPlan{ID: "copies", Target: home, Inputs: map[string]any{"account": "9", "region": "us"}}
	if got, want := copies.Places(), []Target{{Account: "1", Region: "eu"}, {Account: "9", Region: "us"}}; !slices.Equal(got, want) {
		t.Errorf("places %v", got)
	}
	plain := StepPlan{ID: "cut", Target: home, Inputs: map[string]any{"account": "", "region": "eu"}}
	if got := plain.Places(); len(got) != 1 {
		t.Errorf("places %v", got)
	}
	skipped := plain
	skipped.Skip = "not now"
	elsewhere := plain
	elsewhere.Target = other
	p := Permission{Account: "1", Region: "eu", Steps: []string{"cut", "copies"}}
	away := Permission{Account: "9", Region: "us", Steps: []string{"copies"}}
	for _, test := range []struct {
		p    Permission
		step StepPlan
		want bool
	}{
		{p, plain, true}, {p, copies, true}, {away, copies, true},
		{away, plain, false}, {p, skipped, false}, {p, elsewhere, false}, {p, StepPlan{ID: "other", Target: home}, false},
	} {
		if got := test.p.Of(test.step); got != test.want {
			t.Errorf("%+v of %s at %s: %t", test.p, test.step.ID, test.step.Target, got)
		}
	}
}
