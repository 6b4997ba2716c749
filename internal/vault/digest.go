package vault

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// Object metadata that we write. Names are lower case: S3 keeps them so.
const (
	metaSHA256    = "sha256"    // of the object, hexadecimal
	metaComposite = "composite" // of the object that a digest file speaks for
)

func withDigest(m map[string]string, sum string) map[string]string {
	all := maps.Clone(m)
	if all == nil {
		all = make(map[string]string, 1)
	}
	all[metaSHA256] = sum
	return all
}

// isComposite: S3 shows the checksum of an object in N parts as BASE64-N, the
// SHA-256 over the parts' SHA-256 ("Checking object integrity in Amazon S3").
func isComposite(h *s3.HeadObjectOutput) bool {
	return strings.Contains(aws.ToString(h.ChecksumSHA256), "-")
}

// compositeOf is what S3 computes from the parts' digests.
func compositeOf(parts [][]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(h.Sum(nil)), len(parts))
}

// digest is the object's SHA-256, hexadecimal: S3's own, the one kept beside
// the object, or, without either, the one of the bytes as they are read now. What
// came in resumable parts has none.
func (s *S3) digest(ctx context.Context, key string, h *s3.HeadObjectOutput) (string, error) {
	if isResumable(h) {
		return "", nil
	}
	sum := aws.ToString(h.ChecksumSHA256)
	if raw, err := base64.StdEncoding.DecodeString(sum); err == nil && len(raw) == sha256.Size {
		return hex.EncodeToString(raw), nil
	}
	if isComposite(h) {
		beside, err := s.head(ctx, key+".sha256", "")
		if err != nil && !errors.Is(err, evidence.ErrNotFound) {
			return "", err
		}
		if err == nil && beside.Metadata[metaComposite] == sum {
			return s.readDigest(ctx, key)
		}
	}
	body, err := s.Get(ctx, key, aws.ToString(h.VersionId))
	if err != nil {
		return "", err
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, body); err != nil {
		return "", fmt.Errorf("hashing what is stored: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// readDigest reads KEY.sha256.
func (s *S3) readDigest(ctx context.Context, key string) (string, error) {
	body, err := s.Get(ctx, key+".sha256", "")
	if err != nil {
		return "", err
	}
	defer body.Close()
	line, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		return "", err
	}
	sum, _, ok := strings.Cut(string(line), " ")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("%s.sha256 is not what sha256sum writes", key)
	}
	return sum, nil
}

// putDigest stores KEY.sha256, once.
func (s *S3) putDigest(ctx context.Context, key string, lock bool, sum, composite string) error {
	line := []byte(sum + "  " + path.Base(key) + "\n")
	want := stored{lock: lock, sum: sha256.Sum256(line), bytes: int64(len(line))}
	o := evidence.PutOptions{ContentType: "text/plain", Metadata: map[string]string{metaComposite: composite}}
	if err := s.putWhole(ctx, key+".sha256", line, want, o); err != nil {
		return fmt.Errorf("the digest: %w", err)
	}
	if _, err := s.readBack(ctx, key+".sha256", want); err != nil {
		return fmt.Errorf("the digest: %w", err)
	}
	return nil
}
