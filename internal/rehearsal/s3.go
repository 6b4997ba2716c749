package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// s3State is the account's buckets, by name: a bucket belongs to one Region, but
// its name is global.
type s3State struct {
	Buckets map[string]*bucket `json:"buckets,omitempty"`
}

type bucket struct {
	Name       string                                `json:"name"`
	Region     string                                `json:"region"`
	Created    time.Time                             `json:"created"`
	Versioning types.BucketVersioningStatus          `json:"versioning,omitempty"`
	Lock       bool                                  `json:"lock,omitempty"` // Object Lock is on, for good
	Retention  *types.DefaultRetention               `json:"retention,omitempty"`
	Encryption *types.ServerSideEncryptionByDefault  `json:"encryption,omitempty"`
	Public     *types.PublicAccessBlockConfiguration `json:"public,omitempty"`
	Policy     string                                `json:"policy,omitempty"`
	Objects    map[string][]*s3Version               `json:"objects,omitempty"` // by key; oldest version first
	Uploads    map[string]*s3Upload                  `json:"uploads,omitempty"` // by upload ID
}

// s3Attributes are what a request to store an object says about it; a multipart
// upload keeps them from its creation to its completion.
type s3Attributes struct {
	ContentType  string                     `json:"contentType,omitempty"`
	Metadata     map[string]string          `json:"metadata,omitempty"`
	StorageClass types.StorageClass         `json:"storageClass,omitempty"`
	Encryption   types.ServerSideEncryption `json:"encryption,omitempty"`
	KMSKey       string                     `json:"kmsKey,omitempty"`
	Lock         s3Lock                     `json:"lock"`
}

type s3Version struct {
	s3Attributes
	ID           string             `json:"id"` // "null" where the bucket was not versioned
	Modified     time.Time          `json:"modified"`
	Marker       bool               `json:"marker,omitempty"` // a delete marker: nothing else is set
	ETag         string             `json:"etag,omitempty"`   // quoted, as S3 gives it
	Size         int64              `json:"size"`
	Sums         s3Sums             `json:"sums,omitempty"`
	ChecksumType types.ChecksumType `json:"checksumType,omitempty"`
	Body         []s3Piece          `json:"body,omitempty"`
	Parts        []*s3Part          `json:"parts,omitempty"` // of a multipart object; their bodies are in Body
}

func (ops operations) s3() {
	on(ops, s3CreateBucket)
	on(ops, s3HeadBucket)
	on(ops, s3ListBuckets)
	on(ops, s3GetBucketLocation)
	on(ops, s3GetBucketVersioning)
	on(ops, s3PutBucketVersioning)
	on(ops, s3GetObjectLockConfiguration)
	on(ops, s3PutObjectLockConfiguration)
	on(ops, s3GetBucketEncryption)
	on(ops, s3PutBucketEncryption)
	on(ops, s3GetPublicAccessBlock)
	on(ops, s3PutPublicAccessBlock)
	on(ops, s3GetBucketPolicy)
	on(ops, s3PutBucketPolicy)
	on(ops, s3GetBucketPolicyStatus)

	on(ops, s3PutObject)
	on(ops, s3HeadObject)
	on(ops, s3GetObject)
	on(ops, s3GetObjectAttributes)
	on(ops, s3DeleteObject)
	on(ops, s3ListObjectsV2)
	on(ops, s3ListObjectVersions)

	on(ops, s3GetObjectRetention)
	on(ops, s3PutObjectRetention)
	on(ops, s3GetObjectLegalHold)
	on(ops, s3PutObjectLegalHold)

	on(ops, s3CreateMultipartUpload)
	on(ops, s3UploadPart)
	on(ops, s3ListParts)
	on(ops, s3ListMultipartUploads)
	on(ops, s3CompleteMultipartUpload)
	on(ops, s3AbortMultipartUpload)
}

// s3Action is the IAM action of an operation, where it has not the operation's name
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html).
func s3Action(operation string) string {
	switch operation {
	case "HeadObject":
		return "GetObject"
	case "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload":
		return "PutObject"
	case "HeadBucket", "ListObjectsV2":
		return "ListBucket"
	case "ListObjectVersions":
		return "ListBucketVersions"
	case "ListParts":
		return "ListMultipartUploadParts"
	case "ListMultipartUploads":
		return "ListBucketMultipartUploads"
	case "ListBuckets":
		return "ListAllMyBuckets"
	case "GetObjectLockConfiguration":
		return "GetBucketObjectLockConfiguration"
	case "PutObjectLockConfiguration":
		return "PutBucketObjectLockConfiguration"
	case "GetBucketEncryption":
		return "GetEncryptionConfiguration"
	case "PutBucketEncryption":
		return "PutEncryptionConfiguration"
	case "GetPublicAccessBlock":
		return "GetBucketPublicAccessBlock"
	case "PutPublicAccessBlock":
		return "PutBucketPublicAccessBlock"
	default:
		return operation
	}
}

// s3Bucket finds a bucket for a request that may name the account it expects to own it.
// A request to another Region's endpoint is redirected, which the SDK shows as an error
// (Amazon S3 User Guide, "Making requests using the REST API", request redirection).
func (c *call) s3Bucket(name, owner *string) (*bucket, error) {
	b, ok := c.S3.Buckets[aws.ToString(name)]
	switch {
	case !ok && c.isOthersBucket(aws.ToString(name)):
		return nil, apiError("AccessDenied", "Access Denied") // bucket policies are kept, not enforced
	case !ok:
		return nil, &types.NoSuchBucket{Message: aws.String("The specified bucket does not exist")}
	case owner != nil && *owner != c.Account:
		return nil, apiError("AccessDenied", "Access Denied")
	case c.region != b.Region:
		return nil, apiError("PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint: s3."+b.Region+".amazonaws.com")
	}
	return b, nil
}

func (c *call) isOthersBucket(name string) bool {
	return slices.ContainsFunc(c.accounts(), func(w *world) bool { return w.S3.Buckets[name] != nil })
}

// current is the newest version of a key, or nil.
func (b *bucket) current(key string) *s3Version {
	versions := b.Objects[key]
	if len(versions) == 0 {
		return nil
	}
	return versions[len(versions)-1]
}

// s3Version finds the version that a request names, or the newest. Asking for a
// delete marker by its ID is "method not allowed" (DeleteMarker.html in the S3 User Guide).
func (b *bucket) s3Version(key, id *string) (*s3Version, error) {
	if id == nil {
		v := b.current(aws.ToString(key))
		if v == nil || v.Marker {
			return nil, &types.NoSuchKey{Message: aws.String("The specified key does not exist.")}
		}
		return v, nil
	}
	for _, v := range b.Objects[aws.ToString(key)] {
		if v.ID == *id && v.Marker {
			return nil, apiError("MethodNotAllowed", "The specified method is not allowed against this resource.")
		}
		if v.ID == *id {
			return v, nil
		}
	}
	if len(*id) != versionIDLength && *id != nullVersion {
		return nil, apiError("InvalidArgument", "Invalid version id specified")
	}
	return nil, apiError("NoSuchVersion", "The specified version does not exist.")
}

// add makes a version the newest of its key. Without versioning it takes the place of the version "null".
func (b *bucket) add(key string, v *s3Version) {
	if v.ID == nullVersion {
		b.remove(key, nullVersion)
	}
	put(&b.Objects, key, append(b.Objects[key], v))
}

func (b *bucket) remove(key, id string) {
	if len(b.Objects[key]) == 0 {
		return
	}
	b.Objects[key] = slices.DeleteFunc(b.Objects[key], func(v *s3Version) bool { return v.ID == id })
	if len(b.Objects[key]) == 0 {
		delete(b.Objects, key)
	}
}

const (
	// nullVersion is the version ID of what is stored while versioning is not on.
	nullVersion = "null"
	// versionIDLength: S3 refuses what no version can be called (400) where it
	// does not find what one could be (404).
	versionIDLength = 32
)

func (c *call) versionID(b *bucket) string {
	if b.Versioning != types.BucketVersioningStatusEnabled {
		return nullVersion
	}
	return c.s3ID()
}

// s3ID looks like S3's version and upload IDs: 32 characters safe in a URL.
func (c *call) s3ID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_."
	r := c.random()
	var id strings.Builder
	for range 32 {
		id.WriteByte(letters[r.IntN(len(letters))])
	}
	return id.String()
}

// keysWithPrefix is in S3's order, which is that of the UTF-8 bytes.
func keysWithPrefix[V any](m map[string]V, prefix string) []string {
	return slices.DeleteFunc(sortedKeys(m), func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

// preconditions checks IfMatch and IfNoneMatch of a request that would store an object
// (conditional-writes.html in the S3 User Guide). A delete marker counts as no object.
func (b *bucket) preconditions(key string, ifMatch, ifNoneMatch *string) error {
	if ifNoneMatch != nil && *ifNoneMatch != "*" {
		return apiError("NotImplemented", "A header you provided implies functionality that is not implemented")
	}
	v := b.current(key)
	exists := v != nil && !v.Marker
	if ifMatch != nil && !exists {
		return &types.NoSuchKey{Message: aws.String("The specified key does not exist.")}
	}
	if ifNoneMatch != nil && exists || ifMatch != nil && strings.Trim(*ifMatch, `"`) != strings.Trim(v.ETag, `"`) {
		return apiError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	return nil
}
