package cleanroom

import (
	"cmp"
	"context"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Evidence is where evidence is kept, as far as a clean room can reach it.
type Evidence struct {
	// Bucket is the only bucket that a clean room can reach; empty: none.
	Bucket string
	Prefix string // of every key in the bucket
	Region string // of the bucket; empty: the target's
	KMSKey string // that objects are encrypted with; empty: the bucket's default
	// Store of evidence; nil where none is configured.
	Store func(context.Context, incident.Target) (evidence.Store, error)
}

// keeping is the evidence store as the incident's own account reaches it, wherever the room is.
type keeping struct {
	Evidence
	home    incident.Target // the incident's, in the bucket's Region
	configs Configs
}

// at says where the evidence of an incident is kept: in its own Region, unless another one is configured.
func (e Evidence) at(home incident.Target, configs Configs) keeping {
	e.Region = cmp.Or(e.Region, home.Region)
	home.Region = e.Region
	return keeping{e, home, configs}
}

func (k keeping) store(ctx context.Context) (evidence.Store, error) { return k.Store(ctx, k.home) }

// reach is the bucket as seen from a Region: a gateway endpoint leads to the buckets of
// its own Region only ("Gateway endpoints for Amazon S3").
func (e Evidence) reach(region string) (bucket string, ok bool) {
	if e.Bucket == "" || e.Region != region {
		return "", false
	}
	return e.Bucket, true
}

// key is a store's key as the bucket has it.
func (e Evidence) key(key string) string {
	return strings.TrimPrefix(path.Join(e.Prefix, key), "/") + "/"
}

// folder is under what a room's examiners write into the evidence store. What a
// rehearsal leaves there can't pass as real.
func folder(c incident.Case, room string) string {
	root, rest, _ := strings.Cut(evidence.Folder(c), "/")
	if root == "cases" {
		return "rooms/" + rest + room + "/"
	}
	return root + "-rooms/" + rest + room + "/"
}

// Findings is under what keys of the evidence store the examiners of a room
// leave what they have found. It is no evidence yet: nobody has taken it into custody.
func Findings(c incident.Case, room string) string { return folder(c, room) + "findings/" }

// Sessions is under what keys the sessions of a room are logged, each at its end.
func Sessions(c incident.Case, room string) string { return folder(c, room) + "sessions/" }

// Configs gives the AWS configuration for a target.
type Configs = func(context.Context, incident.Target) (aws.Config, error)
