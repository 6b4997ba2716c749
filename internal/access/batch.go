package access

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	autoscalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// asked is a read about some instances that can be put into one call with
// others like it.
type asked struct {
	ids []string
	// rest is the input without the IDs: reads are alike where it is.
	rest any
	// about gives the input that asks about other IDs.
	about func(ids []string) any
	// part gives of an answer what is about the IDs; nil where the answer is not whole.
	part func(out any, ids []string) any
}

// batched is how many instances are asked about in one call.
const batched = 50 // what DescribeAutoScalingInstances takes

// batch tells whether the read can be put into one with others.
func batch(input any) (asked, bool) {
	switch in := input.(type) {
	case *ec2.DescribeInstancesInput:
		return instancesAsked(in)
	case *autoscaling.DescribeAutoScalingInstancesInput:
		return membersAsked(in)
	case *ec2.DescribeNetworkInterfacesInput:
		return filtered(in, in.Filters, "attachment.instance-id", func(in *ec2.DescribeNetworkInterfacesInput, f []ec2types.Filter) { in.Filters = f },
			func(out *ec2.DescribeNetworkInterfacesOutput, about func(string) bool) bool {
				out.NetworkInterfaces = slices.DeleteFunc(out.NetworkInterfaces, func(n ec2types.NetworkInterface) bool {
					return n.Attachment == nil || !about(aws.ToString(n.Attachment.InstanceId))
				})
				return out.NextToken == nil
			})
	case *ec2.DescribeIamInstanceProfileAssociationsInput:
		return filtered(in, in.Filters, "instance-id", func(in *ec2.DescribeIamInstanceProfileAssociationsInput, f []ec2types.Filter) { in.Filters = f },
			func(out *ec2.DescribeIamInstanceProfileAssociationsOutput, about func(string) bool) bool {
				out.IamInstanceProfileAssociations = slices.DeleteFunc(out.IamInstanceProfileAssociations, func(a ec2types.IamInstanceProfileAssociation) bool {
					return !about(aws.ToString(a.InstanceId))
				})
				return out.NextToken == nil
			})
	}
	return asked{}, false
}

func instancesAsked(in *ec2.DescribeInstancesInput) (asked, bool) {
	if in.MaxResults == nil && in.NextToken == nil && len(in.InstanceIds) == 0 {
		return filtered(in, in.Filters, "instance-id", func(in *ec2.DescribeInstancesInput, f []ec2types.Filter) { in.Filters = f },
			func(out *ec2.DescribeInstancesOutput, about func(string) bool) bool {
				keepInstances(out, about)
				return out.NextToken == nil
			})
	}
	ids := in.InstanceIds
	if len(ids) == 0 || len(in.Filters) > 0 || in.MaxResults != nil || in.NextToken != nil {
		return asked{}, false
	}
	rest := *in
	rest.InstanceIds = nil
	return asked{
		ids: ids, rest: rest,
		about: func(ids []string) any {
			c := rest
			c.InstanceIds = ids
			return &c
		},
		part: func(out any, ids []string) any {
			o := out.(*ec2.DescribeInstancesOutput)
			keepInstances(o, func(id string) bool { return slices.Contains(ids, id) })
			return o
		},
	}, true
}

func keepInstances(out *ec2.DescribeInstancesOutput, about func(id string) bool) {
	for i := range out.Reservations {
		r := &out.Reservations[i]
		r.Instances = slices.DeleteFunc(r.Instances, func(i ec2types.Instance) bool { return !about(aws.ToString(i.InstanceId)) })
	}
	out.Reservations = slices.DeleteFunc(out.Reservations, func(r ec2types.Reservation) bool { return len(r.Instances) == 0 })
}

func membersAsked(in *autoscaling.DescribeAutoScalingInstancesInput) (asked, bool) {
	ids := in.InstanceIds
	if len(ids) == 0 || in.MaxRecords != nil || in.NextToken != nil {
		return asked{}, false
	}
	return asked{
		ids:   ids,
		about: func(ids []string) any { return &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: ids} },
		part: func(out any, ids []string) any {
			o := out.(*autoscaling.DescribeAutoScalingInstancesOutput)
			o.AutoScalingInstances = slices.DeleteFunc(o.AutoScalingInstances, func(i autoscalingtypes.AutoScalingInstanceDetails) bool {
				return !slices.Contains(ids, aws.ToString(i.InstanceId))
			})
			if o.NextToken != nil {
				return nil
			}
			return o
		},
	}, true
}

// filtered is a read that names its instances in a filter: any of the filter's
// values matches.
func filtered[I, O any](in *I, filters []ec2types.Filter, name string, set func(*I, []ec2types.Filter), keep func(out *O, about func(string) bool) bool) (asked, bool) {
	at := slices.IndexFunc(filters, func(f ec2types.Filter) bool { return aws.ToString(f.Name) == name })
	if at < 0 || len(filters[at].Values) == 0 {
		return asked{}, false
	}
	about := func(ids []string) any {
		c, f := *in, slices.Clone(filters)
		f[at].Values = ids
		set(&c, f)
		return &c
	}
	return asked{
		ids: filters[at].Values, rest: about(nil), about: about,
		part: func(out any, ids []string) any {
			o := out.(*O)
			if !keep(o, func(id string) bool { return slices.Contains(ids, id) }) {
				return nil
			}
			return o
		},
	}, true
}
