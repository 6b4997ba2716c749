package incident_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
)

// policies are the roles' deny policies: one for all instances of a role.
// Whoever is at one reads it, and writes it whole.
type policies struct {
	world *world

	mu      sync.Mutex
	members map[string][]string // instances by role; a role without a policy has no key
	atWork  map[string]string
	sharing map[string][]string // what PlanRevert was told, by instance, while planning
	held    map[string]bool
}

// deny is an action that puts its target into the policy of its role, which is
// known by the instance's ID: i-web-1 has the role web.
type deny struct {
	spec incident.Spec
	on   *policies
}

func role(t incident.Target) string { return "role/" + strings.Split(t.Instance, "-")[1] }

func (d *deny) Spec() incident.Spec { return d.spec }

func (d *deny) Plan(_ context.Context, req incident.Request) (incident.Proposal, error) {
	if req.Run != "" {
		if err := d.on.world.fails("plan", req); err != nil {
			return incident.Proposal{}, err
		}
	}
	d.on.mu.Lock()
	defer d.on.mu.Unlock()
	key := role(req.Target)
	return incident.Proposal{
		Before: written(d.on.members[key]), Impact: d.spec.Impact, Shared: []string{key},
		Changes: []incident.Change{{Resource: key, What: "denies " + req.Target.Instance, After: "yes"}},
	}, nil
}

func written(members []string) json.RawMessage {
	b, _ := json.Marshal(members)
	return b
}

func (d *deny) Apply(_ context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	return incident.Result{}, d.on.change(req, func(members []string, _ bool) ([]string, bool) {
		if now := written(members); !req.Resumed && string(now) != string(p.Before) {
			d.on.world.fault("%s: the policy was read as %s, now it is %s", req.Target, p.Before, now)
		}
		if slices.Contains(members, req.Target.Instance) {
			return members, true
		}
		return append(slices.Clone(members), req.Target.Instance), true
	})
}

func (d *deny) Verify(context.Context, incident.Request, incident.Proposal, incident.Result) (incident.Verification, error) {
	return incident.Verification{}, nil
}

func (d *deny) PlanRevert(_ context.Context, req incident.Request) (incident.Proposal, error) {
	if req.Run == "" {
		d.on.mu.Lock()
		defer d.on.mu.Unlock()
		var sharing []string
		for _, t := range req.Sharing {
			sharing = append(sharing, t.Instance)
		}
		d.on.sharing[req.Target.Instance], d.on.held[req.Target.Instance] = sharing, req.Undo.Held
	}
	return incident.Proposal{Impact: d.spec.Impact}, nil
}

// Revert leaves an empty policy where others hold it: the last takes it away.
func (d *deny) Revert(_ context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	return incident.Result{}, d.on.change(req, func(members []string, exists bool) ([]string, bool) {
		left := slices.DeleteFunc(slices.Clone(members), func(i string) bool { return i == req.Target.Instance })
		if !req.Undo.Held && len(left) > 0 {
			d.on.world.fault("%s: nobody else is said to hold the policy, yet it denies %q", req.Target, left)
		}
		return left, exists && req.Undo.Held
	})
}

// change reads, and writes what it makes of that, with time for others to get between.
func (p *policies) change(req incident.Request, edit func(members []string, exists bool) ([]string, bool)) error {
	key := role(req.Target)
	p.mu.Lock()
	if other := p.atWork[key]; other != "" {
		p.world.fault("%s and %s are at %s at once", other, req.Target, key)
	}
	p.atWork[key] = req.Target.String()
	members, exists := p.members[key]
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.atWork, key)
	}()
	if err := errors.Join(p.world.fails("apply", req), p.world.life.moment()); err != nil {
		return err
	}
	runtime.Gosched()
	left, exists := edit(members, exists)
	p.mu.Lock()
	if delete(p.members, key); exists {
		p.members[key] = left
	}
	p.mu.Unlock()
	return p.world.life.moment()
}

// newSharingBench has the action fake.deny.
func newSharingBench(t tester) (*bench, *policies) {
	b := newBench(t)
	p := &policies{
		world: b.world, members: make(map[string][]string), atWork: make(map[string]string),
		sharing: make(map[string][]string), held: make(map[string]bool),
	}
	b.registry["fake.deny"] = &deny{spec: spec("fake.deny", incident.Disruptive), on: p}
	return b, p
}

func instances(ids ...string) []incident.Target {
	var targets []incident.Target
	for _, id := range ids {
		targets = append(targets, incident.Target{Account: targetA.Account, Region: targetA.Region, Instance: id})
	}
	return targets
}

func (b *bench) release(id string, targets ...incident.Target) *incident.RunState {
	b.t.Helper()
	return b.start(incident.Playbook{}, b.planRelease(targets...), id)
}

func TestTheLastToBeUndoneTakesAwayWhatWasShared(t *testing.T) {
	b, p := newSharingBench(t)
	all := instances("i-web-1", "i-web-2", "i-web-3", "i-db-1")
	pb := playbook(step("deny", "deny"))
	b.run(pb, all...)
	b.start(pb, b.plan(pb, all[0]), "run-2") // one of them twice
	b.release("release-1", all[1])
	// Which of the two came first is up to the run: it isolates several at once.
	if got := slices.Sorted(slices.Values(p.members["role/web"])); !slices.Equal(got, []string{"i-web-1", "i-web-3"}) {
		t.Errorf("after one of three the policy denies %q", got)
	}
	b.release("release-2", all[2:]...)
	if _, exists := p.members["role/db"]; exists {
		t.Error("the only one left its policy behind")
	}
	b.release("release-3")
	if len(p.members) > 0 {
		t.Errorf("left behind: %v", p.members)
	}
}

func TestAFailedUndoHoldsWhatIsSharedUntilItSucceeds(t *testing.T) {
	b, p := newSharingBench(t)
	b.run(playbook(step("deny", "deny")), instances("i-web-1", "i-web-2")...)
	b.world.failures["deny@i-web-1"] = []string{"apply"}
	if r := b.release("release-1"); r.Outcome != incident.OutcomeFailed {
		t.Fatalf("ended %s", r.Outcome)
	}
	if got, exists := p.members["role/web"]; !exists || len(got) != 1 {
		t.Errorf("the policy denies %q", got)
	}
	b.resume(incident.Playbook{}, "release-1")
	if len(p.members) > 0 {
		t.Errorf("left behind: %v", p.members)
	}
}

func TestAReleaseIsPlannedKnowingWhoSharesWhat(t *testing.T) {
	b, p := newSharingBench(t)
	b.run(playbook(step("deny", "deny")), instances("i-web-1", "i-web-2", "i-web-3", "i-db-1")...)
	b.planRelease(instances("i-web-3", "i-web-1", "i-db-1")...)
	want := map[string][]string{"i-web-1": {"i-web-3"}, "i-web-3": {"i-web-1"}, "i-db-1": nil}
	if !maps.EqualFunc(p.sharing, want, slices.Equal) {
		t.Errorf("sharing %v, want %v", p.sharing, want)
	}
	if !p.held["i-web-1"] || !p.held["i-web-3"] || p.held["i-db-1"] {
		t.Errorf("held %v: only i-web-2 stays isolated", p.held)
	}
}

// A step that learns only from its reading what it shares gives way and reads again.
func TestWhatIsSharedMayBeKnownOnlyInTheRun(t *testing.T) {
	b, p := newSharingBench(t)
	late := step("deny", "deny", "first")
	late.With = map[string]incident.Expr{"number": expr("${{ steps.first.outputs.count }}", func(s incident.Scope) (any, error) {
		return s.Steps["first"].Outputs["count"], nil
	}, "first")}
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("i-web-", i))
	}
	r := b.run(playbook(step("first", "additive"), late), instances(ids...)...)
	if r.Outcome != incident.OutcomeSucceeded || len(p.members["role/web"]) != 20 {
		t.Errorf("ended %s with %q", r.Outcome, p.members)
	}
}

// Whatever is isolated and released, in whatever parts, with failures and
// deaths: each policy denies whoever is isolated, and nothing of it is left in the end.
func TestSharedThingsEndRightHoweverOftenTheProcessDies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, p := newSharingBench(t)
		b.runner.MaxParallel = rapid.SampledFrom([]int{1, 3, 8}).Draw(t, "parallel")
		all := instances("i-web-1", "i-web-2", "i-web-3", "i-db-1", "i-db-2")
		pb := playbook(step("deny", "deny"))
		for _, target := range all {
			b.world.failures["deny@"+target.Instance] = rapid.SliceOfN(rapid.SampledFrom([]string{"apply", "plan"}), 0, 2).Draw(t, "failures")
		}
		run := 0
		carryOut := func(pb incident.Playbook, plan incident.Plan) {
			run++
			id := fmt.Sprint("run-", run)
			for round := 0; round < 30; round++ {
				b.life.dead, b.life.dies = false, 0
				if round < 3 {
					b.life.dies = b.life.moments + rapid.IntRange(1, 60).Draw(t, "dies")
				}
				s := b.journal.fold(b.t)
				var outcome incident.Outcome
				var err error
				if r := s.Run(id); r == nil {
					outcome, err = b.runner.Start(t.Context(), s, pb, plan, id)
				} else if outcome = r.Outcome; outcome != incident.OutcomeSucceeded {
					outcome, err = b.runner.Resume(t.Context(), s, id, pb)
				}
				if err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if err == nil && outcome == incident.OutcomeSucceeded {
					b.life.dead, b.life.dies = false, 0
					return
				}
			}
			t.Fatalf("run %s never succeeds", id)
		}
		isolated := make(map[incident.Target]bool)
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			some := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, len(all), rapid.ID).Draw(t, "targets")
			release := rapid.Bool().Draw(t, "release")
			if release {
				carryOut(incident.Playbook{}, b.planRelease(some...))
			} else {
				carryOut(pb, b.plan(pb, some...))
			}
			for _, target := range some {
				isolated[target] = !release
			}
			checkPolicies(t, p, all, isolated)
		}
		carryOut(incident.Playbook{}, b.planRelease())
		if len(p.members) > 0 {
			t.Fatalf("left behind: %v", p.members)
		}
	})
}

func checkPolicies(t tester, p *policies, all []incident.Target, isolated map[incident.Target]bool) {
	for _, target := range all {
		members, exists := p.members[role(target)]
		if denied := slices.Contains(members, target.Instance); denied != isolated[target] {
			t.Fatalf("%s is denied: %t; isolated: %t", target.Instance, denied, isolated[target])
		}
		if exists && len(members) == 0 {
			t.Fatalf("%s has an empty policy", role(target))
		}
	}
}

// joining is an action whose steps are at work at once: each waits in Apply until all are.
type joining struct {
	deny
	all        sync.WaitGroup
	mu         sync.Mutex
	taken      bool
	overlapped bool
}

func (j *joining) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	j.all.Done()
	j.all.Wait()
	return incident.Result{}, req.Turn(ctx, role(req.Target), func() error {
		j.mu.Lock()
		j.overlapped, j.taken = j.overlapped || j.taken, true
		j.mu.Unlock()
		runtime.Gosched()
		j.mu.Lock()
		j.taken = false
		j.mu.Unlock()
		return nil
	})
}

func TestStepsThatTakeTurnsThemselvesAreAtWorkAtOnce(t *testing.T) {
	b, p := newSharingBench(t)
	j := &joining{deny: deny{spec: spec("fake.deny", incident.Disruptive), on: p}}
	j.spec.TakesTurns = true
	b.registry["fake.deny"] = j
	all := instances("i-web-1", "i-web-2", "i-web-3")
	j.all.Add(len(all))
	if r := b.run(playbook(step("deny", "deny")), all...); r.Outcome != incident.OutcomeSucceeded {
		t.Errorf("ended %s: %s", r.Outcome, r.Error)
	}
	if j.overlapped {
		t.Error("two steps were in a turn of the same key at once")
	}
}
