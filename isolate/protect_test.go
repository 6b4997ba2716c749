package isolate

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/isolate/serving"
)

func (s *site) imageProtection() string {
	s.t.Helper()
	found := must[*ec2types.Image](s.t)(serving.FindImage(s.ctx, s.ec2(), *s.instance().ImageId))
	return *found.DeregistrationProtection
}

const protectOnly = `name: protect
title: Protect
steps:
  - {id: protect, action: isolate.protect}
`

func TestTheImageStaysProtectedUntilTheLastInstanceIsReleased(t *testing.T) {
	c := newSite(t, 1).crew()
	fleet := c.siblings(3)
	c.isolate(protectOnly, fleet, nil)
	for i, target := range fleet {
		if got := c.imageProtection(); got != "enabled-without-cooldown" {
			t.Errorf("after %d of 3 releases the image's protection is %s", i, got)
		}
		c.release(target)
	}
	if got := c.imageProtection(); got != "disabled" {
		t.Errorf("released, the image's protection is %s", got)
	}
}

func TestAnImageThatIsProtectedIsLeftAsItIs(t *testing.T) {
	s := newSite(t, 1)
	must[*ec2.EnableImageDeregistrationProtectionOutput](t)(s.ec2().EnableImageDeregistrationProtection(s.ctx, &ec2.EnableImageDeregistrationProtectionInput{
		ImageId: s.instance().ImageId, WithCooldown: aws.Bool(true),
	}))
	st := s.do("isolate.protect", nil)
	s.undoAll(st)
	if got := s.imageProtection(); got != "enabled-with-cooldown" {
		t.Errorf("the image's protection is %s", got)
	}
}
