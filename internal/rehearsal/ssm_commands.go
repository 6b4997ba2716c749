package rehearsal

import (
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// runCommand is a command of Run Command, sent to one instance.
type runCommand struct {
	ID        string              `json:"id"`
	Instance  string              `json:"instance"`
	Document  string              `json:"document"`
	Comment   string              `json:"comment,omitempty"`
	Params    map[string][]string `json:"params"`
	Sent      time.Time           `json:"sent"`
	Delivery  time.Duration       `json:"delivery"` // until when the agent must have taken it
	Execution time.Duration       `json:"execution"`
	Stuck     bool                `json:"stuck,omitempty"`

	Status  ssmtypes.CommandInvocationStatus `json:"status"`
	Details string                           `json:"details"`
	Started time.Time                        `json:"started,omitzero"`
	Ended   time.Time                        `json:"ended,omitzero"`
	Code    int32                            `json:"code"`
	Out     string                           `json:"out,omitempty"`
}

const (
	commandTime   = 600 * time.Millisecond // what any command takes but an acquisition of memory
	commandOutput = 24000                  // characters that are kept of an output (API_GetCommandInvocation)
	executionTime = time.Hour              // executionTimeout's default in AWS-RunShellScript
)

// tick lets the agents take their commands and end them. An agent that does not answer takes none,
// and tells of none.
func (s *ssmState) tick(w *world) (changed bool) {
	for _, c := range s.Commands {
		changed = c.tick(w) || changed
	}
	return changed
}

func (c *runCommand) tick(w *world) bool {
	i := w.EC2.Instances[c.Instance]
	answers := !c.Stuck && i != nil && w.managed(i)
	switch c.Status {
	case ssmtypes.CommandInvocationStatusPending:
		if answers {
			c.Status, c.Details, c.Started = ssmtypes.CommandInvocationStatusInProgress, "InProgress", w.Now
			return true
		}
		if w.Now.Sub(c.Sent) >= c.Delivery {
			c.Status, c.Details, c.Ended = ssmtypes.CommandInvocationStatusTimedOut, "DeliveryTimedOut", w.Now
			return true
		}
	case ssmtypes.CommandInvocationStatusInProgress:
		if answers && w.Now.Sub(c.Started) >= c.runTime(i) {
			c.end(i, w.Intruder != nil && w.Intruder.Instance == i.ID, w.Now)
			return true
		}
		if w.Now.Sub(c.Started) >= c.Execution {
			c.Status, c.Details, c.Ended = ssmtypes.CommandInvocationStatusTimedOut, "ExecutionTimedOut", w.Now
			return true
		}
	}
	return false
}

func (c *runCommand) end(i *instance, held bool, now time.Time) {
	c.Out, c.Code = i.shell(c.Params["commands"], held, now)
	if len(c.Out) > commandOutput {
		c.Out = c.Out[:commandOutput]
	}
	c.Status, c.Details, c.Ended = ssmtypes.CommandInvocationStatusSuccess, "Success", now
	if c.Code != 0 {
		c.Status, c.Details = ssmtypes.CommandInvocationStatusFailed, "Failed"
	}
}

// One instance at a time, and no document but AWS-RunShellScript; AWS takes 50 instances, and its targets by tag.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
func ssmSendCommand(c *call, in *ssm.SendCommandInput) (*ssm.SendCommandOutput, error) {
	if aws.ToString(in.DocumentName) != "AWS-RunShellScript" {
		return nil, &ssmtypes.InvalidDocument{Message: in.DocumentName}
	}
	if len(in.InstanceIds) != 1 {
		return nil, apiError("ValidationException", "the simulated account sends a command to one instance")
	}
	i := c.ec2().Instances[in.InstanceIds[0]]
	if i == nil || !c.managed(i) {
		return nil, &ssmtypes.InvalidInstanceId{Message: aws.String("Instances [[" + in.InstanceIds[0] + "]] not in a valid state for account " + c.Account)}
	}
	command := &runCommand{
		ID: c.uuid(), Instance: i.ID, Document: *in.DocumentName, Comment: aws.ToString(in.Comment), Params: in.Parameters, Sent: c.Now,
		Delivery: time.Duration(aws.ToInt32(in.TimeoutSeconds)) * time.Second, Execution: executionTime, Stuck: c.stuck,
		Status: ssmtypes.CommandInvocationStatusPending, Details: "Pending", Code: -1,
	}
	if command.Delivery == 0 {
		command.Delivery = time.Hour
	}
	if limit := in.Parameters["executionTimeout"]; len(limit) == 1 {
		seconds, err := strconv.Atoi(limit[0])
		if err != nil {
			return nil, &ssmtypes.InvalidParameters{Message: aws.String("executionTimeout")}
		}
		command.Execution = time.Duration(seconds) * time.Second
	}
	if len(in.Parameters["commands"]) == 0 {
		return nil, &ssmtypes.InvalidParameters{Message: aws.String("commands")}
	}
	c.SSM.Commands = append(c.SSM.Commands, command)
	shown := command.show()
	return &ssm.SendCommandOutput{Command: &shown}, nil
}

func (c *runCommand) show() ssmtypes.Command {
	return ssmtypes.Command{
		CommandId: &c.ID, Comment: &c.Comment, DocumentName: &c.Document, InstanceIds: []string{c.Instance}, Parameters: c.Params,
		RequestedDateTime: &c.Sent, Status: ssmtypes.CommandStatus(c.Status), StatusDetails: &c.Details, TargetCount: 1,
		ExpiresAfter: aws.Time(c.Sent.Add(c.Delivery + c.Execution)), TimeoutSeconds: aws.Int32(int32(c.Delivery.Seconds())),
	}
}

func (s *ssmState) command(id *string) (*runCommand, error) {
	for _, c := range s.Commands {
		if c.ID == aws.ToString(id) {
			return c, nil
		}
	}
	return nil, &ssmtypes.InvalidCommandId{Message: id}
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
func ssmGetCommandInvocation(c *call, in *ssm.GetCommandInvocationInput) (*ssm.GetCommandInvocationOutput, error) {
	command, err := c.SSM.command(in.CommandId)
	if err != nil || command.Instance != aws.ToString(in.InstanceId) {
		return nil, &ssmtypes.InvocationDoesNotExist{}
	}
	at := func(t time.Time) *string {
		if t.IsZero() {
			return aws.String("")
		}
		return aws.String(t.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	return &ssm.GetCommandInvocationOutput{
		CommandId: &command.ID, InstanceId: &command.Instance, Comment: &command.Comment, DocumentName: &command.Document,
		PluginName: aws.String("aws:runShellScript"), Status: command.Status, StatusDetails: &command.Details, ResponseCode: command.Code,
		ExecutionStartDateTime: at(command.Started), ExecutionEndDateTime: at(command.Ended),
		StandardOutputContent: &command.Out, StandardErrorContent: aws.String(""),
	}, nil
}

// Newest first, all on one page.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ListCommands.html
func ssmListCommands(c *call, in *ssm.ListCommandsInput) (*ssm.ListCommandsOutput, error) {
	var after time.Time
	for _, f := range in.Filters {
		t, err := time.Parse(time.RFC3339, aws.ToString(f.Value))
		if f.Key != ssmtypes.CommandFilterKeyInvokedAfter || err != nil {
			return nil, &ssmtypes.InvalidFilterKey{}
		}
		after = t
	}
	out := &ssm.ListCommandsOutput{}
	for _, command := range slices.Backward(c.SSM.Commands) {
		if in.InstanceId != nil && *in.InstanceId != command.Instance || in.CommandId != nil && *in.CommandId != command.ID ||
			command.Sent.Before(after) {
			continue
		}
		out.Commands = append(out.Commands, command.show())
	}
	return out, nil
}

// What has begun ends at once; AWS does not promise that.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CancelCommand.html
func ssmCancelCommand(c *call, in *ssm.CancelCommandInput) (*ssm.CancelCommandOutput, error) {
	command, err := c.SSM.command(in.CommandId)
	if err != nil {
		return nil, err
	}
	if command.Ended.IsZero() {
		command.Status, command.Details, command.Ended = ssmtypes.CommandInvocationStatusCancelled, "Cancelled", c.Now
	}
	return &ssm.CancelCommandOutput{}, nil
}
