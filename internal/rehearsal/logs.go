package rehearsal

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// logsState are the log groups of CloudWatch Logs. What is in them is written
// by flow logs alone, and worked out from these.
type logsState struct {
	Groups map[string]*logGroup `json:"groups,omitempty"`
}

type logGroup struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Retention int32             `json:"retention,omitempty"` // days; zero: kept for ever
	Key       string            `json:"key,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
}

// logs registers CloudWatch Logs. API_X in a handler's comment is the page
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_X.html.
func (ops operations) logs() {
	on(ops, logsCreateLogGroup)
	on(ops, logsDeleteLogGroup)
	on(ops, logsPutRetentionPolicy)
	on(ops, logsDescribeLogGroups)
	on(ops, logsDescribeLogStreams)
	on(ops, logsFilterLogEvents)
}

func (w *world) logGroupARN(name string) string {
	return fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", w.Region, w.Account, name)
}

// logGroup finds a group by its name or its ARN.
func (c *call) logGroup(name, identifier *string) (*logGroup, error) {
	if (name == nil) == (identifier == nil) {
		return nil, badLogsRequest("Exactly one of logGroupName and logGroupIdentifier is needed.")
	}
	wanted := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(name)+aws.ToString(identifier), c.logGroupARN("")), ":*")
	if g := c.Logs.Groups[wanted]; g != nil && c.region == c.Region {
		return g, nil
	}
	return nil, &types.ResourceNotFoundException{Message: aws.String("The specified log group does not exist.")}
}

func badLogsRequest(message string) error {
	return &types.InvalidParameterException{Message: aws.String(message)}
}

var logGroupName = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)

// logsCreateLogGroup: API_CreateLogGroup.
func logsCreateLogGroup(c *call, in *cloudwatchlogs.CreateLogGroupInput) (*cloudwatchlogs.CreateLogGroupOutput, error) {
	name := aws.ToString(in.LogGroupName)
	if !logGroupName.MatchString(name) {
		return nil, badLogsRequest("1 validation error detected: Value at 'logGroupName' failed to satisfy constraint")
	}
	if c.Logs.Groups[name] != nil {
		return nil, &types.ResourceAlreadyExistsException{Message: aws.String("The specified log group already exists")}
	}
	put(&c.Logs.Groups, name, &logGroup{Name: name, Created: c.Now, Key: aws.ToString(in.KmsKeyId), Tags: in.Tags})
	return &cloudwatchlogs.CreateLogGroupOutput{}, nil
}

// logsDeleteLogGroup: API_DeleteLogGroup.
func logsDeleteLogGroup(c *call, in *cloudwatchlogs.DeleteLogGroupInput) (*cloudwatchlogs.DeleteLogGroupOutput, error) {
	g, err := c.logGroup(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	delete(c.Logs.Groups, g.Name)
	return &cloudwatchlogs.DeleteLogGroupOutput{}, nil
}

// retentions are the days that the API takes.
var retentions = []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// logsPutRetentionPolicy: API_PutRetentionPolicy.
func logsPutRetentionPolicy(c *call, in *cloudwatchlogs.PutRetentionPolicyInput) (*cloudwatchlogs.PutRetentionPolicyOutput, error) {
	g, err := c.logGroup(in.LogGroupName, nil)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(retentions, aws.ToInt32(in.RetentionInDays)) {
		return nil, badLogsRequest(fmt.Sprintf("%d is no number of days that logs can be kept for", aws.ToInt32(in.RetentionInDays)))
	}
	g.Retention = *in.RetentionInDays
	return &cloudwatchlogs.PutRetentionPolicyOutput{}, nil
}

// listed cuts names (in order) to a page; the token is the last name given out.
func listed(names []string, limit, most int32, token *string) (page []string, next *string, err error) {
	if limit < 1 || limit > most {
		return nil, nil, badLogsRequest(fmt.Sprintf("limit must be between 1 and %d", most))
	}
	names = slices.DeleteFunc(names, func(n string) bool { return token != nil && n <= *token })
	if len(names) <= int(limit) {
		return names, nil, nil
	}
	return names[:limit], aws.String(names[limit-1]), nil
}

// logsDescribeLogGroups: API_DescribeLogGroups.
func logsDescribeLogGroups(c *call, in *cloudwatchlogs.DescribeLogGroupsInput) (*cloudwatchlogs.DescribeLogGroupsOutput, error) {
	out := &cloudwatchlogs.DescribeLogGroupsOutput{LogGroups: []types.LogGroup{}}
	if c.region != c.Region {
		return out, nil
	}
	names := slices.DeleteFunc(sortedKeys(c.Logs.Groups), func(n string) bool {
		return !strings.HasPrefix(n, aws.ToString(in.LogGroupNamePrefix)) || !strings.Contains(n, aws.ToString(in.LogGroupNamePattern))
	})
	names, next, err := listed(names, valueOr(in.Limit, 50), 50, in.NextToken)
	if err != nil {
		return nil, err
	}
	out.NextToken = next
	for _, name := range names {
		g := c.Logs.Groups[name]
		shown := types.LogGroup{
			LogGroupName: &g.Name, Arn: aws.String(c.logGroupARN(name) + ":*"), LogGroupArn: aws.String(c.logGroupARN(name)),
			CreationTime: aws.Int64(g.Created.UnixMilli()), KmsKeyId: nilIfEmpty(g.Key), LogGroupClass: types.LogGroupClassStandard,
		}
		if g.Retention > 0 {
			shown.RetentionInDays = &g.Retention
		}
		out.LogGroups = append(out.LogGroups, shown)
	}
	return out, nil
}

// streams are the log streams of a group: one for each interface of which a
// flow log has written.
func (w *world) streams(group string) []string {
	names := make(map[string]bool)
	for _, e := range w.flowEvents(group, w.Now.Add(-time.Hour), w.Now) { // each interval has one
		names[e.Stream] = true
	}
	return sortedKeys(names)
}

// logsDescribeLogStreams: API_DescribeLogStreams; ordered by name only.
func logsDescribeLogStreams(c *call, in *cloudwatchlogs.DescribeLogStreamsInput) (*cloudwatchlogs.DescribeLogStreamsOutput, error) {
	g, err := c.logGroup(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if in.OrderBy == types.OrderByLastEventTime || aws.ToBool(in.Descending) {
		return nil, badLogsRequest("The simulated account orders log streams by name, upwards.")
	}
	names := slices.DeleteFunc(c.streams(g.Name), func(n string) bool { return !strings.HasPrefix(n, aws.ToString(in.LogStreamNamePrefix)) })
	names, next, err := listed(names, valueOr(in.Limit, 50), 50, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &cloudwatchlogs.DescribeLogStreamsOutput{LogStreams: []types.LogStream{}, NextToken: next}
	for _, n := range names {
		out.LogStreams = append(out.LogStreams, types.LogStream{
			LogStreamName: &n, Arn: aws.String(c.logGroupARN(g.Name) + ":log-stream:" + n), CreationTime: aws.Int64(g.Created.UnixMilli()),
		})
	}
	return out, nil
}

// logsPage is how much of a log one call looks over: a page can be empty and
// still have a token.
const logsPage = 10 * time.Minute

// logsFilterLogEvents: API_FilterLogEvents, without filter patterns and from the oldest event on.
func logsFilterLogEvents(c *call, in *cloudwatchlogs.FilterLogEventsInput) (*cloudwatchlogs.FilterLogEventsOutput, error) {
	g, err := c.logGroup(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	switch limit := valueOr(in.Limit, 10000); {
	case aws.ToString(in.FilterPattern) != "" || !valueOr(in.StartFromHead, true):
		return nil, badLogsRequest("The simulated account reads logs whole, from the oldest event on.")
	case len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != nil:
		return nil, badLogsRequest("logStreamNames and logStreamNamePrefix can't be used together.")
	case limit < 1 || limit > 10000:
		return nil, badLogsRequest("limit must be between 1 and 10000")
	}
	if len(in.LogStreamNames) > 0 {
		known := c.streams(g.Name)
		if slices.ContainsFunc(in.LogStreamNames, func(n string) bool { return !slices.Contains(known, n) }) {
			return nil, &types.ResourceNotFoundException{Message: aws.String("The specified log stream does not exist.")}
		}
	}
	from, skip, err := logsToken(in)
	if err != nil {
		return nil, err
	}
	to := c.Now
	if in.EndTime != nil {
		to = time.UnixMilli(*in.EndTime)
	}
	return c.logsPage(g, in, later(from, c.Now.Add(-flowKept)), to, skip), nil
}

// logsToken reads where a page begins, and how many of its events were given out.
func logsToken(in *cloudwatchlogs.FilterLogEventsInput) (from time.Time, skip int, err error) {
	if in.NextToken == nil {
		return time.UnixMilli(aws.ToInt64(in.StartTime)), 0, nil
	}
	var ms int64
	b, err := base64.RawURLEncoding.DecodeString(*in.NextToken)
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d %d", &ms, &skip)
	}
	if err != nil {
		return from, 0, badLogsRequest("The specified nextToken is invalid.")
	}
	return time.UnixMilli(ms), skip, nil
}

func (c *call) logsPage(g *logGroup, in *cloudwatchlogs.FilterLogEventsInput, from, to time.Time, skip int) *cloudwatchlogs.FilterLogEventsOutput {
	out := &cloudwatchlogs.FilterLogEventsOutput{Events: []types.FilteredLogEvent{}}
	end := from.Add(logsPage)
	seen, limit := 0, int(valueOr(in.Limit, 10000))
	for _, e := range c.flowEvents(g.Name, from.Add(-10*time.Minute), to) { // a record's first packet comes later than its interval
		if e.Time.Before(from) || !e.Time.Before(end) || e.Time.After(to) || !wanted(in, e.Stream) {
			continue
		}
		if seen++; seen <= skip {
			continue
		}
		if len(out.Events) == limit {
			out.NextToken = logsPosition(from, skip+limit)
			return out
		}
		out.Events = append(out.Events, types.FilteredLogEvent{
			EventId: aws.String(fmt.Sprintf("%056d", e.Time.UnixMilli()*1000+int64(seen))), LogStreamName: &e.Stream, Message: &e.Message,
			Timestamp: aws.Int64(e.Time.UnixMilli()), IngestionTime: aws.Int64(e.Written.UnixMilli()),
		})
	}
	if end.Before(to) {
		out.NextToken = logsPosition(end, 0)
	}
	return out
}

func logsPosition(from time.Time, skip int) *string {
	return aws.String(base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", from.UnixMilli(), skip)))
}

func wanted(in *cloudwatchlogs.FilterLogEventsInput, stream string) bool {
	return strings.HasPrefix(stream, aws.ToString(in.LogStreamNamePrefix)) && (len(in.LogStreamNames) == 0 || slices.Contains(in.LogStreamNames, stream))
}
