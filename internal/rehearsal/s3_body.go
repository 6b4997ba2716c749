package rehearsal

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// s3Piece is a stretch of an object's body, kept as one blob.
type s3Piece struct {
	Blob string `json:"blob"`
	Size int64  `json:"size"`
}

// pieceSize bounds the memory that storing and reading a body take, in bytes.
const pieceSize = 8 << 20

// s3Sums are checksums in base64, by algorithm.
type s3Sums map[types.ChecksumAlgorithm]string

// get is nil where there is no such checksum, as in the SDK's outputs.
func (s s3Sums) get(a types.ChecksumAlgorithm) *string {
	if sum, ok := s[a]; ok {
		return &sum
	}
	return nil
}

func (s s3Sums) detail(kind types.ChecksumType) *types.Checksum {
	return &types.Checksum{
		ChecksumSHA256: s.get("SHA256"), ChecksumSHA1: s.get("SHA1"), ChecksumCRC32: s.get("CRC32"),
		ChecksumCRC32C: s.get("CRC32C"), ChecksumCRC64NVME: s.get("CRC64NVME"), ChecksumType: kind,
	}
}

// givenSums collects the checksums that a request carries.
func givenSums(sha256, sha1, crc32, crc32c, crc64 *string) s3Sums {
	s := make(s3Sums)
	for a, sum := range map[types.ChecksumAlgorithm]*string{"SHA256": sha256, "SHA1": sha1, "CRC32": crc32, "CRC32C": crc32c, "CRC64NVME": crc64} {
		if sum != nil {
			s[a] = *sum
		}
	}
	return s
}

func newSum(a types.ChecksumAlgorithm) (hash.Hash, error) {
	switch a {
	case types.ChecksumAlgorithmSha256:
		return sha256.New(), nil
	case types.ChecksumAlgorithmSha1:
		return sha1.New(), nil
	case types.ChecksumAlgorithmCrc32:
		return crc32.NewIEEE(), nil
	case types.ChecksumAlgorithmCrc32c:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli)), nil
	case types.ChecksumAlgorithmCrc64nvme:
		return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)), nil
	default:
		return nil, fmt.Errorf("the simulated account has no checksum algorithm %q", a)
	}
}

// s3Upstream is a body on its way in, with what the request says about its bytes.
type s3Upstream struct {
	Body      io.Reader
	MD5       *string                 // Content-MD5, base64
	Sums      s3Sums                  // given
	Algorithm types.ChecksumAlgorithm // the SDK computes it on the wire, after us
}

// checksummed reports whether the request carries any checksum. What the SDK adds by
// default, without being told, is not seen here: a caller that relies on it alone
// stops working with AWS_REQUEST_CHECKSUM_CALCULATION=when_required.
func (u *s3Upstream) checksummed() bool {
	return u.MD5 != nil || len(u.Sums) > 0 || u.Algorithm != ""
}

type s3Body struct {
	pieces []s3Piece
	size   int64
	md5    []byte
	sums   s3Sums
}

func (b *s3Body) etag() string { return `"` + hex.EncodeToString(b.md5) + `"` }

// store keeps a body and checks it against the checksums that came with it; one that does
// not match is refused (checking-object-integrity.html in the S3 User Guide). Without any,
// S3 computes CRC64NVME by itself.
func (u *s3Upstream) store(to blobs) (*s3Body, error) {
	algorithm := u.Algorithm
	for a := range u.Sums {
		algorithm = a
	}
	if len(u.Sums) > 1 {
		return nil, &types.InvalidRequest{Message: aws.String("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")}
	}
	if algorithm == "" {
		algorithm = types.ChecksumAlgorithmCrc64nvme
	}
	sum, err := newSum(algorithm)
	if err != nil {
		return nil, err
	}
	b := &s3Body{sums: make(s3Sums)}
	digest := md5.New()
	if err := u.pieces(func(p []byte) error {
		sum.Write(p)
		digest.Write(p)
		name, err := to.put(p)
		b.pieces = append(b.pieces, s3Piece{Blob: name, Size: int64(len(p))})
		b.size += int64(len(p))
		return err
	}); err != nil {
		return nil, err
	}
	b.md5 = digest.Sum(nil)
	b.sums[algorithm] = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	if given, ok := u.Sums[algorithm]; ok && given != b.sums[algorithm] {
		return nil, apiError("BadDigest", fmt.Sprintf("The %s you specified did not match the calculated checksum.", algorithm))
	}
	if u.MD5 != nil && *u.MD5 != base64.StdEncoding.EncodeToString(b.md5) {
		return nil, apiError("BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	return b, nil
}

// pieces hands the body over piece by piece, from where it stands: before a retry the SDK
// rewinds it.
func (u *s3Upstream) pieces(take func([]byte) error) error {
	if u.Body == nil {
		return nil
	}
	buffer := make([]byte, 0)
	for {
		part := io.LimitReader(u.Body, pieceSize)
		w := bytes.NewBuffer(buffer[:0])
		n, err := w.ReadFrom(part)
		if err != nil {
			return fmt.Errorf("read the body: %w", err)
		}
		if n == 0 {
			return nil
		}
		buffer = w.Bytes()
		if err := take(buffer); err != nil {
			return err
		}
	}
}

// s3Reader reads a range of a body, one piece in memory at a time.
type s3Reader struct {
	blobs  blobs
	pieces []s3Piece
	skip   int64 // of the first piece
	left   int64
	piece  []byte
}

func openBody(from blobs, pieces []s3Piece, offset, length int64) *s3Reader {
	for len(pieces) > 0 && offset >= pieces[0].Size {
		offset -= pieces[0].Size
		pieces = pieces[1:]
	}
	return &s3Reader{blobs: from, pieces: slices.Clone(pieces), skip: offset, left: length}
}

func (r *s3Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	for len(r.piece) == 0 {
		if len(r.pieces) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		b, err := r.blobs.get(r.pieces[0].Blob)
		if err != nil {
			return 0, err
		}
		if int64(len(b)) != r.pieces[0].Size {
			return 0, errors.New("a blob of the simulated account is damaged")
		}
		r.piece, r.pieces, r.skip = b[r.skip:], r.pieces[1:], 0
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.piece)
	r.piece, r.left = r.piece[n:], r.left-int64(n)
	return n, nil
}

func (r *s3Reader) Close() error { return nil }
