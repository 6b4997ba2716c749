package rehearsal

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// What the comparison with moto (internal/conformance) found wrong in the simulated account.
func TestRefusalsAreAsAWSDocumentsThem(t *testing.T) {
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg, ctx := a.Config("eu-central-1"), t.Context()
	bucket := func(name string) error {
		_, err := s3.NewFromConfig(cfg).CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true),
			CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
		})
		return err
	}
	for _, test := range []struct {
		name, code string
		call       func() error
	}{
		{"a VPC's block is no block", "InvalidParameterValue", func() error {
			_, err := ec2.NewFromConfig(cfg).CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("ten")})
			return err
		}},
		{"tags of a target group that is not there", "TargetGroupNotFound", func() error {
			_, err := elb.NewFromConfig(cfg).DescribeTags(ctx, &elb.DescribeTagsInput{
				ResourceArns: []string{"arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/x/0123456789abcdef"},
			})
			return err
		}},
		{"tags of a load balancer that is not there", "LoadBalancerNotFound", func() error {
			_, err := elb.NewFromConfig(cfg).DescribeTags(ctx, &elb.DescribeTagsInput{
				ResourceArns: []string{"arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/x/0123456789abcdef"},
			})
			return err
		}},
		{"access keys of nobody", "NoSuchEntity", func() error {
			_, err := iam.NewFromConfig(cfg).ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String("nobody")})
			return err
		}},
		{"a role's ARN is none", "ValidationError", func() error {
			_, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("the responder's role"), RoleSessionName: aws.String("session")})
			return err
		}},
		{"a bucket's name has capitals", "InvalidBucketName", func() error { return bucket("Evidence") }},
		{"a bucket's name is an address", "InvalidBucketName", func() error { return bucket("192.0.2.1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var api smithy.APIError
			if err := test.call(); !errors.As(err, &api) || api.ErrorCode() != test.code {
				t.Errorf("refused with %v, want %s", err, test.code)
			}
		})
	}
}

func TestARetentionModeThatDoesNotExistLocksNothing(t *testing.T) {
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	client, bucket, key := s3.NewFromConfig(a.Config("eu-central-1")), aws.String(a.Alert().Bucket), aws.String("k")
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	_, err = client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: bucket, Key: key, Retention: &s3types.ObjectLockRetention{Mode: "FOREVER", RetainUntilDate: aws.Time(a.Clock().Now().Add(time.Hour))},
	})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "MalformedXML" {
		t.Errorf("FOREVER is answered with %v", err)
	}
	head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if head.ObjectLockMode != "" {
		t.Errorf("the object is locked: %s", head.ObjectLockMode)
	}
	if got := aws.ToString(head.ContentType); got != "application/octet-stream" {
		t.Errorf("an object put without a content type has %q", got)
	}
}

func TestAStackShowsItsTemplatesDescription(t *testing.T) {
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	client := cloudformation.NewFromConfig(a.Config("eu-central-1"))
	if _, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String("s"), TemplateBody: aws.String("Description: a network\nResources: {V: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: 10.0.0.0/16}}}\n"),
	}); err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Stacks[0].Description); got != "a network" {
		t.Errorf("the description is %q", got)
	}
}

func TestARulesARNIsItsListenersAndTheListenersItsBalancers(t *testing.T) {
	b := newBalancers(t)
	balancers, err := b.elb.DescribeLoadBalancers(b.ctx, &elb.DescribeLoadBalancersInput{Names: []string{"web"}})
	b.must(err)
	balancer := *balancers.LoadBalancers[0].LoadBalancerArn
	listeners, err := b.elb.DescribeListeners(b.ctx, &elb.DescribeListenersInput{LoadBalancerArn: &balancer})
	b.must(err)
	listener := *listeners.Listeners[0].ListenerArn
	rules, err := b.elb.DescribeRules(b.ctx, &elb.DescribeRulesInput{ListenerArn: &listener})
	b.must(err)
	under := func(arn, kind, of, ofKind string) {
		t.Helper()
		start := strings.Replace(of, ":"+ofKind+"/", ":"+kind+"/", 1) + "/"
		if id, ok := strings.CutPrefix(arn, start); !ok || len(id) != 16 {
			t.Errorf("%s is not under %s", arn, of)
		}
	}
	under(listener, "listener", balancer, "loadbalancer")
	for _, r := range rules.Rules {
		under(*r.RuleArn, "listener-rule", listener, "listener")
	}
}
