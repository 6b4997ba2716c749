package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// image checks a disk image, whose index has been read and is whole: that all that
// the index names is there and kept, and then every byte of it.
func (c *itemCheck) image(ctx context.Context, index []byte) error {
	var image Image
	if err := json.Unmarshal(index, &image); err != nil || image.Schema != ImageSchema {
		c.add(Altered, c.ref(), fmt.Sprintf("it is not the index of a disk image (schema %q)", image.Schema))
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelObjects)
	for _, ref := range image.Segments {
		g.Go(func() error { return c.segment(gctx, ref) })
	}
	if err := g.Wait(); err != nil || c.lacks() {
		return err
	}
	return c.blocks(ctx)
}

func (c *itemCheck) ref() Ref {
	return Ref{Key: c.Key, Version: c.Version, SHA256: c.SHA256, Bytes: c.Bytes}
}

// lacks: something of the item is not there or not what it was, so that the image can't be read.
func (c *itemCheck) lacks() bool {
	for _, f := range c.report.Findings {
		if f.Problem == Missing || f.Problem == Altered || f.Problem == Unreadable {
			return true
		}
	}
	return false
}

// segment checks one segment's index and block lists, and that its data is there and kept.
func (c *itemCheck) segment(ctx context.Context, ref Ref) error {
	var b bytes.Buffer
	if ok, err := c.object(ctx, ref, false, &b); err != nil || !ok {
		return err
	}
	var s Segment
	if err := json.Unmarshal(b.Bytes(), &s); err != nil || s.Schema != SegmentSchema {
		c.add(Altered, ref, fmt.Sprintf("it is not the index of a segment (schema %q)", s.Schema))
		return nil
	}
	data := Ref{Key: s.Data.Key, Version: s.Data.Version, Bytes: s.Data.Bytes}
	c.names(data.Key)
	if v, ok := c.find(data); ok {
		c.overlaid(&c.report.Findings, v)
		c.lock(ctx, &c.report.Findings, v, false)
	} else {
		c.add(Missing, data, "version "+data.Version+" of the segment's data is not in the store")
	}
	for _, list := range s.Lists {
		c.names(list.Key)
		if v, ok := c.find(list); ok {
			c.overlaid(&c.report.Findings, v)
			c.lock(ctx, &c.report.Findings, v, false)
		} else {
			c.add(Missing, list, "version "+list.Version+" of a block list is not in the store")
		}
	}
	return ctx.Err()
}

// blocks reads every byte of the image.
func (c *itemCheck) blocks(ctx context.Context) error {
	if c.Images == nil {
		c.add(Unreadable, c.ref(), "disk images can't be read here")
		return nil
	}
	err := c.Images(ctx, checkedStore{c.Store, c}, c.ref())
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrDigest):
		c.add(Altered, c.ref(), err.Error())
	case isNotFound(err):
		c.add(Missing, c.ref(), err.Error())
	default:
		c.add(Unreadable, c.ref(), err.Error())
	}
	return nil
}

// checkedStore counts what is read of the item. In a copy of the store that the item
// was recorded in the versions are others.
type checkedStore struct {
	Store
	c *itemCheck
}

func (s checkedStore) Get(ctx context.Context, key, version string) (io.ReadCloser, error) {
	if v, ok := s.c.find(Ref{Key: key, Version: version}); ok {
		version = v.Version
	}
	body, err := s.Store.Get(ctx, key, version)
	if err != nil {
		return nil, err
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.report.Objects++
	return struct {
		io.Reader
		io.Closer
	}{s.c.counting(body), body}, nil
}
