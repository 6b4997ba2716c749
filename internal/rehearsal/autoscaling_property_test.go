package rehearsal

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"pgregory.net/rapid"
)

// Whatever is done to a group, and whatever of it AWS refuses: the capacity stays
// within its bounds, an instance is in the group once, and left alone the
// group ends whole.
func TestAGroupLeftAloneEndsWhole(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newShop(t)
		ids := []string{s.suspect}
		for _, i := range s.group().Instances {
			if *i.InstanceId != s.suspect {
				ids = append(ids, *i.InstanceId)
			}
		}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			s.disturb(r, rapid.SampledFrom(ids).Draw(r, "instance"))
			s.wait(time.Duration(rapid.IntRange(1, 200).Draw(r, "seconds")) * time.Second)
			s.sound(r)
		}
		s.wait(30 * time.Minute)
		s.sound(r)
		if o := s.Overview(); !o.Whole() {
			r.Fatalf("left alone and not whole:\n%s", o)
		}
	})
}

// disturb does one thing to one instance; that AWS may refuse it is part of the game.
func (s *shop) disturb(r *rapid.T, id string) {
	web, ids, flip := aws.String("web"), []string{id}, aws.Bool(rapid.Bool().Draw(r, "flag"))
	switch what := rapid.SampledFrom([]string{"detach", "attach", "standby", "exit", "protect", "unhealthy", "stop", "resize"}).Draw(r, "what"); what {
	case "detach":
		_, _ = s.scaling.DetachInstances(s.ctx, &autoscaling.DetachInstancesInput{AutoScalingGroupName: web, InstanceIds: ids, ShouldDecrementDesiredCapacity: flip})
	case "attach":
		_, _ = s.scaling.AttachInstances(s.ctx, &autoscaling.AttachInstancesInput{AutoScalingGroupName: web, InstanceIds: ids})
	case "standby":
		_, _ = s.scaling.EnterStandby(s.ctx, &autoscaling.EnterStandbyInput{AutoScalingGroupName: web, InstanceIds: ids, ShouldDecrementDesiredCapacity: flip})
	case "exit":
		_, _ = s.scaling.ExitStandby(s.ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: web, InstanceIds: ids})
	case "protect":
		_, _ = s.scaling.SetInstanceProtection(s.ctx, &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: web, InstanceIds: ids, ProtectedFromScaleIn: aws.Bool(false)})
	case "unhealthy":
		_, _ = s.scaling.SetInstanceHealth(s.ctx, &autoscaling.SetInstanceHealthInput{InstanceId: &id, HealthStatus: aws.String("Unhealthy"), ShouldRespectGracePeriod: flip})
	case "stop":
		_, _ = s.ec2.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: ids})
	case "resize":
		_, _ = s.scaling.UpdateAutoScalingGroup(s.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: web, DesiredCapacity: aws.Int32(rapid.Int32Range(1, 5).Draw(r, "desired"))})
	}
}

func (s *shop) sound(r *rapid.T) {
	g := s.group()
	if *g.DesiredCapacity < *g.MinSize || *g.DesiredCapacity > *g.MaxSize {
		r.Fatalf("desired capacity %d is not in %d–%d", *g.DesiredCapacity, *g.MinSize, *g.MaxSize)
	}
	seen, serving := make(map[string]bool), 0
	for _, i := range g.Instances {
		if seen[*i.InstanceId] {
			r.Fatalf("%s is in the group twice", *i.InstanceId)
		}
		seen[*i.InstanceId] = true
		if i.LifecycleState == types.LifecycleStateInService { // one that is pending is waited for before it has to go
			serving++
		}
	}
	if serving > int(*g.DesiredCapacity) {
		r.Fatalf("%d instances serve, %d are desired", serving, *g.DesiredCapacity)
	}
}
