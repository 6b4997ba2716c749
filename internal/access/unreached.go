package access

import (
	"context"
	"errors"
	"net/http"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Watch has f told of calls that AWS does not answer, at each attempt, and once
// more when such a call is over. Several calls tell at once. What it is told is for the eye: how a call
// ended is in the journal.
func (a *Access) Watch(f func(incident.Progress)) {
	a.watching.Lock()
	defer a.watching.Unlock()
	a.watch = f
}

func (a *Access) tell(p incident.Progress) {
	a.watching.Lock()
	watch := a.watch
	a.watching.Unlock()
	if watch != nil {
		watch(p)
	}
}

// attempted tells of an attempt that AWS did not answer, and of the first answer after one.
func (a *Access) attempted(ctx context.Context, call *attempts, sent time.Time, err error) {
	if call.caller.Err() != nil || !isUnreached(err) {
		a.reached(call)
		return
	}
	ref := incident.StepFrom(ctx)
	u := incident.Unreached{Since: sent, Attempts: 1, Error: safeMessage(err)}
	if call.unreached != nil {
		u.Since, u.Attempts = call.unreached.Unreached.Since, call.unreached.Unreached.Attempts+1
	}
	call.unreached = &incident.Progress{
		Run: ref.Run, Step: ref.Step, Target: ref.Target, Unreached: &u,
		What: serviceOf(ctx) + ":" + awsmiddleware.GetOperationName(ctx) + " in " + awsmiddleware.GetRegion(ctx),
	}
	a.tell(*call.unreached)
}

// reached tells that a call of which attempts were without an answer has one now, or is given up.
func (a *Access) reached(call *attempts) {
	if call.unreached == nil {
		return
	}
	over, u := *call.unreached, *call.unreached.Unreached
	u.Over, over.Unreached, call.unreached = true, &u, nil
	a.tell(over)
}

// isUnreached: nothing came back, or an error of the service's own (HTTP 5xx), for which AWS's
// word is to try again (EC2 API reference, "Error codes", server error codes). Throttling is
// neither: EC2 throttles with 503.
func isUnreached(err error) bool {
	if err == nil || isThrottle(err) {
		return false
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() > 0 {
		return response.HTTPStatusCode() >= http.StatusInternalServerError
	}
	var send *smithyhttp.RequestSendError
	return errors.As(err, &send)
}
