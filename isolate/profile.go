package isolate

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// profileName is the last part of arn:…:instance-profile/PATH/NAME.
func profileName(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

func profileARN(a ec2types.IamInstanceProfileAssociation) string {
	if a.IamInstanceProfile == nil {
		return ""
	}
	return aws.ToString(a.IamInstanceProfile.Arn)
}

// associations pages through what the filters leave of the Region's instance
// profile associations, those that are being taken away not counted.
func (s *session) associations(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.IamInstanceProfileAssociation, error) {
	var all []ec2types.IamInstanceProfileAssociation
	pages := ec2.NewDescribeIamInstanceProfileAssociationsPaginator(s.ec2, &ec2.DescribeIamInstanceProfileAssociationsInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("instance profile associations: %w", err)
		}
		for _, a := range page.IamInstanceProfileAssociations {
			switch a.State {
			case ec2types.IamInstanceProfileAssociationStateDisassociating, ec2types.IamInstanceProfileAssociationStateDisassociated:
			default:
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// association is the instance's own; nil for none.
func (s *session) association(ctx context.Context) (*ec2types.IamInstanceProfileAssociation, error) {
	all, err := s.associations(ctx, ec2types.Filter{Name: aws.String("instance-id"), Values: []string{aws.ToString(s.inst.InstanceId)}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", instanceName(s.inst), err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return &all[0], nil
}

// others counts the other instances of the Region that use a profile.
func (s *session) others(ctx context.Context, profile string) (int, error) {
	all, err := s.associations(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, a := range all {
		if profileARN(a) == profile && aws.ToString(a.InstanceId) != aws.ToString(s.inst.InstanceId) {
			n++
		}
	}
	return n, nil
}

// role is the role a profile holds; nil for none.
func (s *session) role(ctx context.Context, profile string) (*iamtypes.Role, error) {
	out, err := s.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(profileName(profile))})
	if hasCode(err, "NoSuchEntity") {
		return nil, incident.WithHint(fmt.Errorf("instance profile %s: %w", profileName(profile), err),
			"it was deleted while an instance still uses it: the credentials it hands out can't be traced to a role; cut the network")
	}
	if err != nil {
		return nil, fmt.Errorf("instance profile %s: %w", profileName(profile), err)
	}
	if out.InstanceProfile == nil || len(out.InstanceProfile.Roles) == 0 {
		return nil, nil
	}
	return &out.InstanceProfile.Roles[0], nil
}

// disassociate takes this profile away and waits until it is gone. One that
// was put there since is another decision: it fails.
func (s *session) disassociate(ctx context.Context, clock incident.Clock, profile string) error {
	what := fmt.Sprintf("instance profile %s to leave %s", profileName(profile), instanceName(s.inst))
	asked := ""
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		current, err := s.association(ctx)
		if err != nil || current == nil {
			return err == nil, err
		}
		if now := profileARN(*current); now != profile {
			return false, incident.WithHint(fmt.Errorf("%s: its instance profile is %s now, not %s as planned", instanceName(s.inst), profileName(now), profileName(profile)),
				"plan again: another role has to be revoked")
		}
		if id := aws.ToString(current.AssociationId); id != asked {
			asked = id
			_, err = s.ec2.DisassociateIamInstanceProfile(ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: current.AssociationId})
		}
		// Neither call has a client token: a repeated request finds it done.
		if hasCode(err, "InvalidAssociationID.NotFound", "IncorrectState") {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("disassociate: %w", err)
		}
		return false, nil
	})
}

// associate brings the profile back and waits until it is associated.
func (s *session) associate(ctx context.Context, clock incident.Clock, profile string) error {
	what := fmt.Sprintf("instance profile %s to be associated with %s", profileName(profile), instanceName(s.inst))
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		current, err := s.association(ctx)
		if err != nil {
			return false, err
		}
		if current != nil && profileARN(*current) == profile {
			return current.State == ec2types.IamInstanceProfileAssociationStateAssociated, nil
		}
		if current != nil {
			// Drift, and the release is forced: replaced in one step.
			_, err = s.ec2.DisassociateIamInstanceProfile(ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: current.AssociationId})
		} else {
			_, err = s.ec2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{
				InstanceId: s.inst.InstanceId, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Arn: aws.String(profile)},
			})
		}
		if hasCode(err, "IncorrectState", "InvalidAssociationID.NotFound") {
			return false, nil // under way already, or the old one is not quite gone
		}
		if hasCode(err, "InvalidParameterValue", "NoSuchEntity") {
			return false, incident.WithHint(err, "does the instance profile still exist? make it again under the same name, and release again")
		}
		return false, err
	})
}
