package conformance

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
)

// Systems Manager ends a command itself that the agent does not take or end. Only where it
// does not is one cancelled, which no rehearsal brings about.
func TestTheRequestThatCancelsACommandIsWellFormed(t *testing.T) {
	account, err := simulated.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	var all ledger
	a := access.New(access.Options{
		Base: func(_ context.Context, region string) (aws.Config, error) {
			return neverEnding(account.Config(region)), nil
		},
		Journal: &all, Case: "INC-1", Version: "test", Clock: account.Clock(), Verbose: true, Rehearsal: true,
	})
	kept := vault.NewDirectory(t.TempDir())
	actions := capture.Actions(a.Config, func(context.Context, incident.Target) (evidence.Store, error) { return kept, nil })
	live := actions[slices.IndexFunc(actions, func(a incident.Action) bool { return a.Spec().Name == "capture.live" })]
	req := incident.Request{
		Case: incident.Case{ID: "INC-1", Rehearsal: true}, Run: "run-1", Step: "live", Token: "0123456789abcdef0123456789abcdef",
		Target: incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance},
		Inputs: map[string]any{"limit_minutes": 5, "allow_unlocked": true},
		Clock:  account.Clock(), Progress: func(incident.Progress) {},
		Record:   func(context.Context, incident.EntryType, any) error { return nil },
		Recorded: func(incident.EntryType) []json.RawMessage { return nil },
	}
	p, err := live.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.Apply(t.Context(), req, p); err != nil {
		t.Fatal(err)
	}
	if n := checkJournal(t, all.lines.Bytes()); n.operations["ssm:CancelCommand"] == 0 {
		t.Errorf("nothing was cancelled:%s", n.list())
	}
}

// neverEnding lets every command be in progress for ever.
func neverEnding(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("NeverEnding",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				if got, ok := out.Result.(*ssm.GetCommandInvocationOutput); ok && err == nil {
					got.Status = ssmtypes.CommandInvocationStatusInProgress
				}
				return out, meta, err
			}), middleware.Before)
	})
	return cfg
}
