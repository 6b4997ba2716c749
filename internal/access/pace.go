package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
)

// standard are the settings of the SDK's standard retryer. Its own token
// bucket is off: it never refills under steady throttling, and the rate is kept by our limits.
func standard(o *retry.StandardOptions) {
	o.MaxAttempts = 6
	o.MaxBackoff = 20 * time.Second
	o.RateLimiter = ratelimit.None
}

// immediate tells the SDK to try again at once: the SDK would wait in real
// time, so the pacer waits instead, on the clock.
type immediate struct{ aws.RetryerV2 }

// RetryDelay is zero.
func (immediate) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

// attempts is what the recorder hands the pacer through the context.
type attempts struct {
	// caller is the context of whoever made the call: cancelled, nothing more
	// is tried, although the attempt in flight may end.
	caller context.Context
	turn   turnOf
	paced  bool // the first attempt has waited for the API's rate already
	made   int
	last   error // of the attempt before

	unreached *incident.Progress // what was said of it last; nil: nothing
}

type attemptsKey struct{}

func withAttempts(ctx context.Context, a *attempts) context.Context {
	return context.WithValue(ctx, attemptsKey{}, a)
}

// pacer stands right after the SDK's Retry, around each attempt.
type pacer struct {
	access  *Access
	limits  *limits
	clock   incident.Clock
	backoff *retry.Standard
}

// ID names the middleware in the SDK's stack.
func (*pacer) ID() string { return "CordonPacer" }

// HandleFinalize waits for the backoff and for the API's rate, then lets the attempt go.
func (p *pacer) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, meta middleware.Metadata, err error,
) {
	call, ok := ctx.Value(attemptsKey{}).(*attempts)
	if !ok {
		return out, meta, errors.New("access: a call that did not pass the recorder")
	}
	operation := awsmiddleware.GetOperationName(ctx)
	call.made++ // the attempts of a call follow each other
	n := call.made
	if n > 1 {
		delay, err := p.backoff.RetryDelay(n-1, call.last)
		if err == nil {
			err = p.clock.Sleep(call.caller, delay)
		}
		if err != nil {
			return out, meta, &abandonedError{operation: operation, attempts: n - 1, why: err, last: call.last}
		}
	}
	if n > 1 || !call.paced {
		if err := p.limits.wait(call.caller, call.turn); err != nil {
			return out, meta, &abandonedError{operation: operation, attempts: n - 1, why: err, last: call.last}
		}
	}
	sent := p.clock.Now()
	out, meta, err = next.HandleFinalize(ctx, in)
	call.last = err
	p.access.attempted(ctx, call, sent, err)
	p.limits.answered(call.turn, isThrottle(err))
	return out, meta, err
}

var throttles = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

func isThrottle(err error) bool { return throttles.IsErrorThrottle(err) == aws.TrueTernary }

// abandonedError: the caller gave up between two attempts.
type abandonedError struct {
	operation string
	attempts  int
	why, last error
}

func (e *abandonedError) Error() string {
	if e.last == nil {
		return fmt.Sprintf("%s was not sent: %v", e.operation, e.why)
	}
	return fmt.Sprintf("%s was not tried again after %d: %v; before: %v", e.operation, e.attempts, e.why, e.last)
}

func (e *abandonedError) Unwrap() []error {
	if e.last == nil {
		return []error{e.why}
	}
	return []error{e.why, e.last}
}

// RetryableError keeps the SDK from trying again, whatever the last error was.
func (e *abandonedError) RetryableError() bool { return false }
