package rehearsal

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// flowLog records the traffic of one interface, or of every interface of a subnet or a VPC.
type flowLog struct {
	ID          string                   `json:"id"`
	Resource    string                   `json:"resource"`
	Traffic     types.TrafficType        `json:"traffic"`
	To          types.LogDestinationType `json:"to"`
	Group       string                   `json:"group,omitempty"` // of CloudWatch Logs
	Destination string                   `json:"destination,omitempty"`
	Role        string                   `json:"role,omitempty"`
	Format      string                   `json:"format"`
	Interval    time.Duration            `json:"interval"`
	Created     time.Time                `json:"created"`
	// Of one to S3: how its files are kept, and until when there are some.
	Files     *types.DestinationOptionsResponse `json:"files,omitempty"`
	Delivered time.Time                         `json:"delivered,omitzero"`
}

// defaultFormat is what a flow log without a format writes ("Flow log records", VPC User Guide).
const defaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

func (ops operations) ec2FlowLogs() {
	ec2On(ops, ec2CreateFlowLogs)
	ec2On(ops, ec2DescribeFlowLogs)
	ec2On(ops, ec2DeleteFlowLogs)
}

// ec2CreateFlowLogs: API_CreateFlowLogs. Logs that go to CloudWatch Logs and, as
// text, to this account's buckets can be read here; others exist.
func ec2CreateFlowLogs(c *call, in *ec2.CreateFlowLogsInput) (*ec2.CreateFlowLogsOutput, error) {
	made, err := c.ec2().once("CreateFlowLogs", in.ClientToken, in, func() (string, error) { return c.createFlowLogs(in) })
	if err != nil {
		return nil, err
	}
	return &ec2.CreateFlowLogsOutput{ClientToken: in.ClientToken, FlowLogIds: strings.Fields(made)}, nil
}

// createFlowLogs gives the IDs of the new flow logs, with a space between them.
func (c *call) createFlowLogs(in *ec2.CreateFlowLogsInput) (string, error) {
	s := c.ec2()
	model, err := flowLogOf(in)
	if err != nil {
		return "", err
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeVpcFlowLog); err != nil {
		return "", err
	}
	tags, err := tagsFor(types.ResourceTypeVpcFlowLog, in.TagSpecifications)
	if err != nil {
		return "", err
	}
	kinds := map[types.FlowLogsResourceType]string{
		types.FlowLogsResourceTypeVpc: "vpc", types.FlowLogsResourceTypeSubnet: "subnet", types.FlowLogsResourceTypeNetworkInterface: "eni",
	}
	for _, id := range in.ResourceIds {
		k, exists := s.kindOf(id)
		if k.prefix == "" || k.prefix != kinds[in.ResourceType] {
			return "", apiError("InvalidParameterValue", fmt.Sprintf("%s is not a resource of type %s", id, in.ResourceType))
		}
		if !exists {
			return "", k.missing(id)
		}
	}
	var ids []string
	for _, id := range in.ResourceIds {
		l := model
		l.ID, l.Resource, l.Created = c.id("fl"), id, c.Now
		put(&s.FlowLogs, l.ID, &l)
		c.tag(l.ID, tags)
		ids = append(ids, l.ID)
	}
	return strings.Join(ids, " "), nil
}

// flowLogOf is what the request asks for, of any of its resources.
func flowLogOf(in *ec2.CreateFlowLogsInput) (flowLog, error) {
	l := flowLog{
		Traffic: in.TrafficType, To: in.LogDestinationType, Group: aws.ToString(in.LogGroupName), Destination: aws.ToString(in.LogDestination),
		Role: aws.ToString(in.DeliverLogsPermissionArn), Format: valueOr(in.LogFormat, defaultFormat), Interval: seconds(valueOr(in.MaxAggregationInterval, 600)),
	}
	if l.To == "" {
		l.To = types.LogDestinationTypeCloudWatchLogs
	}
	switch {
	case len(in.ResourceIds) == 0:
		return l, apiError("MissingParameter", "The request must contain the parameter ResourceIds")
	case l.Traffic == "":
		return l, apiError("MissingParameter", "The request must contain the parameter TrafficType")
	case l.Interval != time.Minute && l.Interval != 10*time.Minute:
		return l, apiError("InvalidParameterValue", "Invalid value for parameter maxAggregationInterval: it is 60 or 600.")
	case l.To != types.LogDestinationTypeCloudWatchLogs && l.Destination == "":
		return l, apiError("MissingParameter", "The request must contain the parameter LogDestination")
	case l.To != types.LogDestinationTypeS3 && in.DestinationOptions != nil:
		return l, apiError("InvalidParameter", "DestinationOptions can be given for a LogDestinationType of s3 only")
	case l.To == types.LogDestinationTypeCloudWatchLogs && l.Role == "":
		return l, apiError("MissingParameter", "DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs")
	}
	if l.To == types.LogDestinationTypeS3 {
		asked := valueOr(in.DestinationOptions, types.DestinationOptionsRequest{})
		l.Files = &types.DestinationOptionsResponse{
			FileFormat:               cmp.Or(asked.FileFormat, types.DestinationFileFormatPlainText),
			HiveCompatiblePartitions: aws.Bool(aws.ToBool(asked.HiveCompatiblePartitions)), PerHourPartition: aws.Bool(aws.ToBool(asked.PerHourPartition)),
		}
	}
	if l.To == types.LogDestinationTypeCloudWatchLogs && l.Group == "" {
		_, after, ok := strings.Cut(l.Destination, ":log-group:")
		if !ok {
			return l, apiError("InvalidParameter", "LogDestination is not the ARN of a log group")
		}
		l.Group, _, _ = strings.Cut(after, ":")
	}
	for _, field := range strings.Fields(l.Format) {
		name := flowField.FindStringSubmatch(field)
		if name == nil || !slices.Contains(flowFields, name[1]) {
			return l, apiError("InvalidParameter", fmt.Sprintf("Unknown fields provided: %s", field))
		}
	}
	return l, nil
}

var flowField = regexp.MustCompile(`^\$\{([a-z0-9-]+)\}$`)

// DeliverLogsStatus shows SUCCESS as soon as something was delivered; a log here never fails.
func (c *call) showFlowLog(l *flowLog) types.FlowLog {
	out := types.FlowLog{
		FlowLogId: &l.ID, FlowLogStatus: aws.String("ACTIVE"), ResourceId: &l.Resource, TrafficType: l.Traffic, LogDestinationType: l.To, LogFormat: &l.Format,
		LogGroupName: nilIfEmpty(l.Group), DeliverLogsPermissionArn: nilIfEmpty(l.Role), MaxAggregationInterval: inSeconds(l.Interval),
		CreationTime: &l.Created, DestinationOptions: l.Files, DeliverLogsStatus: aws.String("SUCCESS"), Tags: c.tagList(l.ID), LogDestination: nilIfEmpty(l.Destination),
	}
	if l.Group != "" {
		out.LogDestination = aws.String(c.logGroupARN(l.Group))
	}
	return out
}

// ec2DescribeFlowLogs: API_DescribeFlowLogs.
func ec2DescribeFlowLogs(c *call, in *ec2.DescribeFlowLogsInput) (*ec2.DescribeFlowLogsOutput, error) {
	q := listing{query{in.FlowLogIds, in.Filter}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindFlowLog, c.ec2().FlowLogs, q, flowLogField)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeFlowLogsOutput{FlowLogs: each(found, c.showFlowLog), NextToken: next}, nil
}

func flowLogField(l *flowLog, name string) (values []string, ok bool) {
	switch name {
	case "deliver-log-status":
		return one("SUCCESS"), true
	case "log-destination-type":
		return one(string(l.To)), true
	case "flow-log-id":
		return one(l.ID), true
	case "log-group-name":
		return one(l.Group), true
	case "resource-id":
		return one(l.Resource), true
	case "traffic-type":
		return one(string(l.Traffic)), true
	}
	return nil, false
}

// ec2DeleteFlowLogs: API_DeleteFlowLogs. Unlike AWS, what was delivered goes with it.
func ec2DeleteFlowLogs(c *call, in *ec2.DeleteFlowLogsInput) (*ec2.DeleteFlowLogsOutput, error) {
	s := c.ec2()
	for _, id := range in.FlowLogIds {
		if _, err := get(kindFlowLog, s.FlowLogs, &id); err != nil {
			return nil, err
		}
	}
	deleteWhere(s, s.FlowLogs, func(l *flowLog) bool { return slices.Contains(in.FlowLogIds, l.ID) })
	return &ec2.DeleteFlowLogsOutput{Unsuccessful: []types.UnsuccessfulItem{}}, nil
}

// covers reports whether the log records what an interface sees.
func (l *flowLog) covers(n *networkInterface) bool {
	return l.Resource == n.ID || l.Resource == n.Subnet || l.Resource == n.VPC
}

// keeps reports whether the log records traffic that was accepted, or rejected.
func (l *flowLog) keeps(accepted bool) bool {
	return l.Traffic == types.TrafficTypeAll || accepted == (l.Traffic == types.TrafficTypeAccept)
}

// interval is the length of an aggregation interval for an interface: a Nitro
// instance's is a minute at most, whatever the log says ("Flow log records").
func (w *world) interval(l *flowLog, n *networkInterface) time.Duration {
	if n.Attachment != nil {
		if i := w.EC2.Instances[n.Attachment.Instance]; i != nil && instanceTypes[i.Type].nitro {
			return time.Minute
		}
	}
	return l.Interval
}
