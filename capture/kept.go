package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// Kept reads what AWS shows of a snapshot or an image (AMI) of a case's evidence: whether it is
// there, whole, locked or protected, and for whom else it is open. Holders are the accounts that
// the case itself has shared it with. The configuration is that of the item's account and Region.
func Kept(ctx context.Context, cfg aws.Config, it evidence.Item, holders []string) (evidence.Kept, error) {
	client := ec2.NewFromConfig(cfg)
	_, id, _ := strings.Cut(it.Location, "/")
	switch {
	case it.Kind == evidence.KindSnapshot && strings.HasPrefix(id, "snap-"):
		return keptSnapshot(ctx, client, it, id, holders)
	case it.Kind == evidence.KindAMI && strings.HasPrefix(id, "ami-"):
		return keptImage(ctx, client, id, holders)
	}
	return evidence.Kept{}, fmt.Errorf("%s: neither a snapshot nor an image", it.Location)
}

func keptSnapshot(ctx context.Context, client *ec2.Client, it evidence.Item, id string, holders []string) (k evidence.Kept, err error) {
	found, err := describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if errorCode(err) == "InvalidSnapshot.NotFound" || err == nil && len(found) == 0 {
		k.Find(evidence.Missing, "AWS has no snapshot "+id)
		return k, nil
	}
	if err != nil {
		return k, err
	}
	s := found[0]
	switch s.State {
	case types.SnapshotStateCompleted:
	case types.SnapshotStatePending:
		k.Find(evidence.Unfinished, "AWS is still copying it: "+aws.ToString(s.Progress))
	default:
		k.Find(evidence.Broken, fmt.Sprintf("AWS shows it as %s: %s", s.State, aws.ToString(s.StateMessage)))
	}
	if owner := aws.ToString(s.OwnerId); it.Account != "" && owner != it.Account {
		k.Find(evidence.Contradicted, "it belongs to account "+owner+"; it was recorded in account "+it.Account)
	}
	shown := "not locked"
	if k.Mode = evidence.ModeNone; it.Mode != evidence.ModeNone {
		locks, err := locksOf(ctx, client, []string{id})
		if err != nil {
			return k, err
		}
		if l, ok := locks[id]; ok {
			k.Mode, k.RetainUntil = string(l.LockState), aws.ToTime(l.LockExpiresOn).UTC()
			if l.LockState == types.LockStateExpired {
				k.Mode = it.Mode // which it had; that it is over shows by its end
			}
			shown = fmt.Sprintf("locked (%s) until %s", l.LockState, k.RetainUntil.Format(time.RFC3339))
		}
	}
	out, err := client.DescribeSnapshotAttribute(ctx, &ec2.DescribeSnapshotAttributeInput{
		SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
	})
	if err != nil {
		return k, fmt.Errorf("whom snapshot %s is shared with: %w", id, err)
	}
	var open []string
	for _, p := range out.CreateVolumePermissions {
		open = append(open, aws.ToString(p.UserId)+string(p.Group))
	}
	k.Shown = string(s.State) + ", " + shown + sharing(&k, open, holders)
	return k, nil
}

func keptImage(ctx context.Context, client *ec2.Client, id string, holders []string) (k evidence.Kept, err error) {
	k.Mode = evidence.ModeNone // an image has no lock; its protection can be lifted by who has the permission
	found, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if code := errorCode(err); code == "InvalidAMIID.NotFound" || code == "InvalidAMIID.Unavailable" || err == nil && len(found.Images) == 0 {
		k.Find(evidence.Missing, "AWS has no image "+id)
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("image %s: %w", id, err)
	}
	img := found.Images[0]
	switch img.State {
	case types.ImageStateAvailable:
	case types.ImageStatePending:
		k.Find(evidence.Unfinished, "AWS is still making it")
	case types.ImageStateDeregistered:
		k.Find(evidence.Missing, "it is deregistered")
	default:
		detail := fmt.Sprintf("AWS shows it as %s", img.State)
		if img.StateReason != nil {
			detail += ": " + aws.ToString(img.StateReason.Message)
		}
		k.Find(evidence.Broken, detail)
	}
	protection := aws.ToString(img.DeregistrationProtection)
	if !strings.HasPrefix(protection, "enabled") {
		k.Find(evidence.Unlocked, "it is not protected from deregistration any more")
	}
	out, err := client.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{ImageId: &id, Attribute: types.ImageAttributeNameLaunchPermission})
	if err != nil {
		return k, fmt.Errorf("whom image %s is shared with: %w", id, err)
	}
	var open []string
	for _, p := range out.LaunchPermissions {
		open = append(open, aws.ToString(p.UserId)+string(p.Group)+aws.ToString(p.OrganizationArn)+aws.ToString(p.OrganizationalUnitArn))
	}
	k.Shown = fmt.Sprintf("%s, deregistration protection %s", img.State, protection) + sharing(&k, open, holders)
	return k, nil
}

// sharing finds whom somebody else has shared it with, and tells of those that the case has.
func sharing(k *evidence.Kept, open, holders []string) string {
	slices.Sort(open)
	var known []string
	for _, who := range open {
		switch {
		case who == "all":
			k.Find(evidence.Shared, "it is public: every AWS account can read it")
		case slices.Contains(holders, who):
			known = append(known, who)
		default:
			k.Find(evidence.Shared, "it is shared with "+who+", which the case did not do")
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ", shared with " + strings.Join(known, ", ")
}
