package isolate

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/serving"
)

// survey is what there is to know of a group, read once for all members that are planned about now.
type survey struct {
	*serving.Survey
	made chan struct{} // closed when it is there
	at   time.Time
}

// surveyAge is how long a survey serves for other members of the group: they
// are planned together, and AWS's request budgets are for all of them.
const surveyAge = 30 * time.Second

// survey looks at a group once for all members that are planned about now.
func (a *autoscalingGroup) survey(ctx context.Context, cfg aws.Config, now time.Time, g astypes.AutoScalingGroup, strategy string) *survey {
	key := aws.ToString(g.AutoScalingGroupARN) + " " + strategy
	a.mu.Lock()
	s := a.surveys[key]
	ours := s == nil || now.Sub(s.at) > surveyAge
	if ours {
		if a.surveys == nil {
			a.surveys = make(map[string]*survey)
		}
		s = &survey{at: now, made: make(chan struct{})}
		a.surveys[key] = s
	}
	a.mu.Unlock()
	if !ours {
		<-s.made
		return s
	}
	defer close(s.made)
	s.Survey = serving.Look(ctx, cfg, g, strategy == strategyReplace)
	return s
}

// PlanJoint refuses a plan whose members of a group, each of which fits by
// itself, together take it below its minimum size or above its maximum.
func (a *autoscalingGroup) PlanJoint(proposals []incident.Proposal) error {
	groups, names := make(map[string]*crowd), []string(nil)
	for _, p := range proposals {
		m, err := recall[place](p.Before)
		if err != nil {
			return err
		}
		if m.Moves == 0 {
			continue
		}
		if groups[m.ARN] == nil {
			groups[m.ARN], names = &crowd{place: m}, append(names, m.ARN)
		}
		groups[m.ARN].members++
	}
	for _, arn := range names {
		if err := groups[arn].refuse(); err != nil {
			return err
		}
	}
	return nil
}

// crowd are the members of a group that leave or come back in one plan.
type crowd struct {
	place
	members int32
}

func (c *crowd) refuse() error {
	after := c.Desired + c.Moves*c.members
	switch {
	case after < c.Min:
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"taking %d instances out lowers the desired capacity of Auto Scaling group %s to %d, below its min-size %d (desired %d, max-size %d)",
			c.members, c.Group, after, c.Min, c.Desired, c.Max)}, "use strategy replace, or lower the group's min-size first")
	case after > c.Max:
		return incident.WithHint(&incident.RefusedError{Reason: fmt.Sprintf(
			"taking %d instances back raises the desired capacity of Auto Scaling group %s to %d, above its max-size %d (desired %d, min-size %d)",
			c.members, c.Group, after, c.Max, c.Desired, c.Min)},
			"raise the group's max-size, or terminate the replacements with a lower desired capacity, and release again; or release fewer instances at a time")
	}
	return nil
}
