package problem_test

import (
	"testing"

	"github.com/cordon-ir/cordon/internal/problem"
)

func TestProblemsAreReportedTogetherInTheFilesOrder(t *testing.T) {
	r := problem.Report{File: "p.yaml"}
	if err := r.Err(); err != nil {
		t.Fatalf("nothing is wrong, and the report says %v", err)
	}
	r.Add(7, 3, "late")
	r.Add(2, 9, "right")
	r.Add(2, 1, "left %d", 1)
	r.Add(2, 1, "left %d", 2)
	r.Add(0, 0, "nowhere")
	want := "p.yaml:1:1: nowhere\np.yaml:2:1: left 1\np.yaml:2:1: left 2\np.yaml:2:9: right\np.yaml:7:3: late"
	if got := r.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
