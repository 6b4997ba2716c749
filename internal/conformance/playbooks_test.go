package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// isolated checks, by the AWS CLI, that the suspect is cut off and the group
// still serves with as many members as before.
func (r *responder) isolated() {
	r.t.Helper()
	id := r.w.Suspect
	r.expect("protection from termination", true, "DisableApiTermination.Value",
		"ec2", "describe-instance-attribute", "--instance-id", id, "--attribute", "disableApiTermination")
	r.expect("shutdown behaviour", "stop", "InstanceInitiatedShutdownBehavior.Value",
		"ec2", "describe-instance-attribute", "--instance-id", id, "--attribute", "instanceInitiatedShutdownBehavior")
	r.expect("its place in the group", []string{}, "AutoScalingInstances",
		"autoscaling", "describe-auto-scaling-instances", "--instance-ids", id)
	r.expect("the group's capacity and members", []int{3, 3}, "AutoScalingGroups[0].[DesiredCapacity, length(Instances)]",
		"autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", r.w.Group)
	for _, target := range []string{r.w.WebTarget, r.w.AdminTarget} {
		if in := r.texts("TargetHealthDescriptions[].Target.Id", "elbv2", "describe-target-health", "--target-group-arn", target); slices.Contains(in, id) {
			r.t.Errorf("it is still registered with %s", target)
		}
	}
	if in := r.texts("LoadBalancerDescriptions[0].Instances[].InstanceId", "elb", "describe-load-balancers", "--load-balancer-names", r.w.Classic); slices.Contains(in, id) {
		r.t.Error("it is still registered with the classic load balancer")
	}
	r.expect("its instance profile", []string{}, "IamInstanceProfileAssociations",
		"ec2", "describe-iam-instance-profile-associations", "--filters", "Name=instance-id,Values="+id)
	r.expect("the role's policies", []string{"app-config", "cordon-" + testCase + "-instances"}, "sort(PolicyNames)",
		"iam", "list-role-policies", "--role-name", r.w.Role)
	r.expect("what the role is denied", [][]string{{"Deny", "*"}}, "PolicyDocument.Statement[?Condition.ArnEquals != null || Condition.ArnLike != null].[Effect, Action]",
		"iam", "get-role-policy", "--role-name", r.w.Role, "--policy-name", "cordon-"+testCase+"-instances")
	r.cutOff()
}

// cutOff: every interface is in one group, the same one, that lets nothing in or out.
func (r *responder) cutOff() {
	r.t.Helper()
	groups := r.texts("NetworkInterfaces[].Groups[].GroupId",
		"ec2", "describe-network-interfaces", "--filters", "Name=attachment.instance-id,Values="+r.w.Suspect)
	if len(groups) != len(r.w.Interfaces) || len(slices.Compact(slices.Clone(groups))) != 1 {
		r.t.Fatalf("its %d interfaces are in the groups %v", len(r.w.Interfaces), groups)
	}
	r.expect("the isolation group", [][]any{{r.w.VPC, []any{}, []any{}}}, "SecurityGroups[].[VpcId, IpPermissions, IpPermissionsEgress]",
		"ec2", "describe-security-groups", "--group-ids", groups[0])
	r.expect("isolation groups in the VPC", []string{groups[0]}, "SecurityGroups[?starts_with(GroupName, 'cordon-')].GroupId",
		"ec2", "describe-security-groups", "--filters", "Name=vpc-id,Values="+r.w.VPC)
}

// photograph is what containment touches, as the AWS CLI shows it.
func (r *responder) photograph() map[string]any {
	r.t.Helper()
	id := r.w.Suspect
	photo := map[string]any{
		"interfaces": r.aws("sort_by(NetworkInterfaces, &NetworkInterfaceId)[].[NetworkInterfaceId, sort(Groups[].GroupId), Association.PublicIp, Attachment.DeviceIndex]",
			"ec2", "describe-network-interfaces", "--filters", "Name=attachment.instance-id,Values="+id),
		"instance": r.aws("Reservations[].Instances[].[IamInstanceProfile.Arn, State.Name, sort_by(BlockDeviceMappings, &DeviceName)[].[DeviceName, Ebs.VolumeId, Ebs.DeleteOnTermination]]",
			"ec2", "describe-instances", "--instance-ids", id),
		"termination": r.aws("DisableApiTermination.Value",
			"ec2", "describe-instance-attribute", "--instance-id", id, "--attribute", "disableApiTermination"),
		"shutdown": r.aws("InstanceInitiatedShutdownBehavior.Value",
			"ec2", "describe-instance-attribute", "--instance-id", id, "--attribute", "instanceInitiatedShutdownBehavior"),
		"member": r.aws("AutoScalingInstances[].[AutoScalingGroupName, LifecycleState, ProtectedFromScaleIn]",
			"autoscaling", "describe-auto-scaling-instances", "--instance-ids", id),
		"classic": r.aws("sort(LoadBalancerDescriptions[0].Instances[?InstanceId=='"+id+"'].InstanceId)",
			"elb", "describe-load-balancers", "--load-balancer-names", r.w.Classic),
		"policies": r.aws("sort(PolicyNames)", "iam", "list-role-policies", "--role-name", r.w.Role),
	}
	for _, target := range []string{r.w.WebTarget, r.w.AdminTarget} {
		photo[target] = r.aws("TargetHealthDescriptions[?Target.Id=='"+id+"'].Target.Port", "elbv2", "describe-target-health", "--target-group-arn", target)
	}
	return photo
}

func TestContainCutsOffAndReleaseRestores(t *testing.T) {
	r := newResponder(t)
	before := r.photograph()
	if s := r.respond("contain", settings("network_strategy", "reachability_analyzer")...); s.Outcome != "succeeded" || s.ContainedAfter == nil {
		t.Errorf("the run %s, contained after %v", s.Outcome, s.ContainedAfter)
	}
	r.isolated()
	r.summary(r.cordon("release", "--case", testCase))
	after := r.photograph()
	for _, what := range slices.Sorted(maps.Keys(before)) {
		if !reflect.DeepEqual(before[what], after[what]) {
			t.Errorf("%s: before %v, after the release %v", what, before[what], after[what])
		}
	}
	r.expect("the group, in which the replacement stays", []int{4, 4}, "AutoScalingGroups[0].[DesiredCapacity, length(Instances)]",
		"autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", r.w.Group)
	r.cordon("journal", "verify", "--case", testCase)
}

func TestCaptureTakesEvidenceAndChangesNothing(t *testing.T) {
	r := newResponder(t)
	instance := []string{"ec2", "describe-instances", "--instance-ids", r.w.Suspect}
	before := r.aws("Reservations", instance...)
	s := r.respond("capture", settings("lock_mode", "export", "image")...)
	if after := r.aws("Reservations", instance...); !reflect.DeepEqual(before, after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
	r.expect("its place in the group", []string{"InService"}, "AutoScalingInstances[].LifecycleState",
		"autoscaling", "describe-auto-scaling-instances", "--instance-ids", r.w.Suspect)
	r.snapshotted()
	r.stored(s)
}

// snapshotted: one snapshot of each volume of the suspect, and no second.
func (r *responder) snapshotted() {
	r.t.Helper()
	want := []string{r.w.Root, r.w.Data}
	slices.Sort(want)
	if got := r.texts("Snapshots[].VolumeId", "ec2", "describe-snapshots", "--owner-ids", "self", "--filters", "Name=tag-key,Values=cordon:case"); !slices.Equal(got, want) {
		r.t.Errorf("there are snapshots of %v, want one of each of %v", got, want)
	}
}

// stored: what the summary names is in the bucket, byte for byte, and locked.
func (r *responder) stored(s summary) {
	r.t.Helper()
	kinds := map[string]int{}
	for _, item := range s.Evidence {
		kinds[item.Kind]++
		u, err := url.Parse(item.Location)
		if err != nil || u.Scheme != "s3" {
			continue
		}
		at := []string{"--bucket", u.Host, "--key", strings.TrimPrefix(u.Path, "/"), "--version-id", u.Query().Get("versionId")}
		r.expect(item.ID+"'s size and lock", []any{item.Bytes, "GOVERNANCE"}, "[ContentLength, ObjectLockMode]", append([]string{"s3api", "head-object"}, at...)...)
		file := filepath.Join(r.home, "fetched-"+strconv.Itoa(kinds[item.Kind])+item.Kind)
		r.aws("ETag", append(append([]string{"s3api", "get-object"}, at...), file)...)
		b, err := os.ReadFile(file)
		if err != nil {
			r.t.Fatal(err)
		}
		ours := file + "-by-cordon"
		r.cordon("evidence", "fetch", item.ID, "--case", testCase, "--out", ours)
		if fetched, err := os.ReadFile(ours); err != nil || !bytes.Equal(fetched, b) {
			r.t.Errorf("%s: cordon fetches other bytes than the AWS CLI: %v", item.ID, err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != item.SHA256 {
			r.t.Errorf("%s: the bucket holds sha256 %x, the summary says %s", item.ID, sum, item.SHA256)
		}
	}
	for _, kind := range []string{"metadata", "console", "snapshot", "checkpoint"} {
		if kinds[kind] == 0 {
			r.t.Errorf("there is no evidence of kind %s among %v", kind, kinds)
		}
	}
}

func TestFullResponseContainsAndCaptures(t *testing.T) {
	r := newResponder(t)
	s := r.respond("full-response", settings("lock_mode", "export", "image", "network_strategy", "reachability_analyzer")...)
	r.cutOff()
	r.snapshotted()
	if s.ContainedAfter == nil {
		t.Error("the summary does not say when it was contained")
	}
	r.expect("the clean room's stack", []string{"CREATE_COMPLETE"}, "Stacks[?starts_with(StackName, 'cordon-')].StackStatus", "cloudformation", "describe-stacks")
	r.expect("the volumes made from the snapshots", 2, "length(Volumes)", "ec2", "describe-volumes", "--filters", "Name=tag:cordon:case,Values="+testCase)
}

func TestExfiltrationContainsFirst(t *testing.T) {
	r := newResponder(t)
	r.respond("exfiltration", settings("lock_mode", "export", "network_strategy", "reachability_analyzer")...)
	r.cutOff()
	r.snapshotted()
}

// Killed again and again, at a change that is made and at one that is not, and resumed: no second
// snapshot, group or policy, and the same end.
func TestARunKilledOverTheWireIsResumed(t *testing.T) {
	r := newResponder(t)
	sets := append(settings("lock_mode", "export", "image", "network_strategy", "reachability_analyzer"), "cleanroom=false")
	args := []string{"run", "full-response", "--case", testCase, "--instance", r.w.Suspect}
	for _, s := range sets {
		args = append(args, "--set", s)
	}
	for _, n := range []int64{2, 3, 4, 5, 3} {
		if !r.killedAtChange(n, args...) {
			t.Errorf("it was over before its change %d", n)
			break
		}
		args = []string{"resume", "--case", testCase}
	}
	r.checked("full-response", sets, "resume", "--case", testCase)
	r.isolated()
	r.snapshotted()
}
