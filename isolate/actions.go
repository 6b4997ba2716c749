package isolate

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cordon-ir/cordon/internal/incident"
)

// configs gives the AWS configuration of a target's account and Region.
type configs func(ctx context.Context, t incident.Target) (aws.Config, error)

// Actions are the actions of this package. The function given is called for every
// Plan, Apply, Verify and Revert.
func Actions(configs func(ctx context.Context, t incident.Target) (aws.Config, error)) []incident.Action {
	return []incident.Action{
		&protect{configs},
		&autoscalingGroup{configs: configs},
		&loadBalancers{configs},
		&credentials{configs: configs},
		&accessKey{configs: configs},
		&network{configs: configs},
		&observation{configs},
	}
}

var (
	_ incident.Reverter = (*protect)(nil)
	_ incident.Reverter = (*autoscalingGroup)(nil)
	_ incident.Reverter = (*loadBalancers)(nil)
	_ incident.Reverter = (*credentials)(nil)
	_ incident.Reverter = (*accessKey)(nil)
	_ incident.Reverter = (*network)(nil)
	_ incident.Action   = (*observation)(nil)
)

func (c configs) open(ctx context.Context, t incident.Target) (aws.Config, error) {
	cfg, err := c(ctx, t)
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration for %s: %w", t, err)
	}
	return cfg, nil
}
