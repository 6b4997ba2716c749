package access

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const canary = "canary-5f0a"

func TestNoSecretIsWrittenDown(t *testing.T) {
	c, b := aws.String(canary), []byte(canary)
	inputs := []any{
		&s3.PutObjectInput{Body: strings.NewReader(canary), SSECustomerKey: c},
		&s3.UploadPartInput{Body: bytes.NewReader(b), SSECustomerKey: c},
		&s3.CopyObjectInput{CopySourceSSECustomerKey: c, SSECustomerKey: c, Metadata: map[string]string{"api-token": canary}},
		&s3.CreateMultipartUploadInput{SSECustomerKey: c},
		&kms.EncryptInput{Plaintext: b},
		&kms.ImportKeyMaterialInput{EncryptedKeyMaterial: b, ImportToken: b},
		&iam.CreateLoginProfileInput{Password: c},
		&iam.ChangePasswordInput{OldPassword: c, NewPassword: c},
		&iam.UploadServerCertificateInput{PrivateKey: c},
		&iam.CreateUserInput{Tags: nil, UserName: aws.String("x")},
		&sts.AssumeRoleWithWebIdentityInput{WebIdentityToken: c},
		&sts.AssumeRoleWithSAMLInput{SAMLAssertion: c},
		&sts.GetSessionTokenInput{TokenCode: c},
		&ssm.PutParameterInput{Name: aws.String("/db/password"), Value: c},
		&ssm.SendCommandInput{Parameters: map[string][]string{"AuthToken": {canary}}},
		&ec2.RunInstancesInput{UserData: c},
		&ec2.ModifyInstanceAttributeInput{UserData: &ec2types.SecureBlobAttributeValue{Value: b}},
		&ec2.ImportKeyPairInput{PublicKeyMaterial: b},
		&ec2.CopySnapshotInput{PresignedUrl: c},
		&ec2.CreateTagsInput{Tags: []ec2types.Tag{{Key: aws.String("db-password"), Value: c}}},
		&cloudformation.CreateStackInput{Parameters: []cfntypes.Parameter{{ParameterKey: aws.String("MasterPassword"), ParameterValue: c}}},
		&ec2.CreateTagsInput{Tags: []ec2types.Tag{{Key: aws.String("u"), Value: aws.String("https://x/?X-Amz-Signature=" + canary)}}},
	}
	for _, in := range inputs {
		got, err := redact(in)
		if err != nil || bytes.Contains(got, b) || bytes.Contains(got, []byte("Y2FuYXJ5")) { // base64 of canary
			t.Errorf("%T: %s, %v", in, got, err)
		}
	}
}

// TestNoSecretFieldOfAnyOperationIsWrittenDown fills every text and blob whose
// name marks it as a secret, at any depth, in inputs that the product uses or might.
func TestNoSecretFieldOfAnyOperationIsWrittenDown(t *testing.T) {
	for _, in := range []any{
		&s3.PutObjectInput{}, &s3.UploadPartInput{}, &s3.CopyObjectInput{}, &s3.CompleteMultipartUploadInput{}, &s3.PutBucketReplicationInput{},
		&iam.UpdateLoginProfileInput{}, &iam.EnableMFADeviceInput{}, &iam.UploadServerCertificateInput{},
		&ec2.RunInstancesInput{}, &ec2.CreateLaunchTemplateInput{}, &ec2.ModifyInstanceAttributeInput{}, &ec2.RequestSpotInstancesInput{},
		&ec2.CreateVpnConnectionInput{}, &ec2.ImportSnapshotInput{}, &kms.EncryptInput{}, &kms.CreateCustomKeyStoreInput{}, &ssm.PutParameterInput{},
	} {
		plantIn(reflect.ValueOf(in).Elem(), false, 0)
		got, err := redact(in)
		if err != nil || bytes.Contains(got, []byte(canary)) {
			t.Errorf("%T: %s, %v", in, got, err)
		}
	}
}

func plantIn(v reflect.Value, secret bool, depth int) {
	if depth > 6 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.CanSet() && v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		plantIn(v.Elem(), secret, depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				plantIn(v.Field(i), secret || isSecretName(f.Name), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(canary))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		plantIn(v.Index(0), secret, depth+1)
	case reflect.String:
		if secret && v.Type() == reflect.TypeFor[string]() {
			v.SetString(canary)
		}
	}
}

func TestWhatExplainsACallIsKept(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"the idempotency token", &ec2.RunInstancesInput{ClientToken: aws.String("abc")}, `{"ClientToken":"abc"}`},
		{"our own tag", &ec2.CreateTagsInput{Tags: []ec2types.Tag{{Key: aws.String("cordon:token"), Value: aws.String("abc")}}}, `{"Tags":[{"Key":"cordon:token","Value":"abc"}]}`},
		{"an enumeration named like a secret", &ec2.ModifyInstanceMetadataOptionsInput{HttpTokens: ec2types.HttpTokensStateRequired}, `"HttpTokens":"required"`},
		{"a body's length", &s3.PutObjectInput{Key: aws.String("k"), Body: strings.NewReader("12345")}, `"Body":{"body":"(dropped)","bytes":5}`},
		{"a blob's digest", &kms.SignInput{Message: []byte("abc")}, `"Message":{"bytes":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}`},
		{"a long text's digest", &cloudformation.CreateStackInput{TemplateBody: aws.String(strings.Repeat("x", longText+1))}, `"TemplateBody":{"bytes":16385,"sha256":"`},
		{"a policy", &iam.PutRolePolicyInput{PolicyDocument: aws.String(`{"aws:TokenIssueTime":1}`)}, `"PolicyDocument":"{\"aws:TokenIssueTime\":1}"`},
		{"a time", &s3.PutObjectRetentionInput{Retention: &s3types.ObjectLockRetention{RetainUntilDate: aws.Time(time.Unix(0, 0))}}, `"RetainUntilDate":"1970-01-01T00:00:00Z"`},
		{"an ordinary tag", &ec2.CreateTagsInput{Tags: []ec2types.Tag{{Key: aws.String("owner"), Value: aws.String("web")}}}, `"Tags":[{"Key":"owner","Value":"web"}]`},
		{"a number past what JSON keeps exact", &s3.UploadPartInput{ContentLength: aws.Int64(1<<53 + 1)}, `"ContentLength":"9007199254740993"`},
		{"false", &ec2.ModifyNetworkInterfaceAttributeInput{SourceDestCheck: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}}, `"SourceDestCheck":{"Value":false}`},
	}
	for _, tt := range tests {
		got, err := redact(tt.in)
		if err != nil || !strings.Contains(string(got), tt.want) {
			t.Errorf("%s: got %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestALongListIsItsDigest(t *testing.T) {
	parts := make([]s3types.CompletedPart, 10_000)
	for i := range parts {
		parts[i] = s3types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: aws.String("e")}
	}
	got, err := redact(&s3.CompleteMultipartUploadInput{MultipartUpload: &s3types.CompletedMultipartUpload{Parts: parts}})
	if err != nil || len(got) > 1000 || !strings.Contains(string(got), `"items":10000`) || !json.Valid(got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
