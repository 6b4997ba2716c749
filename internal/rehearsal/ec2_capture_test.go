package rehearsal

import (
	"bytes"
	"encoding/base64"
	"image/jpeg"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

func (l *lab) snapshots() []types.SnapshotInfo {
	l.Helper()
	return ok(l.ec2.CreateSnapshots(l.ctx, &ec2.CreateSnapshotsInput{
		InstanceSpecification: &types.InstanceSpecification{InstanceId: &l.instance}, CopyTagsFromSource: types.CopyTagsFromSourceVolume,
	}))(l).Snapshots
}

func TestASnapshotSetTakesTimeAndKeepsTheMoment(t *testing.T) {
	l := newLab(t)
	set := l.snapshots()
	if len(set) != 2 || set[0].State != types.SnapshotStatePending {
		t.Fatalf("snapshots %v", set)
	}
	if k := set[0].Tags; len(k) != 1 || *k[0].Key != "Owner" {
		t.Errorf("tags %v, want the volume's", k)
	}
	_, err := l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1b"), SnapshotId: set[0].SnapshotId})
	refused(t, "IncorrectState", err)
	l.world(func(w *world) { w.volume(*set[0].VolumeId).Disk = "changed since" })
	l.pass(2 * time.Minute)
	out := ok(l.ec2.DescribeSnapshots(l.ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*set[0].SnapshotId, *set[1].SnapshotId}}))(t)
	for _, snap := range out.Snapshots {
		if snap.State != types.SnapshotStateCompleted || *snap.Progress != "100%" {
			t.Errorf("%s is %s, %s", *snap.SnapshotId, snap.State, *snap.Progress)
		}
		l.world(func(w *world) {
			own := w.snapshot(*snap.SnapshotId)
			if own.Disk == "changed since" || own.Disk == "" {
				t.Errorf("%s holds %q", own.ID, own.Disk)
			}
			if own.Disk == "web-data" && (!own.Encrypted || own.KMSKey == "") {
				t.Error("the snapshot of an encrypted volume is not encrypted")
			}
		})
	}
}

func TestTooManyPendingSnapshotsFailTheWholeSet(t *testing.T) {
	l := newLab(t)
	for range pendingPerVolume {
		ok(l.ec2.CreateSnapshot(l.ctx, &ec2.CreateSnapshotInput{VolumeId: l.describe().BlockDeviceMappings[0].Ebs.VolumeId}))(t)
	}
	_, err := l.ec2.CreateSnapshots(l.ctx, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &l.instance}})
	refused(t, "ConcurrentSnapshotLimitExceeded", err)
	l.world(func(w *world) {
		for _, snap := range w.EC2.Snapshots {
			if snap.Disk == "web-data" {
				t.Error("the other volume was snapshotted all the same")
			}
		}
	})
}

func TestAnInstanceThatHibernatesGivesNoSnapshots(t *testing.T) {
	l := newLab(t)
	l.world(func(w *world) { w.instance(l.instance).Hibernates = true })
	_, err := l.ec2.CreateSnapshots(l.ctx, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &l.instance}})
	refused(t, "UnsupportedOperation", err)
}

func TestALockedSnapshotStays(t *testing.T) {
	l := newLab(t)
	id := l.snapshots()[0].SnapshotId
	remove := func() error {
		_, err := l.ec2.DeleteSnapshot(l.ctx, &ec2.DeleteSnapshotInput{SnapshotId: id})
		return err
	}
	state := func() types.LockState {
		return ok(l.ec2.DescribeLockedSnapshots(l.ctx, &ec2.DescribeLockedSnapshotsInput{SnapshotIds: []string{*id}}))(t).Snapshots[0].LockState
	}
	locked := ok(l.ec2.LockSnapshot(l.ctx, &ec2.LockSnapshotInput{SnapshotId: id, LockMode: types.LockModeGovernance, LockDuration: aws.Int32(30)}))(t)
	if start := *locked.LockDurationStartTime; !start.After(*locked.LockCreatedOn) {
		t.Errorf("the duration starts at %s, while the snapshot is pending", start)
	}
	refused(t, "OperationNotPermitted", remove())
	ok(l.ec2.UnlockSnapshot(l.ctx, &ec2.UnlockSnapshotInput{SnapshotId: id}))(t)

	ok(l.ec2.LockSnapshot(l.ctx, &ec2.LockSnapshotInput{SnapshotId: id, LockMode: types.LockModeCompliance, LockDuration: aws.Int32(30), CoolOffPeriod: aws.Int32(1)}))(t)
	if s := state(); s != types.LockStateComplianceCooloff {
		t.Errorf("state %s", s)
	}
	refused(t, "OperationNotPermitted", remove())
	l.pass(2 * time.Hour)
	if s := state(); s != types.LockStateCompliance {
		t.Errorf("state %s", s)
	}
	_, err := l.ec2.UnlockSnapshot(l.ctx, &ec2.UnlockSnapshotInput{SnapshotId: id})
	refused(t, "OperationNotPermitted", err)
	_, err = l.ec2.LockSnapshot(l.ctx, &ec2.LockSnapshotInput{SnapshotId: id, LockMode: types.LockModeCompliance, LockDuration: aws.Int32(29)})
	refused(t, "OperationNotPermitted", err)
	ok(l.ec2.LockSnapshot(l.ctx, &ec2.LockSnapshotInput{SnapshotId: id, LockMode: types.LockModeCompliance, LockDuration: aws.Int32(31)}))(t)
	l.pass(32 * 24 * time.Hour)
	if s := state(); s != types.LockStateExpired {
		t.Errorf("state %s", s)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
}

func TestALockIsCheckedBeforeItIsSet(t *testing.T) {
	l := newLab(t)
	id := l.snapshots()[0].SnapshotId
	for name, test := range map[string]struct {
		code string
		in   ec2.LockSnapshotInput
	}{
		"no duration":        {"InvalidParameterCombination", ec2.LockSnapshotInput{LockMode: types.LockModeGovernance}},
		"duration and date":  {"InvalidParameterCombination", ec2.LockSnapshotInput{LockMode: types.LockModeGovernance, LockDuration: aws.Int32(1), ExpirationDate: aws.Time(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))}},
		"cools off at once":  {"InvalidParameterCombination", ec2.LockSnapshotInput{LockMode: types.LockModeGovernance, LockDuration: aws.Int32(1), CoolOffPeriod: aws.Int32(1)}},
		"too long":           {"InvalidParameterValue", ec2.LockSnapshotInput{LockMode: types.LockModeGovernance, LockDuration: aws.Int32(36501)}},
		"cools off too long": {"InvalidParameterValue", ec2.LockSnapshotInput{LockMode: types.LockModeCompliance, LockDuration: aws.Int32(1), CoolOffPeriod: aws.Int32(73)}},
		"in the past":        {"InvalidParameterValue", ec2.LockSnapshotInput{LockMode: types.LockModeGovernance, ExpirationDate: aws.Time(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))}},
	} {
		t.Run(name, func(t *testing.T) {
			test.in.SnapshotId = id
			_, err := l.ec2.LockSnapshot(l.ctx, &test.in)
			refused(t, test.code, err)
		})
	}
	if out := ok(l.ec2.DescribeLockedSnapshots(l.ctx, &ec2.DescribeLockedSnapshotsInput{SnapshotIds: []string{*id}}))(t); len(out.Snapshots) != 0 {
		t.Errorf("locks %v", out.Snapshots)
	}
}

func TestAnImageRebootsTheInstanceUnlessToldOtherwise(t *testing.T) {
	l := newLab(t)
	in := &ec2.CreateImageInput{InstanceId: &l.instance, Name: aws.String("evidence 1"), NoReboot: aws.Bool(true)}
	id := ok(l.ec2.CreateImage(l.ctx, in))(t).ImageId
	_, err := l.ec2.CreateImage(l.ctx, in)
	refused(t, "InvalidAMIName.Duplicate", err)
	reboots := func() (n int) {
		l.world(func(w *world) { n = w.instance(l.instance).Reboots })
		return n
	}
	if n := reboots(); n != 0 {
		t.Errorf("%d reboots", n)
	}
	ok(l.ec2.CreateImage(l.ctx, &ec2.CreateImageInput{InstanceId: &l.instance, Name: aws.String("evidence 2")}))(t)
	if n := reboots(); n != 1 {
		t.Errorf("%d reboots, want 1", n)
	}
	show := func() types.Image {
		return ok(l.ec2.DescribeImages(l.ctx, &ec2.DescribeImagesInput{ImageIds: []string{*id}}))(t).Images[0]
	}
	if img := show(); img.State != types.ImageStatePending || len(img.BlockDeviceMappings) != 2 {
		t.Errorf("state %s, %d mappings", img.State, len(img.BlockDeviceMappings))
	}
	l.pass(2 * time.Minute)
	if img := show(); img.State != types.ImageStateAvailable {
		t.Errorf("state %s", img.State)
	}
	_, err = l.ec2.DeleteSnapshot(l.ctx, &ec2.DeleteSnapshotInput{SnapshotId: show().BlockDeviceMappings[0].Ebs.SnapshotId})
	refused(t, "InvalidSnapshot.InUse", err)
}

func TestAProtectedImageIsNotDeregistered(t *testing.T) {
	l := newLab(t)
	id := ok(l.ec2.CreateImage(l.ctx, &ec2.CreateImageInput{InstanceId: &l.instance, Name: aws.String("evidence"), NoReboot: aws.Bool(true)}))(t).ImageId
	deregister := func() error {
		_, err := l.ec2.DeregisterImage(l.ctx, &ec2.DeregisterImageInput{ImageId: id, DeleteAssociatedSnapshots: aws.Bool(true)})
		return err
	}
	ok(l.ec2.EnableImageDeregistrationProtection(l.ctx, &ec2.EnableImageDeregistrationProtectionInput{ImageId: id, WithCooldown: aws.Bool(true)}))(t)
	refused(t, "OperationNotPermitted", deregister())
	ok(l.ec2.DisableImageDeregistrationProtection(l.ctx, &ec2.DisableImageDeregistrationProtectionInput{ImageId: id}))(t)
	refused(t, "OperationNotPermitted", deregister())
	l.pass(25 * time.Hour)
	if err := deregister(); err != nil {
		t.Error(err)
	}
}

func TestAVolumeGoesFromTheSnapshotToAnotherInstance(t *testing.T) {
	l := newLab(t)
	set := l.snapshots()
	l.pass(2 * time.Minute)
	attach := func(v *string) error {
		_, err := l.ec2.AttachVolume(l.ctx, &ec2.AttachVolumeInput{VolumeId: v, InstanceId: &l.instance, Device: aws.String("/dev/sdg")})
		return err
	}
	far := ok(l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1b"), SnapshotId: set[0].SnapshotId}))(t).VolumeId
	near := ok(l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), SnapshotId: set[0].SnapshotId}))(t).VolumeId
	refused(t, "IncorrectState", attach(near))
	l.pass(10 * time.Second)
	refused(t, "InvalidVolume.ZoneMismatch", attach(far))
	if err := attach(near); err != nil {
		t.Fatal(err)
	}
	refused(t, "VolumeInUse", attach(near))
	_, err := l.ec2.DeleteVolume(l.ctx, &ec2.DeleteVolumeInput{VolumeId: near})
	refused(t, "VolumeInUse", err)
	_, err = l.ec2.DetachVolume(l.ctx, &ec2.DetachVolumeInput{VolumeId: l.describe().BlockDeviceMappings[0].Ebs.VolumeId})
	refused(t, "OperationNotPermitted", err)
	ok(l.ec2.DetachVolume(l.ctx, &ec2.DetachVolumeInput{VolumeId: near}))(t)
	l.pass(10 * time.Second)
	ok(l.ec2.DeleteVolume(l.ctx, &ec2.DeleteVolumeInput{VolumeId: near}))(t)
}

func TestTheDefaultKeyCanNotBeShared(t *testing.T) {
	l := newLab(t)
	set := l.snapshots()
	l.pass(2 * time.Minute)
	share := func(id *string) error {
		_, err := l.ec2.ModifySnapshotAttribute(l.ctx, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: []types.CreateVolumePermission{{UserId: aws.String("444455556666")}}},
		})
		return err
	}
	n := slices.IndexFunc(set, func(s types.SnapshotInfo) bool { return *s.Encrypted })
	refused(t, "OperationNotPermitted", share(set[n].SnapshotId))
	if err := share(set[1-n].SnapshotId); err != nil {
		t.Error(err)
	}
	shared := ok(l.ec2.DescribeSnapshotAttribute(l.ctx, &ec2.DescribeSnapshotAttributeInput{SnapshotId: set[1-n].SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission}))(t)
	if p := shared.CreateVolumePermissions; len(p) != 1 || *p[0].UserId != "444455556666" {
		t.Errorf("permissions %v", p)
	}
}

func TestACopyWithAForeignKeyEndsInError(t *testing.T) {
	l := newLab(t)
	set := l.snapshots()
	l.pass(2 * time.Minute)
	id := ok(l.ec2.CopySnapshot(l.ctx, &ec2.CopySnapshotInput{
		SourceRegion: aws.String("eu-central-1"), SourceSnapshotId: set[0].SnapshotId, Encrypted: aws.Bool(true),
		KmsKeyId: aws.String("arn:aws:kms:eu-central-1:999988887777:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
	}))(t).SnapshotId
	l.pass(2 * time.Minute)
	snap := ok(l.ec2.DescribeSnapshots(l.ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*id}}))(t).Snapshots[0]
	if snap.State != types.SnapshotStateError || snap.StateMessage == nil {
		t.Errorf("state %s", snap.State)
	}
}

func TestAKeyIsCheckedOnlyAfterTheRequestSucceeded(t *testing.T) {
	l := newLab(t)
	var key string
	l.world(func(w *world) { key = w.keyARN(w.call("ec2").newKey(kmstypes.KeyManagerTypeCustomer, "evidence")) })
	id := ok(l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: &key}))(t).VolumeId
	l.world(func(w *world) { w.findKey(w.Region, key).State = kmstypes.KeyStateDisabled })
	broken := ok(l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: &key}))(t).VolumeId
	made := ok(l.ec2.RunInstances(l.ctx, &ec2.RunInstancesInput{
		ImageId: l.describe().ImageId, InstanceType: types.InstanceTypeT3Micro, SubnetId: &l.subnet, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{Encrypted: aws.Bool(true), KmsKeyId: &key}}},
	}))(t).Instances[0].InstanceId
	l.pass(time.Minute)
	i := ok(l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{*made}}))(t).Reservations[0].Instances[0]
	if i.State.Name != types.InstanceStateNameTerminated || !strings.HasPrefix(*i.StateReason.Message, "Client.InvalidKMSKey") {
		t.Errorf("the instance is %s: %v", i.State.Name, i.StateReason)
	}
	l.world(func(w *world) {
		if s := w.volume(*id).State; s != types.VolumeStateAvailable {
			t.Errorf("the volume made with the enabled key is %s", s)
		}
		if s := w.volume(*broken).State; s != types.VolumeStateError {
			t.Errorf("the volume made with the disabled key is %s", s)
		}
	})
}

func TestTheConsole(t *testing.T) {
	l := newLab(t)
	l.world(func(w *world) {
		w.instance(l.instance).Console = strings.Repeat("x", consoleSize) + "\r\nkernel: a strange module\r\n"
	})
	latest := ok(l.ec2.GetConsoleOutput(l.ctx, &ec2.GetConsoleOutputInput{InstanceId: &l.instance, Latest: aws.Bool(true)}))(t)
	text := ok(base64.StdEncoding.DecodeString(*latest.Output))(t)
	if len(text) != consoleSize || !bytes.Contains(text, []byte("a strange module")) {
		t.Errorf("%d bytes of output", len(text))
	}
	picture := ok(base64.StdEncoding.DecodeString(*ok(l.ec2.GetConsoleScreenshot(l.ctx, &ec2.GetConsoleScreenshotInput{InstanceId: &l.instance}))(t).ImageData))(t)
	if _, err := jpeg.Decode(bytes.NewReader(picture)); err != nil {
		t.Error(err)
	}
	l.world(func(w *world) { w.instance(l.instance).Type = "t2.micro" })
	_, err := l.ec2.GetConsoleOutput(l.ctx, &ec2.GetConsoleOutputInput{InstanceId: &l.instance, Latest: aws.Bool(true)})
	refused(t, "UnsupportedOperation", err)
}

func TestThePublicParameterNamesAnImageThatCanBeLaunched(t *testing.T) {
	l := newLab(t)
	out := ok(ssm.NewFromConfig(l.account.Config("eu-central-1")).GetParameter(l.ctx, &ssm.GetParameterInput{
		Name: aws.String("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
	}))(t)
	ok(l.ec2.RunInstances(l.ctx, &ec2.RunInstancesInput{
		ImageId: out.Parameter.Value, InstanceType: types.InstanceTypeT3Medium, SubnetId: &l.subnet, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}))(t)
}
