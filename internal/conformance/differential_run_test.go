package conformance

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	simaccount "github.com/cordon-ir/cordon/internal/rehearsal"
)

// lanes are the same world twice: the web tier.
func lanes(t *testing.T) (overWire, simulated *lane) {
	cfg := motoConfig(t, startMoto(t))
	w := buildWebTier(t, cfg)
	asInTheScenario(t, cfg, w)
	overWire = newLane(t, "moto", func(region string) aws.Config {
		cfg := cfg.Copy()
		cfg.Region = region
		return cfg
	}, func(time.Duration) {})
	overWire.world(w.Suspect)

	account, err := simaccount.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	simulated = newLane(t, "simulated", account.Config, func(d time.Duration) {
		if err := account.Clock().Sleep(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	})
	simulated.world(account.Alert().Instance)
	return overWire, simulated
}

// asInTheScenario gives moto's web tier the settings of the scenario that the builder leaves alone.
func asInTheScenario(t *testing.T, cfg aws.Config, w webTier) {
	ctx, balancers, classic := t.Context(), elasticloadbalancingv2.NewFromConfig(cfg), elasticloadbalancing.NewFromConfig(cfg)
	var problems []error
	for _, group := range []string{w.WebTarget, w.AdminTarget} {
		_, err := balancers.ModifyTargetGroup(ctx, &elasticloadbalancingv2.ModifyTargetGroupInput{
			TargetGroupArn: &group, HealthCheckIntervalSeconds: aws.Int32(10), HealthCheckTimeoutSeconds: aws.Int32(5),
			HealthyThresholdCount: aws.Int32(2), UnhealthyThresholdCount: aws.Int32(3),
		})
		problems = append(problems, err)
		_, err = balancers.ModifyTargetGroupAttributes(ctx, &elasticloadbalancingv2.ModifyTargetGroupAttributesInput{
			TargetGroupArn: &group, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("30")}},
		})
		problems = append(problems, err)
	}
	_, err := classic.ConfigureHealthCheck(ctx, &elasticloadbalancing.ConfigureHealthCheckInput{
		LoadBalancerName: &w.Classic, HealthCheck: &classictypes.HealthCheck{
			Target: aws.String("HTTP:80/"), Interval: aws.Int32(10), Timeout: aws.Int32(5), HealthyThreshold: aws.Int32(2), UnhealthyThreshold: aws.Int32(3),
		},
	})
	problems = append(problems, err)
	_, err = classic.ModifyLoadBalancerAttributes(ctx, &elasticloadbalancing.ModifyLoadBalancerAttributesInput{
		LoadBalancerName: &w.Classic, LoadBalancerAttributes: &classictypes.LoadBalancerAttributes{
			ConnectionDraining: &classictypes.ConnectionDraining{Enabled: true, Timeout: aws.Int32(30)}, CrossZoneLoadBalancing: &classictypes.CrossZoneLoadBalancing{Enabled: true},
		},
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		t.Fatal(err)
	}
}

// world names what every case can refer to.
func (l *lane) world(suspect string) {
	l.call("suspect", &suspect)
	out, err := l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{suspect}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.call("image", out.Reservations[0].Instances[0].ImageId)
}

// named is the ID of what call has named.
func (l *lane) named(name string) string {
	for id, n := range l.names {
		if n == "{"+name+"}" {
			return id
		}
	}
	l.t.Fatalf("%s: nothing is called %s", l.name, name)
	return ""
}

func (l *lane) image() string   { return l.named("image") }
func (l *lane) suspect() string { return l.named("suspect") }

// TestTheSimulatedAccountAnswersAsOthersDo gives moto and the simulated account the same
// calls. Every difference is in the table, with the page that says who is
// right; a row that describes no difference any more fails too.
func TestTheSimulatedAccountAnswersAsOthersDo(t *testing.T) {
	overWire, simulated := lanes(t)
	var found []difference
	operations := make(map[string]bool)
	calls := 0
	for _, s := range slices.Concat(ec2Scenarios(), storageScenarios(), scalingScenarios(), serviceScenarios(), s3Scenarios()) {
		t.Run(s.name, func(t *testing.T) {
			a, b := overWire.run(t, s), simulated.run(t, s)
			for _, o := range b {
				operations[o.operation] = true
			}
			calls += len(b)
			found = append(found, compare(s.name, a, b)...)
		})
	}
	problems, by := unexplainedDifferences(found, slices.Concat(refusals, shown))
	for _, p := range problems {
		t.Error(p)
	}
	t.Logf("%d calls of %d operations compared; %d differences, %d of them in the table (%v) by %d rows; %d mended in the simulated account",
		calls, len(operations), len(found)+len(mended), by[motoDiffers]+by[leftOut]+by[bothMay], by, len(refusals)+len(shown), len(mended))
}
