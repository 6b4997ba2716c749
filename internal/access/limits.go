package access

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/cordon-ir/cordon/internal/incident"
)

// budget is a token bucket: how many calls at once, how many per second after that.
type budget struct {
	burst     int
	perSecond rate.Limit
}

// Budgets, per account and Region. Where AWS publishes a number it is that one; elsewhere
// it is what a few people with a console would use: the account's owner, and
// what runs in the account, need the API too.
var (
	// Amazon EC2 Developer Guide, "Request throttling for the Amazon EC2 API": per API
	// action; 100 and 20 for filtered reads, 50 and 5 for changes.
	ec2Read   = budget{100, 20}
	ec2Change = budget{50, 5}
	// Elastic Load Balancing User Guide, "Request throttling for the ELB API":
	// reads share 40 and 10. Changes are not published per action: half of it.
	elbRead   = budget{40, 10}
	elbChange = budget{20, 5}
	// Amazon EBS endpoints and quotas (AWS General Reference): GetSnapshotBlock
	// 1,000/s per account, ListSnapshotBlocks 50/s.
	ebsGet  = budget{1000, 1000}
	ebsList = budget{50, 50}
	// Amazon S3 User Guide, "Best practices design patterns": 3,500 changes and
	// 5,500 reads a second per prefix.
	s3Read   = budget{5500, 5500}
	s3Change = budget{3500, 3500}
	// Not published.
	otherRead   = budget{20, 10}
	otherChange = budget{10, 5}
)

// budgetOf returns the budget that a call draws on, and its name: calls of one name share it.
func budgetOf(service, operation string) (name string, b budget) {
	read := isRead(operation, nil)
	class := service + " changes"
	if read {
		class = service + " reads"
	}
	switch {
	case service == "ec2" && read:
		return service + ":" + operation, ec2Read
	case service == "ec2":
		return service + ":" + operation, ec2Change
	case service == "ebs" && strings.HasPrefix(operation, "List"):
		return service + ":" + operation, ebsList
	case service == "ebs":
		return service + ":" + operation, ebsGet
	case service == "elasticloadbalancing" && read:
		return class, elbRead
	case service == "elasticloadbalancing":
		return class, elbChange
	case service == "s3" && read:
		return class, s3Read
	case service == "s3":
		return class, s3Change
	case read:
		return class, otherRead
	default:
		return class, otherChange
	}
}

// limits keeps every API's rate, on the clock: waiting in a rehearsal takes no real time.
type limits struct {
	clock incident.Clock

	mu     sync.Mutex
	bucket map[bucketKey]*rate.Limiter
}

type bucketKey struct{ account, region, name string }

func newLimits(clock incident.Clock) *limits {
	return &limits{clock: clock, bucket: make(map[bucketKey]*rate.Limiter)}
}

// wait returns when the call may be made, or, where ctx ends while it waits,
// with its error, having taken nothing from the budget.
func (l *limits) wait(ctx context.Context, account, region, service, operation string) error {
	limiter := l.limiter(account, region, service, operation)
	now := l.clock.Now()
	r := limiter.ReserveN(now, 1)
	delay := r.DelayFrom(now)
	if delay <= 0 {
		return nil
	}
	if err := l.clock.Sleep(ctx, delay); err != nil {
		r.CancelAt(l.clock.Now())
		return err
	}
	return nil
}

func (l *limits) limiter(account, region, service, operation string) *rate.Limiter {
	name, b := budgetOf(service, operation)
	key := bucketKey{account, region, name}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket[key] == nil {
		l.bucket[key] = rate.NewLimiter(b.perSecond, b.burst)
	}
	return l.bucket[key]
}
