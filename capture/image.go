package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// image makes an AMI of the running instance.
type image struct{ configs Configs }

func (image) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.image",
		Summary: "An image (AMI) of the instance, made without a reboot, protected from deregistration",
		Impact:  incident.Additive,
		Outputs: []incident.Field{{Name: "image", Type: incident.String, Description: "AMI ID"}},
		Permissions: []string{
			"ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeVolumes", "ec2:DescribeImages", "ec2:CreateImage", "ec2:CreateTags",
			"ec2:EnableImageDeregistrationProtection",
		},
		Example: "- id: image\n  action: capture.image\n",
		Timeout: 20 * time.Minute,
	}
}

func (a image) client(ctx context.Context, req incident.Request) (*ec2.Client, error) {
	cfg, err := a.configs(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	return ec2.NewFromConfig(cfg), nil
}

func (a image) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	client, err := a.client(ctx, req)
	if err != nil {
		return incident.Proposal{}, err
	}
	vols, notes, err := planVolumes(ctx, client, req.Target)
	if err != nil {
		return incident.Proposal{}, err
	}
	return incident.Proposal{
		Impact: incident.Additive, Notes: notes,
		Changes: []incident.Change{{
			Resource: req.Target.Instance, What: "image (AMI)", Before: "none",
			After: fmt.Sprintf("one with %d volumes, without a reboot, protected from deregistration", len(vols)),
		}},
	}, nil
}

// imageName is unique to the step, so that a second one can't be made: EC2
// refuses a name that is taken. It allows letters, digits and a few marks, 128 in all.
func imageName(req incident.Request) string {
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '-'
	}, req.Case.ID)
	return fmt.Sprintf("cordon-%.40s-%s-%s", clean, req.Target.Instance, req.Token)
}

func (a image) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	client, err := a.client(ctx, req)
	if err != nil {
		return incident.Result{}, err
	}
	id, err := a.make(ctx, client, req)
	if err != nil {
		return incident.Result{}, err
	}
	if err := a.protect(ctx, client, req, id); err != nil {
		return incident.Result{}, err
	}
	it := evidence.Item{
		ID: id, Kind: evidence.KindAMI, Source: req.Target.Instance,
		Location: arn(req.Target.Region, "image/"+id), Account: req.Target.Account, Mode: evidence.ModeNone, Acquired: req.Clock.Now().UTC(),
		Notes: []string{"made without a reboot: crash-consistent", "protected from deregistration; its snapshots are not locked"},
	}
	if err := record(ctx, req, it); err != nil {
		return incident.Result{}, err
	}
	applied, err := json.Marshal(id)
	return incident.Result{Outputs: map[string]any{"image": id}, Applied: applied}, err
}

func (a image) make(ctx context.Context, client *ec2.Client, req incident.Request) (string, error) {
	find := func(ctx context.Context) ([]types.Image, error) {
		out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: byToken(req)})
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		return out.Images, nil
	}
	made, err := findMade(ctx, req.Clock, mayExist(req), 1, find)
	if err != nil {
		return "", err
	}
	if len(made) > 0 {
		return aws.ToString(made[0].ImageId), nil
	}
	if err := req.Record(ctx, incident.EntryStepRecord, asked{"ec2:CreateImage"}); err != nil {
		return "", err
	}
	out, err := client.CreateImage(ctx, &ec2.CreateImageInput{
		InstanceId: &req.Target.Instance, Name: aws.String(imageName(req)),
		Description: aws.String("cordon case " + req.Case.ID + ", run " + req.Run),
		NoReboot:    aws.Bool(true), // the default reboots, and memory is lost (aws-facts.md)
		TagSpecifications: []types.TagSpecification{
			tags(req, types.ResourceTypeImage), tags(req, types.ResourceTypeSnapshot),
		},
	}, notTwice)
	if err == nil {
		return aws.ToString(out.ImageId), nil
	}
	err = fmt.Errorf("image of %s: %w", req.Target.Instance, err)
	if (mayHaveHappened(err) || errorCode(err) == "InvalidAMIName.Duplicate") && ctx.Err() == nil {
		if made, ferr := findMade(ctx, req.Clock, true, 1, find); ferr == nil && len(made) > 0 {
			return aws.ToString(made[0].ImageId), nil
		}
	}
	return "", err
}

// protect is the same however often it is called. While the image is pending
// AWS may refuse, which its documentation leaves open: it is tried again.
func (a image) protect(ctx context.Context, client *ec2.Client, req incident.Request, id string) error {
	return incident.Poll(ctx, req.Clock, 15*time.Second, 15*time.Minute, "protection of "+id+" from deregistration", func(ctx context.Context) (bool, error) {
		_, err := client.EnableImageDeregistrationProtection(ctx, &ec2.EnableImageDeregistrationProtectionInput{ImageId: &id})
		switch errorCode(err) {
		case "InvalidAMIID.Unavailable", "IncorrectState", "InvalidAMIID.NotFound":
			return false, nil
		}
		return err == nil, err
	})
}

func (a image) Verify(ctx context.Context, req incident.Request, _ incident.Proposal, r incident.Result) (incident.Verification, error) {
	var v incident.Verification
	var id string
	if err := json.Unmarshal(r.Applied, &id); err != nil {
		return v, fmt.Errorf("result of step %s: %w", req.Step, err)
	}
	client, err := a.client(ctx, req)
	if err != nil {
		return v, err
	}
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		return v, fmt.Errorf("image %s: %w", id, err)
	}
	if len(out.Images) != 1 {
		return v, &incident.NotVerifiedError{Resource: id, Want: "one image", Got: fmt.Sprintf("%d images", len(out.Images))}
	}
	img := out.Images[0]
	if img.State != types.ImageStatePending && img.State != types.ImageStateAvailable {
		got := string(img.State)
		if img.StateReason != nil {
			got += ": " + aws.ToString(img.StateReason.Message)
		}
		return v, &incident.NotVerifiedError{Resource: id, Want: "pending or available", Got: got}
	}
	// enabled-with-cooldown, enabled-without-cooldown or disabled (AWS CLI reference, enable-image-deregistration-protection).
	if got := aws.ToString(img.DeregistrationProtection); !strings.HasPrefix(got, "enabled") {
		return v, &incident.NotVerifiedError{Resource: id, Want: "protected from deregistration", Got: fmt.Sprintf("%q", got)}
	}
	v.Observed = []string{fmt.Sprintf("%s: %s, deregistration protection %s", id, img.State, aws.ToString(img.DeregistrationProtection))}
	return v, nil
}
