package rehearsal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// upload is how long after a session's end its log is in the bucket.
const upload = 20 * time.Second

// shellSession is one of Session Manager's. What is typed in it is not simulated.
type shellSession struct {
	ID       string     `json:"id"`
	Target   string     `json:"target"`
	Document string     `json:"document,omitempty"`
	Started  time.Time  `json:"started"`
	Ended    *time.Time `json:"ended,omitempty"`
	Logged   bool       `json:"logged,omitempty"`
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartSession.html
func ssmStartSession(c *call, in *ssm.StartSessionInput) (*ssm.StartSessionOutput, error) {
	i := c.ec2().Instances[aws.ToString(in.Target)]
	if i == nil || !c.managed(i) {
		return nil, &types.TargetNotConnected{Message: aws.String(aws.ToString(in.Target) + " is not connected.")}
	}
	if in.DocumentName != nil {
		if _, err := c.document(in.DocumentName); err != nil {
			return nil, err
		}
	}
	s := &shellSession{ID: c.id("examiner"), Target: i.ID, Document: aws.ToString(in.DocumentName), Started: c.Now}
	c.SSM.Sessions = append(c.SSM.Sessions, s)
	return &ssm.StartSessionOutput{SessionId: &s.ID}, nil
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeSessions.html
func ssmDescribeSessions(c *call, in *ssm.DescribeSessionsInput) (*ssm.DescribeSessionsOutput, error) {
	for _, f := range in.Filters {
		if f.Key != types.SessionFilterKeyTargetId {
			return nil, &types.InvalidFilterKey{Message: aws.String("The simulated account filters sessions by Target only.")}
		}
	}
	out := &ssm.DescribeSessionsOutput{}
	for _, s := range c.SSM.Sessions {
		wanted := !slices.ContainsFunc(in.Filters, func(f types.SessionFilter) bool { return aws.ToString(f.Value) != s.Target })
		if !wanted || c.region != c.Region || (s.Ended == nil) != (in.State == types.SessionStateActive) {
			continue
		}
		shown := types.Session{SessionId: &s.ID, Target: &s.Target, DocumentName: &s.Document, StartDate: &s.Started, EndDate: s.Ended, Owner: &c.Caller, Status: types.SessionStatusConnected}
		if s.Ended != nil {
			shown.Status = types.SessionStatusTerminated
		}
		out.Sessions = append(out.Sessions, shown)
	}
	return out, nil
}

// ssmTerminateSession: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_TerminateSession.html
func ssmTerminateSession(c *call, in *ssm.TerminateSessionInput) (*ssm.TerminateSessionOutput, error) {
	for _, s := range c.SSM.Sessions {
		if s.ID == aws.ToString(in.SessionId) && c.region == c.Region {
			if s.Ended == nil {
				s.Ended = aws.Time(c.Now)
			}
			return &ssm.TerminateSessionOutput{SessionId: &s.ID}, nil
		}
	}
	return nil, &types.DoesNotExistException{Message: aws.String("Session with ID " + aws.ToString(in.SessionId) + " does not exist.")}
}

// tickSessions: the agent uploads a session's log once it has ended, where the session's document names a bucket
// ("Logging session data using Amazon S3"). An instance that is gone by then uploads nothing.
func (w *world) tickSessions() (changed bool) {
	for _, s := range w.SSM.Sessions {
		if s.Ended == nil || s.Logged || w.Now.Before(s.Ended.Add(upload)) {
			continue
		}
		s.Logged, changed = true, true
		d, i := w.SSM.Documents[s.Document], w.EC2.Instances[s.Target]
		var content struct {
			Inputs struct{ S3BucketName, S3KeyPrefix string }
		}
		if d == nil || i == nil || !w.managed(i) || json.Unmarshal([]byte(d.Content), &content) != nil || content.Inputs.S3BucketName == "" {
			continue
		}
		key := content.Inputs.S3KeyPrefix + "/" + s.ID + ".log"
		text := fmt.Sprintf("Script started on %s\n", s.Started.UTC().Format(time.RFC3339))
		_, _ = s3PutObject(w.call("s3"), &s3.PutObjectInput{Bucket: &content.Inputs.S3BucketName, Key: &key, Body: strings.NewReader(text)})
	}
	return changed
}
