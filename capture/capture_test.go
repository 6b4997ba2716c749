package capture_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
)

// bench runs steps against the scenario as the engine does: what a try
// recorded is there for the next one.
type bench struct {
	t       *testing.T
	account *rehearsal.Account
	config  func(aws.Config) aws.Config // changes every configuration
	store   evidence.Store
	target  incident.Target

	mu      sync.Mutex
	entries map[string]map[incident.EntryType][]json.RawMessage // by step
	custody *evidence.Custody
	seq     uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	account, err := rehearsal.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	b := &bench{
		t: t, account: account, config: func(c aws.Config) aws.Config { return c },
		target:  incident.Target{Account: alert.Account, Region: alert.Region, Instance: alert.Instance},
		entries: make(map[string]map[incident.EntryType][]json.RawMessage), custody: evidence.NewCustody(),
	}
	b.store = vault.NewS3(atOnce(account.Config(alert.Region)), vault.S3Options{Bucket: alert.Bucket, Mode: "GOVERNANCE", Days: 30}, account.Clock())
	return b
}

func (b *bench) ec2() *ec2.Client { return ec2.NewFromConfig(b.account.Config(b.target.Region)) }

func (b *bench) action(name string) incident.Action {
	b.t.Helper()
	actions := capture.Actions(
		func(_ context.Context, t incident.Target) (aws.Config, error) {
			return b.config(atOnce(b.account.ConfigIn(t.Account, t.Region))), nil
		},
		func(context.Context, incident.Target) (evidence.Store, error) { return b.store, nil },
	)
	i := slices.IndexFunc(actions, func(a incident.Action) bool { return a.Spec().Name == name })
	if i < 0 {
		b.t.Fatalf("no action %s", name)
	}
	return actions[i]
}

// request of a step named like its action.
func (b *bench) request(name string, resumed bool, with map[string]any) incident.Request {
	inputs := make(map[string]any)
	for _, f := range b.action(name).Spec().Inputs {
		if f.Default != nil {
			inputs[f.Name] = f.Default
		}
	}
	maps.Copy(inputs, with)
	seen := maps.Clone(b.entries[name])
	return incident.Request{
		Case: incident.Case{ID: "INC-1", Rehearsal: true}, Run: "run-1", Step: name, Target: b.target, Inputs: inputs,
		Token: "0123456789abcdef0123456789abcdef", Resumed: resumed, Clock: b.account.Clock(), Progress: func(incident.Progress) {},
		Turn:   func(_ context.Context, _ string, do func() error) error { return do() },
		Record: func(_ context.Context, kind incident.EntryType, data any) error { return b.record(name, kind, data) },
		Recorded: func(kind incident.EntryType) []json.RawMessage {
			return seen[kind]
		},
	}
}

func (b *bench) record(step string, kind incident.EntryType, data any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if b.entries[step] == nil {
		b.entries[step] = make(map[incident.EntryType][]json.RawMessage)
	}
	b.entries[step][kind] = append(b.entries[step][kind], raw)
	b.seq++
	return b.custody.Add(incident.Entry{Seq: b.seq, Time: b.account.Clock().Now(), Type: kind, Data: raw})
}

func (b *bench) plan(name string, with map[string]any) (incident.Proposal, error) {
	return b.action(name).Plan(b.t.Context(), b.request(name, false, with))
}

// run plans, applies and verifies, and fails the test where any of them fails.
func (b *bench) run(name string, resumed bool, with map[string]any) (incident.Result, incident.Verification) {
	b.t.Helper()
	p, err := b.plan(name, with)
	if err != nil {
		b.t.Fatalf("%s: plan: %v", name, err)
	}
	req := b.request(name, resumed, with)
	r, err := b.action(name).Apply(b.t.Context(), req, p)
	if err != nil {
		b.t.Fatalf("%s: apply: %v", name, err)
	}
	v, err := b.action(name).Verify(b.t.Context(), req, p, r)
	if err != nil {
		b.t.Fatalf("%s: verify: %v", name, err)
	}
	return r, v
}

// fails applies and returns the error that it must end in.
func (b *bench) fails(name string, resumed bool, with map[string]any) error {
	b.t.Helper()
	p, err := b.plan(name, with)
	if err != nil {
		b.t.Fatalf("%s: plan: %v", name, err)
	}
	if _, err = b.action(name).Apply(b.t.Context(), b.request(name, resumed, with), p); err == nil {
		b.t.Fatalf("%s: applied, where it should have failed", name)
	}
	return err
}

// inject must be met: the test proves it by what it then sees.
func (b *bench) inject(f rehearsal.Fault) {
	b.t.Helper()
	if err := b.account.Inject(f); err != nil {
		b.t.Fatal(err)
	}
}

// answering changes what the operation answers.
func answering(cfg aws.Config, operation string, change func(out any)) aws.Config {
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		if stack.ID() != operation {
			return nil
		}
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Answers",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				if err == nil {
					change(out.Result)
				}
				return out, meta, err
			}), middleware.Before)
	})
	return cfg
}

func (b *bench) item(id string) evidence.Item {
	b.t.Helper()
	it, ok := b.custody.Item(id)
	if !ok {
		b.t.Fatalf("the journal holds no item %s", id)
	}
	return it
}

// bytes of an item, as its record says they are found.
func (b *bench) bytes(it evidence.Item) []byte {
	b.t.Helper()
	r, err := b.store.Get(b.t.Context(), it.Key, it.Version)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// unlocked is a bucket without Object Lock.
func (b *bench) unlocked() evidence.Store {
	b.t.Helper()
	cfg := b.account.Config(b.target.Region)
	_, err := s3.NewFromConfig(cfg).CreateBucket(b.t.Context(), &s3.CreateBucketInput{
		Bucket:                    aws.String("plain"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(b.target.Region)},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return vault.NewS3(cfg, vault.S3Options{Bucket: "plain", Mode: "GOVERNANCE", Days: 30}, b.account.Clock())
}

func TestAnUnlockedBucketIsRefusedUnlessAllowed(t *testing.T) {
	b := newBench(t)
	r, _ := b.run("capture.snapshots", false, nil)
	b.store = b.unlocked()
	for name, with := range map[string]map[string]any{
		"capture.metadata": {},
		"capture.export":   {"snapshots": r.Outputs["snapshots"]},
	} {
		var hint *incident.HintError
		if _, err := b.plan(name, with); !errors.Is(err, evidence.ErrNotLocked) || !errors.As(err, &hint) {
			t.Errorf("%s: got %v", name, err)
		}
		with["allow_unlocked"] = true
		p, err := b.plan(name, with)
		if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "allow_unlocked") {
			t.Errorf("%s, allowed: notes %q, %v", name, p.Notes, err)
		}
	}
	b.run("capture.metadata", false, map[string]any{"allow_unlocked": true})
	if it := b.custody.Items[len(b.custody.Items)-1]; it.Mode != evidence.ModeNone {
		t.Errorf("got %+v", it)
	}
}

func TestSpecsAreComplete(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"capture.metadata", "capture.snapshots", "capture.copy-snapshots", "capture.image", "capture.store-image", "capture.export", "capture.live", "capture.memory"} {
		s := b.action(name).Spec()
		if s.Summary == "" || len(s.Permissions) == 0 || !strings.Contains(s.Example, "action: "+name) || s.Timeout == 0 || len(s.Outputs) == 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(s.Permissions)))) != len(s.Permissions) {
			t.Errorf("%s: a permission is listed twice", name)
		}
	}
}

// atOnce retries without waiting: the SDK's delays are real time.
func atOnce(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return cfg
}
