package quota_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/cordon-ir/cordon/internal/quota"
)

// The numbers are AWS's pages', read on their own: a typing error in the table must not go unseen.
func TestTheBucketsAreThoseOfTheirPages(t *testing.T) {
	one := func(service, operation string) quota.Call {
		return quota.Call{Service: service, Operation: operation, Narrowed: true}
	}
	for _, tc := range []struct {
		call  quota.Call
		burst int
		rate  float64
		n     int
	}{
		{one("EC2", "DescribeInstances"), 100, 20, 1},
		{quota.Call{Service: "EC2", Operation: "DescribeInstances"}, 50, 10, 1},
		{quota.Call{Service: "EC2", Operation: "DescribeRouteTables"}, 100, 20, 1},
		{one("EC2", "ModifyInstanceAttribute"), 50, 5, 1},
		{one("EC2", "ModifyNetworkInterfaceAttribute"), 100, 5, 1},
		{one("EC2", "CreateTags"), 100, 10, 1},
		{one("EC2", "RunInstances"), 5, 2, 1},
		{one("Elastic Load Balancing v2", "DescribeTargetHealth"), 40, 10, 2},
		{one("Elastic Load Balancing v2", "DeregisterTargets"), 20, 4, 2},
		{one("Elastic Load Balancing", "ModifyLoadBalancerAttributes"), 20, 3, 2},
	} {
		got := quota.Of(tc.call)
		if len(got) != tc.n || got[0].Burst != tc.burst || got[0].PerSecond != tc.rate || !got[0].Published {
			t.Errorf("%+v: got %+v", tc.call, got)
		}
	}
	if b := quota.Of(one("IAM", "PutRolePolicy")); b[0].Published {
		t.Error("IAM's limits are not published")
	}
}

func TestTheTwoVersionsOfALoadBalancersAPIShareTheAccountsBucketOnly(t *testing.T) {
	v1 := quota.Of(quota.Call{Service: "Elastic Load Balancing", Operation: "DescribeInstanceHealth"})
	v2 := quota.Of(quota.Call{Service: "Elastic Load Balancing v2", Operation: "DescribeTargetHealth"})
	if v1[0].Name == v2[0].Name || v1[1] != v2[1] || v1[1].PerSecond != 10 {
		t.Errorf("got %+v and %+v", v1, v2)
	}
}

func TestAnIDIsNoFilter(t *testing.T) {
	for _, tc := range []struct {
		in   any
		want bool
	}{
		{&ec2.DescribeInstancesInput{InstanceIds: []string{"i-1"}}, false},
		{&ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("vpc-id")}}}, true},
		{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)}, true},
		{&iam.GetRoleInput{}, false},
		{nil, false},
	} {
		if got := quota.Narrowed(tc.in); got != tc.want {
			t.Errorf("%+v: %t", tc.in, got)
		}
	}
}
