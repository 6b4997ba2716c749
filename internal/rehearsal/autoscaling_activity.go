package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// groupActivity is a line of the group's history: why an instance came or went.
type groupActivity struct {
	ID          string    `json:"id"`
	Description string    `json:"description"`
	Cause       string    `json:"cause"`
	Status      string    `json:"status"`
	Message     string    `json:"message,omitempty"`
	Zone        string    `json:"zone,omitempty"`
	Subnet      string    `json:"subnet,omitempty"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end,omitzero"`
}

func (g *scalingGroup) begin(w *world, m *member, description, cause, status string) *groupActivity {
	a := &groupActivity{
		ID: w.uuid(), Description: description, Status: status, Start: w.Now,
		Cause: fmt.Sprintf("At %s %s", w.Now.Format("2006-01-02T15:04:05Z"), cause),
	}
	if i := w.instance(m.ID); i != nil {
		a.Zone, a.Subnet = i.AZ, i.Subnet
	}
	m.Activity = a.ID
	g.Activities = append(g.Activities, a)
	return a
}

// end finishes the activity that the member's passing state came from.
func (g *scalingGroup) end(w *world, m *member, well bool) {
	for _, a := range g.Activities {
		if a.ID == m.Activity {
			a.End, a.Status = w.Now, string(types.ScalingActivityStatusCodeSuccessful)
			if !well {
				a.Status, a.Message = string(types.ScalingActivityStatusCodeFailed), "Instance became unhealthy while waiting for instance to be in InService state."
			}
		}
	}
	m.Activity = ""
}

func (g *scalingGroup) lastActivity() *groupActivity {
	if len(g.Activities) == 0 {
		return nil
	}
	return g.Activities[len(g.Activities)-1]
}

func (a *groupActivity) aws(g *scalingGroup) types.Activity {
	out := types.Activity{
		ActivityId: &a.ID, AutoScalingGroupName: &g.Name, AutoScalingGroupARN: &g.ARN, Description: &a.Description, Cause: &a.Cause,
		StatusCode: types.ScalingActivityStatusCode(a.Status), StatusMessage: nilIfEmpty(a.Message), StartTime: &a.Start,
		Progress: aws.Int32(50), Details: aws.String(fmt.Sprintf(`{"Subnet ID":%q,"Availability Zone":%q}`, a.Subnet, a.Zone)),
	}
	if !a.End.IsZero() {
		out.EndTime, out.Progress = &a.End, aws.Int32(100)
	}
	return out
}

// Newest first. A group that does not exist is an error here, unlike in
// DescribeAutoScalingGroups.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
func autoscalingDescribeScalingActivities(c *call, in *autoscaling.DescribeScalingActivitiesInput) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	groups := c.AutoScaling.Groups
	if in.AutoScalingGroupName != nil {
		g, err := c.scalingGroup(in.AutoScalingGroupName)
		if err != nil {
			return nil, err
		}
		groups = []*scalingGroup{g}
	}
	out := &autoscaling.DescribeScalingActivitiesOutput{Activities: []types.Activity{}}
	if c.region != c.Region {
		return out, nil
	}
	limit := int(min(valueOr(in.MaxRecords, 100), 100))
	waiting := in.NextToken != nil // for the activity that ended the page before
	for _, g := range groups {
		for _, a := range slices.Backward(g.Activities) {
			switch {
			case waiting:
				waiting = a.ID != *in.NextToken
			case len(in.ActivityIds) > 0 && !slices.Contains(in.ActivityIds, a.ID):
			case len(out.Activities) == limit:
				out.NextToken = out.Activities[limit-1].ActivityId
				return out, nil
			default:
				out.Activities = append(out.Activities, a.aws(g))
			}
		}
	}
	if waiting {
		return nil, &types.InvalidNextToken{Message: aws.String("The token is not valid.")}
	}
	return out, nil
}
