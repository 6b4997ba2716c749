package isolate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
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

// currentProfile is the profile's name as a responder reads it.
func currentProfile(a *ec2types.IamInstanceProfileAssociation) string {
	if a == nil {
		return "none"
	}
	return profileName(profileARN(*a))
}

// everyAssociation pages through what the filters leave of the Region's
// instance profile associations.
func (s *session) everyAssociation(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.IamInstanceProfileAssociation, error) {
	var all []ec2types.IamInstanceProfileAssociation
	pages := ec2.NewDescribeIamInstanceProfileAssociationsPaginator(s.ec2, &ec2.DescribeIamInstanceProfileAssociationsInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("instance profile associations: %w", err)
		}
		if at, ok := awsmiddleware.GetServerTime(page.ResultMetadata); ok {
			s.seen = at
		}
		all = append(all, page.IamInstanceProfileAssociations...)
	}
	return all, nil
}

// associations leaves out those that are being taken away.
func (s *session) associations(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.IamInstanceProfileAssociation, error) {
	all, err := s.everyAssociation(ctx, filters...)
	return slices.DeleteFunc(all, func(a ec2types.IamInstanceProfileAssociation) bool {
		return a.State == ec2types.IamInstanceProfileAssociationStateDisassociating || a.State == ec2types.IamInstanceProfileAssociationStateDisassociated
	}), err
}

// own leaves the instance's associations.
func (s *session) own() ec2types.Filter {
	return ec2types.Filter{Name: aws.String("instance-id"), Values: []string{s.instance}}
}

// association is the instance's own; nil for none.
func (s *session) association(ctx context.Context) (*ec2types.IamInstanceProfileAssociation, error) {
	all, err := s.associations(ctx, s.own())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return &all[0], nil
}

// roleOf is the role a profile holds; nil for none.
func (s *session) roleOf(ctx context.Context, profile string) (*iamtypes.Role, error) {
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

// exchange takes the profile away, or puts the quarantine profile in its place
// in one call, and waits until it is gone. It reports whether there was anything
// to do. A profile that was put there since is another decision: it fails.
func (s *session) exchange(ctx context.Context, clock incident.Clock, profile, quarantine string) (changed bool, err error) {
	what := fmt.Sprintf("instance profile %s to leave %s", profileName(profile), s.name())
	asked := ""
	err = incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		current, err := s.association(ctx)
		if err != nil {
			return false, err
		}
		if current == nil {
			if quarantine == "" {
				return true, nil
			}
			changed = true
			return false, s.attach(ctx, quarantine)
		}
		now := profileARN(*current)
		if now == quarantine {
			return true, nil
		}
		if now != profile {
			return false, incident.WithHint(fmt.Errorf("%s: its instance profile is %s now, not %s as planned", s.name(), profileName(now), profileName(profile)),
				"plan again: another role has to be revoked")
		}
		if aws.ToString(current.AssociationId) == asked {
			return false, nil
		}
		asked, changed = aws.ToString(current.AssociationId), true
		if err := s.detach(ctx, current.AssociationId, quarantine); err != nil {
			return false, err
		}
		current, err = s.association(ctx) // mostly it is gone at once
		return err == nil && (current == nil && quarantine == "" || current != nil && profileARN(*current) == quarantine), err
	})
	return changed, err
}

// detach takes an association away, or replaces it. Neither call has a client
// token: a repeated request finds it done.
func (s *session) detach(ctx context.Context, association *string, profile string) (err error) {
	if profile == "" {
		_, err = s.ec2.DisassociateIamInstanceProfile(ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: association})
	} else {
		_, err = s.ec2.ReplaceIamInstanceProfileAssociation(ctx, &ec2.ReplaceIamInstanceProfileAssociationInput{
			AssociationId: association, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Arn: aws.String(profile)},
		})
	}
	return s.underWay(err)
}

// attach gives the instance a profile.
func (s *session) attach(ctx context.Context, profile string) error {
	_, err := s.ec2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{
		InstanceId: &s.instance, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Arn: aws.String(profile)},
	})
	return s.underWay(err)
}

// underWay: a refusal that means that the change is on its way, or the old
// association is not quite gone, is none.
func (s *session) underWay(err error) error {
	switch {
	case err == nil || hasCode(err, "InvalidAssociationID.NotFound", "IncorrectState"):
		return nil
	case hasCode(err, "InvalidParameterValue", "NoSuchEntity"):
		return incident.WithHint(fmt.Errorf("%s: instance profile: %w", s.name(), err),
			"does the instance profile still exist? make it again under the same name, and try again")
	default:
		return fmt.Errorf("%s: instance profile: %w", s.name(), err)
	}
}

// associate brings the profile back and waits until it is associated.
func (s *session) associate(ctx context.Context, clock incident.Clock, profile string) error {
	what := fmt.Sprintf("instance profile %s to be associated with %s", profileName(profile), s.name())
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		current, err := s.association(ctx)
		switch {
		case err != nil:
			return false, err
		case current == nil:
			return false, s.attach(ctx, profile)
		case profileARN(*current) == profile:
			return current.State == ec2types.IamInstanceProfileAssociationStateAssociated, nil
		default: // the quarantine profile, or drift and the release is forced
			return false, s.detach(ctx, current.AssociationId, profile)
		}
	})
}

// settle waits until no association is on its way out: the metadata service
// may hand out credentials until then.
func (s *session) settle(ctx context.Context, clock incident.Clock) error {
	what := fmt.Sprintf("the instance profile of %s to be gone for good", s.name())
	return incident.Poll(ctx, clock, pause, lag, what, func(ctx context.Context) (bool, error) {
		all, err := s.everyAssociation(ctx, s.own())
		for _, a := range all {
			if a.State == ec2types.IamInstanceProfileAssociationStateDisassociating {
				return false, err
			}
		}
		return err == nil, err
	})
}
