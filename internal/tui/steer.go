package tui

import (
	"context"
	"errors"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// steer does what a key asks of the run: approve, reject, pause, continue, skip, retry,
// interrupt, resume. Each is the command of that name.
func (r *Run) steer(key string) tea.Cmd {
	switch key {
	case "a", "x":
		return r.answer(key == "a")
	case "space":
		return r.pause()
	case "s":
		return r.skip()
	case "r":
		return r.retry()
	case "I":
		if !r.underWay() {
			return Warn("no run is under way here")
		}
		return Ask(Confirm{
			Question: "Interrupt the run?",
			Lines:    []string{"The call in flight finishes, nothing more is changed, and the run can be resumed."},
			Yes: func() tea.Cmd {
				return r.live("interrupted", func(c *journal.Client) error { return c.Interrupt(r.ctx) })
			},
		})
	case "R":
		return r.resume()
	}
	return nil
}

// live asks something of the process that holds the case. It needs neither the
// configuration nor an account, as the command of the same name would.
func (r *Run) live(what string, ask func(*journal.Client) error) tea.Cmd {
	return func() tea.Msg {
		client, err := journal.Attach(r.ctx, r.env.Cordon.Dir(r.caseID))
		if err == nil {
			err = errors.Join(ask(client), client.Close())
		}
		return didMsg{what, err}
	}
}

// answer answers the chosen step if it waits, otherwise the first that does.
func (r *Run) answer(approve bool) tea.Cmd {
	waiting := r.waiting()
	if !r.view.Live || len(waiting) == 0 {
		return Warn("nothing waits for an approval")
	}
	step := waiting[0]
	if chosen, ok := r.chosenStep(); ok {
		for _, w := range waiting {
			if w.Key() == chosen.Key() {
				step = w
			}
		}
	}
	status := r.index.run.Steps[step.Key()]
	if !approve {
		return Ask(Confirm{
			Question: "Reject " + step.ID + " on " + step.Target.Instance + "?",
			Lines:    []string{"It is not done. A resume asks again."},
			Yes: func() tea.Cmd {
				return r.live("rejected "+step.ID, approval(r.ctx, step, false))
			},
		})
	}
	asked := *status.Waiting
	return Ask(Confirm{
		Question: "Approve " + step.ID + " (" + step.Action + ") on " + step.Target.Instance + "?",
		Impact:   asked.Impact,
		Lines:    questionLines(r.env.Theme, step, asked),
		Name:     nameToType(asked.Impact, step.Target),
		Yes: func() tea.Cmd {
			return r.live("approved "+step.ID, approval(r.ctx, step, true))
		},
	})
}

func approval(ctx context.Context, step incident.StepPlan, yes bool) func(*journal.Client) error {
	return func(c *journal.Client) error {
		return c.Approve(ctx, step.Key().String(), incident.Approval{Approved: yes})
	}
}

// nameToType is what has to be typed before something with this impact is done to the target.
func nameToType(impact incident.Impact, t incident.Target) string {
	if impact >= incident.Disruptive {
		return t.Instance
	}
	return ""
}

// questionLines are what the step would change now, and what the plan said besides.
func questionLines(t *Theme, step incident.StepPlan, asked incident.StepWaiting) []string {
	var lines []string
	if asked.Why != "" {
		lines = append(lines, asked.Why)
	}
	for _, c := range asked.Changes {
		lines = append(lines, changeText(t, c))
	}
	if step.Proposal != nil {
		for _, n := range step.Proposal.Notes {
			lines = append(lines, "note: "+n)
		}
	}
	return lines
}

// changeText is a change as before → after.
func changeText(t *Theme, c incident.Change) string {
	or := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	return c.Resource + ", " + c.What + ": " + or(c.Before) + " " + t.Arrow() + " " + or(c.After)
}

func (r *Run) pause() tea.Cmd {
	run := r.view.Run("")
	switch {
	case !r.underWay():
		return Warn("no run is under way here")
	case run.Paused != nil:
		return r.live("the run goes on", func(c *journal.Client) error { return c.Continue(r.ctx) })
	default:
		return r.live("paused: steps at work go on, no further one begins", func(c *journal.Client) error { return c.Pause(r.ctx, "") })
	}
}

// skip leaves out the chosen step.
func (r *Run) skip() tea.Cmd {
	step, ok := r.chosenStep()
	if !ok || r.fleet {
		return Warn("choose a step first")
	}
	if err := r.refusesSkip(step); err != nil {
		return Warn(err.Error())
	}
	return Ask(Confirm{
		Question: "Leave out " + step.ID + " on " + step.Target.Instance + "?",
		Lines:    []string{"No resume will do it. Steps that need it run all the same."},
		Yes: func() tea.Cmd {
			if r.view.Live {
				return r.live("left out "+step.ID, func(c *journal.Client) error { return c.Skip(r.ctx, step.Key().String(), "") })
			}
			return func() tea.Msg {
				err := r.env.Cordon.Do(r.ctx, "skip", "--case", r.caseID, step.Key().String())
				return didMsg{"left out " + step.ID, err}
			}
		},
	})
}

// retry tries the chosen step again, which failed in a run that goes on.
func (r *Run) retry() tea.Cmd {
	step, ok := r.chosenStep()
	switch {
	case !ok || r.fleet:
		return Warn("choose a step first")
	case !r.retriable(step) && r.resumable():
		return Warn("nothing is live here: R resumes the run, and tries again what failed")
	case !r.retriable(step):
		return Warn("only a step that failed in a live run is tried again")
	}
	status := r.index.run.Steps[step.Key()]
	return Ask(Confirm{
		Question: "Try " + step.ID + " (" + step.Action + ") again on " + step.Target.Instance + "?",
		Impact:   step.Impact,
		Lines: []string{
			"It failed: " + status.Error,
			"What was approved is not asked again unless its changes differ.",
			"The same as a command: " + r.retryLine(step),
		},
		Name: nameToType(step.Impact, step.Target),
		Yes: func() tea.Cmd {
			return r.live(step.ID+" is tried again", func(c *journal.Client) error { return c.Retry(r.ctx, step.Key().String(), "") })
		},
	})
}

// retriable tells of a step that failed in the run that is live.
func (r *Run) retriable(step incident.StepPlan) bool {
	return r.view.Live && r.index != nil && r.index.run == r.view.Run("") && r.index.run.Outcome == "" &&
		r.index.run.Steps[step.Key()].State == incident.Failed
}

func (r *Run) retryLine(step incident.StepPlan) string {
	return r.env.Cordon.Line("retry", "--case", r.caseID, step.Key().String())
}

// resume goes on with a run that ended early, or whose process was killed.
func (r *Run) resume() tea.Cmd {
	if !r.resumable() {
		return Warn("there is nothing to resume")
	}
	var lines []string
	run := r.view.Run("")
	for _, s := range run.Plan.Steps {
		switch state := run.Steps[s.Key()].State; state {
		case incident.Unknown, incident.Failed:
			lines = append(lines, strings.Join([]string{s.ID, "on", s.Target.Instance, "is", state.String() + ":", "tried again"}, " "))
		}
	}
	return Ask(Confirm{
		Question: "Resume run " + run.ID + "?",
		Lines:    append(lines, "What was approved is not asked again unless its changes differ."),
		Yes: func() tea.Cmd {
			return func() tea.Msg {
				child, err := r.env.Cordon.Start(r.caseID, "resume", "--case", r.caseID, "--wait-for-approval")
				return resumedMsg{child, err}
			}
		},
	})
}
