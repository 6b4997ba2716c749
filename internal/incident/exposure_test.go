package incident_test

import (
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestExposureIsOfTheLastCutAndEndsWithItsRelease(t *testing.T) {
	b := newBench(t)
	pb := playbook(step("leave", "leave"), step("cut", "cut", "leave"))
	b.run(pb, targetA, targetB)
	all := b.journal.fold(t).Exposures()
	if len(all) != 2 {
		t.Fatalf("of two targets that were cut: %+v", all)
	}
	for _, x := range all {
		if x.Run != "run-1" || x.ContainedAfter == nil || x.Contained.IsZero() || len(x.ResidualExposure) != 1 || x.ReleasedBy != "" {
			t.Errorf("got %+v", x)
		}
	}
	b.start(incident.Playbook{}, b.planRelease(targetA), "release-1")
	for _, x := range b.journal.fold(t).Exposures() {
		released := x.Target == targetA.String()
		if (x.ReleasedBy == "release-1") != released || (len(x.ResidualExposure) == 0) != released {
			t.Errorf("after the release of %s: %+v", targetA, x)
		}
	}
}
