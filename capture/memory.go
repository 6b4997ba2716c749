package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// memory runs an acquisition tool that is installed on the instance, through its SSM
// agent. The image stays on a volume of the instance, because the host gets no credentials
// to store it with; what is stored is the record of how it came about.
type memory struct{ collector }

// memoryNotes are the responder's and the item's.
var memoryNotes = []string{
	"the memory image itself is not in the evidence store: it lies on the host, at the path in this record, and comes into custody with a snapshot of that volume that is taken after it",
	"the tool loads the host and changes its memory, and the image overwrites what was deleted on the volume that it is written to",
	"size, digests and kernel are what the host said: a compromised one can lie",
}

func (memory) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.memory",
		Summary: "An image of the running instance's memory, by a tool installed there, onto a volume of the instance; the acquisition's record into the evidence store",
		Impact:  incident.Disruptive,
		Inputs: []incident.Field{
			{Name: "tool", Type: incident.String, Required: true, Description: "absolute path, on the host, of the acquisition tool that is installed there; it is called with the output as its only argument, as AVML is"},
			{Name: "tool_sha256", Type: incident.String, Required: true, Description: "the tool's SHA-256, checked on the host before it is run"},
			{Name: "output", Type: incident.String, Required: true, Description: "absolute path, on the host, of the image; it must not exist, and should be on a volume attached for it"},
			{Name: "on_root", Type: incident.Boolean, Default: false, Description: "write the image also onto the root file system, where it overwrites what was deleted"},
			{Name: "kernel", Type: incident.String, Description: "what uname -r must print on the host; empty: any"},
			{Name: "limit_minutes", Type: incident.Integer, Default: 20, Description: "how long it may take, hashing included, 1 to 60"},
			{Name: "allow_unlocked", Type: incident.Boolean, Default: false, Description: "keep the record also where the store can't lock it"},
		},
		Outputs: []incident.Field{
			{Name: "path", Type: incident.String, Description: "the image, on the host"},
			{Name: "sha256", Type: incident.String, Description: "of the image, as the host computed it"},
			{Name: "bytes", Type: incident.Integer, Description: "size of the image"},
		},
		Permissions: append([]string{
			"ssm:DescribeInstanceInformation", "ssm:ListCommands", "ssm:SendCommand", "ssm:GetCommandInvocation", "ssm:CancelCommand",
		}, storePermissions...),
		Example: "- id: memory\n  action: capture.memory\n  on_failure: continue\n  with:\n    tool: /usr/local/bin/avml\n" +
			"    tool_sha256: ${{ inputs.avml_sha256 }}\n    output: /mnt/evidence/memory.lime\n",
		Timeout: (maxMemoryMinutes + 10) * time.Minute,
	}
}

func (a memory) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in memoryInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Proposal{}, err
	}
	notes, err := checkStore(ctx, store, in.AllowUnlocked)
	if err != nil {
		return incident.Proposal{}, err
	}
	// An earlier try may have what it needs, though no agent answers any more.
	if _, err := linuxHost(ctx, req, cfg); err != nil && (ctx.Err() != nil || !mayExist(req)) {
		return incident.Proposal{}, err
	}
	return incident.Proposal{
		Impact: incident.Disruptive, Notes: append(notes, memoryNotes...),
		Changes: []incident.Change{
			{Resource: req.Target.Instance, What: "program run by its SSM agent, as root", Before: "none", After: fmt.Sprintf("%s (sha256 %s), for %d min at most", in.Tool, in.ToolSHA256, in.LimitMinutes)},
			{Resource: req.Target.Instance, What: "file " + in.Output, Before: "none", After: "an image of the memory"},
			{Resource: store.String(), What: "evidence of " + req.Target.Instance, Before: "none", After: "the acquisition's record"},
		},
	}, nil
}

// linuxHost is the instance's agent. Unlike live response this was asked for by name:
// without an agent it fails.
func linuxHost(ctx context.Context, req incident.Request, cfg aws.Config) (*agent, error) {
	host, err := findAgent(ctx, ssm.NewFromConfig(cfg), req.Clock, req.Target.Instance)
	switch {
	case errors.Is(err, errNoAgent):
		return nil, incident.WithHint(err, "memory is taken through the SSM agent: it needs an instance profile that allows it, and a way to Systems Manager; come before the network is cut")
	case err != nil:
		return nil, err
	case host.platform != ssmtypes.PlatformTypeLinux:
		return nil, &incident.RefusedError{Reason: fmt.Sprintf("%s runs %s: memory is taken of Linux only", req.Target.Instance, host.platform)}
	}
	return host, nil
}

func (a memory) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	var in memoryInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Result{}, err
	}
	result, err := keepAll(ctx, req, store, []piece{{
		// A log, not a memory image: the item's bytes are the record.
		name: "memory", ext: ".json", contentType: "application/json", kind: evidence.KindLog, required: true,
		notes: func() []string { return memoryNotes },
		take:  func(ctx context.Context) ([]byte, error) { return acquire(ctx, req, cfg, in) },
	}}, in.AllowUnlocked)
	if err != nil {
		return incident.Result{}, err
	}
	rec, err := readAcquisition(ctx, store, result.Applied)
	result.Outputs = map[string]any{"path": rec.Path, "sha256": rec.SHA256, "bytes": rec.Bytes}
	return result, err
}

// acquire runs the tool, or takes up the command of an earlier try. One that the host
// refused has run nothing: after it another is sent, under the next number.
func acquire(ctx context.Context, req incident.Request, cfg aws.Config, in memoryInput) ([]byte, error) {
	again := mayExist(req)
	host, err := linuxHost(ctx, req, cfg)
	if err != nil {
		return nil, err
	}
	if err := host.findEarlier(ctx); err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		comment := fmt.Sprintf("cordon %s memory %d", req.Token, n)
		id, sent := host.earlier[comment]
		if !sent {
			if id, sent, err = host.sendOnce(ctx, req, comment, in, again); err != nil {
				return nil, err
			}
		}
		got, err := host.wait(ctx, id, in.limit()+commandSlack)
		if err != nil {
			return nil, incident.WithHint(err, "what the tool has written by then may lie at "+in.Output+" on the host: it is left there, and no try writes over it")
		}
		said, err := readAnswer(aws.ToString(got.StandardOutputContent))
		switch {
		case err != nil:
			return nil, fmt.Errorf("command %s: %w", id, err)
		case said.State == "refused" && sent:
			continue
		}
		return said.document(req, in, got)
	}
}

// sendOnce sends the command, unless a try before a crash is found to have sent it
// (sent). The SDK does not repeat it, and where the answer was lost it is looked for by its comment.
func (a *agent) sendOnce(ctx context.Context, req incident.Request, comment string, in memoryInput, mayExist bool) (id string, sent bool, err error) {
	find := func() (string, error) {
		found, err := findMade(ctx, a.clock, true, 1, func(ctx context.Context) ([]string, error) {
			if err := a.findEarlier(ctx); err != nil || a.earlier[comment] == "" {
				return nil, err
			}
			return []string{a.earlier[comment]}, nil
		})
		if err != nil || len(found) == 0 {
			return "", err
		}
		return found[0], nil
	}
	if mayExist {
		if id, err = find(); err != nil || id != "" {
			return id, id != "", err
		}
	}
	if err := req.Record(ctx, incident.EntryStepRecord, asked{Asked: comment}); err != nil {
		return "", false, err
	}
	id, err = a.send(ctx, comment, in.script(), in.limit(), func(o *ssm.Options) { o.Retryer = throttlesOnly{o.Retryer} })
	if err == nil || ctx.Err() != nil || !mayHaveHappened(err) {
		return id, false, err
	}
	lost := err
	if id, err = find(); err == nil && id == "" {
		err = lost
	}
	return id, false, err
}
