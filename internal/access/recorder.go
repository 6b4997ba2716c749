package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/quota"
)

// ErrNoJournal: a call that changes something was refused, because it could not be journaled first.
var ErrNoJournal = errors.New("no journal, no call")

// grace is how long a changing call in flight may still take once its context
// is cancelled: it has reached AWS or not, and the journal should say which.
const grace = 30 * time.Second

// recorder stands at the end of the SDK's Initialize step: it sees the typed input, checked and
// complete with its idempotency token, before anything is signed or sent. If it fails, nothing is sent.
type recorder struct {
	access  *Access
	account string
}

// ID names the middleware in the SDK's stack.
func (*recorder) ID() string { return "CordonRecorder" }

// HandleInitialize counts reads and journals changes.
func (r *recorder) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	middleware.InitializeOutput, middleware.Metadata, error,
) {
	service, operation := serviceOf(ctx), awsmiddleware.GetOperationName(ctx)
	if !isRead(operation, in.Parameters) {
		return r.change(ctx, service, operation, in, next)
	}
	turn := r.turn(ctx, in.Parameters)
	send := func(input any, paced bool) (middleware.InitializeOutput, middleware.Metadata, error) {
		r.access.countRead(incident.StepFrom(ctx), service+":"+operation)
		in.Parameters = input
		made := &attempts{caller: ctx, turn: turn, paced: paced}
		defer func() { r.access.reached(made) }()
		reading := withAttempts(ctx, made)
		if r.access.opts.Verbose && r.access.opts.Journal != nil {
			return r.journaled(ctx, reading, service, operation, in, next)
		}
		return next.HandleInitialize(reading, in)
	}
	if !sharedServices[turn.call.Service] {
		return send(in.Parameters, false)
	}
	return r.access.shares.read(ctx, turn, in.Parameters, func() error {
		if err := r.access.limits.wait(ctx, turn); err != nil {
			return fmt.Errorf("%s:%s was not sent: %w", service, operation, err)
		}
		return nil
	}, func(input any) (middleware.InitializeOutput, middleware.Metadata, error) { return send(input, true) })
}

// change sends a call that changes something. Once ctx is cancelled none is
// begun; the one in flight runs to its end.
func (r *recorder) change(ctx context.Context, service, operation string, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, meta middleware.Metadata, err error,
) {
	if r.access.opts.Journal == nil {
		return out, meta, fmt.Errorf("%s:%s was not sent: %w", service, operation, ErrNoJournal)
	}
	// Before the intent: what waits for its turn is not under way yet, and can be given up.
	turn := r.turn(ctx, in.Parameters)
	if err := r.access.limits.wait(ctx, turn); err != nil {
		return out, meta, fmt.Errorf("%s:%s was not sent: %w", service, operation, err)
	}
	sending, release := r.outlive(ctx)
	defer release()
	made := &attempts{caller: ctx, turn: turn, paced: true}
	defer func() { r.access.reached(made) }()
	return r.journaled(ctx, withAttempts(sending, made), service, operation, in, next)
}

// turn is what the call waits for before it is sent.
func (r *recorder) turn(ctx context.Context, input any) turnOf {
	return turnOf{account: r.account, region: awsmiddleware.GetRegion(ctx), call: quota.Call{
		Service: awsmiddleware.GetServiceID(ctx), Operation: awsmiddleware.GetOperationName(ctx), Narrowed: quota.Narrowed(input),
	}}
}

// journaled commits the intent, sends under another context, and commits the
// result, whatever has been cancelled meanwhile.
func (r *recorder) journaled(ctx, sending context.Context, service, operation string, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, meta middleware.Metadata, err error,
) {
	if err := ctx.Err(); err != nil {
		return out, meta, &smithy.CanceledError{Err: context.Cause(ctx)}
	}
	params, err := redact(in.Parameters)
	if err != nil {
		return out, meta, fmt.Errorf("%s:%s was not sent: its parameters can't be journaled: %w", service, operation, err)
	}
	call := callID()
	intent := incident.CallIntent{
		Call: call, Service: service, Operation: operation,
		Account: r.account, Region: awsmiddleware.GetRegion(ctx), Params: params,
	}
	if err := r.append(ctx, incident.EntryCallIntent, intent); err != nil {
		return out, meta, fmt.Errorf("%s:%s was not sent: %w: %w", service, operation, ErrNoJournal, err)
	}
	out, meta, err = next.HandleInitialize(sending, in)
	if jerr := r.append(context.WithoutCancel(ctx), incident.EntryCallResult, resultOf(call, meta, err)); jerr != nil {
		err = errors.Join(err, fmt.Errorf("%s:%s was sent, but its result could not be journaled: %w", service, operation, jerr))
	}
	return out, meta, err
}

func (r *recorder) append(ctx context.Context, kind incident.EntryType, data any) error {
	ref := incident.StepFrom(ctx)
	_, err := r.access.opts.Journal.Append(ctx, incident.Draft{Type: kind, Run: ref.Run, Step: ref.Step, Target: ref.Target, Data: data})
	return err
}

// outlive returns a context that ends grace after ctx is cancelled, or when
// release is called, which waits for what it started.
func (r *recorder) outlive(ctx context.Context) (_ context.Context, release func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		if r.access.opts.Clock.Sleep(out, grace) == nil {
			cancel(context.Cause(ctx))
		}
	})
	return out, func() {
		cancel(context.Canceled)
		if !stop() {
			<-ended
		}
	}
}

// resultOf says how a call ended.
func resultOf(call string, meta middleware.Metadata, err error) incident.CallResult {
	res := incident.CallResult{Call: call}
	res.RequestID, _ = awsmiddleware.GetRequestIDMetadata(meta)
	res.ServerTime, _ = awsmiddleware.GetServerTime(meta)
	if attempts, ok := retry.GetAttemptResults(meta); ok {
		res.Attempts = len(attempts.Results)
	}
	if err == nil {
		return res
	}
	res.Error = safeMessage(err)
	var api smithy.APIError
	if errors.As(err, &api) {
		res.ErrorCode = api.ErrorCode()
	}
	var id interface{ ServiceRequestID() string }
	if res.RequestID == "" && errors.As(err, &id) {
		res.RequestID = id.ServiceRequestID()
	}
	return res
}

// safeMessage is the error's text for the journal. AWS's answer to a wrong signature repeats the signed
// request, session token included (IAM User Guide, "Troubleshoot Signature Version 4
// requests for AWS APIs").
func safeMessage(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) && strings.Contains(api.ErrorCode(), "Signature") {
		return api.ErrorCode() + ": AWS refused the request's signature"
	}
	if text := err.Error(); !hasSecret(text) {
		return text
	}
	return "the error's text held a credential and was dropped"
}

// isRead reports whether a call changes nothing at AWS.
func isRead(operation string, input any) bool {
	return quota.IsRead(operation) || isDryRun(input)
}

// isDryRun: EC2 answers a call with DryRun=true by whether it would be allowed.
func isDryRun(input any) bool {
	v := reflect.Indirect(reflect.ValueOf(input))
	if v.Kind() != reflect.Struct {
		return false
	}
	f := v.FieldByName("DryRun")
	if !f.IsValid() {
		return false
	}
	dry, ok := f.Interface().(*bool)
	return ok && aws.ToBool(dry)
}

// serviceOf is the prefix of the service's IAM actions, which is often not its
// name in the SDK (Service Authorization Reference).
func serviceOf(ctx context.Context) string {
	switch id := awsmiddleware.GetServiceID(ctx); id {
	case "Auto Scaling":
		return "autoscaling"
	case "Elastic Load Balancing", "Elastic Load Balancing v2":
		return "elasticloadbalancing"
	case "CloudWatch Logs":
		return "logs"
	case "VPC Lattice":
		return "vpc-lattice"
	case "EventBridge":
		return "events"
	case "Config Service":
		return "config"
	default:
		return strings.ToLower(strings.ReplaceAll(id, " ", ""))
	}
}

// callID pairs a call's intent with its result. It is unique in the journal.
func callID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
