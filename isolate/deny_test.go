package isolate

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/incident"
)

// The first read after a change still shows the document from before.
func TestAReadThatIsLateDropsNobody(t *testing.T) {
	s := newSite(t, 1)
	var shown []string // documents, the latest last
	late := 0
	cfg := canned(func(in any) any {
		switch in := in.(type) {
		case *iam.GetRolePolicyInput:
			i := len(shown) - 1
			if late > 0 && i > 0 {
				late--
				i--
			}
			if i < 0 {
				return &iam.GetRolePolicyOutput{PolicyDocument: new(url.PathEscape(revocation{}.with("i-0").document(roleLimit)))}
			}
			return &iam.GetRolePolicyOutput{PolicyDocument: new(url.PathEscape(shown[i]))}
		case *iam.PutRolePolicyInput:
			shown, late = append(shown, *in.PolicyDocument), 3
			return &iam.PutRolePolicyOutput{}
		}
		return nil
	})
	var l ledger
	p := principal{iam: iam.NewFromConfig(cfg), account: "1", name: "web"}
	for _, id := range []string{"i-1", "i-2", "i-3"} {
		if err := l.revise(context.Background(), s.acct.Clock(), p, "deny", roleLimit, func(now revocation) revocation { return now.with(id) }); err != nil {
			t.Fatal(err)
		}
	}
	got := must[revocation](t)(parseRevocation(&shown[len(shown)-1]))
	if want := []string{"i-0", "i-1", "i-2", "i-3"}; !slices.Equal(got.Instances, want) {
		t.Errorf("denied are %v, want %v", got.Instances, want)
	}
}

// What several steps want of a policy is put in one call, and each of them is in it.
func TestStepsThatWaitForAPolicyArePutIntoItTogether(t *testing.T) {
	s := newSite(t, 1)
	var mu sync.Mutex
	var now *string
	puts := 0
	cfg := canned(func(in any) any {
		mu.Lock()
		defer mu.Unlock()
		switch in := in.(type) {
		case *iam.GetRolePolicyInput:
			shown := revocation{}.with("i-0").document(roleLimit)
			if now != nil {
				shown = *now
			}
			return &iam.GetRolePolicyOutput{PolicyDocument: new(url.PathEscape(shown))}
		case *iam.PutRolePolicyInput:
			now = in.PolicyDocument
			puts++
			return &iam.PutRolePolicyOutput{}
		}
		return nil
	})
	const steps = 20
	var (
		l       ledger
		waiting sync.WaitGroup
		turn    sync.Mutex
	)
	waiting.Add(steps)
	req := incident.Request{Clock: s.acct.Clock(), Turn: func(_ context.Context, _ string, do func() error) error {
		waiting.Done()
		waiting.Wait()
		turn.Lock()
		defer turn.Unlock()
		return do()
	}}
	p := principal{iam: iam.NewFromConfig(cfg), account: "1", name: "web"}
	var all sync.WaitGroup
	for i := range steps {
		all.Go(func() {
			err := l.extend(context.Background(), req, p, "deny", roleLimit, func(now revocation) revocation { return now.with(fmt.Sprint("i-", i)) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := must[revocation](t)(parseRevocation(now)); len(got.Instances) != steps || puts != 1 {
		t.Errorf("%d instances are denied after %d calls, want %d after one", len(got.Instances), puts, steps)
	}
}
