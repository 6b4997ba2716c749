package rehearsal

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func TestAKeyIsFoundByEveryNameItHasAndOnlyInItsRegion(t *testing.T) {
	a := emptyAccount(t)
	client := kms.NewFromConfig(a.Config("eu-central-1"))
	made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	alias := &kms.CreateAliasInput{AliasName: aws.String("alias/evidence"), TargetKeyId: made.KeyMetadata.KeyId}
	if _, err := client.CreateAlias(t.Context(), alias); err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateAlias(t.Context(), alias)
	wantCode(t, err, "AlreadyExistsException")
	for _, name := range []string{*made.KeyMetadata.KeyId, *made.KeyMetadata.Arn, "alias/evidence", "arn:aws:kms:eu-central-1:111122223333:alias/evidence"} {
		out, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &name})
		if err != nil || *out.KeyMetadata.Arn != *made.KeyMetadata.Arn || out.KeyMetadata.KeyManager != types.KeyManagerTypeCustomer {
			t.Errorf("%s: %v", name, err)
		}
		_, err = kms.NewFromConfig(a.Config("eu-west-1")).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &name})
		wantCode(t, err, "NotFoundException")
	}
}

func TestAKeyThatAWSManagesCannotBeChanged(t *testing.T) {
	a := emptyAccount(t, func(w *world) { w.call("ec2").managedKey("ebs") })
	client := kms.NewFromConfig(a.Config("eu-central-1"))
	out, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/aws/ebs")})
	if err != nil {
		t.Fatal(err)
	}
	if out.KeyMetadata.KeyManager != types.KeyManagerTypeAws {
		t.Errorf("managed by %s", out.KeyMetadata.KeyManager)
	}
	_, err = client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: out.KeyMetadata.Arn})
	wantCode(t, err, "AccessDeniedException")
}
