package isolate

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// vpcAge is how old the reading of a VPC may be that a decision goes by.
const vpcAge = time.Minute

// vpcReads share the reading of a VPC among the instances that are isolated at
// once: a thousand of them would ask for the same routes and ACLs. The zero
// value is ready to use.
type vpcReads struct {
	mu   sync.Mutex
	last map[vpcKey]*vpcRead
}

type vpcKey struct{ account, region, vpc string }

type vpcRead struct {
	begun time.Time
	done  chan struct{}
	vpc   *reach.VPC // nil where it failed
}

// get returns a reading that was not begun before that moment: one under way, or a new one.
func (r *vpcReads) get(ctx context.Context, key vpcKey, clock incident.Clock, notBefore time.Time, read func(context.Context) (*reach.VPC, error)) (*reach.VPC, error) {
	for {
		mine, other := r.join(key, clock, notBefore)
		if other == nil {
			vpc, err := read(ctx)
			mine.vpc = vpc
			close(mine.done)
			return vpc, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-other.done:
		}
		if other.vpc != nil {
			return other.vpc, nil
		}
		r.forget(key, other) // whoever read it was cancelled, perhaps: read it oneself
	}
}

// join returns the reading to wait for, or the one that the caller has to make.
func (r *vpcReads) join(key vpcKey, clock incident.Clock, notBefore time.Time) (mine, other *vpcRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.last[key]; last != nil && !last.begun.Before(notBefore) {
		return nil, last
	}
	if r.last == nil {
		r.last = make(map[vpcKey]*vpcRead)
	}
	mine = &vpcRead{begun: clock.Now(), done: make(chan struct{})}
	r.last[key] = mine
	return mine, nil
}

func (r *vpcReads) forget(key vpcKey, failed *vpcRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last[key] == failed {
		delete(r.last, key)
	}
}

// networks are these VPCs, read since that moment.
func (a *network) networks(ctx context.Context, req incident.Request, w *wired, ids []string, notBefore time.Time) ([]*reach.VPC, error) {
	all := make([]*reach.VPC, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	for i, id := range ids {
		g.Go(func() (err error) {
			key := vpcKey{req.Target.Account, req.Target.Region, id}
			all[i], err = a.vpcs.get(ctx, key, req.Clock, notBefore, func(ctx context.Context) (*reach.VPC, error) { return reach.ReadVPC(ctx, w.ec2, id) })
			return err
		})
	}
	return all, g.Wait()
}

func (w *wired) vpcIDs() []string {
	var ids []string
	seen := make(map[string]bool)
	for _, n := range w.interfaces {
		if id := aws.ToString(n.VpcId); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}
