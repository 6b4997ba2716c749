package cleanroom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// inputFields are the action's inputs.
func inputFields() []incident.Field {
	return []incident.Field{
		{Name: "snapshots", Type: incident.Strings, Required: true, Late: true, Description: "the captured snapshots, at most 11; one that is gone is restored from its exported image"},
		{Name: "instance_type", Type: incident.String, Default: "t3.large", Description: "of the examination instances"},
		{Name: "instances", Type: incident.Integer, Default: int64(1), Description: "how many examination instances, 1 to 3; each gets its own copies"},
		{Name: "image", Type: incident.String, Default: "", Description: "a prepared AMI, or the name of a Systems Manager parameter that names one; empty is the newest Amazon Linux 2023"},
		{Name: "toolkit", Type: incident.String, Default: "", Description: "SHA-256 of the manifest of a toolkit in the evidence bucket: docs/clean-room.md; empty for none"},
		{Name: "volume_key", Type: incident.String, Default: "", Description: "ARN of the KMS key for the room's volumes; empty is the account's default key"},
		{Name: "zone", Type: incident.String, Default: "", Description: "Availability Zone; empty is the first that has the type and the endpoints"},
		{Name: "name", Type: incident.String, Default: "", Description: "what to call the room, where a case has several; --name of the cleanroom commands takes it"},
		{Name: "account", Type: incident.String, Default: "", Description: "ID of the account to open it in, where the snapshots must be; empty is the instance's own"},
		{Name: "region", Type: incident.String, Default: "", Description: "Region to open it in, where the snapshots must be; empty is the instance's own"},
		{Name: "keep_failed", Type: incident.Boolean, Default: false, Description: "keep the stack as it is where it can't be made, to look into it"},
	}
}

type inputs struct {
	Snapshots    []string `json:"snapshots"`
	InstanceType string   `json:"instance_type"`
	Instances    int      `json:"instances"`
	Image        string   `json:"image"`
	Toolkit      string   `json:"toolkit"`
	VolumeKey    string   `json:"volume_key"`
	Zone         string   `json:"zone"`
	Name         string   `json:"name"`
	Account      string   `json:"account"`
	Region       string   `json:"region"`
	KeepFailed   bool     `json:"keep_failed"`
}

// place is where the room is opened: an examination may be kept apart from the
// account, or Region, of the incident.
func (in inputs) place(t incident.Target) incident.Target {
	t.Account, t.Region = cmp.Or(in.Account, t.Account), cmp.Or(in.Region, t.Region)
	return t
}

var (
	digest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keyARN     = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	roomName   = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
	// inText is what can't stand in a policy or the script of a room: the template refuses it too.
	inText = "$*?\"'\\ \t\n"
)

func (in inputs) check() error {
	var problems []error
	if n := len(in.Snapshots); in.Snapshots != nil && n == 0 || n > len(devices) { // nil: the run will know them
		problems = append(problems, fmt.Errorf("input snapshots: %d given, want 1 to %d", n, len(devices)))
	}
	if in.Instances < 1 || in.Instances > maxInstances {
		problems = append(problems, fmt.Errorf("input instances: %d is not 1 to %d", in.Instances, maxInstances))
	}
	if in.Toolkit != "" && !digest.MatchString(in.Toolkit) {
		problems = append(problems, fmt.Errorf("input toolkit: %q is not 64 hexadecimal digits, as cordon cleanroom toolkit prints them", in.Toolkit))
	}
	if in.VolumeKey != "" && !keyARN.MatchString(in.VolumeKey) {
		problems = append(problems, fmt.Errorf("input volume_key: %q is not the ARN of a KMS key", in.VolumeKey))
	}
	if in.Account != "" && !accountID.MatchString(in.Account) {
		problems = append(problems, fmt.Errorf("input account: %q is not twelve digits", in.Account))
	}
	if in.Region != "" && !regionName.MatchString(in.Region) {
		problems = append(problems, fmt.Errorf("input region: %q is not the name of a Region", in.Region))
	}
	if in.Name != "" && !roomName.MatchString(in.Name) {
		problems = append(problems, fmt.Errorf("input name: %q is not 1 to 32 letters, digits and hyphens", in.Name))
	}
	return errors.Join(problems...)
}

// before is what Apply builds on, as it was approved.
type before struct {
	Parameters map[string]string `json:"parameters"` // of the stack, but for what only AWS decides when it is made
	Disks      []disk            `json:"disks"`
}

// disk is what each examination instance gets a copy of.
type disk struct {
	Item     string `json:"item"` // of evidence
	Snapshot string `json:"snapshot"`
	GiB      int32  `json:"gib"`
	// Image is the index of the exported image to restore where the snapshot is gone.
	Image *evidence.Ref `json:"image,omitempty"`
}

// planner reads what a launch depends on.
type planner struct {
	req      incident.Request
	in       inputs
	evidence keeping
	cfg      aws.Config
	ec2      *ec2.Client
}

// parameters of the stack. Several problems are reported together.
func (p *planner) parameters(ctx context.Context) (map[string]string, []string, error) {
	var notes []string
	room := stackName(p.req)
	params := map[string]string{"CaseId": p.req.Case.ID, "InstanceType": p.in.InstanceType, "Toolkit": p.in.Toolkit, "VolumeKey": p.in.VolumeKey}
	params["CasePrefix"] = p.evidence.key(evidence.Folder(p.req.Case))
	params["RoomPrefix"] = p.evidence.key(folder(p.req.Case, room))
	params["ToolkitPrefix"] = p.evidence.key(toolkits)
	if strings.ContainsAny(params["CasePrefix"], inText) {
		return nil, nil, fmt.Errorf("the case's keys in the evidence bucket begin with %q, which can't stand in a policy", params["CasePrefix"])
	}
	bucket, ok := p.evidence.reach(p.req.Target.Region)
	switch {
	case ok:
		params["EvidenceBucket"] = bucket
		key, err := p.evidenceKey(ctx, bucket)
		if err != nil {
			return nil, nil, err
		}
		params["EvidenceKey"] = key
		if p.in.Account != "" {
			notes = append(notes, fmt.Sprintf("the room is in account %s: the policy of bucket %s must let the roles of that account read the case and write findings, or the room has neither; a key of its own must be named under evidence.kms_key", p.in.Account, bucket))
		}
		note, err := p.tools(ctx)
		if err != nil {
			return nil, nil, err
		}
		notes = append(notes, note)
	case p.in.Toolkit != "":
		return nil, nil, fmt.Errorf("input toolkit: the room has no evidence bucket to fetch it from: in %s none can be reached", p.req.Target.Region)
	case p.evidence.Bucket != "":
		notes = append(notes, fmt.Sprintf("the evidence bucket is in %s and the room in %s: the room can't reach it", p.evidence.Region, p.req.Target.Region))
	default:
		notes = append(notes, "no evidence bucket is configured: sessions are logged in CloudWatch Logs alone, and findings have no place to go")
	}
	image, err := p.image(ctx)
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(params, image)
	zone, why, err := p.zone(ctx, params)
	if err != nil {
		return nil, nil, err
	}
	params["Zone"], notes = zone, append(notes, why)
	maps.DeleteFunc(params, func(_, v string) bool { return v == "" })
	return params, notes, nil
}

// tools says what is in the toolkit, whose manifest it reads and checks.
func (p *planner) tools(ctx context.Context) (note string, err error) {
	switch {
	case p.in.Toolkit == "":
		return "no toolkit: the examiners have what the image has (docs/clean-room.md)", nil
	case p.evidence.Store == nil:
		return "", errors.New("input toolkit: no evidence store is configured")
	}
	store, err := p.evidence.store(ctx)
	if err != nil {
		return "", err
	}
	kit, err := storedToolkit(ctx, store, p.in.Toolkit)
	if err != nil {
		return "", incident.WithHint(err, "'cordon cleanroom toolkit --dir DIR' stores one")
	}
	names := make([]string, len(kit.Tools))
	for i, t := range kit.Tools {
		names[i] = t.String()
	}
	return fmt.Sprintf("toolkit: %s; %d files, each checked before an examiner sees it", strings.Join(names, ", "), len(kit.Files)), nil
}

// evidenceKey is the customer's key that the bucket's objects are encrypted with; empty for a key
// of S3's own, which whoever may read the object may use.
func (p *planner) evidenceKey(ctx context.Context, bucket string) (string, error) {
	cfg, err := p.evidence.configs(ctx, p.evidence.home)
	if err != nil {
		return "", err
	}
	id := p.evidence.KMSKey
	if id == "" {
		out, err := s3.NewFromConfig(cfg).GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
		// Every bucket encrypts by itself since 2023; what is like S3 may say that it does not.
		if errorCode(err) == "ServerSideEncryptionConfigurationNotFoundError" {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("encryption of bucket %s: %w", bucket, err)
		}
		for _, r := range out.ServerSideEncryptionConfiguration.Rules {
			if d := r.ApplyServerSideEncryptionByDefault; d != nil {
				id = aws.ToString(d.KMSMasterKeyID)
			}
		}
	}
	if id == "" {
		return "", nil
	}
	out, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return "", fmt.Errorf("the key of bucket %s, %s: %w", bucket, id, err)
	}
	if out.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws {
		return "", nil
	}
	return aws.ToString(out.KeyMetadata.Arn), nil
}

// image says which image the instances start from: one that fits the type's processor.
func (p *planner) image(ctx context.Context) (map[string]string, error) {
	switch {
	case strings.HasPrefix(p.in.Image, "ami-"):
		return map[string]string{"ImageId": p.in.Image}, nil
	case p.in.Image != "":
		return map[string]string{"ImageParameter": p.in.Image}, nil
	}
	out, err := p.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(p.in.InstanceType)}})
	if errorCode(err) == "InvalidInstanceType" {
		return nil, fmt.Errorf("input instance_type: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("instance type %s: %w", p.in.InstanceType, err)
	}
	for _, t := range out.InstanceTypes {
		if t.ProcessorInfo != nil && slices.Contains(t.ProcessorInfo.SupportedArchitectures, types.ArchitectureTypeArm64) {
			return map[string]string{"ImageParameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"}, nil
		}
	}
	return nil, nil // the template's default
}

// disks finds the snapshots, and for those that are gone their exported images.
func (p *planner) disks(ctx context.Context) ([]disk, error) {
	// By filter: naming an ID that is gone would fail for all.
	out, err := p.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: p.in.Snapshots}}})
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var disks []disk
	var problems []error
	for _, id := range p.in.Snapshots {
		i := slices.IndexFunc(out.Snapshots, func(s types.Snapshot) bool { return aws.ToString(s.SnapshotId) == id })
		if i >= 0 {
			disks = append(disks, disk{Item: "snapshot-" + id, Snapshot: id, GiB: aws.ToInt32(out.Snapshots[i].VolumeSize)})
			continue
		}
		d, err := p.exported(ctx, id)
		if err != nil {
			problems = append(problems, fmt.Errorf("snapshot %s is not in %s of account %s, %w", id, p.req.Target.Region, p.req.Target.Account, err))
			continue
		}
		disks = append(disks, d)
	}
	return disks, errors.Join(problems...)
}

// plan is the proposal of a launch. Its changes are the same before the snapshots are
// known and after. Before, what can't be read is only a note: it must not keep an
// instance from being contained.
func (p *planner) plan(ctx context.Context) (incident.Proposal, error) {
	params, notes, err := p.parameters(ctx)
	early := p.in.Snapshots == nil
	if code := errorCode(err); early && code != "" && code != "InvalidInstanceType" && !errors.Is(err, evidence.ErrNotFound) { // AWS would not say
		params, notes, err = map[string]string{"CaseId": p.req.Case.ID, "InstanceType": p.in.InstanceType}, append(notes, "not everything that the room needs could be read: "+err.Error()), nil
	}
	if err != nil {
		return incident.Proposal{}, err
	}
	var disks []disk
	if !early {
		if disks, err = p.disks(ctx); err != nil {
			return incident.Proposal{}, err
		}
	}
	running, declared, err := p.prove(params, disks)
	if err != nil {
		return incident.Proposal{}, err
	}
	for _, d := range disks {
		what := "volume from " + d.Snapshot
		if d.Image != nil {
			what = "volume from " + d.Item + ", whose snapshot " + d.Snapshot + " is gone"
		}
		notes = append(notes, fmt.Sprintf("%s: %d GiB", what, d.GiB))
	}
	if early {
		running += "; and the copies of the volumes"
	}
	proposal := incident.Proposal{
		Impact: incident.Additive, Changes: p.changes(), Notes: append([]string{running}, notes...), Residual: append(declared, residual()...),
	}
	proposal.Before, err = json.Marshal(before{Parameters: params, Disks: disks})
	return proposal, err
}

func (p *planner) changes() []incident.Change {
	room := fmt.Sprintf("clean room of %s, in %s of %s", p.req.Target.Instance, p.req.Target.Region, p.req.Target.Account)
	after, each := "a network with no way out and an examination instance of type "+p.in.InstanceType, ""
	if n := p.in.Instances; n > 1 {
		after, each = fmt.Sprintf("a network with no way out and %d examination instances of type %s", n, p.in.InstanceType), " to each instance"
	}
	if p.in.Toolkit != "" {
		after += ", with toolkit " + p.in.Toolkit
	}
	return []incident.Change{
		{Resource: room, What: "stack", Before: "none", After: after},
		{Resource: room, What: "volumes", Before: "none", After: "one of each snapshot, encrypted, attached" + each},
	}
}
