package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// outage takes AWS away at an operation's first call that a run makes, for so many attempts.
type outage struct {
	operation string
	err       error

	mu    sync.Mutex
	begun bool
	left  int
}

func (o *outage) attempt(operation string, step string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun = o.begun || operation == o.operation && step != ""
	if !o.begun || o.left == 0 {
		return nil
	}
	o.left--
	return o.err
}

func (o *outage) attach(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Outage",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				if err := o.attempt(awsmiddleware.GetOperationName(ctx), incident.StepFrom(ctx).Step); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, err
				}
				return next.HandleFinalize(ctx, in)
			}), "Retry", middleware.After)
	})
	return cfg
}

// What the SDK makes of a refused connection, and of a service without a server.
var (
	errGone        = &smithyhttp.RequestSendError{Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	errUnavailable = &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusServiceUnavailable}}, Err: errors.New("no server is available"),
	}
)

func TestARunGoesOnWhenAWSComesBackAndEndsWithAHintWhereItDoesNot(t *testing.T) {
	calm := newWorld(t)
	if code, stderr := calm.run("contain", withoutAnalyses); code != exitDone {
		t.Fatal(stderr)
	}
	want := calm.shape()
	const forGood = 1 << 20
	for name, tc := range map[string]struct {
		err      error
		attempts int
		hint     string
	}{
		"refused, and back":       {errGone, 3, ""},
		"refused":                 {errGone, forGood, "AWS can't be reached: check this machine's network"},
		"unavailable, and back":   {errUnavailable, 3, ""},
		"unavailable for so long": {errUnavailable, forGood, "AWS has a fault of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newWorld(t)
			gone := &outage{operation: "ModifyNetworkInterfaceAttribute", err: tc.err, left: tc.attempts}
			base := o.w.base
			o.w.base = func(ctx context.Context, region string) (aws.Config, error) {
				cfg, err := base(ctx, region)
				return gone.attach(cfg), err
			}
			o.w.g.quiet = false
			code, stderr := o.run("contain", withoutAnalyses)
			if !strings.Contains(stderr, "AWS can't be reached: ec2:ModifyNetworkInterfaceAttribute in eu-central-1 for network is tried again") {
				t.Errorf("nothing tells of the call that is tried again:\n%s", stderr)
			}
			o.verify()
			if tc.hint == "" {
				if code != exitDone {
					t.Errorf("exit code %d:\n%s", code, stderr)
				}
			} else {
				o.failedAt(code, "network", tc.hint)
				gone.mu.Lock()
				gone.left = 0
				gone.mu.Unlock()
				if code, stderr := o.resume(); code != exitDone {
					t.Errorf("resume: exit code %d:\n%s", code, stderr)
				}
				o.verify()
			}
			if got := o.shape(); !reflect.DeepEqual(got, want) {
				t.Error(want.difference(got))
			}
		})
	}
}

// failedAt checks that the run ended with this step failed, and says what to do.
func (o *world) failedAt(code int, step, hint string) {
	o.t.Helper()
	r, err := o.w.read(o.t.Context(), "INC-1")
	o.must(err)
	run := r.unfinished()
	if code != exitIncomplete || run == nil || run.Outcome != incident.OutcomeFailed {
		o.t.Fatalf("exit code %d, %+v", code, run)
	}
	for _, s := range run.Plan.Steps {
		if status := run.Steps[s.Key()]; s.ID == step && (status.State != incident.Failed || !strings.Contains(status.Hint, hint)) {
			o.t.Errorf("step %s is %s: %s (%s)", step, status.State, status.Error, status.Hint)
		}
	}
}

// resume does what the command resume does.
func (o *world) resume() (int, string) {
	o.t.Helper()
	return o.holding(func(w *workspace, j *journal.Journal) error {
		return w.resume(o.t.Context(), j, resumeOptions{caseID: "INC-1"})
	})
}
