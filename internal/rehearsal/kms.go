package rehearsal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// kmsState holds the keys that encrypt volumes, snapshots and buckets. They have no
// key material: nothing in the account is really encrypted. What is modelled is whether
// the caller can use a key.
type kmsState struct {
	Keys    map[string]*kmsKey `json:"keys,omitempty"`    // by ID
	Aliases map[string]string  `json:"aliases,omitempty"` // by the alias's ARN: key ID
}

type kmsKey struct {
	ID          string               `json:"id"`
	Region      string               `json:"region"`
	Created     time.Time            `json:"created"`
	Description string               `json:"description,omitempty"`
	State       types.KeyState       `json:"state"`
	Manager     types.KeyManagerType `json:"manager"`
	Tags        []types.Tag          `json:"tags,omitempty"`
	Policy      string               `json:"policy,omitempty"` // who else may use it; its own account always may
}

func (ops operations) kms() {
	on(ops, kmsCreateKey)
	on(ops, kmsDescribeKey)
	on(ops, kmsEnableKey)
	on(ops, kmsDisableKey)
	on(ops, kmsCreateAlias)
	on(ops, kmsListAliases)
}

func (w *world) keyARN(k *kmsKey) string {
	return "arn:aws:kms:" + k.Region + ":" + w.Account + ":key/" + k.ID
}

// findKey finds a key in a Region by what KMS takes for a KeyId: its ID, its ARN, an alias, an alias's ARN
// (https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html). It is nil without one.
func (w *world) findKey(region, ref string) *kmsKey {
	here := "arn:aws:kms:" + region + ":" + w.Account + ":"
	id := strings.TrimPrefix(strings.TrimPrefix(ref, here), "key/")
	if strings.HasPrefix(id, "alias/") {
		id = w.KMS.Aliases[here+id]
	}
	if k, ok := w.KMS.Keys[id]; ok && k.Region == region {
		return k
	}
	return nil
}

// sharedKey finds a key of another Region, or of another account that lets this one do something with it, by its ARN
// (https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html). The
// world is the key's.
func (c *call) sharedKey(ref, action string) (*world, *kmsKey) {
	for _, owner := range c.first().worlds() {
		k := owner.findKey(owner.Region, ref)
		if owner == c.world || k == nil || !strings.HasPrefix(ref, "arn:") {
			continue
		}
		if owner.Account == c.Account || policyAllows(k.Policy, c.Account, action) {
			return owner, k
		}
	}
	return nil, nil
}

// errKeyState: the key is there, but disabled or waiting to be deleted.
var errKeyState = errors.New("is not enabled")

// useKey checks that the caller can use a key for an action as kms:Decrypt. No key is no obstacle.
func (c *call) useKey(ref, action string) error {
	if ref == "" {
		return nil
	}
	owner, k := c.world, c.findKey(c.region, ref)
	if k == nil {
		owner, k = c.sharedKey(ref, action)
	}
	if k == nil {
		return fmt.Errorf("key %s does not exist, or lets nobody of account %s do %s", ref, c.Account, action)
	}
	if c.denied(action) {
		return fmt.Errorf("%s is not authorized to perform: %s on resource: %s", c.Caller, action, owner.keyARN(k))
	}
	if k.State != types.KeyStateEnabled {
		return fmt.Errorf("%s %w", owner.keyARN(k), errKeyState)
	}
	return nil
}

// managedKey is the key that AWS manages for a service (alias/aws/ebs), made when it is first needed.
// What is encrypted with it can't be shared
// (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modifying-snapshot-permissions.html).
func (c *call) managedKey(service string) *kmsKey {
	alias := "alias/aws/" + service
	if k := c.findKey(c.region, alias); k != nil {
		return k
	}
	k := c.newKey(types.KeyManagerTypeAws, "Default key that protects my "+service+" data when no other key is defined")
	put(&c.KMS.Aliases, c.kmsName("", &alias), k.ID)
	return k
}

func (c *call) newKey(manager types.KeyManagerType, description string) *kmsKey {
	r := c.random()
	k := &kmsKey{
		ID:     fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>20, r.Uint32()>>20, r.Uint64()>>16),
		Region: c.region, Created: c.Now, Description: description, State: types.KeyStateEnabled, Manager: manager,
	}
	put(&c.KMS.Keys, k.ID, k)
	return k
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html: symmetric encryption keys only.
func kmsCreateKey(c *call, in *kms.CreateKeyInput) (*kms.CreateKeyOutput, error) {
	if in.KeySpec != "" && in.KeySpec != types.KeySpecSymmetricDefault || in.KeyUsage != "" && in.KeyUsage != types.KeyUsageTypeEncryptDecrypt {
		return nil, &types.UnsupportedOperationException{Message: aws.String("the simulated account has symmetric encryption keys only")}
	}
	k := c.newKey(types.KeyManagerTypeCustomer, aws.ToString(in.Description))
	k.Tags, k.Policy = slices.Clone(in.Tags), aws.ToString(in.Policy)
	return &kms.CreateKeyOutput{KeyMetadata: c.keyMetadata(k)}, nil
}

func (w *world) keyMetadata(k *kmsKey) *types.KeyMetadata {
	return &types.KeyMetadata{
		KeyId: &k.ID, Arn: aws.String(w.keyARN(k)), AWSAccountId: aws.String(w.Account), CreationDate: &k.Created,
		Description: &k.Description, Enabled: k.State == types.KeyStateEnabled, KeyState: k.State, KeyManager: k.Manager,
		KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt, MultiRegion: aws.Bool(false),
		//lint:ignore SA1019 deprecated, and still in every answer ("KeyMetadata")
		CustomerMasterKeySpec: types.CustomerMasterKeySpecSymmetricDefault,
		EncryptionAlgorithms:  []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault}, Origin: types.OriginTypeAwsKms,
	}
}

func (c *call) kmsKey(ref *string) (*kmsKey, error) {
	k := c.findKey(c.region, aws.ToString(ref))
	if k == nil {
		what := "Key '" + c.kmsName("key", ref) + "' does not exist"
		if strings.Contains(aws.ToString(ref), "alias/") {
			what = "Alias " + c.kmsName("", ref) + " is not found."
		}
		return nil, &types.NotFoundException{Message: &what}
	}
	return k, nil
}

// kmsName is how an error names what was asked for: by its ARN.
func (c *call) kmsName(kind string, ref *string) string {
	name := aws.ToString(ref)
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	if kind != "" {
		name = kind + "/" + name
	}
	return "arn:aws:kms:" + c.region + ":" + c.Account + ":" + name
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html: a disabled key can be described.
func kmsDescribeKey(c *call, in *kms.DescribeKeyInput) (*kms.DescribeKeyOutput, error) {
	if owner := accountOf(aws.ToString(in.KeyId)); owner != "" && owner != c.Account {
		of, k := c.sharedKey(*in.KeyId, "kms:DescribeKey")
		if k == nil {
			return nil, apiError("AccessDeniedException", "User: "+c.Caller+" is not authorized to perform: kms:DescribeKey on resource: "+*in.KeyId+
				" because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
		}
		return &kms.DescribeKeyOutput{KeyMetadata: of.keyMetadata(k)}, nil
	}
	k, err := c.kmsKey(in.KeyId)
	if err != nil {
		return nil, err
	}
	return &kms.DescribeKeyOutput{KeyMetadata: c.keyMetadata(k)}, nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html
func kmsEnableKey(c *call, in *kms.EnableKeyInput) (*kms.EnableKeyOutput, error) {
	return &kms.EnableKeyOutput{}, c.setKeyState(in.KeyId, types.KeyStateEnabled)
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html: what the key encrypted
// can't be read until it is enabled again.
func kmsDisableKey(c *call, in *kms.DisableKeyInput) (*kms.DisableKeyOutput, error) {
	return &kms.DisableKeyOutput{}, c.setKeyState(in.KeyId, types.KeyStateDisabled)
}

// setKeyState takes a key by its ID or ARN; aliases are refused here.
func (c *call) setKeyState(ref *string, state types.KeyState) error {
	if strings.Contains(aws.ToString(ref), "alias/") {
		return &types.InvalidArnException{Message: aws.String("Aliases may not be used with this operation")}
	}
	k, err := c.kmsKey(ref)
	if err != nil {
		return err
	}
	if k.Manager == types.KeyManagerTypeAws {
		return apiError("AccessDeniedException", "AWS managed keys can't be changed")
	}
	if k.State == types.KeyStatePendingDeletion {
		return &types.KMSInvalidStateException{Message: aws.String(c.keyARN(k) + " is pending deletion.")}
	}
	k.State = state
	return nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
func kmsCreateAlias(c *call, in *kms.CreateAliasInput) (*kms.CreateAliasOutput, error) {
	name := aws.ToString(in.AliasName)
	if !strings.HasPrefix(name, "alias/") || strings.HasPrefix(name, "alias/aws/") {
		return nil, &types.InvalidAliasNameException{Message: aws.String("Alias must start with the prefix \"alias/\" and not with the reserved \"alias/aws/\"")}
	}
	k, err := c.kmsKey(in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	arn := c.kmsName("", &name)
	if _, ok := c.KMS.Aliases[arn]; ok {
		return nil, &types.AlreadyExistsException{Message: aws.String("An alias with the name " + arn + " already exists")}
	}
	put(&c.KMS.Aliases, arn, k.ID)
	return &kms.CreateAliasOutput{}, nil
}

// https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html, in one page.
func kmsListAliases(c *call, in *kms.ListAliasesInput) (*kms.ListAliasesOutput, error) {
	only := ""
	if in.KeyId != nil {
		k, err := c.kmsKey(in.KeyId)
		if err != nil {
			return nil, err
		}
		only = k.ID
	}
	out := &kms.ListAliasesOutput{}
	for _, arn := range sortedKeys(c.KMS.Aliases) {
		k := c.KMS.Keys[c.KMS.Aliases[arn]]
		if k.Region != c.region || only != "" && k.ID != only {
			continue
		}
		out.Aliases = append(out.Aliases, types.AliasListEntry{
			AliasName: aws.String(arn[strings.Index(arn, "alias/"):]), AliasArn: aws.String(arn), TargetKeyId: &k.ID, CreationDate: &k.Created,
		})
	}
	return out, nil
}
