package rehearsal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/quota"
)

// latency is what one call takes on the simulated clock.
const latency = 40 * time.Millisecond

// call is what a handler knows of the request besides its input.
type call struct {
	*world
	ctx     context.Context
	region  string
	service string // as in an IAM action: ec2, s3, ebs, elasticloadbalancing
	request string // ID
	stuck   bool   // what is asked for will never begin (Fault)
}

// operation answers one operation.
type operation struct {
	read   bool
	handle func(c *call, in any) (any, error)
}

// operations are found by the type of their input.
type operations map[reflect.Type]operation

// newOperations lists, explicitly, every operation the account can do.
func newOperations() operations {
	ops := make(operations)
	ops.ec2()
	ops.ebs()
	ops.autoscaling()
	ops.launchTemplates()
	ops.ec2Offers()
	ops.elb()
	ops.classic()
	ops.iam()
	ops.sts()
	ops.kms()
	ops.s3()
	ops.cloudformation()
	ops.ssm()
	ops.trail()
	ops.logs()
	ops.resolver()
	ops.connections()
	return ops
}

// on registers a handler. It MUST check everything before it changes the
// world: what it changed before an error stays in an account in memory.
func on[I, O any](ops operations, handle func(*call, *I) (*O, error)) {
	t := reflect.TypeFor[*I]()
	if _, ok := ops[t]; ok {
		panic("rehearsal: two handlers for " + t.String())
	}
	ops[t] = operation{
		read: readOnly(strings.TrimSuffix(t.Elem().Name(), "Input")),
		handle: func(c *call, in any) (any, error) {
			out, err := handle(c, detach(in.(*I)))
			return detach(out), err
		},
	}
}

func readOnly(name string) bool {
	for _, p := range []string{"Describe", "Get", "List", "Head", "Lookup", "Filter", "Simulate"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

type inputKey struct{}

// Config is an AWS configuration whose every call is answered by the account.
func (a *Account) Config(region string) aws.Config {
	return aws.Config{
		Region:      region,
		Credentials: aws.AnonymousCredentials{},
		APIOptions:  []func(*middleware.Stack) error{a.attach},
	}
}

func (a *Account) attach(stack *middleware.Stack) error {
	if _, sent := stack.Finalize.Get("Retry"); !sent {
		return nil // a request that is only presigned
	}
	// What is serialized is what is sent: middleware before may have replaced the input.
	keep := middleware.SerializeMiddlewareFunc("RehearsalInput",
		func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
			return next.HandleSerialize(middleware.WithStackValue(ctx, inputKey{}, in.Parameters), in)
		})
	if err := stack.Serialize.Add(keep, middleware.Before); err != nil {
		return err
	}
	answer := middleware.FinalizeMiddlewareFunc("RehearsalAnswer",
		func(ctx context.Context, in middleware.FinalizeInput, _ middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
			request := requestID()
			awsmiddleware.SetRequestIDMetadata(&meta, request)
			out.Result, err = a.answer(ctx, request, callerAccount(in.Request), middleware.GetStackValue(ctx, inputKey{}))
			return out, meta, err
		})
	// Nothing is sent, so the checksum that S3 gets behind a body is never computed.
	if _, ok := stack.Finalize.Get(checksumTrailer); ok {
		if _, err := stack.Finalize.Remove(checksumTrailer); err != nil {
			return err
		}
	}
	return stack.Finalize.Insert(answer, "Signing", middleware.After) // the signature says whose request it is
}

// checksumTrailer is the SDK's name for the middleware of trailing checksums.
const checksumTrailer = "addInputChecksumTrailer"

// answer does what AWS would do with the request.
func (a *Account) answer(ctx context.Context, request, caller string, in any) (out any, err error) {
	if err := ctx.Err(); err != nil {
		return nil, &smithy.CanceledError{Err: err}
	}
	service, name := serviceOf(ctx), awsmiddleware.GetOperationName(ctx)
	region := awsmiddleware.GetRegion(ctx)
	op, ok := a.ops[reflect.TypeOf(in)]
	if !ok {
		return nil, fmt.Errorf("the simulated account has no %s:%s: write it in internal/rehearsal", service, name)
	}
	a.clock.Begin()
	start, sideBySide := a.clock.Now(), false
	defer func() {
		if !sideBySide {
			a.clock.End(start, latency)
			return
		}
		a.clock.End(start, 0)
		_ = a.clock.Sleep(context.WithoutCancel(ctx), latency) // what was done is answered whoever waits no more
	}()
	werr := a.with(func(first *world) (changed bool) {
		for _, w := range first.worlds() {
			giveBack := w.borrow()
			changed = w.tick(start) || changed
			giveBack()
		}
		w := first.in(caller)
		if w == nil {
			err = apiError("InvalidClientTokenId", "The security token included in the request is invalid.")
			return changed
		}
		w = w.at(region)
		defer w.borrow()()
		c := &call{world: w, ctx: ctx, region: region, service: service, request: request}
		if first.Budgets.Enforced {
			// How many calls there can be a second is what is measured: they overlap
			// as they do at AWS, however few of them this machine can work on at once.
			changed, sideBySide = true, true
			asked := quota.Call{Service: awsmiddleware.GetServiceID(ctx), Operation: name, Narrowed: quota.Narrowed(in)}
			if w == first && !w.Budgets.draw(region, asked, start) {
				err = apiError(codesOf(service).throttled, "Rate exceeded")
				return changed
			}
		}
		if err = w.refuse(service, name); err != nil {
			if !op.read {
				w.Trail.record(c, name, in, err)
			}
			return changed || !op.read
		}
		var fault *Fault
		if fault = first.fault(service + ":" + name); fault != nil {
			changed = true
			switch fault.Kind {
			case "lost":
			case "stuck":
				c.stuck = true
			default:
				err = fault.error(service)
				return changed
			}
		}
		out, err = op.handle(c, in)
		if !op.read {
			w.Trail.record(c, name, in, err)
		}
		if err == nil && fault != nil && fault.Kind == "lost" {
			out, err = nil, errLost
		}
		return changed || !op.read
	})
	if werr != nil {
		return nil, werr
	}
	return out, err
}

// errLost looks to the SDK like a connection that broke: it tries again.
var errLost = lostError{}

type lostError struct{}

func (lostError) Error() string         { return "the connection broke before the answer came" }
func (lostError) ConnectionError() bool { return true }

// refuse is what AWS checks before it looks at the request.
func (w *world) refuse(service, name string) error {
	codes := codesOf(service)
	if w.Credentials == "expired" {
		return apiError(codes.expired, "The security token included in the request is expired")
	}
	if action := actionOf(service, name); w.denied(action) && service != "sts" {
		return apiError(codes.denied, fmt.Sprintf("User: %s is not authorized to perform: %s", w.Caller, action))
	}
	return nil
}

func (f *Fault) error(service string) error {
	switch f.Kind {
	case "throttle":
		return apiError(codesOf(service).throttled, "Rate exceeded")
	case "error":
		return apiError(f.Code, "injected by the rehearsal")
	default:
		panic("rehearsal: unknown fault " + f.Kind)
	}
}

// refusals are the error codes of what any operation can meet; each service has its own
// (the page "Common errors" of its API reference).
type refusals struct{ expired, denied, throttled string }

func codesOf(service string) refusals {
	switch service {
	case "ec2":
		return refusals{"RequestExpired", "UnauthorizedOperation", "RequestLimitExceeded"}
	case "s3":
		return refusals{"ExpiredToken", "AccessDenied", "SlowDown"}
	case "ebs":
		return refusals{"ExpiredTokenException", "AccessDeniedException", "RequestThrottledException"}
	case "kms", "ssm", "cloudtrail", "logs", "route53resolver", "route53profiles", "vpc-lattice":
		return refusals{"ExpiredTokenException", "AccessDeniedException", "ThrottlingException"}
	default: // those of the query protocol
		return refusals{"ExpiredToken", "AccessDenied", "Throttling"}
	}
}

// actionOf is the IAM action of an operation: its own name, but for some of S3's.
func actionOf(service, name string) string {
	if service == "s3" {
		name = s3Action(name)
	}
	return service + ":" + name
}

// apiError is how the SDK shows an error that has no type of its own.
func apiError(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message, Fault: smithy.FaultClient}
}

// serviceOf is the prefix of the service's IAM actions.
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
	default:
		return strings.ToLower(strings.ReplaceAll(id, " ", ""))
	}
}

// requestID looks like AWS's.
func requestID() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}
