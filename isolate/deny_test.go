package isolate

import (
	"context"
	"net/url"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
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
