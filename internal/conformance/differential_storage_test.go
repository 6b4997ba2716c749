package conformance

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func storageScenarios() []scenario {
	return []scenario{
		{"volumes", volumes},
		{"snapshots", snapshots},
		{"snapshots of an instance", instanceSnapshots},
		{"images", images},
		{"image protection", imageProtection},
	}
}

func newVolume(l *lane, name string) string {
	id := l.call(name, must(l, l.ec2.CreateVolume, &ec2.CreateVolumeInput{
		AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1), VolumeType: types.VolumeTypeGp3,
	}).VolumeId)
	l.pass(time.Minute)
	return id
}

func volumes(l *lane) {
	m := newMachine(l)
	volume := newVolume(l, "volume")
	zone := aws.String(region + "a")
	for _, in := range []*ec2.CreateVolumeInput{
		{AvailabilityZone: aws.String("eu-nowhere-1a"), Size: aws.Int32(1)},
		{AvailabilityZone: zone},
		{AvailabilityZone: zone, SnapshotId: aws.String(absentSnapshot)},
		{AvailabilityZone: zone, Size: aws.Int32(1), VolumeType: "gp9"},
	} {
		do(l, l.ec2.CreateVolume, in)
	}
	show := func(id string) {
		l.pass(time.Minute)
		do(l, l.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	}
	attach := func(volume, instance, device string) {
		do(l, l.ec2.AttachVolume, &ec2.AttachVolumeInput{VolumeId: &volume, InstanceId: &instance, Device: &device})
	}
	show(volume)
	show(absentVolume)
	show("vol-?")
	attach(absentVolume, m.id, "/dev/sdf")
	attach(volume, absentInstance, "/dev/sdf")
	attach(volume, m.id, "/dev/sdf")
	show(volume)
	do(l, l.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", m.id)})
	do(l, l.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{Filters: filter("no-such-filter", "x")})
	do(l, l.ec2.DeleteVolume, &ec2.DeleteVolumeInput{VolumeId: &volume})
	do(l, l.ec2.DetachVolume, &ec2.DetachVolumeInput{VolumeId: &volume, InstanceId: &m.id, Device: aws.String("/dev/sdf")})
	show(volume)
	do(l, l.ec2.DetachVolume, &ec2.DetachVolumeInput{VolumeId: &volume, InstanceId: &m.id, Device: aws.String("/dev/sdf")})
	do(l, l.ec2.DeleteVolume, &ec2.DeleteVolumeInput{VolumeId: &volume})
	l.pass(time.Minute)
	do(l, l.ec2.DeleteVolume, &ec2.DeleteVolumeInput{VolumeId: &volume})
	another := newVolume(l, "another volume")
	attach(another, m.id, m.device)
	attach(another, m.id, "/dev/sdf")
	attach(another, m.id, "/dev/sdg")
	do(l, l.ec2.DetachVolume, &ec2.DetachVolumeInput{VolumeId: &another})
}

func snapshots(l *lane) {
	volume := newVolume(l, "volume")
	do(l, l.ec2.CreateSnapshot, &ec2.CreateSnapshotInput{VolumeId: aws.String(absentVolume)})
	snapshot := l.call("snapshot", must(l, l.ec2.CreateSnapshot, &ec2.CreateSnapshotInput{
		VolumeId: &volume, Description: aws.String("of the volume"), TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("case"), Value: aws.String("D-1")}},
		}},
	}).SnapshotId)
	l.pass(time.Hour)
	show := func(id string) {
		do(l, l.ec2.DescribeSnapshots, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	}
	show(snapshot)
	show(absentSnapshot)
	show("snap-?")
	do(l, l.ec2.DescribeSnapshots, &ec2.DescribeSnapshotsInput{Filters: filter("tag:case", "D-1")})
	share := func(id string, accounts ...string) {
		in := &ec2.ModifySnapshotAttributeInput{SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd}
		in.UserIds = accounts
		do(l, l.ec2.ModifySnapshotAttribute, in)
	}
	share(snapshot, "444455556666")
	share(absentSnapshot, "444455556666")
	do(l, l.ec2.DescribeSnapshotAttribute, &ec2.DescribeSnapshotAttributeInput{SnapshotId: &snapshot, Attribute: types.SnapshotAttributeNameCreateVolumePermission})
	do(l, l.ec2.CopySnapshot, &ec2.CopySnapshotInput{SourceRegion: aws.String(region), SourceSnapshotId: aws.String(absentSnapshot)})
	copied := must(l, l.ec2.CopySnapshot, &ec2.CopySnapshotInput{SourceRegion: aws.String(region), SourceSnapshotId: &snapshot, Description: aws.String("a copy")})
	second := l.call("copy", copied.SnapshotId)
	l.pass(time.Hour)
	show(second)
	lock := func(id string) {
		do(l, l.ec2.LockSnapshot, &ec2.LockSnapshotInput{SnapshotId: &id, LockMode: types.LockModeGovernance, LockDuration: aws.Int32(1)})
	}
	lock(absentSnapshot)
	lock(second)
	do(l, l.ec2.DescribeLockedSnapshots, &ec2.DescribeLockedSnapshotsInput{SnapshotIds: []string{second}})
	do(l, l.ec2.UnlockSnapshot, &ec2.UnlockSnapshotInput{SnapshotId: &second})
	for range 2 {
		do(l, l.ec2.DeleteSnapshot, &ec2.DeleteSnapshotInput{SnapshotId: &snapshot})
	}
	show(snapshot)
}

func instanceSnapshots(l *lane) {
	m := newMachine(l)
	data := newVolume(l, "data")
	must(l, l.ec2.AttachVolume, &ec2.AttachVolumeInput{VolumeId: &data, InstanceId: &m.id, Device: aws.String("/dev/sdf")})
	l.pass(time.Minute)
	do(l, l.ec2.CreateSnapshots, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: aws.String(absentInstance)}})
	do(l, l.ec2.CreateSnapshots, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{
		InstanceId: &m.id, ExcludeDataVolumeIds: []string{absentVolume},
	}})
	out := must(l, l.ec2.CreateSnapshots, &ec2.CreateSnapshotsInput{
		InstanceSpecification: &types.InstanceSpecification{InstanceId: &m.id}, Description: aws.String("of the instance"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("case"), Value: aws.String("D-2")}}}},
	})
	l.pass(time.Hour)
	var ids []string
	for _, s := range out.Snapshots {
		ids = append(ids, *s.SnapshotId)
	}
	do(l, l.ec2.DescribeSnapshots, &ec2.DescribeSnapshotsInput{SnapshotIds: ids})
	do(l, l.ec2.CreateSnapshots, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &m.id, ExcludeBootVolume: aws.Bool(true)}})
}

func images(l *lane) {
	m := newMachine(l)
	create := func(id, name string) *ec2.CreateImageOutput {
		return do(l, l.ec2.CreateImage, &ec2.CreateImageInput{InstanceId: &id, Name: &name, NoReboot: aws.Bool(true), Description: aws.String("of the instance")})
	}
	create(absentInstance, "lost-image")
	image := l.call("made", create(m.id, "of-the-machine").ImageId)
	l.pass(time.Hour)
	show := func(id string) *ec2.DescribeImagesOutput {
		return do(l, l.ec2.DescribeImages, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	}
	shown := show(image)
	show(absentImage)
	show("ami-?")
	do(l, l.ec2.DescribeImages, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filter("name", "of-the-*")})
	do(l, l.ec2.DescribeImageAttribute, &ec2.DescribeImageAttributeInput{ImageId: &image, Attribute: types.ImageAttributeNameLaunchPermission})
	for _, d := range shown.Images[0].BlockDeviceMappings {
		if d.Ebs != nil && d.Ebs.SnapshotId != nil {
			do(l, l.ec2.DeleteSnapshot, &ec2.DeleteSnapshotInput{SnapshotId: d.Ebs.SnapshotId})
		}
	}
	do(l, l.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: &image})
	do(l, l.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: &image})
	do(l, l.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: aws.String(absentImage)})
	show(image)
	create(m.id, "x")
	create(m.id, "the-same-name")
	create(m.id, "the-same-name")
}

// A protected image can't be deregistered.
func imageProtection(l *lane) {
	m := newMachine(l)
	image := must(l, l.ec2.CreateImage, &ec2.CreateImageInput{InstanceId: &m.id, Name: aws.String("protected"), NoReboot: aws.Bool(true)}).ImageId
	l.pass(time.Hour)
	do(l, l.ec2.EnableImageDeregistrationProtection, &ec2.EnableImageDeregistrationProtectionInput{ImageId: image})
	do(l, l.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: image})
	do(l, l.ec2.DisableImageDeregistrationProtection, &ec2.DisableImageDeregistrationProtectionInput{ImageId: image})
}
