package rehearsal

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	ipv4       = regexp.MustCompile(`^\d+(\.\d+){3}$`)
)

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: a new bucket blocks
// public access and encrypts with SSE-S3. Object Lock asked for here turns versioning on.
func s3CreateBucket(c *call, in *s3.CreateBucketInput) (*s3.CreateBucketOutput, error) {
	name := aws.ToString(in.Bucket)
	if !bucketName.MatchString(name) || strings.Contains(name, "..") || ipv4.MatchString(name) {
		return nil, apiError("InvalidBucketName", "The specified bucket is not valid.")
	}
	if _, ok := c.S3.Buckets[name]; ok {
		return nil, &types.BucketAlreadyOwnedByYou{Message: aws.String("Your previous request to create the named bucket succeeded and you already own it.")}
	}
	region := "us-east-1"
	if in.CreateBucketConfiguration != nil && in.CreateBucketConfiguration.LocationConstraint != "" {
		region = string(in.CreateBucketConfiguration.LocationConstraint)
	}
	if region != c.region {
		return nil, apiError("IllegalLocationConstraintException", "The "+region+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	b := &bucket{
		Name: name, Region: region, Created: c.Now,
		Encryption: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256},
		Public: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	}
	if aws.ToBool(in.ObjectLockEnabledForBucket) {
		b.Lock, b.Versioning = true, types.BucketVersioningStatusEnabled
	}
	put(&c.S3.Buckets, name, b)
	return &s3.CreateBucketOutput{Location: aws.String("http://" + name + ".s3.amazonaws.com/"), BucketArn: aws.String("arn:aws:s3:::" + name)}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html: it has no body, so an
// error has only its status: 404, 403 or 301.
func s3HeadBucket(c *call, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if elsewhere := c.S3.Buckets[aws.ToString(in.Bucket)]; err != nil && elsewhere != nil && elsewhere.Region != c.region {
		return nil, redirected(elsewhere.Region, bodiless(err))
	}
	if err != nil {
		return nil, bodiless(err)
	}
	return &s3.HeadBucketOutput{
		BucketRegion: &b.Region, BucketArn: aws.String("arn:aws:s3:::" + b.Name), AccessPointAlias: aws.Bool(false),
	}, nil
}

// redirected is the answer to who asks in another Region: its header names the bucket's.
func redirected(region string, err error) error {
	answer := &http.Response{StatusCode: http.StatusMovedPermanently, Header: http.Header{"X-Amz-Bucket-Region": {region}}}
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: answer}, Err: err}}
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
func s3ListBuckets(c *call, _ *s3.ListBucketsInput) (*s3.ListBucketsOutput, error) {
	out := &s3.ListBucketsOutput{Owner: &types.Owner{ID: aws.String(c.Account)}}
	for _, name := range sortedKeys(c.S3.Buckets) {
		b := c.S3.Buckets[name]
		out.Buckets = append(out.Buckets, types.Bucket{Name: aws.String(name), BucketRegion: &b.Region, CreationDate: &b.Created})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html: us-east-1 is
// an empty constraint. It answers from every Region.
func s3GetBucketLocation(c *call, in *s3.GetBucketLocationInput) (*s3.GetBucketLocationOutput, error) {
	b, ok := c.S3.Buckets[aws.ToString(in.Bucket)]
	if !ok {
		return nil, &types.NoSuchBucket{Message: aws.String("The specified bucket does not exist")}
	}
	out := &s3.GetBucketLocationOutput{}
	if b.Region != "us-east-1" {
		out.LocationConstraint = types.BucketLocationConstraint(b.Region)
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html: no status at all
// where versioning was never on.
func s3GetBucketVersioning(c *call, in *s3.GetBucketVersioningInput) (*s3.GetBucketVersioningOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketVersioningOutput{Status: b.Versioning}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html; with Object Lock
// it can't be suspended again (object-lock-managing.html in the S3 User Guide).
func s3PutBucketVersioning(c *call, in *s3.PutBucketVersioningInput) (*s3.PutBucketVersioningOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	status := in.VersioningConfiguration.Status
	if status != types.BucketVersioningStatusEnabled && status != types.BucketVersioningStatusSuspended {
		return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if b.Lock && status != types.BucketVersioningStatusEnabled {
		return nil, apiError("InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	b.Versioning = status
	return &s3.PutBucketVersioningOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLockConfiguration.html
func s3GetObjectLockConfiguration(c *call, in *s3.GetObjectLockConfigurationInput) (*s3.GetObjectLockConfigurationOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if !b.Lock {
		return nil, apiError("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	}
	out := &s3.GetObjectLockConfigurationOutput{ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}}
	if b.Retention != nil {
		r := *b.Retention
		out.ObjectLockConfiguration.Rule = &types.ObjectLockRule{DefaultRetention: &r}
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html: needs
// versioning; the default is a mode with days or years, and no rule takes it away.
func s3PutObjectLockConfiguration(c *call, in *s3.PutObjectLockConfigurationInput) (*s3.PutObjectLockConfigurationOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Versioning != types.BucketVersioningStatusEnabled {
		return nil, apiError("InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	config := in.ObjectLockConfiguration
	if config == nil || config.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	var retention *types.DefaultRetention
	if config.Rule != nil && config.Rule.DefaultRetention != nil {
		r := *config.Rule.DefaultRetention
		if r.Mode == "" || (r.Days == nil) == (r.Years == nil) || aws.ToInt32(r.Days) < 0 || aws.ToInt32(r.Years) < 0 || aws.ToInt32(r.Days)+aws.ToInt32(r.Years) == 0 {
			return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		retention = &r
	}
	b.Lock, b.Retention = true, retention
	return &s3.PutObjectLockConfigurationOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html
func s3GetBucketEncryption(c *call, in *s3.GetBucketEncryptionInput) (*s3.GetBucketEncryptionOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	e := *b.Encryption
	return &s3.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &e, BucketKeyEnabled: aws.Bool(e.KMSMasterKeyID != nil)}},
	}}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html
func s3PutBucketEncryption(c *call, in *s3.PutBucketEncryptionInput) (*s3.PutBucketEncryptionOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	rules := in.ServerSideEncryptionConfiguration.Rules
	if len(rules) != 1 || rules[0].ApplyServerSideEncryptionByDefault == nil {
		return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	e := *rules[0].ApplyServerSideEncryptionByDefault
	b.Encryption = &e
	return &s3.PutBucketEncryptionOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html
func s3GetPublicAccessBlock(c *call, in *s3.GetPublicAccessBlockInput) (*s3.GetPublicAccessBlockOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Public == nil {
		return nil, apiError("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	p := *b.Public
	return &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &p}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html
func s3PutPublicAccessBlock(c *call, in *s3.PutPublicAccessBlockInput) (*s3.PutPublicAccessBlockOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	p := *in.PublicAccessBlockConfiguration
	b.Public = &p
	return &s3.PutPublicAccessBlockOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html
func s3GetBucketPolicy(c *call, in *s3.GetBucketPolicyInput) (*s3.GetBucketPolicyOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, apiError("NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return &s3.GetBucketPolicyOutput{Policy: aws.String(b.Policy)}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html. The account keeps
// the policy and does not enforce it.
func s3PutBucketPolicy(c *call, in *s3.PutBucketPolicyInput) (*s3.PutBucketPolicyOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	b.Policy = aws.ToString(in.Policy)
	return &s3.PutBucketPolicyOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html. A policy is public where it
// allows anyone something without a condition that names who ("The meaning of public",
// access-control-block-public-access.html); here any condition counts as one.
func s3GetBucketPolicyStatus(c *call, in *s3.GetBucketPolicyStatusInput) (*s3.GetBucketPolicyStatusOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, apiError("NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	var policy struct {
		Statement []struct {
			Effect    string
			Principal any
			Condition map[string]any
		}
	}
	if err := json.Unmarshal([]byte(b.Policy), &policy); err != nil {
		return nil, apiError("MalformedPolicy", "Policies must be valid JSON")
	}
	public := false
	for _, s := range policy.Statement {
		named, _ := s.Principal.(map[string]any)
		anyone := s.Principal == "*" || named["AWS"] == "*"
		public = public || s.Effect == "Allow" && anyone && len(s.Condition) == 0
	}
	return &s3.GetBucketPolicyStatusOutput{PolicyStatus: &types.PolicyStatus{IsPublic: &public}}, nil
}
