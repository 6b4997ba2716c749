package rehearsal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxPut is the largest body of one PutObject or UploadPart: 5 GiB.
const maxPut = 5 << 30

// errNotModelled keeps what the account would lose without a word from looking as if it had been done.
var errNotModelled = apiError("NotImplemented", "the simulated account keeps no object tags and no customer-provided keys")

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
func s3PutObject(c *call, in *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.Tagging != nil || in.SSECustomerKey != nil {
		return nil, errNotModelled
	}
	lock, err := b.lockFor(c.Now, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus)
	if err != nil {
		return nil, err
	}
	up := &s3Upstream{
		Body: in.Body, MD5: in.ContentMD5, Algorithm: in.ChecksumAlgorithm,
		Sums: givenSums(in.ChecksumSHA256, in.ChecksumSHA1, in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME),
	}
	if lock.set() && !up.checksummed() {
		return nil, checksumRequired("Put Object")
	}
	if err := b.preconditions(aws.ToString(in.Key), in.IfMatch, in.IfNoneMatch); err != nil {
		return nil, err
	}
	about := s3Attributes{
		ContentType: valueOr(in.ContentType, "application/octet-stream"), // the SDK sends it with any body
		Metadata:    maps.Clone(in.Metadata), StorageClass: in.StorageClass,
		Encryption: in.ServerSideEncryption, KMSKey: aws.ToString(in.SSEKMSKeyId), Lock: lock,
	}
	if err := c.encrypt(b, &about); err != nil {
		return nil, err
	}
	body, err := up.store(c.blobs)
	if err != nil {
		return nil, err
	}
	if body.size > maxPut {
		return nil, apiError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	v := &s3Version{
		s3Attributes: about, ID: c.versionID(b), Modified: c.Now.Truncate(time.Second), ETag: body.etag(),
		Size: body.size, Sums: body.sums, ChecksumType: types.ChecksumTypeFullObject, Body: body.pieces,
	}
	b.add(*in.Key, v)
	return &s3.PutObjectOutput{
		ETag: &v.ETag, VersionId: v.id(), ServerSideEncryption: v.Encryption, SSEKMSKeyId: nilIfEmpty(v.KMSKey),
		ChecksumType: v.ChecksumType, ChecksumSHA256: v.Sums.get("SHA256"), ChecksumSHA1: v.Sums.get("SHA1"),
		ChecksumCRC32: v.Sums.get("CRC32"), ChecksumCRC32C: v.Sums.get("CRC32C"), ChecksumCRC64NVME: v.Sums.get("CRC64NVME"),
	}, nil
}

// encrypt fills in the bucket's default encryption and checks that its key can be used.
func (c *call) encrypt(b *bucket, about *s3Attributes) error {
	if about.Encryption == "" {
		about.Encryption, about.KMSKey = b.Encryption.SSEAlgorithm, aws.ToString(b.Encryption.KMSMasterKeyID)
	}
	if about.StorageClass == "" {
		about.StorageClass = types.StorageClassStandard
	}
	return c.s3Key(about.KMSKey, "kms:GenerateDataKey")
}

// s3Key is what S3 says where the object's KMS key can't be used by the caller.
func (c *call) s3Key(key, action string) error {
	switch err := c.useKey(key, action); {
	case err == nil:
		return nil
	case errors.Is(err, errKeyState):
		return apiError("KMS.DisabledException", err.Error())
	default:
		return apiError("AccessDenied", err.Error())
	}
}

// id is the version ID that S3 answers with: none where the bucket was never versioned.
func (v *s3Version) id() *string {
	if v.ID == nullVersion {
		return nil
	}
	return &v.ID
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: it has no body, so an error has
// only its status. Checksums come only where ChecksumMode asks for them.
func s3HeadObject(c *call, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, bodiless(err)
	}
	v, err := b.s3Version(in.Key, in.VersionId)
	if err != nil {
		return nil, bodiless(err)
	}
	if err := c.s3Key(v.KMSKey, "kms:Decrypt"); err != nil {
		return nil, bodiless(err)
	}
	out := &s3.HeadObjectOutput{
		AcceptRanges: aws.String("bytes"), ContentLength: &v.Size, ContentType: nilIfEmpty(v.ContentType), ETag: &v.ETag,
		LastModified: &v.Modified, Metadata: v.Metadata, ServerSideEncryption: v.Encryption, SSEKMSKeyId: nilIfEmpty(v.KMSKey),
		VersionId: v.id(), ObjectLockMode: v.Lock.Mode, ObjectLockRetainUntilDate: v.Lock.Until, ObjectLockLegalHoldStatus: v.Lock.Hold,
	}
	if v.StorageClass != types.StorageClassStandard {
		out.StorageClass = v.StorageClass
	}
	if in.ChecksumMode == types.ChecksumModeEnabled {
		out.ChecksumType, out.ChecksumSHA256, out.ChecksumSHA1 = v.ChecksumType, v.Sums.get("SHA256"), v.Sums.get("SHA1")
		out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME = v.Sums.get("CRC32"), v.Sums.get("CRC32C"), v.Sums.get("CRC64NVME")
	}
	return out, nil
}

// bodiless turns an error into what the SDK makes of the status of an answer without a body.
func bodiless(err error) error {
	var code interface{ ErrorCode() string }
	if !errors.As(err, &code) {
		return err
	}
	switch code.ErrorCode() {
	case "NoSuchKey", "NoSuchVersion", "NoSuchBucket":
		return &types.NotFound{}
	case "AccessDenied":
		return apiError("Forbidden", "Forbidden")
	case "InvalidArgument":
		return apiError("BadRequest", "Bad Request")
	case "PermanentRedirect":
		return apiError("MovedPermanently", "Moved Permanently")
	default:
		return apiError(code.ErrorCode(), "")
	}
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func s3GetObject(c *call, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	v, err := b.s3Version(in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if err := c.s3Key(v.KMSKey, "kms:Decrypt"); err != nil {
		return nil, err
	}
	if in.IfMatch != nil && strings.Trim(*in.IfMatch, `"`) != strings.Trim(v.ETag, `"`) {
		return nil, apiError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	offset, length := int64(0), v.Size
	out := &s3.GetObjectOutput{
		AcceptRanges: aws.String("bytes"), ContentType: nilIfEmpty(v.ContentType), ETag: &v.ETag,
		LastModified: &v.Modified, Metadata: v.Metadata, ServerSideEncryption: v.Encryption, SSEKMSKeyId: nilIfEmpty(v.KMSKey),
		VersionId: v.id(), ObjectLockMode: v.Lock.Mode, ObjectLockRetainUntilDate: v.Lock.Until, ObjectLockLegalHoldStatus: v.Lock.Hold,
	}
	if in.Range != nil {
		if offset, length, err = byteRange(*in.Range, v.Size); err != nil {
			return nil, err
		}
		out.ContentRange = aws.String(fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, v.Size))
	}
	if in.ChecksumMode == types.ChecksumModeEnabled && in.Range == nil {
		out.ChecksumType, out.ChecksumSHA256, out.ChecksumSHA1 = v.ChecksumType, v.Sums.get("SHA256"), v.Sums.get("SHA1")
		out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME = v.Sums.get("CRC32"), v.Sums.get("CRC32C"), v.Sums.get("CRC64NVME")
	}
	out.ContentLength = &length
	out.Body = openBody(c.blobs, v.Body, offset, length)
	return out, nil
}

// byteRange reads a Range header with one range (RFC 9110, section 14.1.2). S3 has no other kind.
func byteRange(header string, size int64) (offset, length int64, err error) {
	invalid := apiError("InvalidRange", "The requested range is not satisfiable")
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok {
		return 0, 0, invalid
	}
	if first == "" { // the last n bytes
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n <= 0 || size == 0 {
			return 0, 0, invalid
		}
		n = min(n, size)
		return size - n, n, nil
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from >= size {
		return 0, 0, invalid
	}
	to := size - 1
	if last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil || to < from {
			return 0, 0, invalid
		}
	}
	return from, min(to, size-1) - from + 1, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html: unlike HeadObject it
// gives the ETag without quotes, and the parts' own checksums.
func s3GetObjectAttributes(c *call, in *s3.GetObjectAttributesInput) (*s3.GetObjectAttributesOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	v, err := b.s3Version(in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	asked := func(a types.ObjectAttributes) bool { return slices.Contains(in.ObjectAttributes, a) }
	out := &s3.GetObjectAttributesOutput{LastModified: &v.Modified, VersionId: v.id()}
	if asked(types.ObjectAttributesEtag) {
		out.ETag = aws.String(strings.Trim(v.ETag, `"`))
	}
	if asked(types.ObjectAttributesChecksum) && len(v.Sums) > 0 {
		out.Checksum = v.Sums.detail(v.ChecksumType)
	}
	if asked(types.ObjectAttributesObjectSize) {
		out.ObjectSize = &v.Size
	}
	if asked(types.ObjectAttributesStorageClass) {
		out.StorageClass = v.StorageClass
	}
	if asked(types.ObjectAttributesObjectParts) && len(v.Parts) > 0 {
		out.ObjectParts, err = v.partsPage(in)
	}
	return out, err
}

func (v *s3Version) partsPage(in *s3.GetObjectAttributesInput) (*types.GetObjectAttributesParts, error) {
	marker, limit, err := pageOf(in.PartNumberMarker, in.MaxParts)
	if err != nil {
		return nil, err
	}
	out := &types.GetObjectAttributesParts{
		IsTruncated: aws.Bool(false), MaxParts: aws.Int32(int32(limit)),
		PartNumberMarker: aws.String(strconv.Itoa(marker)), TotalPartsCount: aws.Int32(int32(len(v.Parts))),
	}
	for _, p := range v.Parts {
		if int(p.Number) <= marker || len(v.Sums) == 0 {
			continue
		}
		if len(out.Parts) == limit {
			out.IsTruncated = aws.Bool(true)
			out.NextPartNumberMarker = aws.String(strconv.Itoa(int(aws.ToInt32(out.Parts[limit-1].PartNumber))))
			break
		}
		out.Parts = append(out.Parts, types.ObjectPart{
			PartNumber: &p.Number, Size: &p.Size, ChecksumSHA256: p.Sums.get("SHA256"), ChecksumSHA1: p.Sums.get("SHA1"),
			ChecksumCRC32: p.Sums.get("CRC32"), ChecksumCRC32C: p.Sums.get("CRC32C"), ChecksumCRC64NVME: p.Sums.get("CRC64NVME"),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html: without a version ID it
// puts a delete marker on top, locked or not; with one it deletes for good, which a lock refuses
// (object-lock.html in the S3 User Guide). A version that is not there is no error.
func s3DeleteObject(c *call, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	key := aws.ToString(in.Key)
	if in.VersionId == nil {
		if b.Versioning == "" {
			b.remove(key, nullVersion)
			return &s3.DeleteObjectOutput{}, nil
		}
		marker := &s3Version{ID: c.versionID(b), Modified: c.Now.Truncate(time.Second), Marker: true}
		b.add(key, marker)
		return &s3.DeleteObjectOutput{DeleteMarker: aws.Bool(true), VersionId: &marker.ID}, nil
	}
	out := &s3.DeleteObjectOutput{VersionId: in.VersionId}
	for _, v := range b.Objects[key] {
		if v.ID != *in.VersionId {
			continue
		}
		if err := v.Lock.refuseDelete(c, aws.ToBool(in.BypassGovernanceRetention)); err != nil {
			return nil, err
		}
		if v.Marker {
			out.DeleteMarker = aws.Bool(true)
		}
	}
	b.remove(key, *in.VersionId)
	return out, nil
}
