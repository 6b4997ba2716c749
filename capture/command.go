package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	commandPoll = time.Second
	// commandSlack is what delivering a command, and telling that it has ended, may take beside running it.
	commandSlack = 15 * time.Second
	// deliveryTimeout is the least that SendCommand takes: an agent that comes back
	// later finds no command waiting.
	deliveryTimeout = 30 * time.Second
	// commandsKept is how far back commands of an earlier try are looked for.
	commandsKept = 24 * time.Hour
	// maxOutput bounds what a command's output may decompress to: the host that is
	// asked belongs to an intruder.
	maxOutput = 64 << 20
)

// agent runs commands on an instance through Systems Manager. It hands the host
// no credentials: what a command prints comes back through the service.
type agent struct {
	client   *ssm.Client
	clock    incident.Clock
	instance string
	platform ssmtypes.PlatformType
	// earlier are the commands of the last day, by their comments: SendCommand has no client
	// token, so that what a try before a crash has sent is found by its comment.
	earlier map[string]string
	// lost is set once the agent no longer takes commands.
	lost error
}

var (
	errNoAgent    = errors.New("no SSM agent answers")
	errNotTakenUp = errors.New("the agent did not take the command before this one")
)

// findAgent fails with errNoAgent where the instance's agent is not online.
func findAgent(ctx context.Context, client *ssm.Client, clock incident.Clock, instance string) (*agent, error) {
	out, err := client.DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{
		Filters: []ssmtypes.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{instance}}},
	})
	if err != nil {
		return nil, fmt.Errorf("SSM agent of %s: %w", instance, err)
	}
	if len(out.InstanceInformationList) == 0 {
		return nil, fmt.Errorf("%w on %s: Systems Manager does not know it", errNoAgent, instance)
	}
	i := out.InstanceInformationList[0]
	if i.PingStatus != ssmtypes.PingStatusOnline {
		return nil, fmt.Errorf("%w on %s: its status is %s", errNoAgent, instance, i.PingStatus)
	}
	return &agent{client: client, clock: clock, instance: instance, platform: i.PlatformType}, nil
}

func (a *agent) document() string {
	if a.platform == ssmtypes.PlatformTypeWindows {
		return "AWS-RunPowerShellScript"
	}
	return "AWS-RunShellScript"
}

// findEarlier lists what was sent before. Commands that ended without an output are sent again.
func (a *agent) findEarlier(ctx context.Context) error {
	a.earlier = make(map[string]string)
	pages := ssm.NewListCommandsPaginator(a.client, &ssm.ListCommandsInput{
		InstanceId: &a.instance, Filters: []ssmtypes.CommandFilter{{
			Key: ssmtypes.CommandFilterKeyInvokedAfter, Value: aws.String(a.clock.Now().Add(-commandsKept).UTC().Format(time.RFC3339)),
		}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("earlier commands on %s: %w", a.instance, err)
		}
		for _, c := range page.Commands {
			switch c.Status {
			case ssmtypes.CommandStatusPending, ssmtypes.CommandStatusInProgress, ssmtypes.CommandStatusSuccess, ssmtypes.CommandStatusFailed:
				a.earlier[aws.ToString(c.Comment)] = aws.ToString(c.CommandId)
			}
		}
	}
	return nil
}

// output is what a command left behind.
type output struct {
	command  string // its ID
	status   ssmtypes.CommandInvocationStatus
	code     int32
	from, to string // as the agent reported them
	text     []byte
	cut      bool // the agent returned the beginning only
	plain    bool // not compressed, as it was asked to be: text is as the agent returned it
}

// run runs a script, or takes up the command that an earlier try has sent under the
// same comment. The SDK may send the request twice where an answer is lost: the
// script must be one that may run twice. No longer than limit it is waited for; then it is cancelled.
func (a *agent) run(ctx context.Context, comment, script string, limit time.Duration) (output, error) {
	if a.lost != nil {
		return output{}, a.lost
	}
	id, sent := a.earlier[comment]
	if !sent {
		var err error
		if id, err = a.send(ctx, comment, script, limit); err != nil {
			return output{}, err
		}
	}
	got, err := a.wait(ctx, id, limit+commandSlack)
	if err != nil {
		return output{}, err
	}
	return decodeOutput(got), nil
}

// send returns the command's ID.
func (a *agent) send(ctx context.Context, comment, script string, limit time.Duration, options ...func(*ssm.Options)) (string, error) {
	// executionTimeout: seconds, a parameter of both documents ("AWS-RunShellScript", Systems Manager Command document reference).
	seconds := strconv.Itoa(max(1, int(limit.Seconds())))
	out, err := a.client.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName: aws.String(a.document()), InstanceIds: []string{a.instance}, Comment: &comment,
		Parameters:     map[string][]string{"commands": {script}, "executionTimeout": {seconds}},
		TimeoutSeconds: aws.Int32(int32(deliveryTimeout.Seconds())),
	}, options...)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Command.CommandId), nil
}

// wait until the command has ended, or cancel it.
func (a *agent) wait(ctx context.Context, id string, limit time.Duration) (*ssm.GetCommandInvocationOutput, error) {
	status := ssmtypes.CommandInvocationStatusPending
	var got *ssm.GetCommandInvocationOutput
	err := incident.Poll(ctx, a.clock, commandPoll, limit, "command "+id, func(ctx context.Context) (bool, error) {
		out, err := a.client.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: &id, InstanceId: &a.instance})
		var notYet *ssmtypes.InvocationDoesNotExist // the API is eventually consistent (API_GetCommandInvocation)
		if errors.As(err, &notYet) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		got, status = out, out.Status
		return ended(status), nil
	})
	switch {
	case err == nil && (status == ssmtypes.CommandInvocationStatusSuccess || status == ssmtypes.CommandInvocationStatusFailed):
		return got, nil
	case err == nil: // only those two come with an output (API_GetCommandInvocation)
		details := aws.ToString(got.StatusDetails)
		if strings.HasPrefix(details, "Delivery") || details == "Undeliverable" { // "Delivery Timed Out", with or without spaces
			a.lost = errNotTakenUp
		}
		return nil, fmt.Errorf("command %s ended as %s", id, details)
	case ctx.Err() != nil:
		return nil, err
	}
	err = fmt.Errorf("%w (its status is %s)", err, status)
	// AWS does not promise that the script ends (API_CancelCommand); its own timeout ends it.
	if _, e := a.client.CancelCommand(ctx, &ssm.CancelCommandInput{CommandId: &id, InstanceIds: []string{a.instance}}); e != nil {
		err = fmt.Errorf("%w; it could not be cancelled: %w", err, e)
	}
	if status != ssmtypes.CommandInvocationStatusInProgress {
		a.lost = errNotTakenUp
	}
	return nil, err
}

func ended(s ssmtypes.CommandInvocationStatus) bool {
	switch s {
	case ssmtypes.CommandInvocationStatusPending, ssmtypes.CommandInvocationStatusInProgress,
		ssmtypes.CommandInvocationStatusDelayed, ssmtypes.CommandInvocationStatusCancelling:
		return false
	}
	return true
}

// decodeOutput undoes gzip and base64. What the service returns ends after 24,000
// characters (API_GetCommandInvocation): what was cut is read as far as it goes.
func decodeOutput(got *ssm.GetCommandInvocationOutput) output {
	raw := aws.ToString(got.StandardOutputContent)
	out := output{
		command: aws.ToString(got.CommandId), status: got.Status, code: got.ResponseCode,
		from: aws.ToString(got.ExecutionStartDateTime), to: aws.ToString(got.ExecutionEndDateTime),
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(base64Prefix(raw))))
	if err != nil {
		out.text, out.plain = []byte(raw+aws.ToString(got.StandardErrorContent)), true
		return out
	}
	var text bytes.Buffer
	n, err := io.Copy(&text, io.LimitReader(z, maxOutput))
	out.text, out.cut = text.Bytes(), err != nil || n == maxOutput
	return out
}

// base64Prefix is the part of s, in whole groups of four, that can be base64.
func base64Prefix(s string) string {
	s = strings.NewReplacer("\n", "", "\r", "").Replace(s)
	end := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '=')
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end-end%4]
}
