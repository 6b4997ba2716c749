package cleanroom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	sessionPoll = 5 * time.Second
	// logLimit is how long after its end a session's log may be on its way to the bucket. How long
	// the agent takes is not documented. A session that never opened has no log.
	logLimit = 2 * time.Minute
	endLimit = 5 * time.Minute
)

// endSessions ends the examiners' sessions and waits until their logs are where the findings are taken from: a session's
// log is uploaded at its end, and by the instance (Systems Manager User Guide, "Logging session data using Amazon S3"). What an
// earlier try ended within logLimit is waited for, too.
func (c Closure) endSessions(ctx context.Context, room incident.CleanRoom, instances []string) error {
	client := ssm.NewFromConfig(c.Config)
	return incident.Poll(ctx, c.Clock, sessionPoll, endLimit, "the end of the sessions in clean room "+room.Name, func(ctx context.Context) (bool, error) {
		active, err := sessions(ctx, client, types.SessionStateActive, instances)
		if err != nil {
			return false, err
		}
		for _, s := range active {
			if s.Status == types.SessionStatusTerminating {
				continue
			}
			_, err := client.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: s.SessionId})
			var gone *types.DoesNotExistException
			if err != nil && !errors.As(err, &gone) {
				return false, fmt.Errorf("session %s on %s: %w", aws.ToString(s.SessionId), aws.ToString(s.Target), err)
			}
		}
		if c.Store == nil {
			return true, nil // nobody takes the logs
		}
		if len(active) > 0 {
			return false, nil
		}
		return c.logged(ctx, client, room, instances)
	})
}

// logged reports whether the logs of the sessions that ended lately are in the store.
func (c Closure) logged(ctx context.Context, client *ssm.Client, room incident.CleanRoom, instances []string) (bool, error) {
	if room.Parameters["EvidenceBucket"] == "" {
		return true, nil
	}
	ended, err := sessions(ctx, client, types.SessionStateHistory, instances)
	if err != nil {
		return false, err
	}
	ended = slices.DeleteFunc(ended, func(s types.Session) bool { return s.EndDate == nil || c.Clock.Now().After(s.EndDate.Add(logLimit)) })
	if len(ended) == 0 {
		return true, nil
	}
	prefix := Sessions(c.Case, room.Name)
	logs, err := c.Store.Versions(ctx, prefix)
	if err != nil {
		return false, fmt.Errorf("the sessions' logs under %s: %w", prefix, err)
	}
	for _, s := range ended {
		if !slices.ContainsFunc(logs, func(v evidence.Version) bool { return strings.Contains(v.Key, aws.ToString(s.SessionId)) }) {
			return false, nil
		}
	}
	return true, nil
}

// sessions on the instances. The filter takes one target.
func sessions(ctx context.Context, client *ssm.Client, state types.SessionState, instances []string) (all []types.Session, err error) {
	for _, id := range instances {
		pages := ssm.NewDescribeSessionsPaginator(client, &ssm.DescribeSessionsInput{
			State: state, Filters: []types.SessionFilter{{Key: types.SessionFilterKeyTargetId, Value: &id}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("sessions on %s: %w", id, err)
			}
			all = append(all, page.Sessions...)
		}
	}
	return all, nil
}
