package tui

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// testdata/evidence-verified.json, rooms-closed.json and connect.json are what 'evidence
// verify', 'cleanroom status' and 'cleanroom connect' print, with --output json, of a case like
// that of full-response.jsonl; evidence-hidden.json after somebody has deleted an object, and
// rooms-open.json after somebody has attached an Internet gateway to the room.

// afterDesk shows a case as a follower would have handed it over.
func afterDesk(t testing.TB, m feedMsg) (*desk, *After) {
	t.Helper()
	var a *After
	d := newDesk(t, func(env *Env) []Screen {
		a = NewAfter(env, "REHEARSAL-1")
		return []Screen{NewHome(env), a}
	})
	a.ctx, a.feed = t.Context(), &follower{wake: make(chan struct{}, 1)}
	a.Update(m)
	return d, a
}

// isolated are the entries until the release.
func isolated(t testing.TB) []incident.Entry {
	return until(fixture(t), func(e incident.Entry) bool { return e.Type == incident.EntryRunStarted && e.Run == "r2" })
}

func TestEvidenceWithItsCustody(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.golden(t, "evidence")
	d.press("v") // the command is left to the test
	d.clock.now = d.clock.now.Add(12 * time.Second)
	d.golden(t, "evidence-verifying")
	if cmd := d.press("V"); cmd == nil || a.task.what != "verifying 19 items" {
		t.Error("a second verification begins while one is under way")
	}
	a.Update(verifiedEvidenceMsg{report: fromJSON[evidenceReport](t, "evidence-verified.json")})
	d.golden(t, "evidence-verified")
	d.press("down", "down")
	d.settle(d.press("enter"))
	d.golden(t, "evidence-item")
}

func TestEvidenceThatIsNotWhatItShouldBe(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("v")
	a.Update(verifiedEvidenceMsg{fromJSON[evidenceReport](t, "evidence-hidden.json"), &CommandError{Code: 4, Message: "the evidence is not what it should be"}})
	d.press("down")
	d.golden(t, "evidence-hidden")
	if a.failed != nil {
		t.Errorf("a verification that found something counts as one that was not done: %v", a.failed)
	}
}

func TestAVerificationThatCantBeDoneSaysWhy(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("v")
	a.Update(verifiedEvidenceMsg{err: &CommandError{Code: 1, Message: "no evidence store is configured", Hint: "name an S3 bucket"}})
	d.golden(t, "evidence-failed")
	if got := d.at(80, 24); strings.Contains(got, "verifying") {
		t.Errorf("it is still being done:\n%s", got)
	}
}

func TestALegalHoldAsksWhyAndWhether(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("h")
	if !a.Typing() {
		t.Fatal("it does not ask why")
	}
	d.Update(tea.PasteMsg{Content: "order 7 of the court"})
	d.golden(t, "evidence-hold-why")
	d.settle(d.press("enter"))
	d.golden(t, "evidence-hold")
	if got := strings.Join(strings.Fields(d.at(120, 40)), " "); !strings.Contains(got, "on --reason 'order 7 of the court'") {
		t.Errorf("the command is not shown:\n%s", got)
	}
}

func TestAHandOverAsksToWhomWhyAndWhereTo(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("t")
	d.press("enter") // nobody is nobody
	for _, answer := range []string{"K. Weber, LKA 54", "order 7 of the court", "s3://lka-evidence/7"} {
		if a.prompt == nil {
			t.Fatalf("before %q nothing is asked", answer)
		}
		d.Update(tea.PasteMsg{Content: answer})
		d.settle(d.press("enter"))
	}
	d.golden(t, "evidence-hand-over")
	if got := strings.Join(strings.Fields(d.at(200, 60)), " "); !strings.Contains(got, "--to 'K. Weber, LKA 54' --reason 'order 7 of the court' --copy-to s3://lka-evidence/7") {
		t.Errorf("the command is not shown:\n%s", got)
	}
}

func TestWhatAWSKeepsIsNeitherHeldNorFetched(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	a.evidence.chosen = "snapshot-snap-016ac7a64b87ef321"
	for _, key := range []string{"h", "f", "t"} {
		d.settle(d.press(key))
		if got := d.at(120, 40); a.prompt != nil || !strings.Contains(got, "it is kept in AWS") {
			t.Errorf("%s:\n%s", key, got)
		}
	}
}

func TestAFetchAsksWhereTo(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("f")
	if a.prompt == nil || a.prompt.typed.Value() != "metadata-i-0b722053402f900e4-c2f20230.json" {
		t.Fatalf("it proposes %+v", a.prompt)
	}
	d.press("esc")
	if a.prompt != nil || a.task != nil || len(d.stack) != 2 {
		t.Error("esc does not take the question back")
	}
}

func TestNothingIsBegunOnACaseWithALiveRun(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), live: true})
	if a.start("fetching", "fetched", "evidence", "fetch"); a.task != nil {
		t.Error("a command waits for a journal that a run holds")
	}
	d.settle(d.press("u"))
	if len(d.stack) != 2 {
		t.Error("a release is planned while a run is under way")
	}
}

func TestWhatATaskCameToIsKnownAlsoBelowAnItem(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.settle(d.press("enter"))
	cmd := a.begin("fetching", true, []string{"evidence", "fetch"}, func() tea.Msg { return taskMsg{err: errors.New("the disk is full")} })
	cmd()
	_, next := d.Update(addressed{d.stack[1], a.await()()})
	if next == nil || a.task != nil {
		t.Error("the task never ends")
	}
	if got := d.at(120, 40); !strings.Contains(got, "the disk is full") {
		t.Errorf("the item's screen does not tell:\n%s", got)
	}
}

func TestLeavingSaysWhatGoesOn(t *testing.T) {
	_, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	if got := a.Leaving(); got != "" {
		t.Errorf("with nothing under way it says %q", got)
	}
	a.task = &task{line: "cordon evidence verify"}
	if got := a.Leaving(); got != "stopped: cordon evidence verify" {
		t.Errorf("it says %q", got)
	}
	a.task = &task{line: "cordon cleanroom close", own: true}
	if got := a.Leaving(); !strings.HasPrefix(got, "it goes on") {
		t.Errorf("it says %q", got)
	}
}

func TestWhatCanStillPass(t *testing.T) {
	d, _ := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("2")
	d.golden(t, "exposure")
}

func TestExposureAfterAReleaseIsOfThePast(t *testing.T) {
	d, _ := afterDesk(t, feedMsg{entries: fixture(t), caughtUp: true})
	d.press("2")
	if got := d.at(120, 40); !strings.Contains(got, "released by r2") || strings.Contains(got, "can still pass") {
		t.Errorf("it tells of an isolation that is undone:\n%s", got)
	}
}

func TestExposureOfAFleetListsTheTargets(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	one := a.sum()[0]
	for _, id := range []string{"i-0000000000000000a", "i-0000000000000000b"} {
		x := one
		x.Target = "111122223333/eu-central-1/" + id
		if id == "i-0000000000000000b" {
			x.ResidualExposure = nil
		}
		a.exposure.targets = append(a.exposure.targets, x)
	}
	d.press("2", "down", "down")
	d.golden(t, "exposure-fleet")
}

func TestCleanRoomsAreProvedConnectedToAndClosed(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("3")
	if a.task == nil {
		t.Fatal("AWS is not asked how the rooms stand")
	}
	d.golden(t, "rooms-reading")
	a.Update(roomsMsg{reports: fromJSON[[]roomReport](t, "rooms-closed.json")})
	d.golden(t, "rooms")
	d.settle(d.press("x"))
	d.golden(t, "rooms-close")
	d.press("esc")
	d.clock.now = d.clock.now.Add(Grace)
	d.press("esc")
	d.press("c")
	_, cmd := d.Update(addressed{d.top(), sessionMsg{room: "cordon-REHEARSAL-1-r1-d36f6ce7", session: fromJSON[session](t, "connect.json")}})
	for _, c := range cmd().(tea.BatchMsg)[1:] {
		d.settle(c)
	}
	d.golden(t, "rooms-connect")
}

func TestACleanRoomThatIsNotClosed(t *testing.T) {
	d, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	d.press("3")
	a.Update(roomsMsg{fromJSON[[]roomReport](t, "rooms-open.json"), &CommandError{Code: 4, Message: "1 undeclared way(s) out of the clean rooms"}})
	d.golden(t, "rooms-open")
}

func TestARealRoomGetsTheTerminal(t *testing.T) {
	_, a := afterDesk(t, feedMsg{entries: isolated(t), caughtUp: true})
	s := fromJSON[session](t, "connect.json")
	s.Rehearsal = false
	exec, ok := a.connected(sessionMsg{room: "room", session: s})().(execMsg)
	if !ok || strings.Join(exec.cmd.Args, " ") != "cordon --rehearsal training cleanroom connect --case REHEARSAL-1 --name room" {
		t.Fatalf("got %+v", exec)
	}
	a.Update(exec.ended(errors.New("exit status 254")))
	if a.failed == nil {
		t.Error("it does not say that the session failed")
	}
}
