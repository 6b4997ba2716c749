package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// copySnapshots copies snapshots under a key of the evidence account's own, into that
// account, so that neither who owns the instance nor who holds its account's keys can take them away.
type copySnapshots struct{ configs Configs }

func (copySnapshots) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.copy-snapshots",
		Summary: "Copies of snapshots under another key, in the evidence account or the same one, locked against deletion",
		Impact:  incident.Irreversible, // in compliance mode; otherwise additive
		Inputs: append([]incident.Field{
			{Name: "snapshots", Type: incident.Strings, Required: true, Late: true, Description: "snapshot IDs"},
			{Name: "kms_key", Type: incident.String, Required: true, Description: "the key that encrypts the copies: a customer managed one, by ARN, ID or alias"},
			{Name: "account", Type: incident.String, Default: "", Description: "ID of the account that the copies belong to; empty: the instance's own"},
			{Name: "region", Type: incident.String, Default: "", Description: "Region of the copies, and of kms_key; empty: the instance's own"},
			{Name: "through_key", Type: incident.String, Default: "",
				Description: "a key of the instance's account that the other account may use, for snapshots under keys that it may not, as AWS's own is: they are copied under it first"},
		}, lockInputs()...),
		Outputs: []incident.Field{{Name: "copies", Type: incident.Strings, Description: "IDs of the copies, in the order of the snapshots"}},
		Permissions: []string{
			"ec2:DescribeSnapshots", "ec2:CopySnapshot", "ec2:CreateTags", "ec2:ModifySnapshotAttribute", "ec2:LockSnapshot", "ec2:DescribeLockedSnapshots",
			"kms:DescribeKey", "kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo",
		},
		Example: "- id: copy\n  action: capture.copy-snapshots\n  needs: [snapshots]\n  with:\n    snapshots: ${{ steps.snapshots.outputs.snapshots }}\n    kms_key: alias/evidence\n",
		Timeout: 24 * time.Hour,
	}
}

type copyInputs struct {
	Snapshots  []string `json:"snapshots"`
	KMSKey     string   `json:"kms_key"`
	Account    string   `json:"account"`
	Region     string   `json:"region"`
	ThroughKey string   `json:"through_key"`
	snapshotInputs
}

var (
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
)

func (in copyInputs) check() error {
	var problems []error
	if in.KMSKey == "" {
		problems = append(problems, errors.New("input kms_key: none given"))
	}
	if in.Account != "" && !accountID.MatchString(in.Account) {
		problems = append(problems, fmt.Errorf("input account: %q is not twelve digits", in.Account))
	}
	if in.Region != "" && !regionName.MatchString(in.Region) {
		problems = append(problems, fmt.Errorf("input region: %q is not the name of a Region", in.Region))
	}
	return errors.Join(append(problems, in.snapshotInputs.check())...)
}

// copyBefore is what Apply builds on, as it was approved.
type copyBefore struct {
	Key        string `json:"key"` // ARN
	ThroughKey string `json:"through_key,omitempty"`
}

// copied is one copy, as it was made.
type copied struct {
	Snapshot string `json:"snapshot"`
	Through  string `json:"through,omitempty"` // the copy that could be shared
	Copy     string `json:"copy"`
}

// copier is a step at work. From and to are the same client's where there is one account.
type copier struct {
	req      incident.Request
	in       copyInputs
	account  string // of the copies
	from, to aws.Config
}

func (a copySnapshots) open(ctx context.Context, req incident.Request) (*copier, error) {
	c := &copier{req: req}
	err := req.Decode(&c.in)
	if err == nil {
		err = c.in.check()
	}
	if err != nil {
		return nil, err
	}
	c.account = cmp.Or(c.in.Account, req.Target.Account)
	if c.from, err = a.configs(ctx, req.Target); err != nil {
		return nil, err
	}
	c.to, err = a.configs(ctx, incident.Target{Account: c.account, Region: cmp.Or(c.in.Region, req.Target.Region)})
	return c, err
}

func (c *copier) crosses() bool { return c.account != c.req.Target.Account }

// Plan finds a key that can't be used before anything is copied: CopySnapshot itself
// accepts it (aws-facts.md, "Snapshots, images").
func (a copySnapshots) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	c, err := a.open(ctx, req)
	if err != nil {
		return incident.Proposal{}, err
	}
	var before copyBefore
	if before.Key, err = usableKey(ctx, c.to, c.in.KMSKey, c.account); err != nil {
		return incident.Proposal{}, err
	}
	if c.crosses() && c.in.ThroughKey != "" {
		if before.ThroughKey, err = usableKey(ctx, c.from, c.in.ThroughKey, req.Target.Account); err != nil {
			return incident.Proposal{}, err
		}
		if why, err := c.unusableThere(ctx, before.ThroughKey); err != nil || why != "" {
			return incident.Proposal{}, errors.Join(err, incident.WithHint(fmt.Errorf("input through_key: %s, %s", before.ThroughKey, why),
				"let account "+c.account+" use it in its key policy, and cordon's role there in its own: "+keyPermissions))
		}
	}
	if len(c.in.Snapshots) > 0 { // which only the run may know
		if _, err := c.unshareable(ctx, before); err != nil {
			return incident.Proposal{}, err
		}
	}
	p := incident.Proposal{
		Impact: incident.Additive,
		Changes: []incident.Change{{
			Resource: "snapshots in account " + c.account + inRegion(c.in.Region), What: "copies", Before: "none",
			After: fmt.Sprintf("one of each snapshot, under %s, %s", before.Key, c.in.snapshotInputs),
		}},
		Notes: []string{"a copy under another key is a full one: of a large volume it takes hours, and all of it is paid for"},
	}
	if c.crosses() {
		p.Notes = append(p.Notes, "the snapshots are shared with account "+c.account+", and stay so")
	}
	if c.in.LockMode == "compliance" {
		p.Impact = incident.Irreversible
		p.Notes = append(p.Notes, c.in.complianceNote())
	}
	p.Before, err = json.Marshal(before)
	return p, err
}

func inRegion(region string) string {
	if region == "" {
		return ""
	}
	return ", " + region
}

// usableKey is the ARN of a key that encrypts snapshots.
func usableKey(ctx context.Context, cfg aws.Config, ref, account string) (string, error) {
	where := fmt.Sprintf("key %s, in %s of account %s", ref, cfg.Region, account)
	out, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &ref})
	if err != nil {
		return "", incident.WithHint(fmt.Errorf("%s: %w", where, err),
			"name a key of that account and Region, and let cordon's role use it, in its key policy or its own: "+keyPermissions)
	}
	key := out.KeyMetadata
	switch {
	case key.KeyManager == kmstypes.KeyManagerTypeAws:
		return "", fmt.Errorf("%s: it is an AWS managed key, and copies need a customer managed one", where)
	case key.KeySpec != kmstypes.KeySpecSymmetricDefault:
		return "", fmt.Errorf("%s: EBS takes symmetric keys only, and this is %s", where, key.KeySpec)
	case key.KeyState != kmstypes.KeyStateEnabled:
		return "", fmt.Errorf("%s: it is %s, not enabled", where, key.KeyState)
	}
	return aws.ToString(key.Arn), nil
}

// keyPermissions of a caller who copies under a key, or from one
// (https://docs.aws.amazon.com/ebs/latest/userguide/share-kms-key.html).
const keyPermissions = "kms:DescribeKey, kms:CreateGrant, kms:Decrypt, kms:GenerateDataKeyWithoutPlaintext, kms:ReEncrypt*"

// sources are the snapshots to copy, in their order.
func (c *copier) sources(ctx context.Context) ([]types.Snapshot, error) {
	if len(c.in.Snapshots) == 0 {
		return nil, errors.New("input snapshots: none given")
	}
	return snapshotsByID(ctx, ec2.NewFromConfig(c.from), c.in.Snapshots)
}

// snapshotsByID reads snapshots, in the order of the IDs.
func snapshotsByID(ctx context.Context, client *ec2.Client, ids []string) ([]types.Snapshot, error) {
	found, err := describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{SnapshotIds: ids})
	if err != nil {
		return nil, err
	}
	all := make([]types.Snapshot, len(ids))
	for i, id := range ids {
		at := slices.IndexFunc(found, func(s types.Snapshot) bool { return aws.ToString(s.SnapshotId) == id })
		if at < 0 {
			return nil, fmt.Errorf("snapshot %s: AWS does not show it", id)
		}
		all[i] = found[at]
	}
	return all, nil
}

// unshareable are the snapshots that another account could not copy: what the AWS managed key
// encrypts can't be shared (EBS User Guide, "Share an Amazon EBS snapshot"), and a customer managed key
// must let that account use it. It refuses where there are any and no key to copy them under.
func (c *copier) unshareable(ctx context.Context, before copyBefore) (map[string]bool, error) {
	if !c.crosses() {
		return nil, nil
	}
	all, err := c.sources(ctx)
	if err != nil {
		return nil, err
	}
	why := make(map[string]string) // by key; empty: it can be used there
	out := make(map[string]bool)
	for _, s := range all {
		key := aws.ToString(s.KmsKeyId)
		if key == "" {
			continue
		}
		if _, asked := why[key]; !asked {
			if why[key], err = c.unusableThere(ctx, key); err != nil {
				return nil, fmt.Errorf("key %s of snapshot %s: %w", key, aws.ToString(s.SnapshotId), err)
			}
		}
		if why[key] == "" {
			continue
		}
		if out[aws.ToString(s.SnapshotId)] = true; before.ThroughKey == "" {
			return nil, incident.WithHint(
				&incident.RefusedError{Reason: fmt.Sprintf("snapshot %s is under %s, %s", aws.ToString(s.SnapshotId), key, why[key])},
				"name in through_key a customer managed key of account "+c.req.Target.Account+" that account "+c.account+" may use ("+keyPermissions+")")
		}
	}
	return out, nil
}

// unusableThere is why the other account can't copy what a key encrypts; empty where it can, as far as can be told:
// who may describe a key need not be allowed the rest.
func (c *copier) unusableThere(ctx context.Context, key string) (string, error) {
	d, err := kms.NewFromConfig(c.from).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	if err != nil {
		return "", err
	}
	if d.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws {
		return "an AWS managed key: it can't be shared with account " + c.account, nil
	}
	_, err = kms.NewFromConfig(c.to).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	if code := errorCode(err); code == "AccessDeniedException" || code == "NotFoundException" {
		return "which cordon's role in account " + c.account + " may not use", nil
	}
	return "", err
}

func (a copySnapshots) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	c, err := a.open(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	var before copyBefore
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return incident.Result{}, fmt.Errorf("proposal of step %s: %w", req.Step, err)
	}
	done := make([]copied, len(c.in.Snapshots))
	for i, id := range c.in.Snapshots {
		done[i].Snapshot = id
	}
	if err := c.completed(ctx, c.from, c.in.Snapshots, ""); err != nil {
		return incident.Result{}, err
	}
	if err := c.share(ctx, before, done); err != nil {
		return incident.Result{}, err
	}
	var from []string
	for _, d := range done {
		from = append(from, cmp.Or(d.Through, d.Snapshot))
	}
	copies, err := c.copies(ctx, c.to, from, before.Key)
	if err != nil {
		return incident.Result{}, err
	}
	if err := c.keep(ctx, before, done, copies); err != nil {
		return incident.Result{}, err
	}
	applied, err := json.Marshal(done)
	return incident.Result{Outputs: map[string]any{"copies": copies}, Applied: applied}, err
}

// share lets the other account copy the snapshots; those that can't be shared it
// copies first, under a key that can. Sharing twice is the same as once.
func (c *copier) share(ctx context.Context, before copyBefore, done []copied) error {
	if !c.crosses() {
		return nil
	}
	hidden, err := c.unshareable(ctx, before)
	if err != nil {
		return err
	}
	var from []string
	for _, d := range done {
		if hidden[d.Snapshot] {
			from = append(from, d.Snapshot)
		}
	}
	through, err := c.copies(ctx, c.from, from, before.ThroughKey)
	if err != nil {
		return err
	}
	client := ec2.NewFromConfig(c.from)
	for i := range done {
		if n := slices.Index(from, done[i].Snapshot); n >= 0 {
			done[i].Through = through[n]
		}
		id := cmp.Or(done[i].Through, done[i].Snapshot)
		if _, err := client.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: []types.CreateVolumePermission{{UserId: &c.account}}},
		}); err != nil {
			return fmt.Errorf("sharing snapshot %s with account %s: %w", id, c.account, err)
		}
	}
	return nil
}

// keep locks the copies and records each as an item of evidence.
func (c *copier) keep(ctx context.Context, before copyBefore, done []copied, copies []string) error {
	client := ec2.NewFromConfig(c.to)
	made, err := snapshotsByID(ctx, client, copies)
	if err != nil {
		return err
	}
	locks, err := lockSnapshots(ctx, client, c.req, c.in.snapshotInputs, made)
	if err != nil {
		return err
	}
	for i, s := range made {
		id := aws.ToString(s.SnapshotId)
		done[i].Copy = id
		notes := []string{fmt.Sprintf("copy of %s, %d GiB, in account %s under %s", done[i].Snapshot, aws.ToInt32(s.VolumeSize), c.account, before.Key)}
		if done[i].Through != "" {
			notes = append(notes, fmt.Sprintf("made from %s, a copy under %s that could be shared", done[i].Through, before.ThroughKey))
		}
		if err := record(ctx, c.req, evidence.Item{
			ID: "snapshot-" + id, Kind: evidence.KindSnapshot, Source: done[i].Snapshot, Location: arn(cmp.Or(c.in.Region, c.req.Target.Region), "snapshot/"+id),
			Account: c.account, Mode: c.in.LockMode, RetainUntil: locks[id], Acquired: aws.ToTime(s.StartTime).UTC(), Notes: notes,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (a copySnapshots) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	var v incident.Verification
	c, err := a.open(ctx, req)
	if err != nil {
		return v, err
	}
	var before copyBefore
	var done []copied
	if err := errors.Join(json.Unmarshal(p.Before, &before), json.Unmarshal(r.Applied, &done)); err != nil {
		return v, fmt.Errorf("proposal and result of step %s: %w", req.Step, err)
	}
	var ids []string
	for _, d := range done {
		ids = append(ids, d.Copy)
	}
	client := ec2.NewFromConfig(c.to)
	made, err := snapshotsByID(ctx, client, ids)
	if err != nil {
		return v, err
	}
	for i, s := range made {
		if s.State != types.SnapshotStateCompleted {
			return v, &incident.NotVerifiedError{Resource: ids[i], Want: "completed", Got: string(s.State) + " " + aws.ToString(s.StateMessage)}
		}
		if key := aws.ToString(s.KmsKeyId); key != before.Key {
			return v, &incident.NotVerifiedError{Resource: ids[i], Want: "encrypted under " + before.Key, Got: fmt.Sprintf("%q", key)}
		}
	}
	locks, err := verifyLocks(ctx, client, c.in.snapshotInputs, ids)
	if err != nil {
		return v, err
	}
	for i, id := range ids {
		v.Observed = append(v.Observed, fmt.Sprintf("%s, the copy of %s: completed, under %s, %s", id, done[i].Snapshot, before.Key, locks[id]))
	}
	return v, nil
}
