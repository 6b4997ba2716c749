package rehearsal_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func TestEnforcedBudgetsRefuseWhatExceedsThem(t *testing.T) {
	a, err := rehearsal.CreateFleet("", 2, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := a.Config(a.Alert().Region)
	cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 1) }
	if err := a.EnforceBudgets(); err != nil {
		t.Fatal(err)
	}
	in := &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(a.Alert().Instance)}
	start := a.Clock().Now()
	passed := 0
	for { // one after the other, 40 ms each: 50 tokens, and 5 each second
		_, err := ec2.NewFromConfig(cfg).ModifyInstanceAttribute(t.Context(), in)
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorCode() == "RequestLimitExceeded" {
			break
		}
		passed++
	}
	if most := 50 + 5*int(a.Clock().Now().Sub(start).Seconds()+1); passed < 50 || passed > most {
		t.Errorf("%d calls passed, at most %d should", passed, most)
	}
	// Load balancers: the reads' bucket, and that of all calls, hold 40.
	v2 := elasticloadbalancingv2.NewFromConfig(cfg)
	for range 3 {
		if _, err := v2.DescribeTargetGroups(t.Context(), &elasticloadbalancingv2.DescribeTargetGroupsInput{}); err != nil {
			t.Fatal(err)
		}
	}
	uses := make(map[string]rehearsal.BudgetUse)
	for _, u := range a.Budgets(a.Clock().Now()) {
		uses[u.Name] = u
	}
	if u := uses["EC2 ModifyInstanceAttribute"]; u.Calls != passed || u.Refused != 1 || u.Burst != 50 || !u.Published {
		t.Errorf("got %+v", u)
	}
	if uses["Elastic Load Balancing v2 reads"].Calls != 3 || uses["Elastic Load Balancing, all calls"].Calls != 3 {
		t.Errorf("got %+v", uses)
	}
}

func TestAFleetIsSpreadOverItsGroups(t *testing.T) {
	a, err := rehearsal.CreateFleet("", 13, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(a.Config(a.Alert().Region)), &ec2.DescribeInstancesInput{})
	groups, profiles, subnets := make(map[string]int), make(map[string]bool), make(map[string]bool)
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				for _, tag := range i.Tags {
					if *tag.Key == "fleet" {
						groups[*tag.Value]++
					}
				}
				profiles[*i.IamInstanceProfile.Arn], subnets[*i.SubnetId] = true, true
			}
		}
	}
	if len(groups) != 5 || groups["fleet-1"] != 3 || groups["fleet-5"] != 2 || len(profiles) != 5 || len(subnets) < 3 {
		t.Errorf("groups %v, profiles %v, subnets %v", groups, profiles, subnets)
	}
	if _, err := rehearsal.CreateFleet("", 3, 5, 1); err == nil {
		t.Error("a group without an instance was made")
	}
}
