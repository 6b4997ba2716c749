package capture

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// tagSource names the snapshot that a copy is of: AWS itself does not keep it.
const tagSource = "cordon:source"

// copies makes a copy of each snapshot under the key, or finds the one that this step
// has made, and waits until all are completed. It returns their IDs in the order of from.
func (c *copier) copies(ctx context.Context, cfg aws.Config, from []string, key string) ([]string, error) {
	if len(from) == 0 {
		return nil, nil
	}
	client := ec2.NewFromConfig(cfg)
	made, err := c.made(ctx, client, from, mayExist(c.req))
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(from))
	for i, source := range from {
		if ids[i] = made[source]; ids[i] != "" {
			continue
		}
		if ids[i], err = c.copy(ctx, client, source, key); err != nil {
			return nil, fmt.Errorf("copy of %s under %s: %w", source, key, err)
		}
	}
	return ids, c.completed(ctx, cfg, ids, key)
}

// made are the step's copies of the snapshots, by snapshot. One that ended in error
// holds nothing and is passed over: another takes its place.
func (c *copier) made(ctx context.Context, client *ec2.Client, from []string, mayExist bool) (map[string]string, error) {
	found, err := findMade(ctx, c.req.Clock, mayExist, len(from), func(ctx context.Context) ([]types.Snapshot, error) {
		all, err := describeSnapshots(ctx, client, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: byToken(c.req)})
		return slices.DeleteFunc(all, func(s types.Snapshot) bool {
			return s.State == types.SnapshotStateError || !slices.Contains(from, sourceOf(s))
		}), err
	})
	bySource := make(map[string]string)
	for _, s := range found {
		bySource[sourceOf(s)] = aws.ToString(s.SnapshotId)
	}
	return bySource, err
}

func sourceOf(s types.Snapshot) string {
	for _, t := range s.Tags {
		if aws.ToString(t.Key) == tagSource {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// copy sends one CopySnapshot, which takes no client token.
func (c *copier) copy(ctx context.Context, client *ec2.Client, source, key string) (id string, err error) {
	if err := c.req.Record(ctx, incident.EntryStepRecord, asked{"ec2:CopySnapshot"}); err != nil {
		return "", err
	}
	marks := tags(c.req, types.ResourceTypeSnapshot)
	marks.Tags = append(marks.Tags, types.Tag{Key: aws.String(tagSource), Value: &source})
	// 20 copies at once go to a Region, then AWS answers ResourceLimitExceeded (EBS User Guide, "Copy an Amazon EBS snapshot").
	err = incident.Poll(ctx, c.req.Clock, snapshotPoll, snapshotLimit, "room for one more copy", func(ctx context.Context) (bool, error) {
		out, err := client.CopySnapshot(ctx, &ec2.CopySnapshotInput{
			SourceRegion: &c.req.Target.Region, SourceSnapshotId: &source, Encrypted: aws.Bool(true), KmsKeyId: &key,
			Description:       aws.String("cordon case " + c.req.Case.ID + ", run " + c.req.Run + ", copy of " + source),
			TagSpecifications: []types.TagSpecification{marks},
		}, notTwice)
		if errorCode(err) == "ResourceLimitExceeded" {
			return false, nil
		}
		if err == nil {
			id = aws.ToString(out.SnapshotId)
		}
		return err == nil, err
	})
	if err != nil && mayHaveHappened(err) && ctx.Err() == nil {
		if made, ferr := c.made(ctx, client, []string{source}, true); ferr == nil && made[source] != "" {
			return made[source], nil
		}
	}
	return id, err
}

// completed waits until all the snapshots are. The key is that of copies: one that
// can't be used shows only here (aws-facts.md, "Snapshots, images").
func (c *copier) completed(ctx context.Context, cfg aws.Config, ids []string, key string) error {
	client := ec2.NewFromConfig(cfg)
	what := "the snapshots to be completed"
	if key != "" {
		what = "the copies to be completed"
	}
	begun := c.req.Clock.Now()
	return incident.Poll(ctx, c.req.Clock, snapshotPoll, snapshotLimit, what, func(ctx context.Context) (bool, error) {
		all, err := snapshotsByID(ctx, client, ids)
		if errorCode(err) == "InvalidSnapshot.NotFound" && c.req.Clock.Now().Before(begun.Add(tagIndexDelay)) {
			return false, nil // a new one may not be shown at once
		}
		if err != nil {
			return false, err
		}
		ready := 0
		for _, s := range all {
			switch {
			case s.State == types.SnapshotStateCompleted:
				ready++
			case s.State == types.SnapshotStateError && key != "":
				return false, incident.WithHint(
					fmt.Errorf("%s, the copy of %s under %s, ended in error: %s", aws.ToString(s.SnapshotId), sourceOf(s), key, aws.ToString(s.StateMessage)),
					"let cordon's role use that key and the one of "+sourceOf(s)+" ("+keyPermissions+"), then run the playbook again: another copy is made")
			case s.State == types.SnapshotStateError:
				return false, fmt.Errorf("%s ended in error: %s", aws.ToString(s.SnapshotId), aws.ToString(s.StateMessage))
			}
		}
		c.req.Progress(incident.Progress{Step: c.req.Step, What: "waiting for " + what, Done: int64(ready), Total: int64(len(ids)), Unit: "snapshots"})
		return ready == len(ids), nil
	})
}
