package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Options of an Access.
type Options struct {
	// Base gives the configuration of a Region (empty: the configured one): what Load
	// returns, or the simulated account's.
	Base func(ctx context.Context, region string) (aws.Config, error)
	// Roles are the ARNs of the roles to assume, by account; an account
	// without one is worked in with Base's own credentials.
	Roles map[string]string
	// Journal takes an entry before each call that changes something. Where it
	// is nil, such calls are refused.
	Journal   incident.Appender
	Case      string // named in the user agent, and so in CloudTrail
	Version   string // of cordon
	Clock     incident.Clock
	Verbose   bool // journal reads as well
	Rehearsal bool // Base is a simulated account: a role is assumed once
}

// Access makes configurations. It is safe for concurrent use.
type Access struct {
	opts   Options
	limits *limits
	shares *shares

	making  sync.Mutex // held while a configuration is made
	configs map[place]aws.Config
	callers map[string]bool // accounts whose credentials were checked

	watching sync.Mutex
	watch    func(incident.Progress)

	counting sync.Mutex
	reads    map[incident.StepRef]map[string]int
}

// place is what a configuration is for.
type place struct{ account, region string }

// New returns an Access; nothing is read or called yet.
func New(o Options) *Access {
	return &Access{
		opts: o, limits: newLimits(o.Clock), shares: newShares(),
		configs: make(map[place]aws.Config), callers: make(map[string]bool),
		reads: make(map[incident.StepRef]map[string]int),
	}
}

// Config returns the configuration to work on t with, the same one each time. It fails, with a hint, where
// there are no credentials, and where they are another account's than t's: roles and buckets are
// called by name, and the same name may mean another account's.
func (a *Access) Config(ctx context.Context, t incident.Target) (aws.Config, error) {
	a.making.Lock()
	defer a.making.Unlock()
	key := place{t.Account, t.Region}
	if cfg, ok := a.configs[key]; ok {
		return cfg, nil
	}
	cfg, err := a.config(ctx, t.Account, t.Region)
	if err != nil {
		return aws.Config{}, err
	}
	if t.Account != "" && !a.callers[t.Account] {
		account, arn, err := identity(ctx, cfg)
		if err != nil {
			return aws.Config{}, err
		}
		if account != t.Account {
			return aws.Config{}, incident.WithHint(
				&incident.RefusedError{Reason: fmt.Sprintf("the target is in account %s, but the credentials are %s", t.Account, arn)},
				"choose the account's --profile or --role-arn, or name its role under accounts in the configuration file")
		}
		a.callers[t.Account] = true
	}
	a.configs[key] = cfg
	return cfg, nil
}

// config makes one configuration: the base's, with the account's role, and with
// the recorder around every call and the pacing around every attempt.
func (a *Access) config(ctx context.Context, account, region string) (aws.Config, error) {
	base, err := a.opts.Base(ctx, region)
	if err != nil {
		return aws.Config{}, Explain(err)
	}
	cfg := base.Copy()
	if role := a.opts.Roles[account]; role != "" {
		if cfg.Credentials, err = a.assume(ctx, base, role); err != nil {
			return aws.Config{}, err
		}
	}
	backoff := retry.NewStandard(standard)
	cfg.Retryer = func() aws.Retryer { return immediate{backoff} }
	rec := &recorder{access: a, account: account}
	pace := &pacer{access: a, limits: a.limits, clock: a.opts.Clock, backoff: backoff}
	cfg.APIOptions = append(cfg.APIOptions,
		awsmiddleware.AddUserAgentKeyValue("cordon", a.opts.Version),
		PlainBodies,
		func(s *middleware.Stack) error {
			// The SDK presigns some requests (CopySnapshot) to put the URL into the one that it sends: only that is a call.
			if _, presigned := s.Initialize.Get("AsIsPresigningMiddleware"); presigned {
				return nil
			}
			return errors.Join(s.Initialize.Add(rec, middleware.After), s.Finalize.Insert(pace, "Retry", middleware.After))
		},
	)
	if a.opts.Case != "" {
		cfg.APIOptions = append(cfg.APIOptions, awsmiddleware.AddUserAgentKeyValue("case", a.opts.Case))
	}
	return cfg, nil
}

// assume gives the credentials of a role. In a rehearsal they are those of now: they end by
// the simulated clock, and the cache would renew them by the real one.
func (a *Access) assume(ctx context.Context, base aws.Config, role string) (aws.CredentialsProvider, error) {
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(base), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = sessionName
	})
	if !a.opts.Rehearsal {
		return aws.NewCredentialsCache(provider), nil
	}
	now, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, Explain(err)
	}
	return credentials.StaticCredentialsProvider{Value: now}, nil
}

// Identity asks AWS whose credentials these are. It needs no permission.
func (a *Access) Identity(ctx context.Context, region string) (account, arn string, err error) {
	cfg, err := a.config(ctx, "", region)
	if err != nil {
		return "", "", err
	}
	return identity(ctx, cfg)
}

func identity(ctx context.Context, cfg aws.Config) (account, arn string, err error) {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", Explain(err)
	}
	if out.Account == nil {
		return "", "", errors.New("sts:GetCallerIdentity: the answer names no account")
	}
	return *out.Account, aws.ToString(out.Arn), nil
}

// Reads returns how often the step has called each reading operation
// ("ec2:DescribeInstances"), and forgets it. Target is as in incident.StepRef;
// calls made outside a step are those of three empty strings.
func (a *Access) Reads(run, step, target string) map[string]int {
	a.counting.Lock()
	defer a.counting.Unlock()
	ref := incident.StepRef{Run: run, Step: step, Target: target}
	counts := maps.Clone(a.reads[ref])
	delete(a.reads, ref)
	return counts
}

func (a *Access) countRead(ref incident.StepRef, operation string) {
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.reads[ref] == nil {
		a.reads[ref] = make(map[string]int)
	}
	a.reads[ref][operation]++
}
