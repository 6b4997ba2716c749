package capture

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// metadata stores what AWS knows of the instance: one JSON document, the user
// data, the console's output and a screenshot of it.
type metadata struct{ collector }

func (metadata) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.metadata",
		Summary: "What AWS knows of the instance, its user data, console output and screenshot, into the evidence store",
		Impact:  incident.Additive,
		Inputs: []incident.Field{{Name: "allow_unlocked", Type: incident.Boolean, Default: false,
			Description: "keep the evidence also where the store can't lock it"}},
		Outputs: []incident.Field{{Name: "items", Type: incident.Strings, Description: "IDs of the evidence items"}},
		Permissions: append([]string{
			"ec2:DescribeInstances", "ec2:DescribeInstanceAttribute", "ec2:DescribeNetworkInterfaces", "ec2:DescribeVolumes",
			"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeRouteTables", "ec2:DescribeNetworkAcls",
			"ec2:DescribeAddresses", "ec2:DescribeLaunchTemplateVersions", "ec2:GetConsoleOutput", "ec2:GetConsoleScreenshot",
			"autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeAutoScalingGroups",
			"elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
			"elasticloadbalancing:DescribeLoadBalancers",
			"iam:GetInstanceProfile", "iam:ListRolePolicies", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:GetPolicy", "iam:GetPolicyVersion",
		}, storePermissions...),
		Example: "- id: metadata\n  action: capture.metadata\n",
		Timeout: 5 * time.Minute,
	}
}

type unlockedInput struct {
	AllowUnlocked bool `json:"allow_unlocked"`
}

func (unlockedInput) check() error { return nil }

func (a metadata) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in unlockedInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Proposal{}, err
	}
	if _, err := instance(ctx, ec2.NewFromConfig(cfg), req.Target); err != nil {
		return incident.Proposal{}, err
	}
	notes, err := checkStore(ctx, store, in.AllowUnlocked)
	if err != nil {
		return incident.Proposal{}, err
	}
	return incident.Proposal{
		Impact: incident.Additive, Notes: notes,
		Changes: []incident.Change{{
			Resource: store.String(), What: "evidence of " + req.Target.Instance, Before: "none",
			After: "metadata, user data, console output, screenshot",
		}},
	}, nil
}

// piece is one of the things to take; take returns its bytes.
type piece struct {
	name, ext, contentType string
	kind                   evidence.Kind
	// required: without it the step fails; otherwise the journal says why it is missing.
	required bool
	take     func(ctx context.Context) ([]byte, error)
	// notes, where there are any, are the item's, once it was taken.
	notes func() []string
}

func (a metadata) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	var in unlockedInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Result{}, err
	}
	client := ec2.NewFromConfig(cfg)
	id := req.Target.Instance
	pieces := []piece{
		{name: "metadata", ext: ".json", contentType: "application/json", kind: evidence.KindMetadata, required: true,
			take: func(ctx context.Context) ([]byte, error) { return describe(ctx, cfg, req) }},
		// User data often holds secrets: it goes into the store, never into the journal.
		{name: "user-data", ext: ".bin", contentType: "application/octet-stream", kind: evidence.KindMetadata,
			take: func(ctx context.Context) ([]byte, error) { return userData(ctx, client, id) }},
		{name: "console", ext: ".txt", contentType: "text/plain", kind: evidence.KindConsole,
			take: func(ctx context.Context) ([]byte, error) { return consoleOutput(ctx, client, id) }},
		{name: "screenshot", ext: ".jpg", contentType: "image/jpeg", kind: evidence.KindScreenshot,
			take: func(ctx context.Context) ([]byte, error) { return screenshot(ctx, client, id) }},
	}
	return keepAll(ctx, req, store, pieces, in.AllowUnlocked)
}

// keepAll takes and stores the pieces, one after the other.
func keepAll(ctx context.Context, req incident.Request, store evidence.Store, pieces []piece, allowUnlocked bool) (incident.Result, error) {
	done := captured{}
	for i, p := range pieces {
		k, err := keep(ctx, req, store, p, allowUnlocked)
		switch {
		case err == nil:
			done.Kept = append(done.Kept, k)
		case p.required || ctx.Err() != nil || !errors.Is(err, errNotTaken):
			return incident.Result{}, err
		default:
			done.Missing = append(done.Missing, err.Error())
			if err := req.Record(ctx, incident.EntryNote, incident.Note{Text: req.Target.Instance + ": " + err.Error()}); err != nil {
				return incident.Result{}, err
			}
		}
		req.Progress(incident.Progress{Step: req.Step, What: p.name, Done: int64(i + 1), Total: int64(len(pieces)), Unit: "items"})
	}
	applied, err := json.Marshal(done)
	return incident.Result{Outputs: map[string]any{"items": done.ids()}, Applied: applied}, err
}

// captured is what the step has done.
type captured struct {
	Kept    []kept   `json:"kept"`
	Missing []string `json:"missing,omitempty"`
}

func (c captured) ids() []string {
	ids := make([]string, len(c.Kept))
	for i, k := range c.Kept {
		ids[i] = k.Item
	}
	return ids
}

// errNotTaken: AWS did not give the piece; the store is not at fault.
var errNotTaken = errors.New("not captured")

// keep takes a piece and stores it. The key is the step's own, so that what
// lies under it was put there by an earlier try, and stays: what AWS says now
// would be another document.
func keep(ctx context.Context, req incident.Request, store evidence.Store, p piece, allowUnlocked bool) (kept, error) {
	id := fmt.Sprintf("%s-%s-%.8s", p.name, req.Target.Instance, req.Token)
	key := evidence.Key(req.Case, req.Run, id+p.ext)
	acquired := req.Clock.Now().UTC()
	obj, err := store.Stat(ctx, key, "")
	if errors.Is(err, evidence.ErrNotFound) {
		var b []byte
		if b, err = p.take(ctx); err != nil {
			return kept{}, fmt.Errorf("%s %w: %w", p.name, errNotTaken, err)
		}
		obj, err = store.Put(ctx, key, bytes.NewReader(b), evidence.PutOptions{
			ContentType: p.contentType, AllowUnlocked: allowUnlocked, Metadata: objectMetadata(req),
		})
	}
	if err != nil {
		return kept{}, err
	}
	it := itemOf(id, p.kind, req.Target.Instance, obj, acquired)
	if p.notes != nil {
		it.Notes = p.notes()
	}
	if err := recordStored(ctx, req, store, it); err != nil {
		return kept{}, err
	}
	return kept{Item: id, Key: key, SHA256: obj.SHA256}, nil
}

func objectMetadata(req incident.Request) map[string]string {
	return map[string]string{"case": req.Case.ID, "run": req.Run, "step": req.Step, "target": req.Target.String()}
}

var errEmpty = errors.New("AWS returned none")

func userData(ctx context.Context, client *ec2.Client, id string) ([]byte, error) {
	out, err := client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		return nil, err
	}
	if out.UserData == nil {
		return nil, errEmpty
	}
	return decode(out.UserData.Value)
}

// consoleOutput asks for the newest output, which only Nitro instances give
// (aws-facts.md, "Snapshots, images"), then for what was kept at the last boot.
func consoleOutput(ctx context.Context, client *ec2.Client, id string) ([]byte, error) {
	out, err := client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if code := errorCode(err); code == "UnsupportedOperation" || strings.HasPrefix(code, "InvalidParameter") {
		out, err = client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	}
	if err != nil {
		return nil, err
	}
	return decode(out.Output)
}

// screenshot is worth one more try, not the half minute of backoff of all of
// them: containment waits behind it.
func screenshot(ctx context.Context, client *ec2.Client, id string) ([]byte, error) {
	twice := func(o *ec2.Options) { o.RetryMaxAttempts = 2 }
	out, err := client.GetConsoleScreenshot(ctx, &ec2.GetConsoleScreenshotInput{InstanceId: &id}, twice)
	if err != nil {
		return nil, err
	}
	return decode(out.ImageData)
}

func decode(s *string) ([]byte, error) {
	if aws.ToString(s) == "" {
		return nil, errEmpty
	}
	b, err := base64.StdEncoding.DecodeString(*s)
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	return b, nil
}
