package cleanroom

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

func TestAFailureIsWhatFailedOfItselfInTheLastOperation(t *testing.T) {
	event := func(logical, status, reason string) types.StackEvent {
		id := logical + "-1"
		if logical == "room" {
			id = "arn"
		}
		return types.StackEvent{
			LogicalResourceId: aws.String(logical), PhysicalResourceId: aws.String(id), ResourceType: aws.String("AWS::EC2::Thing"),
			ResourceStatus: types.ResourceStatus(status), ResourceStatusReason: aws.String(reason),
		}
	}
	creating := []types.StackEvent{ // newest first
		event("room", "ROLLBACK_COMPLETE", ""),
		event("C", "DELETE_FAILED", "C is in use"),
		event("room", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [A, B, C]."),
		event("C", "CREATE_FAILED", "Resource creation cancelled"),
		event("A", "CREATE_FAILED", "A is not permitted"),
		event("B", "CREATE_FAILED", "Resource creation cancelled"),
		event("A", "CREATE_IN_PROGRESS", ""),
		event("room", "CREATE_IN_PROGRESS", "User Initiated"),
	}
	deleting := append([]types.StackEvent{
		event("room", "DELETE_FAILED", "The following resource(s) failed to delete: [D]."),
		event("D", "DELETE_FAILED", "D has dependencies"),
		event("room", "DELETE_IN_PROGRESS", "User Initiated"),
	}, creating...)
	nobody := []types.StackEvent{event("room", "ROLLBACK_IN_PROGRESS", "the template's hook said no"), event("room", "CREATE_IN_PROGRESS", "")}
	for name, c := range map[string]struct {
		events []types.StackEvent
		want   string
	}{
		"created":  {creating, "A (AWS::EC2::Thing A-1): A is not permitted; C (AWS::EC2::Thing C-1): C is in use"},
		"deleted":  {deleting, "D (AWS::EC2::Thing D-1): D has dependencies"},
		"the room": {nobody, "the template's hook said no"},
	} {
		got := failureOf(types.Stack{StackId: aws.String("arn"), StackName: aws.String("room"), StackStatus: "FAILED"}, c.events).Error()
		if got != "stack room is FAILED: "+c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestABillNamesWhatItKnowsAndWhatItDoesNot(t *testing.T) {
	known := bill{instanceType: "t3.xlarge", instances: 2, endpoints: 4, gib: 730}.String()
	// 2 × 0.1664 + 4 × 0.01 + 730 × 0.08 / 730
	for _, want := range []string{"estimate", pricesAsOf, "$0.45 an hour", "2 t3.xlarge $0.333", "4 interface endpoint(s) $0.040", "730 GiB of gp3 $0.080"} {
		if !strings.Contains(known, want) {
			t.Errorf("%q is not in %s", want, known)
		}
	}
	unknown := bill{instanceType: "z9.huge", instances: 1, endpoints: 1}.String()
	if !strings.Contains(unknown, "z9.huge, whose price is not known here") {
		t.Error(unknown)
	}
	text, err := Template(1)
	if err != nil || !strings.Contains(text, `"VolumeSize":50,`) || rootGiB != 50 {
		t.Errorf("the root volume is not of %d GiB: %v", rootGiB, err)
	}
}
