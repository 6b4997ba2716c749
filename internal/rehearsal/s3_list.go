package rehearsal

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxPage is the most that any S3 listing gives in one page; asking for more gives this many.
const maxPage = 1000

func pageLimit(asked *int32) (int, error) {
	if asked == nil {
		return maxPage, nil
	}
	if *asked < 0 {
		return 0, apiError("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
	}
	return min(int(*asked), maxPage), nil
}

// pageOf reads a numeric marker, 0 without one, and the limit of a page.
func pageOf(marker *string, asked *int32) (int, int, error) {
	limit, err := pageLimit(asked)
	if err != nil || marker == nil {
		return 0, limit, err
	}
	after, err := strconv.Atoi(*marker)
	if err != nil || after < 0 {
		return 0, 0, apiError("InvalidArgument", "Provided part-number-marker not an integer or within integer range")
	}
	return after, limit, nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html: keys whose newest version is
// a delete marker are not listed; what shares a prefix up to the delimiter counts as one.
func s3ListObjectsV2(c *call, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(in.MaxKeys)
	if err != nil {
		return nil, err
	}
	after := aws.ToString(in.StartAfter)
	if in.ContinuationToken != nil {
		decoded, err := base64.StdEncoding.DecodeString(*in.ContinuationToken)
		if err != nil {
			return nil, apiError("InvalidArgument", "The continuation token provided is incorrect")
		}
		after = string(decoded)
	}
	prefix, delimiter := aws.ToString(in.Prefix), aws.ToString(in.Delimiter)
	out := &s3.ListObjectsV2Output{
		Name: &b.Name, Prefix: in.Prefix, Delimiter: in.Delimiter, StartAfter: in.StartAfter,
		ContinuationToken: in.ContinuationToken, MaxKeys: aws.Int32(int32(limit)), IsTruncated: aws.Bool(false),
	}
	last := "" // what the next page starts after
	for _, key := range keysWithPrefix(b.Objects, prefix) {
		v := b.current(key)
		shown, common := key, false
		if dir, _, ok := strings.Cut(key[len(prefix):], delimiter); ok && delimiter != "" {
			shown, common = prefix+dir+delimiter, true
		}
		if v.Marker || shown <= after || common && shown == last {
			continue
		}
		if len(out.Contents)+len(out.CommonPrefixes) == limit {
			out.IsTruncated = aws.Bool(limit > 0)
			if limit > 0 {
				out.NextContinuationToken = aws.String(base64.StdEncoding.EncodeToString([]byte(last)))
			}
			break
		}
		last = shown
		if common {
			out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: aws.String(shown)})
			continue
		}
		out.Contents = append(out.Contents, types.Object{
			Key: aws.String(key), ETag: &v.ETag, Size: &v.Size, LastModified: &v.Modified,
			StorageClass: types.ObjectStorageClass(v.StorageClass), ChecksumAlgorithm: v.Sums.algorithms(), ChecksumType: v.ChecksumType,
		})
	}
	out.KeyCount = aws.Int32(int32(len(out.Contents) + len(out.CommonPrefixes)))
	return out, nil
}

func (s s3Sums) algorithms() (all []types.ChecksumAlgorithm) {
	for a := range s {
		all = append(all, a)
	}
	return all // one at most
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html: by key, newest
// first; delete markers stand in a list of their own.
func s3ListObjectVersions(c *call, in *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error) {
	b, err := c.s3Bucket(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(in.MaxKeys)
	switch {
	case err != nil:
		return nil, err
	case in.VersionIdMarker != nil && in.KeyMarker == nil:
		return nil, apiError("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
	case in.Delimiter != nil:
		return nil, apiError("NotImplemented", "the simulated account lists versions without a delimiter only")
	}
	out := &s3.ListObjectVersionsOutput{
		Name: &b.Name, Prefix: in.Prefix, KeyMarker: in.KeyMarker, VersionIdMarker: in.VersionIdMarker,
		MaxKeys: aws.Int32(int32(limit)), IsTruncated: aws.Bool(false),
	}
	for _, e := range b.versionsAfter(aws.ToString(in.Prefix), in.KeyMarker, in.VersionIdMarker) {
		if len(out.Versions)+len(out.DeleteMarkers) == limit {
			out.IsTruncated = aws.Bool(limit > 0)
			break
		}
		out.NextKeyMarker, out.NextVersionIdMarker = &e.key, &e.ID
		if e.Marker {
			out.DeleteMarkers = append(out.DeleteMarkers, types.DeleteMarkerEntry{
				Key: &e.key, VersionId: &e.ID, IsLatest: aws.Bool(e.latest), LastModified: &e.Modified,
			})
			continue
		}
		out.Versions = append(out.Versions, types.ObjectVersion{
			Key: &e.key, VersionId: &e.ID, IsLatest: aws.Bool(e.latest), LastModified: &e.Modified, ETag: &e.ETag, Size: &e.Size,
			StorageClass: types.ObjectVersionStorageClass(e.StorageClass), ChecksumAlgorithm: e.Sums.algorithms(), ChecksumType: e.ChecksumType,
		})
	}
	if !aws.ToBool(out.IsTruncated) {
		out.NextKeyMarker, out.NextVersionIdMarker = nil, nil
	}
	return out, nil
}

type listedVersion struct {
	*s3Version
	key    string
	latest bool
}

func (b *bucket) versionsAfter(prefix string, keyMarker, idMarker *string) (all []listedVersion) {
	for _, key := range keysWithPrefix(b.Objects, prefix) {
		if keyMarker != nil && (key < *keyMarker || key == *keyMarker && idMarker == nil) {
			continue
		}
		versions := b.Objects[key]
		passed := keyMarker == nil || key > *keyMarker
		for i := len(versions) - 1; i >= 0; i-- {
			if passed {
				all = append(all, listedVersion{versions[i], key, i == len(versions)-1})
			}
			passed = passed || versions[i].ID == aws.ToString(idMarker)
		}
	}
	return all
}
