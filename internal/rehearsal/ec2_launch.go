package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// launchSpec is what an instance is made of, whoever launches it.
type launchSpec struct {
	Image   string
	Type    string
	Subnet  string   // of the primary interface
	Groups  []string // IDs, of the primary interface; none: the VPC's default group
	Profile string   // name or ARN; empty: none
	// PublicIP: nil means as the subnet says.
	PublicIP      *bool
	PrivateIP     string
	Tags          map[string]string
	VolumeTags    map[string]string
	InterfaceTags map[string]string
	Volumes       []launchVolume    // beside and instead of the image's, by device
	Interfaces    []launchInterface // further ones; one with index 0 stands for Subnet, Groups, PublicIP
	KeyName       string
	UserData      string // base64
	ClientToken   string
	Shutdown      types.ShutdownBehavior // default stop
	NoTerminate   bool
	NoStop        bool
	EBSOptimal    bool
	Hibernates    bool
	Monitored     bool
	Lifecycle     types.InstanceLifecycleType
	Tokens        types.HttpTokensState // default required
	HopLimit      int32
}

// launchVolume is a volume of a new instance. What is left empty comes from
// the image's or the named snapshot.
type launchVolume struct {
	Device    string
	Size      int32 // GiB
	Type      types.VolumeType
	Snapshot  string
	Disk      string // the name of a disk content, where there is no snapshot
	Encrypted bool
	Key       string // a KMS key; empty: the default key for EBS
	Keep      bool   // DeleteOnTermination=false
	IOPS      int32
	Rate      int32 // throughput, MiB/s
	Tags      map[string]string
}

// launchInterface is an interface of a new instance.
type launchInterface struct {
	Index       int32
	ID          string // an existing one
	Subnet      string
	Groups      []string
	Description string
	PrivateIP   string
	PublicIP    *bool
	Keep        bool // DeleteOnTermination=false
	IPv6        int32
	TCPTimeout  int32 // seconds; 0: AWS's default
}

// launchPlan is a launchSpec whose every reference was found.
type launchPlan struct {
	launchSpec
	image      *image
	kind       instanceType
	primary    *subnet
	profile    string // ARN
	volumes    []launchVolume
	interfaces []launchInterface
}

// launch makes an instance, pending. It fails with AWS's error, having changed nothing.
func (w *world) launch(spec launchSpec) (*instance, error) {
	c := w.call("ec2")
	p, err := c.planLaunch(spec)
	if err != nil {
		return nil, err
	}
	i := c.launchPlanned(p)
	i.Reservation = c.id("r")
	return i, nil
}

func (c *call) planLaunch(spec launchSpec) (launchPlan, error) {
	s, p := c.ec2(), launchPlan{launchSpec: spec}
	var err error
	if p.image, err = get(kindImage, s.Images, &spec.Image); err != nil {
		return p, err
	}
	if p.image.State != types.ImageStateAvailable {
		return p, apiError("InvalidAMIID.Unavailable", fmt.Sprintf("The image ID '%s' is not available", p.image.ID))
	}
	var ok bool
	if p.kind, ok = instanceTypes[spec.Type]; !ok {
		return p, apiError("InvalidParameterValue", fmt.Sprintf("Invalid value '%s' for InstanceType.", spec.Type))
	}
	if p.kind.arch != p.image.Arch {
		return p, apiError("InvalidParameterValue", fmt.Sprintf("The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI.", p.kind.arch, p.image.Arch))
	}
	if spec.KeyName != "" && s.keyNamed(spec.KeyName) == nil {
		return p, apiError("InvalidKeyPair.NotFound", fmt.Sprintf("The key pair '%s' does not exist", spec.KeyName))
	}
	if p.profile, err = c.profileARN(spec.Profile); err != nil {
		return p, err
	}
	if err := p.planInterfaces(c); err != nil {
		return p, err
	}
	return p, p.planVolumes(c)
}

// planInterfaces checks subnets and groups. All interfaces lie in one zone, each
// with groups of its own VPC.
func (p *launchPlan) planInterfaces(c *call) error {
	s := c.ec2()
	list := slices.Clone(p.Interfaces)
	if !slices.ContainsFunc(list, func(n launchInterface) bool { return n.Index == 0 }) {
		list = append(list, launchInterface{Subnet: p.Subnet, Groups: p.Groups, PublicIP: p.PublicIP, PrivateIP: p.PrivateIP})
	}
	slices.SortFunc(list, func(a, b launchInterface) int { return int(a.Index - b.Index) })
	for n := range list {
		l := &list[n]
		if n > 0 && l.Index == list[n-1].Index {
			return apiError("InvalidParameterValue", fmt.Sprintf("Each network interface requires a unique device index. %d is used twice.", l.Index))
		}
		if l.ID != "" {
			ni, err := get(kindInterface, s.Interfaces, &l.ID)
			if err != nil {
				return err
			}
			if ni.Attachment != nil {
				return apiError("InvalidNetworkInterface.InUse", fmt.Sprintf("Interface: [%s] in use.", l.ID))
			}
			l.Subnet, l.Groups = ni.Subnet, ni.Groups
		}
		if l.Subnet == "" {
			return apiError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
		}
		sub, err := get(kindSubnet, s.Subnets, &l.Subnet)
		if err != nil {
			return err
		}
		if n == 0 {
			p.primary = sub
			if err := c.offers(p.Type, sub.AZ); err != nil {
				return err
			}
		} else if sub.AZ != p.primary.AZ {
			return apiError("InvalidParameterCombination", "You may not specify network interfaces in different Availability Zones.")
		}
		if l.Groups, err = c.groupsFor(sub.VPC, l.Groups); err != nil {
			return err
		}
		if err := c.freeIP(sub, l.PrivateIP); err != nil {
			return err
		}
	}
	if len(list) > 1 && list[0].PublicIP != nil && *list[0].PublicIP {
		return apiError("InvalidParameterCombination", "The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.")
	}
	p.interfaces = list
	return nil
}

// planVolumes lays the request's volumes over the image's.
func (p *launchPlan) planVolumes(c *call) error {
	s := c.ec2()
	byDevice := make(map[string]launchVolume)
	for _, m := range p.image.Mappings {
		byDevice[m.Device] = launchVolume{Device: m.Device, Size: m.Size, Type: m.Type, Snapshot: m.Snapshot, Encrypted: m.Encrypted, Keep: m.Keep}
	}
	for _, v := range p.Volumes {
		from := byDevice[v.Device]
		if v.Snapshot == "" && v.Disk == "" {
			v.Snapshot = from.Snapshot
		}
		if v.Size == 0 {
			v.Size = from.Size
		}
		if v.Type == "" {
			v.Type = from.Type
		}
		byDevice[v.Device] = v
	}
	for _, v := range inOrder(byDevice) {
		if !strings.HasPrefix(v.Device, "/dev/") && !strings.HasPrefix(v.Device, "xvd") {
			return apiError("InvalidBlockDeviceMapping", fmt.Sprintf("Invalid device name %s", v.Device))
		}
		if v.Snapshot != "" {
			snap, err := get(kindSnapshot, s.Snapshots, &v.Snapshot)
			if err != nil {
				return err
			}
			if v.Size != 0 && v.Size < snap.Size {
				return apiError("InvalidBlockDeviceMapping", fmt.Sprintf("Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", v.Size, snap.ID, snap.Size))
			}
		} else if v.Size == 0 {
			return apiError("MissingParameter", fmt.Sprintf("The request must contain the parameter size or snapshotId for %s", v.Device))
		}
		p.volumes = append(p.volumes, v)
	}
	return nil
}

// launchPlanned can't fail.
func (c *call) launchPlanned(p launchPlan) *instance {
	i := &instance{
		ID: c.id("i"), Image: p.Image, Type: p.Type, State: types.InstanceStateNamePending, Until: c.Now.Add(bootTime),
		Launched: c.Now, VPC: p.primary.VPC, Subnet: p.primary.ID, AZ: p.primary.AZ, RootDevice: p.image.RootDevice,
		KeyName: p.KeyName, UserData: p.UserData, ClientToken: p.ClientToken, NoTerminate: p.NoTerminate, NoStop: p.NoStop,
		Shutdown: p.Shutdown, EBSOptimal: p.EBSOptimal || p.kind.nitro, Hibernates: p.Hibernates, Monitored: p.Monitored,
		Lifecycle: p.Lifecycle, Tokens: p.Tokens, HopLimit: p.HopLimit, Metadata: true,
	}
	if i.Shutdown == "" {
		i.Shutdown = types.ShutdownBehaviorStop
	}
	if i.Tokens == "" {
		i.Tokens = types.HttpTokensStateRequired
	}
	if i.HopLimit == 0 {
		i.HopLimit = 2
	}
	c.EC2.Instances[i.ID] = i
	c.tag(i.ID, p.Tags)
	for _, l := range p.interfaces {
		n := c.EC2.Interfaces[l.ID]
		if n == nil {
			n = c.makeInterface(l)
			c.tag(n.ID, p.InterfaceTags)
		}
		n.Attachment = &interfaceAttachment{ID: c.id("eni-attach"), Instance: i.ID, Index: l.Index, DeleteOnTermination: !l.Keep && l.ID == "", At: c.Now}
		if l.Index == 0 {
			i.PrivateIP = n.IPs[0]
			// With several interfaces there is no automatic address ("Amazon EC2 instance IP addressing").
			n.AutoPublic = p.primary.PublicIPs && len(p.interfaces) == 1
			if l.PublicIP != nil {
				n.AutoPublic = *l.PublicIP
			}
			c.givePublicIP(n)
		}
	}
	for _, v := range p.volumes {
		c.tag(c.makeVolume(i, v).ID, p.VolumeTags)
	}
	if p.profile != "" {
		c.associate(i.ID, p.profile)
	}
	return i
}

// launchSpecOf reads what RunInstances was asked for.
func launchSpecOf(in *ec2.RunInstancesInput) (launchSpec, error) {
	if in.LaunchTemplate != nil {
		return launchSpec{}, apiError("UnsupportedOperation", "The simulated account has no launch templates.")
	}
	spec := launchSpec{
		Image: aws.ToString(in.ImageId), Type: string(in.InstanceType), Subnet: aws.ToString(in.SubnetId), Groups: in.SecurityGroupIds,
		PrivateIP: aws.ToString(in.PrivateIpAddress), KeyName: aws.ToString(in.KeyName), UserData: aws.ToString(in.UserData),
		ClientToken: aws.ToString(in.ClientToken), Shutdown: in.InstanceInitiatedShutdownBehavior,
		NoTerminate: aws.ToBool(in.DisableApiTermination), NoStop: aws.ToBool(in.DisableApiStop), EBSOptimal: aws.ToBool(in.EbsOptimized),
	}
	if p := in.IamInstanceProfile; p != nil {
		spec.Profile = aws.ToString(p.Name) + aws.ToString(p.Arn)
	}
	if m := in.MetadataOptions; m != nil {
		spec.Tokens, spec.HopLimit = m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit)
	}
	if in.HibernationOptions != nil {
		spec.Hibernates = aws.ToBool(in.HibernationOptions.Configured)
	}
	if in.Monitoring != nil {
		spec.Monitored = aws.ToBool(in.Monitoring.Enabled)
	}
	if len(in.NetworkInterfaces) > 0 && (spec.Subnet != "" || len(spec.Groups) > 0) {
		return spec, apiError("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request")
	}
	for _, n := range in.NetworkInterfaces {
		spec.Interfaces = append(spec.Interfaces, launchInterfaceOf(n))
	}
	for _, m := range in.BlockDeviceMappings {
		if e := m.Ebs; e != nil {
			spec.Volumes = append(spec.Volumes, launchVolume{
				Device: aws.ToString(m.DeviceName), Size: aws.ToInt32(e.VolumeSize), Type: e.VolumeType, Snapshot: aws.ToString(e.SnapshotId),
				Encrypted: aws.ToBool(e.Encrypted), Key: aws.ToString(e.KmsKeyId), IOPS: aws.ToInt32(e.Iops), Rate: aws.ToInt32(e.Throughput),
				Keep: e.DeleteOnTermination != nil && !*e.DeleteOnTermination,
			})
		}
	}
	var err error
	for resource, tags := range map[types.ResourceType]*map[string]string{
		types.ResourceTypeInstance: &spec.Tags, types.ResourceTypeVolume: &spec.VolumeTags, types.ResourceTypeNetworkInterface: &spec.InterfaceTags,
	} {
		if *tags, err = tagsFor(resource, in.TagSpecifications); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

func launchInterfaceOf(n types.InstanceNetworkInterfaceSpecification) launchInterface {
	l := launchInterface{
		Index: aws.ToInt32(n.DeviceIndex), ID: aws.ToString(n.NetworkInterfaceId), Subnet: aws.ToString(n.SubnetId), Groups: n.Groups,
		Description: aws.ToString(n.Description), PrivateIP: aws.ToString(n.PrivateIpAddress), PublicIP: n.AssociatePublicIpAddress,
		Keep: n.DeleteOnTermination != nil && !*n.DeleteOnTermination, IPv6: aws.ToInt32(n.Ipv6AddressCount),
	}
	if t := n.ConnectionTrackingSpecification; t != nil {
		l.TCPTimeout = aws.ToInt32(t.TcpEstablishedTimeout)
	}
	return l
}
