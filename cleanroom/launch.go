package cleanroom

import (
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

// Actions are the package's actions. The evidence bucket is the only one that
// a clean room can read; empty: none.
func Actions(configs func(context.Context, incident.Target) (aws.Config, error), evidenceBucket string) []incident.Action {
	return []incident.Action{launch{configs, evidenceBucket}}
}

// launch opens a clean room with copies of the captured volumes.
type launch struct {
	configs func(context.Context, incident.Target) (aws.Config, error)
	bucket  string
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
		Inputs: []incident.Field{
			{Name: "snapshots", Type: incident.Strings, Required: true, Description: "snapshot IDs, at most 11"},
			{Name: "instance_type", Type: incident.String, Default: "t3.large", Description: "of the examination instance"},
		},
		Outputs: []incident.Field{
			{Name: "stack", Type: incident.String, Description: "the stack's ARN"},
			{Name: "instance", Type: incident.String, Description: "the examination instance"},
			{Name: "volumes", Type: incident.Strings, Description: "volumes made from the snapshots, in their order"},
		},
		Permissions: []string{
			"cloudformation:CreateStack", "cloudformation:DeleteStack", "cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents",
			"ec2:AttachVolume", "ec2:CreateVolume", "ec2:CreateTags",
			"ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeManagedPrefixLists", "ec2:DescribeNatGateways", "ec2:DescribeNetworkInterfaces",
			"ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSnapshots", "ec2:DescribeVolumes",
			"ec2:DescribeVpcEndpoints", "ec2:DescribeVpcPeeringConnections",
			// What CloudFormation does with the caller's permissions.
			"ec2:CreateVpc", "ec2:ModifyVpcAttribute", "ec2:DescribeVpcs", "ec2:CreateSubnet", "ec2:DescribeSubnets", "ec2:ModifySubnetAttribute",
			"ec2:CreateRouteTable", "ec2:AssociateRouteTable", "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress",
			"ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress", "ec2:CreateVpcEndpoint", "ec2:CreateFlowLogs", "ec2:DescribeFlowLogs", "ec2:RunInstances",
			"iam:CreateRole", "iam:GetRole", "iam:PutRolePolicy", "iam:GetRolePolicy", "iam:PassRole", "iam:TagRole",
			"iam:CreateInstanceProfile", "iam:GetInstanceProfile", "iam:AddRoleToInstanceProfile",
			"logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", "logs:DescribeLogGroups",
			// And to take it back where it fails, or when the room is closed.
			"ec2:DeleteVpc", "ec2:DeleteSubnet", "ec2:DeleteRouteTable", "ec2:DisassociateRouteTable", "ec2:DeleteSecurityGroup",
			"ec2:RevokeSecurityGroupIngress", "ec2:DeleteVpcEndpoints", "ec2:DeleteFlowLogs", "ec2:TerminateInstances",
			"ec2:DetachVolume", "ec2:DeleteVolume",
			"iam:DeleteRole", "iam:DeleteRolePolicy", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile",
			"ssm:GetParameters", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext",
		},
		Example: "- id: cleanroom\n  action: cleanroom.launch\n  needs: [snapshots]\n  with:\n    snapshots: ${{ steps.snapshots.outputs.snapshots }}\n",
		Timeout: 2 * time.Hour,
	}
}

type inputs struct {
	Snapshots    []string `json:"snapshots"`
	InstanceType string   `json:"instance_type"`
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

func (a launch) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in inputs
	if err := req.Decode(&in); err != nil {
		return incident.Proposal{}, err
	}
	if n := len(in.Snapshots); n == 0 || n > len(devices) {
		return incident.Proposal{}, fmt.Errorf("input snapshots: %d given, want 1 to %d", n, len(devices))
	}
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	out, err := ec2.NewFromConfig(cfg).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: in.Snapshots})
	if err != nil {
		return incident.Proposal{}, fmt.Errorf("snapshots: %w", err)
	}
	name := stackName(req)
	p := incident.Proposal{
		Impact: incident.Additive,
		Changes: []incident.Change{{Resource: name, What: "stack", Before: "none",
			After: "a network with no way out and an examination instance of type " + in.InstanceType}},
		Notes:    []string{"costs run until the room is closed: cordon cleanroom close"},
		Residual: residual(),
	}
	for _, id := range in.Snapshots {
		i := slices.IndexFunc(out.Snapshots, func(s types.Snapshot) bool { return aws.ToString(s.SnapshotId) == id })
		if i < 0 {
			return incident.Proposal{}, fmt.Errorf("snapshot %s is not in %s of account %s", id, req.Target.Region, req.Target.Account)
		}
		p.Changes = append(p.Changes, incident.Change{Resource: name, What: "volume from " + id, Before: "none",
			After: fmt.Sprintf("one of %d GiB, encrypted, attached", aws.ToInt32(out.Snapshots[i].VolumeSize))})
	}
	return p, nil
}

// opening is a launch under way.
type opening struct {
	req    incident.Request
	in     inputs
	bucket string
	cf     *cloudformation.Client
	ec2    *ec2.Client
}

func (a launch) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	var in inputs
	if err := req.Decode(&in); err != nil {
		return incident.Result{}, err
	}
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	o := &opening{req: req, in: in, bucket: a.bucket, cf: cloudformation.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg)}
	room := incident.CleanRoom{
		Event: Launching, Name: stackName(req), Account: req.Target.Account, Region: req.Target.Region,
	}
	if err := recordOnce(ctx, req, incident.EntryCleanRoom, room); err != nil {
		return incident.Result{}, err
	}
	st, err := o.stack(ctx)
	if err != nil {
		return incident.Result{}, err
	}
	room.Event, room.Stack, room.Instance = Launched, aws.ToString(st.StackId), output(st, outInstance)
	vols, err := o.volumes(ctx, output(st, outZone), room.Instance)
	if err != nil {
		return incident.Result{}, err
	}
	room.Volumes = make(map[string]string)
	for i, id := range vols {
		room.Volumes[id] = in.Snapshots[i]
		ev := evidence.CustodyEvent{
			Item: "snapshot-" + in.Snapshots[i], Event: "attached",
			Reason: "examination in clean room " + room.Name, Detail: "as volume " + id + " to instance " + room.Instance,
		}
		if err := recordOnce(ctx, req, incident.EntryCustody, ev); err != nil {
			return incident.Result{}, err
		}
	}
	if err := recordOnce(ctx, req, incident.EntryCleanRoom, room); err != nil {
		return incident.Result{}, err
	}
	applied, err := json.Marshal(room)
	return incident.Result{
		Outputs: map[string]any{"stack": room.Stack, "instance": room.Instance, "volumes": vols},
		Applied: applied,
	}, err
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
		if err = (stack{client: o.cf, clock: o.req.Clock, name: id}).delete(ctx); err == nil {
			err = o.create(ctx, s.name, token)
		}
	}
	if err != nil {
		return old, err
	}
	resources := int64(strings.Count(template, `"Type": "AWS::`)) - 1 // one is a parameter's type
	return s.created(ctx, func(done int) {
		o.req.Progress(incident.Progress{Step: o.req.Step, What: "clean room " + s.name, Done: int64(done), Total: resources, Unit: "resources"})
	})
}

func (o *opening) create(ctx context.Context, name, token string) error {
	list, err := o.s3PrefixList(ctx)
	if err != nil {
		return err
	}
	params := map[string]string{"CaseId": o.req.Case.ID, "InstanceType": o.in.InstanceType, "S3PrefixList": list}
	if o.bucket != "" {
		params["EvidenceBucket"] = o.bucket
	}
	in := &cloudformation.CreateStackInput{
		StackName: &name, TemplateBody: &template, ClientRequestToken: &token,
		Capabilities: []cftypes.Capability{cftypes.CapabilityCapabilityIam},
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
	name := "com.amazonaws." + o.req.Target.Region + ".s3"
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
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return incident.Verification{}, err
	}
	report, err := Status(ctx, cfg, room)
	if err != nil {
		return incident.Verification{}, err
	}
	v := incident.Verification{Observed: report.Checked, Residual: report.Residual}
	if len(report.WaysOut) > 0 {
		var ways []string
		for _, w := range report.WaysOut {
			ways = append(ways, w.Path+": "+w.Reason)
		}
		return v, &incident.NotVerifiedError{Resource: room.Name, Want: "no way out", Got: strings.Join(ways, "; ")}
	}
	if report.InstanceState != "running" {
		return v, &incident.NotVerifiedError{Resource: room.Instance, Want: "running", Got: report.InstanceState}
	}
	for _, vol := range report.Volumes {
		if vol.AttachedTo != room.Instance {
			return v, &incident.NotVerifiedError{Resource: vol.ID, Want: "attached to " + room.Instance, Got: fmt.Sprintf("%s, attached to %q", vol.State, vol.AttachedTo)}
		}
	}
	return v, nil
}
