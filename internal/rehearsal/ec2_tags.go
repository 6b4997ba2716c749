package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// tag is a tag's value and when it was set: the index behind filters learns it
// only after a while.
type tag struct {
	Value string    `json:"value"`
	Since time.Time `json:"since"`
}

func (ops operations) ec2Tags() {
	ec2On(ops, ec2CreateTags)
	ec2On(ops, ec2DeleteTags)
	ec2On(ops, ec2DescribeTags)
}

// tag sets tags on a resource that the caller has made sure exists.
func (w *world) tag(id string, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	all := w.EC2.Tags[id]
	if all == nil {
		all = make(map[string]tag)
		w.EC2.Tags[id] = all
	}
	for k, v := range tags {
		if old, ok := all[k]; !ok || old.Value != v {
			all[k] = tag{Value: v, Since: w.Now}
		}
	}
}

// tags are a resource's tags as they are, whatever the index knows.
func (w *world) tags(id string) map[string]string {
	tags := make(map[string]string, len(w.EC2.Tags[id]))
	for k, t := range w.EC2.Tags[id] {
		tags[k] = t.Value
	}
	return tags
}

// tagList is how the Describe operations show tags.
func (w *world) tagList(id string) []types.Tag {
	all := w.EC2.Tags[id]
	list := make([]types.Tag, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(all[k].Value)})
	}
	return list
}

// indexedTag gives what the index knows for the filters tag:KEY and tag-key
// ("Eventual consistency in the Amazon EC2 API"): a resource found by its ID has its
// tags at once, a filter finds it by them a little later.
func (c *call) indexedTag(id, filter string) []string {
	all := c.ec2().Tags[id]
	known := func(t tag) bool { return !c.Now.Before(t.Since.Add(c.EC2.IndexLag)) }
	if key, ok := strings.CutPrefix(filter, "tag:"); ok {
		if t, ok := all[key]; ok && known(t) {
			return []string{t.Value}
		}
		return nil
	}
	var keys []string
	for k, t := range all {
		if known(t) {
			keys = append(keys, k)
		}
	}
	return keys
}

// tagsFor takes the tags for one type of resource out of a request. The prefix
// aws: is AWS's own, and a resource has 50 tags at most ("Tag your Amazon EC2 resources").
func tagsFor(resource types.ResourceType, specs []types.TagSpecification) (map[string]string, error) {
	tags := make(map[string]string)
	for _, s := range specs {
		if s.ResourceType == resource {
			for _, t := range s.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
	}
	return tags, checkTags(tags)
}

// checkSpecs refuses tags for a type of resource that the operation does not make.
func checkSpecs(specs []types.TagSpecification, allowed ...types.ResourceType) error {
	for _, s := range specs {
		if !slices.Contains(allowed, s.ResourceType) {
			return apiError("InvalidParameterValue", fmt.Sprintf("'%s' is not a valid taggable resource type for this operation.", s.ResourceType))
		}
		if _, err := tagsFor(s.ResourceType, []types.TagSpecification{s}); err != nil {
			return err
		}
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > 50 {
		return apiError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	for k, v := range tags {
		switch {
		case k == "" || len(k) > 128:
			return apiError("InvalidParameterValue", fmt.Sprintf("Tag key '%s' is invalid. Tag keys must be between 1 and 128 characters.", k))
		case len(v) > 256:
			return apiError("InvalidParameterValue", fmt.Sprintf("Tag value of '%s' exceeds the maximum length of 256 characters.", k))
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return apiError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	return nil
}

// kindOf finds a resource of any kind by its ID.
func (s *ec2State) kindOf(id string) (k resourceKind, exists bool) {
	for _, kind := range []struct {
		resourceKind
		exists bool
	}{
		{kindInstance, has(s.Instances, id)}, {kindInterface, has(s.Interfaces, id)}, {kindGroup, has(s.Groups, id)},
		{kindRule, s.groupOfRule(id) != nil}, {kindVPC, has(s.VPCs, id)}, {kindSubnet, has(s.Subnets, id)},
		{kindRouteTable, has(s.RouteTables, id)}, {kindGateway, has(s.Gateways, id)}, {kindNAT, has(s.NATs, id)},
		{kindAttachment, has(s.Attachments, id)}, {kindTransit, has(s.Transits, id)}, {kindPeering, has(s.Peerings, id)},
		{kindVPN, has(s.VPNs, id)}, {kindEgressOnly, has(s.EgressOnly, id)},
		{kindEndpoint, has(s.Endpoints, id)}, {kindACL, has(s.ACLs, id)}, {kindAddress, has(s.Addresses, id)},
		{kindVolume, has(s.Volumes, id)}, {kindSnapshot, has(s.Snapshots, id)}, {kindImage, has(s.Images, id)},
		{kindKey, has(s.Keys, id)}, {kindFlowLog, has(s.FlowLogs, id)},
		{kindInsights, has(s.Insights.Paths, id)}, {kindAnalysis, has(s.Insights.Analyses, id)},
	} {
		if strings.HasPrefix(id, kind.prefix+"-") {
			return kind.resourceKind, kind.exists
		}
	}
	return resourceKind{}, false
}

func has[T any](all map[string]*T, id string) bool {
	_, ok := all[id]
	return ok
}

// taggable checks the resources of a request before any of them is changed.
func (s *ec2State) taggable(ids []string) error {
	for _, id := range ids {
		k, exists := s.kindOf(id)
		if k.prefix == "" {
			return apiError("InvalidID", fmt.Sprintf("The ID '%s' is not valid", id))
		}
		if err := k.check(id); err != nil {
			return err
		}
		if !exists {
			return k.missing(id)
		}
	}
	return nil
}

// ec2CreateTags: API_CreateTags. A tag that is there already gets the new value.
func ec2CreateTags(c *call, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	s := c.ec2()
	if err := s.taggable(in.Resources); err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(in.Tags))
	for _, t := range in.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	for _, id := range in.Resources {
		merged := c.tags(id)
		maps.Copy(merged, tags)
		maps.DeleteFunc(merged, func(k, _ string) bool { return strings.HasPrefix(k, "aws:") })
		if len(merged) > 50 {
			return nil, apiError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
	}
	for _, id := range in.Resources {
		c.tag(id, tags)
	}
	return &ec2.CreateTagsOutput{}, nil
}

// ec2DeleteTags: API_DeleteTags. Without a value the tag goes whatever its value is, with
// one (an empty one too) only where it matches; without tags all user tags go.
func ec2DeleteTags(c *call, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
	s := c.ec2()
	if err := s.taggable(in.Resources); err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		if strings.HasPrefix(strings.ToLower(aws.ToString(t.Key)), "aws:") {
			return nil, apiError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	for _, id := range in.Resources {
		maps.DeleteFunc(s.Tags[id], func(k string, v tag) bool {
			if len(in.Tags) == 0 {
				return !strings.HasPrefix(k, "aws:")
			}
			return slices.ContainsFunc(in.Tags, func(t types.Tag) bool {
				return aws.ToString(t.Key) == k && (t.Value == nil || *t.Value == v.Value)
			})
		})
	}
	return &ec2.DeleteTagsOutput{}, nil
}

// ec2DescribeTags: API_DescribeTags. It answers from the index: what was tagged a
// moment ago may be missing.
func ec2DescribeTags(c *call, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
	s := c.ec2()
	flat := make(map[string]*types.TagDescription)
	for id, tags := range s.Tags {
		kind, exists := s.kindOf(id)
		if !exists {
			continue
		}
		for k, t := range tags {
			if !c.Now.Before(t.Since.Add(s.IndexLag)) {
				flat[id+" "+k] = &types.TagDescription{
					ResourceId: aws.String(id), ResourceType: kind.tagged, Key: aws.String(k), Value: aws.String(t.Value),
				}
			}
		}
	}
	field := func(t *types.TagDescription, name string) ([]string, bool) {
		switch name {
		case "key":
			return one(aws.ToString(t.Key)), true
		case "value":
			return []string{aws.ToString(t.Value)}, true
		case "resource-id":
			return one(aws.ToString(t.ResourceId)), true
		case "resource-type":
			return one(string(t.ResourceType)), true
		}
		return nil, false
	}
	if err := checkFilters(in.Filters, field); err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(flat)) {
		t := flat[id]
		if matches(in.Filters, func(name string) []string {
			if key, ok := strings.CutPrefix(name, "tag:"); ok {
				if key != *t.Key {
					return nil
				}
				return []string{*t.Value}
			}
			values, _ := field(t, name)
			return values
		}) {
			ids = append(ids, id)
		}
	}
	ids, next, err := page(ids, query{}, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeTagsOutput{NextToken: next}
	for _, id := range ids {
		out.Tags = append(out.Tags, *flat[id])
	}
	return out, nil
}
