package access

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/quota"
)

// queue is AWS behind a limit: calls wait until it opens.
type queue struct {
	t    *testing.T
	s    *shares
	open chan struct{}

	mu    sync.Mutex
	sent  []*ec2.DescribeInstancesInput
	fails func(ids []string) error
}

func newQueue(t *testing.T) *queue {
	return &queue{t: t, s: newShares(), open: make(chan struct{}), fails: func([]string) error { return nil }}
}

// send answers with an instance for each ID.
func (q *queue) send(input any) (out middleware.InitializeOutput, meta middleware.Metadata, err error) {
	in := input.(*ec2.DescribeInstancesInput)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = append(q.sent, in)
	if err := q.fails(in.InstanceIds); err != nil {
		return out, meta, err
	}
	answer := &ec2.DescribeInstancesOutput{}
	for _, id := range in.InstanceIds {
		answer.Reservations = append(answer.Reservations, types.Reservation{Instances: []types.Instance{{InstanceId: aws.String(id)}}})
	}
	out.Result = answer
	return out, meta, nil
}

// ask reads about instances and gives the IDs in the answer.
func (q *queue) ask(ctx context.Context, ids ...string) ([]string, error) {
	wait := func() error {
		select {
		case <-q.open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	call := turnOf{"1", "r", quota.Call{Service: "EC2", Operation: "DescribeInstances"}}
	out, _, err := q.s.read(ctx, call, &ec2.DescribeInstancesInput{InstanceIds: ids}, wait, q.send)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, r := range out.Result.(*ec2.DescribeInstancesOutput).Reservations {
		for i := range r.Instances {
			found = append(found, *r.Instances[i].InstanceId)
			*r.Instances[i].InstanceId = "changed by its reader"
		}
	}
	return found, nil
}

// asking waits until so many IDs are in the call that waits.
func (q *queue) asking(n int) {
	q.t.Helper()
	for {
		q.s.mu.Lock()
		for _, c := range q.s.waiting {
			if len(c.ids) == n {
				q.s.mu.Unlock()
				return
			}
		}
		q.s.mu.Unlock()
		runtime.Gosched()
	}
}

func TestReadsThatWaitAreOneCallAndEachGetsItsOwnAnswer(t *testing.T) {
	q := newQueue(t)
	var all sync.WaitGroup
	for _, ids := range [][]string{{"i-1", "i-all"}, {"i-2", "i-all"}, {"i-3", "i-all"}, {"i-4"}} {
		all.Go(func() {
			got, err := q.ask(t.Context(), ids...)
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(ids)); err != nil || !slices.Equal(got, want) {
				t.Errorf("asked for %v, got %v, %v", ids, got, err)
			}
		})
	}
	q.asking(5)
	close(q.open)
	all.Wait()
	if len(q.sent) != 1 {
		t.Errorf("%d calls", len(q.sent))
	}
	if _, err := q.ask(t.Context(), "i-1"); err != nil || len(q.s.waiting) > 0 {
		t.Errorf("%v, %d wait", err, len(q.s.waiting))
	}
}

func TestOneBadIDFailsOnlyWhoAskedForIt(t *testing.T) {
	q := newQueue(t)
	gone := errors.New("InvalidInstanceID.NotFound")
	q.fails = func(ids []string) error {
		if slices.Contains(ids, "i-gone") {
			return gone
		}
		return nil
	}
	var all sync.WaitGroup
	for _, id := range []string{"i-1", "i-gone", "i-2"} {
		all.Go(func() {
			if got, err := q.ask(t.Context(), id); (id == "i-gone") != errors.Is(err, gone) || err == nil && !slices.Equal(got, []string{id}) {
				t.Errorf("%s: got %v, %v", id, got, err)
			}
		})
	}
	q.asking(3)
	close(q.open)
	all.Wait()
}

func TestWhoGivesUpLeavesTheOthersTheirAnswer(t *testing.T) {
	q := newQueue(t)
	ctx, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(gaveUp)
		if _, err := q.ask(ctx, "i-1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	q.asking(1)
	all.Go(func() {
		if got, err := q.ask(t.Context(), "i-2"); err != nil || !slices.Equal(got, []string{"i-2"}) {
			t.Errorf("got %v, %v", got, err)
		}
	})
	q.asking(2)
	giveUp()
	<-gaveUp // else its turn may come first
	close(q.open)
	all.Wait()
}

func TestOnlyReadsAboutNamedInstancesAreBatched(t *testing.T) {
	for _, tc := range []struct {
		in   any
		want bool
	}{
		{&ec2.DescribeInstancesInput{InstanceIds: []string{"i-1"}}, true},
		{&ec2.DescribeInstancesInput{}, false},
		{&ec2.DescribeInstancesInput{InstanceIds: []string{"i-1"}, Filters: []types.Filter{{}}}, false},
		{&ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{"i-1"}}}}, true},
		{&ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{"sg-1"}}}}, false},
	} {
		if _, ok := batch(tc.in); ok != tc.want {
			t.Errorf("%+v: %t", tc.in, ok)
		}
	}
}
