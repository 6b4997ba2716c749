package cli

import (
	"context"
	"errors"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

// readAtOnce is a journal whose reader answers before the writer goes on.
type readAtOnce struct{ read func(incident.Draft) error }

func (r readAtOnce) Append(_ context.Context, d incident.Draft) (incident.Entry, error) {
	return incident.Entry{}, r.read(d)
}

func TestAnAnswerThatComesBeforeTheQuestionIsPutCounts(t *testing.T) {
	target := incident.Target{Account: "111122223333", Region: "eu-central-1", Instance: "i-0123456789abcdef0"}
	step := incident.StepPlan{ID: "network", Target: target}
	desk := newApprovalDesk(&globals{}, true)
	asking := askingJournal{readAtOnce{func(d incident.Draft) error {
		return desk.answer(t.Context(), "network", incident.Approval{Approved: true, By: "ana"})
	}}, desk}
	if _, err := asking.Append(t.Context(), incident.Draft{Type: incident.EntryStepWaiting, Step: step.ID, Target: target.String()}); err != nil {
		t.Fatal(err)
	}
	a, err := desk.ask(t.Context(), incident.Question{Step: step})
	if err != nil || !a.Approved || a.By != "ana" {
		t.Errorf("the answer is %+v, %v", a, err)
	}
	if err := desk.answer(t.Context(), "network", a); err == nil {
		t.Error("a second answer is taken")
	}
}

func TestAQuestionThatCouldNotBeJournaledTakesNoAnswer(t *testing.T) {
	full := errors.New("the disk is full")
	desk := newApprovalDesk(&globals{}, true)
	asking := askingJournal{readAtOnce{func(incident.Draft) error { return full }}, desk}
	if _, err := asking.Append(t.Context(), incident.Draft{Type: incident.EntryStepWaiting, Step: "network", Target: "t"}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if err := desk.answer(t.Context(), "network", incident.Approval{Approved: true}); err == nil {
		t.Error("an answer is taken")
	}
}
