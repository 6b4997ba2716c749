package isolate

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"

	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// chain is a step and the steps it has to come after, by action and input.
type chain struct {
	name  string
	steps []link
}

type link struct {
	action string
	inputs map[string]any
}

// chains end with the step that a test looks at. What comes before is what the
// playbooks put before it.
func chains() []chain {
	protect := link{"isolate.protect", nil}
	leave := func(strategy string) link {
		return link{"isolate.autoscaling", map[string]any{"strategy": strategy}}
	}
	deregister := func(wait bool) link { return link{"isolate.loadbalancers", map[string]any{"wait": wait}} }
	quarantine := link{"isolate.credentials", map[string]any{"quarantine_profile": "quarantine"}}
	key := link{"isolate.access-key", map[string]any{"user": user}}
	deny := func(scope string) link { return link{"isolate.credentials", map[string]any{"scope": scope}} }
	cut := link{"isolate.network", nil}
	return []chain{
		{"protect", []link{protect}},
		{"replace", []link{leave(strategyReplace)}},
		{"shrink", []link{protect, leave(strategyShrink)}},
		{"standby", []link{protect, leave(strategyStandby)}},
		{"load balancers alone", []link{deregister(true)}},
		{"load balancers, waiting", []link{leave(strategyReplace), deregister(true)}},
		{"load balancers, not waiting", []link{leave(strategyShrink), deregister(false)}},
		{"credentials of the instance", []link{deny(scopeInstance)}},
		{"credentials of the role", []link{deny(scopeRole)}},
		{"credentials, another profile instead", []link{quarantine}},
		{"an access key", []link{key}},
		{"network", []link{leave(strategyReplace), cut}},
		{"network in standby", []link{leave(strategyStandby), cut}},
		{"network with an allow-list", []link{leave(strategyReplace), {"isolate.network", map[string]any{
			"strategy": []string{"auto"}, "attackers": []string{"203.0.113.7"}, "allow": []string{"198.51.100.7/32:22"},
		}}}},
		{"everything", []link{protect, leave(strategyReplace), deregister(false), deny(scopeInstance), cut}},
	}
}

func (s *site) run(links []link) []*step {
	s.t.Helper()
	var steps []*step
	for _, l := range links { // the whole plan first, as the engine does
		st, err := s.plan(l.action, l.inputs)
		if err != nil {
			s.t.Fatalf("plan %s: %v", l.action, err)
		}
		steps = append(steps, st)
	}
	for _, st := range steps {
		if err := s.start(st); err != nil {
			s.t.Fatalf("%s: %v", st.name, err)
		}
	}
	return steps
}

func (s *site) desired() int32 {
	s.t.Helper()
	out := must[*autoscaling.DescribeAutoScalingGroupsOutput](s.t)(s.autoscaling().DescribeAutoScalingGroups(s.ctx, &autoscaling.DescribeAutoScalingGroupsInput{}))
	return *out.AutoScalingGroups[0].DesiredCapacity
}

func TestTheCapacityIsWhatThePlanSays(t *testing.T) {
	tests := []struct {
		strategy           string
		isolated, released int32 // of 3
	}{
		{strategyReplace, 3, 4},
		{strategyShrink, 2, 3},
		{strategyStandby, 2, 3},
	}
	for _, tt := range tests {
		for _, crash := range []crash{{}, {at: 1}, {at: 1, after: true}} {
			s := newSite(t, 1)
			again := func(err error, try func() error) {
				t.Helper()
				s.crashAt(0, false)
				if errors.Is(err, errKilled) {
					err = try()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			st, err := s.plan("isolate.autoscaling", map[string]any{"strategy": tt.strategy})
			if err != nil {
				t.Fatal(err)
			}
			s.crashAt(crash.at, crash.after)
			again(s.start(st), func() error { return s.try(st, true) })
			if got := s.desired(); got != tt.isolated {
				t.Errorf("%s: desired capacity %d, want %d", tt.strategy, got, tt.isolated)
			}
			s.crashAt(crash.at, crash.after)
			again(s.undo(st, false), func() error { return s.undo(st, false) })
			if got := s.desired(); got != tt.released {
				t.Errorf("%s: desired capacity %d after the release, want %d", tt.strategy, got, tt.released)
			}
		}
	}
}

// TestALostAnswerIsNoSecondChange: the SDK repeats a request whose answer did
// not come, and AWS has done it already.
func TestALostAnswerIsNoSecondChange(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1)
			before := s.state()
			operations := make(map[string]bool)
			steps := s.run(c.steps)
			s.undoAll(steps...)
			desired := s.desired()
			for _, call := range s.changed() {
				operations[call] = true
			}
			for op := range operations {
				s := newSite(t, 1)
				if err := s.acct.Inject(rehearsal.Fault{Operation: op, Kind: "lost", Count: 1}); err != nil {
					t.Fatal(err)
				}
				s.undoAll(s.run(c.steps)...)
				s.same(before, s.state(), "an answer of "+op+" was lost")
				if got := s.desired(); got != desired {
					t.Errorf("an answer of %s was lost: desired capacity %d, want %d", op, got, desired)
				}
			}
		})
	}
}

func TestTheProfileGoesBeforeTheDenyAndComesBackAfterIt(t *testing.T) {
	s := newSite(t, 1)
	s.crashAt(0, false)
	st := s.do("isolate.credentials", nil)
	s.undoAll(st)
	want := []string{"ec2:DisassociateIamInstanceProfile", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "ec2:AssociateIamInstanceProfile"}
	if got := s.changed(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}

func TestScaleInProtectionOutlivesADetach(t *testing.T) {
	for _, protected := range []bool{false, true} {
		for _, first := range []bool{false, true} {
			s := newSite(t, 1)
			must[*autoscaling.SetInstanceProtectionOutput](t)(s.autoscaling().SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{
				AutoScalingGroupName: aws.String("web"), InstanceIds: []string{s.target.Instance}, ProtectedFromScaleIn: &protected,
			}))
			before := s.state()
			links := []link{{"isolate.autoscaling", nil}}
			if first {
				links = append([]link{{"isolate.protect", nil}}, links...)
			}
			s.undoAll(s.run(links)...)
			s.same(before, s.state(), fmt.Sprintf("protected %v, isolate.protect %v", protected, first))
		}
	}
}

func TestAReleaseRestoresTheStateByteForByte(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1)
			before := s.state()
			steps := s.run(c.steps)
			if s.state() == before {
				t.Fatal("nothing was isolated")
			}
			s.undoAll(steps...)
			s.same(before, s.state(), "after the release")
		})
	}
}

func TestASecondTryChangesNothing(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1)
			steps := s.run(c.steps)
			isolated := s.state()
			for _, st := range steps {
				s.crashAt(0, false)
				if err := s.try(st, true); err != nil {
					t.Fatalf("%s again: %v", st.name, err)
				}
				// PutRolePolicy replaces a policy by name: the same document again is no change.
				calls := slices.DeleteFunc(s.changed(), func(c string) bool { return c == "iam:PutRolePolicy" })
				if len(calls) > 0 {
					t.Errorf("%s again made %v", st.name, calls)
				}
			}
			s.same(isolated, s.state(), "after the second try")
		})
	}
}

func TestReleasedTwiceIsReleasedOnce(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 1)
			steps := s.run(c.steps)
			s.undoAll(steps...)
			released := s.state()
			for _, st := range slices.Backward(steps) {
				s.crashAt(0, false)
				if err := s.undo(st, false); err != nil {
					t.Fatalf("undo %s again: %v", st.name, err)
				}
				if calls := s.changed(); len(calls) > 0 {
					t.Errorf("undoing %s again made %v", st.name, calls)
				}
			}
			s.same(released, s.state(), "after the second release")
		})
	}
}

// TestKilledAtEveryChange kills the last step of each chain before and after
// every changing call, then tries again; and the same for its undoing.
func TestKilledAtEveryChange(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			undisturbed := newSite(t, 1)
			before := undisturbed.state()
			undisturbed.run(c.steps)
			isolated := undisturbed.state()
			for n := 1; ; n++ {
				again := false
				for _, after := range []bool{false, true} {
					s := newSite(t, 1)
					killed := s.killedRun(c.steps, n, after)
					again = again || killed
					if c.name != "credentials of the role" && c.name != "an access key" { // its document names a time
						s.same(isolated, s.state(), fmt.Sprintf("killed at change %d (after: %v) and resumed", n, after))
					}
				}
				if !again {
					break
				}
			}
			for n := 1; ; n++ {
				again := false
				for _, after := range []bool{false, true} {
					s := newSite(t, 1)
					steps := s.run(c.steps)
					last := steps[len(steps)-1]
					s.crashAt(n, after)
					if err := s.undo(last, false); errors.Is(err, errKilled) {
						again = true
						s.crashAt(0, false)
						if err := s.undo(last, false); err != nil {
							t.Fatalf("released again after being killed at change %d (after: %v): %v", n, after, err)
						}
					} else if err != nil {
						t.Fatal(err)
					}
					s.crashAt(0, false)
					s.undoAll(steps[:len(steps)-1]...)
					s.same(before, s.state(), fmt.Sprintf("release killed at change %d (after: %v) and resumed", n, after))
				}
				if !again {
					break
				}
			}
		})
	}
}

// killedRun runs the links; the last one is killed at its nth change and tried
// again. It reports whether there was an nth change.
func (s *site) killedRun(links []link, n int, after bool) bool {
	s.t.Helper()
	s.run(links[:len(links)-1])
	last := links[len(links)-1]
	st, err := s.plan(last.action, last.inputs)
	if err != nil {
		s.t.Fatalf("plan %s: %v", last.action, err)
	}
	s.crashAt(n, after)
	err = s.start(st)
	s.crashAt(0, false)
	if err == nil {
		return false
	}
	if !errors.Is(err, errKilled) {
		s.t.Fatalf("%s killed at change %d: %v", last.action, n, err)
	}
	if err := s.try(st, true); err != nil {
		s.t.Fatalf("%s resumed after being killed at change %d (after: %v): %v", last.action, n, after, err)
	}
	return true
}

func TestAHalfAppliedStepIsUndone(t *testing.T) {
	for _, c := range chains() {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; n < 20; n++ {
				s := newSite(t, 1)
				before := s.state()
				steps := s.run(c.steps[:len(c.steps)-1])
				last := c.steps[len(c.steps)-1]
				st, err := s.plan(last.action, last.inputs)
				if err != nil {
					t.Fatal(err)
				}
				s.crashAt(n, n%2 == 0)
				err = s.start(st)
				s.crashAt(0, false)
				if err == nil {
					return
				}
				s.undoAll(append(steps, st)...)
				s.same(before, s.state(), fmt.Sprintf("killed at change %d and released", n))
			}
			t.Fatal("more changes than a step makes")
		})
	}
}

func TestEveryCallIsAmongTheDeclaredPermissions(t *testing.T) {
	used := make(map[string][]string)
	use := func(s *site, links ...link) {
		var steps []*step
		for _, l := range links {
			s.crashAt(0, false)
			steps = append(steps, s.do(l.action, l.inputs))
			used[l.action] = append(used[l.action], s.calls...)
		}
		for _, st := range slices.Backward(steps) {
			s.crashAt(0, false)
			if err := s.undo(st, false); err != nil {
				t.Fatal(err)
			}
			used[st.name] = append(used[st.name], s.calls...)
		}
	}
	for _, c := range chains() {
		use(newSite(t, 1), c.steps...)
	}
	// What the web tier has not: IPv6, a transit gateway, endpoints.
	use(shells(t), link{cutNetwork, nil})
	reachable := shells(t)
	reachable.endpoints("ssm", "ssmmessages")
	use(reachable, link{cutNetwork, map[string]any{"allow_ssm": true}})
	// Needed by other calls: tags on creation, a profile that is handed over. And
	// where a route names a prefix list, its entries.
	implied := []string{"ec2:CreateTags", "iam:PassRole", "ec2:GetManagedPrefixListEntries"}
	for _, a := range Actions(nil) {
		spec := a.Spec()
		if _, ok := a.(incident.Reverter); !ok {
			continue // observe_test.go
		}
		for _, call := range used[spec.Name] {
			if !slices.Contains(spec.Permissions, call) {
				t.Errorf("%s calls %s, which it does not declare", spec.Name, call)
			}
		}
		for _, p := range spec.Permissions {
			if !slices.Contains(used[spec.Name], p) && !slices.Contains(implied, p) {
				t.Errorf("%s declares %s and never calls it", spec.Name, p)
			}
		}
	}
}

// TestWhateverWasIsolatedComesBack draws playbooks that the engine would
// accept, with crashes in between.
func TestWhateverWasIsolatedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSite(t, rapid.Int64Range(1, 1000).Draw(t, "seed"))
		before := s.state()
		var links []link
		if rapid.Bool().Draw(t, "protect") {
			links = append(links, link{"isolate.protect", nil})
		}
		left := rapid.Bool().Draw(t, "leave the group")
		if left {
			strategy := rapid.SampledFrom([]string{strategyReplace, strategyShrink, strategyStandby}).Draw(t, "strategy")
			links = append(links, link{"isolate.autoscaling", map[string]any{"strategy": strategy}})
			if rapid.Bool().Draw(t, "deregister") {
				links = append(links, link{"isolate.loadbalancers", map[string]any{"wait": rapid.Bool().Draw(t, "wait")}})
			}
		}
		if rapid.Bool().Draw(t, "deny") {
			links = append(links, link{"isolate.credentials", map[string]any{
				"scope":              rapid.SampledFrom([]string{scopeInstance, scopeRole}).Draw(t, "scope"),
				"quarantine_profile": rapid.SampledFrom([]string{"", "quarantine"}).Draw(t, "quarantine profile"),
			}})
		}
		if left && rapid.Bool().Draw(t, "cut") {
			links = append(links, link{"isolate.network", nil})
		}
		var steps []*step
		for _, l := range links {
			st, err := s.plan(l.action, l.inputs)
			if err != nil {
				t.Fatalf("plan %s: %v", l.action, err)
			}
			steps = append(steps, st)
		}
		for _, st := range steps {
			s.crashAt(rapid.IntRange(0, 4).Draw(t, "killed at"), rapid.Bool().Draw(t, "after"))
			err := s.start(st)
			for errors.Is(err, errKilled) {
				s.crashAt(0, false)
				err = s.try(st, true)
			}
			if err != nil {
				t.Fatalf("%s: %v", st.name, err)
			}
		}
		s.crashAt(0, false)
		s.undoAll(steps...)
		s.same(before, s.state(), "after the release")
	})
}
