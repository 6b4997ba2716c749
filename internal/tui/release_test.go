package tui

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testdata/release-plan.json is what 'cordon release --plan --output json' prints of
// the case of full-response.jsonl before its release; release-drift.json after somebody
// has put the instance's interface into another group, and release-forced.json with --force.

// fromJSON reads a file of testdata.
func fromJSON[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// releaseDesk shows a plan as 'release --plan' gave it.
func releaseDesk(t testing.TB, m releasePlanMsg) (*desk, *Release) {
	t.Helper()
	var r *Release
	d := newDesk(t, func(env *Env) []Screen {
		r = NewRelease(env, "REHEARSAL-1")
		return []Screen{NewHome(env), r}
	})
	r.ctx = t.Context()
	r.Update(m)
	return d, r
}

// refused is the error that comes with a plan that nothing is left of.
var refused = &CommandError{Code: 2, Message: "changed by someone else since"}

func TestAReleaseShowsWhatItPutsBack(t *testing.T) {
	d, _ := releaseDesk(t, releasePlanMsg{plan: fromJSON[shownPlan](t, "release-plan.json")})
	d.golden(t, "release-plan")
	d.press("down", "down")
	d.golden(t, "release-plan-step")
	d.settle(d.press("a"))
	d.golden(t, "release-approve")
}

func TestAReleaseThatSomeoneHasInterferedWithIsRefused(t *testing.T) {
	d, _ := releaseDesk(t, releasePlanMsg{plan: fromJSON[shownPlan](t, "release-drift.json"), err: refused})
	d.golden(t, "release-drift")
	d.settle(d.press("a"))
	if got := d.at(120, 40); !strings.Contains(got, "refused: ") || d.asks != nil {
		t.Errorf("it can be approved:\n%s", got)
	}
	d.settle(d.press("F"))
	d.golden(t, "release-force-asks")
}

func TestAForcedReleaseSaysSoAndAsksWithTheName(t *testing.T) {
	d, r := releaseDesk(t, releasePlanMsg{plan: fromJSON[shownPlan](t, "release-drift.json"), err: refused})
	d.settle(d.press("F"))
	d.clock.now = d.clock.now.Add(Grace)
	d.press("y") // the command that plans anew is left to the test
	if args := r.options(); !slices.Contains(args, "--force") {
		t.Fatalf("it plans with %q", args)
	}
	r.Update(releasePlanMsg{plan: fromJSON[shownPlan](t, "release-forced.json")})
	d.golden(t, "release-forced")
	d.settle(d.press("a"))
	if d.asks == nil || d.asks.Name != "i-0b722053402f900e4" || !strings.Contains(strings.Join(d.asks.Lines, "\n"), "overwriting a change by someone else") {
		t.Errorf("it asks %+v", d.asks)
	}
}

func TestAReleaseThatCantBePlannedSaysWhy(t *testing.T) {
	d, _ := releaseDesk(t, releasePlanMsg{err: &CommandError{Code: 1, Message: "planning to undo network: ec2:DescribeNetworkInterfaces: ExpiredToken", Hint: "log in again"}})
	d.golden(t, "release-failed")
	d.settle(d.press("a"))
	if d.asks != nil {
		t.Error("it can be approved")
	}
}

func TestOnlyWhatIsShownCanBeApproved(t *testing.T) {
	plan := fromJSON[shownPlan](t, "release-plan.json")
	d, r := releaseDesk(t, releasePlanMsg{plan: plan})
	d.press("r")
	d.settle(d.press("a"))
	if d.asks != nil {
		t.Error("a plan can be approved while another is being made")
	}
	r.Update(releasePlanMsg{plan: plan})
	if line := r.Command(); !strings.Contains(line, "release --case REHEARSAL-1 --digest "+plan.Digest) {
		t.Errorf("y copies %q", line)
	}
}

func TestAReleaseThatIsStartedIsShownAsARunAboveTheCases(t *testing.T) {
	d, r := releaseDesk(t, releasePlanMsg{plan: fromJSON[shownPlan](t, "release-plan.json")})
	ended := make(chan struct{})
	close(ended)
	msg := r.Update(startedMsg{child: &Child{Args: []string{"release"}, done: ended}})()
	d.Update(addressed{d.top(), msg})
	if run, ok := d.top().screen.(*Run); !ok || run.child == nil || len(d.stack) != 2 {
		t.Errorf("%d screens are open, the last is a %T", len(d.stack), d.top().screen)
	}
}

func TestARefusedReleaseIsToldOnTheRunScreen(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: fixture(t), caughtUp: true})
	run.Update(childMsg{&CommandError{Code: 5, Message: "not approved: nothing was changed: the plan is now sha256:b, not sha256:a", Hint: "look at the plan again"}})
	if got := d.at(120, 40); !strings.Contains(got, "not started: not approved") {
		t.Errorf("it does not say that the release was refused:\n%s", got)
	}
}
