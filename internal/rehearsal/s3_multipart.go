package rehearsal

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
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

// Limits of multipart uploads (qfacts.html in the S3 User Guide).
const (
	minPart  = 5 << 20 // bytes; the last part may be smaller
	maxParts = 10000
)

type s3Upload struct {
	s3Attributes
	ID        string                  `json:"id"`
	Key       string                  `json:"key"`
	Initiated time.Time               `json:"initiated"`
	Algorithm types.ChecksumAlgorithm `json:"algorithm,omitempty"`
	Parts     map[int32]*s3Part       `json:"parts,omitempty"`
}

type s3Part struct {
	Number   int32     `json:"number"`
	ETag     string    `json:"etag"`
	Size     int64     `json:"size"`
	Sums     s3Sums    `json:"sums,omitempty"`
	Body     []s3Piece `json:"body,omitempty"`
	Modified time.Time `json:"modified"`
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html: retention and the
// checksum's algorithm are set here, not on completion. The SHA and CRC-32 checksums are composite by default.
func s3CreateMultipartUpload(c *call, in *s3.CreateMultipartUploadInput) (*s3.CreateMultipartUploadOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.Tagging != nil || in.SSECustomerKey != nil {
		return nil, errNotModelled
	}
	if _, err := b.lockFor(c.Now, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus); err != nil {
		return nil, err
	}
	if in.ChecksumType == types.ChecksumTypeFullObject || in.ChecksumAlgorithm == types.ChecksumAlgorithmCrc64nvme {
		return nil, apiError("NotImplemented", "the simulated account has composite checksums only")
	}
	if in.ChecksumAlgorithm != "" {
		if _, err := newSum(in.ChecksumAlgorithm); err != nil {
			return nil, err
		}
	}
	u := &s3Upload{
		ID: c.s3ID(), Key: *in.Key, Initiated: c.Now, Algorithm: in.ChecksumAlgorithm,
		s3Attributes: s3Attributes{
			ContentType: valueOr(in.ContentType, "binary/octet-stream"), // S3's own default
			Metadata:    maps.Clone(in.Metadata), StorageClass: in.StorageClass,
			Encryption: in.ServerSideEncryption, KMSKey: aws.ToString(in.SSEKMSKeyId),
			// A default retention is left to the completion.
			Lock: s3Lock{Mode: in.ObjectLockMode, Until: in.ObjectLockRetainUntilDate, Hold: in.ObjectLockLegalHoldStatus},
		},
	}
	if err := c.encrypt(b, &u.s3Attributes); err != nil {
		return nil, err
	}
	put(&b.Uploads, u.ID, u)
	return &s3.CreateMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: &u.ID, ChecksumAlgorithm: u.Algorithm, ChecksumType: u.checksumType(),
		ServerSideEncryption: u.Encryption, SSEKMSKeyId: nilIfEmpty(u.KMSKey),
	}, nil
}

func (u *s3Upload) checksumType() types.ChecksumType {
	if u.Algorithm == "" {
		return ""
	}
	return types.ChecksumTypeComposite
}

func (c *call) s3Upload(bucket, owner, key, id *string) (*bucket, *s3Upload, error) {
	b, err := c.s3Bucket(bucket, owner)
	if err != nil {
		return nil, nil, err
	}
	u, ok := b.Uploads[aws.ToString(id)]
	if !ok || u.Key != aws.ToString(key) {
		return nil, nil, &types.NoSuchUpload{Message: aws.String("The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")}
	}
	return b, u, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html: a part sent again replaces
// the one before; its checksum must be of the upload's algorithm.
func s3UploadPart(c *call, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	b, u, err := c.s3Upload(in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	number := aws.ToInt32(in.PartNumber)
	if number < 1 || number > maxParts {
		return nil, apiError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	up := &s3Upstream{
		Body: in.Body, MD5: in.ContentMD5, Algorithm: in.ChecksumAlgorithm,
		Sums: givenSums(in.ChecksumSHA256, in.ChecksumSHA1, in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME),
	}
	if u.Lock.orDefault(b, c.Now).set() && !up.checksummed() {
		return nil, checksumRequired("Put Part")
	}
	given := up.Algorithm
	for a := range up.Sums {
		given = a
	}
	if given != u.Algorithm {
		return nil, &types.InvalidRequest{Message: aws.String(fmt.Sprintf("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", orNull(u.Algorithm), orNull(given)))}
	}
	body, err := up.store(c.blobs)
	if err != nil {
		return nil, err
	}
	if body.size > maxPut {
		return nil, apiError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	p := &s3Part{Number: number, ETag: body.etag(), Size: body.size, Body: body.pieces, Modified: c.Now.Truncate(time.Second)}
	if u.Algorithm != "" {
		p.Sums = body.sums
	}
	put(&u.Parts, number, p)
	return &s3.UploadPartOutput{
		ETag: &p.ETag, ServerSideEncryption: u.Encryption, SSEKMSKeyId: nilIfEmpty(u.KMSKey),
		ChecksumSHA256: p.Sums.get("SHA256"), ChecksumSHA1: p.Sums.get("SHA1"),
		ChecksumCRC32: p.Sums.get("CRC32"), ChecksumCRC32C: p.Sums.get("CRC32C"),
	}, nil
}

func orNull(a types.ChecksumAlgorithm) string {
	if a == "" {
		return "null"
	}
	return strings.ToLower(string(a))
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
func s3ListParts(c *call, in *s3.ListPartsInput) (*s3.ListPartsOutput, error) {
	_, u, err := c.s3Upload(in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	after, limit, err := pageOf(in.PartNumberMarker, in.MaxParts)
	if err != nil {
		return nil, err
	}
	out := &s3.ListPartsOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, MaxParts: aws.Int32(int32(limit)), IsTruncated: aws.Bool(false),
		PartNumberMarker: aws.String(strconv.Itoa(after)), ChecksumAlgorithm: u.Algorithm, ChecksumType: u.checksumType(), StorageClass: u.StorageClass,
	}
	for _, number := range slices.Sorted(maps.Keys(u.Parts)) {
		if int(number) <= after {
			continue
		}
		if len(out.Parts) == limit {
			out.IsTruncated = aws.Bool(true)
			break
		}
		p := u.Parts[number]
		out.NextPartNumberMarker = aws.String(strconv.Itoa(int(number)))
		out.Parts = append(out.Parts, types.Part{
			PartNumber: &p.Number, ETag: &p.ETag, Size: &p.Size, LastModified: &p.Modified,
			ChecksumSHA256: p.Sums.get("SHA256"), ChecksumSHA1: p.Sums.get("SHA1"),
			ChecksumCRC32: p.Sums.get("CRC32"), ChecksumCRC32C: p.Sums.get("CRC32C"),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html: by key, then by
// the time they were begun.
func s3ListMultipartUploads(c *call, in *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(in.MaxUploads)
	if err != nil {
		return nil, err
	}
	uploads := slices.SortedFunc(maps.Values(b.Uploads), func(a, b *s3Upload) int {
		if n := strings.Compare(a.Key, b.Key); n != 0 {
			return n
		}
		if n := a.Initiated.Compare(b.Initiated); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	out := &s3.ListMultipartUploadsOutput{
		Bucket: in.Bucket, Prefix: in.Prefix, KeyMarker: in.KeyMarker, UploadIdMarker: in.UploadIdMarker,
		MaxUploads: aws.Int32(int32(limit)), IsTruncated: aws.Bool(false),
	}
	passed := in.KeyMarker == nil
	for _, u := range uploads {
		if !passed {
			passed = u.Key > *in.KeyMarker
			if u.Key == *in.KeyMarker && in.UploadIdMarker != nil && u.ID == *in.UploadIdMarker {
				passed = true
				continue
			}
		}
		if !passed || !strings.HasPrefix(u.Key, aws.ToString(in.Prefix)) {
			continue
		}
		if len(out.Uploads) == limit {
			out.IsTruncated = aws.Bool(limit > 0)
			break
		}
		out.NextKeyMarker, out.NextUploadIdMarker = &u.Key, &u.ID
		out.Uploads = append(out.Uploads, types.MultipartUpload{
			Key: &u.Key, UploadId: &u.ID, Initiated: &u.Initiated, StorageClass: u.StorageClass,
			ChecksumAlgorithm: u.Algorithm, ChecksumType: u.checksumType(),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html: only now are the parts'
// sizes checked. The upload is gone afterwards: a completion whose answer was lost finds NoSuchUpload
// when it is sent again.
func s3CompleteMultipartUpload(c *call, in *s3.CompleteMultipartUploadInput) (*s3.CompleteMultipartUploadOutput, error) {
	b, u, err := c.s3Upload(in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	if err := b.preconditions(u.Key, in.IfMatch, in.IfNoneMatch); err != nil {
		return nil, err
	}
	parts, err := u.listed(in.MultipartUpload)
	if err != nil {
		return nil, err
	}
	v := &s3Version{s3Attributes: u.s3Attributes, Modified: u.Initiated.Truncate(time.Second), Parts: parts, ChecksumType: u.checksumType()}
	if err := v.assemble(u.Algorithm); err != nil {
		return nil, err
	}
	if in.MpuObjectSize != nil && *in.MpuObjectSize != v.Size {
		return nil, &types.InvalidRequest{Message: aws.String(fmt.Sprintf("The provided 'x-amz-mp-object-size' header does not match what was computed: %d", v.Size))}
	}
	given := givenSums(in.ChecksumSHA256, in.ChecksumSHA1, in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME)
	for a, sum := range given {
		if strings.TrimSuffix(v.Sums[a], fmt.Sprintf("-%d", len(parts))) != strings.TrimSuffix(sum, fmt.Sprintf("-%d", len(parts))) {
			return nil, apiError("BadDigest", fmt.Sprintf("The %s you specified did not match the calculated checksum.", a))
		}
	}
	v.ID, v.Lock = c.versionID(b), u.Lock.orDefault(b, c.Now)
	b.add(u.Key, v)
	delete(b.Uploads, u.ID)
	return &s3.CompleteMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, ETag: &v.ETag, VersionId: v.id(), ServerSideEncryption: v.Encryption, SSEKMSKeyId: nilIfEmpty(v.KMSKey),
		Location:     aws.String("https://" + b.Name + ".s3." + b.Region + ".amazonaws.com/" + u.Key),
		ChecksumType: v.ChecksumType, ChecksumSHA256: v.Sums.get("SHA256"), ChecksumSHA1: v.Sums.get("SHA1"),
		ChecksumCRC32: v.Sums.get("CRC32"), ChecksumCRC32C: v.Sums.get("CRC32C"),
	}, nil
}

// listed finds the parts that a completion names. What was uploaded and is not named is dropped.
func (u *s3Upload) listed(named *types.CompletedMultipartUpload) ([]*s3Part, error) {
	if named == nil || len(named.Parts) == 0 {
		return nil, &types.InvalidRequest{Message: aws.String("You must specify at least one part")}
	}
	var parts []*s3Part
	for i, n := range named.Parts {
		p, ok := u.Parts[aws.ToInt32(n.PartNumber)]
		if ok && len(parts) > 0 && p.Number <= parts[i-1].Number {
			return nil, apiError("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		sums := givenSums(n.ChecksumSHA256, n.ChecksumSHA1, n.ChecksumCRC32, n.ChecksumCRC32C, n.ChecksumCRC64NVME)
		if ok && u.Algorithm != "" && sums[u.Algorithm] == "" {
			return nil, &types.InvalidRequest{Message: aws.String(fmt.Sprintf("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.", orNull(u.Algorithm), p.Number))}
		}
		if !ok || strings.Trim(aws.ToString(n.ETag), `"`) != strings.Trim(p.ETag, `"`) || sums[u.Algorithm] != p.Sums[u.Algorithm] {
			return nil, apiError("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
		}
		parts = append(parts, p)
	}
	for _, p := range parts[:len(parts)-1] {
		if p.Size < minPart {
			return nil, apiError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
	}
	return parts, nil
}

// assemble makes the object of its parts. A composite checksum, like the ETag, is one over
// the parts' checksums, with their number: not the checksum of the bytes
// (checking-object-integrity.html in the S3 User Guide).
func (v *s3Version) assemble(algorithm types.ChecksumAlgorithm) error {
	etag := md5.New()
	for i, p := range v.Parts {
		v.Size += p.Size
		v.Body = append(v.Body, p.Body...)
		digest, err := hex.DecodeString(strings.Trim(p.ETag, `"`))
		if err != nil {
			return fmt.Errorf("ETag of part %d: %w", p.Number, err)
		}
		etag.Write(digest)
		v.Parts[i] = &s3Part{Number: p.Number, ETag: p.ETag, Size: p.Size, Sums: p.Sums, Modified: p.Modified}
	}
	v.ETag = fmt.Sprintf(`"%x-%d"`, etag.Sum(nil), len(v.Parts))
	if algorithm == "" {
		return nil
	}
	sum, err := newSum(algorithm)
	if err != nil {
		return err
	}
	for _, p := range v.Parts {
		raw, err := base64.StdEncoding.DecodeString(p.Sums[algorithm])
		if err != nil {
			return fmt.Errorf("checksum of part %d: %w", p.Number, err)
		}
		sum.Write(raw)
	}
	v.Sums = s3Sums{algorithm: fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sum.Sum(nil)), len(v.Parts))}
	return nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
func s3AbortMultipartUpload(c *call, in *s3.AbortMultipartUploadInput) (*s3.AbortMultipartUploadOutput, error) {
	b, u, err := c.s3Upload(in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	delete(b.Uploads, u.ID)
	return &s3.AbortMultipartUploadOutput{}, nil
}
