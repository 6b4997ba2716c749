package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// List names the oldest versions: a locked one stays under what anyone can put on
// top of it (aws-facts.md, "S3 Object Lock").
func (s *S3) List(ctx context.Context, prefix string) ([]evidence.Object, error) {
	versions, err := s.Versions(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var all []evidence.Object
	for _, v := range versions {
		if v.DeleteMarker {
			continue
		}
		if n := len(all); n > 0 && all[n-1].Key == v.Key {
			all = all[:n-1] // the newest comes first, the oldest last
		}
		all = append(all, evidence.Object{Key: v.Key, Version: v.Version, Bytes: v.Bytes, Location: v.Location})
	}
	return all, nil
}

// Versions names every version and delete marker under a prefix.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
func (s *S3) Versions(ctx context.Context, prefix string) ([]evidence.Version, error) {
	full := prefix
	if s.o.Prefix != "" {
		full = s.o.Prefix + "/" + prefix
	}
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.o.Bucket, Prefix: &full})
	var all []evidence.Version
	add := func(key, version *string, v evidence.Version) {
		v.Key = strings.TrimPrefix(aws.ToString(key), strings.TrimSuffix(full, prefix))
		v.Version = aws.ToString(version)
		v.Location = "s3://" + s.o.Bucket + "/" + aws.ToString(key) + "?versionId=" + v.Version
		all = append(all, v)
	}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing %s in %s: %w", prefix, s, explain(err, s.o.Bucket))
		}
		for _, v := range page.Versions {
			add(v.Key, v.VersionId, evidence.Version{Bytes: aws.ToInt64(v.Size), Stored: aws.ToTime(v.LastModified).UTC(), Newest: aws.ToBool(v.IsLatest)})
		}
		for _, m := range page.DeleteMarkers {
			add(m.Key, m.VersionId, evidence.Version{Stored: aws.ToTime(m.LastModified).UTC(), Newest: aws.ToBool(m.IsLatest), DeleteMarker: true})
		}
	}
	// S3 gives versions and markers in two lists, each by key and the newest first.
	slices.SortStableFunc(all, func(a, b evidence.Version) int {
		switch {
		case a.Key != b.Key:
			return strings.Compare(a.Key, b.Key)
		case a.Newest != b.Newest:
			if a.Newest {
				return -1
			}
			return 1
		default:
			return b.Stored.Compare(a.Stored)
		}
	})
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

// Versions names what List does: a directory has no others.
func (d *Directory) Versions(ctx context.Context, prefix string) ([]evidence.Version, error) {
	objects, err := d.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make([]evidence.Version, len(objects))
	for i, o := range objects {
		info, err := os.Stat(filepath.Join(d.root, filepath.FromSlash(o.Key)))
		if err != nil {
			return nil, fmt.Errorf("listing %s in %s: %w", prefix, d, err)
		}
		all[i] = evidence.Version{Key: o.Key, Location: o.Location, Bytes: o.Bytes, Stored: info.ModTime().UTC(), Newest: true}
	}
	return all, nil
}
