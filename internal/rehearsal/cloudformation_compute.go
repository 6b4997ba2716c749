package rehearsal

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// cfnComputeType: instances and volumes, each by its page in the CloudFormation Template Reference.
func cfnComputeType(name string) (cfnType, bool) {
	switch name {
	case "AWS::EC2::Instance":
		return cfnType{create: creating(cfnCreateInstance), ready: cfnInstanceReady, attributes: cfnInstanceAttributes, remove: cfnTerminate, gone: cfnTerminated}, true
	case "AWS::EC2::Volume":
		return cfnType{create: creating(cfnCreateVolume), ready: cfnVolumeReady, attributes: cfnIDAs("VolumeId"), remove: func(x *cfnWork) error {
			_, err := callAs(x, "ec2:DeleteVolume", ec2DeleteVolume, &ec2.DeleteVolumeInput{VolumeId: &x.resource.Physical})
			return err
		}}, true
	case "AWS::EC2::VolumeAttachment":
		return cfnType{create: creating(cfnAttachVolume), ready: cfnAttached, remove: cfnDetachVolume, gone: cfnDetached}, true
	default:
		return cfnType{}, false
	}
}

type cfnInstance struct {
	ImageId                           *string
	InstanceType                      types.InstanceType
	SubnetId                          *string
	SecurityGroupIds                  []string
	IamInstanceProfile                *string // its name
	KeyName, UserData                 *string
	AvailabilityZone                  *string
	EbsOptimized, Monitoring          *bool
	DisableApiTermination             *bool
	InstanceInitiatedShutdownBehavior types.ShutdownBehavior
	MetadataOptions                   *types.InstanceMetadataOptionsRequest
	BlockDeviceMappings               []types.BlockDeviceMapping
	NetworkInterfaces                 []cfnInterface
	PropagateTagsToVolumeOnCreation   *bool
	Tags                              []cfnTag
}

// cfnInterface calls GroupSet what RunInstances calls Groups.
type cfnInterface struct {
	DeviceIndex                                   *int32
	NetworkInterfaceId, SubnetId                  *string
	GroupSet                                      []string
	AssociatePublicIpAddress, DeleteOnTermination *bool
	PrivateIpAddress, Description                 *string
}

func cfnCreateInstance(x *cfnWork, p *cfnInstance) error {
	in := &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ImageId: p.ImageId, InstanceType: p.InstanceType, SubnetId: p.SubnetId,
		SecurityGroupIds: p.SecurityGroupIds, KeyName: p.KeyName, UserData: p.UserData, EbsOptimized: p.EbsOptimized,
		DisableApiTermination: p.DisableApiTermination, InstanceInitiatedShutdownBehavior: p.InstanceInitiatedShutdownBehavior,
		MetadataOptions: p.MetadataOptions, BlockDeviceMappings: p.BlockDeviceMappings,
	}
	if p.IamInstanceProfile != nil {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: p.IamInstanceProfile}
	}
	if p.Monitoring != nil {
		in.Monitoring = &types.RunInstancesMonitoringEnabled{Enabled: p.Monitoring}
	}
	if p.AvailabilityZone != nil {
		in.Placement = &types.Placement{AvailabilityZone: p.AvailabilityZone}
	}
	for _, n := range p.NetworkInterfaces {
		in.NetworkInterfaces = append(in.NetworkInterfaces, types.InstanceNetworkInterfaceSpecification{
			DeviceIndex: n.DeviceIndex, NetworkInterfaceId: n.NetworkInterfaceId, SubnetId: n.SubnetId, Groups: n.GroupSet, Description: n.Description,
			AssociatePublicIpAddress: n.AssociatePublicIpAddress, DeleteOnTermination: n.DeleteOnTermination, PrivateIpAddress: n.PrivateIpAddress,
		})
	}
	out, err := callAs(x, "ec2:RunInstances", ec2RunInstances, in)
	if err != nil {
		return err
	}
	x.resource.Physical = *out.Instances[0].InstanceId
	x.label(p.Tags)
	if aws.ToBool(p.PropagateTagsToVolumeOnCreation) {
		for _, v := range x.EC2.volumesOf(x.resource.Physical) {
			x.tag(v.ID, x.ownLabels(p.Tags))
		}
	}
	return nil
}

func cfnInstanceReady(x *cfnWork) (bool, error) {
	i := x.instance(x.resource.Physical)
	if i == nil || i.State != types.InstanceStateNamePending && i.State != types.InstanceStateNameRunning {
		return false, fmt.Errorf("instance %s did not stabilize", x.resource.Physical)
	}
	return i.State == types.InstanceStateNameRunning, nil
}

func cfnInstanceAttributes(x *cfnWork) map[string]any {
	i := x.instance(x.resource.Physical)
	if i == nil {
		return nil
	}
	return map[string]any{"InstanceId": i.ID, "AvailabilityZone": i.AZ, "PrivateIp": i.PrivateIP, "VpcId": i.VPC}
}

func cfnTerminate(x *cfnWork) error {
	_, err := callAs(x, "ec2:TerminateInstances", ec2TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{x.resource.Physical}})
	return err
}

func cfnTerminated(x *cfnWork) bool {
	i := x.instance(x.resource.Physical)
	return i == nil || i.State == types.InstanceStateNameTerminated
}

type cfnVolume struct {
	AvailabilityZone, SnapshotId, KmsKeyId *string
	Size, Iops, Throughput                 *int32
	VolumeType                             types.VolumeType
	Encrypted                              *bool
	Tags                                   []cfnTag
}

func cfnCreateVolume(x *cfnWork, p *cfnVolume) error {
	out, err := callAs(x, "ec2:CreateVolume", ec2CreateVolume, &ec2.CreateVolumeInput{
		AvailabilityZone: p.AvailabilityZone, SnapshotId: p.SnapshotId, KmsKeyId: p.KmsKeyId, Size: p.Size, Iops: p.Iops,
		Throughput: p.Throughput, VolumeType: p.VolumeType, Encrypted: p.Encrypted,
	})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.VolumeId
	x.label(p.Tags)
	return nil
}

func cfnVolumeReady(x *cfnWork) (bool, error) {
	v := x.EC2.Volumes[x.resource.Physical]
	if v == nil || v.State == types.VolumeStateError {
		return false, fmt.Errorf("volume %s did not stabilize", x.resource.Physical)
	}
	return v.State != types.VolumeStateCreating, nil
}

type cfnAttachment struct{ Device, InstanceId, VolumeId *string }

// cfnAttachVolume: an attachment's physical ID is the volume's and the instance's.
func cfnAttachVolume(x *cfnWork, p *cfnAttachment) error {
	_, err := callAs(x, "ec2:AttachVolume", ec2AttachVolume, &ec2.AttachVolumeInput{Device: p.Device, InstanceId: p.InstanceId, VolumeId: p.VolumeId})
	if err == nil {
		x.resource.Physical = fmt.Sprintf("%s|%s", *p.VolumeId, *p.InstanceId)
	}
	return err
}

func (x *cfnWork) attached() (v *volume, instance string) {
	id, instance, _ := strings.Cut(x.resource.Physical, "|")
	return x.EC2.Volumes[id], instance
}

func cfnAttached(x *cfnWork) (bool, error) {
	v, _ := x.attached()
	if v == nil || v.Attachment == nil {
		return false, fmt.Errorf("attachment %s did not stabilize", x.resource.Physical)
	}
	return v.Attachment.State == types.VolumeAttachmentStateAttached, nil
}

func cfnDetachVolume(x *cfnWork) error {
	v, instance := x.attached()
	if v == nil || v.Attachment == nil || v.Attachment.Instance != instance {
		return nil
	}
	_, err := callAs(x, "ec2:DetachVolume", ec2DetachVolume, &ec2.DetachVolumeInput{VolumeId: &v.ID, InstanceId: &instance})
	return err
}

func cfnDetached(x *cfnWork) bool {
	v, instance := x.attached()
	return v == nil || v.Attachment == nil || v.Attachment.Instance != instance
}
