package rehearsal

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestARegionHasItsOwnResourcesAndTheAccountsRolesAndBuckets(t *testing.T) {
	dir := t.TempDir()
	a, err := Create(dir, "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	const other = "eu-west-1"
	if err := a.AddRegion("", other); err != nil {
		t.Fatal(err)
	}
	if a.AddRegion("", other) == nil || a.AddRegion("", a.Alert().Region) == nil || a.AddRegion("999999999999", other) == nil {
		t.Error("a Region that is there, or of an account that is not, was added")
	}
	made, err := ec2.NewFromConfig(a.Config(other)).CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	if _, err := iam.NewFromConfig(a.Config(other)).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("everywhere"), AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir) // as another process sees it
	if err != nil {
		t.Fatal(err)
	}
	here, there := again.Config(again.Alert().Region), again.Config(other)
	id := []string{*made.Vpc.VpcId}
	if _, err := ec2.NewFromConfig(there).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: id}); err != nil {
		t.Error(err)
	}
	if _, err := ec2.NewFromConfig(here).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: id}); err == nil {
		t.Error("a VPC shows in another Region")
	}
	if _, err := iam.NewFromConfig(here).GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("everywhere")}); err != nil {
		t.Error(err)
	}
	buckets, err := s3.NewFromConfig(there).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) == 0 {
		t.Errorf("%+v, %v", buckets, err)
	}
}
