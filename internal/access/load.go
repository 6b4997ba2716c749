package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/cordon-ir/cordon/internal/incident"
)

// sessionName is what CloudTrail shows of a session of an assumed role.
const sessionName = "cordon"

// LoadOptions are those of the AWS CLI; what is empty comes from its files and environment.
type LoadOptions struct {
	Profile     string
	Region      string
	RoleARN     string
	MFASerial   string
	EndpointURL string
	// MFAToken asks for a code. It is asked once per session, for all Regions
	// together. Where it is nil, a code that is needed is an error.
	MFAToken func() (string, error)
	// Clock by which a connection is given up on which nothing moves. Nil: never.
	Clock incident.Clock
}

// ErrNoRegion: neither whoever asks nor the AWS configuration names a Region.
var ErrNoRegion = errors.New("no AWS Region is set")

// Load returns a loader of the ordinary AWS configuration: profiles, SSO, the
// environment, AWS_ENDPOINT_URL, a role with or without MFA. Files are read and credentials are made once, at
// the first call; Regions share them.
func Load(o LoadOptions) func(ctx context.Context, region string) (aws.Config, error) {
	var mu sync.Mutex
	var loaded *aws.Config
	return func(ctx context.Context, region string) (aws.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		if loaded == nil {
			cfg, err := load(ctx, o)
			if err != nil {
				return aws.Config{}, Explain(err)
			}
			loaded = &cfg
		}
		cfg := loaded.Copy()
		if region != "" {
			cfg.Region = region
		}
		if cfg.Region == "" {
			return aws.Config{}, incident.WithHint(ErrNoRegion, "name the Region with --region, in AWS_REGION, or in the profile")
		}
		return cfg, nil
	}
}

func load(ctx context.Context, o LoadOptions) (aws.Config, error) {
	token := o.MFAToken
	if token == nil {
		token = func() (string, error) {
			return "", incident.WithHint(errors.New("the role needs an MFA code, and there is no terminal to ask for it"),
				"put a session's credentials into the environment first: aws sts get-session-token")
		}
	}
	opts := []func(*config.LoadOptions) error{
		config.WithAssumeRoleCredentialOptions(func(a *stscreds.AssumeRoleOptions) { a.TokenProvider = token }),
	}
	if o.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	if o.Clock != nil {
		opts = append(opts, config.WithHTTPClient(httpClient(o.Clock, silence)))
	}
	if o.EndpointURL != "" {
		opts = append(opts, config.WithBaseEndpoint(o.EndpointURL))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil || o.RoleARN == "" {
		return cfg, err
	}
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN, func(a *stscreds.AssumeRoleOptions) {
		a.RoleSessionName = sessionName
		// The longest that a role assumed from a role may last, and that every role allows
		// (IAM User Guide, "Update the maximum session duration for a role").
		a.Duration = time.Hour
		if o.MFASerial != "" {
			a.SerialNumber, a.TokenProvider = &o.MFASerial, token
		}
	})
	cfg.Credentials = aws.NewCredentialsCache(provider)
	return cfg, nil
}
