package survey

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/triage"
)

// groupTag is the tag that Auto Scaling keeps on the members of a group ("Tag Auto Scaling groups and instances").
const groupTag = "aws:autoscaling:groupName"

// pageSize is the most that DescribeInstances gives at once (EC2 API Reference).
const pageSize = 1000

// Inventory yields the instances of an account and Region, page after page, as AWS has them. Terminated ones are left aside:
// they are listed for about an hour still (EC2 User Guide, "Instance state changes"). An error is the last it yields.
func Inventory(ctx context.Context, cfg aws.Config, here incident.Target, names triage.Names, filters []ec2types.Filter) iter.Seq2[triage.Instance, error] {
	return func(yield func(triage.Instance, error) bool) {
		filters := append(slices.Clone(filters), ec2types.Filter{
			Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"},
		})
		pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(triage.Instance{}, fmt.Errorf("listing the instances of account %s, Region %s: %w", here.Account, here.Region, err))
				return
			}
			for _, r := range page.Reservations {
				for _, i := range r.Instances {
					if !yield(instance(here, i, names), nil) {
						return
					}
				}
			}
		}
	}
}

// instance is what the inventory shows of it.
func instance(here incident.Target, i ec2types.Instance, names triage.Names) triage.Instance {
	t := triage.Instance{
		Account: here.Account, Region: here.Region, ID: aws.ToString(i.InstanceId), Type: string(i.InstanceType),
		VPC: aws.ToString(i.VpcId), Subnet: aws.ToString(i.SubnetId), Launched: aws.ToTime(i.LaunchTime).UTC(),
		Tags: make(map[string]string, len(i.Tags)),
	}
	if i.State != nil {
		t.State = string(i.State.Name)
	}
	if i.Placement != nil {
		t.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	for _, tag := range i.Tags {
		t.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	t.Name, t.Owner, t.Group = t.Tags["Name"], t.Tags[names.Owner], t.Tags[groupTag]
	for _, n := range i.NetworkInterfaces {
		for _, a := range n.PrivateIpAddresses {
			t.Private = add(t.Private, a.PrivateIpAddress)
			if a.Association != nil {
				t.Public = add(t.Public, a.Association.PublicIp)
			}
		}
		for _, a := range n.Ipv6Addresses {
			t.IPv6 = add(t.IPv6, a.Ipv6Address)
		}
	}
	return t
}

func add(list []string, s *string) []string {
	if s == nil || *s == "" || slices.Contains(list, *s) {
		return list
	}
	return append(list, *s)
}
