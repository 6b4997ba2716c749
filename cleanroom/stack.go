package cleanroom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// Interface endpoints take a few minutes each way.
	stackPoll, stackLimit = 10 * time.Second, 30 * time.Minute
)

// Outputs of the template.
const (
	outVpc           = "VpcId"
	outInstance      = "InstanceId"
	outInstances     = "InstanceIds"
	outSession       = "SessionDocument"
	outZone          = "AvailabilityZone"
	outEndpointGroup = "EndpointGroupId"
)

// stack is one of CloudFormation's, found by name or ARN.
type stack struct {
	client *cloudformation.Client
	clock  incident.Clock
	name   string // or ARN
}

// describe fails with errNoStack where there is none. A deleted stack is only
// found by its ARN.
func (s stack) describe(ctx context.Context) (types.Stack, error) {
	out, err := s.client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &s.name})
	// DescribeStacks answers ValidationError where there is no such stack (API reference).
	if errorCode(err) == "ValidationError" && strings.Contains(err.Error(), "does not exist") {
		return types.Stack{}, fmt.Errorf("stack %s: %w", s.name, errNoStack)
	}
	if err != nil {
		return types.Stack{}, fmt.Errorf("stack %s: %w", s.name, err)
	}
	if len(out.Stacks) != 1 || out.Stacks[0].StackStatus == types.StackStatusDeleteComplete {
		return types.Stack{}, fmt.Errorf("stack %s: %w", s.name, errNoStack)
	}
	return out.Stacks[0], nil
}

var errNoStack = errors.New("there is no such stack")

// created waits until the stack is there, and says which resource failed where it failed.
func (s stack) created(ctx context.Context, progress func(done int)) (types.Stack, error) {
	var st types.Stack
	err := incident.Poll(ctx, s.clock, stackPoll, stackLimit, "stack "+s.name, func(ctx context.Context) (bool, error) {
		var err error
		if st, err = s.describe(ctx); err != nil {
			return false, err
		}
		switch st.StackStatus {
		case types.StackStatusCreateComplete:
			return true, nil
		case types.StackStatusCreateInProgress:
			done, err := s.done(ctx)
			progress(done)
			return false, err
		case types.StackStatusRollbackInProgress:
			return false, nil // until it is over: then the events are complete
		}
		return false, s.failure(ctx, st)
	})
	return st, err
}

// done counts the resources that are complete.
func (s stack) done(ctx context.Context) (int, error) {
	n := 0
	events, err := s.events(ctx)
	for _, e := range events {
		if e.ResourceStatus == types.ResourceStatusCreateComplete {
			n++
		}
	}
	return n, err
}

func (s stack) events(ctx context.Context) ([]types.StackEvent, error) {
	var all []types.StackEvent
	pages := cloudformation.NewDescribeStackEventsPaginator(s.client, &cloudformation.DescribeStackEventsInput{StackName: &s.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("events of stack %s: %w", s.name, err)
		}
		all = append(all, page.StackEvents...)
	}
	return all, nil
}

// failedError: CloudFormation could not make the stack, or take it away.
type failedError struct {
	stack     string
	status    types.StackStatus
	resources []failedResource // those that failed of themselves, the first first
	reason    string           // of the stack, where no resource has one
}

// failedResource is one that CloudFormation could not make or delete.
type failedResource struct{ Logical, Type, Physical, Reason string }

func (e *failedError) Error() string {
	if len(e.resources) == 0 {
		return fmt.Sprintf("stack %s is %s: %s", e.stack, e.status, e.reason)
	}
	var all []string
	for _, r := range e.resources {
		name := r.Type
		if r.Physical != "" {
			name += " " + r.Physical
		}
		all = append(all, fmt.Sprintf("%s (%s): %s", r.Logical, name, r.Reason))
	}
	return fmt.Sprintf("stack %s is %s: %s", e.stack, e.status, strings.Join(all, "; "))
}

// failure reads why from the stack's events.
func (s stack) failure(ctx context.Context, st types.Stack) error {
	s.name = aws.ToString(st.StackId)
	events, err := s.events(ctx)
	if err != nil {
		return err
	}
	return failureOf(st, events)
}

// failureOf is what failed in the last operation; the events come newest first. What was only cancelled because of
// another's failure says so in its reason, and is left out (CloudFormation User Guide, "Troubleshooting CloudFormation").
func failureOf(st types.Stack, events []types.StackEvent) *failedError {
	f := &failedError{stack: aws.ToString(st.StackName), status: st.StackStatus, reason: aws.ToString(st.StackStatusReason)}
	for _, e := range events {
		reason := aws.ToString(e.ResourceStatusReason)
		switch {
		case aws.ToString(e.PhysicalResourceId) == aws.ToString(st.StackId): // the stack's own
			f.reason = cmp.Or(f.reason, reason)
			if e.ResourceStatus == types.ResourceStatusCreateInProgress || e.ResourceStatus == types.ResourceStatusDeleteInProgress {
				slices.Reverse(f.resources)
				return f // the operation begins here
			}
		case e.ResourceStatus != types.ResourceStatusCreateFailed && e.ResourceStatus != types.ResourceStatusDeleteFailed:
		case !strings.Contains(reason, "cancelled"):
			f.resources = append(f.resources, failedResource{aws.ToString(e.LogicalResourceId), aws.ToString(e.ResourceType), aws.ToString(e.PhysicalResourceId), reason})
		}
	}
	slices.Reverse(f.resources)
	return f
}

// delete deletes the stack and waits until it is gone. It must be named by its
// ARN. There is no token: deleting twice is deleting once, and a token would keep a deletion that
// failed from being tried again. Resources to retain, by logical name, are left as they are; CloudFormation
// takes them only where a deletion has failed already (API_DeleteStack). A deletion that fails is a *failedError.
func (s stack) delete(ctx context.Context, retain []string) error {
	if _, err := s.client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &s.name, RetainResources: retain}); err != nil {
		return fmt.Errorf("deleting stack %s: %w", s.name, err)
	}
	return incident.Poll(ctx, s.clock, stackPoll, stackLimit, "the end of stack "+s.name, func(ctx context.Context) (bool, error) {
		st, err := s.describe(ctx)
		if errors.Is(err, errNoStack) {
			return true, nil
		}
		if err == nil && st.StackStatus == types.StackStatusDeleteFailed {
			err = s.failure(ctx, st)
		}
		return false, err
	})
}

// resources that the stack has made and not deleted, physical IDs by type.
func (s stack) resources(ctx context.Context) (map[string][]string, error) {
	made := make(map[string][]string)
	pages := cloudformation.NewListStackResourcesPaginator(s.client, &cloudformation.ListStackResourcesInput{StackName: &s.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("resources of stack %s: %w", s.name, err)
		}
		for _, r := range page.StackResourceSummaries {
			if id := aws.ToString(r.PhysicalResourceId); id != "" && r.ResourceStatus != types.ResourceStatusDeleteComplete {
				kind := aws.ToString(r.ResourceType)
				made[kind] = append(made[kind], id)
			}
		}
	}
	return made, nil
}

func output(st types.Stack, key string) string {
	for _, o := range st.Outputs {
		if aws.ToString(o.OutputKey) == key {
			return aws.ToString(o.OutputValue)
		}
	}
	return ""
}

func tagOf(st types.Stack, key string) string {
	for _, t := range st.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
