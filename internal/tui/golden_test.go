package tui

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// homeDesk shows a list of cases in every state there is.
func homeDesk(t testing.TB) *desk {
	t.Helper()
	var home *Home
	d := newDesk(t, func(env *Env) []Screen { home = NewHome(env); return []Screen{home} })
	const list = `[
	{"id":"INC-2041","title":"beacon from web-3","severity":"high","ticket":"SEC-881","lead":"ana","opened":"2026-03-14T03:00:00Z","live":true,"entries":127,"evidence":14,
	 "runs":[{"run":"r1","kind":"run","playbook":"full-response","started":"2026-03-14T03:00:02Z","steps":{"succeeded":4,"waiting":1,"pending":9},"targets":[{"account":"111122223333","region":"eu-central-1","instance":"i-0b722053402f900e4"}]}]},
	{"id":"INC-2040","title":"crypto miner in build fleet","opened":"2026-03-14T01:20:00Z","live":true,"entries":9120,"evidence":3,
	 "runs":[{"run":"r1","kind":"run","playbook":"contain","started":"2026-03-14T01:21:00Z","steps":{"succeeded":310,"running":6,"pending":84,"failed":2},"targets":[{"account":"111122223333","region":"eu-central-1","instance":"i-0000000000000000a"},{"account":"111122223333","region":"eu-central-1","instance":"i-0000000000000000b"}]}]},
	{"id":"INC-2039","title":"stolen laptop of an administrator","opened":"2026-03-13T22:00:00Z","entries":64,
	 "runs":[{"run":"r1","kind":"run","playbook":"exfiltration","started":"2026-03-13T22:05:00Z","steps":{"succeeded":3,"unknown":1,"pending":4},"targets":[{"account":"111122223333","region":"eu-west-1","instance":"i-0000000000000000c"}]}]},
	{"id":"INC-2035","title":"web shell","opened":"2026-03-10T09:00:00Z","closed":true,"entries":353,"evidence":21,
	 "runs":[{"run":"r1","kind":"run","playbook":"full-response","outcome":"succeeded","started":"2026-03-10T09:02:00Z","steps":{"reverted":5,"succeeded":7},"targets":[{"account":"111122223333","region":"eu-central-1","instance":"i-0000000000000000d"}]},
	         {"run":"r2","kind":"release","playbook":"release","outcome":"succeeded","started":"2026-03-11T09:02:00Z","steps":{"succeeded":5},"targets":[{"account":"111122223333","region":"eu-central-1","instance":"i-0000000000000000d"}]}]},
	{"id":"INC-2030","title":"under examination","opened":"2026-03-09T09:00:00Z","entries":290,"evidence":19,"clean_rooms":["cordon-INC-2030-r1-d36f6ce7"],
	 "runs":[{"run":"r1","kind":"run","playbook":"full-response","outcome":"succeeded","started":"2026-03-09T09:02:00Z","steps":{"succeeded":12,"skipped":1},"targets":[{"account":"111122223333","region":"eu-central-1","instance":"i-0000000000000000e"}]}]},
	{"id":"INC-2028","title":"phishing drill","opened":"2026-03-08T09:00:00Z","entries":1},
	{"id":"INC-2020","title":"","opened":"2026-03-01T09:00:00Z","error":"journal.db is damaged: invalid database"}]`
	var m casesMsg
	if err := json.Unmarshal([]byte(list), &m.list); err != nil {
		t.Fatal(err)
	}
	home.Update(m)
	return d
}

func TestHomeShowsWhereEveryCaseStands(t *testing.T) { homeDesk(t).golden(t, "home") }

func TestHomeWithoutCasesTellsOfTheAlert(t *testing.T) {
	d := newDesk(t, func(env *Env) []Screen {
		env.Alert, env.Suspect = "GuardDuty: Backdoor:EC2/C&CActivity.B on an instance of the web tier", "i-0b722053402f900e4"
		home := NewHome(env)
		home.Update(casesMsg{})
		return []Screen{home}
	})
	d.golden(t, "home-alert")
}

func TestHomeShowsWhyTheCasesCantBeRead(t *testing.T) {
	d := newDesk(t, func(env *Env) []Screen {
		home := NewHome(env)
		home.Update(casesMsg{err: &CommandError{Code: 2, Message: "config.yaml:3:1: unknown field regoin", Hint: "docs/configuration.md says what the file holds"}})
		return []Screen{home}
	})
	d.golden(t, "home-failed")
}

func TestARunUnderWay(t *testing.T) {
	entries := until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryStepOutcome && e.Step == "export" })
	entries = entries[:len(entries)-40]
	d, run := runDesk(t, feedMsg{entries: entries, live: true})
	target := entries[len(entries)-1].Target
	for _, done := range []int64{0, 600 << 20} {
		run.view.addProgress(incident.Progress{Run: "r1", Step: "export", Target: target, What: "copying vol-1", Done: done, Total: 2 << 30, Unit: "bytes"}, d.clock.now)
		d.clock.now = d.clock.now.Add(4 * time.Second)
	}
	run.step = "export"
	d.golden(t, "run-live")
}

func TestARunThatWaitsForAnApproval(t *testing.T) {
	entries := until(fixture(t), intentOf("network"))
	d, _ := runDesk(t, feedMsg{entries: append(slices.Clone(entries), waiting(t, entries, "network")), live: true})
	d.golden(t, "run-waiting")
	d.settle(d.press("a"))
	d.golden(t, "approve")
}

func TestARunWhoseProcessWasKilled(t *testing.T) {
	entries := until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryStepOutcome && e.Step == "network" })
	d, _ := runDesk(t, feedMsg{entries: entries, gone: true})
	d.golden(t, "run-killed")
}

func TestAFinishedRunItsStepsAndItsJournal(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: fixture(t), caughtUp: true})
	d.golden(t, "release-done")
	d.press("[")
	d.golden(t, "run-done")
	run.step = "network"
	d.settle(d.press("enter"))
	d.golden(t, "step")
	d.settle(d.press("esc"))
	d.settle(d.press("l"))
	d.golden(t, "journal")
	d.settle(d.press("enter"))
	d.golden(t, "entry")
	d.press("esc", "esc", "?")
	d.golden(t, "help")
	d.press("?", "n")
	d.golden(t, "note")
}

func TestAJournalThatDoesNotVerify(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: until(fixture(t), intentOf("observe")), caughtUp: true, err: errors.New("journal entry 212: can't be read: its hash is another")})
	run.Update(verifiedMsg{&CommandError{Code: 4, Message: "journal entry 212: its hash is another"}})
	d.golden(t, "run-unverified")
}

// A wrong clock must not make a run look as if it had not begun, or were over.
func TestAClockThatWasSetBackIsSaid(t *testing.T) {
	entries := until(fixture(t), intentOf("network"))
	opened := data[incident.Case](entries[0])
	opened.Rehearsal = false
	b, err := json.Marshal(opened)
	if err != nil {
		t.Fatal(err)
	}
	entries[0].Data = b
	d, _ := runDesk(t, feedMsg{entries: entries, live: true})
	d.env.Rehearsal = false
	d.clock.now = entries[len(entries)-1].Time.Add(-2 * time.Hour)
	d.golden(t, "run-clock-back")
	d.clock.now = entries[len(entries)-1].Time.Add(90 * time.Second)
	if got := d.at(80, 24); strings.Contains(got, "clock") || !strings.Contains(got, "1:50 since start") {
		t.Errorf("with the clock right:\n%s", got)
	}
}

func TestACaseWithoutARun(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: fixture(t)[:1], caughtUp: true})
	d.golden(t, "run-none")
	run.child = &Child{Args: []string{"run", "full-response", "--case", "REHEARSAL-1"}}
	d.golden(t, "run-planning")
	run.Update(childMsg{&CommandError{Code: 2, Message: "i-0b722053402f900e4: no such instance", Hint: "look at the Region"}})
	d.golden(t, "run-not-started")
}

func TestAFleet(t *testing.T) {
	d, run := runDesk(t, feedMsg{entries: fleet(t, 60), live: true})
	run.index.count()
	d.golden(t, "fleet")
}

// fleet is the beginning of a run on n instances: some contained, some at work, one failed, one unread.
func fleet(t testing.TB, n int) []incident.Entry {
	t.Helper()
	base := until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryRunStarted })
	start := data[incident.RunStarted](fixture(t)[len(base)])
	one := start.Plan
	start.Plan.Targets, start.Plan.Steps = nil, nil
	for i := range n {
		target := incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: fmt.Sprintf("i-%017x", i)}
		start.Plan.Targets = append(start.Plan.Targets, target)
		for _, s := range one.Steps {
			s.Target = target
			start.Plan.Steps = append(start.Plan.Steps, s)
		}
	}
	entries := slices.Clone(base)
	at := base[len(base)-1].Time
	add := func(kind incident.EntryType, step incident.StepPlan, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
		e := incident.Entry{Seq: uint64(len(entries)), Time: at, Type: kind, Case: "REHEARSAL-1", Run: "r1", Data: b}
		if step.ID != "" {
			e.Step, e.Target = step.ID, step.Target.String()
		}
		entries = append(entries, e)
	}
	add(incident.EntryRunStarted, incident.StepPlan{}, start)
	for i, s := range start.Plan.Steps {
		instance, place := i/len(one.Steps), i%len(one.Steps)
		if instance > n*2/3 || instance%4 == 3 && place > 6 {
			continue
		}
		add(incident.EntryStepIntent, s, incident.StepIntent{Action: s.Action, Token: strings.Repeat("0", 32), Try: 1})
		switch {
		case instance%4 == 3 && place == 6:
		case instance == 5 && place == 7:
			add(incident.EntryStepOutcome, s, incident.StepOutcome{State: incident.Failed, Error: "UnauthorizedOperation: ec2:ModifyNetworkInterfaceAttribute"})
		default:
			add(incident.EntryStepOutcome, s, incident.StepOutcome{State: incident.Succeeded})
		}
	}
	return entries
}

func TestATerminalThatIsTooSmallIsToldSo(t *testing.T) {
	d := homeDesk(t)
	for _, size := range []Size{{20, 5}, {59, 40}, {200, 14}, {3, 1}} {
		if got := d.at(size.W, size.H); strings.Contains(got, "INC-") {
			t.Errorf("%v draws a screen:\n%s", size, got)
		}
	}
	if got := d.at(20, 5); !strings.Contains(strings.Join(strings.Fields(got), " "), "too small. It needs 80 by 24") {
		t.Errorf("20 by 5:\n%s", got)
	}
}
