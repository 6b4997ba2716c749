package rehearsal

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (ops operations) ec2Reach() {
	ec2On(ops, ec2DescribeManagedPrefixLists)
	ec2On(ops, ec2GetManagedPrefixListEntries)
}

// awsList is one of AWS's own lists of addresses.
type awsList struct{ id, name string }

// ec2DescribeManagedPrefixLists: API_DescribeManagedPrefixLists. The account
// has none of its own; AWS's are those of the services with a gateway endpoint.
func ec2DescribeManagedPrefixLists(c *call, in *ec2.DescribeManagedPrefixListsInput) (*ec2.DescribeManagedPrefixListsOutput, error) {
	field := func(l *awsList, name string) ([]string, bool) {
		switch name {
		case "prefix-list-id":
			return one(l.id), true
		case "prefix-list-name":
			return one(l.name), true
		case "owner-id":
			return one("AWS"), true
		}
		return nil, false
	}
	if err := checkFilters(in.Filters, field); err != nil {
		return nil, err
	}
	out := &ec2.DescribeManagedPrefixListsOutput{}
	for _, service := range []string{".s3", ".dynamodb"} {
		l := &awsList{prefixList(service), "com.amazonaws." + c.region + service}
		if !matches(in.Filters, func(name string) []string { v, _ := field(l, name); return v }) {
			continue
		}
		out.PrefixLists = append(out.PrefixLists, types.ManagedPrefixList{
			PrefixListId: &l.id, PrefixListName: &l.name, OwnerId: aws.String("AWS"), AddressFamily: aws.String("IPv4"),
			PrefixListArn: aws.String("arn:aws:ec2:" + c.region + ":aws:prefix-list/" + l.id), State: types.PrefixListStateCreateComplete,
		})
	}
	return out, nil
}

// ec2GetManagedPrefixListEntries: API_GetManagedPrefixListEntries. AWS's own lists
// have one entry each here, of the kind that they have (ip-ranges.json).
func ec2GetManagedPrefixListEntries(c *call, in *ec2.GetManagedPrefixListEntriesInput) (*ec2.GetManagedPrefixListEntriesOutput, error) {
	id := aws.ToString(in.PrefixListId)
	for service, cidr := range map[string]string{".s3": "3.5.136.0/22", ".dynamodb": "52.94.5.0/24"} {
		if prefixList(service) == id {
			return &ec2.GetManagedPrefixListEntriesOutput{Entries: []types.PrefixListEntry{{Cidr: aws.String(cidr)}}}, nil
		}
	}
	return nil, apiError("InvalidPrefixListID.NotFound", "The prefix list ID '"+id+"' does not exist")
}
