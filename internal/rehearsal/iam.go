package rehearsal

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// iamState is global to the account, as IAM is; names are keys.
type iamState struct {
	Roles    map[string]*role            `json:"roles,omitempty"`
	Profiles map[string]*instanceProfile `json:"profiles,omitempty"`
	Policies map[string]*managedPolicy   `json:"policies,omitempty"` // by ARN
	Users    map[string]*iamUser         `json:"users,omitempty"`
	Keys     []*accessKey                `json:"keys,omitempty"`
}

type role struct {
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	ID          string            `json:"id"`
	Created     time.Time         `json:"created"`
	Trust       string            `json:"trust"`
	Description string            `json:"description,omitempty"`
	MaxSession  int32             `json:"max_session"`
	Inline      map[string]string `json:"inline,omitempty"`
	Attached    []string          `json:"attached,omitempty"` // ARNs
	Tags        map[string]string `json:"tags,omitempty"`
	Used        time.Time         `json:"used,omitzero"` // last
}

func (ops operations) iam() {
	on(ops, iamCreateRole)
	on(ops, iamDeleteRole)
	on(ops, iamGetRole)
	on(ops, iamListRoles)
	on(ops, iamListRoleTags)
	on(ops, iamTagRole)
	on(ops, iamUpdateAssumeRolePolicy)
	on(ops, iamPutRolePolicy)
	on(ops, iamDeleteRolePolicy)
	on(ops, iamGetRolePolicy)
	on(ops, iamListRolePolicies)
	on(ops, iamAttachRolePolicy)
	on(ops, iamDetachRolePolicy)
	on(ops, iamListAttachedRolePolicies)
	on(ops, iamCreateInstanceProfile)
	on(ops, iamDeleteInstanceProfile)
	on(ops, iamAddRoleToInstanceProfile)
	on(ops, iamRemoveRoleFromInstanceProfile)
	on(ops, iamGetInstanceProfile)
	on(ops, iamListInstanceProfiles)
	on(ops, iamListInstanceProfilesForRole)
	on(ops, iamSimulatePrincipalPolicy)
	ops.iamManagedPolicies()
	ops.iamUsers()
}

// iamName is what IAM allows in the name of a role, policy or profile.
var iamName = regexp.MustCompile(`^[\w+=,.@-]+$`)

func checkIAMName(field, name string, limit int) error {
	if !iamName.MatchString(name) || len(name) > limit {
		return apiError("ValidationError", fmt.Sprintf("The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_- and at most %d of them", field, limit))
	}
	return nil
}

func noSuchEntity(format string, args ...any) error {
	return &types.NoSuchEntityException{Message: aws.String(fmt.Sprintf(format, args...))}
}

func iamExists(format string, args ...any) error {
	return &types.EntityAlreadyExistsException{Message: aws.String(fmt.Sprintf(format, args...))}
}

func iamConflict(message string) error {
	return &types.DeleteConflictException{Message: &message}
}

func iamLimit(format string, args ...any) error {
	return &types.LimitExceededException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// iamID is a unique identifier: AROA for a role, AIPA for an instance profile
// (IAM User Guide, "IAM identifiers"). It names, it authorizes nothing.
func (w *world) iamID(prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	r, b := w.random(), []byte(prefix)
	for range 17 {
		b = append(b, alphabet[r.IntN(len(alphabet))])
	}
	return string(b)
}

func (w *world) role(name *string) (*role, error) {
	if r := w.IAM.Roles[aws.ToString(name)]; r != nil {
		return r, nil
	}
	return nil, noSuchEntity("The role with name %s cannot be found.", aws.ToString(name))
}

// editableRole refuses the roles that AWS keeps for itself.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html
// https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
func (w *world) editableRole(name *string) (*role, error) {
	r, err := w.role(name)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"/aws-service-role/", "/aws-reserved/"} {
		if strings.HasPrefix(r.Path, path) {
			return nil, &types.UnmodifiableEntityException{Message: aws.String(fmt.Sprintf(
				"Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", r.Name))}
		}
	}
	return r, nil
}

func (r *role) arn(w *world) string {
	return "arn:aws:iam::" + w.Account + ":role" + r.Path + r.Name
}

func (r *role) aws(w *world) types.Role {
	return types.Role{
		Arn: aws.String(r.arn(w)), RoleName: &r.Name, RoleId: &r.ID, Path: &r.Path, CreateDate: &r.Created,
		AssumeRolePolicyDocument: aws.String(encodeDocument(r.Trust)), MaxSessionDuration: &r.MaxSession,
	}
}

// encodeDocument: IAM returns policy documents URL-encoded by RFC 3986.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html
func encodeDocument(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
func iamCreateRole(c *call, in *iam.CreateRoleInput) (*iam.CreateRoleOutput, error) {
	name, path := aws.ToString(in.RoleName), valueOr(in.Path, "/")
	if err := checkIAMName("roleName", name, 64); err != nil {
		return nil, err
	}
	if err := checkTrustPolicy(aws.ToString(in.AssumeRolePolicyDocument)); err != nil {
		return nil, err
	}
	for other := range c.IAM.Roles { // names differ by more than case
		if strings.EqualFold(other, name) {
			return nil, iamExists("Role with name %s already exists.", name)
		}
	}
	r := &role{
		Name: name, Path: path, ID: c.iamID("AROA"), Created: c.Now, Trust: *in.AssumeRolePolicyDocument,
		Description: aws.ToString(in.Description), MaxSession: valueOr(in.MaxSessionDuration, 3600), Tags: iamTagMap(in.Tags),
	}
	put(&c.IAM.Roles, name, r)
	out := r.aws(c.world)
	out.Tags = iamTags(r.Tags)
	return &iam.CreateRoleOutput{Role: &out}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html
func iamDeleteRole(c *call, in *iam.DeleteRoleInput) (*iam.DeleteRoleOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(c.profilesOf(r.Name)) > 0 {
		return nil, iamConflict("Cannot delete entity, must remove roles from instance profile first.")
	}
	if len(r.Inline) > 0 {
		return nil, iamConflict("Cannot delete entity, must delete policies first.")
	}
	if len(r.Attached) > 0 {
		return nil, iamConflict("Cannot delete entity, must detach all policies first.")
	}
	delete(c.IAM.Roles, r.Name)
	return &iam.DeleteRoleOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html
func iamGetRole(c *call, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	out := r.aws(c.world)
	out.Description, out.Tags, out.RoleLastUsed = nilIfEmpty(r.Description), iamTags(r.Tags), &types.RoleLastUsed{}
	if !r.Used.IsZero() {
		out.RoleLastUsed = &types.RoleLastUsed{LastUsedDate: &r.Used, Region: &c.Region}
	}
	return &iam.GetRoleOutput{Role: &out}, nil
}

// The list leaves out the tags, which only GetRole returns.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html
func iamListRoles(c *call, in *iam.ListRolesInput) (*iam.ListRolesOutput, error) {
	out := &iam.ListRolesOutput{}
	for _, name := range sortedKeys(c.IAM.Roles) {
		if r := c.IAM.Roles[name]; strings.HasPrefix(r.Path, valueOr(in.PathPrefix, "/")) {
			out.Roles = append(out.Roles, r.aws(c.world))
		}
	}
	return out, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoleTags.html
func iamListRoleTags(c *call, in *iam.ListRoleTagsInput) (*iam.ListRoleTagsOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.ListRoleTagsOutput{Tags: iamTags(r.Tags)}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagRole.html
func iamTagRole(c *call, in *iam.TagRoleInput) (*iam.TagRoleOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	for k, v := range iamTagMap(in.Tags) {
		put(&r.Tags, k, v)
	}
	return &iam.TagRoleOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html
func iamUpdateAssumeRolePolicy(c *call, in *iam.UpdateAssumeRolePolicyInput) (*iam.UpdateAssumeRolePolicyOutput, error) {
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if err := checkTrustPolicy(aws.ToString(in.PolicyDocument)); err != nil {
		return nil, err
	}
	r.Trust = *in.PolicyDocument
	return &iam.UpdateAssumeRolePolicyOutput{}, nil
}

func iamTagMap(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func iamTags(m map[string]string) []types.Tag {
	var tags []types.Tag
	for _, k := range sortedKeys(m) {
		tags = append(tags, types.Tag{Key: aws.String(k), Value: aws.String(m[k])})
	}
	return tags
}
