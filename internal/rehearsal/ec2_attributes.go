package rehearsal

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (ops operations) ec2Attributes() {
	ec2On(ops, ec2DescribeInstanceAttribute)
	ec2On(ops, ec2ModifyInstanceAttribute)
	ec2On(ops, ec2ModifyInstanceMetadataOptions)
}

// ec2DescribeInstanceAttribute: API_DescribeInstanceAttribute. One attribute a call.
// groupSet and sourceDestCheck are those of the primary interface.
func ec2DescribeInstanceAttribute(c *call, in *ec2.DescribeInstanceAttributeInput) (*ec2.DescribeInstanceAttributeOutput, error) {
	i, err := get(kindInstance, c.ec2().Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	shown, out := c.showInstance(i), &ec2.DescribeInstanceAttributeOutput{InstanceId: &i.ID}
	flag := func(b bool) *types.AttributeBooleanValue { return &types.AttributeBooleanValue{Value: &b} }
	text := func(s string) *types.AttributeValue { return &types.AttributeValue{Value: nilIfEmpty(s)} }
	switch in.Attribute {
	case types.InstanceAttributeNameDisableApiTermination:
		out.DisableApiTermination = flag(i.NoTerminate)
	case types.InstanceAttributeNameDisableApiStop:
		out.DisableApiStop = flag(i.NoStop)
	case types.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		out.InstanceInitiatedShutdownBehavior = text(string(i.Shutdown))
	case types.InstanceAttributeNameBlockDeviceMapping:
		out.BlockDeviceMappings = shown.BlockDeviceMappings
	case types.InstanceAttributeNameGroupSet:
		out.Groups = shown.SecurityGroups
	case types.InstanceAttributeNameSourceDestCheck:
		out.SourceDestCheck = &types.AttributeBooleanValue{Value: shown.SourceDestCheck}
	case types.InstanceAttributeNameInstanceType:
		out.InstanceType = text(i.Type)
	case types.InstanceAttributeNameRootDeviceName:
		out.RootDeviceName = text(i.RootDevice)
	case types.InstanceAttributeNameUserData:
		out.UserData = text(i.UserData)
	case types.InstanceAttributeNameEbsOptimized:
		out.EbsOptimized = flag(i.EBSOptimal)
	case types.InstanceAttributeNameEnaSupport:
		out.EnaSupport = flag(true)
	case types.InstanceAttributeNameEnclaveOptions:
		out.EnclaveOptions = &types.EnclaveOptions{Enabled: aws.Bool(false)}
	case types.InstanceAttributeNameKernel:
		out.KernelId = text("")
	case types.InstanceAttributeNameRamdisk:
		out.RamdiskId = text("")
	case types.InstanceAttributeNameSriovNetSupport:
		out.SriovNetSupport = text("")
	case types.InstanceAttributeNameProductCodes:
	default:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute))
	}
	return out, nil
}

// ec2ModifyInstanceAttribute: API_ModifyInstanceAttribute, one attribute a call.
// Groups and SourceDestCheck reach the primary interface only: an instance with several
// interfaces is not isolated by this.
func ec2ModifyInstanceAttribute(c *call, in *ec2.ModifyInstanceAttributeInput) (*ec2.ModifyInstanceAttributeOutput, error) {
	i, err := get(kindInstance, c.ec2().Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	in, err = plainAttribute(in)
	if err != nil {
		return nil, err
	}
	if !i.alive() || i.State == types.InstanceStateNameShuttingDown {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in a valid state for this operation.", i.ID))
	}
	nics := c.EC2.interfacesOf(i.ID)
	switch {
	case in.DisableApiTermination != nil:
		if i.Lifecycle == types.InstanceLifecycleTypeSpot {
			return nil, apiError("UnsupportedOperation", "You can't enable termination protection for a Spot Instance.")
		}
		i.NoTerminate = aws.ToBool(in.DisableApiTermination.Value)
	case in.DisableApiStop != nil:
		i.NoStop = aws.ToBool(in.DisableApiStop.Value)
	case in.InstanceInitiatedShutdownBehavior != nil:
		b := types.ShutdownBehavior(aws.ToString(in.InstanceInitiatedShutdownBehavior.Value))
		if !slices.Contains(b.Values(), b) {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid value '%s' for instanceInitiatedShutdownBehavior.", b))
		}
		i.Shutdown = b
	case len(in.BlockDeviceMappings) > 0:
		return c.keepVolumes(i, in.BlockDeviceMappings)
	case len(in.Groups) > 0:
		groups, err := c.groupsFor(i.VPC, in.Groups)
		if err != nil {
			return nil, err
		}
		nics[0].Groups = groups
	case in.SourceDestCheck != nil:
		if len(nics) > 1 {
			// The message is AWS's own answer for an instance with several interfaces.
			return nil, apiError("InvalidInstanceID", fmt.Sprintf("There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", i.ID))
		}
		nics[0].SourceDest = aws.ToBool(in.SourceDestCheck.Value)
	case in.EbsOptimized != nil, in.InstanceType != nil, in.UserData != nil:
		return c.changeStopped(i, in)
	default:
		return nil, apiError("InvalidParameterCombination", "No attributes specified.")
	}
	return &ec2.ModifyInstanceAttributeOutput{}, nil
}

// plainAttribute turns the form Attribute=name, Value=v into the ordinary one,
// and refuses more than one attribute.
func plainAttribute(in *ec2.ModifyInstanceAttributeInput) (*ec2.ModifyInstanceAttributeInput, error) {
	if in.Attribute != "" && in.Value != nil {
		flag, text := &types.AttributeBooleanValue{Value: aws.Bool(*in.Value == "true")}, &types.AttributeValue{Value: in.Value}
		plain := &ec2.ModifyInstanceAttributeInput{InstanceId: in.InstanceId}
		switch in.Attribute {
		case types.InstanceAttributeNameDisableApiTermination:
			plain.DisableApiTermination = flag
		case types.InstanceAttributeNameDisableApiStop:
			plain.DisableApiStop = flag
		case types.InstanceAttributeNameSourceDestCheck:
			plain.SourceDestCheck = flag
		case types.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
			plain.InstanceInitiatedShutdownBehavior = text
		case types.InstanceAttributeNameInstanceType:
			plain.InstanceType = text
		default:
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter attribute is invalid.", in.Attribute))
		}
		in = plain
	}
	set := 0
	for _, given := range []bool{
		in.DisableApiTermination != nil, in.DisableApiStop != nil, in.InstanceInitiatedShutdownBehavior != nil, len(in.BlockDeviceMappings) > 0,
		len(in.Groups) > 0, in.SourceDestCheck != nil, in.EbsOptimized != nil, in.InstanceType != nil, in.UserData != nil,
	} {
		if given {
			set++
		}
	}
	if set > 1 {
		return nil, apiError("InvalidParameterCombination", "Fields for multiple attribute types specified; specify one attribute at a time.")
	}
	return in, nil
}

// keepVolumes sets DeleteOnTermination, by device name.
func (c *call) keepVolumes(i *instance, mappings []types.InstanceBlockDeviceMappingSpecification) (*ec2.ModifyInstanceAttributeOutput, error) {
	byDevice := make(map[string]*volume)
	for _, v := range c.EC2.volumesOf(i.ID) {
		byDevice[v.Attachment.Device] = v
	}
	for _, m := range mappings {
		if byDevice[aws.ToString(m.DeviceName)] == nil {
			return nil, apiError("InvalidInstanceAttributeValue", fmt.Sprintf("No device is currently mapped at %s", aws.ToString(m.DeviceName)))
		}
	}
	for _, m := range mappings {
		if m.Ebs != nil && m.Ebs.DeleteOnTermination != nil {
			byDevice[*m.DeviceName].Attachment.DeleteOnTermination = *m.Ebs.DeleteOnTermination
		}
	}
	return &ec2.ModifyInstanceAttributeOutput{}, nil
}

// changeStopped sets what can be changed only while the instance is stopped.
func (c *call) changeStopped(i *instance, in *ec2.ModifyInstanceAttributeInput) (*ec2.ModifyInstanceAttributeOutput, error) {
	if i.State != types.InstanceStateNameStopped {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in the 'stopped' state.", i.ID))
	}
	switch {
	case in.InstanceType != nil:
		kind, ok := instanceTypes[aws.ToString(in.InstanceType.Value)]
		if !ok || kind.arch != instanceTypes[i.Type].arch {
			return nil, apiError("InvalidInstanceAttributeValue", fmt.Sprintf("Invalid value '%s' for InstanceType.", aws.ToString(in.InstanceType.Value)))
		}
		i.Type = *in.InstanceType.Value
	case in.EbsOptimized != nil:
		i.EBSOptimal = aws.ToBool(in.EbsOptimized.Value)
	case in.UserData != nil:
		i.UserData = base64.StdEncoding.EncodeToString(in.UserData.Value)
	}
	return &ec2.ModifyInstanceAttributeOutput{}, nil
}

// ec2ModifyInstanceMetadataOptions: API_ModifyInstanceMetadataOptions.
func ec2ModifyInstanceMetadataOptions(c *call, in *ec2.ModifyInstanceMetadataOptionsInput) (*ec2.ModifyInstanceMetadataOptionsOutput, error) {
	i, err := get(kindInstance, c.ec2().Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	if in.HttpTokens != "" {
		i.Tokens = in.HttpTokens
	}
	if in.HttpEndpoint != "" {
		i.Metadata = in.HttpEndpoint == types.InstanceMetadataEndpointStateEnabled
	}
	i.HopLimit = valueOr(in.HttpPutResponseHopLimit, i.HopLimit)
	return &ec2.ModifyInstanceMetadataOptionsOutput{InstanceId: &i.ID, InstanceMetadataOptions: i.metadataOptions()}, nil
}
