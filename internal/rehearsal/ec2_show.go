package rehearsal

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// showInstance is how DescribeInstances shows an instance: API_Instance. Of a
// terminated one hardly anything is left.
func (c *call) showInstance(i *instance) types.Instance {
	img := c.EC2.Images[i.Image]
	kind := instanceTypes[i.Type]
	out := types.Instance{
		InstanceId: &i.ID, ImageId: &i.Image, InstanceType: types.InstanceType(i.Type), State: showState(i.State),
		AmiLaunchIndex: &i.Index, LaunchTime: &i.Launched, Placement: &types.Placement{AvailabilityZone: &i.AZ, Tenancy: types.TenancyDefault, GroupName: aws.String("")},
		Architecture: kind.arch, Hypervisor: types.HypervisorTypeXen, VirtualizationType: types.VirtualizationTypeHvm,
		RootDeviceName: &i.RootDevice, RootDeviceType: types.DeviceTypeEbs, EnaSupport: aws.Bool(true), EbsOptimized: &i.EBSOptimal,
		KeyName: nilIfEmpty(i.KeyName), ClientToken: &i.ClientToken, InstanceLifecycle: i.Lifecycle, Tags: c.tagList(i.ID),
		HibernationOptions: &types.HibernationOptions{Configured: &i.Hibernates}, Monitoring: &types.Monitoring{State: i.monitoring()},
		StateTransitionReason: aws.String(""), PlatformDetails: aws.String("Linux/UNIX"), UsageOperation: aws.String("RunInstances"),
		UsageOperationUpdateTime: &i.Launched, MetadataOptions: i.metadataOptions(),
		CpuOptions: &types.CpuOptions{CoreCount: aws.Int32((kind.vcpus + 1) / 2), ThreadsPerCore: aws.Int32(2)},
	}
	if img != nil {
		out.BootMode = img.BootMode
	}
	if i.Reason != "" {
		out.StateReason = &types.StateReason{Code: &i.Reason, Message: aws.String(i.Reason + ": " + reasons[i.Reason])}
		if i.Reason == reasonUser {
			out.StateTransitionReason = aws.String("User initiated")
		}
	}
	if !i.alive() {
		return out
	}
	out.VpcId, out.SubnetId, out.PrivateIpAddress = &i.VPC, &i.Subnet, &i.PrivateIP
	out.PrivateDnsName = c.privateName(i.PrivateIP)
	for _, n := range c.EC2.interfacesOf(i.ID) {
		shown := c.showInstanceInterface(n)
		if n.Attachment.Index == 0 {
			out.SecurityGroups, out.SourceDestCheck = shown.Groups, shown.SourceDestCheck
			if a := shown.Association; a != nil {
				out.PublicIpAddress, out.PublicDnsName = a.PublicIp, a.PublicDnsName
			}
			if len(n.IPv6) > 0 {
				out.Ipv6Address = &n.IPv6[0]
			}
		}
		out.NetworkInterfaces = append(out.NetworkInterfaces, shown)
	}
	out.BlockDeviceMappings = c.showMappings(i.ID)
	if a := c.EC2.associationOf(i.ID); a != nil {
		out.IamInstanceProfile = &types.IamInstanceProfile{Arn: &a.Profile, Id: aws.String(c.profileID(a.Profile))}
	}
	return out
}

func (c *call) showMappings(instance string) []types.InstanceBlockDeviceMapping {
	var list []types.InstanceBlockDeviceMapping
	for _, v := range c.EC2.volumesOf(instance) {
		a := v.Attachment
		list = append(list, types.InstanceBlockDeviceMapping{
			DeviceName: &a.Device,
			Ebs: &types.EbsInstanceBlockDevice{
				VolumeId: &v.ID, AttachTime: &a.At, DeleteOnTermination: &a.DeleteOnTermination, Status: types.AttachmentStatus(a.State),
			},
		})
	}
	return list
}

func (i *instance) monitoring() types.MonitoringState {
	if i.Monitored {
		return types.MonitoringStateEnabled
	}
	return types.MonitoringStateDisabled
}

func (i *instance) metadataOptions() *types.InstanceMetadataOptionsResponse {
	endpoint := types.InstanceMetadataEndpointStateDisabled
	if i.Metadata {
		endpoint = types.InstanceMetadataEndpointStateEnabled
	}
	return &types.InstanceMetadataOptionsResponse{
		State: types.InstanceMetadataOptionsStateApplied, HttpTokens: i.Tokens, HttpPutResponseHopLimit: &i.HopLimit,
		HttpEndpoint: endpoint, HttpProtocolIpv6: types.InstanceMetadataProtocolStateDisabled, InstanceMetadataTags: types.InstanceMetadataTagsStateDisabled,
	}
}

// instanceField: the filters of API_DescribeInstances, those that anyone looking
// for an instance uses.
func (c *call) instanceField(i *instance, name string) ([]string, bool) {
	switch name {
	case "instance-id":
		return one(i.ID), true
	case "instance-state-name":
		return one(string(i.State)), true
	case "instance-state-code":
		return []string{fmt.Sprint(stateCodes[i.State])}, true
	case "image-id":
		return one(i.Image), true
	case "instance-type":
		return one(i.Type), true
	case "instance-lifecycle":
		return one(string(i.Lifecycle)), true
	case "availability-zone":
		return one(i.AZ), true
	case "client-token":
		return one(i.ClientToken), true
	case "key-name":
		return one(i.KeyName), true
	case "reservation-id":
		return one(i.Reservation), true
	case "owner-id":
		return one(c.Account), true
	case "root-device-name":
		return one(i.RootDevice), true
	case "root-device-type":
		return []string{"ebs"}, true
	case "vpc-id", "subnet-id", "private-ip-address", "iam-instance-profile.arn":
		return c.livingField(i, name), true
	}
	if strings.HasPrefix(name, "block-device-mapping.") {
		return c.mappingField(i, strings.TrimPrefix(name, "block-device-mapping."))
	}
	return c.networkField(i, name)
}

// livingField: what a terminated instance no longer has.
func (c *call) livingField(i *instance, name string) []string {
	if !i.alive() {
		return nil
	}
	switch name {
	case "vpc-id":
		return one(i.VPC)
	case "subnet-id":
		return one(i.Subnet)
	case "private-ip-address":
		return one(i.PrivateIP)
	}
	if a := c.EC2.associationOf(i.ID); a != nil {
		return one(a.Profile)
	}
	return nil
}

func (c *call) mappingField(i *instance, name string) (values []string, ok bool) {
	for _, v := range c.EC2.volumesOf(i.ID) {
		switch name {
		case "volume-id":
			values = append(values, v.ID)
		case "device-name":
			values = append(values, v.Attachment.Device)
		case "status":
			values = append(values, string(v.Attachment.State))
		case "delete-on-termination":
			values = append(values, yes(v.Attachment.DeleteOnTermination)...)
		}
	}
	switch name {
	case "volume-id", "device-name", "status", "delete-on-termination":
		return values, true
	}
	return nil, false
}

// networkField gathers over all interfaces; the instance. filters look at the primary one.
func (c *call) networkField(i *instance, name string) (values []string, ok bool) {
	list := c.EC2.interfacesOf(i.ID)
	switch name {
	case "instance.group-id", "instance.group-name", "ip-address":
		if len(list) == 0 {
			return nil, true
		}
		return c.interfaceField(list[0], map[string]string{"instance.group-id": "group-id", "instance.group-name": "group-name", "ip-address": "association.public-ip"}[name])
	}
	inner, found := strings.CutPrefix(name, "network-interface.")
	if !found {
		return nil, false
	}
	if _, ok = c.interfaceField(&networkInterface{}, inner); !ok {
		return nil, false
	}
	for _, n := range list {
		v, _ := c.interfaceField(n, inner)
		values = append(values, v...)
	}
	return values, true
}
