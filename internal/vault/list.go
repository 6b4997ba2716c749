package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// List names what is stored under a prefix. A locked version stays under what anyone can
// put on top of it, a delete marker or another version (aws-facts.md, "S3 Object
// Lock"), so the versions are listed and not the objects.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
func (s *S3) List(ctx context.Context, prefix string) ([]evidence.Object, error) {
	full := prefix
	if s.o.Prefix != "" {
		full = s.o.Prefix + "/" + prefix
	}
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.o.Bucket, Prefix: &full})
	var all []evidence.Object
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing %s in %s: %w", prefix, s, explain(err, s.o.Bucket))
		}
		for _, v := range page.Versions {
			key := strings.TrimPrefix(aws.ToString(v.Key), strings.TrimSuffix(full, prefix))
			if n := len(all); n > 0 && all[n-1].Key == key {
				all = all[:n-1] // the newest comes first, the oldest last
			}
			all = append(all, evidence.Object{
				Key: key, Version: aws.ToString(v.VersionId), Bytes: aws.ToInt64(v.Size),
				Location: "s3://" + s.o.Bucket + "/" + aws.ToString(v.Key) + "?versionId=" + aws.ToString(v.VersionId),
			})
		}
	}
	return all, nil
}

// List names what is stored under a prefix.
func (d *Directory) List(_ context.Context, prefix string) ([]evidence.Object, error) {
	var all []evidence.Object
	err := filepath.WalkDir(d.root, func(file string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && file == d.root:
			return filepath.SkipAll
		case err != nil:
			return err
		case e.IsDir() && e.Name() == partialDir:
			return filepath.SkipDir
		case e.IsDir():
			return nil
		}
		rel, err := filepath.Rel(d.root, file)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		all = append(all, evidence.Object{Key: key, Location: location(file), Bytes: info.Size(), Mode: evidence.ModeNone})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s in %s: %w", prefix, d, err)
	}
	return all, nil
}
