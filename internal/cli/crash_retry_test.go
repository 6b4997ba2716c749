package cli

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
)

// trouble has the first call of a step refused, and somebody there who deals with it: the
// run is paused at that moment, the step tried again once it has failed, and the run goes on.
type trouble struct {
	step   string
	had    bool // by the step's goroutine
	failed chan struct{}
	runner *incident.Runner
	orders error // that were refused
}

func newTrouble(step string) *trouble { return &trouble{step: step, failed: make(chan struct{})} }

// call may refuse a call of the step.
func (x *trouble) call(step string) error {
	if x == nil || x.had || step != x.step {
		return nil
	}
	x.had = true
	_ = x.runner.Pause(incident.RunPaused{By: "lead@desk"}) // fails where it dies there
	return &smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "not today"}
}

// journaled sees what became of the step.
func (x *trouble) journaled(d incident.Draft) {
	if o, ok := d.Data.(incident.StepOutcome); x != nil && ok && d.Step == x.step && o.State == incident.Failed {
		close(x.failed)
	}
}

// meet has the run's trouble dealt with, until it is called.
func (x *trouble) meet(runner *incident.Runner) (done func()) {
	if x == nil {
		return func() {}
	}
	x.runner = runner
	ended := make(chan struct{})
	var mending sync.WaitGroup
	mending.Go(func() {
		select {
		case <-x.failed:
			x.orders = errors.Join(runner.Retry(x.step, incident.Retrying{By: "lead@desk"}), runner.Continue(incident.RunContinued{By: "lead@desk"}))
		case <-ended:
		}
	})
	return func() {
		close(ended)
		mending.Wait()
	}
}

func TestARetrySurvivesDeathAtEveryMoment(t *testing.T) {
	const playbook = "testdata/retry.yaml"
	undisturbed := newWorld(t)
	if err := undisturbed.live(&reaper{after: -1}, playbook); err != nil {
		t.Fatal(err)
	}
	want := undisturbed.shape()

	o, whole := newWorld(t), &reaper{after: -1, trouble: newTrouble("protect")}
	if err := o.live(whole, playbook); err != nil || whole.trouble.orders != nil {
		t.Fatal(err, whole.trouble.orders)
	}
	if n := o.entries(); n[incident.EntryStepRetry] != 1 || n[incident.EntryRunResumed] != 0 {
		t.Fatalf("the journal has %v", n)
	}
	if got := o.shape(); !reflect.DeepEqual(got, want) {
		t.Fatalf("with a retry:\n%s", want.difference(got))
	}
	for n := 0; n < len(whole.seen); n += everyMoment {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			o, r := newWorld(t), &reaper{after: n, trouble: newTrouble("protect")}
			if err := o.live(r, playbook); err == nil && r.moment == "" {
				t.Fatal("it lives on")
			}
			if err := o.live(&reaper{after: -1}, playbook); err != nil {
				t.Fatalf("died %s: %v", r.moment, err)
			}
			if got := o.shape(); !reflect.DeepEqual(got, want) {
				t.Errorf("died %s:\n%s", r.moment, want.difference(got))
			}
			o.verify()
			if err := o.live(&reaper{after: -1}, "release"); err != nil {
				t.Errorf("died %s: the release: %v", r.moment, err)
			}
		})
	}
}
