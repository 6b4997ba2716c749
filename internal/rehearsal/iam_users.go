package rehearsal

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Quotas of a user: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	userInlineLimit = 2048 // characters of all inline policies, white space not counted
	keysPerUser     = 2
)

type iamUser struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Inline  map[string]string `json:"inline,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
}

// accessKey is a key as ListAccessKeys shows it: there is no secret.
type accessKey struct {
	User    string    `json:"user"`
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Created time.Time `json:"created"`
	// The last use, as GetAccessKeyLastUsed shows it.
	Used    time.Time `json:"used,omitzero"`
	Service string    `json:"service,omitempty"`
}

func (ops operations) iamUsers() {
	on(ops, iamCreateUser)
	on(ops, iamDeleteUser)
	on(ops, iamGetUser)
	on(ops, iamListUsers)
	on(ops, iamPutUserPolicy)
	on(ops, iamDeleteUserPolicy)
	on(ops, iamGetUserPolicy)
	on(ops, iamListUserPolicies)
	on(ops, iamCreateAccessKey)
	on(ops, iamDeleteAccessKey)
	on(ops, iamListAccessKeys)
	on(ops, iamUpdateAccessKey)
	on(ops, iamGetAccessKeyLastUsed)
}

func (w *world) user(name *string) (*iamUser, error) {
	if u := w.IAM.Users[aws.ToString(name)]; u != nil {
		return u, nil
	}
	return nil, noSuchEntity("The user with name %s cannot be found.", aws.ToString(name))
}

func (u *iamUser) arn(w *world) string {
	return "arn:aws:iam::" + w.Account + ":user" + u.Path + u.Name
}

func (u *iamUser) aws(w *world) types.User {
	return types.User{Arn: aws.String(u.arn(w)), UserName: &u.Name, UserId: &u.ID, Path: &u.Path, CreateDate: &u.Created}
}

// keysOf lists a user's access keys, oldest first.
func (w *world) keysOf(user string) []*accessKey {
	var keys []*accessKey
	for _, k := range w.IAM.Keys {
		if k.User == user {
			keys = append(keys, k)
		}
	}
	return keys
}

// accessKey finds a key by its ID; nil where there is none.
func (w *world) accessKey(id string) *accessKey {
	for _, k := range w.IAM.Keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html
func iamCreateUser(c *call, in *iam.CreateUserInput) (*iam.CreateUserOutput, error) {
	name := aws.ToString(in.UserName)
	if err := checkIAMName("userName", name, 64); err != nil {
		return nil, err
	}
	for other := range c.IAM.Users { // names differ by more than case
		if strings.EqualFold(other, name) {
			return nil, iamExists("User with name %s already exists.", name)
		}
	}
	u := &iamUser{Name: name, Path: valueOr(in.Path, "/"), ID: c.iamID("AIDA"), Created: c.Now, Tags: iamTagMap(in.Tags)}
	put(&c.IAM.Users, name, u)
	out := u.aws(c.world)
	out.Tags = iamTags(u.Tags)
	return &iam.CreateUserOutput{User: &out}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
func iamDeleteUser(c *call, in *iam.DeleteUserInput) (*iam.DeleteUserOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	if len(c.keysOf(u.Name)) > 0 {
		return nil, iamConflict("Cannot delete entity, must delete access keys first.")
	}
	if len(u.Inline) > 0 {
		return nil, iamConflict("Cannot delete entity, must delete policies first.")
	}
	delete(c.IAM.Users, u.Name)
	return &iam.DeleteUserOutput{}, nil
}

// Without a name AWS tells of the caller; here that is a role's session, which
// is no user.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html
func iamGetUser(c *call, in *iam.GetUserInput) (*iam.GetUserOutput, error) {
	if in.UserName == nil {
		return nil, apiError("ValidationError", "Must specify userName when calling with non-User credentials")
	}
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	out := u.aws(c.world)
	out.Tags = iamTags(u.Tags)
	return &iam.GetUserOutput{User: &out}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html
func iamListUsers(c *call, in *iam.ListUsersInput) (*iam.ListUsersOutput, error) {
	out := &iam.ListUsersOutput{Users: []types.User{}}
	for _, name := range sortedKeys(c.IAM.Users) {
		if u := c.IAM.Users[name]; strings.HasPrefix(u.Path, valueOr(in.PathPrefix, "/")) {
			out.Users = append(out.Users, u.aws(c.world))
		}
	}
	return out, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPolicy.html
func iamPutUserPolicy(c *call, in *iam.PutUserPolicyInput) (*iam.PutUserPolicyOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	if err := putInline(&u.Inline, "user "+u.Name, userInlineLimit, in.PolicyName, in.PolicyDocument); err != nil {
		return nil, err
	}
	return &iam.PutUserPolicyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUserPolicy.html
func iamDeleteUserPolicy(c *call, in *iam.DeleteUserPolicyInput) (*iam.DeleteUserPolicyOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	if _, err := inlinePolicy(u.Inline, "user", in.PolicyName); err != nil {
		return nil, err
	}
	delete(u.Inline, *in.PolicyName)
	return &iam.DeleteUserPolicyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUserPolicy.html
func iamGetUserPolicy(c *call, in *iam.GetUserPolicyInput) (*iam.GetUserPolicyOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	document, err := inlinePolicy(u.Inline, "user", in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iam.GetUserPolicyOutput{UserName: &u.Name, PolicyName: in.PolicyName, PolicyDocument: aws.String(encodeDocument(document))}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUserPolicies.html
func iamListUserPolicies(c *call, in *iam.ListUserPoliciesInput) (*iam.ListUserPoliciesOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	return &iam.ListUserPoliciesOutput{PolicyNames: sortedKeys(u.Inline)}, nil
}

// The secret that comes with a key opens nothing here.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html
func iamCreateAccessKey(c *call, in *iam.CreateAccessKeyInput) (*iam.CreateAccessKeyOutput, error) {
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	if len(c.keysOf(u.Name)) >= keysPerUser {
		return nil, iamLimit("Cannot exceed quota for AccessKeysPerUser: %d", keysPerUser)
	}
	id := c.iamID("AKIA") // 20 characters where other identifiers have 21
	k := &accessKey{User: u.Name, ID: id[:20], Status: string(types.StatusTypeActive), Created: c.Now}
	c.IAM.Keys = append(c.IAM.Keys, k)
	return &iam.CreateAccessKeyOutput{AccessKey: &types.AccessKey{
		UserName: &k.User, AccessKeyId: &k.ID, SecretAccessKey: aws.String("rehearsal"), Status: types.StatusTypeActive, CreateDate: &k.Created,
	}}, nil
}

// key finds a key of the user that the request names, or of any.
func (c *call) key(id, user *string) (*accessKey, error) {
	if user != nil {
		if _, err := c.user(user); err != nil {
			return nil, err
		}
	}
	if k := c.accessKey(aws.ToString(id)); k != nil && (user == nil || k.User == *user) {
		return k, nil
	}
	return nil, noSuchEntity("The Access Key with id %s cannot be found.", aws.ToString(id))
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html
func iamDeleteAccessKey(c *call, in *iam.DeleteAccessKeyInput) (*iam.DeleteAccessKeyOutput, error) {
	k, err := c.key(in.AccessKeyId, in.UserName)
	if err != nil {
		return nil, err
	}
	for i := range c.IAM.Keys {
		if c.IAM.Keys[i] == k {
			c.IAM.Keys = append(c.IAM.Keys[:i:i], c.IAM.Keys[i+1:]...)
			break
		}
	}
	return &iam.DeleteAccessKeyOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func iamListAccessKeys(c *call, in *iam.ListAccessKeysInput) (*iam.ListAccessKeysOutput, error) {
	out := &iam.ListAccessKeysOutput{AccessKeyMetadata: []types.AccessKeyMetadata{}}
	if in.UserName == nil {
		return out, nil // of the caller, a role's session, which has none
	}
	u, err := c.user(in.UserName)
	if err != nil {
		return nil, err
	}
	for _, k := range c.keysOf(u.Name) {
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, types.AccessKeyMetadata{
			UserName: &k.User, AccessKeyId: &k.ID, Status: types.StatusType(k.Status), CreateDate: &k.Created,
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html
func iamUpdateAccessKey(c *call, in *iam.UpdateAccessKeyInput) (*iam.UpdateAccessKeyOutput, error) {
	k, err := c.key(in.AccessKeyId, in.UserName)
	if err != nil {
		return nil, err
	}
	k.Status = string(in.Status)
	return &iam.UpdateAccessKeyOutput{}, nil
}

// A key that was never used has N/A for its Region and service.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html
func iamGetAccessKeyLastUsed(c *call, in *iam.GetAccessKeyLastUsedInput) (*iam.GetAccessKeyLastUsedOutput, error) {
	k := c.accessKey(aws.ToString(in.AccessKeyId))
	if k == nil {
		// AWS's page names no other refusal; the caller may not ask about a key
		// of another account, and can't tell it from one that does not exist.
		return nil, apiError("AccessDenied", fmt.Sprintf("User: %s is not authorized to perform: iam:GetAccessKeyLastUsed", c.Caller))
	}
	used := &types.AccessKeyLastUsed{Region: aws.String("N/A"), ServiceName: aws.String("N/A")}
	if !k.Used.IsZero() {
		used = &types.AccessKeyLastUsed{Region: &c.Region, ServiceName: &k.Service, LastUsedDate: &k.Used}
	}
	return &iam.GetAccessKeyLastUsedOutput{UserName: &k.User, AccessKeyLastUsed: used}, nil
}
