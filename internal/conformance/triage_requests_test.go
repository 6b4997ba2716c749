package conformance

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/incident"
	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/internal/triage/survey"
)

// The inventory and a triage need no case, and are in no journal.
func TestEveryRequestOfATriageIsWellFormed(t *testing.T) {
	account, err := simulated.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	var all ledger
	a := access.New(access.Options{
		Base:    func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
		Journal: &all, Case: "INC-1", Version: "test", Clock: account.Clock(), Verbose: true, Rehearsal: true,
	})
	here := incident.Target{Account: alert.Account, Region: alert.Region}
	cfg, err := a.Config(t.Context(), here)
	if err != nil {
		t.Fatal(err)
	}
	reader := survey.NewReader(cfg, here, triage.Usual)
	for i, err := range survey.Inventory(t.Context(), cfg, here, triage.Usual, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if r, err := reader.Triage(t.Context(), i.ID); err != nil || len(r.Unread) > 0 {
			t.Errorf("%s: %v, not read: %v", i.ID, err, r.Unread)
		}
	}
	n := checkJournal(t, all.lines.Bytes())
	n.covers(t, called(t, "internal/triage"))
	t.Logf("%s%s", n, n.list())
}
