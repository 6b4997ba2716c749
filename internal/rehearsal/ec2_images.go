package rehearsal

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// amazon is the account that owns Amazon's own public images.
const amazon = "137112412989"

// image is an Amazon Machine Image.
type image struct {
	ID          string                   `json:"id"`
	Name        string                   `json:"name"`
	Description string                   `json:"description,omitempty"`
	Owner       string                   `json:"owner"` // account
	Public      bool                     `json:"public,omitempty"`
	Arch        types.ArchitectureValues `json:"arch"`
	BootMode    types.BootModeValues     `json:"boot_mode,omitempty"`
	RootDevice  string                   `json:"root_device"`
	State       types.ImageState         `json:"state"`
	Created     time.Time                `json:"created"`
	Instance    string                   `json:"instance,omitempty"` // what it was made from
	Source      string                   `json:"source,omitempty"`   // that instance's image
	Mappings    []imageMapping           `json:"mappings"`
	Protected   bool                     `json:"protected,omitempty"` // from being deregistered
	Cooldown    bool                     `json:"cooldown,omitempty"`  // and for a day after that is lifted
	FreeAt      time.Time                `json:"free_at,omitzero"`    // when that day ends
}

type imageMapping struct {
	Device    string           `json:"device"`
	Snapshot  string           `json:"snapshot"`
	Size      int32            `json:"size"` // GiB
	Type      types.VolumeType `json:"type"`
	Encrypted bool             `json:"encrypted,omitempty"`
	Keep      bool             `json:"keep,omitempty"` // DeleteOnTermination=false
}

func (ops operations) ec2Images() {
	ec2On(ops, ec2CreateImage)
	ec2On(ops, ec2DescribeImages)
	ec2On(ops, ec2DeregisterImage)
	ec2On(ops, ec2EnableImageDeregistrationProtection)
	ec2On(ops, ec2DisableImageDeregistrationProtection)
	ec2On(ops, ec2DescribeImageAttribute)
}

// imageOf is an image that uses the snapshot.
func (s *ec2State) imageOf(snapshot string) *image {
	for _, img := range inOrder(s.Images) {
		if slices.ContainsFunc(img.Mappings, func(m imageMapping) bool { return m.Snapshot == snapshot }) {
			return img
		}
	}
	return nil
}

// stock puts Amazon's public images into a new account. Their root disk holds
// nothing that anyone looks at.
func (s *ec2State) stock(w *world) {
	for _, arch := range []types.ArchitectureValues{types.ArchitectureValuesX8664, types.ArchitectureValuesArm64} {
		name := "al2023-ami-2023.9.20251105.0-kernel-6.1-" + string(arch)
		img := w.makeImage(name, amazon, arch, "", 8)
		img.Public, img.Description = true, "Amazon Linux 2023 AMI "+string(arch)+" HVM kernel-6.1"
	}
}

// makeImage makes an available image with one root disk, for whoever builds an account.
func (w *world) makeImage(name, owner string, arch types.ArchitectureValues, disk string, size int32) *image {
	snap := &snapshot{
		ID: w.id("snap"), Volume: copiedVolume, Owner: owner, Description: "Root of " + name, Size: size, Disk: disk,
		State: types.SnapshotStateCompleted, Started: w.Now, Completes: w.Now,
	}
	img := &image{
		ID: w.id("ami"), Name: name, Owner: owner, Arch: arch, BootMode: types.BootModeValuesUefiPreferred, RootDevice: "/dev/xvda",
		State: types.ImageStateAvailable, Created: w.Now,
		Mappings: []imageMapping{{Device: "/dev/xvda", Snapshot: snap.ID, Size: size, Type: types.VolumeTypeGp3}},
	}
	w.EC2.Snapshots[snap.ID], w.EC2.Images[img.ID] = snap, img
	return img
}

// imageNamed finds an image by owner and name; nil where there is none.
func (s *ec2State) imageNamed(owner, name string) *image {
	for _, img := range s.Images {
		if img.Owner == owner && img.Name == name {
			return img
		}
	}
	return nil
}

// tickImages makes images available once their snapshots are completed.
func (s *ec2State) tickImages() (changed bool) {
	for _, img := range s.Images {
		if img.State == types.ImageStatePending && !slices.ContainsFunc(img.Mappings, func(m imageMapping) bool {
			return s.Snapshots[m.Snapshot].State == types.SnapshotStatePending
		}) {
			changed, img.State = true, types.ImageStateAvailable
		}
	}
	return changed
}

var imageName = regexp.MustCompile(`^[A-Za-z0-9()\[\] ./\-'@_]{3,128}$`)

// ec2CreateImage: API_CreateImage. It reboots the instance unless NoReboot is true, and
// has no client token; but the name is unique in the account.
func ec2CreateImage(c *call, in *ec2.CreateImageInput) (*ec2.CreateImageOutput, error) {
	s := c.ec2()
	i, err := get(kindInstance, s.Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	name := aws.ToString(in.Name)
	if !imageName.MatchString(name) {
		return nil, apiError("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/', '_', '[', ']', '@', ''' and spaces")
	}
	if other := s.imageNamed(c.Account, name); other != nil {
		return nil, apiError("InvalidAMIName.Duplicate", fmt.Sprintf("AMI name %s is already in use by AMI %s", name, other.ID))
	}
	if i.State != types.InstanceStateNameRunning && i.State != types.InstanceStateNameStopped {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in the 'running' or 'stopped' states.", i.ID))
	}
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeImage, types.ResourceTypeSnapshot); err != nil {
		return nil, err
	}
	volumes, err := c.chosenVolumes(i, &types.InstanceSpecification{})
	if err != nil {
		return nil, err
	}
	if err := c.checkVolumes(volumes); err != nil {
		return nil, err
	}
	return &ec2.CreateImageOutput{ImageId: &c.createImage(i, volumes, in).ID}, nil
}

func (c *call) createImage(i *instance, volumes []*volume, in *ec2.CreateImageInput) *image {
	if !aws.ToBool(in.NoReboot) && i.State == types.InstanceStateNameRunning {
		i.Reboots++
	}
	img := &image{
		ID: c.id("ami"), Name: aws.ToString(in.Name), Description: aws.ToString(in.Description), Owner: c.Account, Arch: instanceTypes[i.Type].arch,
		BootMode: types.BootModeValuesUefiPreferred, RootDevice: i.RootDevice, State: types.ImageStatePending, Created: c.Now, Instance: i.ID, Source: i.Image,
	}
	imageTags, _ := tagsFor(types.ResourceTypeImage, in.TagSpecifications)
	snapshotTags, _ := tagsFor(types.ResourceTypeSnapshot, in.TagSpecifications)
	for _, v := range volumes {
		snap := c.takeSnapshot(v, fmt.Sprintf("Created by CreateImage(%s) for %s", i.ID, img.ID), snapshotTags)
		img.Mappings = append(img.Mappings, imageMapping{
			Device: v.Attachment.Device, Snapshot: snap.ID, Size: v.Size, Type: v.Type, Encrypted: v.Encrypted, Keep: !v.Attachment.DeleteOnTermination,
		})
	}
	c.EC2.Images[img.ID] = img
	c.tag(img.ID, imageTags)
	return img
}

// ec2DescribeImages: API_DescribeImages. The account's own and the public ones.
func ec2DescribeImages(c *call, in *ec2.DescribeImagesInput) (*ec2.DescribeImagesOutput, error) {
	s, q := c.ec2(), query{in.ImageIds, in.Filters}
	ids, err := find(c, kindImage, s.Images, q, c.imageField)
	if err != nil {
		return nil, err
	}
	if len(in.Owners) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !c.owns(in.Owners, s.Images[id].Owner) })
	}
	ids, next, err := page(ids, q, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeImagesOutput{NextToken: next}
	for _, id := range ids {
		out.Images = append(out.Images, c.showImage(s.Images[id]))
	}
	return out, nil
}

// showImage: API_Image.
func (c *call) showImage(img *image) types.Image {
	out := types.Image{
		ImageId: &img.ID, Name: &img.Name, Description: nilIfEmpty(img.Description), OwnerId: &img.Owner, Public: &img.Public, Architecture: img.Arch,
		BootMode: img.BootMode, RootDeviceName: &img.RootDevice, RootDeviceType: types.DeviceTypeEbs, State: img.State, EnaSupport: aws.Bool(true),
		CreationDate: aws.String(img.Created.UTC().Format("2006-01-02T15:04:05.000Z")), ImageLocation: aws.String(img.Owner + "/" + img.Name),
		ImageType: types.ImageTypeValuesMachine, Hypervisor: types.HypervisorTypeXen, VirtualizationType: types.VirtualizationTypeHvm,
		PlatformDetails: aws.String("Linux/UNIX"), UsageOperation: aws.String("RunInstances"), Tags: c.tagList(img.ID),
		SourceInstanceId: nilIfEmpty(img.Instance), SourceImageId: nilIfEmpty(img.Source), DeregistrationProtection: aws.String(img.protection()),
	}
	if img.Source != "" {
		out.SourceImageRegion = &c.Region
	}
	if img.Owner == amazon {
		out.ImageOwnerAlias = aws.String("amazon")
	}
	for n := range img.Mappings {
		m := &img.Mappings[n]
		out.BlockDeviceMappings = append(out.BlockDeviceMappings, types.BlockDeviceMapping{
			DeviceName: &m.Device,
			Ebs:        &types.EbsBlockDevice{SnapshotId: &m.Snapshot, VolumeSize: &m.Size, VolumeType: m.Type, Encrypted: &m.Encrypted, DeleteOnTermination: aws.Bool(!m.Keep)},
		})
	}
	return out
}

// protection: the values that the AWS CLI's reference shows.
func (img *image) protection() string {
	switch {
	case img.Protected && img.Cooldown:
		return "enabled-with-cooldown"
	case img.Protected:
		return "enabled-without-cooldown"
	}
	return "disabled"
}

func (c *call) imageField(img *image, name string) (values []string, ok bool) {
	switch name {
	case "image-id":
		return one(img.ID), true
	case "name":
		return one(img.Name), true
	case "description":
		return one(img.Description), true
	case "state":
		return one(string(img.State)), true
	case "architecture":
		return one(string(img.Arch)), true
	case "owner-id":
		return one(img.Owner), true
	case "owner-alias":
		if img.Owner == amazon {
			return []string{"amazon"}, true
		}
		return nil, true
	case "is-public":
		return yes(img.Public), true
	case "source-instance-id":
		return one(img.Instance), true
	case "root-device-type":
		return []string{"ebs"}, true
	case "virtualization-type":
		return []string{"hvm"}, true
	case "creation-date":
		return one(img.Created.UTC().Format("2006-01-02T15:04:05.000Z")), true
	case "block-device-mapping.snapshot-id":
		for _, m := range img.Mappings {
			values = append(values, m.Snapshot)
		}
		return values, true
	}
	return nil, false
}

// ownImage is one of the account's own.
func (c *call) ownImage(id *string) (*image, error) {
	img, err := get(kindImage, c.ec2().Images, id)
	if err != nil {
		return nil, err
	}
	if img.Owner != c.Account {
		return nil, apiError("AuthFailure", fmt.Sprintf("Not authorized for image:%s", img.ID))
	}
	return img, nil
}

// ec2DeregisterImage: API_DeregisterImage. Refused while protected and while the
// cooldown lasts; AWS's pages name no error code for it. Snapshots stay unless asked otherwise; locked ones stay in any case.
func ec2DeregisterImage(c *call, in *ec2.DeregisterImageInput) (*ec2.DeregisterImageOutput, error) {
	s := c.ec2()
	img, err := c.ownImage(in.ImageId)
	if err != nil {
		return nil, err
	}
	if img.Protected || c.Now.Before(img.FreeAt) {
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("The AMI '%s' is protected from deregistration.", img.ID))
	}
	deleteWhere(s, s.Images, func(o *image) bool { return o == img })
	out := &ec2.DeregisterImageOutput{Return: aws.Bool(true)}
	if !aws.ToBool(in.DeleteAssociatedSnapshots) {
		return out, nil
	}
	for _, m := range img.Mappings {
		result := types.DeleteSnapshotReturnCode{SnapshotId: aws.String(m.Snapshot), ReturnCode: types.SnapshotReturnCodesSuccess}
		if _, err := ec2DeleteSnapshot(c, &ec2.DeleteSnapshotInput{SnapshotId: &m.Snapshot}); err != nil {
			result.ReturnCode = types.SnapshotReturnCodesWarnSkipped
		}
		out.DeleteSnapshotResults = append(out.DeleteSnapshotResults, result)
	}
	return out, nil
}

// ec2EnableImageDeregistrationProtection: API_EnableImageDeregistrationProtection.
func ec2EnableImageDeregistrationProtection(c *call, in *ec2.EnableImageDeregistrationProtectionInput) (*ec2.EnableImageDeregistrationProtectionOutput, error) {
	img, err := c.ownImage(in.ImageId)
	if err != nil {
		return nil, err
	}
	img.Protected, img.Cooldown, img.FreeAt = true, aws.ToBool(in.WithCooldown), time.Time{}
	return &ec2.EnableImageDeregistrationProtectionOutput{Return: aws.String("true")}, nil
}

// ec2DisableImageDeregistrationProtection: API_DisableImageDeregistrationProtection. With
// a cooldown the image stays protected for 24 hours more.
func ec2DisableImageDeregistrationProtection(c *call, in *ec2.DisableImageDeregistrationProtectionInput) (*ec2.DisableImageDeregistrationProtectionOutput, error) {
	img, err := c.ownImage(in.ImageId)
	if err != nil {
		return nil, err
	}
	if img.Protected && img.Cooldown {
		img.FreeAt = c.Now.Add(24 * time.Hour)
	}
	img.Protected = false
	return &ec2.DisableImageDeregistrationProtectionOutput{Return: aws.String("true")}, nil
}

// ec2DescribeImageAttribute: API_DescribeImageAttribute, the two that tell about protection and contents.
func ec2DescribeImageAttribute(c *call, in *ec2.DescribeImageAttributeInput) (*ec2.DescribeImageAttributeOutput, error) {
	img, err := c.ownImage(in.ImageId)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeImageAttributeOutput{ImageId: &img.ID}
	switch in.Attribute {
	case types.ImageAttributeNameDeregistrationProtection:
		out.DeregistrationProtection = &types.AttributeValue{Value: aws.String(img.protection())}
	case types.ImageAttributeNameBlockDeviceMapping:
		out.BlockDeviceMappings = c.showImage(img).BlockDeviceMappings
	case types.ImageAttributeNameDescription:
		out.Description = &types.AttributeValue{Value: nilIfEmpty(img.Description)}
	case types.ImageAttributeNameLaunchPermission:
	default:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter attribute is invalid.", in.Attribute))
	}
	return out, nil
}
