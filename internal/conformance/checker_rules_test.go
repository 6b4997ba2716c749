package conformance

import (
	"strings"
	"testing"
)

const someDigest = `{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","bytes":`

// Each rule is seen to fail, on a request that passes but for one thing: old is
// what is made new in it.
func TestEachRuleOfTheModelsIsSeenToFail(t *testing.T) {
	tests := []struct {
		rule, service, operation, request string
		old, new, want                    string
	}{
		{"operation", "ec2", "LockSnapshot", `{"SnapshotId":"snap-1","LockMode":"governance"}`, "", "", ""},
		{"member", "ec2", "DescribeInstances", `{"InstanceIds":["i-1"]}`, "InstanceIds", "InstanceIDs", "DescribeInstances: no member InstanceIDs"},
		{"the model's own lower case", "ec2", "DescribeInstances", `{"InstanceIds":["i-1"]}`, "InstanceIds", "instanceIds", "no member instanceIds"},
		{"member below", "ec2", "DescribeInstances", `{"Filters":[{"Name":"a","Values":["b"]}]}`, "Values", "Value", "DescribeInstances.Filters[0]: no member Value"},
		{"required", "kms", "DescribeKey", `{"KeyId":"a"}`, `"KeyId":"a"`, "", "DescribeKey: KeyId is missing"},
		{"required below", "s3", "PutBucketVersioning", `{"Bucket":"b","VersioningConfiguration":{}}`, `,"VersioningConfiguration":{}`, "", "VersioningConfiguration is missing"},
		{"boolean", "ec2", "DescribeInstances", `{"DryRun":true}`, "true", `"true"`, "no boolean"},
		{"string", "kms", "DescribeKey", `{"KeyId":"a"}`, `"a"`, "1", "no string"},
		{"list", "ec2", "DescribeInstances", `{"InstanceIds":["i-1"]}`, `["i-1"]`, `"i-1"`, "no list"},
		{"structure", "ec2", "DescribeInstances", `{"Filters":[{}]}`, "{}", "[]", "no structure"},
		{"map", "kms", "Encrypt", `{"KeyId":"a","Plaintext":"(dropped)","EncryptionContext":{"a":"b"}}`, `{"a":"b"}`, `["a"]`, "no map"},
		{"map's values", "kms", "Encrypt", `{"KeyId":"a","Plaintext":"(dropped)","EncryptionContext":{"a":"b"}}`, `"b"`, "2", "EncryptionContext.a: 2 is no string"},
		{"map's keys", "s3", "PutObject", `{"Bucket":"b","Key":"k","Metadata":{"a":"b"}}`, `{"a":"b"}`, `{"a":null}`, "no string"},
		{"number", "ec2", "CreateVolume", `{"AvailabilityZone":"a","Size":8}`, "8", `"eight"`, "no number"},
		{"whole number", "ec2", "CreateVolume", `{"AvailabilityZone":"a","Size":8}`, "8", "8.5", "no whole number"},
		{"32 bits", "ec2", "CreateVolume", `{"AvailabilityZone":"a","Size":8}`, "8", "2147483648", "32 bits"},
		{"a long number as text", "s3", "UploadPart", `{"Bucket":"b","Key":"k","UploadId":"u","PartNumber":1,"ContentLength":"9007199254740993"}`, `993"`, `x"`, "no number"},
		{"time", "s3", "PutObjectRetention", `{"Bucket":"b","Key":"k","Retention":{"RetainUntilDate":"1970-01-01T00:00:00Z"}}`, "1970-01-01T00:00:00Z", "1970-01-01", "no time"},
		{"enumeration", "ec2", "LockSnapshot", `{"SnapshotId":"snap-1","LockMode":"governance"}`, "governance", "GOVERNANCE", `LockMode: "GOVERNANCE" is not in the enumeration`},
		{"shortest text", "kms", "DescribeKey", `{"KeyId":"a"}`, `"a"`, `""`, "0 is below the least, 1 characters"},
		{"longest text", "iam", "GetRolePolicy", `{"RoleName":"r","PolicyName":"p"}`, `"r"`, `"` + strings.Repeat("r", 65) + `"`, "65 is above the most, 64 characters"},
		{"characters, not bytes", "cloudformation", "CreateStack", `{"StackName":"s","Tags":[{"Key":"` + strings.Repeat("ü", 128) + `","Value":"v"}]}`, "ü", "üü", "129 is above the most, 128 characters"},
		{"least number", "ebs", "ListSnapshotBlocks", `{"SnapshotId":"snap-1","MaxResults":100}`, "100", "99", "99 is below the least, 100"},
		{"greatest number", "ebs", "ListSnapshotBlocks", `{"SnapshotId":"snap-1","MaxResults":10000}`, "10000", "10001", "10001 is above the most, 10000"},
		{"pattern", "ebs", "ListSnapshotBlocks", `{"SnapshotId":"snap-1"}`, "snap-1", "snap-g", `"snap-g" does not match`},
		{"most items", "cloudformation", "CreateStack", `{"StackName":"s","Capabilities":["CAPABILITY_IAM"],"NotificationARNs":["a","b","c","d","e"]}`, `"a",`, `"a","f",`, "6 is above the most, 5 items"},
		{"fewest items", "elbv2", "AddTags", `{"ResourceArns":["a"],"Tags":[{"Key":"k"}]}`, `{"Key":"k"}`, "", "0 is below the least, 1 items"},
		{"fewest pairs", "ssm", "StartAutomationExecution", `{"DocumentName":"doc","Parameters":{"a":["b"]}}`, `"a":["b"]`, "", "0 is below the least, 1 pairs"},
		{"a long list's digest", "iam", "TagRole", `{"RoleName":"r","Tags":` + someDigest + `9,"items":50}}`, "50", "51", "51 is above the most, 50 items"},
		{"a long text's digest", "iam", "PutRolePolicy", `{"RoleName":"r","PolicyName":"p","PolicyDocument":` + someDigest + `9}}`, ":9", ":0", "0 bytes, fewer than 1 characters"},
		{"bytes", "kms", "Sign", `{"KeyId":"a","SigningAlgorithm":"ECDSA_SHA_256","Message":` + someDigest + `4096}}`, "4096", "4097", "4097 is above the most, 4096 bytes"},
		{"a body", "s3", "PutObject", `{"Bucket":"b","Key":"k","Body":{"body":"(dropped)","bytes":3}}`, "(dropped)", "abc", "no blob"},
		{"one of a union", "ssm", "StartExecutionPreview", `{"DocumentName":"doc","ExecutionInputs":{"Automation":{}}}`, `"Automation":{}`, "", "a union with 0 members set"},
		{"nothing to take", "autoscaling", "DescribeAccountLimits", `{}`, "{}", `{"A":1}`, "takes nothing"},
		{"JSON", "ec2", "DescribeInstances", `{}`, "{}", `{`, "params: unexpected end"},
	}
	for _, tt := range tests {
		m := mustModels(t)[tt.service]
		if got := checkRequest(m, tt.operation, []byte(tt.request)).problems; len(got) > 0 {
			t.Errorf("%s: the request that should pass: %s", tt.rule, got)
		}
		operation, request := tt.operation, strings.Replace(tt.request, tt.old, tt.new, 1)
		if tt.old == "" {
			operation, tt.want = "LockSnapshots", "no such operation"
		}
		got := checkRequest(m, operation, []byte(request)).problems
		if len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: got %q, want %s", tt.rule, got, tt.want)
		}
	}
}
