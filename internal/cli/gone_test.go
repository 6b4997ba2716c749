package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/tui"
)

// outage takes AWS away at an operation's first call that a run makes, for so many attempts. At the second the person who
// looks on is given the time to see it.
type outage struct {
	operation string
	err       error
	lookOn    func() // nil: nobody does

	mu      sync.Mutex
	begun   bool
	refused int
	left    int
}

func (o *outage) attempt(operation string, step string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun = o.begun || operation == o.operation && step != ""
	if !o.begun || o.left == 0 {
		return nil
	}
	o.left--
	if o.refused++; o.refused == 2 && o.lookOn != nil {
		o.lookOn()
	}
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

// A person with a screen reader attaches while AWS does not answer.
func TestWhoIsAttachedSeesThatAWSIsGoneAndWhatBecomesOfTheRun(t *testing.T) {
	for name, tc := range map[string]struct {
		attempts int
		code     int
		sees     []string
	}{
		"it comes back": {3, exitDone, []string{"succeeded", "contained after"}},
		"it stays away": {1 << 20, exitIncomplete, []string{"failed", "R resume"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newWorld(t)
			gone := &outage{operation: "ModifyNetworkInterfaceAttribute", err: errGone, left: tc.attempts}
			base := o.w.base
			o.w.base = func(ctx context.Context, region string) (aws.Config, error) {
				cfg, err := base(ctx, region)
				return gone.attach(cfg), err
			}
			var person *onlooker
			gone.lookOn = func() {
				simulated := o.account.Clock()
				simulated.Begin() // it stands still until the person has looked
				defer simulated.End(time.Time{}, 0)
				person = o.attaches()
				person.hears("AWS can't be reached since")
				person.hears("ModifyNetworkInterfaceAttribute")
			}
			code, stderr := o.run("contain", withoutAnalyses)
			if code != tc.code {
				t.Errorf("exit code %d:\n%s", code, stderr)
			}
			person.hears(tc.sees...)
			person.leaves()
			o.verify()
		})
	}
}

// onlooker is the TUI for screen readers on the world's case.
type onlooker struct {
	t     *testing.T
	lines *bufio.Scanner
	keys  *os.File
	left  chan error
	heard strings.Builder
}

func (o *world) attaches() *onlooker {
	o.t.Helper()
	in, keys, err := os.Pipe()
	o.must(err)
	said, out, err := os.Pipe()
	o.must(err)
	p := &onlooker{t: o.t, lines: bufio.NewScanner(said), keys: keys, left: make(chan error, 1)}
	go func() {
		err := tui.Show(o.t.Context(), tui.Options{
			Cordon: &tui.Cordon{Program: os.DevNull, Home: o.w.home}, CaseID: "INC-1", Lines: true, Clock: clock.Wall{}, In: in, Out: out,
		})
		p.left <- errors.Join(err, in.Close(), out.Close())
	}()
	return p
}

// hears reads on until all of it was said, in this order.
func (p *onlooker) hears(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		for found := strings.Contains(p.lines.Text(), text); !found; found = strings.Contains(p.lines.Text(), text) {
			if !p.lines.Scan() {
				p.t.Fatalf("%q is not said:\n%s", text, p.heard.String())
			}
			fmt.Fprintln(&p.heard, p.lines.Text())
		}
	}
}

// leaves hangs up.
func (p *onlooker) leaves() {
	p.t.Helper()
	if err := p.keys.Close(); err != nil {
		p.t.Error(err)
	}
	for p.lines.Scan() { // so that it can say goodbye
	}
	if err := <-p.left; err != nil {
		p.t.Error(err)
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
