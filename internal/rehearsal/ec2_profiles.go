package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// profileAssociation gives an instance its instance profile.
type profileAssociation struct {
	ID       string                                   `json:"id"`
	Instance string                                   `json:"instance"`
	Profile  string                                   `json:"profile"` // ARN
	State    types.IamInstanceProfileAssociationState `json:"state"`
	Until    time.Time                                `json:"until,omitzero"` // when a passing state ends
	Since    time.Time                                `json:"since"`
}

// associationTime is what associating and disassociating take.
const associationTime = 3 * time.Second

func (ops operations) ec2Profiles() {
	ec2On(ops, ec2AssociateIamInstanceProfile)
	ec2On(ops, ec2DisassociateIamInstanceProfile)
	ec2On(ops, ec2ReplaceIamInstanceProfileAssociation)
	ec2On(ops, ec2DescribeIamInstanceProfileAssociations)
}

// associationOf is the association that the instance has or is getting; nil where it has none.
func (s *ec2State) associationOf(instance string) *profileAssociation {
	for _, a := range s.Associations {
		if a.Instance == instance && a.State != types.IamInstanceProfileAssociationStateDisassociating {
			return a
		}
	}
	return nil
}

func (c *call) associate(instance, profile string) *profileAssociation {
	a := &profileAssociation{
		ID: c.id("iip-assoc"), Instance: instance, Profile: profile, Since: c.Now,
		State: types.IamInstanceProfileAssociationStateAssociating, Until: c.Now.Add(associationTime),
	}
	c.EC2.Associations[a.ID] = a
	return a
}

func (a *profileAssociation) leave(now time.Time) {
	a.State, a.Until = types.IamInstanceProfileAssociationStateDisassociating, now.Add(associationTime)
}

func (s *ec2State) tickProfiles(now time.Time) (changed bool) {
	for id, a := range s.Associations {
		if a.Until.IsZero() || now.Before(a.Until) {
			continue
		}
		changed = true
		if a.State == types.IamInstanceProfileAssociationStateDisassociating {
			delete(s.Associations, id)
		} else {
			a.State, a.Until = types.IamInstanceProfileAssociationStateAssociated, time.Time{}
		}
	}
	return changed
}

// profileARN finds an instance profile by its name or ARN; none stays none.
func (w *world) profileARN(profile string) (string, error) {
	if profile == "" {
		return "", nil
	}
	if p := w.instanceProfile(profile); p != nil {
		return p.arn(w), nil
	}
	return "", apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", profile))
}

// profileID is what DescribeInstances shows beside the ARN; the ID of a profile that was deleted is no longer known.
func (w *world) profileID(arn string) string {
	if p := w.instanceProfile(arn); p != nil {
		return p.ID
	}
	return ""
}

func profileSpec(p *types.IamInstanceProfileSpecification) string {
	if p == nil {
		return ""
	}
	return aws.ToString(p.Arn) + aws.ToString(p.Name)
}

// showAssociation: API_IamInstanceProfileAssociation.
func (c *call) showAssociation(a *profileAssociation) types.IamInstanceProfileAssociation {
	return types.IamInstanceProfileAssociation{
		AssociationId: &a.ID, InstanceId: &a.Instance, State: a.State, Timestamp: &a.Since,
		IamInstanceProfile: &types.IamInstanceProfile{Arn: &a.Profile, Id: aws.String(c.profileID(a.Profile))},
	}
}

// ec2AssociateIamInstanceProfile: API_AssociateIamInstanceProfile. An instance has one at most.
func ec2AssociateIamInstanceProfile(c *call, in *ec2.AssociateIamInstanceProfileInput) (*ec2.AssociateIamInstanceProfileOutput, error) {
	s := c.ec2()
	i, err := get(kindInstance, s.Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	profile, err := c.profileARN(profileSpec(in.IamInstanceProfile))
	if err != nil {
		return nil, err
	}
	if !i.alive() || i.State == types.InstanceStateNameShuttingDown {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in the 'running' or 'stopped' states.", i.ID))
	}
	if s.associationOf(i.ID) != nil {
		return nil, apiError("IncorrectState", "There is an existing association for instance "+i.ID)
	}
	shown := c.showAssociation(c.associate(i.ID, profile))
	return &ec2.AssociateIamInstanceProfileOutput{IamInstanceProfileAssociation: &shown}, nil
}

// ec2DisassociateIamInstanceProfile: API_DisassociateIamInstanceProfile. The answer
// says disassociating; credentials handed out before stay valid.
func ec2DisassociateIamInstanceProfile(c *call, in *ec2.DisassociateIamInstanceProfileInput) (*ec2.DisassociateIamInstanceProfileOutput, error) {
	a, err := c.association(in.AssociationId)
	if err != nil {
		return nil, err
	}
	a.leave(c.Now)
	shown := c.showAssociation(a)
	return &ec2.DisassociateIamInstanceProfileOutput{IamInstanceProfileAssociation: &shown}, nil
}

// association is one that is not on its way out.
func (c *call) association(id *string) (*profileAssociation, error) {
	a, err := get(kindAssociation, c.ec2().Associations, id)
	if err != nil {
		return nil, err
	}
	if a.State == types.IamInstanceProfileAssociationStateDisassociating {
		return nil, kindAssociation.missing(a.ID)
	}
	return a, nil
}

// ec2ReplaceIamInstanceProfileAssociation: API_ReplaceIamInstanceProfileAssociation. The
// new association has a new ID.
func ec2ReplaceIamInstanceProfileAssociation(c *call, in *ec2.ReplaceIamInstanceProfileAssociationInput) (*ec2.ReplaceIamInstanceProfileAssociationOutput, error) {
	old, err := c.association(in.AssociationId)
	if err != nil {
		return nil, err
	}
	profile, err := c.profileARN(profileSpec(in.IamInstanceProfile))
	if err != nil {
		return nil, err
	}
	old.leave(c.Now)
	shown := c.showAssociation(c.associate(old.Instance, profile))
	return &ec2.ReplaceIamInstanceProfileAssociationOutput{IamInstanceProfileAssociation: &shown}, nil
}

// ec2DescribeIamInstanceProfileAssociations: API_DescribeIamInstanceProfileAssociations.
// One that is disassociating is still listed.
func ec2DescribeIamInstanceProfileAssociations(c *call, in *ec2.DescribeIamInstanceProfileAssociationsInput) (*ec2.DescribeIamInstanceProfileAssociationsOutput, error) {
	q := listing{query{in.AssociationIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindAssociation, c.ec2().Associations, q, func(a *profileAssociation, name string) ([]string, bool) {
		switch name {
		case "instance-id":
			return one(a.Instance), true
		case "state":
			return one(string(a.State)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeIamInstanceProfileAssociationsOutput{IamInstanceProfileAssociations: each(found, c.showAssociation), NextToken: next}, nil
}
