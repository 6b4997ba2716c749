package rehearsal

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// s3Lock is what Object Lock holds against a version: retention and legal
// hold, each without the other (object-lock.html in the S3 User Guide).
type s3Lock struct {
	Mode  types.ObjectLockMode            `json:"mode,omitempty"`
	Until *time.Time                      `json:"until,omitempty"`
	Hold  types.ObjectLockLegalHoldStatus `json:"hold,omitempty"`
}

func (l s3Lock) set() bool { return l.Mode != "" || l.Hold != "" }

func (l s3Lock) retained(now time.Time) bool { return l.Until != nil && l.Until.After(now) }

var errLocked = apiError("AccessDenied", "Access Denied because object protected by object lock.")

// refuseDelete also guards a retention that would become shorter.
func (l s3Lock) refuseDelete(c *call, bypass bool) error {
	if l.Hold == types.ObjectLockLegalHoldStatusOn {
		return errLocked
	}
	return l.refuseLess(c, bypass)
}

// refuseLess: governance yields to the header together with the permission, compliance to nobody.
func (l s3Lock) refuseLess(c *call, bypass bool) error {
	if !l.retained(c.Now) {
		return nil
	}
	if l.Mode == types.ObjectLockModeGovernance && bypass && !c.denied("s3:BypassGovernanceRetention") {
		return nil
	}
	return errLocked
}

// lockFor is the lock of an object stored now: what the request says, else the bucket's default.
// A default counts from the moment the object is stored, so that of a multipart object from its completion.
func (b *bucket) lockFor(now time.Time, mode types.ObjectLockMode, until *time.Time, hold types.ObjectLockLegalHoldStatus) (s3Lock, error) {
	lock := s3Lock{Mode: mode, Until: until, Hold: hold}
	switch {
	case (mode != "" || until != nil || hold != "") && !b.Lock:
		return s3Lock{}, errNoLock
	case (mode == "") != (until == nil):
		return s3Lock{}, apiError("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	case until != nil && !until.After(now):
		return s3Lock{}, apiError("InvalidArgument", "The retain until date must be in the future!")
	}
	if until != nil {
		lock.Until = aws.Time(until.UTC().Truncate(time.Millisecond)) // as precise as the header
	}
	return lock.orDefault(b, now), nil
}

func (l s3Lock) orDefault(b *bucket, now time.Time) s3Lock {
	if l.Mode == "" && b.Retention != nil {
		l.Mode = types.ObjectLockMode(b.Retention.Mode)
		l.Until = aws.Time(now.AddDate(int(aws.ToInt32(b.Retention.Years)), 0, int(aws.ToInt32(b.Retention.Days))).UTC().Truncate(time.Millisecond))
	}
	return l
}

var errNoLock = &types.InvalidRequest{Message: aws.String("Bucket is missing Object Lock Configuration")}

// checksumRequired: API_PutObject.html and API_UploadPart.html, "Content-MD5 or a checksum is
// required for any request to upload an object with a retention period".
func checksumRequired(what string) error {
	return &types.InvalidRequest{Message: aws.String("Content-MD5 OR x-amz-checksum- HTTP header is required for " + what + " requests with Object Lock parameters")}
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectRetention.html
func s3GetObjectRetention(c *call, in *s3.GetObjectRetentionInput) (*s3.GetObjectRetentionOutput, error) {
	v, err := c.lockable(in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if v.Lock.Mode == "" {
		return nil, errNoObjectLock
	}
	return &s3.GetObjectRetentionOutput{Retention: &types.ObjectLockRetention{
		Mode: types.ObjectLockRetentionMode(v.Lock.Mode), RetainUntilDate: v.Lock.Until,
	}}, nil
}

var errNoObjectLock = apiError("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")

// lockable finds a version in a bucket that has Object Lock.
func (c *call) lockable(bucket, owner, key, version *string) (*s3Version, error) {
	b, err := c.s3Bucket(bucket, owner)
	if err != nil {
		return nil, err
	}
	if !b.Lock {
		return nil, errNoLock
	}
	return b.s3Version(key, version)
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html: longer is
// always allowed; shorter, weaker or none is not, but for governance with the bypass.
func s3PutObjectRetention(c *call, in *s3.PutObjectRetentionInput) (*s3.PutObjectRetentionOutput, error) {
	v, err := c.lockable(in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	want := s3Lock{Hold: v.Lock.Hold}
	if in.Retention != nil && (in.Retention.Mode != "" || in.Retention.RetainUntilDate != nil) {
		want.Mode, want.Until = types.ObjectLockMode(in.Retention.Mode), in.Retention.RetainUntilDate
		if !slices.Contains(want.Mode.Values(), want.Mode) || want.Until == nil {
			return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		if !want.Until.After(c.Now) {
			return nil, apiError("InvalidArgument", "The retain until date must be in the future!")
		}
		want.Until = aws.Time(want.Until.UTC().Truncate(time.Millisecond))
	}
	sameOrStronger := want.Mode == v.Lock.Mode || want.Mode == types.ObjectLockModeCompliance
	if !sameOrStronger || want.Until == nil || v.Lock.Until != nil && want.Until.Before(*v.Lock.Until) {
		if err := v.Lock.refuseLess(c, aws.ToBool(in.BypassGovernanceRetention)); err != nil {
			return nil, err
		}
	}
	v.Lock = want
	return &s3.PutObjectRetentionOutput{}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLegalHold.html
func s3GetObjectLegalHold(c *call, in *s3.GetObjectLegalHoldInput) (*s3.GetObjectLegalHoldOutput, error) {
	v, err := c.lockable(in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if v.Lock.Hold == "" {
		return nil, errNoObjectLock
	}
	return &s3.GetObjectLegalHoldOutput{LegalHold: &types.ObjectLockLegalHold{Status: v.Lock.Hold}}, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLegalHold.html
func s3PutObjectLegalHold(c *call, in *s3.PutObjectLegalHoldInput) (*s3.PutObjectLegalHoldOutput, error) {
	v, err := c.lockable(in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if in.LegalHold == nil || in.LegalHold.Status != types.ObjectLockLegalHoldStatusOn && in.LegalHold.Status != types.ObjectLockLegalHoldStatusOff {
		return nil, apiError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	v.Lock.Hold = in.LegalHold.Status
	return &s3.PutObjectLegalHoldOutput{}, nil
}
