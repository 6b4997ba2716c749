package cleanroom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// Actions are the package's actions.
func Actions(configs Configs, evidence Evidence) []incident.Action {
	return []incident.Action{launch{configs, evidence}}
}

// launch opens a clean room with copies of the captured volumes.
type launch struct {
	configs  Configs
	evidence Evidence
}

// Tags on the stack, on what it makes, and on the volumes.
const (
	tagCase  = "cordon:case"
	tagRun   = "cordon:run"
	tagStep  = "cordon:step"
	tagToken = "cordon:token"
)

// devices are the names that EC2 recommends for volumes ("Device names for
// volumes on Amazon EC2 instances").
const devices = "fghijklmnop"

func (launch) Spec() incident.Spec {
	return incident.Spec{
		Name:    "cleanroom.launch",
		Summary: "A closed network with an examination instance and copies of the captured volumes",
		Impact:  incident.Additive,
		Inputs:  inputFields(),
		Outputs: []incident.Field{
			{Name: "stack", Type: incident.String, Description: "the stack's ARN"},
			{Name: "instance", Type: incident.String, Description: "the first examination instance"},
			{Name: "instances", Type: incident.Strings, Description: "all of them"},
			{Name: "volumes", Type: incident.Strings, Description: "volumes made from the snapshots, in their order"},
		},
		Permissions: permissions(),
		Example:     "- id: cleanroom\n  action: cleanroom.launch\n  needs: [snapshots]\n  with:\n    snapshots: ${{ steps.snapshots.outputs.snapshots }}\n",
		Timeout:     24 * time.Hour,
	}
}

// stackName is letters, digits and hyphens, 128 at most, and the step's own.
func stackName(req incident.Request) string {
	clean := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, req.Case.ID+"-"+req.Run)
	return fmt.Sprintf("cordon-%.100s-%.8s", clean, req.Token)
}

// begin decodes the inputs and finds whom to talk to. From then on the request's target is
// where the room is.
func (a launch) begin(ctx context.Context, req *incident.Request) (in inputs, cfg aws.Config, kept keeping, err error) {
	if err = req.Decode(&in); err == nil {
		err = in.check()
	}
	if err != nil {
		return in, cfg, kept, err
	}
	kept = a.evidence.at(req.Target, a.configs)
	req.Target = in.place(req.Target)
	cfg, err = a.configs(ctx, req.Target)
	return in, cfg, kept, err
}

func (a launch) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	in, cfg, kept, err := a.begin(ctx, &req)
	if err != nil {
		return incident.Proposal{}, err
	}
	p := &planner{req: req, in: in, evidence: kept, cfg: cfg, ec2: ec2.NewFromConfig(cfg)}
	return p.plan(ctx)
}

// opening is a launch under way.
type opening struct {
	req      incident.Request
	in       inputs
	before   before
	evidence keeping
	cfg      aws.Config
	cf       *cloudformation.Client
	ec2      *ec2.Client
}

func (a launch) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	in, cfg, kept, err := a.begin(ctx, &req)
	if err != nil {
		return incident.Result{}, err
	}
	o := &opening{req: req, in: in, evidence: kept, cfg: cfg, cf: cloudformation.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg)}
	if err := json.Unmarshal(p.Before, &o.before); err != nil {
		return incident.Result{}, fmt.Errorf("proposal of step %s: %w", req.Step, err)
	}
	if len(o.before.Disks) == 0 {
		return incident.Result{}, fmt.Errorf("proposal of step %s: it names no disk to examine", req.Step)
	}
	room := incident.CleanRoom{
		Event: Launching, Name: stackName(req), Label: in.Name, Account: req.Target.Account, Region: req.Target.Region, Parameters: o.before.Parameters,
	}
	if err := recordOnce(ctx, req, incident.EntryCleanRoom, room); err != nil {
		return incident.Result{}, err
	}
	st, err := o.stack(ctx)
	if err != nil {
		return incident.Result{}, err
	}
	room.Event, room.Stack, room.Instance = Launched, aws.ToString(st.StackId), output(st, outInstance)
	room.Instances = strings.Split(output(st, outInstances), ",")
	vols, err := o.volumes(ctx, output(st, outZone), room.Instances)
	if err != nil {
		return incident.Result{}, err
	}
	if err := o.custody(ctx, &room, vols); err != nil {
		return incident.Result{}, err
	}
	var ids []string
	for _, v := range vols {
		ids = append(ids, v.id)
	}
	applied, err := json.Marshal(room)
	return incident.Result{
		Outputs: map[string]any{"stack": room.Stack, "instance": room.Instance, "instances": room.Instances, "volumes": ids},
		Applied: applied,
	}, err
}

// custody records every attachment, and that the room is launched.
func (o *opening) custody(ctx context.Context, room *incident.CleanRoom, vols []copied) error {
	room.Volumes, room.Items = make(map[string]string), make(map[string]string)
	for _, v := range vols {
		room.Volumes[v.id], room.Items[v.id] = v.snapshot, v.item
		ev := evidence.CustodyEvent{
			Item: v.item, Event: "attached", Reason: "examination in clean room " + room.Name,
			Detail: fmt.Sprintf("as volume %s to instance %s, device %s", v.id, v.instance, v.device),
		}
		if err := recordOnce(ctx, o.req, incident.EntryCustody, ev); err != nil {
			return err
		}
	}
	return o.launched(ctx, room)
}

// launched records the room with what its network is proven by, unless an earlier try has.
func (o *opening) launched(ctx context.Context, room *incident.CleanRoom) error {
	for _, raw := range o.req.Recorded(incident.EntryCleanRoom) {
		var old incident.CleanRoom
		if err := json.Unmarshal(raw, &old); err == nil && old.Event == Launched && old.Stack == room.Stack && maps.Equal(old.Volumes, room.Volumes) {
			*room = old
			return nil
		}
	}
	var err error
	if room.Facts, err = facts(ctx, o.cfg, stack{client: o.cf, name: room.Stack}, *room); err != nil {
		return err
	}
	return o.req.Record(ctx, incident.EntryCleanRoom, *room)
}

// recordOnce appends an entry unless an earlier try of the step has.
func recordOnce(ctx context.Context, req incident.Request, kind incident.EntryType, data any) error {
	want, err := canonical(data)
	if err != nil {
		return err
	}
	for _, raw := range req.Recorded(kind) {
		if got, err := canonical(raw); err == nil && got == want {
			return nil
		}
	}
	return req.Record(ctx, kind, data)
}

// canonical makes two JSON texts of the same value equal.
func canonical(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	b, err = json.Marshal(m)
	return string(b), err
}

// stack makes the room's stack, or finds the one that this step has made, and
// waits for it. One that failed is deleted and made again.
func (o *opening) stack(ctx context.Context) (cftypes.Stack, error) {
	s := stack{client: o.cf, clock: o.req.Clock, name: stackName(o.req)}
	token := o.req.Token
	old, err := s.describe(ctx)
	switch {
	case errors.Is(err, errNoStack):
		err = o.create(ctx, s.name, token)
	case err != nil:
	case tagOf(old, tagToken) != o.req.Token:
		err = &incident.RefusedError{Reason: "a stack named " + s.name + " exists and is not this step's"}
	case old.StackStatus == cftypes.StackStatusCreateFailed, old.StackStatus == cftypes.StackStatusRollbackComplete,
		old.StackStatus == cftypes.StackStatusRollbackFailed, old.StackStatus == cftypes.StackStatusDeleteInProgress,
		old.StackStatus == cftypes.StackStatusDeleteFailed:
		id := aws.ToString(old.StackId)
		// A token names one request: the next stack needs another.
		token += "-" + id[strings.LastIndex(id, "/")+1:]
		if err = (stack{client: o.cf, clock: o.req.Clock, name: id}).delete(ctx, nil); err == nil {
			err = o.create(ctx, s.name, token)
		}
	}
	if err != nil {
		return old, err
	}
	return o.made(ctx, s)
}

// made waits for the stack. One that fails is deleted, unless it is to be looked into.
func (o *opening) made(ctx context.Context, s stack) (cftypes.Stack, error) {
	body, err := Template(o.in.Instances)
	if err != nil {
		return cftypes.Stack{}, err
	}
	// One is a parameter's type. Those whose condition does not hold are counted too.
	resources := int64(strings.Count(body, `"Type":"AWS::`)) - 1
	st, err := s.created(ctx, func(done int) {
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "clean room " + s.name, Done: int64(done), Total: resources, Unit: "resources"})
	})
	var failed *failedError
	switch {
	case !errors.As(err, &failed):
		return st, err
	case o.in.KeepFailed:
		return st, incident.WithHint(err, "the stack is kept as it failed: look into it, mend the cause and resume the run, which deletes it and makes it again; or 'cordon cleanroom close'")
	}
	s.name = aws.ToString(st.StackId)
	if left := s.delete(ctx, nil); left != nil {
		return st, incident.WithHint(errors.Join(err, fmt.Errorf("and what it made is not all gone: %w", left)), "mend the causes and resume the run, or 'cordon cleanroom close'")
	}
	return st, incident.WithHint(err, "nothing of it is left; mend the cause and resume the run, or set keep_failed to look into it")
}

func (o *opening) create(ctx context.Context, name, token string) error {
	list, err := o.s3PrefixList(ctx)
	if err != nil {
		return err
	}
	body, err := Template(o.in.Instances)
	if err != nil {
		return err
	}
	params := maps.Clone(o.before.Parameters)
	params["S3PrefixList"] = list
	if err := o.proven(body, params); err != nil {
		return err
	}
	in := &cloudformation.CreateStackInput{
		StackName: &name, TemplateBody: &body, ClientRequestToken: &token, OnFailure: cftypes.OnFailureRollback,
		// No role is given a name; whether a policy on a role counts as named, the reference does not say.
		Capabilities: []cftypes.Capability{cftypes.CapabilityCapabilityNamedIam},
	}
	if o.in.KeepFailed {
		in.OnFailure = cftypes.OnFailureDoNothing
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		in.Parameters = append(in.Parameters, cftypes.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(params[k])})
	}
	for _, t := range o.tags() {
		in.Tags = append(in.Tags, cftypes.Tag{Key: t.Key, Value: t.Value})
	}
	_, err = o.cf.CreateStack(ctx, in)
	var exists *cftypes.AlreadyExistsException
	if errors.As(err, &exists) {
		return nil // our own lost request's: it was looked for under this name a moment ago
	}
	if err != nil {
		return fmt.Errorf("stack %s: %w", name, err)
	}
	return nil
}

func (o *opening) tags() []types.Tag {
	tag := func(k, v string) types.Tag { return types.Tag{Key: aws.String(k), Value: aws.String(v)} }
	return []types.Tag{tag(tagCase, o.req.Case.ID), tag(tagRun, o.req.Run), tag(tagStep, o.req.Step), tag(tagToken, o.req.Token)}
}

// s3PrefixList names the addresses of S3 in the Region, as a group's rule wants it.
func (o *opening) s3PrefixList(ctx context.Context) (string, error) {
	name := s3ListName(o.req.Target.Region)
	out, err := o.ec2.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{
		Filters: []types.Filter{{Name: aws.String("prefix-list-name"), Values: []string{name}}},
	})
	if err != nil {
		return "", fmt.Errorf("prefix list %s: %w", name, err)
	}
	if len(out.PrefixLists) != 1 {
		return "", fmt.Errorf("prefix list %s: AWS shows %d of that name", name, len(out.PrefixLists))
	}
	return aws.ToString(out.PrefixLists[0].PrefixListId), nil
}

func (a launch) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var room incident.CleanRoom
	if err := json.Unmarshal(r.Applied, &room); err != nil {
		return incident.Verification{}, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	cfg, err := a.configs(ctx, incident.Target{Account: room.Account, Region: room.Region, Instance: req.Target.Instance})
	if err != nil {
		return incident.Verification{}, err
	}
	report, err := Status(ctx, cfg, room)
	if err != nil {
		return incident.Verification{}, err
	}
	v := incident.Verification{Observed: report.Checked, Residual: report.Residual}
	if !report.Closed {
		return v, &incident.NotVerifiedError{Resource: room.Name, Want: "no way out", Got: cmp.Or(report.open(), "stack "+report.State)}
	}
	for _, i := range report.Instances {
		if i.State != "running" {
			return v, &incident.NotVerifiedError{Resource: i.ID, Want: "running", Got: i.State}
		}
	}
	for _, vol := range report.Volumes {
		if !slices.Contains(room.Instances, vol.AttachedTo) {
			return v, &incident.NotVerifiedError{Resource: vol.ID, Want: "attached to an examination instance", Got: fmt.Sprintf("%s, attached to %q", vol.State, vol.AttachedTo)}
		}
	}
	return v, nil
}
