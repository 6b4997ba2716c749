package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Configs gives the AWS configuration for a target's account and Region.
type Configs func(ctx context.Context, t incident.Target) (aws.Config, error)

// Stores gives the evidence store for a target.
type Stores func(ctx context.Context, t incident.Target) (evidence.Store, error)

// Actions are the package's actions.
func Actions(configs func(context.Context, incident.Target) (aws.Config, error), stores func(context.Context, incident.Target) (evidence.Store, error)) []incident.Action {
	collects := collector{configs, stores}
	return []incident.Action{
		metadata{collects},
		live{collects},
		memory{collects},
		snapshots{configs},
		copySnapshots{configs},
		image{configs},
		storeImage{configs},
		export{collects},
	}
}

// collector is what the actions share that read an account and put what they find into a store.
type collector struct {
	configs Configs
	stores  Stores
}

// inputs of an action; check names all that is wrong with them.
type inputs interface{ check() error }

// open decodes the inputs into in, a pointer, checks them, and finds whom to ask and where to store.
func (c collector) open(ctx context.Context, req incident.Request, in inputs) (cfg aws.Config, store evidence.Store, err error) {
	if err = req.Decode(in); err == nil {
		err = in.check()
	}
	if err != nil {
		return cfg, nil, err
	}
	if cfg, err = c.configs(ctx, req.Target); err != nil {
		return cfg, nil, err
	}
	store, err = c.stores(ctx, req.Target)
	return cfg, store, err
}

// Verify reads back what keepAll has stored.
func (c collector) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var done captured
	if err := json.Unmarshal(r.Applied, &done); err != nil {
		return incident.Verification{}, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	store, err := c.stores(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	observed, err := verifyKept(ctx, store, done.Kept)
	return incident.Verification{Observed: append(observed, done.Missing...)}, err
}

// storePermissions are what an evidence bucket asks of whoever stores into it.
var storePermissions = []string{
	"s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning", "s3:GetBucketPublicAccessBlock", "s3:GetBucketPolicyStatus",
	"s3:PutObject", "s3:PutObjectRetention", "s3:PutObjectLegalHold",
	"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold",
	"s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
	"kms:GenerateDataKey", "kms:Decrypt",
}

// Tags on everything that is made. The token is the step's own: what a lost
// answer has left behind is found by it.
const (
	tagCase  = "cordon:case"
	tagRun   = "cordon:run"
	tagStep  = "cordon:step"
	tagToken = "cordon:token"
)

func tags(req incident.Request, kind types.ResourceType) types.TagSpecification {
	tag := func(k, v string) types.Tag { return types.Tag{Key: aws.String(k), Value: aws.String(v)} }
	return types.TagSpecification{ResourceType: kind, Tags: []types.Tag{
		tag(tagCase, req.Case.ID), tag(tagRun, req.Run), tag(tagStep, req.Step), tag(tagToken, req.Token),
	}}
}

func byToken(req incident.Request) []types.Filter {
	return []types.Filter{{Name: aws.String("tag:" + tagToken), Values: []string{req.Token}}}
}

const (
	// tagIndexDelay is how long a new resource's tags may stay unfindable: EC2
	// promises no bound ("Eventual consistency in the Amazon EC2 API").
	tagIndexDelay = 30 * time.Second
	tagIndexPoll  = 5 * time.Second
)

// asked is recorded before a request that has no client token is sent, so that
// a later try knows that there may be something to find.
type asked struct {
	Asked string `json:"asked"`
}

func mayExist(req incident.Request) bool {
	return req.Resumed || len(req.Recorded(incident.EntryStepRecord)) > 0
}

// findMade looks for the n things that an earlier request has made. Where there may
// have been one it gives the tag index time before it says that there are fewer.
func findMade[T any](ctx context.Context, clock incident.Clock, mayExist bool, n int, find func(context.Context) ([]T, error)) ([]T, error) {
	deadline := clock.Now().Add(tagIndexDelay)
	for {
		found, err := find(ctx)
		if err != nil || len(found) >= n || !mayExist || !clock.Now().Before(deadline) {
			return found, err
		}
		if err := clock.Sleep(ctx, tagIndexPoll); err != nil {
			return nil, err
		}
	}
}

// notTwice keeps the SDK from repeating a request that has no client token
// unless AWS said that it did nothing: a connection that broke, or a server's
// error, leaves open whether a snapshot was made.
func notTwice(o *ec2.Options) { o.Retryer = throttlesOnly{o.Retryer} }

type throttlesOnly struct{ aws.Retryer }

func (throttlesOnly) IsErrorRetryable(err error) bool { return isThrottle(err) }

func isThrottle(err error) bool {
	_, ok := retry.DefaultThrottleErrorCodes[errorCode(err)]
	return ok
}

// mayHaveHappened: no answer, or an answer that leaves it open.
func mayHaveHappened(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return true
	}
	return api.ErrorFault() == smithy.FaultServer
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// record writes an item, and that it was acquired, into the journal; each
// once, however often the step is tried.
func record(ctx context.Context, req incident.Request, it evidence.Item) error {
	if _, ok := recorded(req, it.ID); !ok {
		if err := req.Record(ctx, incident.EntryEvidence, it); err != nil {
			return err
		}
	}
	for _, raw := range req.Recorded(incident.EntryCustody) {
		var ev evidence.CustodyEvent
		if err := json.Unmarshal(raw, &ev); err == nil && ev.Item == it.ID && ev.Event == "acquired" {
			return nil
		}
	}
	return req.Record(ctx, incident.EntryCustody, evidence.CustodyEvent{
		Item: it.ID, Event: "acquired", Reason: "step " + req.Step + " of run " + req.Run, Detail: it.Location,
	})
}

// recordStored is record for an item whose bytes are in the store: what the item
// is, is kept there too, beside it.
func recordStored(ctx context.Context, req incident.Request, store evidence.Store, it evidence.Item) error {
	if old, ok := recorded(req, it.ID); ok {
		it = old
	}
	if err := record(ctx, req, it); err != nil {
		return err
	}
	return evidence.PutRecord(ctx, store, evidence.Record{
		Case: req.Case.ID, Rehearsal: req.Case.Rehearsal, Run: req.Run, Step: req.Step, Target: req.Target.String(), Item: it,
	})
}

// recorded is the item that an earlier try of the step put into the journal.
func recorded(req incident.Request, id string) (evidence.Item, bool) {
	for _, raw := range req.Recorded(incident.EntryEvidence) {
		var it evidence.Item
		if err := json.Unmarshal(raw, &it); err == nil && it.ID == id {
			return it, true
		}
	}
	return evidence.Item{}, false
}

// checkStore fails where the store can't keep evidence, unless it only can't
// lock it and that is allowed.
func checkStore(ctx context.Context, store evidence.Store, allowUnlocked bool) (notes []string, err error) {
	err = store.Check(ctx)
	if allowUnlocked && errors.Is(err, evidence.ErrNotLocked) {
		return []string{fmt.Sprintf("allow_unlocked: nothing keeps anyone from deleting this evidence (%v)", err)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("evidence store %s: %w", store, err)
	}
	return nil, nil
}

// kept is an object that a step has put into the store; Verify reads it back.
type kept struct {
	Item   string `json:"item"`
	Key    string `json:"key"`
	SHA256 string `json:"sha256"`
}

// verifyKept reads every object back from the store.
func verifyKept(ctx context.Context, store evidence.Store, all []kept) ([]string, error) {
	var observed []string
	for _, k := range all {
		obj, err := store.Stat(ctx, k.Key, "")
		if err != nil {
			return observed, err
		}
		if obj.SHA256 != k.SHA256 {
			return observed, &incident.NotVerifiedError{Resource: obj.Location, Want: "sha256 " + k.SHA256, Got: "sha256 " + obj.SHA256}
		}
		until := ""
		if !obj.RetainUntil.IsZero() {
			until = " until " + obj.RetainUntil.Format(time.RFC3339)
		}
		observed = append(observed, fmt.Sprintf("%s: %s, %d bytes, lock %s%s", k.Item, obj.Location, obj.Bytes, obj.Mode, until))
	}
	return observed, nil
}

// itemOf describes a stored object.
func itemOf(id string, kind evidence.Kind, source string, obj evidence.Object, acquired time.Time) evidence.Item {
	return evidence.Item{
		ID: id, Kind: kind, Source: source, Key: obj.Key, Location: obj.Location, Version: obj.Version,
		SHA256: obj.SHA256, Bytes: obj.Bytes, Mode: obj.Mode, RetainUntil: obj.RetainUntil, Acquired: acquired,
	}
}

// arn of an EC2 resource; snapshots and images carry no account in theirs.
func arn(region, resource string) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":ec2:" + region + "::" + resource
}

// instance reads the target and refuses what can't be captured by its volumes.
func instance(ctx context.Context, client *ec2.Client, t incident.Target) (types.Instance, error) {
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{t.Instance}})
	if err != nil {
		return types.Instance{}, fmt.Errorf("instance %s: %w", t.Instance, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			return i, nil
		}
	}
	return types.Instance{}, incident.WithHint(fmt.Errorf("instance %s is not in %s of account %s", t.Instance, t.Region, t.Account),
		"look for it in another Region; a terminated instance disappears after about an hour")
}
