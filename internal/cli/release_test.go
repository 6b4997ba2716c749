package cli

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/incident"
)

var undisturbed = func() *reaper { return &reaper{after: -1} }

func TestReleasePutsEverythingBackExactly(t *testing.T) {
	for _, playbook := range []string{"contain", "exfiltration", "full-response"} {
		t.Run(playbook, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t)
			before := o.exact()
			if err := o.live(undisturbed(), playbook, exportOff(playbook)...); err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(o.exact(), before) {
				t.Fatal("nothing was isolated")
			}
			if err := o.live(undisturbed(), "release"); err != nil {
				t.Fatal(err)
			}
			if after := o.exact(); !reflect.DeepEqual(after, before) {
				t.Error(before.difference(after))
			}
			if err := o.live(undisturbed(), "release"); err != nil {
				t.Error("a second release: ", err)
			}
			if after := o.exact(); !reflect.DeepEqual(after, before) {
				t.Error("after a second release: ", before.difference(after))
			}
			o.verify()
		})
	}
}

// exportOff leaves the export out of the playbooks that have one: it moves gigabytes.
func exportOff(playbook string) []string {
	if playbook == "contain" {
		return nil
	}
	return []string{"export=false"}
}

func TestReleaseOfHalfDoneIsolationPutsBackWhatWasDone(t *testing.T) {
	for n := 10; n < 60; n += 7 {
		o := newWorld(t)
		before := o.exact()
		r := &reaper{after: n}
		if err := o.live(r, "contain"); err == nil {
			t.Fatalf("%d: was not killed", n)
		}
		o.releaseDirectly()
		if after := o.exact(); !reflect.DeepEqual(after, before) {
			t.Errorf("killed %s: %s", r.moment, before.difference(after))
		}
		o.verify()
	}
}

// releaseDirectly releases although a run is unfinished.
func (o *world) releaseDirectly() {
	o.t.Helper()
	j, err := o.w.hold(o.t.Context(), "INC-1")
	o.must(err)
	err = o.w.release(o.t.Context(), j, releaseOptions{caseID: "INC-1"})
	o.must(errors.Join(err, j.Close()))
}

func TestReleaseIsRefusedAtMaxSizeWithTheNumbers(t *testing.T) {
	o := newWorld(t)
	o.must(o.live(undisturbed(), "contain"))
	isolated := o.exact()
	client := autoscaling.NewFromConfig(o.account.Config(o.account.Alert().Region))
	_, err := client.UpdateAutoScalingGroup(o.t.Context(), &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String("web"), MaxSize: aws.Int32(3),
	})
	o.must(err)
	err = o.live(undisturbed(), "release")
	if err == nil || !strings.Contains(err.Error(), "max-size 3") && !strings.Contains(err.Error(), "maximum") {
		t.Fatalf("got %v", err)
	}
	if now := o.exact(); !reflect.DeepEqual(now, isolated) {
		t.Error("a refused release changed: ", isolated.difference(now))
	}
}

func TestReleaseRefusesWhatSomeoneElseChangedAndShowsTheDifference(t *testing.T) {
	o := newWorld(t)
	o.must(o.live(undisturbed(), "contain"))
	client := ec2.NewFromConfig(o.account.Config(o.account.Alert().Region))
	interfaces, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{o.account.Alert().Instance}})
	o.must(err)
	nic := interfaces.Reservations[0].Instances[0].NetworkInterfaces[0]
	groups, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	o.must(err)
	other := groups.SecurityGroups[0]
	for _, g := range groups.SecurityGroups {
		if aws.ToString(g.VpcId) == aws.ToString(nic.VpcId) && aws.ToString(g.GroupName) == "default" {
			other = g
		}
	}
	_, err = client.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: nic.NetworkInterfaceId, Groups: []string{aws.ToString(other.GroupId)},
	})
	o.must(err)
	changed := o.exact()
	err = o.live(undisturbed(), "release")
	var drift *incident.DriftError
	if !errors.As(err, &drift) || len(drift.Differences) != 1 || !strings.Contains(drift.Differences[0].Now, aws.ToString(other.GroupId)) {
		t.Fatalf("got %v", err)
	}
	if now := o.exact(); !reflect.DeepEqual(now, changed) {
		t.Error("a refused release changed: ", changed.difference(now))
	}
}
