package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

type instanceProfile struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Roles   []string          `json:"roles,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
}

// instanceProfile finds a profile by its name or ARN; nil where there is none.
func (w *world) instanceProfile(nameOrARN string) *instanceProfile {
	if p := w.IAM.Profiles[nameOrARN]; p != nil {
		return p
	}
	for _, p := range w.IAM.Profiles {
		if p.arn(w) == nameOrARN {
			return p
		}
	}
	return nil
}

func (p *instanceProfile) arn(w *world) string {
	return "arn:aws:iam::" + w.Account + ":instance-profile" + p.Path + p.Name
}

func (w *world) profile(name *string) (*instanceProfile, error) {
	if p := w.IAM.Profiles[aws.ToString(name)]; p != nil {
		return p, nil
	}
	return nil, noSuchEntity("Instance Profile %s cannot be found.", aws.ToString(name))
}

func (p *instanceProfile) aws(w *world) types.InstanceProfile {
	out := types.InstanceProfile{
		Arn: aws.String(p.arn(w)), InstanceProfileId: &p.ID, InstanceProfileName: &p.Name,
		Path: &p.Path, CreateDate: &p.Created, Roles: []types.Role{}, Tags: iamTags(p.Tags),
	}
	for _, name := range p.Roles {
		out.Roles = append(out.Roles, w.IAM.Roles[name].aws(w))
	}
	return out
}

// profilesOf lists the profiles that carry a role, by name.
func (w *world) profilesOf(role string) []*instanceProfile {
	var ps []*instanceProfile
	for _, name := range sortedKeys(w.IAM.Profiles) {
		if p := w.IAM.Profiles[name]; slices.Contains(p.Roles, role) {
			ps = append(ps, p)
		}
	}
	return ps
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateInstanceProfile.html
func iamCreateInstanceProfile(c *call, in *iam.CreateInstanceProfileInput) (*iam.CreateInstanceProfileOutput, error) {
	name := aws.ToString(in.InstanceProfileName)
	if err := checkIAMName("instanceProfileName", name, 128); err != nil {
		return nil, err
	}
	for other := range c.IAM.Profiles {
		if strings.EqualFold(other, name) {
			return nil, iamExists("Instance Profile %s already exists.", name)
		}
	}
	p := &instanceProfile{Name: name, Path: valueOr(in.Path, "/"), ID: c.iamID("AIPA"), Created: c.Now, Tags: iamTagMap(in.Tags)}
	put(&c.IAM.Profiles, name, p)
	return &iam.CreateInstanceProfileOutput{InstanceProfile: new(p.aws(c.world))}, nil
}

// Deleting does not ask whether an instance still uses the profile: what runs
// there then loses its credentials.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteInstanceProfile.html
func iamDeleteInstanceProfile(c *call, in *iam.DeleteInstanceProfileInput) (*iam.DeleteInstanceProfileOutput, error) {
	p, err := c.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if len(p.Roles) > 0 {
		return nil, iamConflict("Cannot delete entity, must remove roles from instance profile first.")
	}
	delete(c.IAM.Profiles, p.Name)
	return &iam.DeleteInstanceProfileOutput{}, nil
}

// A profile holds one role, a quota that can't be raised.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html
func iamAddRoleToInstanceProfile(c *call, in *iam.AddRoleToInstanceProfileInput) (*iam.AddRoleToInstanceProfileOutput, error) {
	p, err := c.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	r, err := c.editableRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(p.Roles) >= rolesPerProfileLimit {
		return nil, iamLimit("Cannot exceed quota for InstanceSessionsPerInstanceProfile: %d", rolesPerProfileLimit)
	}
	p.Roles = append(p.Roles, r.Name)
	return &iam.AddRoleToInstanceProfileOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_RemoveRoleFromInstanceProfile.html
func iamRemoveRoleFromInstanceProfile(c *call, in *iam.RemoveRoleFromInstanceProfileInput) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	p, err := c.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	at := slices.Index(p.Roles, aws.ToString(in.RoleName))
	if at < 0 {
		return nil, noSuchEntity("The role with name %s cannot be found.", aws.ToString(in.RoleName))
	}
	p.Roles = slices.Delete(p.Roles, at, at+1)
	return &iam.RemoveRoleFromInstanceProfileOutput{}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetInstanceProfile.html
func iamGetInstanceProfile(c *call, in *iam.GetInstanceProfileInput) (*iam.GetInstanceProfileOutput, error) {
	p, err := c.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	return &iam.GetInstanceProfileOutput{InstanceProfile: new(p.aws(c.world))}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListInstanceProfiles.html
func iamListInstanceProfiles(c *call, in *iam.ListInstanceProfilesInput) (*iam.ListInstanceProfilesOutput, error) {
	out := &iam.ListInstanceProfilesOutput{InstanceProfiles: []types.InstanceProfile{}}
	for _, name := range sortedKeys(c.IAM.Profiles) {
		if p := c.IAM.Profiles[name]; strings.HasPrefix(p.Path, valueOr(in.PathPrefix, "/")) {
			out.InstanceProfiles = append(out.InstanceProfiles, p.aws(c.world))
		}
	}
	return out, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListInstanceProfilesForRole.html
func iamListInstanceProfilesForRole(c *call, in *iam.ListInstanceProfilesForRoleInput) (*iam.ListInstanceProfilesForRoleOutput, error) {
	r, err := c.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	out := &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: []types.InstanceProfile{}}
	for _, p := range c.profilesOf(r.Name) {
		out.InstanceProfiles = append(out.InstanceProfiles, p.aws(c.world))
	}
	return out, nil
}
